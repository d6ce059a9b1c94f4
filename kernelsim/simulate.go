package kernelsim

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

//go:embed scenarios/*.ipc
var shipped embed.FS

// A ShippedScenario is one that comes with the program.
type ShippedScenario struct {
	Name   string
	Title  string
	Source []byte
}

// Shipped lists the scenarios that come with the program, by name.
func Shipped() []ShippedScenario {
	entries, err := shipped.ReadDir("scenarios")
	if err != nil {
		panic(err)
	}
	var list []ShippedScenario
	for _, e := range entries {
		source, err := shipped.ReadFile("scenarios/" + e.Name())
		if err != nil {
			panic(err)
		}
		s := ShippedScenario{Name: strings.TrimSuffix(e.Name(), ".ipc"), Source: source}
		if parsed, err := Parse(e.Name(), source); err == nil {
			s.Title = parsed.Title
		}
		list = append(list, s)
	}
	return list
}

// ShippedNamed is the source of the shipped scenario of that name.
func ShippedNamed(name string) (source []byte, ok bool) {
	source, err := shipped.ReadFile("scenarios/" + strings.TrimSuffix(name, ".ipc") + ".ipc")
	return source, err == nil
}

// SimulateOptions say how Simulate runs a scenario. The zero value makes one run in which the processes take
// turns and time passes only when nobody can run.
type SimulateOptions struct {
	Seed    *uint64 // makes a random run
	Explore bool    // searches through all runs
	States  int     // bounds the search; 0: DefaultStates
	JSON    bool    // instead of text
	SVG     bool    // a drawing of the timeline alone
	Steps   int     // bounds a run; 0: DefaultSteps
}

// Defaults of SimulateOptions.
const (
	DefaultStates = 200_000
	DefaultSteps  = 1_000
)

// ErrFound is the cause of Simulate's error if the scenario did not do what it says
// is to be expected. The details have been written.
var ErrFound = errors.New("not what the scenario expects")

// Simulate reads the scenario in source and writes what happens in it to w. The
// error is of SyntaxErrors, of w, or wraps ErrFound.
func Simulate(w io.Writer, file string, source []byte, o SimulateOptions) error {
	s, err := Parse(file, source)
	if err != nil {
		return err
	}
	if o.States == 0 {
		o.States = DefaultStates
	}
	if o.Steps == 0 {
		o.Steps = DefaultSteps
	}
	if o.Explore {
		return s.explore(w, o)
	}
	return s.once(w, o)
}

// An Outcome is how a run of a scenario ended.
type Outcome struct {
	Result   string  `json:"result"` // done, deadlock, starvation, violation, unfinished
	Expected string  `json:"expected"`
	Detail   string  `json:"detail,omitempty"`
	Steps    int     `json:"steps"`
	States   int     `json:"states,omitempty"`
	Complete bool    `json:"complete,omitempty"`
	Seed     *uint64 `json:"seed,omitempty"`
	Schedule []int   `json:"schedule,omitempty"`
}

func (s *Scenario) once(w io.Writer, o SimulateOptions) error {
	k, line := &Kernel{}, &Timeline{}
	k.Watch = line.Add
	m := s.start(k, false)
	defer k.Shutdown()
	chooser := FIFO
	if o.Seed != nil {
		chooser, k.Asynchronous = Seeded(*o.Seed), true
	}
	out := Outcome{Result: "done", Expected: s.Expect, Seed: o.Seed}
	for k.steps < o.Steps {
		options := k.Options()
		if len(options) == 0 {
			break
		}
		i := 0
		if len(options) > 1 {
			i = chooser.Choose(len(options))
		}
		k.Take(options[i])
		line.After(k)
	}
	out.Steps = k.steps
	unfinished := len(k.Options()) > 0
	switch err := k.Violation(); {
	case err != nil:
		out.Result, out.Detail = "violation", violationText(err)
	case unfinished:
		out.Result, out.Detail = "unfinished", "the run goes on"
	case len(k.Stuck()) > 0:
		out.Result, out.Detail = "deadlock", describe(k.Stuck())
	default:
		if err := s.Finally(m); err != nil {
			out.Result, out.Detail = "violation", err.Error()
		}
	}
	return s.report(w, o, line, out)
}

func violationText(err error) string {
	var v *Violation
	if errors.As(err, &v) {
		err = v.Err
	}
	return err.Error()
}

func (s *Scenario) explore(w io.Writer, o SimulateOptions) error {
	x := s.search(o.States)
	out := Outcome{Result: "done", Expected: s.Expect, States: x.States, Steps: x.Depth, Complete: x.Complete}
	line := &Timeline{}
	if f := x.Finding; f != nil {
		out.Result, out.Detail = f.result(), violationText(f.Err)
		out.Schedule, out.Steps = f.Schedule, len(f.Schedule)
		k := &Kernel{Watch: line.Add, Asynchronous: true}
		s.start(k, false)
		for _, i := range f.Schedule {
			k.Take(k.relevant()[i])
			line.After(k)
		}
		k.Shutdown()
	}
	return s.report(w, o, line, out)
}

// search explores the scenario.
func (s *Scenario) search(states int) Exploration {
	var m *machine
	setup := func(k *Kernel) {
		k.Asynchronous = true
		m = s.start(k, false)
	}
	goals := Goals{Deadlock: true, Starvation: true, End: func(*Kernel) error { return s.Finally(m) }}
	return Explore(setup, goals, Bounds{States: states})
}

func (f *Finding) result() string {
	switch {
	case f.Deadlock:
		return "deadlock"
	case f.Starved != 0:
		return "starvation"
	}
	return "violation"
}

func (s *Scenario) report(w io.Writer, o SimulateOptions, line *Timeline, out Outcome) error {
	var err error
	if o.SVG {
		err = line.SVG(w, s.Title)
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
			_, err = fmt.Fprintln(w, s.summary(o, out))
		}
	}
	if err != nil {
		return err
	}
	return s.Judge(out, o.Explore)
}

// Judge returns an error that wraps ErrFound if out is not what the scenario expects.
// A single run need not find what an exploration finds.
func (s *Scenario) Judge(out Outcome, explored bool) error {
	switch out.Result {
	case "done":
		if s.Expect == "" || !explored {
			return nil
		}
	case "unfinished", s.Expect:
		return nil
	}
	want := s.Expect
	if want == "" {
		want = "nothing wrong"
	}
	return fmt.Errorf("%s: found %s; want %s: %w", s.File, out.Result, want, ErrFound)
}

func (s *Scenario) summary(o SimulateOptions, out Outcome) string {
	var b strings.Builder
	switch out.Result {
	case "done":
		if !o.Explore {
			b.WriteString("Done after " + plural(out.Steps, "step") + ".")
		} else {
			b.WriteString("No deadlock, no starvation, nothing violated.")
		}
	case "unfinished":
		fmt.Fprintf(&b, "Stopped after %s: %s.", plural(out.Steps, "step"), out.Detail)
	default:
		how := ""
		if o.Explore {
			how = " (no schedule is shorter)"
		}
		if out.Result == "starvation" {
			how = " (from here on, for ever)"
		}
		detail := out.Detail
		if out.Result == "deadlock" {
			detail = strings.TrimPrefix(detail, "deadlock: ")
		}
		detail = strings.TrimPrefix(detail, "starvation: ")
		fmt.Fprintf(&b, "%s after %s%s: %s.", strings.ToUpper(out.Result[:1])+out.Result[1:], plural(out.Steps, "step"), how, detail)
	}
	if o.Explore {
		if out.Complete {
			fmt.Fprintf(&b, "\nSearched everything: %d states, every schedule", out.States)
		} else if out.Result == "done" {
			fmt.Fprintf(&b, "\nSearched %d states, all schedules of up to about %d steps; there are more", out.States, out.Steps)
		} else {
			fmt.Fprintf(&b, "\nSearched %d states", out.States)
		}
		if f := s.faults; f != (Faults{}) {
			var faults []string
			if f.Kills > 0 {
				faults = append(faults, plural(f.Kills, "kill"))
			}
			if f.Signals > 0 {
				faults = append(faults, plural(f.Signals, "signal"))
			}
			b.WriteString(", with up to " + strings.Join(faults, " and ") + " at any point")
		}
		b.WriteByte('.')
	}
	if out.Seed != nil {
		fmt.Fprintf(&b, "\nSeed %d.", *out.Seed)
	}
	return b.String()
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
