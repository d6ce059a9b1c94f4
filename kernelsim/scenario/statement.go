package scenario

// How a line of a process is read: what it does, and to what.

import (
	"slices"
	"strings"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
)

// A statement is one operation of a process.
type statement struct {
	line, column int
	verb         string
	try          bool // a failure sets errno instead of ending the process
	nonblock     bool
	within       objects.Time
	object       int         // index of the object, process, section or procedure it is about
	of           int         // how many there are from object on, of an array; 0 if it is none
	index        *expression // which of them
	slot         int         // of the variable that it sets, -1 if none
	slots        int         // how many there are from slot on, of an array; 0 if it is none
	slotIndex    *expression // which of them
	arguments    []*expression
	into         int // the slot that is told whether cas has set its variable, -1 if none
	shared       bool
	label        kernel.Label
	expr, second *expression
	policy       [2]string
	span         objects.Time
	body, other  []*statement
	text         string // as written
}

func (p *parser) statement() *statement {
	s := &statement{line: p.at + 1, slot: -1, text: strings.TrimSpace(p.lines[p.at])}
	if i := strings.Index(s.text, " #"); i >= 0 && !strings.Contains(s.text, `"`) {
		s.text = strings.TrimSpace(s.text[:i])
	}
	indent := p.indent
	if p.accept("try") {
		s.try = true
	}
	t := p.name("a statement")
	s.column, s.verb = t.column, t.text
	if p.conditional(s) {
		return s
	}
	if v, ok := verbNamed(s.verb); ok {
		p.operation(s, v)
		return s
	}
	if s.try && s.verb != "open" && s.verb != "set" {
		p.fail(t.column, "%s cannot fail: there is nothing to try", t)
	}
	switch s.verb {
	case "release", "destroy", "close", "open":
		p.object(s)
		switch kind := p.s.objects[s.object].kind; {
		case s.verb == "release" && !slices.Contains(kind.Ops, objects.Hold):
			p.fail(p.tokens[p.next-1].column, "a %s cannot be held", kind.Name)
		case s.verb == "open" && slices.Contains(kind.Ops, objects.Connect):
			p.fail(p.tokens[p.next-1].column, "a %s is open from the start", kind.Name)
		}
	case "set":
		p.object(s)
		s.policy[0], s.policy[1] = p.policy(p.s.objects[s.object].kind)
	case "sleep":
		s.span = p.span()
	case "yield", "exit":
	case "break":
		if p.loops == 0 {
			p.fail(t.column, "break outside of a loop")
		}
	case "kill", "signal":
		n := p.name("a process")
		if s.object = slices.Index(p.s.names, n.text); s.object < 0 {
			p.fail(n.column, "unknown process %s", n)
		}
	case "enter", "leave":
		s.object = p.s.section(p.name("a section").text)
	case "choose":
		p.variable(s)
		p.expect("in")
		s.expr, s.second = p.between()
	case "print", "assert":
		s.expr = p.expression()
	case "cas":
		p.swap(s, t)
	case "return":
		if !p.process.procedure {
			p.fail(t.column, "return outside of a procedure")
		}
		if p.peek().kind != endOfLine {
			s.expr = p.expression()
		}
	case "atomic":
		if p.peek().text == ":" {
			s.verb = "atomic:"
			p.colon()
			p.nested(s, indent)
			p.checkAtomic(s.body)
			return s
		}
		t := p.name("a variable")
		p.next--
		p.assignment(s)
		if !s.shared {
			p.fail(t.column, "only shared variables need atomic")
		}
	case "if", "while":
		s.expr = p.expression()
		p.colon()
		p.nested(s, indent)
		return s
	case "forever":
		p.colon()
		p.nested(s, indent)
		return s
	case "repeat":
		if p.next+1 < len(p.tokens) && p.tokens[p.next+1].text == "in" {
			p.variable(s)
			p.expect("in")
			s.expr, s.second = p.between()
		} else {
			s.second = p.expression()
			s.expr = &expression{op: "int", n: 1}
		}
		p.colon()
		p.nested(s, indent)
		return s
	default:
		if n := p.peek(); n.text == "=" || n.text == "[" {
			p.next--
			p.assignment(s)
			s.verb = "="
			break
		}
		if p.peek().text == "(" && slices.Contains(p.procedures, t.text) {
			p.callOf(s, t)
			break
		}
		p.fail(t.column, "unknown statement %s%s", t, p.suggestion(t.text))
	}
	p.end()
	return s
}

// suggestion tells what was expected instead of a word that begins no statement.
func (p *parser) suggestion(found string) string {
	all := slices.Clone(statements)
	for _, v := range verbs {
		all = append(all, v.word)
	}
	slices.Sort(all)
	for _, word := range all {
		if near(found, word) {
			return ": did you mean " + word + "?"
		}
	}
	return ": expected NAME = VALUE, or one of " + strings.Join(all, ", ")
}

// near reports whether one letter more, less, other or exchanged with the next makes a
// into b.
func near(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch restA, restB := a[i:], b[i:]; {
	case len(b) == len(a)+1:
		return restA == restB[1:]
	case len(a) != len(b) || restA == "":
		return false
	case restA[1:] == restB[1:]:
		return true
	default:
		return len(restA) > 1 && restA[0] == restB[1] && restA[1] == restB[0] && restA[2:] == restB[2:]
	}
}

// nested reads the block of s, and the else that may follow it.
func (p *parser) nested(s *statement, indent int) {
	if s.verb == "atomic:" { // no break leaves it
		defer func(outer int) { p.loops = outer }(p.loops)
		p.loops = 0
	}
	loop := s.verb != "if" && s.verb != "atomic:"
	if loop {
		p.loops++
		defer func() { p.loops-- }()
	}
	s.body = p.block(indent)
	at := p.at
	if s.verb != "if" || !p.advance() {
		p.at = at
		return
	}
	if p.indent == indent && p.accept("else") {
		p.colon()
		s.other = p.block(indent)
		return
	}
	p.at = at
}

func (p *parser) span() objects.Time {
	t := p.take()
	if t.kind != duration {
		p.fail(t.column, "expected a duration such as 5ms, found %s", t)
	}
	return objects.Time(t.number)
}

// between reads FROM..TO.
func (p *parser) between() (from, to *expression) {
	from = p.expression()
	p.expect("..")
	return from, p.expression()
}

// object reads the object that s is about.
func (p *parser) object(s *statement) {
	t := p.name("an object")
	i := p.s.object(t.text)
	if i < 0 {
		p.fail(t.column, "unknown object %s: declare it first, as in \"mailbox %s\"", t, t.text)
	}
	s.object = i
	s.of, s.index = p.which(t)
}

// variable reads the variable that s sets.
func (p *parser) variable(s *statement) {
	t := p.name("a variable")
	if p.s.object(t.text) >= 0 || t.text == "me" || t.text == "errno" {
		p.fail(t.column, "%s cannot be set", t)
	}
	if i := p.s.variable(t.text); i >= 0 {
		s.slot, s.shared = i, true
		p.reaches(t, i)
		s.slots, s.slotIndex = p.which(t)
		return
	}
	if n := p.peek(); n.text == "[" {
		p.fail(n.column, "%s is no array: expected a shared one, as in \"shared %s * 5 = 0\"", t, t.text)
	}
	s.slot = p.process.local(t.text)
}

func (p *parser) assignment(s *statement) {
	at := p.next
	if at+1 < len(p.tokens) && p.tokens[at+1].text == "[" {
		p.variable(s)
		p.expect("=")
		s.expr = p.expression()
		return
	}
	p.next++
	p.expect("=")
	s.expr = p.expression() // in which a variable that is new is not set yet
	end := p.next
	p.next = at
	if t := p.peek(); p.s.arrays[t.text] > 0 {
		p.next++
		p.which(t) // fails
	}
	p.variable(s)
	p.next = end
}

// statements are the words that statements begin with besides those of operations.
var statements = []string{"release", "open", "close", "set", "destroy", "if", "while", "forever", "repeat", "break", "choose", "enter", "leave",
	"sleep", "yield", "kill", "signal", "print", "assert", "exit", "atomic", "try", "cas", "return", "broadcast"}
