package fs

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"ipcfs/objects"
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

// access is who may use o's directory of control files: that of a flat object may be
// searched by whoever may read or write the object. FS.mu is held.
func (o *object) access() attributes {
	if !o.flat {
		return attributes{o.dir.uid, o.dir.gid, o.dir.mode & 0o777}
	}
	perm := o.file.mode & 0o777
	return attributes{o.file.uid, o.file.gid, perm&0o444 | (perm&0o444)>>2 | (perm&0o222)>>1}
}

// visible reports whether who is shown what is in o: whoever may search its directory of
// control files, where the same is told, its owner, the mount's, and root. FS.mu is held.
func (f *FS) visible(o *object, who *identity) bool {
	a := o.access()
	return who.Uid == a.uid || who.Uid == f.cfg.Uid || who.may(maySearch, a)
}

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
			if gid, err := strconv.ParseUint(word, 10, 32); err == nil {
				groups = append(groups, uint32(gid))
			}
		}
		break
	}
	return groups
}
