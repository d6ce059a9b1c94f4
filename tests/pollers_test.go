package tests

import (
	"fmt"
	"strconv"
	"testing"
)

// pollCrowd has n threads poll mb, each through an open file of its own, sends count
// messages, and returns how many were received and how often somebody was woken.
func pollCrowd(t *testing.T, mb *mailbox, n, count int, more ...string) (received, woken int) {
	t.Helper()
	c := run(t, append([]string{pollersBin, strconv.Itoa(n), strconv.Itoa(count), mb.receive}, more...)...)
	if line := c.next(); line != "ready" {
		t.Fatalf("pollers say %q, want ready", line)
	}
	for i := range count {
		mb.put(fmt.Sprintf("m%d", i))
	}
	line := c.next()
	if _, err := fmt.Sscanf(line, "%d received, %d woken", &received, &woken); err != nil {
		t.Fatalf("pollers say %q: %v", line, err)
	}
	return received, woken
}

func TestMessageWakesAsManyPollersAsItCanServe(t *testing.T) {
	m := mount(t)
	mb := m.mailbox(t, directory, "box")
	mb.set("capacity", "max")
	const pollers, messages = 5000, 1000
	received, woken := pollCrowd(t, mb, pollers, messages)
	if received != messages {
		t.Errorf("%d messages received, want %d", received, messages)
	}
	// All would be 5,000,000. On a machine that is slow to schedule them some of those told
	// lose patience, and others are told beside them.
	if woken > 10*messages {
		t.Errorf("%d messages woke pollers %d times, want about as often", messages, woken)
	}
	t.Logf("%d messages woke %d pollers %d times", messages, pollers, woken)
}

// Those who select the same topic are rivals of one another, and of nobody else.
func TestMessageOfATopicWakesAsManyPollersAsItCanServe(t *testing.T) {
	mb := mount(t).mailbox(t, directory, "box").with("capacity", "max")
	others := run(t, "python3", "-c", `
import os, select, sys
fds = [os.open(p, os.O_RDONLY | os.O_NONBLOCK) for p in sys.argv[1:]]
poll = select.poll()
for fd in fds:
    poll.register(fd, select.POLLIN)
print("ready", flush=True)
print(poll.poll() == [(fds[0], select.POLLIN)], os.read(fds[0], 10), flush=True)
`, mb.file("topic/y"), mb.file("priority/7"), mb.file("from/12345"))
	others.expect("ready")
	x := *mb
	x.send, x.receive = mb.file("topic/x"), mb.file("topic/x")
	const pollers, messages = 2000, 200
	received, woken := pollCrowd(t, &x, pollers, messages)
	if received != messages || woken > 10*messages {
		t.Errorf("%d messages of a topic were received as %d and woke %d pollers, want about as many", messages, received, woken)
	}
	t.Logf("%d messages of a topic woke %d pollers %d times", messages, pollers, woken)
	mb.putAs("topic/y", "y")
	others.prints("ready\nTrue b'y'\n")
}

func TestNothingStaysUnreadWhereThoseToldDoNotRead(t *testing.T) {
	m := mount(t)
	mb := m.mailbox(t, directory, "box")
	mb.set("capacity", "max")
	received, woken := pollCrowd(t, mb, 300, 100, "deaf")
	if received != 100 {
		t.Errorf("%d messages received, want 100", received)
	}
	t.Logf("woken %d times", woken)
}

func TestNothingStaysUnreadWhereThoseToldAreKilled(t *testing.T) {
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		var all []*client
		for range 12 {
			c := cli(t, "open "+mb.receive+" rdonly|nonblock", "poll in -1")
			c.expect("ok")
			c.asleep()
			all = append(all, c)
		}
		mb.put("x")
		// Everybody is told in the end, as nobody reads: some while others are killed.
		for i, c := range all {
			if i%3 == 0 {
				c.kill()
				continue
			}
			c.expect("in")
			c.output()
		}
		mb.wantQueue("x")
	})
}

// Whoever waits is told, also when another has found the same open file ready without having been told.
func TestAnEpollIsToldOfWhatSelectSawFirst(t *testing.T) {
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := run(t, "python3", "-c", `
import os, select, sys
first, second = [os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK) for _ in "12"]
others, epoll = select.epoll(), select.epoll()
others.register(first, select.EPOLLIN)
epoll.register(second, select.EPOLLIN)
os.write(os.open(sys.argv[2], os.O_WRONLY), b"x")
print(select.select([second], [], [], 0)[0] == [second])
print(epoll.poll() == [(second, select.EPOLLIN)])
print(os.read(first, 10))
`, mb.receive, mb.send)
		c.prints("True\nTrue\nb'x'\n")
	})
}
