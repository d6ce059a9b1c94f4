package pipe

import (
	"slices"
	"syscall"

	"ipcfs/objects"
)

// An end is what an open file has of a pipe: Handle.Own.
type end struct {
	awaitsPeer     bool  // it was opened without waiting for the other end
	peerGeneration int64 // how often the other end had been opened before, if it was not there
}

// endOf is what the pipe keeps with h.
func endOf(h *objects.Handle) *end { return objects.KeptWith[end](h) }

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
