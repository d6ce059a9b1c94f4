package pipe

import (
	"fmt"

	"ipcfs/objects"
)

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
