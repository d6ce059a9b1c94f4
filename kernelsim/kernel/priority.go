package kernel

import (
	"slices"

	"ipcfs/objects"
)

// effective are the priorities with which processes run, by their index: their own, or that of
// one who waits for what they hold, if that hands priorities on (pthread_mutexattr_setprotocol(3p),
// PTHREAD_PRIO_INHERIT).
func (k *Kernel) effective() []int {
	all := make([]int, len(k.processes))
	for i, p := range k.processes {
		all[i] = p.Priority
	}
	for changed := true; changed; {
		changed = false
		for i, q := range k.processes {
			for _, p := range k.holders(q) {
				if j := p.Index(); all[j] < all[i] {
					all[j], changed = all[i], true
				}
			}
		}
	}
	return all
}

// holders are those who run with the priority of q as it waits for what they hold.
func (k *Kernel) holders(q *Process) (holders []*Process) {
	switch {
	case q.state != Blocked:
	case q.gate != nil:
		if q.gate.Inherits && q.gate.Owner != nil {
			holders = append(holders, q.gate.Owner)
		}
	case q.request.Op == objects.Hold && q.file.Node.Inherits:
		for _, p := range k.processes {
			if slices.ContainsFunc(p.files, func(f *File) bool { return f.Node == q.file.Node && f.holds }) {
				holders = append(holders, p)
			}
		}
	}
	return holders
}

// turn tells of each process, by its index, whether it is ready and nobody is of a higher
// priority: sched(7), SCHED_FIFO on one processor, where whoever is of the same priority may
// have any turn.
func (k *Kernel) turn() []bool {
	turn := make([]bool, len(k.processes))
	if !k.Priorities {
		for i, p := range k.processes {
			turn[i] = p.state == Ready
		}
		return turn
	}
	effective := k.effective()
	highest := -1
	for i, p := range k.processes {
		if p.state == Ready && !p.last {
			highest = max(highest, effective[i])
		}
	}
	for i, p := range k.processes {
		turn[i] = p.state == Ready && effective[i] >= highest
	}
	return turn
}
