package fs

import (
	"iter"
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
// only their own is seen to by mayRemoveLocked and not by the sticky bit: in a sticky
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

func (d *staticDir) list(after uint64) iter.Seq2[uint64, fuse.DirEntry] {
	return func(yield func(uint64, fuse.DirEntry) bool) {
		for i := after; i < uint64(len(d.names)); i++ {
			if name := d.names[i]; !yield(i+1, dirEntry(name, d.children[name])) {
				return
			}
		}
	}
}

func dirEntry(name string, e entry) fuse.DirEntry {
	return fuse.DirEntry{Name: name, Ino: e.base().ino, Mode: e.base().mode}
}

// makeRoot makes the directories that every mount has.
func (f *FS) makeRoot() {
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

	// What the listings walk, in the order in which names and objects came.
	names      series[named]
	all        series[*object] // that have a name
	lastNumber uint64
}

// A named object is one under one of its names.
type named struct {
	name string
	*object
}

// links are the names that link(2) gave an object beside its first, by their numbers
// among the names of the directory. The zero links are none.
type links struct {
	of    map[string]link
	names series[string]
}

// A link is one of them, which is on the books of uid.
type link struct {
	number uint64
	uid    uint32
}

// linkCost is what a link costs the daemon in bytes: its places in maps and series, and a
// name, which a rename may make as long as names are.
const linkCost = 256 + maxName

func (l *links) len() int { return len(l.of) }

func (l *links) add(name string, x link) {
	if l.of == nil {
		l.of = make(map[string]link)
	}
	l.of[name] = x
	l.names.add(x.number, name)
}

// rename returns the number of the name, which stays.
func (l *links) rename(from, to string) uint64 {
	x := l.of[from]
	delete(l.of, from)
	l.of[to] = x
	l.names.set(x.number, to)
	return x.number
}

// remove returns what the name was.
func (l *links) remove(name string) link {
	x := l.of[name]
	delete(l.of, name)
	l.names.remove(x.number)
	return x
}

// first is the oldest of the names, of which there are some.
func (l *links) first() (name string) {
	for _, name = range l.names.after(0) {
		break
	}
	return name
}

func (d *kindDir) attr(*fuse.Attr) {}

// mayRemoveLocked is 0 if uid may take o's name away. unlink(2), rename(2): EPERM, neither
// the owner of the file nor of the directory, nor privileged. FS.mu is held.
func (d *kindDir) mayRemoveLocked(uid uint32, o *object) syscall.Errno {
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

func (d *kindDir) list(after uint64) iter.Seq2[uint64, fuse.DirEntry] {
	return func(yield func(uint64, fuse.DirEntry) bool) {
		for n, o := range d.names.after(after) {
			if !yield(n, dirEntry(o.name, o.entry())) {
				return
			}
		}
	}
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
		a := o.accessLocked()
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
			return d.object.fileForLocked(s, i)
		}
	}
	for i := range d.object.kind.p.folders {
		if d.object.kind.p.folders[i].name == name {
			return d.object.folderForLocked(i)
		}
	}
	return nil
}

func (d *objectDir) list(after uint64) iter.Seq2[uint64, fuse.DirEntry] {
	p := d.object.kind.p
	return func(yield func(uint64, fuse.DirEntry) bool) {
		for i := int(after); i < len(p.files)+len(p.folders); i++ {
			e := fuse.DirEntry{Ino: d.object.fileIno(i)}
			if i < len(p.files) {
				e.Name, e.Mode = p.files[i].name, fuse.S_IFREG
			} else {
				e.Name, e.Mode = p.folders[i-len(p.files)].name, fuse.S_IFDIR
			}
			if !yield(uint64(i)+1, e) {
				return
			}
		}
	}
}

// setTimes shows the object's own times where it has any.
func setTimes(out *fuse.Attr, h objects.Held) {
	if h.Changed != 0 {
		t := wall.at(h.Changed)
		out.SetTimes(nil, &t, nil)
	}
	if h.Taken != 0 {
		t := wall.at(h.Taken)
		out.SetTimes(&t, nil, nil)
	}
}
