package fs

import (
	"time"

	"ipcfs/objects"
)

// A clock has an object do what comes due: one timer, and none while nothing does. It
// is guarded by object.mu.
type clock struct {
	fs     *FS
	object *object
	impl   objects.Expirer
	at     objects.Time // what the timer runs for, 0 if it does not run
	timer  *time.Timer
}

// set has the timer run for the object's deadline. It is called after each call on the
// object.
func (c *clock) set() {
	at := c.impl.Deadline()
	if at == c.at {
		return
	}
	c.at = at
	if c.timer != nil {
		c.timer.Stop()
	}
	if at != 0 {
		c.timer = time.AfterFunc(time.Duration(at-c.fs.now()), c.ring)
	}
}

func (c *clock) ring() {
	o := c.object
	o.mu.Lock()
	c.at = 0
	done := c.impl.Expire(c.fs.now())
	wake := o.woken()
	o.mu.Unlock()
	c.fs.finish(done)
	c.fs.wake(wake)
}
