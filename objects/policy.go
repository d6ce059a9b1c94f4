package objects

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Unbounded is the amount that the words max and unbounded stand for.
const Unbounded = math.MaxInt64

// ParseAmount reads an amount as a person writes it in a control file: a number, zero,
// max or unbounded.
func ParseAmount(s string) (int64, bool) {
	switch s {
	case "zero":
		return 0, true
	case "max", "unbounded":
		return Unbounded, true
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}

// ParseBytes is ParseAmount for bytes, with a suffix K, M, G or T
// for powers of 1024, as cgroupfs takes them.
func ParseBytes(s string) (int64, bool) {
	if i := len(s) - 1; i > 0 {
		if k := strings.IndexByte("KMGT", s[i]&^0x20); k >= 0 && s[i] >= 'A' {
			n, err := strconv.ParseUint(s[:i], 10, 63)
			shift := 10 * (k + 1)
			if err != nil || n > math.MaxInt64>>shift {
				return 0, false
			}
			return int64(n) << shift, true
		}
	}
	return ParseAmount(s)
}

// FormatAmount is what ParseAmount reads.
func FormatAmount(n int64) string {
	if n == Unbounded {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

// Overflow is what a send to a full object does.
type Overflow uint8

const (
	Block      Overflow = iota // wait for room
	Fail                       // EAGAIN
	DropOldest                 // make room by dropping what has waited longest
	DropNewest                 // succeed and drop what was sent
)

var overflowNames = []string{Block: "block", Fail: "fail", DropOldest: "drop-oldest", DropNewest: "drop-newest"}

// String is the policy's word.
func (o Overflow) String() string { return overflowNames[o] }

// Overflows are the values of a policy that is an Overflow.
var Overflows = Words[Overflow](overflowNames)

// Values are what a policy of type V may be.
type Values[V any] struct {
	// Forms are the words that can be written; those in capitals stand for others: N for a
	// number, SPAN for a span of time.
	Forms []string

	Parse  func(s string) (V, bool)
	Format func(v V) string // in a form that Parse reads
}

// Amounts, Bytes and Spans are the values that most policies have.
var (
	Amounts = Values[int64]{[]string{"N", "zero", "max", "unbounded"}, ParseAmount, FormatAmount}
	Bytes   = Values[int64]{[]string{"N", "NK", "NM", "NG", "NT", "zero", "max", "unbounded"}, ParseBytes, FormatAmount}
	Spans   = Values[Time]{[]string{"SPAN", "max"}, ParseSpan, FormatSpan}
)

// Words are the values of a policy that is one of a few words, of which V is the index.
func Words[V ~uint8](words []string) Values[V] {
	return Values[V]{
		Forms: words,
		Parse: func(s string) (V, bool) {
			i := slices.Index(words, s)
			return V(i), i >= 0
		},
		Format: func(v V) string { return words[v] },
	}
}

// A Policy is one that objects of type T have: a row of their table.
type Policy[T any] struct {
	PolicyKind
	show func(o T) string
	set  func(o T, now Time, value string) syscall.Errno
}

// A PolicyKind is what there is to know of a policy without an object.
type PolicyKind struct {
	Name  string
	Help  string   // a sentence
	Forms []string // of its values: see Values
}

// Row is the policy of that name. set gives it a value that it may have. EINVAL: this object does not take
// it; nothing has changed.
func Row[T, V any](name, help string, values Values[V], show func(o T) V, set func(o T, now Time, v V) syscall.Errno) Policy[T] {
	return Policy[T]{
		PolicyKind{name, help, values.Forms},
		func(o T) string { return values.Format(show(o)) },
		func(o T, now Time, value string) syscall.Errno {
			v, ok := values.Parse(value)
			if !ok {
				return syscall.EINVAL
			}
			return set(o, now, v)
		},
	}
}

// Policies are those of a kind, in the order in which they are shown.
type Policies[T any] []Policy[T]

// Kinds is what Kind.Policies is to be.
func (p Policies[T]) Kinds() []PolicyKind {
	var kinds []PolicyKind
	for i := range p {
		kinds = append(kinds, p[i].PolicyKind)
	}
	return kinds
}

// Show is what Object.Policy returns.
func (p Policies[T]) Show(o T, name string) string {
	for i := range p {
		if p[i].Name == name {
			return p[i].show(o)
		}
	}
	panic("objects: no policy " + name)
}

// Set is what Object.SetPolicy does first.
func (p Policies[T]) Set(o T, now Time, name, value string) syscall.Errno {
	for i := range p {
		if p[i].Name == name {
			return p[i].set(o, now, value)
		}
	}
	return syscall.EINVAL
}
