// Package objecttest has what the tests of several kinds share: ledgers that can be full, and
// checks of what has finished.
package objecttest

import (
	"bytes"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"ipcfs/objects"
)

// FinishedList is f as a slice.
func FinishedList(f objects.Finished) []*objects.Request { return slices.Collect(f.All()) }

// WantFinished fails t unless those have finished, in that order.
func WantFinished(t *testing.T, f objects.Finished, want ...*objects.Request) {
	t.Helper()
	if got := FinishedList(f); !slices.Equal(got, want) {
		t.Errorf("finished %d requests %v; want %d: %v", len(got), got, len(want), want)
	}
}

// A Bank is a Ledger that remembers what is booked on whom, with a limit of each user's
// bytes, those kept among them.
type Bank struct {
	Users map[uint32]objects.Cost
	limit int64
}

// NewBank makes a Bank in which each user may have limit bytes.
func NewBank(limit int64) *Bank { return &Bank{Users: map[uint32]objects.Cost{}, limit: limit} }

// Charge implements Ledger.
func (k *Bank) Charge(uid uint32, c objects.Cost) syscall.Errno {
	was := k.Users[uid]
	if n := c.Bytes + c.Kept; n > 0 && was.Bytes+was.Kept+n > k.limit {
		return syscall.EDQUOT
	}
	k.Adjust(uid, c)
	return 0
}

// Adjust implements Ledger.
func (k *Bank) Adjust(uid uint32, c objects.Cost) {
	was := k.Users[uid]
	k.Users[uid] = objects.Cost{Messages: was.Messages + c.Messages, Bytes: was.Bytes + c.Bytes, Kept: was.Kept + c.Kept}
}

// Move implements Ledger.
func (k *Bank) Move(from uint32, out objects.Cost, to uint32, in objects.Cost) syscall.Errno {
	k.Adjust(from, out.Minus())
	errno := k.Charge(to, in)
	if errno != 0 {
		k.Adjust(from, out)
	}
	return errno
}

// Balances fails unless what is booked is what o has.
func (k *Bank) Balances(o objects.Accountable) error {
	want := o.Booked()
	for uid := range 4 {
		if k.Users[uint32(uid)] != want[uint32(uid)] {
			return fmt.Errorf("%+v is booked on user %d; want %+v", k.Users[uint32(uid)], uid, want[uint32(uid)])
		}
	}
	return o.Check()
}

// Users of a Bank.
const Alice, Bob = 1, 2

// A Book is a Ledger that remembers what is booked.
type Book struct{ Messages, Bytes int64 }

// Charge implements Ledger.
func (b *Book) Charge(uid uint32, c objects.Cost) syscall.Errno {
	b.Adjust(uid, c)
	return 0
}

// Adjust implements Ledger.
func (b *Book) Adjust(_ uint32, c objects.Cost) {
	b.Messages += c.Messages
	b.Bytes += c.Bytes
}

// Move implements Ledger.
func (b *Book) Move(from uint32, out objects.Cost, to uint32, in objects.Cost) syscall.Errno {
	b.Adjust(from, out.Minus())
	b.Adjust(to, in)
	return 0
}

// Do submits an operation that does not wait.
func Do(t *testing.T, o objects.Object, r objects.Request) *objects.Request {
	t.Helper()
	done := o.Submit(1, &r)
	if got := done.Next(); got != &r {
		t.Fatalf("%s was parked", r.Op)
	}
	if err := o.Check(); err != nil {
		t.Fatalf("after %s: %v", r.Op, err)
	}
	return &r
}

// Answers fails t unless r ended with that errno.
func Answers(t *testing.T, r *objects.Request, want syscall.Errno) {
	t.Helper()
	if r.Errno != want {
		t.Fatalf("%s at %d of %d bytes = %d (%v); want %d (%v)", r.Op, r.Offset, max(r.Size, len(r.Data)), r.Errno, r.Errno, want, want)
	}
}

// Full is a Ledger that has reached its limit.
type Full struct{ Errno syscall.Errno }

// Charge implements Ledger.
func (f Full) Charge(_ uint32, c objects.Cost) syscall.Errno {
	if c.Messages > 0 || c.Bytes > 0 || c.Kept > 0 {
		return f.Errno
	}
	return 0
}

// Adjust implements Ledger.
func (Full) Adjust(uint32, objects.Cost) {}

// Move implements Ledger.
func (f Full) Move(uint32, objects.Cost, uint32, objects.Cost) syscall.Errno { return f.Errno }

// Reload saves o, whose open files are handles, and makes a new object of that, with which the
// same handles and requests go on; finished are those of Save. It fails t if the new one would not be saved as o was.
func Reload(t testing.TB, kind string, l objects.Ledger, o objects.Object, handles []*objects.Handle, finished ...*objects.Request) objects.Object {
	t.Helper()
	s := o.(objects.Saver).Save(handles, finished)
	s.Detach()
	loaded, err := objects.KindNamed(kind).Load(l, s)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	if again := loaded.(objects.Saver).Save(handles, finished); !bytes.Equal(again.Data, s.Data) {
		t.Fatalf("a %s that was loaded is saved as %x, and was saved as %x", kind, again.Data, s.Data)
	}
	return loaded
}
