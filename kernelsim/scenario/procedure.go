package scenario

import "slices"

// A call is one of a procedure, which may be declared below it.
type call struct {
	st   *statement
	name token
	at   int // the line
}

// procedureDecl reads a procedure: what it is called with are variables of its own.
func (p *parser) procedureDecl() {
	n := p.name("a name")
	if p.s.monitorNamed(n.text) >= 0 || p.s.condition(n.text) >= 0 || p.s.object(n.text) >= 0 || p.s.variable(n.text) >= 0 || slices.ContainsFunc(slices.Concat(p.s.processes, p.s.procedures), func(d *processDecl) bool { return d.name == n.text }) {
		p.fail(n.column, "the name %s is taken", n)
	}
	d := &processDecl{name: n.text, line: p.at + 1, procedure: true, monitor: p.monitor}
	d.local("errno")
	d.local("me")
	p.expect("(")
	for !p.accept(")") {
		if d.parameters > 0 {
			p.expect(",")
		}
		t := p.name("a parameter")
		if p.s.object(t.text) >= 0 || p.s.variable(t.text) >= 0 || slices.Contains(d.locals, t.text) {
			p.fail(t.column, "the name %s is taken", t)
		}
		d.local(t.text)
		d.parameters++
	}
	p.s.procedures = append(p.s.procedures, d)
	p.colon()
	p.process, p.loops = d, 0
	d.body = p.block(p.indent)
}

// callOf reads NAME(VALUE, …), and into which variable what it returns goes.
func (p *parser) callOf(s *statement, t token) {
	s.verb = "call"
	p.expect("(")
	for !p.accept(")") {
		if len(s.arguments) > 0 {
			p.expect(",")
		}
		s.arguments = append(s.arguments, p.expression())
	}
	if p.accept("->") {
		p.variable(s)
		if s.shared {
			p.fail(p.tokens[p.next-1].column, "%s returns into a variable of the process: assign it then", t)
		}
	}
	p.calls = append(p.calls, call{st: s, name: t, at: p.at})
}

// checkCalls finds the procedures that are called.
func (p *parser) checkCalls() {
	for _, c := range p.calls {
		i := slices.IndexFunc(p.s.procedures, func(d *processDecl) bool { return d.name == c.name.text })
		problem := func(format string, args ...any) {
			at := p.at
			p.at = c.at
			defer func() { p.noted(recover()); p.at = at }()
			p.fail(c.name.column, format, args...)
		}
		switch {
		case i < 0:
			problem("unknown procedure %s", c.name)
		case len(c.st.arguments) != p.s.procedures[i].parameters:
			problem("%s is called with %d values: expected %d", c.name, len(c.st.arguments), p.s.procedures[i].parameters)
		}
		c.st.object = max(i, 0)
	}
}

// swap reads cas VARIABLE EXPECTED, NEW -> x.
func (p *parser) swap(s *statement, t token) {
	n := p.peek()
	p.variable(s)
	if !s.shared {
		p.fail(n.column, "cas is for shared variables: %s is one of the process", n)
	}
	s.expr = p.expression()
	p.expect(",")
	s.second = p.expression()
	s.into = -1
	if p.accept("->") {
		kept := &statement{}
		p.variable(kept)
		if kept.shared {
			p.fail(p.tokens[p.next-1].column, "cas tells a variable of the process whether it has set %s", n)
		}
		s.into = kept.slot
	}
}

// inAtomic are the statements of an atomic block: those that are steps of memory alone.
var inAtomic = []string{"=", "cas", "if", "while", "repeat", "break", "print", "assert"}

// checkAtomic fails at the first statement that an atomic block cannot have.
func (p *parser) checkAtomic(body []*statement) {
	walkStatements(body, func(st *statement) {
		if !slices.Contains(inAtomic, st.verb) {
			verb := st.verb
			if verb == "atomic:" {
				verb = "atomic"
			}
			p.errs = append(p.errs, &SyntaxError{p.file, st.line, st.column, verb + " cannot be in an atomic block: expected assignments, cas, if, while, repeat, break, print or assert"})
		}
	})
}
