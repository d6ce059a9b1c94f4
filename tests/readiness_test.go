package tests

import (
	"fmt"
	"syscall"
	"testing"
)

// ways are the ways to wait for readiness, as readiness.c names them.
var ways = []string{"poll", "select", "epoll", "edge"}

func TestReadinessTellsTheTruth(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("capacity", "2")
		does(t,
			"open "+mb.receive+" rdonly", "ok",
			"open "+mb.send+" wronly", "ok",

			"use 0", "ok", "poll in 0", "none", "select in 0", "none",
			"use 1", "ok", "poll out 0", "out", "select out 0", "out",
			"write one", "3",
			"use 0", "ok", "poll in 0", "in", "select in 0", "in",
			"use 1", "ok", "poll out 0", "out",
			"write two", "3",
			"poll out 0", "none", "select out 0", "none", // full
			"use 0", "ok", "read 100", `"one"`,
			"use 1", "ok", "poll out 0", "out", "select out 0", "out",
			"use 0", "ok", "read 100", `""`, "read 1", `"t"`,
			"poll in 0", "in", // the rest of the message
			"read 100", `"wo"`,
		)
		does(t, "open "+mb.receive+" rdonly|nonblock", "ok", "poll in 0", "none", "read 100", "EAGAIN")
	})
}

func TestEveryEndpointOfAMessagePollsReadable(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		for _, endpoint := range []string{mb.receive, mb.file("stream"), mb.file("peek")} {
			does(t, "open "+endpoint+" rdonly|nonblock", "ok", "poll in 0", "none")
			mb.put("x")
			does(t, "open "+endpoint+" rdonly|nonblock", "ok", "poll in 0", "in", "poll in -1", "in")
			mb.wantQueue("x")
		}
	})
}

func TestControlFilesAreAlwaysReady(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		does(t, "open "+mb.file("stat")+" rdonly", "ok", "poll in 0", "in",
			"open "+mb.file("capacity")+" rdwr", "ok", "poll in|out 0", "in|out")
	})
}

func TestBlockedPollWakesForAMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		var all []*client
		for _, wait := range []string{"poll in", "select in", "epoll-wait"} {
			c := cli(t, "open "+mb.receive+" rdonly|nonblock", "epoll-add in", wait+" -1")
			c.expect("ok", "ok")
			c.asleep()
			all = append(all, c)
		}
		mb.awaitWaiters(0) // polling is no blocked request
		mb.put("hello")
		for _, c := range all {
			c.expect("in")
			c.output()
		}
		mb.wantQueue("hello")
	})
}

func TestBlockedPollWakesForRoom(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		wakers := map[string]func(){
			"a receive":        func() { mb.take() },
			"a flush":          func() { mb.set("flush", "1") },
			"a raise of space": func() { mb.set("capacity", "2") },
		}
		for what, wake := range wakers {
			mb.set("capacity", "1")
			mb.put("in the way")
			var all []*client
			for _, wait := range []string{"poll out", "select out", "epoll-wait"} {
				c := cli(t, "open "+mb.send+" wronly|nonblock", "write x", "epoll-add out", wait+" -1")
				c.expect("ok", "EAGAIN", "ok")
				c.asleep()
				all = append(all, c)
			}
			wake()
			for _, c := range all {
				if got := c.next(); got != "out" {
					t.Errorf("poll after %s = %s, want out", what, got)
				}
				c.output()
			}
			mb.take()
		}
	})
}

func TestPolledClientDiesAndWakesBySignals(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		for _, wait := range []string{"poll in -1", "select in -1", "epoll-wait -1"} {
			operations := []string{"catch usr1", "open " + mb.receive + " rdonly|nonblock", "epoll-add in", wait}
			c := cli(t, operations...)
			c.expect("ok", "ok", "ok")
			c.asleep()
			c.kill()

			c = cli(t, operations...)
			c.expect("ok", "ok", "ok")
			// It may not be in the call yet, and the signal then come too early: go on until one counts.
			eventually(t, func() string {
				if c.hasExited() {
					return ""
				}
				c.signal(syscall.SIGUSR1)
				return "the signal did not end " + wait
			})
			c.expect("EINTR")
		}
		mb.awaitStat("open_receivers 0")
	})
}

func TestEpollLevelReportsForAsLongAsThereIsAMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one", "two")
		does(t,
			"open "+mb.receive+" rdonly|nonblock", "ok",
			"epoll-add in", "ok",
			"epoll-wait 0", "in", "epoll-wait 0", "in",
			"read 100", `"one"`,
			"epoll-wait 0", "in",
			"read 100", `"two"`,
			"epoll-wait 0", "none",
			"read 100", "EAGAIN",
		)
	})
}

func TestEpollEdgeReportsEachArrivalOnce(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := cli(t, "open "+mb.receive+" rdonly|nonblock", "epoll-add in|et", "epoll-wait 0", "say empty",
			"epoll-wait -1", "epoll-wait 0", "read 100", "read 100", "say drained", "epoll-wait -1", "read 100")
		c.expect("ok", "ok", "none", "empty")
		c.asleep()
		mb.put("one")
		c.expect("in", "none", `"one"`, "EAGAIN", "drained")
		c.asleep()
		mb.put("two")
		c.expect("in", `"two"`)
	})
}

func TestPollOfADestroyedMailboxReturns(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, flat, "jobs")
	c := cli(t, "open "+mb.receive+" rdonly|nonblock", "poll in -1", "read 100")
	c.expect("ok")
	c.asleep()
	bash(t, "rm "+mb.path).prints("")
	if got := c.next(); got == "none" {
		t.Errorf("poll of a destroyed mailbox = %s, want an event", got)
	}
	c.expect("EIDRM")
}

func TestRoundTripsOverReadiness(t *testing.T) {
	t.Parallel()
	trips := 2000
	if testing.Short() {
		trips = 200
	}
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			m := mount(t)
			there, back := m.mailbox(t, flat, "there"), m.mailbox(t, directory, "back")
			before := m.atRest(t)
			follow := run(t, readinessBin, "follow", way, there.receive, back.send, number(trips))
			lead := run(t, readinessBin, "lead", way, back.receive, there.send, number(trips))
			lead.prints("ok\n")
			follow.prints("ok\n")
			there.wantStat("sent "+number(trips), "received "+number(trips))
			m.leavesNothingBehind(t, before)
		})
	}
}

func TestReadinessOfASmallMailboxUnderAFlood(t *testing.T) {
	t.Parallel()
	count := 3000
	if testing.Short() {
		count = 300
	}
	for _, way := range ways {
		for _, capacity := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s, capacity %d", way, capacity), func(t *testing.T) {
				t.Parallel()
				inBothShapes(t, func(t *testing.T, mb *mailbox) {
					mb.set("capacity", number(capacity))
					produce := run(t, readinessBin, "produce", way, mb.send, number(count))
					consume := run(t, readinessBin, "consume", way, mb.receive, number(count))
					produce.prints("ok\n")
					consume.prints("ok\n")
				})
			})
		}
	}
}

func TestRendezvousReadinessNeedsTheOtherSide(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("capacity", "0")
		does(t, "open "+mb.send+" wronly|nonblock", "ok", "poll out 0", "none", "write x", "EAGAIN",
			"open "+mb.receive+" rdonly|nonblock", "ok", "poll in 0", "none", "read 100", "EAGAIN")

		reader := mb.parkReceiver()
		does(t, "open "+mb.send+" wronly|nonblock", "ok", "poll out 0", "out", "write hello", "5", "poll out 0", "none")
		reader.expect(`"hello"`)

		sender := mb.parkSender("hello")
		does(t, "open "+mb.receive+" rdonly|nonblock", "ok", "poll in 0", "in", "read 100", `"hello"`, "poll in 0", "none")
		sender.expect("5")
	})
}
