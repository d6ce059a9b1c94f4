package tests

import (
	"testing"
)

func TestExpiredMessagesAreCountedNotDelivered(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.wantPolicy("ttl", "max")
		mb.set("ttl", "50ms")
		mb.wantPolicy("ttl", "50ms")
		mb.put("one", "two")
		mb.awaitStat("messages 0", "bytes 0", "expired 2", "sent 2", "received 0", "dropped 0")
		mb.wantQueue()
		if got := mb.names("messages"); got != "" {
			t.Errorf("messages lists %q, want nothing", got)
		}
	})
}

func TestTTLAppliesToWhatIsQueuedAndToNothingOnceItIsMax(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("old")
		mb.set("ttl", "1h")
		mb.wantStat("messages 1", "expired 0")
		mb.set("ttl", "1ns") // it is older than that by now
		mb.wantStat("messages 0", "expired 1")
		mb.set("ttl", "1h")
		mb.put("new")
		mb.set("ttl", "max")
		mb.wantQueue("new")
	})
}

func TestRoomThatExpiryMakesWakesSenders(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("capacity", "1", "ttl", "1h")
		mb.put("one")
		c := mb.parkSender("two")
		poller := cli(t, "open "+mb.send+" wronly|nonblock", "poll out -1")
		poller.expect("ok")
		poller.asleep()
		mb.set("ttl", "20ms")
		c.expect("3")
		poller.expect("out")
		mb.awaitStat("messages 0", "expired 2", "senders_waiting 0")
	})
}

func TestBadTTLChangesNothing(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("ttl", "90s")
		for _, value := range []string{"0", "0s", "10", "-1s", "1.5s", "s", "1 s", "1s1s", "1w", "99999999999999999999s", "9999999999999h", "never"} {
			does(t, "open "+mb.file("ttl")+" wronly", "ok", "write "+value, "EINVAL")
		}
		mb.wantPolicy("ttl", "90s")
		mb.set("ttl", "2h")
		mb.wantPolicy("ttl", "2h")
	})
}

func TestAMailboxWithATTLIsDestroyedLikeOthers(t *testing.T) {
	t.Parallel()
	m := mount(t)
	before := m.atRest(t)
	mb := m.mailbox(t, flat, "jobs")
	mb.set("ttl", "20ms")
	mb.put("x")
	does(t, "unlink "+mb.path, "ok")
	m.leavesNothingBehind(t, before)
}
