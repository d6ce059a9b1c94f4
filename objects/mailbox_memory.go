package objects

import "syscall"

// A segmentBody is the memory of a segment that was sent whole as one message: no byte is
// copied. Its pages are booked on the sender as long as they are there: while the mailbox
// has the message, and then until the handle that took it reads on or is closed. A peek does
// not keep the memory: the rest of a message that was peeked at is EIDRM when it has gone.
//
// The methods may be called on nil, which is the body of all other messages.
type segmentBody struct {
	storage  Storage // nil when it was freed or has moved on
	size     int64   // bytes
	reserved int64   // as the segment's
	seals    seal

	ledger Ledger
	owner  uint32 // whom it is booked on
	booked int64  // bytes

	queued bool // the message is on a mailbox's books
	users  int  // who else needs it
}

func (p *segmentBody) length() int64 {
	if p == nil {
		return 0
	}
	return p.size
}

// enqueue marks the message as one that a mailbox has, dequeue as one that it has not.
func (p *segmentBody) enqueue() {
	if p != nil {
		p.queued = true
	}
}

func (p *segmentBody) dequeue() {
	if p != nil {
		p.queued = false
		p.freeUnused()
	}
}

// ref keeps the memory for one more handle, until unref.
func (p *segmentBody) ref() {
	if p != nil {
		p.users++
	}
}

func (p *segmentBody) unref() {
	if p != nil {
		p.users--
		p.freeUnused()
	}
}

// freeUnused frees the memory unless somebody needs it.
func (p *segmentBody) freeUnused() {
	if p.queued || p.users > 0 || p.storage == nil {
		return
	}
	p.storage.Free(func() { p.ledger.Adjust(p.owner, Cost{Bytes: -p.booked}) })
	p.storage = nil
}

// Size is the message's length in bytes.
func (m *Message) Size() int64 {
	if m.memory() != nil {
		return m.memory().size
	}
	return int64(len(m.Data))
}

// ReadAt copies bytes of the message from offset to p, fewer only at its end. shmop(2): EIDRM,
// its memory was removed. As all calls on an object, it is the driver's to serialise.
func (m *Message) ReadAt(p []byte, offset int64) (int, syscall.Errno) {
	switch {
	case m.memory() == nil:
		return copy(p, m.Data[min(offset, int64(len(m.Data))):]), 0
	case m.memory().storage == nil:
		return 0, syscall.EIDRM
	}
	return m.memory().storage.ReadAt(p, offset)
}

// part is the n bytes at from, which the message has.
func (m *Message) part(from, n int) ([]byte, syscall.Errno) {
	if m.memory() == nil {
		return m.Data[from : from+n], 0
	}
	b := make([]byte, n)
	n, errno := m.ReadAt(b, int64(from))
	return b[:n], errno
}

// moved is m for another mailbox, whose lock is not the first's: who still reads m there
// finds what has been there, but for memory, which is gone.
func (m *Message) moved() *Message {
	other := *m
	other.state, m.booked = fresh, 0
	if len(m.Data) <= inlineData {
		other.Data = other.inline[:copy(other.inline[:], m.Data)]
	}
	other.extra = nil
	if m.Writer() != nil {
		other.extra = &extra{writer: m.Writer()}
	}
	if m.memory() != nil {
		p := *m.memory()
		p.storage, p.users = p.storage.Move(p.owner), 0
		m.memory().storage = nil
		other.extra = &extra{memory: &p, writer: m.Writer()}
	}
	return &other
}

// SendSegment sends g to a mailbox as one message of c's, without copying it, in a send
// that does not wait. g is destroyed. The message is exempt from max_message and
// capacity_bytes, which bound what is copied in. EBUSY: somebody uses g, or it is not frozen; EAGAIN: there is
// no room; EIDRM: one of the two is destroyed; EDQUOT and ENOSPC: g cannot be booked on c.
func SendSegment(now Time, g *Segment, to *Mailbox, c Caller) (arrived Finished, errno syscall.Errno) {
	m := &Message{Sender: c}
	switch {
	case g.destroyed || to.destroyed:
		return arrived, syscall.EIDRM
	case g.Removable() != 0 || g.memory.Mapped():
		return arrived, syscall.EBUSY
	}
	d := to.transferable(m)
	switch {
	case d.verdict == refuse:
		return arrived, syscall.EAGAIN
	case !g.memory.Frozen():
		return arrived, syscall.EBUSY
	}
	g.bookGrowth()
	if errno := m.charge(to.ledger); errno != 0 {
		return arrived, errno
	}
	if errno := g.ledger.Move(g.owner, Cost{Bytes: g.booked}, c.Uid, Cost{Bytes: g.booked}); errno != 0 {
		to.unsend(m)
		return arrived, errno
	}
	m.extra = &extra{memory: &segmentBody{
		size: g.memory.Size(), reserved: g.reserved, seals: g.seals,
		storage: g.memory.Move(c.Uid),
		ledger:  g.ledger, owner: c.Uid, booked: g.booked,
		queued: true,
	}}
	g.booked = 0
	g.Destroy(now) // nobody waits for it
	to.put(now, m, d, &arrived)
	return arrived, 0
}

// ReceiveSegment takes the message of that number out of a mailbox and makes it the
// memory of g, which is new. A message that is a segment is not copied, and keeps its seals.
// The bytes of another are, unless the driver has given them to g already. ENOENT: it is not held; EIDRM: g is destroyed; EDQUOT and
// ENOSPC: it cannot be booked on the owner of g, who is to destroy it then.
func ReceiveSegment(now Time, from *Mailbox, seq uint64, g *Segment) (Finished, syscall.Errno) {
	var done Finished
	m := from.held.numbered(seq)
	switch {
	case m == nil:
		return done, syscall.ENOENT
	case g.destroyed:
		return done, syscall.EIDRM
	case m.memory() != nil:
		if errno := g.unpack(m.memory()); errno != 0 {
			return done, errno
		}
	case g.memory.Size() < m.Size():
		switch n, errno := g.write(m.Data, 0); {
		case errno != 0:
			return done, errno
		case n < len(m.Data):
			return done, syscall.ENOSPC
		}
	}
	g.changed = now
	from.release(m)
	from.taken = now
	from.retire(now, m, Moved, Caller{}, &done)
	from.pump(now, &done)
	return done, 0
}

// unpack makes what is in p the memory of g.
func (g *Segment) unpack(p *segmentBody) syscall.Errno {
	if errno := p.ledger.Move(p.owner, Cost{Bytes: p.booked}, g.owner, Cost{Bytes: p.booked}); errno != 0 {
		return errno
	}
	g.memory.Free(func() {})
	g.memory, g.booked, g.reserved, g.seals = p.storage.Move(g.owner), p.booked, p.reserved, p.seals
	p.storage = nil
	return 0
}
