package kernelsim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"syscall"

	"ipcfs/objects"
)

// A Scenario is a protocol between processes as a person writes it down, to see
// what can happen.
type Scenario struct {
	File  string
	Title string

	// Expect is what an exploration is meant to find: deadlock, starvation,
	// violation, or nothing if it is empty.
	Expect string

	objects   []objectDecl
	shared    []sharedDecl
	processes []*processDecl
	names     []string // of all processes, also those that come later
	sections  []string
	always    []assertion
	finally   []assertion
	faults    Faults
}

type objectDecl struct {
	kind     objects.Kind
	name     string
	policies []string
}

type sharedDecl struct {
	name  string
	value value
}

type processDecl struct {
	name           string
	count          int
	daemon, immune bool
	uid            uint32
	line           int
	locals         []string
	body           []*statement
}

type assertion struct {
	line int
	text string
	expr *expression
}

func (s *Scenario) object(name string) int {
	return slices.IndexFunc(s.objects, func(d objectDecl) bool { return d.name == name })
}

func (s *Scenario) variable(name string) int {
	return slices.IndexFunc(s.shared, func(d sharedDecl) bool { return d.name == name })
}

// section is the index of the section of that name, which it makes if need be.
func (s *Scenario) section(name string) int {
	i := slices.Index(s.sections, name)
	if i < 0 {
		i = len(s.sections)
		s.sections = append(s.sections, name)
	}
	return i
}

// local is the slot of the process's variable of that name, which it makes if need
// be.
func (d *processDecl) local(name string) int {
	i := slices.Index(d.locals, name)
	if i < 0 {
		i = len(d.locals)
		d.locals = append(d.locals, name)
	}
	return i
}

// A value is a number or a text. Truth is 1.
type value struct {
	text   string
	n      int64
	isText bool
}

func (v value) String() string {
	if v.isText {
		return v.text
	}
	return strconv.FormatInt(v.n, 10)
}

func (v value) hash(h *Hash) {
	h.Uint(uint64(v.n))
	h.String(v.text)
}

func truth(b bool) value {
	if b {
		return value{n: 1}
	}
	return value{}
}

// slots of the variables that every process has.
const errnoSlot, meSlot = 0, 1

// A machine is a run of a scenario.
type machine struct {
	s      *Scenario
	k      *Kernel
	nodes  []*Node
	shared []value
	inside []int64
	actors []*actor
}

// An actor is a process of a scenario.
type actor struct {
	m      *machine
	p      *Process
	decl   *processDecl
	index  int // of decl
	locals []value
	path   []int64 // where it is: statements and loops, from the outside in
	files  []keptFile
}

// A keptFile is an open file and the endpoint it stands for.
type keptFile struct {
	key  string
	file *File
}

func (a *actor) file(key string) *File {
	for _, f := range a.files {
		if f.key == key {
			return f.file
		}
	}
	return nil
}

// Setup makes the scenario's processes and objects.
func (s *Scenario) Setup(k *Kernel) { s.start(k) }

func (s *Scenario) start(k *Kernel) *machine {
	m := &machine{s: s, k: k, inside: make([]int64, len(s.sections))}
	k.Faults = s.faults
	for _, d := range s.objects {
		n, err := k.Create(d.name, d.kind, d.policies...)
		if err != nil {
			panic("kernelsim: the parser let pass: " + err.Error())
		}
		m.nodes = append(m.nodes, n)
	}
	for _, d := range s.shared {
		m.shared = append(m.shared, d.value)
	}
	for index, d := range s.processes {
		for i := range d.count {
			a := &actor{m: m, decl: d, index: index, locals: make([]value, len(d.locals))}
			a.locals[meSlot].n = int64(i) + 1
			name := d.name
			if d.count > 1 {
				name += strconv.Itoa(i + 1)
			}
			m.actors = append(m.actors, a)
			k.Spawn(name, Cred{Uid: d.uid}, func(p *Process) {
				a.p = p
				p.Yield() // the others are made first
				a.block(d.body)
			})
			a.p.Daemon, a.p.Immune, a.p.Snapshot = d.daemon, d.immune, a.snapshot
			a.open(d.body)
		}
	}
	for _, a := range m.actors {
		// Past the first step, which is no part of the scenario.
		k.Take(Option{Kind: Run, Process: a.p})
	}
	k.steps = 0
	k.Invariant = m.invariant
	return m
}

func (a *actor) snapshot(h *Hash) {
	for _, v := range a.locals {
		v.hash(h)
	}
	for _, at := range a.path {
		h.Uint(uint64(at))
	}
	if a == a.m.actors[0] { // once
		for _, v := range a.m.shared {
			v.hash(h)
		}
		for _, n := range a.m.inside {
			h.Uint(uint64(n))
		}
	}
}

// endpoint is how op is reached, and the name under which its file is kept.
func endpoint(n *Node, op objects.Op) (Mode, string) {
	key := n.Name + " " + op.String()
	switch op {
	case objects.Send, objects.Write, objects.Post:
		return Mode{WriteOp: op}, key
	case objects.Receive, objects.Peek, objects.Read, objects.Wait:
		return Mode{ReadOp: op}, key
	}
	return Mode{}, key
}

// open opens what the program uses before the run begins.
func (a *actor) open(body []*statement) {
	for _, s := range body {
		if op, ok := verbs[s.verb]; ok && !opens(op) {
			n := a.m.nodes[s.object]
			m, key := endpoint(n, op)
			if a.file(key) == nil {
				a.files = append(a.files, keptFile{key, a.p.openNow(n, m)})
			}
		}
		a.open(s.body)
		a.open(s.other)
	}
}

// invariant checks what is to hold always.
func (m *machine) invariant() error {
	for _, as := range m.s.always {
		v, err := m.evaluate(nil, as.expr)
		if err == nil && v.n == 0 {
			err = errors.New(as.text)
		}
		if err != nil {
			return fmt.Errorf("line %d: violated: %w", as.line, err)
		}
	}
	return nil
}

// final checks what is to hold at the end.
func (m *machine) final() error {
	for _, as := range m.s.finally {
		v, err := m.evaluate(nil, as.expr)
		if err == nil && v.n == 0 {
			err = errors.New(as.text)
		}
		if err != nil {
			return fmt.Errorf("line %d: violated: %w", as.line, err)
		}
	}
	return nil
}

func (a *actor) fail(s *statement, err error) {
	a.m.k.Violate(fmt.Errorf("line %d: %s: %s: %w", s.line, a.p.Name, s.text, err))
	panic(exiting{})
}

// block runs statements; it reports false if a break left it.
func (a *actor) block(body []*statement) bool {
	a.path = append(a.path, 0)
	at := len(a.path) - 1
	for i, s := range body {
		a.path[at] = int64(i)
		again := a.statement(s)
		a.path = a.path[:at+1]
		if !again {
			a.path = a.path[:at]
			return false
		}
	}
	a.path = a.path[:at]
	return true
}

// value computes e in a process: each mention of a shared variable is a step.
func (a *actor) value(s *statement, e *expression) value {
	v, err := a.m.evaluate(a, e)
	if err != nil {
		a.fail(s, err)
	}
	return v
}

// maxIdle is how many rounds of a loop may pass without a call before it is taken to
// be endless.
const maxIdle = 100000

func (a *actor) statement(s *statement) bool {
	m, k, p := a.m, a.m.k, a.p
	switch s.verb {
	case "=":
		v := a.value(s, s.expr)
		if !s.shared {
			a.locals[s.slot] = v
			break
		}
		p.Do("set "+s.name, func() uint64 {
			m.shared[s.slot] = v
			k.event(Event{Process: p, Verb: s.name + " = " + v.String()})
			return 0
		})
	case "atomic":
		p.Do("atomic "+s.name, func() uint64 {
			v, err := m.evaluateAtOnce(a, s.expr)
			k.Violate(err)
			m.shared[s.slot] = v
			k.event(Event{Process: p, Verb: s.name + " = " + v.String()})
			return 0
		})
	case "if":
		at := len(a.path)
		v := a.value(s, s.expr)
		a.path = append(a.path[:at], v.n)
		if v.n != 0 {
			return a.block(s.body)
		}
		return a.block(s.other)
	case "while", "forever":
		idle, at := k.steps, len(a.path)
		for rounds := 0; s.verb == "forever" || a.value(s, s.expr).n != 0; rounds++ {
			a.path = append(a.path[:at], 1)
			if !a.block(s.body) {
				break
			}
			if k.steps != idle {
				idle, rounds = k.steps, 0
			} else if rounds > maxIdle {
				a.fail(s, errors.New("the loop goes on without an operation"))
			}
			a.path = a.path[:at]
		}
	case "repeat":
		from, to := a.value(s, s.expr).n, a.value(s, s.second).n
		a.path = append(a.path, to, from)
		at := len(a.path) - 1
		for i := from; i <= to; i++ {
			a.path[at] = i
			if s.slot >= 0 {
				a.locals[s.slot] = value{n: i}
			}
			if !a.block(s.body) {
				break
			}
		}
	case "break":
		return false
	case "choose":
		from, to := a.value(s, s.expr).n, a.value(s, s.second).n
		if to < from {
			a.fail(s, errors.New("there is nothing to choose from"))
		}
		v := value{n: from + int64(p.Choose(int(to-from)+1))}
		a.locals[s.slot] = v
		k.event(Event{Process: p, Verb: "chooses " + v.String()})
	case "print":
		k.event(Event{Process: p, Verb: "prints", Text: a.value(s, s.expr).String()})
	case "assert":
		if a.value(s, s.expr).n == 0 {
			a.fail(s, errors.New("it does not hold"))
		}
	case "enter", "leave":
		by := int64(1)
		if s.verb == "leave" {
			by = -1
		}
		i := m.s.section(s.name)
		p.Do(s.verb, func() uint64 {
			m.inside[i] += by
			k.event(Event{Process: p, Verb: s.verb, Text: s.name})
			return 0
		})
	case "sleep":
		a.locals[errnoSlot].n = int64(p.Sleep(s.span))
	case "yield":
		p.Yield()
	case "exit":
		p.Exit()
	case "kill", "signal":
		for _, other := range m.actors {
			if other.index == s.object && other.p != p {
				if s.verb == "kill" {
					p.Kill(other.p)
				} else {
					p.Signal(other.p)
				}
			}
		}
	case "set":
		if errno := p.SetPolicy(m.nodes[s.object], s.policy[0], s.policy[1]); errno != 0 {
			a.fail(s, errno)
		}
	case "destroy":
		p.Destroy(m.nodes[s.object])
	case "release", "close":
		a.close(s)
	default:
		a.operation(s)
	}
	return true
}

// close closes what the process has open of an object, or what it holds of it.
func (a *actor) close(s *statement) {
	n := a.m.nodes[s.object]
	held := n.Name + " " + objects.Hold.String()
	for _, f := range slices.Clone(a.files) {
		if f.file.Node == n && (s.verb == "close" || f.key == held) {
			a.p.Close(f.file)
			a.files = slices.DeleteFunc(a.files, func(k keptFile) bool { return k == f })
		}
	}
}

func (a *actor) operation(s *statement) {
	p, n, op := a.p, a.m.nodes[s.object], verbs[s.verb]
	var errno syscall.Errno
	if op == objects.Hold {
		var f *File
		if f, errno = p.Open(n, Mode{Op: op, Nonblock: s.nonblock}); errno == 0 {
			a.files = append(a.files, keptFile{n.Name + " " + op.String(), f})
		}
	} else {
		_, key := endpoint(n, op)
		f := a.file(key)
		if f == nil {
			a.fail(s, errors.New("it was closed"))
		}
		r := &objects.Request{Op: op, Nonblock: s.nonblock, Size: 1 << 20}
		switch op {
		case objects.Send, objects.Write:
			r.Data = []byte(a.value(s, s.expr).String())
		case objects.Wait, objects.Post:
			r.Size, r.Units = 0, 1
			if s.expr != nil {
				r.Units = a.value(s, s.expr).n
			}
		case objects.Read:
			if s.expr != nil {
				r.Size = int(a.value(s, s.expr).n)
			}
		}
		errno = p.SubmitWithin(s.within, f, r)
		if errno == 0 && s.slot >= 0 {
			a.locals[s.slot] = value{text: string(r.Data), isText: true}
		}
	}
	a.locals[errnoSlot] = value{n: int64(errno)}
	if errno != 0 && !s.try {
		a.fail(s, fmt.Errorf("it fails with %s, which nobody tries", ErrnoName(errno)))
	}
}

// evaluate computes e; a is nil outside of processes. In a process each mention of
// a shared variable is a step.
func (m *machine) evaluate(a *actor, e *expression) (value, error) {
	return m.compute(a, e, a != nil)
}

func (m *machine) evaluateAtOnce(a *actor, e *expression) (value, error) {
	return m.compute(a, e, false)
}

func (m *machine) compute(a *actor, e *expression, steps bool) (v value, err error) {
	switch e.op {
	case "int":
		return value{n: e.n}, nil
	case "text":
		return value{text: e.text, isText: true}, nil
	case "local":
		return a.locals[e.n], nil
	case "shared":
		if !steps {
			return m.shared[e.n], nil
		}
		a.p.Do("get "+e.text, func() uint64 {
			v = m.shared[e.n]
			m.k.event(Event{Process: a.p, Verb: "reads " + e.text + " = " + v.String()})
			return 0
		})
		var h Hash // what it has read so far is part of where it is
		v.hash(&h)
		a.path = append(a.path, int64(h.Sum()))
		return v, nil
	case "call":
		if !steps {
			return m.observe(e), nil
		}
		a.p.Do("look", func() uint64 { v = m.observe(e); return 0 })
		a.path = append(a.path, v.n)
		return v, nil
	}
	left := value{}
	if left, err = m.compute(a, e.left, steps); err != nil || e.op == "not" {
		return truth(left.n == 0), err
	}
	switch {
	case e.op == "and" && left.n == 0, e.op == "or" && left.n != 0:
		return left, nil
	}
	right, err := m.compute(a, e.right, steps)
	if err != nil {
		return value{}, err
	}
	l, r := left.n, right.n
	switch text := left.isText || right.isText; e.op {
	case "and", "or":
		return right, nil
	case "==":
		return truth(left.String() == right.String()), nil
	case "!=":
		return truth(left.String() != right.String()), nil
	case "+":
		if text {
			return value{text: left.String() + right.String(), isText: true}, nil
		}
		return value{n: l + r}, nil
	default:
		if text {
			if l, err = number(left); err == nil {
				r, err = number(right)
			}
			if err != nil {
				return value{}, err
			}
		}
	}
	switch e.op {
	case "<":
		return truth(l < r), nil
	case "<=":
		return truth(l <= r), nil
	case ">":
		return truth(l > r), nil
	case ">=":
		return truth(l >= r), nil
	case "-":
		return value{n: l - r}, nil
	case "*":
		return value{n: l * r}, nil
	}
	if r == 0 {
		return value{}, errors.New("division by zero")
	}
	if e.op == "/" {
		return value{n: l / r}, nil
	}
	return value{n: l % r}, nil
}

func number(v value) (int64, error) {
	if !v.isText {
		return v.n, nil
	}
	n, err := strconv.ParseInt(v.text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", v.text)
	}
	return n, nil
}

// observe computes what can be seen of the run.
func (m *machine) observe(e *expression) value {
	count := func(pass func(*Process) bool) (v value) {
		for _, a := range m.actors {
			if a.index == int(e.n) && pass(a.p) {
				v.n++
			}
		}
		return v
	}
	switch e.text {
	case "messages":
		return value{n: m.nodes[e.n].Object.Held().Messages}
	case "bytes":
		return value{n: m.nodes[e.n].Object.Held().Bytes}
	case "value":
		return value{n: amount(m.nodes[e.n].Object.Policy("value"))}
	case "waiting":
		var n int64
		for range m.nodes[e.n].Object.Waiters() {
			n++
		}
		return value{n: n}
	case "inside":
		return value{n: m.inside[e.n]}
	case "blocked":
		return count(func(p *Process) bool { return p.state == Blocked })
	case "killed":
		return count(func(p *Process) bool { return p.killed })
	}
	return count(func(p *Process) bool { return p.state == Exited })
}
