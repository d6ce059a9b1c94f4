package fs

import (
	"hash/fnv"
	"io"
	"iter"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A folder is a directory among an object's files. Its members are files that are not
// made: each name that makes sense is there when somebody asks for it.
type folder struct {
	name string
	mode uint32 // permissions of a new one

	// own gives each member an owner and a mode of its own, for good. Otherwise members
	// have their folder's, so that sharing them is a chmod of it, and are forgotten
	// when the kernel forgets them.
	own bool

	// member is nil if there is none of that name. No lock is held.
	member func(o *object, name string) *fileSpec

	// The names to show, each once: those that are fixed, or what list yields of o behind that
	// place, with the places. unique says that it yields no name twice. No lock is held.
	names  []string
	list   func(o *object, after uint64) iter.Seq2[uint64, string]
	unique bool

	// What unlink(2) and rename(2) of a member do, in the name of uid; EPERM if they are
	// nil. to has the same folder in another object, or is d. No lock is held.
	remove func(f *FS, d *folderDir, uid uint32, name string) syscall.Errno
	move   func(f *FS, d, to *folderDir, who *identity, name string) syscall.Errno

	// What rename(2) does between d and a directory of objects, with the names there;
	// EPERM if they are nil. No lock is held.
	leave func(f *FS, in *fuse.RenameIn, d *folderDir, name, newName string) syscall.Errno
	adopt func(f *FS, in *fuse.RenameIn, d *folderDir, name, newName string) syscall.Errno
}

// A folderDir is the folder of one object.
type folderDir struct {
	inode
	object  *object
	folder  *folder
	members map[string]*file
}

// folderForLocked returns the object's i-th folder, which is made when it is first asked for.
// FS.mu is held.
func (o *object) folderForLocked(i int) *folderDir {
	p := o.kind.p
	if o.folders == nil {
		o.folders = make([]*folderDir, len(p.folders))
	}
	if o.folders[i] == nil {
		owner := o.entry().base()
		o.folders[i] = &folderDir{
			inode: inode{ino: o.fileIno(len(p.files) + i), mode: fuse.S_IFDIR | p.folders[i].mode,
				uid: owner.uid, gid: owner.gid, ctime: o.dir.ctime, gone: o.dir.gone},
			object:  o,
			folder:  &p.folders[i],
			members: make(map[string]*file),
		}
		o.folders[i].asked = p.folders[i].mode
		o.folders[i].withinLocked(o.accessLocked())
	}
	return o.folders[i]
}

func (d *folderDir) attr(out *fuse.Attr) { setTimes(out, d.object.held()) }

// lookupMember is lookup for a name in the folder d.
func (f *FS) lookupMember(d *folderDir, in *fuse.InHeader, name string, out *fuse.EntryOut) syscall.Errno {
	s := d.folder.member(d.object, name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if d.gone {
		return syscall.EIDRM // as in lookup
	}
	e := d.memberLocked(name, s)
	if e == nil {
		return syscall.ENOENT
	}
	return f.bookNodeLocked(f.fillEntryLocked(e, in.Pid, out), in.Uid)
}

// memberLocked is the file called name, which s describes; nil: it is there no more.
func (d *folderDir) memberLocked(name string, s *fileSpec) *file {
	e := d.members[name]
	switch {
	case s == nil && e != nil:
		e.gone = true
		return nil
	case s == nil, e != nil:
		return e
	}
	s.name = name
	e = s.file(inode{ino: d.memberIno(name), mode: fuse.S_IFREG | s.mode, uid: d.uid, gid: d.gid, ctime: d.ctime, gone: d.gone}, d.object)
	e.folder = d
	d.members[name] = e
	if d.folder.own {
		e.asked = s.mode
		e.withinLocked(d.object.accessLocked())
	}
	return e
}

func (d *folderDir) list(after uint64) iter.Seq2[uint64, fuse.DirEntry] {
	return func(yield func(uint64, fuse.DirEntry) bool) {
		for i := int(after); i < len(d.folder.names); i++ {
			if !yield(uint64(i)+1, d.entryOf(d.folder.names[i])) {
				return
			}
		}
	}
}

// entryOf lists the member called name.
func (d *folderDir) entryOf(name string) fuse.DirEntry {
	return fuse.DirEntry{Name: name, Ino: d.memberIno(name), Mode: fuse.S_IFREG}
}

// listed yields what is to be listed behind that place. seen remembers where each name came first; if
// it cannot, that is the end, and errno says why. FS.mu is not held.
func (d *folderDir) listed(after uint64, seen *openDir, errno *syscall.Errno) iter.Seq2[uint64, fuse.DirEntry] {
	return func(yield func(uint64, fuse.DirEntry) bool) {
		for place, name := range d.folder.list(d.object, after) {
			if name == "" {
				continue
			}
			if !d.folder.unique {
				var first bool
				if first, *errno = seen.first(name, place); *errno != 0 {
					return
				}
				if !first {
					continue
				}
			}
			if !yield(place, d.entryOf(name)) {
				return
			}
		}
	}
}

// memberIno is the inode number of the member called name, which is the same whenever
// somebody asks. Members have a range of their own, large enough to leave it to a hash.
func (d *folderDir) memberIno(name string) uint64 {
	const firstMemberIno = 1 << 62
	h := fnv.New64a()
	for shift := 0; shift < 64; shift += 8 {
		_, _ = h.Write([]byte{byte(d.ino >> shift)})
	}
	_, _ = io.WriteString(h, name)
	return firstMemberIno | h.Sum64()>>2
}

// borrowed reports whether e's owner and mode are its folder's.
func (e *file) borrowed() bool { return e.folder != nil && !e.folder.folder.own }

// borrow shows the folder's owner and mode as e's, as far as they make sense for it.
func (e *file) borrow(out *fuse.Attr) {
	out.Uid, out.Gid = e.folder.uid, e.folder.gid
	out.Mode = fuse.S_IFREG | e.folder.mode&e.spec.mode
}

// forgottenLocked is called when the kernel has forgotten the last node of e.
func (e *file) forgottenLocked() {
	if e.borrowed() && e.folder.members[e.spec.name] == e {
		delete(e.folder.members, e.spec.name)
	}
	if e.asMadeLocked() {
		e.object.files[e.ino-e.object.fileIno(0)] = nil
	}
}

// asMadeLocked reports whether nothing would be lost of e, a file of an object, if it was made
// anew when somebody asks for it again. FS.mu is held.
func (e *file) asMadeLocked() bool {
	o := e.object
	if o == nil || o.dir == nil || e == o.file || e.folder != nil || e.gone || e.isMemory() || e.locks.Load() != nil {
		return false
	}
	owner := o.entry().base()
	return e.asked == e.spec.mode && e.uid == owner.uid && e.gid == owner.gid && e.ctime.Equal(o.dir.ctime) &&
		len(e.claims) == 0 && len(e.gates) == 0
}

// mayChange is 0 if what in asks for can be changed of e. EPERM: it is its folder's.
func mayChange(e entry, in *fuse.SetAttrIn) syscall.Errno {
	const owned = fuse.FATTR_MODE | fuse.FATTR_UID | fuse.FATTR_GID
	if e, ok := e.(*file); ok && e.borrowed() && in.Valid&owned != 0 {
		return syscall.EPERM
	}
	return 0
}

// folderAt returns the folder that node id is, nil if it is none.
func (f *FS) folderAt(id uint64) *folderDir {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.nodes[id]; n != nil {
		d, _ := n.entry.(*folderDir)
		return d
	}
	return nil
}

// left notes that the member of d called name is there no more.
func (f *FS) left(d *folderDir, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := d.members[name]; e != nil {
		e.gone = true
		delete(d.members, name)
	}
	d.ctime = time.Now()
}

// moveMember is the rename(2) of a member of from. What cannot be is EPERM and never
// EXDEV, which makes mv(1) copy and remove: the message would be gone.
func (f *FS) moveMember(in *fuse.RenameIn, from *folderDir, name, newName string) syscall.Errno {
	to := f.folderAt(in.Newdir)
	switch {
	case in.Flags&^renameNoReplace != 0:
		return syscall.EINVAL
	case to == nil && from.folder.leave != nil:
		return from.folder.leave(f, in, from, name, newName)
	case from.folder.move == nil, to == nil, to.folder != from.folder:
		return syscall.EPERM
	}
	return from.folder.move(f, from, to, f.identityOf(in.Caller), name)
}
