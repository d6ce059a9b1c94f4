package fs

import (
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

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
	kind      *kindDir
	name      string
	number    uint64 // of that name among its directory's
	listed    uint64 // the object's own place in listings, which a rename leaves as it is
	links     links  // further names
	uid       uint32 // who made it; it is booked on them for as long as it lives
	ino       uint64
	flat      bool
	dir       *objectDir
	file      *file // of a flat object
	files     []*file
	folders   []*folderDir
	destroyed bool   // destroy is called for it, or was
	chowns    uint64 // how often it was given to another user

	fs   *FS
	last snapshot // what it held after the last call

	mu      sync.Mutex // guards what follows, and serialises calls on impl
	impl    objects.Object
	fresh   func() objects.Object // makes an empty one of its kind
	broken  bool                  // impl stands for one that has panicked: EIO for whoever uses it
	pollers *pollers              // nil until poll(2) asks
	clock   *clock                // nil unless something may come due

	atWork atomic.Bool // somebody is alone with the memory that it is

	waits waitTimes
}

// lock locks o.mu. Whoever has the turn to read gives it away before it waits: others'
// requests are not o's.
func (o *object) lock() {
	if o.mu.TryLock() {
		return
	}
	if o.fs != nil && o.fs.conn != nil {
		o.fs.conn.Yield()
	}
	o.mu.Lock() // unlocked by the caller
}

// await returns when nobody uses o. Who holds FS.mu does not wait for an object, for which
// everybody would: it tries, and if o is in use gives FS.mu back, awaits o and begins anew.
func (o *object) await() {
	o.lock()
	defer o.mu.Unlock()
}

// held says what o holds, or held after the last call: nobody waits for o to be told,
// also with FS.mu held. What memory holds it is asked itself.
func (o *object) held() objects.Held {
	if o.kind != nil && o.kind.p.grows {
		return look(o, objects.Object.Held)
	}
	return o.last.load()
}

// A snapshot is what an object held at some time.
type snapshot struct{ messages, bytes, changed, taken atomic.Int64 }

func (s *snapshot) store(h objects.Held) {
	for _, v := range [...]struct {
		to    *atomic.Int64
		value int64
	}{{&s.messages, h.Messages}, {&s.bytes, h.Bytes}, {&s.changed, int64(h.Changed)}, {&s.taken, int64(h.Taken)}} {
		if v.to.Load() != v.value { // what stays is not written
			v.to.Store(v.value)
		}
	}
}

func (s *snapshot) load() objects.Held {
	return objects.Held{Messages: s.messages.Load(), Bytes: s.bytes.Load(),
		Changed: objects.Time(s.changed.Load()), Taken: objects.Time(s.taken.Load())}
}

// lockBoth locks two objects, in the order of their inode numbers, and returns what
// unlocks them.
func lockBoth(a, b *object) (unlock func()) {
	if a.ino > b.ino {
		a, b = b, a
	}
	a.lock()
	b.lock()
	return func() {
		defer a.mu.Unlock()
		b.mu.Unlock()
	}
}

// tryLockBoth is lockBoth if nobody uses them, else it returns one that is in use.
func tryLockBoth(a, b *object) (unlock func(), busy *object) {
	if !a.mu.TryLock() {
		return nil, a
	}
	if !b.mu.TryLock() {
		defer a.mu.Unlock()
		return nil, b
	}
	return func() {
		defer a.mu.Unlock()
		b.mu.Unlock()
	}, nil
}

// entry is what the object's name stands for.
func (o *object) entry() entry {
	if o.flat {
		return o.file
	}
	return o.dir
}

// pathLocked is the object's place below the mountpoint. FS.mu is held.
func (o *object) pathLocked() string { return o.kind.p.dir + "/" + o.name }

// The flat file and the directory come first among an object's inode numbers.
func (o *object) fileIno(i int) uint64 { return o.ino + 2 + uint64(i) }

// fileForLocked returns the object's i-th endpoint or control file. They are made when
// they are first asked for: most objects are used through a few of them.
func (o *object) fileForLocked(s *fileSpec, i int) *file {
	if o.files == nil {
		o.files = make([]*file, len(o.kind.p.files))
	}
	if o.files[i] == nil {
		owner := o.entry().base()
		o.files[i] = s.file(inode{ino: o.fileIno(i), mode: fuse.S_IFREG | s.mode, uid: owner.uid, gid: owner.gid, ctime: o.dir.ctime}, o)
		o.files[i].asked = s.mode
		o.files[i].withinLocked(o.accessLocked())
	}
	return o.files[i]
}

// validName is 0 if an object may be called name.
func validName(name string) syscall.Errno {
	switch {
	case len(name) > maxName:
		return syscall.ENAMETOOLONG
	case strings.HasSuffix(name, controlSuffix), !plain(name):
		return syscall.EINVAL
	}
	return 0
}

// addObjectLocked makes an object in d. FS.mu is held.
func (f *FS) addObjectLocked(d *kindDir, name string, flat bool, mode uint32, owner fuse.Owner) (*object, syscall.Errno) {
	if errno := validName(name); errno != 0 {
		return nil, errno
	}
	if d.child(name) != nil {
		return nil, syscall.EEXIST
	}
	o, errno := f.newObjectLocked(d, flat, mode, owner)
	if errno != 0 {
		return nil, errno
	}
	o.addNameLocked(name, owner.Uid)
	return o, 0
}

// newObjectLocked makes an object for d that has no name yet. FS.mu is held.
func (f *FS) newObjectLocked(d *kindDir, flat bool, mode uint32, owner fuse.Owner) (*object, syscall.Errno) {
	if f.down {
		return nil, syscall.EROFS
	}
	if errno := f.ledger.addObject(owner.Uid); errno != 0 {
		return nil, errno
	}
	now := time.Now()
	f.lastIno += inosPerObject
	o := &object{fs: f, kind: d, uid: owner.Uid, ino: f.lastIno, flat: flat}
	o.fresh = func() objects.Object {
		if d.p.make != nil {
			return d.p.make(f, o.uid)
		}
		return objects.KindNamed(d.p.kind).New(f.ledger)
	}
	o.impl = o.fresh()
	if _, ok := o.impl.(objects.Expirer); ok {
		o.clock = &clock{fs: f, object: o}
	}
	in := inode{ino: o.ino + 1, mode: fuse.S_IFDIR | mode&0o7777, uid: owner.Uid, gid: owner.Gid, ctime: now}
	o.dir = &objectDir{inode: in, object: o}
	if flat {
		in.ino, in.mode = o.ino, fuse.S_IFREG|mode&0o7777
		o.file = d.p.flat.file(in, o)
	}
	return o, 0
}

// outlivesName reports whether o lives on, without a name, for those who use it, as
// unlink(2) leaves a file.
func (o *object) outlivesName() bool { return o.kind.p.links && o.flat }

// addNameLocked gives o the name, which is booked on uid if it is not the first. FS.mu is held.
func (o *object) addNameLocked(name string, uid uint32) {
	d := o.kind
	d.lastNumber++
	d.names.add(d.lastNumber, named{name, o})
	if o.listed == 0 {
		o.name, o.number, o.listed = name, d.lastNumber, d.lastNumber
		d.all.add(o.listed, o)
	} else {
		o.links.add(name, link{d.lastNumber, uid})
	}
	d.objects[name] = o
	d.ctime = time.Now()
}

// renameLocked changes one of o's names. The caller deletes what the old one stands for.
// FS.mu is held.
func (o *object) renameLocked(from, to string) {
	number := o.number
	if o.name == from {
		o.name = to
	} else {
		number = o.links.rename(from, to)
	}
	o.kind.names.set(number, named{to, o})
	o.kind.objects[to] = o
	o.disperseLocked()
}

// disperseLocked is that of all of o's files, whose paths have changed. FS.mu is held.
func (o *object) disperseLocked() {
	if o.file != nil {
		o.file.disperseLocked()
	}
	for _, file := range o.files {
		if file != nil {
			file.disperseLocked()
		}
	}
	for _, folder := range o.folders {
		if folder == nil {
			continue
		}
		for _, file := range folder.members {
			file.disperseLocked()
		}
	}
}

// unnameLocked takes one of o's names away, and with the last o itself out of the tree. It
// returns o if it is to be destroyed then. FS.mu is held.
func (f *FS) unnameLocked(o *object, name string) *object {
	now := time.Now()
	delete(o.kind.objects, name)
	o.kind.ctime = now
	o.entry().base().ctime = now
	if name != o.name {
		o.kind.names.remove(f.unlinkNameLocked(o, name).number)
		return nil
	}
	o.kind.names.remove(o.number)
	if o.links.len() > 0 {
		o.name = o.links.first()
		o.number = f.unlinkNameLocked(o, o.name).number
		return nil
	}
	o.kind.all.remove(o.listed)
	o.listed = 0
	f.forgetControlsLocked(o, name)
	f.forgetFilesLocked(o)
	f.detachLocked(o)
	if o.outlivesName() && o.file.nodes > 0 {
		return nil
	}
	o.destroyed = true
	return o
}

// unlinkNameLocked takes name off the links of o, and off the books. FS.mu is held.
func (f *FS) unlinkNameLocked(o *object, name string) link {
	x := o.links.remove(name)
	f.ledger.adjust(x.uid, amounts{Kept: -linkCost})
	return x
}

// forgetControlsLocked makes the kernel forget the control directory of the flat object o,
// whose name goes: the kernel does not know that the two belong together, and would
// keep what it knows of NAME.d until somebody asks for it again. FS.mu is held.
func (f *FS) forgetControlsLocked(o *object, name string) {
	if o.flat && o.dir.node != nil {
		f.forgetEntryLocked(&o.kind.inode, name+controlSuffix)
	}
}

// detachLocked marks what belongs to o as gone from the tree. FS.mu is held.
func (f *FS) detachLocked(o *object) {
	o.disperseLocked()
	o.dir.gone = true
	if o.file != nil {
		o.file.gone = true
	}
	for _, file := range o.files {
		if file != nil {
			file.gone = true
		}
	}
	for _, folder := range o.folders {
		if folder == nil {
			continue
		}
		folder.gone = true
		for _, file := range folder.members {
			file.gone = true
		}
	}
}

// manyMessages take longer to be let go of than another thread to wake: 1,000 take about
// 200 µs.
const manyMessages = 1000

// destroy ends o, which has left the tree and whose user was the last, and takes it off the
// books. It may be nil.
func (f *FS) destroy(o *object) {
	if o != nil {
		f.ledger.removeObject(o.uid)
		if f.conn != nil && o.held().Messages > manyMessages {
			f.conn.Yield()
		}
		f.endObject(o)
	}
}

// endObject ends what o is: its waiters get EIDRM.
func (f *FS) endObject(o *object) {
	f.withObject(o, func(now objects.Time) objects.Finished {
		o.reviewPollersLocked()
		return o.impl.Destroy(now)
	})
}
