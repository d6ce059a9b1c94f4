package fs

import (
	"fmt"
	"iter"
	"os"
	"strings"
	"syscall"

	"ipcfs/objects"
)

// policyFile is the control file of the named policy: reading gives the value and a
// newline, writing sets it. check is as in presentation.
func policyFile(name string, check policyCheck) spec {
	return spec{
		name:    name,
		mode:    0o644,
		grouped: check != nil,
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
	}
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

// command submits op, whatever is written.
func command(op objects.Op) func(*FS, *object, *identity, string) syscall.Errno {
	return func(f *FS, o *object, who *identity, _ string) syscall.Errno {
		k := &call{fs: f, object: o, silent: true}
		k.Op, k.Caller = op, who.Caller
		f.submit(k)
		f.noteFor(o, who.Caller, op.String(), 0, k.Errno)
		return k.Errno
	}
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
