package fs

import (
	"syscall"
	"time"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"
)

// Who waits in poll(2) is told when there is something for it. Thousands may wait for
// one message, which one of them gets: of those who would take the same (who select
// nothing, or the same topic), as many are told as can be served, in turn, and whoever has been told and neither reads nor
// asks again is not waited for. The guarantee is that nobody sleeps for long while
// there is something to read, or room to write: when one of those told has read and
// left something, has closed its file or finds nothing, the next is told at once; when
// it does nothing, others are after pollPatience, twice as many each time.
//
// Everybody is told of what everybody may get: a broadcast, a message to peek at,
// something out of band, the end of the other side. The answer to a POLL is the truth
// whatever was told before.
//
// An edge-triggered epoll(7) does not ask again before it is told. So a handle stays
// listed, and has another edge coming when it has read until there was nothing, or when
// something new comes and nobody sleeps.

// pollPatience is how long the others wait for those who were told: a few times what a process
// takes to be scheduled on a busy machine.
const pollPatience = 5 * time.Millisecond

// Sides of a handle, which are waited for separately.
const (
	reading = iota
	writing
	together // of handles that are told whatever comes
	sides
)

// sideEvents is what a side waits for.
var sideEvents = [...]objects.Events{reading: objects.In, writing: objects.Out}

// rivals are handles each of which may get what any of them may: those that do not select,
// or select the same.
type rivals struct {
	asleep [2]pollList // told last that there is nothing
	told   [2]pollList // notified since, and not heard of again
	awake  [2]pollList // have read, written or asked since they were told, and found something

	by      any // what they select, nil for everything
	members int
}

// pollers are the handles of an object that poll(2) was asked about. They are guarded by
// object.mu.
type pollers struct {
	rivals map[any]*rivals
	all    pollList // side together

	timer *time.Timer
	armed bool
	burst int // how many are told when pollPatience ends

	review bool // more than data has changed: every handle is to be looked at
}

// A pollList is a list of handles by one of their sides.
type pollList struct {
	first, last *handle
	n           int
}

// A pollLink is a handle's place in a pollList.
type pollLink struct {
	on         *pollList
	prev, next *handle
}

// put moves h to the end of l by its side.
func (l *pollList) put(h *handle, side int) {
	h.unlink(side)
	h.links[side] = pollLink{on: l, prev: l.last}
	if l.last == nil {
		l.first = h
	} else {
		l.last.links[side].next = h
	}
	l.last = h
	l.n++
}

// unlink takes h out of the list that it is in by that side.
func (h *handle) unlink(side int) {
	at := h.links[side]
	l := at.on
	if l == nil {
		return
	}
	if at.prev == nil {
		l.first = at.next
	} else {
		at.prev.links[side].next = at.next
	}
	if at.next == nil {
		l.last = at.prev
	} else {
		at.next.links[side].prev = at.prev
	}
	l.n--
	h.links[side] = pollLink{}
}

// polledFor returns the events that hold for h, and remembers that poll(2) was told.
func (h *handle) polledFor(in *fusedev.PollIn) objects.Events {
	o := h.file.object
	o.lock()
	defer o.mu.Unlock()
	events := o.impl.Ready(&h.Handle)
	before := [...]*pollList{reading: h.links[reading].on, writing: h.links[writing].on}
	if in.Flags&fusedev.PollScheduleNotify != 0 {
		if o.pollers == nil {
			o.pollers = &pollers{burst: 1, rivals: make(map[any]*rivals)}
		}
		h.kh = in.Kh
		asks := objects.Events(in.Events)
		if asks == 0 {
			asks = objects.In | objects.Out | objects.Pri
		}
		h.asks |= asks
		h.listLocked(o)
	}
	h.seen, h.changed = events, o.impl.Held().Changed
	if r := h.rivals; r != nil {
		for side, event := range sideEvents {
			switch at := h.links[side].on; {
			case at == nil, at == &r.told[side] && events&event != 0:
			case events&event != 0:
				// Who asks knows; an epoll(7) that was told otherwise before, and waits on the same
				// open file, does not.
				if before[side] != &r.asleep[side] {
					r.awake[side].put(h, side)
				}
			case at != &r.asleep[side]:
				r.asleep[side].put(h, side)
			}
		}
	}
	return events
}

// listLocked adds h to the lists that it belongs to. o.mu is held.
func (h *handle) listLocked(o *object) {
	p := o.pollers
	if !o.rivalsLocked(h) {
		h.unlink(reading)
		h.unlink(writing)
		p.leave(h)
		if h.links[together].on == nil {
			p.all.put(h, together)
		}
		return
	}
	r := p.among(h)
	for side, event := range sideEvents {
		may := side == reading && h.Reads || side == writing && h.Writes
		if may && h.asks&event != 0 && h.links[side].on == nil {
			r.asleep[side].put(h, side)
		}
	}
	if h.links[reading].on != nil || h.links[writing].on != nil {
		h.unlink(together)
	} else if h.links[together].on == nil { // it waits for the other end to go
		p.all.put(h, together)
	}
}

// among returns h's rivals, of whom h is one from then on.
func (p *pollers) among(h *handle) *rivals {
	if h.rivals == nil {
		var by any
		if s, ok := h.file.object.impl.(selector); ok {
			by = s.Selection(&h.Handle)
		}
		if p.rivals[by] == nil {
			p.rivals[by] = &rivals{by: by}
		}
		h.rivals = p.rivals[by]
		h.rivals.members++
	}
	return h.rivals
}

// leave has h, which is in none of their lists, not be one of its rivals any more.
func (p *pollers) leave(h *handle) {
	r := h.rivals
	h.rivals = nil
	if r == nil {
		return
	}
	if r.members--; r.members == 0 {
		delete(p.rivals, r.by)
	}
}

// rivalsLocked reports whether what comes for h is for one of several, any of them. o.mu
// is held.
func (o *object) rivalsLocked(h *handle) bool {
	if h.asks&(objects.In|objects.Pri) == objects.Pri {
		return false
	}
	switch h.ReadOp {
	case 0, objects.Receive, objects.Lease:
		b, ok := o.impl.(broadcaster)
		return !ok || !b.Broadcasts()
	case objects.Read:
		return h.file.endpoint.stream
	case objects.Wait:
		return true
	}
	return false
}

// unlistLocked forgets h, which is closed. o.mu is held.
func (h *handle) unlistLocked() {
	for side := range h.links {
		h.unlink(side)
	}
	if p := h.file.object.pollers; p != nil {
		p.leave(h)
	}
}

// actedLocked notes that h has carried out k, after which it knows what there is. o.mu is held.
func (o *object) actedLocked(h *handle, k *call) {
	side := reading
	if k.reply == replyWrite {
		side = writing
	}
	if h.links[side].on == nil {
		return
	}
	if k.Errno != syscall.EAGAIN && o.impl.Ready(&h.Handle)&sideEvents[side] != 0 {
		if h.links[side].on != &h.rivals.asleep[side] { // else somebody may sleep on h, and is told in turn
			h.rivals.awake[side].put(h, side)
		}
	} else {
		h.rivals.asleep[side].put(h, side)
		h.seen &^= sideEvents[side]
	}
	h.changed = o.impl.Held().Changed
}

// wokenLocked returns the handles that are to be told that they are ready, by the kernel's
// names for them. o.mu is held, after a call on o.impl.
func (o *object) wokenLocked() (kh []uint64) {
	p := o.pollers
	if p == nil {
		return nil
	}
	held := o.impl.Held()
	if p.review {
		kh = o.reviewLocked(kh)
	}
	for h := p.all.first; h != nil; h = h.links[together].next {
		events := o.impl.Ready(&h.Handle)
		if events&^h.seen != 0 || events&(objects.In|objects.Pri) != 0 && held.Changed != h.changed {
			kh = append(kh, h.kh)
		}
		h.seen, h.changed = events, held.Changed
	}
	for _, r := range p.rivals {
		for side := range sideEvents {
			serve := 1
			if side == reading && r.by == nil { // else how many there are for them is not known
				serve = int(max(1, held.Messages))
			}
			kh = o.tellLocked(r, side, serve-r.told[side].n, held, kh)
			o.armLocked(r, side)
		}
	}
	return kh
}

// tellLocked tells n of those that sleep by that side, if there is something for them, or one
// that does not if something new has come and nobody sleeps. o.mu is held.
func (o *object) tellLocked(r *rivals, side, n int, held objects.Held, kh []uint64) []uint64 {
	event := sideEvents[side]
	for ; n > 0 && r.asleep[side].first != nil; n-- {
		h := r.asleep[side].first
		events := o.impl.Ready(&h.Handle)
		if events&event == 0 {
			return kh
		}
		h.seen, h.changed = events, held.Changed
		r.told[side].put(h, side)
		kh = append(kh, h.kh)
	}
	if side == writing || r.asleep[side].first != nil {
		return kh
	}
	h := r.awake[side].first
	if h == nil {
		h = r.told[side].first
	}
	if h == nil || h.changed == held.Changed {
		return kh
	}
	// As pipe_write has it in Linux's fs/pipe.c: an edge for each write.
	events := o.impl.Ready(&h.Handle)
	if events&event == 0 {
		return kh
	}
	h.seen, h.changed = events, held.Changed
	r.told[side].put(h, side)
	return append(kh, h.kh)
}

// reviewPollersLocked has wokenLocked look at every handle. o.mu is held.
func (o *object) reviewPollersLocked() {
	if o.pollers != nil {
		o.pollers.review = true
	}
}

// reviewLocked looks at every handle, because something else has changed than what is there
// to be read: the policies, the other end. o.mu is held.
func (o *object) reviewLocked(kh []uint64) []uint64 {
	p := o.pollers
	p.review = false
	changed := o.impl.Held().Changed
	seen := make(map[*handle]bool)
	lists := []*pollList{&p.all}
	for _, r := range p.rivals {
		for side := range sideEvents {
			lists = append(lists, &r.asleep[side], &r.told[side], &r.awake[side])
		}
	}
	for _, l := range lists {
		for h := l.first; h != nil; {
			side := reading
			for h.links[side].on != l {
				side++
			}
			seen[h] = true
			h = h.links[side].next
		}
	}
	for h := range seen {
		h.listLocked(o)
		events := o.impl.Ready(&h.Handle)
		if events&^h.seen&^(objects.In|objects.Out) != 0 {
			kh = append(kh, h.kh)
			for side := range sideEvents {
				if h.links[side].on != nil && events&sideEvents[side] != 0 {
					h.rivals.told[side].put(h, side)
				}
			}
			h.seen, h.changed = events, changed
		}
	}
	return kh
}

// armLocked has pollPatience end for those who were told, if others sleep. o.mu is held.
func (o *object) armLocked(r *rivals, side int) {
	p := o.pollers
	if p.armed || r.told[side].n == 0 || r.asleep[side].n == 0 {
		return
	}
	p.armed = true
	if p.timer == nil {
		p.timer = time.AfterFunc(pollPatience, o.losePatience)
	} else {
		p.timer.Reset(pollPatience)
	}
}

// losePatience tells others than those who were told and have done nothing.
func (o *object) losePatience() {
	defer o.fs.logPanic("the telling of those who poll")
	o.fs.wake(o.nextToTell())
}

func (o *object) nextToTell() (kh []uint64) {
	o.lock()
	defer o.mu.Unlock()
	p := o.pollers
	p.armed = false
	held := o.impl.Held()
	for _, r := range p.rivals {
		for side := range sideEvents {
			for h := r.told[side].first; h != nil; h = r.told[side].first {
				r.awake[side].put(h, side)
			}
			if r.asleep[side].first != nil {
				kh = o.tellLocked(r, side, p.burst, held, kh)
			}
			o.armLocked(r, side)
		}
	}
	if p.armed {
		p.burst *= 2
	} else {
		p.burst = 1
	}
	return kh
}

// wake sends poll notifications. No lock is held.
func (f *FS) wake(kh []uint64) {
	for _, kh := range kh {
		f.conn.NotifyPoll(kh)
	}
}
