package objects

import (
	"fmt"
	"iter"
	"slices"
	"syscall"
)

// Limits of a pipe.
const (
	// PipeBuf is the longest write, in bytes, that is all or nothing: PIPE_BUF,
	// limits.h.
	PipeBuf = 4096

	// DefaultPipeCapacity is the capacity of a new pipe in bytes: pipe(7).
	DefaultPipeCapacity = 65536

	// outOfBandCapacity is how many messages oob holds.
	outOfBandCapacity = 64
)

func init() {
	Register(Kind{
		Name:     "pipe",
		New:      func(l Ledger) Object { return NewPipe(l) },
		Policies: pipePolicies.names(),
		Ops:      []Op{Open, Connect, Write, Read, Send, Receive, Hangup, Flush, Close},
		Counters: pipeCounters,
		Level:    Level{Unit: "bytes", Full: "capacity"},
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
	ledger Ledger

	capacity int64
	overflow Overflow
	lifetime Lifetime

	bytes   chunkList // held, then those of parked writes
	held    int64     // bytes that the pipe has taken; the rest of the list waits for room
	kept    int       // chunks in buffers of the driver's
	oob     *Mailbox
	readers queue
	writers queue
	openers queue // all for the same direction

	destroyed bool
	changed   Time
	taken     Time

	ends                       []*Handle // open for reading the stream
	openReaders, openWriters   int64     // opens of the stream, parked ones too
	readerOpens, writerOpens   int64     // that there ever were
	written, received, dropped int64     // bytes
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

// NewPipe makes an empty pipe with default policies that books what it holds in l.
func NewPipe(l Ledger) *Pipe {
	p := &Pipe{ledger: l, capacity: DefaultPipeCapacity, oob: NewMailbox(l)}
	p.oob.capacity, p.oob.maxMessage = outOfBandCapacity, PipeBuf
	return p
}

// Submit implements Object.
func (p *Pipe) Submit(now Time, r *Request) Finished {
	r.Broken = false
	if r.Op == Send || r.Op == Receive {
		return p.oob.Submit(now, r)
	}
	r.Errno, r.N, r.Buffer, r.message, r.consumed, r.spans = 0, 0, nil, nil, false, nil
	if p.destroyed && r.Op != Close {
		return failed(r, syscall.EIDRM)
	}
	switch r.Op {
	case Open, Connect:
		return p.open(now, r)
	case Close:
		done := one(r)
		p.close(now, r.Handle, &done)
		*r.Handle = Handle{}
		return done
	case Write:
		return p.write(now, r)
	case Read:
		return p.read(now, r)
	case Hangup:
		return p.hangup(now, r)
	case Flush:
		return p.flush(now, r)
	}
	return failed(r, syscall.EINVAL)
}

// streams reports whether h is an end of the stream rather than of oob.
func (h *Handle) streams() bool { return h.ReadOp != Receive && h.WriteOp != Send }

// open begins the use of r's handle. A Connect waits for the other end, as fifo(7)
// has it; an Open never does, so the first read or write does it instead.
func (p *Pipe) open(now Time, r *Request) Finished {
	h := r.Handle
	h.opener = r.Caller.Uid
	if !h.streams() {
		p.oob.handles = append(p.oob.handles, h)
		p.oob.count(h, 1)
		return one(r)
	}
	connect := r.Op == Connect && p.lifetime == Session
	// fifo(7), open(2): ENXIO, opened for writing only with O_NONBLOCK, no reader.
	if connect && r.Nonblock && h.Writes && !h.Reads && p.openReaders == 0 {
		return failed(r, syscall.ENXIO)
	}
	h.awaitsPeer = r.Op == Open
	h.peerGeneration = met
	if p.openWriters == 0 {
		h.peerGeneration = p.writerOpens
	}
	if !h.Reads {
		h.peerGeneration = met
		if p.openReaders == 0 {
			h.peerGeneration = p.readerOpens
		}
	}
	var done Finished
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
		p.openers.push(now, r)
		return done
	}
	if o := p.openers.first; o != nil && (h.Reads && o.Handle.Writes || h.Writes && o.Handle.Reads) {
		p.openers.drain(&done, 0)
	}
	done.add(r)
	return done
}

// met is the value of Handle.peerGeneration when the other end was there at open.
const met = -1

// awaits reports whether h still waits for the first partner after an open that could
// not do so itself.
func (p *Pipe) awaits(h *Handle) bool {
	return h != nil && h.awaitsPeer && p.unmet(h)
}

// unmet reports whether nobody has opened the other end since h was opened alone.
func (p *Pipe) unmet(h *Handle) bool {
	if h.Reads {
		return h.peerGeneration == p.writerOpens
	}
	return h.peerGeneration == p.readerOpens
}

// ended reports whether a read of h on the empty pipe gets end of file.
// pipe(7): all descriptors of the write end have been closed.
func (p *Pipe) ended(h *Handle) bool {
	return p.lifetime == Session && p.openWriters == 0 && !p.awaits(h)
}

// broken reports whether a write through h gets EPIPE.
// pipe(7): all descriptors of the read end have been closed.
func (p *Pipe) broken(h *Handle) bool {
	return p.lifetime == Session && p.openReaders == 0 && !p.awaits(h)
}

func (p *Pipe) close(now Time, h *Handle, done *Finished) {
	if !h.streams() {
		p.oob.handles = slices.DeleteFunc(p.oob.handles, func(o *Handle) bool { return o == h })
		p.oob.count(h, -1)
		p.oob.abolish(h)
		p.oob.relax(now, done)
		return
	}
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
		for p.bytes.first != nil {
			p.remove(p.bytes.first)
		}
		p.held = 0
	}
}

// finishUnpaired finishes the requests that wait for an end of the pipe which has gone.
func (p *Pipe) finishUnpaired(now Time, done *Finished) {
	for r := p.readers.first; r != nil; {
		next := r.next
		if p.ended(r.Handle) {
			p.readers.remove(r)
			r.Data = nil
			done.add(r)
		}
		r = next
	}
	for w := p.writers.first; w != nil; {
		next := w.next
		if p.broken(w.Handle) {
			p.finishWrite(w, syscall.EPIPE)
			w.Broken = true
			done.add(w)
		}
		w = next
	}
	p.pump(now, done)
}

// remove takes c off the stream, and off the books.
func (p *Pipe) remove(c *chunk) {
	p.bytes.remove(c)
	p.ledger.Adjust(c.uid, c.booked().minus())
	if c.buffer != nil {
		p.kept--
		c.buffer.Free()
	}
}

// write carries out r, parks it or fails it.
func (p *Pipe) write(now Time, r *Request) Finished {
	if p.broken(r.Handle) {
		r.Broken = true
		return failed(r, syscall.EPIPE)
	}
	var readers, done Finished
	rest := r.Data
	r.Data = nil
	for len(rest) > 0 {
		reader := p.readers.pop()
		if reader == nil {
			break
		}
		n := min(reader.Size, len(rest))
		p.deliver(now, reader, rest[:n:n], nil)
		reader.from = r.Caller.Uid // it would have been
		readers.add(reader)
		r.N += n
		rest = rest[n:]
	}
	p.written += int64(r.N)
	if r.N > 0 {
		p.changed = now
	}
	finished := len(rest) == 0 || p.put(now, r, rest)
	if finished && p.overlaps(r.N) {
		done.add(r)
		finished = false
	}
	c := p.bytes.last // made of the rest, if there were readers
	for reader := readers.Next(); reader != nil; reader = readers.Next() {
		if c != nil && c.buffer != nil {
			c.buffer.Hold()
			reader.Buffer = c.buffer
		}
		done.add(reader)
	}
	if finished {
		done.add(r)
	}
	return done
}

// put takes the rest of the write r as far as there is room. It reports false if r
// was parked.
func (p *Pipe) put(now Time, r *Request, rest []byte) bool {
	room := p.room()
	if !p.writers.empty() {
		room = 0 // they are served in order
	}
	fits := int(min(room, int64(len(rest))))
	if fits < len(rest) && (p.atomic(r, len(rest)) || p.overflow == DropNewest && len(rest) <= PipeBuf) {
		fits = 0
	}
	keep := rest[:fits]
	wait := false
	var old int64 // bytes that are dropped for it
	lost := 0     // bytes of its own that are dropped
	switch p.overflow {
	case Block:
		if wait = !r.Nonblock && fits < len(rest); wait {
			keep = rest
		}
	case DropOldest:
		keep = rest[len(rest)-int(min(p.capacity, int64(len(rest)))):]
		old = p.held + int64(len(keep)) - p.capacity
		lost, fits = len(rest)-len(keep), len(keep)
	case DropNewest:
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
		r.units = int64(len(rest) - fits)
		r.chunk = p.bytes.last
		p.writers.push(now, r)
		return false
	case p.overflow == DropOldest || p.overflow == DropNewest:
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
func (p *Pipe) atomic(r *Request, n int) bool {
	return r.N == 0 && n <= PipeBuf && int64(n) <= p.capacity
}

// room is how many bytes the pipe would take.
func (p *Pipe) room() int64 { return max(0, p.capacity-p.held) }

// store appends data of r to the stream. Small writes share chunks, unless they
// are going to wait and might have to be taken back.
func (p *Pipe) store(r *Request, data []byte, apart bool) syscall.Errno {
	uid, n := r.Caller.Uid, int64(len(data))
	if c := p.bytes.last; c != nil && !apart && p.writers.empty() && !c.mark && c.uid == uid && len(data) <= cap(c.data)-len(c.data) {
		errno := p.ledger.Charge(uid, Cost{Bytes: n, Kept: -n})
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
func (p *Pipe) storeInstead(r *Request, data []byte, apart bool, n int64) syscall.Errno {
	type refund struct {
		uid  uint32
		cost Cost
	}
	var refunds []refund
	for c := p.bytes.first; n > 0 && c != nil && int64(len(c.data)) <= n; c = c.next {
		n -= int64(len(c.data))
		refunds = append(refunds, refund{c.uid, c.booked()})
		p.ledger.Adjust(c.uid, c.booked().minus())
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
		c := p.bytes.first
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
	p.ledger.Adjust(c.uid, Cost{Bytes: -int64(n), Kept: int64(n)})
}

// deliver gives data, which is in b, to the read r.
func (p *Pipe) deliver(now Time, r *Request, data []byte, b Buffer) {
	r.Data, r.Buffer, r.consumed, r.spans = data, b, len(data) > 0, nil
	p.received += int64(len(data))
	p.taken = now
}

// overlaps reports whether the writer of n bytes wakes before their reader, and prepares
// the next while these are being copied. Not without a buffer: there, a write that has
// returned has been read.
func (p *Pipe) overlaps(n int) bool { return n >= maxChunk && p.capacity > 0 }

func (p *Pipe) read(now Time, r *Request) Finished {
	r.Data = nil
	var done Finished
	switch c := p.bytes.first; {
	case r.Handle.end && !r.More: // a hangup that another reader came upon first
		r.Handle.end = false
	case c == nil:
		switch {
		case r.More || p.ended(r.Handle):
		case r.Nonblock:
			return failed(r, syscall.EAGAIN) // pipe(7): EAGAIN, empty and O_NONBLOCK
		default:
			p.readers.push(now, r)
			return done
		}
	case c.mark && !r.More:
		p.remove(c)
		p.markEOF(r.Handle)
	case !c.mark:
		p.deliverNext(now, r)
		if p.overlaps(len(r.Data)) {
			p.pump(now, &done)
			done.add(r)
		} else {
			done.add(r)
			p.pump(now, &done)
		}
		return done
	}
	done.add(r)
	return done
}

// deliverNext gives the next bytes to the read r.
func (p *Pipe) deliverNext(now Time, r *Request) {
	data, b, spans := p.take(r.Size, &r.from)
	p.deliver(now, r, data, b)
	r.spans = spans
}

// take takes up to n bytes off the stream. Those of a long chunk are not copied; of
// short ones it collects several, so that a reader gets what is held. They were booked on
// from, or as the spans say.
func (p *Pipe) take(n int, from *uint32) ([]byte, Buffer, []span) {
	c := p.bytes.first
	*from = c.uid
	if n <= len(c.data) || len(c.data) >= maxChunk || c.next == nil || c.next.mark {
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
		next, k := c.next, min(cap(b)-len(b), len(c.data))
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
	for w := p.writers.first; over > 0; w = w.next {
		k := min(over, w.units)
		p.admit(w, k)
		p.held -= k
		over -= k
	}
}

// admit takes n more bytes of the parked write w.
func (p *Pipe) admit(w *Request, n int64) {
	w.units -= n
	w.N += int(n)
	p.held += n
	p.written += n
}

// pump takes what parked writes offer, in order, as far as there is room, and
// finishes those that are done.
func (p *Pipe) pump(now Time, done *Finished) {
	for w := p.writers.first; w != nil; w = p.writers.first {
		n := min(w.units, p.room())
		switch {
		case p.overflow == DropOldest:
			n = w.units // makes room below
		case n < w.units && p.atomic(w, int(w.units)):
			n = 0
		}
		if n > 0 {
			p.admit(w, n)
			p.changed = now
		}
		if w.units > 0 && p.overflow == Block {
			return
		}
		if p.overflow == DropNewest {
			p.dropped += w.units
			w.N += int(w.units)
			p.cut(w)
		}
		p.finishWrite(w, syscall.EAGAIN)
		done.add(w)
		if p.overflow == DropOldest {
			p.dropOldest(p.held - p.capacity)
		}
	}
}

// cut takes the bytes that the parked write w still offers off the stream.
func (p *Pipe) cut(w *Request) {
	n := int(w.units)
	if n == 0 {
		return
	}
	w.units = 0
	c := w.chunk
	if n == len(c.data) {
		p.remove(c)
		return
	}
	c.data = c.data[:len(c.data)-n]
	p.shrink(c, n)
}

// finishWrite ends the parked write w: with what it has written, or with errno if that is
// nothing. pipe(7), write(2): a partial write succeeds.
func (p *Pipe) finishWrite(w *Request, errno syscall.Errno) {
	p.cut(w)
	p.writers.remove(w)
	w.chunk = nil
	if w.N == 0 {
		w.Errno = errno
	}
}

// hangup is an end of file at this place in the stream: for every reader that is open
// when it is reached, or else for the one that comes first. What parked writes offer
// comes before it.
func (p *Pipe) hangup(now Time, r *Request) Finished {
	var done Finished
	mark := p.bytes.first != nil || len(p.ends) == 0
	if mark {
		// As a write: EDQUOT and ENOSPC.
		if errno := p.ledger.Charge(r.Caller.Uid, Cost{Kept: chunkCost}); errno != 0 {
			return failed(r, errno)
		}
		p.bytes.push(&chunk{mark: true, cost: chunkCost, uid: r.Caller.Uid})
	}
	p.changed = now
	if o := p.openers.first; o != nil && o.Handle.Reads {
		p.openers.drain(&done, 0) // to read that end of file
	}
	if !mark {
		p.markEOF(nil)
		for reader := p.readers.pop(); reader != nil; reader = p.readers.pop() {
			reader.Data = nil
			reader.Handle.end = false
			done.add(reader)
		}
	}
	done.add(r)
	return done
}

// markEOF lets every open reader but h, which has read it, see an end of file.
func (p *Pipe) markEOF(h *Handle) {
	for _, end := range p.ends {
		end.end = end != h
	}
}

// flush discards what is held, oob's messages too, and takes what parked writes offer
// as far as there is room now.
func (p *Pipe) flush(now Time, r *Request) Finished {
	p.dropOldest(p.held)
	p.changed = now
	done := p.oob.flush(now, r)
	p.pump(now, &done)
	return done
}

// Cancel implements Object. A write that is cancelled in the middle succeeds with what
// has gone (write(2): interrupted after some bytes, it returns their number).
func (p *Pipe) Cancel(now Time, r *Request, cause syscall.Errno) Finished {
	var done Finished
	switch {
	case r.on == nil:
		return done
	case r.Op == Send || r.Op == Receive:
		return p.oob.Cancel(now, r, cause)
	case r.on == &p.writers:
		p.finishWrite(r, cause)
		done.add(r)
		p.pump(now, &done)
	case r.on == &p.openers:
		r.on.remove(r)
		r.Errno = cause
		done.add(r)
		p.close(now, r.Handle, &done)
	default:
		r.on.remove(r)
		r.Errno = cause
		done.add(r)
	}
	return done
}

// Return implements Object: the bytes that r took are the next again, on the books of whom
// they were booked on. A limit reached since does not lose them.
func (p *Pipe) Return(now Time, r *Request) Finished {
	var done Finished
	switch {
	case r.Op == Send || r.Op == Receive:
		return p.oob.Return(now, r)
	case !r.consumed || p.destroyed:
		return done
	}
	r.consumed = false
	spans := r.spans
	if spans == nil {
		spans = []span{{r.from, len(r.Data)}}
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
	for p.bytes.first != nil {
		reader := p.readers.pop()
		if reader == nil {
			break
		}
		p.deliverNext(now, reader)
		done.add(reader)
	}
	return done
}

// Destroy implements Object.
func (p *Pipe) Destroy(now Time) Finished {
	done := p.oob.Destroy(now)
	p.destroyed = true
	for p.bytes.first != nil {
		p.remove(p.bytes.first)
	}
	p.held = 0
	for w := p.writers.first; w != nil; w = w.next {
		w.chunk, w.units = nil, 0
	}
	p.openers.drain(&done, syscall.EIDRM)
	p.readers.drain(&done, syscall.EIDRM)
	p.writers.drain(&done, syscall.EIDRM)
	return done
}

// Removable implements Object.
func (p *Pipe) Removable() syscall.Errno {
	switch {
	case p.openers.n+p.readers.n+p.writers.n > 0:
		return syscall.EBUSY
	case p.held > 0:
		return syscall.ENOTEMPTY
	}
	return p.oob.Removable()
}

// Ready implements Object, as pipe_poll of Linux's fs/pipe.c has it: at the end of the
// stream a reader sees POLLHUP, and POLLIN beside it only while bytes are left; a
// writer without readers sees POLLERR.
func (p *Pipe) Ready(h *Handle) Events {
	switch {
	case p.destroyed:
		return In | Out | Err | Hup
	case !h.streams():
		return p.oob.Ready(h)
	}
	var e Events
	if h.Reads {
		if p.bytes.first != nil || h.end {
			e |= In
		}
		if p.lifetime == Session && p.openWriters == 0 && !p.unmet(h) {
			e |= Hup
		}
		if p.oob.nextFor(new(Handle)) != nil {
			e |= Pri
		}
	}
	if h.Writes {
		if p.writable() {
			e |= Out
		}
		if p.broken(h) {
			e |= Err
		}
	}
	return e
}

// writable reports whether a write of PIPE_BUF bytes would be taken.
func (p *Pipe) writable() bool {
	switch {
	case p.overflow == DropOldest || p.overflow == DropNewest, !p.readers.empty():
		return true
	case !p.writers.empty():
		return false
	}
	return p.room() >= max(1, min(PipeBuf, p.capacity))
}

// pipePolicies are the policies of a pipe. Lowering the capacity drops nothing.
var pipePolicies = policies[*Pipe]{
	{"capacity",
		func(p *Pipe) string { return formatAmount(p.capacity) },
		func(p *Pipe, _ Time, value string) syscall.Errno {
			n, ok := parseBytes(value)
			if ok {
				p.capacity = n
			}
			return valid(ok)
		}},
	{"overflow",
		func(p *Pipe) string { return p.overflow.String() },
		func(p *Pipe, _ Time, value string) syscall.Errno {
			o, ok := parseOverflow(value)
			if ok {
				p.overflow = o
			}
			return valid(ok)
		}},
	{"lifetime",
		func(p *Pipe) string { return p.lifetime.String() },
		func(p *Pipe, _ Time, value string) syscall.Errno {
			l, ok := choice[Lifetime](lifetimeNames, value)
			if ok {
				p.lifetime = l
			}
			return valid(ok)
		}},
}

// Policy implements Object.
func (p *Pipe) Policy(name string) string { return pipePolicies.show(p, name) }

// SetPolicy implements Object.
func (p *Pipe) SetPolicy(now Time, name, value string) (Finished, syscall.Errno) {
	var done Finished
	if errno := pipePolicies.set(p, now, name, value); errno != 0 {
		return done, errno
	}
	if p.lifetime == Persistent {
		p.openers.drain(&done, 0)
	}
	p.finishUnpaired(now, &done)
	return done, 0
}

// Held implements Object.
func (p *Pipe) Held() Held {
	return Held{Messages: p.oob.held.n, Bytes: p.held, Changed: max(p.changed, p.oob.changed), Taken: max(p.taken, p.oob.taken)}
}

// pipeCounters are what Stat gives.
var pipeCounters = []CounterKind{
	{"bytes", true, "Bytes held."},
	{"written", false, "Bytes that were written."},
	{"read", false, "Bytes that were read."},
	{"dropped", false, "Bytes that were dropped."},
	{"oob", true, "Messages held out of band."},
	{"openers_waiting", true, "Opens that wait for the other end."},
	{"readers_waiting", true, "Reads that wait."},
	{"writers_waiting", true, "Writes that wait."},
	{"open_readers", true, "Files open for reading."},
	{"open_writers", true, "Files open for writing."},
}

// Stat implements Object.
func (p *Pipe) Stat() []Counter {
	return []Counter{
		{"bytes", p.held},
		{"written", p.written},
		{"read", p.received},
		{"dropped", p.dropped},
		{"oob", p.oob.held.n},
		{"openers_waiting", int64(p.openers.n)},
		{"readers_waiting", int64(p.readers.n)},
		{"writers_waiting", int64(p.writers.n)},
		{"open_readers", p.openReaders},
		{"open_writers", p.openWriters},
	}
}

// Waiters implements Object.
func (p *Pipe) Waiters() iter.Seq[*Request] {
	return func(yield func(*Request) bool) {
		if p.openers.all(yield) && p.writers.all(yield) && p.readers.all(yield) {
			p.oob.Waiters()(yield)
		}
	}
}

// Booked implements Accountable.
func (p *Pipe) Booked() map[uint32]Cost {
	books := p.oob.Booked()
	for c := p.bytes.first; c != nil; c = c.next {
		was, is := books[c.uid], c.booked()
		books[c.uid] = Cost{was.Messages, was.Bytes + is.Bytes, was.Kept + is.Kept}
	}
	return books
}

// Check implements Object.
func (p *Pipe) Check() error {
	var n int64
	for c := p.bytes.first; c != nil; c = c.next {
		if len(c.data) == 0 && !c.mark || c.mark && len(c.data) > 0 {
			return fmt.Errorf("an empty chunk, or a mark with bytes")
		}
		n += int64(len(c.data))
	}
	var offered int64
	for w := p.writers.first; w != nil; w = w.next {
		if w.units <= 0 || w.chunk == nil || int64(len(w.chunk.data)) < w.units {
			return fmt.Errorf("a parked write offers %d bytes", w.units)
		}
		if p.broken(w.Handle) {
			return fmt.Errorf("a write waits without a reader")
		}
		offered += w.units
	}
	for r := p.readers.first; r != nil; r = r.next {
		if p.ended(r.Handle) {
			return fmt.Errorf("a read waits without a writer")
		}
	}
	switch w := p.writers.first; {
	case n != p.bytes.n || n != p.held+offered:
		return fmt.Errorf("%d bytes, counted %d: %d held and %d offered", n, p.bytes.n, p.held, offered)
	case p.readers.n > 0 && p.bytes.first != nil:
		return fmt.Errorf("%d reads wait beside %d bytes", p.readers.n, n)
	case w != nil && p.overflow != Block:
		return fmt.Errorf("%d writes wait under overflow %s", p.writers.n, p.overflow)
	case w != nil && p.room() > 0 && (p.room() >= w.units || !p.atomic(w, int(w.units))):
		return fmt.Errorf("the first of %d writes waits though %d bytes fit", p.writers.n, p.room())
	case p.openers.n > 0 && (p.lifetime == Persistent || p.openReaders > 0 && p.openWriters > 0):
		return fmt.Errorf("%d opens wait though the other end is there", p.openers.n)
	case int64(len(p.ends)) != p.openReaders:
		return fmt.Errorf("%d open readers, counted %d", len(p.ends), p.openReaders)
	case p.destroyed && (n > 0 || p.openers.n+p.readers.n+p.writers.n > 0):
		return fmt.Errorf("destroyed, but something is left")
	}
	return p.oob.Check()
}
