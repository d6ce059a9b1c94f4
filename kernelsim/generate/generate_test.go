package generate_test

import (
	"testing"

	"ipcfs/kernelsim/generate"
	"ipcfs/kernelsim/scenario"
)

func TestEveryScenarioParses(t *testing.T) {
	for seed := range uint64(3000) {
		for _, o := range []generate.Options{{}, {Real: true}, {Real: true, Plain: true}} {
			text := generate.Scenario(seed, o)
			if _, err := scenario.Parse("x", text); err != nil {
				t.Fatalf("seed %d, %+v: %v\n%s", seed, o, err, text)
			}
		}
	}
}
