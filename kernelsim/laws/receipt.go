package laws

import (
	"fmt"
	"syscall"

	"ipcfs/objects"
)

// A receipt says what has become of the letter that was sent last through a handle. It can be read
// when that is known, and once.
type receipt struct {
	handle *objects.Handle
	letter *letter
	lines  string
	final  bool
	told   bool
	doubt  bool // a receiver had it, and died with it
}

// received is the line for a letter that d has received, or acknowledged.
func received(d *objects.Request) string {
	return fmt.Sprintf("received %d %d\n", d.Caller.Pid, d.Caller.Uid)
}

func (l *mailboxLaws) receiptOf(h *objects.Handle) *receipt {
	for _, r := range l.receipts {
		if r.handle == h {
			return r
		}
	}
	return nil
}

// expectReceipt begins the receipt of m, which was sent through h.
func (l *mailboxLaws) expectReceipt(h *objects.Handle, m *letter) {
	if h.ReadOp != objects.Receipt {
		return
	}
	r := l.receiptOf(h)
	if r == nil {
		r = &receipt{}
		l.receipts = append(l.receipts, r)
	}
	*r = receipt{handle: h, letter: m}
}

// tell adds a line to the receipt of m.
func (l *mailboxLaws) tell(m *letter, line string) {
	for _, r := range l.receipts {
		if r.letter == m {
			r.lines += line
			r.final = line[:len("received")] != "received" || m.share == nil
		}
	}
}

// untell takes back that m was received, unless that was told.
func (l *mailboxLaws) untell(m *letter) {
	for _, r := range l.receipts {
		if r.letter == m && !r.told {
			r.lines, r.final = "", false
		}
	}
}

// doubt gives up the receipt of m.
func (l *mailboxLaws) doubt(m *letter) {
	for _, r := range l.receipts {
		if r.letter == m {
			r.doubt = true
		}
	}
}

// isTold checks the receipts that were read.
func (x *account) isTold() error {
	for _, d := range x.done {
		if d.Op != objects.Receipt {
			continue
		}
		r := x.receiptOf(d.Handle)
		switch due := r != nil && !r.told && !r.doubt && (r.final || r.letter.share.over()); {
		case d.Errno == syscall.EAGAIN && (due || r == nil || r.told):
			return fmt.Errorf("the %s would wait for what is there", say(d))
		case d.Errno != 0:
			continue
		}
		if new, err := x.readers.goesOn(d); err != nil {
			return err
		} else if !new {
			continue
		}
		want := ""
		switch {
		case r == nil || r.told:
		case r.doubt:
			want = string(d.Data)
		case !r.final && !r.letter.share.mayBeOver():
			return fmt.Errorf("the %s is %q; %q is on its way", say(d), d.Data, r.letter.text)
		default:
			want = r.lines
		}
		if !begins(d, want) {
			return fmt.Errorf("the %s is %q; want %q", say(d), d.Data, want)
		}
		if r != nil && !r.told {
			r.told = true
			x.readers.begin(d, want)
		}
	}
	return nil
}
