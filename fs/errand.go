package fs

import (
	"sync"
	"syscall"

	"ipcfs/fs/fusedev"
)

// An errand is a request that takes long, and is carried out aside from the threads that
// read requests, without a lock that others wait for. It can be interrupted.
type errand struct {
	conn   *fusedev.Conn
	unique uint64
	stop   chan struct{} // closed when it is to end with EINTR
	once   sync.Once     // for stop
	ended  sync.Once
}

// newErrand makes the request unique known to the Conn. The caller answers it after end.
func newErrand(c *fusedev.Conn, unique uint64) *errand {
	e := &errand{conn: c, unique: unique, stop: make(chan struct{})}
	c.Park(unique, e)
	return e
}

// Interrupt implements fusedev.Parked.
func (e *errand) Interrupt() { e.once.Do(func() { close(e.stop) }) }

// end is called before the request is answered. Further calls do nothing.
func (e *errand) end() { e.ended.Do(func() { e.conn.Unpark(e.unique) }) }

// errandFor has do carry out the request unique, and answer it, in a goroutine of its
// own. A panic costs the one request an EIO.
func (f *FS) errandFor(c *fusedev.Conn, unique uint64, do func(e *errand)) {
	e := newErrand(c, unique)
	f.spawn("an errand", func() {
		whole := false
		defer func() {
			e.end()
			if !whole {
				c.Reply(unique, syscall.EIO)
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
		return syscall.EINTR
	}
}
