package kernelsim

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"ipcfs/kernelsim/graph"
	"ipcfs/kernelsim/scenarios"
)

func graphOf(t *testing.T, source string, o SimulateOptions) *graph.Graph {
	t.Helper()
	g, err := Graph("x", []byte(source), o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// The graph is what the search goes through: as many states, and each of its ends.
func TestGraphHasEveryStateOfTheSearch(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"zero-buffer", "kept-wakeup", "unbounded-buffer", "ordered-philosophers", "urgent"} {
		source, _ := scenarios.Named(name)
		out := outcomeOf(t, string(source), SimulateOptions{Explore: true})
		g := graphOf(t, string(source), SimulateOptions{})
		if !out.Complete || g.Cut || len(g.States) != out.States {
			t.Errorf("%s: %d states in the graph, cut off: %t; %d in the search", name, len(g.States), g.Cut, out.States)
		}
		for _, e := range g.Steps {
			if g.States[e.To].Depth > g.States[e.From].Depth+1 {
				t.Errorf("%s: the step %+v leads more than a layer down", name, e)
			}
			if e.Path {
				t.Errorf("%s: %+v is pointed out, where nothing goes wrong", name, e)
			}
		}
	}
}

func TestGraphPointsOutTheRunIntoADeadlock(t *testing.T) {
	t.Parallel()
	source, _ := scenarios.Named("lost-wakeup")
	g := graphOf(t, string(source), SimulateOptions{})
	at, steps := 0, 0
	for moved := true; moved; {
		moved = false
		for _, e := range g.Steps {
			if e.Path && e.From == at {
				at, moved = e.To, true
				steps++
				break
			}
		}
		if !g.States[at].Path {
			t.Errorf("the run comes to state %d, which is not pointed out", at)
		}
	}
	if steps != 6 || g.States[at].End != "deadlock" {
		t.Errorf("after %d steps the run that is pointed out ends in %+v; want a deadlock after 6", steps, g.States[at])
	}
	drawing := string(g.SVG())
	if got := strings.Count(drawing, `class="box path"`); got != 7 || !strings.Contains(drawing, "a deadlock</text>") {
		t.Errorf("%d states are pointed out in the drawing; want 7", got)
	}
	// Another run is pointed out if it is asked for.
	replayed := graphOf(t, string(source), SimulateOptions{Replay: []int{1, 1}})
	if n := strings.Count(string(replayed.Dot()), "penwidth=3"); n != 5 {
		t.Errorf("%d states and steps of a run of 2 steps are pointed out; want 5", n)
	}
}

func TestGraphSaysThatItIsNotAll(t *testing.T) {
	t.Parallel()
	source, _ := scenarios.Named("lost-wakeup")
	g := graphOf(t, string(source), SimulateOptions{Replay: []int{0, 0, 0, 0, 0, 0}, States: 5})
	if !g.Cut || !strings.Contains(string(g.Dot()), "NOT ALL") || !strings.Contains(string(g.SVG()), "NOT ALL") {
		t.Errorf("a graph of %d states says nothing of the others", len(g.States))
	}
	if n := strings.Count(string(g.Dot()), "penwidth=3"); n != 13 {
		t.Errorf("%d states and steps of a run of 6 steps are pointed out; want 13", n)
	}
}

func TestGraphOfHostileTextIsWellFormed(t *testing.T) {
	t.Parallel()
	const evil = `\" ]; } </text><script>\\`
	source := "# " + evil + "\nmailbox a\nshared v = \"" + evil + "\"\nprocess p:\n  send a \"" + evil + "\\n\"\n  v = \"" + evil + "\"\n"
	g := graphOf(t, source, SimulateOptions{Replay: []int{0, 0}})
	if drawing := string(g.SVG()); strings.Contains(drawing, "<script") {
		t.Errorf("markup is let through:\n%s", drawing)
	} else {
		for d := xml.NewDecoder(strings.NewReader(drawing)); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v\n%s", err, drawing)
			}
		}
	}
	// Outside strings, only what the program writes is left.
	for line := range bytes.Lines(g.Dot()) {
		text := strings.NewReplacer(`\\`, "", `\"`, "").Replace(string(line))
		if strings.Count(text, `"`)%2 != 0 {
			t.Errorf("a string is not closed in %s", line)
		}
		for i, part := range strings.Split(text, `"`) {
			if i%2 == 0 && strings.ContainsAny(part, "<\\") {
				t.Errorf("%q stands outside strings in %s", part, line)
			}
		}
	}
}

func TestGraphOfAnotherSchedulesScenarioIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := Graph("x", []byte("process p:\n  yield\n"), SimulateOptions{Replay: []int{5}}); err == nil {
		t.Error("a graph with a choice that there is not")
	}
}
