package laws

import (
	"fmt"

	"ipcfs/objects"
)

// reading is the message that a handle has read in part: reads with too small a buffer get it in
// pieces, and some handles get an end of file after it.
type reading struct {
	handle *objects.Handle
	rest   string
	endDue bool
}

// readings are those of an object's handles.
type readings []*reading

func (l *readings) of(h *objects.Handle) *reading {
	for _, s := range *l {
		if s.handle == h {
			return s
		}
	}
	s := &reading{handle: h}
	*l = append(*l, s)
	return s
}

// forget drops the message that h has read in part.
func (l *readings) forget(h *objects.Handle) { *l.of(h) = reading{handle: h} }

// goesOn checks the read d if it had to go on with the message that its handle has read in part;
// new reports that there is none.
func (l *readings) goesOn(d *objects.Request) (new bool, err error) {
	s, got := l.of(d.Handle), string(d.Data)
	switch {
	case s.rest != "":
		if want := s.rest[:min(d.Size, len(s.rest))]; got != want {
			return false, fmt.Errorf("the %s got %q; want %q, the rest of its message", say(d), got, want)
		}
		s.rest = s.rest[len(got):]
		s.endDue = s.rest == "" && d.Handle.EOF
	case s.endDue:
		s.endDue = false
		if got != "" {
			return false, fmt.Errorf("the %s got %q; want the end of its message", say(d), got)
		}
	default:
		return true, nil
	}
	return false, nil
}

// begin notes that d has begun to read text.
func (l *readings) begin(d *objects.Request, text string) {
	s := l.of(d.Handle)
	s.rest = text[len(d.Data):]
	s.endDue = s.rest == "" && d.Handle.EOF
}

// begins reports whether d has got the beginning of text.
func begins(d *objects.Request, text string) bool {
	return text[:min(d.Size, len(text))] == string(d.Data)
}
