// Package scenario is the language in which a person writes down a protocol between
// processes: parser, interpreter, and the endings that a run can have. The interpreter acts
// on a [System]; the simulated kernel is one, real processes (package live) are another, so
// both do what the text says by the same code.
package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"syscall"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
)

// A Scenario is a protocol between processes as a person writes it down, to see
// what can happen.
type Scenario struct {
	File  string
	Title string

	// Expect is what an exploration is meant to find: deadlock, starvation,
	// livelock, violation, or nothing if it is empty.
	Expect string

	objects   []objectDecl
	shared    []sharedDecl
	processes []*processDecl
	names     []string // of all processes, also those that come later
	sections  []string
	counters  []Look // that expressions look at
	always    []assertion
	finally   []assertion
	shows     []assertion
	faults    kernel.Faults

	ends  [][]End // of each process: see Ends
	alone []bool  // of the objects: see Alone
}

type objectDecl struct {
	kind     objects.Kind
	name     string
	policies []string
}

type sharedDecl struct {
	name  string
	value Value
}

type processDecl struct {
	name           string
	count          int
	daemon, immune bool
	uid            uint32
	line           int
	locals         []string
	receipts       []int // objects of whose messages it asks for receipts
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

// A Value is a number or a text. Truth is 1.
type Value struct {
	Text   string
	N      int64
	IsText bool
}

func (v Value) String() string {
	if v.IsText {
		return v.Text
	}
	return strconv.FormatInt(v.N, 10)
}

func (v Value) hash(h *kernel.Hash) {
	if v.IsText {
		h.String(v.Text)
		return
	}
	h.Uint(1<<63 | 1) // no text is so long
	h.Uint(uint64(v.N))
}

func truth(b bool) Value {
	if b {
		return Value{N: 1}
	}
	return Value{}
}

// slots of the variables that every process has.
const errnoSlot, meSlot = 0, 1

// An actor carries out the program of one process.
type actor struct {
	sys    System
	s      *Scenario
	self   Instance
	locals []Value
	path   []int64          // where it is: statements and loops, from the outside in
	calls  int              // what it has asked of the system
	mark   func(*statement) // if set, called where locals and path say all that decides what comes next
}

func newActor(s *Scenario, self Instance, sys System) *actor {
	a := &actor{sys: sys, s: s, self: self, locals: make([]Value, len(s.processes[self.Process].locals))}
	a.locals[meSlot].N = int64(self.Number)
	return a
}

func (a *actor) fail(s *statement, err error) {
	a.sys.Fail(a.about(s, err))
}

func (a *actor) about(s *statement, err error) error {
	return fmt.Errorf("line %d: %s: %s: %w", s.line, a.self.Name, s.text, err)
}

// block runs statements; it reports false if a break left it.
func (a *actor) block(body []*statement) bool {
	a.path = append(a.path, 0)
	at := len(a.path) - 1
	for i, s := range body {
		a.path[at] = int64(i)
		a.here(s)
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

// here says that locals and path tell all that decides what the process does next, which is s.
func (a *actor) here(s *statement) {
	if a.mark != nil {
		a.mark(s)
	}
}

// value computes e: each mention of a shared variable is a step.
func (a *actor) value(s *statement, e *expression) Value {
	v, err := e.compute(a.locals, stepping{a})
	if err != nil {
		a.fail(s, err)
	}
	return v
}

// stepping reads variables step by step.
type stepping struct{ a *actor }

func (g stepping) Load(variable int) Value {
	g.a.calls++
	return g.a.sys.Load(variable)
}

func (g stepping) Look(l Look) int64 {
	g.a.calls++
	return g.a.sys.Look(l)
}

// maxIdle is how many rounds of a loop may pass without a call before it is taken to
// be endless.
const maxIdle = 100000

func (a *actor) statement(s *statement) bool {
	sys := a.sys
	switch s.verb {
	case "=":
		v := a.value(s, s.expr)
		if !s.shared {
			a.locals[s.slot] = v
			break
		}
		a.calls++
		sys.Store(s.slot, v)
	case "atomic":
		a.calls++
		sys.Update(s.slot, func(g Glance) (Value, error) {
			v, err := s.expr.compute(a.locals, g)
			if err != nil {
				err = a.about(s, err)
			}
			return v, err
		})
	case "if":
		at := len(a.path)
		v := a.value(s, s.expr)
		a.path = append(a.path[:at], v.N)
		if v.N != 0 {
			return a.block(s.body)
		}
		return a.block(s.other)
	case "while", "forever":
		idle, at := a.calls, len(a.path)
		for rounds := 0; s.verb == "forever" || a.value(s, s.expr).N != 0; rounds++ {
			a.path = append(a.path[:at], 1)
			if !a.block(s.body) {
				break
			}
			if a.calls != idle {
				idle, rounds = a.calls, 0
			} else if rounds > maxIdle {
				a.fail(s, errors.New("the loop goes on without an operation"))
			}
			a.path = a.path[:at]
			a.here(s)
		}
	case "repeat":
		from, to := a.value(s, s.expr).N, a.value(s, s.second).N
		a.path = append(a.path, to, from)
		at := len(a.path) - 1
		for i := from; i <= to; i++ {
			a.path[at] = i
			if s.slot >= 0 {
				a.locals[s.slot] = Value{N: i}
			}
			if !a.block(s.body) {
				break
			}
		}
	case "break":
		return false
	case "choose":
		from, to := a.value(s, s.expr).N, a.value(s, s.second).N
		if to < from {
			a.fail(s, errors.New("there is nothing to choose from"))
		}
		a.calls++
		v := Value{N: from + int64(sys.Choose(int(to-from)+1))}
		a.locals[s.slot] = v
		sys.Did("chooses " + v.String())
	case "print":
		sys.Did("prints " + a.value(s, s.expr).String())
	case "assert":
		if a.value(s, s.expr).N == 0 {
			a.fail(s, errors.New("it does not hold"))
		}
	case "enter", "leave":
		by := int64(1)
		if s.verb == "leave" {
			by = -1
		}
		a.calls++
		sys.Enter(a.s.section(s.name), by)
	default:
		a.calls++
		a.call(s)
	}
	return true
}

// call carries out a statement that is one system call, or several.
func (a *actor) call(s *statement) {
	sys := a.sys
	switch s.verb {
	case "sleep":
		a.locals[errnoSlot].N = int64(sys.Sleep(s.span))
	case "yield":
		sys.Yield()
	case "exit":
		sys.Exit()
	case "kill":
		sys.Kill(s.object)
	case "signal":
		sys.Signal(s.object)
	case "set":
		a.result(s, sys.SetPolicy(s.object, s.policy[0], s.policy[1]))
	case "open":
		a.result(s, sys.Open(s.object))
	case "destroy":
		sys.Destroy(s.object)
	case "release", "close":
		sys.Close(s.object, s.verb == "release")
	default:
		a.operation(s)
	}
}

func (a *actor) operation(s *statement) {
	v, _ := verbNamed(s.verb)
	o := Operation{Word: v.word, Op: v.op, Name: a.s.objects[s.object].name, End: a.s.processes[a.self.Process].end(s, v),
		Nonblock: s.nonblock, Within: s.within, Size: 1 << 20}
	switch o.Op {
	case objects.Settle:
		o.Data = []byte(v.word)
		if v.takes == aSpan {
			o.Data = append(o.Data, " "+objects.FormatSpan(s.span)...)
		}
	case objects.Send, objects.Write:
		o.Data = []byte(a.value(s, s.expr).String())
	case objects.Wait, objects.Post:
		o.Size, o.Units = 0, 1
		if s.expr != nil {
			o.Units = a.value(s, s.expr).N
		}
	case objects.Read:
		if s.expr != nil {
			o.Size = int(a.value(s, s.expr).N)
		}
	}
	data, errno := a.sys.Do(o)
	if errno == 0 && s.slot >= 0 {
		a.locals[s.slot] = Value{Text: string(data), IsText: true}
	}
	a.result(s, errno)
}

// result sets errno, and ends the run if nobody has reckoned with it.
func (a *actor) result(s *statement, errno syscall.Errno) {
	a.locals[errnoSlot] = Value{N: int64(errno)}
	if errno != 0 && !s.try {
		a.fail(s, fmt.Errorf("it fails with %s, which nobody tries", kernel.ErrnoName(errno)))
	}
}

// compute evaluates e in a process with the variables locals.
func (e *expression) compute(locals []Value, g Glance) (v Value, err error) {
	switch e.op {
	case "int":
		return Value{N: e.n}, nil
	case "text":
		return Value{Text: e.text, IsText: true}, nil
	case "local":
		return locals[e.n], nil
	case "shared":
		return g.Load(int(e.n)), nil
	case "call":
		return Value{N: g.Look(Look{e.text, int(e.n)})}, nil
	}
	left := Value{}
	if left, err = e.left.compute(locals, g); err != nil || e.op == "not" {
		return truth(left.N == 0), err
	}
	switch {
	case e.op == "and" && left.N == 0, e.op == "or" && left.N != 0:
		return left, nil
	}
	right, err := e.right.compute(locals, g)
	if err != nil {
		return Value{}, err
	}
	l, r := left.N, right.N
	switch text := left.IsText || right.IsText; e.op {
	case "and", "or":
		return right, nil
	case "==":
		return truth(left.String() == right.String()), nil
	case "!=":
		return truth(left.String() != right.String()), nil
	case "+":
		if text {
			return Value{Text: left.String() + right.String(), IsText: true}, nil
		}
		return Value{N: l + r}, nil
	default:
		if text {
			if l, err = number(left); err == nil {
				r, err = number(right)
			}
			if err != nil {
				return Value{}, err
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
		return Value{N: l - r}, nil
	case "*":
		return Value{N: l * r}, nil
	}
	if r == 0 {
		return Value{}, errors.New("division by zero")
	}
	if e.op == "/" {
		return Value{N: l / r}, nil
	}
	return Value{N: l % r}, nil
}

func number(v Value) (int64, error) {
	if !v.IsText {
		return v.N, nil
	}
	n, err := strconv.ParseInt(v.Text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", v.Text)
	}
	return n, nil
}

// hold evaluates assertions and returns what is wrong with the first that does not
// hold.
func hold(all []assertion, g Glance) error {
	for _, as := range all {
		v, err := as.expr.compute(nil, g)
		if err == nil && v.N == 0 {
			err = errors.New(as.text)
		}
		if err != nil {
			return fmt.Errorf("line %d: violated: %w", as.line, err)
		}
	}
	return nil
}
