package mailbox

import (
	"syscall"

	"ipcfs/objects"
	"ipcfs/objects/segment"
)

// Size is the message's length in bytes.
func (m *Message) Size() int64 {
	if m.memory() != nil {
		return m.memory().Size()
	}
	return int64(len(m.Data))
}

// ReadAt copies bytes of the message from offset to p, fewer only at its end. shmop(2): EIDRM,
// its memory was removed. As all calls on an object, it is the driver's to serialise.
func (m *Message) ReadAt(p []byte, offset int64) (int, syscall.Errno) {
	if m.memory() != nil {
		return m.memory().ReadAt(p, offset)
	}
	return copy(p, m.Data[min(offset, int64(len(m.Data))):]), 0
}

// Part implements Body.
func (m *Message) Part(from, n int) ([]byte, syscall.Errno) {
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
		other.extra = &extra{memory: m.memory().Move(), writer: m.Writer()}
	}
	return &other
}

// SendSegment sends g to a mailbox as one message of c's, without copying it, in a send
// that does not wait. g is destroyed. The message is exempt from max_message and
// capacity_bytes, which bound what is copied in. EBUSY: somebody uses g, or it is not frozen; EAGAIN: there is
// no room; EIDRM: one of the two is destroyed; EDQUOT and ENOSPC: g cannot be booked on c.
func SendSegment(now objects.Time, g *segment.Segment, to *Mailbox, c objects.Caller) (arrived objects.Finished, errno syscall.Errno) {
	m := &Message{Sender: c}
	if to.destroyed {
		return arrived, syscall.EIDRM
	}
	if errno := g.InUse(); errno != 0 {
		return arrived, errno
	}
	d := to.transferable(m)
	switch {
	case d.verdict == refuse:
		return arrived, syscall.EAGAIN
	case !g.Storage().Frozen():
		return arrived, syscall.EBUSY
	}
	if errno := m.charge(to.ledger); errno != 0 {
		return arrived, errno
	}
	body, errno := g.Pack(now, c.Uid)
	if errno != 0 {
		to.unsend(m)
		return arrived, errno
	}
	body.Enqueue()
	m.extra = &extra{memory: body}
	to.put(now, m, d, &arrived)
	return arrived, 0
}

// ReceiveSegment takes the message of that number out of a mailbox and makes it the
// memory of g, which is new. A message that is a segment is not copied, and keeps its seals.
// The bytes of another are, unless the driver has given them to g already. ENOENT: it is not held; EIDRM: g is destroyed; EDQUOT and
// ENOSPC: it cannot be booked on the owner of g, who is to destroy it then.
func ReceiveSegment(now objects.Time, from *Mailbox, seq uint64, g *segment.Segment) (objects.Finished, syscall.Errno) {
	var done objects.Finished
	m := from.held.numbered(seq)
	if m == nil {
		return done, syscall.ENOENT
	}
	if errno := g.Unpack(now, m.memory(), m.Data); errno != 0 {
		return done, errno
	}
	from.release(m)
	from.taken = now
	from.retire(now, m, Moved, objects.Caller{}, &done)
	from.pump(now, &done)
	return done, 0
}
