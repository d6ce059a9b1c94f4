package kernel

import (
	"slices"
	"syscall"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// A Call is a system call that a process makes, as plain data. The methods of Process that
// are named like system calls make one and wait for it; a Program returns it from Next, and
// finds in it how it has ended.
type Call interface {
	// Name is the call as a person reads it.
	Name() string

	// Do carries it out, in a step of p. The process may then be blocked.
	Do(p *Process)

	// Done follows when p learns how the call has ended.
	Done(p *Process)
}

// Errno is how the call has ended that p has made last.
func (p *Process) Errno() syscall.Errno { return p.errno }

// Choice is what a Choice has come out as.
func (p *Process) Choice() int { return p.choice }

// A Submission is a request on the object of an open file. It gives up with ETIMEDOUT
// (mq_timedreceive(3)) after Within, if that is not 0.
type Submission struct {
	File    *File
	Request *objects.Request
	Within  objects.Time
}

// Name implements Call.
func (c *Submission) Name() string {
	return c.Request.Op.String() + " " + c.File.Node.Name + LabelOf(mailbox.Filter(c.File.Handle)).String()
}

// Do implements Call.
func (c *Submission) Do(p *Process) {
	k, f, r := p.kernel, c.File, c.Request
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
	if c.Within > 0 {
		k.startTimer(p, c.Within)
	}
}

// Done implements Call.
func (c *Submission) Done(p *Process) {
	p.request = nil
	p.kernel.forgetTimer(p)
	p.errno = c.Request.Errno
	if p.program == nil {
		p.history.Uint(uint64(c.Request.Errno))
		if c.Request.Errno == 0 {
			p.history.Bytes(c.Request.Data)
		}
	}
	if m := c.File.Node.monitor; m != nil {
		m.Delivered(c.Request)
	}
}

// Submit carries out r on f's object and waits until it has finished.
func (p *Process) Submit(f *File, r *objects.Request) syscall.Errno {
	return p.SubmitWithin(0, f, r)
}

// SubmitWithin is Submit that gives up with ETIMEDOUT after d, if d is not 0.
func (p *Process) SubmitWithin(d objects.Time, f *File, r *objects.Request) syscall.Errno {
	p.trap(&Submission{f, r, d})
	return r.Errno
}

// An Opening opens a node: File is open if Errno of the process is 0 then.
type Opening struct{ Submission }

// NewOpening is the call of p that opens n, and gives up with ETIMEDOUT after d, if d is
// not 0.
func NewOpening(p *Process, d objects.Time, n *Node, m Mode) *Opening {
	r := &objects.Request{Op: m.Op, Nonblock: m.Nonblock}
	if m.Op == 0 {
		r.Op = objects.Open
	}
	return &Opening{Submission{p.newFile(n, m), r, d}}
}

// Done implements Call.
func (c *Opening) Done(p *Process) {
	c.Submission.Done(p)
	if p.errno == 0 {
		c.File.uses = 1
		p.files = append(p.files, c.File)
	}
}

// Open opens n.
func (p *Process) Open(n *Node, m Mode) (*File, syscall.Errno) { return p.OpenWithin(0, n, m) }

// OpenWithin is Open that gives up with ETIMEDOUT after d, if d is not 0.
func (p *Process) OpenWithin(d objects.Time, n *Node, m Mode) (*File, syscall.Errno) {
	c := NewOpening(p, d, n, m)
	p.trap(c)
	if p.errno != 0 {
		return nil, p.errno
	}
	return c.File, 0
}

// atOnce is of calls that have ended when they have been carried out.
type atOnce struct{}

// Done implements Call.
func (atOnce) Done(*Process) {}

// A Closing closes a file.
type Closing struct {
	atOnce
	File *File
}

// Name implements Call.
func (c *Closing) Name() string { return "close " + c.File.Node.Name }

// Do implements Call.
func (c *Closing) Do(p *Process) {
	if !slices.Contains(p.files, c.File) {
		p.errno = syscall.EBADF
		return
	}
	p.kernel.event(Event{Process: p, Verb: "close", Node: c.File.Node})
	p.kernel.close(p, c.File)
}

// Close closes f.
func (p *Process) Close(f *File) syscall.Errno {
	p.trap(&Closing{File: f})
	return p.errno
}

// A Setting changes a policy.
type Setting struct {
	atOnce
	Node          *Node
	Policy, Value string
}

// Name implements Call.
func (c *Setting) Name() string { return "set " + c.Node.Name + " " + c.Policy + "=" + c.Value }

// Do implements Call.
func (c *Setting) Do(p *Process) {
	k, n := p.kernel, c.Node
	if n.gone || !n.Kind.HasPolicy(c.Policy) {
		p.errno = syscall.ENOENT
		return
	}
	k.event(Event{Process: p, Verb: "set", Node: n, Text: c.Policy + "=" + c.Value})
	k.on(n, SetPolicy, nil, func() (done objects.Finished) {
		done, p.errno = n.Object.SetPolicy(k.now, c.Policy, c.Value)
		if n.monitor != nil {
			n.monitor.Sets(c.Policy, p.errno)
		}
		return done
	})
}

// SetPolicy changes a policy of n.
func (p *Process) SetPolicy(n *Node, name, value string) syscall.Errno {
	p.trap(&Setting{Node: n, Policy: name, Value: value})
	return p.errno
}

// A Destruction removes a node as rm does, whoever waits.
type Destruction struct {
	atOnce
	Node *Node
}

// Name implements Call.
func (c *Destruction) Name() string { return "destroy " + c.Node.Name }

// Do implements Call.
func (c *Destruction) Do(p *Process) {
	k, n := p.kernel, c.Node
	k.event(Event{Process: p, Verb: "destroy", Node: n})
	n.gone = true
	k.on(n, Destroy, nil, func() objects.Finished { return n.Object.Destroy(k.now) })
}

// Destroy removes n as rm does, whoever waits.
func (p *Process) Destroy(n *Node) { p.trap(&Destruction{Node: n}) }

// An action is a call that a function carries out. It is for processes on coroutines.
type action struct {
	atOnce
	name string
	do   func(p *Process)
}

func (c *action) Name() string  { return c.name }
func (c *action) Do(p *Process) { c.do(p) }

// Fork makes a process that has the files of p open too.
func (p *Process) Fork(name string, body func(*Process)) *Process {
	var child *Process
	p.trap(&action{name: "fork " + name, do: func(p *Process) {
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

// A Pause is a step that does nothing.
type Pause struct{ atOnce }

// Name implements Call.
func (Pause) Name() string { return "yield" }

// Do implements Call.
func (Pause) Do(*Process) {}

// Yield is a step that does nothing.
func (p *Process) Yield() { p.trap(Pause{}) }

// Do is a step that carries out f, which must touch only what the run's processes
// reach through Do: the words of a shared segment, say. What it returns is part of
// what decides the process's future.
func (p *Process) Do(name string, f func() uint64) uint64 {
	var v uint64
	p.trap(&action{name: name, do: func(*Process) { v = f() }})
	p.history.Uint(v)
	return v
}

// A Choice comes out as a number below N; the run's choices decide which.
type Choice struct {
	atOnce
	N int
}

// Name implements Call.
func (*Choice) Name() string { return "choose" }

// Do implements Call.
func (*Choice) Do(*Process) {}

// Choose returns a number below n; the run's choices decide which.
func (p *Process) Choose(n int) int {
	p.trap(&Choice{N: n})
	return p.choice
}

// A Nap waits until Span has passed. EINTR: a signal came first.
type Nap struct {
	atOnce
	Span objects.Time
}

// Name implements Call.
func (*Nap) Name() string { return "sleep" }

// Do implements Call.
func (c *Nap) Do(p *Process) {
	p.state = Sleeping
	p.kernel.event(Event{Process: p, Verb: "sleeps", Time: p.kernel.now, Span: c.Span})
	p.kernel.startTimer(p, c.Span)
}

// Sleep waits until d has passed. EINTR: a signal came first.
func (p *Process) Sleep(d objects.Time) syscall.Errno {
	p.trap(&Nap{Span: d})
	return p.errno
}

// A Killer kills Victim and ends when that is dead. Until the signal arrives, the victim
// may end the call that it is in, or make the one that it was about to: it may even kill
// the killer.
type Killer struct {
	atOnce
	Victim *Process
}

// Name implements Call.
func (c *Killer) Name() string { return "kill " + c.Victim.Name }

// Do implements Call.
func (c *Killer) Do(p *Process) {
	p.kernel.event(Event{Process: p, Verb: "kill", Text: c.Victim.Name})
	if c.Victim.state != Exited {
		c.Victim.doomed = true
		p.state, p.victim = Killing, c.Victim
	}
}

// Kill kills q and returns when it is dead, see Killer.
func (p *Process) Kill(q *Process) { p.trap(&Killer{Victim: q}) }

// A Signaller sends Target a signal that it catches. It arrives in a step of its own:
// somebody may come first and finish what the target waits for.
type Signaller struct {
	atOnce
	Target *Process
}

// Name implements Call.
func (c *Signaller) Name() string { return "signal " + c.Target.Name }

// Do implements Call.
func (c *Signaller) Do(p *Process) {
	p.kernel.event(Event{Process: p, Verb: "signal", Text: c.Target.Name})
	c.Target.signal = c.Target.interruptible()
}

// Signal sends q a signal, see Signaller.
func (p *Process) Signal(q *Process) { p.trap(&Signaller{Target: q}) }

// An Exit ends the process and closes its files.
type Exit struct{ atOnce }

// Name implements Call.
func (Exit) Name() string { return "exit" }

// Do implements Call.
func (Exit) Do(p *Process) {
	p.kernel.event(Event{Process: p, Verb: "exits"})
	p.kernel.exit(p)
}

// Exit ends the process and closes its files. The body's end does the same.
func (p *Process) Exit() { p.trap(Exit{}) }
