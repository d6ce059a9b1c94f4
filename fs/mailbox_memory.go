package fs

import (
	"syscall"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A segment that is renamed into messages/ is sent, and a message that is renamed into
// segments/ is received. The memory goes along, as a file of the store: what is renamed
// is as ever the kernel's to check, and what to call a message the mailbox's.

// sendSegment sends the flat segment called name to the mailbox of to, where it gets the
// next number. EBUSY: somebody uses it, or it has another name; EISDIR: it is a directory,
// whose settings are no part of a message.
func sendSegment(f *FS, in *fuse.RenameIn, to *folderDir, name, newName string) syscall.Errno {
	who := f.identityOf(in.Caller)
	e := f.newErrand(f.conn, in.Unique, in.Uid)
	defer e.end()
	for {
		out, o, busy, errno := f.sendSegment(in, to, who, name, newName)
		if busy != nil {
			busy.await()
			continue
		}
		if errno == later {
			// What others may still change is not sent.
			if errno = f.freeze(o, e); errno == 0 {
				continue
			}
			return errno
		}
		f.conclude(out)
		f.destroy(o)
		return errno
	}
}

// sendSegment returns what is to be concluded and destroyed. later: the memory has to be
// frozen first. busy is in use now, if it is not nil, and nothing has happened.
func (f *FS) sendSegment(in *fuse.RenameIn, to *folderDir, who *identity, name, newName string) (arrived outcome, sent, busy *object, errno syscall.Errno) {
	sender := processCaller(in.Caller)
	f.mu.Lock()
	defer f.mu.Unlock()
	o, errno := f.sendableLocked(in, name)
	switch {
	case errno != 0:
	case to.gone:
		errno = syscall.EIDRM // msgop(2): the mailbox was removed
	case !to.object.maySendLocked(who):
		errno = syscall.EACCES // rename(2): no permission
	}
	if errno != 0 {
		return arrived, nil, nil, errno
	}
	_, arrived, busy = f.tryLockedBoth(o, to.object, func(now objects.Time) (_, done objects.Finished) {
		g := o.segmentLocked()
		if o.memoryLocked().alone != nil {
			errno = later
			return done, done
		}
		done, errno = mailbox.SendSegment(now, g, to.object.impl.(*mailbox.Mailbox), sender)
		if errno == syscall.EBUSY && g.Removable() == 0 && !g.Storage().Mapped() && !g.Storage().Frozen() {
			errno = later
		}
		return objects.Finished{}, done
	})
	switch {
	case busy != nil:
		return arrived, nil, busy, 0
	case errno == later:
		return arrived, o, nil, errno
	case errno != 0:
		return arrived, nil, nil, errno
	}
	f.unnameLocked(o, name)
	o.destroyed = true // whoever still knows it finds it gone
	f.forgetEntryLocked(&to.inode, newName)
	return arrived, o, nil, 0
}

// sendableLocked returns the segment called name if the caller may send it. rename(2): EINVAL,
// flags; EPERM, no segment; ENOENT; EISDIR, one with a directory; EBUSY, it has other names.
// FS.mu is held.
func (f *FS) sendableLocked(in *fuse.RenameIn, name string) (*object, syscall.Errno) {
	d, errno := f.kindDirAtLocked(in.NodeId)
	if errno != 0 {
		return nil, errno
	}
	o := d.objects[name]
	switch {
	case in.Flags&^renameNoReplace != 0:
		return nil, syscall.EINVAL
	case d.p.kind != segmentKind, o == nil && d.child(name) != nil:
		return nil, syscall.EPERM
	case o == nil:
		return nil, syscall.ENOENT
	case !o.flat:
		return nil, syscall.EISDIR
	}
	if errno := d.mayRemoveLocked(in.Uid, o); errno != 0 {
		return nil, errno
	}
	if o.links.len() > 0 {
		return nil, syscall.EBUSY
	}
	return o, 0
}

// receiveSegment makes the message of d called name a segment of the caller's called
// newName. What that stood for is removed as by rm.
func receiveSegment(f *FS, in *fuse.RenameIn, d *folderDir, name, newName string) syscall.Errno {
	m := d.object.message(name)
	o, errno := f.newSegmentFor(in, d, m, newName)
	if errno != 0 {
		return errno
	}
	if len(m.Data) > quickly {
		errno = f.copyMessage(m, o, in)
	}
	var out outcome
	unused, busy := o, d.object
	for errno == 0 && busy != nil {
		if out, unused, busy, errno = f.receiveSegment(in, d, m, newName, o); busy != nil {
			busy.await()
		}
	}
	f.conclude(out)
	f.destroy(unused)
	if errno == 0 {
		f.left(d, name)
	}
	return errno
}

// newSegmentFor makes a segment without a name for the message m of d, nil if there is none.
func (f *FS) newSegmentFor(in *fuse.RenameIn, d *folderDir, m *mailbox.Message, newName string) (*object, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	to, _, errno := f.receivableLocked(in, d, m, newName)
	if errno != 0 {
		return nil, errno
	}
	return f.newObjectLocked(to, true, 0o600, in.Caller.Owner)
}

// copyMessage writes the bytes of m, which do not change, to the segment o, which nobody
// else knows yet. EINTR: that was interrupted; ENOSPC, EDQUOT: there is no room for them
// beside the message.
func (f *FS) copyMessage(m *mailbox.Message, o *object, in *fuse.RenameIn) syscall.Errno {
	e := f.newErrand(f.conn, in.Unique, in.Uid)
	defer e.end()
	for at := 0; at < len(m.Data); {
		if e.stopped() {
			return syscall.EINTR
		}
		k := &call{fs: f, object: o, silent: true}
		k.Op, k.Caller, k.Offset, k.Data = objects.WriteAt, callerOf(in.Caller), int64(at), m.Data[at:min(at+quickly, len(m.Data))]
		f.submitSilently(k)
		switch {
		case k.Errno != 0:
			return k.Errno
		case k.N == 0:
			return syscall.ENOSPC
		}
		at += k.N
	}
	return 0
}

// receiveSegment makes the message m of d the memory of o, which has its bytes already if they
// are many, and gives o its name. It returns what is to be concluded and destroyed. busy is in
// use now, if it is not nil, and nothing has happened.
func (f *FS) receiveSegment(in *fuse.RenameIn, d *folderDir, m *mailbox.Message, newName string, o *object) (left outcome, unused, busy *object, errno syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	to, target, errno := f.receivableLocked(in, d, m, newName)
	if errno == 0 && f.down {
		errno = syscall.EROFS
	}
	if errno != 0 {
		return left, o, nil, errno
	}
	left, _, busy = f.tryLockedBoth(d.object, o, func(now objects.Time) (done, _ objects.Finished) {
		done, errno = mailbox.ReceiveSegment(now, d.object.impl.(*mailbox.Mailbox), m.Seq, o.segmentLocked())
		return done, objects.Finished{}
	})
	if busy != nil || errno != 0 {
		return left, o, busy, errno
	}
	if target != nil {
		unused = f.unnameLocked(target, newName)
	}
	o.addNameLocked(newName, in.Caller.Uid)
	f.forgetEntryLocked(&to.inode, newName)
	return left, unused, nil, 0
}

// receivableLocked returns where the caller may receive the message m of d, nil if there is none,
// as newName, and what has that name there, nil if nothing does. FS.mu is held.
func (f *FS) receivableLocked(in *fuse.RenameIn, d *folderDir, m *mailbox.Message, newName string) (to *kindDir, target *object, errno syscall.Errno) {
	if to, errno = f.kindDirAtLocked(in.Newdir); errno != 0 || to.p.kind != segmentKind {
		return nil, nil, syscall.EPERM
	}
	if errno := d.mayTakeLocked(in.Uid, m); errno != 0 {
		return nil, nil, errno
	}
	if errno := validName(newName); errno != 0 {
		return nil, nil, errno
	}
	if target = to.objects[newName]; target == nil {
		return to, nil, 0
	}
	switch {
	case in.Flags&renameNoReplace != 0:
		return nil, nil, syscall.EEXIST
	case !target.flat:
		return nil, nil, syscall.EISDIR
	}
	return to, target, to.mayRemoveLocked(in.Uid, target)
}
