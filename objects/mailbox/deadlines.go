package mailbox

import (
	"ipcfs/objects"
)

// A deadlines is a heap of what comes due one day, the earliest first: what comes due
// is found without a look at what does not. Everything in it knows its place there, so
// that it can be taken out at any time.
type deadlines[T comparable] struct {
	all    []deadline[T]
	place  func(what T) *int32      // where what is in all, counted from 1; 0: it is not there
	before func(what, other T) bool // of two that come due at the same time
}

type deadline[T any] struct {
	at   objects.Time
	what T
}

// keptDeadlines is the room, in entries, that a heap keeps when it is empty.
const keptDeadlines = 64

func (d *deadlines[T]) len() int { return len(d.all) }

// add has what come due at the time at.
func (d *deadlines[T]) add(at objects.Time, what T) {
	d.all = append(d.all, deadline[T]{at, what})
	d.up(len(d.all) - 1)
}

// remove takes what out, if it is there.
func (d *deadlines[T]) remove(what T) {
	p := d.place(what)
	if *p == 0 {
		return
	}
	i := int(*p) - 1
	*p = 0
	last := len(d.all) - 1
	moved := d.all[last]
	d.all[last] = deadline[T]{}
	d.all = d.all[:last]
	if i < last {
		d.all[i] = moved
		if !d.down(i) {
			d.up(i)
		}
	}
	if last == 0 && cap(d.all) > keptDeadlines {
		d.all = nil
	}
}

// first returns what comes due first; false if nothing does.
func (d *deadlines[T]) first() (deadline[T], bool) {
	if len(d.all) == 0 {
		return deadline[T]{}, false
	}
	return d.all[0], true
}

func (d *deadlines[T]) less(i, j int) bool {
	x, y := d.all[i], d.all[j]
	return x.at < y.at || x.at == y.at && d.before(x.what, y.what)
}

// up moves entry i towards the first until it is where it belongs.
func (d *deadlines[T]) up(i int) {
	for i > 0 && d.less(i, (i-1)/2) {
		i = d.swap(i, (i-1)/2)
	}
	*d.place(d.all[i].what) = int32(i + 1)
}

// down is up in the other direction. It reports false if i was where it belongs.
func (d *deadlines[T]) down(i int) bool {
	from := i
	for {
		child := 2*i + 1
		if child >= len(d.all) {
			break
		}
		if child+1 < len(d.all) && d.less(child+1, child) {
			child++
		}
		if !d.less(child, i) {
			break
		}
		i = d.swap(i, child)
	}
	*d.place(d.all[i].what) = int32(i + 1)
	return i != from
}

// swap exchanges entry i, which is on its way, with entry j, and returns j.
func (d *deadlines[T]) swap(i, j int) int {
	d.all[i], d.all[j] = d.all[j], d.all[i]
	*d.place(d.all[i].what) = int32(i + 1)
	return j
}
