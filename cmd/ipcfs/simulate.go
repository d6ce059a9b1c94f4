package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ipcfs/kernelsim"
	"ipcfs/kernelsim/cost"
	"ipcfs/kernelsim/live"
	"ipcfs/kernelsim/scenarios"
)

func simulateCommand() *cobra.Command {
	var o kernelsim.SimulateOptions
	var seed uint64
	var list, source, costs, calibrated bool
	var on, schedule string
	html, states := &drawing{flag: "html"}, &drawing{flag: "graph"}
	var time time.Duration
	cmd := &cobra.Command{
		Use:   "simulate [flags] SCENARIO",
		Short: "Show what can happen between processes, before running them",
		Long: `simulate runs a scenario in a simulated kernel with the very objects that the
mount serves, and draws who runs, who waits for what, and what is in each buffer.
SCENARIO is a file, "-" for standard input, or the name of a scenario that comes
with the program.

Without a flag the processes take turns; if that does not show what the scenario
says it shows or expects, a random run that does is drawn, with its seed. --seed
makes a random run, the same for the same seed. --explore goes through all runs
within its bounds, and prints the shortest one that leads to a deadlock, to
starvation, to a livelock or to an assertion that does not hold. --outcomes lists
every ending there is, and --replay makes the run that leads to one of them.
--html FILE writes a page that plays the run, --graph FILE draws the graph of all
states. --on DIR runs it with real processes on the ipcfs mounted at DIR, where
--seed makes random choices and lets the scenario's faults happen. The exit status
is 1 if the outcome is not what the scenario expects, and 3 if a search has found
nothing wrong and was not whole, because of --states or --time.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case list || costs || calibrated:
				return noArguments(cmd, args)
			case len(args) != 1:
				return usageError{cmd.CommandPath(), errors.New("simulate: which scenario? --list names those that come with the program")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			w := cmd.OutOrStdout()
			switch {
			case list:
				return listScenarios(w)
			case calibrated:
				return calibrate(w, on)
			case costs:
				return cost.WriteCosts(w)
			}
			file, text, err := readScenario(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			if source {
				_, err := w.Write(text)
				return err
			}
			if cmd.Flags().Changed("seed") {
				o.Seed = &seed
			}
			if cmd.Flags().Changed("replay") {
				if o.Replay, err = kernelsim.ParseSchedule(schedule); err != nil {
					return usageError{cmd.CommandPath(), fmt.Errorf("simulate: --replay: %w", err)}
				}
			}
			out := w
			if html.file != "" {
				o.HTML = html
			}
			if html.file == "-" || states.file == "-" {
				out = io.Discard
			}
			if o.Explore || o.Outcomes || states.file != "" {
				look := newLookout(cmd.ErrOrStderr())
				if cmd.Flags().Changed("time") {
					look.limit = time
				}
				debug.SetGCPercent(searchGC)
				o.Goes = look.goes
				defer look.end()
			}
			if states.file != "" {
				if err := drawGraph(cmd.ErrOrStderr(), states, file, text, o); err != nil {
					return err
				}
			}
			if on != "" {
				err = simulateOn(cmd.Context(), out, on, file, text, live.Options{Seed: o.Seed, Time: time, Operations: o.Steps}, o)
			} else {
				err = kernelsim.Simulate(out, file, text, o)
			}
			return errors.Join(writeDrawings(w, html, states), err)
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&seed, "seed", 0, "make the random run of that number")
	f.BoolVar(&o.Explore, "explore", false, "go through all runs")
	f.BoolVar(&o.Outcomes, "outcomes", false, "list every ending, with a shortest schedule that leads to it")
	f.StringVar(&schedule, "replay", "", "make the run of `SCHEDULE`, as --outcomes and --explore --json print it")
	f.IntVar(&o.States, "states", 0, fmt.Sprintf("bound --explore and --outcomes to so many states (default %d)", kernelsim.DefaultStates))
	f.IntVar(&o.Steps, "steps", 0, fmt.Sprintf("bound a run to so many steps (default %d)", kernelsim.DefaultSteps))
	f.BoolVar(&o.JSON, "json", false, "print JSON")
	f.BoolVar(&o.SVG, "svg", false, "print a drawing of the timeline")
	f.StringVar(&html.file, "html", "", "write a page into `FILE` that plays the run, step by step, forwards and back")
	f.StringVar(&states.file, "graph", "", "draw the graph of all states into `FILE`, and point out the run into what goes wrong: SVG if it is called .svg, otherwise for dot(1)")
	f.BoolVar(&list, "list", false, "list the scenarios that come with the program")
	f.BoolVar(&source, "source", false, "print the scenario instead of running it")
	f.BoolVar(&costs, "costs", false, "print what a message costs by each mechanism: crossings, copies, switches")
	f.BoolVar(&calibrated, "calibrate", false, "measure what they cost on this machine, beside what the counts predict; with --on also an ipcfs mailbox")
	f.StringVar(&on, "on", "", "run it with real processes on the ipcfs mounted at `DIR`")
	f.DurationVar(&time, "time", live.DefaultTime, "end a run with --on that goes on after `DURATION`; end a search that is not whole after it, if it is given")
	if err := cmd.RegisterFlagCompletionFunc("on", completeOnMounts); err != nil {
		panic(err) // the flag is defined above
	}
	cmd.ValidArgsFunction = completeScenarios
	cmd.MarkFlagsMutuallyExclusive("seed", "explore", "outcomes", "replay")
	cmd.MarkFlagsMutuallyExclusive("on", "explore", "outcomes")
	cmd.MarkFlagsMutuallyExclusive("outcomes", "svg")
	cmd.MarkFlagsMutuallyExclusive("outcomes", "html")
	cmd.MarkFlagsMutuallyExclusive("json", "svg")
	cmd.MarkFlagsMutuallyExclusive("seed", "graph")
	cmd.MarkFlagsMutuallyExclusive("on", "graph")
	return cmd
}

// readScenario returns the text of a scenario and what to call it in errors.
func readScenario(name string, stdin io.Reader) (file string, text []byte, err error) {
	if name == "-" {
		text, err = io.ReadAll(stdin)
		return "standard input", text, err
	}
	text, err = os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		if shipped, ok := scenarios.Named(name); ok {
			return name, shipped, nil
		}
		err = fmt.Errorf("simulate: %s: no such file, and no scenario of that name comes with the program: --list names them", name)
	}
	return name, text, err
}

// completeScenarios offers the scenarios that come with the program, beside files.
func completeScenarios(_ *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, s := range scenarios.All() {
		names = append(names, s.Name+"\t"+s.Title)
	}
	return names, cobra.ShellCompDirectiveDefault
}

func listScenarios(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range scenarios.All() {
		fmt.Fprintf(t, "%s\t%s\n", s.Name, s.Title)
	}
	return t.Flush()
}
