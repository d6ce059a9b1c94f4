package fs

import (
	"maps"
	"os"
	"syscall"
	"testing"
	"time"

	"ipcfs/fs/fusedev"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A crowded is a mailbox whose name many threads have just looked up.
type crowded struct {
	*testing.T
	f      *FS
	file   *file
	shared *node
	conn   *fusedev.Conn
	last   uint64 // unique number of a request
}

func newCrowded(t *testing.T) *crowded {
	t.Helper()
	f, o, _ := flatMailbox(t)
	f.ended = func(uint32) bool { return false }
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	c := &crowded{T: t, f: f, file: o.file, conn: fusedev.NewConn(int(null.Fd()), f, f, f.log)}
	for thread := uint32(1000); thread < 1000+2*shareAfter; thread++ {
		c.shared = c.lookUp(thread)
	}
	if again := c.lookUp(1); again != c.shared || !again.shared {
		t.Fatal("a crowd that looks up one file does not share a node")
	}
	return c
}

func (c *crowded) lookUp(thread uint32) *node {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	return c.f.nodeForLocked(c.file, thread)
}

// open sends the OPEN of n for writing, as thread of uid. It returns who is sent to look the name up now.
func (c *crowded) open(n *node, thread, uid uint32) (errno syscall.Errno, waits bool, sent []uint32) {
	c.last++
	k := &call{fs: c.f, conn: c.conn, unique: c.last}
	errno, answered := c.f.beginOpen(k, n.id, syscall.O_WRONLY, fuse.Caller{Pid: thread, Owner: fuse.Owner{Uid: uid}}, nil)
	for _, o := range answered {
		sent = append(sent, o.thread)
	}
	return errno, k.atGate, sent
}

// waits opens the shared node as each of the threads; first says that their user has nobody inside.
func (c *crowded) waits(uid uint32, first bool, threads ...uint32) {
	c.Helper()
	for i, thread := range threads {
		errno, waits, sent := c.open(c.shared, thread, uid)
		if errno != 0 || !waits {
			c.Fatalf("open for writing through a shared node: %v, waits %v", errno, waits)
		}
		if now := len(sent) == 1 && sent[0] == thread; now != (first && i == 0) || len(sent) > 1 {
			c.Fatalf("the open of thread %d sends %v to look the name up", thread, sent)
		}
	}
}

// enters has thread look the name up and open it, which sends next, 0 for nobody.
func (c *crowded) enters(thread, uid, next uint32) *node {
	c.Helper()
	own := c.lookUp(thread)
	if own == c.shared || own.shared {
		c.Fatal("a writer was given a shared node again")
	}
	for other := uint32(2000); other < 2000+2*shareAfter; other++ {
		if n := c.lookUp(other); n == own || !n.shared {
			c.Fatal("while somebody is at a gate, others are given something else than the shared node")
		}
	}
	if c.lookUp(thread) != own {
		c.Fatal("the writer's node was taken away before it opened it")
	}
	errno, waits, sent := c.open(own, thread, uid)
	if errno != 0 || waits {
		c.Fatalf("open for writing through the writer's own node: %v, waits %v", errno, waits)
	}
	if next == 0 && len(sent) != 0 || next != 0 && (len(sent) != 1 || sent[0] != next) {
		c.Fatalf("when thread %d had opened the file %v were sent, want %d", thread, sent, next)
	}
	return own
}

// quiet fails unless nothing is kept of the crowd.
func (c *crowded) quiet() {
	c.Helper()
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	if i := c.file.base(); len(i.gates) != 0 || len(i.claims) != 0 || i.crowded || i.node != nil && i.node.shared {
		c.Errorf("after the crowd there are %d gates, %d claims; crowded %v", len(i.gates), len(i.claims), i.crowded)
	}
	if n := c.conn.Waiting(); n != 0 {
		c.Errorf("%d requests are still parked", n)
	}
	c.booked(nil)
}

// booked fails unless each user has that on the books beside open files.
func (c *crowded) booked(want map[uint32]int64) {
	c.Helper()
	got := make(map[uint32]int64)
	c.f.ledger.mu.Lock()
	for uid, held := range c.f.ledger.usedByUsers {
		got[uid] = held.Kept
	}
	c.f.ledger.mu.Unlock()
	for _, h := range c.f.handles {
		got[h.opener.Uid] -= h.cost
	}
	maps.DeleteFunc(got, func(_ uint32, kept int64) bool { return kept == 0 })
	if !maps.Equal(got, want) {
		c.Errorf("at the gates users have %v on the books; want %v", got, want)
	}
}

func TestWhoWaitsAtAGateIsOnTheBooks(t *testing.T) {
	c := newCrowded(t)
	c.waits(1000, true, 11, 12, 13)
	c.waits(2000, true, 21)
	c.booked(map[uint32]int64{1000: claimCost + 2*parkedCost, 2000: claimCost})
	c.enters(11, 1000, 12)
	c.booked(map[uint32]int64{1000: claimCost + parkedCost, 2000: claimCost})
	c.f.mu.Lock()
	o := c.file.gates[1000].waiting[0]
	c.f.mu.Unlock()
	o.Interrupt()
	c.booked(map[uint32]int64{1000: 2 * claimCost, 2000: claimCost})
	c.enters(13, 1000, 0)
	c.enters(12, 1000, 0)
	c.enters(21, 2000, 0)
	c.quiet()
}

func TestWritersOfACrowdGoThroughTheGateInTurn(t *testing.T) {
	c := newCrowded(t)
	if errno, _ := c.f.beginOpen(&call{fs: c.f}, c.shared.id, syscall.O_RDONLY, fuse.Caller{Pid: 3}, nil); errno != 0 {
		t.Fatalf("open for reading through a shared node: %v", errno)
	}
	c.waits(0, true, 11, 12, 13)
	seen := make(map[*node]bool)
	for _, step := range []struct{ thread, next uint32 }{{11, 12}, {12, 13}, {13, 0}} {
		n := c.enters(step.thread, 0, step.next)
		if seen[n] {
			t.Error("two writers have one node")
		}
		seen[n] = true
	}
	c.quiet()
	c.f.mu.Lock()
	ids := make(map[uint64]uint64)
	for id, n := range c.f.nodes {
		ids[id] = n.lookups
	}
	c.f.mu.Unlock()
	for id, lookups := range ids {
		c.f.Forget(id, lookups)
	}
	if c.file.node != nil {
		t.Error("a forgotten node is still given out")
	}
}

func TestUsersHaveGatesOfTheirOwn(t *testing.T) {
	c := newCrowded(t)
	c.waits(1000, true, 11, 12)
	c.waits(2000, true, 21, 22)
	c.enters(21, 2000, 22)
	c.enters(22, 2000, 0)
	c.enters(11, 1000, 12)
	c.enters(12, 1000, 0)
	c.quiet()
}

func TestWhoDoesNotComeHoldsUpNobodyForLong(t *testing.T) {
	c := newCrowded(t)
	c.waits(0, true, 11, 12, 13, 14, 15, 16, 17, 18)
	c.f.mu.Lock()
	g := c.file.gates[0]
	c.f.mu.Unlock()
	late := time.Now()
	if sent := g.giveUp(late); len(sent) != 0 {
		t.Errorf("%v were sent before the first was late", sent)
	}
	for _, want := range []int{2, 4} {
		late = late.Add(turnTime + time.Second)
		if sent := g.giveUp(late); len(sent) != want {
			t.Errorf("%d were sent when nobody had come in time, want %d", len(sent), want)
		}
	}
	// The late ones have nodes of their own as before, and send nobody.
	c.enters(11, 0, 0)
	c.enters(15, 0, 18)
	for _, thread := range []uint32{12, 13, 14, 16, 17, 18} {
		c.enters(thread, 0, 0)
	}
	c.quiet()
}

func TestClaimsOfThoseWhoNeverComeEnd(t *testing.T) {
	c := newCrowded(t)
	c.waits(0, true, 11, 12)
	c.f.mu.Lock()
	g := c.file.gates[0]
	c.f.mu.Unlock()
	g.giveUp(time.Now().Add(turnTime + time.Second))
	c.f.mu.Lock()
	if n := len(c.file.claims); n != 2 {
		t.Errorf("%d claims are remembered, want 2", n)
	}
	c.f.mu.Unlock()
	g.giveUp(time.Now().Add(claimTime + time.Second))
	c.quiet()
}

func TestThreadsThatDieAfterTheyWereSentHoldUpNobody(t *testing.T) {
	c := newCrowded(t)
	c.f.ended = func(thread uint32) bool { return thread == 11 }
	c.waits(0, true, 11, 12)
	c.f.mu.Lock()
	g := c.file.gates[0]
	c.f.mu.Unlock()
	if sent := g.giveUp(time.Now()); len(sent) != 1 || sent[0].thread != 12 {
		t.Errorf("%v were sent when the first had died, want thread 12", sent)
	}
	c.enters(12, 0, 0)
	c.quiet()
}

func TestRenamedUnderACrowdItDisperses(t *testing.T) {
	c := newCrowded(t)
	c.waits(0, true, 11, 12, 13, 14)
	c.f.mu.Lock()
	g := c.file.gates[0]
	c.file.object.renameLocked("box", "other")
	c.f.mu.Unlock()
	g.giveUp(time.Now()) // unless the timer has done it
	c.f.mu.Lock()
	if len(g.waiting) != 0 || g.inside != 3 {
		t.Errorf("%d wait and %d are inside when the name has changed, want the other three inside", len(g.waiting), g.inside)
	}
	c.f.mu.Unlock()
	for _, thread := range []uint32{11, 12, 13, 14} {
		c.enters(thread, 0, 0)
	}
	c.quiet()
}

func TestInterruptedWriterGoesOnBesideTheGate(t *testing.T) {
	c := newCrowded(t)
	c.waits(0, true, 11, 12, 13)
	c.f.mu.Lock()
	o := c.file.gates[0].waiting[0]
	c.f.mu.Unlock()
	o.Interrupt()
	o.Interrupt()
	c.enters(12, 0, 0)
	c.enters(11, 0, 13)
	c.enters(13, 0, 0)
	c.quiet()
}

func TestCrowdOutsideThePidNamespaceIsGivenNodesOfItsOwn(t *testing.T) {
	c := newCrowded(t)
	c.waits(1000, true, 0)
	c.waits(2000, true, 0)
	c.waits(1000, false, 0)
	// Nobody knows which of them comes: all get a node that can be written through.
	for _, uid := range []uint32{1000, 3000, 2000, 1000} {
		n := c.lookUp(0)
		if again := c.lookUp(0); again == n || n.shared {
			t.Fatal("a node was given twice")
		}
		if errno, waits, _ := c.open(n, 0, uid); errno != 0 || waits {
			t.Fatalf("open for writing: %v, waits %v", errno, waits)
		}
	}
	if n := c.conn.Waiting(); n != 0 {
		t.Errorf("%d requests are still parked", n)
	}
}
