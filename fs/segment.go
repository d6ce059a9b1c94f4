package fs

import (
	"fmt"
	"iter"
	"syscall"

	"ipcfs/objects"
	"ipcfs/objects/segment"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A segment's memory is used in one of two ways, the same for all of a mount's. With
// passthrough the kernel reads, writes and maps the memory itself; only opening,
// sizes and attributes come to us. Without it the kernel's page cache is what
// processes map and share, and our memory is what it is filled from and written back
// to. Both need one node for a file ([FS.nodeForLocked]), and no write of either waits.

// segmentKind is the kind's name in package objects.
const segmentKind = "segment"

func init() {
	present(presentation{
		kind:  segmentKind,
		dir:   "segments",
		make:  newSegment,
		flat:  fileSpec{ops: newMemoryFile()},
		links: true,
		grows: true,
		files: []fileSpec{
			{"data", 0o600, newMemoryFile()},
			holdFile("lock"),
			{"owners", 0o444, &listing{linesOfOwners}},
			{"attached", 0o444, &listing{linesOfAttached}},
		},
		around: map[string]around{"size": setSize, "seal": setSeal},
		then:   map[string]func(*FS, *object){"size": resized, "seal": sealed},
	})
}

func newSegment(f *FS, uid uint32) objects.Object {
	return segment.New(f.ledger, f.store.memory(uid), uid)
}

// segmentLocked returns the segment that o is. o.mu is held.
func (o *object) segmentLocked() *segment.Segment { return o.impl.(*segment.Segment) }

// memoryLocked returns the memory of the segment that o is. o.mu is held while it is used.
func (o *object) memoryLocked() *memory { return o.segmentLocked().Storage().(*memory) }

// submitNow carries out op, which does not wait, and returns its errno.
func (f *FS) submitNow(o *object, op objects.Op, c objects.Caller, offset int64, size int) syscall.Errno {
	k := &call{fs: f, object: o, silent: true}
	k.Op, k.Caller, k.Offset, k.Size = op, c, offset, size
	f.submitSilently(k)
	return k.Errno
}

// submitSilently carries out k, which has no open file, does not wait and is not answered.
func (f *FS) submitSilently(k *call) {
	k.Tag = k
	f.withObject(k.object, func(now objects.Time) objects.Finished { return k.object.submitLocked(now, k) })
}

// setMemory carries out what a SETATTR says of a segment's size and times.
func (f *FS) setMemory(o *object, in *fuse.SetAttrIn) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		// A size beyond what an off_t holds is refused by the kernel.
		if errno := f.cutFor(o, in, int64(size)); errno != 0 {
			return errno
		}
		if errno := f.submitNow(o, objects.Resize, callerOf(in.Caller), int64(size), 0); errno != 0 {
			return errno
		}
	}
	atime, setAtime := in.GetATime()
	mtime, setMtime := in.GetMTime()
	if !setAtime && !setMtime {
		return 0
	}
	o.lock()
	defer o.mu.Unlock()
	switch m := o.memoryLocked(); {
	case !setMtime:
		return m.touch(&atime, nil)
	case !setAtime:
		return m.touch(nil, &mtime)
	default:
		return m.touch(&atime, &mtime)
	}
}

// cutFor is cut for a SETATTR.
func (f *FS) cutFor(o *object, in *fuse.SetAttrIn, size int64) syscall.Errno {
	if o.held().Bytes-size <= quickly {
		return 0
	}
	e := f.newErrand(f.conn, in.Unique, in.Uid)
	defer e.end()
	return f.cut(o, size, e)
}

// allocations are the modes of fallocate(2) that tmpfs has.
var allocations = map[uint32]objects.Op{
	0:                        objects.Allocate,
	unix.FALLOC_FL_KEEP_SIZE: objects.Reserve,
	unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE: objects.Punch,
}

// attrOf is what stat(2) shows of e.
func (f *FS) attrOf(e entry) (attr fuse.Attr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fillAttrLocked(e, &attr)
	return attr
}

// resized tells the page cache of a size that the kernel has not set itself. Cached
// pages beyond the new end are dropped; the next access there reads, learns the size
// and raises SIGBUS, as it does in tmpfs. A larger size the kernel learns when
// somebody opens the file, reads beyond the old end or asks for its attributes: until
// then a mapping made before ends where it did.
//
// It waits for the kernel, which may wait for the loop.
func resized(f *FS, o *object) {
	if id := f.memoryNode(o, false); id != 0 {
		f.conn.NotifyInval(id, o.held().Bytes)
	}
}

// sealed drops the cached pages of a segment that must not change any more. Somebody may
// have pinned some of them, and could still change those. Who opens it from now on gets
// pages of another node, whatever becomes of the old ones.
//
// It waits for the kernel.
func sealed(f *FS, o *object) {
	if !look(o, func(impl objects.Object) bool { return impl.(*segment.Segment).SealedWrite() }) {
		return
	}
	if id := f.memoryNode(o, true); id != 0 {
		f.conn.NotifyInval(id, 0)
	}
}

// memoryNode is the node of the memory of the segment o, 0 if the kernel has none, or has
// no pages of its own for it. The next LOOKUP is given another node if renew is set.
func (f *FS) memoryNode(o *object, renew bool) (id uint64) {
	if passthrough, errno := f.store.passes(f); passthrough || errno != 0 {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	e := o.file
	if !o.flat {
		e = o.files[0] // data
	}
	if e == nil || e.node == nil {
		return 0
	}
	id = e.node.id
	if renew {
		e.node = nil
	}
	return id
}

// An attachment is an open file of a segment.
type attachment struct {
	objects.Caller
	serial        uint64
	reads, writes bool
}

func (a attachment) at() position { return position{a.serial} }

// attachments yields the open files of the segment o in the order of their opening.
func attachments(o *object) iter.Seq[attachment] {
	return each(attachment.at, func(after position) []attachment {
		return look(o, func(impl objects.Object) []attachment {
			return next(func(yield func(attachment) bool) {
				for a := range impl.(*segment.Segment).Attached() {
					if h := a.Handle; !yield(attachment{a.Caller, h.Serial, h.Reads, h.Writes}) {
						return
					}
				}
			}, attachment.at, after)
		})
	})
}

// linesOfAttached gives a line for each open file of a segment: pid, uid, command and
// what it is open for.
func linesOfAttached(_ *FS, o *object, _ *identity) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for a := range attachments(o) {
			pid, command := process(a.Pid)
			mode := ""
			if a.reads {
				mode += "r"
			}
			if a.writes {
				mode += "w"
			}
			if !yield(fmt.Appendf(nil, "%d %d %s %s\n", pid, a.Uid, command, mode)) {
				return
			}
		}
	}
}
