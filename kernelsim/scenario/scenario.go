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

	objects     []objectDecl
	shared      []sharedDecl
	processes   []*processDecl
	names       []string // of all processes, also those that come later
	procedures  []*processDecl
	arrays      map[string]int // how many there are of a name
	monitors    []monitorDecl
	conditions  []conditionDecl
	prioritized int // the line of the first process that has a priority, 0 if none has
	sections    []string
	counters    []Query // that expressions look at
	always      []assertion
	finally     []assertion
	eventually  []assertion
	shows       []assertion
	faults      kernel.Faults

	ends  [][]End // of each process: see Ends
	alone []bool  // of the objects: see Alone
}

type objectDecl struct {
	kind     objects.Kind
	name     string
	policies []string
	inherits bool // who holds it runs with the priority of those who wait to
}

type sharedDecl struct {
	name    string
	value   Value
	monitor int // whose procedures alone reach it, from 1; 0: all do
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
	code           []instruction

	procedure  bool
	parameters int
	monitor    int // that the procedure is of, from 1; 0: none

	priority int
}

type assertion struct {
	line int
	text string
	expr *expression
}

// object is the index of the object of that name, or of the first if it is an array.
func (s *Scenario) object(name string) int {
	name = s.first(name)
	return slices.IndexFunc(s.objects, func(d objectDecl) bool { return d.name == name })
}

// variable is the index of the shared variable of that name, or of the first if it is an array.
func (s *Scenario) variable(name string) int {
	name = s.first(name)
	return slices.IndexFunc(s.shared, func(d sharedDecl) bool { return d.name == name })
}

func (s *Scenario) first(name string) string {
	if s.arrays[name] > 0 {
		return name + "[1]"
	}
	return name
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

// compute evaluates e in a process with the variables locals.
func (e *expression) compute(locals []Value, g View) (v Value, err error) {
	switch e.op {
	case "int":
		return Value{N: e.n}, nil
	case "text":
		return Value{Text: e.text, IsText: true}, nil
	case "local":
		return locals[e.n], nil
	case "shared", "call":
		at := e.n
		if e.left != nil {
			if v, err = e.left.compute(locals, g); err == nil {
				at, err = element(at, e.of, v)
			}
			if err != nil {
				return Value{}, err
			}
		}
		if e.op == "shared" {
			return g.Load(int(at)), nil
		}
		return Value{N: g.Query(Query{e.text, int(at)})}, nil
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
	return binary(e.op, left, right)
}

// element is the one of that index of so many from first on.
func element(first int64, of int, index Value) (int64, error) {
	n, err := number(index)
	if err == nil && (n < 1 || n > int64(of)) {
		err = fmt.Errorf("there is no element %d: they are 1 to %d", n, of)
	}
	return first + n - 1, err
}

// binary computes left op right.
func binary(op string, left, right Value) (v Value, err error) {
	l, r := left.N, right.N
	switch text := left.IsText || right.IsText; op {
	case "and", "or":
		return right, nil
	case "==":
		return truth(equal(left, right)), nil
	case "!=":
		return truth(!equal(left, right)), nil
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
	switch op {
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
	if op == "/" {
		return Value{N: l / r}, nil
	}
	return Value{N: l % r}, nil
}

// equal reports whether two values are the same as texts: 1 is "1".
func equal(a, b Value) bool {
	if !a.IsText && !b.IsText {
		return a.N == b.N
	}
	return a.String() == b.String()
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

// violated says that as does not hold.
func (as assertion) violated() error { return fmt.Errorf("line %d: violated: %s", as.line, as.text) }

// hold evaluates assertions and returns what is wrong with the first that does not
// hold.
func hold(all []assertion, g View) error {
	for _, as := range all {
		v, err := as.expr.compute(nil, g)
		if err == nil && v.N == 0 {
			return as.violated()
		}
		if err != nil {
			return fmt.Errorf("line %d: violated: %w", as.line, err)
		}
	}
	return nil
}
