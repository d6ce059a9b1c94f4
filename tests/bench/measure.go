package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// A peer is somebody who can do the operation in question.
type peer struct {
	name string
	do   func(n int) ([]uint32, error) // does it n times; nanoseconds of each
}

// samples are the nanoseconds of one peer's operations, by round.
type samples [][]uint32

// compete has the peers take turns for rounds rounds of ops operations, after one round
// that does not count. Their order is drawn anew for each round: who goes before leaves
// the caches and the scheduler in a state of its own, and is to be anybody.
func compete(rounds, ops int, peers ...peer) ([]samples, error) {
	all := make([]samples, len(peers))
	order := rand.New(rand.NewPCG(1, 1)) // the same in each run
	for round := -1; round < rounds; round++ {
		for _, who := range order.Perm(len(peers)) {
			took, err := peers[who].do(ops)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", peers[who].name, err)
			}
			if round >= 0 {
				all[who] = append(all[who], took)
			}
		}
	}
	return all, nil
}

// median is the median of all rounds in microseconds.
func (s samples) median() float64 { return quantile(slices.Concat(s...), 0.5) / 1e3 }

// compare sets ours beside theirs: the ratio of the medians over all, and the
// middle half of the ratios of single rounds.
func compare(ours, theirs samples) (ratio, low, high float64) {
	var rounds []float64
	for i := range ours {
		rounds = append(rounds, quantile(ours[i], 0.5)/quantile(theirs[i], 0.5))
	}
	return ours.median() / theirs.median(), quantile(rounds, 0.25), quantile(rounds, 0.75)
}

// quantile is the value below which the part q of values lies.
func quantile[T uint32 | float64](values []T, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return float64(sorted[int(q*float64(len(sorted)-1)+0.5)])
}
