package fs

import (
	"slices"
	"strings"
	"syscall"

	"ipcfs/objects"

	"golang.org/x/sys/unix"
)

// This file has what takes long with the memory of a segment: making sure that nobody can
// change it, copying it, and cutting it off. Whoever does it is alone with the memory:
// who wants to open the segment, or to do something of the kind, waits and can be
// interrupted. FS.mu and the object's mutex are free meanwhile, so everything else goes on.

// later is the errno of what has to wait for somebody who is alone with a memory, or to
// do work of that kind first. It never reaches a process.
const later = syscall.ERESTART

// beginAlone makes the caller the one who is alone with o's memory, until endAlone. EINTR:
// e was interrupted.
func (o *object) beginAlone(e *errand) syscall.Errno {
	for {
		busy := o.tryAlone()
		if busy == nil {
			return 0
		}
		if errno := e.await(busy); errno != 0 {
			return errno
		}
	}
}

// tryAlone is beginAlone if nobody is alone with it, else what tells when to try again.
func (o *object) tryAlone() (busy <-chan struct{}) {
	o.lock()
	defer o.mu.Unlock()
	m := o.memoryLocked()
	if m.alone != nil {
		return m.alone
	}
	m.alone = make(chan struct{})
	o.atWork.Store(true)
	return nil
}

func (o *object) endAlone() {
	o.lock()
	defer o.mu.Unlock()
	m := o.memoryLocked()
	close(m.alone)
	m.alone = nil
	o.atWork.Store(false)
}

// freeze makes sure that nobody can change the memory of o but through us. EBUSY: somebody
// has it open or mapped for writing, or has pinned memory of it.
func (f *FS) freeze(o *object, e *errand) syscall.Errno {
	if errno := o.beginAlone(e); errno != 0 {
		return errno
	}
	defer o.endAlone()
	return o.freezeAlone()
}

func (o *object) freezeAlone() syscall.Errno {
	file, errno := o.toFreeze()
	if file == nil {
		return errno
	}
	defer file.drop()
	if errno := file.seal(unix.F_SEAL_WRITE); errno != 0 {
		return errno
	}
	o.lock()
	defer o.mu.Unlock()
	if m := o.memoryLocked(); m.file == file {
		m.frozen = true
	}
	return 0
}

// toFreeze returns the file to freeze, nil if there is nothing to do.
func (o *object) toFreeze() (*memfd, syscall.Errno) {
	o.lock()
	defer o.mu.Unlock()
	m := o.memoryLocked()
	switch {
	case m.Frozen():
		return nil, 0
	case o.segmentLocked().ForWriting():
		return nil, syscall.EBUSY
	}
	return m.file.use(), 0
}

// thaw readies the memory of o for somebody who wants to write to it. Memory that was
// frozen to be sent stays as it is, so that becomes a copy, which is booked beside it
// while both are there. EBUSY: somebody has it open or mapped, and would not see what is
// written to the copy. ENOSPC and EDQUOT: there is no room for the copy.
func (f *FS) thaw(o *object, e *errand) syscall.Errno {
	if errno := o.beginAlone(e); errno != 0 {
		return errno
	}
	defer o.endAlone()
	from, once, errno := o.toThaw()
	if from == nil {
		return errno
	}
	defer from.drop()
	to, errno := f.store.newMemfd(from.owner.Load())
	if errno == 0 {
		errno = copyMemory(to, from, e)
	}
	if errno == 0 {
		errno = o.replace(from, to, once)
	}
	if errno != 0 {
		once()
		if to != nil {
			to.drop()
		}
	}
	return errno
}

// toThaw returns the file to copy, nil if there is nothing to do, and what gives back what
// is booked for the copy.
func (o *object) toThaw() (from *memfd, once func(), errno syscall.Errno) {
	o.lock()
	defer o.mu.Unlock()
	m, g := o.memoryLocked(), o.segmentLocked()
	switch {
	case !m.frozen || m.freed || g.SealedWrite():
		return nil, nil, 0
	case m.Mapped():
		return nil, nil, syscall.EBUSY
	}
	if once, errno = g.Twice(); errno != 0 {
		return nil, nil, errno
	}
	return m.file.use(), once, 0
}

// replace makes to the memory of o, which was from. EIDRM: it is not any more.
func (o *object) replace(from, to *memfd, once func()) syscall.Errno {
	o.lock()
	defer o.mu.Unlock()
	m := o.memoryLocked()
	if m.file != from {
		return syscall.EIDRM
	}
	m.file, m.passed, m.frozen, m.bounded = to, false, false, false
	m.store.free(freeable{from, false, once})
	return 0
}

// copyMemory makes to, which is empty, the same as from. EINTR: e was interrupted.
func copyMemory(to, from *memfd, e *errand) syscall.Errno {
	size := from.size()
	if err := unix.Ftruncate(to.fd, size); err != nil {
		return errnoOf(err)
	}
	for at := int64(0); at < size; {
		// lseek(2): ENXIO, no more data.
		data, err := unix.Seek(from.fd, at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			return 0
		}
		var hole int64
		if err == nil {
			hole, err = unix.Seek(from.fd, data, unix.SEEK_HOLE)
		}
		if err != nil {
			return errnoOf(err)
		}
		if errno := copyRange(to, from, data, min(hole, size), e); errno != 0 {
			return errno
		}
		at = hole
	}
	return 0
}

func copyRange(to, from *memfd, at, end int64, e *errand) syscall.Errno {
	for at < end {
		if e.stopped() {
			return syscall.EINTR
		}
		in, out := at, at
		n, err := unix.CopyFileRange(from.fd, &in, to.fd, &out, int(min(end-at, quickly)), 0)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return errnoOf(err)
		case n == 0:
			return syscall.EIO
		}
		at += int64(max(n, 0))
	}
	return 0
}

// cut brings the size of o's memory near to n, from where it can be cut at once. EINTR: e
// was interrupted, and some may be cut off.
func (f *FS) cut(o *object, n int64, e *errand) syscall.Errno {
	if n < 0 || o.held().Bytes-n <= quickly {
		return 0
	}
	return f.inSteps(o, e, objects.Resize, func(file *memfd, stopped func() bool) error {
		for size := file.size(); size-n > quickly && !stopped(); size -= quickly {
			if err := unix.Ftruncate(file.fd, size-quickly); err != nil {
				return err
			}
		}
		return nil
	})
}

// punch makes most of a hole in o's memory, so that the rest can be made at once. EINTR: e
// was interrupted, and some may be zeros.
func (f *FS) punch(o *object, offset, n int64, e *errand) syscall.Errno {
	size := o.held().Bytes
	if offset < 0 || n <= quickly || offset >= size-quickly {
		return 0
	}
	n = min(n, size-offset)
	return f.inSteps(o, e, objects.Punch, func(file *memfd, stopped func() bool) error {
		for ; n > quickly && !stopped(); offset, n = offset+quickly, n-quickly {
			err := unix.Fallocate(file.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, quickly)
			if err != nil && err != unix.EINTR {
				return err
			}
		}
		return nil
	})
}

// inSteps has work done alone on o's file, unless a seal forbids op: who carries that out
// will say so.
func (f *FS) inSteps(o *object, e *errand, op objects.Op, work func(file *memfd, stopped func() bool) error) syscall.Errno {
	if errno := o.beginAlone(e); errno != 0 {
		return errno
	}
	defer o.endAlone()
	file := o.unsealed(op)
	if file == nil {
		return 0
	}
	defer file.drop()
	err := work(file, e.stopped)
	if err == nil && e.stopped() {
		err = syscall.EINTR
	}
	return errnoOf(err)
}

// unsealed returns o's file if no seal forbids op.
func (o *object) unsealed(op objects.Op) *memfd {
	o.lock()
	defer o.mu.Unlock()
	m, g := o.memoryLocked(), o.segmentLocked()
	if m.file == nil || op == objects.Resize && g.SealedShrink() || op == objects.Punch && g.SealedWrite() {
		return nil
	}
	return m.file.use()
}

// setSize sets the policy size.
func setSize(f *FS, o *object, value string, e *errand, set func() syscall.Errno) syscall.Errno {
	if n, ok := objects.ParseBytes(value); ok {
		if errno := f.cut(o, n, e); errno != 0 {
			return errno
		}
	}
	return set()
}

// setSeal sets the policy seal. Nobody is cutting the memory off when it returns.
func setSeal(f *FS, o *object, value string, e *errand, set func() syscall.Errno) syscall.Errno {
	if errno := o.beginAlone(e); errno != 0 {
		return errno
	}
	defer o.endAlone()
	if slices.Contains(strings.Fields(value), "write") {
		if errno := o.freezeAlone(); errno != 0 {
			return errno
		}
	}
	return set()
}
