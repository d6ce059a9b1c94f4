package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"ipcfs/kernelsim/kernel"
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

// An expression computes a value from variables and what can be seen of the run.
type expression struct {
	column      int
	op          string // a sign, or "int", "text", "local", "shared", "call"
	n           int64
	of          int // how many there are from n on, of an array: left says which
	text        string
	left, right *expression
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

// statements are the words that statements begin with besides those of operations.
var statements = []string{"release", "open", "close", "set", "destroy", "if", "while", "forever", "repeat", "break", "choose", "enter", "leave",
	"sleep", "yield", "kill", "signal", "print", "assert", "exit", "atomic", "try", "cas", "return", "broadcast"}

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

// levels are the binary operators by precedence, the loosest first.
var levels = [][]string{{"or"}, {"and"}, {"==", "!=", "<", "<=", ">", ">="}, {"+", "-"}, {"*", "/", "%"}}

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
