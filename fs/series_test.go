package fs

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A walk in pieces meets what stays exactly once, in order, and agrees with a plain list.
func TestASeriesIsAListWithHoles(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		var s series[uint64]
		var want []uint64
		n := uint64(0)
		for range 5000 {
			switch {
			case len(want) == 0 || random.IntN(100) < 55:
				n += 1 + random.Uint64N(3)
				s.add(n, n)
				want = append(want, n)
			default:
				i := random.IntN(len(want))
				s.remove(want[i])
				want = slices.Delete(want, i, i+1)
			}
		}
		s.remove(n + 1) // is not there
		var got []uint64
		last := uint64(0)
		for {
			before := len(got)
			for number, v := range s.after(last) {
				if number != v {
					t.Fatalf("seed %d: %d has the number %d", seed, v, number)
				}
				if got, last = append(got, v), number; len(got) == before+7 {
					break
				}
			}
			if len(got) == before {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: the walk gave %d values, want %d: %v, %v", seed, len(got), len(want), got, want)
		}
		if runs := len(s.runs); runs > len(want)*4/runLength+2 {
			t.Errorf("seed %d: %d values are in %d runs", seed, len(want), runs)
		}
		for _, v := range want {
			s.set(v, 0)
			s.remove(v)
		}
		if len(s.runs) != 0 {
			t.Errorf("seed %d: an empty series has %d runs", seed, len(s.runs))
		}
	}
}
