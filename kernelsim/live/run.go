package live

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"ipcfs/kernelsim/kernel"
	"ipcfs/kernelsim/scenario"
	"ipcfs/kernelsim/timeline"
	"ipcfs/objects"
)

// Options say how Run runs a scenario.
type Options struct {
	// Command starts a process of the scenario: a program that calls Process.
	Command []string

	// Seed makes random choices and deals out the scenario's faults. Without it
	// "choose" takes the first and there are no faults.
	Seed *uint64

	// Time ends a run that goes on; 0 stands for DefaultTime.
	Time time.Duration

	// Operations ends a run that has done so many; 0 is no bound.
	Operations int

	// Turns, if not nil, are what the processes do one after another. When they are over, each
	// goes on as it likes.
	Turns []scenario.Turn
}

// DefaultTime is how long a run goes on.
const DefaultTime = 2 * time.Second

const (
	// startTime bounds what is no part of the run.
	startTime = 30 * time.Second

	// look is how often it is looked whether everybody waits, when nothing is reported.
	look = 5 * time.Millisecond

	// calm is how long everybody must have been waiting, and looks how often that
	// must have been seen: the files of a dead process are closed behind its back.
	calm  = 50 * time.Millisecond
	looks = 3

	// settling bounds the wait for the same before the last assertions are judged.
	settling = 2 * time.Second
)

// A Result is what a run has come to.
type Result struct {
	Outcome  scenario.Outcome
	Ending   scenario.Ending // unless it is unfinished
	Timeline *timeline.Timeline
	Took     time.Duration
}

// A run is one run of a scenario.
type run struct {
	s         *scenario.Scenario
	o         Options
	place     Place
	table     *table
	pipe      *os.File // of reports
	rest      []byte   // of the line that is being read
	processes []*child
	pids      []int
	began     time.Time
	reports   []report
	ended     int // operations
	violated  string
	failed    error
	faults    []fault
	random    *rand.Rand
	steering  steering
}

// A child is a process as the coordinator knows it.
type child struct {
	scenario.Instance
	cmd     *exec.Cmd
	orders  io.WriteCloser
	stderr  bytes.Buffer
	ready   bool
	thread  int  // that carries out its operations
	over    bool // reaped
	killed  bool
	waits   string // the operation under way
	timed   bool
	history []string

	wants   int     // the number of the turn that it waits for, 0 if it waits for none
	granted int     // it may go on up to that turn
	choice  int     // that comes with it
	harm    *report // it waits until the victims of its kill are dead
}

// A fault is due when so much has been reported.
type fault struct {
	due    int
	signal bool
}

// Run runs s, which source spells, in place. It leaves place to the caller, and no
// process behind.
func Run(ctx context.Context, s *scenario.Scenario, source []byte, place Place, o Options) (*Result, error) {
	// The death signal of a child is bound to the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if o.Time == 0 {
		o.Time = DefaultTime
	}
	r := &run{s: s, o: o, place: place}
	r.steering.turns = o.Turns
	if o.Seed != nil && o.Turns == nil {
		r.random = rand.New(rand.NewPCG(*o.Seed, 0))
		r.dealFaults()
	}
	var err error
	if r.table, err = openTable(s, place.Shared(), true); err != nil {
		return nil, err
	}
	defer r.table.close()
	defer r.end()
	if err := r.start(ctx, source); err != nil {
		return nil, err
	}
	result, err := r.watch(ctx)
	if err != nil {
		return nil, err
	}
	r.end()
	result.Outcome.Expected, result.Outcome.Seed, result.Outcome.Steps = s.Expect, o.Seed, r.ended
	result.Took = time.Since(r.began)
	result.Timeline = r.timeline(result)
	return result, nil
}

// dealFaults draws when faults happen: after so many reports.
func (r *run) dealFaults() {
	f := r.s.Faults()
	early := 8 * len(r.s.Instances())
	for range f.Kills {
		r.faults = append(r.faults, fault{due: r.random.IntN(early)})
	}
	for range f.Signals {
		r.faults = append(r.faults, fault{due: r.random.IntN(early), signal: true})
	}
	slices.SortStableFunc(r.faults, func(a, b fault) int { return cmp.Compare(a.due, b.due) })
}

// start starts all processes and lets them go when all are ready.
func (r *run) start(ctx context.Context, source []byte) error {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		return err
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		return err
	}
	r.pipe = os.NewFile(uintptr(fds[0]), "reports")
	theirs := os.NewFile(uintptr(fds[1]), "reports")
	defer theirs.Close()
	at, err := json.Marshal(r.place.At())
	if err != nil {
		return err
	}
	for i, self := range r.s.Instances() {
		c := &child{Instance: self}
		c.cmd = exec.Command(r.o.Command[0], r.o.Command[1:]...)
		c.cmd.Dir = "/"
		// The runtime's own signals would end waits.
		c.cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOGC=off")
		c.cmd.ExtraFiles = []*os.File{theirs}
		c.cmd.Stderr = &c.stderr
		c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if self.Uid != 0 {
			c.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: self.Uid, Gid: self.Uid}
		}
		if c.orders, err = c.cmd.StdinPipe(); err != nil {
			return err
		}
		if err := c.cmd.Start(); err != nil {
			return fmt.Errorf("start %s: %w", self.Name, err)
		}
		r.processes = append(r.processes, c)
		r.pids = append(r.pids, c.cmd.Process.Pid)
		a := assignment{File: r.s.File, Source: source, Place: r.place.Name(), At: at, Shared: r.place.Shared(), Index: i, Seed: r.o.Seed, Turns: r.o.Turns != nil}
		line, err := json.Marshal(a)
		if err != nil {
			return err
		}
		if _, err := c.orders.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("%s: %w", self.Name, err)
		}
	}
	for deadline := time.Now().Add(startTime); !r.all(func(c *child) bool { return c.ready }); {
		if err := r.advance(ctx); err != nil {
			return err
		}
		for _, c := range r.processes {
			if c.over {
				return fmt.Errorf("%s ended before the run began: %s", c.Name, strings.TrimSpace(c.stderr.String()))
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the processes were not ready within %v", startTime)
		}
	}
	r.place.Opened()
	r.began = time.Now()
	start := strings.Trim(fmt.Sprint(r.pids), "[]") + "\n"
	for _, c := range r.processes {
		_, _ = io.WriteString(c.orders, start)
	}
	return nil
}

func (r *run) all(pass func(*child) bool) bool {
	return !slices.ContainsFunc(r.processes, func(c *child) bool { return !pass(c) })
}

// advance waits a moment for reports and takes what there is; then it looks who has
// ended.
func (r *run) advance(ctx context.Context) error {
	if err := r.pipe.SetReadDeadline(time.Now().Add(look)); err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	n, err := r.pipe.Read(buffer)
	if err != nil && err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if err == io.EOF {
		time.Sleep(look) // nobody is left
	}
	r.take(buffer[:n])
	r.reap()
	if r.failed != nil {
		return r.failed
	}
	return ctx.Err()
}

// drain takes all reports that have been sent, and tells how many there were.
func (r *run) drain() (n int) {
	_ = r.pipe.SetReadDeadline(time.Time{})
	conn, err := r.pipe.SyscallConn()
	if err != nil {
		return 0
	}
	buffer := make([]byte, 64<<10)
	for {
		got := 0
		err := conn.Read(func(fd uintptr) bool {
			for {
				var err error
				if got, err = syscall.Read(int(fd), buffer); err != syscall.EINTR {
					return true
				}
			}
		})
		if err != nil || got <= 0 {
			return n
		}
		n += r.take(buffer[:got])
	}
}

func (r *run) take(data []byte) (n int) {
	r.rest = append(r.rest, data...)
	for {
		i := bytes.IndexByte(r.rest, '\n')
		if i < 0 {
			return n
		}
		var report report
		if err := json.Unmarshal(r.rest[:i], &report); err != nil {
			r.failed = fmt.Errorf("a process reported %q", r.rest[:i])
		} else {
			r.heed(report)
		}
		r.rest = r.rest[i+1:]
		n++
	}
}

func (r *run) heed(report report) {
	c := r.processes[report.Process]
	switch report.Kind {
	case ready:
		c.ready, c.thread = true, report.Target
		return
	case fails:
		r.failed = fmt.Errorf("%s: %s", c.Name, report.Text)
		return
	case begins:
		c.waits, c.timed = report.Text, report.Timed
	case ends:
		c.waits = ""
		c.history = append(c.history, report.Text)
		r.ended++
	case ended:
		c.waits = ""
	case does:
		c.history = append(c.history, report.Text)
	case violates:
		if r.violated == "" {
			r.violated = report.Text
		}
	case kills, signals:
		r.harm(report)
	case turns:
		c.wants = report.Target
		return
	}
	r.reports = append(r.reports, report)
	for len(r.faults) > 0 && r.faults[0].due <= len(r.reports) {
		f := r.faults[0]
		r.faults = r.faults[1:]
		r.strike(f)
	}
}

// harm does what a process asked for, and tells it.
func (r *run) harm(request report) {
	waits := r.deferred(request)
	for i, c := range r.processes {
		if c.Process == request.Target && i != request.Process && !waits {
			if request.Kind == kills {
				r.kill(i)
			} else {
				r.signal(i)
			}
		}
	}
	if !waits || request.Kind == signals {
		_, _ = io.WriteString(r.processes[request.Process].orders, "done\n")
	}
}

// strike makes a fault happen to somebody.
func (r *run) strike(f fault) {
	var able []int
	for i, c := range r.processes {
		if !c.over && !c.killed && !c.Immune {
			able = append(able, i)
		}
	}
	if len(able) == 0 {
		return
	}
	i := able[r.random.IntN(len(able))]
	if f.signal {
		r.signal(i)
	} else {
		r.kill(i)
	}
}

func (r *run) note(i int, text string) {
	r.reports = append(r.reports, report{Process: i, Kind: touches, Time: time.Now().UnixNano(), Text: text})
}

func (r *run) signal(i int) {
	if c := r.processes[i]; !c.over {
		r.note(i, "catches a signal")
		// Nobody but us reaps it, so the number is still its own.
		interrupt(r.pids[i], c.thread, scenarioSignal)
	}
}

// kill kills a process and waits for its end.
func (r *run) kill(i int) {
	c := r.processes[i]
	if c.over {
		return
	}
	// Nobody sees its death before it is known whether it was killed: it may have come to its
	// own end first.
	r.table.lock()
	defer r.table.unlock()
	at := time.Now().UnixNano()
	_ = c.cmd.Process.Kill()
	err := c.cmd.Wait()
	c.over, c.waits = true, ""
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && !status.Signaled() {
		r.table.setState(i, exited)
		r.blame(c, err)
		return
	}
	c.killed = true
	r.table.setState(i, killed)
	r.reports = append(r.reports, report{Process: i, Kind: touches, Time: at, Text: "is killed"})
}

// blame notes that c has ended in a way that no scenario asks for, if err says so.
func (r *run) blame(c *child, err error) {
	if err != nil && r.violated == "" && r.failed == nil {
		r.failed = fmt.Errorf("%s ended with %v: %s", c.Name, err, strings.TrimSpace(c.stderr.String()))
	}
}

// reap notes who has ended by itself. What they have reported was read before.
func (r *run) reap() {
	for i, c := range r.processes {
		if c.over || !exitedAlready(c.cmd.Process.Pid) {
			continue
		}
		r.drain()
		if c.over {
			continue // killed meanwhile
		}
		err := c.cmd.Wait()
		c.over, c.waits = true, ""
		r.table.lock()
		r.table.setState(i, exited)
		r.table.unlock()
		r.blame(c, err)
	}
}

// exitedAlready reports whether a child has ended, and leaves it to be waited for.
func exitedAlready(pid int) bool {
	const pPid = 1 // P_PID, waitid(2)
	var info [128]byte
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPid, uintptr(pid), uintptr(unsafe.Pointer(&info)),
			syscall.WEXITED|syscall.WNOHANG|syscall.WNOWAIT, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		return errno == 0 && !bytes.Equal(info[:4], make([]byte, 4)) // si_signo
	}
}

// watch waits for the end of the run.
func (r *run) watch(ctx context.Context) (*Result, error) {
	out := &Result{}
	deadline := r.began.Add(r.o.Time)
	seen := 0
	var since time.Time
	for {
		before := len(r.reports)
		if err := r.advance(ctx); err != nil {
			return nil, err
		}
		if r.violated != "" {
			out.Outcome.Result, out.Outcome.Detail = "violation", r.violated
			out.Ending = scenario.Ending{Result: "violation", Violated: r.violated}
			return out, nil
		}
		quiet := len(r.reports) == before
		if r.o.Turns != nil {
			if err := r.steer(quiet); err != nil {
				return nil, err
			}
		}
		if quiet {
			still, err := r.still()
			if err != nil {
				return nil, err
			}
			quiet = still
		}
		switch {
		case !quiet:
			seen = 0
		case seen == 0:
			seen, since = 1, time.Now()
		default:
			seen++
		}
		if seen >= looks && time.Since(since) >= calm {
			return out, r.conclude(out)
		}
		if seen == 0 && (time.Now().After(deadline) || r.o.Operations > 0 && r.ended >= r.o.Operations) {
			out.Outcome.Result, out.Outcome.Detail = "unfinished", "the run goes on"
			return out, nil
		}
	}
}

// still reports whether every process that lives waits for another.
func (r *run) still() (bool, error) {
	live := 0
	for _, c := range r.processes {
		if !c.over {
			live++
			if c.waits == "" || c.timed {
				return false, nil
			}
		}
	}
	if pending, err := r.place.Pending(); err != nil || pending {
		return false, err
	}
	if live == 0 {
		return true, nil
	}
	parked, err := r.place.Parked(r.pids)
	if err != nil {
		return false, err
	}
	for i, c := range r.processes {
		if !c.over && !parked[r.pids[i]] {
			return false, nil
		}
	}
	return r.drain() == 0, nil
}

// conclude judges the state in which nothing can happen any more.
func (r *run) conclude(out *Result) error {
	var stuck []string
	for _, c := range r.processes {
		if !c.over && !c.Daemon {
			stuck = append(stuck, c.Name+" waits for ever in "+c.waits)
		}
	}
	g := &view{s: r.s, t: r.table, place: r.place, pids: r.pids}
	var err error
	if len(stuck) > 0 {
		out.Outcome.Result, out.Outcome.Detail = "deadlock", strings.Join(stuck, ", ")
	} else {
		out.Outcome.Result = "done"
		// What the dead had open is closed soon.
		for deadline := time.Now().Add(settling); ; time.Sleep(look) {
			closed := false
			if r.all(func(c *child) bool { return c.over }) {
				closing, err := r.place.Closing()
				if err != nil {
					return err
				}
				closed = !closing
			}
			if err = r.judge(g); err == nil || g.err != nil || closed || time.Now().After(deadline) {
				break
			}
		}
		if err != nil {
			out.Outcome.Result, out.Outcome.Detail = "violation", err.Error()
		}
	}
	out.Ending = scenario.Ending{Result: out.Outcome.Result}
	out.Ending.Variables, out.Ending.Objects = r.s.Describe(g)
	if err != nil {
		out.Ending.Violated = err.Error()
	}
	for _, c := range r.processes {
		p := scenario.ProcessEnding{Name: c.Name, State: "exited", Did: c.history}
		switch {
		case c.killed:
			p.State = "killed"
		case !c.over:
			p.State = scenario.Waits(c.waits)
		}
		out.Ending.Processes = append(out.Ending.Processes, p)
	}
	return g.err
}

// judge holds the end against all assertions.
func (r *run) judge(g *view) error {
	for _, scope := range []scenario.Scope{scenario.ScopeVariables, scenario.ScopeObject, scenario.ScopeMore} {
		if err := r.s.Always(scope, g); err != nil {
			return err
		}
	}
	return r.s.Finally(g)
}

// end ends all processes that are left.
func (r *run) end() {
	for _, c := range r.processes {
		if !c.over {
			_ = c.cmd.Process.Kill()
			_ = c.cmd.Wait()
			c.over = true
		}
	}
	if r.pipe != nil {
		r.pipe.Close()
		r.pipe = nil
	}
}

// timeline draws what was reported, in the order of the clock.
func (r *run) timeline(result *Result) *timeline.Timeline {
	slices.SortStableFunc(r.reports, func(a, b report) int { return cmp.Compare(a.Time, b.Time) })
	line := &timeline.Timeline{}
	states := make([]timeline.ProcessState, len(r.processes))
	for i, c := range r.processes {
		states[i] = timeline.ProcessState{Name: c.Name, Pid: uint32(r.pids[i]), State: kernel.Ready.String()}
	}
	var variables []timeline.Variable
	for i, v := range r.s.Variables() {
		variables = append(variables, timeline.Variable{Name: r.s.VariableName(i), Value: v.Literal()})
	}
	add := func(at int64, i int, text string) {
		t := max(0, objects.Time(at-r.began.UnixNano()))
		grain := 10 * kernel.Microsecond
		if t >= 10*kernel.Millisecond {
			grain = kernel.Millisecond
		}
		t = t / grain * grain
		line.Rows = append(line.Rows, timeline.Row{Step: len(line.Rows) + 1, Time: t,
			Events:  []timeline.RowEvent{{Process: states[i].Name, Text: text}},
			Process: states[i].Name, Line: states[i].Line,
			Processes: slices.Clone(states), Variables: slices.Clone(variables)})
	}
	for _, report := range r.reports {
		i := report.Process
		text := report.Text
		if report.Line > 0 {
			states[i].Line = report.Line
		}
		if report.Stored != nil {
			variables[report.Stored.Variable].Value = report.Stored.Value
		}
		switch report.Kind {
		case begins:
			states[i].State = kernel.Blocked.String()
			if report.Timed && strings.HasPrefix(text, "sleeps") {
				states[i].State = kernel.Sleeping.String()
				add(report.Time, i, text)
			}
			continue
		case ended:
			states[i].State = kernel.Ready.String()
			continue
		case ends:
			states[i].State = kernel.Ready.String()
		case kills, signals:
			continue
		case exits:
			states[i].State = kernel.Exited.String()
			text = "exits"
		case violates:
			text = "✗ " + text
		}
		if text == "is killed" {
			states[i].State = "killed"
		}
		add(report.Time, i, text)
	}
	if result.Outcome.Result == "deadlock" {
		for i, p := range result.Ending.Processes {
			if p.State != "exited" && p.State != "killed" {
				add(r.began.Add(result.Took).UnixNano(), i, p.State)
			}
		}
	}
	return line
}
