package objects

import (
	"fmt"
	"syscall"
)

// compose makes the message that r sends, with data that it borrows.
func compose(r *Request, data []byte) *Message {
	m := &Message{Data: data, Sender: r.principal(), borrowed: true}
	if only := r.Handle.Filter; only != nil {
		only.label(m)
	}
	if s := r.Handle.state(); s.receipts != nil {
		if s.wish == nil {
			s.wish = &wish{r.Handle}
		}
		m.extra = &extra{wish: s.wish}
	}
	m.writtenBy(r)
	return m
}

func (b *Mailbox) send(now Time, r *Request) Finished {
	var done Finished
	r.framing = b.framing
	switch {
	case b.Framed(r.Handle):
		r.rest = r.Data
		if errno := b.skip(r); errno != 0 {
			return failed(r, errno)
		}
		b.advance(now, r, &done)
		b.admitBeginners(now, &done) // what r has ended makes room beside it
		return done
	case int64(len(r.Data)) > b.longest():
		// mq_send(3): EMSGSIZE, longer than mq_msgsize.
		return failed(r, syscall.EMSGSIZE)
	default:
		r.message = compose(r, r.Data)
	}
	b.advance(now, r, &done)
	return done
}

// advance sends what the sender r has to send, message by message, until that is done
// or r has to wait: r parks then, or stays where it is parked.
func (b *Mailbox) advance(now Time, r *Request, done *Finished) {
	for {
		if r.message == nil {
			if errno := b.next(now, r, done); errno != 0 || r.message == nil {
				if !r.Parked() || errno != 0 || len(r.rest) == 0 {
					b.end(r, errno, done)
				}
				return
			}
		}
		m := r.message
		d := b.admit(arrival{m: m, bytes: int64(len(m.Data)), ahead: !r.Parked() && !b.senders.empty()})
		var errno syscall.Errno
		switch d.verdict {
		case wait:
			if r.Parked() {
				b.enter(m, offered)
			} else {
				b.park(now, r, done)
			}
			return
		case refuse:
			// mq_send(3): EAGAIN, full and O_NONBLOCK. Overflow fail is that for all.
			errno = syscall.EAGAIN
		default:
			errno = b.put(now, m, d, done)
		}
		switch {
		case errno != 0 && r.Handle == nil:
			b.storeOrphan(now, r, done)
			return
		case errno != 0:
			b.end(r, errno, done)
			return
		}
		b.passed(r)
	}
}

// passed notes that the message of r has been sent.
func (b *Mailbox) passed(r *Request) {
	r.N += len(r.message.Data) - int(r.begun)
	r.message, r.begun = nil, 0
}

// end finishes the sender r: with errno, unless something was sent before.
func (b *Mailbox) end(r *Request, errno syscall.Errno, done *Finished) {
	if r.on != nil {
		r.on.remove(r)
	}
	spoils := b.spoils(r, errno)
	goesOn := spoils && r.leavesOff()
	b.withdraw(r)
	if spoils {
		b.spoil(r.Handle, errno, goesOn)
	}
	if r.N > 0 {
		errno = 0 // write(2): fewer bytes than asked for
	}
	r.Errno = errno
	if r.Handle != nil { // else it was closed, and nobody waits
		done.add(r)
	}
}

// storeOrphan stores the message of s, whose file is closed, though there is no room: it cannot
// wait, and nobody is left who could be told.
func (b *Mailbox) storeOrphan(now Time, s *Request, done *Finished) {
	m := s.message
	s.message = nil
	s.on.remove(s)
	if b.receiving == Broadcast && m.share == nil && !b.anyoneFor(m) {
		b.put(now, m, decision{verdict: discard}, done)
		return
	}
	b.store(now, m, done)
}

// withdraw takes back what r has not sent yet.
func (b *Mailbox) withdraw(r *Request) {
	if r.units > 0 {
		b.ledger.Adjust(r.Caller.Uid, Cost{Bytes: -r.units})
	}
	r.units, r.rest = 0, nil
	m := r.message
	if m == nil {
		return
	}
	r.message = nil
	if m.share != nil {
		b.revoke(m)
	}
	if r.begun > 0 {
		b.unbegin(r, m)
		return
	}
	b.unsend(m)
}

// park makes the sender r wait, or fails it.
func (b *Mailbox) park(now Time, r *Request, done *Finished) {
	errno := syscall.EAGAIN
	if !r.Nonblock {
		if errno = r.message.charge(b.ledger); errno == 0 {
			errno = b.copyRest(r)
		}
	}
	if errno != 0 {
		b.end(r, errno, done)
		return
	}
	r.message.own()
	r.Data = nil
	b.enter(r.message, offered)
	b.senders.push(now, r)
	b.show(r.message, done)
	if b.senders.first == r {
		b.offer(now, r, done)
	}
}

// put sends m, which was admitted. If it fails, it has changed nothing.
func (b *Mailbox) put(now Time, m *Message, d decision, done *Finished) syscall.Errno {
	switch d.verdict {
	case handOver:
		if d.receiver == nil {
			b.accept(now, m)
			b.show(m, done)
			b.distribute(now, m, &share{}, done)
			return 0
		}
		if d.receiver.Op == Lease {
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
		panic(fmt.Sprintf("objects: verdict %d admits no message", d.verdict))
	}
	return 0
}

// evict drops that many of the oldest messages.
func (b *Mailbox) evict(now Time, evicted int, done *Finished) {
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
		b.ledger.Adjust(old.Sender.Uid, old.refundable().minus())
		old = b.held.oldestAfter(old)
	}
	errno := m.charge(b.ledger)
	old = b.held.oldest()
	for range evicted {
		switch c := old.refundable(); {
		case c == Cost{}:
		case errno == 0:
			old.booked = 0
		default:
			b.ledger.Adjust(old.Sender.Uid, c)
		}
		old = b.held.oldestAfter(old)
	}
	return errno
}

// hold keeps m, which is on the books, until somebody takes it.
func (b *Mailbox) store(now Time, m *Message, done *Finished) {
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

// restore puts m back, which was held a moment ago.
func (b *Mailbox) restore(m *Message) {
	m.own()
	b.enter(m, held)
	m.restore(b.ledger)
	b.held.putBack(m, b.order.rank(m))
	b.noteExpiry(m)
}

// returned makes m, which somebody had taken, available again, unless it has expired.
func (b *Mailbox) returned(now Time, m *Message, done *Finished) {
	if at := b.expiresAt(m); at != 0 && at <= now {
		b.retire(now, m, Expired, Caller{}, done)
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

// accept makes m one that was sent.
func (b *Mailbox) accept(now Time, m *Message) {
	if m.share != nil && m.Seq != 0 {
		return // when the first received it
	}
	b.seq++
	if m.Seq == 0 { // it keeps its time when it comes from another mailbox
		m.Sent = now
	}
	m.Seq = b.seq
	b.sent++
	b.changed = now
	b.expectReceipt(m)
}

// drop counts m, which was sent and is not held, as dropped.
func (b *Mailbox) drop(now Time, m *Message, done *Finished) {
	b.retire(now, m, Dropped, Caller{}, done)
}

func (b *Mailbox) dropAll(now Time, l *messageList, done *Finished) {
	for m := l.pop(); m != nil; m = l.pop() {
		b.revokeHeld(m)
		b.drop(now, m, done)
	}
}

// release takes m out of what is held.
func (b *Mailbox) release(m *Message) {
	b.held.remove(m)
	b.revokeHeld(m)
}

// pump admits parked senders, in order, until one has to wait.
func (b *Mailbox) pump(now Time, done *Finished) {
	for s := b.senders.first; s != nil; s = b.senders.first {
		n := int64(len(s.message.Data))
		switch {
		case n > b.longest() && s.message.share == nil:
			// A limit was lowered below what waits; it could wait for ever.
			if s.Handle == nil {
				b.storeOrphan(now, s, done)
			} else {
				b.end(s, syscall.EMSGSIZE, done)
			}
		case b.admit(arrival{m: s.message, bytes: n}).verdict == wait && !b.offer(now, s, done):
			return
		case b.senders.first == s:
			b.advance(now, s, done)
		}
	}
	b.admitBeginners(now, done)
}
