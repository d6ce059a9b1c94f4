package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"ipcfs/objects"
)

// A SyntaxError is what is wrong with a scenario, and where. Line and Column count
// from 1, columns in characters.
type SyntaxError struct {
	File         string
	Line, Column int
	Text         string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Text)
}

// A parser reads a scenario line by line.
type parser struct {
	file       string
	lines      []string
	at         int // the current line
	indent     int
	tokens     []token
	next       int
	s          *Scenario
	process    *processDecl // or procedure
	procedures []string     // the names of all
	monitor    int          // that is being declared, from 1; 0: none is
	loops      int
	calls      []call // whose procedures may come later
	errs       []*SyntaxError
}

// Parse reads a scenario. The error lists every line that is wrong, as SyntaxErrors.
func Parse(file string, source []byte) (*Scenario, error) {
	p := &parser{file: file, s: &Scenario{File: file, arrays: map[string]int{}}}
	text := strings.ReplaceAll(string(source), "\r\n", "\n")
	if !utf8.ValidString(text) {
		return nil, &SyntaxError{file, 1, 1, "the file is not UTF-8"}
	}
	p.lines = strings.Split(text, "\n")
	p.declareNames()
	p.at = -1
	for p.advance() {
		p.line(p.topLevel)
	}
	p.checkCalls()
	if len(p.errs) == 0 && len(p.s.processes) == 0 {
		p.errs = append(p.errs, &SyntaxError{file, 1, 1, "a scenario needs a process"})
	}
	if len(p.errs) > 0 {
		return nil, p.mistakes()
	}
	for i := range p.s.processes {
		p.s.ends = append(p.s.ends, p.s.findEnds(i))
	}
	for i := range p.s.objects {
		p.s.alone = append(p.s.alone, p.s.isAlone(i))
	}
	for _, d := range slices.Concat(p.s.processes, p.s.procedures) {
		d.code = compile(d)
	}
	return p.s, nil
}

// mistakes are what is wrong, the first of each line.
func (p *parser) mistakes() error {
	slices.SortStableFunc(p.errs, func(a, b *SyntaxError) int { return cmp.Compare(a.Line, b.Line) })
	var all []error
	for i, e := range p.errs {
		if i == 0 || e.Line != p.errs[i-1].Line {
			all = append(all, e)
		}
	}
	return errors.Join(all...)
}

// A problem unwinds to the line it is in.
type problem struct{ err *SyntaxError }

func (p *parser) fail(column int, format string, args ...any) {
	panic(problem{&SyntaxError{p.file, p.at + 1, column, fmt.Sprintf(format, args...)}})
}

// line reads one line, and its block, by read. What is wrong with it is noted, and its
// block is left out then: its mistakes would be of the line's making.
func (p *parser) line(read func()) {
	at, indent := p.at, p.indent
	defer func() {
		if p.noted(recover()) && p.at == at {
			p.skip(indent)
		}
	}()
	read()
}

// noted notes the problem that e, a recovered panic, is, if it is one.
func (p *parser) noted(e any) bool {
	if e == nil {
		return false
	}
	found, ok := e.(problem)
	if !ok {
		panic(e)
	}
	p.errs = append(p.errs, found.err)
	return true
}

// skip passes over the lines that are indented by more than outer.
func (p *parser) skip(outer int) {
	for at := p.at; p.advance(); at = p.at {
		if orphan := p.indent == outer && p.peek().text == "else"; p.indent <= outer && !orphan {
			p.at = at
			return
		}
	}
}

// colon takes the colon before a block, which ends the line.
func (p *parser) colon() {
	t := p.peek()
	switch {
	case p.accept(":"):
		p.end()
	case t.kind == endOfLine: // the block is read as if it were there
		p.errs = append(p.errs, &SyntaxError{p.file, p.at + 1, t.column, "missing colon: expected one at the end of the line, before the block"})
	default:
		p.fail(t.column, "expected a colon at the end of the line, found %s", t)
	}
}

// declareNames finds the names of processes first: programs may mention processes
// that come later.
func (p *parser) declareNames() {
	for _, line := range p.lines {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if f[0] == "process" && strings.HasPrefix(line, "process") {
			p.s.names = append(p.s.names, strings.TrimSuffix(f[1], ":"))
		}
		if name, _, found := strings.Cut(f[1], "("); f[0] == "procedure" && (found || len(f) > 2 && f[2][0] == '(') {
			p.procedures = append(p.procedures, name)
		}
	}
}

func (p *parser) topLevel() {
	if len(p.tokens) == 0 {
		return // what is wrong with it is known
	}
	if p.indent > 0 {
		p.fail(p.tokens[0].column, "unexpected indentation")
	}
	t := p.name("a declaration")
	switch t.text {
	case "shared":
		p.sharedDecl()
	case "process":
		p.processDecl()
		return
	case "procedure":
		p.procedureDecl()
		return
	case "monitor":
		p.monitorDecl()
		return
	case "always", "finally", "eventually":
		a := assertion{line: p.at + 1, text: strings.TrimSpace(p.lines[p.at])}
		a.expr = p.expression()
		switch t.text {
		case "always":
			p.s.always = append(p.s.always, a)
		case "finally":
			p.s.finally = append(p.s.finally, a)
		default:
			if p.s.eventually = append(p.s.eventually, a); len(p.s.eventually) > maxEventually {
				p.fail(t.column, "there can be %d conditions that hold eventually", maxEventually)
			}
		}
	case "shows":
		counters := p.s.counters
		a := assertion{line: p.at + 1, text: strings.TrimSpace(p.lines[p.at])}
		a.expr = p.expression()
		p.s.shows, p.s.counters = append(p.s.shows, a), counters // it decides nothing that happens
	case "expect":
		w := p.name("deadlock, starvation, livelock or violation")
		if !slices.Contains([]string{"deadlock", "starvation", "livelock", "violation"}, w.text) {
			p.fail(w.column, "a scenario may expect deadlock, starvation, livelock or violation, not %s", w)
		}
		p.s.Expect = w.text
	case "faults":
		for p.peek().kind == word {
			n := p.take()
			p.expect("=")
			v := int(p.number("a number"))
			switch n.text {
			case "kills":
				p.s.faults.Kills = v
			case "signals":
				p.s.faults.Signals = v
			default:
				p.fail(n.column, "unknown fault %s: want kills or signals", n)
			}
		}
	default:
		p.objectDecl(t)
		return
	}
	p.end()
}

// sharedDecl reads variables that all share.
func (p *parser) sharedDecl() {
	for {
		n := p.fresh()
		names := p.named(n)
		p.expect("=")
		v := p.constant()
		for _, name := range names {
			p.s.shared = append(p.s.shared, sharedDecl{name, v, p.monitor})
		}
		if !p.accept(",") {
			return
		}
	}
}

// maxArray is how many there can be of an array or a process.
const maxArray = 100

// named reads how many there are of what is called t, if that is said, and returns their names.
func (p *parser) named(t token) []string {
	if !p.accept("*") {
		return []string{t.text}
	}
	n := p.number("how many of them")
	if n < 1 || n > maxArray {
		p.fail(p.tokens[p.next-1].column, "there can be 1 to %d of them", maxArray)
	}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s[%d]", t.text, i+1)
	}
	p.s.arrays[t.text] = int(n)
	return names
}

// which reads the index of what is called t, of which there are so many from 1 on; nil if it is
// no array.
func (p *parser) which(t token) (of int, index *expression) {
	of = p.s.arrays[t.text]
	if of == 0 {
		if n := p.peek(); n.kind == sign && n.text == "[" {
			p.fail(n.column, "there is one %s: expected no index", t)
		}
		return 0, nil
	}
	if n := p.peek(); !p.accept("[") {
		p.fail(n.column, "there are %d of %s: expected which, as in %s[1], found %s", of, t, t.text, n)
	}
	index = p.expression()
	p.expect("]")
	return of, index
}

func (p *parser) constant() Value {
	switch t := p.take(); {
	case t.kind == integer:
		return Value{N: t.number}
	case t.kind == quoted:
		return Value{Text: t.text, IsText: true}
	case t.kind == sign && t.text == "-":
		return Value{N: -p.number("a number")}
	default:
		p.fail(t.column, "expected a number or a text, found %s", t)
	}
	panic("unreachable")
}

// fresh takes a name that means nothing yet.
func (p *parser) fresh() token {
	t := p.name("a name")
	if p.s.arrays[t.text] > 0 || slices.Contains(p.procedures, t.text) || p.s.monitorNamed(t.text) >= 0 || p.s.condition(t.text) >= 0 || p.s.object(t.text) >= 0 || p.s.variable(t.text) >= 0 || slices.ContainsFunc(p.s.processes, func(d *processDecl) bool { return d.name == t.text }) {
		p.fail(t.column, "the name %s is taken", t)
	}
	return t
}

func kindNames() string {
	var names []string
	for _, k := range objects.Kinds() {
		names = append(names, k.Name)
	}
	return strings.Join(names, ", ")
}

func (p *parser) objectDecl(t token) {
	i := slices.IndexFunc(objects.Kinds(), func(k objects.Kind) bool { return k.Name == t.text })
	if i < 0 {
		p.fail(t.column, "unknown declaration %s: want process, procedure, monitor, shared, always, finally, eventually, shows, expect, faults or a kind of object (%s)", t, kindNames())
	}
	names := p.named(p.fresh())
	d := objectDecl{kind: objects.Kinds()[i]}
	probe := d.kind.New(objects.Unlimited)
	for p.peek().kind == word {
		column := p.peek().column
		if p.peek().text == "protocol" && slices.Contains(d.kind.Ops, objects.Hold) {
			d.inherits = p.protocol()
			continue
		}
		name, v := p.policy(d.kind)
		if _, errno := probe.SetPolicy(0, name, v); errno != 0 {
			p.fail(column, "%s cannot be %q", name, v)
		}
		d.policies = append(d.policies, name, v)
	}
	p.end()
	for _, d.name = range names {
		p.s.objects = append(p.s.objects, d)
	}
}

// policy reads NAME=VALUE. A value ends at a blank.
func (p *parser) policy(k objects.Kind) (name, v string) {
	n := p.name("a policy")
	if !k.HasPolicy(n.text) {
		p.fail(n.column, "a %s has no %s: its policies are %s", k.Name, n.text, strings.Join(k.PolicyNames(), ", "))
	}
	p.expect("=")
	t := p.peek()
	if t.kind == endOfLine {
		p.fail(t.column, "expected the value of %s", n.text)
	}
	defer func() {
		if n.text == "dead_letters" && v != "" {
			if i := p.s.object(v); i < 0 || p.s.objects[i].kind.Name != "mailbox" {
				p.fail(t.column, "unknown mailbox %q: declare it first", v)
			}
		}
	}()
	if t.kind == quoted {
		return n.text, p.take().text
	}
	runes := []rune(p.lines[p.at])[t.column-1:]
	end := slices.IndexFunc(runes, unicode.IsSpace)
	if end < 0 {
		end = len(runes)
	}
	for p.peek().kind != endOfLine && p.peek().column < t.column+end {
		p.next++
	}
	return n.text, string(runes[:end])
}

func (p *parser) processDecl() {
	d := &processDecl{name: p.fresh().text, count: 1, line: p.at + 1}
	p.s.processes = append(p.s.processes, d)
	if p.accept("*") {
		if d.count = int(p.number("how many of them")); d.count < 1 || d.count > maxArray {
			p.fail(p.tokens[p.next-1].column, "there can be 1 to %d of them", maxArray)
		}
	}
	for p.peek().kind == word {
		switch t := p.take(); t.text {
		case "daemon":
			d.daemon = true
		case "immune":
			d.immune = true
		case "priority":
			p.expect("=")
			d.priority = int(p.number("a priority, such as 10"))
			p.s.prioritized = cmp.Or(p.s.prioritized, p.at+1)
		case "uid":
			p.expect("=")
			d.uid = uint32(p.number("a user id"))
		default:
			p.fail(t.column, "unexpected %s: want daemon, immune, uid=N, priority=N or a colon", t)
		}
	}
	p.colon()
	p.process = d
	p.loops = 0
	d.local("errno")
	d.local("me")
	d.body = p.block(0)
	walkStatements(d.body, func(st *statement) {
		if st.verb == "open" && len(p.calls) == 0 && len(p.s.EndsOf(len(p.s.processes)-1, st.object)) == 0 {
			p.errs = append(p.errs, &SyntaxError{p.file, st.line, st.column, fmt.Sprintf("%s uses nothing of %s that could be open", d.name, p.s.objects[st.object].name)})
		}
	})
}

// indented reads the lines that are indented by more than outer, each by read.
func (p *parser) indented(outer int, read func()) {
	inner := 0
	for {
		at := p.at
		if !p.advance() || p.indent <= outer {
			p.at = at
			return
		}
		p.line(func() {
			if inner == 0 {
				inner = p.indent
			}
			if len(p.tokens) == 0 {
				return // what is wrong with it is known
			}
			if p.indent != inner {
				p.fail(p.tokens[0].column, "the indentation fits no line above")
			}
			read()
		})
	}
}

// block reads the statements that are indented by more than outer.
func (p *parser) block(outer int) []*statement {
	var body []*statement
	header := p.at
	p.indented(outer, func() { body = append(body, p.statement()) })
	if len(body) == 0 && len(p.errs) == 0 {
		at := p.at
		p.at = header
		defer func() { p.at = at }()
		p.fail(len([]rune(p.lines[header]))+1, "expected an indented block below this line")
	}
	return body
}
