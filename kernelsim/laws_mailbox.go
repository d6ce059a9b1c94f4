package kernelsim

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"ipcfs/objects"
)

// mailboxLaws: every message sent is received once, in the order in which they were
// sent, or counted as dropped; a mailbox takes nothing beyond its capacity.
type mailboxLaws struct {
	sent    []string // and not known to be received or dropped, oldest first
	dropped int64    // known to be
	readers []*reading
	taken   []taking
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
	case held.Messages > m.held.Messages && held.Messages > amount(m.node.Object.Policy("capacity")):
		return fmt.Errorf("%d messages are held, the capacity is %s", held.Messages, m.node.Object.Policy("capacity"))
	case held.Bytes > m.held.Bytes && held.Bytes > amount(m.node.Object.Policy("capacity_bytes")):
		return fmt.Errorf("%d bytes are held, the capacity is %s", held.Bytes, m.node.Object.Policy("capacity_bytes"))
	}
	return l.track(m, a, r, text, done)
}

// track follows the messages.
func (l *mailboxLaws) track(m *monitor, a act, r *objects.Request, text string, done []*objects.Request) error {
	switch a {
	case destroy:
		l.sent = nil
		return nil
	case giveBack:
		if i := slices.IndexFunc(l.taken, func(t taking) bool { return t.request == r }); i >= 0 {
			l.sent = slices.Insert(l.sent, 0, l.taken[i].text)
			l.taken = slices.Delete(l.taken, i, i+1)
			*l.reading(r.Handle) = reading{handle: r.Handle}
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
			l.sent = append(l.sent, sent)
		}
	}
	for _, d := range done {
		switch {
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
	i := slices.IndexFunc(l.sent, begins)
	var text string
	switch {
	case i >= 0:
		text = l.sent[i]
		if d.Op == objects.Peek {
			break
		}
		l.taken = append(l.taken, taking{d, text})
		l.dropped += int64(i) // those before it are gone: check asks whether they were counted
		l.sent = slices.Delete(l.sent, 0, i+1)
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
	l.taken = slices.DeleteFunc(l.taken, func(t taking) bool { return t.request == r })
}

func (l *mailboxLaws) check(m *monitor) error {
	o := m.node.Object
	held := o.Held()
	var dropped int64
	for _, c := range o.Stat() {
		if c.Name == "dropped" {
			dropped = c.Value
		}
	}
	if lost := int64(len(l.sent)) + l.dropped - dropped - held.Messages; lost != 0 {
		return fmt.Errorf("%d messages were lost without being counted (held %d, dropped %d, expected %q)", lost, held.Messages, dropped, l.sent)
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

func (l *mailboxLaws) contents() []string { return l.sent }

// amount reads the value of a policy.
func amount(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return math.MaxInt64 // max
	}
	return n
}
