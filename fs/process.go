package fs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A processWatch waits for the death of a process, beside its descriptors: those that a
// child has inherited outlive it. It costs a descriptor of ours (a pidfd, watched by
// the runtime's epoll), booked on the process's user, and a sleeping goroutine, and ends
// with the death or with end. The zero processWatch waits for nothing.
type processWatch struct {
	pidfd *os.File
	fds   *descriptors
	uid   uint32
}

// watch calls died, from a goroutine of its own, when the process that thread belongs
// to has died. A watch that was ended may still call it once. The thread is waiting
// for our answer to it, so its number is not anybody else's meanwhile. ENFILE: there is
// no descriptor; what uid's process was to have it must not get.
//
// There is nothing to watch if thread is 0: the process is in a PID namespace whose
// processes we cannot see. The end of its descriptors has to do.
func (f *FS) watch(thread, uid uint32, died func()) (processWatch, syscall.Errno) {
	if thread == 0 {
		return processWatch{}, 0
	}
	if errno := f.fds.take(uid); errno != 0 {
		return processWatch{}, errno
	}
	fd, err := unix.PidfdOpen(int(leader(thread)), unix.PIDFD_NONBLOCK)
	if err != nil {
		f.fds.give(uid)
		if scarce(err) {
			f.fds.short(err)
			return processWatch{}, syscall.ENFILE
		}
		f.log.Printf("pidfd of thread %d: %v", thread, err)
		return processWatch{}, 0
	}
	v := processWatch{os.NewFile(uintptr(fd), "pidfd"), f.fds, uid}
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
	return v, 0
}

func terminated(pidfd uintptr) bool {
	p := [1]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(p[:], 0)
	return n > 0 && err == nil
}

// end ends the watch.
func (v processWatch) end() {
	if v.pidfd != nil && v.pidfd.Close() == nil { // else it was ended before
		v.fds.give(v.uid)
	}
}

// A writer is the process that has written last through an open file; nil is nobody.
type writer struct {
	thread, pid uint32
	files       uint64 // its table of descriptors, 0 if that is not known
	pidfd       int    // 0: it could not be opened
	fds         *descriptors
	uid         uint32 // on whom the pidfd is booked
	end         ending
}

// An ending is how a writer has closed its file.
type ending uint8

const (
	open   ending = iota // it has not, as far as we know
	closed               // close(2), exec(2) or exit(2)
	broken               // a signal has ended it
)

// noteWriter makes process, whose thread waits for our answer, h's writer. files
// is its table of descriptors. What it closed before was not the end.
func (h *handle) noteWriter(thread, process uint32, files uint64) {
	if h.writer != nil && h.writer.thread == thread && h.writer.files == files {
		h.writer.end = open
		return
	}
	h.writer.forget()
	h.writer = &writer{thread: thread, files: files, pid: process}
	fds, uid := h.file.object.fs.fds, h.opener.Uid
	if fds.take(uid) != 0 {
		return // FLUSH tells of nearly all endings, and a closing is what is assumed
	}
	fd, err := unix.PidfdOpen(int(h.writer.pid), 0)
	if err != nil {
		fds.give(uid)
		return
	}
	h.writer.pidfd, h.writer.fds, h.writer.uid = fd, fds, uid
}

// judge notes how thread, which waits for our answer, closes its copy of h: who is ended
// by a signal leaves what it has begun to write unfinished. The last close of the process
// that wrote last counts, or that of one with which it shares its table of descriptors.
//
// RELEASE comes too late for it: by then a process that has closed the file may have been
// killed as well.
func (h *handle) judge(thread uint32, files uint64) {
	w := h.lastWriter()
	if w == nil {
		return
	}
	own := leader(thread) == w.pid
	if !own && (w.files != files || files == 0) {
		return
	}
	end := endingOf(thread)
	o := h.file.object
	o.lock()
	defer o.mu.Unlock()
	if h.writer == w && (own || w.files == files && w.end == open) {
		w.end = end
	}
}

// lastWriter returns h's writer if how it closes h is to be judged, else nil.
func (h *handle) lastWriter() *writer {
	o := h.file.object
	if o == nil {
		return nil
	}
	o.lock()
	defer o.mu.Unlock()
	if !h.flushes {
		return nil
	}
	return h.writer
}

// endingOf is how thread, which waits for our answer, closes a file.
func endingOf(thread uint32) ending {
	switch exits, ok := exiting(thread); {
	case !ok:
		return open
	case !exits:
		return closed
	}
	// Of the thread alone: the sums over all threads of its process take long.
	code, ok := exitCode(fmt.Sprintf("/proc/%d/task/%d/stat", thread, thread))
	switch {
	case !ok:
		return open
	case bySignal(code):
		return broken
	}
	return closed
}

// forget ends the use of w.
func (w *writer) forget() {
	if w != nil && w.pidfd > 0 {
		unix.Close(w.pidfd)
		w.fds.give(w.uid)
	}
}

// uncertain reports whether only the process itself can tell how it has closed h: there
// was no FLUSH, because h was open before messages were framed, or wrote after it.
func (h *handle) uncertain() bool {
	o := h.file.object
	if o == nil {
		return false
	}
	o.lock()
	defer o.mu.Unlock()
	return h.writer != nil && h.writer.end == open
}

// learn finds out how the writer of h, which nobody has any more, has ended. It may wait
// for the kernel.
func (h *handle) learn() {
	w := h.writer
	w.end = closed
	if w.killed() {
		w.end = broken
	}
}

// broke reports whether a signal has ended the process in the middle of what it wrote.
func (w *writer) broke() bool { return w != nil && w.end == broken }

// killed reports whether a signal has ended the process, or is ending it. Nobody knows of
// one that we cannot see, nor before Linux 6.15 of one that has been waited for.
func (w *writer) killed() bool {
	if w.pidfd == 0 {
		return false
	}
	if exits, ok := exiting(w.pid); ok && exits && unix.PidfdSendSignal(w.pidfd, 0, nil, 0) != unix.ESRCH { // else it is another's number by now
		code, ok := exitCode(fmt.Sprintf("/proc/%d/stat", w.pid))
		return ok && bySignal(code)
	}
	code, ok := exitCodeOf(w.pidfd)
	return ok && bySignal(code)
}

// exiting reports whether the thread is ending: it has no memory any more, which goes
// before its descriptors do (do_exit, kernel/exit.c).
//
// Its stat file would say so as well. But the kernel lets nobody read that of a process
// in the middle of execve(2) (exec_update_lock), and there it waits for our answer to the
// FLUSH of what is closed on exec.
func exiting(thread uint32) (exits, ok bool) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", thread))
	return bytes.HasPrefix(statm, []byte("0 ")), err == nil
}

// exitCode reads the wait status from a stat file of proc(5). See exiting on when it may
// be called.
func exitCode(path string) (status int32, ok bool) {
	const field = 52 - 3 // exit_code; the fields from state on, which is the third
	stat, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) <= field {
		return 0, false
	}
	code, err := strconv.ParseInt(fields[field], 10, 32)
	return int32(code), err == nil
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
