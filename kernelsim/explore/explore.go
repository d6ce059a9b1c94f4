// Package explore goes through all runs that the choices of a kernel allow, breadth first:
// what it finds, it finds by a shortest schedule. Runs that reach equal states are
// continued once. It knows no scenario and no law.
package explore

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ipcfs/kernelsim/kernel"
)

// A Setup makes the processes and objects of a run. It is called for every run
// anew and must do the same each time.
type Setup func(k *kernel.Kernel)

// Bounds end an exploration that would take too long. A bound of 0 is none.
type Bounds struct {
	States int // different states
	Depth  int // steps of a run
	Images int // of states that are kept to return to; 0: 65536

	// Goes, if set, is asked before each state whether the search is to go on.
	Goes func(states, depth int) bool
}

// A Finding is a run that went wrong.
type Finding struct {
	Err      error
	Schedule []int // the options taken, to be replayed by Replay
	Deadlock bool  // somebody waits for ever

	// Starved is the number from 1 of who waits for ever though others go on, 0 if nobody is; the run
	// leads to where that begins.
	Starved uint32

	Livelock bool // processes can go on for ever; the run leads to where that begins
}

// Result names what went wrong.
func (f *Finding) Result() string {
	switch {
	case f.Deadlock:
		return "deadlock"
	case f.Starved != 0:
		return "starvation"
	case f.Livelock:
		return "livelock"
	}
	return "violation"
}

// An Exploration says what a search through all runs has seen.
type Exploration struct {
	States   int // different states
	Steps    int // transitions between them
	Depth    int // the longest shortest run to a state
	Ends     int // states in which nothing more can happen
	Complete bool
	Finding  *Finding // the first by length, nil if nothing was found

	met map[uint64]int32
}

// Met reports whether the search has come to the state of k.
func (x Exploration) Met(k *kernel.Kernel) bool {
	_, met := x.met[k.State()]
	return met
}

// ErrDeadlock is what a run ends with that leaves processes waiting for ever.
var ErrDeadlock = errors.New("deadlock")

// ErrStarvation is what a process suffers that can wait for ever while the others
// go on, though the scheduler is fair.
var ErrStarvation = errors.New("starvation")

// ErrLivelock is what processes suffer that can go on for ever without coming to an end,
// though the scheduler is fair.
var ErrLivelock = errors.New("livelock")

// arrival says how a state was first reached, and where it leads.
type arrival struct {
	from   int32
	option int32
	depth  int32

	// For starvation and livelock. The last bit of ready is that of what is no process's step.
	blocked, ready uint64 // processes, one bit each
	edges          []edge

	met uint64 // what is to hold eventually and does here, one bit each
	end bool   // nothing more can happen
}

type edge struct {
	to    int32
	mover int8 // the process that took the step, nobody if it was none's
	fault bool

	option int16
}

// maxTracked is how many processes the search for starvation can tell apart.
const maxTracked = 63

// nobody stands for the clock, for signals on their way and for dead letters: what will
// happen as a ready process will run.
const nobody = maxTracked

// Goals are what an exploration looks for besides broken laws and invariants.
type Goals struct {
	Deadlock   bool
	Starvation bool
	Livelock   bool
	End        func(k *kernel.Kernel) error // must hold when a run has ended; of programs it only looks

	// Met, if set, tells what of that which is to hold eventually holds now, one bit for each of
	// Eventually.
	Met        func(k *kernel.Kernel) uint64
	Eventually []error // what is wrong if it does not

	// Each, if set, sees every end of a run, with what is wrong there and a shortest
	// schedule that leads to it; the search then goes on, whatever it is.
	Each func(k *kernel.Kernel, err error, schedule func() []int)
}

// Explore searches through all runs of setup, the short ones first. Runs that reach
// equal states are continued once.
func Explore(setup Setup, goals Goals, bounds Bounds) Exploration {
	x := explorer{setup: setup, goals: goals, bounds: bounds, index: map[uint64]int32{}}
	x.search()
	x.out.met = x.index
	if x.out.Finding == nil && goals.Met != nil {
		x.eventually()
	}
	if x.out.Finding == nil && goals.Starvation {
		x.starvation()
	}
	if x.out.Finding == nil && goals.Livelock {
		x.livelock()
	}
	return x.out
}

type explorer struct {
	setup  Setup
	goals  Goals
	bounds Bounds
	states []arrival
	index  map[uint64]int32
	ways   kernel.Ways
	out    Exploration

	// Of programs: the one run of the search, which returns to the states whose successors
	// are looked for. Nil if processes are coroutines.
	run    *kernel.Kernel
	camera *kernel.Camera
	images map[int32]kernel.Image // of states whose successors are not known
}

// start makes a kernel in state i.
func (x *explorer) start(i int32) *kernel.Kernel {
	k := &kernel.Kernel{}
	x.setup(k)
	for _, o := range x.schedule(i) {
		k.Retake(k.Relevant()[o])
	}
	return k
}

// schedule is the options that lead to state i.
func (x *explorer) schedule(i int32) (options []int) {
	for ; i > 0; i = x.states[i].from {
		options = append(options, int(x.states[i].option))
	}
	slices.Reverse(options)
	return options
}

// Replay makes the run of a finding's schedule.
func Replay(setup Setup, watch func(kernel.Event), schedule []int) *kernel.Kernel {
	k := &kernel.Kernel{Watch: watch}
	setup(k)
	for _, o := range schedule {
		k.Take(k.Relevant()[o])
	}
	return k
}

// add enters the state of k, reached from state from; it reports whether it is new.
func (x *explorer) add(k *kernel.Kernel, from, option int32) (int32, bool) {
	sum := k.StateBy(&x.ways)
	if i, known := x.index[sum]; known {
		return i, false
	}
	i := int32(len(x.states))
	x.index[sum] = i
	a := arrival{from: from, option: option}
	if i > 0 {
		a.depth = x.states[from].depth + 1
	}
	a.blocked, a.ready = k.Standing(maxTracked)
	if k.Pending() {
		a.ready |= 1 << nobody
	}
	if x.goals.Met != nil {
		a.met = x.goals.Met(k)
	}
	x.states = append(x.states, a)
	x.out.States = len(x.states)
	x.out.Depth = max(x.out.Depth, int(a.depth))
	return i, true
}

// judge looks at a state for the first time; done reports that nothing more can
// happen in it.
func (x *explorer) judge(k *kernel.Kernel, i int32) (options []kernel.Option) {
	err := k.Violation()
	options = k.Relevant()
	ended := err == nil && (len(options) == 0 || options[0].Kind == kernel.Stop)
	if ended {
		x.out.Ends++
		x.states[i].end = true
		if stuck := k.Stuck(); x.goals.Deadlock && len(stuck) > 0 {
			err = &deadlock{Describe(stuck)}
		} else if x.goals.End != nil {
			err = x.goals.End(k)
		}
	}
	if x.goals.Each != nil {
		if ended || err != nil {
			x.goals.Each(k, err, func() []int { return x.schedule(i) })
		}
		return options
	}
	if err != nil && x.out.Finding == nil {
		x.out.Finding = &Finding{Err: err, Schedule: x.schedule(i), Deadlock: errors.Is(err, ErrDeadlock)}
	}
	return options
}

type deadlock struct{ who string }

func (d *deadlock) Error() string { return "deadlock: " + d.who }
func (d *deadlock) Unwrap() error { return ErrDeadlock }

// Describe says who waits for what.
func Describe(stuck []*kernel.Process) string {
	var b []byte
	for i, p := range stuck {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, fmt.Sprintf("%s waits for ever in %s", p.Name, p.Pending())...)
	}
	return string(b)
}

// maxImages bounds the memory for images, to some hundreds of megabytes. A state that has none
// is reached by its schedule.
const maxImages = 1 << 16

// photograph keeps an image of a state that is new, to which from has led.
func (x *explorer) photograph(i, from int32) {
	if x.camera != nil && len(x.images) < cmp.Or(x.bounds.Images, maxImages) {
		x.images[i] = x.camera.Take(x.images[from])
	}
}

// at makes a kernel in state i.
func (x *explorer) at(i int32) *kernel.Kernel {
	if x.camera == nil {
		return x.start(i)
	}
	if image, ok := x.images[i]; ok {
		x.camera.Return(image)
		return x.run
	}
	x.camera.Return(x.images[0])
	x.camera.Stepped()
	for _, o := range x.schedule(i) {
		x.run.Retake(x.run.Relevant()[o])
	}
	return x.run
}

// leave is done with a kernel that at has made.
func (x *explorer) leave(k *kernel.Kernel) {
	if k != x.run {
		k.Shutdown()
	}
}

func (x *explorer) search() {
	k := x.start(0)
	if x.camera = kernel.NewCamera(k); x.camera != nil {
		x.run, x.images = k, map[int32]kernel.Image{}
	}
	x.add(k, 0, 0)
	x.photograph(0, 0)
	x.judge(k, 0)
	x.leave(k)
	var options []kernel.Option
	for at := int32(0); at < int32(len(x.states)); at++ {
		if x.out.Finding != nil {
			return
		}
		depth := int(x.states[at].depth)
		if x.bounds.Depth > 0 && depth >= x.bounds.Depth || x.bounds.States > 0 && len(x.states) >= x.bounds.States {
			return
		}
		if x.bounds.Goes != nil && !x.bounds.Goes(len(x.states), depth) {
			return
		}
		k := x.at(at)
		options = append(options[:0], k.Relevant()...)
		for i := range options {
			if i > 0 {
				k = x.at(at)
			}
			o := options[i]
			if k != x.run {
				o = k.Relevant()[i]
			}
			if o.Kind == kernel.Stop {
				x.leave(k)
				continue
			}
			e := edge{mover: nobody, fault: k.Faulty(o), option: int16(i)}
			if o.Kind == kernel.Run {
				e.mover = int8(min(o.Process.Index(), maxTracked))
			}
			k.Take(o)
			if x.camera != nil {
				x.camera.Stepped()
			}
			x.out.Steps++
			to, isNew := x.add(k, at, int32(i))
			if isNew || k.Violation() != nil {
				if !isNew {
					// Equal states differ in what the laws know of the past.
					x.states = append(x.states, arrival{from: at, option: int32(i), depth: x.states[at].depth + 1})
					to = int32(len(x.states)) - 1
				}
				x.photograph(to, at)
				x.judge(k, to)
			}
			x.leave(k)
			if x.goals.Starvation || x.goals.Livelock || x.goals.Met != nil {
				e.to = to
				x.states[at].edges = append(x.states[at].edges, e)
			}
			if x.out.Finding != nil {
				return
			}
		}
		if len(options) == 0 {
			x.leave(k)
		}
		if at > 0 {
			delete(x.images, at)
		}
	}
	x.out.Complete = true
}

// starvation looks for a circle of states in which one process stays blocked while
// every other either moves or cannot: a fair scheduler can go round for ever.
func (x *explorer) starvation() {
	var best *Finding
	for p := range maxTracked {
		bit := uint64(1) << p
		for _, circle := range x.circles(func(s *arrival) bool { return s.blocked&bit != 0 }) {
			first, moves, fair := x.round(circle)
			if moves&^(1<<nobody) == 0 || !fair {
				continue
			}
			f := &Finding{Schedule: x.schedule(first), Starved: uint32(p) + 1}
			if best == nil || len(f.Schedule) < len(best.Schedule) {
				best = f
			}
		}
	}
	if best == nil {
		return
	}
	k := Replay(x.setup, nil, best.Schedule)
	p := k.Processes()[best.Starved-1]
	best.Err = fmt.Errorf("%w: %s can wait for ever in %s while the others go on", ErrStarvation, p.Name, p.Pending())
	k.Shutdown()
	x.out.Finding = best
}

// round looks at a circle of states: the first of them, who takes steps in it, and whether a
// fair scheduler can go round for ever, as everything that is always ready has its turn.
func (x *explorer) round(circle []int32) (first int32, moves uint64, fair bool) {
	alwaysReady := ^uint64(0)
	first = circle[0]
	in := map[int32]bool{}
	for _, i := range circle {
		in[i] = true
	}
	for _, i := range circle {
		alwaysReady &= x.states[i].ready
		if x.states[i].depth < x.states[first].depth {
			first = i
		}
		for _, e := range x.states[i].edges {
			if in[e.to] && !e.fault {
				moves |= 1 << e.mover
			}
		}
	}
	return first, moves, alwaysReady&^moves == 0
}

// livelock looks for a circle of states in which processes that are no daemons take steps,
// while everything that is always ready has its turn.
func (x *explorer) livelock() {
	k := x.start(0)
	var own uint64
	for i, p := range k.Processes() {
		if i < maxTracked && !p.Daemon {
			own |= 1 << i
		}
	}
	k.Shutdown()
	var best *Finding
	var who uint64
	for _, circle := range x.circles(func(*arrival) bool { return true }) {
		first, moves, fair := x.round(circle)
		if moves&own == 0 || !fair || best != nil && int(x.states[first].depth) >= len(best.Schedule) {
			continue
		}
		best, who = &Finding{Schedule: x.schedule(first), Livelock: true}, moves&own
	}
	if best == nil {
		return
	}
	var names []string
	k = Replay(x.setup, nil, best.Schedule)
	for i, p := range k.Processes() {
		if i < maxTracked && who&(1<<i) != 0 {
			names = append(names, p.Name)
		}
	}
	k.Shutdown()
	best.Err = fmt.Errorf("%w: %s can go on for ever and come to no end", ErrLivelock, strings.Join(names, ", "))
	x.out.Finding = best
}

// circles are the strongly connected components, of at least one edge without
// faults, of the states that pass: Tarjan's algorithm without recursion.
func (x *explorer) circles(pass func(*arrival) bool) (found [][]int32) {
	return x.circlesOf(func(i int32) bool { return pass(&x.states[i]) })
}

func (x *explorer) circlesOf(pass func(state int32) bool) (found [][]int32) {
	n := len(x.states)
	number := make([]int32, n) // 0: not met
	low := make([]int32, n)
	onStack := make([]bool, n)
	var stack []int32
	type visit struct {
		state int32
		edge  int
	}
	var count int32
	for root := range int32(n) {
		if number[root] != 0 || !pass(root) {
			continue
		}
		visits := []visit{{root, 0}}
		for len(visits) > 0 {
			v := &visits[len(visits)-1]
			s := v.state
			if v.edge == 0 {
				count++
				number[s], low[s] = count, count
				stack = append(stack, s)
				onStack[s] = true
			}
			deeper := false
			for v.edge < len(x.states[s].edges) {
				e := x.states[s].edges[v.edge]
				v.edge++
				if e.fault || !pass(e.to) {
					continue
				}
				if number[e.to] == 0 {
					visits = append(visits, visit{e.to, 0})
					deeper = true
					break
				}
				if onStack[e.to] {
					low[s] = min(low[s], number[e.to])
				}
			}
			if deeper {
				continue
			}
			if low[s] == number[s] {
				var c []int32
				for {
					t := stack[len(stack)-1]
					stack = stack[:len(stack)-1]
					onStack[t] = false
					c = append(c, t)
					if t == s {
						break
					}
				}
				itself := slices.ContainsFunc(x.states[s].edges, func(e edge) bool { return e.to == s && !e.fault })
				if len(c) > 1 || itself {
					found = append(found, c)
				}
			}
			visits = visits[:len(visits)-1]
			if len(visits) > 0 {
				parent := visits[len(visits)-1].state
				low[parent] = min(low[parent], low[s])
			}
		}
	}
	return found
}
