package fs

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// infoName is what it is called.
const infoName = ".ipcfs"

// infoDir makes .ipcfs, which shows the mount as a whole.
func (f *FS) infoDir(now time.Time) *staticDir {
	d := newStaticDir(infoIno, 0o755, f.cfg, now)
	for i, s := range []spec{
		{name: "version", show: func(f *FS, _ *object) []byte { return []byte("ipcfs " + f.cfg.Version + "\n") }},
		{name: "objects", list: (*FS).showObjects},
		{name: "waiters", list: (*FS).showAllWaiters},
		{name: "owners", list: (*FS).showAllOwners},
		{name: "stat", show: func(f *FS, _ *object) []byte { return f.showMountStat() }},
		{name: "metrics", list: (*FS).showMetrics},
		{name: "limits", mode: 0o200, show: func(f *FS, _ *object) []byte { return f.showLimits() }, set: setLimits},
	} {
		d.add(s.name, &file{
			inode: inode{ino: firstInfoIno + uint64(i), mode: fuse.S_IFREG | 0o444 | s.mode, uid: d.uid, gid: d.gid, ctime: now},
			spec:  &s,
		})
	}
	d.add("trace", f.traceFile(firstInfoIno+uint64(len(d.names)), d, now))
	return d
}

// A placed object is one with the path it had when it was listed.
type placed struct {
	*object
	path string
}

// allObjects lists every object that who may see, sorted by path.
func (f *FS) allObjects(who *identity) []placed {
	l := f.placedObjects(who)
	slices.SortFunc(l, func(a, b placed) int { return strings.Compare(a.path, b.path) })
	return l
}

// placedObjects is allObjects in no order.
func (f *FS) placedObjects(who *identity) (l []placed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.kinds {
		for name, o := range d.objects {
			if name == o.name && f.visible(o, who) { // else it is an alias, or hidden
				l = append(l, placed{o, o.path()})
			}
		}
	}
	return l
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

// showObjects gives a line for each object: path, shape, mode, uid, gid, messages,
// bytes and requests waiting, then its policies as NAME=VALUE.
func (f *FS) showObjects(who *identity) []byte {
	var b []byte
	for _, o := range f.allObjects(who) {
		i, shape := f.shapeOf(o.object)
		held, waiting, policies := o.summary(shape)
		b = fmt.Appendf(b, "%s %s %04o %d %d %d %d %d%s\n", escapeSpace(o.path), shape, i.mode&0o7777, i.uid, i.gid,
			held.Messages, held.Bytes, waiting, policies)
	}
	return b
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
	o.mu.Lock()
	defer o.mu.Unlock()
	for range o.impl.Waiters() {
		waiting++
	}
	if shape == "flat" || shape == "directory" {
		for _, name := range objects.KindNamed(o.kind.p.kind).Policies {
			policies = fmt.Appendf(policies, " %s=%s", name, escapeSpace(o.impl.Policy(name)))
		}
	}
	return o.impl.Held(), waiting, policies
}

// showAllWaiters gives a line for each request that waits anywhere: the object's
// path, then the fields of the object's own waiters file. Those who wait for a lock
// of flock(2) or fcntl(2) follow, with the path of the file, and at the end of the
// line what they want: type, first and last byte, and for whom: a number that is the
// same for locks that do not exclude each other.
func (f *FS) showAllWaiters(who *identity) []byte {
	var b []byte
	for _, o := range f.allObjects(who) {
		for _, w := range f.waiters(o.object) {
			b = fmt.Appendf(b, "%s %s\n", escapeSpace(o.path), w)
		}
	}
	for _, w := range f.waiters(&f.trace.object) {
		b = fmt.Appendf(b, "%s/trace %s\n", infoName, w)
	}
	for _, l := range f.lockedFiles(who) {
		b = f.appendLocks(b, l, l.table.wanted())
	}
	return b
}

// showAllOwners gives a line for each unit of a semaphore and each lock that is held
// anywhere: path, pid, uid, command, operation, seconds held, and of file locks what
// showAllWaiters gives.
func (f *FS) showAllOwners(who *identity) []byte {
	var b []byte
	for _, o := range f.allObjects(who) {
		for _, owner := range f.owners(o.object) {
			pid, command := process(owner.Caller.Pid)
			b = fmt.Appendf(b, "%s %d %d %s %s %.1f\n", escapeSpace(o.path), pid, owner.Caller.Uid, command, objects.Hold,
				float64(f.now()-owner.Since)/1e9)
		}
	}
	for _, l := range f.lockedFiles(who) {
		b = f.appendLocks(b, l, l.table.held())
	}
	return b
}

// A lockedFile is one table of locks with the path of its file.
type lockedFile struct {
	path  string
	op    string // the system call by which its locks are taken
	table *lockTable
}

// lockedFiles lists the tables of locks that have been used, of what who may see,
// sorted by path.
func (f *FS) lockedFiles(who *identity) []lockedFile {
	var l []lockedFile
	add := func(path string, e *file) {
		if e == nil {
			return
		}
		if locks := e.locks.Load(); locks != nil {
			l = append(l, lockedFile{path, "flock", &locks.flock}, lockedFile{path, "fcntl", &locks.posix})
		}
	}
	all := f.allObjects(who)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range all {
		add(o.path, o.file)
		control := o.path
		if o.flat {
			control += controlSuffix
		}
		for _, e := range o.files {
			if e != nil {
				add(control+"/"+e.spec.name, e)
			}
		}
	}
	info := f.root.children[infoName].(*staticDir)
	for _, name := range info.names {
		add(infoName+"/"+name, info.children[name].(*file))
	}
	return l
}

// appendLocks adds a line for each of the locks, of l's file.
func (f *FS) appendLocks(b []byte, l lockedFile, locks []objects.FileLock) []byte {
	now := f.now()
	for _, lock := range locks {
		pid, command := process(lock.Pid)
		end := "max"
		if lock.End < math.MaxInt64 { // the kernel's OFFSET_MAX
			end = strconv.FormatUint(lock.End, 10)
		}
		b = fmt.Appendf(b, "%s %d %d %s %s %.1f %s %d %s %x\n", escapeSpace(l.path), pid, lock.Uid, command, l.op,
			float64(now-lock.Since)/1e9, lock.Type, lock.Start, end, lock.Owner)
	}
	return b
}

// escapeSpace writes white space in a path as an octal escape, as /proc/mounts does,
// so that lines split into fields.
func escapeSpace(s string) string {
	return strings.NewReplacer(`\`, `\134`, " ", `\040`).Replace(s)
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
	if f.store.passes(f) {
		passthrough = 1
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	var b []byte
	for _, c := range []struct {
		name  string
		value int64
	}{
		{"objects", used.Objects},
		{"messages", used.Messages},
		{"bytes", used.Bytes},
		{"kept", used.kept()},
		{"parked", int64(f.conn.Waiting())},
		{"handles", int64(handles)},
		{"nodes", int64(nodes)},
		{"goroutines", int64(runtime.NumGoroutine())},
		{"passthrough", int64(passthrough)},
		{"heap_bytes", int64(mem.HeapAlloc)},
		{"requests", f.conn.Requests()},
	} {
		b = fmt.Appendf(b, "%s %d\n", c.name, c.value)
	}
	return b
}
