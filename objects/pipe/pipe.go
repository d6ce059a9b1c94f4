// Package pipe is byte streams by the rules of pipe(7), with messages out of band.
package pipe

import (
	"fmt"
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

// An end is what an open file has of a pipe: Handle.Own.
type end struct {
	awaitsPeer     bool  // it was opened without waiting for the other end
	peerGeneration int64 // how often the other end had been opened before, if it was not there
}

// endOf is what the pipe keeps with h.
func endOf(h *objects.Handle) *end { return objects.KeptWith[end](h) }

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

// streams reports whether h is an end of the stream rather than of oob.
func streams(h *objects.Handle) bool { return h.ReadOp != objects.Receive && h.WriteOp != objects.Send }

// open begins the use of r's handle. A Connect waits for the other end, as fifo(7)
// has it; an Open never does, so the first read or write does it instead.
func (p *Pipe) open(now objects.Time, r *objects.Request) objects.Finished {
	h := r.Handle
	if !streams(h) {
		return p.oob.Submit(now, r)
	}
	connect := r.Op == objects.Connect && p.lifetime == Session
	// fifo(7), open(2): ENXIO, opened for writing only with O_NONBLOCK, no reader.
	if connect && r.Nonblock && h.Writes && !h.Reads && p.openReaders == 0 {
		return r.Fail(syscall.ENXIO)
	}
	endOf(h).awaitsPeer = r.Op == objects.Open
	endOf(h).peerGeneration = met
	if p.openWriters == 0 {
		endOf(h).peerGeneration = p.writerOpens
	}
	if !h.Reads {
		endOf(h).peerGeneration = met
		if p.openReaders == 0 {
			endOf(h).peerGeneration = p.readerOpens
		}
	}
	var done objects.Finished
	alone := false
	if h.Reads {
		p.openReaders++
		p.readerOpens++
		p.ends = append(p.ends, h)
		alone = p.openWriters == 0
	}
	if h.Writes {
		p.openWriters++
		p.writerOpens++
		alone = !h.Reads && p.openReaders == 0
	}
	// fifo(7): with O_RDWR, and for reading with O_NONBLOCK, it does not wait.
	if connect && !r.Nonblock && alone && h.Reads != h.Writes {
		p.openers.Push(now, r)
		return done
	}
	if o := p.openers.First(); o != nil && (h.Reads && o.Handle.Writes || h.Writes && o.Handle.Reads) {
		p.openers.Drain(&done, 0)
	}
	done.Add(r)
	return done
}

// met is the value of Handle.peerGeneration when the other end was there at open.
const met = -1

// awaits reports whether h still waits for the first partner after an open that could
// not do so itself.
func (p *Pipe) awaits(h *objects.Handle) bool {
	return h != nil && endOf(h).awaitsPeer && p.unmet(h)
}

// unmet reports whether nobody has opened the other end since h was opened alone.
func (p *Pipe) unmet(h *objects.Handle) bool {
	if h.Reads {
		return endOf(h).peerGeneration == p.writerOpens
	}
	return endOf(h).peerGeneration == p.readerOpens
}

// ended reports whether a read of h on the empty pipe gets end of file.
// pipe(7): all descriptors of the write end have been closed.
func (p *Pipe) ended(h *objects.Handle) bool {
	return p.lifetime == Session && p.openWriters == 0 && !p.awaits(h)
}

// broken reports whether a write through h gets EPIPE.
// pipe(7): all descriptors of the read end have been closed.
func (p *Pipe) broken(h *objects.Handle) bool {
	return p.lifetime == Session && p.openReaders == 0 && !p.awaits(h)
}

func (p *Pipe) close(now objects.Time, h *objects.Handle, done *objects.Finished) {
	if h.Reads {
		p.openReaders--
		i := slices.Index(p.ends, h)
		p.ends = slices.Delete(p.ends, i, i+1)
	}
	if h.Writes {
		p.openWriters--
	}
	p.finishUnpaired(now, done)
	if p.lifetime == Session && p.openReaders+p.openWriters == 0 {
		// fifo(7): the bytes live in the pipe that the open files share.
		for p.bytes.First() != nil {
			p.remove(p.bytes.First())
		}
		p.held = 0
	}
}

// finishUnpaired finishes the requests that wait for an end of the pipe which has gone.
func (p *Pipe) finishUnpaired(now objects.Time, done *objects.Finished) {
	for r := p.readers.First(); r != nil; {
		next := r.Next()
		if p.ended(r.Handle) {
			p.readers.Remove(r)
			r.Data = nil
			done.Add(r)
		}
		r = next
	}
	for w := p.writers.First(); w != nil; {
		next := w.Next()
		if p.broken(w.Handle) {
			p.finishWrite(w, syscall.EPIPE)
			w.Broken = true
			done.Add(w)
		}
		w = next
	}
	p.pump(now, done)
}

// remove takes c off the stream, and off the books.
func (p *Pipe) remove(c *chunk) {
	p.bytes.remove(c)
	p.ledger.Adjust(c.uid, c.booked().Minus())
	if c.buffer != nil {
		p.kept--
		c.buffer.Free()
	}
}

// write carries out r, parks it or fails it.
func (p *Pipe) write(now objects.Time, r *objects.Request) objects.Finished {
	if p.broken(r.Handle) {
		r.Broken = true
		return r.Fail(syscall.EPIPE)
	}
	var readers, done objects.Finished
	rest := r.Data
	r.Data = nil
	for len(rest) > 0 {
		reader := p.readers.Pop()
		if reader == nil {
			break
		}
		n := min(reader.Size, len(rest))
		p.deliver(now, reader, rest[:n:n], nil)
		transferOf(reader).from = r.Caller.Uid // it would have been
		readers.Add(reader)
		r.N += n
		rest = rest[n:]
	}
	p.written += int64(r.N)
	if r.N > 0 {
		p.changed = now
	}
	finished := len(rest) == 0 || p.put(now, r, rest)
	if finished && p.overlaps(r.N) {
		done.Add(r)
		finished = false
	}
	c := p.bytes.Last() // made of the rest, if there were readers
	for reader := readers.Next(); reader != nil; reader = readers.Next() {
		if c != nil && c.buffer != nil {
			c.buffer.Hold()
			reader.Buffer = c.buffer
		}
		done.Add(reader)
	}
	if finished {
		done.Add(r)
	}
	return done
}

// put takes the rest of the write r as far as there is room. It reports false if r
// was parked.
func (p *Pipe) put(now objects.Time, r *objects.Request, rest []byte) bool {
	room := p.room()
	if !p.writers.Empty() {
		room = 0 // they are served in order
	}
	fits := int(min(room, int64(len(rest))))
	if fits < len(rest) && (p.atomic(r, len(rest)) || p.overflow == objects.DropNewest && len(rest) <= PipeBuf) {
		fits = 0
	}
	keep := rest[:fits]
	wait := false
	var old int64 // bytes that are dropped for it
	lost := 0     // bytes of its own that are dropped
	switch p.overflow {
	case objects.Block:
		if wait = !r.Nonblock && fits < len(rest); wait {
			keep = rest
		}
	case objects.DropOldest:
		keep = rest[len(rest)-int(min(p.capacity, int64(len(rest)))):]
		old = p.held + int64(len(keep)) - p.capacity
		lost, fits = len(rest)-len(keep), len(keep)
	case objects.DropNewest:
		lost = len(rest) - len(keep)
	}
	if len(keep) > 0 {
		if errno := p.storeInstead(r, keep, wait, old); errno != 0 {
			if r.N == 0 {
				r.Errno = errno
			}
			return true
		}
	}
	p.dropOldest(old)
	p.dropped += int64(lost)
	p.held += int64(fits)
	p.written += int64(fits)
	if fits > 0 {
		p.changed = now
	}
	switch {
	case wait:
		r.N += fits
		transferOf(r).units = int64(len(rest) - fits)
		transferOf(r).chunk = p.bytes.Last()
		p.writers.Push(now, r)
		return false
	case p.overflow == objects.DropOldest || p.overflow == objects.DropNewest:
		r.N += len(rest)
	default:
		r.N += fits
		if r.N == 0 {
			// pipe(7): EAGAIN, O_NONBLOCK and full, or no room for all of a
			// write that is atomic.
			r.Errno = syscall.EAGAIN
		}
	}
	return true
}

// atomic reports whether n bytes, which is what is left of the write r, go in whole or
// not at all. pipe(7): PIPE_BUF bytes or fewer do. More than the capacity cannot.
func (p *Pipe) atomic(r *objects.Request, n int) bool {
	return r.N == 0 && n <= PipeBuf && int64(n) <= p.capacity
}

// room is how many bytes the pipe would take.
func (p *Pipe) room() int64 { return max(0, p.capacity-p.held) }

// store appends data of r to the stream. Small writes share chunks, unless they
// are going to wait and might have to be taken back.
func (p *Pipe) store(r *objects.Request, data []byte, apart bool) syscall.Errno {
	uid, n := r.Caller.Uid, int64(len(data))
	if c := p.bytes.Last(); c != nil && !apart && p.writers.Empty() && !c.mark && c.uid == uid && len(data) <= cap(c.data)-len(c.data) {
		errno := p.ledger.Charge(uid, objects.Cost{Bytes: n, Kept: -n})
		if errno == 0 {
			c.data = append(c.data, data...)
			p.bytes.n += n
		}
		return errno
	}
	if r.Keep != nil && (len(data) >= fullData || len(data) >= longData && p.kept < fewKept) {
		c := &chunk{data: data[:len(data):len(data)], cost: r.Keeps + chunkCost, uid: uid}
		if p.ledger.Charge(uid, c.booked()) == 0 { // else a copy may take less
			c.buffer = r.Keep(data)
			p.kept++
			p.bytes.push(c)
			return 0
		}
	}
	size := len(data)
	if !apart {
		size = max(size, int(min(max(p.bytes.n, minChunk), maxChunk)))
	}
	c := &chunk{data: data, cost: int64(size) + chunkCost, uid: uid}
	errno := p.ledger.Charge(uid, c.booked())
	if errno == 0 {
		c.data = append(make([]byte, 0, size), data...)
		p.bytes.push(c)
	}
	return errno
}

// storeInstead is store for data for which the n oldest bytes are to be dropped: these are
// not on the books while it is booked. If it fails, nothing has changed.
func (p *Pipe) storeInstead(r *objects.Request, data []byte, apart bool, n int64) syscall.Errno {
	type refund struct {
		uid  uint32
		cost objects.Cost
	}
	var refunds []refund
	for c := p.bytes.First(); n > 0 && c != nil && int64(len(c.data)) <= n; c = c.Next() {
		n -= int64(len(c.data))
		refunds = append(refunds, refund{c.uid, c.booked()})
		p.ledger.Adjust(c.uid, c.booked().Minus())
	}
	errno := p.store(r, data, apart)
	for _, f := range refunds {
		p.ledger.Adjust(f.uid, f.cost)
	}
	return errno
}

// dropOldest drops the n oldest bytes that are held, and the marks before and between.
func (p *Pipe) dropOldest(n int64) {
	n = min(n, p.held)
	for n > 0 {
		c := p.bytes.First()
		if int64(len(c.data)) <= n {
			n -= int64(len(c.data))
			p.dropped += int64(len(c.data))
			p.held -= int64(len(c.data))
			p.remove(c)
			continue
		}
		p.consume(c, int(n))
		p.dropped += n
		p.held -= n
		n = 0
	}
}

// consume takes the first n bytes off the first chunk c.
func (p *Pipe) consume(c *chunk, n int) []byte {
	b := c.data[:n:n]
	if n == len(c.data) {
		p.remove(c)
		return b
	}
	c.data = c.data[n:]
	p.shrink(c, n)
	return b
}

// shrink notes that c has n bytes less. Their memory is still in use.
func (p *Pipe) shrink(c *chunk, n int) {
	p.bytes.n -= int64(n)
	p.ledger.Adjust(c.uid, objects.Cost{Bytes: -int64(n), Kept: int64(n)})
}

// deliver gives data, which is in b, to the read r.
func (p *Pipe) deliver(now objects.Time, r *objects.Request, data []byte, b objects.Buffer) {
	r.Data, r.Buffer, transferOf(r).consumed, transferOf(r).spans = data, b, len(data) > 0, nil
	p.received += int64(len(data))
	p.taken = now
}

// overlaps reports whether the writer of n bytes wakes before their reader, and prepares
// the next while these are being copied. Not without a buffer: there, a write that has
// returned has been read.
func (p *Pipe) overlaps(n int) bool { return n >= maxChunk && p.capacity > 0 }

func (p *Pipe) read(now objects.Time, r *objects.Request) objects.Finished {
	r.Data = nil
	var done objects.Finished
	switch c := p.bytes.First(); {
	case r.Handle.End() && !r.More: // a hangup that another reader came upon first
		r.Handle.SetEnd(false)
	case c == nil:
		switch {
		case r.More || p.ended(r.Handle):
		case r.Nonblock:
			return r.Fail(syscall.EAGAIN) // pipe(7): EAGAIN, empty and O_NONBLOCK
		default:
			p.readers.Push(now, r)
			return done
		}
	case c.mark && !r.More:
		p.remove(c)
		p.markEOF(r.Handle)
	case !c.mark:
		p.deliverNext(now, r)
		if p.overlaps(len(r.Data)) {
			p.pump(now, &done)
			done.Add(r)
		} else {
			done.Add(r)
			p.pump(now, &done)
		}
		return done
	}
	done.Add(r)
	return done
}

// deliverNext gives the next bytes to the read r.
func (p *Pipe) deliverNext(now objects.Time, r *objects.Request) {
	data, b, spans := p.take(r.Size, &transferOf(r).from)
	p.deliver(now, r, data, b)
	transferOf(r).spans = spans
}

// take takes up to n bytes off the stream. Those of a long chunk are not copied; of
// short ones it collects several, so that a reader gets what is held. They were booked on
// from, or as the spans say.
func (p *Pipe) take(n int, from *uint32) ([]byte, objects.Buffer, []span) {
	c := p.bytes.First()
	*from = c.uid
	if n <= len(c.data) || len(c.data) >= maxChunk || c.Next() == nil || c.Next().mark {
		n = min(n, len(c.data))
		if c.buffer != nil {
			c.buffer.Hold()
		}
		b := p.consume(c, n)
		p.takeOut(n)
		return b, c.buffer, nil
	}
	b := make([]byte, 0, min(int64(n), p.bytes.n, maxChunk))
	var spans []span
	for len(b) < cap(b) && c != nil && !c.mark {
		next, k := c.Next(), min(cap(b)-len(b), len(c.data))
		switch {
		case len(spans) > 0 && spans[len(spans)-1].uid == c.uid:
			spans[len(spans)-1].n += k
		case len(spans) > 0:
			spans = append(spans, span{c.uid, k})
		case c.uid != *from:
			spans = append(spans, span{*from, len(b)}, span{c.uid, k})
		}
		b = append(b, p.consume(c, k)...)
		c = next
	}
	p.takeOut(len(b))
	return b, nil, spans
}

// takeOut counts n bytes out of the stream, first those that are held. The others belong to
// parked writes, which have written them now.
func (p *Pipe) takeOut(n int) {
	over := int64(n) - p.held
	p.held = max(0, -over)
	for w := p.writers.First(); over > 0; w = w.Next() {
		k := min(over, transferOf(w).units)
		p.admit(w, k)
		p.held -= k
		over -= k
	}
}

// admit takes n more bytes of the parked write w.
func (p *Pipe) admit(w *objects.Request, n int64) {
	transferOf(w).units -= n
	w.N += int(n)
	p.held += n
	p.written += n
}

// pump takes what parked writes offer, in order, as far as there is room, and
// finishes those that are done.
func (p *Pipe) pump(now objects.Time, done *objects.Finished) {
	for w := p.writers.First(); w != nil; w = p.writers.First() {
		n := min(transferOf(w).units, p.room())
		switch {
		case p.overflow == objects.DropOldest:
			n = transferOf(w).units // makes room below
		case n < transferOf(w).units && p.atomic(w, int(transferOf(w).units)):
			n = 0
		}
		if n > 0 {
			p.admit(w, n)
			p.changed = now
		}
		if transferOf(w).units > 0 && p.overflow == objects.Block {
			return
		}
		if p.overflow == objects.DropNewest {
			p.dropped += transferOf(w).units
			w.N += int(transferOf(w).units)
			p.cut(w)
		}
		p.finishWrite(w, syscall.EAGAIN)
		done.Add(w)
		if p.overflow == objects.DropOldest {
			p.dropOldest(p.held - p.capacity)
		}
	}
}

// cut takes the bytes that the parked write w still offers off the stream.
func (p *Pipe) cut(w *objects.Request) {
	n := int(transferOf(w).units)
	if n == 0 {
		return
	}
	transferOf(w).units = 0
	c := transferOf(w).chunk
	if n == len(c.data) {
		p.remove(c)
		return
	}
	c.data = c.data[:len(c.data)-n]
	p.shrink(c, n)
}

// finishWrite ends the parked write w: with what it has written, or with errno if that is
// nothing. pipe(7), write(2): a partial write succeeds.
func (p *Pipe) finishWrite(w *objects.Request, errno syscall.Errno) {
	p.cut(w)
	p.writers.Remove(w)
	transferOf(w).chunk = nil
	if w.N == 0 {
		w.Errno = errno
	}
}

// hangup is an end of file at this place in the stream: for every reader that is open
// when it is reached, or else for the one that comes first. What parked writes offer
// comes before it.
func (p *Pipe) hangup(now objects.Time, r *objects.Request) objects.Finished {
	var done objects.Finished
	mark := p.bytes.First() != nil || len(p.ends) == 0
	if mark {
		// As a write: EDQUOT and ENOSPC.
		if errno := p.ledger.Charge(r.Caller.Uid, objects.Cost{Kept: chunkCost}); errno != 0 {
			return r.Fail(errno)
		}
		p.bytes.push(&chunk{mark: true, cost: chunkCost, uid: r.Caller.Uid})
	}
	p.changed = now
	if o := p.openers.First(); o != nil && o.Handle.Reads {
		p.openers.Drain(&done, 0) // to read that end of file
	}
	if !mark {
		p.markEOF(nil)
		for reader := p.readers.Pop(); reader != nil; reader = p.readers.Pop() {
			reader.Data = nil
			reader.Handle.SetEnd(false)
			done.Add(reader)
		}
	}
	done.Add(r)
	return done
}

// markEOF lets every open reader but h, which has read it, see an end of file.
func (p *Pipe) markEOF(h *objects.Handle) {
	for _, end := range p.ends {
		end.SetEnd(end != h)
	}
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

// writable reports whether a write of PIPE_BUF bytes would be taken.
func (p *Pipe) writable() bool {
	switch {
	case p.overflow == objects.DropOldest || p.overflow == objects.DropNewest, !p.readers.Empty():
		return true
	case !p.writers.Empty():
		return false
	}
	return p.room() >= max(1, min(PipeBuf, p.capacity))
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
	{Name: "written", Help: "Bytes that were written.", Value: func(p *Pipe) int64 { return p.written }},
	{Name: "read", Help: "Bytes that were read.", Value: func(p *Pipe) int64 { return p.received }},
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

// Booked implements Accountable.
func (p *Pipe) Booked() map[uint32]objects.Cost {
	books := p.oob.Booked()
	for c := p.bytes.First(); c != nil; c = c.Next() {
		was, is := books[c.uid], c.booked()
		books[c.uid] = objects.Cost{Messages: was.Messages, Bytes: was.Bytes + is.Bytes, Kept: was.Kept + is.Kept}
	}
	return books
}

// Check implements Object.
func (p *Pipe) Check() error {
	var n int64
	for c := p.bytes.First(); c != nil; c = c.Next() {
		if len(c.data) == 0 && !c.mark || c.mark && len(c.data) > 0 {
			return fmt.Errorf("an empty chunk, or a mark with bytes")
		}
		n += int64(len(c.data))
	}
	var offered int64
	for w := p.writers.First(); w != nil; w = w.Next() {
		if transferOf(w).units <= 0 || transferOf(w).chunk == nil || int64(len(transferOf(w).chunk.data)) < transferOf(w).units {
			return fmt.Errorf("a parked write offers %d bytes", transferOf(w).units)
		}
		if p.broken(w.Handle) {
			return fmt.Errorf("a write waits without a reader")
		}
		offered += transferOf(w).units
	}
	for r := p.readers.First(); r != nil; r = r.Next() {
		if p.ended(r.Handle) {
			return fmt.Errorf("a read waits without a writer")
		}
	}
	switch w := p.writers.First(); {
	case n != p.bytes.n || n != p.held+offered:
		return fmt.Errorf("%d bytes, counted %d: %d held and %d offered", n, p.bytes.n, p.held, offered)
	case p.readers.Len() > 0 && p.bytes.First() != nil:
		return fmt.Errorf("%d reads wait beside %d bytes", p.readers.Len(), n)
	case w != nil && p.overflow != objects.Block:
		return fmt.Errorf("%d writes wait under overflow %s", p.writers.Len(), p.overflow)
	case w != nil && p.room() > 0 && (p.room() >= transferOf(w).units || !p.atomic(w, int(transferOf(w).units))):
		return fmt.Errorf("the first of %d writes waits though %d bytes fit", p.writers.Len(), p.room())
	case p.openers.Len() > 0 && (p.lifetime == Persistent || p.openReaders > 0 && p.openWriters > 0):
		return fmt.Errorf("%d opens wait though the other end is there", p.openers.Len())
	case int64(len(p.ends)) != p.openReaders:
		return fmt.Errorf("%d open readers, counted %d", len(p.ends), p.openReaders)
	case p.destroyed && (n > 0 || p.openers.Len()+p.readers.Len()+p.writers.Len() > 0):
		return fmt.Errorf("destroyed, but something is left")
	}
	return p.oob.Check()
}
