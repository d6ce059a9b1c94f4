package fs

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The kernel checks modes before a request reaches us (default_permissions, fuse.rst).
// What is left to us is what one file tells or does of another: the listings of .ipcfs,
// and messages that pass from one mailbox into another.

// An identity is whose rights count: those of who has opened a file.
type identity struct {
	objects.Caller
	groups []uint32 // the supplementary ones, as far as they are known
}

// Permissions as mode bits of others.
const (
	mayRead   = 0o4
	mayWrite  = 0o2
	maySearch = 0o1
)

// may reports whether who has the permissions want of a file: path_resolution(7),
// "Permissions".
func (who *identity) may(want uint32, a attributes) bool {
	mode := a.mode
	switch {
	case who.Uid == 0:
		return true
	case who.Uid == a.uid:
		mode >>= 6
	case who.Gid == a.gid || slices.Contains(who.groups, a.gid):
		mode >>= 3
	}
	return mode&want == want
}

// attributes are what permissions go by.
type attributes struct{ uid, gid, mode uint32 }

// accessLocked is who may use o's directory of control files: that of a flat object may be
// searched by whoever may read or write the object. FS.mu is held.
func (o *object) accessLocked() attributes {
	if !o.flat {
		return attributes{o.dir.uid, o.dir.gid, o.dir.mode & 0o777}
	}
	perm := o.file.mode & 0o777
	return attributes{o.file.uid, o.file.gid, perm&0o444 | (perm&0o444)>>2 | (perm&0o222)>>1}
}

// chmodLocked carries out chmod(2). FS.mu is held.
func (i *inode) chmodLocked(mode uint32) {
	i.mode = i.mode&^0o7777 | mode
	i.asked = mode
	i.ctime = time.Now()
}

// withinLocked takes from the permissions of i, a file of an object, those of classes that may
// not search dir, through which it is reached: they may have found the file before that
// was so. What they are when all may, or after a chmod of i itself, is left. FS.mu is held.
func (i *inode) withinLocked(dir attributes) {
	others := dir.mode>>3 | dir.mode
	owner, group := others, others
	if i.uid == dir.uid {
		owner = dir.mode >> 6
	}
	if i.gid == dir.gid {
		group = dir.mode >> 3
	}
	i.mode = i.mode&^0o7777 | i.asked
	for _, class := range []struct{ dir, bits uint32 }{{owner, 0o700}, {group, 0o070}, {dir.mode, 0o007}} {
		if class.dir&maySearch == 0 {
			i.mode &^= class.bits
		}
	}
}

// reachLocked has a chmod of o reach all its files. FS.mu is held.
func (o *object) reachLocked() {
	dir := o.accessLocked()
	for _, i := range o.inodesLocked() {
		i.withinLocked(dir)
	}
}

// inodesLocked are those of the files and folders of o that were made, without o's own. FS.mu
// is held.
func (o *object) inodesLocked() (l []*inode) {
	for _, e := range o.files {
		if e != nil {
			l = append(l, &e.inode)
		}
	}
	for _, d := range o.folders {
		if d == nil {
			continue
		}
		l = append(l, &d.inode)
		if d.folder.own {
			for _, e := range d.members {
				l = append(l, &e.inode)
			}
		}
	}
	return l
}

// objectOf is the object that e stands for, nil if it is only a file of one, or of none.
func objectOf(e entry) *object {
	switch e := e.(type) {
	case *objectDir:
		return e.object
	case *file:
		if e.object != nil && e == e.object.file {
			return e.object
		}
	}
	return nil
}

// chownLocked carries out what in says of the owner. FS.mu is held.
func (i *inode) chownLocked(in *fuse.SetAttrIn) {
	uid, setUid := in.GetUID()
	gid, setGid := in.GetGID()
	if setUid {
		i.uid = uid
	}
	if setGid {
		i.gid = gid
	}
	if setUid || setGid {
		i.ctime = time.Now()
	}
}

// chownLocked gives o away with all its files: they would leave it to its former owner
// otherwise. FS.mu is held.
func (o *object) chownLocked(in *fuse.SetAttrIn) {
	if uid, ok := in.GetUID(); ok && uid != o.entry().base().uid {
		o.chowns++
	}
	o.dir.chownLocked(in)
	if o.file != nil {
		o.file.chownLocked(in)
	}
	for _, i := range o.inodesLocked() {
		i.chownLocked(in)
	}
}

// disowned is EACCES if h is a control file that was opened before its object was given
// to another user, unless that user or root had opened it. An endpoint goes on working
// for whoever has it open, as every file does after chown(2); a control file would let
// them destroy what is another's.
func (f *FS) disowned(h *handle) syscall.Errno {
	o := h.file.object
	if o == nil || h.file.endpoint != nil {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.chowns != h.chowns && h.opener.Uid != 0 && h.opener.Uid != o.entry().base().uid {
		return syscall.EACCES
	}
	return 0
}

// visibleLocked reports whether who is shown what is in o: whoever may search its directory of
// control files, where the same is told, its owner, the mount's, and root. FS.mu is held.
func (f *FS) visibleLocked(o *object, who *identity) bool {
	a := o.accessLocked()
	return who.Uid == a.uid || who.Uid == f.cfg.Uid || who.may(maySearch, a)
}

// maySendLocked reports whether who may send to the mailbox o: write its send, and search the
// directory that has it. FS.mu is held.
func (o *object) maySendLocked(who *identity) bool {
	if o.flat {
		return who.may(mayWrite, o.file.attributesLocked())
	}
	send, ok := o.dir.child("send").(*file)
	return ok && who.may(maySearch, o.accessLocked()) && who.may(mayWrite, send.attributesLocked())
}

// maySendLocked is 0 if who may send to the mailbox o, EACCES otherwise.
func (f *FS) maySend(o *object, who *identity) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !o.maySendLocked(who) {
		return syscall.EACCES
	}
	return 0
}

// mayLinkLocked reports whether c may give the file e another name: proc_sys_fs(5),
// protected_hardlinks, which is not set everywhere. The name would keep what is booked on
// the owner. FS.mu is held.
func (f *FS) mayLinkLocked(e *file, c fuse.Caller) bool {
	return c.Uid == e.uid || f.identityOf(c).may(mayRead|mayWrite, e.attributesLocked())
}

// attributesLocked are those of i. FS.mu is held.
func (i *inode) attributesLocked() attributes { return attributes{i.uid, i.gid, i.mode} }

// identityOf is the identity of c, who waits for our answer.
func (f *FS) identityOf(c fuse.Caller) *identity {
	who := &identity{Caller: callerOf(c)}
	if c.Uid != 0 {
		who.groups = supplementary(c.Pid)
	}
	return who
}

// overflowGid stands for groups that the daemon's user namespace does not have, whichever
// they are: user_namespaces(7), "Unmapped user and group IDs".
const overflowGid = 65534

// supplementary returns the supplementary groups of thread, which waits for our answer, as
// proc_pid_status(5) tells them: none if the thread is in a PID namespace that we do not
// see, or /proc is closed to us.
func supplementary(thread uint32) []uint32 {
	if thread == 0 {
		return nil
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return nil
	}
	var groups []uint32
	for line := range strings.Lines(string(status)) {
		value, ok := strings.CutPrefix(line, "Groups:")
		if !ok {
			continue
		}
		for _, word := range strings.Fields(value) {
			if gid, err := strconv.ParseUint(word, 10, 32); err == nil && gid != overflowGid {
				groups = append(groups, uint32(gid))
			}
		}
		break
	}
	return groups
}
