package fs

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"strings"
	"syscall"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A control shows and sets something of an object, or of the mount, as text.
type control struct {
	show func(f *FS, o *object) []byte                                     // what a read gives, nil if it cannot be read
	set  func(f *FS, o *object, who *identity, value string) syscall.Errno // what a write does, nil if it cannot be written to

	groups bool                   // supplementary groups matter to set
	around around                 // as in presentation
	then   func(f *FS, o *object) // as in presentation
}

func (t *control) openable(flags uint32) syscall.Errno {
	return openableAs(t.show != nil, t.set != nil, flags)
}

func (t *control) attr(e *file, out *fuse.Attr) {
	if t.show != nil {
		out.Size = valueSize
	}
	e.objectAttrLocked(out)
}

func (t *control) grouped(h *handle) bool { return t.groups && h.Writes }

// refusesText is 0 if in, a READ of a text through h, is to be answered. EINVAL: it is for
// sendfile(2), which then falls back to read(2).
func (f *FS) refusesText(h *handle, in *fuse.ReadIn) syscall.Errno {
	if faults(in) {
		return syscall.EINVAL
	}
	return f.disowned(h)
}

func (t *control) read(f *FS, c *fusedev.Conn, h *handle, in *fuse.ReadIn) {
	if errno := f.refusesText(h, in); errno != 0 {
		c.Reply(in.Unique, errno)
		return
	}
	c.ReplyData(in.Unique, t.readText(f, h, in.Offset, in.Size))
}

func (t *control) write(f *FS, c *fusedev.Conn, h *handle, in *fuse.WriteIn, data []byte) {
	if len(data) > maxValue {
		c.Reply(in.Unique, syscall.EINVAL)
		return
	}
	caller, n, unique := h.callerFor(in.Caller), len(data), in.Unique
	if t.around != nil {
		value := bytes.Clone(data)
		f.errandFor(c, unique, h.opener.Uid, func(e *errand) {
			errno := t.around(f, h.file.object, trimValue(value), e, func() syscall.Errno { return t.assign(f, h, caller, value) })
			if errno == 0 && t.then != nil {
				t.then(f, h.file.object)
			}
			if errno != 0 {
				c.Reply(unique, errno)
				return
			}
			c.ReplyWrite(unique, n)
		})
		return
	}
	switch errno := t.assign(f, h, caller, data); {
	case errno != 0:
		c.Reply(unique, errno)
	case t.then != nil:
		f.spawn("what follows a setting", func() {
			answered := false
			defer func() {
				if !answered {
					c.Reply(unique, syscall.EIO)
				}
			}()
			t.then(f, h.file.object)
			answered = true
			c.ReplyWrite(unique, n)
		})
	default:
		c.ReplyWrite(unique, n)
	}
}

// maxValue is the longest value in bytes that can be written to a control file.
const maxValue = 4096

// valueSize is the size in bytes that control files show, as those of sysfs do: theirs is
// not known before they are read. The kernel takes a size of 0 for the end of the file
// without asking us (filemap_splice_read, mm/filemap.c): sendfile(2) and splice(2) would
// copy nothing.
const valueSize = 4096

// assign sets what h shows to data, for who.
func (t *control) assign(f *FS, h *handle, c objects.Caller, data []byte) syscall.Errno {
	if errno := f.disowned(h); errno != 0 {
		return errno
	}
	if len(data) > maxValue {
		return syscall.EINVAL
	}
	return t.set(f, h.file.object, &identity{c, h.opener.groups}, trimValue(data))
}

// readText reads a control file. What it shows is fixed by the read at offset 0, so
// that a reader with a small buffer sees one consistent text.
func (t *control) readText(f *FS, h *handle, offset uint64, size uint32) []byte {
	text := h.shown(f)
	if text == nil || offset == 0 {
		fresh := t.show(f, h.file.object)
		text = &fresh
		h.setShown(f, text)
	}
	return part(*text, offset, size)
}

// part is what a read of text at the offset gets.
func part(text []byte, offset uint64, size uint32) []byte {
	text = text[min(offset, uint64(len(text))):]
	return text[:min(int(size), len(text))]
}

func (h *handle) shown(f *FS) *[]byte {
	f.handlesMu.RLock()
	defer f.handlesMu.RUnlock()
	return h.text
}

func (h *handle) setShown(f *FS, text *[]byte) {
	f.handlesMu.Lock()
	defer f.handlesMu.Unlock()
	h.text = text
}

// A listing is a control file whose text may be long. It tells of what who may see, and is
// made as it is read.
type listing struct {
	lines func(f *FS, o *object, who *identity) iter.Seq[[]byte]
}

func (e *file) isListing() bool {
	_, ok := e.spec.ops.(*listing)
	return ok
}

func (t *listing) openable(flags uint32) syscall.Errno { return openableAs(true, false, flags) }

func (t *listing) attr(e *file, out *fuse.Attr) {
	out.Size = valueSize
	e.objectAttrLocked(out)
}

func (t *listing) openCost() int64 { return textCost }

func (t *listing) grouped(*handle) bool { return true }

func (t *listing) opened(f *FS, h *handle, _ uint32) (open uint32) {
	h.lines = &text{lines: t.lines(f, h.file.object, &h.opener)}
	return fuse.FOPEN_DIRECT_IO
}

func (t *listing) read(f *FS, c *fusedev.Conn, h *handle, in *fuse.ReadIn) {
	if errno := f.refusesText(h, in); errno != 0 {
		c.Reply(in.Unique, errno)
		return
	}
	h.lines.answer(f, c, in)
}

// policyFile is the control file of the policy called name of the kind that p presents:
// reading gives the value and a newline, writing sets it.
func policyFile(p *presentation, name string) fileSpec {
	check := p.check[name]
	return fileSpec{name, 0o644, &control{
		groups: check != nil,
		around: p.around[name],
		then:   p.then[name],
		show: func(_ *FS, o *object) []byte {
			o.lock()
			defer o.mu.Unlock()
			return []byte(o.impl.Policy(name) + "\n")
		},
		set: func(f *FS, o *object, who *identity, value string) syscall.Errno {
			if check != nil {
				if errno := check(f, o, who, value); errno != 0 {
					return errno
				}
			}
			errno := f.setPolicy(o, name, value)
			f.noteFor(o, who.Caller, "set-"+name, len(value), errno)
			return errno
		},
	}}
}

func (f *FS) setPolicy(o *object, name, value string) (errno syscall.Errno) {
	f.withObject(o, func(now objects.Time) (done objects.Finished) {
		if o.broken {
			errno = syscall.EIO
			return done
		}
		done, errno = o.impl.SetPolicy(now, name, value)
		o.reviewPollersLocked()
		return done
	})
	return errno
}

// command is a control file that submits op, whatever is written.
func command(name string, op objects.Op) fileSpec {
	return fileSpec{name, 0o200, &control{set: func(f *FS, o *object, who *identity, _ string) syscall.Errno {
		k := &call{fs: f, object: o, silent: true}
		k.Op, k.Caller = op, who.Caller
		f.submit(k)
		f.noteFor(o, who.Caller, op.String(), 0, k.Errno)
		return k.Errno
	}}}
}

// unusedOnly is what is written to a destroy file to destroy what rmdir(2) would.
const unusedOnly = "unused"

// destroy is rm -f and rmdir in one, for either shape, in the manner of cgroups(7)'s
// cgroup.kill: an empty line ends the object and whoever waits gets EIDRM, while
// the word unused spares one that holds something (ENOTEMPTY) or is waited for
// (EBUSY). rm(1) of a flat object spares nothing.
func destroy(f *FS, o *object, who *identity, value string) syscall.Errno {
	if value != "" && value != unusedOnly {
		return syscall.EINVAL
	}
	unused, errno := f.remove(o, value == unusedOnly)
	for errno == later {
		o.await()
		unused, errno = f.remove(o, value == unusedOnly)
	}
	f.noteFor(o, who.Caller, "destroy", 0, errno)
	f.destroy(unused)
	return errno
}

// remove takes all of o's names away and returns what is to be destroyed. later: o is in use
// now.
func (f *FS) remove(o *object, unusedOnly bool) (*object, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.entry().base().gone {
		return nil, syscall.EIDRM
	}
	if unusedOnly {
		if errno := o.removable(); errno != 0 {
			return nil, errno
		}
	}
	for {
		name := o.name
		last := o.links.len() == 0
		if !last {
			name = o.links.first()
		}
		if unused := f.unnameLocked(o, name); last {
			return unused, 0
		}
		f.forgetEntryLocked(&o.kind.inode, name)
	}
}

// forgetName makes the kernel forget the name of o, which is gone. It waits for the
// kernel.
func forgetName(f *FS, o *object) {
	if parent, name := f.goneName(o); parent != 0 {
		f.conn.NotifyInvalEntry(parent, name)
	}
}

// goneName is the name that o, which is gone, had last, and the node of the directory; 0
// if the kernel does not know that.
func (f *FS) goneName(o *object) (parent uint64, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.entry().base().gone && o.kind.node != nil {
		parent = o.kind.node.id
	}
	return parent, o.name
}

func showStat(_ *FS, o *object) []byte {
	var b []byte
	for _, c := range look(o, objects.Object.Stat) {
		b = fmt.Appendf(b, "%s %d\n", c.Name, c.Value)
	}
	return b
}

// linesOfWaiters gives a line for each request parked in o.
func linesOfWaiters(f *FS, o *object, _ *identity) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for w := range f.waiters(o) {
			if !yield(append([]byte(w.line(f.now())), '\n')) {
				return
			}
		}
	}
}

// line tells of w: pid, uid, command, operation and seconds waited.
func (w waiter) line(now objects.Time) string {
	pid, command := process(w.Pid)
	return fmt.Sprintf("%d %d %s %s %.1f", pid, w.Uid, command, w.op, float64(now-w.since)/1e9)
}

// process returns the process that the thread belongs to and its command name, the
// number itself and "?" if /proc does not tell: proc_pid_status(5).
func process(thread uint32) (pid uint32, command string) {
	pid, command = leader(thread), "?"
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
		command = commandName(string(comm))
	}
	return pid, command
}

// leader is the process that the thread belongs to, the thread itself if /proc does not
// tell.
func leader(thread uint32) uint32 {
	// tgkill(2): ESRCH, not a thread of that group. Most are the first of theirs.
	if _, _, errno := syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(thread), uintptr(thread), 0); errno != syscall.ESRCH {
		return thread
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return thread
	}
	pid := thread
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "Tgid:"); ok {
			fmt.Sscan(value, &pid)
			break
		}
	}
	return pid
}
