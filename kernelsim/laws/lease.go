package laws

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
)

// A lease is a letter that belongs to one handle until the lease ends. With an
// acknowledgement it is received. With nack, close, the death of the process that opened the handle, or
// the end of its time it is the next letter again; after max_deliveries of those it is a dead letter.
type lease struct {
	handle *objects.Handle
	letter *letter
	ends   objects.Time // 0 if they do not
}

// timePasses ends the leases whose time has come.
func (x *account) timePasses() error {
	if x.act != kernel.Submit && x.act != kernel.Expire && (x.act != kernel.SetPolicy || x.m.policyErrno != 0) {
		return nil // the others do not look at the clock
	}
	for _, s := range slices.Clone(x.leases) {
		if s.ends != 0 && s.ends <= x.now {
			x.late = true
			x.mailboxLaws.late = append(x.mailboxLaws.late, s.handle)
			x.endLease(s.handle)
		}
	}
	x.late = x.late || slices.ContainsFunc(x.held, x.dueNow)
	return nil
}

// onLease is the lease of h, nil if it has none.
func (l *mailboxLaws) onLease(h *objects.Handle) *lease {
	for _, s := range l.leases {
		if s.handle == h {
			return s
		}
	}
	return nil
}

// lease leaves m to the handle of d.
func (x *account) lease(d *objects.Request, m *letter) error {
	if s := x.onLease(d.Handle); s != nil {
		return fmt.Errorf("the %s got %q, and has %q on lease", say(d), m.text, s.letter.text)
	}
	m.gone = true
	x.forgive(d.Handle)
	x.leases = append(x.leases, &lease{d.Handle, m, x.endOf(x.policy("lease_time"))})
	return nil
}

// endOf is when a lease ends that lasts so long from now.
func (x *account) endOf(left string) objects.Time {
	span, _ := objects.ParseSpan(left)
	if span == objects.Unbounded {
		return 0
	}
	return x.now + span
}

// forgive forgets that the last lease of h has run out.
func (l *mailboxLaws) forgive(h *objects.Handle) (had bool) {
	n := len(l.late)
	l.late = slices.DeleteFunc(l.late, func(o *objects.Handle) bool { return o == h })
	return len(l.late) < n
}

// unlease takes m away from h; it reports false if h has it no more.
func (l *mailboxLaws) unlease(h *objects.Handle, m *letter) bool {
	n := len(l.leases)
	l.leases = slices.DeleteFunc(l.leases, func(s *lease) bool { return s.handle == h && s.letter == m })
	return len(l.leases) < n
}

// endLease returns what h has on lease, if it has something.
func (x *account) endLease(h *objects.Handle) {
	s := x.onLease(h)
	if s == nil {
		return
	}
	x.unlease(h, s.letter)
	x.readers.forget(h)
	s.letter.deliveries++
	if x.policy("dead_letters") != "" && int64(s.letter.deliveries) >= x.m.node.Amount("max_deliveries") {
		x.dead = append(x.dead, s.letter)
		return
	}
	x.comesBack(s.letter)
}

func (x *account) comesBack(m *letter) {
	x.redelivered++
	m.gone = false
	x.back = append(x.back, m)
}

// settles checks what ends or prolongs a lease.
func (x *account) settles() error {
	switch {
	case x.act == kernel.Forward:
		x.forwards()
		return nil
	case x.act != kernel.Submit:
		return nil
	case x.r.Op == objects.Release:
		x.endLease(x.r.Handle)
		return nil
	case x.r.Op != objects.Settle:
		return nil
	}
	h := x.r.Handle
	s := x.onLease(h)
	words := strings.Fields(x.m.text)
	want := syscall.Errno(0)
	switch {
	case !isVerb(words):
		want = syscall.EINVAL
	case s != nil:
	case x.forgive(h):
		want = syscall.ETIME
	default:
		want = syscall.ENOMSG
	}
	switch {
	case x.r.Errno != want:
		return fmt.Errorf("the %s %q: %s; want %s", say(x.r), x.m.text, kernel.ErrnoName(x.r.Errno), kernel.ErrnoName(want))
	case want != 0:
	case words[0] == "ack":
		x.unlease(h, s.letter)
		x.readers.forget(h)
		x.received++
		x.tell(s.letter, received(x.r))
	case words[0] == "nack":
		x.endLease(h)
	case words[0] == "extend":
		s.ends = x.endOf(words[1])
	}
	return nil
}

func isVerb(words []string) bool {
	switch len(words) {
	case 1:
		return words[0] == "ack" || words[0] == "nack"
	case 2:
		_, ok := objects.ParseSpan(words[1])
		return words[0] == "extend" && ok
	}
	return false
}

// forwards finds out which of the dead letters another mailbox has taken. The others are held
// again, or a receiver has got them.
func (x *account) forwards() {
	x.moved = nil
	back := x.grown("redelivered")
	for _, m := range x.dead {
		if int64(len(x.back)) < back && (x.isBack(m) || x.dueNow(m)) {
			x.comesBack(m)
			continue
		}
		m.gone = true
		x.received++
		x.tell(m, "moved - -\n")
		x.moved = append(x.moved, m)
	}
	x.dead = nil
}

// ExpectLetters implements kernel.Monitor: the booking of the letters goes along with them, as each
// object has a ledger of its own here.
func (m *monitor) ExpectLetters(other kernel.Monitor) {
	from := other.(*monitor)
	letters := from.kind.(*mailboxLaws).moved
	m.kind.(*mailboxLaws).coming = letters
	for _, l := range letters {
		n := int64(len(l.text))
		from.node.Adjust(l.from, objects.Cost{Messages: -1, Bytes: -n})
		m.node.Adjust(l.from, objects.Cost{Messages: 1, Bytes: n})
	}
}

// isBack reports whether the dead letter m is in this mailbox again.
func (x *account) isBack(m *letter) bool {
	for held := range x.m.node.Mailbox().Messages() {
		if m.shows(held) && m.deliveries == held.Deliveries {
			return true
		}
	}
	return slices.ContainsFunc(x.done, func(d *objects.Request) bool {
		return (d.Op == objects.Receive || d.Op == objects.Lease) && d.Errno == 0 && begins(d, m.text)
	})
}

// checkLeases compares the leases with what the mailbox says of them.
func (l *mailboxLaws) checkLeases(m *monitor) error {
	if _, any := m.node.Mailbox().DeadLetters(); any != (len(l.dead) > 0) {
		return fmt.Errorf("dead letters are to go on: %t; there are %d", any, len(l.dead))
	}
	counters := m.node.Object.Stat()
	// What is on its way to the dead letters still counts as leased.
	if got, want := stat(counters, "leased"), int64(len(l.leases)+len(l.dead)); got != want {
		return fmt.Errorf("%d messages are leased; want %d", got, want)
	}
	for _, s := range l.leases {
		if !slices.ContainsFunc(l.open, func(o opening) bool { return o.handle == s.handle }) {
			return fmt.Errorf("%q is on lease to a file that is not open", s.letter.text)
		}
		if m.node.Object.Removable() == 0 {
			return fmt.Errorf("removable, though %q is on lease", s.letter.text)
		}
	}
	if m.node.Object.Policy("receivers") == "broadcast" && slices.ContainsFunc(l.open, func(o opening) bool { return o.leases }) {
		return errors.New("broadcasts, though a file for leases is open")
	}
	return nil
}
