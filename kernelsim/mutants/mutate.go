package mutants

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"hash/fnv"
	"iter"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Mutant is one deliberate bug.
type Mutant struct {
	Name string // function, node and change
	Text string // what is changed, in one line
	Pos  string // file and line, for who reads it
	Code uint64 // a hash of the function it is in
}

// A Bug is a mutant that somebody has thought of: With stands in the place of the statement or the
// condition Node.
type Bug struct {
	Node string // "Mailbox.admit: if 2", "Mailbox.Expire: statement 3"
	With string
}

// Variable is the environment variable that has the number of the mutant to be, -1 for none while
// every mutant that is come to is written to the file that Reached names.
const (
	Variable = "IPCFS_MUTANT"
	Reached  = "IPCFS_MUTANTS_REACHED"
)

// support is added to each package. Its names are nobody else's.
const support = `package %s

import (
	"cmp"
	"strconv"
	"syscall"
)

var (
	mutantNumber, mutantsReached = mutantChosen()
	mutantsSeen                  [%d]bool
)

func mutantChosen() (number, reached int) {
	value, _ := syscall.Getenv("` + Variable + `")
	number, err := strconv.Atoi(value)
	if err != nil {
		return -2, -1
	}
	if name, ok := syscall.Getenv("` + Reached + `"); ok && number == -1 {
		reached, err = syscall.Open(name, syscall.O_WRONLY|syscall.O_APPEND|syscall.O_CREAT|syscall.O_CLOEXEC, 0o600)
		if err != nil {
			panic(err)
		}
	}
	return number, reached
}

func mutant(i int) bool {
	if mutantNumber == -1 {
		mutantReached(i)
	}
	return i == mutantNumber
}

func mutantReached(i int) {
	if !mutantsSeen[i] {
		mutantsSeen[i] = true
		syscall.Write(mutantsReached, strconv.AppendInt([]byte{'\n'}, int64(i), 10))
	}
}

type mutantInteger interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr
}

func mutantMore[T mutantInteger](i int, x T) T {
	if mutant(i) {
		return x + 1
	}
	return x
}

func mutantZero[T any](i int, x T) T {
	if mutant(i) {
		var zero T
		return zero
	}
	return x
}

func mutantLess[T cmp.Ordered](i int, a, b T) bool {
	if mutant(i) {
		return a <= b
	}
	return a < b
}

func mutantLessOrEqual[T cmp.Ordered](i int, a, b T) bool {
	if mutant(i) {
		return a < b
	}
	return a <= b
}

func mutantGreater[T cmp.Ordered](i int, a, b T) bool { return !mutantLessOrEqual(i, a, b) }

func mutantGreaterOrEqual[T cmp.Ordered](i int, a, b T) bool { return !mutantLess(i, a, b) }

func mutantPlus[T mutantInteger](i int, a, b T) T {
	if mutant(i) {
		return a - b
	}
	return a + b
}

func mutantMinus[T mutantInteger](i int, a, b T) T {
	if mutant(i) {
		return a + b
	}
	return a - b
}

func mutantMin[T mutantInteger](i int, a T, more ...T) T {
	for _, b := range more {
		if (b < a) != mutant(i) {
			a = b
		}
	}
	return a
}

func mutantMax[T mutantInteger](i int, a T, more ...T) T {
	for _, b := range more {
		if (b > a) != mutant(i) {
			a = b
		}
	}
	return a
}
`

// Instrument returns the sources with all mutants in them, by path, with what they need besides.
// The number of a mutant is its place in the list. Those of bugs come first, in the order given.
func (s *Sources) Instrument(bugs []Bug) (mutants []Mutant, files map[string]string, err error) {
	all := &mutation{bugs: bugs, mutants: make([]Mutant, len(bugs))}
	named := s.functionNames()
	files = make(map[string]string)
	for _, p := range s.packages {
		all.ordinals = make(map[string]int)
		for _, f := range p.files {
			w := &walker{mutation: all, sources: s, p: p, f: f, named: named}
			w.file()
			files[f.path] = w.apply()
		}
	}
	for i, m := range all.mutants[:len(bugs)] {
		if m.Name == "" {
			return nil, nil, fmt.Errorf("there is no %q any more, but\n%s", bugs[i].Node, all.nodesBeside(bugs[i].Node))
		}
	}
	for _, p := range s.packages {
		files[filepath.Join(p.dir, "mutant.go")] = fmt.Sprintf(support, p.name, len(all.mutants))
	}
	return all.mutants, files, nil
}

// A mutation is what is made of all packages.
type mutation struct {
	mutants  []Mutant
	bugs     []Bug          // the first of the mutants
	ordinals map[string]int // of nodes, by function and sort
	nodes    []string       // that a bug can be put in the place of, with their text
}

// nodesBeside lists the nodes of the same function.
func (m *mutation) nodesBeside(node string) string {
	function, _, _ := strings.Cut(node, ": ")
	var l []string
	for _, n := range m.nodes {
		if strings.HasPrefix(n, function+": ") {
			l = append(l, n)
		}
	}
	return strings.Join(l, "\n")
}

// functionNames gives each declaration with code in it a name, which says the package only where
// several packages have such a one.
func (s *Sources) functionNames() map[ast.Node]string {
	names := make(map[ast.Node]string)
	packages := make(map[string][]*goPackage)
	for _, p := range s.packages {
		for _, f := range p.files {
			for _, d := range f.syntax.Decls {
				for node, name := range namesOf(d) {
					names[node] = name
					if !slices.Contains(packages[name], p) {
						packages[name] = append(packages[name], p)
					}
				}
			}
		}
	}
	for _, p := range s.packages {
		for _, f := range p.files {
			for _, d := range f.syntax.Decls {
				for node, name := range namesOf(d) {
					if len(packages[name]) > 1 {
						names[node] = p.name + "." + name
					}
				}
			}
		}
	}
	return names
}

// namesOf names a function by its receiver and name, and what is declared in a package by name.
func namesOf(d ast.Decl) map[ast.Node]string {
	names := make(map[ast.Node]string)
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil {
			t := d.Recv.List[0].Type
			if star, ok := t.(*ast.StarExpr); ok {
				t = star.X
			}
			switch x := t.(type) {
			case *ast.IndexExpr:
				t = x.X
			case *ast.IndexListExpr:
				t = x.X
			}
			name = t.(*ast.Ident).Name + "." + name
		}
		names[d] = name
	case *ast.GenDecl:
		if d.Tok == token.VAR {
			for _, spec := range d.Specs {
				names[spec] = spec.(*ast.ValueSpec).Names[0].Name
			}
		}
	}
	return names
}

// walker goes through one file and collects what is to be inserted.
type walker struct {
	*mutation
	sources  *Sources
	p        *goPackage
	f        *goFile
	named    map[ast.Node]string
	function string
	code     uint64 // its hash
	stack    []ast.Node
	edits    []edit
}

// An edit puts text in the place of what is from start to end. Edits at one place keep their order.
type edit struct {
	start, end int
	text       string
}

func (w *walker) offset(p token.Pos) int { return w.sources.fset.Position(p).Offset }

func (w *walker) insert(at token.Pos, text string) {
	w.edits = append(w.edits, edit{w.offset(at), w.offset(at), text})
}

func (w *walker) text(n ast.Node) string {
	return strings.Join(strings.Fields(string(w.f.text[w.offset(n.Pos()):w.offset(n.End())])), " ")
}

func (w *walker) apply() string {
	slices.SortStableFunc(w.edits, func(a, b edit) int {
		return cmp.Or(a.start-b.start, min(1, a.end-a.start)-min(1, b.end-b.start)) // an operator comes after what ends before it
	})
	var b strings.Builder
	at := 0
	for _, e := range w.edits {
		b.Write(w.f.text[at:e.start])
		b.WriteString(e.text)
		at = e.end
	}
	b.Write(w.f.text[at:])
	return b.String()
}

// node counts a node of that sort and returns its name.
func (w *walker) node(sort string) string {
	key := w.function + ": " + sort
	w.ordinals[key]++
	return fmt.Sprintf("%s %d", key, w.ordinals[key])
}

// add makes a mutant of node and returns its number.
func (w *walker) add(node, change string, n ast.Node) int {
	w.mutants = append(w.mutants, w.mutant(node+" "+change, n))
	return len(w.mutants) - 1
}

func (w *walker) mutant(name string, n ast.Node) Mutant {
	at := w.sources.fset.Position(n.Pos())
	return Mutant{name, w.text(n), fmt.Sprintf("%s/%s:%d", filepath.Base(w.p.dir), filepath.Base(at.Filename), at.Line), w.code}
}

func (w *walker) file() {
	for _, d := range w.f.syntax.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Body != nil && !skipped(d.Name.Name) {
				w.enter(d)
				w.walk(d.Body)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.VAR {
					w.enter(spec)
					for _, value := range v.Values {
						w.walk(value)
					}
				}
			}
		}
	}
}

// enter goes on with the function or variable that d declares.
func (w *walker) enter(d ast.Node) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(w.text(d)))
	w.function, w.code = w.named[d], h.Sum64()
}

// skipped are the functions without mutants: see the package comment.
func skipped(name string) bool {
	return name == "init" || strings.HasPrefix(name, "Check") || strings.HasPrefix(name, "check") || name == "declared"
}

// walk inserts the mutants of n and of all below it.
func (w *walker) walk(n ast.Node) {
	var after [][]func()
	ast.Inspect(n, func(n ast.Node) bool {
		if n == nil {
			last := len(after) - 1
			for _, f := range slices.Backward(after[last]) {
				f()
			}
			after = after[:last]
			w.stack = w.stack[:len(w.stack)-1]
			return true
		}
		var ends []func()
		deeper := w.visit(n, func(at token.Pos, text string) {
			ends = append(ends, func() { w.insert(at, text) })
		})
		if !deeper {
			for _, f := range slices.Backward(ends) {
				f()
			}
			return false
		}
		w.stack = append(w.stack, n)
		after = append(after, ends)
		return true
	})
}

func (w *walker) parent(i int) ast.Node {
	if len(w.stack) < i {
		return nil
	}
	return w.stack[len(w.stack)-i]
}

// visit inserts the mutants of n itself. What is to follow n it gives to end; the last comes
// first.
func (w *walker) visit(n ast.Node, end func(at token.Pos, text string)) (deeper bool) {
	if s, ok := n.(ast.Stmt); ok {
		w.statement(s, end)
		return true
	}
	if d, ok := n.(*ast.GenDecl); ok {
		return d.Tok == token.VAR
	}
	e, ok := n.(ast.Expr)
	if !ok {
		return true
	}
	switch x := e.(type) {
	case *ast.ArrayType, *ast.MapType, *ast.FuncType, *ast.StructType, *ast.InterfaceType:
		return false
	case *ast.CallExpr:
		if isName(x.Fun, "panic") {
			return false
		}
	}
	if p, ok := w.parent(1).(*ast.IfStmt); ok && p.Cond == e && panics(p.Body) {
		return false
	}
	w.condition(e, end)
	w.operand(e, end)
	if w.constant(e, end) {
		return false
	}
	w.result(e, end)
	w.operator(e, end)
	return true
}

func (w *walker) wrap(n ast.Node, before, behind string, end func(token.Pos, string)) {
	w.insert(n.Pos(), before)
	end(n.End(), behind)
}

// statement leaves s out.
func (w *walker) statement(s ast.Stmt, end func(token.Pos, string)) {
	var list bool
	switch w.parent(1).(type) {
	case *ast.BlockStmt, *ast.CaseClause:
		list = true
	}
	switch s.(type) {
	case *ast.BlockStmt, *ast.CaseClause, *ast.LabeledStmt, *ast.EmptyStmt:
		return
	}
	if !list {
		return
	}
	node := w.node("statement")
	for i, b := range w.bugged(node, s) {
		w.wrap(s, fmt.Sprintf("if mutant(%d) { %s } else { ", i, b.With), " }", end)
	}
	leaveOut := false
	switch s := s.(type) {
	case *ast.ExprStmt:
		call, ok := s.X.(*ast.CallExpr)
		leaveOut = !ok || !isName(call.Fun, "panic")
	case *ast.AssignStmt:
		leaveOut = s.Tok != token.DEFINE
	case *ast.IncDecStmt:
		leaveOut = true
	case *ast.BranchStmt:
		leaveOut = s.Tok != token.FALLTHROUGH
	}
	if leaveOut {
		w.wrap(s, fmt.Sprintf("if !mutant(%d) { ", w.add(node, "left out", s)), " }", end)
	}
}

func isName(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// bugged yields the numbers of the bugs at node, which is n.
func (w *walker) bugged(node string, n ast.Node) iter.Seq2[int, Bug] {
	w.nodes = append(w.nodes, node+"\t"+w.text(n))
	return func(yield func(int, Bug) bool) {
		for i, b := range w.bugs {
			if b.Node == node {
				w.mutants[i] = w.mutant(node+" → "+b.With, n)
				if !yield(i, b) {
					return
				}
			}
		}
	}
}

// condition has e always hold, or never, if it decides where to go on.
func (w *walker) condition(e ast.Expr, end func(token.Pos, string)) {
	sort, always := "", true
	switch p := w.parent(1).(type) {
	case *ast.IfStmt:
		if p.Cond != e {
			return
		}
		sort = "if"
	case *ast.ForStmt:
		if p.Cond != e {
			return
		}
		sort, always = "for", false
	case *ast.CaseClause:
		if s, ok := w.parent(3).(*ast.SwitchStmt); !ok || s.Tag != nil || !slices.Contains(p.List, e) {
			return
		}
		sort = "case"
	default:
		return
	}
	node := w.node(sort)
	for i, b := range w.bugged(node, e) {
		w.wrap(e, fmt.Sprintf("(mutant(%d) && (%s) || !mutant(%d) && (", i, b.With, i), "))", end)
	}
	if always {
		w.wrap(e, fmt.Sprintf("(mutant(%d) || (", w.add(node, "always", e)), "))", end)
	}
	w.wrap(e, fmt.Sprintf("(!mutant(%d) && (", w.add(node, "never", e)), "))", end)
}

// panics reports whether b does nothing but panic.
func panics(b *ast.BlockStmt) bool {
	if len(b.List) != 1 {
		return false
	}
	s, ok := b.List[0].(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := s.X.(*ast.CallExpr)
	return ok && isName(call.Fun, "panic")
}

// operand leaves e out of a conjunction or a disjunction, and turns a comparison in one round.
func (w *walker) operand(e ast.Expr, end func(token.Pos, string)) {
	p, ok := w.parent(1).(*ast.BinaryExpr)
	if !ok || p.Op != token.LAND && p.Op != token.LOR {
		return
	}
	x, compares := e.(*ast.BinaryExpr)
	if compares && x.Op == p.Op {
		return // its own operands are left out
	}
	node := w.node("operand")
	without := "(mutant(%d) || ("
	if p.Op == token.LOR {
		without = "(!mutant(%d) && ("
	}
	w.wrap(e, fmt.Sprintf(without, w.add(node, "left out", e)), "))", end)
	if compares && (x.Op == token.EQL || x.Op == token.NEQ) {
		w.wrap(e, fmt.Sprintf("(mutant(%d) != (", w.add(node, "turned round", e)), "))", end)
	}
}

// constant changes the value of e if it is a constant, and reports whether it is.
func (w *walker) constant(e ast.Expr, end func(token.Pos, string)) bool {
	tv, ok := w.p.info.Types[e]
	if !ok || tv.Value == nil {
		return false
	}
	switch p := w.parent(1).(type) {
	case *ast.CaseClause, *ast.ArrayType:
		return true
	case *ast.KeyValueExpr:
		if p.Key == e {
			return true
		}
	case *ast.CallExpr:
		if isName(p.Fun, "make") || formats(p) {
			return true
		}
	}
	t := tv.Type
	if b, ok := t.(*types.Basic); ok && b.Info()&types.IsUntyped != 0 {
		t = types.Default(t)
	}
	name := types.TypeString(t, types.RelativeTo(w.p.types))
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		name = name[i+1:]
	}
	if of, _, imported := strings.Cut(name, "."); imported && !w.imports(of) {
		return true // the file has no name for that type
	}
	switch basic, _ := t.Underlying().(*types.Basic); {
	case basic == nil:
	case basic.Info()&types.IsBoolean != 0:
		w.wrap(e, fmt.Sprintf("(mutant(%d) != ", w.add(w.node("constant"), "turned round", e)), ")", end)
	case basic.Info()&types.IsString != 0 && !w.inFunction(): // a table of words
	case basic.Info()&types.IsString != 0 && constant.StringVal(tv.Value) != "":
		w.wrap(e, fmt.Sprintf("mutantZero[%s](%d, ", name, w.add(w.node("constant"), "empty", e)), ")", end)
	case basic.Info()&types.IsInteger != 0 && (hasNumber(e) || name == "syscall.Errno"):
		w.wrap(e, fmt.Sprintf("mutantMore[%s](%d, ", name, w.add(w.node("constant"), "one more", e)), ")", end)
	}
	return true
}

// imports reports whether the file imports a package of that name.
func (w *walker) imports(name string) bool {
	return slices.ContainsFunc(w.f.syntax.Imports, func(s *ast.ImportSpec) bool {
		return path.Base(strings.Trim(s.Path.Value, `"`)) == name
	})
}

// inFunction reports whether what is visited is code, and not what a variable begins with.
func (w *walker) inFunction() bool {
	return slices.ContainsFunc(w.stack, func(n ast.Node) bool {
		_, block := n.(*ast.BlockStmt)
		return block
	})
}

// formats reports whether call makes text for a person to read.
func formats(call *ast.CallExpr) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	return ok && isName(s.X, "fmt")
}

// hasNumber reports whether e is written with a number, and not by name alone.
func hasNumber(e ast.Expr) (has bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		_, literal := n.(*ast.BasicLit)
		has = has || literal
		return true
	})
	return has
}

// result has a function return another value than e.
func (w *walker) result(e ast.Expr, end func(token.Pos, string)) {
	if _, ok := w.parent(1).(*ast.ReturnStmt); !ok || isName(e, "nil") {
		return
	}
	switch x := e.(type) {
	case *ast.FuncLit:
		return
	case *ast.CompositeLit:
		if len(x.Elts) == 0 {
			return
		}
	}
	t := w.p.info.Types[e].Type
	if _, several := t.(*types.Tuple); several {
		return
	}
	if b, ok := t.Underlying().(*types.Basic); ok && b.Info()&types.IsBoolean != 0 {
		w.wrap(e, fmt.Sprintf("(mutant(%d) != (", w.add(w.node("return"), "turned round", e)), "))", end)
		return
	}
	w.wrap(e, fmt.Sprintf("mutantZero(%d, ", w.add(w.node("return"), "zero", e)), ")", end)
}

// operators are those that can be others, with what stands for them.
var operators = map[token.Token]struct{ sort, function string }{
	token.LSS: {"less", "mutantLess"},
	token.LEQ: {"less", "mutantLessOrEqual"},
	token.GTR: {"less", "mutantGreater"},
	token.GEQ: {"less", "mutantGreaterOrEqual"},
	token.ADD: {"plus", "mutantPlus"},
	token.SUB: {"plus", "mutantMinus"},
}

// operator replaces the operator of e.
func (w *walker) operator(e ast.Expr, end func(token.Pos, string)) {
	switch x := e.(type) {
	case *ast.BinaryExpr:
		o, ok := operators[x.Op]
		if !ok {
			return
		}
		b, ok := w.p.info.Types[x.X].Type.Underlying().(*types.Basic)
		if !ok || b.Info()&types.IsInteger == 0 {
			return
		}
		w.wrap(e, fmt.Sprintf("%s(%d, ", o.function, w.add(w.node(o.sort), "other", e)), ")", end)
		w.edits = append(w.edits, edit{w.offset(x.OpPos), w.offset(x.OpPos) + len(x.Op.String()), ","})
	case *ast.CallExpr:
		id, ok := x.Fun.(*ast.Ident)
		if !ok || id.Name != "min" && id.Name != "max" {
			return
		}
		if _, builtin := w.p.info.Uses[id].(*types.Builtin); !builtin {
			return
		}
		if b, ok := w.p.info.Types[x].Type.Underlying().(*types.Basic); !ok || b.Info()&types.IsInteger == 0 {
			return
		}
		f := "mutantMin"
		if id.Name == "max" {
			f = "mutantMax"
		}
		w.edits = append(w.edits, edit{w.offset(id.Pos()), w.offset(x.Lparen) + 1, fmt.Sprintf("%s(%d, ", f, w.add(w.node("min"), "other", e))})
	}
}
