package tests

import (
	"flag"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ipcfs/kernelsim/generate"
	"ipcfs/kernelsim/scenario"
)

var truths = flag.Int("truth", 12, "generated scenarios whose real runs are held against the simulation")

// What generated scenarios come to on a mount is among what the simulation allows.
func TestRealRunsOfGeneratedScenariosEndAsTheSimulationAllows(t *testing.T) {
	t.Parallel()
	m := mount(t)
	compare(t, generate.Options{Real: true}, func(_ *scenario.Scenario, source []byte, run int) scenario.Ending {
		o, _, _ := m.simulateOn(t, source, "--seed", strconv.Itoa(run), "--time", patience.String())
		return o.Ending
	})
	m.leavesNothing(t)
}

// So is what they come to with message queues of POSIX.
func TestNativeRunsOfGeneratedScenariosEndAsTheSimulationAllows(t *testing.T) {
	t.Parallel()
	compare(t, generate.Options{Kinds: []string{"mailbox"}, Real: true, Plain: true}, func(s *scenario.Scenario, source []byte, _ int) scenario.Ending {
		return runNative(t, mqueueName, s, source)
	})
}

// compare holds real runs against all endings that the simulation finds.
func compare(t *testing.T, o generate.Options, run func(s *scenario.Scenario, source []byte, run int) scenario.Ending) {
	t.Helper()
	const runs, states = 3, 10_000
	compared, small, seenOfSmall := 0, 0, 0
	for seed := range uint64(*truths) {
		source := generate.Scenario(seed, o)
		s, err := scenario.Parse("x", source)
		if err != nil {
			t.Fatal(err)
		}
		all, complete := s.Endings(states, true)
		if !complete || strings.Contains(all[0].Violated, "is refused to have") { // a real run does not begin
			continue
		}
		compared++
		allowed, seen := map[string]bool{}, map[string]bool{}
		for _, e := range all {
			allowed[e.String()] = true
		}
		for n := range runs {
			e := run(s, source, n).String()
			if seen[e] = true; !allowed[e] {
				t.Errorf("scenario %d, run %d:\n%s\nended with\n%s\nwhich is none of these %d:\n%s", seed, n, source, e, len(allowed),
					strings.Join(slices.Sorted(maps.Keys(allowed)), "\n"))
			}
		}
		if len(allowed) <= runs {
			small, seenOfSmall = small+len(allowed), seenOfSmall+len(seen)
		}
	}
	if compared*2 < *truths {
		t.Errorf("%d of %d scenarios were compared, want half", compared, *truths)
	}
	t.Logf("%d scenarios compared; of those with up to %d endings %d of %d were seen", compared, runs, seenOfSmall, small)
}
