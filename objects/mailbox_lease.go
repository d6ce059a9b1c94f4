package objects

import (
	"strings"
	"syscall"
)

// mayLease is 0 if h may take a message on lease. EBUSY: it has one; ETIME: its lease
// ended before it had read all of the message; ESRCH: the process whose death would end
// the lease has died.
func (h *Handle) mayLease() syscall.Errno {
	switch s := h.state(); {
	case s.abandoned:
		return syscall.ESRCH
	case s.leased != nil:
		return syscall.EBUSY
	case s.torn:
		return syscall.ETIME
	}
	return 0
}

// leaseHolders counts the open files that take leases.
func (b *Mailbox) leaseHolders() (n int) {
	for _, h := range b.handles {
		if h.ReadOp == Lease {
			n++
		}
	}
	return n
}

// after is the time span after now, 0 if that never comes.
func after(now, span Time) Time {
	if span >= Unbounded-now {
		return 0
	}
	return now + span
}

// lease leaves m to the handle of r until it is settled. It stays on the books.
func (b *Mailbox) lease(now Time, r *Request, m *Message) {
	b.enter(m, leased)
	m.own()
	m.restore(b.ledger)
	s := r.Handle.ensureState()
	s.leased, s.ends, s.late = m, after(now, b.leaseTime), false
	b.timeLease(r.Handle)
}

// timeLease has the lease of h end when it is to.
func (b *Mailbox) timeLease(h *Handle) {
	if b.leases == nil {
		b.leases = byEnd()
	}
	b.leases.remove(h)
	if ends := h.mailbox.ends; ends != 0 {
		b.leases.add(ends, h)
	}
	b.nextLeaseEnd = b.nextLease()
}

// nextLease is when the next lease ends, 0 if none does.
func (b *Mailbox) nextLease() Time {
	next, _ := b.leases.first()
	return next.at
}

// unlease ends the lease of h, without a consequence for its message.
func (b *Mailbox) unlease(h *Handle) *Message {
	m := h.mailbox.leased
	b.leases.remove(h)
	b.nextLeaseEnd = b.nextLease()
	h.mailbox.leased, h.mailbox.ends = nil, 0
	return m
}

// settle does what was written about the lease: ack, nack, or extend and a span of time.
// ENOMSG: there is no lease; ETIME: it has run out, which is said once.
func (b *Mailbox) settle(now Time, r *Request) Finished {
	h := r.Handle
	verb, arg, _ := strings.Cut(strings.TrimSpace(string(r.Data)), " ")
	span, isSpan := ParseSpan(strings.TrimSpace(arg))
	switch {
	case (verb == "ack" || verb == "nack") && arg == "", verb == "extend" && isSpan:
	default:
		return failed(r, syscall.EINVAL)
	}
	if h.state().leased == nil {
		if h.state().late {
			h.mailbox.late = false
			return failed(r, syscall.ETIME)
		}
		return failed(r, syscall.ENOMSG)
	}
	var done Finished
	switch verb {
	case "ack":
		m := b.unlease(h)
		h.done()
		b.book(h)
		b.retire(now, m, Received, r.principal(), &done)
	case "nack":
		b.endLease(now, h, &done)
	case "extend":
		h.mailbox.ends = after(now, span)
		b.timeLease(h)
	}
	r.N = len(r.Data)
	done.add(r)
	return done
}

// endLease returns the message that h has on lease, if it has one.
func (b *Mailbox) endLease(now Time, h *Handle, done *Finished) {
	if h.state().leased == nil {
		return
	}
	m := b.unlease(h)
	h.done()
	b.book(h)
	if m.Deliveries++; int64(m.Deliveries) >= b.maxDeliveries && b.deadLetters != "" {
		b.enter(m, dead)
		b.dead.push(m, 0)
		return
	}
	b.redelivered++
	b.returned(now, m, done)
}

// abandon ends what the handle of r has on lease, and wants, because the process that
// opened it has died.
func (b *Mailbox) abandon(now Time, r *Request) Finished {
	var done Finished
	h := r.Handle
	if h.ReadOp == Lease && !b.destroyed {
		for p := b.receivers.first; p != nil && h.waiting > 0; {
			next := p.next
			if p.Handle == h {
				b.receivers.remove(p)
				p.Errno = syscall.ESRCH
				done.add(p)
			}
			p = next
		}
		b.endLease(now, h, &done)
		h.ensureState().abandoned = true
	}
	done.add(r)
	return done
}

// endLeases ends those whose time has come, and finds out which is the next.
func (b *Mailbox) endLeases(now Time, done *Finished) {
	if b.nextLeaseEnd == 0 || now < b.nextLeaseEnd {
		return
	}
	for {
		next, any := b.leases.first()
		s := &noMailboxState
		if any {
			s = next.what.mailbox
		}
		if s.ends == 0 || now < s.ends {
			b.nextLeaseEnd = s.ends
			return
		}
		s.late, s.torn = true, next.what.left()
		b.endLease(now, next.what, done)
	}
}

// DeadLetters reports whether messages are to go to the dead letters, and what the mailbox
// for those is called. The driver asks after each call, and has [Forward] move them.
func (b *Mailbox) DeadLetters() (to string, any bool) { return b.deadLetters, b.dead.n > 0 }

// Forward moves what from has for the dead letters to to, which is nil if there is no such
// mailbox. What to does not take, as a send that does not wait, goes back into from.
func Forward(now Time, from, to *Mailbox) (left, arrived Finished) {
	for m := from.dead.pop(); m != nil; m = from.dead.pop() {
		d := decision{verdict: refuse}
		if to != nil && to != from && !to.destroyed && int64(len(m.Data)) <= to.longest() {
			d = to.transferable(m)
		}
		if d.verdict == refuse {
			from.redelivered++
			from.returned(now, m, &left)
			continue
		}
		from.pass(now, m, to, d, &left, &arrived)
	}
	return left, arrived
}
