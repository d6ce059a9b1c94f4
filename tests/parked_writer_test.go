package tests

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// The kernel holds the inode's lock for as long as a write on it is blocked. A filesystem that gave two open writers
// one inode would make each operation of these tests hang in state D.

// fullWithWriter is a mailbox that holds "first", with a writer of "parked" blocked on it.
func fullWithWriter(mb *mailbox) *client {
	mb.t.Helper()
	mb.set("capacity", "1")
	mb.put("first")
	return mb.parkSender("parked")
}

func TestParkedWriterHoldsUpNobody(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name, line string // of shell, in which S, R, C, O and L are send, receive, control, the object and its list
		want       string // on standard output
	}{
		{"stat", `stat -c %F "$S" "$R"`, "@any"},
		{"ls", `ls -l "$L" >/dev/null && ls -l "$C" >/dev/null`, ""},
		{"chmod", `chmod 0600 "$S" && stat -c %a "$S"`, "600\n"},
		{"chown", `chown "$(id -u):$(id -g)" "$S"`, ""},
		{"chmod of the object", `chmod 0700 "$O" && stat -c %a "$O"`, "700\n"},
		{"touch", `touch -c "$S" && touch "$O"`, ""},
		{"utime", `touch -d @1000000000 "$S"`, ""},
		{"truncate", `truncate -c -s 0 "$S"`, ""},
		{"open and close for writing", `: >> "$S"`, ""},
		{"open with O_TRUNC", `: > "$S"`, ""},
		{"fsync", `sync "$R"`, ""},
		{"mv", `mv "$O" "$O.new" && mv "$O.new" "$O"`, ""},
		{"control files", `cat "$C/capacity" "$C/overflow"`, "1\nblock\n"},
		{"peek", `cat "$C/peek"`, "first"},
		{"setting a policy", `echo 1000 > "$C/max_message"`, ""},
		{"statfs", `df "$S" >/dev/null`, ""},
		{"a new neighbour", `echo x > "$L/neighbour" && cat "$L/neighbour" && rm "$L/neighbour"`, "x\n"},
		{"flock", `flock -n "$R" true`, ""},
		// Last: these take the message away.
		{"cat", `cat "$R"`, "first"},
	}
	for _, shape := range []string{flat, directory} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			mb := mount(t).mailbox(t, shape, "jobs")
			writer := fullWithWriter(mb)
			for _, row := range rows {
				c := command{
					argv: []string{"bash", "-c", row.line},
					env: []string{"S=" + mb.send, "R=" + mb.receive, "C=" + mb.control, "O=" + mb.path,
						"L=" + mb.m.path("mailboxes")},
					stdin: []byte{},
				}.run(t)
				got := c.output()
				if row.want != "@any" && got != row.want {
					t.Errorf("%s printed %q, want %q", row.name, got, row.want)
				}
				if c.stderr.String() != "" {
					t.Errorf("%s complained: %s", row.name, c.stderr)
				}
				if row.name != "cat" {
					mb.parked(writer)
					mb.wantStat("messages 1", "senders_waiting 1")
				}
			}
			writer.expect("6")
			mb.wantQueue("parked")
		})
	}
}

func TestSystemCallsPassAParkedWriter(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		writer := fullWithWriter(mb)
		does(t,
			"open "+mb.send+" wronly", "ok",
			"fsync", "ok",
			"fchmod 600", "ok",
			"poll out 0", "none",
			"nonblock on", "ok",
			"write x", "EAGAIN",
			"close", "ok",
			"open "+mb.send+" wronly|nonblock", "ok",
			"write x", "EAGAIN",
			"ftruncate 0", "ok",
			"flock ex|nb", "ok",
			"open "+mb.send+" wronly|append|nonblock", "ok",
			"write x", "EAGAIN",
			"open "+mb.send+" wronly|trunc|nonblock", "ok",
			"write x", "EAGAIN",
			"open "+mb.receive+" rdonly|nonblock", "ok",
			"read 100", `"first"`,
		)
		writer.expect("6")
		mb.wantQueue("parked")
	})
}

func TestSecondWriterWaitsKillably(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"truncating": `echo second > "$S"`,
		"appending":  `echo second >> "$S"`,
		"plain":      `echo second | dd of="$S" conv=notrunc status=none`,
		"tee":        `echo second | exec tee "$S" > /dev/null`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				writer := fullWithWriter(mb)
				second := func() *client {
					return command{argv: []string{"setsid", "-w", "bash", "-c", line}, env: []string{"S=" + mb.send}}.run(t)
				}
				c := second()
				mb.awaitWaiters(2)
				w := mb.waiters()[1]
				if w.operation != "send" {
					t.Errorf("the second waiter is %+v, want it in send", w)
				}
				// It may be a child of the shell: kill what waits.
				blocked := process(w.pid)
				if s := awaited(func() string { return differs(blocked.state(), "S") }); s != "" {
					t.Errorf("state of the second writer: %s", s)
				}
				if err := syscall.Kill(w.pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				eventually(t, func() string { return differs(blocked.dead(), true) })
				c.wait()
				mb.awaitWaiters(1)
				mb.parked(writer)

				// Another one gets its turn, after the first.
				c = second()
				mb.awaitWaiters(2)
				does(t, "open "+mb.receive+" rdonly|nonblock", "ok", "read 100", `"first"`, "read 100", `"parked"`,
					"read 100", `"second\n"`, "read 100", "EAGAIN")
				writer.expect("6")
				c.output()
			})
		})
	}
}

func TestTruncatingOpenPurgesNothing(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one", "two")
		does(t, "open "+mb.send+" wronly|trunc", "ok", "ftruncate 0", "ok", "truncate "+mb.send+" 0", "ok")
		mb.wantQueue("one", "two")
	})
}

func TestRemovedUnderAParkedWriterWakesIt(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, flat, "jobs")
	writer := fullWithWriter(mb)
	bash(t, "rm "+mb.path).prints("")
	writer.expect("EIDRM")
	if _, err := os.Stat(mb.path); !os.IsNotExist(err) {
		t.Errorf("stat after rm = %v, want ENOENT", err)
	}
	bash(t, "echo again > "+mb.path+"; cat "+mb.path).prints("again\n")
}

func TestKilledClientsDieAtOnce(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		before := mb.m.atRest(t)
		reader := mb.parkReceiver()
		reader.kill()
		mb.awaitWaiters(0)
		mb.put("for nobody dead")
		mb.wantQueue("for nobody dead")

		writer := fullWithWriter(mb)
		writer.kill()
		mb.awaitWaiters(0)
		mb.wantQueue("first")

		peeker := cli(t, "open "+mb.file("peek")+" rdonly", "read 100")
		mb.parked(peeker).kill()
		mb.awaitWaiters(0)
		mb.wantStat("messages 0", "senders_waiting 0", "receivers_waiting 0")
		mb.awaitStat("open_senders 0", "open_receivers 0")
		mb.m.leavesNothingBehind(t, before)
	})
}

func TestInterruptedReadLosesNoMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := cli(t, "catch usr1", "open "+mb.receive+" rdonly", "read 100", "pause", "read 100")
		c.expect("ok", "ok")
		mb.parked(c).signal(syscall.SIGUSR1)
		c.expect("EINTR")
		mb.awaitWaiters(0)
		mb.put("hello")
		c.resume()
		c.expect("ok", `"hello"`)
		mb.wantStat("sent 1", "received 1", "messages 0")
	})
}

func TestInterruptedWriteSendsNothing(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		writer := fullWithWriter(mb)
		writer.signal(syscall.SIGUSR1)
		writer.expect("EINTR")
		mb.awaitWaiters(0)
		mb.wantQueue("first")
		mb.wantStat("sent 1", "received 1", "dropped 0")
	})
}

func TestInterruptionsAndMessagesRaceWithoutLoss(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		const messages = 300
		reads := make([]string, messages)
		for i := range reads {
			reads[i] = "readr 100"
		}
		c := cli(t, append([]string{"catch usr1", "open " + mb.file("stream") + " rdonly"}, reads...)...)
		c.expect("ok", "ok")
		for i := range messages {
			c.signal(syscall.SIGUSR1)
			mb.put("m" + number(i))
			c.signal(syscall.SIGUSR1)
			c.expect(`"m` + number(i) + `"`)
		}
		c.output()
		mb.wantStat("sent "+number(messages), "received "+number(messages), "messages 0")
	})
}

func TestStoppedAndContinuedClientLosesNoMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		// A client that retries after EINTR, which is what stop and continue give to a blocked FUSE request.
		c := cli(t, "open "+mb.receive+" rdonly", "readr 100", "say done")
		c.expect("ok")
		mb.parked(c)
		c.signal(syscall.SIGSTOP)
		c.in("T")
		mb.put("while you slept")
		c.signal(syscall.SIGCONT)
		c.expect(`"while you slept"`, "done")

		writer := fullWithWriter(mb)
		writer.signal(syscall.SIGSTOP)
		writer.in("T")
		writer.kill()
		mb.awaitWaiters(0)
		mb.wantQueue("first")
	})
}

func TestTimeoutEndsABlockedCat(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		// timeout(1): 124 when the command timed out.
		if status := run(t, "timeout", "0.2", "cat", mb.receive).wait(); status != 124 {
			t.Errorf("timeout cat ended with %d, want 124", status)
		}
		fullWithWriter(mb)
		if status := bash(t, "timeout 0.2 tee "+mb.send+" <<< x").wait(); status != 124 {
			t.Errorf("timeout tee ended with %d, want 124", status)
		}
		mb.awaitWaiters(1)
	})
}

// A process is one that a client started.
type process int

func (p process) state() string { return procState(int(p)) }

// dead says that it is gone or waits only for its parent.
func (p process) dead() bool { return strings.Contains(" Z X ", " "+p.state()+" ") || p.state() == "" }
