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
