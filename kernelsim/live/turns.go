package live

import (
	"fmt"
	"io"
	"slices"
	"time"

	"ipcfs/kernelsim/scenario"
)

// Real processes go as a simulated run did: each waits for its turn before whatever it asks of
// the system, and the coordinator gives the turns. A turn is over when the process asks for its
// next one, waits in an object, or has ended.

// stall is how long nothing may come of a turn: what was simulated is not what happens here,
// and the processes are set free.
const stall = time.Second

// A steering is what is left of the turns of a run.
type steering struct {
	turns []scenario.Turn
	since time.Time // of the first
	given bool      // the first
}

// steer gives the turns that are due. quiet says that nothing was reported of late.
func (r *run) steer(quiet bool) error {
	s := &r.steering
	for len(s.turns) > 0 {
		t := s.turns[0]
		c := r.processes[t.Process]
		if !s.given {
			s.given, s.since = true, time.Now()
			switch t.Kind {
			case scenario.Go:
				c.granted, c.choice = t.Asks, t.Choice
			case scenario.Kill:
				r.kill(t.Process)
			case scenario.Interrupt:
				r.signal(t.Process)
			}
		}
		r.order()
		over := t.Kind != scenario.Go || c.over || c.wants > t.Asks || c.harm != nil
		if !over && quiet && c.waits != "" {
			parked, err := r.place.Parked(r.pids)
			if err != nil {
				return err
			}
			over = parked[r.pids[t.Process]]
		}
		if !over {
			if time.Since(s.since) < stall {
				return nil
			}
			s.turns = nil
			break
		}
		s.turns, s.given = s.turns[1:], false
	}
	r.order()
	return nil
}

// order tells processes to go on that may: those whose turn it is, those whose victims are
// dead, and all when there are no turns any more.
func (r *run) order() {
	free := len(r.steering.turns) == 0
	for i, c := range r.processes {
		if h := c.harm; h != nil {
			for j, victim := range r.processes {
				if free && victim.Process == h.Target && j != i {
					r.kill(j)
				}
			}
			if r.all(func(v *child) bool { return v.over || v.Process != h.Target || v == c }) {
				c.harm = nil
				_, _ = io.WriteString(c.orders, "done\n")
			}
		}
		switch {
		case c.wants == 0 || c.over:
		case free:
			c.wants = 0
			_, _ = io.WriteString(c.orders, "free\n")
		case c.wants <= c.granted:
			c.wants = 0
			_, _ = fmt.Fprintln(c.orders, c.choice)
		}
	}
}

// deferred reports whether what a process asks to be done to others is done when its turn
// comes. A signal that no turn brings found nobody who waited; it is sent at once.
func (r *run) deferred(request report) bool {
	if request.Kind == kills {
		if len(r.steering.turns) > 0 {
			r.processes[request.Process].harm = &request
		}
		return len(r.steering.turns) > 0
	}
	return slices.ContainsFunc(r.steering.turns, func(t scenario.Turn) bool {
		return t.Kind == scenario.Interrupt && r.processes[t.Process].Process == request.Target
	})
}
