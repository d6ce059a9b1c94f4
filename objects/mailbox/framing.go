package mailbox

import (
	"bytes"
	"syscall"

	"ipcfs/objects"
)

// Framing is what of the bytes that are written to a mailbox makes a message.
type Framing uint8

const (
	ByWrite Framing = iota // each write
	ByLine                 // each line, with its newline, and what is left when the file is closed
	ByClose                // all that is written until the file is closed
)

var framingNames = []string{ByWrite: "write", ByLine: "line", ByClose: "close"}

// String is the policy's word.
func (f Framing) String() string { return framingNames[f] }

// cut returns how many bytes of data, which has some, belong to one message, and whether
// that ends with them.
func (f Framing) cut(data []byte) (n int, ends bool) {
	switch f {
	case ByLine:
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			return i + 1, true
		}
		return len(data), false
	case ByClose:
		return len(data), false
	}
	return len(data), true
}

// Framed reports whether what is written through h may be part of a message.
func (b *Mailbox) Framed(h *objects.Handle) bool {
	return b.framing != ByWrite || FileOf(h).begun != nil || FileOf(h).spoiled != 0
}

// next takes the next message off what r has left to send. A part that ends no message
// is kept with the handle. There is no message when nothing is left, or when r has been
// parked before the beginning of one.
func (b *Mailbox) next(now objects.Time, r *objects.Request, done *objects.Finished) syscall.Errno {
	for len(of(r).rest) > 0 {
		n, ends := of(r).framing.cut(of(r).rest)
		m := FileOf(r.Handle).begun
		size := n
		if m != nil {
			size += len(m.Data)
		}
		switch {
		case int64(size) > b.longest():
			// mq_send(3): EMSGSIZE, longer than mq_msgsize.
			return syscall.EMSGSIZE
		case m == nil && !ends && !b.mayBegin(r):
			return b.waitToBegin(now, r)
		}
		piece := of(r).rest[:n]
		b.unbook(r, n)
		if m == nil {
			m = compose(r, piece)
			if !ends || r.Parked() {
				m.own()
				if errno := m.charge(b.ledger); errno != 0 {
					return errno
				}
			}
		} else {
			if errno := m.grow(b.ledger, n); errno != 0 {
				return errno
			}
			of(r).begun = uint32(len(m.Data))
			m.Data = append(m.Data, piece...)
			m.writtenBy(r)
		}
		of(r).rest = of(r).rest[n:]
		if ends {
			of(r).message = m
			b.setBegun(r.Handle, nil)
			return 0
		}
		b.setBegun(r.Handle, m)
		of(r).begun = 0
		r.N += n
	}
	return 0
}

func (b *Mailbox) setBegun(h *objects.Handle, m *Message) {
	if m != nil {
		b.enter(m, begun)
	}
	if m != FileOf(h).begun {
		more(h).begun = m
	}
}

// unbegin gives the handle of r back what it had begun of m.
func (b *Mailbox) unbegin(r *objects.Request, m *Message) {
	m.shrink(b.ledger, int(of(r).begun))
	if m.peeked {
		// Who has peeked at it goes on to read what it was, while other bytes follow
		// the beginning.
		rest := *m
		rest.Data, rest.peeked, rest.state = append([]byte(nil), m.Data...), false, fresh
		m.booked = 0
		b.unsend(m)
		m = &rest
	}
	m.Data = m.Data[:of(r).begun]
	m.share = nil // it was offered to be broadcast, and nobody has it
	of(r).begun = 0
	b.setBegun(r.Handle, m)
}

// spoils reports whether errno, with which the send r ends, is the end of the message that
// it was to be part of: it is too long, or cannot be booked. A message of which a part is
// missing is not sent. Who has only to wait tries again.
func (b *Mailbox) spoils(r *objects.Request, errno syscall.Errno) bool {
	switch errno {
	case syscall.EMSGSIZE, syscall.EDQUOT, syscall.ENOSPC:
		return r.Handle != nil && r.N == 0 && (of(r).framing != ByWrite || of(r).begun > 0 || FileOf(r.Handle).begun != nil)
	}
	return false
}

// leavesOff reports whether what r has left to send stops in the middle of a message.
func leavesOff(r *objects.Request) bool {
	tail := of(r).rest
	if len(tail) == 0 && of(r).message != nil {
		tail = of(r).message.Data
	}
	for len(tail) > 0 {
		n, ends := of(r).framing.cut(tail)
		if tail = tail[n:]; !ends {
			return true
		}
	}
	return false
}

// spoil gives up what h has begun, because of errno. If the message goes on, what belongs
// to it is refused from now on.
func (b *Mailbox) spoil(h *objects.Handle, errno syscall.Errno, goesOn bool) {
	if m := FileOf(h).begun; m != nil {
		b.setBegun(h, nil)
		b.unsend(m)
	}
	if goesOn {
		more(h).spoiled = errno
	}
}

// skip takes what belongs to a spoiled message off what r has to send: nothing else is an
// error. What follows it in the same write is sent as usual.
func (b *Mailbox) skip(r *objects.Request) syscall.Errno {
	errno := FileOf(r.Handle).spoiled
	if errno == 0 || len(of(r).rest) == 0 {
		return 0
	}
	n, ends := of(r).framing.cut(of(r).rest)
	if ends {
		FileOf(r.Handle).spoiled = 0
	}
	if n == len(of(r).rest) {
		return errno
	}
	of(r).rest = of(r).rest[n:]
	r.N = n
	return 0
}

// copyRest copies what a sender that waits has left behind its first message.
func (b *Mailbox) copyRest(r *objects.Request) syscall.Errno {
	if len(of(r).rest) == 0 || of(r).units > 0 {
		return 0
	}
	errno := b.ledger.Charge(r.Caller.Uid, objects.Cost{Bytes: int64(len(of(r).rest))})
	if errno == 0 {
		of(r).units = int64(len(of(r).rest))
		of(r).rest = bytes.Clone(of(r).rest)
	}
	return errno
}

// unbook takes n bytes of what r has left off the books.
func (b *Mailbox) unbook(r *objects.Request, n int) {
	if of(r).units > 0 {
		b.ledger.Adjust(r.Caller.Uid, objects.Cost{Bytes: -int64(n)})
		of(r).units -= int64(n)
	}
}

// waitToBegin makes r wait until it may begin a message.
func (b *Mailbox) waitToBegin(now objects.Time, r *objects.Request) syscall.Errno {
	if r.Nonblock || b.overflow == objects.Fail {
		// mq_send(3): EAGAIN, full and O_NONBLOCK.
		return syscall.EAGAIN
	}
	if errno := b.copyRest(r); errno != 0 {
		return errno
	}
	since := now
	if r.Parked() { // and has sent something
		since = r.Since
		b.senders.remove(r)
	}
	r.Data = nil
	b.beginners.Push(since, r)
	return 0
}

// mayBegin reports whether r may begin a message that it does not end.
func (b *Mailbox) mayBegin(r *objects.Request) bool {
	n, _ := of(r).framing.cut(of(r).rest)
	before := func(q *objects.Queue) bool { return q.First() != nil && q.First() != r }
	return b.admit(arrival{
		m: compose(r, nil), bytes: int64(n), begins: true,
		ahead: before(&b.senders.Queue) || before(&b.beginners),
	}).admitted()
}

// begin lets those begin who may now.
func (b *Mailbox) admitBeginners(now objects.Time, done *objects.Finished) {
	for r := b.beginners.First(); r != nil; r = b.beginners.First() {
		n, _ := of(r).framing.cut(of(r).rest)
		switch {
		case int64(n) > b.longest(): // lowered; it could wait for ever. mq_send(3): EMSGSIZE
			b.end(r, syscall.EMSGSIZE, done)
		case b.mayBegin(r):
			b.advance(now, r, done)
		case b.overflow == objects.Fail: // mq_send(3): EAGAIN
			b.end(r, syscall.EAGAIN, done)
		default:
			return
		}
	}
}

// endBegun sends what h, which is closed, has begun, unless its writer was killed in the
// middle of it. If there is no room for it by now, it waits for some by itself.
func (b *Mailbox) endBegun(now objects.Time, h *objects.Handle, killed bool, done *objects.Finished) {
	m := FileOf(h).begun
	if m == nil {
		return
	}
	b.setBegun(h, nil)
	m.forgo()
	if killed {
		b.unsend(m)
		return
	}
	switch d := b.admit(arrival{m: m, bytes: int64(len(m.Data)), ahead: !b.senders.Empty()}); {
	case d.verdict == wait:
	case d.verdict == refuse, b.put(now, m, d, done) != 0: // full, which it was not when it was begun
		b.store(now, m, done)
		return
	default:
		return
	}
	r := &objects.Request{Op: objects.Send, Caller: m.Sender}
	of(r).message = m
	b.enter(m, offered)
	b.senders.push(now, r, b.order)
	b.show(m, done)
	if b.senders.First() == r {
		b.offer(now, r, done)
	}
}
