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

	// Ledger books each lock that is held on the user whose it is; nil: nobody.
	Ledger Ledger

	held    [Exclusive]rangeTree // by type, Shared first
	owners  map[uint64]*lockHolder
	holders list[lockHolder, *lockHolder] // who have locks, in the order of their coming
	waiting queue
}

// A lockHolder has locks of one table, no two of which share a byte.
type lockHolder struct {
	links[lockHolder]
	owner uint64
	own   [Exclusive]rangeTree // by type
}

// heldLock is what a lock that is held costs in bytes: a node in each of two trees.
const heldLock = 256

// opposing is the types of locks that l excludes, as indices of a table.
func (l *FileLock) opposing() []int {
	if l.Type == Exclusive {
		return []int{int(Shared - 1), int(Exclusive - 1)}
	}
	return []int{int(Exclusive - 1)}
}

// opposes reports whether h has a lock that keeps l from being granted.
func (h *lockHolder) opposes(l *FileLock) bool {
	for _, i := range l.opposing() {
		if h.own[i].first(l.Start, l.End, nil) != nil {
			return h.owner != l.Owner
		}
	}
	return false
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
	for h := t.holders.first; h != nil; h = h.next {
		switch {
		case seen[h.owner] || !h.opposes(&l):
			continue
		case h.owner == owner:
			return true
		}
		seen[h.owner] = true
		for _, x := range w.of[h.owner] {
			if w.circle(owner, x.table, *x.request.Lock, seen) {
				return true
			}
		}
	}
	return false
}

func (a FileLock) overlaps(b FileLock) bool { return a.Start <= b.End && b.Start <= a.End }

// Blocker returns the lock held that keeps l from being granted, of several the one that
// starts first, as F_GETLK has it; ok is false if l could be granted.
func (t *LockTable) Blocker(l FileLock) (holder FileLock, ok bool) {
	for _, i := range l.opposing() {
		if h := t.held[i].first(l.Start, l.End, &l.Owner); h != nil && (!ok || h.Start < holder.Start) {
			holder, ok = *h, true
		}
	}
	return holder, ok
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
	done := one(r)
	if r.Errno = t.give(now, r); r.Errno == 0 {
		t.grant(now, *r.Lock, &done)
	}
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
	all := FileLock{Type: Unlock, End: WholeFile, Owner: owner}
	if t.owners[owner] != nil && t.set(all) == 0 {
		t.grant(now, all, &done)
	}
	return done
}

// Owners yields the locks that are held, of one owner those of one type in order.
func (t *LockTable) Owners() iter.Seq[FileLock] {
	return func(yield func(FileLock) bool) {
		for h := t.holders.first; h != nil; h = h.next {
			for i := range h.own {
				if !h.own[i].all(0, WholeFile, yield) {
					return
				}
			}
		}
	}
}

// Waiters yields the parked requests, oldest first.
func (t *LockTable) Waiters() iter.Seq[*Request] {
	return func(yield func(*Request) bool) { t.waiting.all(yield) }
}

// Unused reports whether nobody holds or wants a lock.
func (t *LockTable) Unused() bool { return t.holders.first == nil && t.waiting.empty() }

// give carries out r, which nothing blocks.
func (t *LockTable) give(now Time, r *Request) syscall.Errno {
	l := *r.Lock
	l.Since = now
	return t.set(l)
}

// grant grants what waited for changed alone, whose range is another's or nobody's now.
func (t *LockTable) grant(now Time, changed FileLock, done *Finished) {
	free := []FileLock{changed}
	for len(free) > 0 {
		var shared []FileLock // which may have been exclusive before
		for r := t.waiting.first; r != nil; {
			next := r.next
			if slices.ContainsFunc(free, r.Lock.overlaps) || slices.ContainsFunc(shared, r.Lock.overlaps) {
				if _, blocked := t.Blocker(*r.Lock); !blocked {
					t.waiting.remove(r)
					t.Waits.remove(r)
					if r.Errno = t.give(now, r); r.Errno == 0 && r.Lock.Type == Shared {
						shared = append(shared, *r.Lock)
					}
					done.add(r)
				}
			}
			r = next
		}
		free = shared
	}
}

// holder returns what owner holds, making room for it.
func (t *LockTable) holder(owner uint64) *lockHolder {
	h := t.owners[owner]
	if h == nil {
		if t.owners == nil {
			t.owners = make(map[uint64]*lockHolder)
		}
		h = &lockHolder{owner: owner}
		t.owners[owner] = h
		t.holders.push(h)
	}
	return h
}

// leave forgets h if it holds nothing.
func (t *LockTable) leave(h *lockHolder) {
	if h.own[0].n+h.own[1].n > 0 {
		return
	}
	delete(t.owners, h.owner)
	t.holders.remove(h)
}

// set replaces what l's owner holds of l's range by l (fcntl(2): a process's locks do not
// stack; a new one converts, shrinks or splits the old, and joins what is next to it).
// ENOLCK: it cannot be booked; nothing has changed.
func (t *LockTable) set(l FileLock) syscall.Errno {
	h := t.holder(l.Owner)
	defer t.leave(h)
	from, to := l.Start, l.End
	if from > 0 {
		from--
	}
	if to < WholeFile {
		to++
	}
	var gone [Exclusive][]FileLock
	var come []FileLock
	joined := l
	for i := range h.own {
		same := l.Type == LockType(i+1)
		h.own[i].all(from, to, func(x FileLock) bool {
			switch {
			case same:
				joined.Start, joined.End = min(joined.Start, x.Start), max(joined.End, x.End)
				joined.Since = min(joined.Since, x.Since)
			case !x.overlaps(l):
				return true
			default:
				if x.Start < l.Start {
					before := x
					before.End = l.Start - 1
					come = append(come, before)
				}
				if x.End > l.End {
					after := x
					after.Start = l.End + 1
					come = append(come, after)
				}
			}
			gone[i] = append(gone[i], x)
			return true
		})
	}
	if l.Type != Unlock {
		come = append(come, joined)
	}
	if errno := t.book(come, gone[:]); errno != 0 {
		return errno
	}
	for i, l := range gone {
		t.held[i].removeAll(l)
		h.own[i].removeAll(l)
	}
	for _, l := range come {
		t.held[l.Type-1].insert(l)
		h.own[l.Type-1].insert(l)
	}
	return 0
}

// book books the locks that come, and takes those that go off the books.
func (t *LockTable) book(come []FileLock, gone [][]FileLock) syscall.Errno {
	if t.Ledger == nil {
		return 0
	}
	type account struct {
		uid uint32
		n   int64
	}
	var accounts []account // of few users: who has the file open may have changed
	count := func(uid uint32, n int64) {
		i := slices.IndexFunc(accounts, func(a account) bool { return a.uid == uid })
		if i < 0 {
			i = len(accounts)
			accounts = append(accounts, account{uid: uid})
		}
		accounts[i].n += n
	}
	for _, l := range come {
		count(l.Uid, 1)
	}
	for _, list := range gone {
		for _, l := range list {
			count(l.Uid, -1)
		}
	}
	for i, a := range accounts {
		if a.n <= 0 {
			continue
		}
		// fcntl(2): ENOLCK, too many segment locks open.
		if t.Ledger.Charge(a.uid, Cost{Kept: a.n * heldLock}) != 0 {
			for _, booked := range accounts[:i] {
				if booked.n > 0 {
					t.Ledger.Adjust(booked.uid, Cost{Kept: -booked.n * heldLock})
				}
			}
			return syscall.ENOLCK
		}
	}
	for _, a := range accounts {
		if a.n < 0 {
			t.Ledger.Adjust(a.uid, Cost{Kept: a.n * heldLock})
		}
	}
	return 0
}
