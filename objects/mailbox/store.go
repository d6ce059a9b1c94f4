package mailbox

import (
	"fmt"
	"syscall"

	"ipcfs/objects"
)

// put sends m, which was admitted. If it fails, it has changed nothing.
func (b *Mailbox) put(now objects.Time, m *Message, d decision, done *objects.Finished) syscall.Errno {
	switch d.verdict {
	case handOver:
		if d.receiver == nil {
			b.accept(now, m)
			b.show(m, done)
			b.distribute(now, m, &share{}, done)
			return 0
		}
		if d.receiver.Op == objects.Lease {
			if errno := m.charge(b.ledger); errno != 0 {
				return errno
			}
		}
		b.receivers.remove(d.receiver)
		b.accept(now, m)
		b.show(m, done)
		b.deliver(now, d.receiver, m, done)
	case hold:
		if m.share == nil {
			if errno := b.reserve(m); errno != 0 {
				return errno
			}
		}
		if errno := b.chargeInstead(m, d.evict); errno != 0 {
			return errno
		}
		b.evict(now, d.evict, done)
		b.store(now, m, done)
	case discard:
		nobody := b.receiving == Broadcast && m.share == nil && !b.anyoneFor(m)
		b.accept(now, m)
		b.revoke(m)
		if nobody {
			b.show(m, done) // those who peek see what was sent, though nobody receives it
		}
		b.drop(now, m, done)
		b.evict(now, d.evict, done)
	default:
		panic(fmt.Sprintf("mailbox: verdict %d admits no message", d.verdict))
	}
	return 0
}

// store holds m, which is on the books, until somebody takes it. Subscribers of a broadcast
// who wait take it at once.
func (b *Mailbox) store(now objects.Time, m *Message, done *objects.Finished) {
	b.accept(now, m)
	m.own()
	b.enter(m, held)
	b.held.push(m, b.order.rank(m))
	b.noteExpiry(m)
	b.show(m, done)
	switch {
	case m.share != nil:
		m.share.held, m.share.offer = true, nil
		b.shared++
	case b.receiving == Broadcast:
		b.shared++
		b.distribute(now, m, &share{held: true}, done)
	}
}

// storeOrphan stores the message of s, whose file is closed, although there is no room:
// nobody is left who could be told of the failure.
func (b *Mailbox) storeOrphan(now objects.Time, s *objects.Request, done *objects.Finished) {
	b.unpark(s)
	m := of(s).message
	of(s).message = nil
	if b.receiving == Broadcast && m.share == nil && !b.anyoneFor(m) {
		b.put(now, m, decision{verdict: discard}, done)
		return
	}
	b.store(now, m, done)
}

// restore holds m again, where its number belongs.
func (b *Mailbox) restore(m *Message) {
	m.own()
	b.enter(m, held)
	m.restore(b.ledger)
	b.held.putBack(m, b.order.rank(m))
	b.noteExpiry(m)
}

// returned makes m available again, which a receiver had taken, or the dead letters had not:
// it goes to the next receiver who waits, or is held, even beyond the capacity. If it has
// expired meanwhile, it is retired.
func (b *Mailbox) returned(now objects.Time, m *Message, done *objects.Finished) {
	if at := b.expiresAt(m); at != 0 && at <= now {
		b.retire(now, m, Expired, objects.Caller{}, done)
		return
	}
	if receiver := b.receiverFor(m); receiver != nil {
		b.receivers.remove(receiver)
		b.deliver(now, receiver, m, done)
		return
	}
	b.restore(m)
	b.show(m, done)
}

// evict drops that many of the oldest messages.
func (b *Mailbox) evict(now objects.Time, evicted int, done *objects.Finished) {
	for range evicted {
		m := b.held.oldest()
		b.release(m)
		b.drop(now, m, done)
	}
}

// chargeInstead books m in place of that many of the oldest messages, which are to be
// evicted for it. If it fails, nothing has changed.
func (b *Mailbox) chargeInstead(m *Message, evicted int) syscall.Errno {
	if evicted == 0 || m.booked > 0 {
		return m.charge(b.ledger)
	}
	old := b.held.oldest()
	for range evicted {
		b.ledger.Adjust(old.Sender.Uid, old.refundable().Minus())
		old = b.held.oldestAfter(old)
	}
	errno := m.charge(b.ledger)
	old = b.held.oldest()
	for range evicted {
		switch c := old.refundable(); {
		case c == objects.Cost{}:
		case errno == 0:
			old.booked = 0
		default:
			b.ledger.Adjust(old.Sender.Uid, c)
		}
		old = b.held.oldestAfter(old)
	}
	return errno
}

// release takes m out of what is held, and out of all inboxes.
func (b *Mailbox) release(m *Message) {
	b.held.remove(m)
	b.revokeHeld(m)
}

func (b *Mailbox) dropAll(now objects.Time, l *messageList, done *objects.Finished) {
	for m := l.pop(); m != nil; m = l.pop() {
		b.revokeHeld(m)
		b.drop(now, m, done)
	}
}
