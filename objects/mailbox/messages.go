package mailbox

import (
	"iter"
	"syscall"

	"ipcfs/objects"
)

// Messages yields what is held in the order in which it is to be received.
func (b *Mailbox) Messages() iter.Seq[*Message] {
	return func(yield func(*Message) bool) {
		for m := b.held.First(); m != nil && yield(m); m = m.Next() {
		}
	}
}

// Any reports whether a message is held, or offered by a sender who waits.
func (b *Mailbox) Any() bool { return b.held.n > 0 || !b.senders.Empty() }

// MessagesAfter yields what is held behind that place, in the order in which it is to be
// received, with the places: numbers that rise in that order, whatever comes and goes
// meanwhile. 0 is before all.
func (b *Mailbox) MessagesAfter(place uint64) iter.Seq2[uint64, *Message] {
	return func(yield func(uint64, *Message) bool) {
		for m := b.held.after(place); m != nil && yield(m.place(), m); m = m.Next() {
		}
	}
}

// Number prepares up to n messages for being found by their numbers, and reports whether
// all are. Message, Discard, Transfer, ReceiveSegment and MessagesAfter prepare what is
// left, which takes long where many messages are held: a driver whose lock others wait for
// calls Number before, and lets them go first in between.
func (b *Mailbox) Number(n int) (all bool) { return b.held.number(int64(n)) }

// Message returns the message of that number if it is held, nil otherwise.
func (b *Mailbox) Message(seq uint64) *Message { return b.held.numbered(seq) }

// Discard takes the message of that number out of the mailbox, as a flush does with
// all. unlink(2): ENOENT, it is not held, or not any more.
func (b *Mailbox) Discard(now objects.Time, seq uint64) (objects.Finished, syscall.Errno) {
	var done objects.Finished
	m := b.held.numbered(seq)
	if m == nil {
		return done, syscall.ENOENT
	}
	b.release(m)
	b.drop(now, m, &done)
	b.changed = now
	b.pump(now, &done)
	return done, 0
}

// Transfer takes the message of that number out of from and sends it to to, which must
// be another mailbox, in the name of whoever sent it first. It is as a receive and a
// send that do not wait and of which none happens without the other. It fails as they do:
// rename(2): ENOENT, the message is not held; msgop(2): EIDRM; mq_send(3): EMSGSIZE, EAGAIN.
func Transfer(now objects.Time, from, to *Mailbox, seq uint64) (left, arrived objects.Finished, errno syscall.Errno) {
	m := from.held.numbered(seq)
	switch {
	case m == nil:
		return left, arrived, syscall.ENOENT
	case to.destroyed:
		return left, arrived, syscall.EIDRM
	case int64(len(m.Data)) > to.longest():
		return left, arrived, syscall.EMSGSIZE
	}
	d := to.transferable(m)
	if d.verdict == refuse {
		return left, arrived, syscall.EAGAIN
	}
	from.release(m)
	from.pass(now, m, to, d, &left, &arrived)
	from.pump(now, &left)
	return left, arrived, 0
}

// pass moves m, which b does not hold any more, to another mailbox, which has decided to
// take it. The charge moves with it.
func (b *Mailbox) pass(now objects.Time, m *Message, to *Mailbox, d decision, left, arrived *objects.Finished) {
	b.taken = now
	other := m.moved()
	b.retire(now, m, Moved, objects.Caller{}, left)
	other.share, other.Deliveries, other.carried = nil, 0, true
	to.put(now, other, d, arrived)
}
