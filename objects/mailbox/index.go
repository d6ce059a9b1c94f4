package mailbox

import (
	"ipcfs/objects"
)

// Who selects finds the first message, and a message the first who selects it, without a
// walk past all others. Indexes are made when a walk gets long, and dropped when the list is
// empty: who does not select pays nothing for them. Each takes a constant amount of memory
// for each message that is held, or each request that waits.

// longWalk is how many a search passes by before it makes an index: a walk of so many takes
// about as long as a look into the index.
const longWalk = 32

// selectorKeys are the selectors that a message can be found by, one for each kind.
const selectorKeys = 3

// keys are the selectors that admit m, but for urgency.
func (m *Message) keys() [selectorKeys]Selector {
	return [...]Selector{
		ByPriority: {By: ByPriority, Priority: m.Priority},
		ByTopic:    {By: ByTopic, Topic: m.Topic},
		BySender:   {By: BySender, Sender: m.Sender.Uid},
	}
}

// selectedBy yields what selects m, anything among it.
func (m *Message) selectedBy(yield func(Selector) bool) {
	for by, key := range m.keys() {
		if (Selection(by) != ByPriority || !m.Urgent) && !yield(key) {
			return
		}
	}
	if m.Urgent && !yield(Selector{By: ByUrgency}) {
		return
	}
	yield(anything)
}

// key is s without what it does not select by.
func (s *Selector) key() Selector {
	switch s.By {
	case ByPriority:
		return Selector{By: ByPriority, Priority: s.Priority}
	case ByTopic:
		return Selector{By: ByTopic, Topic: s.Topic}
	case BySender:
		return Selector{By: BySender, Sender: s.Sender}
	}
	return Selector{By: ByUrgency}
}

// A messageIndex finds the messages of a list by selector. It is made for one kind of
// selector at a time.
type messageIndex struct {
	lanes [selectorKeys]map[Selector]*deadlines[*Message] // nil as long as nobody has selected so
}

// lanePlaces are the places of a message in the lanes of an index, counted from 1; 0: none.
type lanePlaces [selectorKeys]int32

// A lane has the messages of one selector, the next one first: its deadlines are ranks.
func newLane(by Selection) *deadlines[*Message] {
	return &deadlines[*Message]{
		place:  func(m *Message) *int32 { return &m.lanes[by] },
		before: func(x, y *Message) bool { return x.Seq < y.Seq },
	}
}

// add puts m into the lanes of one kind of selector.
func (x *messageIndex) add(by Selection, m *Message) {
	if m.lanes == nil {
		m.lanes = new(lanePlaces)
	}
	key := m.keys()[by]
	lane := x.lanes[by][key]
	if lane == nil {
		lane = newLane(by)
		x.lanes[by][key] = lane
	}
	lane.add(objects.Time(outOfBand-m.rank), m)
}

// insert puts m, which the list has now, into the lanes that there are.
func (x *messageIndex) insert(m *Message) {
	for by := range x.lanes {
		// An urgent message has no priority: see Selector.admits.
		if x.lanes[by] != nil && !(Selection(by) == ByPriority && m.Urgent) {
			x.add(Selection(by), m)
		}
	}
}

// remove takes m out.
func (x *messageIndex) remove(m *Message) {
	for by, key := range m.keys() {
		if lane := x.lanes[by][key]; lane != nil && m.lanes != nil && m.lanes[by] != 0 {
			if lane.remove(m); lane.len() == 0 {
				delete(x.lanes[by], key)
			}
		}
	}
	m.lanes = nil
}

// find returns the first message that only admits, nil if there is none.
func (l *messageList) find(only *Selector) *Message {
	m := l.First()
	if only == nil || only.By == ByUrgency {
		if m == nil || !only.admits(m) {
			return nil // urgent messages come first
		}
		return m
	}
	if l.index == nil || l.index.lanes[only.By] == nil {
		for range longWalk {
			if m == nil || only.admits(m) {
				return m
			}
			m = m.Next()
		}
		l.makeIndex(only.By)
	}
	if lane := l.index.lanes[only.By][only.key()]; lane != nil {
		first, _ := lane.first()
		return first.what
	}
	return nil
}

// makeIndex makes the lanes of one kind of selector, which are kept up from then on.
func (l *messageList) makeIndex(by Selection) {
	if l.index == nil {
		l.index = new(messageIndex)
	}
	l.index.lanes[by] = make(map[Selector]*deadlines[*Message])
	for m := l.First(); m != nil; m = m.Next() {
		if by != ByPriority || !m.Urgent {
			l.index.add(by, m)
		}
	}
}

// A requestIndex finds the requests of a queue by what they select.
type requestIndex map[Selector]*requestLane

// A requestLane has the requests of one selector, in the order of the queue.
type requestLane struct {
	key  Selector
	line deadlines[*objects.Request]
}

// anything is the key of those who do not select.
var anything = Selector{By: anySelection}

const anySelection = ByUrgency + 1

// insert puts r, which is the last of its queue now, into its lane.
func (x requestIndex) insert(r *objects.Request) {
	key := anything
	if only := FileOf(r.Handle).Filter; only != nil {
		key = only.key()
	}
	lane := x[key]
	if lane == nil {
		lane = &requestLane{key: key, line: deadlines[*objects.Request]{
			place:  func(r *objects.Request) *int32 { return &of(r).place },
			before: func(x, y *objects.Request) bool { return of(x).ticket < of(y).ticket },
		}}
		x[key] = lane
	}
	of(r).lane = lane
	lane.line.add(0, r)
}

// remove takes r out.
func (x requestIndex) remove(r *objects.Request) {
	lane := of(r).lane
	if lane == nil {
		return
	}
	of(r).lane = nil
	if lane.line.remove(r); lane.line.len() == 0 {
		delete(x, lane.key)
	}
}

// firstFor returns the first request that selects m, nil if there is none.
func (q *line) firstFor(m *Message) *objects.Request {
	if q.index == nil {
		r := q.First()
		for range longWalk {
			if r == nil || FileOf(r.Handle).Filter.admits(m) {
				return r
			}
			r = r.Next()
		}
		q.index = make(requestIndex)
		for r := range q.All() {
			q.index.insert(r)
		}
	}
	var first *objects.Request
	for key := range m.selectedBy {
		first = q.index.first(key, first)
	}
	return first
}

// first is the first request of that key, or other, if that has waited for longer.
func (x requestIndex) first(key Selector, other *objects.Request) *objects.Request {
	lane := x[key]
	if lane == nil {
		return other
	}
	first, _ := lane.line.first()
	if other != nil && of(other).ticket < of(first.what).ticket {
		return other
	}
	return first.what
}

// covers reports whether each lane has the messages of l that it is for, and no others.
func (x *messageIndex) covers(l *messageList) bool {
	for by, lanes := range x.lanes {
		if lanes == nil {
			continue
		}
		var n int64
		for _, lane := range lanes {
			n += int64(lane.len())
		}
		for m := l.First(); m != nil; m = m.Next() {
			if Selection(by) == ByPriority && m.Urgent {
				continue
			}
			if lane := lanes[m.keys()[by]]; lane == nil || m.lanes == nil || lane.all[m.lanes[by]-1].what != m {
				return false
			}
			n--
		}
		if n != 0 {
			return false
		}
	}
	return true
}
