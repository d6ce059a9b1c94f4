package fs

import (
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"ipcfs/objects"
	"ipcfs/objects/filelock"
	"ipcfs/objects/trace"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A traceSource is .ipcfs/trace: operations as they happen. A line is made before its
// operation is answered, while its process is there to be named; it is not made at all
// while nobody reads.
type traceSource struct {
	readers atomic.Int32 // open handles; what an operation looks at
	object  object
}

// A tracer keeps traceSource.readers up to date.
type tracer struct {
	trace.Trace
	source *traceSource
}

func (t *tracer) Submit(now objects.Time, r *objects.Request) objects.Finished {
	done := t.Trace.Submit(now, r)
	t.source.readers.Store(int32(t.Readers()))
	return done
}

// newTraceFile makes the file of f's trace. It is its owner's: it tells what everybody
// does.
func (f *FS) newTraceFile(ino uint64, d *staticDir, now time.Time) *file {
	f.trace.object.fresh = func() objects.Object { return &tracer{source: &f.trace} }
	f.trace.object.fs = f
	f.trace.object.impl = f.trace.object.fresh()
	f.trace.object.kind = &kindDir{p: new(presentation)}
	s := &fileSpec{name: "trace", ops: &traceFile{endpoint{reads: objects.Read}}}
	return s.file(inode{ino: ino, mode: fuse.S_IFREG | 0o400, uid: d.uid, gid: d.gid, ctime: now}, &f.trace.object)
}

// traceCost is the memory of an open trace in bytes: two times the lines that it may be
// behind, which append doubles.
const traceCost = 2 * 512 << 10

// A traceFile is an endpoint whose readers may be behind.
type traceFile struct{ endpoint }

func (p *traceFile) openCost() int64 { return traceCost }

// TracedOperations are the words by which trace lines name operations, sorted.
func TracedOperations() []string {
	words := []string{"create", "destroy", "fcntl", "flock", "remove", "rename", "unlock"}
	for _, k := range objects.Kinds() {
		for _, op := range k.Ops {
			words = append(words, op.String())
		}
		for _, policy := range k.PolicyNames() {
			words = append(words, "set-"+policy)
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// tracing reports whether somebody reads the trace.
func (f *FS) tracing() bool { return f.trace.readers.Load() > 0 }

// note adds a line to the trace: time, pid, command, uid, operation, object, bytes,
// outcome and seconds waited. No lock is held.
func (f *FS) note(c objects.Caller, op, path string, n int, errno syscall.Errno, waited objects.Time) {
	now := f.now()
	pid, command := process(c.Pid)
	outcome := "ok"
	if errno != 0 {
		if outcome = unix.ErrnoName(errno); outcome == "" {
			outcome = fmt.Sprintf("errno-%d", errno)
		}
	}
	line := fmt.Appendf(nil, "%s %d %s %d %s %s %d %s %.6f\n", wall.at(now).UTC().Format("2006-01-02T15:04:05.000000Z"),
		pid, command, c.Uid, op, escapeSpace(path), n, outcome, float64(waited)/1e9)
	o := &f.trace.object
	f.withObject(o, func(now objects.Time) objects.Finished { return o.impl.(*tracer).Add(now, line) })
}

// noteCall adds the line of the finished call k, unless it concerns the trace itself.
func (f *FS) noteCall(k *call) {
	if k.object == &f.trace.object {
		return
	}
	op, n := k.Op.String(), 0
	var path string
	switch {
	case k.locks != nil:
		op = "fcntl"
		if l := k.handle.file.locks.Load(); l != nil && k.locks == &l.flock {
			op = "flock"
		}
		if filelock.Wanted(&k.Request).Type == filelock.Unlock {
			op = "unlock"
		}
		path = f.pathOf(k.handle.file)
	case k.object != nil:
		path = f.placeOf(k.object)
	}
	switch k.reply {
	case replyData:
		n = len(k.Data)
	case replyWrite:
		n = k.N
	}
	if k.Errno != 0 {
		n = 0
	}
	var waited objects.Time
	if k.parked {
		waited = f.now() - k.Since
	}
	f.note(k.Caller, op, path, n, k.Errno, waited)
}

// noteFor adds a line for what c has done to o at once, if somebody reads the trace.
func (f *FS) noteFor(o *object, c objects.Caller, op string, n int, errno syscall.Errno) {
	if f.tracing() {
		f.note(c, op, f.placeOf(o), n, errno, 0)
	}
}

// noteName adds a line for what c has done to a name in the directory that node
// parent is, and returns the outcome. ESTALE is a question to the kernel.
func (f *FS) noteName(parent uint64, name string, c fuse.Caller, op string, outcome fuse.Status) fuse.Status {
	if !f.tracing() || outcome == status(syscall.ESTALE) {
		return outcome
	}
	f.note(callerOf(c), op, f.placeIn(parent, name), 0, syscall.Errno(outcome), 0)
	return outcome
}

// placeIn is the path of name in the directory that node parent is.
func (f *FS) placeIn(parent uint64, name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d, errno := f.kindDirAtLocked(parent); errno == 0 {
		return d.p.dir + "/" + name
	}
	return name
}

// noteMember adds a line for the rename(2) of the member of d called name, and returns
// the outcome.
func (f *FS) noteMember(d *folderDir, name string, c fuse.Caller, outcome fuse.Status) fuse.Status {
	if f.tracing() {
		f.note(callerOf(c), "rename", f.placeOfMember(d, name), 0, syscall.Errno(outcome), 0)
	}
	return outcome
}

// placeOfMember is the path of the member of d called name.
func (f *FS) placeOfMember(d *folderDir, name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := d.object.pathLocked()
	if d.object.flat {
		path += controlSuffix
	}
	return path + "/" + d.folder.name + "/" + name
}

// noteSize adds a line for the new size of memory that in gives.
func (f *FS) noteSize(in *fuse.SetAttrIn, errno syscall.Errno) {
	if _, ok := in.GetSize(); !ok {
		return
	}
	if o := f.memoryAt(in.NodeId); o != nil {
		f.note(callerOf(in.Caller), objects.Resize.String(), f.placeOf(o), 0, errno, 0)
	}
}

// memoryAt is the segment whose memory node id is, nil if it is none.
func (f *FS) memoryAt(id uint64) *object {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.nodes[id]; n != nil {
		if e, ok := n.entry.(*file); ok && e.isMemory() {
			return e.object
		}
	}
	return nil
}

// placeOf is the path of o at this time.
func (f *FS) placeOf(o *object) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return o.pathLocked()
}

// pathOf is the path of the file e at this time.
func (f *FS) pathOf(e *file) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch o := e.object; {
	case o == nil, o == &f.trace.object:
		return infoName + "/" + e.spec.name
	case e == o.file:
		return o.pathLocked()
	default:
		path := o.pathLocked() + "/"
		if o.flat {
			path = o.pathLocked() + controlSuffix + "/"
		}
		if e.folder != nil {
			path += e.folder.folder.name + "/"
		}
		return path + e.spec.name
	}
}
