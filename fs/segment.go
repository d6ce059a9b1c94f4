package fs

import (
	"fmt"
	"iter"
	"sync"
	"syscall"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"

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
	memory := spec{read: objects.ReadAt, write: objects.WriteAt, memory: true}
	data := memory
	data.name, data.mode = "data", 0o600
	present(presentation{
		kind:  segmentKind,
		dir:   "segments",
		make:  newSegment,
		flat:  memory,
		links: true,
		files: []spec{
			data,
			holdFile("lock"),
			{name: "owners", mode: 0o444, lines: linesOfOwners},
			{name: "attached", mode: 0o444, lines: linesOfAttached},
		},
		around: map[string]around{"size": setSize, "seal": setSeal},
		then:   map[string]func(*FS, *object){"size": resized, "seal": sealed},
	})
}

func newSegment(f *FS, uid uint32) objects.Object {
	return objects.NewSegment(f.ledger, f.store.memory(uid), uid)
}

// segmentLocked returns the segment that o is. o.mu is held.
func (o *object) segmentLocked() *objects.Segment { return o.impl.(*objects.Segment) }

// memoryLocked returns the memory of the segment that o is. o.mu is held while it is used.
func (o *object) memoryLocked() *memory { return o.segmentLocked().Storage().(*memory) }

// attachLocked readies the memory of h's segment and adds to flags how the kernel is to use
// it. later: the memory has to be readied first, see readyMemory. FS.mu is held.
func (f *FS) attachLocked(h *handle, flags *uint32) syscall.Errno {
	passthrough, errno := f.store.passes(f)
	if errno != 0 {
		return errno
	}
	o := h.file.object
	o.lock()
	defer o.mu.Unlock()
	m, g := o.memoryLocked(), o.segmentLocked()
	if m.alone != nil || h.Writes && m.frozen && !g.SealedWrite() {
		return later
	}
	if errno := m.open(); errno != 0 {
		if errno == syscall.EIDRM && h.file.gone {
			// It has been sent since its name was looked up: the kernel looks again.
			errno = syscall.ESTALE
		}
		return errno
	}
	h.attached = true
	if !passthrough {
		*flags = fuse.FOPEN_KEEP_CACHE
		return 0
	}
	id, errno := m.back()
	if errno != 0 {
		return errno
	}
	h.backing = id
	*flags = fuse.FOPEN_PASSTHROUGH
	if h.Writes && !(g.SealedGrow() && m.bound()) {
		// Whether a write may make it grow is ours to say then, and with this flag
		// reads and writes come to us. Mappings do not make it grow.
		*flags |= fuse.FOPEN_DIRECT_IO
	}
	return 0
}

// readyMemory readies the memory of o for being opened, also for writing if writes is set.
func (f *FS) readyMemory(o *object, writes bool, e *errand) syscall.Errno {
	if writes {
		return f.thaw(o, e)
	}
	errno := o.beginAlone(e)
	if errno == 0 {
		o.endAlone()
	}
	return errno
}

// endAttach ends what attach began.
func (o *object) endAttach() {
	o.lock()
	defer o.mu.Unlock()
	o.memoryLocked().close()
}

// memoryAttr shows the size, blocks and times of a segment's memory.
func (o *object) memoryAttr(out *fuse.Attr) {
	o.lock()
	defer o.mu.Unlock()
	o.impl.Held() // books what has grown
	o.memoryLocked().attr(out)
}

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

// Fallocate implements fuse.RawFileSystem. fallocate(2): ENODEV, not a regular file
// with storage; EOPNOTSUPP, not a mode of its file system.
func (f *FS) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	h := f.handleFor(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	if !h.file.spec.memory {
		return fuse.ENODEV
	}
	op, ok := allocations[in.Mode]
	if !ok {
		return status(syscall.EOPNOTSUPP)
	}
	c := h.callerFor(in.Caller)
	errno := f.allocate(h.file.object, op, c, in)
	f.noteFor(h.file.object, c, op.String(), 0, errno)
	return status(errno)
}

func (f *FS) allocate(o *object, op objects.Op, c objects.Caller, in *fuse.FallocateIn) syscall.Errno {
	if op == objects.Punch && in.Length > quickly {
		e := f.newErrand(f.conn, in.Unique, in.Uid)
		defer e.end()
		if errno := f.punch(o, int64(in.Offset), int64(in.Length), e); errno != 0 {
			return errno
		}
	}
	return f.submitNow(o, op, c, int64(in.Offset), int(in.Length))
}

// Lseek implements fuse.RawFileSystem: lseek(2) with SEEK_DATA or SEEK_HOLE. Without
// passthrough the page cache may have data that we do not, so everything counts as
// data there, as in every other file.
func (f *FS) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	h := f.handleFor(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	if h.backing != 0 {
		o := h.file.object
		o.lock()
		defer o.mu.Unlock()
		at, errno := o.memoryLocked().seek(int64(in.Offset), int(in.Whence))
		out.Offset = uint64(at)
		return status(errno)
	}
	attr := f.attrOf(h.file)
	// lseek(2): ENXIO, beyond the end of the file.
	if in.Offset >= attr.Size {
		return status(syscall.ENXIO)
	}
	out.Offset = in.Offset
	if in.Whence == unix.SEEK_HOLE {
		out.Offset = attr.Size
	}
	return fuse.OK
}

// attrOf is what stat(2) shows of e.
func (f *FS) attrOf(e entry) (attr fuse.Attr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fillAttrLocked(e, &attr)
	return attr
}

// buffers holds what READs of memory are answered from.
var buffers = sync.Pool{New: func() any { return new([fusedev.MaxRead]byte) }}

// readMemory answers the READ k of a segment.
func (f *FS) readMemory(k *call) {
	buf := buffers.Get().(*[fusedev.MaxRead]byte)
	defer buffers.Put(buf)
	k.Data = buf[:min(k.Size, fusedev.MaxRead)]
	f.submit(k)
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
	if !look(o, func(impl objects.Object) bool { return impl.(*objects.Segment).SealedWrite() }) {
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
				for a := range impl.(*objects.Segment).Attached() {
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
