package objects

import (
	"iter"
	"syscall"
)

// Time is in nanoseconds since an epoch that the driver chooses: the Unix epoch on
// a mount, the start of the run in a simulation. Objects compare times and show
// them; they never ask what time it is.
type Time int64

// An Object is one IPC object. It never blocks. Callers serialise all calls on one
// Object.
type Object interface {
	// Submit carries out r or parks it.
	Submit(now Time, r *Request) Finished

	// Cancel finishes the parked request r with cause, nothing sent and nothing
	// taken; or with what was done of it, if it has several parts. It does nothing
	// if r has finished already.
	Cancel(now Time, r *Request, cause syscall.Errno) Finished

	// Return takes back what r was finished with, because the driver found that
	// its process had gone before the result could be delivered.
	Return(now Time, r *Request) Finished

	// Destroy finishes every parked request with EIDRM (svipc(7)) and lets go of
	// all that is held. Every later Submit fails with EIDRM.
	Destroy(now Time) Finished

	// Removable is 0 if rmdir(2) may destroy the object: ENOTEMPTY while it holds
	// messages or bytes, EBUSY while somebody waits on it.
	Removable() syscall.Errno

	// Ready reports which poll(2) events hold for h now: whether a read or a
	// write of h would not block.
	Ready(h *Handle) Events

	// Policy is the value of the named policy, as a person would write it. The
	// name is one of the kind's Policies.
	Policy(name string) string

	// SetPolicy gives the named policy a new value at once and re-examines the
	// parked requests under it. EINVAL means a bad value; nothing has changed.
	SetPolicy(now Time, name, value string) (Finished, syscall.Errno)

	// Held says how much the object holds and when that last changed.
	Held() Held

	// Stat lists the object's counters in a fixed order.
	Stat() []Counter

	// Waiters yields the parked requests, oldest first within each operation.
	Waiters() iter.Seq[*Request]

	// Check returns an error if an invariant of the kind is broken. The simulator
	// calls it after every step.
	Check() error
}

// Held is what ls -l shows of an object.
type Held struct {
	Messages int64
	Bytes    int64
	Changed  Time // the last send, write or post
	Taken    Time // the last receive
}

// A Counter is one line of a stat file.
type Counter struct {
	Name  string
	Value int64
}

// Events are poll(2) events, with Linux's values.
type Events uint32

const (
	In  Events = 0x1  // POLLIN: a read would not block
	Pri Events = 0x2  // POLLPRI: something out of band is there
	Out Events = 0x4  // POLLOUT: a write would not block
	Err Events = 0x8  // POLLERR
	Hup Events = 0x10 // POLLHUP
)

// An Accountable is an Object that can say what it is to have booked in its Ledger, user by
// user: the memory of what it holds, counted again. A user with nothing may be missing.
type Accountable interface {
	Object
	Booked() map[uint32]Cost
}

// A Cost is what is booked in a Ledger: messages, their bytes or those of pipes and
// segments, and bytes of memory beside them.
type Cost struct{ Messages, Bytes, Kept int64 }

// Minus is the cost that undoes c.
func (c Cost) Minus() Cost { return Cost{-c.Messages, -c.Bytes, -c.Kept} }

// A Ledger keeps the limits that objects share. Its implementation is safe for
// concurrent use.
type Ledger interface {
	// Charge books c on uid. ENOSPC: the mount's limit; EDQUOT: the user's. A limit
	// counts only for what grows.
	Charge(uid uint32, c Cost) syscall.Errno

	// Adjust books c on uid, whatever the limits: what is given back, and what is
	// there already and cannot be refused any more.
	Adjust(uid uint32, c Cost)

	// Move gives back out of what is booked on from and books in on to, at once.
	// EDQUOT: the limit of to; ENOSPC: the mount's, if in is more than out. Nothing has
	// changed then.
	Move(from uint32, out Cost, to uint32, in Cost) syscall.Errno
}

// Unlimited is the Ledger without a limit.
var Unlimited Ledger = unlimited{}

type unlimited struct{}

func (unlimited) Charge(uint32, Cost) syscall.Errno             { return 0 }
func (unlimited) Adjust(uint32, Cost)                           {}
func (unlimited) Move(uint32, Cost, uint32, Cost) syscall.Errno { return 0 }
