package fs

import (
	"runtime"
	"syscall"

	"ipcfs/objects"
)

// An outcome is what a call on an object leaves to do when the object is unlocked.
type outcome struct {
	done    objects.Finished // to be answered
	wake    []uint64         // poll notifications to be sent
	forward *object          // has dead letters that are to go on; nil: there are none
}

// withObject locks o, calls change, unlocks o, and then answers whoever that has finished.
// Every call on an object that changes it goes this way, or through locked.
//
// A panic in change, or in what belongs to it, is a defect that leaves the object in a state
// nobody knows. It is broken then: see breakLocked. The panic goes on to whoever logs it.
func (f *FS) withObject(o *object, change func(now objects.Time) objects.Finished) {
	f.conclude(f.locked(o, change))
}

// locked is withObject for a caller that holds FS.mu, and concludes it when it
// does no more.
func (f *FS) locked(o *object, change func(now objects.Time) objects.Finished) (out outcome) {
	whole := false
	defer func() {
		if !whole {
			f.failParked(func(k *call) bool { return k.object == o })
			f.tellBroken(o)
		}
	}()
	o.lock()
	defer o.mu.Unlock()
	defer func() {
		if !whole {
			f.breakLocked(o)
		}
	}()
	out.done = change(f.now())
	o.afterCallLocked(&out)
	whole = true
	return out
}

// lockedBoth is locked for a call on two objects. What the call finishes of x is answered
// first.
func (f *FS) lockedBoth(x, y *object, change func(now objects.Time) (ofX, ofY objects.Finished)) (first, second outcome) {
	return f.changedBoth(x, y, lockBoth(x, y), change)
}

// tryLockedBoth is lockedBoth for a caller that holds FS.mu. It does nothing if one of the
// two is in use, which it returns: see object.await.
func (f *FS) tryLockedBoth(x, y *object, change func(now objects.Time) (ofX, ofY objects.Finished)) (first, second outcome, busy *object) {
	unlock, busy := tryLockBoth(x, y)
	if busy == nil {
		first, second = f.changedBoth(x, y, unlock, change)
	}
	return first, second, busy
}

// changedBoth is lockedBoth for two that are locked. It unlocks them.
func (f *FS) changedBoth(x, y *object, unlock func(), change func(now objects.Time) (ofX, ofY objects.Finished)) (first, second outcome) {
	whole := false
	defer func() {
		if !whole {
			f.failParked(func(k *call) bool { return k.object == x || k.object == y })
			f.tellBroken(x)
			f.tellBroken(y)
		}
	}()
	defer unlock()
	defer func() {
		if !whole {
			f.breakLocked(x)
			f.breakLocked(y)
		}
	}()
	first.done, second.done = change(f.now())
	x.afterCallLocked(&first)
	y.afterCallLocked(&second)
	whole = true
	return first, second
}

// conclude does what a call on an object has left to do. No lock is held.
func (f *FS) conclude(out outcome) {
	if out.forward != nil {
		f.spawn("forwarding of dead letters", func() { out.forward.kind.p.forward(f, out.forward) })
	}
	f.finish(out.done)
	f.wake(out.wake)
}

// look returns what read finds in o, which it does not change.
func look[T any](o *object, read func(impl objects.Object) T) T {
	o.lock()
	defer o.mu.Unlock()
	return read(o.impl)
}

// breakLocked puts an object that was destroyed in the place of o's, which has panicked in
// the middle of a change. Whoever waits for o, or uses it later, gets EIO; it can be
// removed, and everything else goes on. The broken one gives back what it has on the
// books as far as it can. o.mu is held.
func (f *FS) breakLocked(o *object) {
	now := f.now()
	was := o.impl
	o.broken = true
	o.reviewPollersLocked()
	if o.fresh != nil {
		o.impl = o.fresh()
		o.impl.Destroy(now)
	}
	defer func() { _ = recover() }() // what it was in the middle of may be anything
	was.Destroy(now)
}

// tellBroken wakes whoever polls o, which is broken.
func (f *FS) tellBroken(o *object) {
	f.spawn("the telling of those who poll", func() {
		f.withObject(o, func(objects.Time) (none objects.Finished) { return none })
	})
}

// failParked answers those parked requests with EIO that of admits: what they wait for
// is broken. No lock is held.
func (f *FS) failParked(of func(k *call) bool) {
	if f.conn == nil {
		return
	}
	for _, p := range f.conn.Parked() {
		if k, ok := p.(*call); ok && of(k) && k.unpark() {
			k.Errno = syscall.EIO // errno(3): its object is broken
			k.answer()
		}
	}
}

// spawn runs work in a goroutine of its own. A panic is logged and ends that work, not
// the daemon.
func (f *FS) spawn(what string, work func()) {
	go func() {
		defer f.logPanic(what)
		work()
	}()
}

// logPanic is deferred by what the daemon starts: goroutines and timers.
func (f *FS) logPanic(what string) {
	if p := recover(); p != nil {
		stack := make([]byte, 64<<10)
		f.log.Printf("panic in %s: %v\n%s", what, p, stack[:runtime.Stack(stack, false)])
	}
}

// afterCallLocked adds to out what a call on o.impl has led to beside finished requests,
// and has the clock run for what comes due next. o.mu is held.
func (o *object) afterCallLocked(out *outcome) {
	if o.clock != nil {
		o.clock.setLocked()
		if b, ok := o.impl.(forwarder); ok {
			if _, any := b.DeadLetters(); any {
				out.forward = o
			}
		}
	}
	if !o.kind.p.grows {
		o.last.store(o.impl.Held())
	}
	out.wake = o.wokenLocked()
}
