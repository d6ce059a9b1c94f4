package tests

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ipcfs/kernelsim/scenario"
	"ipcfs/objects"
)

// native is a place with objects of the kernel's own.
type native struct {
	name     string
	declared []scenario.Declaration
	where    nativeAddress
	alone    []bool // FIFOs of which the scenario uses one end only
	held     []int

	files map[scenario.End]int // of a process
	lazy  map[scenario.End]bool
	holds map[int]int
}

type nativeAddress struct {
	Shared  string
	Objects []string // paths, names of queues, ids of semaphores
}

func newNative(t testing.TB, name string, s *scenario.Scenario) (*native, error) {
	n := findNative(name, s)
	dir := t.TempDir()
	n.where.Shared = filepath.Join(dir, "shared")
	if err := os.WriteFile(n.where.Shared, nil, 0o600); err != nil {
		return nil, err
	}
	for i, d := range n.declared {
		policy := map[string]string{}
		for j := 0; j < len(d.Policies); j += 2 {
			policy[d.Policies[j]] = d.Policies[j+1]
		}
		number := func(name string, otherwise int) int {
			if v, err := strconv.Atoi(policy[name]); err == nil {
				return v
			}
			return otherwise
		}
		var id string
		var err error
		switch name {
		case fifoName:
			id = filepath.Join(dir, d.Name)
			if err = syscall.Mkfifo(id, 0o600); err == nil {
				err = n.hold(id, number("capacity", 0))
			}
		case mqueueName:
			id = fmt.Sprintf("ipcfs-oracle-%d-%d-%d", os.Getpid(), time.Now().UnixNano(), i)
			// The names of the policies are those of mq_attr.
			attr := mqAttr{maxmsg: int64(number("capacity", 10)), msgsize: int64(number("max_message", 64))}
			var fd int
			if fd, err = mqOpen(id, syscall.O_CREAT|syscall.O_EXCL|syscall.O_RDWR, &attr); err == nil {
				syscall.Close(fd)
			}
		case sysvName:
			got, _, errno := syscall.Syscall(unix.SYS_SEMGET, 0 /* IPC_PRIVATE */, 1, 0o600)
			if errno == 0 {
				_, _, errno = syscall.Syscall6(unix.SYS_SEMCTL, got, 0, semSetVal, uintptr(number("value", 0)), 0, 0)
			}
			if id = strconv.Itoa(int(got)); errno != 0 {
				err = errno
			}
		}
		if err != nil {
			return nil, errors.Join(err, n.Remove())
		}
		n.where.Objects = append(n.where.Objects, id)
	}
	return n, nil
}

// findNative is what a process knows of the place without its address.
func findNative(name string, s *scenario.Scenario) *native {
	n := &native{name: name, declared: s.Declarations()}
	for object := range n.declared {
		n.alone = append(n.alone, s.Alone(object))
	}
	return n
}

// interruptible has signals end the waits of pipes and queues, which SA_RESTART, sigaction(2),
// would resume. That is how the runtime installs its handlers.
func interruptible(s syscall.Signal) error {
	const saRestart = 0x10000000
	var action struct {
		handler  uintptr
		flags    uint64
		restorer uintptr
		mask     uint64
	}
	size := unsafe.Sizeof(action.mask)
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), 0, uintptr(unsafe.Pointer(&action)), size, 0, 0); errno != 0 {
		return errno
	}
	action.flags &^= saRestart
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, size, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// hold opens both ends of a FIFO, so that no open of a process waits.
func (n *native) hold(path string, capacity int) error {
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	n.held = append(n.held, fd)
	if capacity > 0 {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, capacity)
	}
	return err
}

func (n *native) Name() string   { return n.name }
func (n *native) At() any        { return n.where }
func (n *native) Shared() string { return n.where.Shared }

func (n *native) Pending() (bool, error) { return false, nil }
func (n *native) Closing() (bool, error) { return false, nil } // close(2) has done it

func (n *native) Opened() {
	for _, fd := range n.held {
		syscall.Close(fd)
	}
	n.held = nil
}

func (n *native) Remove() error {
	n.Opened()
	var errs []error
	for i, id := range n.where.Objects {
		switch n.name {
		case mqueueName:
			name, err := syscall.BytePtrFromString(id)
			if err != nil {
				return err
			}
			if _, _, errno := syscall.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(name)), 0, 0); errno != 0 {
				errs = append(errs, fmt.Errorf("mq_unlink %s: %w", id, errno))
			}
		case sysvName:
			if !n.declared[i].Destroyed {
				_ = n.Destroy(i)
			}
		}
	}
	return errors.Join(errs...)
}

func (n *native) semaphore(object int) uintptr {
	id, _ := strconv.Atoi(n.where.Objects[object])
	return uintptr(id)
}

func (n *native) Query(what string, object int) (int64, error) {
	switch {
	case n.name == mqueueName && what == "messages":
		fd, err := mqOpen(n.where.Objects[object], syscall.O_RDONLY, nil)
		if err != nil {
			return 0, err
		}
		defer syscall.Close(fd)
		var attr mqAttr
		if _, _, errno := syscall.Syscall(unix.SYS_MQ_GETSETATTR, uintptr(fd), 0, uintptr(unsafe.Pointer(&attr))); errno != 0 {
			return 0, errno
		}
		return attr.curmsgs, nil
	case n.name == sysvName && what == "value":
		v, _, errno := syscall.Syscall(unix.SYS_SEMCTL, n.semaphore(object), 0, semGetVal)
		if errno == syscall.EINVAL || errno == syscall.EIDRM {
			return 0, nil // destroyed
		}
		if errno != 0 {
			return 0, errno
		}
		return int64(v), nil
	case n.name == fifoName && what == "bytes" && n.alone[object]:
		return 0, nil // to look would be to open the other end
	case n.name == fifoName && what == "bytes":
		fd, err := syscall.Open(n.where.Objects[object], syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return 0, err
		}
		defer syscall.Close(fd)
		held, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
		return int64(held), err
	}
	return 0, fmt.Errorf("a %s shows no %s", n.name, what)
}

// waits are the system calls in which a process waits, by mechanism.
var waits = map[string][]int{
	fifoName:   {unix.SYS_READ, unix.SYS_WRITE, unix.SYS_OPENAT},
	mqueueName: {unix.SYS_MQ_TIMEDSEND, unix.SYS_MQ_TIMEDRECEIVE},
	sysvName:   {unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP},
}

// Parked looks at the first threads: asleep (S) in the right system call of a file
// that is not one of the three for reports and orders.
func (n *native) Parked(pids []int) (map[int]bool, error) {
	const reports = 3
	parked := map[int]bool{}
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended
		}
		_, state, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
		call, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
		if err != nil {
			continue
		}
		var number int
		var fd uint64 // openat(2) has AT_FDCWD there
		if k, _ := fmt.Sscanf(string(call), "%d 0x%x", &number, &fd); k < 2 {
			continue // "running"
		}
		if state[0] == 'S' && slices.Contains(waits[n.name], number) && (n.name != fifoName || fd > reports) {
			parked[pid] = true
		}
	}
	return parked, nil
}

func (n *native) Open(ends []scenario.End) error {
	n.files, n.holds, n.lazy = map[scenario.End]int{}, map[int]int{}, map[scenario.End]bool{}
	for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2} { // of live
		if err := interruptible(s); err != nil {
			return err
		}
	}
	for _, e := range ends {
		if n.alone[e.Object] {
			n.lazy[e] = true // fifo(7): there is nobody to open the other end
			continue
		}
		var fd int
		var err error
		switch {
		case n.name == sysvName:
			continue
		case n.name == mqueueName:
			fd, err = mqOpen(n.where.Objects[e.Object], syscall.O_RDWR, nil)
		default:
			fd, err = n.openFIFO(e, 0)
		}
		if err != nil {
			return err
		}
		n.files[e] = fd
	}
	return nil
}

func (n *native) openFIFO(e scenario.End, flags int) (int, error) {
	if e.Op == objects.Write {
		flags |= syscall.O_WRONLY
	}
	return syscall.Open(n.where.Objects[e.Object], flags|syscall.O_CLOEXEC, 0)
}

func (n *native) Do(o scenario.Operation) ([]byte, syscall.Errno) {
	if n.name == sysvName {
		return nil, n.semop(o)
	}
	fd, ok := n.files[o.End]
	if !ok && n.lazy[o.End] {
		flags := 0
		if o.Nonblock {
			flags = syscall.O_NONBLOCK
		}
		got, err := n.openFIFO(o.End, flags)
		if err != nil {
			errno, _ := err.(syscall.Errno)
			return nil, errno
		}
		delete(n.lazy, o.End)
		fd, ok = got, true
		n.files[o.End] = fd
		_ = syscall.SetNonblock(fd, false)
	}
	if !ok {
		return nil, syscall.EBADF
	}
	if o.Nonblock {
		_ = syscall.SetNonblock(fd, true)
		defer func() { _ = syscall.SetNonblock(fd, false) }()
	}
	if n.name == mqueueName {
		return mqTransfer(fd, o)
	}
	var err error
	var data []byte
	if o.Op == objects.Write {
		_, err = syscall.Write(fd, o.Data)
	} else {
		data = make([]byte, o.Size)
		var got int
		got, err = syscall.Read(fd, data)
		data = data[:max(got, 0)]
	}
	errno, _ := err.(syscall.Errno)
	return data, errno
}

func (n *native) Close(object int, held bool) {
	for ; n.holds[object] > 0; n.holds[object]-- {
		_ = n.semop(scenario.Operation{Op: objects.Release, End: scenario.End{Object: object}})
	}
	if held {
		return
	}
	maps.DeleteFunc(n.lazy, func(e scenario.End, _ bool) bool { return e.Object == object })
	for _, e := range slices.Collect(maps.Keys(n.files)) {
		if e.Object == object {
			syscall.Close(n.files[e])
			delete(n.files, e)
		}
	}
}

func (n *native) SetPolicy(int, string, string) syscall.Errno { return syscall.ENOSYS }

func (n *native) Destroy(object int) error {
	if n.name == sysvName {
		_, _, _ = syscall.Syscall(unix.SYS_SEMCTL, n.semaphore(object), 0, unix.IPC_RMID)
	}
	return nil
}

// Commands of semctl(2), a flag of semop(2).
const (
	semGetVal = 12     // GETVAL
	semSetVal = 16     // SETVAL
	semUndo   = 0x1000 // SEM_UNDO
	ipcNowait = 0o4000 // IPC_NOWAIT
)

// semop carries out a Wait, Post, Hold or Release. semop(2): an operation with
// SEM_UNDO is undone when the process ends, which is what a hold is.
func (n *native) semop(o scenario.Operation) syscall.Errno {
	op := struct {
		number uint16
		by     int16
		flags  int16
	}{}
	switch o.Op {
	case objects.Wait:
		op.by = -int16(o.Units)
	case objects.Post:
		op.by = int16(o.Units)
	case objects.Hold:
		op.by, op.flags = -1, semUndo
	case objects.Release:
		op.by, op.flags = 1, semUndo
	}
	if o.Nonblock {
		op.flags |= ipcNowait
	}
	var span *syscall.Timespec
	if o.Within > 0 {
		t := syscall.NsecToTimespec(int64(o.Within))
		span = &t
	}
	_, _, errno := syscall.Syscall6(unix.SYS_SEMTIMEDOP, n.semaphore(o.End.Object), uintptr(unsafe.Pointer(&op)), 1, uintptr(unsafe.Pointer(span)), 0, 0)
	if errno == syscall.EAGAIN && o.Within > 0 && !o.Nonblock {
		errno = syscall.ETIMEDOUT // semtimedop(2) has one errno for both
	}
	if errno == 0 && o.Op == objects.Hold {
		n.holds[o.End.Object]++
	}
	return errno
}

// mqAttr is struct mq_attr, mq_getattr(3).
type mqAttr struct {
	flags, maxmsg, msgsize, curmsgs int64
	_                               [4]int64
}

func mqOpen(name string, flags int, attr *mqAttr) (int, error) {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return 0, err
	}
	fd, _, errno := syscall.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(p)), uintptr(flags|syscall.O_CLOEXEC), 0o600, uintptr(unsafe.Pointer(attr)), 0, 0)
	if errno != 0 {
		return 0, fmt.Errorf("mq_open %s: %w", name, errno)
	}
	return int(fd), nil
}

func mqTransfer(fd int, o scenario.Operation) ([]byte, syscall.Errno) {
	var deadline *syscall.Timespec
	if o.Within > 0 {
		t := syscall.NsecToTimespec(time.Now().Add(time.Duration(o.Within)).UnixNano())
		deadline = &t
	}
	data := o.Data
	number := uintptr(unix.SYS_MQ_TIMEDSEND)
	if o.Op == objects.Receive {
		number = unix.SYS_MQ_TIMEDRECEIVE
		data = make([]byte, 8192)
	}
	priority, _ := strconv.Atoi(o.End.Label.Value)
	first := unsafe.SliceData(append(data, 0))
	got, _, errno := syscall.Syscall6(number, uintptr(fd), uintptr(unsafe.Pointer(first)), uintptr(len(data)), uintptr(priority), uintptr(unsafe.Pointer(deadline)), 0)
	if o.Op != objects.Receive || errno != 0 {
		return nil, errno
	}
	return unsafe.Slice(first, got), 0
}
