package objects

import (
	"iter"
	"syscall"
)

// A Queue holds parked requests, first come, first served.
type Queue struct {
	waiting List[Request, *Request]
	n       int
}

// Push parks r as the last.
func (q *Queue) Push(now Time, r *Request) {
	if r.queue != nil {
		panic("objects: request parked twice: " + r.Op.String())
	}
	r.Since = now
	r.queue, r.next = q, nil
	q.waiting.Push(r)
	q.n++
	if r.Handle != nil {
		r.Handle.waiting++
	}
}

// Remove takes r out.
func (q *Queue) Remove(r *Request) {
	q.waiting.Remove(r)
	r.queue = nil
	q.n--
	if r.Handle != nil {
		r.Handle.waiting--
	}
}

// Pop takes the first request, nil if nobody waits.
func (q *Queue) Pop() *Request {
	r := q.waiting.First()
	if r != nil {
		q.Remove(r)
	}
	return r
}

// Len is how many requests wait.
func (q *Queue) Len() int { return q.n }

// Empty reports whether nobody waits.
func (q *Queue) Empty() bool { return q.n == 0 }

// First is the request that has waited for longest, nil if nobody waits.
func (q *Queue) First() *Request { return q.waiting.First() }

// Last is the one that has waited for the shortest time, nil if nobody waits.
func (q *Queue) Last() *Request { return q.waiting.Last() }

// All yields the requests, the first one first. The one yielded may be removed, no other.
func (q *Queue) All() iter.Seq[*Request] {
	return func(yield func(*Request) bool) {
		for r := q.First(); r != nil; {
			next := r.Next()
			if !yield(r) {
				return
			}
			r = next
		}
	}
}

// Drain finishes every parked request with errno.
func (q *Queue) Drain(done *Finished, errno syscall.Errno) {
	for r := q.Pop(); r != nil; r = q.Pop() {
		r.Errno = errno
		done.Add(r)
	}
}
