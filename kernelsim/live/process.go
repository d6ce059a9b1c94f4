package live

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"ipcfs/kernelsim/kernel"
	"ipcfs/kernelsim/scenario"
	"ipcfs/objects"
)

// reportFD is the descriptor of a process's end of the pipe for reports.
const reportFD = 3

// An assignment tells a process what it is. It is one line of JSON on its standard
// input; another follows when all are ready.
type assignment struct {
	File   string
	Source []byte
	Place  string
	At     json.RawMessage
	Shared string
	Index  int // in Instances
	Seed   *uint64
	Turns  bool // it asks for its turn
}

// A report is a line of JSON from a process to the coordinator.
type report struct {
	Process int
	Kind    reportKind
	Time    int64 // nanoseconds of the Unix epoch
	Text    string
	Timed   bool // of begins: it ends by itself
	Line    int  // of the statement
	Stored  *stored
	Target  int // of kills and signals: the index of the declaration; of ready: the thread; of turns: how many there were
}

// A stored is what a process has stored in a shared variable.
type stored struct {
	Variable int
	Value    string // as a scenario spells it
}

type reportKind string

const (
	ready    reportKind = "ready"
	begins   reportKind = "begins"
	ends     reportKind = "ends" // an operation
	ended    reportKind = "over" // a sleep
	does     reportKind = "does" // something that is part of its history
	touches  reportKind = "touches"
	kills    reportKind = "kills"
	signals  reportKind = "signals"
	violates reportKind = "violates"
	fails    reportKind = "fails" // for reasons that are not the scenario's
	exits    reportKind = "exits"
	turns    reportKind = "turn" // it waits for it
)

// A process is a real process of a scenario. It implements scenario.System.
type process struct {
	s      *scenario.Scenario
	self   scenario.Instance
	index  int
	place  Place
	table  *table
	pids   []int
	orders *bufio.Reader
	random *rand.Rand

	turns  bool // it asks for its turn, and waits
	choice int  // that its turn came with
	line   int  // of the statement that it is at
}

// Process is the life of a scenario's process in the program that the coordinator
// started. Places are known by the names that Place.Name returns.
func Process(places map[string]Find) {
	// Time-outs and signals are meant for the thread that waits.
	runtime.LockOSThread()
	signal.Notify(make(chan os.Signal, 1), timeoutSignal, scenarioSignal)
	p := &process{orders: bufio.NewReader(os.Stdin)}
	if err := p.begin(places); err != nil {
		p.report(report{Kind: fails, Text: err.Error()})
		os.Exit(1)
	}
	p.s.Act(p.self, p)
}

func (p *process) begin(places map[string]Find) error {
	line, err := p.orders.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the assignment: %w", err)
	}
	var a assignment
	if err := json.Unmarshal(line, &a); err != nil {
		return fmt.Errorf("read the assignment: %w", err)
	}
	if p.s, err = scenario.Parse(a.File, a.Source); err != nil {
		return err
	}
	p.index, p.self = a.Index, p.s.Instances()[a.Index]
	p.turns = a.Turns
	if a.Seed != nil {
		p.random = rand.New(rand.NewPCG(*a.Seed, uint64(a.Index)))
	}
	if places[a.Place] == nil {
		return fmt.Errorf("no place is called %q", a.Place)
	}
	if p.place, err = places[a.Place](a.At, p.s); err != nil {
		return err
	}
	if p.table, err = openTable(p.s, a.Shared, false); err != nil {
		return err
	}
	if err := p.place.Open(p.s.Ends(p.self.Process)); err != nil {
		return err
	}
	p.report(report{Kind: ready, Target: syscall.Gettid()})
	start, err := p.orders.ReadString('\n')
	if err != nil {
		return fmt.Errorf("wait for the start: %w", err)
	}
	for _, f := range strings.Fields(start) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			return fmt.Errorf("read the start: %w", err)
		}
		p.pids = append(p.pids, pid)
	}
	return nil
}

// report sends r, whole, whatever signals come.
func (p *process) report(r report) {
	r.Process, r.Time, r.Line = p.index, time.Now().UnixNano(), p.line
	line, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	line = append(line, '\n')
	for {
		switch _, err := syscall.Write(reportFD, line); err {
		case nil:
			return
		case syscall.EINTR:
		default:
			os.Exit(1) // the coordinator is gone
		}
	}
}

func (p *process) say(kind reportKind, text string) { p.report(report{Kind: kind, Text: text}) }

func (p *process) view() *view { return &view{s: p.s, t: p.table, place: p.place, pids: p.pids} }

// Turn waits for the process's turn, where turns are taken.
func (p *process) Turn(n, line int) {
	p.line = line
	if !p.turns {
		return
	}
	p.report(report{Kind: turns, Target: n})
	order, err := p.orders.ReadString('\n')
	if err != nil {
		os.Exit(1)
	}
	// An order without a number sets it free.
	if p.choice, err = strconv.Atoi(strings.TrimSpace(order)); err != nil {
		p.turns = false
	}
}

// locked carries out f under the lock and holds what it has changed against what is
// to hold always.
func (p *process) locked(changes bool, f func(g *view)) {
	p.table.lock()
	g := p.view()
	f(g)
	var err error
	if changes {
		err = p.s.Always(scenario.ScopeVariables, g)
	}
	p.table.unlock()
	p.mind(g, err)
}

// mind ends the process if an assertion does not hold, or could not be looked at.
func (p *process) mind(g *view, err error) {
	switch {
	case g.err != nil:
		p.say(fails, g.err.Error())
		os.Exit(1)
	case err != nil:
		p.Fail(err)
	}
}

// watch holds what objects show against what is to hold always.
func (p *process) watch() {
	if p.s.CountAlways(scenario.ScopeObject) > 0 {
		g := p.view()
		p.mind(g, p.s.Always(scenario.ScopeObject, g))
	}
}

func (p *process) Load(variable int) (v scenario.Value) {
	p.locked(false, func(g *view) { v = g.Load(variable) })
	p.say(touches, "reads "+p.s.VariableName(variable)+" = "+v.String())
	return v
}

func (p *process) Query(l scenario.Query) (n int64) {
	p.locked(false, func(g *view) { n = g.Query(l) })
	return n
}

func (p *process) Store(variable int, v scenario.Value) {
	p.Atomically(func(m scenario.Memory) error { return m.Set(variable, v) })
}

func (p *process) Atomically(f func(scenario.Memory) error) {
	var err error
	m := &memory{p: p}
	p.locked(true, func(g *view) {
		m.view = g
		err = f(m)
	})
	if err != nil {
		p.Fail(err)
	}
	for _, text := range m.done {
		p.say(touches, text)
	}
}

// A memory is the table while it is locked. What is set is reported afterwards.
type memory struct {
	*view
	p    *process
	done []string
}

// Found implements scenario.Memory.
func (m *memory) Found(variable int, v scenario.Value) {
	m.done = append(m.done, "finds "+m.p.s.VariableName(variable)+" = "+v.String())
}

// Set implements scenario.Memory.
func (m *memory) Set(variable int, v scenario.Value) error {
	name := m.p.s.VariableName(variable)
	if !m.p.table.store(variable, v) {
		return fmt.Errorf("%s is longer than %d bytes", name, maxText)
	}
	m.done = append(m.done, name+" = "+v.String())
	return nil
}

func (p *process) Enter(section int, by int64) {
	p.locked(true, func(*view) { p.table.enter(section, by) })
	verb := "enter "
	if by < 0 {
		verb = "leave "
	}
	p.say(touches, verb+p.s.SectionName(section))
}

func (p *process) Do(o scenario.Operation) ([]byte, syscall.Errno) {
	p.report(report{Kind: begins, Text: o.String(), Timed: o.Within > 0})
	data, errno := p.place.Do(o)
	if o.Op == objects.Receipt {
		data = kernel.ReadReceipt(data, func(pid int) string {
			i := slices.Index(p.pids, pid)
			if i < 0 {
				return strconv.Itoa(pid)
			}
			return p.s.Instances()[i].Name
		})
	}
	p.say(ends, o.Result(data, errno))
	p.watch()
	return data, errno
}

func (p *process) Open(object int) syscall.Errno {
	text := "open " + p.s.Declarations()[object].Name
	var errno syscall.Errno
	if err := p.place.Open(p.s.EndsOf(p.self.Process, object)); err != nil && !errors.As(err, &errno) {
		p.say(fails, err.Error())
		os.Exit(1)
	}
	if errno != 0 {
		text += " ✗ " + kernel.ErrnoName(errno)
	}
	p.say(touches, text)
	return errno
}

func (p *process) Close(object int, held bool) {
	p.place.Close(object, held)
	verb := "close "
	if held {
		verb = "release "
	}
	p.say(touches, verb+p.s.Declarations()[object].Name)
}

func (p *process) SetPolicy(object int, name, value string) syscall.Errno {
	errno := p.place.SetPolicy(object, name, value)
	p.say(touches, fmt.Sprintf("set %s %s=%s", p.s.Declarations()[object].Name, name, value))
	return errno
}

func (p *process) Destroy(object int) {
	if err := p.place.Destroy(object); err != nil {
		p.say(fails, err.Error())
		os.Exit(1)
	}
	p.say(touches, "destroy "+p.s.Declarations()[object].Name)
}

func (p *process) Kill(target int)   { p.ask(kills, target) }
func (p *process) Signal(target int) { p.ask(signals, target) }

// ask has the coordinator do it, which knows who lives.
func (p *process) ask(kind reportKind, target int) {
	p.report(report{Kind: kind, Target: target})
	if _, err := p.orders.ReadString('\n'); err != nil {
		os.Exit(1)
	}
}

func (p *process) Sleep(d objects.Time) syscall.Errno {
	p.report(report{Kind: begins, Text: "sleeps " + kernel.FormatTime(d), Timed: true})
	span := syscall.NsecToTimespec(int64(d))
	err := syscall.Nanosleep(&span, nil)
	p.say(ended, "")
	if err != nil {
		return errnoOf(err)
	}
	return 0
}

func (p *process) Choose(n int) int {
	if p.turns {
		return min(p.choice, n-1)
	}
	if p.random == nil {
		return 0
	}
	return p.random.IntN(n)
}

func (p *process) Yield() { runtime.Gosched() }

func (p *process) Did(text string) { p.say(does, text) }

func (p *process) Exit() {
	p.say(exits, "")
	os.Exit(0)
}

func (p *process) Fail(err error) {
	p.say(violates, err.Error())
	// What the others see of it must not depend on how it ends: the coordinator ends it.
	_, _ = io.Copy(io.Discard, p.orders)
	os.Exit(1)
}

// The signals that end a wait because its time is up, and because the scenario says so.
const (
	timeoutSignal  = syscall.SIGUSR1
	scenarioSignal = syscall.SIGUSR2
)

// again is how long a time-out waits before it interrupts the thread again, which was
// not waiting yet.
const again = 2 * time.Millisecond

// Interruptible carries out a system call and lets it wait no longer than d, if d is
// not 0: ETIMEDOUT then. It must run on the thread of the process that
// waits for signals.
func Interruptible(d objects.Time, call func() error) syscall.Errno {
	if d <= 0 {
		return errnoOf(call())
	}
	thread := syscall.Gettid()
	var mu sync.Mutex
	over, fired := false, false // guarded by mu
	var timer *time.Timer
	mu.Lock()
	timer = time.AfterFunc(time.Duration(d), func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			fired = true
			interrupt(os.Getpid(), thread, timeoutSignal)
			timer.Reset(again)
		}
	})
	mu.Unlock()
	errno := errnoOf(call())
	mu.Lock()
	defer mu.Unlock()
	over = true
	timer.Stop()
	if errno == syscall.EINTR && fired {
		return syscall.ETIMEDOUT
	}
	return errno
}

// interrupt sends a signal to a thread.
func interrupt(pid, thread int, s syscall.Signal) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(pid), uintptr(thread), uintptr(s))
}

func errnoOf(err error) syscall.Errno {
	switch err := err.(type) {
	case nil:
		return 0
	case syscall.Errno:
		return err
	default:
		return syscall.EIO
	}
}
