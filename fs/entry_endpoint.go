package fs

import (
	"syscall"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// An endpoint carries what an object is for: what is read and written of it is the object's.
// It submits read and write for read(2) and write(2); 0: it cannot be opened for that.
type endpoint struct {
	reads, writes objects.Op
	opens         objects.Op // what open(2) submits, Open if it is 0
	eof           bool       // a read that follows a whole message reports end of file
	answers       bool       // what it reads is about what was written: it cannot be opened for reading alone
	both          bool       // nor for writing alone

	prepare func(h *objects.Handle) // tells the kind more of an open file, nil: nothing

	// render makes the text of what a read has found, which the object gives as plain values;
	// nil: reads find their data.
	render func(what any) []byte

	// stream marks an endpoint without messages: it has no positions, and a read takes
	// what there is.
	stream bool
}

func (p *endpoint) submits() *endpoint { return p }

// opening is what open(2) of e submits.
func (e *file) opening() objects.Op {
	if p := e.endpoint; p != nil && p.opens != 0 {
		return p.opens
	}
	return objects.Open
}

func (p *endpoint) openable(flags uint32) syscall.Errno {
	mode := flags & syscall.O_ACCMODE
	if p.answers && mode == syscall.O_RDONLY || p.both && mode != syscall.O_RDWR {
		return syscall.EACCES
	}
	return openableAs(p.reads != 0, p.writes != 0, flags)
}

// attr shows what the object holds.
func (p *endpoint) attr(e *file, out *fuse.Attr) { out.Size = uint64(e.objectAttrLocked(out).Bytes) }

// openCost is what it costs to watch who holds something through it.
func (p *endpoint) openCost() int64 {
	if p.opens == objects.Hold || p.reads == objects.Lease {
		return watchCost
	}
	return 0
}

func (p *endpoint) opened(_ *FS, h *handle, flags uint32) (open uint32) {
	if h.Reads {
		h.ReadOp = p.reads
	}
	if h.Writes {
		h.WriteOp = p.writes
	}
	if p.prepare != nil {
		p.prepare(&h.Handle)
	}
	nonblock := flags&syscall.O_NONBLOCK != 0
	h.EOF = p.eof && !nonblock
	h.Seekable = !h.Writes && !nonblock && !p.stream
	h.seeks = h.Seekable
	open = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES
	if !h.Seekable {
		// Without it a write on a read-write descriptor waits for a parked
		// read of it in an unkillable sleep on the file position.
		open |= fuse.FOPEN_STREAM
	}
	if h.Writes {
		// FLUSH takes the inode's lock in some kernels (6.12): a close(2) of
		// one copy of the descriptor would hang while another's write is
		// parked. FS.unlock does what FLUSH is for. Where messages are framed
		// it has to come: see object.submitLocked.
		open |= fuse.FOPEN_NOFLUSH
	}
	return open
}

func (p *endpoint) read(f *FS, c *fusedev.Conn, h *handle, in *fuse.ReadIn) {
	if faults(in) {
		c.Reply(in.Unique, syscall.EINVAL)
		return
	}
	k := newCall(f, c, h, in.Unique, replyData)
	k.Op = p.reads
	h.identify(k, in.Caller)
	k.Size, k.Offset = int(in.Size), int64(in.Offset)
	k.Nonblock = in.Flags&syscall.O_NONBLOCK != 0
	if p.stream {
		next := h.next.Swap(0)
		k.More = in.Offset > 0 && int64(in.Offset) == next
	}
	f.submit(k)
}

// keepData is the Keep of writes to streams.
func (f *FS) keepData(data []byte) objects.Buffer { return f.conn.Keep(data) }

func (p *endpoint) write(f *FS, c *fusedev.Conn, h *handle, in *fuse.WriteIn, data []byte) {
	k := newCall(f, c, h, in.Unique, replyWrite)
	k.Op = p.writes
	h.identify(k, in.Caller)
	k.Data, k.Offset = data, int64(in.Offset)
	if in.WriteFlags&fuse.WRITE_LOCKOWNER != 0 {
		k.files = in.LockOwner
	}
	if p.stream {
		k.Keep, k.Keeps = f.keep, fusedev.BufferSize
	}
	k.Nonblock = in.Flags&syscall.O_NONBLOCK != 0
	f.submit(k)
}

// A holdEndpoint is held by a process that has it open. It can be opened for reading and for
// writing, as shells have it; there is nothing to read, and what is written (a process's
// own number, in the manner of lock files) goes nowhere: owners tells who holds it.
type holdEndpoint struct{ endpoint }

func holdFile(name string) fileSpec {
	return fileSpec{name, 0o600, &holdEndpoint{endpoint{opens: objects.Hold}}}
}

func (p *holdEndpoint) openable(uint32) syscall.Errno { return 0 }

func (p *holdEndpoint) read(_ *FS, c *fusedev.Conn, _ *handle, in *fuse.ReadIn) {
	if faults(in) {
		c.Reply(in.Unique, syscall.EINVAL)
		return
	}
	c.ReplyData(in.Unique, nil)
}

func (p *holdEndpoint) write(_ *FS, c *fusedev.Conn, _ *handle, in *fuse.WriteIn, data []byte) {
	if len(data) > maxValue {
		c.Reply(in.Unique, syscall.EINVAL)
		return
	}
	c.ReplyWrite(in.Unique, len(data))
}
