package tests

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestWaitersNamesEveryoneBlocked(t *testing.T) {
	t.Parallel()
	m := mount(t)
	jobs, orders := m.mailbox(t, flat, "jobs"), m.mailbox(t, directory, "orders").with("capacity", "0")
	if text, err := os.ReadFile(m.path(".ipcfs/waiters")); err != nil || len(text) != 0 {
		t.Errorf(".ipcfs/waiters with nobody blocked = %q, %v; want nothing", text, err)
	}
	receiver := jobs.parkReceiver()
	peeker := cli(t, "open "+jobs.file("peek")+" rdonly", "read 10")
	jobs.parked(peeker)
	sender := orders.parkSender("x")

	want := map[int]string{receiver.pid(): "mailboxes/jobs receive", peeker.pid(): "mailboxes/jobs peek",
		sender.pid(): "mailboxes/orders send"}
	text, err := os.ReadFile(m.path(".ipcfs/waiters"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		object, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		w, err := parseWaiter(rest)
		if err != nil {
			t.Fatal(err)
		}
		if got := object + " " + w.operation; got != want[w.pid] || w.uid != os.Getuid() || w.command != "ipccli" {
			t.Errorf(".ipcfs/waiters has the line %q, want %q of ipccli", line, want[w.pid])
		}
		if s, err := strconv.ParseFloat(w.seconds, 64); err != nil || s < 0 || s > patience.Seconds() {
			t.Errorf("seconds waited = %q, want a small number", w.seconds)
		}
		delete(want, w.pid)
	}
	if len(want) != 0 {
		t.Errorf(".ipcfs/waiters = %q, %v is missing", text, want)
	}
	if got := m.daemonStat(t); got["parked"] != 3 || got["objects"] != 2 {
		t.Errorf(".ipcfs/stat = %v, want parked 3 and objects 2", got)
	}
}

func TestWaitersNamesTheProcessNotTheThread(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := run(t, python, "-c", `
import sys, threading
thread = threading.Thread(target=lambda: print(open(sys.argv[1]).read(), flush=True))
thread.start()
thread.join()`, mb.receive)
		mb.awaitWaiters(1)
		if w := mb.waiters()[0]; w.pid != c.pid() {
			t.Errorf("waiter = %+v, want pid %d of the process", w, c.pid())
		}
		mb.put("hello")
		c.prints("hello\n")
	})
}

func TestDaemonStatCountsMessages(t *testing.T) {
	t.Parallel()
	m := mount(t)
	a, b := m.mailbox(t, flat, "a"), m.mailbox(t, directory, "b")
	a.put("12345", "67")
	b.put("123")
	if got := m.daemonStat(t); got["objects"] != 2 || got["messages"] != 3 || got["bytes"] != 10 {
		t.Errorf(".ipcfs/stat = %v, want objects 2, messages 3, bytes 10", got)
	}
}

func TestOpenEndpointsAreCounted(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := cli(t, "open "+mb.send+" wronly", "open "+mb.send+" wronly", "open "+mb.receive+" rdonly", "pause", "close", "pause")
		c.expect("ok", "ok", "ok")
		mb.wantStat("open_senders 2", "open_receivers 1")
		c.resume()
		c.expect("ok", "ok")
		mb.awaitStat("open_senders 2", "open_receivers 0")
		c.kill()
		mb.awaitStat("open_senders 0", "open_receivers 0")
	})
}
