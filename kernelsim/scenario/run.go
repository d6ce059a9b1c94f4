package scenario

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"ipcfs/kernelsim/kernel"
	"ipcfs/kernelsim/laws"
	"ipcfs/objects"
)

// A Run is a run of a scenario in the simulated kernel.
type Run struct {
	s          *Scenario `state:"fixed"`
	k          *kernel.Kernel
	nodes      []*kernel.Node
	shared     []Value
	inside     []int64
	processes  []*simulated
	monitors   []*monitor
	conditions []*kernel.Gate
	histories  bool // what each process has done is kept, and tells states apart
}

// A simulated process of a scenario. It is the program of the kernel's process, and the call
// by which that reads and sets what is no object.
type simulated struct {
	machine
	m     *Run
	p     *kernel.Process
	files []keptFile
	lone  []End // that its first operation on them opens
	did   []string
	task  task
	asked int // how often it has asked for something
}

// A task is how far a process is in what it has asked for.
type task struct {
	ask    ask
	phase  phase
	at     int // in what takes one call for each of several
	op     Operation
	ends   []End             // to open
	files  []keptFile        // to close
	others []*kernel.Process // to kill or to signal
	call   kernel.Call       // that is outstanding, where it is no more than one
	answer answer
}

// A phase is what of a task is under way.
type phase uint8

const (
	idle phase = iota // there is none
	begun
	opening // the first operation opens its end
	underWay
	undoing // an open of several ends has failed
)

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
		n.Inherits = d.inherits
		n.Settings = s.Settings(len(m.nodes))
		m.nodes = append(m.nodes, n)
	}
	for _, d := range s.monitors {
		mon := &monitor{}
		mon.entry.Inherits, mon.urgent.Inherits = d.inherits, d.inherits
		m.monitors = append(m.monitors, mon)
	}
	for range s.conditions {
		m.conditions = append(m.conditions, &kernel.Gate{})
	}
	k.Priorities = s.prioritized > 0
	for _, i := range s.Instances() {
		a := &simulated{m: m}
		a.machine = newMachine(s, i, a)
		m.processes = append(m.processes, a)
		a.p = k.SpawnProgram(i.Name, kernel.Cred{Uid: i.Uid}, a)
		a.p.Daemon, a.p.Immune, a.p.Priority = i.Daemon, i.Immune, s.processes[i.Process].priority
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

// Snapshot implements kernel.Program: locals, stack and place say all, and how far it is in
// what takes several calls.
func (a *simulated) Snapshot(h *kernel.Hash) {
	for _, v := range a.locals {
		v.hash(h)
	}
	h.Uint(uint64(len(a.frames)))
	for _, f := range a.frames {
		h.Uint(uint64(f.caller))
		h.Uint(uint64(f.pc))
	}
	if len(a.frames) > 0 {
		h.Uint(uint64(a.inside))
	}
	h.Uint(uint64(len(a.stack)))
	for _, v := range a.stack {
		v.hash(h)
	}
	h.Uint(uint64(a.pc))
	h.Uint(uint64(a.task.phase))
	h.Uint(uint64(a.task.at))
	h.Uint(uint64(a.task.answer.errno))
	h.Uint(uint64(len(a.lone)))
	for _, e := range a.lone {
		h.Uint(uint64(e.Object))
		h.Uint(uint64(e.Op))
		h.String(e.Label.Word)
		h.String(e.Label.Value)
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
	m.hashMonitors(h)
	for _, l := range m.s.counters {
		h.Uint(uint64(m.Query(l)))
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

// Load and Query see the run as it stands, without a step.
func (m *Run) Load(variable int) Value { return m.shared[variable] }

func (m *Run) Query(l Query) int64 {
	count := func(pass func(*kernel.Process) bool) (n int64) {
		for _, a := range m.processes {
			if a.self.Process == l.Index && pass(a.p) {
				n++
			}
		}
		return n
	}
	switch l.What {
	case "inside", "blocked", "killed", "exited", "queued":
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
	case "queued":
		return int64(len(m.conditions[l.Index].Waiting()))
	case "blocked":
		return count(func(p *kernel.Process) bool { return p.State() == kernel.Blocked })
	case "killed":
		return count(func(p *kernel.Process) bool { return p.Killed() })
	case "exited":
		return count(func(p *kernel.Process) bool { return p.State() == kernel.Exited })
	}
	return m.nodes[l.Index].Counter(l.What)
}

// Next implements kernel.Program.
func (a *simulated) Next(*kernel.Process) kernel.Call {
	for {
		if a.task.phase == idle {
			q, asked := a.next()
			if !asked {
				return nil
			}
			a.p.Line = a.line()
			a.task = task{ask: q, phase: begun}
			a.asked++
		}
		if call := a.proceed(); call != nil {
			a.rounds = 0
			return call
		}
		answer := a.task.answer
		a.task = task{}
		a.answer(answer)
	}
}

// proceed returns the next call of the task, nil if it is done.
func (a *simulated) proceed() kernel.Call {
	t := &a.task
	switch t.ask.what {
	case askDo:
		return a.operate()
	case askAct:
		return a.act(t.ask.st)
	}
	if t.phase == underWay {
		if t.ask.what == askChoose {
			t.answer.n = int64(a.p.Choice())
		}
		return nil
	}
	t.phase = underWay
	switch t.ask.what {
	case askChoose:
		return &kernel.Choice{N: int(t.ask.by)}
	case askExit:
		return kernel.Exit{}
	}
	return a
}

// Name implements kernel.Call.
func (a *simulated) Name() string {
	switch q := a.task.ask; q.what {
	case askLoad:
		return "get " + a.s.shared[q.index].name
	case askStore:
		return "set " + a.s.shared[q.index].name
	case askAtomic:
		return "atomic"
	case askMonitor:
		if q.by < 0 {
			return "leave " + a.s.monitors[q.index].name
		}
		return "enter " + a.s.monitors[q.index].name
	case askAct:
		if verb, ok := strings.CutPrefix(q.st.verb, "condition "); ok {
			return verb + " " + a.s.conditions[q.index].name
		}
	}
	return "look"
}

// Do implements kernel.Call: what is no object is read or set.
func (a *simulated) Do(*kernel.Process) {
	m := a.m
	switch q, r := &a.task.ask, &a.task.answer; q.what {
	case askLoad:
		r.value = m.shared[q.index]
		a.p.Note("reads "+a.s.shared[q.index].name+" = "+r.value.String(), "")
	case askQuery:
		r.n = m.Query(q.query)
	case askStore:
		m.shared[q.index] = q.value
		a.noteSet(q.index, q.value)
	case askAtomic:
		m.k.Violate(a.atomically(atOnce{m, a}))
	case askMonitor:
		a.monitorStep(q.index, q.by)
	case askAct:
		a.conditionStep(q.st.verb, q.index)
	case askEnter:
		m.inside[q.index] += q.by
		verb := "enter"
		if q.by < 0 {
			verb = "leave"
		}
		a.p.Note(verb, a.s.sections[q.index])
	}
}

func (a *simulated) noteSet(variable int, v Value) {
	a.p.Note(a.s.shared[variable].name+" = "+v.String(), "")
}

// atOnce is the shared variables within one step.
type atOnce struct {
	*Run
	by *simulated
}

// Set implements Memory.
func (m atOnce) Set(variable int, v Value) error {
	m.shared[variable] = v
	m.by.noteSet(variable, v)
	return nil
}

// Found implements Memory.
func (m atOnce) Found(variable int, v Value) {
	m.by.p.Note("finds "+m.s.shared[variable].name+" = "+v.String(), "")
}

// Done implements kernel.Call.
func (a *simulated) Done(*kernel.Process) {}

// operate carries out an operation on an object.
func (a *simulated) operate() kernel.Call {
	t := &a.task
	n := a.m.nodes[t.ask.index]
	switch t.phase {
	case begun:
		t.op = a.operation()
		if t.op.Op == objects.Hold {
			t.phase = underWay
			t.call = kernel.NewOpening(a.p, t.op.Within, n, kernel.Mode{Op: t.op.Op, Nonblock: t.op.Nonblock})
			return t.call
		}
		if f := a.file(t.op.End); f != nil {
			return a.submit(f)
		}
		if !slices.Contains(a.lone, t.op.End) {
			t.answer.errno = syscall.EBADF
			break
		}
		m := t.op.End.mode()
		m.Nonblock = t.op.Nonblock
		if t.op.Op == objects.Read || t.op.Op == objects.Write {
			m.Op = objects.Connect
		}
		t.phase = opening
		t.call = kernel.NewOpening(a.p, t.op.Within, n, m)
		return t.call
	case opening:
		if t.answer.errno = a.p.Errno(); t.answer.errno == 0 {
			f := t.call.(*kernel.Opening).File
			a.files = append(a.files, keptFile{t.op.End, f})
			a.lone = slices.DeleteFunc(a.lone, func(e End) bool { return e == t.op.End })
			return a.submit(f)
		}
	case underWay:
		t.answer.errno = a.p.Errno()
		switch c := t.call.(type) {
		case *kernel.Opening:
			if t.answer.errno == 0 {
				a.files = append(a.files, keptFile{t.op.End, c.File})
			}
		case *kernel.Submission:
			if t.answer.data = c.Request.Data; t.op.Op == objects.Receipt {
				t.answer.data = kernel.ReadReceipt(t.answer.data, a.m.k.NameOf)
			}
		}
	}
	if a.m.histories {
		a.remember(t.op.Result(t.answer.data, t.answer.errno))
	}
	return nil
}

// submit carries out the operation through f.
func (a *simulated) submit(f *kernel.File) kernel.Call {
	t := &a.task
	t.phase = underWay
	o := &t.op
	t.call = &kernel.Submission{File: f, Within: o.Within,
		Request: &objects.Request{Op: o.Op, Nonblock: o.Nonblock, Size: o.Size, Data: o.Data, Units: o.Units}}
	return t.call
}

// act carries out a statement that is one call, or several.
func (a *simulated) act(s *statement) kernel.Call {
	t := &a.task
	switch s.verb {
	case "open":
		return a.open(t.ask.index)
	case "release", "close":
		return a.close(t.ask.index, s.verb == "release")
	case "kill", "signal":
		return a.others(s)
	}
	if t.phase == underWay {
		t.answer.errno = a.p.Errno()
		return nil
	}
	t.phase = underWay
	switch s.verb {
	case "condition wait", "condition signal", "condition broadcast":
		return a
	case "sleep":
		return &kernel.Nap{Span: s.span}
	case "set":
		return &kernel.Setting{Node: a.m.nodes[t.ask.index], Policy: s.policy[0], Value: s.policy[1]}
	case "destroy":
		return &kernel.Destruction{Node: a.m.nodes[t.ask.index]}
	}
	return kernel.Pause{}
}

// others kills or signals all other processes of a name, one after another.
func (a *simulated) others(s *statement) kernel.Call {
	t := &a.task
	if t.phase == begun {
		t.phase = underWay
		for _, other := range a.m.processes {
			if other.self.Process == s.object && other.p != a.p {
				t.others = append(t.others, other.p)
			}
		}
	}
	if t.at == len(t.others) {
		return nil
	}
	other := t.others[t.at]
	t.at++
	if s.verb == "kill" {
		return &kernel.Killer{Victim: other}
	}
	return &kernel.Signaller{Target: other}
}

// open opens the ends of an object that are not open, or none.
func (a *simulated) open(object int) kernel.Call {
	t := &a.task
	switch t.phase {
	case begun:
		t.phase = underWay
		for _, e := range a.s.EndsOf(a.self.Process, object) {
			if a.file(e) == nil {
				t.ends = append(t.ends, e)
			}
		}
	case underWay:
		f := t.call.(*kernel.Opening).File
		if t.answer.errno = a.p.Errno(); t.answer.errno == 0 {
			t.files = append(t.files, keptFile{t.ends[t.at], f})
			a.files = append(a.files, keptFile{t.ends[t.at], f})
			t.at++
			break
		}
		t.phase, t.at = undoing, 0
	}
	if t.phase == undoing {
		if t.at < len(t.files) {
			t.at++
			return &kernel.Closing{File: t.files[t.at-1].file}
		}
		a.files = slices.DeleteFunc(a.files, func(k keptFile) bool { return slices.Contains(t.files, k) })
		return nil
	}
	if t.at == len(t.ends) {
		return nil
	}
	t.call = kernel.NewOpening(a.p, 0, a.m.nodes[object], t.ends[t.at].mode())
	return t.call
}

// close closes what the process has open of an object, or only what it holds of it.
func (a *simulated) close(object int, held bool) kernel.Call {
	t := &a.task
	if t.phase == begun {
		t.phase = underWay
		if !held {
			a.lone = slices.DeleteFunc(a.lone, func(e End) bool { return e.Object == object })
		}
		for _, f := range a.files {
			if f.file.Node == a.m.nodes[object] && (!held || f.end.Op == objects.Hold) {
				t.files = append(t.files, f)
			}
		}
	} else {
		closed := t.files[t.at-1]
		a.files = slices.DeleteFunc(a.files, func(k keptFile) bool { return k == closed })
	}
	if t.at == len(t.files) {
		return nil
	}
	t.at++
	return &kernel.Closing{File: t.files[t.at-1].file}
}

func (a *simulated) remember(text string) {
	if a.m.histories {
		a.did = append(slices.Clip(a.did), text) // what an image or an ending has of it stays
	}
}

// Did implements host.
func (a *simulated) Did(text string) {
	if line := a.line(); line != 0 {
		a.p.Line = line
	}
	a.p.Note(text, "")
	a.remember(text)
}

// Fail implements host.
func (a *simulated) Fail(err error) { a.m.k.Violate(err) }
