package mailbox

import (
	"syscall"

	"ipcfs/objects"
)

// Receivers is who gets what is sent to a mailbox.
type Receivers uint8

const (
	AnyReceiver    Receivers = iota // one of those who wait, in turn
	SingleReceiver                  // the one process that receives
	Pair                            // the other of two processes: a link
	Broadcast                       // everyone who receives when it is sent
)

var receiversNames = []string{AnyReceiver: "any", SingleReceiver: "single", Pair: "pair", Broadcast: "broadcast"}

// String is the policy's word.
func (r Receivers) String() string { return receiversNames[r] }

// Broadcasts reports whether everybody gets what is sent.
func (b *Mailbox) Broadcasts() bool { return b.receiving == Broadcast }

// receives reports whether h is a receiving endpoint.
func receives(h *objects.Handle) bool {
	return h.Reads && h.ReadOp != objects.Peek && h.ReadOp != objects.Receipt
}

// mayOpen is 0 if h may be opened. open(2), EBUSY, as for a device that one process at a time
// opens: the mailbox is taken; errno(3), EOPNOTSUPP: what everybody gets cannot be leased.
func (b *Mailbox) mayOpen(h *objects.Handle) syscall.Errno {
	switch b.receiving {
	case SingleReceiver:
		if receives(h) && b.others(h, receives) > 0 {
			return syscall.EBUSY
		}
	case Pair:
		linked := func(h *objects.Handle) bool { return receives(h) || h.Writes }
		if linked(h) && b.others(h, linked) > 1 {
			return syscall.EBUSY
		}
	case Broadcast:
		if h.ReadOp == objects.Lease {
			return syscall.EOPNOTSUPP
		}
	}
	return 0
}

// others counts the processes, h's not among them, whose open files are of that kind.
func (b *Mailbox) others(h *objects.Handle, kind func(*objects.Handle) bool) int {
	known := make(map[uint32]bool)
	n := 0
	for _, o := range b.handles {
		switch {
		case !kind(o), o.Process != 0 && o.Process == h.Process, known[o.Process]:
			continue
		case o.Process != 0:
			known[o.Process] = true
		}
		n++
	}
	return n
}
