package laws

import (
	"fmt"
	"syscall"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// An opening is an open file of a mailbox. Under receivers=single one process at a time
// receives, under pair two use the mailbox: open(2) refuses the next with EBUSY, and
// nobody else. A change of the policy leaves open what is.
type opening struct {
	handle   *objects.Handle
	process  uint32 // 0 if that is not known
	receives bool
	leases   bool
	writes   bool
	only     *mailbox.Selector
}

func (o opening) uses() bool { return o.receives || o.writes }

// opens checks who may open the mailbox.
func (x *account) opens() error {
	if x.act != kernel.Submit || x.r.Op != objects.Open {
		return nil
	}
	h := x.r.Handle
	o := opening{
		handle: h, process: h.Process, only: mailbox.Filter(h),
		receives: h.Reads && h.ReadOp != objects.Peek && h.ReadOp != objects.Receipt,
		leases:   h.ReadOp == objects.Lease,
		writes:   h.Writes,
	}
	want := syscall.Errno(0)
	switch x.policy("receivers") {
	case "single":
		if o.receives && x.others(o, func(o opening) bool { return o.receives }) > 0 {
			want = syscall.EBUSY
		}
	case "pair":
		if o.uses() && x.others(o, opening.uses) > 1 {
			want = syscall.EBUSY
		}
	case "broadcast":
		if o.leases {
			want = syscall.EOPNOTSUPP
		}
	}
	if got := x.r.Errno; got != want {
		return fmt.Errorf("the %s under receivers=%s: %s; want %s", say(x.r), x.policy("receivers"), kernel.ErrnoName(got), kernel.ErrnoName(want))
	}
	if want == 0 {
		x.open = append(x.open, o)
	}
	return nil
}

// others counts the processes beside o's that have it open in that way.
func (l *mailboxLaws) others(o opening, way func(opening) bool) (n int) {
	met := map[uint32]bool{0: false}
	for _, other := range l.open {
		if way(other) && (other.process == 0 || other.process != o.process && !met[other.process]) {
			met[other.process] = other.process != 0
			n++
		}
	}
	return n
}
