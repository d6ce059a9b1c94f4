package fs

import "syscall"

// What the kernel has looked up it keeps for as long as it likes, and so must we. A user
// can look up as many control files and topics as there is time for, and keep each by
// opening it with O_PATH, of which we are not told. So each node beside an object's own
// is on the books of whoever looked it up, and the kernel is asked to forget files that
// nobody has open when there are many.

// What a node costs in bytes, with the file that it is of where that is made for it,
// rounded up: 300,000 topics that were looked up took 228 MB.
const (
	nodeCost   = 256
	fileCost   = 512
	memberCost = 1024
)

// manyNodes is how many nodes that are on the books the kernel may know before it is
// asked to forget some.
const manyNodes = 4096

// cost is what n, which is new, costs. FS.mu is held.
func (n *node) costLocked() int64 {
	switch e := n.entry.(type) {
	case *file:
		switch {
		case e.folder != nil:
			return memberCost + int64(len(e.spec.name))
		case e.object == nil, e == e.object.file && e.nodes == 1:
			return 0 // it comes with its object, or with the mount
		case e == e.object.file:
			return nodeCost
		}
		return fileCost
	case *folderDir:
		return fileCost
	}
	return 0
}

// bookNodeLocked books n, which has been looked up by uid, if it is new. If there is no room
// for it, it is forgotten as the kernel would, which is not told of it. FS.mu is held.
func (f *FS) bookNodeLocked(n *node, uid uint32) syscall.Errno {
	if n.lookups != 1 {
		return 0
	}
	cost := n.costLocked()
	if cost == 0 {
		return 0
	}
	if errno := f.ledger.keep(uid, amounts{Known: cost}); errno != 0 {
		f.forgetLocked(n.id, 1)
		f.thinLocked(0)
		return errno
	}
	n.cost, n.uid = cost, uid
	f.known.add(n.id, n)
	f.knownCount++
	f.thinLocked(manyNodes)
	return 0
}

// unbookNodeLocked undoes bookNodeLocked when the kernel has forgotten n. FS.mu is held.
func (f *FS) unbookNodeLocked(n *node) {
	if n.cost != 0 {
		f.ledger.adjust(n.uid, amounts{Known: -n.cost})
		n.cost = 0
		f.known.remove(n.id)
		f.knownCount--
	}
}

// thinLocked asks the kernel to forget files that nobody has open if it knows more than most
// nodes, and half as many have come since it was last asked as there were then: those
// that somebody keeps stay. FS.mu is held.
func (f *FS) thinLocked(most int) {
	if f.thinning || f.knownCount <= most || f.lastID-f.thinned < uint64(f.knownCount/2) {
		return
	}
	f.thinning, f.thinned = true, f.lastID
	f.spawn("forgetting", func() {
		defer f.endThinning()
		for after, more := uint64(0), true; more; {
			var names []cachedName
			names, after, more = f.idleNames(after)
			for _, c := range names {
				f.conn.NotifyInvalEntry(c.parent, c.name) // may wait for the kernel
			}
		}
	})
}

func (f *FS) endThinning() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.thinning = false
}

// A cachedName is a name in the directory that the kernel calls parent.
type cachedName struct {
	parent uint64
	name   string
}

// idleNames returns names of files that nobody has open among a batch of the nodes behind
// after, and where to go on if there are more. A process may be in a directory: those
// stay.
func (f *FS) idleNames(after uint64) (names []cachedName, last uint64, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	looked := 0
	for id, n := range f.known.after(after) {
		last = id
		if e, ok := n.entry.(*file); ok && n.opens == 0 && e.node == n {
			var parent *node
			name := e.spec.name
			switch {
			case e.folder != nil:
				parent = e.folder.node
			case e == e.object.file:
				parent, name = e.object.kind.node, e.object.name
			default:
				parent = e.object.dir.node
			}
			if parent != nil {
				names = append(names, cachedName{parent.id, name})
			}
		}
		if looked++; looked == batch {
			return names, last, true
		}
	}
	return names, last, false
}
