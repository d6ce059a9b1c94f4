package fs

import (
	"syscall"
	"time"

	"ipcfs/fs/fusedev"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Each writer of a file needs a node of its own, which it gets by looking the name up
// once more: that is what ESTALE to its OPEN makes the kernel do. In a directory
// whose lock is held shared (open(2) without O_CREAT), all who look one name up wait
// for the first, are given its dentry and ask whether it is theirs. It is not, so they
// drop it and start again. With n writers at once that would be about n²/2 requests.
//
// A gate therefore sends one writer at a time. The OPEN of the others waits for its
// ESTALE, and an OPEN holds no lock of the kernel's. Each user has a gate of their own
// to a file: nobody waits for somebody else's thread.

// turnTime is how long a thread that was sent to look the name up has until its OPEN.
// Between the two are five requests, on a machine that may be busy. A thread whose path
// leads through file systems that answer late may need longer: then the next ones are
// sent, twice as many as before.
const turnTime = time.Second

// lookTime is after how long a gate looks whether those who were sent are alive.
const lookTime = 50 * time.Millisecond

// claimTime is how long a thread that was sent is remembered, if it lives and does not
// come. Only one that needs longer for an open(2) would see the ESTALE.
const claimTime = time.Minute

// claimCost is what a claim costs the daemon in bytes, with its place among an inode's.
const claimCost = 256

// A claim is a thread's to a node of its own. The one of thread 0 is everybody's outside
// the PID namespace; it lasts until it is old, as nobody knows whose OPEN comes. FS.mu
// guards it.
type claim struct {
	node  *node // that it was given, nil until it looks the name up
	since time.Time
	gate  *gate // on whose user's books it is
	turn  int   // of the gate when it was sent
}

// beside is the turn of a thread that was sent without waiting for its own.
const beside = -1

// A gate is where a user's writers wait. FS.mu guards it.
type gate struct {
	fs      *FS
	inode   *inode
	uid     uint32
	waiting []*opening // in the order in which they came
	inside  int        // threads that were sent and have not opened the file
	most    int        // that may be inside, at most maxInside
	turn    int        // counts how often those inside were given up
	since   time.Time  // somebody was sent last
	moved   bool       // the file's name has changed since
	timer   *time.Timer
}

// maxInside keeps gate.most from overflowing.
const maxInside = 1 << 16

// An opening is an OPEN that waits at a gate. It implements fusedev.Parked.
type opening struct {
	gate   *gate
	conn   *fusedev.Conn
	unique uint64
	thread uint32
	sent   bool // it is answered, or will be by who set this; guarded by FS.mu
}

// enterLocked takes k, the OPEN of a shared node of i for writing, to its user's gate. It
// returns what is to be answered now. f.mu is held.
func (f *FS) enterLocked(k *call, i *inode, c fuse.Caller) []*opening {
	g := i.gates[c.Uid]
	if g == nil {
		g = &gate{fs: f, inode: i, uid: c.Uid, most: 1}
		g.timer = time.AfterFunc(lookTime, g.expire)
		if i.gates == nil {
			i.gates = make(map[uint32]*gate)
		}
		i.gates[c.Uid] = g
	}
	if time.Since(i.movedAt) < turnTime {
		g.most = maxInside // who has found the old name will not come, either
	}
	i.crowded = true
	o := &opening{gate: g, conn: k.conn, unique: k.unique, thread: c.Pid}
	g.waiting = append(g.waiting, o)
	// Never refused, as other requests that wait: see call.park.
	f.ledger.adjust(g.uid, amounts{Kept: parkedCost})
	o.conn.Park(o.unique, o)
	return g.admitLocked()
}

// admitLocked sends as many as may be inside. f.mu is held.
func (g *gate) admitLocked() (sent []*opening) {
	for len(g.waiting) > 0 && g.inside < g.most {
		o := g.waiting[0]
		g.waiting = g.waiting[1:]
		if !o.sent {
			o.sendLocked(g.turn)
			g.inside++
			g.since = time.Now()
			sent = append(sent, o)
		}
	}
	if len(g.waiting) == 0 {
		g.waiting = nil
	}
	if g.inside > 0 {
		g.timer.Reset(lookTime)
	} else {
		g.closeIdleLocked()
	}
	return sent
}

// sendLocked makes o's thread one that gets a node of its own. f.mu is held.
func (o *opening) sendLocked(turn int) {
	g := o.gate
	i := g.inode
	o.sent = true
	o.conn.Unpark(o.unique)
	g.fs.ledger.adjust(g.uid, amounts{Kept: claimCost - parkedCost})
	if i.claims == nil {
		i.claims = make(map[uint32]*claim)
	}
	i.dropClaimLocked(o.thread)
	i.claims[o.thread] = &claim{since: time.Now(), gate: g, turn: turn}
}

// dropClaimLocked ends the claim of thread, if it has one. f.mu is held.
func (i *inode) dropClaimLocked(thread uint32) {
	if c := i.claims[thread]; c != nil {
		delete(i.claims, thread)
		c.gate.fs.ledger.adjust(c.gate.uid, amounts{Kept: -claimCost})
	}
}

// answer makes the kernel look the name up once more. No lock is held.
func answer(sent []*opening) {
	for _, o := range sent {
		o.conn.Reply(o.unique, syscall.ESTALE)
	}
}

// Interrupt implements fusedev.Parked. The thread goes on beside the gate: there is
// nothing yet for which open(2) would have to fail with EINTR.
func (o *opening) Interrupt() {
	answer(o.leave())
}

func (o *opening) leave() []*opening {
	o.gate.fs.mu.Lock()
	defer o.gate.fs.mu.Unlock()
	if o.sent {
		return nil
	}
	o.sendLocked(beside)
	return []*opening{o}
}

// arriveLocked notes that the thread opens i: its claim ends, and the next may come. It
// returns what is to be answered. f.mu is held.
func (i *inode) arriveLocked(thread, uid uint32) []*opening {
	c := i.claims[thread]
	if c == nil {
		return nil
	}
	g := c.gate
	if thread == 0 {
		g = i.gates[uid]
	} else {
		i.dropClaimLocked(thread)
	}
	if g == nil || thread != 0 && c.turn != g.turn {
		return nil
	}
	g.inside = max(g.inside-1, 0)
	return g.admitLocked()
}

// expire gives up those who were sent and did not come.
func (g *gate) expire() {
	defer g.fs.logPanic("gate")
	answer(g.giveUp(time.Now()))
}

func (g *gate) giveUp(now time.Time) []*opening {
	f, i := g.fs, g.inode
	f.mu.Lock()
	defer f.mu.Unlock()
	if i.gates[g.uid] != g {
		return nil // it rested for good when the timer had fired already
	}
	for thread, c := range i.claims {
		if c.gate == g && (now.Sub(c.since) > claimTime || thread != 0 && f.ended(thread)) {
			i.dropClaimLocked(thread)
			if c.turn == g.turn && g.inside > 0 {
				g.inside--
			}
		}
	}
	if g.inside > 0 && (now.Sub(g.since) > turnTime || g.moved) {
		g.inside = 0
		g.turn++
		g.most = min(2*g.most, maxInside)
		if g.moved {
			g.most, g.moved = maxInside, false
		}
	}
	return g.admitLocked()
}

// ended reports whether the thread has.
func ended(thread uint32) bool {
	_, _, errno := syscall.RawSyscall(syscall.SYS_TKILL, uintptr(thread), 0, 0)
	return errno == syscall.ESRCH
}

// disperseLocked sends everybody who waits at i's gates: its name has changed, and those who
// are sent will not come. f.mu is held.
func (i *inode) disperseLocked() {
	i.movedAt = time.Now()
	for _, g := range i.gates {
		if g.inside > 0 {
			g.moved = true
			g.timer.Reset(0)
		}
	}
}

// closeIdleLocked is called when nobody is inside or waits. The gate goes when it is not needed for
// the claims of those who are late. f.mu is held.
func (g *gate) closeIdleLocked() {
	i := g.inode
	g.most, g.moved = 1, false
	if g.claimedLocked() {
		g.timer.Reset(claimTime)
	} else {
		g.timer.Stop()
		delete(i.gates, g.uid)
	}
	for _, other := range i.gates {
		if other.inside > 0 {
			return
		}
	}
	// The crowd is over. Who comes now gets a node that can be written through.
	i.crowded = false
	i.unused = 0
	if i.node != nil && i.node.shared {
		i.node = nil
	}
}

// claimedLocked reports whether somebody whom g sent has not come. f.mu is held.
func (g *gate) claimedLocked() bool {
	for _, c := range g.inode.claims {
		if c.gate == g {
			return true
		}
	}
	return false
}
