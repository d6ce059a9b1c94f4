// Package trace is a text that grows, which every reader gets from where it was when he
// opened it.
package trace

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"syscall"

	"ipcfs/objects"
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
	changed   objects.Time
	destroyed bool
}

var _ objects.Object = (*Trace)(nil)

type traceReader struct {
	handle  *objects.Handle
	pending []byte
	lost    int
	waiting objects.Queue
}

// Add appends line, which ends with a newline, for every reader.
func (t *Trace) Add(now objects.Time, line []byte) objects.Finished {
	var done objects.Finished
	t.changed = now
	for _, rd := range t.readers {
		rd.tellLost(len(line))
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

// tellLost says what was lost if there is room for that and n more bytes.
func (rd *traceReader) tellLost(n int) {
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
func (rd *traceReader) serve(_ objects.Time, done *objects.Finished) {
	for r := rd.waiting.First(); r != nil; r = rd.waiting.First() {
		if !rd.answer(r) {
			return
		}
		rd.waiting.Remove(r)
		done.Add(r)
	}
}

// answer gives r what there is, whole lines if one fits; false if there is nothing.
func (rd *traceReader) answer(r *objects.Request) bool {
	if rd.handle.Resume(r) {
		return true
	}
	rd.tellLost(0)
	n := min(len(rd.pending), r.Size)
	if n == 0 {
		return r.Size == 0
	}
	if n < len(rd.pending) {
		if end := bytes.LastIndexByte(rd.pending[:n], '\n') + 1; end > 0 {
			n = end
		}
	}
	lines := &objects.Text{Data: slices.Clone(rd.pending[:n])}
	rd.pending = slices.Delete(rd.pending, 0, n)
	if len(rd.pending) == 0 {
		rd.pending = nil
	}
	rd.handle.Start(r, lines)
	return true
}

func (t *Trace) count() {
	t.held = 0
	for _, rd := range t.readers {
		t.held += int64(len(rd.pending))
	}
}

func (t *Trace) reader(h *objects.Handle) (i int) {
	return slices.IndexFunc(t.readers, func(rd *traceReader) bool { return rd.handle == h })
}

// Readers is how many handles read the trace.
func (t *Trace) Readers() int { return len(t.readers) }

// Submit implements Object.
func (t *Trace) Submit(now objects.Time, r *objects.Request) objects.Finished {
	r.Errno, r.N = 0, 0
	switch i := t.reader(r.Handle); {
	case r.Op == objects.Close:
		if i >= 0 {
			t.readers = slices.Delete(t.readers, i, i+1)
			t.count()
		}
		*r.Handle = objects.Handle{}
	case t.destroyed:
		return r.Fail(syscall.EIDRM) // msgop(2): it was removed
	case r.Op == objects.Open:
		t.readers = append(t.readers, &traceReader{handle: r.Handle})
	case r.Op == objects.Read && i >= 0:
		rd := t.readers[i]
		if rd.waiting.Empty() && rd.answer(r) {
			break
		}
		if r.Nonblock {
			return r.Fail(syscall.EAGAIN) // read(2): it would block
		}
		rd.waiting.Push(now, r)
		return objects.Finished{}
	default:
		return r.Fail(syscall.EINVAL) // read(2): not suitable for it
	}
	t.count()
	return objects.One(r)
}

// Cancel implements Object.
func (t *Trace) Cancel(_ objects.Time, r *objects.Request, cause syscall.Errno) objects.Finished {
	if !r.Parked() {
		return objects.Finished{}
	}
	r.Queue().Remove(r)
	return r.Fail(cause)
}

// Return implements Object: the lines of a reader that has died are nobody else's.
func (t *Trace) Return(objects.Time, *objects.Request) objects.Finished { return objects.Finished{} }

// Destroy implements Object.
func (t *Trace) Destroy(objects.Time) objects.Finished {
	var done objects.Finished
	t.destroyed = true
	for _, rd := range t.readers {
		rd.waiting.Drain(&done, syscall.EIDRM)
	}
	t.readers, t.held = nil, 0
	return done
}

// Removable implements Object. rmdir(2): EBUSY, the system uses it.
func (t *Trace) Removable() syscall.Errno { return syscall.EBUSY }

// Ready implements Object.
func (t *Trace) Ready(h *objects.Handle) objects.Events {
	if t.destroyed {
		return objects.In | objects.Err | objects.Hup
	}
	i := t.reader(h)
	if i >= 0 && (h.Readable() || len(t.readers[i].pending) > 0 || t.readers[i].lost > 0) {
		return objects.In
	}
	return 0
}

// Policy implements Object: it has none.
func (t *Trace) Policy(name string) string { panic("trace: there is no policy " + name) }

// SetPolicy implements Object.
func (t *Trace) SetPolicy(objects.Time, string, string) (objects.Finished, syscall.Errno) {
	return objects.Finished{}, syscall.EINVAL
}

// Held implements Object.
func (t *Trace) Held() objects.Held { return objects.Held{Bytes: t.held, Changed: t.changed} }

// Stat implements Object.
func (t *Trace) Stat() []objects.Counter { return nil }

// Waiters implements Object.
func (t *Trace) Waiters() iter.Seq[*objects.Request] {
	return func(yield func(*objects.Request) bool) {
		for _, rd := range t.readers {
			for r := range rd.waiting.All() {
				if !yield(r) {
					return
				}
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
		if len(rd.pending) > 0 && !rd.waiting.Empty() {
			return fmt.Errorf("a read waits though %d bytes are pending", len(rd.pending))
		}
	}
	return nil
}
