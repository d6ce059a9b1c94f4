package fs

import (
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"

	"golang.org/x/sys/unix"
)

// This file keeps the locks that the kernel holds for parked requests from stopping
// anybody who cannot be stopped himself: see "Locks of the kernel" in the package
// comment.

// lookupAbsent is what a LOOKUP by caller of a name that is not there in d is answered
// with: ENOENT, unless it is the new name of a link(2). f.mu is not held.
//
// The kernel asks for the new name with the directory's lock held, and takes the lock
// of the source next, unless the answer is an error. So where links are not made
// anyway link(2) ends here, before it can wait for a parked write.
func (f *FS) lookupAbsent(d dir, caller uint32) syscall.Errno {
	if caller == 0 {
		return syscall.ENOENT // in a PID namespace that we do not see: the watch has to do
	}
	t := thread(caller)
	s, c := t.systemCall()
	for range 3 {
		if c != running {
			break
		}
		// It has queued its request and has been preempted on its way to sleep.
		_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0)
		s, c = t.systemCall()
	}
	if c == running {
		return fusedev.Later
	}
	if c == unknown {
		return syscall.ENOENT
	}
	l, yes := t.linking(s)
	if !yes {
		return syscall.ENOENT
	}
	if k, ok := d.(*kindDir); ok && k.p.links && !f.linksAnother(t, l, k) {
		return syscall.ENOENT
	}
	return syscall.EPERM // link(2): not supported here
}

// AwaitCaller implements fusedev.Handler.
func (f *FS) AwaitCaller(caller uint32) {
	const pause = time.Millisecond
	for {
		if _, c := thread(caller).systemCall(); c != running {
			return
		}
		time.Sleep(pause)
	}
}

// linksAnother reports whether the source of t's link is a descriptor of a file of
// another kind than k's, as AT_EMPTY_PATH has it. A source with a path is let pass: the
// LOOKUP of that has given t a node of its own, on which nothing is parked, or it leads
// through /proc, as the link of an O_TMPFILE does. For that, and for a descriptor that
// another thread has exchanged meanwhile, the watch has to do.
func (f *FS) linksAnother(t thread, l linking, k *kindDir) bool {
	if l.flags&unix.AT_EMPTY_PATH == 0 {
		return false
	}
	parts := strings.Split(t.path(int(l.dir)), "/")
	kind := func(i int) bool {
		i = len(parts) - i
		return i >= 0 && slices.ContainsFunc(f.kinds, func(other *kindDir) bool {
			return other != k && other.p.dir == parts[i]
		})
	}
	// KIND/NAME, KIND/NAME.d/FILE, KIND/NAME.d/FOLDER/FILE
	return kind(2) || kind(3) || kind(4)
}

// patience is how long a request may be parked before it is watched, and how often it
// is: with what the watch itself takes, and a step of it, less than the second for
// which nobody may be stopped.
const patience = 300 * time.Millisecond

// step is how long a directory's lock has to be held to count as stopped, and how
// long the watch waits for what it has done to help.
const step = 100 * time.Millisecond

// A guard watches what waits for the kernel's locks that parked requests hold. It
// sleeps while nothing has been parked for long. Its rounds do not overlap.
type guard struct {
	fs    *FS
	held  atomic.Int64 // parked requests that hold a lock of the kernel's
	write atomic.Int64 // those of them that write
	awake atomic.Bool  // the next round has been ordered
	timer *time.Timer

	// Used by rounds only.
	probes   map[*kindDir]*probe // those that are out
	hopeless map[thread]bool     // killed, and pursued in vain
}

func newGuard(f *FS) *guard {
	g := &guard{fs: f, probes: make(map[*kindDir]*probe)}
	g.timer = time.AfterFunc(time.Hour, g.round)
	g.timer.Stop()
	return g
}

// holdsLock reports whether the kernel holds a lock while k is parked: that of the
// inode during a write, that of the file position during a read that can seek.
func (k *call) holdsLock() bool {
	return k.reply == replyWrite || k.reply == replyData && k.handle.seeks
}

// begin notes that a request that holds a lock was parked, end that it was answered.
func (g *guard) begin(k *call) {
	g.held.Add(1)
	if k.writes() {
		g.write.Add(1)
	}
	if !g.awake.Load() && g.awake.CompareAndSwap(false, true) {
		g.timer.Reset(patience)
	}
}

func (g *guard) end(k *call) {
	g.held.Add(-1)
	if k.writes() {
		g.write.Add(-1)
	}
}

// rest orders the next round, or none while nothing is parked.
func (g *guard) rest(pause time.Duration) {
	if g.held.Load() == 0 && len(g.probes) == 0 {
		g.awake.Store(false)
		if g.held.Load() == 0 || !g.awake.CompareAndSwap(false, true) {
			return
		}
	}
	g.timer.Reset(pause)
}

// share is the part of a processor's time that rounds may take: one in so many.
const share = 50

// round looks once at who waits.
func (g *guard) round() {
	pause := patience
	defer func() { g.rest(pause) }()
	old := g.old()
	if len(old) == 0 && len(g.probes) == 0 {
		return
	}
	begun := time.Now()
	killed := unkillable()
	pause = max(pause, share*time.Since(begun))
	g.release(killed)
	if slices.ContainsFunc(old, (*call).writes) || len(g.probes) > 0 {
		g.thaw()
	}
}

func (k *call) writes() bool { return k.reply == replyWrite }

// old returns one request that writes, if there is one, and one that reads, of those
// that hold a lock and have been parked for long.
func (g *guard) old() []*call {
	now := g.fs.now()
	var read, write *call
	g.fs.conn.EachParked(func(p fusedev.Parked) bool {
		k, ok := p.(*call)
		if ok && k.holdsLock() && now-k.parkedAt >= objects.Time(patience) {
			if k.writes() {
				write = k
			} else {
				read = k
			}
		}
		return write == nil && (read == nil || g.write.Load() > 0)
	})
	return slices.DeleteFunc([]*call{read, write}, func(k *call) bool { return k == nil })
}

// parked lists all requests that hold a lock.
func (g *guard) parked() []*call {
	var l []*call
	g.fs.conn.EachParked(func(p fusedev.Parked) bool {
		if k, ok := p.(*call); ok && k.holdsLock() {
			l = append(l, k)
		}
		return true
	})
	return l
}

// pursuits is how many times in a row what killed threads wait for is ended: others
// may wait in front of them, each of whose requests is parked in its turn. A thread
// that this has not helped waits for something else, too, and is helped once a round.
const pursuits = 64

// release ends the parked requests that the killed threads wait for.
func (g *guard) release(killed []thread) {
	hopeless := make(map[thread]bool)
	defer func() { g.hopeless = hopeless }()
	for i := range pursuits {
		var wake []*call
		if len(killed) > 0 {
			parked := g.parked()
			for _, t := range killed {
				wake = append(wake, g.blockers(t, parked)...)
			}
		}
		if len(wake) == 0 {
			return
		}
		for _, k := range wake {
			k.Interrupt()
		}
		time.Sleep(step / 10)
		killed = slices.DeleteFunc(killed, func(t thread) bool {
			if !t.standing().unkillable() {
				return true
			}
			if g.hopeless[t] || i == pursuits-1 {
				hopeless[t] = true
				return true
			}
			return false
		})
	}
}

// fuseWait is the function in which a thread waits for the answer to a FUSE request,
// fs/fuse/dev.c. It needs nobody's help: its own request is interrupted.
const fuseWait = "request_wait_answer"

// blockers returns those of the parked requests that t, which was killed, waits for:
// writes of the inode, and reads at the file position, that it has open, too. Who
// shares neither with t is none of them, whatever t waits in.
func (g *guard) blockers(t thread, parked []*call) []*call {
	where := t.waitsIn()
	if where == fuseWait {
		return nil
	}
	var same, beside []*call
	for o := range t.openFiles(false) {
		for _, k := range nearest(t, o, parked) {
			switch theirs, ok := k.openFile(o); {
			case ok && theirs.same(o):
				same = append(same, k)
			case ok && theirs.mount == o.mount && k.writes() && g.shared(k):
				beside = append(beside, k)
			}
		}
	}
	switch {
	case len(same) > 0:
		// Those parked on the same inode through other open files, too.
		for _, k := range parked {
			if k.writes() && !slices.Contains(same, k) && slices.ContainsFunc(same, func(s *call) bool {
				return s.handle.node == k.handle.node
			}) {
				same = append(same, k)
			}
		}
		return same
	case len(beside) > 0:
		return beside
	}
	return g.bound(t, where, parked)
}

// compared is how many parked requests of one file are compared with an open file: each
// takes some 30 µs.
const compared = 256

// nearest returns those of the parked requests that are for the file that o is of, first
// those of t's user: of many, not all are looked at.
func nearest(t thread, o openFile, parked []*call) []*call {
	var near, far []*call
	uid, known := t.user()
	for _, k := range parked {
		switch {
		case k.handle.file.ino != o.ino:
		case known && (k.Caller.Uid == uid || k.handle.opener.Uid == uid):
			near = append(near, k)
		default:
			far = append(far, k)
		}
	}
	near = append(near, far...)
	return near[:min(len(near), compared)]
}

// openFile returns the descriptor through which k was made, of the file that o is of: o
// itself if that is one.
func (k *call) openFile(o openFile) (found openFile, ok bool) {
	if k.thread == 0 {
		return openFile{}, false
	}
	for theirs := range thread(k.thread).openFiles(false) {
		if theirs.ino != o.ino {
			continue
		}
		if found, ok = theirs, true; theirs.same(o) {
			break
		}
	}
	return found, ok
}

// shared reports whether k's inode is open more than once: as a bind mount of a file
// is, which has one inode for all, or what was reopened in /proc/PID/fd.
func (g *guard) shared(k *call) bool {
	g.fs.mu.Lock()
	defer g.fs.mu.Unlock()
	return k.handle.node.opens > 1
}

// byPath are the functions in which a thread waits, beyond SIGKILL, for the inode of
// a file that it names by a path: utimensat(2), setxattr(2) and removexattr(2), open(2).
var byPath = []string{"", "vfs_utimes", "vfs_setxattr", "vfs_removexattr", "path_openat", "do_open", "fuse_open"}

// bound returns the parked writes through bind mounts of files that t, which waits in
// the function where, sees, too. Any other path leads to an inode of t's own.
func (g *guard) bound(t thread, where string, parked []*call) []*call {
	if !slices.Contains(byPath, where) {
		return nil
	}
	mounts := t.boundFiles()
	if len(mounts) == 0 {
		return nil
	}
	var l []*call
	for _, root := range mounts {
		var through []*call
		for _, k := range parked {
			if k.writes() && g.placedAt(k, root) {
				through = append(through, k)
			}
		}
		for _, k := range through[:min(len(through), compared)] {
			if theirs, ok := k.openFile(openFile{ino: k.handle.file.ino}); ok && mounts[theirs.mount] == root {
				l = append(l, k)
			}
		}
	}
	return l
}

// placedAt reports whether k's file is at root, a path below the mountpoint as
// proc_pid_mountinfo(5) writes it.
func (g *guard) placedAt(k *call, root string) bool {
	g.fs.mu.Lock()
	defer g.fs.mu.Unlock()
	place := "/" + escapeSpace(k.object.pathLocked())
	if k.handle.file == k.object.file {
		return root == place
	}
	return strings.HasPrefix(root, place) && strings.HasSuffix(root, "/"+k.handle.file.spec.name)
}

// A probe asks for the lock of a directory.
type probe struct {
	sent time.Time
	done chan struct{} // closed when it has had the lock
	next int           // of the ways to help
}

// probeName is a name that the kernel knows in no directory: validName.
const probeName = "\x7f"

// thaw asks for the locks of the directories of the kinds, and ends the writes that
// keep one from being given.
//
// A probe waits for the lock beyond SIGKILL. Should the daemon be killed meanwhile, the
// mount ends when somebody aborts it: umount -f, as root.
func (g *guard) thaw() {
	for d, node := range g.directories() {
		if g.probes[d] != nil {
			g.probes[d].next = 0
			continue
		}
		p := &probe{sent: time.Now(), done: make(chan struct{})}
		g.probes[d] = p
		go func() {
			defer close(p.done)
			g.fs.conn.NotifyInvalEntry(node, probeName)
		}()
	}
	for len(g.probes) > 0 {
		stopped := g.await()
		if stopped == nil || !g.help(stopped) {
			return
		}
	}
}

// directories lists the directories of the kinds that the kernel knows, with their
// node numbers.
func (g *guard) directories() map[*kindDir]uint64 {
	g.fs.mu.Lock()
	defer g.fs.mu.Unlock()
	l := make(map[*kindDir]uint64)
	for _, d := range g.fs.kinds {
		if d.node != nil {
			l[d] = d.node.id
		}
	}
	return l
}

// await waits for the probes, a step at most, and returns one that is still out.
func (g *guard) await() (stopped *probe) {
	timeout := make(chan struct{})
	timer := time.AfterFunc(step, func() { close(timeout) })
	defer timer.Stop()
	for d, p := range g.probes {
		select {
		case <-p.done:
			delete(g.probes, d)
		case <-timeout:
			stopped = p
		}
	}
	return stopped
}

// belowDirectory are the functions in which a thread waits for the inode that a
// directory's name is of, or is to be of, with the directory's lock held: link(2),
// rename(2), unlink(2), fs/namei.c and fs/inode.c.
var belowDirectory = []string{"vfs_link", "vfs_rename", "lock_two_nondirectories", "vfs_unlink"}

// help ends the parked writes for which the lock that p asks for waits, as far as it
// can be told: those of the processes that wait below a directory, then those of
// their users, then all, if it can be anybody's. It is one of these for each call, and
// false if there is no more to do. A directory that is merely busy, on a machine that
// is, has nobody waiting below it.
func (g *guard) help(p *probe) bool {
	parked := slices.DeleteFunc(g.parked(), func(k *call) bool { return !k.writes() })
	holders, unseen := directoryHolders()
	uids := users(holders)
	for ; p.next < 3; p.next++ {
		var wake []*call
		switch p.next {
		case 0:
			for _, t := range holders {
				wake = append(wake, g.ownWrites(t, parked)...)
			}
		case 1:
			wake = writesOf(uids, parked)
		case 2:
			unseen = unseen || slices.ContainsFunc(parked, func(k *call) bool { return k.Caller.Pid == 0 })
			stopped := time.Since(p.sent)
			// Root reaches every file, and others that have the rights of it.
			if uids[0] || unseen && stopped > 4*step || len(holders) > 0 && stopped > 8*step {
				wake = parked
			}
		}
		if len(wake) > 0 {
			for _, k := range wake {
				k.Interrupt()
			}
			p.next++
			return true
		}
	}
	return false
}

// directoryHolders lists the threads that hold the lock of a directory, of any file
// system, and wait for that of an inode; unseen is whether there can be others: in
// another PID namespace, or where we may not look.
func directoryHolders() (holders []thread, unseen bool) {
	const initial = "pid:[4026531836]" // PROC_PID_INIT_INO, include/linux/proc_ns.h
	if ns, err := os.Readlink("/proc/self/ns/pid"); err != nil || ns != initial {
		unseen = true
	}
	for _, t := range sleepers() {
		switch where := t.waitsIn(); {
		case slices.Contains(belowDirectory, where):
			holders = append(holders, t)
		case where == "" && t.standing().state == 'D':
			unseen = true
		}
	}
	return holders, unseen
}

// ownWrites returns those of the parked writes that t's process makes, or has open.
func (g *guard) ownWrites(t thread, parked []*call) []*call {
	var l []*call
	process := leader(uint32(t))
	for _, k := range parked {
		if k.Caller.Pid != 0 && k.Caller.Pid == process {
			l = append(l, k)
		}
	}
	for o := range t.openFiles(true) {
		for _, k := range nearest(t, o, parked) {
			if theirs, ok := k.openFile(o); ok && theirs.same(o) {
				l = append(l, k)
			}
		}
	}
	return l
}

// users are the threads' users.
func users(threads []thread) map[uint32]bool {
	l := make(map[uint32]bool)
	for _, t := range threads {
		if uid, ok := t.user(); ok {
			l[uid] = true
		}
	}
	return l
}

// writesOf returns those of the parked writes that users make, or have opened the file
// of.
func writesOf(users map[uint32]bool, parked []*call) []*call {
	return slices.DeleteFunc(slices.Clone(parked), func(k *call) bool {
		return !users[k.Caller.Uid] && !users[k.handle.opener.Uid]
	})
}
