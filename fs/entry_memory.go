package fs

import (
	"bytes"
	"sync"
	"syscall"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A memoryFile is mapped, read and written at offsets, and has a size of its own. It has one
// node.
type memoryFile struct{ endpoint }

func newMemoryFile() *memoryFile {
	return &memoryFile{endpoint{reads: objects.ReadAt, writes: objects.WriteAt}}
}

func (e *file) isMemory() bool {
	_, ok := e.spec.ops.(*memoryFile)
	return ok
}

func (p *memoryFile) attr(e *file, out *fuse.Attr) {
	out.Nlink += uint32(e.object.links.len())
	e.object.memoryAttr(out)
}

// opened leaves it to FS.attachLocked how the kernel is to use the memory.
func (p *memoryFile) opened(_ *FS, h *handle, _ uint32) (open uint32) {
	if h.Reads {
		h.ReadOp = p.reads
	}
	if h.Writes {
		h.WriteOp = p.writes
	}
	return 0
}

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

// buffers holds what READs of memory are answered from.
var buffers = sync.Pool{New: func() any { return new([fusedev.MaxRead]byte) }}

func (p *memoryFile) read(f *FS, c *fusedev.Conn, h *handle, in *fuse.ReadIn) {
	k := newCall(f, c, h, in.Unique, replyData)
	k.Op = p.reads
	h.identify(k, in.Caller)
	buf := buffers.Get().(*[fusedev.MaxRead]byte)
	defer buffers.Put(buf)
	k.Size, k.Offset = int(in.Size), int64(in.Offset)
	k.Data = buf[:min(k.Size, fusedev.MaxRead)]
	f.submit(k)
}

func (p *memoryFile) write(f *FS, c *fusedev.Conn, h *handle, in *fuse.WriteIn, data []byte) {
	k := newCall(f, c, h, in.Unique, replyWrite)
	k.Op = p.writes
	if in.WriteFlags&fuse.WRITE_CACHE != 0 {
		k.Op = objects.WriteBack
	}
	h.identify(k, in.Caller)
	k.Data, k.Offset = data, int64(in.Offset)
	k.Nonblock = in.Flags&syscall.O_NONBLOCK != 0
	if h.file.object.atWork.Load() {
		// Who works on the memory has the kernel's lock on it, again and again for a
		// moment: it is not to be waited for here.
		k.Data = bytes.Clone(data)
		f.spawn("a write to memory", func() { f.submit(k) })
		return
	}
	f.submit(k)
}

// Fallocate implements fuse.RawFileSystem. fallocate(2): ENODEV, not a regular file
// with storage; EOPNOTSUPP, not a mode of its file system.
func (f *FS) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	h := f.handleFor(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	if !h.file.isMemory() {
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
