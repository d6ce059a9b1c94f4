package kernelsim

import (
	"bytes"
	"encoding/json"
	"testing"

	"ipcfs/kernelsim/scenarios"
	"ipcfs/kernelsim/timeline"
)

func TestEachStepOfATimelineShowsEverythingOnce(t *testing.T) {
	for _, s := range scenarios.All() {
		for _, explore := range []bool{false, true} {
			var out bytes.Buffer
			// What the scenario finds is not what is looked at.
			_ = Simulate(&out, s.Name, s.Source, SimulateOptions{JSON: true, Explore: explore, States: 1000})
			last := 0
			for line := range bytes.Lines(out.Bytes()) {
				var row timeline.Row
				if err := json.Unmarshal(line, &row); err != nil {
					t.Fatalf("%s: %v in %s", s.Name, err, line)
				}
				if row.Step == 0 {
					continue // the outcome
				}
				if row.Step <= last {
					t.Errorf("%s: step %d follows step %d", s.Name, row.Step, last)
				}
				last = row.Step
				seen := make(map[string]bool)
				for _, p := range row.Processes {
					if seen["process "+p.Name] {
						t.Errorf("%s, step %d: process %s is shown twice", s.Name, row.Step, p.Name)
					}
					seen["process "+p.Name] = true
				}
				for _, o := range row.Objects {
					if seen["object "+o.Name] {
						t.Errorf("%s, step %d: object %s is shown twice", s.Name, row.Step, o.Name)
					}
					seen["object "+o.Name] = true
				}
			}
		}
	}
}
