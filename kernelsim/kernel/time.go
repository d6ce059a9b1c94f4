package kernel

import (
	"slices"
	"syscall"

	"ipcfs/objects"
)

// Spans of virtual time.
const (
	Microsecond objects.Time = 1000
	Millisecond              = 1000 * Microsecond
	Second                   = 1000 * Millisecond
)

// A timer ends a sleep or a timed call, or has an object do what is due.
type timer struct {
	when    objects.Time
	process *Process // nil for that of an object
	node    *Node
}

func (k *Kernel) startTimer(p *Process, d objects.Time) {
	k.addTimer(&timer{when: k.now + d, process: p})
}

// startDeadline has a timer for the deadline of n, if its object has one.
func (k *Kernel) startDeadline(n *Node) {
	e, ok := n.Object.(objects.Expirer)
	if !ok || e.Deadline() == n.deadline {
		return
	}
	if n.deadline != 0 {
		k.timers = slices.DeleteFunc(k.timers, func(t *timer) bool { return t.node == n })
	}
	if n.deadline = e.Deadline(); n.deadline != 0 {
		k.addTimer(&timer{when: n.deadline, node: n})
	}
}

func (k *Kernel) addTimer(t *timer) {
	i, _ := slices.BinarySearchFunc(k.timers, t, func(a, b *timer) int {
		if a.when <= b.when {
			return -1 // after those of the same time
		}
		return 1
	})
	k.timers = slices.Insert(k.timers, i, t)
}

func (k *Kernel) forgetTimer(p *Process) {
	if len(k.timers) > 0 {
		k.timers = slices.DeleteFunc(k.timers, func(t *timer) bool { return t.process == p })
	}
}

// tick moves the clock to the next timer and fires it.
func (k *Kernel) tick() {
	t := k.timers[0]
	k.timers = slices.Delete(k.timers, 0, 1)
	k.now = max(k.now, t.when)
	if n := t.node; n != nil {
		n.deadline = 0
		held := n.Object.Held().Messages
		k.on(n, Expire, nil, func() objects.Finished { return n.Object.(objects.Expirer).Expire(k.now) })
		switch now := n.Object.Held().Messages; {
		case now < held:
			k.event(Event{Verb: "expires in", Node: n})
		case now > held:
			k.event(Event{Verb: "lease ends in", Node: n})
		}
		return
	}
	p := t.process
	if p.state == Blocked {
		k.interrupt(p, syscall.ETIMEDOUT)
		return
	}
	k.event(Event{Process: p, Verb: "wakes up"})
	k.interrupt(p, 0)
}

// FormatTime writes t in its largest unit.
func FormatTime(t objects.Time) string {
	switch {
	case t == 0:
		return "0"
	case t%Second == 0:
		return itoa(int64(t/Second)) + "s"
	case t%Millisecond == 0:
		return itoa(int64(t/Millisecond)) + "ms"
	case t%Microsecond == 0:
		return itoa(int64(t/Microsecond)) + "µs"
	}
	return itoa(int64(t)) + "ns"
}
