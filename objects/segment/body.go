package segment

import (
	"syscall"

	"ipcfs/objects"
)

// A Body is the memory of a segment that was sent whole as one message: no byte is
// copied. Its pages are booked on the sender as long as they are there: while a mailbox
// has the message, and then until the handle that took it reads on or is closed. A peek does
// not keep the memory: the rest of a message that was peeked at is EIDRM when it has gone.
//
// The methods but Size, ReadAt and Move may be called on nil, which is the body of all other
// messages.
type Body struct {
	storage  Storage // nil when it was freed or has moved on
	size     int64   // bytes
	reserved int64   // as the segment's
	seals    seal

	ledger objects.Ledger
	owner  uint32 // whom it is booked on
	booked int64  // bytes

	queued bool // the message is on a mailbox's books
	users  int  // who else needs it
}

// InUse is 0 if g may be sent. EBUSY: somebody uses it; EIDRM: it is destroyed.
func (g *Segment) InUse() syscall.Errno {
	switch {
	case g.destroyed:
		return syscall.EIDRM
	case g.Removable() != 0 || g.memory.Mapped():
		return syscall.EBUSY
	}
	return 0
}

// Pack makes the memory of g, which nobody uses, a body on the books of owner, and destroys
// g. EDQUOT and ENOSPC: it cannot be booked, and nothing has changed.
func (g *Segment) Pack(now objects.Time, owner uint32) (*Body, syscall.Errno) {
	g.bookGrowth()
	if errno := g.ledger.Move(g.owner, objects.Cost{Bytes: g.booked}, owner, objects.Cost{Bytes: g.booked}); errno != 0 {
		return nil, errno
	}
	p := &Body{
		size: g.memory.Size(), reserved: g.reserved, seals: g.seals,
		storage: g.memory.Move(owner),
		ledger:  g.ledger, owner: owner, booked: g.booked,
	}
	g.booked = 0
	g.Destroy(now) // nobody waits for it
	return p, 0
}

// Unpack makes p the memory of g, which is new; or data, if p is nil, unless the driver has
// given them to g already. EIDRM: g is destroyed; EDQUOT and ENOSPC: it cannot be booked on
// the owner of g, who is to destroy it then.
func (g *Segment) Unpack(now objects.Time, p *Body, data []byte) syscall.Errno {
	switch {
	case g.destroyed:
		return syscall.EIDRM
	case p != nil:
		if errno := p.ledger.Move(p.owner, objects.Cost{Bytes: p.booked}, g.owner, objects.Cost{Bytes: p.booked}); errno != 0 {
			return errno
		}
		g.memory.Free(func() {})
		g.memory, g.booked, g.reserved, g.seals = p.storage.Move(g.owner), p.booked, p.reserved, p.seals
		p.storage = nil
	case g.memory.Size() < int64(len(data)):
		switch n, errno := g.write(data, 0); {
		case errno != 0:
			return errno
		case n < len(data):
			return syscall.ENOSPC
		}
	}
	g.changed = now
	return 0
}

// Size is the length in bytes.
func (p *Body) Size() int64 { return p.size }

// Length is Size, 0 for nil.
func (p *Body) Length() int64 {
	if p == nil {
		return 0
	}
	return p.size
}

// ReadAt copies bytes from offset to b, fewer only at the end. shmop(2): EIDRM, the memory
// was removed.
func (p *Body) ReadAt(b []byte, offset int64) (int, syscall.Errno) {
	if p.storage == nil {
		return 0, syscall.EIDRM
	}
	return p.storage.ReadAt(b, offset)
}

// Move makes p the body of a message of another mailbox, with the memory, which whoever
// reads the first does not find any more.
func (p *Body) Move() *Body {
	other := *p
	other.storage, other.users = p.storage.Move(p.owner), 0
	p.storage = nil
	return &other
}

// Enqueue notes that a mailbox has the message.
func (p *Body) Enqueue() {
	if p != nil {
		p.queued = true
	}
}

// Dequeue notes that none has.
func (p *Body) Dequeue() {
	if p != nil {
		p.queued = false
		p.freeUnused()
	}
}

// Queued reports whether a mailbox has the message, and the memory is there.
func (p *Body) Queued() bool { return p.queued && p.storage != nil }

// Ref keeps the memory for one more handle, until Unref.
func (p *Body) Ref() {
	if p != nil {
		p.users++
	}
}

// Unref undoes Ref.
func (p *Body) Unref() {
	if p != nil {
		p.users--
		p.freeUnused()
	}
}

// freeUnused frees the memory unless somebody needs it.
func (p *Body) freeUnused() {
	if p.queued || p.users > 0 || p.storage == nil {
		return
	}
	p.storage.Free(func() { p.ledger.Adjust(p.owner, objects.Cost{Bytes: -p.booked}) })
	p.storage = nil
}

// Booked is what is booked in l for p, and on whom.
func (p *Body) Booked(l objects.Ledger) (owner uint32, c objects.Cost) {
	if p == nil || p.ledger != l {
		return 0, objects.Cost{}
	}
	return p.owner, objects.Cost{Bytes: p.booked}
}
