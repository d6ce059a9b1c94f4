package scenario

import (
	"errors"
	"fmt"
	"syscall"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
)

// An instruction is a part of a statement that is carried out at once. Values are on a stack.
type instruction struct {
	op    opcode
	n     int // a slot, a shared variable, a section, or the instruction to go to
	by    int64
	value Value
	text  string
	look  Look
	st    *statement // that it is of; nil at the end of the program
}

type opcode uint8

const (
	opConst     opcode = iota
	opLocal            // push the variable in slot n
	opLoad             // push a shared one
	opLook             // push what is seen
	opNot              //
	opBinary           // text is the sign
	opDecided          // go to n if text, "and" or "or", needs no right side; drop the left one otherwise
	opGo               // to n
	opUnless           // go to n if what is popped is 0
	opRound            // go back to n, the beginning of a loop
	opTurn             // go to n if the loop on the stack, where it is and its end, is over; set the variable in slot by, if there is one
	opTurned           // the next turn: go back to n
	opDrop             // n values
	opKeep             // pop into slot n
	opStore            // pop into a shared variable
	opUpdate           // compute and store a shared variable in one step
	opChoose           // between the two on the stack
	opPrint            //
	opAssert           //
	opEnter            // a section, by 1 or -1
	opOperation        // on an object; by is 1 if a value for it is on the stack
	opAct              // another statement that is a call, or several
	opEnd              // of the program
)

// A compiler makes instructions of statements.
type compiler struct {
	code  []instruction
	st    *statement
	loops []loop
}

// A loop remembers the breaks out of it.
type loop struct {
	breaks []int
	values int // that are on the stack for it
}

// compile makes the program of d.
func compile(d *processDecl) []instruction {
	c := &compiler{}
	c.block(d.body)
	c.st = nil
	c.emit(instruction{op: opEnd})
	return c.code
}

// emit adds i and returns its place.
func (c *compiler) emit(i instruction) int {
	i.st = c.st
	c.code = append(c.code, i)
	return len(c.code) - 1
}

func (c *compiler) here() int { return len(c.code) }

// land has the instruction at go to where the next one will be.
func (c *compiler) land(at int) { c.code[at].n = c.here() }

func (c *compiler) block(body []*statement) {
	outer := c.st
	for _, s := range body {
		c.st = s
		c.statement(s)
	}
	c.st = outer
}

func (c *compiler) statement(s *statement) {
	switch s.verb {
	case "=":
		c.expression(s.expr)
		if s.shared {
			c.emit(instruction{op: opStore, n: s.slot})
		} else {
			c.emit(instruction{op: opKeep, n: s.slot})
		}
	case "atomic":
		c.emit(instruction{op: opUpdate, n: s.slot})
	case "if":
		c.expression(s.expr)
		unless := c.emit(instruction{op: opUnless})
		c.block(s.body)
		if len(s.other) > 0 {
			end := c.emit(instruction{op: opGo})
			c.land(unless)
			c.block(s.other)
			c.land(end)
			break
		}
		c.land(unless)
	case "while", "forever":
		start, unless := c.here(), -1
		if s.verb == "while" {
			c.expression(s.expr)
			unless = c.emit(instruction{op: opUnless})
		}
		c.loops = append(c.loops, loop{})
		c.block(s.body)
		c.emit(instruction{op: opRound, n: start})
		if unless >= 0 {
			c.land(unless)
		}
		c.endLoop()
	case "repeat":
		c.expression(s.expr)
		c.expression(s.second)
		c.loops = append(c.loops, loop{values: 2})
		start := c.emit(instruction{op: opTurn, by: int64(s.slot)})
		c.block(s.body)
		c.emit(instruction{op: opTurned, n: start})
		c.land(start)
		c.emit(instruction{op: opDrop, n: 2})
		c.endLoop()
	case "break":
		l := &c.loops[len(c.loops)-1]
		if l.values > 0 {
			c.emit(instruction{op: opDrop, n: l.values})
		}
		l.breaks = append(l.breaks, c.emit(instruction{op: opGo}))
	case "choose":
		c.expression(s.expr)
		c.expression(s.second)
		c.emit(instruction{op: opChoose, n: s.slot})
	case "print":
		c.expression(s.expr)
		c.emit(instruction{op: opPrint})
	case "assert":
		c.expression(s.expr)
		c.emit(instruction{op: opAssert})
	case "enter":
		c.emit(instruction{op: opEnter, n: s.object, by: 1})
	case "leave":
		c.emit(instruction{op: opEnter, n: s.object, by: -1})
	default:
		if _, ok := verbNamed(s.verb); ok {
			values := int64(0)
			if s.expr != nil {
				c.expression(s.expr)
				values = 1
			}
			c.emit(instruction{op: opOperation, by: values})
			break
		}
		c.emit(instruction{op: opAct})
	}
}

// endLoop has the breaks of the innermost loop come here.
func (c *compiler) endLoop() {
	last := len(c.loops) - 1
	for _, at := range c.loops[last].breaks {
		c.land(at)
	}
	c.loops = c.loops[:last]
}

// expression leaves the value of e on the stack. Each mention of a shared variable is a step.
func (c *compiler) expression(e *expression) {
	switch e.op {
	case "int":
		c.emit(instruction{op: opConst, value: Value{N: e.n}})
	case "text":
		c.emit(instruction{op: opConst, value: Value{Text: e.text, IsText: true}})
	case "local":
		c.emit(instruction{op: opLocal, n: int(e.n)})
	case "shared":
		c.emit(instruction{op: opLoad, n: int(e.n)})
	case "call":
		c.emit(instruction{op: opLook, look: Look{e.text, int(e.n)}})
	case "not":
		c.expression(e.left)
		c.emit(instruction{op: opNot})
	case "and", "or":
		c.expression(e.left)
		decided := c.emit(instruction{op: opDecided, text: e.op})
		c.expression(e.right)
		c.land(decided)
	default:
		c.expression(e.left)
		c.expression(e.right)
		c.emit(instruction{op: opBinary, text: e.op})
	}
}

// A machine carries out the program of one process, up to what it asks of the system that
// the process is on: then it waits for the answer. It is plain data.
type machine struct {
	s      *Scenario     `state:"fixed"`
	code   []instruction `state:"fixed"`
	self   Instance
	pc     int
	locals []Value
	stack  []Value
	rounds int  // of loops, since its last call
	over   bool // a violation has ended it
	host   host
}

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
	look  Look
}

type question uint8

const (
	askLoad   question = iota + 1
	askLook            //
	askStore           //
	askUpdate          //
	askEnter           //
	askChoose          //
	askDo              // an operation on an object
	askAct             // what the statement says
	askExit            //
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
	m.host.Fail(m.about(err))
}

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
			m.push(m.locals[in.n])
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
				m.locals[in.by] = Value{N: at.N}
			}
		case opTurned:
			at := &m.stack[len(m.stack)-2]
			*at = Value{N: at.N + 1}
			m.pc = in.n
		case opDrop:
			m.drop(in.n)
		case opKeep:
			m.locals[in.n] = m.pop()
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
			return m.asks(in)
		}
	}
	return ask{}, false
}

// asks makes the ask of in.
func (m *machine) asks(in *instruction) (q ask, asked bool) {
	q.st, q.index = in.st, in.n
	switch in.op {
	case opLoad:
		q.what = askLoad
	case opLook:
		q.what, q.look = askLook, in.look
	case opStore:
		q.what, q.value = askStore, m.top(0)
	case opUpdate:
		q.what = askUpdate
	case opEnter:
		q.what, q.by = askEnter, in.by
	case opChoose:
		if q.by = m.top(0).N - m.top(1).N + 1; q.by < 1 {
			m.fail(errors.New("there is nothing to choose from"))
			return q, false
		}
		q.what = askChoose
	case opOperation:
		q.what, q.index = askDo, in.st.object
	case opEnd:
		q.what = askExit
	case opAct:
		if q.what, q.index = askAct, in.st.object; in.st.verb == "exit" {
			q.what = askExit
		}
	default:
		panic(fmt.Sprintf("scenario: instruction %d asks nothing", in.op))
	}
	return q, true
}

// answer goes on after what was asked last.
func (m *machine) answer(a answer) {
	in := &m.code[m.pc]
	switch in.op {
	case opLoad:
		m.push(a.value)
	case opLook:
		m.push(Value{N: a.n})
	case opStore:
		m.pop()
	case opChoose:
		v := Value{N: m.top(1).N + a.n}
		m.drop(2)
		m.locals[in.n] = v
		m.host.Did("chooses " + v.String())
	case opOperation:
		m.drop(int(in.by))
		if a.errno == 0 && in.st.slot >= 0 {
			m.locals[in.st.slot] = Value{Text: string(a.data), IsText: true}
		}
		m.result(a.errno)
	case opAct:
		switch in.st.verb {
		case "sleep":
			m.locals[errnoSlot].N = int64(a.errno)
		case "set", "open":
			m.result(a.errno)
		}
	}
	m.pc++
}

// result sets errno, and ends the run if nobody has reckoned with it.
func (m *machine) result(errno syscall.Errno) {
	m.locals[errnoSlot] = Value{N: int64(errno)}
	if errno != 0 && !m.code[m.pc].st.try {
		m.fail(fmt.Errorf("it fails with %s, which nobody tries", kernel.ErrnoName(errno)))
	}
}

// update computes what an atomic assignment stores.
func (m *machine) update(g Glance) (Value, error) {
	v, err := m.code[m.pc].st.expr.compute(m.locals, g)
	if err != nil {
		err = m.about(err)
	}
	return v, err
}

// operation is the one that the machine asks for.
func (m *machine) operation() Operation {
	in := &m.code[m.pc]
	s := in.st
	v, _ := verbNamed(s.verb)
	o := Operation{Word: v.word, Op: v.op, Name: m.s.objects[s.object].name, End: m.s.processes[m.self.Process].end(s, v),
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
	for {
		q, asked := m.next()
		if !asked {
			return
		}
		var a answer
		m.rounds = 0
		switch q.what {
		case askLoad:
			a.value = sys.Load(q.index)
		case askLook:
			a.n = sys.Look(q.look)
		case askStore:
			sys.Store(q.index, q.value)
		case askUpdate:
			sys.Update(q.index, m.update)
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
			a.errno = act(sys, q.st)
		}
		m.answer(a)
	}
}

// act carries out a statement that is one system call, or several.
func act(sys System, s *statement) (errno syscall.Errno) {
	switch s.verb {
	case "sleep":
		return sys.Sleep(s.span)
	case "yield":
		sys.Yield()
	case "kill":
		sys.Kill(s.object)
	case "signal":
		sys.Signal(s.object)
	case "set":
		return sys.SetPolicy(s.object, s.policy[0], s.policy[1])
	case "open":
		return sys.Open(s.object)
	case "destroy":
		sys.Destroy(s.object)
	case "release", "close":
		sys.Close(s.object, s.verb == "release")
	}
	return 0
}
