package kernelsim

import (
	"flag"
	"fmt"
	"testing"

	"ipcfs/kernelsim/explore"
	"ipcfs/kernelsim/generate"
	"ipcfs/kernelsim/kernel"
	"ipcfs/kernelsim/scenario"
)

var generated = flag.Int("generated", 30/slow, "generated scenarios whose random runs are held against the search")

// A search that says "every schedule" has seen every state of every run, and every ending.
// A state that leaves out something that decides what can happen is merged with another,
// and runs are missing.
func TestEveryRandomRunIsAmongThoseSearched(t *testing.T) {
	t.Parallel()
	searched, failures := 0, 0
	for seed := range uint64(*generated) {
		text := generate.Scenario(seed, generate.Options{})
		complete, err := runsAreSearched(t, text, 20)
		if complete {
			searched++
		}
		if err != "" {
			t.Errorf("scenario %d: %s\n%s", seed, err, text)
			if failures++; failures == 3 {
				break
			}
		}
	}
	if searched*10 < *generated*8 {
		t.Errorf("%d of %d scenarios were searched whole; want 8 of 10", searched, *generated)
	}
}

// Each of these was once said to have nothing wrong, or had runs that no search had seen.
func TestSearchSeesWhatOnceWasMerged(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"the place in a kill of several": `
process w * 2 daemon:
  if me == 2:
    forever:
      yield
process k:
  kill w
  assert 1 == 2
`,
		"an open that is taken back": `
mailbox a receivers=single
process p daemon:
  try open a
  try receive a -> x
  try send a "p"
process q:
  try open a
  try send a "q"
  try receive a -> x
process k:
  kill p
`,
		"a kill of who has been woken": `
mailbox a
process p:
  receive a -> x
  print x
process q:
  send a "x"
  kill p
`,
		"killed or ended": `
shared n = 0
process p:
  yield
process q:
  kill p
`,
		"no kill and a last one": `
semaphore lock value=1
process p * 3:
  hold lock
  enter s
  leave s
  release lock
faults kills=1
`,
		"a text and a number": `
shared v = 0
process p:
  choose c in 0..1
  if c == 1:
    v = ""
  c = 0
  if v == "":
    assert 1 == 2
`,
	} {
		complete, missed := runsAreSearched(t, []byte(text), 200/slow)
		if !complete || missed != "" {
			t.Errorf("%s: searched whole: %t; %s", name, complete, missed)
		}
	}
}

// runsAreSearched makes random runs of the scenario in text, and says what of them a search
// has not seen.
func runsAreSearched(t *testing.T, text []byte, runs int) (complete bool, missed string) {
	t.Helper()
	s, err := scenario.Parse("x", text)
	if err != nil {
		t.Fatal(err)
	}
	const states, steps = 4_000, 200
	var m *scenario.Run
	setup := func(k *kernel.Kernel) {
		k.Asynchronous = true
		m = s.Start(k, true)
	}
	endings := map[string]bool{}
	ending := func(err error) string {
		if err == nil {
			err = s.Finally(m)
		}
		return m.Ending(err).String()
	}
	x := explore.Explore(setup, explore.Goals{Deadlock: true, Each: func(_ *kernel.Kernel, err error, _ func() []int) { endings[ending(err)] = true }}, explore.Bounds{States: states})
	if !x.Complete {
		return false, ""
	}
	for seed := range uint64(runs) {
		k := &kernel.Kernel{}
		setup(k)
		chooser := kernel.Seeded(seed)
		for k.Steps() < steps && missed == "" {
			options := k.Options()
			// Where a process is about to learn what has been decided, a search has it learn
			// that first.
			if !k.Learning() && !x.Met(k) {
				missed = fmt.Sprintf("the state after step %d", k.Steps())
			}
			if len(options) == 0 || options[0].Kind == kernel.Stop {
				err := k.Violation()
				if stuck := k.Stuck(); err == nil && len(stuck) > 0 {
					err = explore.ErrDeadlock
				}
				if e := ending(err); missed == "" && !endings[e] {
					missed = "the ending " + e
				}
			}
			if len(options) == 0 {
				break
			}
			i := 0
			if len(options) > 1 {
				i = chooser.Choose(len(options))
			}
			k.Take(options[i])
		}
		k.Shutdown()
		if missed != "" {
			trace := &kernel.Trace{}
			k := &kernel.Kernel{Watch: trace.Add}
			setup(k)
			k.Run(kernel.Seeded(seed), k.Steps()+steps)
			k.Shutdown()
			return true, "the search has not seen " + missed + " of run:\n" + trace.String()
		}
	}
	return true, ""
}
