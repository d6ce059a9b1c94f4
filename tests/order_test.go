package tests

import (
	"fmt"
	"testing"
)

// waiting is how many clients queue up in the tests of order.
const waiting = 12

func TestWaitingReceiversAreServedInOrder(t *testing.T) {
	t.Parallel()
	for _, capacity := range []string{"0", "1", "1024", "max"} {
		t.Run("capacity "+capacity, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.set("capacity", capacity)
				var receivers []*client
				for range waiting {
					receivers = append(receivers, mb.parkReceiver())
				}
				wantWaiters(mb, receivers, "receive")
				for i := range receivers {
					mb.put("m" + number(i))
				}
				for i, c := range receivers {
					c.expect(fmt.Sprintf("%q", "m"+number(i)))
				}
				mb.wantStat("messages 0", "receivers_waiting 0", "received "+number(waiting))
			})
		})
	}
}

func TestWaitingSendersAreServedInOrder(t *testing.T) {
	t.Parallel()
	for _, capacity := range []string{"0", "1", "3"} {
		t.Run("capacity "+capacity, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				mb.set("capacity", capacity)
				var want []string
				for i := range map[string]int{"0": 0, "1": 1, "3": 3}[capacity] {
					want = append(want, "q"+number(i))
				}
				mb.put(want...)
				var senders []*client
				for i := range waiting {
					text := "s" + number(i)
					senders = append(senders, mb.parkSender(text))
					want = append(want, text)
				}
				wantWaiters(mb, senders, "send")
				mb.wantQueue(want...)
				for _, c := range senders {
					if got := c.next(); got != "2" && got != "3" {
						t.Errorf("%v: write = %s, want its length", c, got)
					}
				}
				mb.wantStat("messages 0", "senders_waiting 0", "sent "+number(len(want)))
			})
		})
	}
}

func TestOneReceiveAdmitsOneSender(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.set("capacity", "1")
		mb.put("q")
		first, second := mb.parkSender("one"), mb.parkSender("two")
		run(t, "cat", mb.receive).prints("q")
		first.expect("3")
		mb.gone(first)
		mb.parked(second)
		mb.wantStat("messages 1", "senders_waiting 1")
	})
}

func TestWhoLeavesTheQueueKeepsTheOrderOfTheOthers(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		var c []*client
		for range 5 {
			c = append(c, mb.parkReceiver())
		}
		c[0].kill()
		c[2].kill()
		mb.awaitWaiters(3)
		mb.put("one", "two", "three")
		c[1].expect(`"one"`)
		c[3].expect(`"two"`)
		c[4].expect(`"three"`)

		mb.set("capacity", "1")
		mb.put("q")
		for i := range c {
			c[i] = mb.parkSender("s" + number(i))
		}
		c[0].kill()
		c[3].kill()
		mb.awaitWaiters(3)
		mb.wantQueue("q", "s1", "s2", "s4")
	})
}

func TestABlockedSenderIsNotOvertaken(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("capacity", "2", "capacity_bytes", "10")
		mb.put("12345678")
		big := mb.parkSender("abcdef")
		// There is room for one byte, but not before the one who waits.
		does(t, "open "+mb.send+" wronly|nonblock", "ok", "poll out 0", "none", "write x", "EAGAIN")
		small := mb.parkSender("y")
		mb.wantQueue("12345678", "abcdef", "y")
		big.expect("6")
		small.expect("1")
	})
}

func TestMessagesOfOneSenderArriveInOrder(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		var want []string
		for i := range 1000 {
			want = append(want, "m"+number(i))
		}
		mb.put(want...)
		mb.wantQueue(want...)
	})
}

// wantWaiters compares the waiters file with the clients, in order.
func wantWaiters(mb *mailbox, clients []*client, operation string) {
	mb.t.Helper()
	all := mb.waiters()
	if len(all) != len(clients) {
		mb.t.Fatalf("%d waiters %+v, want %d", len(all), all, len(clients))
	}
	for i, w := range all {
		if w.pid != clients[i].pid() || w.operation != operation || w.command != "ipccli" {
			mb.t.Errorf("waiter %d is %+v, want pid %d, ipccli, %s", i, w, clients[i].pid(), operation)
		}
	}
}
