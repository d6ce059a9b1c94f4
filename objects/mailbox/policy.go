package mailbox

import (
	"syscall"

	"ipcfs/objects"
)

// mailboxPolicies are the policies of a mailbox. Lowering a capacity drops nothing: the
// mailbox takes no more until it has drained below it.
var mailboxPolicies = objects.Policies[*Mailbox]{
	objects.Row("capacity", "How many messages are held at most.", objects.Amounts,
		func(b *Mailbox) int64 { return b.capacity },
		func(b *Mailbox, _ objects.Time, n int64) syscall.Errno {
			b.capacity = n
			return 0
		}),
	objects.Row("capacity_bytes", "How many bytes are held at most.", objects.Bytes,
		func(b *Mailbox) int64 { return b.capacityBytes },
		func(b *Mailbox, _ objects.Time, n int64) syscall.Errno {
			b.capacityBytes = n
			return 0
		}),
	objects.Row("max_message", "The longest message in bytes.", objects.Bytes,
		func(b *Mailbox) int64 { return b.maxMessage },
		(*Mailbox).setMaxMessage),
	objects.Row("overflow", "What a send to a full mailbox does.", objects.Overflows,
		func(b *Mailbox) objects.Overflow { return b.overflow },
		func(b *Mailbox, _ objects.Time, o objects.Overflow) syscall.Errno {
			b.overflow = o
			return 0
		}),
	objects.Row("order", "Which message is next.", orders,
		func(b *Mailbox) Order { return b.order },
		func(b *Mailbox, _ objects.Time, o Order) syscall.Errno {
			if o != b.order {
				b.order = o
				b.reorder()
			}
			return 0
		}),
	objects.Row("receivers", "Who receives.", objects.Words[Receivers](receiversNames),
		func(b *Mailbox) Receivers { return b.receiving },
		func(b *Mailbox, _ objects.Time, r Receivers) syscall.Errno {
			if r == Broadcast && b.leaseHolders() > 0 {
				return syscall.EBUSY
			}
			b.receiving = r
			return 0
		}),
	objects.Row("framing", "What is one message.", objects.Words[Framing](framingNames),
		func(b *Mailbox) Framing { return b.framing },
		func(b *Mailbox, _ objects.Time, f Framing) syscall.Errno {
			b.framing = f
			return 0
		}),
	objects.Row("ttl", "The span of time that a message is held, counted from its sending.", objects.Spans,
		func(b *Mailbox) objects.Time { return b.ttl },
		func(b *Mailbox, _ objects.Time, span objects.Time) syscall.Errno {
			b.ttl = span
			b.nextExpiry = 0
			if span != objects.Unbounded {
				b.held.age()
				if oldest, any := b.held.ages.first(); any {
					b.noteExpiry(oldest.what)
				}
			}
			return 0
		}),
	objects.Row("lease_time", "The span of time that a lease lasts.", objects.Spans,
		func(b *Mailbox) objects.Time { return b.leaseTime },
		func(b *Mailbox, _ objects.Time, span objects.Time) syscall.Errno {
			b.leaseTime = span
			return 0
		}),
	objects.Row("max_deliveries", "After so many leases a message that returns goes to dead_letters.", objects.Amounts,
		func(b *Mailbox) int64 { return b.maxDeliveries },
		func(b *Mailbox, _ objects.Time, n int64) syscall.Errno {
			if n < 1 {
				return syscall.EINVAL
			}
			b.maxDeliveries = n
			return 0
		}),
	objects.Row("dead_letters", "The name of another mailbox, to which whoever sets it must be allowed to send.", names,
		func(b *Mailbox) string { return b.deadLetters },
		func(b *Mailbox, _ objects.Time, name string) syscall.Errno {
			b.deadLetters = name
			return 0
		}),
}

// names are those of mailboxes, and nothing. What can be a name is the driver's to say.
var names = objects.Values[string]{
	Forms:  []string{"NAME"},
	Parse:  func(s string) (string, bool) { return s, true },
	Format: func(s string) string { return s },
}

// setMaxMessage sets the longest message. EINVAL: one write(2) does not carry it, or it is longer than
// what the mailbox holds.
func (b *Mailbox) setMaxMessage(_ objects.Time, n int64) syscall.Errno {
	most := max(MaxMessage, b.capacityBytes)
	if b.framing == ByWrite {
		if n == objects.Unbounded {
			n = MaxMessage
		}
		most = MaxMessage
	}
	if n < 1 || n != objects.Unbounded && n > most {
		return syscall.EINVAL
	}
	b.maxMessage = n
	return 0
}

// Policy implements Object.
func (b *Mailbox) Policy(name string) string { return mailboxPolicies.Show(b, name) }

// SetPolicy implements Object.
func (b *Mailbox) SetPolicy(now objects.Time, name, value string) (objects.Finished, syscall.Errno) {
	if errno := mailboxPolicies.Set(b, now, name, value); errno != 0 {
		return objects.Finished{}, errno
	}
	done := b.Expire(now)
	if name == "receivers" {
		b.rematch(now, &done)
	}
	b.pump(now, &done)
	return done, 0
}
