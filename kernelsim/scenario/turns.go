package scenario

import (
	"fmt"

	"ipcfs/kernelsim/kernel"
)

// A Turner is a System whose processes wait for their turn: Turn is called before each thing
// that the process asks of it, with their number so far and the line of the statement.
type Turner interface{ Turn(n, line int) }

// A Turn is what is to happen next in a run with real processes that goes as a simulated one
// did. Processes are known by their index in Instances.
type Turn struct {
	Kind    TurnKind
	Process int
	Asks    int // of Go: the process goes on until it has asked so often
	Choice  int // of Go: what its choice comes out as
}

// A TurnKind says what a Turn is.
type TurnKind uint8

const (
	Go        TurnKind = iota // the process goes on
	Kill                      // it is killed
	Interrupt                 // it catches a signal
)

// Turns are those of the run of a schedule. When the clock goes on, and dead letters, is up to
// the machine.
func (s *Scenario) Turns(schedule []int) (turns []Turn, err error) {
	k := &kernel.Kernel{Asynchronous: true}
	m := s.Start(k, false)
	defer k.Shutdown()
	gone := make([]int, len(m.processes))
	for n, choice := range schedule {
		options := k.Relevant()
		if choice < 0 || choice >= len(options) {
			return nil, fmt.Errorf("%s: the schedule is of another scenario: its choice %d is %d, of %d there are", s.File, n+1, choice, len(options))
		}
		o := options[choice]
		switch o.Kind {
		case kernel.Run:
			// What takes several steps, or ends in another than it began in, is one turn.
			i := o.Process.Index()
			if asked := m.processes[i].asked; asked > gone[i] {
				gone[i] = asked
				turns = append(turns, Turn{Kind: Go, Process: i, Asks: asked, Choice: o.Value})
			}
		case kernel.Kill:
			turns = append(turns, Turn{Kind: Kill, Process: o.Process.Index()})
		case kernel.Interrupt:
			turns = append(turns, Turn{Kind: Interrupt, Process: o.Process.Index()})
		}
		k.Take(o)
	}
	return turns, nil
}
