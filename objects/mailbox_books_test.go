package objects

import (
	"bytes"
	"fmt"
	"slices"
	"syscall"
	"testing"
)

// A bank is a Ledger that remembers what is booked on whom, with a limit of each user's
// bytes, those kept among them.
type bank struct {
	users map[uint32]Cost
	limit int64
}

func newBank(limit int64) *bank { return &bank{users: map[uint32]Cost{}, limit: limit} }

func (k *bank) Charge(uid uint32, c Cost) syscall.Errno {
	was := k.users[uid]
	if n := c.Bytes + c.Kept; n > 0 && was.Bytes+was.Kept+n > k.limit {
		return syscall.EDQUOT
	}
	k.Adjust(uid, c)
	return 0
}

func (k *bank) Adjust(uid uint32, c Cost) {
	was := k.users[uid]
	k.users[uid] = Cost{was.Messages + c.Messages, was.Bytes + c.Bytes, was.Kept + c.Kept}
}

func (k *bank) Move(from uint32, out Cost, to uint32, in Cost) syscall.Errno {
	k.Adjust(from, out.minus())
	errno := k.Charge(to, in)
	if errno != 0 {
		k.Adjust(from, out)
	}
	return errno
}

// balances fails unless what is booked is what o has.
func (k *bank) balances(o Accountable) error {
	want := o.Booked()
	for uid := range 4 {
		if k.users[uint32(uid)] != want[uint32(uid)] {
			return fmt.Errorf("%+v is booked on user %d; want %+v", k.users[uint32(uid)], uid, want[uint32(uid)])
		}
	}
	return o.Check()
}

const alice, bob = 1, 2

func openFor(b Object, uid uint32, h *Handle) *Handle {
	b.Submit(0, &Request{Op: Open, Handle: h, Caller: Caller{Uid: uid}})
	return h
}

func sendFor(b Object, uid uint32, n int) *Request {
	r := &Request{Op: Send, Handle: &Handle{Writes: true}, Caller: Caller{Uid: uid}, Data: bytes.Repeat([]byte{'x'}, n), Nonblock: true}
	b.Submit(0, r)
	return r
}

// What an open file keeps of a message that was received is on the books of its opener.
func TestWhoReadsAMessageInPartHasItOnTheBooks(t *testing.T) {
	k := newBank(Unbounded)
	b := NewMailbox(k)
	h := openFor(b, bob, &Handle{Reads: true, ReadOp: Receive, EOF: true})
	sendFor(b, alice, 100_000)
	r := &Request{Op: Receive, Handle: h, Size: 1}
	b.Submit(0, r)
	want := Cost{Kept: 100_000 + messageCost - HandleAllowance}
	if k.users[alice] != (Cost{}) || k.users[bob] != want {
		t.Errorf("one byte read: %+v on the sender, %+v on the reader; want nothing, %+v", k.users[alice], k.users[bob], want)
	}
	if err := k.balances(b); err != nil {
		t.Error(err)
	}
	r = &Request{Op: Receive, Handle: h, Size: 1 << 20}
	b.Submit(0, r)
	b.Submit(0, &Request{Op: Receive, Handle: h, Size: 1}) // end of file
	if len(r.Data) != 99_999 || k.users[bob] != (Cost{}) {
		t.Errorf("all read: %d bytes, %+v on the reader; want 99999, nothing", len(r.Data), k.users[bob])
	}
}

// A reader over its quota gets its messages all the same. They count as held, so it does
// no more to their sender than if it had not received them.
func TestAReaderOverItsQuotaLosesNothingAndFillsNobodysBooks(t *testing.T) {
	k := newBank(50_000)
	b := NewMailbox(k)
	b.SetPolicy(0, "capacity", "3")
	var readers []*Handle
	for range 3 {
		h := openFor(b, bob, &Handle{Reads: true, ReadOp: Receive})
		if s := sendFor(b, alice, 10_000); s.Errno != 0 {
			t.Fatalf("send = %v", s.Errno)
		}
		readers = append(readers, h)
	}
	k.Adjust(bob, Cost{Kept: 50_000})
	for _, h := range readers {
		if r := receive(h); !b.Submit(0, r).Empty() && len(r.Data) != 100 || r.Errno != 0 {
			t.Fatalf("receive = %d bytes, %v; want 100", len(r.Data), r.Errno)
		}
	}
	if err := k.balances(b); err == nil || k.users[alice] != (Cost{Messages: 3, Bytes: 30_000}) {
		t.Errorf("%+v on the sender; want what it has sent", k.users[alice])
	}
	waits := &Request{Op: Send, Handle: &Handle{Writes: true}, Caller: Caller{Uid: alice}, Data: []byte("waits")}
	b.Submit(0, waits)
	if !waits.Parked() {
		t.Error("a send did not wait, though three messages of a capacity of three are being read")
	}
	rest := &Request{Op: Receive, Handle: readers[0], Size: 10_000}
	b.Submit(0, rest)
	next := &Request{Op: Receive, Handle: readers[0], Size: 10_000}
	done := b.Submit(0, next)
	if len(rest.Data) != 9_900 || string(next.Data) != "waits" || waits.Parked() {
		t.Errorf("read on: %d bytes, then %q; %d finished, the send waits: %v", len(rest.Data), next.Data, len(finishedList(done)), waits.Parked())
	}
	closeHandle(b, readers[1], false)
	b.Destroy(0)
	k.Adjust(bob, Cost{Kept: -50_000})
	for uid, c := range k.users {
		if c != (Cost{}) {
			t.Errorf("%+v is left on user %d", c, uid)
		}
	}
}

// The inbox of a subscriber is on the subscriber's books, and a send that would go beyond
// its limit fails and changes nothing.
func TestBroadcastEntriesAreOnTheSubscribersBooks(t *testing.T) {
	k := newBank(100_000)
	b := NewMailbox(k)
	for _, p := range []string{"capacity", "capacity_bytes"} {
		b.SetPolicy(0, p, "max")
	}
	b.SetPolicy(0, "receivers", "broadcast")
	h := openFor(b, bob, &Handle{Reads: true, ReadOp: Receive})
	n := 0
	for errno := syscall.Errno(0); errno == 0; n++ {
		if errno = sendFor(b, alice, 0).Errno; errno != 0 && errno != syscall.EDQUOT {
			t.Fatalf("send = %v", errno)
		}
		if n%1000 == 0 || errno != 0 {
			if err := k.balances(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n < 8000 || n > 13_000 {
		t.Errorf("%d sends fill 100000 bytes with their entries of 8", n)
	}
	closeHandle(b, h, false)
	if k.users[bob] != (Cost{}) || k.users[alice] != (Cost{}) {
		t.Errorf("%+v and %+v are left", k.users[bob], k.users[alice])
	}
}

// A receipt that waits to be read does not keep its message.
func TestAReceiptKeepsNoMessage(t *testing.T) {
	k := newBank(Unbounded)
	b := NewMailbox(k)
	h := &Handle{Reads: true, Writes: true, ReadOp: Receipt, WriteOp: Send}
	h.WantReceipts(func(Fate, Caller, Time) []byte { return make([]byte, 5000) })
	openFor(b, alice, h)
	sendBy(b, h, "hello")
	b.Submit(0, receive(reader(b)))
	if c := k.users[alice]; c.Kept < 5000-HandleAllowance || c.Bytes != 0 || h.mailbox.last == nil {
		t.Errorf("%+v is booked for a receipt of 5000 bytes", c)
	}
	if err := k.balances(b); err != nil {
		t.Error(err)
	}
	closeHandle(b, h, false)
	if k.users[alice] != (Cost{}) {
		t.Errorf("%+v is left", k.users[alice])
	}
}

// FuzzBooks does to a mailbox and a pipe what the input says, with users that meet their
// limits. After each step what is booked is what they have.
func FuzzBooks(f *testing.F) {
	f.Add([]byte{0, 1, 0, 1, 2, 40, 2, 2, 40, 3, 1, 0, 4, 1, 0, 5, 0, 0})
	f.Add([]byte{6, 3, 0, 0, 1, 0, 0, 2, 0, 2, 1, 99, 2, 2, 99, 3, 0, 1, 3, 0, 1, 5, 0, 0, 7, 0, 0})
	f.Add([]byte{8, 1, 200, 8, 2, 3, 8, 3, 3, 9, 1, 100, 10, 1, 0, 11, 2, 0, 8, 1, 9, 9, 0, 255, 11, 1, 0})
	f.Add([]byte("000700A00A00A00B00A00A00000900C00709A0072BA0000070C")) // a file that has read all, and waits
	f.Add([]byte("770000A00A00a1090100070$A00A70A00A0070'C7\xeab00"))    // two files that read a broadcast at its sender's expense
	f.Add(bytes.Repeat([]byte{1, 1, 1, 2, 2, 77, 3, 0, 2, 4, 0, 0}, 30))
	f.Fuzz(func(t *testing.T, input []byte) {
		k := newBank(20_000)
		b, p := NewMailbox(k), NewPipe(k)
		b.SetPolicy(0, "capacity", "4")
		p.SetPolicy(0, "lifetime", "persistent")
		type attempt struct {
			o Accountable
			r *Request
		}
		var open []*Handle
		var done, parked []attempt
		pr := openFor(p, 3, &Handle{Reads: true, ReadOp: Read})
		pw := openFor(p, 1, &Handle{Writes: true, WriteOp: Write})
		submit := func(o Accountable, r *Request) {
			o.Submit(1, r)
			if r.Parked() {
				parked = append(parked, attempt{o, r})
			} else {
				done = append(done, attempt{o, r})
			}
		}
		for len(input) >= 3 {
			op, uid, n := input[0]%13, uint32(input[1]&3), int(input[2])
			input = input[3:]
			c := Caller{Uid: uid}
			var h *Handle
			if len(open) > 0 {
				h = open[n%len(open)]
			}
			opens := func(h *Handle) {
				r := &Request{Op: Open, Handle: h, Caller: c}
				if b.Submit(1, r); r.Errno == 0 {
					open = append(open, h)
				}
			}
			switch {
			case op == 0 || h == nil && op < 8:
				opens(&Handle{Reads: true, ReadOp: Receive, EOF: n&1 > 0, Seekable: n&2 > 0})
			case op == 1:
				opens(&Handle{Reads: true, ReadOp: []Op{Peek, Lease}[n&1], Writes: n&1 > 0, WriteOp: []Op{0, Settle}[n&1]})
			case op == 2:
				submit(b, &Request{Op: Send, Handle: &Handle{Writes: true}, Caller: c, Data: make([]byte, n*50), Nonblock: n&1 > 0})
			case op == 3:
				submit(b, &Request{Op: h.ReadOp, Handle: h, Caller: Caller{Uid: h.opener}, Size: []int{1, 2000, 1 << 20}[uid%3], Nonblock: n&4 == 0})
			case op == 4 && h.ReadOp == Lease:
				submit(b, &Request{Op: Settle, Handle: h, Data: []byte([]string{"ack", "nack"}[uid&1])})
			case op == 5:
				if !slices.ContainsFunc(parked, func(a attempt) bool { return a.r.Handle == h && a.r.Parked() }) {
					closeHandle(b, h, false)
					open = slices.DeleteFunc(open, func(o *Handle) bool { return o == h })
				}
			case op == 6:
				b.SetPolicy(1, "receivers", []string{"any", "broadcast"}[uid&1])
			case op == 7:
				submit(b, &Request{Op: Flush, Caller: c})
			case op == 8:
				submit(p, &Request{Op: Write, Handle: pw, Caller: c, Data: make([]byte, n*30), Nonblock: n&1 > 0})
			case op == 9:
				submit(p, &Request{Op: Read, Handle: pr, Caller: Caller{Uid: 3}, Size: 1 + n*20, Nonblock: true})
			case op == 10:
				submit(p, &Request{Op: []Op{Hangup, Flush}[n&1], Caller: c})
			case op == 11 && len(done) > 0: // its process has died
				last := done[len(done)-1]
				if last.r.Op == Read || slices.Contains(open, last.r.Handle) {
					last.o.Return(1, last.r)
				}
			case op == 12 && len(parked) > 0:
				a := parked[n%len(parked)]
				a.o.Cancel(1, a.r, syscall.EINTR)
			}
			want, pipe := b.Booked(), p.Booked()
			for uid := range uint32(4) {
				sum := want[uid]
				sum = Cost{sum.Messages + pipe[uid].Messages, sum.Bytes + pipe[uid].Bytes, sum.Kept + pipe[uid].Kept}
				if k.users[uid] != sum {
					t.Fatalf("after %d: %+v is booked on user %d; want %+v", op, k.users[uid], uid, sum)
				}
			}
			for _, o := range []Accountable{b, p} {
				if err := o.Check(); err != nil {
					t.Fatalf("after %d: %v", op, err)
				}
			}
		}
		b.Destroy(2)
		p.Destroy(2)
		for _, h := range open {
			closeHandle(b, h, false)
		}
		for uid, c := range k.users {
			if c != (Cost{}) {
				t.Fatalf("%+v is left on user %d", c, uid)
			}
		}
	})
}
