package objects

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type listed struct {
	Links[listed]
	id int
}

// TestListIsASliceOfItsElements inserts and removes at random places.
func TestListIsASliceOfItsElements(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var l List[listed, *listed]
	var want []*listed
	for step := range 10000 {
		switch i := rng.IntN(len(want) + 1); {
		case rng.IntN(2) == 0 && len(want) < 9:
			x := &listed{id: step}
			switch {
			case i == len(want):
				l.Push(x)
			case i == 0:
				l.Insert(x, nil)
			default:
				l.Insert(x, want[i-1])
			}
			want = slices.Insert(want, i, x)
		case i < len(want):
			l.Remove(want[i])
			if want[i].prev != nil || want[i].next != nil {
				t.Fatalf("step %d: what was removed has neighbours", step)
			}
			want = slices.Delete(want, i, i+1)
		}
		var there, back []*listed
		for x := l.first; x != nil; x = x.next {
			there = append(there, x)
		}
		for x := l.last; x != nil; x = x.prev {
			back = append(back, x)
		}
		slices.Reverse(back)
		if !slices.Equal(there, want) || !slices.Equal(back, want) || l.Empty() != (len(want) == 0) {
			t.Fatalf("step %d: %d elements, %d from the end; want %d", step, len(there), len(back), len(want))
		}
	}
}
