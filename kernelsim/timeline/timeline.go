// Package timeline draws runs, simulated or real: a row for each step, with what happened,
// what each process does and what each object holds, as text, JSON or SVG.
package timeline

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// A Row is a step of a run with the state it leads to.
type Row struct {
	Step      int            `json:"step"`
	Time      objects.Time   `json:"time_ns"`
	Events    []RowEvent     `json:"events"`
	Process   string         `json:"process,omitempty"` // whose step it is, empty if it is nobody's
	Line      int            `json:"line,omitempty"`    // of the statement that it is a step of
	Processes []ProcessState `json:"processes"`
	Variables []Variable     `json:"variables,omitempty"`
	Objects   []ObjectState  `json:"objects"`
}

// A RowEvent is what a process did, or what happened to it.
type RowEvent struct {
	Process string `json:"process"` // the object, if it was none
	Text    string `json:"text"`
}

// A ProcessState is what a process is doing after a step.
type ProcessState struct {
	Name     string `json:"name"`
	Pid      uint32 `json:"pid"`
	State    string `json:"state"`
	WaitsFor string `json:"waits_for,omitempty"`

	Line   int        `json:"line,omitempty"`   // of the statement that it is at, 0 past the last
	Locals []Variable `json:"locals,omitempty"` // its own, if there is a program to tell them
}

// A Variable is one with its value as a scenario spells it.
type Variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A Program tells of the processes of a run, by index, what the kernel does not know.
type Program interface {
	Shared() []Variable
	Locals(process int) []Variable
}

// An ObjectState is what an object holds after a step, and who waits for it.
type ObjectState struct {
	Name     string   `json:"name"`
	Kind     string   `json:"kind"`
	Messages int64    `json:"messages"`
	Bytes    int64    `json:"bytes"`
	Leased   int64    `json:"leased,omitempty"`
	Capacity string   `json:"capacity,omitempty"`
	Value    *int64   `json:"value,omitempty"`
	Contents []string `json:"contents,omitempty"`
	Waiting  []string `json:"waiting,omitempty"`
}

// A Timeline collects a run row by row.
type Timeline struct {
	Rows    []Row
	Program Program // nil if nobody tells
}

// Add takes down an event; it goes into Kernel.Watch.
func (l *Timeline) Add(e kernel.Event) {
	if n := len(l.Rows); n == 0 || l.Rows[n-1].Step != e.Step {
		l.Rows = append(l.Rows, Row{Step: e.Step})
	}
	row := &l.Rows[len(l.Rows)-1]
	row.Time = e.Time
	text := describe(e)
	switch {
	case text == "":
	case e.Process != nil:
		row.Events = append(row.Events, RowEvent{e.Process.Name, text})
	case e.Node != nil:
		row.Events = append(row.Events, RowEvent{e.Node.Name, text})
	}
}

// describe says in short what happened; empty if another event says it.
func describe(e kernel.Event) string {
	r := e.Request
	arg := ""
	if r != nil && r.Units > 1 {
		arg = fmt.Sprintf(" %d", r.Units)
	}
	verb := ""
	if r != nil {
		verb = r.Op.String()
		if r.Op == objects.Settle {
			verb, arg = kernel.Settlement(r.Data)
		}
		arg += kernel.LabelOf(mailbox.Filter(r.Handle)).String()
	}
	object := ""
	if e.Node != nil {
		object = " " + e.Node.Name
	}
	got := ""
	switch {
	case r == nil || e.Start:
	case r.Errno != 0:
		got = " ✗ " + kernel.ErrnoName(r.Errno)
	case kernel.Gives(r.Op):
		got = fmt.Sprintf(" → %q", r.Data)
		if r.Op == objects.Receipt {
			got = fmt.Sprintf(" → %q", kernel.ReadReceipt(r.Data, e.Node.Kernel().NameOf))
		}
	}
	switch {
	case e.Start:
		return ""
	case e.Verb == "blocks":
		return verb + object + arg + " … waits"
	case e.Verb == "wakes":
		return "wakes: " + verb + object + arg + got
	case e.Verb == "set":
		return "set" + object + " " + e.Text
	case r != nil && r.Op == objects.Send, r != nil && r.Op == objects.Write:
		return verb + object + sent(e) + arg + got
	case r != nil:
		return verb + object + arg + got
	case e.Span != 0:
		return "sleeps " + kernel.FormatTime(e.Span)
	case e.Text != "":
		return e.Verb + object + " " + e.Text
	}
	return e.Verb + object
}

func sent(e kernel.Event) string {
	if len(e.Request.Data) == 0 {
		return ""
	}
	return fmt.Sprintf(" %q", e.Request.Data)
}

// Begin notes the state before the first step.
func (l *Timeline) Begin(k *kernel.Kernel) {
	l.Rows = []Row{{Step: k.Steps(), Time: k.Now()}}
	l.note(k)
}

// Take makes o happen in k and notes it. To stop is no step: what was noted of the last one
// is noted anew.
func (l *Timeline) Take(k *kernel.Kernel, o kernel.Option) {
	line, process := 0, ""
	if o.Kind == kernel.Run {
		process, line = o.Process.Name, o.Process.Line
	}
	k.Take(o)
	if n := len(l.Rows); n == 0 || l.Rows[n-1].Step != k.Steps() {
		l.Rows = append(l.Rows, Row{Step: k.Steps(), Time: k.Now()})
	}
	if o.Kind != kernel.Stop {
		row := &l.Rows[len(l.Rows)-1]
		row.Process, row.Line = process, line
	}
	l.note(k)
}

// note enters the state of k into the last row.
func (l *Timeline) note(k *kernel.Kernel) {
	row := &l.Rows[len(l.Rows)-1]
	row.Processes, row.Objects = nil, nil
	for i, p := range k.Processes() {
		s := ProcessState{Name: p.Name, Pid: p.Pid(), State: p.State().String(), Line: p.Line}
		if n := p.WaitsFor(); n != nil {
			s.WaitsFor = n.Name
		}
		if p.Killed() {
			s.State = "killed"
		}
		if l.Program != nil {
			s.Locals = l.Program.Locals(i)
		}
		row.Processes = append(row.Processes, s)
	}
	if l.Program != nil {
		row.Variables = l.Program.Shared()
	}
	for _, n := range k.Nodes() {
		held := n.Object.Held()
		s := ObjectState{Name: n.Name, Kind: n.Kind.Name, Messages: held.Messages, Bytes: held.Bytes}
		if n.Kind.HasPolicy("value") {
			v := n.Amount("value")
			s.Value = &v
		}
		if n.Kind.Name == "mailbox" {
			s.Capacity = strings.TrimSpace(n.Object.Policy("capacity"))
		}
		s.Contents = contents(n)
		s.Leased = n.Counter("leased")
		for r := range n.Object.Waiters() {
			if p, ok := r.Tag.(*kernel.Process); ok {
				s.Waiting = append(s.Waiting, p.Name)
			}
		}
		row.Objects = append(row.Objects, s)
	}
}

// contents shows what n holds, what comes next first, if that can be known.
func contents(n *kernel.Node) (all []string) {
	if b, ok := n.Object.(interface {
		Messages() iter.Seq[*mailbox.Message]
	}); ok {
		for m := range b.Messages() {
			all = append(all, string(m.Data))
		}
		return all
	}
	if m := n.Monitor(); m != nil {
		return slices.Clone(m.Contents())
	}
	return nil
}

// String shows an object in short.
func (o ObjectState) String() string {
	var b strings.Builder
	switch {
	case o.Value != nil:
		fmt.Fprintf(&b, "%d", *o.Value)
	case o.Kind == "segment":
		fmt.Fprintf(&b, "%d bytes", o.Bytes)
	default:
		b.WriteByte('[')
		for i, text := range o.Contents {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(strconv.Quote(text))
		}
		b.WriteByte(']')
	}
	if o.Leased > 0 {
		fmt.Fprintf(&b, " +%d leased", o.Leased)
	}
	if len(o.Waiting) > 0 {
		b.WriteString(" ⧖ " + strings.Join(o.Waiting, ", "))
	}
	return b.String()
}

// seen are the rows of the steps in which something happened that can be seen.
func (l *Timeline) seen() (rows []Row) {
	for _, r := range l.Rows {
		if len(r.Events) > 0 && r.Processes != nil {
			rows = append(rows, r)
		}
	}
	return rows
}

// maxCell is how wide a column may get, maxWidth how wide a table of columns may.
const maxCell, maxWidth = 34, 150

// Text writes the timeline for a terminal: a column for each process and each
// object, or a line for each step where that gets too wide.
func (l *Timeline) Text(w io.Writer) error {
	if len(l.Rows) == 0 {
		return nil
	}
	last := l.Rows[len(l.Rows)-1]
	header := l.header(last)
	table := [][]string{header}
	for _, r := range l.seen() {
		table = append(table, l.cells(r, last)...)
	}
	widths := make([]int, len(header))
	total := 0
	for c := range header {
		for _, row := range table {
			widths[c] = max(widths[c], utf8.RuneCountInString(row[c]))
		}
		widths[c] = min(widths[c], maxCell)
		total += widths[c] + 2
	}
	if total > maxWidth {
		return l.lines(w)
	}
	var b strings.Builder
	for _, row := range table {
		var line strings.Builder
		for c, text := range row {
			if n := utf8.RuneCountInString(text); n > widths[c] {
				text = string([]rune(text)[:widths[c]-1]) + "…"
			}
			fmt.Fprintf(&line, "%-*s  ", widths[c], text)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// header names the columns: step, time, processes, variables, objects.
func (l *Timeline) header(last Row) []string {
	names := []string{"step", "time"}
	for _, p := range last.Processes {
		names = append(names, p.Name)
	}
	for _, v := range last.Variables {
		names = append(names, v.Name)
	}
	for _, o := range last.Objects {
		names = append(names, o.Name)
	}
	return names
}

// cells are the lines of a table for r, more than one if a process did more than one
// thing.
func (l *Timeline) cells(r, last Row) (table [][]string) {
	const fixed = 2 // step and time
	columns := fixed + len(last.Processes) + len(last.Variables) + len(last.Objects)
	cell := func(line, column int, text string) {
		for line >= len(table) {
			table = append(table, make([]string, columns))
		}
		table[line][column] = text
	}
	cell(0, 0, strconv.Itoa(r.Step))
	cell(0, 1, kernel.FormatTime(r.Time))
	for i, p := range last.Processes {
		line := 0
		for _, e := range r.Events {
			if e.Process == p.Name {
				cell(line, fixed+i, e.Text)
				line++
			}
		}
		if line == 0 && i < len(r.Processes) {
			cell(0, fixed+i, stateSigns[r.Processes[i].State])
		}
	}
	for i, v := range r.Variables {
		cell(0, fixed+len(last.Processes)+i, v.Value)
	}
	for i, o := range r.Objects {
		cell(0, fixed+len(last.Processes)+len(last.Variables)+i, o.String())
	}
	return table
}

// stateSigns show what a process does that does nothing.
var stateSigns = map[string]string{kernel.Blocked.String(): "│", kernel.Sleeping.String(): "╎", kernel.Ready.String(): "·"}

// lines writes the timeline without columns.
func (l *Timeline) lines(w io.Writer) error {
	var b strings.Builder
	for _, r := range l.Rows {
		for i, e := range r.Events {
			fmt.Fprintf(&b, "%4d %7s  %-12s %s", r.Step, kernel.FormatTime(r.Time), e.Process, e.Text)
			if i == len(r.Events)-1 {
				b.WriteString("   ")
				for _, v := range r.Variables {
					b.WriteString("  " + v.Name + "=" + v.Value)
				}
				for _, o := range r.Objects {
					b.WriteString("  " + o.Name + "=" + o.String())
				}
			}
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// JSON writes the timeline as one object a row.
func (l *Timeline) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, r := range l.seen() {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}
