package fs

import (
	"sync/atomic"
	"syscall"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A handle is an open file.
type handle struct {
	objects.Handle
	file *file
	node *node

	// reads, writes and seeks are Reads, Writes and Seekable, for those who ask without the
	// object's lock: a Close clears those.
	reads, writes, seeks bool

	fh uint64
	kh uint64 // the kernel's name for it in poll notifications

	seen     objects.Events // what poll(2) was last told; guarded by object.mu
	asks     objects.Events // what poll(2) has asked for; guarded by object.mu
	links    [sides]pollLink
	rivals   *rivals      // nil if it is told whatever comes; guarded by object.mu
	attached bool         // it uses the memory of a segment
	flushes  bool         // FLUSH comes when a process closes it; guarded by object.mu
	changed  objects.Time // when what was there had changed last when poll(2) was told; guarded by object.mu

	opener  identity // of the process that has opened it
	cost    int64    // the bytes that are kept for it, booked on opener
	chowns  uint64   // of the object, when it was opened
	backing int32    // the kernel's number for the segment's memory, 0 if it goes through us

	lastSize   atomic.Uint64 // what size has found last
	lastCaller atomic.Uint64 // the thread that made a request last, in the upper half, and its process

	// next is the offset at which a read(2) of a stream goes on that is too long for
	// one READ, 0 if none does. On an unseekable file each begins at 0 (stream_open).
	next atomic.Int64

	watch      processWatch // for whoever holds something through it; guarded by object.mu
	writer     *writer      // of what it has begun, nil if it has never; guarded by object.mu
	text       *[]byte      // what a control file showed when it was last read from the start
	lines      *text        // of a control file whose text may be long
	lockOwners []lockOwner  // guarded by the file's lockTable for fcntl(2)
}

// size is the st_size that fstat(2) gives a program that may seek in its messages,
// and would draw conclusions from the bytes held: wc(1) and tail(1) seek by it. An
// endpoint with end of file shows 0, as files of /proc do, and is read to its end. A
// stream shows where its offset will be once all that is held has been read, and
// never 0, which is what tail -f goes by.
func (h *handle) size() uint64 {
	if h.file.endpoint.eof {
		return 0
	}
	o := h.file.object
	if !o.mu.TryLock() {
		return max(1, h.lastSize.Load()) // FS.mu is held, for which everybody would wait
	}
	defer o.mu.Unlock()
	size := uint64(1)
	if extent := h.Extent(); extent > 0 {
		size = uint64(extent + o.impl.Held().Bytes)
	}
	h.lastSize.Store(size)
	return size
}

// handleFor returns the handle that the kernel calls fh.
func (f *FS) handleFor(fh uint64) *handle {
	f.handlesMu.RLock()
	defer f.handlesMu.RUnlock()
	return f.handles[fh]
}

// handleCost is what an open file costs the daemon in bytes: the handle, its place among
// the handles, the writer it may have, and what its object keeps for it.
const handleCost = 2048

// watchCost is what it costs to watch a process: a pidfd and a goroutine.
const watchCost = 8 << 10

// openCost is what an open file of e costs the daemon that shows the fixed text.
func openCost(e *file, text []byte) int64 {
	cost := int64(handleCost + len(text))
	if x, ok := e.spec.ops.(fileCoster); ok {
		cost += x.openCost()
	}
	return cost
}

// newHandleLocked makes the handle of an open(2) of e through n, and says with which
// FOPEN flags the kernel is to treat it. FS.mu is held.
func (f *FS) newHandleLocked(e *file, n *node, flags uint32) (*handle, uint32) {
	h := &handle{file: e, node: n}
	if e.object != nil {
		h.chowns = e.object.chowns
	}
	mode := flags & syscall.O_ACCMODE
	h.Reads = mode != syscall.O_WRONLY
	h.Writes = mode != syscall.O_RDONLY
	h.reads, h.writes = h.Reads, h.Writes
	open := uint32(fuse.FOPEN_DIRECT_IO)
	if x, ok := e.spec.ops.(fileOpener); ok {
		open = x.opened(f, h, flags)
	}
	n.useLocked()
	if h.Seekable {
		n.reader = h
	}
	f.addHandle(h)
	return h, open
}

// addHandle gives h the number that the kernel calls it by.
func (f *FS) addHandle(h *handle) {
	f.handlesMu.Lock()
	defer f.handlesMu.Unlock()
	f.lastFh++
	h.fh, h.Serial = f.lastFh, f.lastFh
	if h.file.endpoint == nil {
		h.fh |= fusedev.SlowHandle
	}
	f.handles[h.fh] = h
}

// publishHandle has the threads that serve h find what was set of it since addHandle.
func (f *FS) publishHandle(h *handle) {
	f.handlesMu.Lock()
	defer f.handlesMu.Unlock()
	f.handles[h.fh] = h
}

// removeHandle undoes addHandle.
func (f *FS) removeHandle(h *handle) {
	f.handlesMu.Lock()
	defer f.handlesMu.Unlock()
	delete(f.handles, h.fh)
}

// ServeOpen implements fusedev.Handler.
func (f *FS) ServeOpen(c *fusedev.Conn, in *fuse.OpenIn) {
	text, errno := f.textToOpen(in.NodeId)
	if errno != 0 {
		c.Reply(in.Unique, errno)
		return
	}
	k := &call{fs: f, conn: c, unique: in.Unique, reply: replyOpen}
	errno, sent := f.beginOpen(k, in.NodeId, in.Flags, in.Caller, text)
	answer(sent)
	switch {
	case k.atGate:
		return
	case errno == later:
		again := *in
		f.errandFor(c, in.Unique, in.Uid, func(e *errand) {
			if errno := f.readyMemory(k.object, again.Flags&syscall.O_ACCMODE != syscall.O_RDONLY, e); errno != 0 {
				c.Reply(again.Unique, errno)
				return
			}
			e.end()
			f.ServeOpen(c, &again)
		})
		return
	case errno != 0:
		c.Reply(in.Unique, errno)
		return
	}
	k.named(in.Pid)
	if x, ok := k.handle.file.spec.ops.(fileGrouper); ok && x.grouped(k.handle) {
		k.handle.opener = *f.identityOf(in.Caller)
	}
	f.submit(k)
}

// textToOpen is the text that the opening of node id fixes, nil if it fixes none. ENOENT:
// what it shows has gone.
func (f *FS) textToOpen(id uint64) (text []byte, errno syscall.Errno) {
	if e := f.fileAt(id); e != nil {
		if x, ok := e.spec.ops.(fileFixer); ok {
			return x.textToOpen(e.object)
		}
	}
	return nil, 0
}

// fileAt is the file that node id is, nil if it is none.
func (f *FS) fileAt(id uint64) *file {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.nodes[id]; n != nil {
		e, _ := n.entry.(*file)
		return e
	}
	return nil
}

// beginOpen prepares k to be submitted as the opening of node id, which fixes text, or takes
// it to a gate. It also returns who is to be answered there.
func (f *FS) beginOpen(k *call, id uint64, flags uint32, caller fuse.Caller, text []byte) (errno syscall.Errno, sent []*opening) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[id]
	if n == nil {
		return syscall.ESTALE, nil
	}
	e, ok := n.entry.(*file)
	if !ok {
		return syscall.EISDIR, nil
	}
	if n.shared && flags&syscall.O_ACCMODE != syscall.O_RDONLY && (caller.Pid == 0 || e.claims[caller.Pid] == nil) {
		if errno := e.spec.ops.openable(flags); errno != 0 {
			return errno, nil
		}
		k.atGate = true
		return 0, f.enterLocked(k, &e.inode, caller)
	}
	return f.openNodeLocked(k, n, e, flags, caller, text), e.arriveLocked(caller.Pid, caller.Uid)
}

// openNodeLocked is beginOpen of e through n. FS.mu is held.
func (f *FS) openNodeLocked(k *call, n *node, e *file, flags uint32, caller fuse.Caller, text []byte) syscall.Errno {
	if errno := e.spec.ops.openable(flags); errno != 0 {
		return errno
	}
	if n.shared && flags&syscall.O_ACCMODE != syscall.O_RDONLY || n.parked.Load() > 0 {
		return syscall.ESTALE
	}
	cost := openCost(e, text)
	if errno := f.ledger.keep(caller.Uid, amounts{Kept: cost}); errno != 0 {
		return errno
	}
	h, open := f.newHandleLocked(e, n, flags)
	k.leases = h.ReadOp == objects.Lease
	h.opener.Caller, h.cost = callerOf(caller), cost
	if text != nil {
		h.text = &text
	}
	if e.isMemory() {
		if errno := f.attachLocked(h, &open); errno != 0 {
			f.dropHandleLocked(h)
			k.object = e.object
			return errno
		}
	}
	k.handle, k.object, k.openFlags = h, e.object, open
	k.Op, k.Handle, k.Caller = e.opening(), &h.Handle, callerOf(caller)
	k.Nonblock = flags&syscall.O_NONBLOCK != 0
	return 0
}

// forgetHandle drops h, which its object does not know or no longer knows.
func (f *FS) forgetHandle(h *handle) {
	f.destroy(f.dropped(h))
}

// dropped is dropHandleLocked without f.mu held.
func (f *FS) dropped(h *handle) *object {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dropHandleLocked(h)
}

// dropHandleLocked is forgetHandle with f.mu held. It returns the object, if any, whose last
// use h was.
func (f *FS) dropHandleLocked(h *handle) *object {
	f.removeHandle(h)
	f.ledger.adjust(h.opener.Uid, amounts{Kept: -h.cost})
	h.cost = 0
	if h.attached {
		h.file.object.endAttach()
	}
	h.node.opens--
	if h.node.reader == h {
		h.node.reader = nil
	}
	return h.node.unusedLocked()
}

// close ends h: RELEASE was received, or its OPEN could not be answered.
func (f *FS) close(h *handle) {
	f.forgetHandle(h)
	h.lines.end()
	o := h.file.object
	if o == nil || h.file.endpoint == nil {
		return
	}
	r := objects.Request{Op: objects.Close, Handle: &h.Handle, Tag: (*call)(nil)}
	f.withObject(o, func(now objects.Time) objects.Finished {
		h.watch.end()
		h.unlistLocked()
		if h.file.endpoint.stream { // the other end may be the last
			o.reviewPollersLocked()
		}
		r.Killed = h.writer.broke()
		h.writer.forget()
		return o.impl.Submit(now, &r)
	})
	if o != &f.trace.object {
		f.noteFor(o, h.opener.Caller, objects.Close.String(), 0, 0)
	}
}

// watchHolder gives back what is held through h when the process of by, which is opening
// it, has died. ENFILE: that cannot be told.
func (f *FS) watchHolder(h *handle, by objects.Caller) syscall.Errno {
	v, errno := f.watch(by.Pid, by.Uid, func() { f.release(h) })
	o := h.file.object
	o.lock()
	defer o.mu.Unlock()
	h.watch = v
	return errno
}

// release gives back what is held through h, whose opener has died. A child of its
// may still have it open.
func (f *FS) release(h *handle) {
	r := objects.Request{Op: objects.Release, Handle: &h.Handle, Tag: (*call)(nil)}
	o := h.file.object
	f.withObject(o, func(now objects.Time) objects.Finished { return o.impl.Submit(now, &r) })
}

func callerOf(c fuse.Caller) objects.Caller {
	return objects.Caller{Pid: c.Pid, Uid: c.Uid, Gid: c.Gid}
}

// processCaller is callerOf with the process that the thread belongs to, which is what objects
// know. It may read /proc.
func processCaller(c fuse.Caller) objects.Caller {
	return objects.Caller{Pid: leader(c.Pid), Uid: c.Uid, Gid: c.Gid}
}

// processOf is the process of a thread that makes a request through h. The last answer is
// kept, for the next request is mostly the same thread's. It is wrong if that thread has ended
// and its number belongs by now to a thread of another process that has inherited h.
func (h *handle) processOf(thread uint32) uint32 {
	if known := h.lastCaller.Load(); uint32(known>>32) == thread {
		return uint32(known)
	}
	process := leader(thread)
	h.lastCaller.Store(uint64(thread)<<32 | uint64(process))
	return process
}

// callerFor is the process of c with the identity of who has opened h: whoever opened a file
// answers for what is done through it. A program that is run as root writes what it is
// told to wherever its standard error goes, and knows nothing of it.
func (h *handle) callerFor(c fuse.Caller) objects.Caller {
	return objects.Caller{Pid: h.processOf(c.Pid), Uid: h.opener.Uid, Gid: h.opener.Gid}
}

// identify fills in who makes the request k through h.
func (h *handle) identify(k *call, c fuse.Caller) {
	k.thread = c.Pid
	k.Caller = h.callerFor(c)
	if c.Uid != h.opener.Uid {
		k.Deputy = &objects.Caller{Pid: k.Caller.Pid, Uid: c.Uid, Gid: c.Gid}
	}
}

// ServeRead implements fusedev.Handler.
func (f *FS) ServeRead(c *fusedev.Conn, in *fuse.ReadIn) {
	h := f.handleFor(in.Fh)
	if h != nil && (h.reads || h.file.isMemory()) { // a write to a page of memory reads it first
		if x, ok := h.file.spec.ops.(fileReader); ok {
			x.read(f, c, h, in)
			return
		}
	}
	c.Reply(in.Unique, syscall.EBADF) // read(2): not open for reading
}

// faults reports whether the READ in is none of a read(2), which has a lock owner. A private
// mapping cannot be refused, but a page fault must not take messages (fs/fuse/file.c). Nor has
// sendfile(2) or splice(2) one: EINVAL makes programs read and write instead. Texts would
// grow old in the kernel's pages.
func faults(in *fuse.ReadIn) bool { return in.ReadFlags&fuse.READ_LOCKOWNER == 0 }

// ServeWrite implements fusedev.Handler.
func (f *FS) ServeWrite(c *fusedev.Conn, in *fuse.WriteIn, data []byte) {
	h := f.handleFor(in.Fh)
	if h != nil && h.writes {
		if x, ok := h.file.spec.ops.(fileWriter); ok {
			x.write(f, c, h, in, data)
			return
		}
	}
	c.Reply(in.Unique, syscall.EBADF) // write(2): not open for writing
}

// ServePoll implements fusedev.Handler.
func (f *FS) ServePoll(c *fusedev.Conn, in *fusedev.PollIn) {
	h := f.handleFor(in.Fh)
	events := objects.In | objects.Out
	if h != nil && h.file.endpoint != nil {
		events = h.polledFor(in)
	}
	c.ReplyPoll(in.Unique, pollMask(events))
}

// pollMask adds the synonyms that poll(2) has for data of normal priority.
func pollMask(e objects.Events) uint32 {
	const rdNorm, wrNorm = 0x40, 0x100
	mask := uint32(e)
	if e&objects.In != 0 {
		mask |= rdNorm
	}
	if e&objects.Out != 0 {
		mask |= wrNorm
	}
	return mask
}
