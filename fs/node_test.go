package fs

import "testing"

func TestLookupsOfDifferentThreadsShareNoNode(t *testing.T) {
	f, o, _ := flatMailbox(t)
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.nodeForLocked(o.file, 7)
	if again := f.nodeForLocked(o.file, 7); again != a {
		t.Error("the same thread got two nodes of a file it has not opened")
	}
	b := f.nodeForLocked(o.file, 8)
	if b == a {
		t.Error("two threads share a node")
	}
	b.useLocked()
	if c := f.nodeForLocked(o.file, 8); c == b {
		t.Error("a node in use was given out again")
	}
	if x, y := f.nodeForLocked(o.file, 0), f.nodeForLocked(o.file, 0); x == y {
		t.Error("two clients outside the pid namespace share a node")
	}
}
