package mailbox

import (
	"ipcfs/objects"
)

// expiresAt is when m expires, 0 for never.
func (b *Mailbox) expiresAt(m *Message) objects.Time {
	if m.Sent > objects.Unbounded-b.ttl {
		return 0
	}
	return m.Sent + b.ttl
}

// noteExpiry makes sure that m, which is held now, expires in time.
func (b *Mailbox) noteExpiry(m *Message) {
	if b.ttl == objects.Unbounded {
		return
	}
	b.nextExpiry = earlier(b.nextExpiry, b.expiresAt(m))
}

// Deadline implements Expirer. It may be early: what would have come due then may have
// been received.
func (b *Mailbox) Deadline() objects.Time { return earlier(b.nextExpiry, b.nextLeaseEnd) }

// Expire implements Expirer.
func (b *Mailbox) Expire(now objects.Time) objects.Finished {
	var done objects.Finished
	if at := b.Deadline(); at == 0 || now < at {
		return done
	}
	b.endLeases(now, &done)
	b.expire(now, &done)
	b.pump(now, &done)
	return done
}

// expire drops what has expired and finds out what is next to. It looks at nothing else.
func (b *Mailbox) expire(now objects.Time, done *objects.Finished) {
	if b.nextExpiry == 0 || now < b.nextExpiry {
		return
	}
	b.nextExpiry = 0
	for {
		oldest, any := b.held.ages.first()
		if !any {
			return
		}
		m := oldest.what
		if at := b.expiresAt(m); at == 0 || now < at {
			b.noteExpiry(m)
			return
		}
		b.release(m)
		b.retire(now, m, Expired, objects.Caller{}, done)
	}
}

// byAge are messages by the time they were sent, which is the order in which they expire
// whatever the time to live.
func byAge() *deadlines[*Message] {
	return &deadlines[*Message]{
		place:  func(m *Message) *int32 { return &m.age },
		before: func(x, y *Message) bool { return x.Seq < y.Seq },
	}
}

// byEnd are the handles that have leases which end, by when those do.
func byEnd() *deadlines[*objects.Handle] {
	return &deadlines[*objects.Handle]{
		place:  func(h *objects.Handle) *int32 { return &FileOf(h).place },
		before: func(x, y *objects.Handle) bool { return FileOf(x).leased.Seq < FileOf(y).leased.Seq },
	}
}

// earlier is the earlier of two times of which 0 is none.
func earlier(a, b objects.Time) objects.Time {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
