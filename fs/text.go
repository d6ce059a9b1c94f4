package fs

import (
	"iter"
	"slices"
	"sync"
	"syscall"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"
	"ipcfs/objects/filelock"
	"ipcfs/objects/semaphore"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A text is what an open file shows that may be long: lines about all objects, or about
// all who wait for one. It is made in pieces, as the file is read, and forgotten behind
// the reader: nothing of the whole is ever held, nor any lock while the reader is not
// there. What is there from the first read to the last appears exactly once.
//
// A reader may go back by as much as textPiece, as bash and head(1) do. To go further
// back, or to the start, makes the text anew.
type text struct {
	lines iter.Seq[[]byte]

	mu   sync.Mutex // guards what follows; held while a piece is made
	next func() ([]byte, bool)
	stop func() // nil: the text has not begun
	base uint64 // the offset of the first of made
	made []byte // the last pieces, textPiece and what a read takes
	done bool
}

// textPiece is how many bytes of a text are made at a time: more than a line has.
const textPiece = 16 << 10

// textCost is the memory of a text in bytes, at most: three pieces with the room that
// append leaves, and the stack of what makes them.
const textCost = 64 << 10

// answer replies with what is at the offset. Another read of the same open file may be
// making a piece: then a goroutine waits for it, not a thread of the loop.
func (t *text) answer(f *FS, c *fusedev.Conn, in *fuse.ReadIn) {
	unique, offset, size := in.Unique, in.Offset, int(in.Size)
	if t.mu.TryLock() {
		defer t.mu.Unlock()
		c.ReplyData(unique, t.readLocked(offset, size))
		return
	}
	f.spawn("reading", func() {
		errno := syscall.EIO
		defer func() {
			if errno != 0 { // it has panicked
				c.Reply(unique, errno)
			}
		}()
		t.mu.Lock()
		defer t.mu.Unlock()
		b := t.readLocked(offset, size)
		errno = 0
		c.ReplyData(unique, b)
	})
}

// readLocked returns up to size bytes at the offset, none at the end. They are valid
// until t.mu is unlocked.
func (t *text) readLocked(offset uint64, size int) []byte {
	if t.stop == nil || offset == 0 || offset < t.base {
		t.endLocked()
		t.next, t.stop = iter.Pull(t.lines)
	}
	for offset >= t.base+uint64(len(t.made)) {
		if t.done {
			return nil
		}
		t.makeLocked()
	}
	b := t.made[offset-t.base:]
	return b[:min(size, len(b))]
}

// makeLocked adds a piece to what is made, and forgets all but one before it.
func (t *text) makeLocked() {
	if old := len(t.made) - textPiece; old > 0 {
		t.made = slices.Delete(t.made, 0, old)
		t.base += uint64(old)
	}
	for end := len(t.made) + textPiece; len(t.made) < end; {
		line, ok := t.next()
		if !ok {
			t.done = true
			return
		}
		t.made = append(t.made, line...)
	}
}

// endLocked forgets what is made.
func (t *text) endLocked() {
	if t.stop != nil {
		t.stop()
	}
	t.next, t.stop, t.base, t.made, t.done = nil, nil, 0, nil, false
}

// end ends t, which may be nil.
func (t *text) end() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endLocked()
}

// batch is how many objects, messages or requests a listing looks at in one go under a
// lock.
const batch = 512

// A position orders what a listing goes through by what does not change of it.
type position [2]uint64

// compare is negative if p is before q.
func (p position) compare(q position) int {
	return slices.Compare(p[:], q[:])
}

// next returns the batch of all that follows that position, in order. More than a batch
// is returned only where several have the same position.
func next[T any](all iter.Seq[T], at func(T) position, after position) []T {
	var some []T
	compare := func(a, b T) int { return at(a).compare(at(b)) }
	cut := func() {
		slices.SortStableFunc(some, compare)
		n := min(batch, len(some))
		for n > 0 && n < len(some) && at(some[n]) == at(some[n-1]) {
			n++
		}
		clear(some[n:])
		some = some[:n]
	}
	for x := range all {
		if at(x).compare(after) <= 0 {
			continue
		}
		if some = append(some, x); len(some) >= 4*batch {
			cut()
		}
	}
	cut()
	return some
}

// each yields what all gives under a lock, in the order of the positions and with nothing
// locked: from is called for a batch at a time.
func each[T any](at func(T) position, from func(after position) []T) iter.Seq[T] {
	return func(yield func(T) bool) {
		var after position
		for {
			some := from(after)
			for _, x := range some {
				if !yield(x) {
					return
				}
			}
			if len(some) < batch {
				return
			}
			after = at(some[len(some)-1])
		}
	}
}

// A placed object is one with the path it had when it was listed.
type placed struct {
	*object
	path string
}

// allObjects yields every object that who may see, by kinds and in the order in which
// they were made. Nothing is locked.
func (f *FS) allObjects(who *identity) iter.Seq[placed] {
	return func(yield func(placed) bool) {
		for _, d := range f.kinds {
			for o := range f.objectsIn(d, who) {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// objectsIn is allObjects of one kind.
func (f *FS) objectsIn(d *kindDir, who *identity) iter.Seq[placed] {
	return func(yield func(placed) bool) {
		for after, more := uint64(0), true; more; {
			var some []placed
			some, after, more = f.someObjects(d, after, who)
			for _, o := range some {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// someObjects looks at a batch of the objects of d behind the one listed as after. It
// returns those that who may see, and where to go on if there are more.
func (f *FS) someObjects(d *kindDir, after uint64, who *identity) (some []placed, last uint64, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	looked := 0
	for n, o := range d.all.after(after) {
		last = n
		if f.visibleLocked(o, who) {
			some = append(some, placed{o, o.pathLocked()})
		}
		if looked++; looked == batch {
			return some, last, true
		}
	}
	return some, last, false
}

// A waiter is a parked request.
type waiter struct {
	objects.Caller
	op     objects.Op
	since  objects.Time
	unique uint64
}

func (w waiter) at() position { return position{w.unique} }

// waiters yields the requests parked in o in the order in which they came.
func (f *FS) waiters(o *object) iter.Seq[waiter] {
	return each(waiter.at, func(after position) []waiter {
		return look(o, func(impl objects.Object) []waiter {
			return next(func(yield func(waiter) bool) {
				for r := range impl.Waiters() {
					if !yield(waiter{r.Caller, r.Op, r.Since, r.Tag.(*call).unique}) {
						return
					}
				}
			}, waiter.at, after)
		})
	})
}

func ownerAt(o semaphore.Owner) position { return position{o.Serial()} }

// owners yields those who hold a unit of o, nobody if it is not a thing to be held.
func (f *FS) owners(o *object) iter.Seq[semaphore.Owner] {
	return each(ownerAt, func(after position) []semaphore.Owner {
		return look(o, func(impl objects.Object) []semaphore.Owner {
			if held, ok := impl.(interface {
				Owners() iter.Seq[semaphore.Owner]
			}); ok {
				return next(held.Owners(), ownerAt, after)
			}
			return nil
		})
	})
}

func lockAt(l filelock.Lock) position { return position{l.Start, l.Owner} }

// held yields the locks that are held.
func (l *lockTable) held() iter.Seq[filelock.Lock] {
	return each(lockAt, func(after position) []filelock.Lock {
		l.mu.Lock()
		defer l.mu.Unlock()
		return next(l.t.Owners(), lockAt, after)
	})
}

// A wantedLock is one that somebody waits for.
type wantedLock struct {
	filelock.Lock
	unique uint64
}

func (l wantedLock) at() position { return position{l.unique} }

// wanted yields the locks that somebody waits for, in the order in which they came.
func (l *lockTable) wanted() iter.Seq[filelock.Lock] {
	some := func(after position) []wantedLock {
		l.mu.Lock()
		defer l.mu.Unlock()
		return next(func(yield func(wantedLock) bool) {
			for r := range l.t.Waiters() {
				lock := *filelock.Wanted(r)
				lock.Pid, lock.Since = r.Caller.Pid, r.Since
				if !yield(wantedLock{lock, r.Tag.(*call).unique}) {
					return
				}
			}
		}, wantedLock.at, after)
	}
	return func(yield func(filelock.Lock) bool) {
		for lock := range each(wantedLock.at, some) {
			if !yield(lock.Lock) {
				return
			}
		}
	}
}
