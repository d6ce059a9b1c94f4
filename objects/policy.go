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

// parseAmount reads a capacity: a number, zero, max or unbounded.
func parseAmount(s string) (int64, bool) {
	switch s {
	case "zero":
		return 0, true
	case "max", "unbounded":
		return Unbounded, true
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}

// parseBytes reads an amount of bytes: as parseAmount, with a suffix K, M, G or T
// for powers of 1024, as cgroupfs takes them.
func parseBytes(s string) (int64, bool) {
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
	return parseAmount(s)
}

func formatAmount(n int64) string {
	if n == Unbounded {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

// ParseAmount reads an amount as a person writes it in a control file: a number, zero,
// max or unbounded.
func ParseAmount(s string) (n int64, ok bool) { return parseAmount(s) }

// ParseBytes is ParseAmount for bytes: K, M, G and T behind the number multiply by
// powers of 1024.
func ParseBytes(s string) (n int64, ok bool) { return parseBytes(s) }

// FormatAmount is what ParseAmount reads.
func FormatAmount(n int64) string { return formatAmount(n) }

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

func parseOverflow(s string) (Overflow, bool) { return choice[Overflow](overflowNames, s) }

// A policy is one that objects of type T have.
type policy[T any] struct {
	name string
	show func(o T) string
	set  func(o T, now Time, value string) syscall.Errno // EINVAL: a bad value; nothing changes
}

// policies are those of a kind, in the order in which they are shown.
type policies[T any] []policy[T]

func (p policies[T]) names() []string {
	var names []string
	for i := range p {
		names = append(names, p[i].name)
	}
	return names
}

// show is what Object.Policy returns.
func (p policies[T]) show(o T, name string) string {
	for i := range p {
		if p[i].name == name {
			return p[i].show(o)
		}
	}
	panic("objects: no policy " + name)
}

// set is what Object.SetPolicy does first.
func (p policies[T]) set(o T, now Time, name, value string) syscall.Errno {
	for i := range p {
		if p[i].name == name {
			return p[i].set(o, now, value)
		}
	}
	return syscall.EINVAL
}

// valid is the errno of set for a value that was understood, or not.
func valid(ok bool) syscall.Errno {
	if ok {
		return 0
	}
	return syscall.EINVAL
}

// choice reads the value of a policy that is one of a few words; T is the word's index.
func choice[T ~uint8](words []string, value string) (T, bool) {
	i := slices.Index(words, value)
	return T(i), i >= 0
}
