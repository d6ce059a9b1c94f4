package filelock

// A rangeTree is a set of locks in the order of their first bytes, those of equal ones in
// the order of their owners. It finds the first lock of a range that somebody else holds
// in a time that grows with the logarithm of their number. It is balanced as an AVL tree.
type rangeTree struct {
	root *rangeNode
	n    int
}

type rangeNode struct {
	lock        Lock
	left, right *rangeNode
	height      int

	// The largest End below here, and the largest of another owner's than that one is.
	end, otherEnd     uint64
	owner, otherOwner uint64
	others            bool // there is another owner
}

// update computes what n says about the nodes below it.
func (n *rangeNode) update() {
	n.height = 1 + max(n.left.high(), n.right.high())
	n.end, n.owner, n.others = n.lock.End, n.lock.Owner, false
	for _, below := range [...]*rangeNode{n.left, n.right} {
		if below == nil {
			continue
		}
		n.reach(below.end, below.owner)
		if below.others {
			n.reach(below.otherEnd, below.otherOwner)
		}
	}
}

// reach notes that a lock of owner below n ends there.
func (n *rangeNode) reach(end, owner uint64) {
	switch {
	case owner == n.owner:
		n.end = max(n.end, end)
	case end > n.end:
		n.otherEnd, n.otherOwner, n.others = n.end, n.owner, true
		n.end, n.owner = end, owner
	case !n.others || end > n.otherEnd:
		n.otherEnd, n.otherOwner, n.others = end, owner, true
	}
}

// reaches reports whether a lock below n of another than except ends at from or behind it.
func (n *rangeNode) reaches(from uint64, except *uint64) bool {
	switch {
	case n == nil:
		return false
	case except == nil || n.owner != *except:
		return n.end >= from
	}
	return n.others && n.otherEnd >= from
}

func (n *rangeNode) high() int {
	if n == nil {
		return 0
	}
	return n.height
}

// balanced is n, or what takes its place, with heights that differ by one at most.
func (n *rangeNode) balanced() *rangeNode {
	switch by := n.left.high() - n.right.high(); {
	case by > 1:
		if n.left.left.high() < n.left.right.high() {
			n.left = n.left.rotatedLeft()
		}
		return n.rotatedRight()
	case by < -1:
		if n.right.right.high() < n.right.left.high() {
			n.right = n.right.rotatedRight()
		}
		return n.rotatedLeft()
	}
	n.update()
	return n
}

func (n *rangeNode) rotatedRight() *rangeNode {
	up := n.left
	n.left, up.right = up.right, n
	n.update()
	up.update()
	return up
}

func (n *rangeNode) rotatedLeft() *rangeNode {
	up := n.right
	n.right, up.left = up.left, n
	n.update()
	up.update()
	return up
}

// before reports whether a comes before b in a tree.
func (a *Lock) before(b *Lock) bool {
	return a.Start < b.Start || a.Start == b.Start && a.Owner < b.Owner
}

func (t *rangeTree) insert(l Lock) {
	t.root = t.root.inserted(l)
	t.n++
}

func (n *rangeNode) inserted(l Lock) *rangeNode {
	switch {
	case n == nil:
		n = &rangeNode{lock: l}
	case l.before(&n.lock):
		n.left = n.left.inserted(l)
	default:
		n.right = n.right.inserted(l)
	}
	return n.balanced()
}

// remove takes the lock out that starts where l does and is of its owner.
func (t *rangeTree) remove(l Lock) {
	t.root = t.root.without(&l)
	t.n--
}

func (n *rangeNode) without(l *Lock) *rangeNode {
	switch {
	case l.before(&n.lock):
		n.left = n.left.without(l)
	case n.lock.before(l):
		n.right = n.right.without(l)
	case n.left == nil:
		return n.right
	case n.right == nil:
		return n.left
	default:
		next := n.right
		for next.left != nil {
			next = next.left
		}
		n.lock = next.lock
		n.right = n.right.without(&next.lock)
	}
	return n.balanced()
}

// first returns the first lock that has a byte from from to to and is not except's; nil is
// nobody, and so is the result if there is none.
func (t *rangeTree) first(from, to uint64, except *uint64) *Lock {
	for n := t.root; n.reaches(from, except); n = n.right {
		for n.left.reaches(from, except) {
			n = n.left // what is right of that one starts later
		}
		if n.lock.End >= from && (except == nil || n.lock.Owner != *except) {
			if n.lock.Start > to {
				return nil
			}
			return &n.lock
		}
	}
	return nil
}

// all yields the locks that have a byte from from to to, in order.
func (t *rangeTree) all(from, to uint64, yield func(Lock) bool) bool {
	return t.root.all(from, to, yield)
}

func (n *rangeNode) all(from, to uint64, yield func(Lock) bool) bool {
	if !n.reaches(from, nil) {
		return true
	}
	if !n.left.all(from, to, yield) {
		return false
	}
	switch {
	case n.lock.Start > to:
		return true
	case n.lock.End >= from && !yield(n.lock):
		return false
	}
	return n.right.all(from, to, yield)
}

// removeAll takes out what gone lists, in order and of one owner: one by one, or, if that
// is much of what there is, by making the tree anew.
func (t *rangeTree) removeAll(gone []Lock) {
	if len(gone) < 64 || len(gone)*16 < t.n {
		for _, l := range gone {
			t.remove(l)
		}
		return
	}
	left := make([]Lock, 0, t.n-len(gone))
	t.all(0, WholeFile, func(l Lock) bool {
		if len(gone) > 0 && gone[0].Start == l.Start && gone[0].Owner == l.Owner {
			gone = gone[1:]
		} else {
			left = append(left, l)
		}
		return true
	})
	t.root, t.n = grown(left), len(left)
}

// grown is a balanced tree of l, which is in order.
func grown(l []Lock) *rangeNode {
	if len(l) == 0 {
		return nil
	}
	middle := len(l) / 2
	n := &rangeNode{lock: l[middle], left: grown(l[:middle]), right: grown(l[middle+1:])}
	n.update()
	return n
}
