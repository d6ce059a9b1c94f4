package mailbox

import (
	"slices"
	"syscall"

	"ipcfs/objects"
)

// A share is what a message that was broadcast has: how many subscribers have received it
// and how many have not. Each of these has it in his inbox.
//
// An inbox has an entry for each message, on the books of the subscriber. One position in
// what is held would be less, but does not say what a subscriber has received: a message of
// a higher priority comes in before the position, one that could not be delivered comes back
// behind it, a new order moves all, and what a subscriber does not select is not his.
type share struct {
	owed  int              // subscribers who have not received it
	got   int              // those who have
	held  bool             // the mailbox holds it until all have
	offer *objects.Request // or this sender waits until all have; nil if the mailbox holds it
	gone  bool             // it was taken out of the inboxes: dropped, expired or moved
}

// subscribers yields the open files that receive m if it is broadcast now.
func (b *Mailbox) subscribers(m *Message) func(yield func(*objects.Handle) bool) {
	return func(yield func(*objects.Handle) bool) {
		for _, h := range b.handles {
			if receives(h) && FileOf(h).Filter.admits(m) && !yield(h) {
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

// precedes reports whether x is received before y. A message without a number comes last.
func (o Order) precedes(x, y *Message) bool {
	if rx, ry := o.rank(x), o.rank(y); rx != ry {
		return rx > ry
	}
	return x.Seq-1 < y.Seq-1
}

// distribute puts m into the inboxes of its subscribers. Those who wait receive it at once.
func (b *Mailbox) distribute(now objects.Time, m *Message, s *share, done *objects.Finished) {
	m.share = s
	for h := range b.subscribers(m) {
		b.enqueue(h, m)
	}
	for p := b.receivers.First(); p != nil; {
		before, next := p.Prev(), p.Next()
		if inbox := FileOf(p.Handle).inbox; len(inbox) > 0 && inbox[0] == m {
			b.receivers.remove(p)
			b.deliverShare(now, p, m, done) // others who wait on this handle get the rest
			if next = b.receivers.First(); before != nil {
				next = before.Next()
			}
		}
		p = next
	}
}

// reserve makes room for m in the inboxes of its subscribers, if it is to be broadcast.
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

// makeRoom makes room for one more entry in the inbox of h, on the books of the user who
// opened h. If ask is set, it respects the limits: EDQUOT, ENOSPC.
func (b *Mailbox) makeRoom(h *objects.Handle, ask bool) syscall.Errno {
	s := more(h)
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

// fewEntries is how many entries an empty inbox keeps memory for: 512 bytes, half of the
// HandleAllowance.
const fewEntries = 64

// enqueue adds m to the inbox of h.
func (b *Mailbox) enqueue(h *objects.Handle, m *Message) {
	b.makeRoom(h, false)
	s := FileOf(h)
	i := len(s.inbox)
	for i > 0 && b.order.precedes(m, s.inbox[i-1]) {
		i--
	}
	s.inbox = slices.Insert(s.inbox, i, m)
	m.share.owed++
}

// dequeue takes m out of the inbox of h.
func dequeue(h *objects.Handle, m *Message) {
	switch i := slices.Index(FileOf(h).inbox, m); i {
	case 0:
		FileOf(h).inbox[0] = nil
		FileOf(h).inbox = FileOf(h).inbox[1:]
	default:
		FileOf(h).inbox = slices.Delete(FileOf(h).inbox, i, i+1)
	}
	m.share.owed--
	switch s := FileOf(h); {
	case len(s.inbox) > 0:
	case cap(s.entries) > fewEntries:
		s.inbox, s.entries = nil, nil
	default:
		s.inbox = s.entries[:0]
	}
}

// deliverShare finishes the receive r with the broadcast m, which is in its inbox.
func (b *Mailbox) deliverShare(now objects.Time, r *objects.Request, m *Message, done *objects.Finished) {
	b.accept(now, m)
	dequeue(r.Handle, m)
	m.share.got++
	b.fill(now, r, m)
	b.retain(r.Handle, m)
	b.recordFate(now, m, Received, r.Principal(), done)
	b.answer(r, done)
	b.endShare(now, m, done)
	b.book(r.Handle)
}

// endShare retires the broadcast m when it is in no inbox any more. It counts as dropped if
// all of its subscribers have left without receiving it.
func (b *Mailbox) endShare(now objects.Time, m *Message, done *objects.Finished) {
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
		b.retire(now, m, shared, objects.Caller{}, done)
	} else {
		b.accept(now, m)
		b.drop(now, m, done)
	}
	if sender != nil {
		b.passed(sender)
		b.advance(now, sender, done)
	}
}

// offer broadcasts the message of s, the first sender who waits, if there is no buffer: s
// waits until all subscribers have received it. It reports whether s waits for it no more.
func (b *Mailbox) offer(now objects.Time, s *objects.Request, done *objects.Finished) bool {
	m := of(s).message
	switch {
	case b.receiving != Broadcast || b.overflow != objects.Block || m.share != nil:
	case !b.anyoneFor(m):
		b.advance(now, s, done)
	case b.rendezvous() && b.held.n == 0:
		b.distribute(now, m, &share{offer: s}, done)
	}
	return of(s).message != m
}

// revoke takes the broadcast m out of all inboxes.
func (b *Mailbox) revoke(m *Message) {
	if m.share == nil {
		return
	}
	for _, h := range b.handles {
		if slices.Contains(FileOf(h).inbox, m) {
			dequeue(h, m)
			b.book(h)
		}
	}
	m.share.gone, m.share.held, m.share.offer = true, false, nil
}

// revokeHeld is revoke for a message that was held.
func (b *Mailbox) revokeHeld(m *Message) {
	if m.share != nil {
		b.shared--
		b.revoke(m)
	}
}

// unsubscribe empties the inbox of h, which is closed.
func (b *Mailbox) unsubscribe(now objects.Time, h *objects.Handle, done *objects.Finished) {
	for _, m := range FileOf(h).inbox {
		m.share.owed--
		b.endShare(now, m, done)
	}
	if f := FileOf(h); f.rare != &nothing {
		f.inbox, f.entries = nil, nil
	}
}

// returnShare puts the broadcast m back into the inbox of r's handle: the process of r is
// gone. Others who wait on that handle receive it.
func (b *Mailbox) returnShare(now objects.Time, r *objects.Request, m *Message, done *objects.Finished) {
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
	for p := b.receivers.First(); p != nil && h.Waiting() > 0; p = p.Next() {
		if p.Handle == h {
			b.receivers.remove(p)
			b.deliverShare(now, p, m, done)
			return
		}
	}
}

// reorder sorts what is held, and the inboxes, by the mailbox's order.
func (b *Mailbox) reorder() {
	b.held.reorder(b.order)
	b.senders.reorder()
	for _, h := range b.handles {
		slices.SortStableFunc(FileOf(h).inbox, func(x, y *Message) int {
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
