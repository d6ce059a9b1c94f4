// Package pipe is byte streams by the rules of pipe(7), with messages out of band.
package pipe

import (
	"iter"
	"slices"
	"syscall"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// Limits of a pipe.
const (
	// PipeBuf is the longest write, in bytes, that is all or nothing: PIPE_BUF,
	// limits.h.
	PipeBuf = 4096

	// DefaultPipeCapacity is the capacity of a new pipe in bytes: pipe(7).
	DefaultCapacity = 65536

	// outOfBandCapacity is how many messages oob holds.
	outOfBandCapacity = 64
)

func init() {
	objects.Register(objects.Kind{
		Name:     "pipe",
		New:      func(l objects.Ledger) objects.Object { return New(l) },
		Load:     objects.Loading(load),
		Policies: pipePolicies.Kinds(),
		Ops:      []objects.Op{objects.Open, objects.Connect, objects.Write, objects.Read, objects.Send, objects.Receive, objects.Hangup, objects.Flush, objects.Close},
		Counters: counters.Kinds(),
		Level:    objects.Level{Unit: "bytes", Full: "capacity"},
	})
}

// A Pipe carries bytes from its writers to its readers by the rules of pipe(7) and
// fifo(7), unless its policies say otherwise. Beside the stream it has a small
// mailbox for messages that overtake it.
//
// The bytes of a parked write follow those that are held in the same list, so a read
// takes them from where they are: a long write is copied once, if at all. A write is
// done when the last of its bytes is held, or has been read.
//
// ends.go is about who has which end open, write.go and read.go about the stream, check.go says
// what always holds.
//
// At any time at most one side waits. If a reader is parked, the list is empty.
type Pipe struct {
	ledger objects.Ledger

	capacity int64
	overflow objects.Overflow
	lifetime Lifetime

	bytes   chunkList // held, then those of parked writes
	held    int64     // bytes that the pipe has taken; the rest of the list waits for room
	kept    int       // chunks in buffers of the driver's
	oob     *mailbox.Mailbox
	readers objects.Queue
	writers objects.Queue
	openers objects.Queue // all for the same direction

	destroyed bool
	changed   objects.Time
	taken     objects.Time

	ends                       []*objects.Handle // open for reading the stream
	openReaders, openWriters   int64             // opens of the stream, parked ones too
	readerOpens, writerOpens   int64             // that there ever were
	written, received, dropped int64             // bytes
}

// Lifetime is how long the bytes of a pipe, and its ends, live.
type Lifetime uint8

const (
	Session    Lifetime = iota // as long as somebody has it open: fifo(7)
	Persistent                 // as long as the pipe; opens do not wait, and only a hangup is end of file
)

var lifetimeNames = []string{Session: "session", Persistent: "persistent"}

// String is the policy's word.
func (l Lifetime) String() string { return lifetimeNames[l] }

// New makes an empty pipe with default policies that books what it holds in l.
func New(l objects.Ledger) *Pipe {
	return &Pipe{ledger: l, capacity: DefaultCapacity, oob: mailbox.NewOf(l, outOfBandCapacity, PipeBuf)}
}

// A transfer is what a pipe keeps with a Request: Request.Own.
type transfer struct {
	units int64  // the bytes that a parked write still offers
	chunk *chunk // they are at the end of it

	consumed bool   // a finished read that took bytes
	from     uint32 // on whom what it took was booked
	spans    []span // that, if it was on several
}

// Reset implements Part.
func (t *transfer) Reset() { *t = transfer{} }

// transferOf is what the pipe keeps with r.
func transferOf(r *objects.Request) *transfer { return objects.PartOf[transfer](r) }

// Submit implements Object.
func (p *Pipe) Submit(now objects.Time, r *objects.Request) objects.Finished {
	r.Broken = false
	if r.Op == objects.Send || r.Op == objects.Receive {
		return p.oob.Submit(now, r)
	}
	r.Errno, r.N, r.Buffer = 0, 0, nil
	transferOf(r).Reset()
	if p.destroyed && r.Op != objects.Close {
		return r.Fail(syscall.EIDRM)
	}
	switch r.Op {
	case objects.Open, objects.Connect:
		return p.open(now, r)
	case objects.Close:
		if !streams(r.Handle) {
			return p.oob.Submit(now, r)
		}
		done := objects.One(r)
		p.close(now, r.Handle, &done)
		*r.Handle = objects.Handle{}
		return done
	case objects.Write:
		return p.write(now, r)
	case objects.Read:
		return p.read(now, r)
	case objects.Hangup:
		return p.hangup(now, r)
	case objects.Flush:
		return p.flush(now, r)
	}
	return r.Fail(syscall.EINVAL)
}

// flush discards what is held, oob's messages too, and takes what parked writes offer
// as far as there is room now.
func (p *Pipe) flush(now objects.Time, r *objects.Request) objects.Finished {
	p.dropOldest(p.held)
	p.changed = now
	done := p.oob.Submit(now, r)
	p.pump(now, &done)
	return done
}

// Cancel implements Object. A write that is cancelled in the middle succeeds with what
// has gone (write(2): interrupted after some bytes, it returns their number).
func (p *Pipe) Cancel(now objects.Time, r *objects.Request, cause syscall.Errno) objects.Finished {
	var done objects.Finished
	switch {
	case !r.Parked():
		return done
	case r.Op == objects.Send || r.Op == objects.Receive:
		return p.oob.Cancel(now, r, cause)
	case r.Queue() == &p.writers:
		p.finishWrite(r, cause)
		done.Add(r)
		p.pump(now, &done)
	case r.Queue() == &p.openers:
		r.Queue().Remove(r)
		r.Errno = cause
		done.Add(r)
		p.close(now, r.Handle, &done)
	default:
		r.Queue().Remove(r)
		r.Errno = cause
		done.Add(r)
	}
	return done
}

// Return implements Object: the bytes that r took are the next again, on the books of whom
// they were booked on. A limit reached since does not lose them.
func (p *Pipe) Return(now objects.Time, r *objects.Request) objects.Finished {
	var done objects.Finished
	switch {
	case r.Op == objects.Send || r.Op == objects.Receive:
		return p.oob.Return(now, r)
	case !transferOf(r).consumed || p.destroyed:
		return done
	}
	transferOf(r).consumed = false
	spans := transferOf(r).spans
	if spans == nil {
		spans = []span{{transferOf(r).from, len(r.Data)}}
	}
	end := len(r.Data)
	for _, s := range slices.Backward(spans) {
		c := &chunk{data: slices.Clone(r.Data[end-s.n : end]), uid: s.uid, cost: int64(s.n) + chunkCost}
		p.ledger.Adjust(c.uid, c.booked())
		p.bytes.pushFront(c)
		end -= s.n
	}
	p.held += int64(len(r.Data))
	p.received -= int64(len(r.Data))
	for p.bytes.First() != nil {
		reader := p.readers.Pop()
		if reader == nil {
			break
		}
		p.deliverNext(now, reader)
		done.Add(reader)
	}
	return done
}

// Destroy implements Object.
func (p *Pipe) Destroy(now objects.Time) objects.Finished {
	done := p.oob.Destroy(now)
	p.destroyed = true
	for p.bytes.First() != nil {
		p.remove(p.bytes.First())
	}
	p.held = 0
	for w := p.writers.First(); w != nil; w = w.Next() {
		transferOf(w).chunk, transferOf(w).units = nil, 0
	}
	p.openers.Drain(&done, syscall.EIDRM)
	p.readers.Drain(&done, syscall.EIDRM)
	p.writers.Drain(&done, syscall.EIDRM)
	return done
}

// Removable implements Object.
func (p *Pipe) Removable() syscall.Errno {
	switch {
	case p.openers.Len()+p.readers.Len()+p.writers.Len() > 0:
		return syscall.EBUSY
	case p.held > 0:
		return syscall.ENOTEMPTY
	}
	return p.oob.Removable()
}

// Ready implements Object, as pipe_poll of Linux's fs/pipe.c has it: at the end of the
// stream a reader sees POLLHUP, and POLLIN beside it only while bytes are left; a
// writer without readers sees POLLERR.
func (p *Pipe) Ready(h *objects.Handle) objects.Events {
	switch {
	case p.destroyed:
		return objects.In | objects.Out | objects.Err | objects.Hup
	case !streams(h):
		return p.oob.Ready(h)
	}
	var e objects.Events
	if h.Reads {
		if p.bytes.First() != nil || h.End() {
			e |= objects.In
		}
		if p.lifetime == Session && p.openWriters == 0 && !p.unmet(h) {
			e |= objects.Hup
		}
		if p.oob.Any() {
			e |= objects.Pri
		}
	}
	if h.Writes {
		if p.writable() {
			e |= objects.Out
		}
		if p.broken(h) {
			e |= objects.Err
		}
	}
	return e
}

// pipePolicies are the policies of a pipe. Lowering the capacity drops nothing.
var pipePolicies = objects.Policies[*Pipe]{
	objects.Row("capacity", "How many bytes are held at most.", objects.Bytes,
		func(p *Pipe) int64 { return p.capacity },
		func(p *Pipe, _ objects.Time, n int64) syscall.Errno {
			p.capacity = n
			return 0
		}),
	objects.Row("overflow", "What a write to a full pipe does.", objects.Overflows,
		func(p *Pipe) objects.Overflow { return p.overflow },
		func(p *Pipe, _ objects.Time, o objects.Overflow) syscall.Errno {
			p.overflow = o
			return 0
		}),
	objects.Row("lifetime", "How long the bytes live, and who waits for whom.", objects.Words[Lifetime](lifetimeNames),
		func(p *Pipe) Lifetime { return p.lifetime },
		func(p *Pipe, _ objects.Time, l Lifetime) syscall.Errno {
			p.lifetime = l
			return 0
		}),
}

// Policy implements Object.
func (p *Pipe) Policy(name string) string { return pipePolicies.Show(p, name) }

// SetPolicy implements Object.
func (p *Pipe) SetPolicy(now objects.Time, name, value string) (objects.Finished, syscall.Errno) {
	var done objects.Finished
	if errno := pipePolicies.Set(p, now, name, value); errno != 0 {
		return done, errno
	}
	if p.lifetime == Persistent {
		p.openers.Drain(&done, 0)
	}
	p.finishUnpaired(now, &done)
	return done, 0
}

// Held implements Object.
func (p *Pipe) Held() objects.Held {
	oob := p.oob.Held()
	return objects.Held{Messages: oob.Messages, Bytes: p.held, Changed: max(p.changed, oob.Changed), Taken: max(p.taken, oob.Taken)}
}

// counters are what the file stat shows.
var counters = objects.Counters[*Pipe]{
	{Name: "bytes", Gauge: true, Help: "Bytes held.", Value: func(p *Pipe) int64 { return p.held }},
	{Name: "written", Flow: objects.Inward, Help: "Bytes that were written.", Value: func(p *Pipe) int64 { return p.written }},
	{Name: "read", Flow: objects.Outward, Help: "Bytes that were read.", Value: func(p *Pipe) int64 { return p.received }},
	{Name: "dropped", Help: "Bytes that were dropped.", Value: func(p *Pipe) int64 { return p.dropped }},
	{Name: "oob", Gauge: true, Help: "Messages held out of band.", Value: func(p *Pipe) int64 { return p.oob.Held().Messages }},
	{Name: "openers_waiting", Gauge: true, Help: "Opens that wait for the other end.", Value: func(p *Pipe) int64 { return int64(p.openers.Len()) }},
	{Name: "readers_waiting", Gauge: true, Help: "Reads that wait.", Value: func(p *Pipe) int64 { return int64(p.readers.Len()) }},
	{Name: "writers_waiting", Gauge: true, Help: "Writes that wait.", Value: func(p *Pipe) int64 { return int64(p.writers.Len()) }},
	{Name: "open_readers", Gauge: true, Help: "Files open for reading.", Value: func(p *Pipe) int64 { return p.openReaders }},
	{Name: "open_writers", Gauge: true, Help: "Files open for writing.", Value: func(p *Pipe) int64 { return p.openWriters }},
}

// Stat implements Object.
func (p *Pipe) Stat() []objects.Counter { return counters.Stat(p) }

// Waiters implements Object.
func (p *Pipe) Waiters() iter.Seq[*objects.Request] {
	return func(yield func(*objects.Request) bool) {
		for _, q := range []iter.Seq[*objects.Request]{p.openers.All(), p.writers.All(), p.readers.All(), p.oob.Waiters()} {
			for r := range q {
				if !yield(r) {
					return
				}
			}
		}
	}
}
