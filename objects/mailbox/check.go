package mailbox

import (
	"fmt"

	"ipcfs/objects"
)

// Check implements Object.
func (b *Mailbox) Check() error {
	var n, bytes, memory, shared int64
	var last uint64
	for m := b.held.First(); m != nil; m = m.Next() {
		if m.borrowed || int64(m.booked) != int64(len(m.Data))+1 {
			return fmt.Errorf("message %d is held on borrowed memory or off the books", m.Seq)
		}
		if m.memory() != nil && !m.memory().Queued() {
			return fmt.Errorf("message %d is held and its memory is not", m.Seq)
		}
		if m.Seq == last {
			return fmt.Errorf("message %d is held twice", m.Seq)
		}
		if m.rank != b.order.rank(m) || m.Prev() != nil && m.rank > m.Prev().rank {
			return fmt.Errorf("message %d of rank %d is out of order", m.Seq, m.rank)
		}
		if at := b.expiresAt(m); b.ttl != objects.Unbounded && at != 0 && (b.nextExpiry == 0 || at < b.nextExpiry) {
			return fmt.Errorf("message %d expires at %d, unnoticed until %d", m.Seq, at, b.nextExpiry)
		}
		if m.share != nil {
			if shared++; m.share.owed == 0 {
				return fmt.Errorf("message %d is held for nobody", m.Seq)
			}
		}
		n, bytes, last = n+1, bytes+int64(len(m.Data)), m.Seq
		memory += m.memory().Length()
	}
	switch {
	case !b.destroyed && b.ttl != objects.Unbounded && (b.held.ages == nil || int64(b.held.ages.len()) != n):
		return fmt.Errorf("%d messages are held, not all of them are to expire", n)
	case b.held.numbers != nil && b.held.unnumbered == nil && int64(len(b.held.numbers)) != n:
		return fmt.Errorf("%d messages are numbered, %d held", len(b.held.numbers), n)
	case n != b.held.n || bytes != b.held.bytes || memory != b.held.memory || shared != b.shared:
		return fmt.Errorf("holds %d messages of %d and %d bytes, %d of them broadcast, counted %d of %d and %d, %d",
			n, bytes, memory, shared, b.held.n, b.held.bytes, b.held.memory, b.shared)
	case b.held.index != nil && !b.held.index.covers(&b.held):
		return fmt.Errorf("the index misses some of %d messages", n)
	case b.senders.Len() > 0 && b.overflow != objects.Block:
		return fmt.Errorf("%d senders wait under overflow %s", b.senders.Len(), b.overflow)
	case b.senders.Len() > 0 && b.admit(arrival{m: of(b.senders.First()).message, bytes: int64(len(of(b.senders.First()).message.Data))}).verdict != wait:
		return fmt.Errorf("the first of %d senders waits though its message is admitted", b.senders.Len())
	case b.beginners.Len() > 0 && b.mayBegin(b.beginners.First()):
		return fmt.Errorf("the first of %d senders waits though it may begin", b.beginners.Len())
	case b.destroyed && n+int64(b.senders.Len()+b.beginners.Len()+b.receivers.Len()+b.peekers.Len()+b.awaiting.Len()+b.unrendered.Len()) > 0:
		return fmt.Errorf("destroyed, but something is left")
	}
	for _, q := range []*objects.Queue{&b.receivers.Queue, &b.peekers.Queue} {
		for r := q.First(); r != nil; r = r.Next() {
			if m := b.nextFor(r.Handle); m != nil {
				return fmt.Errorf("a %s waits though message %q is there for it", r.Op, m.Data)
			}
		}
	}
	if err := b.checkStates(); err != nil {
		return err
	}
	return b.checkHandles()
}

// checkStates checks that each message is in the place of its state, and that none is in
// such a state and in no place.
func (b *Mailbox) checkStates() error {
	var in [states]int64
	var err error
	check := func(m *Message, want state) {
		if m == nil {
			return
		}
		if in[want]++; m.state != want {
			err = fmt.Errorf("message %d is in the place of the %s and its state is %s", m.Seq, want, m.state)
		} else if m.booked == 0 {
			err = fmt.Errorf("message %d is %s and off the books", m.Seq, want)
		}
	}
	for m := b.held.First(); m != nil; m = m.Next() {
		check(m, held)
	}
	for m := b.dead.First(); m != nil; m = m.Next() {
		check(m, dead)
	}
	for s := b.senders.First(); s != nil; s = s.Next() {
		check(of(s).message, offered)
		if err == nil && b.senders.index != nil && of(s).lanes == nil {
			err = fmt.Errorf("the index misses what a sender offers")
		}
	}
	for _, h := range b.handles {
		check(FileOf(h).begun, begun)
		check(FileOf(h).leased, leased)
	}
	if err == nil && in != b.in {
		err = fmt.Errorf("there are %v messages in the states %v, counted %v", in, stateNames, b.in)
	}
	return err
}

// checkHandles checks what belongs to open files.
func (b *Mailbox) checkHandles() error {
	owed := make(map[*Message]int)
	waiting := make(map[*objects.Handle]int)
	for _, q := range []*objects.Queue{&b.senders.Queue, &b.beginners, &b.receivers.Queue, &b.peekers.Queue, &b.awaiting, &b.unrendered} {
		for r := q.First(); r != nil; r = r.Next() {
			waiting[r.Handle]++
		}
	}
	for _, h := range b.handles {
		s := FileOf(h)
		if h.Waiting() != waiting[h] {
			return fmt.Errorf("%d requests of an open file wait, counted %d", waiting[h], h.Waiting())
		}
		if FileOf(h).booked != footprint(h) {
			return fmt.Errorf("an open file keeps %d bytes, and %d are booked", footprint(h), FileOf(h).booked)
		}
		if s.leased != nil && s.ends != 0 && (b.nextLeaseEnd == 0 || s.ends < b.nextLeaseEnd) {
			return fmt.Errorf("a lease ends at %d, unnoticed until %d", s.ends, b.nextLeaseEnd)
		}
		for i, m := range s.inbox {
			if owed[m]++; i > 0 && b.order.precedes(m, s.inbox[i-1]) {
				return fmt.Errorf("broadcast message %d is out of order", m.Seq)
			}
		}
	}
	for m := b.held.First(); m != nil; m = m.Next() {
		if m.share != nil && m.share.owed != owed[m] {
			return fmt.Errorf("message %d is owed to %d receivers, counted %d", m.Seq, owed[m], m.share.owed)
		}
		delete(owed, m)
	}
	if s := b.senders.First(); s != nil {
		delete(owed, of(s).message)
	}
	if len(owed) > 0 {
		return fmt.Errorf("%d broadcast messages are owed that are not held", len(owed))
	}
	return nil
}
