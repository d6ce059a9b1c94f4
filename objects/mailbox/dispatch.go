package mailbox

import (
	"syscall"

	"ipcfs/objects"
)

// receiverFor returns the first parked receiver that may take m, nil if there is none.
func (b *Mailbox) receiverFor(m *Message) *objects.Request { return b.receivers.firstFor(m) }

// senderFor returns the parked sender whose message h would receive next, nil if there is
// none. Only a peek gets an offered broadcast so: subscribers have it in their inboxes.
func (b *Mailbox) senderFor(h *objects.Handle) *objects.Request {
	looks, only := h.ReadOp == objects.Peek, FileOf(h).Filter
	if b.receiving == Broadcast && !looks {
		return nil
	}
	next := b.senders.first(only, b.order)
	if next == nil || looks || of(next).message.share == nil {
		return next
	}
	// It was offered to subscribers before receivers changed. There is one such at most.
	next = nil
	for s := b.senders.First(); s != nil; s = s.Next() {
		m := of(s).message
		if m.share == nil && only.admits(m) && (next == nil || b.order.rank(m) > b.order.rank(of(next).message)) {
			next = s
		}
	}
	return next
}

// heldFor is the held message that the next receive through h would take, nil if there
// is none.
func (b *Mailbox) heldFor(h *objects.Handle) *Message {
	inbox := FileOf(h).inbox
	var m *Message
	switch {
	case b.shared == 0:
		m = b.held.find(FileOf(h).Filter)
	case b.shared < b.held.n: // receivers was not broadcast, or is not any more
		for m = b.held.First(); m != nil && (m.share != nil || !FileOf(h).Filter.admits(m)); m = m.Next() {
		}
	}
	if len(inbox) > 0 && (m == nil || b.order.precedes(inbox[0], m)) {
		return inbox[0]
	}
	return m
}

// nextFor is the message that the next receive, or peek, through h would get, nil if
// there is none.
func (b *Mailbox) nextFor(h *objects.Handle) *Message {
	var m *Message
	if h.ReadOp == objects.Peek {
		m = b.held.find(FileOf(h).Filter)
	} else {
		m = b.heldFor(h)
	}
	if m != nil {
		return m
	}
	if s := b.senderFor(h); s != nil {
		return of(s).message
	}
	return nil
}

// meet finishes the receive r, which is not parked, with the message of a parked sender.
// It reports false if there is none for it.
func (b *Mailbox) meet(now objects.Time, r *objects.Request, done *objects.Finished) bool {
	s := b.senderFor(r.Handle)
	if s == nil {
		return false
	}
	m := of(s).message
	b.accept(now, m)
	b.deliver(now, r, m, done)
	b.passed(s)
	b.advance(now, s, done)
	return true
}

// show gives a copy of m, which has just come, to the parked peeks that select it.
func (b *Mailbox) show(m *Message, done *objects.Finished) {
	for p := b.peekers.firstFor(m); p != nil; p = b.peekers.firstFor(m) {
		b.peekers.remove(p)
		b.copyTo(p, m)
		done.Add(p)
	}
}

// pump admits parked senders, in order, until one has to wait.
func (b *Mailbox) pump(now objects.Time, done *objects.Finished) {
	for s := b.senders.First(); s != nil; s = b.senders.First() {
		n := int64(len(of(s).message.Data))
		switch {
		case n > b.longest() && of(s).message.share == nil:
			// A limit was lowered below what waits; it could wait for ever.
			// mq_send(3): EMSGSIZE, longer than mq_msgsize.
			if s.Handle == nil {
				b.storeOrphan(now, s, done)
			} else {
				b.end(s, syscall.EMSGSIZE, done)
			}
		case b.admit(arrival{m: of(s).message, bytes: n}).verdict == wait && !b.offer(now, s, done):
			return
		case b.senders.First() == s:
			b.advance(now, s, done)
		}
	}
	b.admitBeginners(now, done)
}

// rematch gives the messages of parked senders to parked receivers after receivers has
// changed: under broadcast they could wait beside one another.
func (b *Mailbox) rematch(now objects.Time, done *objects.Finished) {
	for r := b.receivers.First(); r != nil; {
		if b.senderFor(r.Handle) == nil {
			r = r.Next()
			continue
		}
		b.receivers.remove(r)
		b.meet(now, r, done)
		b.pump(now, done)
		r = b.receivers.First()
	}
}
