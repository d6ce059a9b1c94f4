package objects

import "syscall"

// mailboxState is what an open file has of a mailbox beside the message that it reads.
type mailboxState struct {
	begun   *Message      // what was written of a message that goes on
	spoiled syscall.Errno // that message cannot be sent any more, and why
	inbox   []*Message    // broadcast, and not received yet; in the order in which they are due
	// entries is the memory that inbox is in, from its start.
	entries []*Message

	receipts func(fate Fate, by Caller, at Time) []byte // makes lines of them; nil: none are wanted

	last    *extra // of the message sent last, until its receipt is read
	pending bool   // its receipt is not complete
	receipt []byte // what there is of it
	wish    *wish  // for the receipts of the messages that were sent

	leased *Message // taken on lease
	ends   Time     // when the lease does, 0 if it does not
	place  int32    // its place among the mailbox's leases that end, counted from 1; 0: it has none
	late   bool     // it ended before it was settled
	torn   bool     // it ended before all was read

	abandoned bool // the process that takes leases has died

	pinned   *Message // on its sender's books because the handle reads it
	pinnedAs *Message // what of it the process sees

	memory *segmentBody // of the message taken last, until the handle goes on
}

var noMailboxState mailboxState

// state is what h has, to look at.
func (h *Handle) state() *mailboxState {
	if h == nil || h.mailbox == nil {
		return &noMailboxState
	}
	return h.mailbox
}

// ensureState is what h has, to change.
func (h *Handle) ensureState() *mailboxState {
	if h.mailbox == nil {
		h.mailbox = new(mailboxState)
	}
	return h.mailbox
}

// seekBack is the largest read, in bytes, after which the delivered bytes stay
// addressable. It covers the programs that read ahead and seek back to the end of
// the line they wanted: bash reads 4096 bytes, head and tail 8192.
const seekBack = 64 << 10

// A Handle is an open file of an object as the object sees it. The driver makes
// one per open(2) and sets the exported fields before the Open request.
type Handle struct {
	Reads, Writes bool

	// ReadOp and WriteOp are what read(2) and write(2) of it submit, 0 for what
	// the object has no part in. They tell the endpoints of an object apart.
	ReadOp, WriteOp Op

	// EOF makes a read that follows a whole message report end of file, once, so
	// that programs that read to the end get exactly one message.
	EOF bool

	// Seekable handles address the bytes of their message by offset; others read
	// on where the last read ended.
	Seekable bool

	end        bool // end of file is due: the message was delivered whole, the pipe hung up
	awaitsPeer bool // of a pipe: opened without waiting for the other end

	// Serial tells handles apart in what the driver lists. Objects do not look at it.
	Serial uint64

	// Process is the process that opened it, 0 if that is not known.
	Process uint32
	opener  uint32 // and its uid
	booked  int64  // bytes kept, on the opener's books
	waiting int32  // requests of it that are parked

	// Filter narrows what is sent and received through it; nil does not.
	Filter *Selector

	// Render makes what is read of a message, if it is not the message itself.
	Render func(m *Message) []byte

	msg            *Message // delivered in part, or whole and still addressable
	base           int64    // the offset of msg's first byte
	read           int      // the bytes of msg delivered at least once
	peerGeneration int64    // how often the other end of a pipe had been opened before, if it was not there

	mailbox *mailboxState // what few handles have, nil if this one has nothing of it
}

// WantReceipts has h get a receipt of each message: a line that tells its sender how it
// fared, by the doing of whom, and when. It is called before the Open request.
func (h *Handle) WantReceipts(line func(fate Fate, by Caller, at Time) []byte) {
	h.ensureState().receipts = line
}

// startReading delivers the first bytes of m to r, as they are shown.
func (h *Handle) startReading(r *Request, m *Message) {
	var memory *segmentBody
	if r.Op == Receive || r.Op == Lease {
		memory = m.memory()
	}
	memory.ref()
	m.peeked = m.peeked || r.Op == Peek
	h.unref()
	if memory != nil {
		h.ensureState().memory = memory
	}
	if h.Render != nil {
		m = &Message{Data: h.Render(m)}
	}
	r.shown = m
	size := int(m.Size())
	n := min(r.Size, size)
	h.base, h.read, h.msg, h.end = r.Offset, n, nil, false
	switch {
	case n < size, h.Seekable && r.Size <= seekBack:
		m.own()
		h.msg = m
	default:
		h.end = h.EOF
	}
	if r.Data, r.Errno = m.part(0, n); r.Errno != 0 {
		h.msg, h.read, h.end = m, 0, false // the next read tries again
	}
}

// unref ends the use of the memory of the message that h took last.
func (h *Handle) unref() {
	if memory := h.state().memory; memory != nil {
		h.mailbox.memory = nil
		memory.unref()
	}
}

// resume answers r from the message that h is reading, or with the end of file due
// after it. It reports false if r is to take a new message.
func (h *Handle) resume(r *Request) bool {
	r.Data = nil
	if h.msg == nil {
		h.unref()
		due := h.end
		h.end = false
		return due
	}
	size := int(h.msg.Size())
	from := h.read
	if at := r.Offset - h.base; h.Seekable && at >= 0 && at < int64(size) {
		from = int(at)
	}
	if from >= size {
		h.msg = nil
		h.unref()
		return h.EOF
	}
	n := min(r.Size, size-from)
	switch r.Data, r.Errno = h.msg.part(from, n); r.Errno {
	case 0:
		h.read = max(h.read, from+n)
	case syscall.EIDRM:
		h.msg = nil
	}
	return true
}

// done drops what is left to read of the message that h has taken.
func (h *Handle) done() {
	h.msg, h.end = nil, false
	h.unref()
}

// left reports whether bytes of h's message have not been delivered yet.
func (h *Handle) left() bool { return h.msg != nil && int64(h.read) < h.msg.Size() }

// readable reports whether a read of h would be answered without a new message.
func (h *Handle) readable() bool { return h.end || h.left() || h.msg != nil && h.EOF }

// Extent is the offset at which the message that h is reading, or read last, ends;
// 0 before the first.
func (h *Handle) Extent() int64 {
	if h.msg != nil {
		return h.base + h.msg.Size()
	}
	return h.base + int64(h.read)
}

// forget drops m if h still addresses it.
func (h *Handle) forget(m *Message) {
	if h.msg == m {
		h.msg = nil
	}
	h.end = false
}
