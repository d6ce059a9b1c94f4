package mailbox

import (
	"syscall"

	"ipcfs/objects"
)

// copyTo finishes the peek r with a copy of m. EDQUOT, ENOSPC: its file would keep more than it
// may; a larger buffer, which takes all of m, keeps none.
func (b *Mailbox) copyTo(r *objects.Request, m *Message) {
	h := r.Handle
	startReading(r, m)
	if errno := b.charge(h); errno != 0 {
		r.Data, r.Unrendered, r.Errno = nil, nil, errno
		if f := FileOf(h); f.rendering != nil {
			f.rendering = nil
		}
		h.Unread()
	}
	b.book(h)
}

// deliver finishes the receive r with m, which nobody else has.
func (b *Mailbox) deliver(now objects.Time, r *objects.Request, m *Message, done *objects.Finished) {
	if r.Op == objects.Lease {
		b.lease(now, r, m)
		b.fill(now, r, m)
	} else {
		b.fill(now, r, m)
		b.retain(r.Handle, m)
		b.retire(now, m, Received, r.Principal(), done)
	}
	b.answer(r, done)
	b.book(r.Handle)
}

// fill gives the receive r the first bytes of m.
func (b *Mailbox) fill(now objects.Time, r *objects.Request, m *Message) {
	b.taken = now
	of(r).message, of(r).consumed = m, true
	startReading(r, m)
}

// answer finishes the receive r, which has its bytes.
func (b *Mailbox) answer(r *objects.Request, done *objects.Finished) {
	done.Add(r)
	if FileOf(r.Handle).rendering != nil {
		return // it finishes again: see Rendered
	}
	// Others may be parked on the same handle: what is left of its message is
	// theirs before any other message is.
	for p := b.receivers.First(); p != nil && r.Handle.Waiting() > 0 && (r.Handle.Left() || r.Op == objects.Lease); {
		next := p.Next()
		switch {
		case p.Handle != r.Handle:
		case r.Handle.Left():
			b.receivers.remove(p)
			resume(p.Handle, p) // r's is booked by the caller
			done.Add(p)
		default:
			b.receivers.remove(p)
			p.Errno = syscall.EBUSY
			done.Add(p)
		}
		p = next
	}
}

// resume answers r from what its handle has, or with the end of file due. It reports false if
// r is to take a new message; then the handle keeps none of the last.
func (b *Mailbox) resume(r *objects.Request) bool {
	answered := resume(r.Handle, r)
	b.book(r.Handle)
	return answered
}

func (b *Mailbox) receive(now objects.Time, r *objects.Request) objects.Finished {
	if b.waitForText(now, r) {
		return objects.Finished{}
	}
	if b.resume(r) {
		return objects.One(r)
	}
	if r.Op == objects.Lease {
		if errno := mayLease(r.Handle); errno != 0 {
			if f := FileOf(r.Handle); f.torn {
				f.torn = false
			}
			return r.Fail(errno)
		}
	}
	var done objects.Finished
	if m := b.heldFor(r.Handle); m != nil {
		if m.share != nil {
			b.deliverShare(now, r, m, &done)
		} else {
			b.held.remove(m)
			b.deliver(now, r, m, &done)
		}
		b.pump(now, &done)
		return done
	}
	if b.meet(now, r, &done) {
		b.pump(now, &done)
		return done
	}
	// mq_receive(3): EAGAIN, empty and O_NONBLOCK.
	if r.Nonblock {
		return r.Fail(syscall.EAGAIN)
	}
	b.receivers.push(now, r)
	b.admitBeginners(now, &done)
	return done
}

func (b *Mailbox) peek(now objects.Time, r *objects.Request) objects.Finished {
	if b.waitForText(now, r) {
		return objects.Finished{}
	}
	if b.resume(r) {
		return objects.One(r)
	}
	if m := b.nextFor(r.Handle); m != nil {
		b.copyTo(r, m)
		return objects.One(r)
	}
	if r.Nonblock { // mq_receive(3): EAGAIN
		return r.Fail(syscall.EAGAIN)
	}
	b.peekers.push(now, r)
	return objects.Finished{}
}
