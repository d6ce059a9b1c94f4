package tests

import (
	"encoding/json"
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

	"ipcfs/kernelsim"
	"ipcfs/kernelsim/live"
	"ipcfs/objects"
)

// The kernel is the oracle: small scripts run in the simulator, through all their
// interleavings, and for real, on the mount and by the kernel's own mechanism. What
// happens for real, down to each result of each process, is always something that the
// simulation allows.
//
// Where the mechanisms differ by design there is no script: System V semaphores let a
// small request overtake a big one that waits, a pipe of the kernel frees its memory by
// pages, and SA_RESTART resumes reads of pipes and queues.
type script struct {
	name   string
	native string // the kernel's mechanism, "" if it has none like it
	source string
}

var scripts = []script{
	{"messages come in order", mqueueName, `
mailbox a
process p:
  send a "1"
  send a "2"
  send a "3"
process q:
  repeat 3:
    receive a -> x
`},
	{"two senders", mqueueName, `
mailbox a
process p * 2:
  send a "first of " + me
  send a "second of " + me
process q:
  repeat 4:
    receive a -> x
`},
	{"two receivers", mqueueName, `
mailbox a
process p:
  send a "1"
  send a "2"
process q * 2:
  receive a -> x
`},
	{"a full queue makes its sender wait", mqueueName, `
mailbox a capacity=1
process p:
  send a "1"
  send a "2"
  send a "3"
process q:
  repeat 3:
    receive a -> x
`},
	{"full and empty without waiting", mqueueName, `
mailbox a capacity=1
process p:
  try send a "1" nonblock
  try send a "2" nonblock
  try receive a -> x nonblock
  try receive a -> x nonblock
`},
	{"a race with a receiver that does not wait", mqueueName, `
mailbox a
process p:
  try receive a -> x nonblock
  try receive a -> x nonblock
process q:
  send a "1"
`},
	{"nobody sends", mqueueName, `
mailbox a
process p * 2:
  receive a -> x
process q:
  send a "1"
`},
	{"a deadlock of two", mqueueName, `
mailbox a
mailbox b
process p:
  receive a -> x
  send b "p"
process q:
  receive b -> x
  send a "q"
`},
	{"a time-out against a message", mqueueName, `
mailbox a
process p:
  try receive a -> x within 1ms
process q:
  sleep 1ms
  send a "1"
`},
	{"a sender's time-out", mqueueName, `
mailbox a capacity=1
process p:
  send a "1"
  try send a "2" within 2ms
`},
	{"a message that is too long", mqueueName, `
mailbox a max_message=8
process p:
  try send a "123456789"
  try send a "12345678"
  receive a -> x
`},
	{"a killed receiver takes no message with it", mqueueName, `
mailbox a
process p:
  receive a -> x
process q:
  while blocked(p) == 0:
    yield
  kill p
  send a "1"
process r:
  receive a -> x
`},
	{"the highest priority first, and in order within one", mqueueName, `
mailbox a order=priority
process p:
  send a "1" priority 1
  send a "2" priority 31
  send a "3" priority 1
  send a "4"
process q:
  repeat 4:
    receive a -> x
`},
	{"priorities of two senders at a full queue", mqueueName, `
mailbox a order=priority capacity=1
process p:
  send a "low" priority 2
process q:
  send a "high" priority 3
  send a "highest" priority 4
process r:
  repeat 3:
    receive a -> x
`},
	{"bytes come in order, then end of file", fifoName, `
pipe a
process p:
  write a "abc"
  write a "defgh"
  close a
process q:
  x = "?"
  got = ""
  while x != "":
    read a 4 -> x
    got = got + x
  print got
`},
	{"small writes are whole", fifoName, `
pipe a
process p * 2:
  write a "<" + me + ">"
process q:
  read a 3 -> x
  read a 3 -> x
`},
	{"nobody reads", fifoName, `
pipe a
process p:
  write a "1"
  while exited(q) == 0:
    yield
  try write a "2"
process q:
  read a -> x
`},
	{"empty, then ended, without waiting", fifoName, `
pipe a
process p:
  try read a -> x nonblock
  while exited(q) == 0:
    yield
  try read a -> x nonblock
  try read a -> x nonblock
process q:
  write a "1"
`},
	{"a full pipe without waiting", fifoName, `
pipe a capacity=4096
process p:
  write a "` + strings.Repeat("x", 4096) + `"
  try write a "y" nonblock
  read a 4096 -> x
  try write a "y" nonblock
  read a -> x
`},
	{"a full pipe makes its writer wait", fifoName, `
pipe a capacity=4096
process p:
  write a "` + strings.Repeat("x", 4096) + `"
  write a "y"
process q:
  read a 4096 -> x
  read a -> y
  read a -> z
`},
	{"two readers", fifoName, `
pipe a
process p:
  write a "12"
process q * 2:
  read a 1 -> x
`},
	{"a deadlock over two pipes", fifoName, `
pipe a
pipe b
process p:
  read a -> x
  write b "p"
process q:
  read b -> x
  write a "q"
`},
	{"the death of the writer is end of file", fifoName, `
pipe a
pipe b
process p:
  write a "1"
  read b -> x
process q:
  while blocked(p) == 0:
    yield
  kill p
process r:
  read a -> x
  read a -> x
process s:
  while exited(r) == 0:
    yield
  try write b "2"
`},
	{"wait and post", sysvName, `
semaphore s
process p:
  wait s
  wait s
process q:
  post s
  post s
`},
	{"one unit for two", sysvName, `
semaphore s
process p * 2:
  wait s
process q:
  post s
`},
	{"two units at once", sysvName, `
semaphore s
process p:
  wait s 2
process q * 2:
  post s
`},
	{"no unit, without waiting", sysvName, `
semaphore s value=1
process p * 2:
  try wait s nonblock
`},
	{"a time-out against a post", sysvName, `
semaphore s
process p:
  try wait s within 1ms
process q:
  sleep 1ms
  post s
`},
	{"mutual exclusion", sysvName, `
semaphore s value=1
shared n = 0
process p * 3:
  repeat 2:
    wait s
    n = n + 1
    post s
finally n == 6
`},
	{"the death of the holder gives back", sysvName, `
semaphore s value=1
process p:
  hold s
  wait s
process q:
  while blocked(p) == 0:
    yield
  kill p
  hold s
  release s
`},
	{"the end of the holder gives back", sysvName, `
semaphore s value=1
process p * 2:
  hold s
`},
	{"destroyed while one waits", sysvName, `
semaphore s
process p:
  try wait s
process q:
  while blocked(p) == 0:
    yield
  destroy s
`},
	{"a signal ends a wait", sysvName, `
semaphore s
process p:
  try wait s
process q:
  while blocked(p) == 0:
    yield
  signal p
`},
	{"rendezvous", "", `
mailbox a capacity=0
process p:
  send a "1"
  try send a "2" nonblock
process q:
  receive a -> x
`},
	{"the oldest is dropped", "", `
mailbox a capacity=1 overflow=drop-oldest
process p * 2:
  send a "from " + me
process q:
  receive a -> x
  try receive a -> x nonblock
`},
	{"the newest is dropped", "", `
mailbox a capacity=1 overflow=drop-newest
process p:
  send a "1"
  send a "2"
process q:
  receive a -> x
  try receive a -> x nonblock
`},
	{"a signal ends a receive, and takes nothing", "", `
mailbox a
process p:
  try receive a -> x
process q:
  while blocked(p) == 0:
    yield
  signal p
  send a "1"
`},
	{"who selects gets what was selected", "", `
mailbox a capacity=2
process p:
  send a "1" topic "red"
  send a "2" topic "blue"
  send a "3" priority 7
  send a "4"
process q:
  receive a topic "blue" -> x
  receive a priority 7 -> x
process r:
  receive a topic "red" -> x
  receive a from 0 -> x
  try receive a from 1 -> x nonblock
`},
	{"an urgent message against a full mailbox", "", `
mailbox a capacity=1
process p:
  send a "1"
  send a "2"
process q:
  send a "3" urgent
process r:
  receive a -> x
  try receive a urgent -> x nonblock
  receive a -> x
  receive a -> x
`},
	{"who waits for a topic is past the others", "", `
mailbox a capacity=0
process p:
  try send a "1" within 1ms
process q:
  send a "2" topic "red"
process r:
  receive a topic "red" -> x
`},
	{"what has expired makes room", "", `
mailbox a capacity=1 ttl=1ms
process p:
  send a "1"
  send a "2"
  sleep 2ms
  try receive a -> x nonblock
`},
	{"opened again", "", `
mailbox a
process p:
  try send a "1"
  open a
  open a
  send a "2"
  close a
  try send a "3"
  open a
  receive a -> x
`},
	{"messages that overtake a stream", "", `
pipe a lifetime=persistent
process p:
  write a "1"
  send a "2"
  send a "3"
process q:
  receive a -> x
  receive a -> x
  read a -> x
`},
	{"leases that end in each way", "", `
mailbox d
mailbox a max_deliveries=2 dead_letters=d
process p:
  send a "1"
  send a "2"
process q:
  lease a -> x
  try lease a -> x
  nack a
  lease a -> x
  ack a
  try ack a
  lease a -> x
  close a
process r:
  receive d -> x
`},
	{"a lease that is extended, and one that runs out", "", `
mailbox a lease_time=1s
process p:
  send a "1"
  lease a -> x
  extend a 1ms
  sleep 3ms
  try extend a 1s
  try ack a
  receive a -> x
`},
	{"the death of who has a lease", "", `
mailbox a
mailbox b
process p:
  lease a -> x
  lease b -> x
process q:
  send a "1"
  while blocked(p) == 0 or messages(a) > 0:
    yield
  kill p
process r:
  while killed(p) == 0:
    yield
  lease a -> x
  ack a
`},
	{"receipts", "", `
mailbox a capacity=1 overflow=drop-oldest
process p:
  receipt a -> x
  send a "1"
  receipt a -> x
  receipt a -> x
  send a "2"
  flush a
  receipt a -> x
process q:
  receive a -> x
  try receive a -> x nonblock
`},
	{"a receipt of what expires", "", `
mailbox a ttl=1ms
process p:
  send a "1"
  receipt a -> x
  try send a "2"
  try receipt a -> x nonblock
  receipt a -> x within 10s
`},
	{"everyone hears it", "", `
mailbox a receivers=broadcast capacity=1
process p:
  send a "1"
  send a "2"
process q * 2:
  receive a -> x
  receive a -> x
`},
	{"everyone comes to a rendezvous", "", `
mailbox a receivers=broadcast capacity=0
process p:
  send a "1"
  receipt a -> x
process q * 2:
  receive a -> x
`},
	{"one receives", "", `
mailbox a receivers=single
mailbox b
process p:
  open a
  receive a -> x
  close a
  send b "done"
process q:
  send a "1"
  send a "2"
process r:
  receive b -> x
  open a
  receive a -> x
`},
	{"a third is refused", "", `
mailbox a receivers=pair
semaphore s
process p:
  send a "1"
  wait s
process q:
  receive a -> x
  wait s
process r:
  try open a
  post s
  post s
  try send a "2"
`},
	{"lines", "", `
mailbox a framing=line capacity=1
process p * 2:
  send a "of " + me + "\n" + "more "
  send a "of " + me + "\n"
  send a "rest"
process q:
  repeat 6:
    receive a -> x
`},
	{"what is written until the file is closed", "", `
mailbox a framing=close
process p * 2:
  send a "1"
  send a "2"
process q:
  repeat 2:
    receive a -> x
`},
	{"who is killed has sent nothing of it", "", `
mailbox a framing=close
semaphore s
process p:
  send a "1"
  wait s
process q:
  while blocked(p) == 0:
    yield
  kill p
process r:
  while killed(p) == 0:
    yield
  sleep 1ms
  try receive a -> x nonblock
`},
	{"first come, first served, however many units", "", `
semaphore s
process p:
  wait s 2
process q:
  while blocked(p) == 0:
    yield
  try wait s nonblock
  post s
  try wait s nonblock
  post s
`},
}

// oracleRuns is how often each script runs for real, in each place.
const oracleRuns = 3

func TestWhatHappensForRealIsWhatTheSimulationAllows(t *testing.T) {
	t.Parallel()
	m := mount(t)
	for _, c := range scripts {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := kernelsim.Parse("script", []byte(c.source))
			if err != nil {
				t.Fatal(err)
			}
			allowed := endings(t, s, true, kernelsim.Ending.String)
			check := func(where string, e kernelsim.Ending) {
				t.Helper()
				if !slices.Contains(allowed, e.String()) {
					t.Errorf("on %s:\n%s\nwhich is none of these %d:\n%s", where, e, len(allowed), strings.Join(allowed, "\n"))
				}
			}
			seen := map[string]bool{}
			for range oracleRuns {
				o, _, _ := m.simulateOn(t, []byte(c.source), "--time", patience.String())
				check("the mount", o.Ending)
				seen[o.Ending.String()] = true
			}
			for range oracleRuns {
				if c.native != "" {
					e := runNative(t, c.native, s, []byte(c.source))
					check(c.native, e)
					seen[e.String()] = true
				}
			}
			t.Logf("%d of %d endings seen", len(seen), len(allowed))
		})
	}
}

func TestOracleKnowsAWrongEnding(t *testing.T) {
	s, err := kernelsim.Parse("script", []byte(scripts[0].source))
	if err != nil {
		t.Fatal(err)
	}
	all := endings(t, s, true, kernelsim.Ending.String)
	if len(all) != 1 {
		t.Fatalf("endings\n%s\nwant one", strings.Join(all, "\n"))
	}
	e := runNative(t, mqueueName, s, []byte(strings.Replace(scripts[0].source, `"3"`, `"4"`, 1)))
	if slices.Contains(all, e.String()) {
		t.Errorf("another message makes no difference:\n%s", e)
	}
}

// runNative runs s by a mechanism of the kernel's.
func runNative(t testing.TB, name string, s *kernelsim.Scenario, source []byte) kernelsim.Ending {
	t.Helper()
	place, err := newNative(t, name, s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	result, err := live.Run(t.Context(), s, source, place, live.Options{Command: []string{self, oracleProcess}, Time: patience})
	if err = errors.Join(err, place.Remove()); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if result.Outcome.Result == "unfinished" {
		t.Fatalf("%s: not finished within %v", name, patience)
	}
	return result.Ending
}

// oracleProcess is the argument with which the test binary is a process of a script.
const oracleProcess = "oracle-process"

// In an init function this is the first thread, which /proc/PID shows.
func init() {
	if len(os.Args) == 2 && os.Args[1] == oracleProcess {
		places := map[string]live.Find{}
		for _, name := range []string{fifoName, mqueueName, sysvName} {
			places[name] = func(at json.RawMessage, s *kernelsim.Scenario) (live.Place, error) {
				n := &native{name: name, declared: s.Declarations()}
				return n, json.Unmarshal(at, &n.where)
			}
		}
		live.Process(places)
		os.Exit(0)
	}
}

const (
	fifoName   = "FIFO"
	mqueueName = "mqueue"
	sysvName   = "System V semaphore"
)

// native is a place with objects of the kernel's own.
type native struct {
	name     string
	declared []kernelsim.Declaration
	where    nativeAddress
	held     []int

	files map[kernelsim.End]int // of a process
	holds map[int]int
}

type nativeAddress struct {
	Shared  string
	Objects []string // paths, names of queues, ids of semaphores
}

func newNative(t testing.TB, name string, s *kernelsim.Scenario) (*native, error) {
	n := &native{name: name, declared: s.Declarations()}
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

func (n *native) Look(what string, object int) (int64, error) {
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
	fifoName:   {unix.SYS_READ, unix.SYS_WRITE},
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
		var number, fd int
		if k, _ := fmt.Sscanf(string(call), "%d 0x%x", &number, &fd); k < 2 {
			continue // "running"
		}
		if state[0] == 'S' && slices.Contains(waits[n.name], number) && (n.name != fifoName || fd > reports) {
			parked[pid] = true
		}
	}
	return parked, nil
}

func (n *native) Open(ends []kernelsim.End) error {
	n.files, n.holds = map[kernelsim.End]int{}, map[int]int{}
	for _, e := range ends {
		var fd int
		var err error
		switch {
		case n.name == sysvName:
			continue
		case n.name == mqueueName:
			fd, err = mqOpen(n.where.Objects[e.Object], syscall.O_RDWR, nil)
		case e.Op == objects.Read:
			fd, err = syscall.Open(n.where.Objects[e.Object], syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		default:
			fd, err = syscall.Open(n.where.Objects[e.Object], syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
		}
		if err != nil {
			return err
		}
		n.files[e] = fd
	}
	return nil
}

func (n *native) Do(o kernelsim.Operation) ([]byte, syscall.Errno) {
	if n.name == sysvName {
		return nil, n.semop(o)
	}
	fd, ok := n.files[o.End]
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
		_ = n.semop(kernelsim.Operation{Op: objects.Release, End: kernelsim.End{Object: object}})
	}
	if held {
		return
	}
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
func (n *native) semop(o kernelsim.Operation) syscall.Errno {
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

func mqTransfer(fd int, o kernelsim.Operation) ([]byte, syscall.Errno) {
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
