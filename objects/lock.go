package objects

import (
	"iter"
	"math"
	"slices"
	"syscall"
)

// A FileLock is a lock of flock(2) or a record lock of fcntl(2).
type FileLock struct {
	Type       LockType
	Start, End uint64 // the first and the last byte; flock covers all
	Owner      uint64 // the lock owner: a process for fcntl, an open file for flock
	Pid        uint32 // what F_GETLK reports of the holder
	Uid        uint32 // whose process asked for it
	Since      Time   // when it was granted
}

// A LockType is what a lock excludes.
type LockType uint8

var lockTypeNames = [...]string{Unlock: "unlock", Shared: "shared", Exclusive: "exclusive"}

// String is the word of the type.
func (t LockType) String() string { return lockTypeNames[t] }

const (
	Unlock    LockType = iota // F_UNLCK
	Shared                    // F_RDLCK
	Exclusive                 // F_WRLCK
)

// WholeFile is the End of a lock that covers the whole file.
const WholeFile = math.MaxUint64

// A LockTable holds the locks of one file. It is no Object of a kind: every file of
// the mount has locks. The calls follow Object's protocol. A parked request is
// granted as soon as no lock that is held conflicts with it, the oldest first.
type LockTable struct {
	// Waits is shared by the tables whose locks may not be waited for in a circle: those
	// of fcntl(2). Calls on all of them are serialised. It is nil for other locks.
	Waits *LockWaits

	held    []FileLock
	waiting queue
}

// LockWaits knows who waits for a lock, and where.
type LockWaits struct {
	of map[uint64][]lockWait // by owner
}

type lockWait struct {
	table   *LockTable
	request *Request
}

func (w *LockWaits) add(t *LockTable, r *Request) {
	if w == nil {
		return
	}
	if w.of == nil {
		w.of = make(map[uint64][]lockWait)
	}
	w.of[r.Lock.Owner] = append(w.of[r.Lock.Owner], lockWait{t, r})
}

func (w *LockWaits) remove(r *Request) {
	if w == nil {
		return
	}
	owner := r.Lock.Owner
	left := slices.DeleteFunc(w.of[owner], func(x lockWait) bool { return x.request == r })
	if len(left) == 0 {
		delete(w.of, owner)
	} else {
		w.of[owner] = left
	}
}

// circle reports whether owner would wait for itself if it waited in t for l. seen are the
// owners that have been followed.
func (w *LockWaits) circle(owner uint64, t *LockTable, l FileLock, seen map[uint64]bool) bool {
	for _, h := range t.held {
		switch {
		case !h.conflicts(l) || seen[h.Owner]:
			continue
		case h.Owner == owner:
			return true
		}
		seen[h.Owner] = true
		for _, x := range w.of[h.Owner] {
			if w.circle(owner, x.table, *x.request.Lock, seen) {
				return true
			}
		}
	}
	return false
}

func (a FileLock) conflicts(b FileLock) bool {
	return a.Owner != b.Owner && (a.Type == Exclusive || b.Type == Exclusive) && a.overlaps(b)
}

func (a FileLock) overlaps(b FileLock) bool { return a.Start <= b.End && b.Start <= a.End }

// Blocker returns the first lock held that keeps l from being granted; ok is false
// if l could be granted.
func (t *LockTable) Blocker(l FileLock) (holder FileLock, ok bool) {
	for _, h := range t.held {
		if h.conflicts(l) {
			return h, true
		}
	}
	return FileLock{}, false
}

// Submit takes, changes or releases r.Lock.
func (t *LockTable) Submit(now Time, r *Request) Finished {
	r.Errno = 0
	if r.Lock.Type != Unlock {
		if _, blocked := t.Blocker(*r.Lock); blocked {
			// fcntl(2), flock(2): EAGAIN (EWOULDBLOCK), held by another.
			if r.Nonblock {
				return failed(r, syscall.EAGAIN)
			}
			// fcntl(2): EDEADLK, F_SETLKW would cause a deadlock.
			if t.Waits != nil && t.Waits.circle(r.Lock.Owner, t, *r.Lock, make(map[uint64]bool)) {
				return failed(r, syscall.EDEADLK)
			}
			t.waiting.push(now, r)
			t.Waits.add(t, r)
			return Finished{}
		}
	}
	t.give(now, r)
	done := one(r)
	t.grant(now, &done)
	return done
}

// Cancel finishes the parked request r with cause.
func (t *LockTable) Cancel(_ Time, r *Request, cause syscall.Errno) Finished {
	if r.on == nil {
		return Finished{}
	}
	r.on.remove(r)
	t.Waits.remove(r)
	return failed(r, cause)
}

// Release drops every lock of owner.
func (t *LockTable) Release(now Time, owner uint64) Finished {
	var done Finished
	t.set(FileLock{Type: Unlock, End: WholeFile, Owner: owner})
	t.grant(now, &done)
	return done
}

// Owners yields the locks that are held, of one owner those of adjoining ranges in no
// particular order.
func (t *LockTable) Owners() iter.Seq[FileLock] { return slices.Values(t.held) }

// Waiters yields the parked requests, oldest first.
func (t *LockTable) Waiters() iter.Seq[*Request] {
	return func(yield func(*Request) bool) { t.waiting.all(yield) }
}

// Unused reports whether nobody holds or wants a lock.
func (t *LockTable) Unused() bool { return len(t.held) == 0 && t.waiting.empty() }

// give carries out r, which nothing blocks.
func (t *LockTable) give(now Time, r *Request) {
	l := *r.Lock
	l.Since = now
	t.set(l)
}

func (t *LockTable) grant(now Time, done *Finished) {
	for r := t.waiting.first; r != nil; {
		next := r.next
		if _, blocked := t.Blocker(*r.Lock); !blocked {
			t.waiting.remove(r)
			t.Waits.remove(r)
			t.give(now, r)
			done.add(r)
		}
		r = next
	}
}

// set replaces what l's owner holds of l's range by l (fcntl(2): a process's locks
// do not stack; a new one converts, shrinks or splits the old).
func (t *LockTable) set(l FileLock) {
	kept := t.held[:0:0]
	for _, h := range t.held {
		if h.Owner != l.Owner || !h.overlaps(l) {
			kept = append(kept, h)
			continue
		}
		if h.Start < l.Start {
			before := h
			before.End = l.Start - 1
			kept = append(kept, before)
		}
		if h.End > l.End {
			after := h
			after.Start = l.End + 1
			kept = append(kept, after)
		}
	}
	if l.Type != Unlock {
		kept = append(kept, l)
	}
	t.held = kept
}
