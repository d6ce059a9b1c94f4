package laws

import (
	"fmt"
	"slices"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
)

// urgentLaws are those of the urgent messages of a pipe: each is received once, in the
// order in which they were sent.
type urgentLaws struct {
	waiting []string
	readers readings
	taken   []taking
}

// taking is a message that a process was woken with.
type taking struct {
	request *objects.Request
	text    string
}

func (l *urgentLaws) finished(m *monitor, a kernel.Act, r *objects.Request, text string, done []*objects.Request) error {
	switch a {
	case kernel.Destroy:
		l.waiting = nil
		return nil
	case kernel.GiveBack:
		if i := slices.IndexFunc(l.taken, func(t taking) bool { return t.request == r }); i >= 0 {
			l.waiting = slices.Insert(l.waiting, 0, l.taken[i].text)
			l.taken = slices.Delete(l.taken, i, i+1)
			l.readers.forget(r.Handle)
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
			l.waiting = append(l.waiting, sent)
		}
	}
	for _, d := range done {
		switch {
		case d.Op == objects.Close:
			l.readers = slices.DeleteFunc(l.readers, func(s *reading) bool { return s.handle == d.Handle })
		case d.Op == objects.Receive && d.Errno == 0:
			if err := l.read(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// read checks what the receive d was given.
func (l *urgentLaws) read(d *objects.Request) error {
	if new, err := l.readers.goesOn(d); !new {
		return err
	}
	i := slices.IndexFunc(l.waiting, func(text string) bool { return begins(d, text) })
	if i != 0 {
		return fmt.Errorf("the %s got %q; %q wait", say(d), d.Data, l.waiting)
	}
	l.readers.begin(d, l.waiting[0])
	l.taken = append(l.taken, taking{d, l.waiting[0]})
	l.waiting = l.waiting[1:]
	return nil
}

func (l *urgentLaws) delivered(r *objects.Request) {
	l.taken = slices.DeleteFunc(l.taken, func(t taking) bool { return t.request == r })
}
