package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ipcfs/kernelsim"
	"ipcfs/kernelsim/live"
	"ipcfs/kernelsim/page"
	"ipcfs/kernelsim/scenario"
	"ipcfs/kernelsim/timeline"
)

// simulatedProcess is the command by which this program starts itself as a process
// of a scenario.
const simulatedProcess = "simulated-process"

func simulatedProcessCommand() *cobra.Command {
	return &cobra.Command{
		Use:    simulatedProcess,
		Hidden: true,
		Args:   noArguments,
		Run: func(*cobra.Command, []string) {
			live.Process(map[string]live.Find{live.MountName: live.FindMount})
		},
	}
}

// simulateOn runs the scenario in text with real processes on the mount at dir.
func simulateOn(ctx context.Context, w io.Writer, dir, file string, text []byte, o live.Options, show kernelsim.SimulateOptions) (err error) {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := scenario.Parse(file, text)
	if err != nil {
		return err
	}
	if show.Replay != nil {
		if o.Turns, err = s.Turns(show.Replay); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o.Command = []string{self, simulatedProcess}
	place, err := live.NewMount(dir, s)
	if err != nil {
		return fmt.Errorf("simulate: %w", err)
	}
	result, err := live.Run(ctx, s, text, place, o)
	if err = errors.Join(err, place.Remove()); err != nil {
		return fmt.Errorf("simulate: %w", err)
	}
	if show.HTML != nil {
		r := page.Run{Title: s.Title, File: s.File, Result: result.Outcome.Result, Verdict: verdict(s, result)}
		if err := page.Write(show.HTML, page.Make(r, text, result.Timeline)); err != nil {
			return err
		}
	}
	if show.SVG {
		if err := result.Timeline.SVG(w, s.Title, verdict(s, result)); err != nil {
			return err
		}
	} else if show.JSON {
		if err := result.Timeline.JSON(w); err != nil {
			return err
		}
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(realOutcome{result.Outcome, result.Ending}); err != nil {
			return err
		}
	} else if err := printRun(w, s, result); err != nil {
		return err
	}
	return s.Judge(result.Outcome, false)
}

// A realOutcome is the last line of JSON of a run with real processes.
type realOutcome struct {
	scenario.Outcome
	Ending scenario.Ending `json:"ending"`
}

// Of a long run the first and the last rows are shown.
const firstRows, lastRows = 20, 40

func printRun(w io.Writer, s *scenario.Scenario, r *live.Result) error {
	if s.Title != "" {
		fmt.Fprintln(w, s.Title)
	}
	line := r.Timeline
	if left := len(line.Rows) - firstRows - lastRows; left > 0 {
		if err := (&timeline.Timeline{Rows: line.Rows[:firstRows]}).Text(w); err != nil {
			return err
		}
		fmt.Fprintf(w, "… %d more rows …\n", left)
		line = &timeline.Timeline{Rows: line.Rows[firstRows+left:]}
	}
	if err := line.Text(w); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, verdict(s, r))
	return err
}

// verdict says how a run with real processes has ended.
func verdict(s *scenario.Scenario, r *live.Result) string {
	var w strings.Builder
	took := r.Took.Round(time.Millisecond)
	switch out := r.Outcome; out.Result {
	case "done":
		fmt.Fprintf(&w, "Done: %d operations of %d processes in %v.", out.Steps, len(s.Instances()), took)
	case "unfinished":
		fmt.Fprintf(&w, "Stopped after %d operations and %v: the run goes on.", out.Steps, took)
	default:
		fmt.Fprintf(&w, "%s after %d operations and %v: %s.", strings.ToUpper(out.Result[:1])+out.Result[1:], out.Steps, took, out.Detail)
	}
	if n := s.CountAlways(scenario.ScopeMore); n > 0 {
		fmt.Fprintf(&w, "\nOf what is to hold always, %d could be judged at the end only.", n)
	}
	if facts := append(r.Ending.Variables, r.Ending.Objects...); len(facts) > 0 {
		fmt.Fprintf(&w, "\nAt the end: %s.", strings.Join(facts, ", "))
	}
	if seed := r.Outcome.Seed; seed != nil {
		fmt.Fprintf(&w, "\nSeed %d: the choices and faults; the rest is up to the machine.", *seed)
	}
	return w.String()
}
