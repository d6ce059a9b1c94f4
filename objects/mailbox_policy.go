package objects

import "syscall"

// mailboxPolicies are the policies of a mailbox. Lowering a capacity drops nothing: the
// mailbox takes no more until it has drained below it.
var mailboxPolicies = policies[*Mailbox]{
	{"capacity",
		func(b *Mailbox) string { return formatAmount(b.capacity) },
		func(b *Mailbox, _ Time, value string) syscall.Errno {
			n, ok := parseAmount(value)
			if ok {
				b.capacity = n
			}
			return valid(ok)
		}},
	{"capacity_bytes",
		func(b *Mailbox) string { return formatAmount(b.capacityBytes) },
		func(b *Mailbox, _ Time, value string) syscall.Errno {
			n, ok := parseBytes(value)
			if ok {
				b.capacityBytes = n
			}
			return valid(ok)
		}},
	{"max_message",
		func(b *Mailbox) string { return formatAmount(b.maxMessage) },
		func(b *Mailbox, _ Time, value string) syscall.Errno {
			n, ok := parseBytes(value)
			if b.framing == ByWrite {
				if ok && n == Unbounded {
					n = MaxMessage
				}
				ok = ok && n <= MaxMessage
			}
			if ok = ok && n >= 1 && (n == Unbounded || n <= max(MaxMessage, b.capacityBytes)); ok {
				b.maxMessage = n
			}
			return valid(ok)
		}},
	{"overflow",
		func(b *Mailbox) string { return b.overflow.String() },
		func(b *Mailbox, _ Time, value string) syscall.Errno {
			o, ok := parseOverflow(value)
			if ok {
				b.overflow = o
			}
			return valid(ok)
		}},
	{"order",
		func(b *Mailbox) string { return b.order.String() },
		func(b *Mailbox, _ Time, value string) syscall.Errno {
			o, ok := parseOrder(value)
			if ok && o != b.order {
				b.order = o
				b.reorder()
			}
			return valid(ok)
		}},
	{"receivers",
		func(b *Mailbox) string { return b.receiving.String() },
		func(b *Mailbox, _ Time, value string) syscall.Errno {
			r, ok := choice[Receivers](receiversNames, value)
			switch {
			case !ok:
				return syscall.EINVAL
			case r == Broadcast && b.leaseHolders() > 0:
				return syscall.EBUSY
			}
			b.receiving = r
			return 0
		}},
	{"framing",
		func(b *Mailbox) string { return b.framing.String() },
		func(b *Mailbox, _ Time, value string) syscall.Errno {
			f, ok := choice[Framing](framingNames, value)
			if ok {
				b.framing = f
			}
			return valid(ok)
		}},
	{"ttl",
		func(b *Mailbox) string { return FormatSpan(b.ttl) },
		func(b *Mailbox, _ Time, value string) syscall.Errno {
			span, ok := ParseSpan(value)
			if ok {
				b.ttl = span
				b.nextExpiry = 0
				if span != Unbounded {
					b.held.age()
					if oldest, any := b.held.ages.first(); any {
						b.noteExpiry(oldest.what)
					}
				}
			}
			return valid(ok)
		}},
	{"lease_time",
		func(b *Mailbox) string { return FormatSpan(b.leaseTime) },
		func(b *Mailbox, _ Time, value string) syscall.Errno {
			span, ok := ParseSpan(value)
			if ok {
				b.leaseTime = span
			}
			return valid(ok)
		}},
	{"max_deliveries",
		func(b *Mailbox) string { return formatAmount(b.maxDeliveries) },
		func(b *Mailbox, _ Time, value string) syscall.Errno {
			n, ok := parseAmount(value)
			if ok = ok && n >= 1; ok {
				b.maxDeliveries = n
			}
			return valid(ok)
		}},
	{"dead_letters",
		func(b *Mailbox) string { return b.deadLetters },
		func(b *Mailbox, _ Time, value string) syscall.Errno {
			b.deadLetters = value // what can be a name is the driver's to say
			return 0
		}},
}

// Policy implements Object.
func (b *Mailbox) Policy(name string) string { return mailboxPolicies.show(b, name) }

// SetPolicy implements Object.
func (b *Mailbox) SetPolicy(now Time, name, value string) (Finished, syscall.Errno) {
	if errno := mailboxPolicies.set(b, now, name, value); errno != 0 {
		return Finished{}, errno
	}
	done := b.Expire(now)
	if name == "receivers" {
		b.rematch(now, &done)
	}
	b.pump(now, &done)
	return done, 0
}
