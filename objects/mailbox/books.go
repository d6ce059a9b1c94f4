package mailbox

import (
	"syscall"

	"ipcfs/objects"
)

// Everything that a mailbox keeps is on somebody's books. A message is on its sender's, one
// message and its bytes, until it has been received, dropped or has expired. What an open
// file keeps, of a message that was received among others, is on those of who opened it.

// HandleAllowance is how many bytes of memory an open file may keep that count as part of
// it: so small messages are not booked a second time while they are read. The driver books
// them with the file.
const HandleAllowance = 1024

// messageCost is what a message takes beside its data, in bytes, rounded up.
const messageCost = 256

// cost is what m is booked as.
func (m *Message) cost() objects.Cost { return objects.Cost{Messages: 1, Bytes: int64(m.booked) - 1} }

// refundable is what refund would give back now.
func (m *Message) refundable() objects.Cost {
	if m.booked == 0 || m.extra != nil && m.extra.pins > 0 {
		return objects.Cost{}
	}
	return m.cost()
}

// charge books m before it is kept.
func (m *Message) charge(l objects.Ledger) syscall.Errno {
	if m.booked > 0 {
		return 0
	}
	errno := l.Charge(m.Sender.Uid, objects.Cost{Messages: 1, Bytes: int64(len(m.Data))})
	if errno == 0 {
		m.booked = uint32(len(m.Data)) + 1
	}
	m.memory().Enqueue()
	return errno
}

// restore books m, which was on the books before: a limit reached since does not lose it.
func (m *Message) restore(l objects.Ledger) {
	m.memory().Enqueue()
	if m.booked == 0 {
		m.booked = uint32(len(m.Data)) + 1
		l.Adjust(m.Sender.Uid, m.cost())
	}
}

// grow books n bytes that m, which is booked, is to have more.
func (m *Message) grow(l objects.Ledger, n int) syscall.Errno {
	errno := l.Charge(m.Sender.Uid, objects.Cost{Bytes: int64(n)})
	if errno == 0 {
		m.booked += uint32(n)
	}
	return errno
}

// shrink takes bytes of m, which is booked, off the books, but for n.
func (m *Message) shrink(l objects.Ledger, n int) {
	l.Adjust(m.Sender.Uid, objects.Cost{Bytes: int64(n) + 1 - int64(m.booked)})
	m.booked = uint32(n) + 1
}

// refund takes m off the books, unless an open file keeps it at its sender's expense. Its
// memory, if it has any, is freed unless a handle still reads it.
func (m *Message) refund(l objects.Ledger) {
	if m.booked > 0 {
		if m.extra != nil && m.extra.pins > 0 {
			m.extra.over = true
			return
		}
		l.Adjust(m.Sender.Uid, m.cost().Minus())
		m.booked = 0
	}
	m.memory().Dequeue()
}

// footprint is the memory that h keeps beside its allowance, in bytes. A message on lease
// is on the books as such.
func footprint(h *objects.Handle) int64 {
	var n int64
	s := FileOf(h)
	if m := reading(h); m != nil && m != s.leased {
		n = int64(len(m.Data)) + messageCost
		if s.pinned != nil {
			n = max(0, n-s.pinned.cost().Bytes-messageCost)
		}
	}
	outcomes := cap(s.receipt)
	if s.rendering != nil {
		outcomes += cap(s.rendering.outcomes)
	}
	return max(0, n+int64(outcomeSize*outcomes+8*cap(s.entries))-HandleAllowance)
}

// book makes what is booked for h what it keeps.
func (b *Mailbox) book(h *objects.Handle) {
	b.unpin(h)
	if n := footprint(h) - FileOf(h).booked; n != 0 {
		b.ledger.Adjust(FileOf(h).opener, objects.Cost{Kept: n})
		FileOf(h).booked += n
	}
}

// charge books what h keeps more than what is booked for it.
func (b *Mailbox) charge(h *objects.Handle) syscall.Errno {
	n := footprint(h) - FileOf(h).booked
	if n > 0 {
		if errno := b.ledger.Charge(FileOf(h).opener, objects.Cost{Kept: n}); errno != 0 {
			return errno
		}
		FileOf(h).booked += n
	}
	return 0
}

// retain books what h, which has taken m, keeps of it. No receive fails for that: if who
// opened h may not keep more, m stays on its sender's books, and counts as held, until h
// has been read on or closed. So it does no more than to be received later.
func (b *Mailbox) retain(h *objects.Handle, m *Message) {
	if reading(h) == nil || reading(h) == FileOf(h).leased {
		return
	}
	n := footprint(h) - FileOf(h).booked
	switch {
	case n <= 0:
	case m.share == nil && m.booked > 0 && m.memory() == nil:
		if b.ledger.Move(m.Sender.Uid, m.cost(), FileOf(h).opener, objects.Cost{Kept: n}) == 0 {
			m.booked = 0
			FileOf(h).booked += n
			return
		}
		b.pin(h, m)
	case b.ledger.Charge(FileOf(h).opener, objects.Cost{Kept: n}) == 0:
		FileOf(h).booked += n
	default:
		b.pin(h, m)
	}
}

// pin leaves m on its sender's books because h reads it.
func (b *Mailbox) pin(h *objects.Handle, m *Message) {
	m.restore(b.ledger)
	if m.extra == nil {
		m.extra = new(extra)
	}
	m.extra.pins++
	s := more(h)
	s.pinned, s.pinnedAs = m, reading(h)
	b.pinned.n++
	b.pinned.bytes += int64(len(m.Data))
}

// unpin ends a pin of h whose message h does not read any more.
func (b *Mailbox) unpin(h *objects.Handle) {
	s := FileOf(h)
	m := s.pinned
	if m == nil || reading(h) == s.pinnedAs {
		return
	}
	s.pinned, s.pinnedAs = nil, nil
	b.pinned.n--
	b.pinned.bytes -= int64(len(m.Data))
	b.unpinned = true
	if m.extra.pins--; m.extra.pins == 0 && m.extra.over {
		m.extra.over = false
		m.refund(b.ledger)
	}
}

// relax admits senders to the room that pinned messages have left.
func (b *Mailbox) relax(now objects.Time, done *objects.Finished) {
	for b.unpinned {
		b.unpinned = false
		b.pump(now, done)
	}
}

// abolish ends all that h keeps.
func (b *Mailbox) abolish(h *objects.Handle) {
	h.Drop()
	if f := FileOf(h); f.rare != &nothing {
		f.receipt, f.rendering, f.inbox, f.entries = nil, nil, nil, nil
	}
	b.book(h)
}

// Booked is what is to be on the books of each user for what b has.
func (b *Mailbox) Booked() map[uint32]objects.Cost {
	books := make(map[uint32]objects.Cost)
	add := func(uid uint32, c objects.Cost) {
		was := books[uid]
		books[uid] = objects.Cost{Messages: was.Messages + c.Messages, Bytes: was.Bytes + c.Bytes, Kept: was.Kept + c.Kept}
	}
	message := func(m *Message) {
		if m != nil {
			add(m.Sender.Uid, objects.Cost{Messages: 1, Bytes: int64(len(m.Data)), Kept: 0})
			add(m.memory().Booked(b.ledger))
		}
	}
	for _, l := range []*messageList{&b.held, &b.dead} {
		for m := l.First(); m != nil; m = m.Next() {
			message(m)
		}
	}
	for _, q := range []*objects.Queue{&b.senders.Queue, &b.beginners} {
		for r := q.First(); r != nil; r = r.Next() {
			add(r.Caller.Uid, objects.Cost{Bytes: int64(len(of(r).rest))})
			message(of(r).message)
		}
	}
	counted := make(map[*Message]bool)
	for _, h := range b.handles {
		s := FileOf(h)
		message(s.begun)
		message(s.leased)
		if m := s.pinned; m != nil && m.extra.over && !counted[m] {
			counted[m] = true // several files may read a broadcast
			message(m)
		}
		add(FileOf(h).opener, objects.Cost{Kept: footprint(h)})
	}
	return books
}
