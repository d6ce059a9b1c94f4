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
	reply     replyKind
	parked    bool // known to the Conn
	silent    bool // the caller answers
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
	*k = call{fs: f, conn: c, handle: h, object: h.file.object, unique: unique, reply: reply}
	k.Handle = &h.Handle
	return k
}

// submit hands k to its object and answers every request that this finishes.
func (f *FS) submit(k *call) {
	k.Tag = k
	if k.object == nil || k.handle != nil && !k.handle.file.spec.endpoint() {
		k.answer()
		return
	}
	done, wake := k.object.submit(f.now(), k)
	f.finish(done)
	f.wake(wake)
}

func (o *object) submit(now objects.Time, k *call) (objects.Finished, []uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b, ok := o.impl.(*objects.Mailbox); ok && k.Op == objects.Send && b.Framed(&k.handle.Handle) {
		k.handle.noteWriter(k.Caller.Pid)
	}
	done := o.impl.Submit(now, &k.Request)
	if k.Parked() {
		k.park()
	}
	return done, o.woken()
}

// park makes k known to the Conn. The lock under which k may finish is held.
func (k *call) park() {
	k.parked = true
	if k.reply == replyWrite {
		k.handle.node.parked.Add(1)
	}
	k.conn.Park(k.unique, k)
}

func (k *call) unpark() {
	if k.reply == replyWrite {
		k.handle.node.parked.Add(-1)
	}
	k.conn.Unpark(k.unique)
}

// Interrupt implements fusedev.Parked.
func (k *call) Interrupt() {
	if k.locks != nil {
		k.fs.finish(k.locks.cancel(k.fs.now(), &k.Request))
		return
	}
	done, wake := k.object.interrupt(k.fs.now(), k)
	k.fs.finish(done)
	k.fs.wake(wake)
}

func (o *object) interrupt(now objects.Time, k *call) (objects.Finished, []uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.impl.Cancel(now, &k.Request, syscall.EINTR), o.woken()
}

// finish answers the finished requests, in wake order. No lock is held.
func (f *FS) finish(done objects.Finished) {
	for {
		r := done.Next()
		if r == nil {
			return
		}
		k := r.Tag.(*call)
		if k == nil || k.silent {
			continue
		}
		if f.tracing() {
			f.noteCall(k)
		}
		parked := k.parked
		if parked {
			k.unpark()
			f.countWait(k)
		}
		if k.answer() == syscall.ENOENT && r.Errno == 0 {
			f.undo(k)
		}
		if r.Buffer != nil {
			r.Buffer.Free()
			r.Buffer = nil
		}
		if !parked {
			k.recycle()
		}
	}
}

// recycle puts k back into the pool unless somebody else may still look at it.
func (k *call) recycle() {
	if k.reply == replyData || k.reply == replyWrite {
		*k = call{}
		calls.Put(k)
	}
}

// answer writes k's reply. The result is ENOENT if the kernel has given the request
// up, because its process has died.
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
		if len(k.Data) == k.Size && k.Size > fusedev.MaxRead-pageSize && k.handle.file.spec.stream {
			// One READ of the most that the kernel sends, up to a page less for
			// a buffer that is not aligned (fuse_direct_io, fs/fuse/file.c).
			k.handle.next.Store(k.Offset + int64(k.Size))
		}
		return k.conn.ReplyData(k.unique, k.Data)
	case k.reply == replyWrite:
		return k.conn.ReplyWrite(k.unique, k.N)
	case k.reply == replyOpen:
		if k.Op == objects.Hold || k.handle.ReadOp == objects.Lease {
			k.fs.watchHolder(k.handle, k.Caller.Pid)
		}
		return k.conn.ReplyOpen(k.unique, &fuse.OpenOut{Fh: k.handle.fh, OpenFlags: k.openFlags, BackingID: k.handle.backing})
	}
	return k.conn.Reply(k.unique, 0)
}

// raise sends sig to the thread that waits for k's reply. The kernel does not do it for
// FUSE; nor can we where that thread is in a PID namespace we do not see, or belongs to
// another user than we do.
func (k *call) raise(sig syscall.Signal) {
	if k.Caller.Pid != 0 {
		// tkill(2), not tgkill: the thread cannot die before we answer, so its
		// number is its own.
		_, _, _ = syscall.RawSyscall(syscall.SYS_TKILL, uintptr(k.Caller.Pid), uintptr(sig), 0)
	}
}

// undo gives back what a process that has died was to get.
func (f *FS) undo(k *call) {
	switch {
	case k.reply == replyOpen:
		f.close(k.handle)
	case k.object != nil:
		done, wake := k.object.giveBack(f.now(), k)
		f.finish(done)
		f.wake(wake)
	}
}

func (o *object) giveBack(now objects.Time, k *call) (objects.Finished, []uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.impl.Return(now, &k.Request), o.woken()
}

// woken returns the handles whose readiness has grown since poll(2) was last told
// of it, by the kernel's names for them, and those for which something has come
// beside what was there: an edge, as pipe_write has it in Linux's fs/pipe.c. A handle
// stays listed: an edge-triggered epoll(7) does not ask again before it is notified.
// It also sees to it that what may come due does, and that dead letters are forwarded.
// o.mu is held, after a call on o.impl.
func (o *object) woken() []uint64 {
	if o.clock != nil {
		o.clock.set()
		if b, ok := o.impl.(*objects.Mailbox); ok {
			if _, any := b.Forward(); any {
				go o.clock.fs.forward(o)
			}
		}
	}
	if len(o.polled) == 0 {
		return nil
	}
	var kh []uint64
	changed := o.impl.Held().Changed
	for _, h := range o.polled {
		events := o.impl.Ready(&h.Handle)
		if events&^h.seen != 0 || events&(objects.In|objects.Pri) != 0 && changed != h.changed {
			kh = append(kh, h.kh)
		}
		h.seen, h.changed = events, changed
	}
	return kh
}

// wake sends poll notifications. No lock is held.
func (f *FS) wake(kh []uint64) {
	for _, kh := range kh {
		f.conn.NotifyPoll(kh)
	}
}
