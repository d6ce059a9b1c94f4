package tests

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// receiving are the openings that receive: an endpoint and its flags.
func (mb *mailbox) receiving() []string {
	all := []string{mb.receive + " rdonly", mb.receive + " rdonly|nonblock", mb.file("lease") + " rdwr"}
	for _, name := range []string{"receive", "stream", "envelope", "urgent", "priority/0", "priority/31", "topic/t", "from/0"} {
		all = append(all, mb.file(name)+" rdonly")
	}
	for _, name := range []string{"urgent", "priority/3", "topic/t"} {
		all = append(all, mb.file(name)+" rdwr")
	}
	if mb.path == mb.send {
		all = append(all, mb.path+" rdwr")
	}
	return all
}

// sending are the openings that only send.
func (mb *mailbox) sending() []string {
	all := []string{mb.send + " wronly", mb.file("send") + " rdwr"}
	for _, name := range []string{"urgent", "priority/3", "topic/t"} {
		all = append(all, mb.file(name)+" wronly")
	}
	return all
}

// neither are the openings of files that are no endpoints, or only look.
func (mb *mailbox) neither() []string {
	return []string{mb.file("peek") + " rdonly", mb.file("stat") + " rdonly", mb.file("receivers") + " rdwr", mb.file("flush") + " wronly",
		mb.file("messages/1") + " rdonly"}
}

// wantOpens opens each in a process of its own.
func wantOpens(t testing.TB, openings []string, want string) {
	t.Helper()
	for _, opening := range openings {
		does(t, "open "+opening, want)
	}
}

// held starts a process that has all the openings until it is resumed or killed.
func held(t testing.TB, openings ...string) *client {
	t.Helper()
	var operations []string
	for _, opening := range openings {
		operations = append(operations, "open "+opening)
	}
	c := cli(t, append(operations, "pause")...)
	for range openings {
		c.expect("ok")
	}
	return c
}

// awaitOpen waits until that many endpoints are open.
func (mb *mailbox) awaitOpen(senders, receivers int) {
	mb.t.Helper()
	mb.awaitStat("open_senders "+number(senders), "open_receivers "+number(receivers))
}

func TestReceiversReadsAsItWasSet(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.wantPolicy("receivers", "any")
		for _, word := range []string{"single", "pair", "broadcast", "any", "single"} {
			mb.set("receivers", word)
			mb.wantPolicy("receivers", word)
		}
		for _, bad := range []string{`\n`, "one", "SINGLE", "1", "any single"} {
			does(t, "open "+mb.file("receivers")+" wronly", "ok", "write "+bad, "EINVAL")
		}
		mb.wantPolicy("receivers", "single")
		if got := mb.m.listing(t, "jobs").Policies["receivers"]; got != "single" {
			t.Errorf("ls --json says receivers=%q, want single", got)
		}
	})
}

func TestSingleLetsOneProcessReceive(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one")
		mb.set("receivers", "single")
		for _, opening := range mb.receiving() {
			c := held(t, opening)
			wantOpens(t, mb.receiving(), "EBUSY")
			wantOpens(t, mb.neither(), "ok")
			wantOpens(t, mb.sending(), "ok")
			c.kill()
			mb.awaitOpen(0, 0)
		}
		// What the second process tried has left no trace.
		c := held(t, mb.receive+" rdonly")
		bash(t, "cat "+mb.receive).fails(1, "Device or resource busy")
		mb.wantStat("open_receivers 1", "messages 1", "received 0", "receivers_waiting 0")
		c.resume()
		c.output()
		mb.awaitOpen(0, 0)
		run(t, "cat", mb.receive).prints("one")
	})
}

func TestSingleLetsItsProcessOpenMore(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("receivers", "single").put("one", "two")
		c := cli(t, "open "+mb.receive+" rdonly", "open "+mb.file("stream")+" rdonly", "read 9", "use 0", "close", "pause", "open "+mb.file("envelope")+" rdonly", "pause",
			"close", "use 1", "close", "pause")
		c.expect("ok", "ok", `"one"`, "ok", "ok")
		mb.awaitOpen(0, 1)
		does(t, "open "+mb.receive+" rdonly", "EBUSY")
		c.resume()
		c.expect("ok", "ok")
		does(t, "open "+mb.receive+" rdonly", "EBUSY")
		c.resume()
		c.expect("ok", "ok", "ok", "ok")
		mb.awaitOpen(0, 0)
		run(t, "cat", mb.receive).prints("two")

		// Its threads are that process, too; its children are not.
		run(t, python, "-c", `
import errno, os, sys, threading
path = sys.argv[1]
fd = os.open(path, os.O_RDONLY)
def more():
    os.close(os.open(path, os.O_RDONLY))
    print("thread", flush=True)
t = threading.Thread(target=more)
t.start()
t.join()
def other():
    child = os.fork()
    if child == 0:
        try:
            os.open(path, os.O_RDONLY)
            print("opened", flush=True)
        except OSError as e:
            print(errno.errorcode[e.errno], flush=True)
        os._exit(0)
    os.waitpid(child, 0)
other()`, mb.receive).prints("thread\nEBUSY\n")
	})
}

func TestAnOpenThatIsBusyDoesNotWait(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs").with("receivers", "single")
	before := mb.m.atRest(t)
	c := mb.parkReceiver()
	does(t, "open "+mb.receive+" rdonly|nonblock", "EBUSY", "open "+mb.receive+" rdonly", "EBUSY")
	mb.awaitWaiters(1)
	mb.put("hello")
	c.expect(`"hello"`)
	c.output()
	mb.m.leavesNothingBehind(t, before)
}

func TestAReceiverThatIsKilledMakesWay(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("receivers", "single")
		mb.parkReceiver().kill()
		mb.awaitOpen(0, 0)
		c := mb.parkReceiver()
		mb.put("hello")
		c.expect(`"hello"`)
	})
}

func TestPairLinksTwoProcesses(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one")
		mb.awaitOpen(0, 0)
		mb.set("receivers", "pair")
		for _, two := range [][2]string{
			{mb.send + " wronly", mb.receive + " rdonly"},
			{mb.receive + " rdonly", mb.file("stream") + " rdonly"},
			{mb.send + " wronly", mb.file("topic/t") + " wronly"},
			{mb.file("send") + " rdwr", mb.file("lease") + " rdwr"},
		} {
			a := held(t, two[0])
			b := held(t, two[1], mb.send+" wronly", mb.receive+" rdonly") // as often as it likes
			wantOpens(t, mb.receiving(), "EBUSY")
			wantOpens(t, mb.sending(), "EBUSY")
			wantOpens(t, mb.neither(), "ok")
			a.kill()
			eventually(t, func() string { return performs(t, nil, "open "+mb.receive+" rdonly", "ok") })
			// Somebody else takes its place.
			eventually(t, func() string { return performs(t, nil, "open "+mb.send+" wronly", "ok") })
			b.kill()
			mb.awaitOpen(0, 0)
		}
	})
}

func TestAPairTalks(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "line").with("receivers", "pair", "capacity", "0")
	hears := bash(t, "while read -r line; do echo \"heard $line\"; done < "+mb.file("stream"))
	mb.parked(hears)
	says := bash(t, "exec 3> "+mb.send+"; while read -r line; do echo \"$line\" >&3; done")
	mb.awaitOpen(1, 1)
	for _, line := range []string{"hello\n", "bye\n"} {
		if _, err := says.stdin.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		hears.expect("heard " + strings.TrimSpace(line))
	}
	bash(t, "echo me too > "+mb.send).fails(1, "Device or resource busy")
	bash(t, "cat "+mb.receive).fails(1, "Device or resource busy")
	says.output()
	hears.kill()
	mb.wantStat("sent 2", "received 2", "messages 0")
}

func TestChangesOfReceiversAreForOpensFromThenOn(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		a, b := mb.parkReceiver(), mb.parkReceiver()
		mb.set("receivers", "single")
		does(t, "open "+mb.receive+" rdonly", "EBUSY")
		// Whoever has it open keeps it.
		mb.put("one", "two")
		a.expect(`"one"`)
		b.expect(`"two"`)
		a.output()
		b.output()
		mb.awaitOpen(0, 0)
		c := held(t, mb.receive+" rdonly")
		does(t, "open "+mb.receive+" rdonly", "EBUSY")
		mb.set("receivers", "any")
		does(t, "open "+mb.receive+" rdonly", "ok")
		mb.awaitOpen(0, 1)
		mb.set("receivers", "pair")
		d := held(t, mb.send+" wronly")
		does(t, "open "+mb.send+" wronly", "EBUSY")
		mb.set("receivers", "single")
		does(t, "open "+mb.send+" wronly", "ok", "open "+mb.receive+" rdonly", "EBUSY")
		mb.set("receivers", "broadcast")
		does(t, "open "+mb.receive+" rdonly", "ok")
		c.kill()
		d.kill()
	})
}

func TestTheReceiverOfADestroyedMailboxKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, flat, "jobs").with("receivers", "single")
	c := mb.parkReceiver()
	does(t, "unlink "+mb.path, "ok")
	c.expect("EIDRM")
	mb = mb.m.mailbox(t, flat, "jobs").with("receivers", "single")
	does(t, "open "+mb.path+" rdonly", "ok")
}

func TestTraceOfReceivers(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	tr := m.traced(t, "cat", m.path(".ipcfs/trace"))
	mb.set("receivers", "single")
	c := held(t, mb.receive+" rdonly")
	does(t, "open "+mb.receive+" rdonly", "EBUSY")
	c.kill()
	mb.awaitOpen(0, 0)
	mb.set("receivers", "broadcast")
	mb.put("nobody")
	c = mb.parkReceiver()
	mb.put("hello")
	c.expect(`"hello"`)
	c.kill()
	m.wellTraced(t, tr, "set-receivers mailboxes/jobs 6 ok", "set-receivers mailboxes/jobs 9 ok", "open mailboxes/jobs 0 EBUSY",
		"send mailboxes/jobs 6 ok", "receive mailboxes/jobs 5 ok")
}

func TestWaitersOfBroadcastAreListedAsOthers(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("receivers", "broadcast", "capacity", "1")
		a, b := mb.parkReceiver(), mb.parkReceiver()
		wantWaiters(mb, []*client{a, b}, "receive")
		mb.wantStat("receivers_waiting 2")
		a.signal(syscall.SIGUSR1)
		a.expect("EINTR")
		mb.awaitWaiters(1)
		b.kill()
		mb.awaitOpen(0, 0)

		slow := held(t, mb.receive+" rdonly")
		mb.put("one")
		s := mb.parkSender("two")
		wantWaiters(mb, []*client{s}, "send")
		mb.wantStat("senders_waiting 1", "messages 1", "bytes 3")
		if o := mb.m.listing(t, "jobs"); o.Messages != 1 || o.Bytes != 3 || o.Waiting != 1 {
			t.Errorf("ls --json has %s", fmt.Sprintf("%+v", o))
		}
		slow.kill()
		s.expect("3")
	})
}
