package mailbox

import (
	"strings"
	"syscall"

	"ipcfs/objects"
)

// mayLease is 0 if h may take a message on lease. EBUSY: it has one; ETIME: its lease
// ended before it had read all of the message; ESRCH: the process whose death would end
// the lease has died.
func mayLease(h *objects.Handle) syscall.Errno {
	switch s := FileOf(h); {
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
		if h.ReadOp == objects.Lease {
			n++
		}
	}
	return n
}

// after is the time span after now, 0 if that never comes.
func after(now, span objects.Time) objects.Time {
	if span >= objects.Unbounded-now {
		return 0
	}
	return now + span
}

// lease leaves m to the handle of r until it is settled. It stays on the books.
func (b *Mailbox) lease(now objects.Time, r *objects.Request, m *Message) {
	b.enter(m, leased)
	m.own()
	m.restore(b.ledger)
	s := more(r.Handle)
	s.leased, s.ends, s.late = m, after(now, b.leaseTime), false
	b.timeLease(r.Handle)
}

// timeLease has the lease of h end when it is to.
func (b *Mailbox) timeLease(h *objects.Handle) {
	if b.leases == nil {
		b.leases = byEnd()
	}
	b.leases.remove(h)
	if ends := FileOf(h).ends; ends != 0 {
		b.leases.add(ends, h)
	}
	b.nextLeaseEnd = b.nextLease()
}

// nextLease is when the next lease ends, 0 if none does.
func (b *Mailbox) nextLease() objects.Time {
	next, _ := b.leases.first()
	return next.at
}

// unlease ends the lease of h, without a consequence for its message.
func (b *Mailbox) unlease(h *objects.Handle) *Message {
	m := FileOf(h).leased
	b.leases.remove(h)
	b.nextLeaseEnd = b.nextLease()
	FileOf(h).leased, FileOf(h).ends = nil, 0
	return m
}

// settle does what was written about the lease: ack, nack, or extend and a span of time.
// ENOMSG: there is no lease; ETIME: it has run out, which is said once.
func (b *Mailbox) settle(now objects.Time, r *objects.Request) objects.Finished {
	h := r.Handle
	verb, arg, _ := strings.Cut(strings.TrimSpace(string(r.Data)), " ")
	span, isSpan := objects.ParseSpan(strings.TrimSpace(arg))
	switch {
	case (verb == "ack" || verb == "nack") && arg == "", verb == "extend" && isSpan:
	default:
		// write(2): EINVAL, what is written is none of the verbs.
		return r.Fail(syscall.EINVAL)
	}
	if FileOf(h).leased == nil {
		if FileOf(h).late {
			FileOf(h).late = false
			// errno(3): ETIME, timer expired.
			return r.Fail(syscall.ETIME)
		}
		// errno(3): ENOMSG, no message.
		return r.Fail(syscall.ENOMSG)
	}
	var done objects.Finished
	switch verb {
	case "ack":
		m := b.unlease(h)
		h.Stop()
		b.book(h)
		b.retire(now, m, Received, r.Principal(), &done)
	case "nack":
		b.endLease(now, h, &done)
	case "extend":
		FileOf(h).ends = after(now, span)
		b.timeLease(h)
	}
	r.N = len(r.Data)
	done.Add(r)
	return done
}

// endLease returns the message that h has on lease, if it has one.
func (b *Mailbox) endLease(now objects.Time, h *objects.Handle, done *objects.Finished) {
	if FileOf(h).leased == nil {
		return
	}
	m := b.unlease(h)
	h.Stop()
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
func (b *Mailbox) abandon(now objects.Time, r *objects.Request) objects.Finished {
	var done objects.Finished
	h := r.Handle
	if h.ReadOp == objects.Lease && !b.destroyed {
		for p := b.receivers.First(); p != nil && h.Waiting() > 0; {
			next := p.Next()
			if p.Handle == h {
				b.receivers.remove(p)
				p.Errno = syscall.ESRCH // errno(3): no such process
				done.Add(p)
			}
			p = next
		}
		b.endLease(now, h, &done)
		more(h).abandoned = true
	}
	done.Add(r)
	return done
}

// endLeases ends those whose time has come, and finds out which is the next.
func (b *Mailbox) endLeases(now objects.Time, done *objects.Finished) {
	if b.nextLeaseEnd == 0 || now < b.nextLeaseEnd {
		return
	}
	for {
		next, any := b.leases.first()
		if !any || now < next.at {
			b.nextLeaseEnd = next.at
			return
		}
		f := FileOf(next.what)
		f.late, f.torn = true, next.what.Left()
		b.endLease(now, next.what, done)
	}
}

// DeadLetters reports whether messages are to go to the dead letters, and what the mailbox
// for those is called. The driver asks after each call, and has [Forward] move them.
func (b *Mailbox) DeadLetters() (to string, any bool) { return b.deadLetters, b.dead.n > 0 }

// Forward moves what from has for the dead letters to to, which is nil if there is no such
// mailbox. What to does not take, as a send that does not wait, goes back into from.
func Forward(now objects.Time, from, to *Mailbox) (left, arrived objects.Finished) {
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
