package kernel

import (
	"fmt"
	"iter"
	"slices"
	"syscall"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// A State is what a process is doing.
type State uint8

const (
	Ready    State = iota // waits for its turn
	Running               // it is its step
	Blocked               // waits in an object
	Sleeping              // waits for the clock
	Killing               // waits for the end of a process that it kills
	Exited
)

var stateNames = [...]string{"ready", "running", "blocked", "sleeping", "killing", "exited"}

func (s State) String() string { return stateNames[s] }

// A Process is a simulated process. Its methods that are system calls are for its
// own body only; each is a step.
type Process struct {
	Name string

	// Daemon processes may wait for ever when everything is over.
	Daemon bool

	// Immune processes are spared by Faults.
	Immune bool

	// Priority is who goes first, where the kernel has Priorities: the higher.
	Priority int

	// Line is where in the source of its program the process is, 0 if that is unknown: the
	// line of the call that it is in or about to make.
	Line int

	caller objects.Caller
	kernel *Kernel
	state  State
	killed bool
	files  []*File

	program Program          // nil: its body is a coroutine
	call    Call             // that it has made
	errno   syscall.Errno    // of the call, where no request has one
	choice  int              // what a Choice has come out as
	file    *File            // of the request
	request *objects.Request // the call's, while it is outstanding
	gate    *Gate            // that it waits at, nil if it does not
	woken   bool             // the call has finished while it waited
	signal  bool             // one was sent while it waited, and has not arrived
	doomed  bool             // SIGKILL was sent, and has not arrived
	last    bool             // it has made its last step since
	victim  *Process         // whose end it waits for
	history Hash             // of what calls have returned, if it is a coroutine

	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
}

// A Program is what a process does, as plain data: a search returns to an earlier state of
// it without running it again. It must keep all that it knows in memory that is reached from
// it by pointers, and nothing in variables of functions.
type Program interface {
	// Next goes on after the last call, if there was one, and returns the next; nil if the
	// run has been ended by a violation.
	Next(p *Process) Call

	// Snapshot adds to h all that decides what the process does next, also how far it is in
	// what takes several calls.
	Snapshot(h *Hash)
}

// A Cred is who a process acts as.
type Cred struct{ Uid, Gid uint32 }

// exiting unwinds the body of a process that has been killed.
type exiting struct{}

// Spawn makes a process and runs it to its first call.
func (k *Kernel) Spawn(name string, cred Cred, body func(p *Process)) *Process {
	p := k.newProcess(name, cred)
	p.next, p.stop = iter.Pull(func(yield func(struct{}) bool) {
		p.yield = yield
		defer func() {
			if e := recover(); e != nil {
				if _, ok := e.(exiting); !ok {
					panic(e)
				}
			}
		}()
		body(p)
		p.Exit()
	})
	p.resume()
	k.makeReady(p)
	return p
}

// SpawnProgram makes a process that carries out program. Its first step runs to its first
// call.
func (k *Kernel) SpawnProgram(name string, cred Cred, program Program) *Process {
	p := k.newProcess(name, cred)
	p.program = program
	k.makeReady(p)
	return p
}

func (k *Kernel) newProcess(name string, cred Cred) *Process {
	p := &Process{
		Name:   name,
		kernel: k,
		caller: objects.Caller{Pid: firstPid + uint32(len(k.processes)), Uid: cred.Uid, Gid: cred.Gid},
	}
	k.processes = append(k.processes, p)
	return p
}

// resume has p learn how its call has ended, and runs its body to its next one.
func (p *Process) resume() {
	if p.call != nil {
		if p.program == nil {
			p.history.String(p.call.Name())
			p.history.Uint(uint64(p.errno))
			p.history.Uint(uint64(p.choice))
		}
		p.call.Done(p)
	}
	if p.program != nil {
		p.call = nil
		call := p.program.Next(p)
		if call == nil {
			p.state = Exited
			return
		}
		p.call, p.errno, p.choice = call, 0, 0
		return
	}
	if _, ok := p.next(); !ok {
		p.state = Exited
	}
}

// trap makes a call and returns when it has finished.
func (p *Process) trap(c Call) {
	if p.state == Exited {
		panic(exiting{}) // a deferred function of a killed process
	}
	p.call, p.errno, p.choice = c, 0, 0
	if !p.yield(struct{}{}) || p.state == Exited {
		panic(exiting{})
	}
}

// Pid is the process's number.
func (p *Process) Pid() uint32 { return p.caller.Pid }

// Index is the process's place among [Kernel.Processes].
func (p *Process) Index() int { return int(p.Pid() - firstPid) }

// State is what the process is doing.
func (p *Process) State() State { return p.state }

// Killed reports whether the process was killed.
func (p *Process) Killed() bool { return p.killed }

// Pending describes the process's pending or blocked call; empty if there is none.
func (p *Process) Pending() string {
	if p.call == nil {
		return ""
	}
	return p.call.Name()
}

// WaitsFor is the object that the process is blocked in, nil if it is not blocked.
func (p *Process) WaitsFor() *Node {
	if p.state != Blocked || p.gate != nil {
		return nil
	}
	return p.file.Node
}

// Kernel is the machine the process runs on.
func (p *Process) Kernel() *Kernel { return p.kernel }

func (p *Process) interruptible() bool {
	return p.state == Blocked && p.gate == nil || p.state == Sleeping
}

// choices is how many ways the pending call can go, 0 if there is no choice.
func (p *Process) choices() int {
	if c, ok := p.call.(*Choice); ok && !p.woken {
		return c.N
	}
	return 0
}

// A File is an open file of an object.
type File struct {
	Node   *Node
	Handle *objects.Handle

	uses   int      // descriptors, in all processes
	owner  *Process // its death gives back what the file holds; nil if that is nothing
	writer *Process // who sent through it last
	torn   bool     // and was killed with the file open
	holds  bool     // it was opened by a hold
}

// Mode says how Open opens: which endpoint, and for what.
type Mode struct {
	Op            objects.Op // Open if it is 0
	ReadOp        objects.Op // what a read submits; 0: not open for reading
	WriteOp       objects.Op // what a write submits; 0: not open for writing
	EOF, Seekable bool       // as in objects.Handle
	Only          *mailbox.Selector
	Nonblock      bool // do not wait for the open itself
}

// opens reports whether op is what open(2) submits.
func Opens(op objects.Op) bool {
	return op == objects.Open || op == objects.Connect || op == objects.Hold
}

// OpenNow opens n without a step: before the run begins. It returns nil if that fails.
func (p *Process) OpenNow(n *Node, m Mode) *File {
	f := p.newFile(n, m)
	r := &objects.Request{Op: objects.Open, Handle: f.Handle, Caller: p.caller}
	p.kernel.submit(n, r)
	if r.Errno != 0 {
		return nil
	}
	f.uses = 1
	p.files = append(p.files, f)
	return f
}

// newFile makes a file of n for p to open.
func (p *Process) newFile(n *Node, m Mode) *File {
	f := &File{Node: n, Handle: &objects.Handle{
		Reads: m.ReadOp != 0, Writes: m.WriteOp != 0,
		ReadOp: m.ReadOp, WriteOp: m.WriteOp,
		EOF: m.EOF, Seekable: m.Seekable,
		Process: p.Pid(),
	}}
	if m.Only != nil {
		mailbox.FileOf(f.Handle).Filter = m.Only
	}
	f.holds = m.Op == objects.Hold
	if m.ReadOp == objects.Receipt {
		mailbox.FileOf(f.Handle).Receipts = true
	}
	if m.Op == objects.Hold || m.ReadOp == objects.Lease {
		f.owner = p
	}
	return f
}

// receipt is the text of a receipt. The times are left out: they would make every state a new
// one.
func receipt(what any) []byte {
	var lines []byte
	for _, o := range what.([]mailbox.Outcome) {
		if o.Fate == mailbox.Received {
			lines = fmt.Appendf(lines, "%s %d %d\n", o.Fate, o.By.Pid, o.By.Uid)
		} else {
			lines = fmt.Appendf(lines, "%s - -\n", o.Fate)
		}
	}
	return lines
}

// close drops one use of f by p; the last one closes the handle.
func (k *Kernel) close(p *Process, f *File) {
	i := slices.Index(p.files, f)
	p.files = slices.Delete(p.files, i, i+1)
	if f.uses--; f.uses > 0 {
		return
	}
	k.submit(f.Node, &objects.Request{Op: objects.Close, Handle: f.Handle, Caller: p.caller, Killed: f.torn})
}

// release gives back what files that p has opened hold, also those that only its
// children have open now.
func (k *Kernel) release(p *Process) {
	for _, q := range k.processes {
		for _, f := range q.files {
			if f.owner == p {
				f.owner = nil
				k.submit(f.Node, &objects.Request{Op: objects.Release, Handle: f.Handle})
			}
		}
	}
}

// Note tells Kernel.Watch of what is no call.
func (p *Process) Note(verb, text string) {
	p.kernel.event(Event{Process: p, Verb: verb, Text: text})
}

// Abort leaves the body without a step, in a run that a violation has ended.
func (p *Process) Abort() { panic(exiting{}) }
