package laws

import (
	"testing"

	"ipcfs/objects"
)

// TestWhatIsLoadedGoesOnAsWhatWasSaved makes random runs in which each object is saved after each
// call and goes on as what is loaded from that: all laws hold, and the same happens as in the run
// without.
func TestWhatIsLoadedGoesOnAsWhatWasSaved(t *testing.T) {
	for _, kind := range objects.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			failures := 0
			for seed := range uint64(*seeds) {
				w := newWorkload(kind, seed, 2+int(seed%4), 3+int(seed%11))
				plain, err := randomRun(w, nil, nil)
				if err != nil {
					continue // TestLawsHoldInRandomRuns tells
				}
				w.reloads = true
				trace, err := randomRun(w, nil, nil)
				switch {
				case err != nil:
					t.Errorf("seed %d, policies %q: %v\n%s", seed, w.policies, err, trace)
				case trace.String() != plain.String():
					t.Errorf("seed %d, policies %q: with what is loaded\n%s\nhappens, and without\n%s", seed, w.policies, trace, plain)
				default:
					continue
				}
				if failures++; failures == 2 {
					return
				}
			}
		})
	}
}
