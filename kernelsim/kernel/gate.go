package kernel

import "slices"

// A Gate is where processes wait that is no object: at the entry of a monitor, for a condition.
// It serves the first who came. Signals do not end such a wait (pthread_mutex_lock(3p),
// pthread_cond_wait(3p)).
type Gate struct {
	// Owner is whom those who wait here wait for; who owns what an Inherits gate leads to
	// runs with their priority.
	Owner    *Process
	Inherits bool

	waiting []*Process
}

// Wait blocks p at g, in the step of its call.
func (g *Gate) Wait(p *Process) {
	p.state, p.gate = Blocked, g
	g.waiting = append(g.waiting, p)
	p.kernel.event(Event{Process: p, Verb: p.Pending() + " … waits"})
}

// Waiting are those who wait at g, the first first.
func (g *Gate) Waiting() []*Process { return slices.Clone(g.waiting) }

// Move has the first who waits at g wait at another gate instead. It reports false if nobody
// does.
func (g *Gate) Move(to *Gate) bool {
	if len(g.waiting) == 0 {
		return false
	}
	p := g.waiting[0]
	g.remove(p)
	p.gate = to
	to.waiting = append(to.waiting, p)
	return true
}

// Open has the first who waits at g go on, and returns it; nil if nobody waits.
func (g *Gate) Open() *Process {
	if len(g.waiting) == 0 {
		return nil
	}
	p := g.waiting[0]
	g.remove(p)
	p.woken = true
	p.kernel.makeReady(p)
	p.kernel.event(Event{Process: p, Verb: "wakes: " + p.Pending()})
	return p
}

// remove takes p out of who waits.
func (g *Gate) remove(p *Process) {
	p.gate = nil
	g.waiting = slices.DeleteFunc(g.waiting, func(q *Process) bool { return q == p })
}

// Program is what p carries out, nil if its body is a coroutine.
func (p *Process) Program() Program { return p.program }
