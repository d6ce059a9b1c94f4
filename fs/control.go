package fs

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"ipcfs/objects"
)

// policyFile is the control file of the named policy: reading gives the value and a
// newline, writing sets it. check is as in presentation.
func policyFile(name string, check func(value string) syscall.Errno) spec {
	return spec{
		name: name,
		mode: 0o644,
		show: func(_ *FS, o *object) []byte {
			o.mu.Lock()
			defer o.mu.Unlock()
			return []byte(o.impl.Policy(name) + "\n")
		},
		set: func(f *FS, o *object, c objects.Caller, value string) syscall.Errno {
			if check != nil {
				if errno := check(value); errno != 0 {
					return errno
				}
			}
			done, wake, errno := o.setPolicy(f.now(), name, value)
			f.finish(done)
			f.wake(wake)
			f.noteFor(o, c, "set-"+name, len(value), errno)
			return errno
		},
	}
}

func (o *object) setPolicy(now objects.Time, name, value string) (objects.Finished, []uint64, syscall.Errno) {
	o.mu.Lock()
	defer o.mu.Unlock()
	done, errno := o.impl.SetPolicy(now, name, value)
	return done, o.woken(), errno
}

// command submits op, whatever is written.
func command(op objects.Op) func(*FS, *object, objects.Caller, string) syscall.Errno {
	return func(f *FS, o *object, c objects.Caller, _ string) syscall.Errno {
		k := &call{fs: f, object: o, silent: true}
		k.Op, k.Caller = op, c
		f.submit(k)
		f.noteFor(o, c, op.String(), 0, k.Errno)
		return k.Errno
	}
}

// unusedOnly is what is written to a destroy file to destroy what rmdir(2) would.
const unusedOnly = "unused"

// destroy is rm -f and rmdir in one, for either shape, in the manner of cgroups(7)'s
// cgroup.kill: an empty line ends the object and whoever waits gets EIDRM, while
// the word unused spares one that holds something (ENOTEMPTY) or is waited for
// (EBUSY). rm(1) of a flat object spares nothing.
func destroy(f *FS, o *object, c objects.Caller, value string) syscall.Errno {
	if value != "" && value != unusedOnly {
		return syscall.EINVAL
	}
	unused, errno := f.remove(o, value == unusedOnly)
	f.noteFor(o, c, "destroy", 0, errno)
	f.bury(unused)
	return errno
}

// remove takes all of o's names away and returns what is to be buried.
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
		last := len(o.aliases) == 0
		if !last {
			name = o.aliases[len(o.aliases)-1]
		}
		if unused := f.unname(o, name); last {
			return unused, 0
		}
		if o.kind.node != nil {
			go f.conn.NotifyInvalEntry(o.kind.node.id, name)
		}
	}
}

// forgetName makes the kernel forget the name of o, which is gone. It waits for the
// kernel.
func forgetName(f *FS, o *object) {
	f.mu.Lock()
	name, parent := o.name, o.kind.node
	gone := o.entry().base().gone
	f.mu.Unlock()
	if gone && parent != nil {
		f.conn.NotifyInvalEntry(parent.id, name)
	}
}

func showStat(_ *FS, o *object) []byte {
	o.mu.Lock()
	counters := o.impl.Stat()
	o.mu.Unlock()
	var b []byte
	for _, c := range counters {
		b = fmt.Appendf(b, "%s %d\n", c.Name, c.Value)
	}
	return b
}

func showWaiters(f *FS, o *object) []byte {
	var b []byte
	for _, w := range f.waiters(o) {
		b = append(append(b, w...), '\n')
	}
	return b
}

// waiters returns a line for each request parked in o: pid, uid, command, operation
// and seconds waited.
func (f *FS) waiters(o *object) []string {
	type waiter struct {
		objects.Caller
		op    objects.Op
		since objects.Time
	}
	var ws []waiter
	o.mu.Lock()
	for r := range o.impl.Waiters() {
		ws = append(ws, waiter{r.Caller, r.Op, r.Since})
	}
	o.mu.Unlock()
	now := f.now()
	var lines []string
	for _, w := range ws {
		pid, command := process(w.Pid)
		lines = append(lines, fmt.Sprintf("%d %d %s %s %.1f", pid, w.Uid, command, w.op, float64(now-w.since)/1e9))
	}
	return lines
}

// process returns the process that the thread belongs to and its command name, the
// number itself and "?" if /proc does not tell: proc_pid_status(5). White space in
// the name becomes an underscore, so that lines split into fields.
func process(thread uint32) (pid uint32, command string) {
	pid, command = leader(thread), "?"
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
		command = strings.Join(strings.Fields(string(comm)), "_")
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
