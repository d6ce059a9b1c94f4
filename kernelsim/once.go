package kernelsim

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"ipcfs/kernelsim/explore"
	"ipcfs/kernelsim/kernel"
	"ipcfs/kernelsim/scenario"
	"ipcfs/kernelsim/timeline"
)

// showings is how many random runs are made in search of one that shows what the scenario
// says it is to show, showingSteps bounds each, and of so many that do the shortest is shown.
// All scenarios that ship have one within.
const showings, showingSteps, showingsFound = 1024, 200, 16

// A single is one run of a scenario, taken down.
type single struct {
	line *timeline.Timeline
	out  scenario.Outcome

	waiting []string // who waits in each state of the round in which it would go on for ever
}

// once makes one run.
func once(s *scenario.Scenario, w io.Writer, source []byte, o SimulateOptions) error {
	run := telling(s, o)
	return report(s, w, source, o, run.line, run.out)
}

// telling is the run of o.Seed. Without one it is a run that shows what the scenario says is to
// be shown: that in which the processes take turns if it does, otherwise the shortest of some
// random ones.
func telling(s *scenario.Scenario, o SimulateOptions) single {
	run := simulate(s, o, o.Seed)
	if o.Seed != nil {
		return run
	}
	if !shows(s, run) {
		var found []single
		brief := o
		brief.Steps = min(o.Steps, showingSteps)
		for seed := uint64(0); seed < showings && len(found) < showingsFound; seed++ {
			if other := simulate(s, brief, &seed); shows(s, other) {
				found = append(found, other)
			}
		}
		if len(found) > 0 {
			run = slices.MinFunc(found, func(a, b single) int { return cmp.Compare(a.out.Steps, b.out.Steps) })
		}
	}
	return run
}

// shows reports whether a run shows what its scenario says, and what that expects as far as one
// run can: that somebody waits while what goes on for ever goes round once is starvation.
func shows(s *scenario.Scenario, run single) bool {
	switch s.Expect {
	case "deadlock", "violation":
		return len(run.out.Unshown) == 0 && run.out.Result == s.Expect
	case "starvation":
		return len(run.out.Unshown) == 0 && len(run.waiting) > 0
	}
	return len(run.out.Unshown) == 0
}

// simulate makes the random run of that seed, or the one in which the processes take turns.
func simulate(s *scenario.Scenario, o SimulateOptions, seed *uint64) single {
	k, line := &kernel.Kernel{}, &timeline.Timeline{}
	k.Watch = line.Add
	m := s.Start(k, false)
	defer k.Shutdown()
	line.Program = m
	line.Begin(k)
	chooser := kernel.FIFO
	if seed != nil {
		chooser, k.Asynchronous = kernel.Seeded(*seed), true
	}
	run := single{line: line, out: scenario.Outcome{Expected: s.Expect, Seed: seed, Unshown: s.Shown(s.Unshown(), m)}}
	been := map[string]int{}
	for k.Steps() < o.Steps {
		options := k.Options()
		if len(options) == 0 {
			break
		}
		if seed == nil || o.Seed == nil && s.Endless() {
			now := place(k, options)
			if before, again := been[now]; again && run.over(s, before, seed == nil) {
				run.out.Repeats = &before
				break
			}
			been[now] = k.Steps()
		}
		i := 0
		if len(options) > 1 {
			i = chooser.Choose(len(options))
		}
		line.Take(k, options[i])
		run.out.Unshown = s.Shown(run.out.Unshown, m)
	}
	judge(s, k, m, &run.out)
	if run.out.Repeats != nil && run.out.Result == "unfinished" {
		run.out.Detail = run.repeated(seed == nil)
	}
	return run
}

// over reports whether a run is to end because all is as it was after the step before. Where
// turns are taken, it goes on as it did. A random run need not: it ends if it has shown what it
// was made for, and if a fair scheduler could go on like that.
func (run *single) over(s *scenario.Scenario, before int, certain bool) bool {
	var round []timeline.Row
	moves := map[string]bool{}
	for _, r := range run.line.Rows {
		if r.Step >= before {
			round = append(round, r)
		}
		if r.Step > before {
			moves[r.Process] = true
		}
	}
	always := func(process int, state kernel.State) bool {
		return !slices.ContainsFunc(round, func(r timeline.Row) bool { return r.Processes[process].State != state.String() })
	}
	run.waiting = nil
	fair := true
	for i, p := range s.Instances() {
		if !p.Daemon && always(i, kernel.Blocked) {
			run.waiting = append(run.waiting, p.Name)
		}
		// Who is ready all the time may have no turn, where there are priorities.
		fair = fair && (moves[p.Name] || !always(i, kernel.Ready) || s.Prioritized())
	}
	return certain || fair && shows(s, *run)
}

// place sums up the state of k, and in which order the processes have their turns.
func place(k *kernel.Kernel, options []kernel.Option) string {
	var b strings.Builder
	fmt.Fprint(&b, k.State())
	for _, o := range options {
		fmt.Fprint(&b, " ", o.Kind)
		if o.Process != nil {
			fmt.Fprint(&b, " ", o.Process.Index(), " ", o.Value)
		}
	}
	return b.String()
}

// repeated says since when all is as it is, and who has waited since.
func (run *single) repeated(certain bool) string {
	text := "everything is as it was "
	if before := *run.out.Repeats; before == 0 {
		text += "at the start"
	} else {
		text += fmt.Sprintf("after step %d", before)
	}
	if certain {
		text += ", and so it goes on for ever"
	} else {
		text += ", and it can go on like that for ever"
	}
	if len(run.waiting) > 0 {
		text += "; " + strings.Join(run.waiting, ", ") + " waiting all the while"
	}
	return text
}

// judge enters into out how the run has ended, or that it has not.
func judge(s *scenario.Scenario, k *kernel.Kernel, m *scenario.Run, out *scenario.Outcome) {
	out.Result, out.Steps = "done", k.Steps()
	options := k.Options()
	unfinished := len(options) > 0 && options[0].Kind != kernel.Stop
	switch err := k.Violation(); {
	case err != nil:
		out.Result, out.Detail = "violation", kernel.Cause(err).Error()
	case unfinished:
		out.Result, out.Detail = "unfinished", "the run goes on"
	case len(k.Stuck()) > 0:
		out.Result, out.Detail = "deadlock", explore.Describe(k.Stuck())
	default:
		if err := s.Finally(m); err != nil {
			out.Result, out.Detail = "violation", err.Error()
		}
	}
}
