package explore

import (
	"fmt"
	"slices"
)

// eventually looks for runs in which what is to hold some time never does: that end before, or
// go round for ever, as a fair scheduler can.
func (x *explorer) eventually() {
	var best *Finding
	for bit, wrong := range x.goals.Eventually {
		if f := x.never(uint64(1)<<bit, wrong); f != nil && (best == nil || len(f.Schedule) < len(best.Schedule)) {
			best = f
		}
	}
	x.out.Finding = best
}

// A step leads to a state in a run in which something has never held.
type step struct {
	from   int32
	option int16
	depth  int32
}

// never is a shortest run in which the bit is met in no state, nil if there is none.
func (x *explorer) never(bit uint64, wrong error) *Finding {
	if x.states[0].met&bit != 0 {
		return nil
	}
	come := map[int32]step{0: {}}
	for queue := []int32{0}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if x.states[at].end {
			return &Finding{Err: fmt.Errorf("%w: the run ends without it", wrong), Schedule: path(come, at)}
		}
		for _, e := range x.states[at].edges {
			if _, known := come[e.to]; !known && x.states[e.to].met&bit == 0 {
				come[e.to] = step{at, e.option, come[at].depth + 1}
				queue = append(queue, e.to)
			}
		}
	}
	first := int32(-1)
	for _, circle := range x.circlesOf(func(i int32) bool { _, in := come[i]; return in }) {
		if _, moves, fair := x.round(circle); moves == 0 || !fair {
			continue
		}
		for _, i := range circle {
			if first < 0 || come[i].depth < come[first].depth {
				first = i
			}
		}
	}
	if first < 0 {
		return nil
	}
	return &Finding{Err: fmt.Errorf("%w: from here on the run can go on for ever without it", wrong), Schedule: path(come, first)}
}

// path is the options that lead to a state.
func path(come map[int32]step, to int32) (options []int) {
	for ; to != 0; to = come[to].from {
		options = append(options, int(come[to].option))
	}
	slices.Reverse(options)
	return options
}
