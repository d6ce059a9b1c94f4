package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// maxMeasured is the largest message measured, in bytes.
const maxMeasured = 1 << 20

// maxMailbox is the largest a mailbox takes, the default of max_message.
const maxMailbox = 1<<20 - 8<<10

// A bench is what the measurements need. Descriptors that are not open are 0.
type bench struct {
	pageSize int
	from, to []byte
	queue    [2]int // a kernel queue of messages
	longest  int    // the longest message it takes, as far as is measured
	full     [2]int // two of notices
	empty    [2]int
	ping     [2]int
	pong     [2]int
	segment  int
	mapped   []byte // all of the segment
	mount    *mountBench
	sink     byte
}

// A mountBench is what they need on a mount.
type mountBench struct {
	objects       []string // the paths of all that is made there
	send, receive int      // of a mailbox
	refused       int      // send of a mailbox that is full
	renewed       int      // send of a mailbox that drops the oldest
	nothing       int      // receive of an empty mailbox
	full, empty   int      // semaphores, open for reading and writing
}

// newBench makes what is measured, on the mount at dir if it is not empty.
func newBench(dir string) (b *bench, err error) {
	b = &bench{pageSize: os.Getpagesize(), from: make([]byte, maxMeasured), to: make([]byte, maxMeasured)}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	for _, p := range []*[2]int{&b.queue, &b.full, &b.empty} {
		if *p, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0); err != nil {
			return b, err
		}
	}
	if unix.SetsockoptInt(b.queue[0], unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4*maxMeasured) != nil {
		_ = unix.SetsockoptInt(b.queue[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 4*maxMeasured)
	}
	b.longest = maxMeasured
	for b.longest > 1<<10 && b.queued(b.longest) != nil {
		b.longest /= 2
	}
	for _, p := range []*[2]int{&b.ping, &b.pong} {
		if err = unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return b, err
		}
	}
	go b.echo()
	if dir == "" {
		b.segment, err = unix.MemfdCreate("calibrate", unix.MFD_CLOEXEC)
	} else {
		err = b.onMount(dir)
	}
	if err != nil {
		return b, err
	}
	if _, err = unix.Write(b.segment, b.from); err != nil {
		return b, err
	}
	if b.mapped, err = unix.Mmap(b.segment, 0, maxMeasured, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return b, err
	}
	_, err = unix.Write(b.empty[0], b.from[:1]) // the segment is free
	return b, err
}

// onMount makes objects on the mount at dir.
func (b *bench) onMount(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, ".ipcfs", "version")); err != nil {
		return fmt.Errorf("%s: no ipcfs is mounted there", dir)
	}
	m := &mountBench{}
	b.mount = m
	name := fmt.Sprintf("calibrate-%d", os.Getpid())
	var err error
	open := func(fd *int, path string, flags int) {
		if err == nil {
			if *fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0o600); err != nil {
				*fd, err = 0, fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	create := func(kind, suffix, policy, value string) (path string) {
		path = filepath.Join(dir, kind, name+suffix)
		if err == nil {
			if err = os.Mkdir(path, 0o700); err == nil {
				m.objects = append(m.objects, path)
			}
		}
		if err == nil && policy != "" {
			err = os.WriteFile(filepath.Join(path, policy), []byte(value), 0)
		}
		return path
	}
	file := func(fd *int, kind, suffix string) {
		path := filepath.Join(dir, kind, name+suffix)
		if open(fd, path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL); err == nil {
			m.objects = append(m.objects, path)
		}
	}
	file(&b.segment, "segments", "")
	file(&m.full, "semaphores", "-full")
	file(&m.empty, "semaphores", "-empty")
	path := create("mailboxes", "", "", "")
	open(&m.send, path+"/send", unix.O_WRONLY)
	open(&m.receive, path+"/stream", unix.O_RDONLY)
	path = create("mailboxes", "-none", "", "")
	open(&m.nothing, path+"/stream", unix.O_RDONLY|unix.O_NONBLOCK)
	path = create("mailboxes", "-refused", "capacity", "1\n")
	open(&m.refused, path+"/send", unix.O_WRONLY|unix.O_NONBLOCK)
	path = create("mailboxes", "-renewed", "capacity", "1\n")
	if err == nil {
		err = os.WriteFile(path+"/overflow", []byte("drop-oldest\n"), 0)
	}
	open(&m.renewed, path+"/send", unix.O_WRONLY)
	if err == nil {
		_, err = unix.Write(m.refused, b.from[:1]) // fills it
	}
	if err == nil {
		err = m.give(m.empty)
	}
	return err
}

func (b *bench) close() {
	if b.mapped != nil {
		_ = unix.Munmap(b.mapped)
	}
	// The end of the echo's pipe is its end.
	for _, fd := range []int{b.queue[0], b.queue[1], b.full[0], b.full[1], b.empty[0], b.empty[1], b.ping[1], b.pong[0], b.segment} {
		closeOpen(fd)
	}
	m := b.mount
	if m == nil {
		return
	}
	for _, fd := range []int{m.send, m.receive, m.refused, m.renewed, m.nothing, m.full, m.empty} {
		closeOpen(fd)
	}
	for _, path := range m.objects {
		_ = os.WriteFile(path+"/flush", []byte("1\n"), 0) // only a mailbox has one
		_ = os.Remove(path)
	}
}

func closeOpen(fd int) {
	if fd > 0 {
		unix.Close(fd)
	}
}

// echo answers each byte of ping with one of pong, on a thread of its own.
func (b *bench) echo() {
	runtime.LockOSThread()
	one := make([]byte, 1)
	for {
		if n, err := unix.Read(b.ping[0], one); n != 1 || err != nil {
			unix.Close(b.ping[0])
			unix.Close(b.pong[1])
			return
		}
		if _, err := unix.Write(b.pong[1], one); err != nil {
			return
		}
	}
}

func (b *bench) roundTrip(int) error {
	one := b.to[:1]
	if _, err := unix.Write(b.ping[1], one); err != nil {
		return err
	}
	_, err := unix.Read(b.pong[0], one)
	return err
}

// mapping maps n bytes of the segment anew, touches them and takes the mapping off
// again.
func (b *bench) mapping(n int, write bool) error {
	protection := unix.PROT_READ
	if write {
		protection |= unix.PROT_WRITE
	}
	m, err := unix.Mmap(b.segment, 0, n, protection, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	b.touch(m, write)
	return unix.Munmap(m)
}

// mappings are one to write and one to read.
func (b *bench) mappings(n int) error {
	if err := b.mapping(n, true); err != nil {
		return err
	}
	return b.mapping(n, false)
}

// touch writes or reads a byte of each page, as who makes a message in place or looks
// at one does at least.
func (b *bench) touch(m []byte, write bool) {
	for at := 0; at < len(m); at += b.pageSize {
		if write {
			m[at]++
		} else {
			b.sink += m[at]
		}
	}
}

// touches writes and reads n bytes of the segment that is mapped.
func (b *bench) touches(n int) error {
	b.touch(b.mapped[:n], true)
	b.touch(b.mapped[:n], false)
	return nil
}

// take reads a message of n bytes.
func (b *bench) take(from, n int) error {
	got, err := unix.Read(from, b.to[:n])
	if err == nil && got != n {
		err = fmt.Errorf("%d bytes of %d arrived", got, n)
	}
	return err
}

// pass writes a message of n bytes to one descriptor and reads it from another.
func (b *bench) pass(to, from, n int) error {
	if _, err := unix.Write(to, b.from[:n]); err != nil {
		return err
	}
	return b.take(from, n)
}

func (b *bench) queued(n int) error { return b.pass(b.queue[0], b.queue[1], n) }

// noticed hands the segment over to the receiver and back, with notices in queues of
// the kernel; use is what either does with it.
func (b *bench) noticed(use func(write bool) error) error {
	if err := b.take(b.empty[1], 1); err != nil {
		return err
	}
	if err := use(true); err != nil {
		return err
	}
	if err := b.pass(b.full[0], b.full[1], 1); err != nil {
		return err
	}
	if err := use(false); err != nil {
		return err
	}
	_, err := unix.Write(b.empty[0], b.from[:1])
	return err
}

// reused is a message of n bytes in the segment that both sides have mapped.
func (b *bench) reused(n int) error {
	return b.noticed(func(write bool) error { b.touch(b.mapped[:n], write); return nil })
}

// anew is a message of n bytes in the segment that both sides map for it.
func (b *bench) anew(n int) error {
	return b.noticed(func(write bool) error { return b.mapping(n, write) })
}

func (m *mountBench) mailbox(b *bench) func(n int) error {
	return func(n int) error { return b.pass(m.send, m.receive, n) }
}

// semaphores is a message of n bytes in the segment that both sides have mapped, with
// semaphores that say whose turn it is.
func (m *mountBench) semaphores(b *bench) func(n int) error {
	return func(n int) error {
		if err := m.take(m.empty); err != nil {
			return err
		}
		b.touch(b.mapped[:n], true)
		if err := m.give(m.full); err != nil {
			return err
		}
		if err := m.take(m.full); err != nil {
			return err
		}
		b.touch(b.mapped[:n], false)
		return m.give(m.empty)
	}
}

// give gives the semaphore fd a unit.
func (m *mountBench) give(fd int) error {
	_, err := unix.Write(fd, []byte("\n"))
	return err
}

// take takes a unit of the semaphore fd.
func (m *mountBench) take(fd int) error {
	var left [32]byte
	_, err := unix.Read(fd, left[:])
	return err
}

// refuses sends n bytes in vain: they reach the daemon, which does not keep them.
func (m *mountBench) refuses(b *bench) func(n int) error {
	return func(n int) error {
		if _, err := unix.Write(m.refused, b.from[:n]); err != unix.EAGAIN {
			return fmt.Errorf("send to a full mailbox: %v", err)
		}
		return nil
	}
}

// renews sends n bytes, which the daemon keeps in place of the last.
func (m *mountBench) renews(b *bench) func(n int) error {
	return func(n int) error {
		_, err := unix.Write(m.renewed, b.from[:n])
		return err
	}
}

// receivesNothing asks the daemon for a message that is not there.
func (m *mountBench) receivesNothing(b *bench) func(int) error {
	return func(int) error {
		if _, err := unix.Read(m.nothing, b.to[:1]); err != unix.EAGAIN {
			return fmt.Errorf("receive from an empty mailbox: %v", err)
		}
		return nil
	}
}
