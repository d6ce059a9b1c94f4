// Package graph draws the states that the runs of a scenario can come to, and the steps
// between them: as a drawing in layers, or for dot(1).
package graph

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"ipcfs/kernelsim/kernel"
	"ipcfs/kernelsim/timeline"
)

// A Graph is of states, the start first, in the order in which a search breadth first meets
// them.
type Graph struct {
	Title   string
	Verdict string
	States  []State
	Steps   []Step
	Cut     bool // there are more states
}

// A State is one of a run.
type State struct {
	Depth int      // steps of a shortest run to it
	Lines []string // what is to be seen of it
	End   string   // "done", "deadlock", "violation" if nothing more happens; else empty
	Path  bool     // the run that is pointed out comes to it
}

// A Step leads from a state to another, or to the same.
type Step struct {
	From, To int
	Process  string // whose step it is, empty if it is nobody's
	Text     string
	Path     bool
}

// A Run is what Build makes runs of.
type Run struct {
	// Start makes processes and objects, the same each time, and who tells of them.
	Start func(k *kernel.Kernel) timeline.Program

	// End says how a run has ended that k is at the end of.
	End func(k *kernel.Kernel) string

	Source []string // its lines
}

// Build goes through the states of r up to so many. Those that schedule, the choices of one run,
// comes to are in the graph in any case, and are pointed out.
func Build(r Run, schedule []int, limit int) *Graph {
	b := builder{run: r, graph: &Graph{}, index: map[uint64]int{}}
	k, line := b.at(nil)
	b.enter(k, line, nil)
	k.Shutdown()
	for at := 0; at < len(b.graph.States); at++ {
		if len(b.graph.States) >= limit {
			b.graph.Cut = true
			break
		}
		k, line := b.at(b.ways[at])
		n := len(k.Relevant())
		for choice := range n {
			if choice > 0 {
				k, line = b.at(b.ways[at])
			}
			b.take(k, line, at, choice)
			k.Shutdown()
		}
		k.Shutdown()
	}
	b.follow(schedule)
	return b.graph
}

type builder struct {
	run   Run
	graph *Graph
	index map[uint64]int
	ways  [][]int // to each state
	steps map[[2]int]int
}

// at makes the run of a schedule.
func (b *builder) at(schedule []int) (*kernel.Kernel, *timeline.Timeline) {
	k, line := &kernel.Kernel{Asynchronous: true}, &timeline.Timeline{}
	k.Watch = line.Add
	line.Program = b.run.Start(k)
	line.Begin(k)
	for _, choice := range schedule {
		line.Take(k, k.Relevant()[choice])
	}
	return k, line
}

// enter finds the state of k, or makes it.
func (b *builder) enter(k *kernel.Kernel, line *timeline.Timeline, way []int) int {
	sum := k.State()
	if i, known := b.index[sum]; known && k.Violation() == nil {
		return i
	}
	i := len(b.graph.States)
	b.index[sum] = i
	s := State{Depth: len(way), Lines: b.describe(line.Rows[len(line.Rows)-1])}
	if options := k.Relevant(); len(options) == 0 || options[0].Kind == kernel.Stop {
		s.End = b.run.End(k)
	}
	b.graph.States = append(b.graph.States, s)
	b.ways = append(b.ways, way)
	return i
}

// step takes a choice in a state, and returns the state that it leads to, the same if the choice
// is that nothing happens.
func (b *builder) step(from, choice int) (to int) {
	if i, taken := b.steps[[2]int{from, choice}]; taken {
		return b.graph.Steps[i].To
	}
	k, line := b.at(b.ways[from])
	defer k.Shutdown()
	return b.take(k, line, from, choice)
}

// take is step in k, which is in the state from.
func (b *builder) take(k *kernel.Kernel, line *timeline.Timeline, from, choice int) (to int) {
	o := k.Relevant()[choice]
	if o.Kind == kernel.Stop {
		return from
	}
	line.Take(k, o)
	row := line.Rows[len(line.Rows)-1]
	to = b.enter(k, line, append(slices.Clone(b.ways[from]), choice))
	s := Step{From: from, To: to, Process: row.Process}
	var told []string
	for _, e := range row.Events {
		told = append(told, e.Process+": "+e.Text)
	}
	switch {
	case len(told) > 0:
		s.Text = strings.Join(told, "; ")
	case row.Process != "":
		s.Text = row.Process + " goes on"
	default:
		s.Text = "the clock goes on"
	}
	if b.steps == nil {
		b.steps = map[[2]int]int{}
	}
	b.steps[[2]int{from, choice}] = len(b.graph.Steps)
	b.graph.Steps = append(b.graph.Steps, s)
	return to
}

// follow points out the run of a schedule.
func (b *builder) follow(schedule []int) {
	if schedule == nil {
		return
	}
	at := 0
	b.graph.States[0].Path = true
	for _, choice := range schedule {
		to := b.step(at, choice)
		if i, taken := b.steps[[2]int{at, choice}]; taken {
			b.graph.Steps[i].Path = true
		}
		b.graph.States[to].Path = true
		at = to
	}
}

// maxLine is how many letters of a line are shown.
const maxLine = 32

// describe says what is to be seen of a state: where each process is, and what each variable
// and object holds.
func (b *builder) describe(row timeline.Row) (lines []string) {
	for _, p := range row.Processes {
		text := p.Name
		switch {
		case p.State == kernel.Exited.String():
			text += " has ended"
		case p.State == "killed":
			text += " was killed"
		case p.State == kernel.Blocked.String():
			text += " waits: " + b.statement(p.Line)
		case p.State == kernel.Ready.String() && p.Line == 0:
			text += ": at its end"
		case p.State == kernel.Ready.String():
			text += ": " + b.statement(p.Line)
		default:
			text += " " + p.State
		}
		lines = append(lines, short(text))
	}
	for _, v := range row.Variables {
		lines = append(lines, short(v.Name+" = "+v.Value))
	}
	for _, o := range row.Objects {
		o.Waiting = nil // the processes say it
		lines = append(lines, short(o.Name+": "+o.String()))
	}
	return lines
}

func (b *builder) statement(line int) string {
	if line < 1 || line > len(b.run.Source) {
		return "?"
	}
	return strings.TrimSpace(b.run.Source[line-1])
}

func short(text string) string {
	if utf8.RuneCountInString(text) <= maxLine {
		return text
	}
	return string([]rune(text)[:maxLine-1]) + "…"
}

// Dot writes g for dot(1).
func (g *Graph) Dot() []byte {
	var b strings.Builder
	quote := func(lines ...string) string {
		for i, text := range lines {
			// The language of dot has no escapes in strings but of the quote; a label has \n and \\.
			lines[i] = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ", "\x00", "").Replace(text)
		}
		return `"` + strings.Join(lines, `\n`) + `"`
	}
	fmt.Fprintf(&b, "digraph states {\n\tlabel=%s; labelloc=t;\n", quote(slices.Concat([]string{g.Title}, strings.Split(g.caption(), "\n"))...))
	b.WriteString("\tnode [shape=box, fontname=monospace, fontsize=10, style=\"rounded,filled\", fillcolor=white];\n\tedge [fontname=monospace, fontsize=9, color=gray40];\n")
	for i, s := range g.States {
		fmt.Fprintf(&b, "\ts%d [label=%s", i, quote(slices.Concat([]string{fmt.Sprint(i)}, s.Lines)...))
		if color := colors[s.End].fill; color != "" {
			fmt.Fprintf(&b, ", fillcolor=%q", color)
		}
		if s.Path {
			fmt.Fprintf(&b, ", color=%q, penwidth=3", pathColor)
		}
		b.WriteString("];\n")
	}
	for _, e := range g.Steps {
		fmt.Fprintf(&b, "\ts%d -> s%d [label=%s", e.From, e.To, quote(short(e.Text)))
		if e.Path {
			fmt.Fprintf(&b, ", color=%q, penwidth=3", pathColor)
		}
		b.WriteString("];\n")
	}
	b.WriteString("}\n")
	return []byte(b.String())
}

// caption says what is drawn, and loudly what is not.
func (g *Graph) caption() string {
	text := fmt.Sprintf("%s, %s. %s", kernel.Counted(len(g.States), "state"), kernel.Counted(len(g.Steps), "step"), g.Verdict)
	if g.Cut {
		text = "NOT ALL: there are more states than these. " + text
	}
	return strings.TrimSpace(text)
}

// colors are those of the ends.
var colors = map[string]struct{ fill, meaning string }{
	"done":      {"#d8f0dd", "an end"},
	"deadlock":  {"#f8d0cc", "a deadlock"},
	"violation": {"#f8d0cc", "a violation"},
}

const pathColor = "#d97a00"
