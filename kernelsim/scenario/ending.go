package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ipcfs/kernelsim/explore"
	"ipcfs/kernelsim/kernel"
)

// An Ending is how a run of a scenario ends.
type Ending struct {
	Result    string          `json:"result"`              // done, deadlock or violation
	Violated  string          `json:"violated,omitempty"`  // which assertion, and where
	Variables []string        `json:"variables,omitempty"` // name = value
	Objects   []string        `json:"objects,omitempty"`   // what each holds
	Processes []ProcessEnding `json:"processes,omitempty"`
}

// A ProcessEnding is what has become of a process.
type ProcessEnding struct {
	Name  string   `json:"name"`
	State string   `json:"state"`         // exited, killed, or the operation that waits
	Did   []string `json:"did,omitempty"` // its operations and how they ended
}

// Short is what can be told of an ending without the histories of its processes.
func (e Ending) Short() string {
	if e.Result == "violation" {
		return e.Result + ": " + e.Violated
	}
	parts := slices.Concat([]string{e.Result}, e.Variables, e.Objects)
	for _, p := range e.Processes {
		parts = append(parts, p.Name+" "+p.State)
	}
	return strings.Join(parts, "; ")
}

// String tells the histories too. That of a killed process is left out: what it has
// done last nobody knows.
func (e Ending) String() string {
	var b strings.Builder
	b.WriteString(e.Short())
	if e.Result == "violation" {
		return b.String()
	}
	for _, p := range e.Processes {
		if p.State != "killed" {
			fmt.Fprintf(&b, "\n    %s: %s", p.Name, strings.Join(p.Did, ", "))
		}
	}
	return b.String()
}

// A Way is how runs of a scenario can end: in how many different states, and by which
// choices soonest.
type Way struct {
	Ending   Ending `json:"ending"`
	States   int    `json:"states"`
	Schedule []int  `json:"schedule"`
}

// Ways lists all ways in which a run of s can end, those of the shortest schedules first;
// complete is false if there may be more than could be found within the bounds. With
// histories, endings differ also by what each process has done and received.
func (s *Scenario) Ways(bounds explore.Bounds, histories bool) (ways []Way, complete bool) {
	var m *Run
	setup := func(k *kernel.Kernel) {
		k.Asynchronous = true
		m = s.Start(k, histories)
	}
	met := map[string]int{}
	each := func(_ *kernel.Kernel, err error, schedule func() []int) {
		if err == nil {
			err = s.Finally(m)
		}
		e := m.Ending(err)
		text := e.String()
		i, known := met[text]
		if !known {
			i = len(ways)
			met[text] = i
			ways = append(ways, Way{Ending: e, Schedule: schedule()})
		}
		ways[i].States++
	}
	x := explore.Explore(setup, explore.Goals{Deadlock: true, Each: each}, bounds)
	return ways, x.Complete
}

// Endings lists the endings of Ways.
func (s *Scenario) Endings(states int, histories bool) (endings []Ending, complete bool) {
	ways, complete := s.Ways(explore.Bounds{States: states}, histories)
	for _, w := range ways {
		endings = append(endings, w.Ending)
	}
	return endings, complete
}

// Ending describes m at its end, with err wrong.
func (m *Run) Ending(err error) Ending {
	e := Ending{Result: "done"}
	switch {
	case errors.Is(err, explore.ErrDeadlock):
		e.Result = "deadlock"
	case err != nil:
		return Ending{Result: "violation", Violated: kernel.Cause(err).Error()}
	}
	e.Variables, e.Objects = m.s.Describe(m)
	for _, a := range m.processes {
		p := ProcessEnding{Name: a.p.Name, State: a.p.State().String(), Did: a.did}
		switch {
		case a.p.Killed():
			p.State = "killed"
		case a.p.State() == kernel.Blocked:
			p.State = Waits(a.task.op.String())
			if a.p.WaitsFor() == nil { // at a gate
				p.State = Waits(a.p.Pending())
			}
		}
		e.Processes = append(e.Processes, p)
	}
	return e
}

// Waits says that a process waits in an operation.
func Waits(operation string) string { return operation + " … waits" }

// Describe tells the values of the shared variables and what the objects hold.
func (s *Scenario) Describe(g View) (variables, holdings []string) {
	for i, d := range s.shared {
		v := g.Load(i)
		text := v.String()
		if v.IsText {
			text = brief([]byte(text))
		}
		variables = append(variables, d.name+" = "+text)
	}
	for i, d := range s.objects {
		switch d.kind.Name {
		case "semaphore":
			holdings = append(holdings, fmt.Sprintf("%s: %d", d.name, g.Query(Query{"value", i})))
		case "mailbox":
			holdings = append(holdings, fmt.Sprintf("%s: %s", d.name, kernel.Counted(int(g.Query(Query{"messages", i})), "message")))
		case "pipe":
			holdings = append(holdings, fmt.Sprintf("%s: %s", d.name, kernel.Counted(int(g.Query(Query{"bytes", i})), "byte")))
		}
	}
	return variables, holdings
}
