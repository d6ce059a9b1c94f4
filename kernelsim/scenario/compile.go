package scenario

// How a process of a scenario becomes instructions. What carries them out is in machine.go.

// An instruction is a part of a statement that is carried out at once. Values are on a stack.
type instruction struct {
	op    opcode
	n     int // a slot, a shared variable, a section, or the instruction to go to
	by    int64
	value Value
	text  string
	query Query
	st    *statement // that it is of; nil at the end of the program
}

type opcode uint8

const (
	opConst     opcode = iota
	opLocal            // push the variable in slot n
	opLoad             // push a shared one
	opQuery            // push what is seen
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
	opElement          // replace the index on the stack by the element, of by from n on
	opCas              // compare and swap: the two values are on the stack; by is 1 if an element is below
	opAtomic           // up to opAtomicEnd nobody comes in between
	opAtomicEnd        //
	opCall             // procedure n
	opMonitor          // n: enter it, by 1, or leave it, unless a caller is in there
	opReturn           // by is 1 if a value for the caller is on the stack
)

// A compiler makes instructions of statements.
type compiler struct {
	code  []instruction
	st    *statement
	loops []loop

	monitor int // that the procedure is of, from 1; 0: none
}

// cross enters the monitor of a procedure, or leaves it.
func (c *compiler) cross(by int64) {
	if c.monitor > 0 {
		c.emit(instruction{op: opMonitor, n: c.monitor - 1, by: by})
	}
}

// A loop remembers the breaks out of it.
type loop struct {
	breaks []int
	values int // that are on the stack for it
}

// compile makes the program of d.
func compile(d *processDecl) []instruction {
	c := &compiler{monitor: d.monitor}
	if d.procedure {
		c.st = &statement{line: d.line, text: "procedure " + d.name, slot: -1}
		c.cross(1)
		c.block(d.body)
		c.cross(-1)
		c.emit(instruction{op: opReturn})
		return c.code
	}
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
		by := c.element(s.slot, s.slots, s.slotIndex)
		c.expression(s.expr)
		if s.shared {
			c.emit(instruction{op: opStore, n: s.slot, by: by})
		} else {
			c.emit(instruction{op: opKeep, n: s.slot})
		}
	case "atomic":
		c.emit(instruction{op: opUpdate, n: s.slot, by: c.element(s.slot, s.slots, s.slotIndex)})
	case "cas":
		by := c.element(s.slot, s.slots, s.slotIndex)
		c.expression(s.expr)
		c.expression(s.second)
		c.emit(instruction{op: opCas, n: s.slot, by: by})
	case "atomic:":
		c.emit(instruction{op: opAtomic})
		c.block(s.body)
		c.emit(instruction{op: opAtomicEnd})
	case "call":
		for _, e := range s.arguments {
			c.expression(e)
		}
		c.emit(instruction{op: opCall, n: s.object, by: int64(len(s.arguments))})
	case "return":
		by := int64(0)
		if s.expr != nil {
			c.expression(s.expr)
			by = 1
		}
		c.cross(-1)
		c.emit(instruction{op: opReturn, by: by})
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
			values := c.element(s.object, s.of, s.index)
			if s.expr != nil {
				c.expression(s.expr)
				values++
			}
			c.emit(instruction{op: opOperation, by: values})
			break
		}
		c.emit(instruction{op: opAct, by: c.element(s.object, s.of, s.index)})
	}
}

// element leaves the element of an array on the stack: it returns 1 then, and 0 if it is none.
func (c *compiler) element(first, of int, index *expression) int64 {
	if index == nil {
		return 0
	}
	c.expression(index)
	c.emit(instruction{op: opElement, n: first, by: int64(of)})
	return 1
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
		c.emit(instruction{op: opLoad, n: int(e.n), by: c.element(int(e.n), e.of, e.left)})
	case "call":
		c.emit(instruction{op: opQuery, by: c.element(int(e.n), e.of, e.left), query: Query{e.text, int(e.n)}})
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
