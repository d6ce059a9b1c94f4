package objects

import (
	"iter"
	"syscall"
)

// An Op is what a Request asks for.
type Op uint8

const (
	Open    Op = iota + 1 // the handle begins to use the object
	Close                 // the handle's last use has ended
	Send                  // put Data in as one message
	Receive               // take the next message, or what is left of the handle's
	Lease                 // take it for as long as a lease lasts
	Settle                // end or prolong the lease of the handle, as Data says
	Receipt               // how the message fared that was sent last through the handle
	Peek                  // a copy of the next message, nothing taken
	Flush                 // discard all that is held
	Lock                  // take or release a lock of a file
	Connect               // open, and wait for the other end
	Write                 // put Data into the stream
	Read                  // take bytes off the stream
	Hangup                // end of file for those who read
	Wait                  // take Units of a semaphore, P
	Post                  // give a semaphore Units, V
	Hold                  // open, and take a unit that the end of the handle gives back
	Release               // the process that opened the handle has died: give back what it holds

	// Of memory, at Offset. None of them waits.
	ReadAt    // copy bytes out of it, len(Data) at most
	WriteAt   // copy Data into it, which may make it grow
	WriteBack // as WriteAt, of what was stored through a mapping: it never grows
	Resize    // make it Offset bytes long
	Allocate  // make sure of Size bytes and grow to have them
	Reserve   // make sure of Size bytes, which may lie beyond the end
	Punch     // make a hole of Size bytes
)

var opNames = [...]string{Open: "open", Close: "close", Send: "send", Receive: "receive", Lease: "lease", Settle: "settle", Receipt: "receipt", Peek: "peek", Flush: "flush", Lock: "lock",
	Connect: "open", Write: "write", Read: "read", Hangup: "hangup", Wait: "wait", Post: "post", Hold: "hold", Release: "release",
	ReadAt: "read", WriteAt: "write", WriteBack: "write", Resize: "resize", Allocate: "allocate", Reserve: "allocate", Punch: "punch"}

// String is the word the waiters file shows.
func (op Op) String() string { return opNames[op] }

// A Caller is the authenticated identity behind a request.
type Caller struct {
	Pid, Uid, Gid uint32
}

// A Request is one operation of one process on one object.
type Request struct {
	Links[Request] // in the wait queue; next also links Finished

	Op       Op
	Nonblock bool // fail with EAGAIN instead of parking

	// Killed marks a Close after a signal has ended the process that wrote last: what
	// it had begun to send is not sent.
	Killed bool

	// More marks a Read that continues a read(2) which has bytes already: it
	// finishes with what there is, if only nothing, instead of waiting.
	More bool

	// Caller is the process that waits for the request, with the user and group of who
	// opened the handle: who opened it answers for what is done through it. Deputy is
	// the process's own identity if its user is another, nil otherwise.
	Caller Caller
	Deputy *Caller
	Handle *Handle

	// Size is how many bytes a receive or peek takes at most. Offset is the
	// position it reads at, which matters on a Seekable handle only.
	Size   int
	Offset int64

	// Data is what a Send sends and what a finished Receive or Peek delivers. See
	// the package comment on whose memory it is.
	Data []byte

	// N is how many bytes of Data a finished Send, Write, Wait or Post has taken:
	// all of them, except that a Write, and a Send of several messages, may end early.
	N int

	// Keep, if it is set, lets the object keep long Data instead of a copy: it
	// returns the buffer that they are in, which takes Keeps bytes of memory. Buffer is the one that the Data of a
	// finished Read are in, if it was kept; the driver frees it when it has answered.
	Keep   func(data []byte) Buffer
	Keeps  int64
	Buffer Buffer

	// Units is how many units a Wait or Post moves. If it is 0, Data says it in
	// words: see ParseUnits.
	Units int64

	// Unrendered is set on a finished read whose Data the driver is to make of it: see
	// Renderer. The kind says what it is.
	Unrendered any

	// Errno is 0 if the finished request succeeded.
	Errno syscall.Errno

	// Broken is set on a finished Write that found the last reader gone: its
	// process also gets SIGPIPE, whether it has written something or not.
	Broken bool

	// Since is when the request was parked.
	Since Time

	// Tag is the driver's. Objects do not look at it.
	Tag any

	// Own is what the object that has the request keeps with it: each kind has a type for
	// that. Drivers do not look at it.
	Own Part

	queue *Queue // that the request is parked in
}

// A Part is what an object keeps with a request. Reset forgets all of it: the request is
// used again, maybe for an object of another kind.
type Part interface{ Reset() }

// PartOf is what the object that has r keeps with it, of the kind's type T.
func PartOf[T any, P interface {
	*T
	Part
}](r *Request) P {
	p, ok := r.Own.(P)
	if !ok {
		p = new(T)
		r.Own = p
	}
	return p
}

// Recycle makes r the zero Request, but for the memory that objects keep with requests,
// which is used again.
func (r *Request) Recycle() {
	own := r.Own
	if own != nil {
		own.Reset()
	}
	*r = Request{Own: own}
}

// A Buffer is memory of the driver's that is in use for as long as somebody holds it. It
// is safe for concurrent use.
type Buffer interface {
	Hold() // as often as it is freed later, beside once for the Keep that gave it
	Free()
}

// Principal is who answers for r: the process that opened the handle where r is a
// deputy's, the calling process otherwise.
func (r *Request) Principal() Caller {
	if r.Deputy == nil {
		return r.Caller
	}
	return Caller{Pid: r.Handle.Process, Uid: r.Caller.Uid, Gid: r.Caller.Gid}
}

// Parked reports whether r waits in an object.
func (r *Request) Parked() bool { return r.queue != nil }

// Queue is the wait queue in which r is parked, nil if it is not.
func (r *Request) Queue() *Queue { return r.queue }

// Finished is a list of requests that are done, in wake order. The zero value is
// the empty list. It is linked through the requests themselves, so a driver that
// reuses a request must have taken it from the list before.
type Finished struct {
	first, last *Request
}

// One is the list of r alone.
func One(r *Request) Finished {
	r.next = nil
	return Finished{r, r}
}

// Fail finishes r, which is not parked, with errno.
func (r *Request) Fail(errno syscall.Errno) Finished {
	r.Errno = errno
	return One(r)
}

// Add adds r as the last.
func (f *Finished) Add(r *Request) {
	r.next = nil
	if f.last == nil {
		f.first = r
	} else {
		f.last.next = r
	}
	f.last = r
}

// Append adds the requests of g behind those of f.
func (f *Finished) Append(g Finished) {
	switch {
	case f.last == nil:
		*f = g
	case g.first != nil:
		f.last.next, f.last = g.first, g.last
	}
}

// Empty reports whether nothing has finished.
func (f Finished) Empty() bool { return f.first == nil }

// Next takes the first request off the list; nil when there is none left.
func (f *Finished) Next() *Request {
	r := f.first
	if r != nil {
		f.first = r.next
		r.next = nil
		if f.first == nil {
			f.last = nil
		}
	}
	return r
}

// All yields the requests in wake order without taking them off the list.
func (f Finished) All() iter.Seq[*Request] {
	return func(yield func(*Request) bool) {
		for r := f.first; r != nil; {
			next := r.next
			if !yield(r) {
				return
			}
			r = next
		}
	}
}
