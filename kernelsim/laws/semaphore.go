package laws

import (
	"fmt"
	"slices"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
	"ipcfs/objects/semaphore"
)

func init() { register("semaphore", func() kindLaws { return &semaphoreLaws{} }) }

// semaphoreLaws: units are neither made nor lost, a hold ends with its handle, and no
// post goes beyond max.
type semaphoreLaws struct {
	known   bool
	value   int64
	holders []*objects.Handle
	taken   []*objects.Request // waits that a process was woken with
}

func unitsOf(r *objects.Request, text string) int64 {
	if r.Units != 0 {
		return r.Units
	}
	n, _ := semaphore.ParseUnits([]byte(text))
	return n
}

func (l *semaphoreLaws) finished(m *monitor, a kernel.Act, r *objects.Request, text string, done []*objects.Request) error {
	o := m.node.Object
	if !l.known {
		l.known, l.value = true, stat(m.stat, "value")
	}
	if a == kernel.SetPolicy && m.policy == "value" && m.policyErrno == 0 {
		l.value = m.node.Amount("value") // whoever sets it says what it is
		for _, d := range done {
			if d.Errno == 0 {
				l.value += l.moved(m, d, text)
			}
		}
	}
	if a == kernel.GiveBack {
		if i := slices.Index(l.taken, r); i >= 0 {
			l.value += l.moved(m, r, text)
			l.taken = slices.Delete(l.taken, i, i+1)
		}
	}
	for _, d := range done {
		if d.Errno != 0 {
			continue
		}
		switch d.Op {
		case objects.Wait:
			l.value -= l.moved(m, d, text)
			l.taken = append(l.taken, d)
		case objects.Post:
			l.value += l.moved(m, d, text)
			if a == kernel.Submit && l.value+int64(len(l.holders)) > m.node.Amount("max") {
				return fmt.Errorf("%d units are there; max is %s", l.value, o.Policy("max"))
			}
		case objects.Hold:
			l.value--
			l.holders = append(l.holders, d.Handle)
		case objects.Close, objects.Release:
			if i := slices.Index(l.holders, d.Handle); i >= 0 {
				l.holders = slices.Delete(l.holders, i, i+1)
				l.value++
			}
		}
	}
	if a == kernel.Destroy {
		l.holders = nil
		return nil
	}
	return m.happened(succeeded(done, objects.Post), succeeded(done, objects.Wait, objects.Hold))
}

// moved is how many units d moves.
func (l *semaphoreLaws) moved(m *monitor, d *objects.Request, text string) int64 {
	if d.Op == objects.Hold {
		return 1
	}
	for _, w := range m.parked {
		if w.request == d {
			text = w.text
		}
	}
	return unitsOf(d, text)
}

func (l *semaphoreLaws) delivered(r *objects.Request) {
	l.taken = slices.DeleteFunc(l.taken, func(t *objects.Request) bool { return t == r })
}

func (l *semaphoreLaws) check(m *monitor) error {
	if !l.known {
		return nil
	}
	counters := m.node.Object.Stat()
	if got := stat(counters, "value"); got != l.value {
		return fmt.Errorf("the value is %d; want %d: units were made or lost", got, l.value)
	}
	if got := stat(counters, "owners"); got != int64(len(l.holders)) {
		return fmt.Errorf("%d hold a unit; want %d", got, len(l.holders))
	}
	return nil
}

func (l *semaphoreLaws) contents() []string { return nil }
