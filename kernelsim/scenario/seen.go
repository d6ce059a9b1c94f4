package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"syscall"

	"ipcfs/kernelsim/kernel"
	"ipcfs/kernelsim/timeline"
)

// A Run tells a timeline what the kernel does not know of it.
var _ timeline.Program = (*Run)(nil)

// Shared are the shared variables as they stand.
func (m *Run) Shared() (all []timeline.Variable) {
	for i, d := range m.s.shared {
		all = append(all, timeline.Variable{Name: d.name, Value: m.shared[i].Literal()})
	}
	return all
}

// Locals are the variables of a process. errno is among them while it says something.
func (m *Run) Locals(process int) (all []timeline.Variable) {
	a := m.processes[process]
	d := m.s.processes[a.self.Process]
	for slot, name := range d.locals {
		v := timeline.Variable{Name: name, Value: a.locals[slot].Literal()}
		switch {
		case slot == meSlot && d.count == 1, slot == errnoSlot && a.locals[slot].N == 0:
			continue
		case slot == errnoSlot:
			v.Value = kernel.ErrnoName(syscall.Errno(a.locals[slot].N))
		}
		all = append(all, v)
	}
	return all
}

// Literal is v as a scenario spells it.
func (v Value) Literal() string {
	if v.IsText {
		return strconv.Quote(v.Text)
	}
	return v.String()
}

// Unshown lists what the scenario says a run is to show, by line and text.
func (s *Scenario) Unshown() (all []string) {
	for _, as := range s.shows {
		all = append(all, as.String())
	}
	return all
}

// Shown is unshown without what can be seen of g now.
func (s *Scenario) Shown(unshown []string, g View) (left []string) {
	for _, as := range s.shows {
		if !slices.Contains(unshown, as.String()) {
			continue
		}
		if v, err := as.expr.compute(nil, g); err != nil || v.N == 0 {
			left = append(left, as.String())
		}
	}
	return left
}

func (as assertion) String() string { return fmt.Sprintf("line %d: %s", as.line, as.text) }
