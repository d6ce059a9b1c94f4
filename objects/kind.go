package objects

import (
	"fmt"
	"slices"
	"strings"
)

// A Kind is one kind of object, with what the drivers and the commands show of one. Each is
// registered by the file that implements it; they find it here and know no kind by name.
type Kind struct {
	// Name is the kind's word in the singular: "mailbox".
	Name string

	// Load makes an object of what its Save has written down. It fails if the state is of
	// another version or damaged.
	Load func(l Ledger, s State) (Object, error)

	// New makes an empty object with default policies that books what it holds in
	// l.
	New func(l Ledger) Object

	// Policies are the kind's policies in the order in which they are shown.
	Policies []PolicyKind

	// Ops are the operations that the kind understands.
	Ops []Op

	// Counters are what Stat gives, in its order.
	Counters []CounterKind

	// Level is how full an object of the kind is.
	Level Level
}

// A CounterKind says what one line of a stat file is.
type CounterKind struct {
	Name  string
	Gauge bool // it goes up and down; others count what has happened
	Flow  Flow
	Help  string // a sentence
}

// A Flow is whether a counter counts what goes through an object.
type Flow uint8

const (
	NoFlow  Flow = iota
	Inward       // it has been put in
	Outward      // it has been taken out
)

// Counters are what objects of type T count, in the order in which it is shown.
type Counters[T any] []struct {
	Name  string
	Gauge bool
	Flow  Flow
	Help  string
	Value func(o T) int64
}

// Kinds is what Kind.Counters is to be.
func (c Counters[T]) Kinds() []CounterKind {
	var kinds []CounterKind
	for i := range c {
		kinds = append(kinds, CounterKind{Name: c[i].Name, Gauge: c[i].Gauge, Flow: c[i].Flow, Help: c[i].Help})
	}
	return kinds
}

// Stat is what Object.Stat returns.
func (c Counters[T]) Stat(o T) []Counter {
	stat := make([]Counter, len(c))
	for i := range c {
		stat[i] = Counter{Name: c[i].Name, Value: c[i].Value(o)}
	}
	return stat
}

// A Level is how full an object is, and of how much. The zero Level is that of a kind that
// cannot be full.
type Level struct {
	Unit  string // "messages" or "bytes", of which Held tells, or another word
	Value string // the policy that is the level, "" if none is
	Full  string // the policy that bounds it, "" if none does
}

// HasPolicy reports whether k has a policy of that name.
func (k Kind) HasPolicy(name string) bool {
	return slices.ContainsFunc(k.Policies, func(p PolicyKind) bool { return p.Name == name })
}

// PolicyNames are the names of k's policies, in their order.
func (k Kind) PolicyNames() []string {
	var names []string
	for _, p := range k.Policies {
		names = append(names, p.Name)
	}
	return names
}

// declared makes sure that Stat and Counters agree: what shows counters goes by their order.
func (k Kind) declared() bool {
	stat := k.New(Unlimited).Stat()
	return slices.EqualFunc(stat, k.Counters, func(c Counter, d CounterKind) bool { return c.Name == d.Name })
}

var kinds []Kind

// Register adds a kind. It is called from an init function, and panics if the counters of k are
// not those that its objects show.
func Register(k Kind) {
	if !k.declared() {
		panic(fmt.Sprintf("objects: a %s declares other counters than it has", k.Name))
	}
	kinds = append(kinds, k)
	slices.SortFunc(kinds, func(a, b Kind) int { return strings.Compare(a.Name, b.Name) })
}

// Kinds returns the registered kinds, sorted by name.
func Kinds() []Kind { return slices.Clone(kinds) }

// KindNamed returns the kind of that name and panics if there is none.
func KindNamed(name string) Kind {
	for _, k := range kinds {
		if k.Name == name {
			return k
		}
	}
	panic(fmt.Sprintf("objects: no kind %q", name))
}
