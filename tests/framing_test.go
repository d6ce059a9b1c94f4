package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// awaitQueue waits until as many messages are held and takes them. What a close(2) sends arrives a moment later, when
// the kernel tells the daemon.
func (mb *mailbox) awaitQueue(want ...string) {
	mb.t.Helper()
	mb.awaitStat("messages " + number(len(want)))
	mb.wantQueue(want...)
}

// holdsNothing waits until nobody has the mailbox open for sending and finds it as if nobody ever had.
func (mb *mailbox) holdsNothing() {
	mb.t.Helper()
	mb.awaitStat("open_senders 0")
	mb.wantStat("messages 0", "bytes 0", "sent 0", "dropped 0", "senders_waiting 0")
	if stat := mb.m.daemonStat(mb.t); stat["messages"] != 0 || stat["bytes"] != 0 {
		mb.t.Errorf("%d messages, %d bytes are on the books, want none", stat["messages"], stat["bytes"])
	}
}

// writer starts an ipccli that opens send and performs the operations. They print a line each.
func (mb *mailbox) writer(operations ...string) *client {
	mb.t.Helper()
	c := cli(mb.t, append([]string{"catch usr1", "open " + mb.send + " wronly"}, operations...)...)
	c.expect("ok", "ok")
	return c
}

func TestFramingReadsAsItWasSet(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.wantPolicy("framing", "write")
		for _, framing := range []string{"line", "close", "write", "close"} {
			mb.set("framing", framing)
			mb.wantPolicy("framing", framing)
		}
		for _, bad := range []string{`\n`, "lines", "CLOSE", "write close", "0"} {
			does(t, "open "+mb.file("framing")+" wronly", "ok", "write "+bad, "EINVAL")
		}
		mb.wantPolicy("framing", "close")
	})
}

func TestCloseFramingMakesOneMessageOfAllThatIsWritten(t *testing.T) {
	t.Parallel()
	programs := map[string][]string{ // S is the endpoint, IN a file
		"cat":          {"bash", "-c", `exec cat "$IN" > "$S"`},
		"append":       {"bash", "-c", `exec cat "$IN" >> "$S"`},
		"cp":           {"bash", "-c", `exec cp "$IN" "$S"`},
		"tee":          {"bash", "-c", `exec tee "$S" < "$IN" > /dev/null`},
		"dd":           {"bash", "-c", `exec dd if="$IN" of="$S" bs=999 status=none`},
		"sed":          {"bash", "-c", `exec sed '' "$IN" > "$S"`},
		"echo":         {"bash", "-c", `echo "$(< "$IN")" > "$S"`},
		"printf":       {"bash", "-c", `printf '%s\n' "$(< "$IN")" > "$S"`},
		"while read":   {"bash", "-c", `while IFS= read -r line; do echo "$line"; done < "$IN" > "$S"`},
		"several":      {"bash", "-c", `{ head -n 1 "$IN"; tail -n +2 "$IN"; } > "$S"`},
		"python print": {python, "-c", `import os; print(open(os.environ["IN"]).read(), end="", file=open(os.environ["S"], "w"))`},
		"python write": {python, "-c", `import os; f = open(os.environ["S"], "wb", 0); [f.write(l) for l in open(os.environ["IN"], "rb")]`},
		"Go io.Copy":   goCommand("Copy", "$S", "$IN"),
		"Go WriteFile": goCommand("WriteFile", "$S", "$IN"),
	}
	for name, argv := range programs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.set("framing", "close")
				in := filepath.Join(t.TempDir(), "in")
				for _, size := range []int{2, 10_000, 300 << 10} {
					message := text(size)
					if err := os.WriteFile(in, []byte(message), 0o600); err != nil {
						t.Fatal(err)
					}
					env := []string{"S=" + mb.send, "IN=" + in}
					command{argv: expanded(argv, env), env: env, stdin: []byte{}}.run(t).prints("")
					mb.awaitQueue(message)
				}
				mb.wantStat("sent 3", "received 3", "dropped 0")
			})
		})
	}
}

func TestMessagesLongerThanAWriteArriveWhole(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("framing", "close", "max_message", "max", "capacity", "3")
		message := text(5<<20 + 77)
		in := filepath.Join(t.TempDir(), "in")
		if err := os.WriteFile(in, []byte(message), 0o600); err != nil {
			t.Fatal(err)
		}
		for reader, want := range map[string]string{
			`exec cat "$R"`:                       message,
			`exec dd if="$R" bs=9999 status=none`: message,
			`wc -c < "$R"`:                        number(len(message)) + "\n",
			`python3 -c 'import os; print(len(open(os.environ["R"]).read()))'`: number(len(message)) + "\n",
		} {
			bash(t, "cat "+in+" > "+mb.send).prints("")
			mb.awaitStat("messages 1", "bytes "+number(len(message)))
			c := command{argv: []string{"bash", "-c", reader}, env: []string{"R=" + mb.receive}, stdin: []byte{}}.run(t)
			c.prints(want)
			mb.wantStat("messages 0", "bytes 0")
		}
		// Each of its faces has all of it.
		bash(t, "cat "+in+" > "+mb.send).prints("")
		mb.awaitStat("messages 1")
		run(t, "cmp", in, mb.file("messages/5")).prints("")
		run(t, "cmp", in, mb.file("peek")).prints("")
		run(t, python, "-c", "import json, sys; print(json.load(open(sys.argv[1]))['body'] == open(sys.argv[2]).read())",
			mb.file("envelope"), in).prints("True\n")
		mb.wantStat("messages 0", "received 5")
	})
}

func TestALineOfEchoIsOneMessageHoweverManyWrites(t *testing.T) {
	t.Parallel()
	for _, framing := range []string{"line", "close"} {
		t.Run(framing, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.set("framing", framing)
				line := strings.Repeat("word ", 2000)
				bash(t, "echo '"+line+"' > "+mb.send).prints("")
				mb.awaitQueue(line + "\n")
				run(t, python, "-c", "import sys; print(sys.argv[2], file=open(sys.argv[1], 'w'))", mb.send, line).prints("")
				mb.awaitQueue(line + "\n")
			})
		})
	}
}

func TestLineFramingMakesAMessageOfEachLine(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("framing", "line")
		bash(t, `printf 'one\ntwo\n\nthree\n' | cat > `+mb.send).prints("")
		mb.awaitQueue("one\n", "two\n", "\n", "three\n")
		bash(t, `printf 'one\ntwo' | dd bs=1 status=none of=`+mb.send).prints("")
		mb.awaitQueue("one\n", "two") // the rest, when it is closed

		large := text(300 << 10)
		in := filepath.Join(t.TempDir(), "in")
		if err := os.WriteFile(in, []byte(large), 0o600); err != nil {
			t.Fatal(err)
		}
		mb.set("capacity", "max")
		bash(t, "cat "+in+" > "+mb.send).prints("")
		mb.awaitStat("open_senders 0")
		if got := strings.Join(mb.take(), ""); got != large {
			t.Errorf("the lines together are %s, want the file", brief([]byte(got)))
		}
		mb.wantStat("sent "+number(6+strings.Count(large, "\n")), "messages 0")
	})
}

func TestTheBeginningOfALineIsKeptForItsOpenFile(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("framing", "line")
		a := mb.writer("write hel", "pause", `write lo\nwor`, "pause", `write ld\n`, "close", "pause")
		b := mb.writer("write good", "pause", `write bye\n`, "close", "pause")
		a.expect("3")
		b.expect("4")
		mb.wantStat("messages 0", "sent 0")
		a.resume()
		a.expect("ok", "6")
		b.resume()
		b.expect("ok", "4", "ok")
		mb.wantStat("messages 2")
		a.resume()
		a.expect("ok", "3", "ok")
		mb.wantQueue("hello\n", "goodbye\n", "world\n")
		mb.awaitStat("open_senders 0", "sent 3")
	})
}

func TestNothingIsSentBeforeTheLastClose(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("framing", "close")
		// Each of these echos closes a copy of the descriptor.
		c := bash(t, "exec 3> "+mb.send+"; echo a >&3; (echo b >&3); echo c 1>&3 | cat; echo written; read -r; exec 3>&-; echo closed; read -r")
		c.expect("written")
		mb.wantStat("messages 0", "bytes 0", "sent 0", "open_senders 1")
		if got := mb.names("messages"); got != "" {
			t.Errorf("messages lists %q, want nothing", got)
		}
		does(t, "open "+mb.receive+" rdonly|nonblock", "ok", "poll in 0", "none", "read 100", "EAGAIN")
		c.resume()
		c.expect("closed")
		mb.awaitQueue("a\nb\nc\n")

		// A child has the last copy.
		c = bash(t, "exec 3> "+mb.send+"; echo a >&3; (read -r; echo b >&3; exec 3>&-; echo closed; read -r) <&0 & exec 3>&-; echo left; wait")
		c.expect("left")
		mb.wantStat("open_senders 1", "messages 0", "sent 1")
		c.resume()
		c.expect("closed")
		mb.awaitQueue("a\nb\n")
	})
}

func TestNothingWrittenIsNothingSent(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		for _, framing := range []string{"line", "close"} {
			mb.set("framing", framing)
			bash(t, ": > "+mb.send+"; cat /dev/null > "+mb.send+"; printf '' >> "+mb.send).prints("")
			does(t, "open "+mb.send+" wronly|trunc", "ok", "write ", "0", "ftruncate 0", "ok", "close", "ok")
			mb.holdsNothing()
		}
	})
}

func TestAKilledWriterLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, framing := range []string{"line", "close"} {
		for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGALRM} {
			t.Run(fmt.Sprintf("%s, %v", framing, sig), func(t *testing.T) {
				t.Parallel()
				inBothShapes(t, func(t *testing.T, mb *mailbox) {
					mb.set("framing", framing)
					c := mb.writer("write half of", "write  it", "pause")
					c.expect("7", "3")
					c.signal(sig)
					if status := c.wait(); status != -1 {
						t.Fatalf("the writer ended with %d, want a signal", status)
					}
					mb.holdsNothing()
					// cat is killed at its source.
					c = bash(t, "{ echo -n half; exec cat; } > "+mb.send)
					eventually(t, func() string { return differs(mb.m.daemonStat(t)["bytes"], 4) })
					if _, err := c.stdin.Write([]byte("more")); err != nil {
						t.Fatal(err)
					}
					eventually(t, func() string { return differs(mb.m.daemonStat(t)["bytes"], 8) })
					c.signal(sig)
					c.wait()
					mb.holdsNothing()
				})
			})
		}
	}
}

func TestLinesOfAKilledWriterStay(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("framing", "line")
		c := mb.writer(`write one\ntwo\nthr`, "pause")
		c.expect("11")
		c.kill()
		mb.awaitStat("open_senders 0")
		mb.wantQueue("one\n", "two\n")
	})
}

func TestAWriterThatExitsWithoutCloseSends(t *testing.T) {
	t.Parallel()
	for _, framing := range []string{"line", "close"} {
		t.Run(framing, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.set("framing", framing)
				for _, status := range []int{0, 3} {
					c := run(t, python, "-c", `
import os, sys
os.write(os.open(sys.argv[1], os.O_WRONLY), b"unfinished")
os._exit(int(sys.argv[2]))`, mb.send, number(status))
					if got := c.wait(); got != status {
						t.Fatalf("%v ended with %d, want %d", c, got, status)
					}
					mb.awaitQueue("unfinished")
				}
				c := mb.writer("write from C")
				c.expect("6")
				c.output()
				mb.awaitQueue("from C")
			})
		})
	}
}

// Of several processes that have the descriptor it is the one that wrote last.
func TestTheLastWriterDecidesWhetherAMessageIsWhole(t *testing.T) {
	t.Parallel()
	const script = `
import os, signal, sys
path, child_end, parent_end, parent_writes = sys.argv[1:]
def end(how):
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(0)
fd = os.open(path, os.O_WRONLY)
os.write(fd, b"parent ")
child = os.fork()
if child == 0:
    os.write(fd, b"child")
    end(child_end)
os.waitpid(child, 0)
if parent_writes == "yes":
    os.write(fd, b" parent")
end(parent_end)
`
	for _, row := range []struct{ child, parent, parentWrites, want string }{
		{"exits", "exits", "no", "parent child"},
		{"killed", "exits", "no", ""},
		{"exits", "killed", "no", "parent child"},
		{"killed", "killed", "no", ""},
		{"exits", "exits", "yes", "parent child parent"},
		{"killed", "exits", "yes", "parent child parent"},
		{"exits", "killed", "yes", ""},
	} {
		t.Run(fmt.Sprintf("child %s, parent %s, writes %s", row.child, row.parent, row.parentWrites), func(t *testing.T) {
			t.Parallel()
			mb := mount(t).mailbox(t, directory, "jobs").with("framing", "close")
			run(t, python, "-c", script, mb.send, row.child, row.parent, row.parentWrites).wait()
			mb.awaitStat("open_senders 0")
			if row.want == "" {
				mb.holdsNothing()
			} else {
				mb.wantQueue(row.want)
			}
		})
	}
}

func TestAKilledWriterIsNotCompletedByAChildThatHasTheDescriptor(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs").with("framing", "close")
	c := bash(t, "exec 3> "+mb.send+"; echo half >&3; sleep 1000 < /dev/null > /dev/null 2>&1 & echo $!; read -r")
	child, err := strconv.Atoi(c.next())
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(child, syscall.SIGKILL)
	c.kill()
	mb.wantStat("open_senders 1", "messages 0", "sent 0")
	if err := syscall.Kill(child, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	mb.holdsNothing()
}

func TestBeginningAMessageWaitsForRoom(t *testing.T) {
	t.Parallel()
	for _, framing := range []string{"line", "close"} {
		t.Run(framing, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.set("capacity", "1")
				mb.put("q")
				mb.set("framing", framing)
				does(t, "open "+mb.send+" wronly|nonblock", "ok", "poll out 0", "none", "write x", "EAGAIN", "close", "ok")
				mb.set("overflow", "fail")
				does(t, "open "+mb.send+" wronly", "ok", "write x", "EAGAIN", "close", "ok")
				mb.set("overflow", "block")

				killed := mb.parked(mb.writer("write killed"))
				interrupted := mb.parked(mb.writer("write x", "close", "pause"))
				patient := mb.parked(mb.writer("write pat", "write ient", "close", "pause"))
				wantWaiters(mb, []*client{killed, interrupted, patient}, "send")
				mb.wantStat("senders_waiting 3", "messages 1", "sent 1")
				killed.kill()
				interrupted.signal(syscall.SIGUSR1)
				interrupted.expect("EINTR", "ok")
				mb.awaitStat("senders_waiting 1")
				does(t, "open "+mb.receive+" rdonly", "ok", "read 9", `"q"`)
				patient.expect("3", "4", "ok")
				mb.awaitQueue("patient")
				mb.wantStat("sent 2", "received 2", "dropped 0")
			})
		})
	}
}

func TestBeginningAtARendezvousWaitsForAReceiver(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("capacity", "0", "framing", "close")
		does(t, "open "+mb.send+" wronly|nonblock", "ok", "poll out 0", "none", "write x", "EAGAIN")
		c := mb.parked(mb.writer("write to", "pause", "write gether", "close", "say closed", "pause"))
		r := mb.parkReceiver()
		c.expect("2")
		mb.parked(r) // half a message is none
		mb.wantStat("receivers_waiting 1", "senders_waiting 0", "sent 0")
		c.resume()
		c.expect("ok", "6", "ok", "closed")
		r.expect(`"together"`)
		mb.wantStat("sent 1", "received 1", "messages 0")
	})
}

func TestContinuingAMessageNeverWaits(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("capacity", "1", "framing", "close")
		c := mb.writer("write be", "pause", "poll out 0", "write gun", "nonblock on", "poll out 0", "write  and", "close", "say closed", "pause")
		c.expect("2")
		mb.set("framing", "write")
		mb.put("first")
		mb.set("framing", "close")
		does(t, "open "+mb.send+" wronly|nonblock", "ok", "poll out 0", "none", "write x", "EAGAIN")
		c.resume()
		c.expect("ok", "out", "3", "ok", "out", "4", "ok", "closed")
		mb.awaitStat("messages 1", "senders_waiting 1", "open_senders 0")
		mb.wantQueue("first", "begun and")
	})
}

func TestCloseNeverWaitsAndItsMessageWaitsInLine(t *testing.T) {
	t.Parallel()
	for name, admit := range map[string]func(mb *mailbox){
		"by a receive":         func(mb *mailbox) { mb.wantQueue("one", "two", "three", "four") },
		"by a raised capacity": func(mb *mailbox) { mb.set("capacity", "4"); mb.awaitQueue("one", "two", "three", "four") },
		"by a capacity of max": func(mb *mailbox) { mb.set("capacity", "max"); mb.awaitQueue("one", "two", "three", "four") },
		"by flush":             func(mb *mailbox) { mb.set("flush", ""); mb.wantQueue("two", "three", "four") },
		"by rm": func(mb *mailbox) {
			does(mb.t, "unlink "+mb.file("messages/1"), "ok")
			mb.wantQueue("two", "three", "four")
		},
		"by drop-oldest":            func(mb *mailbox) { mb.set("overflow", "drop-oldest"); mb.wantQueue("four") },
		"after a change of framing": func(mb *mailbox) { mb.set("framing", "line"); mb.wantQueue("one", "two", "three", "four") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.with("capacity", "3", "framing", "close")
				var all []*client
				for _, text := range []string{"one", "two", "three"} {
					c := mb.writer("write "+text, "pause", "close", "say closed")
					c.expect(number(len(text)))
					all = append(all, c)
				}
				mb.set("capacity", "1")
				for i, c := range all {
					c.resume()
					c.expect("ok", "ok", "closed")
					c.output() // its process is gone
					mb.awaitStat("messages 1", "senders_waiting "+number(i), "sent 1")
				}
				does(t, "open "+mb.send+" wronly|nonblock", "ok", "write x", "EAGAIN")
				// Whoever sends now is behind them.
				mb.set("framing", "write")
				last := mb.parkSender("four")
				mb.wantStat("senders_waiting 3")
				admit(mb)
				last.expect("4")
				mb.awaitStat("messages 0", "senders_waiting 0", "open_senders 0", "sent 4")
				eventually(t, func() string { return differs(mb.m.daemonStat(t)["messages"], 0) })
			})
		})
	}
}

// Nobody is left to be told that it was refused: it arrives, or is counted.
func TestNoChangeOfPolicyLosesWhatWaitsInLine(t *testing.T) {
	t.Parallel()
	for _, change := range [][2]string{
		{"max_message", "2"}, {"capacity_bytes", "5"}, {"overflow", "fail"}, {"overflow", "drop-newest"}, {"overflow", "drop-oldest"},
		{"framing", "write"}, {"framing", "line"}, {"order", "priority"}, {"receivers", "single"}, {"receivers", "broadcast"}, {"capacity", "0"},
	} {
		t.Run(change[0]+" "+change[1], func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.with("capacity", "2", "framing", "close")
				c := mb.writer("write in line", "pause", "close", "pause")
				c.expect("7")
				bash(t, "echo -n q > "+mb.send).prints("")
				mb.awaitStat("messages 1")
				mb.set("capacity", "1")
				c.resume()
				c.expect("ok", "ok")
				mb.awaitStat("senders_waiting 1", "open_senders 0")
				mb.set(change[0], change[1])
				got := mb.take()
				mb.awaitStat("senders_waiting 0", "messages 0", "sent 2")
				stat := mb.stat()
				if stat["received"] != len(got) || stat["dropped"] != 2-len(got) {
					t.Errorf("of two messages %q were received; stat %v", got, stat)
				}
				if strings.HasPrefix(change[0], "max_m") || change[0] == "capacity_bytes" { // lowering one drops nothing
					if want := []string{"q", "in line"}; !slices.Equal(got, want) {
						t.Errorf("%q were received, want %q", got, want)
					}
				}
				if stat := mb.m.daemonStat(t); stat["messages"] != 0 || stat["bytes"] != 0 {
					t.Errorf(".ipcfs/stat = %v, want nothing held", stat)
				}
			})
		})
	}
}

func TestWhatWaitsInLineGoesWithTheMailbox(t *testing.T) {
	t.Parallel()
	m := mount(t)
	before := m.atRest(t)
	mb := m.mailbox(t, flat, "jobs").with("capacity", "0", "framing", "close")
	r := mb.parkReceiver()
	c := mb.writer("write x", "pause", "close")
	c.expect("1")
	r.kill()
	mb.awaitStat("receivers_waiting 0")
	c.resume()
	c.expect("ok", "ok")
	mb.awaitStat("senders_waiting 1", "messages 0", "sent 0")
	does(t, "unlink "+mb.path, "ok")
	c.output()
	m.leavesNothingBehind(t, before)
	if stat := m.daemonStat(t); stat["messages"] != 0 || stat["bytes"] != 0 || stat["objects"] != 0 {
		t.Errorf(".ipcfs/stat = %v, want nothing held", stat)
	}
}

func TestAMailboxDestroyedUnderABegunMessage(t *testing.T) {
	t.Parallel()
	for _, framing := range []string{"line", "close"} {
		m := mount(t)
		before := m.atRest(t)
		mb := m.mailbox(t, flat, "jobs").with("framing", framing)
		c := mb.writer("write half", "pause", "write more", "poll out 0", "close")
		c.expect("4")
		does(t, "unlink "+mb.path, "ok")
		c.resume()
		c.expect("ok", "EIDRM")
		c.output()
		m.leavesNothingBehind(t, before)
		if stat := m.daemonStat(t); stat["messages"] != 0 || stat["bytes"] != 0 {
			t.Errorf(".ipcfs/stat = %v, want nothing held", stat)
		}
	}
}

func TestTooLongAMessageIsRefusedByTheWriteThatMakesItSo(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("framing", "close", "max_message", "5")
		does(t, "open "+mb.send+" wronly", "ok", "write abc", "3", "write de", "2", "close", "ok")
		mb.awaitQueue("abcde")
		// Nothing is sent of what has become too long.
		for _, first := range []string{"write abcdef", "write abc"} {
			c := mb.writer(first, "write def", "poll out 0", "pause", "write x", "close")
			c.next()
			c.expect("EMSGSIZE", "out")
			if stat := mb.m.daemonStat(t); stat["bytes"] != 0 || stat["messages"] != 0 {
				t.Errorf(".ipcfs/stat = %v, want nothing held", stat)
			}
			c.resume()
			c.expect("ok", "EMSGSIZE", "ok")
			mb.awaitStat("open_senders 0")
			mb.wantStat("messages 0", "sent 1")
		}
		// A file that is all too long sends nothing, if its writer gives up.
		does(t, "open "+mb.send+" wronly", "ok", "write abcdef", "EMSGSIZE", "close", "ok")
		mb.awaitStat("open_senders 0")
		mb.wantStat("messages 0", "sent 1", "dropped 0")

		mb.set("framing", "line")
		does(t, "open "+mb.send+" wronly", "ok",
			`write a\nbbbb\ncccccc\nd\n`, "7", // a short count: the lines in front
			`write cccccc\nd\n`, "EMSGSIZE", // whose newline is too far
			`write ccccc\n`, "EMSGSIZE", `write cccc\n`, "5",
			"write eee", "3", `write eee\n`, "EMSGSIZE", `write e\n`, "2",
			`write ff\nffffff`, "3", "write ffffff", "EMSGSIZE",
			"write ff", "EMSGSIZE", `write f\ng\n`, "4", // up to its newline it is of the line that failed
			"write hhhhhh", "EMSGSIZE", "close", "ok")
		mb.awaitStat("open_senders 0")
		mb.wantQueue("a\n", "bbbb\n", "cccc\n", "e\n", "ff\n", "g\n")

		// What all can hold bounds it too.
		mb.with("framing", "close", "max_message", "max", "capacity_bytes", "4")
		does(t, "open "+mb.send+" wronly", "ok", "write abc", "3", "write d", "1", "close", "ok")
		mb.awaitQueue("abcd")
		does(t, "open "+mb.send+" wronly", "ok", "write abc", "3", "write de", "EMSGSIZE", "close", "ok")
		mb.awaitStat("open_senders 0", "messages 0")
	})
}

func TestMaxMessageFollowsFraming(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		open := "open " + mb.file("max_message") + " wronly"
		mb.wantPolicy("max_message", number(maxMessage))
		does(t, open, "ok", "write "+number(maxMessage+1), "EINVAL", "write 4194304", "EINVAL")
		for _, framing := range []string{"line", "close"} {
			mb.with("framing", framing, "capacity_bytes", "8M")
			does(t, open, "ok", "write 4194304", "7", "write 8388608", "7", "write 8388609", "EINVAL", "write 0x10", "EINVAL")
			mb.wantPolicy("max_message", "8388608")
			mb.set("max_message", "max")
			mb.wantPolicy("max_message", "max")
			mb.with("capacity_bytes", "max", "max_message", number(1<<30), "max_message", number(maxMessage), "framing", "write")
			does(t, open, "ok", "write "+number(maxMessage+1), "EINVAL")
		}
	})
}

func TestLinesWaitForRoomOneByOne(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("framing", "line", "capacity", "2")
		does(t, "open "+mb.send+" wronly|nonblock", "ok",
			`write a\nb\nc\n`, "4", `write c\n`, "EAGAIN", "write c", "EAGAIN", "close", "ok")
		mb.awaitStat("open_senders 0", "sent 2")
		mb.wantQueue("a\n", "b\n")
		mb.set("overflow", "fail")
		does(t, "open "+mb.send+" wronly", "ok", `write a\nb\nc\n`, "4", `write c\n`, "EAGAIN")
		mb.set("overflow", "block")
		mb.wantQueue("a\n", "b\n")

		c := mb.parked(mb.writer(`write a\nb\nc\nd\ne\n`, "close", "pause"))
		mb.wantStat("messages 2", "senders_waiting 1", "sent 6")
		does(t, "open "+mb.receive+" rdonly", "ok", "read 9", `"a\n"`)
		mb.awaitStat("messages 2", "senders_waiting 1", "sent 7")
		mb.wantQueue("b\n", "c\n", "d\n", "e\n")
		c.expect("10", "ok")
	})
}

// Two lines fit, and the beginning of a third has to wait like any other.
func TestTheBeginningOfALineBehindOthersWaitsForRoom(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("framing", "line", "capacity", "2")
		does(t, "open "+mb.send+" wronly|nonblock", "ok", `write a\nb\nc`, "4", "close", "ok")
		mb.awaitStat("open_senders 0")
		mb.wantQueue("a\n", "b\n")
		c := mb.parked(mb.writer(`write a\nb\nc`, "close", "pause"))
		mb.wantStat("senders_waiting 1", "messages 2")
		does(t, "open "+mb.receive+" rdonly", "ok", "read 9", `"a\n"`)
		c.expect("5", "ok")
		mb.awaitStat("messages 2", "sent 5")
		mb.wantQueue("b\n", "c")
	})
}

func TestAnInterruptedWriteOfLinesSaysHowManyWentWell(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("framing", "line", "capacity", "2")
		c := mb.writer(`write a\nbb\nc\nd\n`, `write c\nd\n`, "close", "pause")
		mb.parked(c).signal(syscall.SIGUSR1)
		c.expect("5")
		mb.parked(c).signal(syscall.SIGUSR1) // before its first line
		c.expect("EINTR", "ok")
		mb.awaitStat("open_senders 0", "senders_waiting 0")
		mb.wantQueue("a\n", "bb\n")
		mb.wantStat("sent 2")

		// Killed in the middle of its lines, it has sent those in front.
		c = mb.parked(mb.writer(`write a\nb\nc\nd`))
		c.kill()
		mb.awaitStat("open_senders 0", "senders_waiting 0")
		mb.wantQueue("a\n", "b\n")
	})
}

func TestLinesMeetTheirReceiversAtARendezvous(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("framing", "line", "capacity", "0")
		c := mb.parked(mb.writer(`write one\ntwo\n`, "close", "pause"))
		run(t, "cat", mb.receive).prints("one\n")
		mb.parked(c)
		run(t, "cat", mb.receive).prints("two\n")
		c.expect("8", "ok")

		loop := bash(t, "while read -r line; do echo \"got $line\"; done < "+mb.file("stream"))
		bash(t, `printf 'a\nb\nc\n' | cat > `+mb.send).prints("")
		loop.expect("got a", "got b", "got c")
		mb.wantStat("messages 0", "sent 5", "received 5")
	})
}

func TestOverflowOfFramedMessages(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("capacity", "1", "framing", "close", "overflow", "drop-oldest")
		for i, text := range []string{"one", "two"} {
			does(t, "open "+mb.send+" wronly|nonblock", "ok", "poll out 0", "out", "write "+text, "3", "write !", "1", "close", "ok")
			mb.awaitStat("sent "+number(i+1), "messages 1")
		}
		mb.wantStat("dropped 1")
		mb.wantQueue("two!")
		mb.set("overflow", "drop-newest")
		for i, text := range []string{"one", "two"} {
			does(t, "open "+mb.send+" wronly", "ok", "write "+text, "3", "write !", "1", "close", "ok")
			mb.awaitStat("sent "+number(i+3), "messages 1")
		}
		mb.wantStat("dropped 2")
		mb.wantQueue("one!")

		mb.with("framing", "line", "overflow", "drop-oldest")
		does(t, "open "+mb.send+" wronly", "ok", `write a\nb\nc\n`, "6")
		mb.wantQueue("c\n")
		mb.set("overflow", "drop-newest")
		does(t, "open "+mb.send+" wronly", "ok", `write a\nb\nc\n`, "6")
		mb.wantQueue("a\n")
		mb.wantStat("sent 10", "received 4", "dropped 6", "messages 0")
	})
}

func TestFramingChangesUnderOpenFiles(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		for _, row := range []struct {
			begun, next string
			second      string   // what is written under next
			at          []string // what is there then
			end         []string // what close adds
		}{
			{"close", "line", `def\ngh`, []string{"abcdef\n"}, []string{"gh"}},
			{"line", "close", `d\ne`, nil, []string{"abcd\ne"}},
			{"close", "write", "def", []string{"abcdef"}, nil},
			{"line", "write", `d\nef`, []string{"abcd\nef"}, nil},
			{"close", "write", "", nil, []string{"abc"}}, // nothing more is written
			{"line", "close", "", nil, []string{"abc"}},
		} {
			mb.set("framing", row.begun)
			c := mb.writer("write abc", "pause", "write "+row.second, "pause", "close", "pause")
			c.expect("3")
			mb.set("framing", row.next)
			mb.wantStat("messages 0")
			c.resume()
			c.expect("ok", number(len(strings.ReplaceAll(row.second, `\n`, "n"))))
			mb.awaitQueue(row.at...)
			c.resume()
			c.expect("ok", "ok")
			mb.awaitStat("open_senders 0")
			mb.awaitQueue(row.end...)
		}
		mb.set("framing", "write")
		c := mb.writer("write a", "pause", "write b", "write c", "close")
		c.expect("1")
		mb.wantQueue("a")
		mb.set("framing", "close")
		c.resume()
		c.output()
		mb.awaitQueue("bc")
	})
}

func TestEverySendingEndpointIsFramed(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("framing", "close", "order", "priority", "capacity", "1")
		send := func(endpoint, text string) {
			does(t, "open "+mb.file(endpoint)+" wronly|nonblock", "ok", "write "+text, number(len(text)), "write !", "1", "close", "ok")
			mb.awaitStat("open_senders 0")
		}
		send("topic/news", "news")
		mb.wantFrom("topic/news", "news!")
		send("priority/3", "three")
		mb.wantFrom("priority/3", "three!")
		mb.set("capacity", "2")
		send("priority/3", "three")
		send("priority/9", "nine")
		send("urgent", "fire") // though it is full
		mb.wantStat("messages 3", "sent 5")
		does(t, "open "+mb.receive+" rdonly|nonblock", "ok", "poll in|pri 0", "in|pri")
		mb.wantQueue("fire!", "nine!", "three!")

		// It is for who waits for it when it is whole.
		c := cli(t, "open "+mb.file("topic/t")+" rdonly", "read 100")
		c.expect("ok")
		mb.parked(c)
		send("topic/u", "other")
		mb.parked(c)
		send("topic/t", "mine")
		c.expect(`"mine!"`)
		mb.wantFrom("topic/u", "other!")

		mb.with("framing", "line", "capacity", "max")
		bash(t, `printf 'a\nb\n' | cat > `+mb.file("priority/9")).prints("")
		mb.awaitStat("open_senders 0")
		mb.wantFrom("priority/9", "a\n", "b\n")
	})
}

func TestAFramedMessageIsNumberedWhenItIsWhole(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("framing", "close")
		c := mb.writer("write fir", "pause", "write st", "close", "pause")
		c.expect("3")
		bash(t, "echo second > "+mb.send).prints("")
		mb.awaitStat("messages 1")
		c.resume()
		c.expect("ok", "2", "ok")
		mb.awaitQueue("second\n", "first")
	})
}

func TestBegunMessagesAreOnTheBooks(t *testing.T) {
	t.Parallel()
	needRoot(t)
	user := nobody(t)
	for _, row := range []struct{ limit, errno string }{{"bytes 10", "ENOSPC"}, {"user_bytes 10", "EDQUOT"}} {
		for _, framing := range []string{"line", "close"} {
			t.Run(row.limit+", "+framing, func(t *testing.T) {
				t.Parallel()
				m := mount(t, "allow_other")
				mb := m.mailbox(t, directory, "jobs").with("framing", framing)
				does(t, "chmod "+mb.send+" 622", "ok")
				m.limit(t, row.limit)
				open := "open " + mb.send + " wronly"
				// What cannot be booked is not sent, and leaves the books.
				c := cliAs(t, user, open, "write 12345678", "write 9ab", "write 9a", "pause", "write x", "close")
				c.expect("ok", "8", row.errno, row.errno)
				if stat := m.daemonStat(t); stat["bytes"] != 0 {
					t.Errorf("%d bytes of a message that failed are on the books, want none", stat["bytes"])
				}
				c.resume()
				c.expect("ok", row.errno, "ok")
				mb.awaitStat("open_senders 0")
				mb.wantStat("messages 0", "sent 0")
				c = cliAs(t, user, open, "write 12345678", "write 9a", "pause", "close")
				c.expect("ok", "8", "2")
				if stat := m.daemonStat(t); stat["bytes"] != 10 {
					t.Errorf("%d bytes are on the books, want 10", stat["bytes"])
				}
				doesAs(t, user, open, "ok", "write x", row.errno)
				c.resume()
				c.output()
				mb.awaitQueue("123456789a")
				// Discarded, it is on the books no more.
				c = cliAs(t, user, open, "write 1234567890", "pause")
				c.expect("ok", "10")
				doesAs(t, user, open, "ok", "write x", row.errno)
				c.kill()
				eventually(t, func() string { return differs(m.daemonStat(t)["bytes"], 0) })
				doesAs(t, user, open, "ok", "write 1234567890", "10")
				mb.awaitQueue("1234567890")
			})
		}
	}
	t.Run("user_messages", func(t *testing.T) {
		t.Parallel()
		m := mount(t, "allow_other")
		mb := m.mailbox(t, directory, "jobs").with("framing", "close")
		does(t, "chmod "+mb.send+" 622", "ok")
		m.limit(t, "user_messages 1")
		open := "open " + mb.send + " wronly"
		c := cliAs(t, user, open, "write one", "pause", "write  message")
		c.expect("ok", "3")
		doesAs(t, user, open, "ok", "write x", "EDQUOT")
		does(t, open, "ok", "write other", "5")
		c.resume()
		c.output()
		mb.awaitQueue("other", "one message")
	})
}

func TestLinesBeyondAQuotaAreAShortCount(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	mb := m.mailbox(t, directory, "jobs").with("framing", "line")
	does(t, "chmod "+mb.send+" 622", "ok")
	m.limit(t, "user_messages 2")
	doesAs(t, nobody(t), "open "+mb.send+" wronly", "ok", `write a\nb\nc\nd\n`, "4", `write c\n`, "EDQUOT")
	mb.wantQueue("a\n", "b\n")
}

func TestTraceAndListOfFramedMailboxes(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	tr := m.traced(t, "cat", m.path(".ipcfs/trace"))
	mb.with("framing", "close", "capacity", "1")
	bash(t, "{ echo one; echo two; } > "+mb.send).prints("")
	mb.awaitStat("messages 1")
	c := mb.parked(mb.writer("write x"))
	c.kill()
	mb.awaitStat("senders_waiting 0", "open_senders 0")
	mb.wantQueue("one\ntwo\n")
	m.wellTraced(t, tr, "set-framing mailboxes/jobs 5 ok")
	if got := m.listing(t, "jobs").Policies["framing"]; got != "close" {
		t.Errorf("ls --json says framing=%q, want close", got)
	}
	if line := run(t, ipcfsBin, "ls", m.dir).output(); !strings.Contains(line, "framing=close") {
		t.Errorf("ls printed %q, want framing=close in it", line)
	}
}
