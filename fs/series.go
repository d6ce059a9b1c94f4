package fs

import (
	"iter"
	"slices"
	"sort"
)

// A series holds values by numbers that only grow: what is added gets a number higher
// than all before. A listing that goes on behind the number where it stopped meets each
// value that stays exactly once, whatever else comes and goes. The zero series is empty.
type series[T any] struct{ runs [][]numbered[T] }

type numbered[T any] struct {
	n uint64
	v T
}

// runLength is how many values a run has at most: removing one moves those behind it.
const runLength = 256

// add appends v, whose number n is the highest so far.
func (s *series[T]) add(n uint64, v T) {
	if last := len(s.runs) - 1; last >= 0 && len(s.runs[last]) < runLength {
		s.runs[last] = append(s.runs[last], numbered[T]{n, v})
		return
	}
	s.runs = append(s.runs, []numbered[T]{{n, v}})
}

// run returns the index of the run that has the number n if any has.
func (s *series[T]) run(n uint64) int {
	return sort.Search(len(s.runs), func(i int) bool { return s.runs[i][0].n > n }) - 1
}

// find returns where the number n is.
func (s *series[T]) find(n uint64) (run, i int, ok bool) {
	if run = s.run(n); run < 0 {
		return 0, 0, false
	}
	i, ok = slices.BinarySearchFunc(s.runs[run], n, compareNumber)
	return run, i, ok
}

func compareNumber[T any](x numbered[T], n uint64) int {
	switch {
	case x.n < n:
		return -1
	case x.n > n:
		return 1
	}
	return 0
}

// set replaces the value that has the number n.
func (s *series[T]) set(n uint64, v T) {
	if run, i, ok := s.find(n); ok {
		s.runs[run][i].v = v
	}
}

// remove takes the value that has the number n away.
func (s *series[T]) remove(n uint64) {
	run, i, ok := s.find(n)
	if !ok {
		return
	}
	s.runs[run] = slices.Delete(s.runs[run], i, i+1)
	switch {
	case len(s.runs[run]) == 0:
		s.runs = slices.Delete(s.runs, run, run+1)
	case run+1 < len(s.runs) && len(s.runs[run])+len(s.runs[run+1]) <= runLength/2:
		// Without it few values that stay would keep the memory of many.
		s.runs[run] = append(slices.Clip(s.runs[run]), s.runs[run+1]...)
		s.runs = slices.Delete(s.runs, run+1, run+2)
	}
}

// after yields what has a number higher than n, in the order of the numbers.
func (s *series[T]) after(n uint64) iter.Seq2[uint64, T] {
	return func(yield func(uint64, T) bool) {
		for run := max(s.run(n), 0); run < len(s.runs); run++ {
			for _, x := range s.runs[run] {
				if x.n > n && !yield(x.n, x.v) {
					return
				}
			}
		}
	}
}
