package fs

import (
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func TestLookupsOfDifferentThreadsShareNoNode(t *testing.T) {
	f, o, _ := flatMailbox(t)
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.nodeFor(o.file, 7)
	if again := f.nodeFor(o.file, 7); again != a {
		t.Error("the same thread got two nodes of a file it has not opened")
	}
	b := f.nodeFor(o.file, 8)
	if b == a {
		t.Error("two threads share a node")
	}
	b.use(8)
	if c := f.nodeFor(o.file, 8); c == b {
		t.Error("a node in use was given out again")
	}
	if x, y := f.nodeFor(o.file, 0), f.nodeFor(o.file, 0); x == y {
		t.Error("two clients outside the pid namespace share a node")
	}
}

// open answers an OPEN of n by thread as the kernel would send it.
func (f *FS) open(n *node, thread, flags uint32) syscall.Errno {
	return f.beginOpen(&call{fs: f}, n.id, flags, fuse.Caller{Pid: thread})
}

func TestCrowdSharesANodeUntilOneOfItWrites(t *testing.T) {
	f, o, _ := flatMailbox(t)
	lookUp := func(thread uint32) *node {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.nodeFor(o.file, thread)
	}
	var last *node
	for thread := uint32(10); thread < 10+2*crowd; thread++ {
		last = lookUp(thread)
	}
	if again := lookUp(50); again != last || !last.shared {
		t.Fatal("a crowd that looks up one file does not share a node")
	}
	if errno := f.open(last, 11, syscall.O_RDONLY); errno != 0 {
		t.Fatalf("open for reading through a shared node: %v", errno)
	}
	if errno := f.open(last, 12, syscall.O_WRONLY); errno != syscall.ESTALE {
		t.Fatalf("open for writing through a shared node: %v, want ESTALE", errno)
	}
	own := lookUp(12)
	if own == last || own.shared {
		t.Fatal("the writer was given a shared node again")
	}
	for thread := uint32(60); thread < 60+2*crowd; thread++ {
		if lookUp(thread) == own {
			t.Fatal("another thread was given the writer's node")
		}
	}
	if lookUp(12) != own {
		t.Fatal("the writer's node was taken away before it opened it")
	}
	if errno := f.open(own, 12, syscall.O_WRONLY); errno != 0 {
		t.Fatalf("open for writing through the writer's own node: %v", errno)
	}
	if n := len(o.file.writers); n != 0 {
		t.Errorf("%d writers are still remembered, want 0", n)
	}
	f.mu.Lock()
	ids := make(map[uint64]uint64)
	for id, n := range f.nodes {
		ids[id] = n.lookups
	}
	f.mu.Unlock()
	for id, lookups := range ids {
		f.Forget(id, lookups)
	}
	if o.file.node != nil {
		t.Error("a forgotten node is still given out")
	}
}
