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

// ParseOverflow reads the policy's word.
func ParseOverflow(s string) (Overflow, bool) { return Choice[Overflow](overflowNames, s) }

// A Policy is one that objects of type T have.
type Policy[T any] struct {
	Name string
	Show func(o T) string
	Set  func(o T, now Time, value string) syscall.Errno // EINVAL: a bad value; nothing changes
}

// Policies are those of a kind, in the order in which they are shown.
type Policies[T any] []Policy[T]

// Names are their names, in that order.
func (p Policies[T]) Names() []string {
	var names []string
	for i := range p {
		names = append(names, p[i].Name)
	}
	return names
}

// Show is what Object.Policy returns.
func (p Policies[T]) Show(o T, name string) string {
	for i := range p {
		if p[i].Name == name {
			return p[i].Show(o)
		}
	}
	panic("objects: no policy " + name)
}

// Set is what Object.SetPolicy does first.
func (p Policies[T]) Set(o T, now Time, name, value string) syscall.Errno {
	for i := range p {
		if p[i].Name == name {
			return p[i].Set(o, now, value)
		}
	}
	return syscall.EINVAL
}

// Valid is the errno of Set for a value that was understood, or not.
func Valid(ok bool) syscall.Errno {
	if ok {
		return 0
	}
	return syscall.EINVAL
}

// Choice reads the value of a policy that is one of a few words; T is the word's index.
func Choice[T ~uint8](words []string, value string) (T, bool) {
	i := slices.Index(words, value)
	return T(i), i >= 0
}
