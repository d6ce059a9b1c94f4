package fs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A vigil waits for the death of a process, beside its descriptors: those that a
// child has inherited outlive it. It costs a descriptor of ours (a pidfd, watched by
// the runtime's epoll) and a sleeping goroutine, and ends with the death or with end.
// The zero vigil waits for nothing.
type vigil struct{ pidfd *os.File }

// watch calls died, from a goroutine of its own, when the process that thread belongs
// to has died. A vigil that was ended may still call it once. The thread is waiting
// for our answer to it, so its number is not anybody else's meanwhile.
//
// There is nothing to watch if thread is 0: the process is in a PID namespace whose
// processes we cannot see. The end of its descriptors has to do.
func (f *FS) watch(thread uint32, died func()) vigil {
	if thread == 0 {
		return vigil{}
	}
	fd, err := unix.PidfdOpen(int(leader(thread)), unix.PIDFD_NONBLOCK)
	if err != nil {
		f.log.Printf("pidfd of thread %d: %v", thread, err)
		return vigil{}
	}
	v := vigil{os.NewFile(uintptr(fd), "pidfd")}
	f.spawn("the watch for a death", func() {
		// pidfd_open(2): it polls readable when the process terminates.
		raw, err := v.pidfd.SyscallConn()
		if err == nil {
			err = raw.Read(terminated)
		}
		if err == nil {
			died()
		}
	})
	return v
}

func terminated(pidfd uintptr) bool {
	p := [1]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(p[:], 0)
	return n > 0 && err == nil
}

// end ends the vigil.
func (v vigil) end() {
	if v.pidfd != nil {
		v.pidfd.Close()
	}
}

// A writer is the process that has written last through an open file; nil is nobody.
type writer struct {
	thread, pid uint32
	pidfd       int // 0: it could not be opened
}

// noteWriter makes the process of thread, which waits for our answer, h's writer.
func (h *handle) noteWriter(thread uint32) {
	if h.writer != nil && h.writer.thread == thread {
		return
	}
	h.writer.forget()
	h.writer = &writer{thread: thread, pid: leader(thread)}
	if fd, err := unix.PidfdOpen(int(h.writer.pid), 0); err == nil {
		h.writer.pidfd = fd
	}
}

// forget ends the use of w.
func (w *writer) forget() {
	if w != nil && w.pidfd > 0 {
		unix.Close(w.pidfd)
	}
}

// killed reports whether a signal has ended the process, or is ending it. Nobody knows of
// one that we cannot see, nor before Linux 6.15 of one that has been waited for.
func (w *writer) killed() bool {
	if w == nil || w.pidfd == 0 {
		return false
	}
	// proc_pid_stat(5): the fields from state on, which is the third.
	const flags, exitCode = 9 - 3, 52 - 3
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.pid))
	if err == nil && unix.PidfdSendSignal(w.pidfd, 0, nil, 0) != unix.ESRCH { // else it is another's number by now
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > exitCode {
			const exiting = 0x4 // PF_EXITING, include/linux/sched.h
			bits, _ := strconv.ParseUint(fields[flags], 10, 32)
			code, _ := strconv.ParseUint(fields[exitCode], 10, 32)
			return bits&exiting != 0 && bySignal(int32(code))
		}
	}
	code, ok := exitCodeOf(w.pidfd)
	return ok && bySignal(code)
}

// bySignal reports whether a wait status, wait(2), is of a process that a signal ended.
func bySignal(status int32) bool { return status&0x7f != 0 }

// exitCodeOf asks a pidfd for the wait status of its process, which has been waited for:
// PIDFD_GET_INFO, include/uapi/linux/pidfd.h, since Linux 6.15.
func exitCodeOf(pidfd int) (status int32, ok bool) {
	const getInfo, infoExit = 0xc040ff0b, 1 << 3
	info := struct {
		mask, cgroup uint64
		ids          [11]uint32
		exitCode     int32
	}{mask: infoExit}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), getInfo, uintptr(unsafe.Pointer(&info)))
	return info.exitCode, errno == 0 && info.mask&infoExit != 0
}
