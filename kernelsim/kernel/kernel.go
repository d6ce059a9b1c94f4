// Package kernel is a kernel in miniature: simulated processes, a scheduler, a clock of
// its own, and the very objects that the mounted file system serves.
//
// # Processes and steps
//
// A process is an ordinary Go function on a coroutine, or a [Program] of plain data. It runs
// until it makes a system call and is then suspended with the call pending. A step of the kernel
// picks one process and carries out its pending call: the call finishes, and the
// process runs on to its next one, or it parks in an object and the process is
// blocked. A process whose parked request somebody else has finished is ready
// again; a step of its own delivers the result. In between it can still be killed:
// the result then goes back ([objects.Object.Return]).
//
// What a process does between two calls is invisible to the others, so steps are
// all there is to schedule. Processes must share nothing but what they reach
// through calls.
//
// # Choices
//
// [Kernel.Options] lists what can happen next: a step of a ready process, the
// clock's next timer, a kill or a signal if the run may still have one.
// [Kernel.Take] makes one of them happen. Nothing else is left open: the same
// choices give the same run, and the same trace, byte for byte. A [Chooser] makes
// the choices: at random from a seed, first come first served, or depth first
// through all of them. [Kernel.State] sums up what decides what can happen next, so that a
// search can merge runs that reach equal states.
//
// # Monitors
//
// The kernel knows no laws: a [Monitor] sees each call on an object, before and after, and
// ends the run if something is wrong. It stands here for the laws to be a package of their
// own, which looks at the kernel and not the other way round.
package kernel

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// A Kernel is one simulated machine.
type Kernel struct {
	// Faults are what may still happen to processes besides what they do.
	Faults Faults

	// Asynchronous lets the clock pass while processes are ready to run: any
	// process may be slow. Otherwise time passes only when nobody can run.
	Asynchronous bool

	// Laws, if set, makes the monitor of each new object.
	Laws func(n *Node) Monitor

	// Wrap, if set, stands between the kernel and each new object. Tests plant
	// bugs with it.
	Wrap func(kind objects.Kind, o objects.Object) objects.Object

	// Reloads has each object that is not wrapped saved after each call, and goes on with
	// what is loaded from that.
	Reloads bool

	// Watch, if set, sees every event as it happens.
	Watch func(Event)

	// Priorities says that a process has its turn only if nobody of a higher priority is ready.
	Priorities bool

	// Undisturbed says that no process kills another or signals it.
	Undisturbed bool

	// Snapshot, if set, adds to h what decides what can happen that processes share beside
	// objects.
	Snapshot func(h *Hash)

	// Invariant, if set, is checked after every step.
	Invariant func() error

	now       objects.Time
	steps     int
	processes []*Process // by pid
	ready     []*Process // the run queue
	nodes     []*Node
	timers    []*timer
	stopped   bool
	violation error
	options   []Option           `state:"fixed"` // memory that is used again
	finished  []*objects.Request `state:"fixed"` // likewise
}

// Faults is a budget of what may happen to processes at any point.
type Faults struct {
	Kills   int // SIGKILL
	Signals int // a caught signal, which interrupts a blocked call
}

// A Violation is what a run found to be wrong.
type Violation struct {
	Step int
	Err  error
}

func (v *Violation) Error() string { return fmt.Sprintf("step %d: %v", v.Step, v.Err) }

// Unwrap returns what is wrong.
func (v *Violation) Unwrap() error { return v.Err }

// Cause is what is wrong, without the step in which it was found.
func Cause(err error) error {
	var v *Violation
	if errors.As(err, &v) {
		return v.Err
	}
	return err
}

// firstPid is the pid of the first process.
const firstPid = 1

// Now is the virtual time since the start of the run.
func (k *Kernel) Now() objects.Time { return k.now }

// Begin begins the run: what was done so far is no part of it.
func (k *Kernel) Begin() { k.steps = 0 }

// NameOf is the name of the process of that pid.
func (k *Kernel) NameOf(pid int) string { return k.processes[pid-firstPid].Name }

// Steps is how many steps the run has taken.
func (k *Kernel) Steps() int { return k.steps }

// Processes are all processes there ever were, by pid.
func (k *Kernel) Processes() []*Process { return slices.Clone(k.processes) }

// Nodes are the objects in the order of their creation.
func (k *Kernel) Nodes() []*Node { return slices.Clone(k.nodes) }

// Violation is what the laws found, nil if nothing.
func (k *Kernel) Violation() error { return k.violation }

// Violate ends the run because of err.
func (k *Kernel) Violate(err error) {
	if k.violation == nil && err != nil {
		k.violation = &Violation{k.steps, err}
	}
}

// A Node is an object under its name.
type Node struct {
	Name   string
	Kind   objects.Kind `state:"fixed"`
	Object objects.Object

	// Inherits says that who holds the object runs with the priority of those who wait to.
	Inherits bool

	// Settings are the policies that the run may set. What they may make matter tells
	// states apart from the start.
	Settings []string `state:"fixed"`

	kernel  *Kernel
	monitor Monitor // nil if nobody watches the calls
	accounts

	mailbox *mailbox.Mailbox    // the object itself, whatever Wrap made of it; nil if it is none
	holder  objects.Accountable // likewise

	gone     bool         // destroyed
	touched  bool         // by a call since it was checked last
	deadline objects.Time // that a timer runs for, 0 if none does

	forwarding *Node // where its dead letters are about to go: itself if there is nowhere
}

// Create makes an object of the kind with the policies given as name, value pairs.
func (k *Kernel) Create(name string, kind objects.Kind, policies ...string) (*Node, error) {
	n := &Node{Name: name, Kind: kind, kernel: k}
	n.setObject(kind.New(&n.accounts))
	if k.Wrap != nil {
		n.Object = k.Wrap(kind, n.Object)
	}
	for i := 0; i < len(policies); i += 2 {
		if !kind.HasPolicy(policies[i]) {
			return nil, fmt.Errorf("a %s has no %s", kind.Name, policies[i])
		}
		if _, errno := n.Object.SetPolicy(k.now, policies[i], policies[i+1]); errno != 0 {
			return nil, fmt.Errorf("a %s cannot have %s %s", kind.Name, policies[i], policies[i+1])
		}
	}
	if k.Laws != nil {
		n.monitor = k.Laws(n)
	}
	k.nodes = append(k.nodes, n)
	return n, nil
}

func (n *Node) setObject(o objects.Object) {
	n.Object = o
	n.mailbox, _ = o.(*mailbox.Mailbox)
	n.holder, _ = o.(objects.Accountable)
}

// A Monitor watches the calls on one object. An error ends the run.
type Monitor interface {
	// Before and After see a call; done is whom it finished, in wake order.
	Before(a Act, r *objects.Request)
	After(a Act, r *objects.Request, done []*objects.Request) error

	// Sets learns, before After, which policy a call has set, and whether it was refused.
	Sets(policy string, errno syscall.Errno)

	// ExpectLetters learns what the monitor of another mailbox has seen it forward: the
	// next call brings it here.
	ExpectLetters(from Monitor)

	// Delivered learns that r's process has its result: it cannot go back.
	Delivered(r *objects.Request)

	// Check holds after every step.
	Check() error

	// State is what tells states of a run apart besides the object; nil if that is nothing.
	State() any

	// Contents shows what the object holds, what comes next first, if that can be known.
	Contents() []string
}

// An act is a call on an object.
type Act uint8

const (
	Submit Act = iota
	Cancel
	GiveBack
	Destroy
	SetPolicy
	Expire
	Forward // to the dead letters
	Arrive  // there
)

var actNames = [...]string{"submit", "cancel", "return", "destroy", "set policy", "expire", "forward", "arrive"}

func (a Act) String() string { return actNames[a] }

// on makes a call on n's object, has the laws look at it, and wakes whom it
// finished.
func (k *Kernel) on(n *Node, a Act, r *objects.Request, call func() objects.Finished) {
	k.before(n, a, r)
	// Nobody but the reads of one file sees that its text is made in between.
	k.after(n, a, r, call())
}

func (k *Kernel) before(n *Node, a Act, r *objects.Request) {
	n.touched = true
	if n.monitor != nil {
		n.monitor.Before(a, r)
	}
}

func (k *Kernel) after(n *Node, a Act, r *objects.Request, done objects.Finished) {
	done = objects.Render(k.now, n.Object, done, receipt)
	k.startDeadline(n)
	k.finished = k.finished[:0]
	for f := done.Next(); f != nil; f = done.Next() {
		k.finished = append(k.finished, f)
	}
	if n.monitor != nil {
		k.Violate(n.monitor.After(a, r, k.finished))
	}
	for _, f := range k.finished {
		p, ok := f.Tag.(*Process)
		if !ok {
			continue // the kernel's own
		}
		if p.state == Blocked && p.request == f {
			p.woken = true
			k.forgetTimer(p)
			k.makeReady(p)
			k.event(Event{Process: p, Verb: "wakes", Node: n, Request: f})
		}
	}
	if k.Reloads {
		k.Violate(k.reload(n))
	}
}

// hasLetters reports whether n has messages that are to go to the dead letters.
func (n *Node) hasLetters() bool {
	if n.mailbox == nil {
		return false
	}
	_, any := n.mailbox.DeadLetters()
	return any
}

// forward takes a step of the one who moves what the mailbox n has for the dead letters to
// the mailbox of that name. It is nobody's step: the call that made the messages dead has
// returned. Which mailbox it is, is looked up in a step before, if that may change.
func (k *Kernel) forward(n *Node) {
	to := n.forwarding
	n.forwarding = nil
	if to == nil {
		name, _ := n.mailbox.DeadLetters()
		i := slices.IndexFunc(k.nodes, func(to *Node) bool { return to.Name == name && to.mailbox != nil && to != n })
		if to = n; i >= 0 {
			to = k.nodes[i]
		}
		if slices.Contains(n.Settings, "dead_letters") {
			n.forwarding = to
			return
		}
	}
	k.event(Event{Verb: "dead letters leave", Node: n})
	k.before(n, Forward, nil)
	var left, arrived objects.Finished
	if to == n { // there is none
		left, _ = mailbox.Forward(k.now, n.mailbox, nil)
		k.after(n, Forward, nil, objects.Render(k.now, n.Object, left, receipt))
		return
	}
	k.before(to, Arrive, nil)
	left, arrived = mailbox.Forward(k.now, n.mailbox, to.mailbox)
	k.after(n, Forward, nil, objects.Render(k.now, n.Object, left, receipt))
	if to.monitor != nil {
		to.monitor.ExpectLetters(n.monitor)
	}
	k.after(to, Arrive, nil, objects.Render(k.now, to.Object, arrived, receipt))
}

// CancelParked ends the parked request r of a run that is over, as a signal would.
func (k *Kernel) CancelParked(n *Node, r *objects.Request) {
	if p, ok := r.Tag.(*Process); ok {
		k.forgetTimer(p)
	}
	k.cancel(n, r, syscall.EINTR)
}

// SubmitTo submits r to n without a step, in a run that is over.
func (k *Kernel) SubmitTo(n *Node, r *objects.Request) { k.submit(n, r) }

func (k *Kernel) submit(n *Node, r *objects.Request) {
	k.on(n, Submit, r, func() objects.Finished { return n.Object.Submit(k.now, r) })
}

func (k *Kernel) cancel(n *Node, r *objects.Request, cause syscall.Errno) {
	k.on(n, Cancel, r, func() objects.Finished { return n.Object.Cancel(k.now, r, cause) })
}

func (k *Kernel) giveBack(n *Node, r *objects.Request) {
	k.on(n, GiveBack, r, func() objects.Finished { return n.Object.Return(k.now, r) })
}

// accounts are the ledger of one object: they have no limit and remember what is booked.
type accounts struct {
	book  Book
	users map[uint32]objects.Cost // without those who have nothing
}

// A Book is what is booked on all users together.
type Book struct{ Messages, Bytes int64 }

// Add books so many messages and the bytes of text.
func (b *Book) Add(messages int64, text string) {
	b.Messages += messages
	b.Bytes += int64(len(text))
}

// Charge implements objects.Ledger.
func (a *accounts) Charge(uid uint32, c objects.Cost) syscall.Errno {
	a.Adjust(uid, c)
	return 0
}

// Adjust implements objects.Ledger.
func (a *accounts) Adjust(uid uint32, c objects.Cost) {
	if a.users == nil {
		a.users = make(map[uint32]objects.Cost)
	}
	was := a.users[uid]
	a.users[uid] = objects.Cost{Messages: was.Messages + c.Messages, Bytes: was.Bytes + c.Bytes, Kept: was.Kept + c.Kept}
	if a.users[uid] == (objects.Cost{}) {
		delete(a.users, uid)
	}
	a.book.Messages += c.Messages
	a.book.Bytes += c.Bytes
}

// Move implements objects.Ledger.
func (a *accounts) Move(from uint32, out objects.Cost, to uint32, in objects.Cost) syscall.Errno {
	a.Adjust(from, objects.Cost{Messages: -out.Messages, Bytes: -out.Bytes, Kept: -out.Kept})
	a.Adjust(to, in)
	return 0
}

// Booked is what is booked on all users for n together.
func (n *Node) Booked() Book { return n.book }

// Mailbox is the mailbox itself, whatever Wrap made of it; nil if n is none.
func (n *Node) Mailbox() *mailbox.Mailbox { return n.mailbox }

// Gone reports whether n was destroyed.
func (n *Node) Gone() bool { return n.gone }

// Kernel is the machine that n is on.
func (n *Node) Kernel() *Kernel { return n.kernel }

// Monitor is what the kernel's Laws made for n, nil if there are none.
func (n *Node) Monitor() Monitor { return n.monitor }

// Amount is the value of a policy that is a number; max is the greatest there is.
func (n *Node) Amount(policy string) int64 { return amount(n.Object.Policy(policy)) }

// Counter is what the object's stat says of that name, 0 if it says nothing.
func (n *Node) Counter(name string) int64 {
	for _, c := range n.Object.Stat() {
		if c.Name == name {
			return c.Value
		}
	}
	return 0
}

// Balance returns an error unless what is booked on each user is what the object has of
// them, counted again.
func (n *Node) Balance() error {
	if n.holder == nil {
		return nil
	}
	want := n.holder.Booked()
	for _, uid := range slices.Sorted(maps.Keys(want)) {
		if n.users[uid] != want[uid] {
			return fmt.Errorf("%+v is booked on user %d; want %+v", n.users[uid], uid, want[uid])
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(n.users)) {
		if n.users[uid] != want[uid] {
			return fmt.Errorf("%+v is booked on user %d, who has %+v", n.users[uid], uid, want[uid])
		}
	}
	return nil
}

// An Option is something that can happen next.
type Option struct {
	Kind    OptionKind
	Process *Process
	Value   int   // what Process.Choose returns
	Node    *Node // whose dead letters go on
}

// An OptionKind says what an Option is.
type OptionKind uint8

const (
	Run       OptionKind = iota // Process takes a step
	Stop                        // nothing more happens, though a fault could
	Tick                        // the clock goes on to the next timer
	Kill                        // Process is killed
	Interrupt                   // Process catches a signal
	Letters                     // the dead letters of Node go on
)

// Options lists what can happen next. It is empty when the run has ended. The list
// is valid until the next Take.
func (k *Kernel) Options() []Option {
	o := k.options[:0]
	defer func() { k.options = o }()
	if k.violation != nil || k.stopped {
		return nil
	}
	for _, p := range k.processes {
		if p.doomed {
			o = append(o, Option{Kind: Kill, Process: p})
		}
		if p.signal && p.interruptible() {
			o = append(o, Option{Kind: Interrupt, Process: p})
		}
	}
	for _, n := range k.nodes {
		if n.forwarding != nil || n.hasLetters() {
			o = append(o, Option{Kind: Letters, Node: n})
		}
	}
	var turn []bool
	if k.Priorities {
		turn = k.turn()
	}
	for _, p := range k.ready {
		if p.last || turn != nil && !turn[p.Index()] {
			continue
		}
		if n := p.choices(); n > 0 {
			for i := range n {
				o = append(o, Option{Kind: Run, Process: p, Value: i})
			}
			continue
		}
		o = append(o, Option{Kind: Run, Process: p})
	}
	if len(k.timers) > 0 && (len(o) == 0 || k.Asynchronous) {
		o = append(o, Option{Kind: Tick})
	}
	idle := len(o) == 0
	for _, p := range k.processes {
		if k.Faults.Kills > 0 && p.state != Exited && !p.Immune && !p.doomed {
			o = append(o, Option{Kind: Kill, Process: p})
		}
	}
	for _, p := range k.processes {
		if k.Faults.Signals > 0 && p.interruptible() && !p.signal && !p.Immune {
			o = append(o, Option{Kind: Interrupt, Process: p})
		}
	}
	if idle && len(o) > 0 {
		o = slices.Insert(o, 0, Option{Kind: Stop})
	}
	return o
}

// Relevant is Options without those that differ from another only in when a process
// learns what has been decided already: that step touches nothing but the process, and so
// it can as well come first, unless a kill or a signal may come in between.
func (k *Kernel) Relevant() []Option {
	options := k.Options()
	for _, o := range options {
		if o.Kind == Run && k.learns(o.Process) {
			return []Option{o}
		}
	}
	return options
}

// learns reports whether the next step of p is of no concern to others.
func (k *Kernel) learns(p *Process) bool {
	return p.woken && k.Undisturbed && k.Faults.Kills == 0 && k.Faults.Signals == 0
}

// Learning reports whether a process is about to learn what has been decided, in a step
// that Relevant puts first.
func (k *Kernel) Learning() bool { return slices.ContainsFunc(k.processes, k.learns) }

// Standing tells of the first n processes which are blocked and which could have the next turn,
// one bit each.
func (k *Kernel) Standing(n int) (blocked, ready uint64) {
	if k.Priorities {
		for j, turn := range k.turn()[:min(n, len(k.processes))] {
			if turn {
				ready |= 1 << j
			}
			if k.processes[j].state == Blocked {
				blocked |= 1 << j
			}
		}
		return blocked, ready
	}
	for j, p := range k.processes[:min(n, len(k.processes))] {
		switch p.state {
		case Blocked:
			blocked |= 1 << j
		case Ready:
			ready |= 1 << j
		}
	}
	return blocked, ready
}

// Pending reports whether something is to happen that is no process's step: the clock goes
// on, a signal arrives, dead letters go on.
func (k *Kernel) Pending() bool {
	return len(k.timers) > 0 || slices.ContainsFunc(k.nodes, func(n *Node) bool { return n.forwarding != nil || n.hasLetters() }) ||
		slices.ContainsFunc(k.processes, func(p *Process) bool { return p.doomed || p.signal })
}

// Faulty reports whether o happens only because of Faults.
func (k *Kernel) Faulty(o Option) bool {
	return o.Kind == Kill && !o.Process.doomed || o.Kind == Interrupt && !o.Process.signal
}

// Take makes o, which is one of Options, happen.
func (k *Kernel) Take(o Option) {
	k.Retake(o)
	if o.Kind != Stop {
		k.check()
	}
}

// Retake is Take of a step that was taken before in an equal state: what holds after each
// step was found to hold.
func (k *Kernel) Retake(o Option) {
	k.steps++
	switch o.Kind {
	case Stop:
		k.stopped = true
		k.steps--
		return
	case Run:
		k.run(o.Process, o.Value)
	case Tick:
		k.tick()
	case Letters:
		k.forward(o.Node)
	case Kill:
		if !o.Process.doomed {
			k.Faults.Kills--
		}
		k.Kill(o.Process)
	case Interrupt:
		if !o.Process.signal {
			k.Faults.Signals--
		}
		k.Signal(o.Process)
	}
}

// check holds the laws against the state after a step: of the objects that it has touched, as
// no other has changed.
func (k *Kernel) check() {
	for _, n := range k.nodes {
		if n.monitor != nil && n.touched {
			n.touched = false
			if err := n.monitor.Check(); err != nil {
				k.Violate(fmt.Errorf("%s %s: %w", n.Kind.Name, n.Name, err))
			}
		}
	}
	if k.Invariant != nil && k.violation == nil {
		k.Violate(k.Invariant())
	}
}

// run takes a step of p.
func (k *Kernel) run(p *Process, value int) {
	k.ready = slices.DeleteFunc(k.ready, func(q *Process) bool { return q == p })
	p.signal = false // the handler has run
	p.last = p.doomed
	if !p.woken {
		p.choice = value
		p.state = Running
		if p.call != nil { // it is the first step of a program otherwise
			p.call.Do(p)
		}
		if p.state != Running {
			return // blocked, asleep or gone
		}
	}
	p.woken = false
	p.resume()
	if p.state != Exited {
		k.makeReady(p)
	}
}

func (k *Kernel) makeReady(p *Process) {
	p.state = Ready
	k.ready = append(k.ready, p)
}

// Kill ends p at once, as SIGKILL does: a parked request is cancelled, a finished
// one that was not delivered goes back, and every file is closed.
func (k *Kernel) Kill(p *Process) {
	if p.state == Exited {
		return
	}
	k.event(Event{Process: p, Verb: "is killed"})
	p.killed = true
	woken := p.woken
	was := p.state
	p.woken, p.signal, p.doomed, p.last, p.state = false, false, false, false, Exited
	k.ready = slices.DeleteFunc(k.ready, func(q *Process) bool { return q == p })
	k.forgetTimer(p)
	if p.gate != nil {
		p.gate.remove(p)
	}
	if r := p.request; r != nil {
		n := p.file.Node
		switch {
		case was == Blocked:
			k.cancel(n, r, syscall.EINTR)
		case woken && Opens(r.Op) && r.Errno == 0:
			k.submit(n, &objects.Request{Op: objects.Close, Handle: r.Handle, Caller: p.caller})
		case woken:
			k.giveBack(n, r)
		}
		p.request = nil
	}
	k.exit(p)
}

// exit closes what p has open and lets go of its coroutine.
func (k *Kernel) exit(p *Process) {
	p.state = Exited
	for _, f := range slices.Clone(p.files) {
		f.torn = f.torn || p.killed && f.writer == p
		k.close(p, f)
	}
	k.release(p)
	for _, q := range k.processes {
		if q.victim == p && q.state == Killing {
			q.victim, q.woken = nil, true
			k.makeReady(q)
		}
	}
	p.doomed, p.victim, p.call = false, nil, nil
	if p.stop != nil {
		p.stop()
	}
}

// Signal makes p catch a signal: a blocked call fails with EINTR. It does nothing
// to a process that is not blocked, as its handler just runs.
func (k *Kernel) Signal(p *Process) {
	if !p.interruptible() {
		return
	}
	p.signal = false
	k.event(Event{Process: p, Verb: "catches a signal"})
	k.interrupt(p, syscall.EINTR)
}

// interrupt ends p's blocked call with cause.
func (k *Kernel) interrupt(p *Process, cause syscall.Errno) {
	k.forgetTimer(p)
	if p.state == Blocked {
		k.cancel(p.file.Node, p.request, cause)
		return
	}
	p.errno = cause
	p.woken = true
	k.makeReady(p)
}

// Run takes steps that c chooses until nothing can happen any more, or limit steps
// are done. It reports false if the limit ended it.
func (k *Kernel) Run(c Chooser, limit int) bool {
	for k.steps < limit {
		o := k.Options()
		if len(o) == 0 {
			return true
		}
		i := 0
		if len(o) > 1 {
			i = c.Choose(len(o))
		}
		k.Take(o[i])
	}
	return len(k.Options()) == 0
}

// Stuck lists the processes that wait for ever, once the run has ended. Those
// marked Daemon are meant to.
func (k *Kernel) Stuck() (stuck []*Process) {
	for _, p := range k.processes {
		if p.state == Blocked && !p.Daemon {
			stuck = append(stuck, p)
		}
	}
	return stuck
}

// Shutdown lets go of the coroutines of a run that is over.
func (k *Kernel) Shutdown() {
	for _, p := range k.processes {
		if p.state != Exited {
			p.state = Exited
			if p.stop != nil {
				p.stop()
			}
		}
	}
}
