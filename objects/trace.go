package objects

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"syscall"
)

// traceRoom is how many bytes of lines wait for one reader at most.
const traceRoom = 256 << 10

// A Trace tells every reader all lines that are added while it has the trace open. It
// is no Object of a kind, and the driver adds the lines, but handles and requests are
// those of an Object.
//
// Nobody who adds a line waits. A reader that is too slow for what comes loses the
// newest lines, and where they are missing it finds the line "lost N".
type Trace struct {
	readers   []*traceReader
	held      int64 // bytes pending
	changed   Time
	destroyed bool
}

var _ Object = (*Trace)(nil)

type traceReader struct {
	handle  *Handle
	pending []byte
	lost    int
	waiting queue
}

// Add appends line, which ends with a newline, for every reader.
func (t *Trace) Add(now Time, line []byte) Finished {
	var done Finished
	t.changed = now
	for _, rd := range t.readers {
		rd.admit(len(line))
		if rd.lost > 0 || len(rd.pending)+len(line) > traceRoom {
			rd.lost++
			continue
		}
		rd.pending = append(rd.pending, line...)
		rd.serve(now, &done)
	}
	t.count()
	return done
}

// admit says what was lost if there is room for that and n more bytes.
func (rd *traceReader) admit(n int) {
	if rd.lost == 0 {
		return
	}
	line := fmt.Appendf(nil, "lost %d\n", rd.lost)
	if len(rd.pending)+len(line)+n <= traceRoom {
		rd.pending = append(rd.pending, line...)
		rd.lost = 0
	}
}

// serve answers the reads that wait for lines.
func (rd *traceReader) serve(_ Time, done *Finished) {
	for r := rd.waiting.first; r != nil; r = rd.waiting.first {
		if !rd.answer(r) {
			return
		}
		rd.waiting.remove(r)
		done.add(r)
	}
}

// answer gives r what there is, whole lines if one fits; false if there is nothing.
func (rd *traceReader) answer(r *Request) bool {
	if rd.handle.resume(r) {
		return true
	}
	rd.admit(0)
	n := min(len(rd.pending), r.Size)
	if n == 0 {
		return r.Size == 0
	}
	if n < len(rd.pending) {
		if end := bytes.LastIndexByte(rd.pending[:n], '\n') + 1; end > 0 {
			n = end
		}
	}
	m := &Message{}
	m.Data = slices.Clone(rd.pending[:n])
	rd.pending = slices.Delete(rd.pending, 0, n)
	if len(rd.pending) == 0 {
		rd.pending = nil
	}
	rd.handle.startReading(r, m)
	return true
}

func (t *Trace) count() {
	t.held = 0
	for _, rd := range t.readers {
		t.held += int64(len(rd.pending))
	}
}

func (t *Trace) reader(h *Handle) (i int) {
	return slices.IndexFunc(t.readers, func(rd *traceReader) bool { return rd.handle == h })
}

// Readers is how many handles read the trace.
func (t *Trace) Readers() int { return len(t.readers) }

// Submit implements Object.
func (t *Trace) Submit(now Time, r *Request) Finished {
	r.Errno, r.N = 0, 0
	switch i := t.reader(r.Handle); {
	case r.Op == Close:
		if i >= 0 {
			t.readers = slices.Delete(t.readers, i, i+1)
			t.count()
		}
		*r.Handle = Handle{}
	case t.destroyed:
		return failed(r, syscall.EIDRM)
	case r.Op == Open:
		t.readers = append(t.readers, &traceReader{handle: r.Handle})
	case r.Op == Read && i >= 0:
		rd := t.readers[i]
		if rd.waiting.empty() && rd.answer(r) {
			break
		}
		if r.Nonblock {
			return failed(r, syscall.EAGAIN)
		}
		rd.waiting.push(now, r)
		return Finished{}
	default:
		return failed(r, syscall.EINVAL)
	}
	t.count()
	return one(r)
}

// Cancel implements Object.
func (t *Trace) Cancel(_ Time, r *Request, cause syscall.Errno) Finished {
	if r.on == nil {
		return Finished{}
	}
	r.on.remove(r)
	return failed(r, cause)
}

// Return implements Object: the lines of a reader that has died are nobody else's.
func (t *Trace) Return(Time, *Request) Finished { return Finished{} }

// Destroy implements Object.
func (t *Trace) Destroy(Time) Finished {
	var done Finished
	t.destroyed = true
	for _, rd := range t.readers {
		rd.waiting.drain(&done, syscall.EIDRM)
	}
	t.readers, t.held = nil, 0
	return done
}

// Removable implements Object.
func (t *Trace) Removable() syscall.Errno { return syscall.EBUSY }

// Ready implements Object.
func (t *Trace) Ready(h *Handle) Events {
	if t.destroyed {
		return In | Err | Hup
	}
	i := t.reader(h)
	if i >= 0 && (h.readable() || len(t.readers[i].pending) > 0 || t.readers[i].lost > 0) {
		return In
	}
	return 0
}

// Policy implements Object: it has none.
func (t *Trace) Policy(name string) string { panic("objects: trace has no policy " + name) }

// SetPolicy implements Object.
func (t *Trace) SetPolicy(Time, string, string) (Finished, syscall.Errno) {
	return Finished{}, syscall.EINVAL
}

// Held implements Object.
func (t *Trace) Held() Held { return Held{Bytes: t.held, Changed: t.changed} }

// Stat implements Object.
func (t *Trace) Stat() []Counter { return nil }

// Waiters implements Object.
func (t *Trace) Waiters() iter.Seq[*Request] {
	return func(yield func(*Request) bool) {
		for _, rd := range t.readers {
			if !rd.waiting.all(yield) {
				return
			}
		}
	}
}

// Check implements Object.
func (t *Trace) Check() error {
	for _, rd := range t.readers {
		if len(rd.pending) > traceRoom {
			return fmt.Errorf("%d bytes are pending", len(rd.pending))
		}
		if len(rd.pending) > 0 && !rd.waiting.empty() {
			return fmt.Errorf("a read waits though %d bytes are pending", len(rd.pending))
		}
	}
	return nil
}
