package fusedev

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The kernel hands requests over first come, first served, and each thread of a client's
// has one outstanding: who has many threads, or long requests, takes the daemon from
// everybody else. So users are served in turn. The time that goes into a user's requests
// is a debt of theirs, which they pay off at the rate of one user's share of a thread.
// Who is in debt by more than a quantum while others are active waits until it is paid:
// a short request before it is handled, a long WRITE with its answer, so that no buffer
// waits with it. Nobody waits longer than maxWait, and a signal shortens no wait: a read
// or a write that finds something to do is not one that a signal interrupts, and who has
// many would otherwise come first by sending signals to themselves. A user who is alone
// pays nothing, and nothing is measured for them.

const (
	// activity is how long a user counts as active after a request. It is longer than a
	// request of theirs can be delayed by those of others that are let in meanwhile.
	activity = 50 * time.Millisecond

	// quantum is the debt that makes nobody wait: a hundred short requests.
	quantum = 500 * time.Microsecond

	// maxDebt is the most that is remembered of a flood, and maxWait how long a request
	// waits at most.
	maxDebt, maxWait = 50 * time.Millisecond, 100 * time.Millisecond

	// maxLate is how many requests wait at most, each with a copy of lateSize bytes or less.
	maxLate  = 4096
	lateSize = 8 << 10

	// copied is how many bytes the kernel copies for a request in a nanosecond, about.
	copied = 4
)

// turns has users served in turn.
type turns struct {
	alone atomic.Int64 // the user who is the only one, plus 1; 0: there are several
	lates atomic.Int32 // len(late)

	mu       sync.Mutex // guards what follows
	accounts map[uint32]*account
	late     map[uint64]*lateRequest // by the unique number of the request
	stopped  bool
}

// An account is what one user owes.
type account struct {
	debt time.Duration
	at   time.Time // when debt was that
	last time.Time // when a request came
}

// A lateRequest waits until its user's debt is paid.
type lateRequest struct {
	d     *Conn
	req   []byte // to be handled; nil: it has been
	reply []byte // the answer to it, nil as long as there is none
	timer *time.Timer

	interrupted bool // it is to end with EINTR if it has to wait in its object
}

// measured reports whether what uid's request costs is to be measured.
func (t *turns) measured(uid uint32) bool {
	alone := t.alone.Load()
	if alone == int64(uid)+1 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.accounts == nil {
		t.accounts = make(map[uint32]*account)
	}
	if alone > 0 { // until now
		t.account(uint32(alone-1), now).last = now
		t.alone.Store(0)
	}
	t.account(uid, now).last = now
	if t.active(now) > 1 {
		return true
	}
	clear(t.accounts)
	t.alone.Store(int64(uid) + 1)
	return false
}

// account is uid's. t.mu is held.
func (t *turns) account(uid uint32, now time.Time) *account {
	a := t.accounts[uid]
	if a == nil {
		a = &account{at: now}
		t.accounts[uid] = a
	}
	return a
}

// active counts the users who are, and forgets the others. t.mu is held.
func (t *turns) active(now time.Time) (n int) {
	for uid, a := range t.accounts {
		if now.Sub(a.last) > activity {
			delete(t.accounts, uid)
		}
	}
	return len(t.accounts)
}

// charge adds what a request of uid's has cost to their debt, and returns for how long
// they are to wait.
func (t *turns) charge(uid uint32, cost time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	a := t.account(uid, now)
	users := time.Duration(max(1, len(t.accounts)))
	a.debt = max(0, a.debt-now.Sub(a.at)/users)
	a.debt, a.at = min(a.debt+cost, maxDebt), now
	if users == 1 || a.debt <= quantum {
		return 0
	}
	return min((a.debt-quantum)*users, maxWait)
}

// handleInTurn is handle for a request of n bytes in buf.
func (c *Conn) handleInTurn(req []byte) {
	header := (*fuse.InHeader)(unsafe.Pointer(&req[0]))
	t := &c.turns
	if !t.measured(header.Uid) {
		c.handle(req)
		return
	}
	if !waits(header.Opcode) {
		c.handleMeasured(req, header.Uid)
		return
	}
	// What the kernel has copied is spent, whatever becomes of the request.
	wait := t.charge(header.Uid, time.Duration(len(req)/copied))
	if wait > 0 && c.postpone(req, wait) {
		return
	}
	c.handleMeasured(req, header.Uid)
}

// waits reports whether a request may wait for its user's debt. Others are few, or have a
// directory's lock, for which everybody would wait.
func waits(opcode uint32) bool {
	return opcode == opRead || opcode == opWrite || opcode == opPoll
}

// handleMeasured handles req and books what that costs.
func (c *Conn) handleMeasured(req []byte, uid uint32) {
	start := time.Now()
	c.handle(req)
	c.turns.charge(uid, time.Since(start))
}

// postpone has req, or the answer to it if it is long, wait. It reports whether req is to be
// handled later.
func (c *Conn) postpone(req []byte, wait time.Duration) bool {
	unique := (*fuse.InHeader)(unsafe.Pointer(&req[0])).Unique
	l := &lateRequest{d: c}
	if len(req) <= lateSize {
		l.req = slices.Clone(req)
	}
	t := &c.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.late) >= maxLate || t.stopped {
		return false
	}
	if t.late == nil {
		t.late = make(map[uint64]*lateRequest)
	}
	t.late[unique] = l
	t.lates.Store(int32(len(t.late)))
	l.timer = time.AfterFunc(wait, func() { c.punctual(unique) })
	return l.req != nil
}

// takeLate returns the late request unique if something is to be done about it now.
func (t *turns) takeLate(unique uint64) *lateRequest {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.late[unique]
	if l == nil {
		return nil
	}
	l.timer.Stop()
	t.forget(unique)
	if l.req == nil && l.reply == nil {
		return nil // it is being handled, or waits in its object: its answer need not wait
	}
	return l
}

// forget ends the waiting of the request unique. t.mu is held.
func (t *turns) forget(unique uint64) {
	delete(t.late, unique)
	t.lates.Store(int32(len(t.late)))
}

// punctual goes on with the late request unique, whose time has come.
func (c *Conn) punctual(unique uint64) {
	defer func() {
		if p := recover(); p != nil {
			c.logPanic("a request that was late", p)
		}
	}()
	switch l := c.turns.takeLate(unique); {
	case l == nil:
	case l.req != nil:
		l.d.handleMeasured(l.req, (*fuse.InHeader)(unsafe.Pointer(&l.req[0])).Uid)
		if p := c.waitingAs(unique); p != nil && l.interrupted {
			p.Interrupt()
		}
	default:
		l.d.write(l.reply)
	}
}

// interruptLate notes that the request unique was interrupted. It reports whether that
// waits for its user's debt to be paid.
func (t *turns) interruptLate(unique uint64) bool {
	if t.lates.Load() == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.late[unique]
	if l == nil || l.req == nil && l.reply == nil { // it is being handled
		return false
	}
	l.interrupted = true
	return true
}

// delay keeps the answer to a late request, of which head and the n bytes at p are. It
// reports false if the answer is to be written now.
func (t *turns) delay(unique uint64, head, body []byte) bool {
	if t.lates.Load() == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.late[unique]
	if l == nil || l.req != nil {
		return false
	}
	if t.stopped {
		return false
	}
	l.reply = slices.Concat(head, body)
	return true
}

// stop lets nobody wait any more: the devices are closed.
func (t *turns) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for unique, l := range t.late {
		l.timer.Stop()
		t.forget(unique)
	}
}

// write writes a reply that is complete.
func (c *Conn) write(reply []byte) {
	for {
		if _, err := syscall.Write(c.dev, reply); err != syscall.EINTR {
			return
		}
	}
}
