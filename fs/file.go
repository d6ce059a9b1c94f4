package fs

import (
	"bytes"
	"sync/atomic"
	"syscall"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A file is an entry that is not a directory: an endpoint, a control file, or one
// of .ipcfs.
type file struct {
	inode
	object *object // nil in .ipcfs
	spec   *spec
	folder *folderDir // that it is a member of, nil if none
	locks  atomic.Pointer[fileLocks]
}

// valueSize is the size in bytes that control files show, as those of sysfs do: theirs is
// not known before they are read. The kernel takes a size of 0 for the end of the file
// without asking us (filemap_splice_read, mm/filemap.c): sendfile(2) and splice(2) would
// copy nothing.
const valueSize = 4096

// attr shows what the object holds on its endpoints.
func (e *file) attr(out *fuse.Attr) {
	if (e.spec.show != nil || e.spec.lines != nil) && e.spec.attr == nil && !e.spec.endpoint() {
		out.Size = valueSize
	}
	if e.object == nil {
		return
	}
	if e.spec.attr != nil {
		e.spec.attr(out)
		return
	}
	if e.spec.memory {
		out.Nlink += uint32(e.object.links.len())
		e.object.memoryAttr(out)
		return
	}
	if e.borrowed() {
		e.borrow(out)
	}
	held := e.object.held()
	setTimes(out, held)
	if e.spec.endpoint() {
		out.Size = uint64(held.Bytes)
	}
}

// A handle is an open file.
type handle struct {
	objects.Handle
	file *file
	node *node

	// seeks is Seekable, for those who ask without the object's lock: a Close clears that.
	seeks bool
	fh    uint64
	kh    uint64 // the kernel's name for it in poll notifications

	seen     objects.Events // what poll(2) was last told; guarded by object.mu
	asks     objects.Events // what poll(2) has asked for; guarded by object.mu
	links    [sides]pollLink
	attached bool         // it uses the memory of a segment
	flushes  bool         // FLUSH comes when a process closes it; guarded by object.mu
	changed  objects.Time // when what was there had changed last when poll(2) was told; guarded by object.mu

	opener  identity // of the process that has opened it
	cost    int64    // the bytes that are kept for it, booked on opener
	chowns  uint64   // of the object, when it was opened
	backing int32    // the kernel's number for the segment's memory, 0 if it goes through us

	lastSize atomic.Uint64 // what size has found last

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
	if h.file.spec.eof {
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

// openable is 0 if files of s can be opened with flags: EACCES for a wrong
// direction, whoever asks.
func (s *spec) openable(flags uint32) syscall.Errno {
	mode := flags & syscall.O_ACCMODE
	switch {
	case mode != syscall.O_WRONLY && !s.readable(), mode != syscall.O_RDONLY && !s.writable(),
		mode == syscall.O_RDONLY && s.answers, mode != syscall.O_RDWR && s.both:
		return syscall.EACCES
	}
	return 0
}

// handleCost is what an open file costs the daemon in bytes: the handle, its place among
// the handles, the writer it may have, and what its object keeps for it.
const handleCost = 2048

// watchCost is what it costs to watch a process: a pidfd and a goroutine.
const watchCost = 8 << 10

// traceCost is the memory of an open trace in bytes: two times the lines that it may be
// behind, which append doubles.
const traceCost = 2 * 512 << 10

// openCost is what an open file of e costs the daemon that shows the fixed text.
func (f *FS) openCost(e *file, text []byte) int64 {
	cost := int64(handleCost + len(text))
	switch {
	case e.spec.lines != nil:
		cost += textCost
	case e.spec.open == objects.Hold || e.spec.read == objects.Lease:
		cost += watchCost
	case e.object == &f.trace.object:
		cost += traceCost
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
	if h.Reads {
		h.ReadOp = e.spec.read
	}
	if h.ReadOp == objects.Receipt {
		h.WantReceipts(receipt)
	}
	if h.Writes {
		h.WriteOp = e.spec.write
	}
	h.Filter, h.Render = e.spec.only, e.spec.render
	open := uint32(fuse.FOPEN_DIRECT_IO)
	if e.spec.endpoint() {
		nonblock := flags&syscall.O_NONBLOCK != 0
		h.EOF = e.spec.eof && !nonblock
		h.Seekable = !h.Writes && !nonblock && !e.spec.memory && !e.spec.stream
		h.seeks = h.Seekable
		open |= fuse.FOPEN_PARALLEL_DIRECT_WRITES
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
	}
	if e.spec.lines != nil {
		h.lines = &text{lines: e.spec.lines(f, e.object, &h.opener)}
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
	if !h.file.spec.endpoint() {
		h.fh |= fusedev.SlowHandle
	}
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
	k.handle.Process = leader(in.Pid)
	if s := k.handle.file.spec; k.handle.lines != nil || s.grouped && k.handle.Writes {
		k.handle.opener = *f.identityOf(in.Caller)
	}
	f.submit(k)
}

// textToOpen is the text that the opening of node id fixes, nil if it fixes none. ENOENT:
// what it shows has gone.
func (f *FS) textToOpen(id uint64) (text []byte, errno syscall.Errno) {
	e := f.fixedAt(id)
	if e == nil {
		return nil, 0
	}
	if text = e.spec.show(f, e.object); text == nil {
		return nil, syscall.ENOENT
	}
	return text, 0
}

// fixedAt is the file that node id is, nil if it is none whose text is fixed when it is
// opened.
func (f *FS) fixedAt(id uint64) *file {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.nodes[id]; n != nil {
		if e, ok := n.entry.(*file); ok && e.spec.fixed {
			return e
		}
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
		if errno := e.spec.openable(flags); errno != 0 {
			return errno, nil
		}
		k.atGate = true
		return 0, f.enterLocked(k, &e.inode, caller)
	}
	return f.openNodeLocked(k, n, e, flags, caller, text), e.arriveLocked(caller.Pid, caller.Uid)
}

// openNodeLocked is beginOpen of e through n. FS.mu is held.
func (f *FS) openNodeLocked(k *call, n *node, e *file, flags uint32, caller fuse.Caller, text []byte) syscall.Errno {
	if errno := e.spec.openable(flags); errno != 0 {
		return errno
	}
	if n.shared && flags&syscall.O_ACCMODE != syscall.O_RDONLY || n.parked.Load() > 0 {
		return syscall.ESTALE
	}
	cost := f.openCost(e, text)
	if errno := f.ledger.keep(caller.Uid, amounts{Kept: cost}); errno != 0 {
		return errno
	}
	h, open := f.newHandleLocked(e, n, flags)
	k.leases = h.ReadOp == objects.Lease
	h.opener.Caller, h.cost = callerOf(caller), cost
	if e.spec.fixed {
		h.text = &text
	}
	if e.spec.memory {
		if errno := f.attachLocked(h, &open); errno != 0 {
			f.dropHandleLocked(h)
			k.object = e.object
			return errno
		}
	}
	k.handle, k.object, k.openFlags = h, e.object, open
	k.Op, k.Handle, k.Caller = e.spec.opening(), &h.Handle, callerOf(caller)
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
	if o == nil || !h.file.spec.endpoint() {
		return
	}
	r := objects.Request{Op: objects.Close, Handle: &h.Handle, Tag: (*call)(nil)}
	f.withObject(o, func(now objects.Time) objects.Finished {
		h.watch.end()
		h.unlistLocked()
		if h.file.spec.stream { // the other end may be the last
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

// callerFor is the thread c with the identity of who has opened h: whoever opened a file
// answers for what is done through it. A program that is run as root writes what it is
// told to wherever its standard error goes, and knows nothing of it.
func (h *handle) callerFor(c fuse.Caller) objects.Caller {
	return objects.Caller{Pid: c.Pid, Uid: h.opener.Uid, Gid: h.opener.Gid}
}

// identify fills in who makes the request r through h.
func (h *handle) identify(r *objects.Request, c fuse.Caller) {
	r.Caller = h.callerFor(c)
	if c.Uid != h.opener.Uid {
		own := callerOf(c)
		r.Deputy = &own
	}
}

// ServeRead implements fusedev.Handler.
func (f *FS) ServeRead(c *fusedev.Conn, in *fuse.ReadIn) {
	h := f.handleFor(in.Fh)
	if h == nil || !h.Reads && !h.file.spec.memory { // read(2): EBADF, not open for reading
		c.Reply(in.Unique, syscall.EBADF)
		return
	}
	s := h.file.spec
	if s.part != nil {
		f.readPart(c, h, in)
		return
	}
	if in.ReadFlags&fuse.READ_LOCKOWNER == 0 && !s.memory && !s.fixed {
		// Every read(2) has a lock owner; a page fault has none. A private mapping
		// cannot be refused, but it must not take messages (fs/fuse/file.c). Nor has
		// sendfile(2) or splice(2) one: EINVAL makes programs read and write instead.
		// What is fixed may be in the kernel's pages, other texts would grow old there.
		c.Reply(in.Unique, syscall.EINVAL)
		return
	}
	if s.read == 0 {
		if errno := f.disowned(h); errno != 0 {
			c.Reply(in.Unique, errno)
			return
		}
		if h.lines != nil {
			h.lines.answer(f, c, in)
			return
		}
		c.ReplyData(in.Unique, h.readText(f, in.Offset, in.Size))
		return
	}
	k := newCall(f, c, h, in.Unique, replyData)
	k.Op = s.read
	h.identify(&k.Request, in.Caller)
	k.Size, k.Offset = int(in.Size), int64(in.Offset)
	if s.memory {
		f.readMemory(k)
		return
	}
	k.Nonblock = in.Flags&syscall.O_NONBLOCK != 0
	if s.stream {
		next := h.next.Swap(0)
		k.More = in.Offset > 0 && int64(in.Offset) == next
	}
	f.submit(k)
}

// keepData is the Keep of writes to streams.
func (f *FS) keepData(data []byte) objects.Buffer { return f.conn.Keep(data) }

// ServeWrite implements fusedev.Handler.
func (f *FS) ServeWrite(c *fusedev.Conn, in *fuse.WriteIn, data []byte) {
	h := f.handleFor(in.Fh)
	if h == nil || !h.Writes { // write(2): EBADF, not open for writing
		c.Reply(in.Unique, syscall.EBADF)
		return
	}
	s := h.file.spec
	if s.around != nil {
		if len(data) > maxValue { // which is not to be kept meanwhile
			c.Reply(in.Unique, syscall.EINVAL)
			return
		}
		caller, n, value := h.callerFor(in.Caller), len(data), bytes.Clone(data)
		f.errandFor(c, in.Unique, h.opener.Uid, func(e *errand) {
			errno := s.around(f, h.file.object, trimValue(value), e, func() syscall.Errno { return f.set(h, caller, value) })
			if errno == 0 && s.then != nil {
				s.then(f, h.file.object)
			}
			if errno != 0 {
				c.Reply(e.unique, errno)
				return
			}
			c.ReplyWrite(e.unique, n)
		})
		return
	}
	if s.write == 0 {
		switch errno := f.set(h, h.callerFor(in.Caller), data); {
		case errno != 0:
			c.Reply(in.Unique, errno)
		case s.then != nil:
			unique, n := in.Unique, len(data)
			f.spawn("what follows a setting", func() {
				answered := false
				defer func() {
					if !answered {
						c.Reply(unique, syscall.EIO)
					}
				}()
				s.then(f, h.file.object)
				answered = true
				c.ReplyWrite(unique, n)
			})
		default:
			c.ReplyWrite(in.Unique, len(data))
		}
		return
	}
	k := newCall(f, c, h, in.Unique, replyWrite)
	k.Op = s.write
	h.identify(&k.Request, in.Caller)
	k.Data, k.Offset = data, int64(in.Offset)
	if in.WriteFlags&fuse.WRITE_LOCKOWNER != 0 {
		k.files = in.LockOwner
	}
	if s.stream {
		k.Keep, k.Keeps = f.keep, fusedev.BufferSize
	}
	if s.memory && in.WriteFlags&fuse.WRITE_CACHE != 0 {
		k.Op = objects.WriteBack
	}
	k.Nonblock = in.Flags&syscall.O_NONBLOCK != 0
	if s.memory && h.file.object.atWork.Load() {
		// Who works on the memory has the kernel's lock on it, again and again for a
		// moment: it is not to be waited for here.
		k.Data = bytes.Clone(data)
		f.spawn("a write to memory", func() { f.submit(k) })
		return
	}
	f.submit(k)
}

// ServePoll implements fusedev.Handler.
func (f *FS) ServePoll(c *fusedev.Conn, in *fusedev.PollIn) {
	h := f.handleFor(in.Fh)
	events := objects.In | objects.Out
	if h != nil && h.file.spec.endpoint() {
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

// maxValue is the longest value in bytes that can be written to a control file.
const maxValue = 4096

// set writes data to h's control file.
func (f *FS) set(h *handle, c objects.Caller, data []byte) syscall.Errno {
	if errno := f.disowned(h); errno != 0 {
		return errno
	}
	if len(data) > maxValue {
		return syscall.EINVAL
	}
	return h.file.spec.set(f, h.file.object, &identity{c, h.opener.groups}, trimValue(data))
}

// readText reads a control file. What it shows is fixed by the read at offset 0, so
// that a reader with a small buffer sees one consistent text.
func (h *handle) readText(f *FS, offset uint64, size uint32) []byte {
	text := h.shown(f)
	if text == nil || offset == 0 && !h.file.spec.fixed {
		fresh := h.file.spec.show(f, h.file.object)
		text = &fresh
		h.setShown(f, text)
	}
	b := *text
	b = b[min(offset, uint64(len(b))):]
	return b[:min(int(size), len(b))]
}

func (h *handle) shown(f *FS) *[]byte {
	f.handlesMu.RLock()
	defer f.handlesMu.RUnlock()
	return h.text
}

func (h *handle) setShown(f *FS, text *[]byte) {
	f.handlesMu.Lock()
	defer f.handlesMu.Unlock()
	h.text = text
}
