package scenario

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
)

// A machine carries out the program of one process, up to what it asks of the system that
// the process is on: then it waits for the answer. It is plain data.
type machine struct {
	s      *Scenario     `state:"fixed"`
	code   []instruction `state:"fixed"`
	self   Instance
	pc     int
	locals []Value // of the process, and of the procedures that it is in
	base   int     // where those of the innermost begin
	frames []frame // whom they return to
	inside int     // the innermost procedure, if there are frames
	stack  []Value
	rounds int  // of loops, since its last call
	over   bool // a violation has ended it
	host   host

	memory  Memory // in an atomic block
	failure error  // of which the host is told at the end of that
}

// A frame is where a procedure returns to.
type frame struct {
	code   []instruction `state:"fixed"`
	caller int           // the procedure that calls, -1 if it is the program
	pc     int           // of the call
	base   int           // of the caller's variables
	height int           // of the stack
}

// maxCalls is how deep procedures may call procedures: what people write does not come near.
const maxCalls = 100

// A host is told what the system cannot know.
type host interface {
	// Did is told what the process has done: what it prints and chooses.
	Did(text string)

	// Fail ends the run.
	Fail(err error)
}

func newMachine(s *Scenario, self Instance, h host) machine {
	d := s.processes[self.Process]
	m := machine{s: s, code: d.code, self: self, locals: make([]Value, len(d.locals)), host: h}
	m.locals[meSlot].N = int64(self.Number)
	return m
}

// An ask is what a process asks of its system. Each is a step, or several.
type ask struct {
	what  question
	st    *statement `state:"fixed"`
	index int        // of the variable, section, object or process
	by    int64      // of enter; how many there are to choose from
	value Value      // to store
	query Query
}

type question uint8

const (
	askLoad    question = iota + 1
	askQuery            //
	askStore            //
	askAtomic           // see machine.atomically
	askMonitor          // to enter it, or to leave it
	askEnter            //
	askChoose           //
	askDo               // an operation on an object
	askAct              // what the statement says
	askExit             //
)

// An answer is how an ask has ended.
type answer struct {
	value Value // that was asked for
	n     int64
	data  []byte // what an operation has received
	errno syscall.Errno
}

func (m *machine) push(v Value) { m.stack = append(m.stack, v) }

func (m *machine) pop() Value {
	last := len(m.stack) - 1
	v := m.stack[last]
	m.stack[last] = Value{}
	m.stack = m.stack[:last]
	return v
}

func (m *machine) drop(n int) {
	for range n {
		m.pop()
	}
}

// top is the value n below the one on top of the stack.
func (m *machine) top(n int) Value { return m.stack[len(m.stack)-1-n] }

// line is where in the source the program is, 0 at its end.
func (m *machine) line() int {
	if st := m.code[m.pc].st; st != nil {
		return st.line
	}
	return 0
}

func (m *machine) fail(err error) {
	m.over = true
	if m.memory != nil {
		m.failure = m.about(err) // whoever is told ends the run, and others wait for the memory
		return
	}
	m.host.Fail(m.about(err))
}

// local is the variable in a slot of the program or procedure that is carried out.
func (m *machine) local(slot int) *Value { return &m.locals[m.base+slot] }

func (m *machine) about(err error) error {
	st := m.code[m.pc].st
	return fmt.Errorf("line %d: %s: %s: %w", st.line, m.self.Name, st.text, err)
}

// maxIdle is how many rounds of a loop may pass without a call before it is taken to
// be endless.
const maxIdle = 100000

// next runs to what the program asks next; false if it has failed. What the ask is about
// stays on the stack until the answer.
func (m *machine) next() (q ask, asked bool) {
	for !m.over {
		in := &m.code[m.pc]
		m.pc++
		switch in.op {
		case opConst:
			m.push(in.value)
		case opLocal:
			m.push(*m.local(in.n))
		case opNot:
			m.push(truth(m.pop().N == 0))
		case opBinary:
			right, left := m.pop(), m.pop()
			v, err := binary(in.text, left, right)
			if err != nil {
				m.pc--
				m.fail(err)
				break
			}
			m.push(v)
		case opDecided:
			if (m.top(0).N != 0) == (in.text == "or") {
				m.pc = in.n
			} else {
				m.pop()
			}
		case opGo:
			m.pc = in.n
		case opUnless:
			if m.pop().N == 0 {
				m.pc = in.n
			}
		case opRound:
			if m.rounds++; m.rounds > maxIdle {
				m.pc--
				m.fail(errors.New("the loop goes on without an operation"))
				break
			}
			m.pc = in.n
		case opTurn:
			to, at := m.top(0), m.top(1)
			if at.N > to.N {
				m.pc = in.n
			} else if in.by >= 0 {
				*m.local(int(in.by)) = Value{N: at.N}
			}
		case opTurned:
			if m.rounds++; m.rounds > maxIdle {
				m.pc--
				m.fail(errors.New("the loop goes on without an operation"))
				break
			}
			at := &m.stack[len(m.stack)-2]
			*at = Value{N: at.N + 1}
			m.pc = in.n
		case opDrop:
			m.drop(in.n)
		case opKeep:
			*m.local(in.n) = m.pop()
		case opElement:
			at, err := element(int64(in.n), int(in.by), m.pop())
			if err != nil {
				m.pc--
				m.fail(err)
				break
			}
			m.push(Value{N: at})
		case opAtomicEnd:
			m.pc-- // answer goes on behind it
			return ask{}, false
		case opCall:
			m.pc--
			m.enter(in)
		case opReturn:
			m.leave(in)
		case opMonitor:
			if !m.within(in.n + 1) {
				m.pc--
				return m.asks(in)
			}
		case opPrint:
			m.pc--
			m.host.Did("prints " + m.pop().String())
			m.pc++
		case opAssert:
			if m.pop().N == 0 {
				m.pc--
				m.fail(errors.New("it does not hold"))
			}
		default:
			m.pc--
			if m.memory == nil {
				return m.asks(in)
			}
			m.direct(in)
		}
	}
	return ask{}, false
}

// enter calls a procedure, which knows the number and the errno of the process.
func (m *machine) enter(in *instruction) {
	if len(m.frames) == maxCalls {
		m.fail(fmt.Errorf("procedures call procedures more than %d deep", maxCalls))
		return
	}
	d := m.s.procedures[in.n]
	caller := -1
	if n := len(m.frames); n > 0 {
		caller = m.inside
	}
	n := int(in.by)
	base := len(m.locals)
	m.locals = append(m.locals, *m.local(errnoSlot), *m.local(meSlot))
	m.locals = append(m.locals, m.stack[len(m.stack)-n:]...)
	m.locals = append(m.locals, make([]Value, len(d.locals)-2-n)...)
	m.drop(n)
	m.frames = append(m.frames, frame{m.code, caller, m.pc, m.base, len(m.stack)})
	m.inside, m.code, m.pc, m.base = in.n, d.code, 0, base
}

// within reports whether a caller of the procedure is one of that monitor.
func (m *machine) within(monitor int) bool {
	return slices.ContainsFunc(m.frames, func(f frame) bool { return f.caller >= 0 && m.s.procedures[f.caller].monitor == monitor })
}

// leave returns from a procedure.
func (m *machine) leave(in *instruction) {
	var v Value
	if in.by > 0 {
		v = m.pop()
	}
	errno := *m.local(errnoSlot)
	last := len(m.frames) - 1
	f := m.frames[last]
	m.frames = m.frames[:last]
	m.drop(len(m.stack) - f.height)
	m.locals = m.locals[:m.base]
	m.inside, m.code, m.pc, m.base = f.caller, f.code, f.pc+1, f.base
	*m.local(errnoSlot) = errno
	if slot := m.code[f.pc].st.slot; slot >= 0 {
		*m.local(slot) = v
	}
}

// atomically carries out what one step does to the memory: an atomic assignment, a
// compare-and-swap, or a block.
func (m *machine) atomically(memory Memory) error {
	m.memory = memory
	defer func() { m.memory = nil }()
	switch in := &m.code[m.pc]; in.op {
	case opUpdate:
		v, err := in.st.expr.compute(m.locals[m.base:], memory)
		if err == nil {
			err = memory.Set(m.target(in, 0), v)
		}
		if err != nil {
			return m.about(err)
		}
	case opCas:
		if m.direct(in); !m.over {
			m.pc-- // answer goes on behind it
		}
	case opAtomic:
		m.pc++
		m.next()
	}
	return m.failure
}

// target is the variable that in is about: the element on the stack, below so many values, if
// it is one of an array.
func (m *machine) target(in *instruction, below int) int {
	if in.by > 0 {
		return int(m.top(below).N)
	}
	return in.n
}

// direct carries out an instruction on the memory, within a step.
func (m *machine) direct(in *instruction) {
	var err error
	switch in.op {
	case opLoad:
		v := m.memory.Load(m.target(in, 0))
		m.drop(int(in.by))
		m.push(v)
	case opQuery:
		query := in.query
		query.Index = m.seen(in)
		n := m.memory.Query(query)
		m.drop(int(in.by))
		m.push(Value{N: n})
	case opStore:
		err = m.memory.Set(m.target(in, 1), m.top(0))
		m.drop(1 + int(in.by))
	case opCas:
		at := m.target(in, 2)
		was := m.memory.Load(at)
		swapped := equal(was, m.top(1))
		if swapped {
			err = m.memory.Set(at, m.top(0))
		} else {
			m.memory.Found(at, was)
		}
		m.drop(2 + int(in.by))
		if in.st.into >= 0 {
			*m.local(in.st.into) = truth(swapped)
		}
	default:
		panic(fmt.Sprintf("scenario: instruction %d in an atomic block", in.op))
	}
	if err != nil {
		m.fail(err)
		return
	}
	m.pc++
}

// seen is the index of what is looked at.
func (m *machine) seen(in *instruction) int {
	if in.by > 0 {
		return int(m.top(0).N)
	}
	return in.query.Index
}

// asks makes the ask of in.
func (m *machine) asks(in *instruction) (q ask, asked bool) {
	q.st, q.index = in.st, in.n
	switch in.op {
	case opLoad:
		q.what, q.index = askLoad, m.target(in, 0)
	case opQuery:
		q.what, q.query = askQuery, in.query
		q.query.Index = m.seen(in)
	case opStore:
		q.what, q.value, q.index = askStore, m.top(0), m.target(in, 1)
	case opUpdate, opCas, opAtomic:
		q.what = askAtomic
	case opMonitor:
		q.what, q.by = askMonitor, in.by
	case opEnter:
		q.what, q.by = askEnter, in.by
	case opChoose:
		if q.by = m.top(0).N - m.top(1).N + 1; q.by < 1 {
			m.fail(errors.New("there is nothing to choose from"))
			return q, false
		}
		q.what = askChoose
	case opOperation:
		q.what, q.index = askDo, m.object(in)
	case opEnd:
		q.what = askExit
	case opAct:
		if q.what, q.index = askAct, m.object(in); in.st.verb == "exit" {
			q.what = askExit
		}
	default:
		panic(fmt.Sprintf("scenario: instruction %d asks nothing", in.op))
	}
	return q, true
}

// object is the one that an operation is about: if it is of an array, it is the lowest of what
// the instruction has on the stack.
func (m *machine) object(in *instruction) int {
	if in.st.index != nil {
		return int(m.top(int(in.by) - 1).N)
	}
	return in.st.object
}

// answer goes on after what was asked last.
func (m *machine) answer(a answer) {
	in := &m.code[m.pc]
	switch in.op {
	case opLoad:
		m.drop(int(in.by))
		m.push(a.value)
	case opQuery:
		m.drop(int(in.by))
		m.push(Value{N: a.n})
	case opStore:
		m.drop(1 + int(in.by))
	case opUpdate:
		m.drop(int(in.by))
	case opChoose:
		v := Value{N: m.top(1).N + a.n}
		m.drop(2)
		*m.local(in.n) = v
		m.host.Did("chooses " + v.String())
	case opOperation:
		m.drop(int(in.by))
		if a.errno == 0 && in.st.slot >= 0 {
			*m.local(in.st.slot) = Value{Text: string(a.data), IsText: true}
		}
		m.result(a.errno)
	case opAct:
		m.drop(int(in.by))
		switch in.st.verb {
		case "sleep":
			m.local(errnoSlot).N = int64(a.errno)
		case "set", "open":
			m.result(a.errno)
		}
	}
	m.pc++
}

// result sets errno, and ends the run if nobody has reckoned with it.
func (m *machine) result(errno syscall.Errno) {
	*m.local(errnoSlot) = Value{N: int64(errno)}
	if errno != 0 && !m.code[m.pc].st.try {
		m.fail(fmt.Errorf("it fails with %s, which nobody tries", kernel.ErrnoName(errno)))
	}
}

// operation is the one that the machine asks for.
func (m *machine) operation() Operation {
	in := &m.code[m.pc]
	s := in.st
	v, _ := verbNamed(s.verb)
	object := m.object(in)
	o := Operation{Word: v.word, Op: v.op, Name: m.s.objects[object].name, End: m.s.end(m.s.processes[m.self.Process], s, v, object),
		Nonblock: s.nonblock, Within: s.within, Size: 1 << 20}
	switch o.Op {
	case objects.Settle:
		o.Data = []byte(v.word)
		if v.takes == aSpan {
			o.Data = append(o.Data, " "+objects.FormatSpan(s.span)...)
		}
	case objects.Send, objects.Write:
		o.Data = []byte(m.top(0).String())
	case objects.Wait, objects.Post:
		o.Size, o.Units = 0, 1
		if s.expr != nil {
			o.Units = m.top(0).N
		}
	case objects.Read:
		if s.expr != nil {
			o.Size = int(m.top(0).N)
		}
	}
	return o
}

// Act carries out the program of i on sys and returns when it has ended.
func (s *Scenario) Act(i Instance, sys System) {
	m := newMachine(s, i, sys)
	turner, _ := sys.(Turner)
	for n := 1; ; n++ {
		q, asked := m.next()
		if !asked {
			return
		}
		if turner != nil {
			turner.Turn(n, m.line())
		}
		var a answer
		m.rounds = 0
		switch q.what {
		case askLoad:
			a.value = sys.Load(q.index)
		case askQuery:
			a.n = sys.Query(q.query)
		case askStore:
			sys.Store(q.index, q.value)
		case askAtomic:
			sys.Atomically(m.atomically)
		case askEnter:
			sys.Enter(q.index, q.by)
		case askChoose:
			a.n = int64(sys.Choose(int(q.by)))
		case askDo:
			a.data, a.errno = sys.Do(m.operation())
		case askExit:
			sys.Exit()
			return
		case askAct:
			a.errno = act(sys, q)
		}
		m.answer(a)
	}
}

// act carries out a statement that is one system call, or several.
func act(sys System, q ask) (errno syscall.Errno) {
	switch s := q.st; s.verb {
	case "sleep":
		return sys.Sleep(s.span)
	case "yield":
		sys.Yield()
	case "kill":
		sys.Kill(q.index)
	case "signal":
		sys.Signal(q.index)
	case "set":
		return sys.SetPolicy(q.index, s.policy[0], s.policy[1])
	case "open":
		return sys.Open(q.index)
	case "destroy":
		sys.Destroy(q.index)
	case "release", "close":
		sys.Close(q.index, s.verb == "release")
	}
	return 0
}
