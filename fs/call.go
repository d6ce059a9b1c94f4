package fs

import (
	"sync"
	"syscall"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A call is a request of the kernel's on its way through an object, and how it is
// to be answered. It is all that a parked request costs.
type call struct {
	objects.Request
	fs        *FS
	conn      *fusedev.Conn
	handle    *handle
	object    *object // nil: a file of .ipcfs, or a lock
	locks     *lockTable
	unique    uint64
	openFlags uint32
	files     uint64 // of a write: the process's table of descriptors, as FLUSH names it
	reply     replyKind
	parked    bool // known to the Conn
	parkedAt  objects.Time
	silent    bool   // the caller answers
	atGate    bool   // see gate: it will not be submitted
	thread    uint32 // that waits for the answer; Caller has its process
	leases    bool   // of an open: through its handle messages are taken on lease
}

type replyKind uint8

const (
	replyStatus replyKind = iota
	replyData
	replyWrite
	replyOpen
)

var calls = sync.Pool{New: func() any { return new(call) }}

// newCall returns a call for a read or write of h. It goes back to the pool if it is
// answered without having been parked.
func newCall(f *FS, c *fusedev.Conn, h *handle, unique uint64, reply replyKind) *call {
	k := calls.Get().(*call)
	own := k.Own
	*k = call{fs: f, conn: c, handle: h, object: h.file.object, unique: unique, reply: reply}
	k.Own, k.Handle = own, &h.Handle
	return k
}

// named fills in the process of the thread that opens k's handle. No lock is held.
func (k *call) named(thread uint32) {
	process := leader(thread)
	k.thread, k.Caller.Pid = thread, process
	k.handle.Process, k.handle.opener.Pid = process, process
}

// submit hands k to its object and answers every request that this finishes.
func (f *FS) submit(k *call) {
	k.Tag = k
	if k.object == nil || k.handle != nil && k.handle.file.endpoint == nil {
		k.answer()
		return
	}
	f.withObject(k.object, func(now objects.Time) objects.Finished { return k.object.submitLocked(now, k) })
}

func (o *object) submitLocked(now objects.Time, k *call) objects.Finished {
	if o.broken && k.Op != objects.Close && k.Op != objects.Release {
		return k.Fail(syscall.EIO)
	}
	if b, ok := o.impl.(framer); ok && k.handle != nil {
		switch {
		case k.Op == objects.Send && b.Framed(&k.handle.Handle):
			k.handle.noteWriter(k.thread, k.Caller.Pid, k.files)
		case k.Op == objects.Open && k.handle.Writes && b.Framed(&k.handle.Handle):
			// Whether the message is whole is seen when its writer closes the file.
			k.handle.flushes = true
			k.openFlags &^= fuse.FOPEN_NOFLUSH
		}
	}
	done := o.impl.Submit(now, &k.Request)
	if k.reply == replyOpen && k.Errno == syscall.EIDRM {
		k.Errno = syscall.ENOENT // open(2): ENOENT, the name went after it was looked up
	}
	switch {
	case o.pollers == nil:
	case k.Op == objects.Connect, k.Op == objects.Hangup:
		o.reviewPollersLocked()
	case k.handle != nil && k.reply != replyOpen:
		o.actedLocked(k.handle, k)
	}
	if k.Parked() {
		k.park()
	}
	return done
}

// parkedCost is the memory that a parked request takes beside the data it carries, in
// bytes: the call, its entry in the Conn, and what its object lists it in.
const parkedCost = 1024

// park makes k known to the Conn. The lock under which k may finish is held. It is on the
// books, but never refused: a request takes more of the kernel, and a thread of its own,
// than of us, and whoever may not send any more may still wait.
func (k *call) park() {
	k.parked = true
	k.fs.ledger.adjust(k.Caller.Uid, amounts{Kept: parkedCost})
	if k.reply == replyWrite {
		k.handle.node.parked.Add(1)
	}
	if k.holdsLock() {
		k.parkedAt = k.Since
		k.fs.guard.begin(k)
	}
	k.conn.Park(k.unique, k)
}

// unpark undoes park. It reports false if k was unparked before: whoever unparks a
// request answers it.
func (k *call) unpark() bool {
	if !k.conn.Unpark(k.unique) {
		return false
	}
	k.fs.ledger.adjust(k.Caller.Uid, amounts{Kept: -parkedCost})
	if k.reply == replyWrite {
		k.handle.node.parked.Add(-1)
	}
	if k.holdsLock() {
		k.fs.guard.end(k)
	}
	return true
}

// Interrupt implements fusedev.Parked.
func (k *call) Interrupt() {
	if k.locks != nil {
		k.fs.withLocks(k.locks, func(now objects.Time) objects.Finished {
			return k.locks.t.Cancel(now, &k.Request, syscall.EINTR)
		})
		return
	}
	k.fs.withObject(k.object, func(now objects.Time) (done objects.Finished) {
		if k.object.broken {
			return done // failParked answers it
		}
		return k.object.impl.Cancel(now, &k.Request, syscall.EINTR)
	})
}

// finish answers the finished requests, in wake order; those whose texts are to be made come
// last, so that nobody waits for another's. No lock is held. A panic costs the request that it
// comes from: the others are answered all the same.
func (f *FS) finish(done objects.Finished) {
	var unrendered objects.Finished
	var k *call
	defer func() {
		if k != nil {
			k.conn.Reply(k.unique, syscall.EIO)
		}
		done.Append(unrendered)
		if !done.Empty() {
			f.finish(done)
		}
	}()
	for r := done.Next(); r != nil; r = done.Next() {
		switch k = r.Tag.(*call); {
		case k == nil || k.silent:
		case r.Unrendered != nil:
			unrendered.Add(r)
		default:
			f.answerFinished(k)
		}
		k = nil
	}
	for r := unrendered.Next(); r != nil; r = unrendered.Next() {
		f.render(r.Tag.(*call))
	}
}

// render makes the text of what the read k has found, and hands it to its object, which answers
// k. A message of 100 MB takes seconds, for which only those wait who read the same open file.
// A panic fails k, which has taken nothing then, and is passed on.
func (f *FS) render(k *call) {
	k.conn.Yield()
	what := k.Unrendered
	k.Unrendered = nil
	var text []byte
	whole := false
	defer func() { f.rendered(k, text, whole) }()
	text = k.handle.file.endpoint.render(what)
	whole = true
}

// rendered hands the text of k to its object; whole is false if it could not be made.
func (f *FS) rendered(k *call, text []byte, whole bool) {
	f.withObject(k.object, func(now objects.Time) objects.Finished {
		if k.object.broken {
			return k.Fail(syscall.EIO)
		}
		done := k.object.impl.(objects.Renderer).Rendered(now, &k.Request, text)
		if !whole {
			done.Append(k.object.impl.Return(now, &k.Request))
			k.Data, k.Errno = nil, syscall.EIO // errno(3)
		}
		return done
	})
}

func (f *FS) answerFinished(k *call) {
	r := &k.Request
	if f.tracing() {
		f.noteCall(k)
	}
	parked := k.parked
	mine := !parked || k.unpark()
	if mine {
		if parked {
			f.countWait(k)
		}
		if k.answer() == syscall.ENOENT && r.Errno == 0 {
			f.undo(k)
		}
	}
	if r.Buffer != nil {
		r.Buffer.Free()
		r.Buffer = nil
	}
	if !parked {
		k.recycle()
	}
}

// recycle puts k back into the pool unless somebody else may still look at it.
func (k *call) recycle() {
	if k.reply == replyData || k.reply == replyWrite {
		k.Recycle()
		*k = call{Request: objects.Request{Own: k.Own}}
		calls.Put(k)
	}
}

// answer writes k's reply. The result is ENOENT if the process does not get what the
// object has given it: the kernel has given the request up, because the process has died,
// or its death could not be watched for.
func (k *call) answer() syscall.Errno {
	if k.Broken {
		k.raise(syscall.SIGPIPE)
	}
	switch {
	case k.Errno != 0:
		errno := k.conn.Reply(k.unique, k.Errno)
		if k.reply == replyOpen {
			k.fs.forgetHandle(k.handle)
		}
		return errno
	case k.reply == replyData:
		if len(k.Data) == k.Size && k.Size > fusedev.MaxRead-pageSize && k.handle.file.endpoint.stream {
			// One READ of the most that the kernel sends, up to a page less for
			// a buffer that is not aligned (fuse_direct_io, fs/fuse/file.c).
			k.handle.next.Store(k.Offset + int64(k.Size))
		}
		return k.conn.ReplyData(k.unique, k.Data)
	case k.reply == replyWrite:
		return k.conn.ReplyWrite(k.unique, k.N)
	case k.reply == replyOpen:
		if k.Op == objects.Hold || k.leases {
			if errno := k.fs.watchHolder(k.handle, k.Caller); errno != 0 {
				// Held without a watch it might never be given back.
				k.conn.Reply(k.unique, errno)
				return syscall.ENOENT
			}
		}
		k.fs.publishHandle(k.handle)
		return k.conn.ReplyOpen(k.unique, &fuse.OpenOut{Fh: k.handle.fh, OpenFlags: k.openFlags, BackingID: k.handle.backing})
	}
	return k.conn.Reply(k.unique, 0)
}

// raise sends sig to the thread that waits for k's reply. The kernel does not do it for
// FUSE; nor can we where that thread is in a PID namespace we do not see, or belongs to
// another user than we do.
func (k *call) raise(sig syscall.Signal) {
	if k.thread != 0 {
		// tkill(2), not tgkill: the thread cannot die before we answer, so its
		// number is its own.
		_, _, _ = syscall.RawSyscall(syscall.SYS_TKILL, uintptr(k.thread), uintptr(sig), 0)
	}
}

// undo gives back what a process that has died was to get.
func (f *FS) undo(k *call) {
	switch {
	case k.reply == replyOpen:
		f.close(k.handle)
	case k.object != nil:
		f.withObject(k.object, func(now objects.Time) objects.Finished { return k.object.impl.Return(now, &k.Request) })
	}
}
