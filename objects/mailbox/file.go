package mailbox

import (
	"syscall"

	"ipcfs/objects"
	"ipcfs/objects/segment"
)

// A File is what an open file has of a mailbox: Handle.Own.
type File struct {
	// Filter narrows what is sent and received through it; nil does not.
	Filter *Selector

	// Envelopes has the driver render what is read of a message: see Envelope.
	Envelopes bool

	// Receipts has the file tell what became of each message that was sent through it: see
	// Outcome.
	Receipts bool

	opener uint32 // uid of the process that opened it
	booked int64  // bytes kept, on the opener's books

	*rare
}

// rare is what few open files have. The others share nothing.
type rare struct {
	begun   *Message      // what was written of a message that goes on
	spoiled syscall.Errno // that message cannot be sent any more, and why
	inbox   []*Message    // broadcast, and not received yet; in the order in which they are due
	// entries is the memory that inbox is in, from its start.
	entries []*Message

	last    *extra    // of the message sent last, until its receipt is read
	pending bool      // its receipt is not complete
	receipt []Outcome // what there is of it
	wish    *wish     // for the receipts of the messages that were sent

	rendering *rendering // what the driver makes a text of; nil: nothing

	leased *Message     // taken on lease
	ends   objects.Time // when the lease does, 0 if it does not
	place  int32        // its place among the mailbox's leases that end, counted from 1; 0: it has none
	late   bool         // it ended before it was settled
	torn   bool         // it ended before all was read

	abandoned bool // the process that takes leases has died

	pinned   *Message // on its sender's books because the handle reads it
	pinnedAs *Message // what of it the process sees

	memory *segment.Body // of the message taken last, until the handle goes on
}

// nothing is the rare of files that have none of it. Nobody writes to it: see more.
var nothing rare

// FileOf is what h has of a mailbox. The driver sets the exported fields before the Open
// request.
func FileOf(h *objects.Handle) *File {
	f := objects.KeptWith[File](h)
	if f.rare == nil {
		f.rare = &nothing
	}
	return f
}

// more is FileOf for who is to change what few files have.
func more(h *objects.Handle) *File {
	f := FileOf(h)
	if f.rare == &nothing {
		f.rare = new(rare)
	}
	return f
}

// Selection is what h selects as a value that can be compared, nil for everything.
func (b *Mailbox) Selection(h *objects.Handle) any {
	if only := Filter(h); only != nil {
		return *only
	}
	return nil
}

// Filter is what h selects, nil for all, and for a handle that is no mailbox's.
func Filter(h *objects.Handle) *Selector {
	if f, ok := h.Own.(*File); ok {
		return f.Filter
	}
	return nil
}

// reading is the message that h is reading, nil if there is none.
func reading(h *objects.Handle) *Message {
	m, _ := h.Body().(*Message)
	return m
}

// startReading delivers the first bytes of m to r, as they are shown.
func startReading(r *objects.Request, m *Message) {
	h := r.Handle
	var memory *segment.Body
	if r.Op == objects.Receive || r.Op == objects.Lease {
		memory = m.memory()
	}
	memory.Ref()
	m.peeked = m.peeked || r.Op == objects.Peek
	unref(h)
	f := FileOf(h)
	if memory != nil {
		f = more(h)
		f.memory = memory
	}
	of(r).shown = m
	if f.Envelopes {
		render(r, &rendering{message: m})
		return
	}
	h.Start(r, m)
}

// resume answers r from what h is reading, or with the end of file due after it. It reports
// false if r is to take a new message.
func resume(h *objects.Handle, r *objects.Request) bool {
	answered := h.Resume(r)
	if h.Body() == nil {
		unref(h)
	}
	return answered
}

// unref ends the use of the memory of the message that h took last.
func unref(h *objects.Handle) {
	f := FileOf(h)
	if memory := f.memory; memory != nil {
		f.memory = nil
		memory.Unref()
	}
}

// A request is what a mailbox keeps with a Request: Request.Own.
type request struct {
	message   *Message   // what a parked send offers, what a finished receive took
	shown     *Message   // what of it the process sees, the message itself unless it is rendered
	rendering *rendering // what the driver makes a text of for it
	consumed  bool       // a finished receive has taken message
	framing   Framing    // that cuts rest: a change takes effect with the next write
	begun     uint32     // the bytes of message that had been there before the send
	rest      []byte     // of the Data of a send, behind message
	units     int64      // the bytes of rest that are booked

	ticket uint64       // its number in the line that it is parked in; they rise
	lane   *requestLane // in the index of that line, nil: in none
	place  int32        // in that lane, counted from 1
	lanes  *offerPlaces // in the index of senders, nil: it has none
}

// Reset implements Part.
func (q *request) Reset() { *q = request{} }

// of is what the mailbox keeps with r.
func of(r *objects.Request) *request { return objects.PartOf[request](r) }

// A line is a queue of requests for messages. Which of them selects a message is found
// without a walk.
type line struct {
	objects.Queue
	tickets uint64       // given to those who parked
	index   requestIndex // nil unless a search among them has been long since it was empty
}

// push parks r as the last.
func (l *line) push(now objects.Time, r *objects.Request) {
	l.Queue.Push(now, r)
	l.tickets++
	of(r).ticket = l.tickets
	if l.index != nil {
		l.index.insert(r)
	}
}

// remove takes r out.
func (l *line) remove(r *objects.Request) {
	l.Queue.Remove(r)
	if l.index != nil {
		l.index.remove(r)
		if l.Empty() {
			l.index = nil
		}
	}
}

// drain finishes every parked request with errno.
func (l *line) drain(done *objects.Finished, errno syscall.Errno) {
	for r := l.First(); r != nil; r = l.First() {
		l.remove(r)
		r.Errno = errno
		done.Add(r)
	}
}

// unpark takes r out of the queue that it is parked in.
func (b *Mailbox) unpark(r *objects.Request) {
	switch r.Queue() {
	case &b.receivers.Queue:
		b.receivers.remove(r)
	case &b.peekers.Queue:
		b.peekers.remove(r)
	case &b.senders.Queue:
		b.senders.remove(r)
	default:
		r.Queue().Remove(r)
	}
}
