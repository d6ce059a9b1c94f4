package objects

import "syscall"

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

	// Serial tells handles apart in what the driver lists. Objects do not look at it.
	Serial uint64

	// Process is the process that opened it, 0 if that is not known.
	Process uint32

	// Own is what the object keeps with the handle: each kind has a type for that.
	Own any

	waiting int32 // requests of it that are parked

	end  bool  // end of file is due
	body Body  // delivered in part, or whole and still addressable; nil: nothing is
	base int64 // the offset of its first byte, or of the last's
	read int   // the bytes delivered at least once
}

// Waiting is how many requests of h are parked.
func (h *Handle) Waiting() int { return int(h.waiting) }

// KeptWith is what the object keeps with h, of the kind's type T.
func KeptWith[T any](h *Handle) *T {
	kept, ok := h.Own.(*T)
	if !ok {
		kept = new(T)
		h.Own = kept
	}
	return kept
}

// A Body is what a handle delivers in parts: a message, or a text.
type Body interface {
	// Size is its length in bytes.
	Size() int64

	// Part is the n bytes at from, which it has. shmop(2): EIDRM, they are gone.
	Part(from, n int) ([]byte, syscall.Errno)

	// Keep makes sure that it can be read on after the call that goes on.
	Keep()
}

// A Text is a Body that is a slice.
type Text struct{ Data []byte }

// Size implements Body.
func (t *Text) Size() int64 { return int64(len(t.Data)) }

// Part implements Body.
func (t *Text) Part(from, n int) ([]byte, syscall.Errno) { return t.Data[from : from+n], 0 }

// Keep implements Body.
func (t *Text) Keep() {}

// seekBack is the largest read, in bytes, after which the delivered bytes stay
// addressable. It covers the programs that read ahead and seek back to the end of
// the line they wanted: bash reads 4096 bytes, head and tail 8192.
const SeekBack = 64 << 10

// Start delivers the first bytes of b to r.
func (h *Handle) Start(r *Request, b Body) {
	size := int(b.Size())
	n := min(r.Size, size)
	h.base, h.read, h.body, h.end = r.Offset, n, nil, false
	switch {
	case n < size, h.Seekable && r.Size <= SeekBack:
		b.Keep()
		h.body = b
	default:
		h.end = h.EOF
	}
	if r.Data, r.Errno = b.Part(0, n); r.Errno != 0 {
		h.body, h.read, h.end = b, 0, false // the next read tries again
	}
}

// Begin notes that r is to be answered with b, of which nothing is delivered yet.
func (h *Handle) Begin(r *Request, b Body) {
	h.base, h.read, h.body, h.end = r.Offset, 0, b, false
	r.Data = nil
}

// Resume answers r from what h is reading, or with the end of file due after it. It
// reports false if r is to take something new.
func (h *Handle) Resume(r *Request) bool {
	r.Data = nil
	if h.body == nil {
		due := h.end
		h.end = false
		return due
	}
	size := int(h.body.Size())
	from := h.read
	if at := r.Offset - h.base; h.Seekable && at >= 0 && at < int64(size) {
		from = int(at)
	}
	if from >= size {
		h.body = nil
		return h.EOF
	}
	n := min(r.Size, size-from)
	switch r.Data, r.Errno = h.body.Part(from, n); r.Errno {
	case 0:
		h.read = max(h.read, from+n)
	case syscall.EIDRM:
		h.body = nil
	}
	return true
}

// Body is what h is reading, nil if it has delivered that.
func (h *Handle) Body() Body { return h.body }

// Stop drops what h is reading, and the end of file due after it.
func (h *Handle) Stop() { h.body, h.end = nil, false }

// Unread drops what h is reading as if none of it had been delivered.
func (h *Handle) Unread() { h.body, h.end, h.read = nil, false, 0 }

// Drop drops what h is reading, but for the end of file due after it.
func (h *Handle) Drop() { h.body = nil }

// Forget undoes that b was delivered.
func (h *Handle) Forget(b Body) {
	if h.body == b {
		h.body = nil
	}
	h.end = false
}

// SetEnd says whether end of file is due.
func (h *Handle) SetEnd(due bool) { h.end = due }

// End reports whether end of file is due.
func (h *Handle) End() bool { return h.end }

// Delivered is how many bytes of what h is reading, or has read last, were delivered at
// least once.
func (h *Handle) Delivered() int { return h.read }

// Left reports whether bytes of what h is reading have not been delivered yet.
func (h *Handle) Left() bool { return h.body != nil && int64(h.read) < h.body.Size() }

// Readable reports whether a read of h would be answered without anything new.
func (h *Handle) Readable() bool { return h.end || h.Left() || h.body != nil && h.EOF }

// Extent is the offset at which what h is reading, or has read last, ends; 0 before the
// first.
func (h *Handle) Extent() int64 {
	if h.body != nil {
		return h.base + h.body.Size()
	}
	return h.base + int64(h.read)
}
