package mailbox

import (
	"math"

	"ipcfs/objects"
)

// An arrival is a message for which somebody asks to be admitted.
type arrival struct {
	m     *Message
	bytes int64 // its length, also if m has none of them yet

	ahead   bool // somebody waits to send before it
	begins  bool // these are its first bytes, and it goes on
	carried bool // it comes from another mailbox
}

// A verdict is what is to happen to an arrival.
type verdict uint8

const (
	handOver verdict = iota // give it to who waits for it; that needs no room
	hold                    // keep it until somebody takes it
	wait                    // until there is room, or a receiver
	refuse                  // fail with EAGAIN
	discard                 // drop it; it counts as sent
)

// A decision is a verdict with what it takes.
type decision struct {
	verdict  verdict
	receiver *objects.Request // who gets what is handed over; nil: every subscriber
	evict    int              // how many of the oldest messages are dropped before
}

// admitted reports whether the arrival does not wait and does not fail.
func (d decision) admitted() bool { return d.verdict != wait && d.verdict != refuse }

// admit decides about an arrival. It changes nothing. A send does what admit says, poll(2)
// asks it about the longest message, and a transfer before it takes a message out of another
// mailbox; Check asks it whether who waits has to.
//
// These exceed the capacity: what is handed over, which is never held; urgent messages, which
// do not wait, unless they come from another mailbox, whose policies say nothing here; what
// comes back (see [Mailbox.returned]), which had been admitted; what a closed file leaves
// behind when nobody is left to be told that there is no room; a broadcast message that some
// have received when overflow stops being block; and what was held before capacity was
// lowered.
//
// If receivers changes while a message is offered, the message is offered under the new
// policy, but a broadcast that its subscribers may take already remains one.
func (b *Mailbox) admit(a arrival) decision {
	m := a.m
	if a.begins {
		return b.admitBeginning(a)
	}
	exempt := m.Urgent && !a.carried
	offered := m.share != nil && !a.carried // a broadcast whose subscribers may take it
	if !offered {
		if b.receiving == Broadcast {
			if b.awaitedByAll(m) {
				return decision{verdict: handOver}
			}
		} else if r := b.receiverFor(m); r != nil {
			return decision{verdict: handOver, receiver: r}
		}
		switch {
		case a.ahead && b.overflow == objects.Block && !exempt:
			// Senders are admitted in order, even past one whose message is too big for
			// the room there is.
			return decision{verdict: wait}
		case b.receiving == Broadcast && !b.anyoneFor(m):
			return decision{verdict: discard}
		}
	}
	switch {
	case exempt, b.fits(a.bytes):
		return decision{verdict: hold}
	case b.overflow == objects.Block:
		return decision{verdict: wait}
	case offered && m.Seq != 0: // some have it
		return decision{verdict: hold}
	case b.overflow == objects.Fail:
		return decision{verdict: refuse}
	case b.overflow == objects.DropOldest:
		if n, fits := b.evictions(a.bytes); fits {
			return decision{verdict: hold, evict: n}
		} else {
			return decision{verdict: discard, evict: n}
		}
	}
	return decision{verdict: discard}
}

// admitBeginning is admit for the first bytes of a message. Who closes a file cannot be made
// to wait, so the beginning waits for room, or for a receiver, beside what others have begun:
// a begun message counts as one of the capacity, though its bytes belong to the file that
// writes it.
func (b *Mailbox) admitBeginning(a arrival) decision {
	switch {
	case a.m.Urgent, b.overflow == objects.DropOldest, b.overflow == objects.DropNewest:
		return decision{verdict: hold}
	case a.ahead && b.overflow == objects.Block:
		return decision{verdict: wait}
	case b.receiving == Broadcast && !b.anyoneFor(a.m),
		b.awaited(a.m) && int64(b.receivers.Len()) > b.in[begun],
		b.held.n+b.in[begun] < b.capacity && b.fits(a.bytes):
		return decision{verdict: hold}
	case b.overflow == objects.Fail:
		return decision{verdict: refuse}
	}
	return decision{verdict: wait}
}

// longest is the length in bytes of the longest message that can ever be sent: less than
// 2 GiB, which is what one read(2) can take (MAX_RW_COUNT).
func (b *Mailbox) longest() int64 {
	n := min(b.maxMessage, math.MaxInt32)
	if b.framing == ByWrite {
		n = min(n, MaxMessage)
	}
	if b.capacityBytes > 0 {
		return min(n, b.capacityBytes)
	}
	return n
}

// room is how many messages, and how many bytes, the mailbox can hold more. It is negative
// if it holds more than it may: see admit.
func (b *Mailbox) room() (messages, bytes int64) {
	return b.capacity - b.held.n - b.pinned.n, b.capacityBytes - b.held.bytes - b.pinned.bytes
}

// fits reports whether a message of n bytes can be held.
func (b *Mailbox) fits(n int64) bool {
	messages, bytes := b.room()
	return messages > 0 && n <= bytes
}

// evictions is how many of the oldest messages have to be dropped so that one of n bytes
// fits. It reports false if it does not fit even when all are dropped that can be.
func (b *Mailbox) evictions(n int64) (evicted int, fits bool) {
	messages, bytes := b.room()
	for old := b.held.oldest(); old != nil && (messages < 1 || bytes < n); old = b.held.oldestAfter(old) {
		evicted++
		messages++
		bytes += int64(len(old.Data))
	}
	return evicted, messages >= 1 && bytes >= n
}

// awaited reports whether m would be received at once.
func (b *Mailbox) awaited(m *Message) bool {
	if b.receiving == Broadcast {
		return b.awaitedByAll(m)
	}
	return b.receiverFor(m) != nil
}

// rendezvous reports whether there is no buffer at all.
func (b *Mailbox) rendezvous() bool { return b.capacity == 0 || b.capacityBytes == 0 }

// awaitedByAll reports whether all subscribers wait for m, where that is what a send waits
// for: there is no buffer.
func (b *Mailbox) awaitedByAll(m *Message) bool {
	if !b.rendezvous() || b.held.n > 0 || !b.senders.Empty() || b.receivers.Empty() {
		return false
	}
	waits := make(map[*objects.Handle]bool, b.receivers.Len())
	for r := b.receivers.First(); r != nil; r = r.Next() {
		waits[r.Handle] = true
	}
	n := 0
	for h := range b.subscribers(m) {
		if n++; !waits[h] {
			return false
		}
	}
	return n > 0
}

// writable reports whether a write through h of the longest message, or of its beginning,
// would be taken at once.
func (b *Mailbox) writable(h *objects.Handle) bool {
	f := FileOf(h)
	switch {
	case b.overflow == objects.DropOldest, b.overflow == objects.DropNewest:
		return true // admit would count what is dropped for it
	case f.spoiled != 0, b.framing == ByClose && f.begun != nil:
		return true // which is refused, or goes on, whatever is held
	}
	m := Message{Sender: objects.Caller{Uid: f.opener}}
	if f.Filter != nil {
		f.Filter.label(&m)
	}
	begins := b.framing != ByWrite && f.begun == nil
	ahead := !b.senders.Empty() || begins && !b.beginners.Empty()
	return b.admit(arrival{m: &m, bytes: b.longest(), ahead: ahead, begins: begins}).admitted()
}

// transferable decides about m, which another mailbox has, or no mailbox. It is refused
// where a send would wait.
func (b *Mailbox) transferable(m *Message) decision {
	d := b.admit(arrival{m: m, bytes: int64(len(m.Data)), ahead: !b.senders.Empty(), carried: true})
	switch {
	case d.verdict == wait, d.verdict == hold && b.reserve(m) != 0:
		d.verdict = refuse
	}
	return d
}
