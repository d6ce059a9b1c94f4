package tests

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// putAs sends messages through another endpoint than send, without blocking.
func (mb *mailbox) putAs(endpoint string, messages ...string) {
	mb.t.Helper()
	other := *mb
	other.send = mb.file(endpoint)
	other.put(messages...)
}

// wantFrom takes everything that the endpoint gives.
func (mb *mailbox) wantFrom(endpoint string, want ...string) {
	mb.t.Helper()
	other := *mb
	other.receive = mb.file(endpoint)
	if got := other.take(); !slices.Equal(got, want) {
		mb.t.Errorf("%s gave %q, want %q", endpoint, got, want)
	}
}

// names lists a directory among the mailbox's files.
func (mb *mailbox) names(folder string) string {
	mb.t.Helper()
	entries, err := os.ReadDir(mb.file(folder))
	if err != nil {
		mb.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestOrderPriorityTakesTheHighestFirstAndIsFIFOWithinOne(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		send := func() {
			mb.put("a0")
			mb.putAs("priority/9", "b9")
			mb.putAs("priority/31", "c31")
			mb.putAs("priority/9", "d9")
			mb.putAs("priority/0", "e0")
		}
		send()
		mb.wantQueue("a0", "b9", "c31", "d9", "e0")
		mb.set("order", "priority")
		mb.wantPolicy("order", "priority")
		send()
		mb.wantQueue("c31", "b9", "d9", "a0", "e0")
		// It switches live, for what is queued too.
		send()
		does(t, "open "+mb.file("peek")+" rdonly", "ok", "read 9", `"c31"`)
		mb.set("order", "fifo")
		mb.wantQueue("a0", "b9", "c31", "d9", "e0")
	})
}

func TestAnEndpointOfALabelReceivesOnlyThat(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("plain")
		mb.putAs("priority/3", "three")
		mb.putAs("topic/news", "news")
		mb.putAs("topic/weather", "rain")
		if got := mb.names("topic"); got != "news weather" {
			t.Errorf("topic lists %q, want news weather", got)
		}
		if got := mb.names("from"); got != number(os.Getuid()) {
			t.Errorf("from lists %q, want %d", got, os.Getuid())
		}
		if got := len(strings.Fields(mb.names("priority"))); got != 32 {
			t.Errorf("priority lists %d files, want 32", got)
		}
		mb.wantFrom("topic/weather", "rain")
		mb.wantFrom("topic/sports")
		mb.wantFrom("priority/3", "three")
		mb.wantFrom("from/4242")
		mb.wantFrom("from/"+number(os.Getuid()), "plain", "news")
		mb.wantStat("messages 0", "sent 4", "received 4")
	})
}

func TestAReceiverOfALabelWaitsBesideOthers(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("capacity", "1")
		mb.put("in the way")
		c := cli(t, "open "+mb.file("topic/t")+" rdonly", "poll in 0", "read 100")
		c.expect("ok", "none")
		mb.parked(c)
		// The mailbox is full, but not for what somebody waits for.
		does(t, "open "+mb.file("topic/t")+" wronly|nonblock", "ok", "poll out 0", "out", "write now", "3")
		c.expect(`"now"`)
		does(t, "open "+mb.file("topic/t")+" wronly|nonblock", "ok", "poll out 0", "none", "write more", "EAGAIN")
		mb.wantQueue("in the way")

		// At a rendezvous, those who want each other meet past those who do not.
		mb.set("capacity", "0")
		first := mb.parkSender("other")
		second := cli(t, "open "+mb.file("topic/t")+" wronly", "write mine")
		second.expect("ok")
		mb.parked(second)
		mb.wantFrom("topic/t", "mine")
		second.expect("4")
		mb.wantQueue("other")
		first.expect("5")
	})
}

func TestUrgentIsAheadOfEverythingAlsoWhenFull(t *testing.T) {
	t.Parallel()
	for _, overflow := range []string{"block", "fail", "drop-oldest", "drop-newest"} {
		inBothShapes(t, func(t *testing.T, mb *mailbox) {
			mb.with("capacity", "1", "overflow", overflow)
			mb.put("one")
			does(t, "open "+mb.receive+" rdonly|nonblock", "ok", "poll in|pri 0", "in",
				"open "+mb.file("urgent")+" rdwr|nonblock", "ok", "poll in|pri|out 0", "out", "read 9", "EAGAIN",
				"write u1", "2", "write u2", "2", "poll in|pri 0", "in|pri",
				"use 0", "ok", "poll in|pri 0", "in|pri")
			mb.wantStat("messages 3", "dropped 0")
			mb.wantFrom("urgent", "u1", "u2")
			mb.putAs("urgent", "u3")
			mb.wantQueue("u3", "one")
		})
	}
}

func TestUrgentWakesWhoPollsForIt(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs")
	mb.put("plain")
	c := cli(t, "open "+mb.receive+" rdonly|nonblock", "poll pri -1")
	c.expect("ok")
	c.asleep()
	mb.putAs("urgent", "now")
	c.expect("pri")
}

func TestDropOldestTakesTheLowestPriorityAndNeverUrgent(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("capacity", "3", "order", "priority", "overflow", "drop-oldest")
		mb.putAs("priority/5", "five")
		mb.put("zero")
		mb.putAs("urgent", "u")
		mb.putAs("priority/7", "seven")
		mb.wantStat("messages 3", "dropped 1")
		mb.wantQueue("u", "seven", "five")
	})
}

func TestTopicsAreSharedByTheirDirectory(t *testing.T) {
	t.Parallel()
	needRoot(t)
	mb := mount(t, "allow_other").mailbox(t, directory, "jobs")
	user := nobody(t)
	does(t, "stat "+mb.file("topic/t"), "600 0:0 0", "stat "+mb.file("from/7"), "400 0:0 0", "stat "+mb.file("priority/7"), "600 0:0 0")
	doesAs(t, user, "open "+mb.file("topic/t")+" wronly", "EACCES", "open "+mb.file("from/0")+" rdonly", "EACCES")
	// Others may send, not receive.
	does(t, "chmod "+mb.file("topic")+" 733", "ok", "chmod "+mb.file("priority")+" 711", "ok", "chmod "+mb.file("priority/3")+" 622", "ok")
	doesAs(t, user, "open "+mb.file("topic/t")+" wronly", "ok", "write hello", "5", "open "+mb.file("topic/t")+" rdonly", "EACCES",
		"open "+mb.file("priority/3")+" wronly", "ok", "write three", "5", "open "+mb.file("priority/4")+" wronly", "EACCES")
	mb.wantFrom("from/0")
	mb.wantFrom("from/"+fmt.Sprint(user.Uid), "hello", "three")
	// Files of a topic come and go: they have no mode of their own.
	does(t, "chmod "+mb.file("topic/t")+" 777", "EPERM", "chown "+mb.file("from/7")+" 1 1", "EPERM")
}

func TestBadLabels(t *testing.T) {
	needRoot(t) // to others the kernel says EACCES first
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		for _, name := range []string{"priority/32", "priority/-1", "priority/007", "priority/x", "from/root", "from/-1", "from/4294967296", "from/01"} {
			does(t, "stat "+mb.file(name), "ENOENT", "open "+mb.file(name)+" wronly|creat", "EPERM")
		}
		if _, err := os.Stat(mb.file("topic/two words")); !os.IsNotExist(err) {
			t.Errorf("a topic of two words: %v, want that it does not exist", err)
		}
		does(t, "open "+mb.file("from/0")+" wronly", "EACCES",
			"unlink "+mb.file("topic/t"), "EPERM", "mkdir "+mb.file("topic/t")+" 755", "EEXIST", "rmdir "+mb.file("topic"), "EPERM",
			"rename "+mb.file("topic/t")+" "+mb.file("topic/u"), "EPERM",
			"open "+mb.file("order")+" wronly", "ok", "write lifo", "EINVAL")
		mb.wantPolicy("order", "fifo")
		mb.set("max_message", "2")
		does(t, "open "+mb.file("urgent")+" wronly", "ok", "write long", "EMSGSIZE")
	})
}

func TestFilesOfForgottenTopicsCostNothing(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	mb.putAs("topic/t", "x")
	mb.wantFrom("topic/t", "x")
	before := m.atRest(t)
	for i := range 50 {
		mb.putAs("topic/t"+number(i), "x")
		mb.wantFrom("topic/t"+number(i), "x")
	}
	m.leavesNothingBehind(t, before)
}
