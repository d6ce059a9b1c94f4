package laws

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
	_ "ipcfs/objects/pipe" // registers the kind
)

func init() { register("pipe", func() kindLaws { return &pipeLaws{} }) }

// pipeLaws: bytes are read in the order in which they were written, each once, and
// none goes away but by a policy that drops it or with the last open file; end of file
// means that no writer is left. An open meets one of the other end: fifo(7).
type pipeLaws struct {
	stream string // written or offered by parked writes, and not read or dropped
	taken  []taking
	hungUp bool
	oob    urgentLaws
}

// stat is the value of one of an object's counters.
func stat(counters []objects.Counter, name string) int64 {
	for _, c := range counters {
		if c.Name == name {
			return c.Value
		}
	}
	return 0
}

func (l *pipeLaws) finished(m *monitor, a kernel.Act, r *objects.Request, text string, done []*objects.Request) error {
	o := m.node.Object
	now := o.Stat()
	if a == kernel.Destroy {
		l.stream = ""
		return l.oob.finished(m, a, r, text, done)
	}
	for _, d := range done {
		if d.Op != objects.Connect {
			continue
		}
		if a == kernel.Submit && r.Op == objects.Hangup {
			continue // whoever waits in open to read reads that end of file
		}
		if err := met(d, now, o.Policy("lifetime") == "persistent"); err != nil {
			return err
		}
	}
	if a == kernel.Submit && r.Op == objects.Write {
		l.stream += text
	}
	if a == kernel.Submit && r.Errno == 0 {
		switch r.Op {
		case objects.Hangup:
			l.hungUp = true
		case objects.Flush:
			l.oob.waiting = nil
		}
	}
	if a == kernel.GiveBack {
		if i := slices.IndexFunc(l.taken, func(t taking) bool { return t.request == r }); i >= 0 {
			l.stream = l.taken[i].text + l.stream
			l.taken = slices.Delete(l.taken, i, i+1)
		}
	}
	// Reads come before drops: what a read was given was there before room was
	// made, and before the last of a long write was dropped.
	for _, d := range done {
		if d.Op != objects.Read || d.Errno != 0 {
			continue
		}
		got := string(d.Data)
		switch rest, ok := strings.CutPrefix(l.stream, got); {
		case !ok:
			return fmt.Errorf("the %s got %q; want the beginning of %q", say(d), got, l.stream)
		case len(got) > d.Size:
			return fmt.Errorf("the %s got %d bytes; it wanted %d", say(d), len(got), d.Size)
		case got != "":
			l.stream = rest
			l.taken = append(l.taken, taking{d, got})
		case !l.hungUp && d.Size > 0 && !d.More && stat(now, "open_writers") > 0:
			return fmt.Errorf("the %s got end of file; there are %d writers", say(d), stat(now, "open_writers"))
		}
	}
	if dropped := int(stat(now, "dropped") - stat(m.stat, "dropped")); dropped > 0 {
		if dropped > len(l.stream) {
			return fmt.Errorf("%d bytes of %d were dropped", dropped, len(l.stream))
		}
		switch policy := o.Policy("overflow"); {
		case policy == "drop-newest" && (a != kernel.Submit || r.Op != objects.Flush):
			l.stream = l.stream[:len(l.stream)-dropped]
		case policy == "drop-oldest", a == kernel.Submit && r.Op == objects.Flush:
			l.stream = l.stream[dropped:]
		default:
			return fmt.Errorf("%d bytes were dropped under overflow %s", dropped, policy)
		}
	}
	l.cut(m, r, text, done)
	ends := func(c []objects.Counter) int64 { return stat(c, "open_readers") + stat(c, "open_writers") }
	if ends(m.stat) > 0 && ends(now) == 0 && o.Policy("lifetime") == "session" {
		l.stream = "" // fifo(7): the bytes live as long as somebody has it open
	}
	held := o.Held().Bytes
	if a != kernel.GiveBack && held > m.held.Bytes && held > m.node.Amount("capacity") {
		return fmt.Errorf("%d bytes are held, the capacity is %s", held, o.Policy("capacity"))
	}
	return l.oob.finished(m, a, r, text, done)
}

// partners is how many have the other end of h open, or wait in open(2) for this one.
func partners(h *objects.Handle, now []objects.Counter) int64 {
	if h.Reads {
		return stat(now, "open_writers")
	}
	return stat(now, "open_readers")
}

// met checks how the Connect d ended.
func met(d *objects.Request, now []objects.Counter, persistent bool) error {
	h := d.Handle
	if persistent || h.Reads == h.Writes || h.ReadOp == objects.Receive || h.WriteOp == objects.Send {
		return nil // it has no other end to wait for
	}
	alone := partners(h, now) == 0
	switch {
	case d.Errno == 0 && alone && !(d.Nonblock && h.Reads):
		return fmt.Errorf("the %s succeeded; nobody has the other end open", say(d))
	case d.Errno == syscall.ENXIO && !(alone && d.Nonblock && h.Writes):
		return fmt.Errorf("the %s ended with ENXIO; %d have the other end open", say(d), partners(h, now))
	}
	return nil
}

// cut takes those bytes out of the stream that finished writes had offered and did not write.
func (l *pipeLaws) cut(m *monitor, r *objects.Request, text string, done []*objects.Request) {
	// What was offered before the call is the stream's end, in the order of submission.
	offers := slices.Clone(m.parked)
	if r != nil && r.Op == objects.Write && text != "" {
		offers = append(offers, waiting{request: r, text: text})
	}
	end := len(l.stream)
	for _, w := range slices.Backward(offers) {
		if w.request.Op != objects.Write {
			continue
		}
		if left := len(w.text) - w.request.N; left > 0 && slices.Contains(done, w.request) {
			l.stream = l.stream[:end-left] + l.stream[end:]
		}
		end -= len(w.text) - w.written
	}
}

func (l *pipeLaws) delivered(r *objects.Request) {
	l.taken = slices.DeleteFunc(l.taken, func(t taking) bool { return t.request == r })
	l.oob.delivered(r)
}

func (l *pipeLaws) check(m *monitor) error {
	var want kernel.Book
	offered := 0
	for _, w := range m.parked {
		switch w.request.Op {
		case objects.Connect:
			if n := partners(w.request.Handle, m.node.Object.Stat()); n > 0 {
				return fmt.Errorf("the %s waits; %d have the other end open", say(w.request), n)
			}
		case objects.Write:
			offered += len(w.text) - w.request.N
		case objects.Send:
			want.Messages++
			want.Bytes += int64(len(w.text))
		}
	}
	held := m.node.Object.Held().Bytes
	if int64(len(l.stream)) != held+int64(offered) {
		return fmt.Errorf("%d bytes are held and %d offered; want %q", held, offered, l.stream)
	}
	want.Bytes += int64(len(l.stream))
	for _, s := range l.oob.waiting {
		want.Messages++
		want.Bytes += int64(len(s))
	}
	if m.node.Booked() != want {
		return fmt.Errorf("%+v is booked; want %+v", m.node.Booked(), want)
	}
	return nil
}

func (l *pipeLaws) contents() []string {
	if l.stream == "" {
		return nil
	}
	return []string{l.stream}
}
