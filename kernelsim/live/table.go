package live

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"

	"ipcfs/kernelsim/scenario"
)

// States of a process, as the coordinator enters them.
const (
	alive = iota
	exited
	killed
)

// maxText is the longest text of a variable, in bytes.
const maxText = 16 << 10

// A table is what the processes of a run share: variables, sections, and who has
// ended. It is a mapped file, and flock(2) of it is the lock: the death of a process
// lets go of it.
type table struct {
	fd       int
	memory   []byte
	sections int // offsets
	values   int
	size     int
}

// Widths in bytes.
const (
	wordSize  = 8
	valueSize = 3*wordSize + maxText // is it a text, number, length, text
)

func openTable(s *scenario.Scenario, path string, fresh bool) (*table, error) {
	t := &table{}
	t.sections = wordSize * len(s.Instances())
	t.values = t.sections + wordSize*s.Sections()
	t.size = t.values + valueSize*len(s.Variables())
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	t.fd = fd
	if fresh {
		if err := syscall.Ftruncate(fd, int64(t.size)); err != nil {
			syscall.Close(fd)
			return nil, &os.PathError{Op: "truncate", Path: path, Err: err}
		}
	}
	t.memory, err = syscall.Mmap(fd, 0, t.size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		syscall.Close(fd)
		return nil, &os.PathError{Op: "mmap", Path: path, Err: err}
	}
	if fresh {
		for i, v := range s.Variables() {
			t.store(i, v)
		}
	}
	return t, nil
}

func (t *table) close() {
	_ = syscall.Munmap(t.memory)
	syscall.Close(t.fd)
}

// lock takes the lock, through all signals.
func (t *table) lock() {
	for {
		switch err := syscall.Flock(t.fd, syscall.LOCK_EX); err {
		case nil:
			return
		case syscall.EINTR:
		default:
			panic(fmt.Sprintf("live: lock of the variables: %v", err))
		}
	}
}

func (t *table) unlock() { _ = syscall.Flock(t.fd, syscall.LOCK_UN) }

func (t *table) word(at int) int64 { return int64(binary.NativeEndian.Uint64(t.memory[at:])) }

func (t *table) setWord(at int, n int64) { binary.NativeEndian.PutUint64(t.memory[at:], uint64(n)) }

func (t *table) load(i int) scenario.Value {
	at := t.values + i*valueSize
	v := scenario.Value{IsText: t.word(at) != 0, N: t.word(at + wordSize)}
	text := t.memory[at+3*wordSize:]
	v.Text = string(text[:t.word(at+2*wordSize)])
	return v
}

// store reports false if the text is too long.
func (t *table) store(i int, v scenario.Value) bool {
	if len(v.Text) > maxText {
		return false
	}
	at := t.values + i*valueSize
	isText := int64(0)
	if v.IsText {
		isText = 1
	}
	t.setWord(at, isText)
	t.setWord(at+wordSize, v.N)
	t.setWord(at+2*wordSize, int64(len(v.Text)))
	copy(t.memory[at+3*wordSize:], v.Text)
	return true
}

func (t *table) enter(section int, by int64) {
	at := t.sections + wordSize*section
	t.setWord(at, t.word(at)+by)
}

func (t *table) inside(section int) int64 { return t.word(t.sections + wordSize*section) }

func (t *table) setState(process int, state int64) { t.setWord(wordSize*process, state) }

func (t *table) state(process int) int64 { return t.word(wordSize * process) }

// A view sees the run as it stands. The table is locked, or everything is over.
type view struct {
	s     *scenario.Scenario
	t     *table
	place Place
	pids  []int
	err   error // of the first look that failed
}

func (g *view) Load(variable int) scenario.Value { return g.t.load(variable) }

func (g *view) Query(l scenario.Query) (n int64) {
	count := func(pass func(i int) bool) (n int64) {
		for i, other := range g.s.Instances() {
			if other.Process == l.Index && pass(i) {
				n++
			}
		}
		return n
	}
	var err error
	switch l.What {
	case "inside":
		return g.t.inside(l.Index)
	case "exited":
		return count(func(i int) bool { return g.t.state(i) != alive })
	case "killed":
		return count(func(i int) bool { return g.t.state(i) == killed })
	case "blocked":
		var parked map[int]bool
		parked, err = g.place.Parked(g.pids)
		n = count(func(i int) bool { return parked[g.pids[i]] })
	default:
		n, err = g.place.Query(l.What, l.Index)
	}
	if err != nil && g.err == nil {
		g.err = err
	}
	return n
}
