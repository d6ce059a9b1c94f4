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
	kind  string // the kind's name in package objects
	dir   string // the directory that holds its objects
	flat  spec   // the file that is a flat object
	files []spec // endpoints and control files, in the order in which they are listed
}

// A spec says what one file of an object means. It is an endpoint (read or write
// set), or a control file (show or set).
type spec struct {
	name string
	mode uint32 // permissions of a new file

	// An endpoint submits these operations for read(2) and write(2); 0: the file
	// cannot be opened for that.
	read, write objects.Op
	eof         bool // a read that follows a whole message reports end of file

	show func(f *FS, o *object) []byte                                        // what a read gives
	set  func(f *FS, o *object, c objects.Caller, value string) syscall.Errno // what a write does
}

// endpoint reports whether the file carries messages rather than settings.
func (s *spec) endpoint() bool { return s.read|s.write != 0 }

func (s *spec) readable() bool { return s.read != 0 || s.show != nil }
func (s *spec) writable() bool { return s.write != 0 || s.set != nil }

var registered []presentation

func present(p presentation) { registered = append(registered, p) }

// presentations returns the registered presentations in the order of their
// directories, completed with the control files that every kind has.
func presentations() []*presentation {
	var l []*presentation
	for _, p := range registered {
		var policies []spec
		for _, name := range objects.KindNamed(p.kind).Policies {
			policies = append(policies, policyFile(name))
		}
		p.files = slices.Concat(p.files, policies, []spec{
			{name: "stat", mode: 0o444, show: showStat},
			{name: "waiters", mode: 0o444, show: showWaiters},
		})
		l = append(l, &p)
	}
	slices.SortFunc(l, func(a, b *presentation) int { return strings.Compare(a.dir, b.dir) })
	return l
}
