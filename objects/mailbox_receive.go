package objects

import "syscall"

// copyTo finishes the peek r with a copy of m. EDQUOT, ENOSPC: its file would keep more than it
// may; a larger buffer, which takes all of m, keeps none.
func (b *Mailbox) copyTo(r *Request, m *Message) {
	h := r.Handle
	h.startReading(r, m)
	if errno := b.charge(h); errno != 0 {
		r.Data, r.Errno = nil, errno
		h.msg, h.end, h.read = nil, false, 0
	}
	b.book(h)
}

// deliver finishes the receive r with m, which nobody else has.
func (b *Mailbox) deliver(now Time, r *Request, m *Message, done *Finished) {
	if r.Op == Lease {
		b.lease(now, r, m)
		b.fill(now, r, m)
	} else {
		b.fill(now, r, m)
		b.retain(r.Handle, m)
		b.retire(now, m, Received, r.principal(), done)
	}
	b.answer(r, done)
	b.book(r.Handle)
}

// fill gives the receive r the first bytes of m.
func (b *Mailbox) fill(now Time, r *Request, m *Message) {
	b.taken = now
	r.message, r.consumed = m, true
	r.Handle.startReading(r, m)
}

// answer finishes the receive r, which has its bytes.
func (b *Mailbox) answer(r *Request, done *Finished) {
	done.add(r)
	// Others may be parked on the same handle: what is left of its message is
	// theirs before any other message is.
	for p := b.receivers.first; p != nil && r.Handle.waiting > 0 && (r.Handle.left() || r.Op == Lease); {
		next := p.next
		switch {
		case p.Handle != r.Handle:
		case r.Handle.left():
			b.receivers.remove(p)
			p.Handle.resume(p) // r's is booked by the caller
			done.add(p)
		default:
			b.receivers.remove(p)
			p.Errno = syscall.EBUSY
			done.add(p)
		}
		p = next
	}
}

// resume answers r from what its handle has, or with the end of file due. It reports false if
// r is to take a new message; then the handle keeps none of the last.
func (b *Mailbox) resume(r *Request) bool {
	answered := r.Handle.resume(r)
	b.book(r.Handle)
	return answered
}

func (b *Mailbox) receive(now Time, r *Request) Finished {
	if b.resume(r) {
		return one(r)
	}
	if r.Op == Lease {
		if errno := r.Handle.mayLease(); errno != 0 {
			r.Handle.ensureState().torn = false
			return failed(r, errno)
		}
	}
	var done Finished
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
		return failed(r, syscall.EAGAIN)
	}
	b.receivers.push(now, r)
	b.admitBeginners(now, &done)
	return done
}

func (b *Mailbox) peek(now Time, r *Request) Finished {
	if b.resume(r) {
		return one(r)
	}
	if m := b.nextFor(r.Handle); m != nil {
		b.copyTo(r, m)
		return one(r)
	}
	if r.Nonblock { // mq_receive(3): EAGAIN
		return failed(r, syscall.EAGAIN)
	}
	b.peekers.push(now, r)
	return Finished{}
}
