// Package filelock is the locks of one file: those of flock(2) and the record locks of
// fcntl(2). They are no object of a kind, as every file of a mount has locks, but they follow
// the protocol of package objects.
package filelock

import (
	"iter"
	"math"
	"slices"
	"syscall"

	"ipcfs/objects"
)

// A Lock is a lock of flock(2) or a record lock of fcntl(2).
type Lock struct {
	Type       Type
	Start, End uint64       // the first and the last byte; flock covers all
	Owner      uint64       // the lock owner: a process for fcntl, an open file for flock
	Pid        uint32       // what F_GETLK reports of the holder
	Uid        uint32       // whose process asked for it
	Since      objects.Time // when it was granted
}

// A wanted lock is what a table keeps with a Request: Request.Own.
type wanted struct{ lock Lock }

// Reset implements Part.
func (w *wanted) Reset() { *w = wanted{} }

// Wanted is what r asks for. The driver sets it before it submits r.
func Wanted(r *objects.Request) *Lock { return &objects.PartOf[wanted](r).lock }

// A Type is what a lock excludes.
type Type uint8

var lockTypeNames = [...]string{Unlock: "unlock", Shared: "shared", Exclusive: "exclusive"}

// String is the word of the type.
func (t Type) String() string { return lockTypeNames[t] }

const (
	Unlock    Type = iota // F_UNLCK
	Shared                // F_RDLCK
	Exclusive             // F_WRLCK
)

// WholeFile is the End of a lock that covers the whole file.
const WholeFile = math.MaxUint64

// A Table holds the locks of one file. It is no Object of a kind: every file of
// the mount has locks. The calls follow Object's protocol. A parked request is
// granted as soon as no lock that is held conflicts with it, the oldest first.
type Table struct {
	// Waits is shared by the tables whose locks may not be waited for in a circle: those
	// of fcntl(2). Calls on all of them are serialised. It is nil for other locks.
	Waits *Waits

	// Ledger books each lock that is held on the user whose it is; nil: nobody.
	Ledger objects.Ledger

	held    [Exclusive]rangeTree // by type, Shared first
	owners  map[uint64]*lockHolder
	holders objects.List[lockHolder, *lockHolder] // who have locks, in the order of their coming
	waiting objects.Queue
}

// A lockHolder has locks of one table, no two of which share a byte.
type lockHolder struct {
	objects.Links[lockHolder]
	owner uint64
	own   [Exclusive]rangeTree // by type
}

// heldLock is what a lock that is held costs in bytes: a node in each of two trees.
const heldLock = 256

// opposing is the types of locks that l excludes, as indices of a table.
func (l *Lock) opposing() []int {
	if l.Type == Exclusive {
		return []int{int(Shared - 1), int(Exclusive - 1)}
	}
	return []int{int(Exclusive - 1)}
}

// opposes reports whether h has a lock that keeps l from being granted.
func (h *lockHolder) opposes(l *Lock) bool {
	for _, i := range l.opposing() {
		if h.own[i].first(l.Start, l.End, nil) != nil {
			return h.owner != l.Owner
		}
	}
	return false
}

// Waits knows who waits for a lock, and where.
type Waits struct {
	of map[uint64][]lockWait // by owner
}

type lockWait struct {
	table   *Table
	request *objects.Request
}

func (w *Waits) add(t *Table, r *objects.Request) {
	if w == nil {
		return
	}
	if w.of == nil {
		w.of = make(map[uint64][]lockWait)
	}
	w.of[Wanted(r).Owner] = append(w.of[Wanted(r).Owner], lockWait{t, r})
}

func (w *Waits) remove(r *objects.Request) {
	if w == nil {
		return
	}
	owner := Wanted(r).Owner
	left := slices.DeleteFunc(w.of[owner], func(x lockWait) bool { return x.request == r })
	if len(left) == 0 {
		delete(w.of, owner)
	} else {
		w.of[owner] = left
	}
}

// circle reports whether owner would wait for itself if it waited in t for l. seen are the
// owners that have been followed.
func (w *Waits) circle(owner uint64, t *Table, l Lock, seen map[uint64]bool) bool {
	for h := t.holders.First(); h != nil; h = h.Next() {
		switch {
		case seen[h.owner] || !h.opposes(&l):
			continue
		case h.owner == owner:
			return true
		}
		seen[h.owner] = true
		for _, x := range w.of[h.owner] {
			if w.circle(owner, x.table, *Wanted(x.request), seen) {
				return true
			}
		}
	}
	return false
}

func (a Lock) overlaps(b Lock) bool { return a.Start <= b.End && b.Start <= a.End }

// Blocker returns the lock held that keeps l from being granted, of several the one that
// starts first, as F_GETLK has it; ok is false if l could be granted.
func (t *Table) Blocker(l Lock) (holder Lock, ok bool) {
	for _, i := range l.opposing() {
		if h := t.held[i].first(l.Start, l.End, &l.Owner); h != nil && (!ok || h.Start < holder.Start) {
			holder, ok = *h, true
		}
	}
	return holder, ok
}

// Submit takes, changes or releases the lock that r wants.
func (t *Table) Submit(now objects.Time, r *objects.Request) objects.Finished {
	r.Errno = 0
	if Wanted(r).Type != Unlock {
		if _, blocked := t.Blocker(*Wanted(r)); blocked {
			// fcntl(2), flock(2): EAGAIN (EWOULDBLOCK), held by another.
			if r.Nonblock {
				return r.Fail(syscall.EAGAIN)
			}
			// fcntl(2): EDEADLK, F_SETLKW would cause a deadlock.
			if t.Waits != nil && t.Waits.circle(Wanted(r).Owner, t, *Wanted(r), make(map[uint64]bool)) {
				return r.Fail(syscall.EDEADLK)
			}
			t.waiting.Push(now, r)
			t.Waits.add(t, r)
			return objects.Finished{}
		}
	}
	done := objects.One(r)
	if r.Errno = t.acquire(now, r); r.Errno == 0 {
		t.grant(now, *Wanted(r), &done)
	}
	return done
}

// Cancel finishes the parked request r with cause.
func (t *Table) Cancel(_ objects.Time, r *objects.Request, cause syscall.Errno) objects.Finished {
	if !r.Parked() {
		return objects.Finished{}
	}
	t.waiting.Remove(r)
	t.Waits.remove(r)
	return r.Fail(cause)
}

// Release drops every lock of owner.
func (t *Table) Release(now objects.Time, owner uint64) objects.Finished {
	var done objects.Finished
	all := Lock{Type: Unlock, End: WholeFile, Owner: owner}
	if t.owners[owner] != nil && t.set(all) == 0 {
		t.grant(now, all, &done)
	}
	return done
}

// Owners yields the locks that are held, of one owner those of one type in order.
func (t *Table) Owners() iter.Seq[Lock] {
	return func(yield func(Lock) bool) {
		for h := t.holders.First(); h != nil; h = h.Next() {
			for i := range h.own {
				if !h.own[i].all(0, WholeFile, yield) {
					return
				}
			}
		}
	}
}

// Waiters yields the parked requests, oldest first.
func (t *Table) Waiters() iter.Seq[*objects.Request] { return t.waiting.All() }

// Unused reports whether nobody holds or wants a lock.
func (t *Table) Unused() bool { return t.holders.First() == nil && t.waiting.Empty() }

// acquire carries out r, which nothing blocks.
func (t *Table) acquire(now objects.Time, r *objects.Request) syscall.Errno {
	l := *Wanted(r)
	l.Since = now
	return t.set(l)
}

// grant grants what waited for changed alone, whose range is another's or nobody's now.
func (t *Table) grant(now objects.Time, changed Lock, done *objects.Finished) {
	free := []Lock{changed}
	for len(free) > 0 {
		var shared []Lock // which may have been exclusive before
		for r := t.waiting.First(); r != nil; {
			next := r.Next()
			if slices.ContainsFunc(free, Wanted(r).overlaps) || slices.ContainsFunc(shared, Wanted(r).overlaps) {
				if _, blocked := t.Blocker(*Wanted(r)); !blocked {
					t.waiting.Remove(r)
					t.Waits.remove(r)
					if r.Errno = t.acquire(now, r); r.Errno == 0 && Wanted(r).Type == Shared {
						shared = append(shared, *Wanted(r))
					}
					done.Add(r)
				}
			}
			r = next
		}
		free = shared
	}
}

// holder returns what owner holds, making room for it.
func (t *Table) holder(owner uint64) *lockHolder {
	h := t.owners[owner]
	if h == nil {
		if t.owners == nil {
			t.owners = make(map[uint64]*lockHolder)
		}
		h = &lockHolder{owner: owner}
		t.owners[owner] = h
		t.holders.Push(h)
	}
	return h
}

// forgetUnused forgets h if it holds nothing.
func (t *Table) forgetUnused(h *lockHolder) {
	if h.own[0].n+h.own[1].n > 0 {
		return
	}
	delete(t.owners, h.owner)
	t.holders.Remove(h)
}

// set replaces what l's owner holds of l's range by l (fcntl(2): a process's locks do not
// stack; a new one converts, shrinks or splits the old, and joins what is next to it).
// ENOLCK: it cannot be booked; nothing has changed.
func (t *Table) set(l Lock) syscall.Errno {
	h := t.holder(l.Owner)
	defer t.forgetUnused(h)
	from, to := l.Start, l.End
	if from > 0 {
		from--
	}
	if to < WholeFile {
		to++
	}
	var gone [Exclusive][]Lock
	var come []Lock
	joined := l
	for i := range h.own {
		same := l.Type == Type(i+1)
		h.own[i].all(from, to, func(x Lock) bool {
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
func (t *Table) book(come []Lock, gone [][]Lock) syscall.Errno {
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
		if t.Ledger.Charge(a.uid, objects.Cost{Kept: a.n * heldLock}) != 0 {
			for _, booked := range accounts[:i] {
				if booked.n > 0 {
					t.Ledger.Adjust(booked.uid, objects.Cost{Kept: -booked.n * heldLock})
				}
			}
			return syscall.ENOLCK
		}
	}
	for _, a := range accounts {
		if a.n < 0 {
			t.Ledger.Adjust(a.uid, objects.Cost{Kept: a.n * heldLock})
		}
	}
	return 0
}
