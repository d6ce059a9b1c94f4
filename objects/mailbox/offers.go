package mailbox

import "ipcfs/objects"

// The offers are the senders who wait, each with the message that it offers. Which of these a
// receiver would get next is found without a walk: see index.go.
type offers struct {
	objects.Queue
	tickets uint64     // given to those who parked
	index   offerIndex // nil unless a search among them has been long since it was empty
}

// An offerIndex finds the senders by what selects their messages, and by the order of the
// mailbox.
type offerIndex map[Selector]*deadlines[*objects.Request]

// offerPlaces are the places of a sender in the lanes of an offerIndex, one for each kind of
// selector and one for who does not select; counted from 1; 0: none.
type offerPlaces [anySelection + 1]int32

// push parks r, which offers its message, as the last.
func (l *offers) push(now objects.Time, r *objects.Request, o Order) {
	l.Queue.Push(now, r)
	l.tickets++
	of(r).ticket = l.tickets
	l.offer(r, o)
}

// remove takes r out.
func (l *offers) remove(r *objects.Request) {
	l.withdraw(r)
	l.Queue.Remove(r)
	if l.Empty() {
		l.index = nil
	}
}

// offer notes the message that r, which is parked, offers from now on.
func (l *offers) offer(r *objects.Request, o Order) {
	if l.index == nil || of(r).lanes != nil {
		return
	}
	of(r).lanes = new(offerPlaces)
	m := of(r).message
	for key := range m.selectedBy {
		lane := l.index[key]
		if lane == nil {
			lane = &deadlines[*objects.Request]{
				place:  func(r *objects.Request) *int32 { return &of(r).lanes[key.By] },
				before: func(x, y *objects.Request) bool { return of(x).ticket < of(y).ticket },
			}
			l.index[key] = lane
		}
		lane.add(objects.Time(outOfBand-o.rank(m)), r)
	}
}

// withdraw undoes offer, before r loses its message.
func (l *offers) withdraw(r *objects.Request) {
	if l.index == nil || of(r).lanes == nil {
		return
	}
	for key := range of(r).message.selectedBy {
		if lane := l.index[key]; lane != nil {
			if lane.remove(r); lane.len() == 0 {
				delete(l.index, key)
			}
		}
	}
	of(r).lanes = nil
}

// reorder has the next search begin anew, because the order has changed.
func (l *offers) reorder() {
	if l.index == nil {
		return
	}
	for r := range l.All() {
		of(r).lanes = nil
	}
	l.index = nil
}

// first is the sender whose message who selects only gets first, nil if there is none. A nil
// selector is for all.
func (l *offers) first(only *Selector, o Order) *objects.Request {
	if only == nil && o == FIFO {
		return l.First()
	}
	if l.index == nil {
		if next, whole := l.walk(only, o); whole {
			return next
		}
		l.index = make(offerIndex)
		for r := range l.All() {
			l.offer(r, o)
		}
	}
	key := anything
	if only != nil {
		key = only.key()
	}
	if lane := l.index[key]; lane != nil {
		next, _ := lane.first()
		return next.what
	}
	return nil
}

// walk is first by a look at all of a few senders; whole is false if there are more.
func (l *offers) walk(only *Selector, o Order) (next *objects.Request, whole bool) {
	s := l.First()
	for n := 0; s != nil; n, s = n+1, s.Next() {
		switch {
		case n == longWalk:
			return nil, false
		case !only.admits(of(s).message):
		case next == nil || o.rank(of(s).message) > o.rank(of(next).message):
			next = s
		}
	}
	return next, true
}
