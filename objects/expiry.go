package objects

import (
	"math"
	"strconv"
	"strings"
)

// An Expirer is an Object that something happens to when time passes. Its driver asks
// for the Deadline after each call, and calls Expire when that has come.
type Expirer interface {
	Object

	// Deadline is when Expire is due, 0 if it is not.
	Deadline() Time

	// Expire does what is due now.
	Expire(now Time) Finished
}

// Spans of time and the words for them, the longest first.
var spans = []struct {
	unit string
	ns   int64
}{{"d", 24 * 3600e9}, {"h", 3600e9}, {"m", 60e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"ns", 1}}

// ParseSpan reads a span of time, at least 1ns: a whole number and a unit d, h, m, s,
// ms, us or ns. The word max is Unbounded.
func ParseSpan(s string) (span Time, ok bool) {
	if s == "max" {
		return Unbounded, true
	}
	digits := strings.TrimRight(s, "dhmsun")
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n == 0 {
		return 0, false
	}
	for _, u := range spans {
		if s[len(digits):] == u.unit && int64(n) <= math.MaxInt64/u.ns {
			return Time(int64(n) * u.ns), true
		}
	}
	return 0, false
}

// FormatSpan is what ParseSpan reads, in the longest unit that makes it whole.
func FormatSpan(span Time) string {
	if span == Unbounded {
		return "max"
	}
	for _, u := range spans {
		if int64(span)%u.ns == 0 {
			return strconv.FormatInt(int64(span)/u.ns, 10) + u.unit
		}
	}
	panic("objects: no unit for a span")
}

// expiresAt is when m expires, 0 for never.
func (b *Mailbox) expiresAt(m *Message) Time {
	if m.Sent > Unbounded-b.ttl {
		return 0
	}
	return m.Sent + b.ttl
}

// noteExpiry makes sure that m, which is held now, expires in time.
func (b *Mailbox) noteExpiry(m *Message) {
	if b.ttl == Unbounded {
		return
	}
	b.nextExpiry = earlier(b.nextExpiry, b.expiresAt(m))
}

// earlier is the earlier of two times of which 0 is none.
func earlier(a, b Time) Time {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Deadline implements Expirer. It may be early: what would have come due then may have
// been received.
func (b *Mailbox) Deadline() Time { return earlier(b.nextExpiry, b.nextLeaseEnd) }

// Expire implements Expirer.
func (b *Mailbox) Expire(now Time) Finished {
	var done Finished
	if at := b.Deadline(); at == 0 || now < at {
		return done
	}
	b.endLeases(now, &done)
	b.expire(now, &done)
	b.pump(now, &done)
	return done
}

// expire drops what has expired and finds out what is next to. It looks at nothing else.
func (b *Mailbox) expire(now Time, done *Finished) {
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
		b.retire(now, m, Expired, Caller{}, done)
	}
}
