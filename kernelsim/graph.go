package kernelsim

import (
	"strings"

	"ipcfs/kernelsim/graph"
	"ipcfs/kernelsim/kernel"
	"ipcfs/kernelsim/scenario"
	"ipcfs/kernelsim/timeline"
)

// GraphStates is how many states a Graph has at most, unless SimulateOptions say otherwise.
const GraphStates = 2_000

// Graph makes the graph of the states of the scenario in source. It points out the run of
// o.Replay, otherwise one into what a search finds to be wrong.
func Graph(file string, source []byte, o SimulateOptions) (*graph.Graph, error) {
	s, err := scenario.Parse(file, source)
	if err != nil {
		return nil, err
	}
	limit := o.States
	if limit == 0 {
		o.States, limit = DefaultStates, GraphStates
	}
	var m *scenario.Run
	run := graph.Run{Source: strings.Split(string(source), "\n")}
	run.Start = func(k *kernel.Kernel) timeline.Program {
		m = s.Start(k, false)
		return m
	}
	run.End = func(k *kernel.Kernel) string {
		var out scenario.Outcome
		judge(s, k, m, &out)
		return out.Result
	}
	schedule, verdict := o.Replay, ""
	if schedule == nil {
		x := search(s, o.bounds())
		switch f := x.Finding; {
		case f != nil:
			schedule = f.Schedule
			verdict = "Pointed out: " + kernel.Cause(f.Err).Error() + "."
		case x.Complete:
			verdict = "No deadlock, no starvation, no livelock, nothing violated."
		}
	} else {
		k := &kernel.Kernel{Asynchronous: true}
		s.Start(k, false)
		defer k.Shutdown()
		if err := follow(s, k, schedule, (*kernel.Kernel).Take); err != nil {
			return nil, err
		}
	}
	g := graph.Build(run, schedule, limit)
	g.Title, g.Verdict = s.Title, verdict
	return g, nil
}
