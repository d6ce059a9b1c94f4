package scenario

import (
	"errors"
	"fmt"
)

// ErrFound is the cause of Simulate's error if the scenario did not do what it says
// is to be expected. The details have been written.
var ErrFound = errors.New("not what the scenario expects")

// ErrPartial is the cause of Simulate's error if a search was not whole and has found nothing.
var ErrPartial = errors.New("undecided, the search is not whole: give it more --states or --time")

// An Outcome is how a run of a scenario ended.
type Outcome struct {
	Result   string  `json:"result"` // done, deadlock, starvation, livelock, violation, unfinished
	Expected string  `json:"expected"`
	Detail   string  `json:"detail,omitempty"`
	Steps    int     `json:"steps"`
	States   int     `json:"states,omitempty"`
	Complete bool    `json:"complete,omitempty"`
	Seed     *uint64 `json:"seed,omitempty"`
	Schedule []int   `json:"schedule,omitempty"`

	// Repeats is the step after which the run was as it is at its end, of one that was ended
	// because it can go on like that for ever.
	Repeats *int `json:"repeats,omitempty"`

	// Unshown is what the scenario says a run is to show and this one does not.
	Unshown []string `json:"unshown,omitempty"`
}

// Partial is the error of a search that was not whole.
func (s *Scenario) Partial() error { return fmt.Errorf("%s: %w", s.File, ErrPartial) }

// Judge returns an error that wraps ErrFound if out is not what the scenario expects.
// A single run need not find what an exploration finds.
func (s *Scenario) Judge(out Outcome, explored bool) error {
	switch out.Result {
	case "done":
		if explored && !out.Complete {
			return s.Partial()
		}
		if s.Expect == "" || !explored {
			return nil
		}
	case "unfinished", s.Expect:
		return nil
	}
	want := s.Expect
	if want == "" {
		want = "nothing wrong"
	}
	return fmt.Errorf("%s: found %s; want %s: %w", s.File, out.Result, want, ErrFound)
}
