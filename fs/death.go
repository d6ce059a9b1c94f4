package fs

import (
	"os"

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
	fd, err := unix.PidfdOpen(int(thread), unix.PIDFD_NONBLOCK)
	if err == unix.EINVAL || err == unix.ENOENT {
		// pidfd_open(2): not the leader of its thread group.
		pid, _ := process(thread)
		fd, err = unix.PidfdOpen(int(pid), unix.PIDFD_NONBLOCK)
	}
	if err != nil {
		f.log.Printf("pidfd of thread %d: %v", thread, err)
		return vigil{}
	}
	v := vigil{os.NewFile(uintptr(fd), "pidfd")}
	go func() {
		// pidfd_open(2): it polls readable when the process terminates.
		raw, err := v.pidfd.SyscallConn()
		if err == nil {
			err = raw.Read(terminated)
		}
		if err == nil {
			died()
		}
	}()
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
