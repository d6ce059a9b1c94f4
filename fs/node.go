package fs

import (
	"iter"
	"sync/atomic"
	"syscall"
	"time"

	"ipcfs/fs/fusedev"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A node is one inode of the kernel's. A directory has one, a file as many as are
// needed to keep writers apart; see the package comment.
type node struct {
	id      uint64
	entry   entry
	lookups uint64       // references the kernel holds; guarded by FS.mu
	thread  uint32       // who looked it up last, 0 if unknown; guarded by FS.mu
	used    bool         // it has been opened; guarded by FS.mu
	shared  bool         // several threads have it, nobody may write through it; guarded by FS.mu
	opens   int32        // open handles; guarded by FS.mu
	reader  *handle      // an open handle that can seek; guarded by FS.mu
	parked  atomic.Int32 // writes that wait

	cost int64  // the bytes that are kept for it, booked on uid; guarded by FS.mu
	uid  uint32 // who looked it up first; guarded by FS.mu
}

// An entry is what a name stands for: a directory or a file.
type entry interface {
	base() *inode

	// attr fills in what base does not know: size and times. FS.mu is held.
	attr(out *fuse.Attr)
}

// A dir is an entry that is a directory. FS.mu is held during all calls.
type dir interface {
	entry

	// list yields what is to be listed behind the entry of that number, each with a
	// number of its own, which only grow; 0 is before all.
	list(after uint64) iter.Seq2[uint64, fuse.DirEntry]
}

// A parent is a dir that tells at once what a name stands for. A folder is none: it asks its
// object, for which nobody waits with the tree locked.
type parent interface {
	dir
	child(name string) entry // nil if there is none
}

// An inode is what every entry has. It is guarded by FS.mu.
type inode struct {
	ino      uint64
	mode     uint32 // type and permissions
	uid, gid uint32
	asked    uint32 // of a file of an object: its permissions before within took of them
	ctime    time.Time
	gone     bool  // removed: the link count is 0
	nodes    int   // that the kernel knows
	node     *node // that LOOKUP gave last, nil if the kernel forgot it

	unused  int               // nodes that gave way to others before they were opened, in a row
	crowded bool              // node is shared from the start: somebody is at a gate
	claims  map[uint32]*claim // of threads that may not write through a shared node
	gates   map[uint32]*gate  // of users whose threads may not
	movedAt time.Time         // when its name last went or changed
}

func (i *inode) base() *inode { return i }

// cacheTime is how long the kernel may keep what changes only through itself: the
// names and attributes of directories.
const cacheTime = time.Hour

// nodeForLocked returns the node that answers thread's LOOKUP of e. FS.mu is held.
func (f *FS) nodeForLocked(e entry, thread uint32) *node {
	i := e.base()
	n := i.node
	if !stable(e) {
		n = i.nodeOfLocked(thread)
	}
	if n == nil {
		f.lastID++
		n = &node{id: f.lastID, entry: e}
		if file, ok := e.(*file); ok && file.isMemory() {
			n.id |= fusedev.SlowNode
		}
		f.nodes[n.id] = n
		i.nodes++
		if c := i.claims[thread]; c != nil {
			c.node = n
		} else {
			i.node = n
			n.shared = i.crowded && !stable(e)
		}
	}
	n.thread = thread
	n.lookups++
	return n
}

// shareAfter is how many nodes in a row give way unused before one is shared. Two or three
// processes that open one file at a time, as a shell pipeline does, do not come to so many;
// a crowd of hundreds does in its first requests.
const shareAfter = 8

// nodeOfLocked returns the node that thread may use of a file's, nil if it is to be a fresh
// one.
//
// A fresh node makes the kernel drop the name it had cached, and everybody who was
// about to use that looks it up again. Hundreds who open one file at once would
// keep each other from it. When nodes give way before they are used, one is
// therefore shared, by all but writers: see gate.
func (i *inode) nodeOfLocked(thread uint32) *node {
	if c := i.claims[thread]; c != nil {
		if c.node == nil || c.node.opens > 0 || thread == 0 {
			return nil // 0 is everybody outside the PID namespace
		}
		return c.node
	}
	n := i.node
	switch {
	case n == nil, n.shared:
		return n
	case n.opens > 0, n.used && n.thread != thread:
		return nil
	case n.thread == thread && thread != 0:
		return n
	}
	if i.unused++; i.unused < shareAfter {
		return nil
	}
	n.shared = true
	return n
}

// useLocked notes that n has been opened. FS.mu is held.
func (n *node) useLocked() {
	n.used = true
	n.opens++
	n.entry.base().unused = 0
}

// stable reports whether e has one node for all: directories, where no write waits,
// memory, whose mappings and cached pages belong to the node, and FIFOs and sockets,
// which are the node.
func stable(e entry) bool {
	file, ok := e.(*file)
	return !ok || file.isMemory() || file.isKernel()
}

// fillEntryLocked answers a LOOKUP, MKDIR or CREATE with e. FS.mu is held.
func (f *FS) fillEntryLocked(e entry, thread uint32, out *fuse.EntryOut) *node {
	n := f.nodeForLocked(e, thread)
	out.NodeId = n.id
	f.fillAttrLocked(e, &out.Attr)
	switch e := e.(type) {
	case *staticDir, *kindDir:
		out.SetEntryTimeout(cacheTime)
		out.SetAttrTimeout(cacheTime)
	case *objectDir:
		if !e.object.flat {
			out.SetEntryTimeout(cacheTime)
		}
	}
	return n
}

// blockSize is the unit of st_blksize.
const blockSize = 4096

// pageSize is the kernel's, at most.
const pageSize = 64 << 10

// fillAttrLocked fills in what stat(2) shows of e. FS.mu is held.
func (f *FS) fillAttrLocked(e entry, out *fuse.Attr) {
	i := e.base()
	*out = fuse.Attr{
		Ino:     i.ino,
		Mode:    i.mode,
		Nlink:   1,
		Owner:   fuse.Owner{Uid: i.uid, Gid: i.gid},
		Blksize: blockSize,
	}
	out.SetTimes(&i.ctime, &i.ctime, &i.ctime)
	if i.mode&syscall.S_IFMT == fuse.S_IFDIR {
		out.Nlink = 2
	}
	e.attr(out)
	if file, ok := e.(*file); !ok || !file.isMemory() {
		// cp(1) takes a file with fewer blocks than bytes for one with holes.
		out.Blocks = (out.Size + 511) / 512
	}
	if i.gone {
		out.Nlink = 0
	}
}

// Forget implements fuse.RawFileSystem.
func (f *FS) Forget(id, lookups uint64) {
	f.destroy(f.forgotten(id, lookups))
}

// forgotten is forget without f.mu held.
func (f *FS) forgotten(id, lookups uint64) *object {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.forgetLocked(id, lookups)
}

// forgetLocked takes references from node id and returns the object, if any, whose last use
// that was. f.mu is held.
func (f *FS) forgetLocked(id, lookups uint64) *object {
	n := f.nodes[id]
	if n == nil || id == fuse.FUSE_ROOT_ID {
		return nil
	}
	if n.lookups -= min(lookups, n.lookups); n.lookups > 0 {
		return nil
	}
	delete(f.nodes, id)
	f.unbookNodeLocked(n)
	i := n.entry.base()
	if c := i.claims[n.thread]; c != nil && c.node == n {
		// The kernel compared it with the name that it had cached, and will ask
		// again.
		c.node = nil
	}
	if i.node == n {
		i.node = nil
	}
	if i.nodes--; i.nodes == 0 {
		if e, ok := n.entry.(*file); ok {
			e.forgottenLocked()
		}
	}
	return n.unusedLocked()
}

// unusedLocked returns the object that n is a file of if it lives on without a name and
// now without users, too. FS.mu is held.
func (n *node) unusedLocked() *object {
	file, ok := n.entry.(*file)
	if !ok || !file.gone || n.lookups > 0 || n.opens > 0 || file.nodes > 0 {
		return nil
	}
	o := file.object
	if o == nil || o.destroyed || !o.outlivesName() || file != o.file {
		// A control file is not what it lives on for.
		return nil
	}
	o.destroyed = true
	return o
}
