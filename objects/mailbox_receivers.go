package objects

import (
	"slices"
	"syscall"
)

// Receivers is who gets what is sent to a mailbox.
type Receivers uint8

const (
	AnyReceiver    Receivers = iota // one of those who wait, in turn
	SingleReceiver                  // the one process that receives
	Pair                            // the other of two processes: a link
	Broadcast                       // everyone who receives when it is sent
)

var receiversNames = []string{AnyReceiver: "any", SingleReceiver: "single", Pair: "pair", Broadcast: "broadcast"}

// String is the policy's word.
func (r Receivers) String() string { return receiversNames[r] }

// Broadcasts reports whether everybody gets what is sent.
func (b *Mailbox) Broadcasts() bool { return b.receiving == Broadcast }

// receives reports whether h is a receiving endpoint.
func (h *Handle) receives() bool {
	return h.Reads && h.ReadOp != Peek && h.ReadOp != Receipt
}

// mayOpen is 0 if h may be opened. EBUSY: the mailbox is taken; EOPNOTSUPP: what
// everybody gets cannot be leased.
func (b *Mailbox) mayOpen(h *Handle) syscall.Errno {
	switch b.receiving {
	case SingleReceiver:
		if h.receives() && b.others(h, (*Handle).receives) > 0 {
			return syscall.EBUSY
		}
	case Pair:
		linked := func(h *Handle) bool { return h.receives() || h.Writes }
		if linked(h) && b.others(h, linked) > 1 {
			return syscall.EBUSY
		}
	case Broadcast:
		if h.ReadOp == Lease {
			return syscall.EOPNOTSUPP
		}
	}
	return 0
}

// others counts the processes, h's not among them, whose open files are of that kind.
func (b *Mailbox) others(h *Handle, kind func(*Handle) bool) int {
	known := make(map[uint32]bool)
	n := 0
	for _, o := range b.handles {
		switch {
		case !kind(o), o.Process != 0 && o.Process == h.Process, known[o.Process]:
			continue
		case o.Process != 0:
			known[o.Process] = true
		}
		n++
	}
	return n
}

// A share is a message that was broadcast: what is left to do of it.
type share struct {
	owed  int      // receivers that have not got it
	got   int      // and those that have
	held  bool     // it is held until they have
	offer *Request // or this sender waits until they have
	gone  bool     // it was taken away from them
}

// precedes reports whether x is due before y. What has no number yet comes last.
func (o Order) precedes(x, y *Message) bool {
	if rx, ry := o.rank(x), o.rank(y); rx != ry {
		return rx > ry
	}
	return x.Seq-1 < y.Seq-1
}

// subscribers yields the handles that m is for when it is broadcast.
func (b *Mailbox) subscribers(m *Message) func(yield func(*Handle) bool) {
	return func(yield func(*Handle) bool) {
		for _, h := range b.handles {
			if h.receives() && h.Filter.admits(m) && !yield(h) {
				return
			}
		}
	}
}

// anyoneFor reports whether somebody would get m if it were broadcast now.
func (b *Mailbox) anyoneFor(m *Message) bool {
	for range b.subscribers(m) {
		return true
	}
	return false
}

// distribute owes m to everyone it is for. Who waits gets it at once.
func (b *Mailbox) distribute(now Time, m *Message, s *share, done *Finished) {
	m.share = s
	for h := range b.subscribers(m) {
		b.enqueue(h, m)
	}
	for p := b.receivers.first; p != nil; {
		before, next := p.prev, p.next
		if inbox := p.Handle.state().inbox; len(inbox) > 0 && inbox[0] == m {
			b.receivers.remove(p)
			b.deliverShare(now, p, m, done) // and the rest of it to others on the same handle
			if next = b.receivers.first; before != nil {
				next = before.next
			}
		}
		p = next
	}
}

// enqueue adds m to what h is owed.
func (b *Mailbox) enqueue(h *Handle, m *Message) {
	b.makeRoom(h, false)
	s := h.mailbox
	i := len(s.inbox)
	for i > 0 && b.order.precedes(m, s.inbox[i-1]) {
		i--
	}
	s.inbox = slices.Insert(s.inbox, i, m)
	m.share.owed++
}

// dequeue takes m out of what h is owed.
func (h *Handle) dequeue(m *Message) {
	switch i := slices.Index(h.mailbox.inbox, m); i {
	case 0:
		h.mailbox.inbox[0] = nil
		h.mailbox.inbox = h.mailbox.inbox[1:]
	default:
		h.mailbox.inbox = slices.Delete(h.mailbox.inbox, i, i+1)
	}
	m.share.owed--
	switch s := h.mailbox; {
	case len(s.inbox) > 0:
	case cap(s.entries) > fewEntries:
		s.inbox, s.entries = nil, nil
	default:
		s.inbox = s.entries[:0]
	}
}

// fewEntries are so many that an inbox keeps room for them when it is empty: they are
// within the allowance of a handle.
const fewEntries = 64

// makeRoom makes room for an entry more in the inbox of h. It is on the books of who opened
// h. EDQUOT, ENOSPC: there it may not be, if asked for.
func (b *Mailbox) makeRoom(h *Handle, ask bool) syscall.Errno {
	s := h.ensureState()
	was, size := s.entries, cap(s.entries)
	switch {
	case len(s.inbox) < cap(s.inbox):
		return 0
	case 2*len(s.inbox) <= size: // there is room in front
		n := copy(was[:size], s.inbox)
		clear(was[n:size])
		s.inbox = was[:n]
		return 0
	}
	s.entries = make([]*Message, 0, max(8, 2*size))
	if ask {
		if errno := b.charge(h); errno != 0 {
			s.entries = was
			return errno
		}
	}
	s.inbox = append(s.entries, s.inbox...)
	b.book(h)
	return 0
}

// reserve makes room for m, which nobody is owed yet, in the inboxes of its subscribers.
func (b *Mailbox) reserve(m *Message) syscall.Errno {
	if b.receiving != Broadcast {
		return 0
	}
	for h := range b.subscribers(m) {
		if errno := b.makeRoom(h, true); errno != 0 {
			return errno
		}
	}
	return 0
}

// give finishes the receive r with the broadcast m, which it is owed.
func (b *Mailbox) deliverShare(now Time, r *Request, m *Message, done *Finished) {
	b.accept(now, m)
	r.Handle.dequeue(m)
	m.share.got++
	b.fill(now, r, m)
	b.retain(r.Handle, m)
	b.recordFate(now, m, Received, r.principal(), done)
	b.answer(r, done)
	b.endShare(now, m, done)
	b.book(r.Handle)
}

// endShare ends the broadcast m if nobody is to get it any more. If nobody has, as everyone
// it was for has left, it was dropped.
func (b *Mailbox) endShare(now Time, m *Message, done *Finished) {
	s := m.share
	if s.owed > 0 {
		return
	}
	sender := s.offer
	s.offer = nil
	if s.held {
		s.held = false
		b.held.remove(m)
		b.shared--
	}
	if s.got > 0 {
		b.retire(now, m, shared, Caller{}, done)
	} else {
		b.accept(now, m)
		b.drop(now, m, done)
	}
	if sender != nil {
		b.passed(sender)
		b.advance(now, sender, done)
	}
}

// offer lets the receivers of a broadcast take the message of s, the first sender that
// waits, where there is no buffer for it. It reports whether s waits no more.
func (b *Mailbox) offer(now Time, s *Request, done *Finished) bool {
	m := s.message
	switch {
	case b.receiving != Broadcast || b.overflow != Block || m.share != nil:
	case !b.anyoneFor(m):
		b.advance(now, s, done)
	case b.rendezvous() && b.held.n == 0:
		b.distribute(now, m, &share{offer: s}, done)
	}
	return s.message != m
}

// revoke takes the broadcast m away from those who have not got it.
func (b *Mailbox) revoke(m *Message) {
	if m.share == nil {
		return
	}
	for _, h := range b.handles {
		if slices.Contains(h.state().inbox, m) {
			h.dequeue(m)
			b.book(h)
		}
	}
	m.share.gone, m.share.held, m.share.offer = true, false, nil
}

// forsake is revoke for m that was held.
func (b *Mailbox) revokeHeld(m *Message) {
	if m.share != nil {
		b.shared--
		b.revoke(m)
	}
}

// leave ends what h is owed.
func (b *Mailbox) unsubscribe(now Time, h *Handle, done *Finished) {
	for _, m := range h.state().inbox {
		m.share.owed--
		b.endShare(now, m, done)
	}
	if h.mailbox != nil {
		h.mailbox.inbox, h.mailbox.entries = nil, nil
	}
}

// owe gives the broadcast m back to the handle of r, who did not get it after all.
func (b *Mailbox) returnShare(now Time, r *Request, m *Message, done *Finished) {
	h := r.Handle
	m.share.got--
	if m.share.gone || !slices.Contains(b.handles, h) {
		return
	}
	if m.share.owed == 0 {
		m.share.held = true
		b.shared++
		b.enter(m, fresh)
		b.restore(m)
	}
	b.enqueue(h, m)
	for p := b.receivers.first; p != nil; p = p.next {
		if p.Handle == h {
			b.receivers.remove(p)
			b.deliverShare(now, p, m, done)
			return
		}
	}
}

// rematch lets parked receivers meet parked senders that were to broadcast before.
func (b *Mailbox) rematch(now Time, done *Finished) {
	for r := b.receivers.first; r != nil; {
		if b.senderFor(r.Handle) == nil {
			r = r.next
			continue
		}
		b.receivers.remove(r)
		b.meet(now, r, done)
		b.pump(now, done)
		r = b.receivers.first
	}
}

// reorder puts what is held, and owed, into the mailbox's order.
func (b *Mailbox) reorder() {
	b.held.reorder(b.order)
	for _, h := range b.handles {
		slices.SortStableFunc(h.state().inbox, func(x, y *Message) int {
			switch {
			case b.order.precedes(x, y):
				return -1
			case b.order.precedes(y, x):
				return 1
			}
			return 0
		})
	}
}
