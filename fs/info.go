package fs

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"syscall"
	"time"

	"ipcfs/objects"
	"ipcfs/objects/filelock"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// infoName is what it is called.
const infoName = ".ipcfs"

// infoDir makes .ipcfs, which shows the mount as a whole.
func (f *FS) infoDir(now time.Time) *staticDir {
	d := newStaticDir(infoIno, 0o755, f.cfg, now)
	for i, s := range []fileSpec{
		{"version", 0o444, &control{show: func(f *FS, _ *object) []byte { return []byte("ipcfs " + f.cfg.Version + "\n") }}},
		{"objects", 0o444, &listing{(*FS).objectLines}},
		{"waiters", 0o444, &listing{(*FS).waiterLines}},
		{"owners", 0o444, &listing{(*FS).ownerLines}},
		{"stat", 0o444, &control{show: func(f *FS, _ *object) []byte { return f.showMountStat() }}},
		{"metrics", 0o444, &listing{(*FS).metricLines}},
		{"limits", 0o644, &control{show: func(f *FS, _ *object) []byte { return f.showLimits() }, set: setLimits}},
	} {
		d.add(s.name, s.file(inode{ino: firstInfoIno + uint64(i), mode: fuse.S_IFREG | s.mode, uid: d.uid, gid: d.gid, ctime: now}, nil))
	}
	d.add("trace", f.newTraceFile(firstInfoIno+uint64(len(d.names)), d, now))
	return d
}

// KindIn returns the name of the kind whose objects are in the directory dir of a
// mount, "" if there is none.
func KindIn(dir string) string {
	for _, p := range registered {
		if p.dir == dir {
			return p.kind
		}
	}
	return ""
}

// objectLines gives a line for each object: path, shape, mode, uid, gid, messages,
// bytes and requests waiting, then its policies as NAME=VALUE.
func (f *FS) objectLines(_ *object, who *identity) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for o := range f.allObjects(who) {
			i, shape := f.shapeOf(o.object)
			held, waiting, policies := o.summary(shape)
			if !yield(fmt.Appendf(nil, "%s %s %04o %d %d %d %d %d%s\n", escapeSpace(o.path), shape, i.mode&0o7777, i.uid, i.gid,
				held.Messages, held.Bytes, waiting, policies)) {
				return
			}
		}
	}
}

// shapeOf returns the attributes of o, and the word for what it is.
func (f *FS) shapeOf(o *object) (i inode, shape string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, shape = *o.entry().base(), "directory"
	if o.flat {
		shape = "flat"
	}
	switch i.mode & syscall.S_IFMT {
	case syscall.S_IFIFO:
		shape = "fifo"
	case syscall.S_IFSOCK:
		shape = "socket"
	}
	return i, shape
}

// summary returns what o holds, how many requests wait, and its policies as NAME=VALUE.
func (o *object) summary(shape string) (held objects.Held, waiting int, policies []byte) {
	var names []string
	if shape == "flat" || shape == "directory" {
		names = objects.KindNamed(o.kind.p.kind).PolicyNames()
	}
	held, waiting, values := o.values(names)
	for i, name := range names {
		policies = fmt.Appendf(policies, " %s=%s", name, escapeSpace(values[i]))
	}
	return held, waiting, policies
}

// values returns what o holds, how many requests wait, and the values of its policies of those names.
func (o *object) values(names []string) (held objects.Held, waiting int, values []string) {
	o.lock()
	defer o.mu.Unlock()
	for range o.impl.Waiters() {
		waiting++
	}
	for _, name := range names {
		values = append(values, o.impl.Policy(name))
	}
	return o.impl.Held(), waiting, values
}

// waiterLines gives a line for each request that waits anywhere: the object's
// path, then the fields of the object's own waiters file. Those who wait for a lock
// of flock(2) or fcntl(2) follow, with the path of the file, and at the end of the
// line what they want: type, first and last byte, and for whom: a number that is the
// same for locks that do not exclude each other.
func (f *FS) waiterLines(_ *object, who *identity) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for o := range f.allObjects(who) {
			for w := range f.waiters(o.object) {
				if !yield(fmt.Appendf(nil, "%s %s\n", escapeSpace(o.path), w.line(f.now()))) {
					return
				}
			}
		}
		for w := range f.waiters(&f.trace.object) {
			if !yield(fmt.Appendf(nil, "%s/trace %s\n", infoName, w.line(f.now()))) {
				return
			}
		}
		for l := range f.lockedFiles(who) {
			for lock := range l.table.wanted() {
				if !yield(l.line(lock, f.now())) {
					return
				}
			}
		}
	}
}

// ownerLines gives a line for each unit of a semaphore and each lock that is held
// anywhere: path, pid, uid, command, operation, seconds held, and of file locks what
// waiterLines gives.
func (f *FS) ownerLines(_ *object, who *identity) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for o := range f.allObjects(who) {
			for owner := range f.owners(o.object) {
				pid, command := process(owner.Caller.Pid)
				if !yield(fmt.Appendf(nil, "%s %d %d %s %s %.1f\n", escapeSpace(o.path), pid, owner.Caller.Uid, command, objects.Hold,
					float64(f.now()-owner.Since)/1e9)) {
					return
				}
			}
		}
		for l := range f.lockedFiles(who) {
			for lock := range l.table.held() {
				if !yield(l.line(lock, f.now())) {
					return
				}
			}
		}
	}
}

// A lockedFile is one table of locks with the path of its file.
type lockedFile struct {
	path  string
	op    string // the system call by which its locks are taken
	table *lockTable
}

// lockedFiles yields the tables of locks that have been used, of what who may see.
func (f *FS) lockedFiles(who *identity) iter.Seq[lockedFile] {
	return func(yield func(lockedFile) bool) {
		for o := range f.allObjects(who) {
			for _, l := range f.lockedFilesOf(o) {
				if !yield(l) {
					return
				}
			}
		}
		info := f.root.children[infoName].(*staticDir) // which does not change
		for _, name := range info.names {
			for _, l := range lockTables(nil, infoName+"/"+name, info.children[name].(*file)) {
				if !yield(l) {
					return
				}
			}
		}
	}
}

// lockedFilesOf lists those among o's files.
func (f *FS) lockedFilesOf(o placed) []lockedFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := lockTables(nil, o.path, o.file)
	control := o.path
	if o.flat {
		control += controlSuffix
	}
	for _, e := range o.files {
		if e != nil {
			l = lockTables(l, control+"/"+e.spec.name, e)
		}
	}
	for _, d := range o.folders {
		if d == nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(d.members)) {
			l = lockTables(l, control+"/"+d.folder.name+"/"+name, d.members[name])
		}
	}
	return l
}

// lockTables adds the tables of e, which may be nil, to l.
func lockTables(l []lockedFile, path string, e *file) []lockedFile {
	if e == nil {
		return l
	}
	if locks := e.locks.Load(); locks != nil {
		l = append(l, lockedFile{path, "flock", &locks.flock}, lockedFile{path, "fcntl", &locks.posix})
	}
	return l
}

// line tells of one lock of l's file.
func (l lockedFile) line(lock filelock.Lock, now objects.Time) []byte {
	pid, command := process(lock.Pid)
	end := "max"
	if lock.End < math.MaxInt64 { // the kernel's OFFSET_MAX
		end = strconv.FormatUint(lock.End, 10)
	}
	return fmt.Appendf(nil, "%s %d %d %s %s %.1f %s %d %s %x\n", escapeSpace(l.path), pid, lock.Uid, command, l.op,
		float64(now-lock.Since)/1e9, lock.Type, lock.Start, end, lock.Owner)
}

// sizes counts what the kernel knows of the mount.
func (f *FS) sizes() (nodes, handles int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handlesMu.RLock()
	defer f.handlesMu.RUnlock()
	return len(f.nodes), len(f.handles)
}

// showMountStat counts what the daemon holds, and what it was asked.
func (f *FS) showMountStat() []byte {
	nodes, handles := f.sizes()
	used := f.ledger.total()
	passthrough := 0
	if passes, _ := f.store.passes(f); passes {
		passthrough = 1
	}
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}} // without stopping the world
	metrics.Read(heap)
	var b []byte
	for _, c := range []struct {
		name  string
		value int64
	}{
		{"objects", used.Objects},
		{"messages", used.Messages},
		{"bytes", used.Bytes},
		{"kept", used.kept()},
		{"looked_up", used.Known},
		{"parked", int64(f.conn.Waiting())},
		{"handles", int64(handles)},
		{"nodes", int64(nodes)},
		{"goroutines", int64(runtime.NumGoroutine())},
		{"passthrough", int64(passthrough)},
		{"heap_bytes", int64(heap[0].Value.Uint64())},
		{"requests", f.conn.Requests()},
	} {
		b = fmt.Appendf(b, "%s %d\n", c.name, c.value)
	}
	return b
}
