package tests

import (
	"flag"
	"maps"
	"slices"
	"strings"
	"testing"

	"ipcfs/kernelsim"
	"ipcfs/kernelsim/explore"
	"ipcfs/kernelsim/generate"
	"ipcfs/kernelsim/scenario"
)

var truths = flag.Int("truth", 12, "generated scenarios whose real runs are held against the simulation")

// What generated scenarios come to on a mount is among what the simulation allows.
func TestRealRunsOfGeneratedScenariosEndAsTheSimulationAllows(t *testing.T) {
	t.Parallel()
	m := mount(t)
	compare(t, generate.Options{Real: true}, *truths, func(_ *scenario.Scenario, source []byte, schedule []int) scenario.Ending {
		arg := []string{"--time", patience.String()}
		if schedule != nil {
			arg = append(arg, "--replay", kernelsim.FormatSchedule(schedule))
		}
		o, _, _ := m.simulateOn(t, source, arg...)
		return o.Ending
	})
	m.leavesNothing(t)
}

// So is what they come to with the kernel's own mechanisms: message queues of POSIX, FIFOs and
// semaphores.
func TestNativeRunsOfGeneratedScenariosEndAsTheSimulationAllows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, mechanism string }{{"mailbox", mqueueName}, {"pipe", fifoName}, {"semaphore", sysvName}} {
		t.Run(c.mechanism, func(t *testing.T) {
			t.Parallel()
			compare(t, generate.Options{Kinds: []string{c.kind}, Real: true, Plain: true}, max(1, *truths/2), func(s *scenario.Scenario, source []byte, schedule []int) scenario.Ending {
				var turns []scenario.Turn
				if schedule != nil {
					var err error
					if turns, err = s.Turns(schedule); err != nil {
						t.Fatal(err)
					}
				}
				return runNative(t, c.mechanism, s, source, turns)
			})
		})
	}
}

const (
	// freeRuns are made of each scenario, in which nobody takes turns.
	freeRuns = 2

	// smallEndings is how many endings a scenario may have of which each is to be seen, and tries
	// how often it is tried: what no turns decide, such as when a dead process's files are closed,
	// may come out otherwise.
	smallEndings, tries = 10, 3

	// shareSeen is the share of those endings in per cent that must be seen, where there are
	// enough of them that one scenario does not decide it.
	shareSeen, manyEndings = 90, 300
)

// compare holds real runs against all endings that the simulation finds, and looks for each
// ending of a small scenario by having its processes take turns as a simulated run that leads
// there.
func compare(t *testing.T, o generate.Options, scenarios int, run func(s *scenario.Scenario, source []byte, schedule []int) scenario.Ending) {
	t.Helper()
	const states = 10_000
	compared, small, seenOfSmall := 0, 0, 0
	for seed := range uint64(scenarios) {
		source := generate.Scenario(seed, o)
		s, err := scenario.Parse("x", source)
		if err != nil {
			t.Fatal(err)
		}
		ways, complete := s.Ways(explore.Bounds{States: states}, true)
		if !complete || strings.Contains(ways[0].Ending.Violated, "is refused to have") { // a real run does not begin
			continue
		}
		compared++
		allowed, seen := map[string]bool{}, map[string]bool{}
		for _, w := range ways {
			allowed[w.Ending.String()] = true
		}
		look := func(schedule []int) {
			e := run(s, source, schedule).String()
			if seen[e] = true; !allowed[e] {
				t.Errorf("scenario %d, schedule %v:\n%s\nended with\n%s\nwhich is none of these %d:\n%s", seed, schedule, source, e, len(allowed),
					strings.Join(slices.Sorted(maps.Keys(allowed)), "\n"))
			}
		}
		for range freeRuns {
			look(nil)
		}
		if len(allowed) > smallEndings {
			continue
		}
		for _, w := range ways {
			for n := 0; n < tries && !seen[w.Ending.String()]; n++ {
				look(w.Schedule)
			}
			if !seen[w.Ending.String()] {
				t.Logf("scenario %d:\n%s\nnever ended with\n%s\nas after --replay %s", seed, source, w.Ending, kernelsim.FormatSchedule(w.Schedule))
			}
		}
		small += len(allowed)
		for e := range allowed {
			if seen[e] {
				seenOfSmall++
			}
		}
	}
	if compared*2 < scenarios {
		t.Errorf("%d of %d scenarios were compared, want half", compared, scenarios)
	}
	t.Logf("%d scenarios compared; of those with up to %d endings %d of %d were seen", compared, smallEndings, seenOfSmall, small)
	if small >= manyEndings && seenOfSmall*100 < small*shareSeen {
		t.Errorf("%d of %d endings were seen, want %d %%", seenOfSmall, small, shareSeen)
	}
}
