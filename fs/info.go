package fs

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// infoDir makes .ipcfs, which shows the mount as a whole.
func (f *FS) infoDir(now time.Time) *staticDir {
	d := newStaticDir(infoIno, 0o755, f.cfg, now)
	for i, s := range []spec{
		{name: "version", show: func(f *FS, _ *object) []byte { return []byte("ipcfs " + f.cfg.Version + "\n") }},
		{name: "objects", show: func(f *FS, _ *object) []byte { return f.showObjects() }},
		{name: "waiters", show: func(f *FS, _ *object) []byte { return f.showAllWaiters() }},
		{name: "stat", show: func(f *FS, _ *object) []byte { return f.showMountStat() }},
		{name: "limits", mode: 0o200, show: func(f *FS, _ *object) []byte { return f.showLimits() }, set: setLimits},
	} {
		d.add(s.name, &file{
			inode: inode{ino: firstInfoIno + uint64(i), mode: fuse.S_IFREG | 0o444 | s.mode, uid: d.uid, gid: d.gid, ctime: now},
			spec:  &s,
		})
	}
	return d
}

// A placed object is one with the path it had when it was listed.
type placed struct {
	*object
	path string
}

// allObjects lists every object, sorted by path.
func (f *FS) allObjects() []placed {
	f.mu.Lock()
	var l []placed
	for _, d := range f.kinds {
		for name, o := range d.objects {
			if name == o.name { // not an alias
				l = append(l, placed{o, o.path()})
			}
		}
	}
	f.mu.Unlock()
	slices.SortFunc(l, func(a, b placed) int { return strings.Compare(a.path, b.path) })
	return l
}

// showObjects gives a line for each object: path, shape, mode, uid, gid, messages,
// bytes and requests waiting.
func (f *FS) showObjects() []byte {
	var b []byte
	for _, o := range f.allObjects() {
		f.mu.Lock()
		i, shape := *o.entry().base(), "directory"
		if o.flat {
			shape = "flat"
		}
		switch i.mode & syscall.S_IFMT {
		case syscall.S_IFIFO:
			shape = "fifo"
		case syscall.S_IFSOCK:
			shape = "socket"
		}
		f.mu.Unlock()
		o.mu.Lock()
		held, waiting := o.impl.Held(), 0
		for range o.impl.Waiters() {
			waiting++
		}
		o.mu.Unlock()
		b = fmt.Appendf(b, "%s %s %04o %d %d %d %d %d\n", escapeSpace(o.path), shape, i.mode&0o7777, i.uid, i.gid, held.Messages, held.Bytes, waiting)
	}
	return b
}

// showAllWaiters gives a line for each request that waits anywhere: the object's
// path, then the fields of the object's own waiters file.
func (f *FS) showAllWaiters() []byte {
	var b []byte
	for _, o := range f.allObjects() {
		for _, w := range f.waiters(o.object) {
			b = fmt.Appendf(b, "%s %s\n", escapeSpace(o.path), w)
		}
	}
	return b
}

// escapeSpace writes white space in a path as an octal escape, as /proc/mounts does,
// so that lines split into fields.
func escapeSpace(s string) string {
	return strings.NewReplacer(`\`, `\134`, " ", `\040`).Replace(s)
}

// showMountStat counts what the daemon holds.
func (f *FS) showMountStat() []byte {
	f.mu.Lock()
	nodes := len(f.nodes)
	f.mu.Unlock()
	f.handlesMu.RLock()
	handles := len(f.handles)
	f.handlesMu.RUnlock()
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
		{"parked", int64(f.conn.Waiting())},
		{"handles", int64(handles)},
		{"nodes", int64(nodes)},
		{"goroutines", int64(runtime.NumGoroutine())},
		{"passthrough", int64(passthrough)},
		{"heap_bytes", int64(mem.HeapAlloc)},
	} {
		b = fmt.Appendf(b, "%s %d\n", c.name, c.value)
	}
	return b
}
