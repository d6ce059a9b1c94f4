package pipe

import (
	"syscall"

	"ipcfs/objects"
)

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

// accept takes n more bytes of the parked write w.
func (p *Pipe) accept(w *objects.Request, n int64) {
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
			p.accept(w, n)
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
