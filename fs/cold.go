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

// dirAt returns the directory that node id is. f.mu is held.
func (f *FS) dirAt(id uint64) (dir, syscall.Errno) {
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

// kindDirAt returns the directory of a kind that node id is: the only ones whose
// names users make and remove. f.mu is held.
func (f *FS) kindDirAt(id uint64) (*kindDir, syscall.Errno) {
	d, errno := f.dirAt(id)
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
	f.mu.Lock()
	defer f.mu.Unlock()
	d, errno := f.dirAt(in.NodeId)
	if errno != 0 {
		return status(errno)
	}
	e := d.child(name)
	if e == nil {
		return fuse.ENOENT
	}
	f.fillEntry(e, in.Pid, out)
	return fuse.OK
}

// GetAttr implements fuse.RawFileSystem.
func (f *FS) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[in.NodeId]
	if n == nil {
		return status(syscall.ESTALE)
	}
	f.fillAttr(n.entry, &out.Attr)
	if n.reader != nil {
		out.Size = n.reader.size()
	}
	switch n.entry.(type) {
	case *staticDir, *kindDir:
		out.SetTimeout(cacheTime)
	}
	return fuse.OK
}

// SetAttr implements fuse.RawFileSystem. A new size is ignored: the shell's > must
// not purge a queue. So are new times: those shown say when something happened.
func (f *FS) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[in.NodeId]
	if n == nil {
		return status(syscall.ESTALE)
	}
	i := n.entry.base()
	if d, ok := n.entry.(*objectDir); ok && d.object.flat {
		i = d.object.file.base() // NAME.d is owned like NAME
	}
	if mode, ok := in.GetMode(); ok {
		i.mode = i.mode&^0o7777 | mode
		i.ctime = time.Now()
	}
	if uid, ok := in.GetUID(); ok {
		i.uid = uid
		i.ctime = time.Now()
	}
	if gid, ok := in.GetGID(); ok {
		i.gid = gid
		i.ctime = time.Now()
	}
	f.fillAttr(n.entry, &out.Attr)
	return fuse.OK
}

// Create implements fuse.RawFileSystem: open(2) with O_CREAT of a name that was not
// there makes a flat object.
func (f *FS) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	f.mu.Lock()
	d, errno := f.kindDirAt(in.NodeId)
	var o *object
	if errno == 0 {
		o, errno = f.add(d, name, true, in.Mode, in.Owner)
	}
	if errno == syscall.EEXIST && in.Flags&syscall.O_EXCL == 0 {
		errno = syscall.ESTALE // look it up again and open it
	}
	if errno != 0 {
		f.mu.Unlock()
		return status(errno)
	}
	n := f.fillEntry(o.file, in.Pid, &out.EntryOut)
	h, flags := f.newHandle(o.file, n, in.Flags)
	f.mu.Unlock()
	k := &call{fs: f, object: o, handle: h, silent: true}
	k.Op, k.Handle, k.Caller = objects.Open, &h.Handle, callerOf(in.Caller)
	f.submit(k)
	out.Fh, out.OpenFlags = h.fh, flags
	return fuse.OK
}

// Mknod implements fuse.RawFileSystem: a regular file is a flat object.
func (f *FS) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if in.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return fuse.EPERM
	}
	return f.make(in.NodeId, name, true, in.Mode, in.Caller, out)
}

// Mkdir implements fuse.RawFileSystem: an object as a directory of its endpoints.
func (f *FS) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return f.make(in.NodeId, name, false, in.Mode, in.Caller, out)
}

func (f *FS) make(parent uint64, name string, flat bool, mode uint32, c fuse.Caller, out *fuse.EntryOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, errno := f.kindDirAt(parent)
	if errno != 0 {
		return status(errno)
	}
	o, errno := f.add(d, name, flat, mode, c.Owner)
	if errno != 0 {
		return status(errno)
	}
	f.fillEntry(o.entry(), c.Pid, out)
	return fuse.OK
}

// Unlink implements fuse.RawFileSystem: rm destroys a flat object, whatever it
// holds and whoever waits.
func (f *FS) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return f.unlink(in.NodeId, name, true)
}

// Rmdir implements fuse.RawFileSystem: rmdir destroys an empty object that nobody
// waits for.
func (f *FS) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return f.unlink(in.NodeId, name, false)
}

func (f *FS) unlink(parent uint64, name string, flat bool) fuse.Status {
	o, errno := f.takeOut(parent, name, flat)
	if errno != 0 {
		return status(errno)
	}
	f.destroy(o)
	return fuse.OK
}

func (f *FS) takeOut(parent uint64, name string, flat bool) (*object, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, errno := f.kindDirAt(parent)
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
	case !flat:
		if errno := o.removable(); errno != 0 {
			return nil, errno
		}
	}
	f.remove(o)
	return o, 0
}

func (o *object) removable() syscall.Errno {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.impl.Removable()
}

// Rename implements fuse.RawFileSystem. What the new name stood for before is
// destroyed under the rules of rm and rmdir.
func (f *FS) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	target, errno := f.rename(in, oldName, newName)
	if errno != 0 {
		return status(errno)
	}
	if target != nil {
		f.destroy(target)
	}
	return fuse.OK
}

func (f *FS) rename(in *fuse.RenameIn, oldName, newName string) (destroyed *object, errno syscall.Errno) {
	if in.Flags&^(renameNoReplace|renameExchange) != 0 {
		return nil, syscall.EINVAL
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	from, errno := f.dirAt(in.NodeId)
	if errno != 0 {
		return nil, errno
	}
	to, errno := f.dirAt(in.Newdir)
	if errno != 0 {
		return nil, errno
	}
	d, ok := from.(*kindDir)
	if _, isKind := to.(*kindDir); !ok || !isKind {
		return nil, syscall.EPERM
	}
	if from != to {
		return nil, syscall.EXDEV
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
	switch {
	case in.Flags&renameExchange != 0:
		if target == nil {
			return nil, syscall.ENOENT
		}
		o.name, target.name = newName, oldName
		d.objects[newName], d.objects[oldName] = o, target
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
			return nil, errno
		}
	}
	if target != nil {
		f.remove(target)
	}
	delete(d.objects, oldName)
	o.name = newName
	d.objects[newName] = o
	d.ctime = time.Now()
	return target, 0
}

// Link implements fuse.RawFileSystem: link(2): EPERM, not supported here.
func (f *FS) Link(<-chan struct{}, *fuse.LinkIn, string, *fuse.EntryOut) fuse.Status {
	return fuse.EPERM
}

// Symlink implements fuse.RawFileSystem: symlink(2): EPERM, not supported here.
func (f *FS) Symlink(<-chan struct{}, *fuse.InHeader, string, string, *fuse.EntryOut) fuse.Status {
	return fuse.EPERM
}

// Release implements fuse.RawFileSystem: the last copy of a descriptor was closed.
func (f *FS) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if h := f.handleFor(in.Fh); h != nil {
		f.unlock(h, in)
		f.close(h)
	}
}

// Fsync implements fuse.RawFileSystem: nothing is kept anywhere but in memory.
func (f *FS) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }

// FsyncDir implements fuse.RawFileSystem.
func (f *FS) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }

// Fallocate implements fuse.RawFileSystem: fallocate(2): ENODEV, not a regular file
// with storage.
func (f *FS) Fallocate(<-chan struct{}, *fuse.FallocateIn) fuse.Status { return fuse.ENODEV }

// Ioctl implements fuse.RawFileSystem: ioctl(2): ENOTTY, nothing here is a terminal.
func (f *FS) Ioctl(<-chan struct{}, *fuse.IoctlIn, []byte, *fuse.IoctlOut, []byte) fuse.Status {
	return status(syscall.ENOTTY)
}

// CopyFileRange implements fuse.RawFileSystem. EINVAL makes cp(1) read and write
// instead: the kernel's own copy would run on into the next message.
func (f *FS) CopyFileRange(<-chan struct{}, *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	return 0, fuse.EINVAL
}

// OpenDir implements fuse.RawFileSystem. The listing is fixed here, so that entries
// that come and go meanwhile make none appear twice or be missed.
func (f *FS) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	f.mu.Lock()
	d, errno := f.dirAt(in.NodeId)
	if errno != 0 {
		f.mu.Unlock()
		return status(errno)
	}
	parent := f.root.ino
	if o, ok := d.(*objectDir); ok {
		parent = o.object.kind.ino
	}
	list := append([]fuse.DirEntry{
		{Name: ".", Ino: d.base().ino, Mode: fuse.S_IFDIR},
		{Name: "..", Ino: parent, Mode: fuse.S_IFDIR},
	}, d.list()...)
	f.mu.Unlock()
	f.handlesMu.Lock()
	defer f.handlesMu.Unlock()
	f.lastFh++
	f.dirs[f.lastFh] = list
	out.Fh = f.lastFh
	return fuse.OK
}

// ReadDir implements fuse.RawFileSystem.
func (f *FS) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	f.handlesMu.RLock()
	list := f.dirs[in.Fh]
	f.handlesMu.RUnlock()
	for i := in.Offset; i < uint64(len(list)); i++ {
		if !out.AddDirEntry(list[i]) {
			break
		}
	}
	return fuse.OK
}

// ReleaseDir implements fuse.RawFileSystem.
func (f *FS) ReleaseDir(in *fuse.ReleaseIn) {
	f.handlesMu.Lock()
	delete(f.dirs, in.Fh)
	f.handlesMu.Unlock()
}

// StatFs implements fuse.RawFileSystem: df shows the mount's limits and their use,
// df -i the objects.
func (f *FS) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	l := f.ledger
	out.Bsize, out.Frsize, out.NameLen = blockSize, blockSize, maxName
	out.Blocks = uint64(l.maxBytes) / blockSize
	used := (uint64(l.bytes.Load()) + blockSize - 1) / blockSize
	out.Bfree = out.Blocks - min(used, out.Blocks)
	out.Bavail = out.Bfree
	out.Files = uint64(l.maxObjects)
	out.Ffree = out.Files - min(uint64(l.objects.Load()), out.Files)
	return fuse.OK
}

// trimValue is what was written to a control file without the white space around it.
func trimValue(data []byte) string { return strings.TrimSpace(string(data)) }
