package fs

import (
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// controlSuffix makes the name of a flat object's control directory.
const controlSuffix = ".d"

// maxName is the longest name of an object in bytes: NAME_MAX, limits.h.
const maxName = 255

// An object is one IPC object with its place in the tree.
type object struct {
	// Guarded by FS.mu.
	kind  *kindDir
	name  string
	ino   uint64
	flat  bool
	dir   *objectDir
	file  *file // of a flat object
	files []*file

	mu     sync.Mutex // guards what follows, and serialises calls on impl
	impl   objects.Object
	polled []*handle // handles that poll(2) was asked about
}

// cancel implements parking.
func (o *object) cancel(now objects.Time, r *objects.Request) objects.Finished {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.impl.Cancel(now, r, syscall.EINTR)
}

func (o *object) held() objects.Held {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.impl.Held()
}

// entry is what the object's name stands for.
func (o *object) entry() entry {
	if o.flat {
		return o.file
	}
	return o.dir
}

// path is the object's place below the mountpoint. FS.mu is held.
func (o *object) path() string { return o.kind.p.dir + "/" + o.name }

// The flat file and the directory come first among an object's inode numbers.
func (o *object) fileIno(i int) uint64 { return o.ino + 2 + uint64(i) }

// fileFor returns the object's i-th endpoint or control file. They are made when
// they are first asked for: most objects are used through a few of them.
func (o *object) fileFor(s *spec, i int) *file {
	if o.files == nil {
		o.files = make([]*file, len(o.kind.p.files))
	}
	if o.files[i] == nil {
		owner := o.entry().base()
		o.files[i] = &file{
			inode:  inode{ino: o.fileIno(i), mode: fuse.S_IFREG | s.mode, uid: owner.uid, gid: owner.gid, ctime: o.dir.ctime},
			object: o,
			spec:   s,
		}
	}
	return o.files[i]
}

// validName is 0 if an object may be called name.
func validName(name string) syscall.Errno {
	switch {
	case len(name) > maxName:
		return syscall.ENAMETOOLONG
	case strings.HasSuffix(name, controlSuffix), !utf8.ValidString(name), strings.ContainsFunc(name, unicode.IsControl):
		return syscall.EINVAL
	}
	return 0
}

// add makes an object in d. FS.mu is held.
func (f *FS) add(d *kindDir, name string, flat bool, mode uint32, owner fuse.Owner) (*object, syscall.Errno) {
	if errno := validName(name); errno != 0 {
		return nil, errno
	}
	if d.child(name) != nil {
		return nil, syscall.EEXIST
	}
	if f.down {
		return nil, syscall.EROFS
	}
	if errno := f.ledger.addObject(); errno != 0 {
		return nil, errno
	}
	now := time.Now()
	f.lastIno += inosPerObject
	o := &object{kind: d, name: name, ino: f.lastIno, flat: flat, impl: objects.KindNamed(d.p.kind).New(f.ledger)}
	in := inode{ino: o.ino + 1, mode: fuse.S_IFDIR | mode&0o7777, uid: owner.Uid, gid: owner.Gid, ctime: now}
	o.dir = &objectDir{inode: in, object: o}
	if flat {
		in.ino, in.mode = o.ino, fuse.S_IFREG|mode&0o7777
		o.file = &file{inode: in, object: o, spec: &d.p.flat}
	}
	d.objects[name] = o
	d.ctime = now
	return o, 0
}

// remove takes o out of the tree; the caller destroys it. FS.mu is held.
func (f *FS) remove(o *object) {
	delete(o.kind.objects, o.name)
	o.kind.ctime = time.Now()
	o.dir.gone = true
	if o.file != nil {
		o.file.gone = true
	}
	for _, file := range o.files {
		if file != nil {
			file.gone = true
		}
	}
	f.ledger.removeObject()
}

// destroy ends o, which has left the tree: its waiters get EIDRM.
func (f *FS) destroy(o *object) {
	o.mu.Lock()
	done := o.impl.Destroy(f.now())
	wake := o.woken()
	o.mu.Unlock()
	f.finish(done)
	f.wake(wake)
}
