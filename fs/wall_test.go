package fs

import (
	"testing"
	"time"
)

func TestTimesAreShownAsTheWallClockWasWhenTheyHappened(t *testing.T) {
	w := newWallClock()
	real := func() time.Time { return time.Unix(0, int64(w.now())) }
	about := func(what string, got, want time.Time) {
		t.Helper()
		if d := got.Sub(want); d < -time.Second || d > time.Second {
			t.Errorf("%s is shown as %v, want %v", what, got, want)
		}
	}
	first, shown := w.now(), real()
	// Somebody sets the clock an hour forward, and later back to before the start.
	w.set(real().Add(time.Hour), w.idle)
	second := w.now()
	w.set(real().Add(-time.Minute), w.idle)
	third := w.now()
	if second < first || third < second {
		t.Fatalf("the time of objects goes back: %d, %d, %d", first, second, third)
	}
	about("what was before", w.at(first), shown)
	about("what was after the first step", w.at(second), shown.Add(time.Hour))
	about("what was after the second", w.at(third), shown.Add(-time.Minute))
}

func TestTimePassesInASuspend(t *testing.T) {
	w := newWallClock()
	before := w.now()
	// The wall clock goes on in a suspend, CLOCK_MONOTONIC does not.
	if !w.set(time.Unix(0, int64(before)).Add(time.Hour), w.idle+time.Hour) {
		t.Error("a suspend is not noticed")
	}
	now := w.now()
	if passed := time.Duration(now - before); passed < time.Hour || passed > time.Hour+time.Minute {
		t.Errorf("%v passed in a suspend of an hour", passed)
	}
	if d := w.at(now).Sub(time.Unix(0, int64(now))); d < -time.Second || d > time.Second {
		t.Errorf("the wall clock is shown %v ahead after a suspend, want as it is", d)
	}
	if w.set(w.at(w.now()), w.idle+time.Hour) {
		t.Error("the suspend is noticed twice")
	}
}

func TestAClockThatIsSetAllTheTimeIsNotRememberedForEver(t *testing.T) {
	w := newWallClock()
	for i := range 3 * maxSteps {
		w.set(time.Unix(0, int64(w.now())).Add(time.Duration(i%2)*time.Hour), w.idle)
	}
	if len(w.steps) > maxSteps {
		t.Errorf("%d steps are remembered, want %d", len(w.steps), maxSteps)
	}
	w.at(0)
}
