package objects

import (
	"fmt"
	"slices"
	"strings"
)

// A Kind is one kind of object. Each is registered by the file that implements it;
// the drivers find them here and know no kind by name.
type Kind struct {
	// Name is the kind's word in the singular: "mailbox".
	Name string

	// New makes an empty object with default policies that books what it holds in
	// l.
	New func(l Ledger) Object

	// Policies names the kind's policies in the order in which they are shown.
	Policies []string

	// Ops are the operations that the kind understands.
	Ops []Op
}

var kinds []Kind

func register(k Kind) {
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
