package kernel

import (
	"fmt"
	"iter"
	"slices"
	"syscall"

	"ipcfs/objects"
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

	// Line is where in the source of its program the process is, 0 if that is unknown: the
	// line of the call that it is in or about to make.
	Line int

	// Snapshot, if set, adds to h what decides what the process does next besides what
	// its calls have returned since the last Mark.
	Snapshot func(h *Hash)

	caller objects.Caller
	kernel *Kernel
	state  State
	killed bool
	files  []*File

	call    *call
	file    *File            // of the request
	request *objects.Request // the call's, while it is outstanding
	woken   bool             // the call has finished while it waited
	signal  bool             // one was sent while it waited, and has not arrived
	doomed  bool             // SIGKILL was sent, and has not arrived
	last    bool             // it has made its last step since
	victim  *Process         // whose end it waits for
	history Hash             // of what calls have returned since the last Mark

	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
}

// A call is a system call that a process has made.
type call struct {
	name    string
	node    *Node // what it is about, nil if it is about nothing
	run     func(p *Process)
	choices int
	choice  int
	errno   syscall.Errno
}

// A Cred is who a process acts as.
type Cred struct{ Uid, Gid uint32 }

// exiting unwinds the body of a process that has been killed.
type exiting struct{}

// Spawn makes a process and runs it to its first call.
func (k *Kernel) Spawn(name string, cred Cred, body func(p *Process)) *Process {
	p := &Process{
		Name:   name,
		kernel: k,
		caller: objects.Caller{Pid: firstPid + uint32(len(k.processes)), Uid: cred.Uid, Gid: cred.Gid},
	}
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
	k.processes = append(k.processes, p)
	p.resume()
	k.makeReady(p)
	return p
}

// resume runs p's body to its next call.
func (p *Process) resume() {
	if p.call != nil {
		p.history.String(p.call.name)
		p.history.Uint(uint64(p.call.errno))
		p.history.Uint(uint64(p.call.choice))
	}
	if _, ok := p.next(); !ok {
		p.state = Exited
	}
}

// trap makes a call and returns when it has finished.
func (p *Process) trap(c *call) {
	if p.state == Exited {
		panic(exiting{}) // a deferred function of a killed process
	}
	p.call = c
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
	return p.call.name
}

// WaitsFor is the object that the process is blocked in, nil if it is not blocked.
func (p *Process) WaitsFor() *Node {
	if p.state != Blocked {
		return nil
	}
	return p.file.Node
}

// Kernel is the machine the process runs on.
func (p *Process) Kernel() *Kernel { return p.kernel }

func (p *Process) interruptible() bool { return p.state == Blocked || p.state == Sleeping }

// choices is how many ways the pending call can go, 0 if there is no choice.
func (p *Process) choices() int {
	if p.woken {
		return 0
	}
	return p.call.choices
}

// A File is an open file of an object.
type File struct {
	Node   *Node
	Handle *objects.Handle

	uses   int      // descriptors, in all processes
	owner  *Process // its death gives back what the file holds; nil if that is nothing
	writer *Process // who sent through it last
	torn   bool     // and was killed with the file open
}

// Mode says how Open opens: which endpoint, and for what.
type Mode struct {
	Op            objects.Op // Open if it is 0
	ReadOp        objects.Op // what a read submits; 0: not open for reading
	WriteOp       objects.Op // what a write submits; 0: not open for writing
	EOF, Seekable bool       // as in objects.Handle
	Only          *objects.Selector
	Nonblock      bool // do not wait for the open itself
}

// opens reports whether op is what open(2) submits.
func Opens(op objects.Op) bool {
	return op == objects.Open || op == objects.Connect || op == objects.Hold
}

// Open opens n.
func (p *Process) Open(n *Node, m Mode) (*File, syscall.Errno) { return p.OpenWithin(0, n, m) }

// OpenWithin is Open that gives up with ETIMEDOUT after d, if d is not 0.
func (p *Process) OpenWithin(d objects.Time, n *Node, m Mode) (*File, syscall.Errno) {
	f := p.newFile(n, m)
	r := &objects.Request{Op: m.Op, Nonblock: m.Nonblock}
	if m.Op == 0 {
		r.Op = objects.Open
	}
	if errno := p.SubmitWithin(d, f, r); errno != 0 {
		return nil, errno
	}
	f.uses = 1
	p.files = append(p.files, f)
	return f, 0
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
		EOF: m.EOF, Seekable: m.Seekable, Filter: m.Only,
		Process: p.Pid(),
	}}
	if m.ReadOp == objects.Receipt {
		f.Handle.WantReceipts(receiptLine)
	}
	if m.Op == objects.Hold || m.ReadOp == objects.Lease {
		f.owner = p
	}
	return f
}

// receiptLine renders a receipt. The time is left out: it would make every state a new
// one.
func receiptLine(fate objects.Fate, by objects.Caller, _ objects.Time) []byte {
	if fate == objects.Received {
		return fmt.Appendf(nil, "%s %d %d\n", fate, by.Pid, by.Uid)
	}
	return fmt.Appendf(nil, "%s - -\n", fate)
}

// Close closes f.
func (p *Process) Close(f *File) syscall.Errno {
	c := &call{name: "close " + f.Node.Name, node: f.Node}
	c.run = func(p *Process) {
		if !slices.Contains(p.files, f) {
			c.errno = syscall.EBADF
			return
		}
		p.kernel.event(Event{Process: p, Verb: "close", Node: f.Node})
		p.kernel.close(p, f)
	}
	p.trap(c)
	return c.errno
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

// Submit carries out r on f's object and waits until it has finished.
func (p *Process) Submit(f *File, r *objects.Request) syscall.Errno {
	return p.SubmitWithin(0, f, r)
}

// SubmitWithin is Submit that gives up with ETIMEDOUT (mq_timedreceive(3)) after d,
// if d is not 0.
func (p *Process) SubmitWithin(d objects.Time, f *File, r *objects.Request) syscall.Errno {
	c := &call{name: r.Op.String() + " " + f.Node.Name + LabelOf(f.Handle.Filter).String(), node: f.Node}
	c.run = func(p *Process) {
		k := p.kernel
		r.Caller, r.Handle, r.Tag = p.caller, f.Handle, p
		if f.Node.gone && Opens(r.Op) {
			// open(2): ENOENT, the file does not exist any more.
			r.Errno = syscall.ENOENT
			k.event(Event{Process: p, Verb: r.Op.String(), Node: f.Node, Request: r, Start: true})
			k.event(Event{Process: p, Verb: r.Op.String(), Node: f.Node, Request: r})
			return
		}
		p.file, p.request = f, r
		if r.Op == objects.Send {
			f.writer, f.torn = p, false
		}
		k.event(Event{Process: p, Verb: r.Op.String(), Node: f.Node, Request: r, Start: true})
		k.submit(f.Node, r)
		if !r.Parked() {
			k.event(Event{Process: p, Verb: r.Op.String(), Node: f.Node, Request: r})
			return
		}
		p.state = Blocked
		k.event(Event{Process: p, Verb: "blocks", Node: f.Node, Request: r})
		if d > 0 {
			k.startTimer(p, d)
		}
	}
	p.trap(c)
	p.request = nil
	p.kernel.forgetTimer(p)
	p.history.Uint(uint64(r.Errno))
	if r.Errno == 0 {
		p.history.Bytes(r.Data)
	}
	if m := f.Node.monitor; m != nil {
		m.Delivered(r)
	}
	return r.Errno
}

// SetPolicy changes a policy of n.
func (p *Process) SetPolicy(n *Node, name, value string) syscall.Errno {
	c := &call{name: "set " + n.Name + " " + name + "=" + value, node: n}
	c.run = func(p *Process) {
		k := p.kernel
		if n.gone || !slices.Contains(n.Kind.Policies, name) {
			c.errno = syscall.ENOENT
			return
		}
		k.event(Event{Process: p, Verb: "set", Node: n, Text: name + "=" + value})
		k.on(n, SetPolicy, nil, func() (done objects.Finished) {
			done, c.errno = n.Object.SetPolicy(k.now, name, value)
			if n.monitor != nil {
				n.monitor.Sets(name, c.errno)
			}
			return done
		})
	}
	p.trap(c)
	return c.errno
}

// Destroy removes n as rm does, whoever waits.
func (p *Process) Destroy(n *Node) {
	p.trap(&call{name: "destroy " + n.Name, node: n, run: func(p *Process) {
		k := p.kernel
		k.event(Event{Process: p, Verb: "destroy", Node: n})
		n.gone = true
		k.on(n, Destroy, nil, func() objects.Finished { return n.Object.Destroy(k.now) })
	}})
}

// Fork makes a process that has the files of p open too.
func (p *Process) Fork(name string, body func(*Process)) *Process {
	var child *Process
	p.trap(&call{name: "fork " + name, run: func(p *Process) {
		files := slices.Clone(p.files)
		for _, f := range files {
			f.uses++
		}
		p.kernel.event(Event{Process: p, Verb: "fork", Text: name})
		child = p.kernel.Spawn(name, Cred{p.caller.Uid, p.caller.Gid}, body)
		child.files = files
	}})
	return child
}

// Yield is a step that does nothing.
func (p *Process) Yield() { p.trap(&call{name: "yield", run: func(*Process) {}}) }

// Do is a step that carries out f, which must touch only what the run's processes
// reach through Do: the words of a shared segment, say. What it returns is part of
// what decides the process's future.
func (p *Process) Do(name string, f func() uint64) uint64 {
	var v uint64
	p.trap(&call{name: name, run: func(p *Process) { v = f() }})
	p.history.Uint(v)
	return v
}

// Choose returns a number below n; the run's choices decide which.
func (p *Process) Choose(n int) int {
	c := &call{name: "choose", choices: n, run: func(*Process) {}}
	p.trap(c)
	return c.choice
}

// Sleep waits until d has passed. EINTR: a signal came first.
func (p *Process) Sleep(d objects.Time) syscall.Errno {
	c := &call{name: "sleep"}
	c.run = func(p *Process) {
		p.state = Sleeping
		p.kernel.event(Event{Process: p, Verb: "sleeps", Time: p.kernel.now, Span: d})
		p.kernel.startTimer(p, d)
	}
	p.trap(c)
	return c.errno
}

// Kill kills q and returns when it is dead. Until the signal arrives, q may end the call
// that it is in, or make the one that it was about to: it may even kill p.
func (p *Process) Kill(q *Process) {
	p.trap(&call{name: "kill " + q.Name, run: func(p *Process) {
		p.kernel.event(Event{Process: p, Verb: "kill", Text: q.Name})
		if q.state != Exited {
			q.doomed = true
			p.state, p.victim = Killing, q
		}
	}})
}

// Signal sends q a signal that it catches. It arrives in a step of its own: somebody
// may come first and finish what q waits for.
func (p *Process) Signal(q *Process) {
	p.trap(&call{name: "signal " + q.Name, run: func(p *Process) {
		p.kernel.event(Event{Process: p, Verb: "signal", Text: q.Name})
		q.signal = q.interruptible()
	}})
}

// Mark says that Snapshot tells, from here on, all that decides what the process does next:
// what its calls have returned so far is in there.
func (p *Process) Mark() { p.history = Hash{} }

// Note tells Kernel.Watch of what is no call.
func (p *Process) Note(verb, text string) {
	p.kernel.event(Event{Process: p, Verb: verb, Text: text})
}

// Abort leaves the body without a step, in a run that a violation has ended.
func (p *Process) Abort() { panic(exiting{}) }

// Exit ends the process and closes its files. The body's end does the same.
func (p *Process) Exit() {
	p.trap(&call{name: "exit", run: func(p *Process) {
		p.kernel.event(Event{Process: p, Verb: "exits"})
		p.kernel.exit(p)
	}})
}
