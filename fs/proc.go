package fs

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// This file reads what proc(5) shows of threads: what one waits in, and which open
// files it waits for. Nothing of it follows a link of /proc into a file system: that
// could be our own mount.

// A thread is a thread of another process by its number in our PID namespace.
type thread uint32

// read reads the file of t's directory in /proc into buf; "" if it may not be read, or
// t has died.
func (t thread) read(file string, buf []byte) []byte {
	fd, err := unix.Open("/proc/"+strconv.Itoa(int(t))+"/"+file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// A standing is what /proc/TID/stat says of a thread.
type standing struct {
	state   byte   // D: in a sleep that only its end ends, proc_pid_stat(5)
	flags   uint64 // PF_ of include/linux/sched.h
	threads int    // of its process
	killed  bool   // SIGKILL is pending: every signal that is fatal by default becomes one
}

// standing reads t's; the zero standing if t is gone.
func (t thread) standing() standing {
	var buf [1024]byte
	return standingIn(t.read("stat", buf[:]))
}

// standingIn takes a standing out of a line of /proc/TID/stat.
func standingIn(stat []byte) standing {
	// proc_pid_stat(5): the fields from the third on. The second is the command, in
	// parentheses, which it may contain.
	const state, flags, threads, signal = 0, 9 - 3, 20 - 3, 31 - 3
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= signal {
		return standing{}
	}
	number := func(i int) uint64 {
		n, _ := strconv.ParseUint(string(fields[i]), 10, 64)
		return n
	}
	const sigkill = 1 << (unix.SIGKILL - 1)
	return standing{fields[state][0], number(flags), int(number(threads)), number(signal)&sigkill != 0}
}

// unkillable reports whether the thread was killed and goes on waiting.
func (s standing) unkillable() bool { return s.state == 'D' && s.killed }

// A systemCall is one that a thread is in, proc_pid_syscall(5).
type systemCall struct {
	number int
	args   [6]uint64
	narrow bool // of a 32-bit program
	worker bool // of io_uring(7): it shows a call of the thread that made it
}

// calling is what proc_pid_syscall(5) says of a thread.
type calling uint8

const (
	unknown calling = iota // we may not look, or the thread is gone
	running                // it does not wait, or not yet
	within                 // it waits in a system call
)

// systemCall reads which system call t waits in.
func (t thread) systemCall() (systemCall, calling) {
	var buf [256]byte
	return systemCallIn(t.read("syscall", buf[:]))
}

// systemCallIn takes a systemCall out of /proc/TID/syscall: its number and arguments,
// the stack pointer and the program counter.
func systemCallIn(line []byte) (systemCall, calling) {
	fields := strings.Fields(string(line))
	switch {
	case len(fields) == 1 && fields[0] == "running":
		return systemCall{}, running
	case len(fields) != 9:
		return systemCall{}, unknown
	}
	var s systemCall
	var err error
	if s.number, err = strconv.Atoi(fields[0]); err != nil {
		return systemCall{}, unknown
	}
	for i := range s.args {
		s.args[i], _ = strconv.ParseUint(fields[1+i], 0, 64)
	}
	// copy_thread, arch/x86/kernel/process.c: a thread that does not return to user
	// space has neither stack pointer nor program counter.
	stack, _ := strconv.ParseUint(fields[7], 0, 64)
	s.worker = stack == 0 && fields[8] == "0x0"
	s.narrow = stack>>32 == 0
	return s, within
}

// A linking is how a thread is making a link(2). The path of its source is not among
// what can be known: for a look into a thread's memory one waits while another thread
// of it maps memory, for as long as that takes.
type linking struct {
	dir   int32 // AT_FDCWD or a descriptor
	flags uint64
}

// A linkNumbers is how an architecture numbers link and linkat; -1 is not at all.
type linkNumbers struct{ link, linkat int }

// linkCalls are the numbers of the processor's own programs and of its 32-bit ones:
// arch/*/entry/syscalls/syscall*.tbl, include/uapi/asm-generic/unistd.h.
var linkCalls = map[string][2]linkNumbers{
	"amd64":   {{86, 265}, {9, 303}},
	"386":     {{9, 303}, {9, 303}},
	"arm64":   {{-1, 37}, {9, 330}},
	"arm":     {{9, 330}, {9, 330}},
	"riscv64": {{-1, 37}, {-1, 37}},
	"loong64": {{-1, 37}, {-1, 37}},
	"ppc64le": {{9, 294}, {9, 294}},
	"s390x":   {{9, 296}, {9, 296}},
}

// linking reports whether t, which waits in s, is making a link.
func (t thread) linking(s systemCall) (l linking, yes bool) {
	if s.worker {
		// proc_pid_stack(5), for root only. Without it the watch has to do.
		var buf [4096]byte
		return linking{}, bytes.Contains(t.read("stack", buf[:]), []byte("linkat"))
	}
	const x32 = 1 << 30 // __X32_SYSCALL_BIT, arch/x86/include/uapi/asm/unistd.h
	numbers, known := linkCalls[runtime.GOARCH]
	if !known {
		return linking{}, false
	}
	n := numbers[0]
	if s.narrow && s.number&x32 == 0 {
		n = numbers[1]
	}
	switch s.number &^ x32 {
	case n.link:
		return linking{dir: unix.AT_FDCWD}, true
	case n.linkat:
		return linking{int32(s.args[0]), s.args[4]}, true
	}
	return linking{}, false
}

// path is what descriptor fd of t was opened as, "" if that is not known: a link of
// /proc, which is read and not followed.
func (t thread) path(fd int) string {
	path, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t, fd))
	return path
}

// waitsIn is the function of the kernel in which t sleeps, "" if that is not known:
// proc_pid_wchan(5).
func (t thread) waitsIn() string {
	var buf [128]byte
	name := string(t.read("wchan", buf[:]))
	if name == "0" {
		return ""
	}
	return name
}

// user is the effective user ID of t; it changes while t waits only if others can
// change it.
func (t thread) user() (uid uint32, ok bool) {
	var buf [4096]byte
	for line := range bytes.Lines(t.read("status", buf[:])) {
		if ids, found := bytes.CutPrefix(line, []byte("Uid:")); found {
			var real uint32
			n, _ := fmt.Sscan(string(ids), &real, &uid)
			return uid, n == 2
		}
	}
	return 0, false
}

// An openFile is what /proc/TID/fdinfo/FD says of a descriptor.
type openFile struct {
	thread
	fd         int
	ino, mount uint64
}

// open reads about descriptor fd of t.
func (t thread) open(fd int) (openFile, bool) {
	var buf [512]byte
	o := openFile{thread: t, fd: fd}
	for line := range bytes.Lines(t.read("fdinfo/"+strconv.Itoa(fd), buf[:])) {
		name, value, _ := strings.Cut(string(bytes.TrimSpace(line)), ":")
		switch name {
		case "ino":
			o.ino, _ = strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		case "mnt_id":
			o.mount, _ = strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		}
	}
	return o, o.ino != 0
}

// maxDescriptors is how many descriptors of a process are looked at: more than
// RLIMIT_NOFILE usually allows, few enough for a round of the watch.
const maxDescriptors = 1024

// openFiles lists the descriptors that the system call t waits in may be about, those
// among its first three arguments; or all that t has open.
func (t thread) openFiles(all bool) iter.Seq[openFile] {
	return func(yield func(openFile) bool) {
		if s, c := t.systemCall(); !all && c == within && !s.worker {
			for i, arg := range s.args[:3] {
				// Each at most once.
				if arg > 1<<30 || i > 0 && arg == s.args[i-1] {
					continue
				}
				if o, ok := t.open(int(arg)); ok && !yield(o) {
					return
				}
			}
			return
		}
		names, _ := readNames(fmt.Sprintf("/proc/%d/fd", t), maxDescriptors)
		for _, name := range names {
			fd, err := strconv.Atoi(name)
			if err != nil {
				continue
			}
			if o, ok := t.open(fd); ok && !yield(o) {
				return
			}
		}
	}
}

// same reports whether a and b are one open file description, kcmp(2).
func (a openFile) same(b openFile) bool {
	if a.thread == b.thread && a.fd == b.fd {
		return true
	}
	const kcmpFile = 0 // KCMP_FILE, linux/kcmp.h
	r, _, errno := syscall.Syscall6(unix.SYS_KCMP, uintptr(a.thread), uintptr(b.thread), kcmpFile,
		uintptr(a.fd), uintptr(b.fd), 0)
	return errno == 0 && r == 0
}

// boundFiles lists the bind mounts that t sees of what is inside a file system of ours,
// by the number of the mount, with the path of that: proc_pid_mountinfo(5).
func (t thread) boundFiles() map[uint64]string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", t))
	if err != nil {
		return nil
	}
	bound := make(map[uint64]string)
	for line := range strings.Lines(string(text)) {
		const number, root = 0, 3
		fields := strings.Fields(line)
		if len(fields) > root && fields[root] != "/" && strings.Contains(line, " - fuse.ipcfs ") {
			id, _ := strconv.ParseUint(fields[number], 10, 64)
			// seq_dentry, fs/seq_file.c: so it ends when the name has another node by now.
			bound[id] = strings.TrimSuffix(fields[root], "//deleted")
		}
	}
	return bound
}

// readNames returns up to n names of the directory of /proc; n < 0 is all.
func readNames(dir string, n int) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(n)
}

// processes lists the first threads of all processes.
func processes() iter.Seq[thread] {
	return func(yield func(thread) bool) {
		names, _ := readNames("/proc", -1)
		for _, name := range names {
			if pid, err := strconv.ParseUint(name, 10, 32); err == nil && !yield(thread(pid)) {
				return
			}
		}
	}
}

// threads lists all threads of the process whose first thread t is.
func (t thread) threads() iter.Seq[thread] {
	return func(yield func(thread) bool) {
		names, _ := readNames(fmt.Sprintf("/proc/%d/task", t), -1)
		for _, name := range names {
			if tid, err := strconv.ParseUint(name, 10, 32); err == nil && !yield(thread(tid)) {
				return
			}
		}
	}
}

// unkillable lists the threads that were killed and go on waiting.
func unkillable() []thread {
	var l []thread
	for t := range processes() {
		s := t.standing()
		const kernelThread = 0x00200000 // PF_KTHREAD, include/linux/sched.h
		switch {
		case s.flags&kernelThread != 0:
		case s.threads == 1:
			if s.unkillable() {
				l = append(l, t)
			}
		case s.killed, s.state == 'D', s.state == 'Z':
			// A killed process of which some threads have ended.
			for t := range t.threads() {
				if t.standing().unkillable() {
					l = append(l, t)
				}
			}
		}
	}
	return l
}

// sleepers lists the threads of all processes that are in state D.
func sleepers() []thread {
	var l []thread
	for t := range processes() {
		s := t.standing()
		if t == thread(os.Getpid()) || s.threads == 1 && s.state != 'D' {
			continue
		}
		for t := range t.threads() {
			if t.standing().state == 'D' {
				l = append(l, t)
			}
		}
	}
	return l
}
