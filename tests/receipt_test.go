package tests

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// receiptFile is send, also of the flat shape, whose own file receives when it is read.
func (mb *mailbox) receiptFile() string { return mb.file("send") }

// sendsForReceipt starts an ipccli that sends text, prints what its write returned, and then the receipt in its first
// line to come, and what follows it.
func (mb *mailbox) sendsForReceipt(text string) *client {
	mb.t.Helper()
	c := cli(mb.t, "catch usr1", "open "+mb.receiptFile()+" rdwr", "write "+text, "poll in 0", "read 200", "read 200", "poll in 0")
	c.expect("ok", "ok", number(len(text)))
	return c
}

// wantReceipt checks a receipt as ipccli prints it: a line with the words and a time between since and now.
func wantReceipt(t testing.TB, quoted, words string, since time.Time) {
	t.Helper()
	line, ok := strings.CutSuffix(strings.Trim(quoted, `"`), `\n`)
	i := strings.LastIndexByte(line, ' ')
	if !ok || i < 0 || line[:i] != words {
		t.Errorf("the receipt is %s, want %s TIME and a newline", quoted, words)
		return
	}
	at, err := time.Parse("2006-01-02T15:04:05.999999999Z", line[i+1:])
	if err != nil || at.Before(since.Add(-10*time.Millisecond)) || at.After(time.Now().Add(10*time.Millisecond)) {
		t.Errorf("the receipt is of %q, want a UTC time of RFC 3339 between %v and now", line[i+1:], since)
	}
}

// receipted expects the receipt from a client of sendsForReceipt, which waits for it.
func (c *client) receipted(words string, since time.Time) {
	c.t.Helper()
	wantReceipt(c.t, c.next(), words, since)
	c.expect(`""`, "in")
	c.output()
}

func TestAReceiptSaysWhoReceivedAndWhen(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		does(t, "stat "+mb.receiptFile(), fmt.Sprintf("600 %d:%d 0", os.Getuid(), os.Getgid()),
			"open "+mb.receiptFile()+" rdonly", "EACCES", "open "+mb.receiptFile()+" wronly", "ok")
		since := time.Now()
		c := mb.sendsForReceipt("hello")
		c.expect("none")
		mb.parked(c)
		if w := mb.waiters()[0]; w.operation != "receipt" || w.pid != c.pid() {
			t.Errorf("the waiter is %+v, want %d in receipt", w, c.pid())
		}
		mb.wantStat("messages 1", "senders_waiting 0")
		run(t, "cat", mb.file("peek")).prints("hello")
		mb.parked(c)
		reader := mb.listener("receive", "read 9", "pause")
		mb.parked(c) // to have it open is not to receive
		reader.wantHeard(`"hello"`)
		c.receipted(fmt.Sprintf("received %d %d", reader.pid(), os.Getuid()), since)
	})
}

func TestReceiptsInTheShell(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := command{argv: []string{"bash", "-c", `
			exec 3<> "$S"
			echo hello >&3
			read -r what pid uid when <&3
			echo "$what $pid $uid"
			echo again >&3
			cat <&3
			cat <&3
			echo done`}, env: []string{"S=" + mb.receiptFile()}}.run(t)
		mb.awaitWaiters(1)
		first := run(t, "cat", mb.receive)
		first.prints("hello\n")
		c.expect(fmt.Sprintf("received %d %d", first.pid(), os.Getuid()))
		mb.awaitWaiters(1)
		second := run(t, "head", "-n1", mb.receive)
		second.prints("again\n")
		c.expectMatch(fmt.Sprintf(`received %d %d 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z`, second.pid(), os.Getuid()))
		c.expect("done")
	})
}

func TestAReceiptIsWaitedForInPython(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := run(t, python, "-c", `
import os, select, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_NONBLOCK)
p = select.epoll()
p.register(fd, select.EPOLLIN)
os.write(fd, b"hello")
try:
    os.read(fd, 100)
except BlockingIOError:
    print("EAGAIN", flush=True)
print(p.poll(0), flush=True)
while not (p.poll()[0][1] & select.EPOLLIN):
    pass
line = os.read(fd, 10)
while not line.endswith(b"\n"):
    line += os.read(fd, 10)
print(line.decode(), end="")`, mb.receiptFile())
		c.expect("EAGAIN", "[]")
		c.asleep()
		reader := run(t, "cat", mb.receive)
		reader.prints("hello")
		c.expectMatch(fmt.Sprintf(`received %d %d \S+Z`, reader.pid(), os.Getuid()))
		c.output()
	})
}

func TestAReceiptNamesTheProcessThatReceivedNotItsThread(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs")
	since := time.Now()
	c := mb.sendsForReceipt("hello")
	c.expect("none")
	mb.parked(c)
	reader := run(t, python, "-c", `
import sys, threading
t = threading.Thread(target=lambda: print(open(sys.argv[1]).read(), flush=True))
t.start()
t.join()
sys.stdin.readline()`, mb.receive)
	reader.expect("hello")
	c.receipted(fmt.Sprintf("received %d %d", reader.pid(), os.Getuid()), since)
}

func TestAReceiptNamesTheUserWhoReceived(t *testing.T) {
	t.Parallel()
	needRoot(t)
	mb := mount(t, "allow_other").mailbox(t, directory, "jobs")
	user := nobody(t)
	does(t, "chmod "+mb.receive+" 444", "ok")
	since := time.Now()
	c := mb.sendsForReceipt("hello")
	c.expect("none")
	reader := cliAs(t, user, "open "+mb.receive+" rdonly", "read 9")
	reader.prints("ok\n\"hello\"\n")
	c.receipted(fmt.Sprintf("received %d %d", reader.pid(), user.Uid), since)
}

func TestOutcomesOfMessages(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		words string
		how   func(mb *mailbox)
	}{
		"rm":          {"dropped - -", func(mb *mailbox) { does(mb.t, "unlink "+mb.file("messages/1"), "ok") }},
		"flush":       {"dropped - -", func(mb *mailbox) { mb.set("flush", "") }},
		"drop-oldest": {"dropped - -", func(mb *mailbox) { mb.with("capacity", "1", "overflow", "drop-oldest").put("other") }},
		"ttl":         {"expired - -", func(mb *mailbox) { mb.set("ttl", "1ns") }},
		"mv": {"moved - -", func(mb *mailbox) {
			to := mb.m.mailbox(mb.t, directory, "to")
			does(mb.t, "rename "+mb.file("messages/1")+" "+to.file("messages/1"), "ok")
			to.wantQueue("hello")
		}},
		"envelope": {"received $ $", func(mb *mailbox) { run(mb.t, "cat", mb.file("envelope")).output() }},
		"from":     {"received $ $", func(mb *mailbox) { run(mb.t, "cat", mb.file("from/"+number(os.Getuid()))).prints("hello") }},
		"priority": {"received $ $", func(mb *mailbox) { run(mb.t, "cat", mb.file("priority/0")).prints("hello") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				since := time.Now()
				c := mb.sendsForReceipt("hello")
				c.expect("none")
				mb.parked(c)
				row.how(mb)
				line := c.next()
				words := row.words
				if f := strings.Fields(strings.Trim(line, `"`)); strings.HasPrefix(words, "received") && len(f) == 4 {
					words = fmt.Sprintf("received %s %d", f[1], os.Getuid()) // who it was, other tests know
				}
				wantReceipt(t, line, words, since)
				c.expect(`""`, "in")
				c.output()
			})
		})
	}
}

func TestAMessageThatIsDroppedAtOnceHasItsReceipt(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("capacity", "1", "overflow", "drop-newest").put("in the way")
		since := time.Now()
		c := mb.sendsForReceipt("hello")
		c.expect("in")
		c.receipted("dropped - -", since)
		mb.set("receivers", "broadcast")
		c = mb.sendsForReceipt("hello")
		c.expect("in")
		c.receipted("dropped - -", since)
	})
}

func TestTheReceiptOfARendezvousIsThereAtOnce(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("capacity", "0")
		reader := mb.parkReceiver()
		since := time.Now()
		c := mb.sendsForReceipt("hello")
		c.expect("in")
		c.receipted(fmt.Sprintf("received %d %d", reader.pid(), os.Getuid()), since)
		reader.expect(`"hello"`)
	})
}

func TestAReceiptIsOfTheLastMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := cli(t, "open "+mb.receiptFile()+" rdwr", "poll in|out 0", "read 200", "write one", "write two", "pause", "poll in 0", "read 200",
			"read 200", "write three", "pause", "write four", "poll in 0", "nonblock on", "read 200", "pause", "read 200")
		// Nothing is written yet.
		c.expect("ok", "in|out", `""`, "3", "3")
		since := time.Now()
		does(t, "open "+mb.receive+" rdonly", "ok", "read 9", `"one"`)
		c.resume()
		c.expect("ok", "none")
		mb.parked(c)
		reader := run(t, "cat", mb.receive)
		reader.prints("two")
		wantReceipt(t, c.next(), fmt.Sprintf("received %d %d", reader.pid(), os.Getuid()), since)
		c.expect(`""`, "5")
		// What was not read for the third is for the fourth no more.
		mb.wantQueue("three")
		c.resume()
		c.expect("ok", "4", "none", "ok", "EAGAIN")
		reader = run(t, "cat", mb.receive)
		reader.prints("four")
		c.resume()
		c.expect("ok")
		wantReceipt(t, c.next(), fmt.Sprintf("received %d %d", reader.pid(), os.Getuid()), since)
	})
}

func TestReceiptsAreOfTheOpenFile(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		since := time.Now()
		a := mb.sendsForReceipt("one")
		a.expect("none")
		mb.parked(a)
		b := mb.sendsForReceipt("two")
		b.expect("none")
		mb.parked(b)
		wantWaiters(mb, []*client{a, b}, "receipt")
		does(t, "unlink "+mb.file("messages/2"), "ok")
		b.receipted("dropped - -", since)
		mb.parked(a)
		does(t, "unlink "+mb.file("messages/1"), "ok")
		a.receipted("dropped - -", since)
	})
}

func TestSignalsEndAWaitForAReceipt(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		before := mb.m.atRest(t)
		c := cli(t, "catch usr1", "open "+mb.receiptFile()+" rdwr", "write hello", "read 200", "poll in 0", "pause", "read 200")
		c.expect("ok", "ok", "5")
		mb.parked(c).signal(syscall.SIGUSR1)
		c.expect("EINTR", "none")
		mb.awaitWaiters(0)
		killed := mb.sendsForReceipt("killed")
		killed.expect("none")
		mb.parked(killed).kill()
		mb.awaitWaiters(0)
		mb.wantStat("messages 2", "sent 2", "received 0") // both are sent
		since := time.Now()
		reader := run(t, "cat", mb.receive)
		reader.prints("hello")
		c.resume()
		c.expect("ok")
		wantReceipt(t, c.next(), fmt.Sprintf("received %d %d", reader.pid(), os.Getuid()), since)
		c.output()
		mb.wantQueue("killed")
		mb.m.leavesNothingBehind(t, before)
	})
}

// Another thread may send meanwhile: the receipt is that of the last message then.
func TestAWaitForAReceiptLeavesTheDescriptorForWrites(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := run(t, python, "-c", `
import os, sys, threading
fd = os.open(sys.argv[1], os.O_RDWR)
os.write(fd, b"one")
t = threading.Thread(target=lambda: print(os.read(fd, 200).decode(), end="", flush=True))
t.start()
sys.stdin.readline()
os.write(fd, b"two")
print("written", flush=True)
t.join()`, mb.receiptFile())
		mb.awaitWaiters(1)
		c.resume()
		c.expect("written")
		run(t, "cat", mb.receive).prints("one")
		mb.awaitWaiters(1)
		reader := run(t, "cat", mb.receive)
		reader.prints("two")
		c.expectMatch(fmt.Sprintf(`received %d %d \S+Z`, reader.pid(), os.Getuid()))
		c.output()
	})
}

func TestAReceiptSurvivesItsReceiver(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs")
	c := cli(t, "open "+mb.receiptFile()+" rdwr", "write hello", "pause", "read 200")
	c.expect("ok", "5")
	since := time.Now()
	reader := run(t, "cat", mb.receive)
	reader.prints("hello")
	c.resume()
	c.expect("ok")
	wantReceipt(t, c.next(), fmt.Sprintf("received %d %d", reader.pid(), os.Getuid()), since)
}

func TestNoReceiptComesFromADestroyedMailbox(t *testing.T) {
	t.Parallel()
	m := mount(t)
	before := m.atRest(t)
	mb := m.mailbox(t, flat, "jobs")
	c := cli(t, "open "+mb.receiptFile()+" rdwr", "write hello", "read 200", "read 200", "write more")
	c.expect("ok", "5")
	polls := cli(t, "open "+mb.receiptFile()+" rdwr", "write hello", "poll in -1", "read 200")
	polls.expect("ok", "5")
	mb.parked(c)
	polls.asleep()
	does(t, "unlink "+mb.path, "ok")
	c.expect("EIDRM", "EIDRM", "EIDRM")
	if got := polls.next(); got == "none" {
		t.Errorf("poll of a destroyed mailbox = %s, want an event", got)
	}
	polls.expect("EIDRM")
	c.output()
	polls.output()
	m.leavesNothingBehind(t, before)
}

func TestTheReceiptOfABroadcastNamesEveryReceiver(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("receivers", "broadcast")
		a, b, leaves := mb.listener("stream", "read 9", "pause"), mb.listener("stream", "read 9", "pause"), mb.listener("stream")
		since := time.Now()
		c := cli(t, "open "+mb.receiptFile()+" rdwr", "write hello", "poll in 0", "read 4096", "read 4096")
		c.expect("ok", "5", "none")
		mb.parked(c)
		b.wantHeard(`"hello"`)
		mb.parked(c)
		leaves.kill()
		mb.awaitStat("open_receivers 2")
		mb.parked(c)
		a.wantHeard(`"hello"`)
		lines := strings.SplitAfter(strings.Trim(c.next(), `"`), `\n`)
		if len(lines) != 3 || lines[2] != "" {
			t.Fatalf("the receipt is %q, want a line for each of two", lines)
		}
		for i, reader := range []*client{b, a} { // in the order in which they got it
			wantReceipt(t, lines[i], fmt.Sprintf("received %d %d", reader.pid(), os.Getuid()), since)
		}
		c.expect(`""`)
	})
}

func TestTheReceiptOfALeasedMessageComesWithTheAck(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		since := time.Now()
		c := mb.sendsForReceipt("hello")
		c.expect("none")
		mb.parked(c)
		worker := cli(t, "open "+mb.file("lease")+" rdwr", "read 9", "pause", "write nack", "pause")
		worker.expect("ok", `"hello"`)
		mb.parked(c)
		worker.wantHeard("4")
		mb.parked(c)
		again := cli(t, "open "+mb.file("lease")+" rdwr", "read 9", "pause", "write ack", "pause")
		again.expect("ok", `"hello"`)
		mb.parked(c)
		again.wantHeard("3")
		c.receipted(fmt.Sprintf("received %d %d", again.pid(), os.Getuid()), since)
	})
}

func TestTheReceiptOfADeadLetterIsMoved(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		dead := mb.m.mailbox(t, directory, "dead")
		mb.with("max_deliveries", "1", "dead_letters", "dead")
		since := time.Now()
		c := mb.sendsForReceipt("hello")
		c.expect("none")
		mb.parked(c)
		does(t, "open "+mb.file("lease")+" rdwr", "ok", "read 9", `"hello"`, "write nack", "4")
		c.receipted("moved - -", since)
		dead.wantQueue("hello")
	})
}

func TestTheReceiptOfLinesIsThatOfTheLast(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("framing", "line")
		since := time.Now()
		c := cli(t, "open "+mb.receiptFile()+" rdwr", `write one\ntwo\n`, "read 200")
		c.expect("ok", "8")
		mb.parked(c)
		run(t, "cat", mb.receive).prints("one\n")
		mb.parked(c)
		reader := run(t, "cat", mb.receive)
		reader.prints("two\n")
		wantReceipt(t, c.next(), fmt.Sprintf("received %d %d", reader.pid(), os.Getuid()), since)
	})
}

func TestAReceiptThatNobodyReadsCostsNothing(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		before := mb.m.atRest(t)
		does(t, "open "+mb.receiptFile()+" rdwr", "ok", "write one", "3", "write two", "3")
		mb.awaitOpen(0, 0)
		mb.wantQueue("one", "two")
		mb.m.leavesNothingBehind(t, before)
		if stat := mb.m.daemonStat(t); stat["messages"] != 0 || stat["bytes"] != 0 {
			t.Errorf(".ipcfs/stat = %v, want nothing held", stat)
		}
	})
}

func TestTraceOfReceipts(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	tr := m.traced(t, "cat", m.path(".ipcfs/trace"))
	c := mb.sendsForReceipt("hello")
	c.expect("none")
	mb.parked(c)
	mb.wantQueue("hello")
	c.output()
	m.wellTraced(t, tr, "send mailboxes/jobs 5 ok", "receive mailboxes/jobs 5 ok")
	if !strings.Contains(tr.stdout.String(), " receipt mailboxes/jobs ") {
		t.Errorf("the trace does not show the receipt:\n%s", tr.stdout)
	}
}
