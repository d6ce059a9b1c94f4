package pipe

import (
	"syscall"

	"ipcfs/objects"
)

// remove takes c off the stream, and off the books.
func (p *Pipe) remove(c *chunk) {
	p.bytes.remove(c)
	p.ledger.Adjust(c.uid, c.booked().Minus())
	if c.buffer != nil {
		p.kept--
		c.buffer.Free()
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
		p.accept(w, k)
		p.held -= k
		over -= k
	}
}
