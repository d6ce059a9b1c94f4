package kernelsim

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"ipcfs/kernelsim/scenario"
	"ipcfs/kernelsim/scenarios"
)

// outcomeOf is the last line of what Simulate prints as JSON.
func outcomeOf(t *testing.T, source string, o SimulateOptions) (out scenario.Outcome) {
	t.Helper()
	var text bytes.Buffer
	o.JSON = true
	_ = Simulate(&text, "x", []byte(source), o)
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &out); err != nil {
		t.Fatalf("%v in\n%s", err, &text)
	}
	return out
}

// A title promises something: a wait, a loss, an end. Whoever runs the scenario without a flag
// is to see it.
func TestEachShippedScenarioShowsWhatItsTitlePromises(t *testing.T) {
	t.Parallel()
	for _, shipped := range scenarios.All() {
		s, err := scenario.Parse(shipped.Name, shipped.Source)
		if err != nil {
			t.Fatal(err)
		}
		ends := s.Expect == "deadlock" || s.Expect == "violation"
		if !ends && len(s.Unshown()) == 0 {
			t.Errorf("%s does not say what a run is to show", shipped.Name)
		}
		out := outcomeOf(t, string(shipped.Source), SimulateOptions{})
		if len(out.Unshown) > 0 || ends && out.Result != s.Expect || !ends && out.Result != "done" && out.Result != "unfinished" {
			t.Errorf("%s: the run ends as %s, and does not show %q", shipped.Name, out.Result, out.Unshown)
		}
		if s.Expect == "starvation" && !strings.Contains(out.Detail, "waiting all the while") {
			t.Errorf("%s: nobody starves: %s", shipped.Name, out.Detail)
		}
		if out.Steps > 60 {
			t.Errorf("%s: the run takes %d steps, which nobody reads", shipped.Name, out.Steps)
		}
	}
}

func TestTheSeedOfARunThatShowsMakesIt(t *testing.T) {
	t.Parallel()
	source, _ := scenarios.Named("lost-token")
	found := outcomeOf(t, string(source), SimulateOptions{})
	if found.Seed == nil {
		t.Fatal("taking turns kills nobody, and there is a deadlock")
	}
	if again := outcomeOf(t, string(source), SimulateOptions{Seed: found.Seed}); again.Result != "deadlock" || again.Steps != found.Steps {
		t.Errorf("the run of seed %d is %+v, was %+v", *found.Seed, again, found)
	}
}

func TestWhatNoRunShowsIsSaid(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	const source = "shared n = 0\nprocess p:\n  n = 1\nshows n == 2\nshows n == 1\n"
	if err := Simulate(&out, "x", []byte(source), SimulateOptions{}); err != nil || !strings.Contains(out.String(), "\nNo run was found that shows: line 4: shows n == 2.\n") {
		t.Errorf("%v\n%s", err, &out)
	}
}

// What a run is to show is not what it must hold to: nothing is hidden for it.
func TestARunThatViolatesIsShownThoughAnotherWouldNot(t *testing.T) {
	t.Parallel()
	const source = "shared n = 0\nprocess p:\n  n = 1\n  assert n == 1\nprocess q:\n  n = 2\nshows n == 2\n"
	if out := outcomeOf(t, source, SimulateOptions{}); out.Result != "violation" {
		t.Errorf("the outcome is %+v; want the violation that taking turns comes to", out)
	}
}

func TestWhatIsToBeShownMakesNoMoreStates(t *testing.T) {
	t.Parallel()
	const source = "mailbox a\nprocess p:\n  forever:\n    send a 1\n    receive a -> x\n    x = 0\n"
	without := outcomeOf(t, source, SimulateOptions{Explore: true})
	with := outcomeOf(t, source+"shows sent(a) == 5\n", SimulateOptions{Explore: true})
	if !with.Complete || with.States != without.States {
		t.Errorf("%d states with a clause of what is to be shown, %d without", with.States, without.States)
	}
}

func TestARunThatRepeatsItselfEndsThere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ source, want string }{
		{"process p:\n  forever:\n    yield\n", "everything is as it was at the start, and so it goes on for ever"},
		{"shared n = 0\nprocess p:\n  n = 1\n  forever:\n    yield\n", "everything is as it was after step 1, and so it goes on for ever"},
		{"semaphore s\nprocess p:\n  forever:\n    yield\nprocess q:\n  wait s\nprocess d daemon:\n  wait s\n",
			"everything is as it was after step 3, and so it goes on for ever; q waiting all the while"},
		{"shared n = 0\nprocess p:\n  forever:\n    n = n + 1\n", "the run goes on"},
	} {
		out := outcomeOf(t, c.source, SimulateOptions{Steps: 50})
		if out.Result != "unfinished" || out.Detail != c.want {
			t.Errorf("%s\nends as %s: %q; want %q", c.source, out.Result, out.Detail, c.want)
		}
	}
	seed := uint64(1)
	if out := outcomeOf(t, "process p:\n  forever:\n    yield\n", SimulateOptions{Seed: &seed, Steps: 50}); out.Steps != 50 {
		t.Errorf("a random run was ended after %d steps, though another may come", out.Steps)
	}
}

func TestSharedVariablesHaveAColumnAndValuesAreQuoted(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	const source = "mailbox a\nshared n = 0, word = \"\"\nprocess p:\n  send a \"two words\"\n  word = \"x y\"\n  n = 7\n"
	if err := Simulate(&out, "x", []byte(source), SimulateOptions{}); err != nil {
		t.Fatal(err)
	}
	const want = `step  time  p                   n  word   a
1     0     send a "two words"  0  ""     ["two words"]
2     0     word = x y          0  "x y"  ["two words"]
3     0     n = 7               7  "x y"  ["two words"]
4     0     exits               7  "x y"  ["two words"]
Done after 4 steps.
`
	if out.String() != want {
		t.Errorf("the timeline is\n%s\nwant\n%s", &out, want)
	}
}
