package main

import (
	"sync"
	"syscall"
	"time"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A reference is the usual way to build mailboxes on FUSE: a file system of
// go-fuse's raw interface whose operations block in the goroutine that serves them,
// each on a channel of its own. Its mailboxes are those of package objects, its
// files are flat: every name is a mailbox, opening it with O_CREAT makes one.
type reference struct {
	fuse.RawFileSystem
	start time.Time

	mu      sync.RWMutex // guards what follows
	names   map[string]uint64
	boxes   map[uint64]*box // by node
	handles map[uint64]*refHandle
	lastFh  uint64
}

// A box is a mailbox with the lock that serialises the calls on it.
type box struct {
	mu      sync.Mutex
	mailbox *mailbox.Mailbox
}

type refHandle struct {
	objects.Handle
	box *box
}

// An operation is a request on its way.
type operation struct {
	objects.Request
	buf      []byte        // where a receive delivers
	n        int           // how much it delivered
	finished chan struct{} // nil unless the request is parked
}

var _ fuse.RawFileSystem = (*reference)(nil)

func newReference() *reference {
	return &reference{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		start:         time.Now(),
		names:         make(map[string]uint64),
		boxes:         make(map[uint64]*box),
		handles:       make(map[uint64]*refHandle),
	}
}

func (f *reference) now() objects.Time { return objects.Time(time.Since(f.start)) }

func (f *reference) String() string { return "reference" }

func (f *reference) Lookup(_ <-chan struct{}, _ *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	f.mu.RLock()
	node := f.names[name]
	f.mu.RUnlock()
	if node == 0 {
		return fuse.ENOENT
	}
	fillBox(node, out)
	return fuse.OK
}

func fillBox(node uint64, out *fuse.EntryOut) {
	out.NodeId = node
	fillNull(node, &out.Attr)
	out.SetEntryTimeout(time.Hour)
	out.SetAttrTimeout(time.Hour)
}

func (f *reference) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	fillNull(in.NodeId, &out.Attr)
	out.SetTimeout(time.Hour)
	return fuse.OK
}

// SetAttr has nothing to change: O_TRUNC must not purge a mailbox.
func (f *reference) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	fillNull(in.NodeId, &out.Attr)
	return fuse.OK
}

func (f *reference) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.names[name]
	if node == 0 {
		node = fuse.FUSE_ROOT_ID + uint64(len(f.names)) + 1
		f.names[name] = node
		f.boxes[node] = &box{mailbox: mailbox.New(objects.Unlimited)}
	}
	fillBox(node, &out.EntryOut)
	f.openLocked(node, in.Flags, &out.OpenOut)
	return fuse.OK
}

func (f *reference) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.boxes[in.NodeId] == nil {
		return fuse.EISDIR
	}
	f.openLocked(in.NodeId, in.Flags, out)
	return fuse.OK
}

// openLocked makes a handle. Preconditions: f.mu is held.
func (f *reference) openLocked(node uint64, flags uint32, out *fuse.OpenOut) {
	h := &refHandle{box: f.boxes[node]}
	mode := flags & syscall.O_ACCMODE
	h.Reads, h.Writes = mode != syscall.O_WRONLY, mode != syscall.O_RDONLY
	f.lastFh++
	f.handles[f.lastFh] = h
	out.Fh, out.OpenFlags = f.lastFh, openFlags
	if h.Writes {
		out.OpenFlags |= fuse.FOPEN_STREAM | fuse.FOPEN_NOFLUSH // as ipcfs opens them
	}
}

func (f *reference) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	f.mu.Lock()
	delete(f.handles, in.Fh)
	f.mu.Unlock()
}

func (f *reference) handle(fh uint64) *refHandle {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.handles[fh]
}

func (f *reference) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	h := f.handle(in.Fh)
	if h == nil {
		return nil, fuse.EBADF
	}
	op := &operation{buf: buf}
	op.Op, op.Size, op.Offset = objects.Receive, min(int(in.Size), len(buf)), int64(in.Offset)
	op.Nonblock = in.Flags&syscall.O_NONBLOCK != 0
	f.do(cancel, h, op, in.Caller)
	return fuse.ReadResultData(buf[:op.n]), fuse.Status(op.Errno)
}

func (f *reference) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	h := f.handle(in.Fh)
	if h == nil {
		return 0, fuse.EBADF
	}
	op := &operation{}
	op.Op, op.Data, op.Size = objects.Send, data, len(data)
	op.Nonblock = in.Flags&syscall.O_NONBLOCK != 0
	f.do(cancel, h, op, in.Caller)
	return uint32(op.Size), fuse.Status(op.Errno)
}

// do carries op out and returns when it has finished.
func (f *reference) do(cancel <-chan struct{}, h *refHandle, op *operation, c fuse.Caller) {
	op.Handle, op.Tag = &h.Handle, op
	op.Caller = objects.Caller{Pid: c.Pid, Uid: c.Uid, Gid: c.Gid}
	b := h.box
	b.mu.Lock()
	done := b.mailbox.Submit(f.now(), &op.Request)
	if op.Parked() {
		op.finished = make(chan struct{})
	}
	finish(done)
	b.mu.Unlock()
	if op.finished == nil {
		return
	}
	select {
	case <-op.finished:
	case <-cancel:
		b.mu.Lock()
		finish(b.mailbox.Cancel(f.now(), &op.Request, syscall.EINTR))
		b.mu.Unlock()
		<-op.finished
	}
}

// finish wakes the goroutines of the requests in done. The box's lock is held: what
// a receive got may lie in the buffer of the send that runs.
func finish(done objects.Finished) {
	for r := done.Next(); r != nil; r = done.Next() {
		op := r.Tag.(*operation)
		op.n = copy(op.buf, r.Data)
		if op.finished != nil {
			close(op.finished)
		}
	}
}
