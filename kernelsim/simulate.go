package kernelsim

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"ipcfs/kernelsim/explore"
	"ipcfs/kernelsim/kernel"
	"ipcfs/kernelsim/page"
	"ipcfs/kernelsim/scenario"
	"ipcfs/kernelsim/timeline"
)

// SimulateOptions say how Simulate runs a scenario. The zero value makes one run in which the processes take
// turns and time passes only when nobody can run.
type SimulateOptions struct {
	Seed    *uint64 // makes a random run
	Explore bool    // searches through all runs
	States  int     // bounds the search; 0: DefaultStates
	JSON    bool    // instead of text
	SVG     bool    // a drawing of the timeline alone

	// HTML, if set, also receives a page that plays the run.
	HTML io.Writer

	Steps int // bounds a run; 0: DefaultSteps

	// Goes, if set, is asked again and again whether a search, which has seen so many states and
	// is so many steps deep, is to go on.
	Goes func(states, depth int) bool

	Outcomes bool  // lists all endings
	Replay   []int // makes the run of these choices, which a search has printed
}

// Defaults of SimulateOptions.
const (
	DefaultStates = 200_000
	DefaultSteps  = 1_000
)

// Simulate reads the scenario in source and writes what happens in it to w. The
// error is of SyntaxErrors, of w, or wraps ErrFound.
func Simulate(w io.Writer, file string, source []byte, o SimulateOptions) error {
	s, err := scenario.Parse(file, source)
	if err != nil {
		return err
	}
	if o.States == 0 {
		o.States = DefaultStates
	}
	if o.Steps == 0 {
		o.Steps = DefaultSteps
	}
	switch {
	case o.Outcomes:
		return outcomes(s, w, o)
	case o.Replay != nil:
		return replay(s, w, source, o)
	case o.Explore:
		return searched(s, w, source, o)
	}
	return once(s, w, source, o)
}

// replay makes the run of o.Replay.
func replay(s *scenario.Scenario, w io.Writer, source []byte, o SimulateOptions) error {
	line := &timeline.Timeline{}
	k := &kernel.Kernel{Watch: line.Add, Asynchronous: true}
	m := s.Start(k, false)
	defer k.Shutdown()
	line.Program = m
	line.Begin(k)
	if err := follow(s, k, o.Replay, line.Take); err != nil {
		return err
	}
	out := scenario.Outcome{Expected: s.Expect, Schedule: o.Replay}
	judge(s, k, m, &out)
	return report(s, w, source, o, line, out)
}

// follow makes the choices of a schedule in k.
func follow(s *scenario.Scenario, k *kernel.Kernel, schedule []int, take func(*kernel.Kernel, kernel.Option)) error {
	for n, choice := range schedule {
		options := k.Relevant()
		if choice < 0 || choice >= len(options) {
			return fmt.Errorf("%s: the schedule is of another scenario: its choice %d is %d, of %d there are", s.File, n+1, choice, len(options))
		}
		take(k, options[choice])
	}
	return nil
}

// outcomes lists all endings of a scenario, with the schedule that leads to each soonest.
func outcomes(s *scenario.Scenario, w io.Writer, o SimulateOptions) error {
	bounds, late := o.bounds(), false
	bounds.Goes = func(states, depth int) bool {
		late = o.Goes != nil && !o.Goes(states, depth)
		return !late
	}
	ways, complete := s.Ways(bounds, false)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	var b strings.Builder
	for _, way := range ways {
		if o.JSON {
			if err := enc.Encode(way); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(&b, "%s\n    in %s; soonest after %s: --replay %s\n", way.Ending.Short(),
			kernel.Counted(way.States, "state"), kernel.Counted(len(way.Schedule), "step"), FormatSchedule(way.Schedule))
	}
	if !o.JSON {
		b.WriteString(kernel.Counted(len(ways), "ending"))
		if !complete {
			b.WriteString("; there may be more, not everything was searched")
		}
		b.WriteString(".\n")
	}
	if _, err := io.WriteString(w, b.String()); err != nil || !late {
		return err
	}
	return s.Partial()
}

// bounds are those of a search.
func (o SimulateOptions) bounds() explore.Bounds {
	return explore.Bounds{States: o.States, Goes: o.Goes}
}

// FormatSchedule writes a schedule as ParseSchedule reads it.
func FormatSchedule(choices []int) string {
	if len(choices) == 0 {
		return "none"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(choices), " ", ","), "[]")
}

// ParseSchedule reads the numbers of a schedule, between commas or as JSON has them.
func ParseSchedule(text string) ([]int, error) {
	choices := []int{}
	if text == "none" {
		return choices, nil
	}
	for _, f := range strings.Split(strings.Trim(text, "[]"), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil {
			return nil, fmt.Errorf("%q is no schedule: want numbers between commas, as --outcomes prints them", text)
		}
		choices = append(choices, n)
	}
	return choices, nil
}

func searched(s *scenario.Scenario, w io.Writer, source []byte, o SimulateOptions) error {
	x := search(s, o.bounds())
	out := scenario.Outcome{Result: "done", Expected: s.Expect, States: x.States, Steps: x.Depth, Complete: x.Complete}
	line := &timeline.Timeline{}
	if f := x.Finding; f != nil {
		out.Result, out.Detail = f.Result(), kernel.Cause(f.Err).Error()
		out.Schedule, out.Steps = f.Schedule, len(f.Schedule)
		k := &kernel.Kernel{Watch: line.Add, Asynchronous: true}
		line.Program = s.Start(k, false)
		line.Begin(k)
		for _, i := range f.Schedule {
			line.Take(k, k.Relevant()[i])
		}
		k.Shutdown()
	}
	return report(s, w, source, o, line, out)
}

// search explores a scenario.
func search(s *scenario.Scenario, bounds explore.Bounds) explore.Exploration {
	var m *scenario.Run
	setup := func(k *kernel.Kernel) {
		k.Asynchronous = true
		m = s.Start(k, false)
	}
	goals := explore.Goals{Deadlock: true, Starvation: true, Livelock: !s.Endless(), End: func(*kernel.Kernel) error { return s.Finally(m) }}
	if goals.Eventually = s.Eventually(); len(goals.Eventually) > 0 {
		goals.Met = func(*kernel.Kernel) uint64 { return s.Met(m) }
	}
	return explore.Explore(setup, goals, bounds)
}

func report(s *scenario.Scenario, w io.Writer, source []byte, o SimulateOptions, line *timeline.Timeline, out scenario.Outcome) error {
	var err error
	if o.HTML != nil {
		r := page.Run{Title: s.Title, File: s.File, Result: out.Result, Verdict: summary(s, o, out)}
		played := line
		if len(line.Rows) == 0 { // a search has found nothing
			played = telling(s, o).line
			r.Verdict += "\nOne run of them is played here."
		}
		if err := page.Write(o.HTML, page.Make(r, source, played)); err != nil {
			return err
		}
	}
	if o.SVG {
		err = line.SVG(w, s.Title, summary(s, o, out))
	} else if o.JSON {
		if err = line.JSON(w); err == nil {
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			err = enc.Encode(out)
		}
	} else {
		if s.Title != "" {
			fmt.Fprintln(w, s.Title)
		}
		if err = line.Text(w); err == nil {
			_, err = fmt.Fprintln(w, summary(s, o, out))
		}
	}
	if err != nil {
		return err
	}
	return s.Judge(out, o.Explore)
}

func summary(s *scenario.Scenario, o SimulateOptions, out scenario.Outcome) string {
	var b strings.Builder
	switch out.Result {
	case "done":
		if o.Explore && !out.Complete {
			b.WriteString("Undecided: nothing wrong was found, but the search is not whole.")
		} else if !o.Explore {
			b.WriteString("Done after " + kernel.Counted(out.Steps, "step") + ".")
		} else {
			b.WriteString("No deadlock, no starvation, no livelock, nothing violated.")
		}
	case "unfinished":
		fmt.Fprintf(&b, "Stopped after %s: %s.", kernel.Counted(out.Steps, "step"), out.Detail)
	default:
		how := ""
		if o.Explore {
			how = " (no schedule is shorter)"
		}
		if out.Result == "starvation" || out.Result == "livelock" {
			how = " (from here on, for ever)"
		}
		detail := out.Detail
		if out.Result == "deadlock" {
			detail = strings.TrimPrefix(detail, "deadlock: ")
		}
		detail = strings.TrimPrefix(strings.TrimPrefix(detail, "starvation: "), "livelock: ")
		fmt.Fprintf(&b, "%s after %s%s: %s.", strings.ToUpper(out.Result[:1])+out.Result[1:], kernel.Counted(out.Steps, "step"), how, detail)
	}
	if o.Explore {
		if out.Complete {
			fmt.Fprintf(&b, "\nSearched everything: %d states, every schedule", out.States)
		} else if out.Result == "done" {
			fmt.Fprintf(&b, "\nSearched %d states, all schedules of up to about %d steps; there are more", out.States, out.Steps)
		} else {
			fmt.Fprintf(&b, "\nSearched %d states", out.States)
		}
		if f := s.Faults(); f != (kernel.Faults{}) {
			var faults []string
			if f.Kills > 0 {
				faults = append(faults, kernel.Counted(f.Kills, "kill"))
			}
			if f.Signals > 0 {
				faults = append(faults, kernel.Counted(f.Signals, "signal"))
			}
			b.WriteString(", with up to " + strings.Join(faults, " and ") + " at any point")
		}
		b.WriteByte('.')
	}
	if out.Seed != nil {
		fmt.Fprintf(&b, "\nSeed %d", *out.Seed)
		if o.Seed == nil {
			b.WriteString(": where the processes take turns, this is not to be seen")
		}
		b.WriteByte('.')
	}
	if len(out.Unshown) > 0 && o.Seed == nil && o.Replay == nil {
		fmt.Fprintf(&b, "\nNo run was found that shows: %s.", strings.Join(out.Unshown, "; "))
	}
	return b.String()
}
