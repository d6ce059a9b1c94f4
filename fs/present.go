package fs

import (
	"iter"
	"slices"
	"strings"
	"syscall"

	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A presentation says which files stand for a kind of object. Each is registered by
// the file named after its kind.
type presentation struct {
	kind  string // the kind's name in package objects
	dir   string // the directory that holds its objects
	flat  spec   // the file that is a flat object
	nodes bool   // mknod(2) makes FIFOs and sockets beside the objects
	links bool   // link(2) gives a flat object further names, and rm leaves it to those who have it open

	// make makes an object, which books what it holds on uid; nil: the kind's New.
	make func(f *FS, uid uint32) objects.Object

	// check is 0 if who may set the named policy of o to value; nil: that is the object's to say.
	check map[string]policyCheck

	// around calls set, which sets the named policy to value, when it has done what takes
	// long of that.
	around map[string]around

	// then is called, by a thread that may wait, after the named policy was set.
	then map[string]func(f *FS, o *object)

	files   []spec   // endpoints and control files, in the order in which they are listed
	folders []folder // directories of more of them
}

type policyCheck func(f *FS, o *object, who *identity, value string) syscall.Errno

type around func(f *FS, o *object, value string, e *errand, set func() syscall.Errno) syscall.Errno

// A spec says what one file of an object means. It is an endpoint (read, write or
// open set), or a control file (show or set).
type spec struct {
	name string
	mode uint32 // permissions of a new file

	// An endpoint submits these operations for read(2) and write(2); 0: the file
	// cannot be opened for that.
	read, write objects.Op
	eof         bool // a read that follows a whole message reports end of file
	answers     bool // what it reads is about what was written: it cannot be opened for reading alone
	both        bool // nor for writing alone

	// open is what open(2) submits, Open if it is 0. An endpoint may consist of
	// nothing else; show and set then say what reads and writes do.
	open objects.Op

	// Of a member of a folder that is itself rather than a way to its object.
	attr  func(out *fuse.Attr) // what stat(2) shows
	part  func(o *object, p []byte, offset int64) (int, syscall.Errno)
	fixed bool // show is asked at open(2), which fails with ENOENT if it gives nil

	// only narrows an endpoint of messages.
	only *objects.Selector

	// render is what it shows of each message instead of that itself.
	render func(m *objects.Message) []byte

	// stream marks an endpoint without messages: it has no positions, and a read takes
	// what there is.
	stream bool

	// kernel marks a FIFO or socket, which the kernel opens without asking us. It has
	// one node.
	kernel bool

	// memory marks a file that is mapped, read and written at offsets, and has a size
	// of its own. It has one node.
	memory bool

	// lines is the show of what may be long: of what who may see, made as it is read.
	lines func(f *FS, o *object, who *identity) iter.Seq[[]byte]

	// grouped says that supplementary groups matter to set, as they do to lines.
	grouped bool

	around around // as in presentation

	then func(f *FS, o *object)                                            // as in presentation
	show func(f *FS, o *object) []byte                                     // what a read gives
	set  func(f *FS, o *object, who *identity, value string) syscall.Errno // what a write does
}

// endpoint reports whether the file carries messages rather than settings.
func (s *spec) endpoint() bool { return s.read|s.write|s.open != 0 }

// opening is what open(2) submits.
func (s *spec) opening() objects.Op {
	if s.open != 0 {
		return s.open
	}
	return objects.Open
}

func (s *spec) readable() bool { return s.read != 0 || s.show != nil || s.lines != nil }
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
			s := policyFile(name, p.check[name])
			s.around, s.then = p.around[name], p.then[name]
			policies = append(policies, s)
		}
		p.files = slices.Concat(p.files, policies, []spec{
			{name: "destroy", mode: 0o200, set: destroy, then: forgetName},
			{name: "stat", mode: 0o444, show: showStat},
			{name: "waiters", mode: 0o444, lines: linesOfWaiters},
		})
		l = append(l, &p)
	}
	slices.SortFunc(l, func(a, b *presentation) int { return strings.Compare(a.dir, b.dir) })
	return l
}
