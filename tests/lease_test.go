package tests

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func (mb *mailbox) leaseFile() string { return mb.file("lease") }

// worker starts an ipccli that takes a message on lease and performs the operations when it is resumed, and then after
// each of its pauses.
func (mb *mailbox) worker(message string, operations ...string) *client {
	mb.t.Helper()
	c := cli(mb.t, append([]string{"catch usr1", "open " + mb.leaseFile() + " rdwr", "read 1048576", "pause"}, operations...)...)
	c.expect("ok", "ok", strconv.Quote(message))
	return c
}

// deliveries reads the next message's envelope and returns what it says of them, 0 if nothing.
func (mb *mailbox) deliveries(body string) int {
	mb.t.Helper()
	line := run(mb.t, "cat", mb.file("envelope")).output()
	var envelope struct {
		Body       string
		Deliveries *int
	}
	if err := json.Unmarshal([]byte(line), &envelope); err != nil || envelope.Body != body {
		mb.t.Fatalf("envelope gave %s, %v; want the body %q", line, err, body)
	}
	if envelope.Deliveries == nil {
		return 0
	}
	if *envelope.Deliveries == 0 {
		mb.t.Errorf("envelope gave %s, want no deliveries where there were none", line)
	}
	return *envelope.Deliveries
}

// addsUp fails unless each message that was sent is somewhere.
func (mb *mailbox) addsUp() {
	mb.t.Helper()
	s := mb.stat()
	if s["sent"] != s["received"]+s["dropped"]+s["expired"]+s["messages"]+s["leased"] {
		mb.t.Errorf("stat = %v, want sent = received + dropped + expired + messages + leased", s)
	}
}

func TestLeasePoliciesReadAsTheyWereSet(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		for _, row := range [][3]string{
			{"lease_time", "max", ""}, {"max_deliveries", "max", ""}, {"dead_letters", "", ""},
			{"lease_time", "30s", "30s"}, {"lease_time", "max", "max"}, {"lease_time", "500ms", "500ms"},
			{"max_deliveries", "1", "1"}, {"max_deliveries", "max", "max"}, {"max_deliveries", "3", "3"},
			{"dead_letters", "dead", "dead"}, {"dead_letters", "", ""}, {"dead_letters", "two words", "two words"},
		} {
			if row[2] != "" || row[0] == "dead_letters" {
				mb.set(row[0], row[1])
			}
			mb.wantPolicy(row[0], row[1])
		}
		for policy, values := range map[string][]string{
			"lease_time":     {"0", "0s", "10", "-1s", "1.5s", "s", "never", "9999999999999h", `\n`},
			"max_deliveries": {"0", "-1", "x", "1.5", "99999999999999999999", `\n`},
			"dead_letters":   {"a/b", ".", "..", "../jobs"},
		} {
			for _, value := range values {
				does(t, "open "+mb.file(policy)+" wronly", "ok", "write "+value, "EINVAL")
			}
		}
		mb.wantPolicy("lease_time", "500ms")
		mb.wantPolicy("max_deliveries", "3")
		mb.wantPolicy("dead_letters", "two words")
		policies := mb.m.listing(t, "jobs").Policies
		for name, want := range map[string]string{"lease_time": "500ms", "max_deliveries": "3", "dead_letters": "two words"} {
			if policies[name] != want {
				t.Errorf("ls --json says %s=%q, want %q", name, policies[name], want)
			}
		}
		mb.set("dead_letters", "")
		if got, ok := mb.m.listing(t, "jobs").Policies["dead_letters"]; got != "" || !ok {
			t.Errorf("ls --json says dead_letters=%q, %t; want it empty", got, ok)
		}
		mb.wantStat("leased 0", "redelivered 0")
	})
}

// What no mailbox can be called is no name of one, and would break the lines of .ipcfs/objects.
func TestDeadLettersIsANameThatAMailboxCanHave(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	for _, value := range []string{`dead\nletters`, `dead\x07`, `\xff`, "dead.d", strings.Repeat("n", 256)} {
		if complaint := performs(t, nil, "open "+mb.file("dead_letters")+" wronly", "ok", "write "+value, "EINVAL"); complaint != "" {
			t.Error(complaint)
		}
		text, err := os.ReadFile(m.path(".ipcfs", "objects"))
		if err != nil || strings.Count(string(text), "\n") != 1 {
			t.Errorf(".ipcfs/objects = %q, %v; want one line for one mailbox", text, err)
		}
	}
	mb.wantPolicy("dead_letters", "")
}

func TestALeaseIsOpenedForBoth(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		does(t, "open "+mb.leaseFile()+" rdonly", "EACCES", "open "+mb.leaseFile()+" wronly", "EACCES", "open "+mb.leaseFile()+" rdonly|nonblock", "EACCES",
			"stat "+mb.leaseFile(), "600 "+ownID()+" 0", "open "+mb.leaseFile()+" rdwr", "ok", "lseek 0 set", "ESPIPE")
		bash(t, "cat "+mb.leaseFile()).fails(1, "Permission denied")
		bash(t, "echo ack > "+mb.leaseFile()).fails(1, "Permission denied")
	})
}

func TestAckFinishesAndNackReturns(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one", "two")
		c := mb.worker("one", "read 100", "read 100", `write nack\n`, "write ack", "pause", "read 100", "write ack", "write ack", "write nack", "write extend 1s", "pause")
		mb.wantStat("messages 1", "bytes 3", "leased 1", "received 0", "redelivered 0")
		if got := mb.names("messages"); got != "2" {
			t.Errorf("messages lists %q, want 2", got)
		}
		does(t, "stat "+mb.file("messages/1"), "ENOENT", "unlink "+mb.file("messages/1"), "ENOENT", "open "+mb.file("peek")+" rdonly", "ok", "read 9", `"two"`)
		if o := mb.m.listing(t, "jobs"); o.Messages != 1 || o.Bytes != 3 {
			t.Errorf("ls --json says %+v, want one message of 3 bytes", o)
		}
		if stat := mb.m.daemonStat(t); stat["messages"] != 2 || stat["bytes"] != 6 {
			t.Errorf(".ipcfs/stat = %v, want both messages on the books", stat)
		}
		mb.addsUp()
		c.wantHeard(`""`, "EBUSY", "5", "ENOMSG")
		mb.wantStat("messages 2", "bytes 6", "leased 0", "received 0", "redelivered 1")
		mb.addsUp()
		c.wantHeard(`"one"`, "3", "ENOMSG", "ENOMSG", "ENOMSG")
		mb.wantStat("messages 1", "leased 0", "received 1", "redelivered 1", "sent 2")
		mb.addsUp()
		mb.wantQueue("two")
		c.kill()
		mb.awaitStat("open_receivers 0", "messages 0", "redelivered 1")
	})
}

func TestAFinishedLeaseMakesWayForTheNext(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		// Whether the end of file was read or not.
		mb.put("one", "two", "three", "four")
		does(t, "open "+mb.leaseFile()+" rdwr", "ok", "read 100", `"one"`, "write ack", "3", "read 100", `"two"`, "read 100", `""`,
			"write ack", "3", "read 3", `"thr"`, "write ack", "3", "read 100", `"four"`, "write ack", "3")
		mb.wantStat("messages 0", "received 4", "leased 0")
	})
}

func TestALeasedMessageIsReadInParts(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("abcdef", "next")
		does(t, "open "+mb.leaseFile()+" rdwr", "ok", "read 4", `"abcd"`, "read 4", `"ef"`, "read 4", `""`, "read 4", "EBUSY",
			"write nack", "4", "read 4", `"abcd"`, "write nack", "4", "read 100", `"abcdef"`, "write ack", "3")
		mb.wantQueue("next")
		does(t, "open "+mb.send+" wronly", "ok", "fill "+number(maxMessage)+" z", number(maxMessage))
		does(t, "open "+mb.leaseFile()+" rdwr", "ok", "read 2000000", number(maxMessage)+"*z", "write ack", "3")
		// Event loops know no end of file.
		mb.put("one", "two")
		does(t, "open "+mb.leaseFile()+" rdwr|nonblock", "ok", "poll in|out 0", "in|out", "read 9", `"one"`, "read 9", "EBUSY", "write ack", "3",
			"read 9", `"two"`, "write ack", "3", "poll in|out 0", "out", "read 9", "EAGAIN")
	})
}

func TestWhatIsNoSettlementIsEINVALAndChangesNothing(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one")
		var operations, wants []string
		for _, word := range []string{`\n`, "ACK", "acknowledge", "ack ack", "ack 1", "nack 1s", "extend", "extend 0s", "extend 10", "extend -1s",
			"extend 1s 1s", "extend s", "extend 1.5s", "prolong 1s", `ack\nack`, `\xff`} {
			operations, wants = append(operations, "write "+word), append(wants, "EINVAL")
		}
		c := mb.worker("one", append(operations, "pause", "write ack")...)
		c.wantHeard(wants...)
		mb.wantStat("messages 0", "leased 1", "received 0", "redelivered 0")
		c.wantHeard("3")
		mb.wantStat("messages 0", "leased 0", "received 1")
	})
}

func TestTheShellWorker(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		worker := `
			work() { case $1 in bad*) [ "$n" = 2 ];; esac && echo "did $1"; }
			exec 3<> "$L"
			n=0
			while job=$(cat <&3); do n=$((n + 1)); work "$job" && echo ack >&3 || echo nack >&3; done`
		c := command{argv: []string{"bash", "-c", worker}, env: []string{"L=" + mb.leaseFile()}}.run(t)
		mb.awaitWaiters(1)
		if w := mb.waiters()[0]; w.operation != "lease" || w.command != "cat" {
			t.Errorf("the waiter is %+v, want cat in lease", w)
		}
		bash(t, "echo bad job > "+mb.send).prints("")
		c.expect("did bad job") // the second time
		bash(t, "echo two > "+mb.send+"; printf %s 'three, without an end' > "+mb.send).prints("")
		c.expect("did two", "did three, without an end")
		mb.awaitStat("messages 0", "leased 0", "received 3", "redelivered 1", "receivers_waiting 1")
		mb.addsUp()
		if mb.path == mb.send {
			does(t, "unlink "+mb.path, "ok")
			c.output() // EIDRM ends the loop
		}
	})
}

func TestAnEventLoopHoldsSeveralLeases(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := run(t, python, "-c", `
import os, select, sys
loop = select.epoll()
leases = {}
for i in range(3):
    fd = os.open(sys.argv[1], os.O_RDWR | os.O_NONBLOCK)
    loop.register(fd, select.EPOLLIN)
print("ready", flush=True)
while True:
    for fd, events in loop.poll():
        try:
            leases[fd] = os.read(fd, 100).decode()
        except BlockingIOError:
            continue # another one was faster
        print("took", leases[fd], flush=True)
        loop.modify(fd, 0)
    if len(leases) == 3:
        break
sys.stdin.readline()
for fd, job in sorted(leases.items(), key=lambda l: l[1]):
    print(os.write(fd, b"ack" if job != "b" else b"nack"), flush=True)
    loop.modify(fd, select.EPOLLIN)
(fd, events), = loop.poll(maxevents=1)
print("again", os.read(fd, 100).decode(), os.write(fd, b"ack"), flush=True)
print([events for fd, events in loop.poll(0) if events & select.EPOLLIN])
`, mb.leaseFile())
		c.expect("ready")
		c.asleep()
		for _, job := range []string{"a", "b", "c"} {
			mb.put(job)
			c.expect("took " + job)
		}
		mb.wantStat("leased 3", "messages 0", "open_receivers 3")
		c.resume()
		c.expect("3", "4", "3", "again b 3", "[]")
		c.output()
		mb.wantStat("leased 0", "messages 0", "received 3", "redelivered 1")
	})
}

func TestReadingALineAtATimeTakesAMessageEach(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one\n", "two\n", "three\n")
		command{argv: []string{"bash", "-c", `
			exec 3<> "$L"
			for i in 1 2 3; do read -r job <&3 && echo "got $job"; echo ack >&3; done`}, env: []string{"L=" + mb.leaseFile()}, stdin: []byte{}}.
			run(t).prints("got one\ngot two\ngot three\n")
		mb.wantStat("messages 0", "received 3")
	})
}

func TestTheEndOfAWorkerReturnsItsMessage(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *client){
		"close":   func(c *client) { c.wantHeard("ok") },
		"exit":    func(c *client) { c.output() },
		"SIGKILL": func(c *client) { c.kill() },
		"SIGTERM": func(c *client) { c.signal(syscall.SIGTERM) },
	} {
		operations := []string{"close", "pause"}
		if name == "exit" {
			operations = nil
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				before := mb.m.atRest(t)
				mb.put("one", "two", "three", "four")
				a, b := mb.worker("one", operations...), mb.worker("two", "write ack", "pause")
				mb.wantStat("messages 2", "leased 2")
				end(a)
				mb.awaitStat("messages 3", "leased 1", "redelivered 1")
				c := mb.worker("one", "close") // at the head
				c.kill()
				mb.awaitStat("messages 3", "leased 1", "redelivered 2")
				b.wantHeard("3")
				if n := mb.deliveries("one"); n != 2 { // taken for good
					t.Errorf("the envelope says deliveries %d, want 2", n)
				}
				if n := mb.deliveries("three"); n != 0 {
					t.Errorf("the envelope says deliveries %d, want none", n)
				}
				mb.wantQueue("four")
				mb.wantStat("sent 4", "received 4", "redelivered 2", "leased 0", "dropped 0")
				a.kill()
				b.kill()
				mb.m.leavesNothingBehind(t, before)
			})
		})
	}
}

func TestAMessageReadInPartReturnsWhole(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one and all")
		c := cli(t, "open "+mb.leaseFile()+" rdwr", "read 3", "pause")
		c.expect("ok", `"one"`)
		c.kill()
		mb.awaitStat("messages 1", "leased 0", "redelivered 1")
		mb.set("lease_time", "1ms")
		c = cli(t, "open "+mb.leaseFile()+" rdwr", "read 3", "pause", "read 100", "read 100", "pause")
		c.expect("ok", `"one"`)
		mb.awaitStat("messages 1", "leased 0", "redelivered 2")
		mb.set("lease_time", "max")
		// The rest is not given out, neither as what is left nor as another message.
		c.wantHeard("ETIME", `"one and all"`)
		c.kill()
		mb.awaitStat("messages 1", "redelivered 3")
		mb.wantQueue("one and all")
	})
}

func TestLongMessagesAreLeased(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("framing", "close", "max_message", "max")
		message := text(3 << 20)
		command{argv: []string{"bash", "-c", "exec cat > " + mb.send}, stdin: []byte(message)}.run(t).prints("")
		for _, word := range []string{"nack", "ack"} {
			bash(t, "exec 3<> "+mb.leaseFile()+"; cat <&3; echo "+word+" >&3").prints(message)
		}
		mb.wantStat("messages 0", "received 1", "redelivered 1")
	})
}

func TestReturnedMessagesStandInTheOrderOfTheirNumbers(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("1", "2", "3", "4")
		a, b, c := mb.worker("1", "write nack"), mb.worker("2", "write nack"), mb.worker("3", "write nack")
		b.wantHeard("4")
		a.wantHeard("4")
		c.wantHeard("4")
		mb.put("5")
		if got := mb.names("messages"); got != "1 2 3 4 5" {
			t.Errorf("messages lists %q, want all five", got)
		}
		mb.wantQueue("1", "2", "3", "4", "5")

		// Within their rank.
		mb.set("order", "priority")
		mb.put("six")
		mb.putAs("priority/5", "seven", "eight")
		mb.putAs("urgent", "nine")
		d, e, f := mb.worker("nine", "write nack"), mb.worker("seven", "write nack"), mb.worker("eight", "write nack")
		f.wantHeard("4")
		mb.putAs("priority/9", "ten")
		mb.putAs("urgent", "eleven")
		e.wantHeard("4")
		d.wantHeard("4")
		mb.wantQueue("nine", "eleven", "ten", "seven", "eight", "six")
	})
}

func TestAReturnedMessageGoesToWhoWaits(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one")
		c := mb.worker("one", "write nack")
		r := mb.parkReceiver()
		next := cli(t, "open "+mb.leaseFile()+" rdwr|nonblock", "nonblock off", "read 9")
		next.expect("ok", "ok")
		mb.parked(next)
		all := mb.waiters()
		if len(all) != 2 || all[0].operation != "receive" || all[1].operation != "lease" {
			t.Errorf("the waiters are %+v, want one in receive and one in lease", all)
		}
		poller := cli(t, "open "+mb.leaseFile()+" rdwr|nonblock", "poll in -1")
		poller.expect("ok")
		poller.asleep()
		c.wantHeard("4")
		r.expect(`"one"`) // in turn
		mb.parked(next)
		mb.wantStat("received 1", "messages 0", "leased 0", "receivers_waiting 1")
		mb.put("two", "three")
		next.expect(`"two"`)
		poller.expect("in")
		mb.awaitStat("messages 2") // next ends, with what it has
	})
}

func TestSignalsEndAWaitForALease(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		before := mb.m.atRest(t)
		open := "open " + mb.leaseFile() + " rdwr"
		does(t, open+"|nonblock", "ok", "poll in|out 0", "out", "read 9", "EAGAIN", "write ack", "ENOMSG")
		c := cli(t, "catch usr1", open, "read 9", "pause", "read 9", "write ack")
		c.expect("ok", "ok")
		mb.parked(c).signal(syscall.SIGUSR1)
		c.expect("EINTR")
		killed := cli(t, open, "read 9")
		killed.expect("ok")
		mb.parked(killed).kill()
		mb.awaitWaiters(0)
		mb.put("hello")
		mb.wantStat("messages 1", "leased 0", "redelivered 0")
		c.wantHeard(`"hello"`, "3")
		c.output()
		mb.wantStat("messages 0", "received 1", "redelivered 0")
		mb.m.leavesNothingBehind(t, before)
	})
}

// The process that opened it is the one that counts, whoever else has the descriptor.
func TestALeaseEndsWithItsProcessThoughAChildHasTheDescriptor(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("hello")
		c := run(t, python, "-c", `
import errno, os, signal, sys
fd = os.open(sys.argv[1], os.O_RDWR)
print(os.read(fd, 100).decode(), flush=True)
child = os.fork()
if child == 0:
    null = os.open("/dev/null", os.O_RDWR)
    for std in 0, 1, 2:
        os.dup2(null, std)
    signal.pause()
print(child, flush=True)
signal.pause()`, mb.leaseFile())
		c.expect("hello")
		child, err := strconv.Atoi(c.next())
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Kill(child, syscall.SIGKILL)
		mb.wantStat("messages 0", "leased 1")
		c.signal(syscall.SIGKILL)
		mb.awaitStat("messages 1", "leased 0", "redelivered 1")
		if process(child).dead() {
			t.Error("the child that has the descriptor is dead, too")
		}
		if n := mb.deliveries("hello"); n != 1 {
			t.Errorf("the envelope says deliveries %d, want 1", n)
		}
		// Its own end returns nothing more.
		mb.put("other")
		w := mb.worker("other", "write ack")
		syscall.Kill(child, syscall.SIGKILL)
		mb.awaitStat("open_receivers 1")
		w.wantHeard("3")
		mb.wantStat("messages 0", "leased 0", "received 2", "redelivered 1")
	})
}

func TestWhatAChildOfADeadWorkerDoesTakesNothing(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		// The child reads, as cat in $(cat <&3) does, when its parent is killed.
		c := run(t, python, "-c", `
import os, signal, sys
fd = os.open(sys.argv[1], os.O_RDWR)
child = os.fork()
if child == 0:
    null = os.open("/dev/null", os.O_RDWR)
    for std in 0, 1, 2:
        os.dup2(null, std)
    try:
        os.read(fd, 100)
    except OSError:
        pass
    signal.pause()
print(child, flush=True)
signal.pause()`, mb.leaseFile())
		child, err := strconv.Atoi(c.next())
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Kill(child, syscall.SIGKILL)
		mb.awaitWaiters(1)
		c.kill()
		mb.put("hello")
		mb.awaitStat("messages 1", "leased 0")
		if process(child).dead() {
			t.Error("the child that has the descriptor is dead, too")
		}
		mb.wantQueue("hello")
	})
}

func TestALeaseRunsOut(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one")
		forever := mb.worker("one", "write ack", "pause")
		mb.set("lease_time", "20ms") // for leases taken from now on
		mb.put("two", "three")
		c := mb.worker("two", "write ack", "write ack", "read 100", "pause")
		mb.awaitStat("messages 2", "leased 1", "redelivered 1")
		mb.set("lease_time", "max")
		d := mb.worker("two", "write ack")
		c.wantHeard("ETIME", "ENOMSG", `"three"`)
		mb.wantStat("messages 0", "leased 3", "received 0")
		d.wantHeard("3")
		forever.resume()
		forever.expect("ok", "3")
		mb.wantStat("received 2", "leased 1", "redelivered 1")
		mb.addsUp()
	})
}

func TestEverySettlementOfALeaseThatRanOutIsETIMEOnce(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		for i, word := range []string{"ack", "nack", "extend 1h"} {
			mb.put("one")
			mb.set("lease_time", "1ms")
			c := mb.worker("one", "write "+word, "write "+word)
			mb.awaitStat("messages 1", "leased 0", "redelivered "+number(i+1))
			c.wantHeard("ETIME", "ENOMSG")
			mb.wantQueue("one")
			mb.wantStat("redelivered "+number(i+1), "received "+number(i+1))
		}
	})
}

func TestExtendMovesTheEndOfALease(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("lease_time", "1h").put("long", "short", "max")
		long := mb.worker("long", `write extend 2h\n`, "write extend 30d", "pause", "write extend 1ms", "pause", "write ack")
		short := mb.worker("short", "write extend 10ms", "pause", "write extend 1h")
		long.wantHeard("10", "10")
		short.wantHeard("11")
		mb.awaitStat("messages 2", "leased 1", "redelivered 1")
		short.wantHeard("ETIME")
		long.wantHeard("10") // it may be shortened too
		mb.awaitStat("messages 3", "leased 0", "redelivered 2")
		long.wantHeard("ETIME")
		mb.wantQueue("long", "short", "max")
	})
}

func TestALeaseThatRunsOutServesWhoWaits(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one")
		c := mb.worker("one", "write extend 20ms")
		next := cli(t, "open "+mb.leaseFile()+" rdwr", "read 9", "write ack")
		next.expect("ok")
		mb.parked(next)
		c.wantHeard("11")
		next.expect(`"one"`, "3")
		mb.wantStat("received 1", "redelivered 1", "leased 0", "messages 0")
	})
}

func TestALeasedMessageKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("capacity", "2")
		mb.put("one", "two")
		sender := mb.parkSender("three")
		c := mb.worker("one", "write nack")
		sender.expect("5") // there is room
		c.wantHeard("4")
		mb.wantStat("messages 3", "dropped 0", "redelivered 1") // and it returns nevertheless
		does(t, "open "+mb.send+" wronly|nonblock", "ok", "write x", "EAGAIN")
		mb.wantQueue("one", "two", "three")

		for _, overflow := range []string{"drop-oldest", "drop-newest", "fail"} {
			mb.with("capacity", "1", "overflow", overflow)
			mb.put("one")
			c := mb.worker("one", "write nack")
			mb.put("two")
			c.wantHeard("4")
			mb.wantStat("messages 2", "dropped 0")
			mb.wantQueue("one", "two")
		}
	})
}

func TestLeasesAtARendezvous(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("capacity", "0")
		does(t, "open "+mb.leaseFile()+" rdwr|nonblock", "ok", "read 9", "EAGAIN")
		sender := mb.parkSender("one")
		c := mb.worker("one", "write nack", "pause")
		sender.expect("3") // the lease is its receiver
		mb.wantStat("leased 1", "messages 0", "sent 1", "received 0")
		c.wantHeard("4")
		mb.wantStat("leased 0", "messages 1", "redelivered 1")
		does(t, "open "+mb.receive+" rdonly|nonblock", "ok", "poll in 0", "in", "read 9", `"one"`)

		next := cli(t, "open "+mb.leaseFile()+" rdwr", "read 9", "write ack")
		next.expect("ok")
		mb.parked(next)
		mb.put("two")
		next.expect(`"two"`, "3")
		mb.awaitStat("sent 2", "received 2", "leased 0", "messages 0")
	})
}

func TestAMailboxWithALeasedMessageIsBusy(t *testing.T) {
	t.Parallel()
	m := mount(t)
	before := m.atRest(t)
	mb := m.mailbox(t, directory, "jobs")
	mb.put("one")
	c := mb.worker("one", "write ack", "pause", "read 9", "write ack")
	does(t, "rmdir "+mb.path, "EBUSY")
	run(t, ipcfsBin, "rm", mb.path).fails(1, "busy")
	mb.set("flush", "")
	mb.wantStat("leased 1", "messages 0", "dropped 0")
	c.wantHeard("3")
	does(t, "rmdir "+mb.path, "ok")
	c.wantHeard("EIDRM", "EIDRM")
	c.output()

	mb = m.mailbox(t, flat, "jobs")
	mb.put("one")
	c = mb.worker("one", "write ack", "read 9")
	does(t, "unlink "+mb.path, "ok")
	c.wantHeard("EIDRM", "EIDRM")
	c.output()
	m.leavesNothingBehind(t, before)
	if stat := m.daemonStat(t); stat["messages"] != 0 || stat["bytes"] != 0 || stat["objects"] != 0 {
		t.Errorf(".ipcfs/stat = %v, want nothing held", stat)
	}
}

func TestALeasedMessageStaysOnItsSendersBooks(t *testing.T) {
	t.Parallel()
	needRoot(t)
	user := nobody(t)
	m := mount(t, "allow_other")
	mb := m.mailbox(t, directory, "jobs")
	does(t, "chmod "+mb.send+" 622", "ok")
	m.limit(t, "user_messages 1")
	open := "open " + mb.send + " wronly"
	doesAs(t, user, open, "ok", "write one", "3")
	c := mb.worker("one", "write nack", "read 9", "pause", "write ack")
	doesAs(t, user, open, "ok", "write two", "EDQUOT")
	c.wantHeard("4", `"one"`)
	doesAs(t, user, open, "ok", "write two", "EDQUOT")
	c.wantHeard("3")
	doesAs(t, user, open, "ok", "write two", "3")
	if stat := m.daemonStat(t); stat["messages"] != 1 || stat["bytes"] != 3 {
		t.Errorf(".ipcfs/stat = %v, want one message of 3 bytes", stat)
	}
	doesAs(t, user, "open "+mb.leaseFile()+" rdwr", "EACCES")
}

func TestAMessageReturnedTooOftenIsADeadLetter(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		dead := mb.m.mailbox(t, directory, "dead")
		mb.with("max_deliveries", "2", "dead_letters", "dead")
		mb.put("poison")
		mb.putAs("topic/t", "two")
		mb.worker("poison", "write nack").wantHeard("4")
		mb.awaitStat("messages 2", "leased 0")
		r := dead.parkReceiver()
		mb.worker("poison").kill()
		r.expect(`"poison"`) // it is delivered to who waits there
		mb.awaitStat("messages 1", "leased 0", "dropped 0")
		mb.set("lease_time", "1ms")
		for range 2 {
			// By the time its client has printed it, the lease may have run out already.
			c := cli(t, "open "+mb.leaseFile()+" rdwr", "read 9", "pause")
			c.expect("ok", `"two"`)
			mb.awaitStat("leased 0")
			c.kill()
		}
		mb.awaitStat("messages 0", "dropped 0", "expired 0")
		dead.awaitStat("messages 1", "sent 2", "received 1")
		dead.wantFrom("topic/t", "two")
		mb.addsUp()
	})
}

func TestADeadLetterThatIsNotTakenReturns(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(mb *mailbox){
		"none is named": func(mb *mailbox) {},
		"it is missing": func(mb *mailbox) { mb.set("dead_letters", "missing") },
		"it is renamed": func(mb *mailbox) {
			dead := mb.m.mailbox(mb.t, directory, "dead")
			mb.set("dead_letters", "dead")
			does(mb.t, "rename "+dead.path+" "+dead.path+"2", "ok")
		},
		"it is full": func(mb *mailbox) {
			mb.m.mailbox(mb.t, directory, "dead").with("capacity", "1").put("x")
			mb.set("dead_letters", "dead")
		},
		"it is a rendezvous": func(mb *mailbox) {
			mb.m.mailbox(mb.t, flat, "dead").with("capacity", "0")
			mb.set("dead_letters", "dead")
		},
		"it is too long": func(mb *mailbox) {
			mb.m.mailbox(mb.t, flat, "dead").with("max_message", "2")
			mb.set("dead_letters", "dead")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.set("max_deliveries", "1")
				prepare(mb)
				mb.put("poison", "two")
				for range 3 {
					mb.worker("poison", "write nack").wantHeard("4")
					mb.awaitStat("messages 2", "leased 0")
				}
				if n := mb.deliveries("poison"); n != 3 {
					t.Errorf("the envelope says deliveries %d, want 3", n)
				}
				mb.wantQueue("two")
				mb.wantStat("sent 2", "received 2", "dropped 0", "redelivered 3")
			})
		})
	}
}

func TestDeadLettersThatGoRoundAreNotLost(t *testing.T) {
	t.Parallel()
	m := mount(t)
	a, b := m.mailbox(t, directory, "a"), m.mailbox(t, directory, "b")
	a.with("max_deliveries", "1", "dead_letters", "b")
	b.with("max_deliveries", "1", "dead_letters", "a")
	a.put("poison")
	for range 3 {
		a.worker("poison", "write nack").wantHeard("4")
		a.awaitStat("messages 0", "leased 0")
		b.worker("poison", "write nack").wantHeard("4")
		b.awaitStat("messages 0", "leased 0")
	}
	// To itself it is the same, if it can be named at all.
	c := cli(t, "open "+a.file("dead_letters")+" wronly", "write a")
	c.output()
	a.worker("poison", "write nack").wantHeard("4")
	eventually(t, func() string { return differs(a.stat()["messages"]+b.stat()["messages"], 1) })
	if where := strings.Join(append(a.take(), b.take()...), " "); where != "poison" {
		t.Errorf("the mailboxes held %q, want the message once", where)
	}
	if stat := m.daemonStat(t); stat["messages"] != 0 || stat["bytes"] != 0 {
		t.Errorf(".ipcfs/stat = %v, want nothing held", stat)
	}
}

func TestDeadLettersBothWaysAtOnceAreNeitherLostNorDoubled(t *testing.T) {
	t.Parallel()
	m := mount(t)
	a, b := m.mailbox(t, directory, "a"), m.mailbox(t, flat, "b")
	a.with("max_deliveries", "1", "dead_letters", "b")
	b.with("max_deliveries", "1", "dead_letters", "a")
	const n = 20
	want := map[string]bool{}
	for i := range n {
		a.put("a" + number(i))
		b.put("b" + number(i))
		want["a"+number(i)], want["b"+number(i)] = true, true
	}
	var workers []*client
	for _, mb := range []*mailbox{a, b, a, b} {
		workers = append(workers, run(t, python, "-c", `
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_NONBLOCK)
for i in range(500):
    try:
        os.read(fd, 100)
        os.write(fd, b"nack")
    except BlockingIOError:
        pass`, mb.leaseFile()))
	}
	for _, c := range workers {
		c.prints("")
	}
	eventually(t, func() string {
		return differs(a.stat()["messages"]+b.stat()["messages"], 2*n)
	})
	a.awaitStat("leased 0")
	b.awaitStat("leased 0")
	for _, text := range append(a.take(), b.take()...) {
		if !want[text] {
			t.Errorf("%s is there twice, or was never sent", text)
		}
		delete(want, text)
	}
	if len(want) > 0 {
		t.Errorf("lost are %v", want)
	}
	a.addsUp()
	b.addsUp()
}

func TestDeadLettersOfSomebodyElse(t *testing.T) {
	t.Parallel()
	needRoot(t)
	user := nobody(t)
	m := mount(t, "allow_other")
	mb, dead := m.mailbox(t, directory, "jobs").with("max_deliveries", "1", "dead_letters", "dead"), m.mailbox(t, directory, "dead")
	does(t, "chmod "+mb.send+" 622", "ok")
	doesAs(t, user, "open "+mb.send+" wronly", "ok", "write hello", "5")
	mb.worker("hello", "write nack").wantHeard("4")
	dead.awaitStat("messages 1")
	// It is still its sender's.
	dead.wantFrom("from/"+number(int(user.Uid)), "hello")
}

func TestALeasedMessageExpiresLikeOthersAndOnce(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one")
		c := mb.worker("one", "write nack")
		mb.set("ttl", "1ms")
		c.resume()
		c.expect("ok")
		c.next() // "4", or an errno if it has expired on lease
		mb.awaitStat("messages 0", "leased 0", "expired 1")
		mb.addsUp()
	})
}

func TestTraceOfLeases(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb, dead := m.mailbox(t, directory, "jobs"), m.mailbox(t, directory, "dead")
	tr := m.traced(t, "cat", m.path(".ipcfs/trace"))
	mb.with("lease_time", "1h", "max_deliveries", "2", "dead_letters", "dead")
	mb.put("hello")
	c := mb.worker("hello", "write extend 1m", "write nack", "read 9", "write nack", "write ack")
	c.wantHeard("9", "4", `"hello"`, "4", "ENOMSG")
	c.output()
	dead.awaitQueue("hello")
	m.wellTraced(t, tr, "set-lease_time mailboxes/jobs 2 ok", "lease mailboxes/jobs 5 ok", "settle mailboxes/jobs 4 ok")
}

func TestMetricsCountLeases(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	mb.put("one", "two")
	mb.worker("one", "write nack", "pause").wantHeard("4")
	c := mb.worker("one", "write ack")
	all := m.metrics(t)
	if got := sample(all["ipcfs_mailbox_leased"], "object", "mailboxes/jobs").GetGauge().GetValue(); got != 1 {
		t.Errorf("ipcfs_mailbox_leased is %v, want 1", got)
	}
	if got := sample(all["ipcfs_mailbox_redelivered_total"], "object", "mailboxes/jobs").GetCounter().GetValue(); got != 1 {
		t.Errorf("ipcfs_mailbox_redelivered_total is %v, want 1", got)
	}
	c.wantHeard("3")
}
