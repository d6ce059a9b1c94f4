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
	at     objects.Time // what the timer runs for, 0 if it does not run
	timer  *time.Timer
}

// expirer is the clock's object.
func (c *clock) expirer() objects.Expirer { return c.object.impl.(objects.Expirer) }

// setLocked has the timer run for the object's deadline. It is called after each call on
// the object. object.mu is held.
func (c *clock) setLocked() {
	at := c.expirer().Deadline()
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
	defer c.fs.logPanic("what comes due")
	c.fs.withObject(c.object, func(now objects.Time) objects.Finished {
		c.at = 0
		return c.expirer().Expire(now)
	})
}
