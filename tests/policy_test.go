package tests

import (
	"strings"
	"testing"
)

func TestPoliciesReadAsTheyWereSet(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		for _, policy := range [][2]string{
			{"capacity", "1024"}, {"capacity_bytes", number(16 << 20)}, {"max_message", number(maxMessage)}, {"overflow", "block"},
		} {
			mb.wantPolicy(policy[0], policy[1])
		}
		for _, row := range [][3]string{
			{"capacity", "5", "5"}, {"capacity", "0", "0"}, {"capacity", "zero", "0"}, {"capacity", "max", "max"},
			{"capacity", "1", "1"}, {"capacity", "unbounded", "max"},
			{"capacity_bytes", "1000", "1000"}, {"capacity_bytes", "64K", "65536"},
			{"capacity_bytes", "max", "max"}, {"capacity_bytes", "unbounded", "max"},
			{"max_message", "100", "100"}, {"max_message", number(maxMessage), number(maxMessage)},
			{"overflow", "fail", "fail"}, {"overflow", "drop-oldest", "drop-oldest"},
			{"overflow", "drop-newest", "drop-newest"}, {"overflow", "block", "block"},
		} {
			mb.set(row[0], row[1])
			mb.wantPolicy(row[0], row[2])
		}
		// As printf writes it, without a newline.
		bash(t, "printf 7 > "+mb.file("capacity")).prints("")
		mb.wantPolicy("capacity", "7")
	})
}

func TestANewMailboxIsEmpty(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.awaitStat("messages 0", "bytes 0", "sent 0", "received 0", "dropped 0", "senders_waiting 0",
			"receivers_waiting 0", "open_senders 0", "open_receivers 0")
		if w := mb.waiters(); w != nil {
			t.Errorf("waiters of a new mailbox = %+v, want none", w)
		}
		mb.wantQueue()
	})
}

func TestOverflow(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		overflow string
		send     string // what a send to the full mailbox returns
		queue    []string
		dropped  string
	}{
		{"fail", "EAGAIN", []string{"a", "b"}, "0"},
		{"drop-oldest", "1", []string{"b", "c"}, "1"},
		{"drop-newest", "1", []string{"a", "b"}, "1"},
	} {
		t.Run(row.overflow, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.with("capacity", "2", "overflow", row.overflow)
				mb.put("a", "b")
				does(t, "open "+mb.send+" wronly", "ok", "write c", row.send)
				mb.wantStat("messages 2", "bytes 2", "dropped "+row.dropped)
				mb.wantQueue(row.queue...)
			})
		})
	}
	t.Run("block", func(t *testing.T) {
		t.Parallel()
		inBothShapes(t, func(t *testing.T, mb *mailbox) {
			mb.with("capacity", "2", "overflow", "block")
			mb.put("a", "b")
			c := mb.parkSender("c")
			mb.wantQueue("a", "b", "c")
			c.expect("1")
		})
	})
}

func TestOverflowByBytesDropsAsManyAsItMust(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("capacity_bytes", "10", "overflow", "drop-oldest")
		mb.put("1111", "2222", "33")
		mb.put("44444")
		mb.wantStat("messages 2", "bytes 7", "dropped 2")
		mb.wantQueue("33", "44444")

		mb.set("overflow", "drop-newest")
		mb.put("1111", "2222", "333")
		mb.wantQueue("1111", "2222")
	})
}

func TestRendezvousSendCompletesOnlyWithItsReceiver(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("capacity", "0")
		c := mb.parkSender("hello")
		mb.wantStat("messages 0", "senders_waiting 1", "received 0")
		run(t, "cat", mb.receive).prints("hello")
		c.expect("5")

		r := mb.parkReceiver()
		run(t, "bash", "-c", "echo hello > "+mb.send).prints("")
		r.expect(`"hello\n"`)
		mb.wantStat("messages 0", "sent 2", "received 2", "dropped 0")
	})
}

func TestRendezvousOverflow(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("capacity", "0", "overflow", "fail")
		does(t, "open "+mb.send+" wronly", "ok", "write x", "EAGAIN")
		for dropped, overflow := range []string{"drop-newest", "drop-oldest"} {
			mb.set("overflow", overflow)
			does(t, "open "+mb.send+" wronly", "ok", "write x", "1")
			mb.wantStat("messages 0", "dropped "+number(dropped+1))
		}
		for _, overflow := range []string{"fail", "drop-newest", "drop-oldest"} {
			mb.set("overflow", overflow)
			r := mb.parkReceiver()
			does(t, "open "+mb.send+" wronly", "ok", "write hello", "5")
			r.expect(`"hello"`)
		}
		mb.wantStat("messages 0", "dropped 2")
	})
}

func TestUnboundedTakesAll(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("capacity", "max", "capacity_bytes", "max")
		does(t, "open "+mb.send+" wronly|nonblock", "ok", "writes 20000 hello", "20000", "poll out 0", "out")
		mb.wantStat("messages 20000", "bytes 100000")
		does(t, "open "+mb.receive+" rdonly|nonblock", "ok", "drain 100", "20000 EAGAIN")
		// More than the default 16 MiB.
		message := strings.Repeat("x", maxMessage)
		for range 20 {
			mb.put(message)
		}
		mb.wantStat("messages 20", "bytes "+number(20*maxMessage))
		mb.take()
	})
}

func TestDefaultCapacityIsBounded(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		does(t, "open "+mb.send+" wronly|nonblock", "ok", "writes 2000 x", "1024 EAGAIN")
		mb.take()
		message := strings.Repeat("x", maxMessage)
		for range (16 << 20) / maxMessage {
			mb.put(message)
		}
		does(t, "open "+mb.send+" wronly|nonblock", "ok", "fill "+number(maxMessage)+" x", "EAGAIN")
	})
}

func TestRaisedCapacityWakesSendersInOrder(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("capacity", "1")
		mb.put("a")
		b, c, d := mb.parkSender("b"), mb.parkSender("c"), mb.parkSender("d")
		mb.set("capacity", "3")
		b.expect("1")
		c.expect("1")
		mb.gone(c)
		mb.parked(d)
		mb.wantStat("messages 3", "senders_waiting 1")
		mb.set("capacity", "max")
		d.expect("1")
		mb.wantQueue("a", "b", "c", "d")
	})
}

func TestRaisedCapacityBytesWakesSendersInOrder(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("capacity_bytes", "4")
		mb.put("aaaa")
		b, c := mb.parkSender("bbbb"), mb.parkSender("cccc")
		mb.set("capacity_bytes", "8")
		b.expect("4")
		mb.gone(b)
		mb.parked(c)
		mb.set("capacity_bytes", "max")
		c.expect("4")
		mb.wantQueue("aaaa", "bbbb", "cccc")
	})
}

func TestEndOfRendezvousAdmitsTheWaiting(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("capacity", "0")
		a, b := mb.parkSender("a"), mb.parkSender("b")
		mb.set("capacity", "1")
		a.expect("1")
		mb.gone(a)
		mb.parked(b)
		mb.wantStat("messages 1", "senders_waiting 1")
		mb.wantQueue("a", "b")
		b.expect("1")
	})
}

func TestLoweredCapacityDropsNothing(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		for _, policy := range []string{"capacity", "capacity_bytes"} {
			mb.put("a", "b", "c")
			mb.set(policy, "1")
			mb.wantStat("messages 3", "dropped 0")
			does(t, "open "+mb.send+" wronly|nonblock", "ok", "write x", "EAGAIN",
				"open "+mb.receive+" rdonly|nonblock", "ok", "read 10", `"a"`,
				"use 0", "ok", "write x", "EAGAIN")
			mb.wantQueue("b", "c")
			mb.set(policy, "max")
		}
		mb.put("long message")
		mb.set("max_message", "1")
		mb.wantQueue("long message")
	})
}

func TestChangeOfOverflowReexaminesTheWaiting(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		overflow, write string
		queue           []string
		dropped         string
	}{
		{"fail", "EAGAIN", []string{"a"}, "0"},
		{"drop-newest", "1", []string{"a"}, "2"},
		{"drop-oldest", "1", []string{"c"}, "2"},
	} {
		t.Run(row.overflow, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.set("capacity", "1")
				mb.put("a")
				b, c := mb.parkSender("b"), mb.parkSender("c")
				mb.set("overflow", row.overflow)
				b.expect(row.write)
				c.expect(row.write)
				mb.wantStat("messages 1", "senders_waiting 0", "dropped "+row.dropped)
				mb.wantQueue(row.queue...)
			})
		})
	}
}

func TestABadValueLeavesTheWaitingAlone(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("capacity", "1")
		mb.put("a")
		b := mb.parkSender("b")
		does(t, "open "+mb.file("overflow")+" wronly", "ok", "write sometimes", "EINVAL",
			"open "+mb.file("capacity")+" wronly", "ok", "write -5", "EINVAL")
		mb.parked(b)
		mb.wantPolicy("overflow", "block")
		mb.wantPolicy("capacity", "1")
	})
}

func TestFlushDiscardsAndAdmitsTheWaiting(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("capacity", "2")
		mb.put("a", "b")
		c, d, e := mb.parkSender("c"), mb.parkSender("d"), mb.parkSender("e")
		bash(t, "echo > "+mb.file("flush")).prints("")
		c.expect("1")
		d.expect("1")
		mb.gone(d)
		mb.parked(e)
		mb.wantStat("messages 2", "senders_waiting 1", "received 0")
		mb.wantQueue("c", "d", "e")
		e.expect("1")

		// Nobody who waits for a message gets anything from a flush.
		r := mb.parkReceiver()
		mb.set("flush", "1")
		mb.parked(r)
		mb.put("x")
		r.expect(`"x"`)
	})
}

func TestOpenHandlesFollowLiveChanges(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := cli(t, "open "+mb.send+" wronly|nonblock", "writes 10 x", "pause", "write y", "pause", "fill 20 z", "fill 5 z")
		c.expect("ok", "10")
		mb.set("capacity", "10")
		c.resume()
		c.expect("ok", "EAGAIN")
		mb.with("capacity", "max", "max_message", "5")
		c.resume()
		c.expect("ok", "EMSGSIZE", "5")
	})
}
