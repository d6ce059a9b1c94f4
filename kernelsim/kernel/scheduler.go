package kernel

import "math/rand/v2"

// A Chooser makes the choices of a run. Choose returns a number below n, which is
// at least 2.
type Chooser interface {
	Choose(n int) int
}

// Seeded chooses at random; the same seed makes the same choices.
func Seeded(seed uint64) Chooser {
	return seeded{rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))}
}

type seeded struct{ *rand.Rand }

func (s seeded) Choose(n int) int { return s.IntN(n) }

// FIFO lets the process run that has been ready the longest; time passes and
// faults happen only when nobody can run.
var FIFO Chooser = fifo{}

type fifo struct{}

func (fifo) Choose(int) int { return 0 }

// A Script makes the choices of a recorded run, and the first of what there is when
// they are used up.
type Script struct{ Choices []int }

// Choose implements Chooser.
func (s *Script) Choose(n int) int {
	if len(s.Choices) == 0 {
		return 0
	}
	c := s.Choices[0]
	s.Choices = s.Choices[1:]
	if c >= n {
		panic("kernelsim: the script is of another run")
	}
	return c
}

// Recorded is a Chooser that remembers what c chose.
type Recorded struct {
	Chooser
	Choices []int
}

// Choose implements Chooser.
func (r *Recorded) Choose(n int) int {
	c := r.Chooser.Choose(n)
	r.Choices = append(r.Choices, c)
	return c
}

// DepthFirst goes through all runs there are: make a run with it, then Next, until
// Next reports false.
type DepthFirst struct {
	path []branch
	at   int
}

type branch struct{ choice, of int }

// Choose implements Chooser.
func (d *DepthFirst) Choose(n int) int {
	if d.at == len(d.path) {
		d.path = append(d.path, branch{0, n})
	}
	b := d.path[d.at]
	if b.of != n {
		panic("kernelsim: the run is not deterministic")
	}
	d.at++
	return b.choice
}

// Next turns to the next run; false if there is none.
func (d *DepthFirst) Next() bool {
	d.at = 0
	for len(d.path) > 0 {
		last := &d.path[len(d.path)-1]
		if last.choice++; last.choice < last.of {
			return true
		}
		d.path = d.path[:len(d.path)-1]
	}
	return false
}
