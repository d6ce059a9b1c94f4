package fs

import (
	"slices"
	"sync"
	"syscall"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"
	"ipcfs/objects/filelock"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A file's locks have to be kept here: it has many inodes in the kernel, whose own
// locks would exclude nobody. flock(2) and fcntl(2) locks do not see each other.
type fileLocks struct {
	flock, posix lockTable
}

// A lockTable is one table of locks, made safe for concurrent use.
type lockTable struct {
	mu     *sync.Mutex // guards t and broken
	t      filelock.Table
	broken bool // it has panicked: EIO for who wants a lock
}

// withLocks locks l, calls change, unlocks l, and then answers whoever that has finished. A
// panic in change breaks l: see FS.withObject.
func (f *FS) withLocks(l *lockTable, change func(now objects.Time) objects.Finished) {
	f.finish(f.lockedTable(l, change))
}

func (f *FS) lockedTable(l *lockTable, change func(now objects.Time) objects.Finished) (done objects.Finished) {
	whole := false
	defer func() {
		if !whole {
			f.failParked(func(k *call) bool { return k.locks == l })
		}
	}()
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.broken = l.broken || !whole }()
	if !l.broken {
		done = change(f.now())
	}
	whole = true
	return done
}

// newFileLocks makes a file's tables. The locks of fcntl(2) are one net over all files.
func (f *FS) newFileLocks() *fileLocks {
	return &fileLocks{
		flock: lockTable{mu: new(sync.Mutex), t: filelock.Table{Ledger: f.ledger}},
		posix: lockTable{mu: &f.posix.mu, t: filelock.Table{Ledger: f.ledger, Waits: &f.posix.waits}},
	}
}

func (l *lockTable) release(f *FS, owner uint64) {
	f.withLocks(l, func(now objects.Time) objects.Finished { return l.t.Release(now, owner) })
}

// blocker is the lock that is in the way of one, if there is one.
func (l *lockTable) blocker(lock filelock.Lock) (holder filelock.Lock, blocked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.t.Blocker(lock)
}

// table returns the table that a request of h with these flags concerns.
func (f *FS) table(h *handle, flags uint32) *lockTable {
	l := h.file.locks.Load()
	if l == nil {
		h.file.locks.CompareAndSwap(nil, f.newFileLocks())
		l = h.file.locks.Load()
	}
	if flags&fuse.FUSE_LK_FLOCK != 0 {
		return &l.flock
	}
	return &l.posix
}

// lockTypes maps F_RDLCK, F_WRLCK and F_UNLCK.
var lockTypes = [...]filelock.Type{syscall.F_RDLCK: filelock.Shared, syscall.F_WRLCK: filelock.Exclusive, syscall.F_UNLCK: filelock.Unlock}

func lockOf(h *handle, in *fuse.LkIn) filelock.Lock {
	return filelock.Lock{
		Type:  lockTypes[in.Lk.Typ],
		Start: in.Lk.Start,
		End:   in.Lk.End,
		Owner: in.Owner,
		Pid:   in.Lk.Pid,
		Uid:   h.opener.Uid,
	}
}

// ServeGetlk implements fusedev.Handler: F_GETLK of fcntl(2).
func (f *FS) ServeGetlk(c *fusedev.Conn, in *fuse.LkIn) {
	h := f.handleFor(in.Fh)
	if h == nil || in.Lk.Typ >= uint32(len(lockTypes)) {
		c.Reply(in.Unique, syscall.EINVAL)
		return
	}
	l := f.table(h, in.LkFlags)
	holder, blocked := l.blocker(lockOf(h, in))
	out := fuse.LkOut{Lk: fuse.FileLock{Typ: syscall.F_UNLCK}}
	if blocked {
		out.Lk = fuse.FileLock{Start: holder.Start, End: holder.End, Typ: syscall.F_RDLCK, Pid: holder.Pid}
		if holder.Type == filelock.Exclusive {
			out.Lk.Typ = syscall.F_WRLCK
		}
	}
	c.ReplyLock(in.Unique, &out)
}

// ServeSetlk implements fusedev.Handler: flock(2), and F_SETLK and F_SETLKW of fcntl(2).
func (f *FS) ServeSetlk(c *fusedev.Conn, in *fuse.LkIn, wait bool) {
	h := f.handleFor(in.Fh)
	if h == nil || in.Lk.Typ >= uint32(len(lockTypes)) {
		c.Reply(in.Unique, syscall.EINVAL)
		return
	}
	l := f.table(h, in.LkFlags)
	lock := lockOf(h, in)
	k := &call{fs: f, conn: c, handle: h, locks: l, unique: in.Unique, thread: in.Pid}
	k.Op, k.Caller, k.Nonblock = objects.Lock, h.callerFor(in.Caller), !wait
	*filelock.Wanted(&k.Request) = lock
	k.Tag = k
	f.withLocks(l, func(now objects.Time) objects.Finished {
		if l == f.table(h, 0) && lock.Type != filelock.Unlock && f.rememberLocked(h, in) != 0 {
			// fcntl(2): ENOLCK, too many locks.
			return k.Fail(syscall.ENOLCK)
		}
		done := l.t.Submit(now, &k.Request)
		if k.Parked() {
			k.park()
		}
		return done
	})
}

// A lockOwner is a process that has taken fcntl(2) locks through a handle for whose
// closing there is no FLUSH.
type lockOwner struct {
	owner uint64
	watch processWatch
}

// rememberLocked notes that the process behind in takes fcntl(2) locks through h. Its death
// is to end them; others may have h's file open still. ENFILE: that cannot be told. The
// lock table's mutex is held.
func (f *FS) rememberLocked(h *handle, in *fuse.LkIn) syscall.Errno {
	owner := in.Owner
	if !h.writes || slices.ContainsFunc(h.lockOwners, func(o lockOwner) bool { return o.owner == owner }) {
		return 0
	}
	v, errno := f.watch(in.Pid, in.Uid, func() {
		f.forgetOwner(h, owner)
		f.table(h, 0).release(f, owner)
	})
	if errno != 0 {
		return errno
	}
	// It is not refused: there are no more of them than processes.
	f.ledger.adjust(h.opener.Uid, amounts{Kept: watchCost})
	h.lockOwners = append(h.lockOwners, lockOwner{owner, v})
	return 0
}

// forgetOwner undoes remember.
func (f *FS) forgetOwner(h *handle, owner uint64) {
	l := f.table(h, 0)
	l.mu.Lock()
	defer l.mu.Unlock()
	h.lockOwners = slices.DeleteFunc(h.lockOwners, func(o lockOwner) bool {
		if o.owner != owner {
			return false
		}
		f.endLockOwner(h, o)
		return true
	})
}

// endLockOwner ends what remember has begun.
func (f *FS) endLockOwner(h *handle, o lockOwner) {
	o.watch.end()
	f.ledger.adjust(h.opener.Uid, amounts{Kept: -watchCost})
}

// Flush implements fuse.RawFileSystem: a process has closed a copy of the
// descriptor, and with it loses its fcntl(2) locks on the file.
func (f *FS) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	h := f.handleFor(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	if h.file.locks.Load() != nil {
		f.table(h, 0).release(f, in.LockOwner)
	}
	h.judge(in.Pid, in.LockOwner)
	return fuse.OK
}

// unlock drops the locks that end with h: flock(2)'s, and the fcntl(2) locks of
// processes for whose closing there was no FLUSH, because h may write.
func (f *FS) unlock(h *handle, in *fuse.ReleaseIn) {
	if h.file.locks.Load() == nil {
		return
	}
	if in.ReleaseFlags&fuse.FUSE_RELEASE_FLOCK_UNLOCK != 0 {
		f.table(h, fuse.FUSE_LK_FLOCK).release(f, in.LockOwner)
	}
	posix := f.table(h, 0)
	for _, o := range posix.takeOwners(h) {
		f.endLockOwner(h, o)
		posix.release(f, o.owner)
	}
}

// takeOwners returns those whose locks end with h, and leaves it none.
func (l *lockTable) takeOwners(h *handle) []lockOwner {
	l.mu.Lock()
	defer l.mu.Unlock()
	owners := h.lockOwners
	h.lockOwners = nil
	return owners
}
