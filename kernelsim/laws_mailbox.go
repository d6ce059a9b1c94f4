package kernelsim

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"ipcfs/objects"
)

// mailboxLaws: every message sent is received once, in the order in which they were
// sent, which priorities and urgency change as they say, or counted as dropped. Who
// selects gets what was selected. A mailbox takes nothing beyond its capacity, but
// what is urgent.
type mailboxLaws struct {
	sent    []letter // and not known to be received or dropped, oldest first
	dropped int64    // known to be
	readers []*reading
	taken   []delivery

	held     []standing // what the mailbox held after the last call, the next first
	returned bool       // a message was: it is the next of its rank, whatever its number
}

// A letter is a message and what it was labelled with.
type letter struct {
	text  string
	label objects.Selector // the zero Selector is that of a plain message, of priority 0
	from  uint32           // uid
	at    objects.Time     // when it was sent
}

// letterOf is what the send r sends.
func letterOf(r *objects.Request, text string) letter {
	l := letter{text: text, from: r.Caller.Uid}
	if r.Handle != nil && r.Handle.Only != nil {
		l.label = *r.Handle.Only
	}
	return l
}

func (l letter) urgent() bool { return l.label.By == objects.ByUrgency }

// priority is 0 for what has none: see objects.Selector.
func (l letter) priority() uint8 { return l.label.Priority }

// is reports whether only, which may be nil, selects l.
func (l letter) is(only *objects.Selector) bool {
	switch {
	case only == nil:
		return true
	case only.By == objects.ByPriority:
		return !l.urgent() && l.priority() == only.Priority
	case only.By == objects.BySender:
		return l.from == only.Sender
	}
	return l.label == *only
}

// inOrder lists the messages that only selects, as places in sent, in the order in
// which they are due.
func (l *mailboxLaws) inOrder(m *monitor, only *objects.Selector) []int {
	var due []int
	for i, s := range l.sent {
		if s.is(only) {
			due = append(due, i)
		}
	}
	slices.SortStableFunc(due, func(a, b int) int {
		x, y := l.sent[a], l.sent[b]
		switch {
		case x.urgent() && !y.urgent():
			return -1
		case y.urgent() && !x.urgent():
			return 1
		case x.urgent() || x.priority() == y.priority() || m.node.Object.Policy("order") == "fifo":
			return 0
		}
		return cmp.Compare(y.priority(), x.priority())
	})
	return due
}

// timeToLive is the policy ttl, if there is one and it is not max.
func timeToLive(m *monitor) (objects.Time, bool) {
	if !slices.Contains(m.node.Kind.Policies, "ttl") {
		return 0, false
	}
	ttl, _ := objects.ParseSpan(m.node.Object.Policy("ttl"))
	return ttl, ttl != objects.Unbounded
}

// reading is what a handle is in the middle of.
type reading struct {
	handle *objects.Handle
	rest   string
	endDue bool
}

// taking is a message that a process was woken with.
type taking struct {
	request *objects.Request
	text    string
}

// A delivery is a letter that a process was woken with.
type delivery struct {
	request *objects.Request
	letter
}

func (l *mailboxLaws) reading(h *objects.Handle) *reading {
	for _, s := range l.readers {
		if s.handle == h {
			return s
		}
	}
	s := &reading{handle: h}
	l.readers = append(l.readers, s)
	return s
}

func (l *mailboxLaws) finished(m *monitor, a act, r *objects.Request, text string, done []*objects.Request) error {
	held := m.node.Object.Held()
	switch {
	case a == giveBack:
	case r != nil && r.Op == objects.Send && letterOf(r, text).urgent():
	case held.Messages > m.held.Messages && held.Messages > amount(m.node.Object.Policy("capacity")):
		return fmt.Errorf("%d messages are held, the capacity is %s", held.Messages, m.node.Object.Policy("capacity"))
	case held.Bytes > m.held.Bytes && held.Bytes > amount(m.node.Object.Policy("capacity_bytes")):
		return fmt.Errorf("%d bytes are held, the capacity is %s", held.Bytes, m.node.Object.Policy("capacity_bytes"))
	}
	if err := l.list(m, a, r); err != nil {
		return err
	}
	return l.track(m, a, r, text, done)
}

// A standing is a held message's, in the order in which they are received.
type standing struct {
	seq  uint64
	rank int
}

// standingOf is that of msg under the policy order.
func standingOf(msg *objects.Message, order string) standing {
	s := standing{seq: msg.Seq}
	switch {
	case msg.Urgent:
		s.rank = objects.Priorities
	case order == "priority":
		s.rank = int(msg.Priority)
	}
	return s
}

// list checks the order of what is held, and what was dropped to make room: the oldest
// of the lowest rank. Objects that do not show what they hold are not asked.
func (l *mailboxLaws) list(m *monitor, a act, r *objects.Request) error {
	o, ok := m.node.Object.(interface {
		Messages() iter.Seq[*objects.Message]
	})
	if !ok {
		return nil
	}
	l.returned = l.returned || a == giveBack
	var now []standing
	for msg := range o.Messages() {
		s := standingOf(msg, m.node.Object.Policy("order"))
		if n := len(now); n > 0 {
			switch before := now[n-1]; {
			case before.rank < s.rank:
				return fmt.Errorf("message %d comes before %d, which ranks higher", before.seq, s.seq)
			case before.rank == s.rank && before.seq > s.seq && !l.returned:
				return fmt.Errorf("message %d comes before %d, which is older", before.seq, s.seq)
			}
		}
		now = append(now, s)
	}
	was := l.held
	l.held = now
	if a != submit || r.Op != objects.Send || stat(m.node.Object.Stat(), "dropped") == stat(m.stat, "dropped") {
		return nil
	}
	for i, gone := range was {
		if slices.Contains(now, gone) {
			continue
		}
		for j, stays := range was {
			if slices.Contains(now, stays) && (stays.rank < gone.rank || stays.rank == gone.rank && j < i) {
				return fmt.Errorf("message %d was dropped to make room, and not %d", gone.seq, stays.seq)
			}
		}
	}
	return nil
}

// track follows the messages.
func (l *mailboxLaws) track(m *monitor, a act, r *objects.Request, text string, done []*objects.Request) error {
	switch a {
	case destroy:
		l.sent = nil
		return nil
	case giveBack:
		if i := slices.IndexFunc(l.taken, func(t delivery) bool { return t.request == r }); i >= 0 {
			l.sent = slices.Insert(l.sent, 0, l.taken[i].letter)
			l.taken = slices.Delete(l.taken, i, i+1)
			*l.reading(r.Handle) = reading{handle: r.Handle}
		}
	}
	// A receive that finds messages takes one of them before the room it makes admits
	// others, which may rank higher.
	early := r != nil && a != giveBack && r.Op == objects.Receive && r.Errno == 0 && slices.Contains(done, r) &&
		slices.ContainsFunc(l.inOrder(m, r.Handle.Only), func(i int) bool {
			return l.sent[i].text[:min(r.Size, len(l.sent[i].text))] == string(r.Data)
		})
	if early {
		if err := l.read(m, r); err != nil {
			return err
		}
	}
	for _, d := range done {
		if d.Op == objects.Send && d.Errno == 0 {
			sent := text
			for _, w := range m.parked {
				if w.request == d {
					sent = w.text
				}
			}
			s := letterOf(d, sent)
			s.at = m.node.kernel.now
			l.sent = append(l.sent, s)
		}
	}
	for _, d := range done {
		switch {
		case early && d == r:
		case d.Op == objects.Close:
			l.readers = slices.DeleteFunc(l.readers, func(s *reading) bool { return s.handle == d.Handle })
		case d.Errno == 0 && (d.Op == objects.Receive || d.Op == objects.Peek):
			if err := l.read(m, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// read checks what the receive or peek d was given.
func (l *mailboxLaws) read(m *monitor, d *objects.Request) error {
	s, got := l.reading(d.Handle), string(d.Data)
	switch {
	case s.rest != "":
		if want := s.rest[:min(d.Size, len(s.rest))]; got != want {
			return fmt.Errorf("the %s got %q; want %q, the rest of its message", say(d), got, want)
		}
		s.rest = s.rest[len(got):]
		s.endDue = s.rest == "" && d.Handle.EOF
		return nil
	case s.endDue:
		s.endDue = false
		if got != "" {
			return fmt.Errorf("the %s got %q; want the end of its message", say(d), got)
		}
		return nil
	}
	begins := func(text string) bool { return text[:min(d.Size, len(text))] == got }
	due := l.inOrder(m, d.Handle.Only)
	i := slices.IndexFunc(due, func(i int) bool { return begins(l.sent[i].text) })
	var text string
	switch {
	case i >= 0:
		text = l.sent[due[i]].text
		if ttl, ok := timeToLive(m); ok && l.sent[due[i]].at+ttl <= m.node.kernel.now {
			return fmt.Errorf("the %s got %q, which had expired", say(d), text)
		}
		if d.Op == objects.Peek {
			break
		}
		l.taken = append(l.taken, delivery{d, l.sent[due[i]]})
		l.dropped += int64(i) // those before it are gone: check asks whether they were counted
		gone := due[:i+1]
		slices.Sort(gone)
		for _, i := range slices.Backward(gone) {
			l.sent = slices.Delete(l.sent, i, i+1)
		}
	case d.Op == objects.Peek:
		j := slices.IndexFunc(m.parked, func(w waiting) bool { return w.request.Op == objects.Send && begins(w.text) })
		switch {
		case j >= 0:
			text = m.parked[j].text
		case begins(m.text):
			text = m.text
		default:
			return fmt.Errorf("the %s saw %q, which nobody sends", say(d), got)
		}
	default:
		return fmt.Errorf("the %s got %q, which nobody sent or somebody had already", say(d), got)
	}
	s.rest = text[len(got):]
	s.endDue = s.rest == "" && d.Handle.EOF
	return nil
}

func (l *mailboxLaws) delivered(r *objects.Request) {
	l.taken = slices.DeleteFunc(l.taken, func(t delivery) bool { return t.request == r })
}

func (l *mailboxLaws) check(m *monitor) error {
	o := m.node.Object
	held := o.Held()
	var dropped int64
	for _, c := range o.Stat() {
		if c.Name == "dropped" || c.Name == "expired" {
			dropped += c.Value
		}
	}
	if lost := int64(len(l.sent)) + l.dropped - dropped - held.Messages; lost != 0 {
		return fmt.Errorf("%d messages were lost without being counted (held %d, dropped %d, expected %+v)", lost, held.Messages, dropped, l.sent)
	}
	want := book{held.Messages, held.Bytes}
	for _, w := range m.parked {
		if w.request.Op == objects.Send {
			want.messages++
			want.bytes += int64(len(w.text))
		}
	}
	if m.node.book != want {
		return fmt.Errorf("%+v is booked; want %+v", m.node.book, want)
	}
	return nil
}

func (l *mailboxLaws) contents() []string {
	var texts []string
	for _, s := range l.sent {
		texts = append(texts, s.text)
	}
	return texts
}

// amount reads the value of a policy.
func amount(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return math.MaxInt64 // max
	}
	return n
}
