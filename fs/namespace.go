package fs

import (
	"strings"
	"syscall"
	"time"

	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// This file implements fuse.RawFileSystem: the requests that never wait.

// renameNoReplace and renameExchange are RENAME_NOREPLACE and RENAME_EXCHANGE,
// rename(2).
const (
	renameNoReplace = 1 << 0
	renameExchange  = 1 << 1
)

// dirAtLocked returns the directory that node id is. f.mu is held.
func (f *FS) dirAtLocked(id uint64) (dir, syscall.Errno) {
	n := f.nodes[id]
	if n == nil {
		return nil, syscall.ESTALE
	}
	d, ok := n.entry.(dir)
	if !ok {
		return nil, syscall.ENOTDIR
	}
	return d, 0
}

// kindDirAtLocked returns the directory of a kind that node id is: the only ones whose
// names users make and remove. f.mu is held.
func (f *FS) kindDirAtLocked(id uint64) (*kindDir, syscall.Errno) {
	d, errno := f.dirAtLocked(id)
	if errno != 0 {
		return nil, errno
	}
	k, ok := d.(*kindDir)
	if !ok {
		return nil, syscall.EPERM
	}
	return k, 0
}

// Lookup implements fuse.RawFileSystem.
func (f *FS) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if len(name) > maxName {
		return status(syscall.ENAMETOOLONG)
	}
	var d dir
	var errno syscall.Errno
	if folder := f.folderAt(in.NodeId); folder != nil {
		d, errno = folder, f.lookupMember(folder, in, name, out)
	} else {
		d, errno = f.lookup(in, name, out)
	}
	if errno == syscall.ENOENT {
		errno = f.lookupAbsent(d, in.Pid)
	}
	return status(errno)
}

// lookup fills in what name stands for in the directory that it returns.
func (f *FS) lookup(in *fuse.InHeader, name string, out *fuse.EntryOut) (dir, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, errno := f.dirAtLocked(in.NodeId)
	if errno != 0 {
		return nil, errno
	}
	if d.base().gone {
		// Not ENOENT, which the kernel would remember, and with it the directory.
		return nil, syscall.EIDRM
	}
	p, ok := d.(parent)
	if !ok {
		return d, syscall.ENOENT
	}
	e := p.child(name)
	if e == nil {
		return d, syscall.ENOENT
	}
	return d, f.bookNodeLocked(f.fillEntryLocked(e, in.Pid, out), in.Uid)
}

// GetAttr implements fuse.RawFileSystem.
func (f *FS) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[in.NodeId]
	if n == nil {
		return status(syscall.ESTALE)
	}
	f.fillAttrLocked(n.entry, &out.Attr)
	if n.reader != nil {
		out.Size = n.reader.size()
	}
	if file, ok := n.entry.(*file); ok && file.endpoint != nil && file.endpoint.stream && n.opens > 0 {
		// It cannot seek, and reads to the end whatever the size: wc(1) takes one
		// for the number of bytes to come.
		out.Size, out.Blocks = 0, 0
	}
	if file, ok := n.entry.(*file); ok && file.isListing() && in.Flags()&fuse.FUSE_GETATTR_FH != 0 {
		// Only lseek(2) asks for an open file (fuse_lseek, fs/fuse/file.c). tail(1) goes
		// to the end and looks for the last lines before it: a listing is longer than
		// what it shows, and its end is not known.
		out.Size, out.Blocks = 0, 0
	}
	switch n.entry.(type) {
	case *staticDir, *kindDir:
		out.SetTimeout(cacheTime)
	}
	return fuse.OK
}

// SetAttr implements fuse.RawFileSystem. A new size is ignored, but for memory: the
// shell's > must not purge a queue. So are new times: those shown say when something
// happened.
func (f *FS) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	outcome := f.setAttr(in, out)
	if f.tracing() {
		f.noteSize(in, syscall.Errno(outcome))
	}
	return outcome
}

func (f *FS) setAttr(in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	o, errno := f.memoryToChange(in)
	if errno == 0 && o != nil {
		errno = f.setMemory(o, in)
	}
	if errno != 0 {
		return status(errno)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[in.NodeId]
	if n == nil {
		return status(syscall.ESTALE)
	}
	if errno := mayChange(n.entry, in); errno != 0 {
		return status(errno)
	}
	i := n.entry.base()
	if d, ok := n.entry.(*objectDir); ok && d.object.flat {
		i = d.object.file.base() // NAME.d is owned like NAME
	}
	if mode, ok := in.GetMode(); ok {
		i.chmodLocked(mode)
		if o := objectOf(n.entry); o != nil {
			o.reachLocked()
		}
	}
	if o := objectOf(n.entry); o != nil {
		o.chownLocked(in)
	} else {
		i.chownLocked(in)
	}
	f.fillAttrLocked(n.entry, &out.Attr)
	return fuse.OK
}

// memoryToChange is the segment whose memory is concerned, nil if it is none.
func (f *FS) memoryToChange(in *fuse.SetAttrIn) (*object, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[in.NodeId]
	if n == nil {
		return nil, syscall.ESTALE
	}
	e, ok := n.entry.(*file)
	if !ok || !e.isMemory() {
		return nil, 0
	}
	return e.object, mayChange(e, in)
}

// Create implements fuse.RawFileSystem: open(2) with O_CREAT of a name that was not
// there makes a flat object.
func (f *FS) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return f.noteName(in.NodeId, name, in.Caller, "create", f.create(in, name, out))
}

func (f *FS) create(in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	unused, errno := f.createNamed(in, name, out)
	if errno != 0 {
		f.destroy(unused)
		return status(errno)
	}
	f.beginNew(in, out)
	return fuse.OK
}

// createNamed makes a flat object called name and opens it. If that fails there is no
// such object; the result is to be destroyed.
func (f *FS) createNamed(in *fuse.CreateIn, name string, out *fuse.CreateOut) (unused *object, errno syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, errno := f.kindDirAtLocked(in.NodeId)
	var o *object
	if errno == 0 {
		o, errno = f.addObjectLocked(d, name, true, in.Mode, in.Owner)
	}
	if in.Flags&syscall.O_EXCL == 0 && (errno == syscall.EEXIST || errno == 0 && o.file.opening() != objects.Open) {
		// Look it up again and open it. The kernel holds the directory's lock
		// during CREATE, so an open that may wait cannot be one: open(2) with
		// O_EXCL, which has no second try, does not wait.
		errno = syscall.ESTALE
	}
	if errno != 0 {
		return nil, errno
	}
	if errno := f.openNewLocked(o, in, out); errno != 0 {
		return f.unnameLocked(o, name), errno
	}
	return nil, 0
}

// openNewLocked makes the handle of an open(2) that has made o. FS.mu is held.
func (f *FS) openNewLocked(o *object, in *fuse.CreateIn, out *fuse.CreateOut) syscall.Errno {
	cost := openCost(o.file, nil)
	if errno := f.ledger.keep(in.Uid, amounts{Kept: cost}); errno != 0 {
		return errno
	}
	n := f.fillEntryLocked(o.file, in.Pid, &out.EntryOut)
	h, flags := f.newHandleLocked(o.file, n, in.Flags)
	h.opener.Caller, h.cost = callerOf(in.Caller), cost
	if o.file.isMemory() {
		if errno := f.attachLocked(h, &flags); errno != 0 {
			f.dropHandleLocked(h)
			f.forgetLocked(n.id, 1)
			return errno
		}
	}
	out.Fh, out.OpenFlags, out.BackingID = h.fh, flags, h.backing
	return 0
}

// beginNew tells the object of the handle that openNewLocked has made.
func (f *FS) beginNew(in *fuse.CreateIn, out *fuse.CreateOut) {
	h := f.handleFor(out.Fh)
	k := &call{fs: f, object: h.file.object, handle: h, silent: true, openFlags: out.OpenFlags}
	k.Op, k.Handle, k.Caller = objects.Open, &h.Handle, callerOf(in.Caller)
	k.named(in.Pid)
	f.submit(k)
	out.OpenFlags = k.openFlags
	f.publishHandle(h)
}

// Mknod implements fuse.RawFileSystem: a regular file is a flat object, a FIFO or a
// socket is the kernel's own.
func (f *FS) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return f.noteName(in.NodeId, name, in.Caller, "create", f.make(in.NodeId, name, true, in.Mode, in.Caller, out))
}

// Mkdir implements fuse.RawFileSystem: an object as a directory of its endpoints.
func (f *FS) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return f.noteName(in.NodeId, name, in.Caller, "create", f.make(in.NodeId, name, false, in.Mode, in.Caller, out))
}

func (f *FS) make(parent uint64, name string, flat bool, mode uint32, c fuse.Caller, out *fuse.EntryOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, errno := f.kindDirAtLocked(parent)
	if errno != 0 {
		return status(errno)
	}
	add := f.addObjectLocked
	if flat && mode&syscall.S_IFMT != syscall.S_IFREG {
		add = f.addKernelNodeLocked
	}
	o, errno := add(d, name, flat, mode, c.Owner)
	if errno != 0 {
		return status(errno)
	}
	f.fillEntryLocked(o.entry(), c.Pid, out)
	return fuse.OK
}

// Unlink implements fuse.RawFileSystem: rm destroys a flat object, whatever it
// holds and whoever waits.
func (f *FS) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return f.noteName(in.NodeId, name, in.Caller, "remove", f.unlink(in, name, true))
}

// Rmdir implements fuse.RawFileSystem: rmdir destroys an empty object that nobody
// waits for.
func (f *FS) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return f.noteName(in.NodeId, name, in.Caller, "remove", f.unlink(in, name, false))
}

func (f *FS) unlink(in *fuse.InHeader, name string, flat bool) fuse.Status {
	if d := f.folderAt(in.NodeId); flat && d != nil && d.folder.remove != nil {
		return status(d.folder.remove(f, d, in.Uid, name))
	}
	o, errno := f.takeOut(in, name, flat)
	for errno == later {
		o.await()
		o, errno = f.takeOut(in, name, flat)
	}
	if errno != 0 {
		return status(errno)
	}
	f.destroy(o)
	return fuse.OK
}

// takeOut removes the name and returns what is to be destroyed. later: it returns what is in
// use now.
func (f *FS) takeOut(in *fuse.InHeader, name string, flat bool) (*object, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, errno := f.kindDirAtLocked(in.NodeId)
	if errno != 0 {
		return nil, errno
	}
	o := d.objects[name]
	switch {
	case o == nil && d.child(name) != nil:
		return nil, syscall.EPERM // NAME.d goes with NAME
	case o == nil:
		return nil, syscall.ENOENT
	case flat && !o.flat:
		return nil, syscall.EISDIR
	case !flat && o.flat:
		return nil, syscall.ENOTDIR
	}
	if errno := d.mayRemoveLocked(in.Uid, o); errno != 0 {
		return nil, errno
	}
	if !flat {
		if errno := o.removable(); errno != 0 {
			return o, errno
		}
	}
	return f.unnameLocked(o, name), 0
}

// removable is 0 if rmdir(2) may destroy o. later: o is in use now, see await.
func (o *object) removable() syscall.Errno {
	if !o.mu.TryLock() {
		return later
	}
	defer o.mu.Unlock()
	return o.impl.Removable()
}

// Rename implements fuse.RawFileSystem. What the new name stood for before is
// destroyed under the rules of rm and rmdir.
func (f *FS) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	if from := f.folderAt(in.NodeId); from != nil {
		return f.noteMember(from, oldName, in.Caller, status(f.moveMember(in, from, oldName, newName)))
	}
	if to := f.folderAt(in.Newdir); to != nil && to.folder.adopt != nil {
		return f.noteName(in.NodeId, oldName, in.Caller, "rename", status(to.folder.adopt(f, in, to, oldName, newName)))
	}
	target, errno := f.rename(in, oldName, newName)
	for errno == later {
		target.await()
		target, errno = f.rename(in, oldName, newName)
	}
	f.noteName(in.NodeId, oldName, in.Caller, "rename", status(errno))
	if errno != 0 {
		return status(errno)
	}
	f.destroy(target)
	return fuse.OK
}

// rename returns what is to be destroyed. later: it returns what is in use now.
func (f *FS) rename(in *fuse.RenameIn, oldName, newName string) (unused *object, errno syscall.Errno) {
	if in.Flags&^(renameNoReplace|renameExchange) != 0 {
		return nil, syscall.EINVAL
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	from, errno := f.dirAtLocked(in.NodeId)
	if errno != 0 {
		return nil, errno
	}
	to, errno := f.dirAtLocked(in.Newdir)
	if errno != 0 {
		return nil, errno
	}
	d, ok := from.(*kindDir)
	if _, isKind := to.(*kindDir); !ok || !isKind {
		return nil, syscall.EPERM
	}
	if from != to {
		// Not EXDEV, rename(2), which makes mv(1) copy and remove: what the object
		// holds would be gone.
		return nil, syscall.EPERM
	}
	o, target := d.objects[oldName], d.objects[newName]
	if o == nil {
		if d.child(oldName) != nil {
			return nil, syscall.EPERM
		}
		return nil, syscall.ENOENT
	}
	if errno := validName(newName); errno != 0 {
		return nil, errno
	}
	for _, leaving := range []*object{o, target} {
		if leaving == nil {
			continue
		}
		if errno := d.mayRemoveLocked(in.Uid, leaving); errno != 0 {
			return nil, errno
		}
	}
	switch {
	case in.Flags&renameExchange != 0:
		if target == nil {
			return nil, syscall.ENOENT
		}
		if target != o {
			o.renameLocked(oldName, newName)
			target.renameLocked(newName, oldName)
		}
		return nil, 0
	case target == o:
		return nil, 0
	case target != nil && in.Flags&renameNoReplace != 0:
		return nil, syscall.EEXIST
	case target != nil && o.flat && !target.flat:
		return nil, syscall.EISDIR
	case target != nil && !o.flat && target.flat:
		return nil, syscall.ENOTDIR
	case target != nil && !target.flat:
		if errno := target.removable(); errno != 0 {
			return target, errno
		}
	}
	if target != nil {
		unused = f.unnameLocked(target, newName)
	}
	delete(d.objects, oldName)
	f.forgetControlsLocked(o, oldName)
	o.renameLocked(oldName, newName)
	d.ctime = time.Now()
	return unused, 0
}

// Link implements fuse.RawFileSystem: another name for a flat segment, as sem_open(3)
// makes it. link(2): EPERM, not supported here: one name for everything else.
func (f *FS) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, errno := f.kindDirAtLocked(in.NodeId)
	if errno != 0 {
		return status(errno)
	}
	n := f.nodes[in.Oldnodeid]
	if n == nil {
		return status(syscall.ESTALE)
	}
	e, ok := n.entry.(*file)
	switch {
	case !ok, e.object == nil, !e.object.outlivesName(), e.object.kind != d:
		return fuse.EPERM
	case !f.mayLinkLocked(e, in.Caller):
		return fuse.EPERM
	}
	if errno := validName(name); errno != 0 {
		return status(errno)
	}
	if d.child(name) != nil {
		return status(syscall.EEXIST)
	}
	o := e.object
	if o.listed != 0 {
		if errno := f.ledger.keep(in.Uid, amounts{Kept: linkCost}); errno != 0 {
			return status(errno)
		}
	}
	o.addNameLocked(name, in.Uid)
	e.ctime = d.ctime
	if e.gone { // O_TMPFILE, open(2)
		e.gone, o.dir.gone = false, false
	}
	f.fillEntryLocked(e, in.Pid, out)
	return fuse.OK
}

// Tmpfile implements fuse.RawFileSystem: open(2) with O_TMPFILE makes a segment that
// has no name until link(2) gives it one. EOPNOTSUPP for everything else.
func (f *FS) Tmpfile(_ <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	unused, errno := f.createNameless(in, out)
	if errno != 0 {
		f.destroy(unused)
		return status(errno)
	}
	f.beginNew(in, out)
	return fuse.OK
}

// createNameless makes a segment without a name and opens it. It returns what is to be
// destroyed if that fails.
func (f *FS) createNameless(in *fuse.CreateIn, out *fuse.CreateOut) (unused *object, errno syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, errno := f.kindDirAtLocked(in.NodeId)
	if errno == 0 && !d.p.links {
		errno = syscall.EOPNOTSUPP
	}
	if errno != 0 {
		return nil, errno
	}
	o, errno := f.newObjectLocked(d, true, in.Mode, in.Owner)
	if errno != 0 {
		return nil, errno
	}
	f.detachLocked(o)
	return o, f.openNewLocked(o, in, out)
}

// Symlink implements fuse.RawFileSystem: symlink(2): EPERM, not supported here.
func (f *FS) Symlink(<-chan struct{}, *fuse.InHeader, string, string, *fuse.EntryOut) fuse.Status {
	return fuse.EPERM
}

// Release implements fuse.RawFileSystem: the last copy of a descriptor was closed.
func (f *FS) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if h := f.handleFor(in.Fh); h != nil {
		f.unlock(h, in)
		if h.lastWriter() != nil {
			f.conn.Yield() // the end of a long message is its sending: somebody may wait for its envelope
		}
		if h.uncertain() {
			go func() {
				h.learn()
				f.close(h)
			}()
			return
		}
		f.close(h)
	}
}

// Fsync implements fuse.RawFileSystem: nothing is kept anywhere but in memory.
func (f *FS) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }

// FsyncDir implements fuse.RawFileSystem.
func (f *FS) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }

// Ioctl implements fuse.RawFileSystem: ioctl(2): ENOTTY, nothing here is a terminal.
func (f *FS) Ioctl(<-chan struct{}, *fuse.IoctlIn, []byte, *fuse.IoctlOut, []byte) fuse.Status {
	return status(syscall.ENOTTY)
}

// CopyFileRange implements fuse.RawFileSystem. EINVAL makes cp(1) read and write
// instead: the kernel's own copy would run on into the next message. EOPNOTSUPP makes
// the kernel copy, which is right between segments.
func (f *FS) CopyFileRange(_ <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	from, to := f.handleFor(in.FhIn), f.handleFor(in.FhOut)
	if from != nil && to != nil && from.file.isMemory() && to.file.isMemory() {
		return 0, status(syscall.EOPNOTSUPP)
	}
	return 0, fuse.EINVAL
}

// StatFs implements fuse.RawFileSystem: df shows the mount's limits and their use,
// df -i the objects.
func (f *FS) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	limits, used := f.ledger.limits(), f.ledger.total()
	out.Bsize, out.Frsize, out.NameLen = blockSize, blockSize, maxName
	out.Blocks = uint64(limits.Bytes) / blockSize
	out.Bfree = out.Blocks - min((uint64(used.Bytes)+blockSize-1)/blockSize, out.Blocks)
	out.Bavail = out.Bfree
	out.Files = uint64(limits.Objects)
	out.Ffree = out.Files - min(uint64(used.Objects), out.Files)
	return fuse.OK
}

// trimValue is what was written to a control file without the white space around it.
func trimValue(data []byte) string { return strings.TrimSpace(string(data)) }
