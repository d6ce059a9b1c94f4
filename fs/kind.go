package fs

import (
	"slices"
	"strings"
	"syscall"

	"ipcfs/objects"
)

// A presentation says which files stand for a kind of object. Each is registered by
// the file named after its kind.
type presentation struct {
	kind  string   // the kind's name in package objects
	dir   string   // the directory that holds its objects
	flat  fileSpec // the file that is a flat object
	nodes bool     // mknod(2) makes FIFOs and sockets beside the objects
	links bool     // link(2) gives a flat object further names, and rm leaves it to those who have it open

	// grows says that what an object holds may change without a call on it: it is asked.
	grows bool

	// make makes an object, which books what it holds on uid; nil: the kind's New.
	make func(f *FS, uid uint32) objects.Object

	// check is 0 if who may set the named policy of o to value; nil: that is the object's to say.
	check map[string]policyCheck

	// around calls set, which sets the named policy to value, when it has done what takes
	// long of that.
	around map[string]around

	// forward moves what a forwarder has for another object; nil: the kind has none.
	forward func(f *FS, o *object)

	// then is called, by a thread that may wait, after the named policy was set.
	then map[string]func(f *FS, o *object)

	files   []fileSpec // endpoints and control files, in the order in which they are listed
	folders []folder   // directories of more of them
}

// A framer is an object that takes some messages in several writes.
type framer interface {
	Framed(h *objects.Handle) bool
}

// A forwarder is an object with messages that are to go on to another.
type forwarder interface {
	DeadLetters() (to string, any bool)
}

// A selector is an object from which open files receive different things.
type selector interface {
	// Selection tells the open files apart that receive different things; nil for everything.
	// It can be compared.
	Selection(h *objects.Handle) any
}

// A broadcaster is an object that may give what is sent to all who have it open.
type broadcaster interface {
	Broadcasts() bool
}

type policyCheck func(f *FS, o *object, who *identity, value string) syscall.Errno

type around func(f *FS, o *object, value string, e *errand, set func() syscall.Errno) syscall.Errno

var registered []presentation

func present(p presentation) { registered = append(registered, p) }

// presentations returns the registered presentations in the order of their
// directories, completed with the control files that every kind has.
func presentations() []*presentation {
	var l []*presentation
	for _, p := range registered {
		var policies []fileSpec
		for _, name := range objects.KindNamed(p.kind).PolicyNames() {
			policies = append(policies, policyFile(&p, name))
		}
		p.files = slices.Concat(p.files, policies, []fileSpec{
			{"destroy", 0o200, &control{set: destroy, then: forgetName}},
			{"stat", 0o444, &control{show: showStat}},
			{"waiters", 0o444, &listing{linesOfWaiters}},
		})
		l = append(l, &p)
	}
	slices.SortFunc(l, func(a, b *presentation) int { return strings.Compare(a.dir, b.dir) })
	return l
}
