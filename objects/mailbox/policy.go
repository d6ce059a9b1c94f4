package mailbox

import (
	"syscall"

	"ipcfs/objects"
)

// mailboxPolicies are the policies of a mailbox. Lowering a capacity drops nothing: the
// mailbox takes no more until it has drained below it.
var mailboxPolicies = objects.Policies[*Mailbox]{
	{Name: "capacity",
		Show: func(b *Mailbox) string { return objects.FormatAmount(b.capacity) },
		Set: func(b *Mailbox, _ objects.Time, value string) syscall.Errno {
			n, ok := objects.ParseAmount(value)
			if ok {
				b.capacity = n
			}
			return objects.Valid(ok)
		}},
	{Name: "capacity_bytes",
		Show: func(b *Mailbox) string { return objects.FormatAmount(b.capacityBytes) },
		Set: func(b *Mailbox, _ objects.Time, value string) syscall.Errno {
			n, ok := objects.ParseBytes(value)
			if ok {
				b.capacityBytes = n
			}
			return objects.Valid(ok)
		}},
	{Name: "max_message",
		Show: func(b *Mailbox) string { return objects.FormatAmount(b.maxMessage) },
		Set: func(b *Mailbox, _ objects.Time, value string) syscall.Errno {
			n, ok := objects.ParseBytes(value)
			if b.framing == ByWrite {
				if ok && n == objects.Unbounded {
					n = MaxMessage
				}
				ok = ok && n <= MaxMessage
			}
			if ok = ok && n >= 1 && (n == objects.Unbounded || n <= max(MaxMessage, b.capacityBytes)); ok {
				b.maxMessage = n
			}
			return objects.Valid(ok)
		}},
	{Name: "overflow",
		Show: func(b *Mailbox) string { return b.overflow.String() },
		Set: func(b *Mailbox, _ objects.Time, value string) syscall.Errno {
			o, ok := objects.ParseOverflow(value)
			if ok {
				b.overflow = o
			}
			return objects.Valid(ok)
		}},
	{Name: "order",
		Show: func(b *Mailbox) string { return b.order.String() },
		Set: func(b *Mailbox, _ objects.Time, value string) syscall.Errno {
			o, ok := parseOrder(value)
			if ok && o != b.order {
				b.order = o
				b.reorder()
			}
			return objects.Valid(ok)
		}},
	{Name: "receivers",
		Show: func(b *Mailbox) string { return b.receiving.String() },
		Set: func(b *Mailbox, _ objects.Time, value string) syscall.Errno {
			r, ok := objects.Choice[Receivers](receiversNames, value)
			switch {
			case !ok:
				return syscall.EINVAL
			case r == Broadcast && b.leaseHolders() > 0:
				return syscall.EBUSY
			}
			b.receiving = r
			return 0
		}},
	{Name: "framing",
		Show: func(b *Mailbox) string { return b.framing.String() },
		Set: func(b *Mailbox, _ objects.Time, value string) syscall.Errno {
			f, ok := objects.Choice[Framing](framingNames, value)
			if ok {
				b.framing = f
			}
			return objects.Valid(ok)
		}},
	{Name: "ttl",
		Show: func(b *Mailbox) string { return objects.FormatSpan(b.ttl) },
		Set: func(b *Mailbox, _ objects.Time, value string) syscall.Errno {
			span, ok := objects.ParseSpan(value)
			if ok {
				b.ttl = span
				b.nextExpiry = 0
				if span != objects.Unbounded {
					b.held.age()
					if oldest, any := b.held.ages.first(); any {
						b.noteExpiry(oldest.what)
					}
				}
			}
			return objects.Valid(ok)
		}},
	{Name: "lease_time",
		Show: func(b *Mailbox) string { return objects.FormatSpan(b.leaseTime) },
		Set: func(b *Mailbox, _ objects.Time, value string) syscall.Errno {
			span, ok := objects.ParseSpan(value)
			if ok {
				b.leaseTime = span
			}
			return objects.Valid(ok)
		}},
	{Name: "max_deliveries",
		Show: func(b *Mailbox) string { return objects.FormatAmount(b.maxDeliveries) },
		Set: func(b *Mailbox, _ objects.Time, value string) syscall.Errno {
			n, ok := objects.ParseAmount(value)
			if ok = ok && n >= 1; ok {
				b.maxDeliveries = n
			}
			return objects.Valid(ok)
		}},
	{Name: "dead_letters",
		Show: func(b *Mailbox) string { return b.deadLetters },
		Set: func(b *Mailbox, _ objects.Time, value string) syscall.Errno {
			b.deadLetters = value // what can be a name is the driver's to say
			return 0
		}},
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
