package fs

import (
	"sync"
	"syscall"

	"ipcfs/fs/fusedev"
)

// An errand is a request that takes long, and is carried out aside from the threads that
// read requests, without a lock that others wait for. It can be interrupted.
type errand struct {
	fs     *FS
	uid    uint32 // on whose books it is
	conn   *fusedev.Conn
	unique uint64
	stop   chan struct{} // closed when it is to end with EINTR
	once   sync.Once     // for stop
	ended  sync.Once
}

// errandCost is the memory of an errand in bytes: as a parked request, and the stack of a
// goroutine.
const errandCost = 8 << 10

// newErrand makes the request unique of uid known to the Conn. The caller answers it after
// end. It is on the books, and never refused: see call.park.
func (f *FS) newErrand(c *fusedev.Conn, unique uint64, uid uint32) *errand {
	e := &errand{fs: f, uid: uid, conn: c, unique: unique, stop: make(chan struct{})}
	f.ledger.adjust(uid, amounts{Kept: errandCost})
	c.Park(unique, e)
	return e
}

// Interrupt implements fusedev.Parked.
func (e *errand) Interrupt() { e.once.Do(func() { close(e.stop) }) }

// end is called before the request is answered. Further calls do nothing.
func (e *errand) end() {
	e.ended.Do(func() {
		e.conn.Unpark(e.unique)
		e.fs.ledger.adjust(e.uid, amounts{Kept: -errandCost})
	})
}

// errandFor has do carry out the request unique of uid, and answer it, in a goroutine of its
// own. A panic costs the one request an EIO.
func (f *FS) errandFor(c *fusedev.Conn, unique uint64, uid uint32, do func(e *errand)) {
	e := f.newErrand(c, unique, uid)
	f.spawn("an errand", func() {
		whole := false
		defer func() {
			e.end()
			if !whole {
				c.Reply(unique, syscall.EIO) // errno(3): it panicked
			}
		}()
		do(e)
		whole = true
	})
}

func (e *errand) stopped() bool {
	select {
	case <-e.stop:
		return true
	default:
		return false
	}
}

// await returns when c is closed. EINTR: e was interrupted.
func (e *errand) await(c <-chan struct{}) syscall.Errno {
	select {
	case <-c:
		return 0
	case <-e.stop:
		return syscall.EINTR // signal(7): a signal ended the wait
	}
}
