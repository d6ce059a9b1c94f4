package scenario

// How expressions are read. What they come to is in scenario.go.

import (
	"slices"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
)

// An expression computes a value from variables and what can be seen of the run.
type expression struct {
	column      int
	op          string // a sign, or "int", "text", "local", "shared", "call"
	n           int64
	of          int // how many there are from n on, of an array: left says which
	text        string
	left, right *expression
}

func (p *parser) expression() *expression { return p.binary(0) }

func (p *parser) binary(level int) *expression {
	if level == len(levels) {
		return p.primary()
	}
	left := p.binary(level + 1)
	for {
		t := p.peek()
		if t.kind != sign && t.kind != word || !slices.Contains(levels[level], t.text) {
			return left
		}
		p.next++
		left = &expression{column: t.column, op: t.text, left: left, right: p.binary(level + 1)}
	}
}

func (p *parser) primary() *expression {
	t := p.take()
	e := &expression{column: t.column}
	switch {
	case t.kind == integer:
		e.op, e.n = "int", t.number
	case t.kind == quoted:
		e.op, e.text = "text", t.text
	case t.kind == sign && t.text == "-":
		return &expression{column: t.column, op: "-", left: &expression{op: "int"}, right: p.primary()}
	case t.kind == sign && t.text == "(":
		e = p.expression()
		p.expect(")")
	case t.kind == word && t.text == "not":
		e.op, e.left = "not", p.binary(2)
	case t.kind == word && p.peek().text == "(":
		p.call(e, t)
	case t.kind == word:
		p.mention(e, t)
	default:
		p.fail(t.column, "expected a value, found %s", t)
	}
	return e
}

// mention reads a name in an expression.
func (p *parser) mention(e *expression, t token) {
	if errno, ok := kernel.ErrnoNamed(t.text); ok {
		e.op, e.n = "int", int64(errno)
		return
	}
	if i := p.s.variable(t.text); i >= 0 {
		e.op, e.n, e.text = "shared", int64(i), t.text
		p.reaches(t, i)
		e.of, e.left = p.which(t)
		return
	}
	if p.process != nil && p.indent > 0 {
		if i := slices.Index(p.process.locals, t.text); i >= 0 {
			e.op, e.n = "local", int64(i)
			return
		}
	}
	p.fail(t.column, "unknown variable %s: it is not set before, nor shared", t)
}

// call reads FUNCTION(NAME).
func (p *parser) call(e *expression, t token) {
	e.op, e.text = "call", t.text
	p.expect("(")
	n := p.name("a name")
	switch t.text {
	case "messages", "bytes", "waiting", "value":
		if i := p.s.condition(n.text); i >= 0 && t.text == "waiting" {
			e.text, e.n = "queued", int64(i)
			break
		}
		i := p.s.object(n.text)
		if i < 0 {
			p.fail(n.column, "unknown object %s", n)
		}
		if t.text == "value" && !p.s.objects[i].kind.HasPolicy("value") {
			p.fail(n.column, "a %s has no value", p.s.objects[i].kind.Name)
		}
		e.n = int64(i)
		e.of, e.left = p.which(n)
	case "sent", "received", "dropped", "expired", "redelivered", "leased":
		i := p.s.object(n.text)
		if i < 0 {
			p.fail(n.column, "unknown object %s", n)
		}
		counts := func(c objects.Counter) bool { return c.Name == t.text }
		if kind := p.s.objects[i].kind; !slices.ContainsFunc(kind.New(objects.Unlimited).Stat(), counts) {
			p.fail(n.column, "a %s does not count what is %s", kind.Name, t.text)
		}
		e.n = int64(i)
		e.of, e.left = p.which(n)
		for i := range max(1, e.of) {
			if l := (Query{t.text, int(e.n) + i}); !slices.Contains(p.s.counters, l) {
				p.s.counters = append(p.s.counters, l)
			}
		}
	case "inside":
		e.n = int64(p.s.section(n.text))
	case "blocked", "exited", "killed":
		i := slices.Index(p.s.names, n.text)
		if i < 0 {
			p.fail(n.column, "unknown process %s", n)
		}
		e.n = int64(i)
	default:
		p.fail(t.column, "unknown function %s: want messages, bytes, waiting, value, sent, received, dropped, expired, redelivered, leased, inside, blocked, exited or killed", t)
	}
	p.expect(")")
}

// levels are the binary operators by precedence, the loosest first.
var levels = [][]string{{"or"}, {"and"}, {"==", "!=", "<", "<=", ">", ">="}, {"+", "-"}, {"*", "/", "%"}}
