package kernelsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"ipcfs/kernelsim/scenario"
	"ipcfs/kernelsim/scenarios"
)

// Whatever ending a search lists, the schedule that it prints leads there.
func TestEveryOutcomeIsReplayed(t *testing.T) {
	t.Parallel()
	names := []string{"lost-update", "philosophers", "lost-wakeup"}
	if slow == 1 {
		names = append(names, "poison", "hold-mutex", "expiry")
	}
	for _, name := range names {
		source, ok := scenarios.Named(name)
		if !ok {
			t.Fatalf("no scenario %s", name)
		}
		var out bytes.Buffer
		if err := Simulate(&out, name, source, SimulateOptions{Outcomes: true, JSON: true}); err != nil {
			t.Fatal(err)
		}
		n := 0
		for dec := json.NewDecoder(&out); dec.More(); n++ {
			var way scenario.Way
			if err := dec.Decode(&way); err != nil {
				t.Fatal(err)
			}
			var run bytes.Buffer
			schedule, err := ParseSchedule(FormatSchedule(way.Schedule))
			if err != nil {
				t.Fatal(err)
			}
			_ = Simulate(&run, name, source, SimulateOptions{Replay: schedule, JSON: true})
			lines := strings.Split(strings.TrimSpace(run.String()), "\n")
			var outcome scenario.Outcome
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &outcome); err != nil {
				t.Fatal(err)
			}
			if outcome.Result != way.Ending.Result || way.Ending.Violated != "" && outcome.Detail != way.Ending.Violated || way.States < 1 {
				t.Errorf("%s: the replay of %v is %+v, want %s", name, schedule, outcome, way.Ending.Short())
			}
		}
		if n == 0 {
			t.Errorf("%s: no outcome", name)
		}
	}
}

func TestOutcomesAreListedWithTheirSchedules(t *testing.T) {
	source, _ := scenarios.Named("lost-update")
	var out bytes.Buffer
	if err := Simulate(&out, "lost-update", source, SimulateOptions{Outcomes: true}); err != nil {
		t.Fatal(err)
	}
	const want = `violation: line 7: violated: finally counter == 2
    in 1 state; soonest after 6 steps: --replay 0,0,0,0,0,0
done; counter = 2; p1 exited; p2 exited
    in 1 state; soonest after 6 steps: --replay 0,1,0,0,0,0
2 endings.
`
	if out.String() != want {
		t.Errorf("outcomes\n%s\nwant\n%s", &out, want)
	}
	out.Reset()
	if err := Simulate(&out, "lost-update", source, SimulateOptions{Outcomes: true, States: 3}); err != nil || !strings.Contains(out.String(), "there may be more") {
		t.Errorf("of 3 states: %v\n%s", err, &out)
	}
}

func TestScheduleOfAnotherScenarioIsRefused(t *testing.T) {
	for text, want := range map[string]string{"0,7": "its choice 2 is 7, of ", "-1": "its choice 1 is -1"} {
		schedule, err := ParseSchedule(text)
		if err != nil {
			t.Fatal(err)
		}
		source, _ := scenarios.Named("lost-update")
		if err := Simulate(&bytes.Buffer{}, "x", source, SimulateOptions{Replay: schedule}); err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("replay of %s: %v, want %q", text, err, want)
		}
	}
	if _, err := ParseSchedule("0,one"); err == nil {
		t.Error("a word is a choice")
	}
}

// What a process has done in one run is not written over by what it does in another.
func TestEndingsKeepTheirHistories(t *testing.T) {
	s, err := scenario.Parse("x", []byte("shared n = 0\nprocess p:\n  print 1\n  print 2\n  print n\n  choose c in 0..2\nprocess q:\n  n = 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	all, complete := s.Endings(DefaultStates, true)
	met := map[string]bool{}
	for _, e := range all {
		met[strings.Join(e.Processes[0].Did, ", ")] = true
	}
	for n := range 2 {
		for c := range 3 {
			if want := fmt.Sprintf("prints 1, prints 2, prints %d, chooses %d", n, c); !met[want] {
				t.Errorf("no ending after %s: there are %v", want, met)
			}
		}
	}
	if !complete || len(all) != 6 {
		t.Errorf("%d endings, searched whole: %t; want 6", len(all), complete)
	}
}
