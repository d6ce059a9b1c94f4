package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"syscall"

	"ipcfs/kernelsim/kernel"
	"ipcfs/kernelsim/laws"
	"ipcfs/objects"
)

// A System is what the processes of a scenario act on: the simulated kernel, or a
// real one. Each method but Did is a step. Fail and Exit end the process.
//
// Objects, variables and sections are known by their index in the scenario, and so
// are processes: all of a "process p * 3" have one.
type System interface {
	Glance
	Store(variable int, v Value)

	// Update stores what compute returns; nobody comes in between. An error ends
	// the run.
	Update(variable int, compute func(Glance) (Value, error))

	// Enter counts a process that enters a section (1) or leaves it (-1).
	Enter(section int, by int64)

	// Do carries out an operation and returns what it receives.
	Do(o Operation) ([]byte, syscall.Errno)

	// Open opens what the process uses of an object that it has not open.
	Open(object int) syscall.Errno

	// Close closes what the process has open of an object, or only what it holds of it.
	Close(object int, held bool)

	SetPolicy(object int, name, value string) syscall.Errno
	Destroy(object int)
	Kill(process int)   // all others of that index
	Signal(process int) // likewise
	Sleep(d objects.Time) syscall.Errno
	Choose(n int) int
	Yield()
	Exit()
	Fail(err error)

	// Did is told what the process has done that the system cannot know: what it
	// prints and chooses.
	Did(text string)
}

// A Glance is how expressions read variables and look at the run.
type Glance interface {
	Load(variable int) Value
	Look(l Look) int64
}

// A Look is what a scenario's function sees.
type Look struct {
	What  string // messages, bytes, waiting, value, inside, blocked, exited, killed, a counter
	Index int    // of the object, section or process
}

// An Instance is one process of a scenario.
type Instance struct {
	Name    string
	Process int // the index of its declaration
	Number  int // from 1, among those of the declaration
	Uid     uint32
	Daemon  bool
	Immune  bool
}

// Instances lists the processes of s in the order in which they are made.
func (s *Scenario) Instances() (all []Instance) {
	for i, d := range s.processes {
		for n := range d.count {
			name := d.name
			if d.count > 1 {
				name += strconv.Itoa(n + 1)
			}
			all = append(all, Instance{name, i, n + 1, d.uid, d.daemon, d.immune})
		}
	}
	return all
}

// A Declaration is an object of a scenario.
type Declaration struct {
	Kind     objects.Kind
	Name     string
	Policies []string // name, value pairs

	// Destroyed is set if a process destroys it, of the user Destroyer.
	Destroyed bool
	Destroyer uint32
}

// Declarations lists the objects of s.
func (s *Scenario) Declarations() (all []Declaration) {
	for _, d := range s.objects {
		all = append(all, Declaration{Kind: d.kind, Name: d.name, Policies: d.policies})
	}
	for _, p := range s.processes {
		walkStatements(p.body, func(st *statement) {
			if st.verb == "destroy" {
				d := &all[st.object]
				d.Destroyed, d.Destroyer = true, max(d.Destroyer, p.uid)
			}
		})
	}
	return all
}

// Settings lists the policies of an object that processes change.
func (s *Scenario) Settings(object int) (policies []string) {
	for _, p := range s.processes {
		walkStatements(p.body, func(st *statement) {
			if st.verb == "set" && st.object == object {
				policies = append(policies, st.policy[0])
			}
		})
	}
	return policies
}

// Variables are the first values of the shared variables.
func (s *Scenario) Variables() (all []Value) {
	for _, d := range s.shared {
		all = append(all, d.value)
	}
	return all
}

// Sections is how many sections there are.
func (s *Scenario) Sections() int { return len(s.sections) }

// Faults are what may happen to processes besides what they do.
func (s *Scenario) Faults() kernel.Faults { return s.faults }

// Endless reports whether a process that is no daemon may go on for ever.
func (s *Scenario) Endless() (endless bool) {
	for _, p := range s.processes {
		endless = endless || !p.daemon && p.does(func(st *statement) bool { return st.verb == "forever" })
	}
	return endless
}

// disturbs reports whether a process kills or signals others.
func (s *Scenario) disturbs() bool {
	return slices.ContainsFunc(s.processes, func(d *processDecl) bool {
		return d.does(func(st *statement) bool { return st.verb == "kill" || st.verb == "signal" })
	})
}

// Extends reports whether a process extends leases.
func (s *Scenario) Extends() bool {
	return slices.ContainsFunc(s.processes, func(d *processDecl) bool {
		return d.does(func(st *statement) bool { return st.verb == "extend" })
	})
}

// An End is an endpoint of an object. Op is what it is for: Lease also settles, and
// Receipt also sends.
type End struct {
	Object int
	Op     objects.Op
	Label  kernel.Label
}

// end is the endpoint that s, of the verb v, goes through in a process of d.
func (d *processDecl) end(s *statement, v verb) End {
	e := End{s.object, v.op, s.label}
	switch {
	case v.op == objects.Settle:
		e.Op = objects.Lease
	case v.op == objects.Send && s.label == kernel.Label{} && slices.Contains(d.receipts, s.object):
		e.Op = objects.Receipt
	}
	return e
}

// Uses lists the endpoints that the processes of that index use.
func (s *Scenario) Uses(process int) (all []End) {
	walkStatements(s.processes[process].body, func(st *statement) {
		if v, ok := verbNamed(st.verb); ok {
			if e := s.processes[process].end(st, v); !slices.Contains(all, e) {
				all = append(all, e)
			}
		}
	})
	return all
}

// Ends lists the endpoints that the processes of that index have open from the start:
// those of the objects that they do not open themselves.
func (s *Scenario) Ends(process int) []End { return s.ends[process] }

func (s *Scenario) findEnds(process int) []End {
	return slices.DeleteFunc(s.Uses(process), func(e End) bool {
		return kernel.Opens(e.Op) || s.processes[process].does(func(st *statement) bool { return st.verb == "open" && st.object == e.Object })
	})
}

// Alone reports whether an object is a pipe of which the processes use one end only: nobody
// is there whom they could have it open with from the start, so each opens its end with its
// first operation, and waits as fifo(7) says.
func (s *Scenario) Alone(object int) bool { return s.alone[object] }

func (s *Scenario) isAlone(object int) bool {
	used := map[objects.Op]bool{}
	for i := range s.processes {
		for _, e := range s.Ends(i) {
			if e.Object == object {
				used[e.Op] = true
			}
		}
	}
	return s.objects[object].kind.Name == "pipe" && used[objects.Read] != used[objects.Write]
}

// EndsOf lists the endpoints of an object that they open themselves.
func (s *Scenario) EndsOf(process, object int) []End {
	return slices.DeleteFunc(s.Uses(process), func(e End) bool { return kernel.Opens(e.Op) || e.Object != object })
}

// does reports whether a statement of d passes.
func (d *processDecl) does(pass func(*statement) bool) (found bool) {
	walkStatements(d.body, func(st *statement) { found = found || pass(st) })
	return found
}

func walkStatements(body []*statement, visit func(*statement)) {
	for _, s := range body {
		visit(s)
		walkStatements(s.body, visit)
		walkStatements(s.other, visit)
	}
}

// Act carries out the program of i on sys and returns when it has ended.
func (s *Scenario) Act(i Instance, sys System) {
	newActor(s, i, sys).block(s.processes[i.Process].body)
	sys.Exit()
}

// Sight says what an assertion depends on, and so who can tell whether it holds while
// the processes go on.
type Sight uint8

const (
	SeesVariables Sight = iota // variables, sections, and who has ended
	SeesObject                 // one look at an object or at who waits
	SeesMore                   // more than can be seen at once
)

// Always returns what is wrong with the first assertion of that sight that is to hold
// always.
func (s *Scenario) Always(sight Sight, g Glance) error {
	var all []assertion
	for _, as := range s.always {
		if as.expr.sight() == sight {
			all = append(all, as)
		}
	}
	return hold(all, g)
}

// CountAlways is how many assertions of that sight are to hold always.
func (s *Scenario) CountAlways(sight Sight) (n int) {
	for _, as := range s.always {
		if as.expr.sight() == sight {
			n++
		}
	}
	return n
}

// Finally returns what is wrong with the first assertion that is to hold at the end.
func (s *Scenario) Finally(g Glance) error { return hold(s.finally, g) }

func (e *expression) sight() Sight {
	variables, looks := e.mentions()
	switch {
	case looks == 0:
		return SeesVariables
	case looks == 1 && variables == 0:
		return SeesObject
	}
	return SeesMore
}

// mentions counts what e reads under the lock of the variables, and what it looks at.
func (e *expression) mentions() (variables, looks int) {
	if e == nil {
		return 0, 0
	}
	switch {
	case e.op == "shared":
		variables++
	case e.op == "call" && slices.Contains([]string{"inside", "exited", "killed"}, e.text):
		variables++
	case e.op == "call":
		looks++
	}
	for _, side := range []*expression{e.left, e.right} {
		v, l := side.mentions()
		variables, looks = variables+v, looks+l
	}
	return variables, looks
}

// A Run is a run of a scenario in the simulated kernel.
type Run struct {
	s         *Scenario
	k         *kernel.Kernel
	nodes     []*kernel.Node
	shared    []Value
	inside    []int64
	processes []*simulated
	histories bool // what each process has done is kept, and tells states apart
}

// A simulated process of a scenario. It implements System.
type simulated struct {
	*actor
	m       *Run
	p       *kernel.Process
	files   []keptFile
	lone    []End // that its first operation on them opens
	did     []string
	current string // the operation under way
}

// A keptFile is an open file and the endpoint it stands for.
type keptFile struct {
	end  End
	file *kernel.File
}

func (a *simulated) file(e End) *kernel.File {
	for _, f := range a.files {
		if f.end == e {
			return f.file
		}
	}
	return nil
}

// Start makes the scenario's processes and objects, under the laws. With histories, what
// each process has done tells states apart.
func (s *Scenario) Start(k *kernel.Kernel, histories bool) *Run {
	k.Laws, k.Undisturbed = laws.Of, !s.disturbs()
	m := &Run{s: s, k: k, inside: make([]int64, len(s.sections)), shared: s.Variables(), histories: histories}
	k.Faults = s.faults
	for _, d := range s.objects {
		n, err := k.Create(d.name, d.kind, d.policies...)
		if err != nil {
			panic("kernelsim: the parser let pass: " + err.Error())
		}
		n.Settings = s.Settings(len(m.nodes))
		m.nodes = append(m.nodes, n)
	}
	for _, i := range s.Instances() {
		a := &simulated{m: m}
		a.actor = newActor(s, i, a)
		m.processes = append(m.processes, a)
		k.Spawn(i.Name, kernel.Cred{Uid: i.Uid}, func(p *kernel.Process) {
			a.p = p
			p.Yield() // the others are made first
			a.block(s.processes[i.Process].body)
			p.Line = 0
		})
		a.p.Daemon, a.p.Immune, a.p.Snapshot, a.mark = i.Daemon, i.Immune, a.snapshot, a.begin
		for _, e := range s.Ends(i.Process) {
			if s.Alone(e.Object) {
				a.lone = append(a.lone, e)
				continue
			}
			f := a.p.OpenNow(m.nodes[e.Object], e.mode())
			if f == nil {
				k.Violate(fmt.Errorf("line %d: %s is refused to have %s open from the start: it could try to open it",
					s.processes[i.Process].line, i.Name, m.nodes[e.Object].Name))
				return m
			}
			a.files = append(a.files, keptFile{e, f})
		}
	}
	k.Snapshot = m.snapshot
	for _, a := range m.processes {
		// Past the first step, which is no part of the scenario.
		k.Take(kernel.Option{Kind: kernel.Run, Process: a.p})
	}
	k.Begin()
	k.Invariant = func() error { return hold(s.always, m) }
	return m
}

// begin tells the kernel that the process begins a statement.
func (a *simulated) begin(s *statement) {
	a.p.Mark()
	a.p.Line = s.line
}

func (a *simulated) snapshot(h *kernel.Hash) {
	for _, v := range a.locals {
		v.hash(h)
	}
	h.Uint(uint64(len(a.path)))
	for _, at := range a.path {
		h.Uint(uint64(at))
	}
	h.Uint(uint64(len(a.lone)))
	for _, e := range a.lone {
		h.Uint(uint64(e.Object))
		h.Uint(uint64(e.Op))
		h.String(e.Label.String())
	}
}

// snapshot adds what processes share, and what they have done if that counts.
func (m *Run) snapshot(h *kernel.Hash) {
	for _, v := range m.shared {
		v.hash(h)
	}
	for _, n := range m.inside {
		h.Uint(uint64(n))
	}
	for _, l := range m.s.counters {
		h.Uint(uint64(m.Look(l)))
	}
	for _, a := range m.processes {
		if a.p.Killed() {
			continue // see Ending.String; that it was killed is known
		}
		h.Uint(uint64(len(a.did)))
		for _, text := range a.did {
			h.String(text)
		}
	}
}

// mode is how the endpoint is opened.
func (e End) mode() kernel.Mode {
	switch e.Op {
	case objects.Send, objects.Write, objects.Post:
		return kernel.Mode{WriteOp: e.Op, Only: e.Label.Only()}
	case objects.Lease:
		return kernel.Mode{ReadOp: objects.Lease, WriteOp: objects.Settle}
	case objects.Receipt:
		return kernel.Mode{ReadOp: objects.Receipt, WriteOp: objects.Send}
	case objects.Receive, objects.Peek, objects.Read, objects.Wait:
		return kernel.Mode{ReadOp: e.Op, Only: e.Label.Only()}
	}
	return kernel.Mode{}
}

// Load and Look see the run as it stands, without a step.
func (m *Run) Load(variable int) Value { return m.shared[variable] }

func (m *Run) Look(l Look) int64 {
	count := func(pass func(*kernel.Process) bool) (n int64) {
		for _, a := range m.processes {
			if a.self.Process == l.Index && pass(a.p) {
				n++
			}
		}
		return n
	}
	switch l.What {
	case "inside", "blocked", "killed", "exited":
	default:
		if m.nodes[l.Index].Gone() {
			return 0 // there is nothing to look at
		}
	}
	switch l.What {
	case "messages":
		return m.nodes[l.Index].Object.Held().Messages
	case "bytes":
		return m.nodes[l.Index].Object.Held().Bytes
	case "value":
		return m.nodes[l.Index].Amount("value")
	case "waiting":
		var n int64
		for range m.nodes[l.Index].Object.Waiters() {
			n++
		}
		return n
	case "inside":
		return m.inside[l.Index]
	case "blocked":
		return count(func(p *kernel.Process) bool { return p.State() == kernel.Blocked })
	case "killed":
		return count(func(p *kernel.Process) bool { return p.Killed() })
	case "exited":
		return count(func(p *kernel.Process) bool { return p.State() == kernel.Exited })
	}
	return m.nodes[l.Index].Counter(l.What)
}

func (a *simulated) Load(variable int) (v Value) {
	name := a.s.shared[variable].name
	a.p.Do("get "+name, func() uint64 {
		v = a.m.shared[variable]
		a.p.Note("reads "+name+" = "+v.String(), "")
		var h kernel.Hash
		v.hash(&h)
		return h.Sum()
	})
	return v
}

func (a *simulated) Look(l Look) (n int64) {
	a.p.Do("look", func() uint64 { n = a.m.Look(l); return uint64(n) })
	return n
}

func (a *simulated) Store(variable int, v Value) {
	name := a.s.shared[variable].name
	a.p.Do("set "+name, func() uint64 {
		a.m.shared[variable] = v
		a.p.Note(name+" = "+v.String(), "")
		return 0
	})
}

func (a *simulated) Update(variable int, compute func(Glance) (Value, error)) {
	name := a.s.shared[variable].name
	a.p.Do("atomic "+name, func() uint64 {
		v, err := compute(a.m)
		a.m.k.Violate(err)
		a.m.shared[variable] = v
		a.p.Note(name+" = "+v.String(), "")
		return 0
	})
}

func (a *simulated) Enter(section int, by int64) {
	verb := "enter"
	if by < 0 {
		verb = "leave"
	}
	a.p.Do(verb, func() uint64 {
		a.m.inside[section] += by
		a.p.Note(verb, a.s.sections[section])
		return 0
	})
}

func (a *simulated) Do(o Operation) (data []byte, errno syscall.Errno) {
	n := a.m.nodes[o.End.Object]
	a.current = o.String()
	if o.Op == objects.Hold {
		var f *kernel.File
		if f, errno = a.p.OpenWithin(o.Within, n, kernel.Mode{Op: o.Op, Nonblock: o.Nonblock}); errno == 0 {
			a.files = append(a.files, keptFile{o.End, f})
		}
	} else if f, e := a.opened(o); e != 0 {
		errno = e
	} else {
		r := &objects.Request{Op: o.Op, Nonblock: o.Nonblock, Size: o.Size, Data: o.Data, Units: o.Units}
		errno = a.p.SubmitWithin(o.Within, f, r)
		if data = r.Data; o.Op == objects.Receipt {
			data = kernel.ReadReceipt(data, a.m.k.NameOf)
		}
	}
	a.current = ""
	a.remember(o.Result(data, errno))
	return data, errno
}

// opened is the file that o goes through, which it opens if it is the first on a lone end.
func (a *simulated) opened(o Operation) (*kernel.File, syscall.Errno) {
	if f := a.file(o.End); f != nil {
		return f, 0
	}
	if !slices.Contains(a.lone, o.End) {
		return nil, syscall.EBADF
	}
	m := o.End.mode()
	m.Nonblock = o.Nonblock
	if o.Op == objects.Read || o.Op == objects.Write {
		m.Op = objects.Connect
	}
	f, errno := a.p.OpenWithin(o.Within, a.m.nodes[o.End.Object], m)
	if errno == 0 {
		a.files = append(a.files, keptFile{o.End, f})
		a.lone = slices.DeleteFunc(a.lone, func(e End) bool { return e == o.End })
	}
	return f, errno
}

func (a *simulated) remember(text string) {
	if a.m.histories {
		a.did = append(a.did, text)
	}
}

func (a *simulated) Open(object int) syscall.Errno {
	var opened []*kernel.File
	for _, e := range a.s.EndsOf(a.self.Process, object) {
		if a.file(e) != nil {
			continue
		}
		f, errno := a.p.Open(a.m.nodes[object], e.mode())
		if errno != 0 {
			for _, f := range opened {
				a.p.Close(f)
			}
			a.files = slices.DeleteFunc(a.files, func(k keptFile) bool { return slices.Contains(opened, k.file) })
			return errno
		}
		opened = append(opened, f)
		a.files = append(a.files, keptFile{e, f})
	}
	return 0
}

func (a *simulated) Close(object int, held bool) {
	n := a.m.nodes[object]
	if !held {
		a.lone = slices.DeleteFunc(a.lone, func(e End) bool { return e.Object == object })
	}
	for _, f := range slices.Clone(a.files) {
		if f.file.Node == n && (!held || f.end.Op == objects.Hold) {
			a.p.Close(f.file)
			a.files = slices.DeleteFunc(a.files, func(k keptFile) bool { return k == f })
		}
	}
}

func (a *simulated) SetPolicy(object int, name, value string) syscall.Errno {
	return a.p.SetPolicy(a.m.nodes[object], name, value)
}

func (a *simulated) Destroy(object int) { a.p.Destroy(a.m.nodes[object]) }

func (a *simulated) Kill(process int) { a.others(process, a.p.Kill) }

func (a *simulated) Signal(process int) { a.others(process, a.p.Signal) }

func (a *simulated) others(process int, do func(*kernel.Process)) {
	for _, other := range a.m.processes {
		if other.self.Process == process && other.p != a.p {
			do(other.p)
		}
	}
}

func (a *simulated) Sleep(d objects.Time) syscall.Errno { return a.p.Sleep(d) }
func (a *simulated) Choose(n int) int                   { return a.p.Choose(n) }
func (a *simulated) Yield()                             { a.p.Yield() }
func (a *simulated) Exit()                              { a.p.Exit() }

func (a *simulated) Fail(err error) {
	a.m.k.Violate(err)
	a.p.Abort()
}

func (a *simulated) Did(text string) {
	a.p.Note(text, "")
	a.remember(text)
}

// VariableName is the name of a shared variable.
func (s *Scenario) VariableName(variable int) string { return s.shared[variable].name }

// SectionName is the name of a section.
func (s *Scenario) SectionName(section int) string { return s.sections[section] }
