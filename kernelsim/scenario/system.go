package scenario

import (
	"slices"
	"strconv"
	"syscall"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
)

// A System is what the processes of a scenario act on: the simulated kernel, or a
// real one. Each method but Did is a step. Fail and Exit end the process.
//
// Objects, variables and sections are known by their index in the scenario, and so
// are processes: all of a "process p * 3" have one.
type System interface {
	View
	Store(variable int, v Value)

	// Atomically carries out f, and nobody comes in between. An error ends the run.
	Atomically(f func(m Memory) error)

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

// A Memory is the shared variables while nobody else reaches them.
type Memory interface {
	View
	Set(variable int, v Value) error

	// Found is told what a variable is that is not what was expected.
	Found(variable int, v Value)
}

// A View is how expressions read variables and look at the run.
type View interface {
	Load(variable int) Value
	Query(l Query) int64
}

// A Query is what a scenario's function sees.
type Query struct {
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
		s.walk(p, func(st *statement) {
			for i := range all {
				if d := &all[i]; st.verb == "destroy" && st.about(i) {
					d.Destroyed, d.Destroyer = true, max(d.Destroyer, p.uid)
				}
			}
		})
	}
	return all
}

// Settings lists the policies of an object that processes change.
func (s *Scenario) Settings(object int) (policies []string) {
	for _, p := range s.processes {
		s.walk(p, func(st *statement) {
			if st.verb == "set" && st.about(object) {
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
		endless = endless || !p.daemon && s.does(p, func(st *statement) bool { return st.verb == "forever" })
	}
	return endless
}

// disturbs reports whether a process kills or signals others.
func (s *Scenario) disturbs() bool {
	return slices.ContainsFunc(s.processes, func(d *processDecl) bool {
		return s.does(d, func(st *statement) bool { return st.verb == "kill" || st.verb == "signal" })
	})
}

// Extends reports whether a process extends leases.
func (s *Scenario) Extends() bool {
	return slices.ContainsFunc(s.processes, func(d *processDecl) bool {
		return s.does(d, func(st *statement) bool { return st.verb == "extend" })
	})
}

// An End is an endpoint of an object. Op is what it is for: Lease also settles, and
// Receipt also sends.
type End struct {
	Object int
	Op     objects.Op
	Label  kernel.Label
}

// end is the endpoint of an object that st, of the verb v, goes through in a process of d.
func (s *Scenario) end(d *processDecl, st *statement, v verb, object int) End {
	e := End{object, v.op, st.label}
	switch {
	case v.op == objects.Settle:
		e.Op = objects.Lease
	case v.op == objects.Send && st.label == kernel.Label{} && s.does(d, func(other *statement) bool { return other.verb == "receipt" && other.about(object) }):
		e.Op = objects.Receipt
	}
	return e
}

// Uses lists the endpoints that the processes of that index use.
func (s *Scenario) Uses(process int) (all []End) {
	d := s.processes[process]
	s.walk(d, func(st *statement) {
		v, ok := verbNamed(st.verb)
		if !ok {
			return
		}
		for i := range max(1, st.of) {
			if e := s.end(d, st, v, st.object+i); !slices.Contains(all, e) {
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
		return kernel.Opens(e.Op) || s.does(s.processes[process], func(st *statement) bool { return st.verb == "open" && st.about(e.Object) })
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

// does reports whether a statement of d passes, or of a procedure that it calls.
func (s *Scenario) does(d *processDecl, pass func(*statement) bool) (found bool) {
	s.walk(d, func(st *statement) { found = found || pass(st) })
	return found
}

// walk visits the statements of d and of the procedures that it calls, each once.
func (s *Scenario) walk(d *processDecl, visit func(*statement)) {
	called := map[int]bool{}
	var each func(st *statement)
	each = func(st *statement) {
		visit(st)
		if st.verb == "call" && !called[st.object] {
			called[st.object] = true
			walkStatements(s.procedures[st.object].body, each)
		}
	}
	walkStatements(d.body, each)
}

// about reports whether s is, or may be, about that object.
func (s *statement) about(object int) bool {
	return s.object <= object && object < s.object+max(1, s.of)
}

func walkStatements(body []*statement, visit func(*statement)) {
	for _, s := range body {
		visit(s)
		walkStatements(s.body, visit)
		walkStatements(s.other, visit)
	}
}

// Scope says what an assertion depends on, and so who can tell whether it holds while
// the processes go on.
type Scope uint8

const (
	ScopeVariables Scope = iota // variables, sections, and who has ended
	ScopeObject                 // one look at an object or at who waits
	ScopeMore                   // more than can be seen at once
)

// Always returns what is wrong with the first assertion of that scope that is to hold
// always.
func (s *Scenario) Always(scope Scope, g View) error {
	var all []assertion
	for _, as := range s.always {
		if as.expr.scope() == scope {
			all = append(all, as)
		}
	}
	return hold(all, g)
}

// CountAlways is how many assertions of that scope are to hold always.
func (s *Scenario) CountAlways(scope Scope) (n int) {
	for _, as := range s.always {
		if as.expr.scope() == scope {
			n++
		}
	}
	return n
}

// maxEventually is how many conditions a search can tell apart, as a word has bits.
const maxEventually = 64

// Eventually is, of each condition that is to hold some time, what is wrong if it does not.
func (s *Scenario) Eventually() (wrong []error) {
	for _, as := range s.eventually {
		wrong = append(wrong, as.violated())
	}
	return wrong
}

// Met tells which of these hold now, one bit for each.
func (s *Scenario) Met(g View) (met uint64) {
	for i, as := range s.eventually {
		if v, err := as.expr.compute(nil, g); err == nil && v.N != 0 {
			met |= 1 << i
		}
	}
	return met
}

// Finally returns what is wrong with the first assertion that is to hold at the end.
func (s *Scenario) Finally(g View) error { return hold(s.finally, g) }

func (e *expression) scope() Scope {
	variables, looks := e.mentions()
	switch {
	case looks == 0:
		return ScopeVariables
	case looks == 1 && variables == 0:
		return ScopeObject
	}
	return ScopeMore
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

// VariableName is the name of a shared variable.
func (s *Scenario) VariableName(variable int) string { return s.shared[variable].name }

// SectionName is the name of a section.
func (s *Scenario) SectionName(section int) string { return s.sections[section] }
