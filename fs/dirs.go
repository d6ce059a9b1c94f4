package fs

import (
	"slices"
	"strings"
	"syscall"
	"time"

	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Inode numbers. The objects' follow, inosPerObject for each.
const (
	rootIno        = 1
	infoIno        = 2
	firstKindIno   = 16
	firstInfoIno   = 32
	firstObjectIno = 1 << 10
	inosPerObject  = 64
)

// kindDirMode lets everybody make objects, as in /dev/shm and /tmp. That they remove
// only their own is seen to by mayRemove and not by the sticky bit: in a sticky
// directory fs.protected_regular (proc_sys_fs(5)) has the kernel refuse every open with
// O_CREAT of somebody else's file, and the shell's > is one.
const kindDirMode = 0o777

// A staticDir holds what every mount has: the root and .ipcfs.
type staticDir struct {
	inode
	names    []string // in the order in which they are listed
	children map[string]entry
}

func newStaticDir(ino uint64, mode uint32, cfg Config, now time.Time) *staticDir {
	return &staticDir{
		inode:    inode{ino: ino, mode: fuse.S_IFDIR | mode, uid: cfg.Uid, gid: cfg.Gid, ctime: now},
		children: make(map[string]entry),
	}
}

func (d *staticDir) add(name string, e entry) {
	d.names = append(d.names, name)
	d.children[name] = e
}

func (d *staticDir) attr(*fuse.Attr) {}

func (d *staticDir) child(name string) entry {
	if e, ok := d.children[name]; ok {
		return e
	}
	return nil
}

func (d *staticDir) list() []fuse.DirEntry {
	var l []fuse.DirEntry
	for _, name := range d.names {
		l = append(l, dirEntry(name, d.children[name]))
	}
	return l
}

func dirEntry(name string, e entry) fuse.DirEntry {
	return fuse.DirEntry{Name: name, Ino: e.base().ino, Mode: e.base().mode}
}

// plant makes the directories that every mount has.
func (f *FS) plant() {
	now := f.start
	f.root = newStaticDir(rootIno, 0o755, f.cfg, now)
	f.root.node = &node{id: fuse.FUSE_ROOT_ID, entry: f.root, lookups: 1}
	f.nodes[fuse.FUSE_ROOT_ID] = f.root.node
	for i, p := range presentations() {
		d := &kindDir{
			inode:   inode{ino: firstKindIno + uint64(i), mode: fuse.S_IFDIR | kindDirMode, uid: f.cfg.Uid, gid: f.cfg.Gid, ctime: now},
			p:       p,
			objects: make(map[string]*object),
		}
		f.kinds = append(f.kinds, d)
		f.root.add(p.dir, d)
	}
	f.root.add(infoName, f.infoDir(now))
}

// A kindDir holds the objects of one kind.
type kindDir struct {
	inode
	p       *presentation
	objects map[string]*object
}

func (d *kindDir) attr(*fuse.Attr) {}

// mayRemove is 0 if uid may take o's name away. unlink(2), rename(2): EPERM, neither
// the owner of the file nor of the directory, nor privileged. FS.mu is held.
func (d *kindDir) mayRemove(uid uint32, o *object) syscall.Errno {
	if uid != 0 && uid != o.entry().base().uid && uid != d.uid {
		return syscall.EPERM
	}
	return 0
}

// child finds an object, or the control directory NAME.d of the flat object NAME.
func (d *kindDir) child(name string) entry {
	if o, ok := d.objects[name]; ok {
		return o.entry()
	}
	if flat, ok := strings.CutSuffix(name, controlSuffix); ok {
		if o, ok := d.objects[flat]; ok && o.flat && !o.kernel() {
			return o.dir
		}
	}
	return nil
}

func (d *kindDir) list() []fuse.DirEntry {
	l := make([]fuse.DirEntry, 0, len(d.objects))
	for name, o := range d.objects {
		l = append(l, dirEntry(name, o.entry()))
	}
	slices.SortFunc(l, func(a, b fuse.DirEntry) int { return strings.Compare(a.Name, b.Name) })
	return l
}

// An objectDir holds an object's endpoints and control files: the object itself if
// it was made with mkdir, or the unlisted NAME.d of a flat one.
type objectDir struct {
	inode
	object *object
}

func (d *objectDir) attr(out *fuse.Attr) {
	o := d.object
	if o.flat {
		a := o.access()
		out.Uid, out.Gid, out.Mode = a.uid, a.gid, fuse.S_IFDIR|a.mode
	} else {
		held := o.held()
		out.Size = uint64(held.Bytes)
		setTimes(out, held)
	}
}

func (d *objectDir) child(name string) entry {
	for i := range d.object.kind.p.files {
		if s := &d.object.kind.p.files[i]; s.name == name {
			return d.object.fileFor(s, i)
		}
	}
	for i := range d.object.kind.p.folders {
		if d.object.kind.p.folders[i].name == name {
			return d.object.folderFor(i)
		}
	}
	return nil
}

func (d *objectDir) list() []fuse.DirEntry {
	var l []fuse.DirEntry
	for i := range d.object.kind.p.files {
		s := &d.object.kind.p.files[i]
		l = append(l, fuse.DirEntry{Name: s.name, Ino: d.object.fileIno(i), Mode: fuse.S_IFREG})
	}
	for i := range d.object.kind.p.folders {
		ino := d.object.fileIno(len(d.object.kind.p.files) + i)
		l = append(l, fuse.DirEntry{Name: d.object.kind.p.folders[i].name, Ino: ino, Mode: fuse.S_IFDIR})
	}
	return l
}

// setTimes shows the object's own times where it has any.
func setTimes(out *fuse.Attr, h objects.Held) {
	if h.Changed != 0 {
		t := time.Unix(0, int64(h.Changed))
		out.SetTimes(nil, &t, nil)
	}
	if h.Taken != 0 {
		t := time.Unix(0, int64(h.Taken))
		out.SetTimes(&t, nil, nil)
	}
}
