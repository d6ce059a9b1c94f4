package scenario

import (
	"fmt"
	"slices"

	"ipcfs/kernelsim/kernel"
)

// A monitorDecl is a monitor: one process at a time is in its procedures.
type monitorDecl struct {
	name     string
	line     int
	hoare    bool // a signal hands the monitor over, and its sender waits
	inherits bool
}

// A conditionDecl is what processes wait for in a monitor.
type conditionDecl struct {
	name    string
	monitor int // from 1
}

func (s *Scenario) monitorNamed(name string) int {
	return slices.IndexFunc(s.monitors, func(d monitorDecl) bool { return d.name == name })
}

func (s *Scenario) condition(name string) int {
	return slices.IndexFunc(s.conditions, func(d conditionDecl) bool { return d.name == name })
}

// protocol reads protocol=inherit.
func (p *parser) protocol() (inherits bool) {
	p.next++
	p.expect("=")
	if t := p.take(); t.text != "inherit" {
		p.fail(t.column, "protocol cannot be %s: expected inherit", t)
	}
	return true
}

// monitorDecl reads a monitor, with its variables, conditions and procedures.
func (p *parser) monitorDecl() {
	d := monitorDecl{name: p.fresh().text, line: p.at + 1}
	for p.peek().kind == word {
		switch t := p.peek(); t.text {
		case "hoare":
			p.next++
			d.hoare = true
		case "protocol":
			d.inherits = p.protocol()
		default:
			p.fail(t.column, "unexpected %s: want hoare, protocol=inherit or a colon", t)
		}
	}
	p.s.monitors = append(p.s.monitors, d)
	p.process, p.monitor = nil, len(p.s.monitors)
	defer func() { p.monitor = 0 }()
	p.colon()
	header, procedures := p.at, 0
	p.indented(0, func() {
		switch t := p.name("shared, condition or procedure"); t.text {
		case "shared":
			p.sharedDecl()
			p.end()
		case "condition":
			for {
				p.s.conditions = append(p.s.conditions, conditionDecl{p.fresh().text, p.monitor})
				if !p.accept(",") {
					break
				}
			}
			p.end()
		case "procedure":
			procedures++
			p.procedureDecl()
		default:
			p.fail(t.column, "a monitor has no %s: expected shared, condition or procedure", t)
		}
	})
	if procedures == 0 && len(p.errs) == 0 {
		p.at = header
		p.fail(len([]rune(p.lines[header]))+1, "a monitor needs a procedure: nobody could enter it")
	}
}

// reaches fails if the variable is of a monitor, and the statement is not.
func (p *parser) reaches(t token, variable int) {
	m := p.s.shared[variable].monitor
	if m == 0 || p.process == nil || p.indent == 0 || p.process.monitor == m {
		return
	}
	p.fail(t.column, "%s belongs to the monitor %s: only its procedures reach it", t, p.s.monitors[m-1].name)
}

// conditional reads wait, signal or broadcast of a condition; false if s is none of these.
func (p *parser) conditional(s *statement) bool {
	t := p.peek()
	i := p.s.condition(t.text)
	if i < 0 || t.kind != word || s.verb != "wait" && s.verb != "signal" && s.verb != "broadcast" {
		if s.verb == "broadcast" {
			p.fail(t.column, "expected a condition of a monitor, found %s", t)
		}
		return false
	}
	p.next++
	c := p.s.conditions[i]
	switch m := p.s.monitors[c.monitor-1]; {
	case s.try:
		p.fail(s.column, "%q of a condition cannot fail: there is nothing to try", s.verb)
	case p.process.monitor != c.monitor:
		p.fail(t.column, "%s belongs to the monitor %s: only its procedures can %s", t, m.name, s.verb)
	case m.hoare && s.verb == "broadcast":
		p.fail(s.column, "a monitor that is handed over by a signal has no broadcast: signal one after another")
	}
	s.verb, s.object = "condition "+s.verb, i
	p.end()
	return true
}

// Prioritized reports whether a process has a priority.
func (s *Scenario) Prioritized() bool { return s.prioritized > 0 }

// OnlySimulated is an error if s has what there is nothing of on a mount.
func (s *Scenario) OnlySimulated() error {
	refuse := func(line int, what string) error {
		return fmt.Errorf("%s:%d: there is no %s on a mount: it can be simulated only", s.File, line, what)
	}
	if len(s.monitors) > 0 {
		return refuse(s.monitors[0].line, "monitor")
	}
	if s.prioritized > 0 {
		return refuse(s.prioritized, "priority of processes")
	}
	for _, d := range s.objects {
		if d.inherits {
			return fmt.Errorf("%s: there is no protocol=inherit, as %s has, on a mount: it can be simulated only", s.File, d.name)
		}
	}
	return nil
}

// A monitor of a run. Whoever leaves hands it over to the first who waits: to those whose
// signal has handed it over, and then to those at the entry.
type monitor struct {
	owner         *simulated
	entry, urgent kernel.Gate
}

// give makes p the owner; nil if nobody is.
func (m *monitor) give(p *kernel.Process) {
	m.owner, m.entry.Owner, m.urgent.Owner = nil, p, p
	if p != nil {
		m.owner, _ = p.Program().(*simulated)
	}
}

// pass has the next one have the monitor.
func (m *monitor) pass() {
	p := m.urgent.Open()
	if p == nil {
		p = m.entry.Open()
	}
	m.give(p)
}

// monitorStep enters a monitor, by 1, or leaves it.
func (a *simulated) monitorStep(index int, by int64) {
	m := a.m.monitors[index]
	switch {
	case by < 0:
		a.p.Note(a.Name(), "")
		m.pass()
	case m.owner != nil:
		m.entry.Wait(a.p)
	default:
		a.p.Note(a.Name(), "")
		m.give(a.p)
	}
}

// conditionStep waits for a condition, or tells others that it holds. Those who are told go
// on when the monitor is theirs again, unless it is handed over: then at once.
func (a *simulated) conditionStep(verb string, condition int) {
	d := a.s.conditions[condition]
	m, gate := a.m.monitors[d.monitor-1], a.m.conditions[condition]
	if verb == "condition wait" {
		gate.Wait(a.p)
		m.pass()
		return
	}
	a.p.Note(a.Name(), "")
	switch {
	case verb == "condition broadcast":
		for gate.Move(&m.entry) {
		}
	case !a.s.monitors[d.monitor-1].hoare:
		gate.Move(&m.entry)
	default:
		if p := gate.Open(); p != nil {
			m.urgent.Wait(a.p)
			m.give(p)
		}
	}
}

// hash adds who has the monitors and who waits.
func (m *Run) hashMonitors(h *kernel.Hash) {
	queue := func(g *kernel.Gate) {
		all := g.Waiting()
		h.Uint(uint64(len(all)))
		for _, p := range all {
			h.Uint(uint64(p.Pid()))
		}
	}
	for _, mon := range m.monitors {
		owner := uint64(0)
		if mon.owner != nil {
			owner = uint64(mon.owner.p.Pid())
		}
		h.Uint(owner)
		queue(&mon.entry)
		queue(&mon.urgent)
	}
	for _, c := range m.conditions {
		queue(c)
	}
}
