package mailbox

import (
	"bytes"
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

func openFor(b objects.Object, uid uint32, h *objects.Handle) *objects.Handle {
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: h, Caller: objects.Caller{Uid: uid}})
	return h
}

func sendFor(b objects.Object, uid uint32, n int) *objects.Request {
	r := &objects.Request{Op: objects.Send, Handle: &objects.Handle{Writes: true}, Caller: objects.Caller{Uid: uid}, Data: bytes.Repeat([]byte{'x'}, n), Nonblock: true}
	b.Submit(0, r)
	return r
}

// What an open file keeps of a message that was received is on the books of its opener.
func TestWhoReadsAMessageInPartHasItOnTheBooks(t *testing.T) {
	k := objecttest.NewBank(objects.Unbounded)
	b := New(k)
	h := openFor(b, objecttest.Bob, &objects.Handle{Reads: true, ReadOp: objects.Receive, EOF: true})
	sendFor(b, objecttest.Alice, 100_000)
	r := &objects.Request{Op: objects.Receive, Handle: h, Size: 1}
	b.Submit(0, r)
	want := objects.Cost{Kept: 100_000 + messageCost - HandleAllowance}
	if k.Users[objecttest.Alice] != (objects.Cost{}) || k.Users[objecttest.Bob] != want {
		t.Errorf("one byte read: %+v on the sender, %+v on the reader; want nothing, %+v", k.Users[objecttest.Alice], k.Users[objecttest.Bob], want)
	}
	if err := k.Balances(b); err != nil {
		t.Error(err)
	}
	r = &objects.Request{Op: objects.Receive, Handle: h, Size: 1 << 20}
	b.Submit(0, r)
	b.Submit(0, &objects.Request{Op: objects.Receive, Handle: h, Size: 1}) // end of file
	if len(r.Data) != 99_999 || k.Users[objecttest.Bob] != (objects.Cost{}) {
		t.Errorf("all read: %d bytes, %+v on the reader; want 99999, nothing", len(r.Data), k.Users[objecttest.Bob])
	}
}

// A reader over its quota gets its messages all the same. They count as held, so it does
// no more to their sender than if it had not received them.
func TestAReaderOverItsQuotaLosesNothingAndFillsNobodysBooks(t *testing.T) {
	k := objecttest.NewBank(50_000)
	b := New(k)
	b.SetPolicy(0, "capacity", "3")
	var readers []*objects.Handle
	for range 3 {
		h := openFor(b, objecttest.Bob, &objects.Handle{Reads: true, ReadOp: objects.Receive})
		if s := sendFor(b, objecttest.Alice, 10_000); s.Errno != 0 {
			t.Fatalf("send = %v", s.Errno)
		}
		readers = append(readers, h)
	}
	k.Adjust(objecttest.Bob, objects.Cost{Kept: 50_000})
	for _, h := range readers {
		if r := receive(h); !b.Submit(0, r).Empty() && len(r.Data) != 100 || r.Errno != 0 {
			t.Fatalf("receive = %d bytes, %v; want 100", len(r.Data), r.Errno)
		}
	}
	if err := k.Balances(b); err == nil || k.Users[objecttest.Alice] != (objects.Cost{Messages: 3, Bytes: 30_000}) {
		t.Errorf("%+v on the sender; want what it has sent", k.Users[objecttest.Alice])
	}
	waits := &objects.Request{Op: objects.Send, Handle: &objects.Handle{Writes: true}, Caller: objects.Caller{Uid: objecttest.Alice}, Data: []byte("waits")}
	b.Submit(0, waits)
	if !waits.Parked() {
		t.Error("a send did not wait, though three messages of a capacity of three are being read")
	}
	rest := &objects.Request{Op: objects.Receive, Handle: readers[0], Size: 10_000}
	b.Submit(0, rest)
	next := &objects.Request{Op: objects.Receive, Handle: readers[0], Size: 10_000}
	done := b.Submit(0, next)
	if len(rest.Data) != 9_900 || string(next.Data) != "waits" || waits.Parked() {
		t.Errorf("read on: %d bytes, then %q; %d finished, the send waits: %v", len(rest.Data), next.Data, len(objecttest.FinishedList(done)), waits.Parked())
	}
	closeHandle(b, readers[1], false)
	b.Destroy(0)
	k.Adjust(objecttest.Bob, objects.Cost{Kept: -50_000})
	for uid, c := range k.Users {
		if c != (objects.Cost{}) {
			t.Errorf("%+v is left on user %d", c, uid)
		}
	}
}

// The inbox of a subscriber is on the subscriber's books, and a send that would go beyond
// its limit fails and changes nothing.
func TestBroadcastEntriesAreOnTheSubscribersBooks(t *testing.T) {
	k := objecttest.NewBank(100_000)
	b := New(k)
	for _, p := range []string{"capacity", "capacity_bytes"} {
		b.SetPolicy(0, p, "max")
	}
	b.SetPolicy(0, "receivers", "broadcast")
	h := openFor(b, objecttest.Bob, &objects.Handle{Reads: true, ReadOp: objects.Receive})
	n := 0
	for errno := syscall.Errno(0); errno == 0; n++ {
		if errno = sendFor(b, objecttest.Alice, 0).Errno; errno != 0 && errno != syscall.EDQUOT {
			t.Fatalf("send = %v", errno)
		}
		if n%1000 == 0 || errno != 0 {
			if err := k.Balances(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n < 8000 || n > 13_000 {
		t.Errorf("%d sends fill 100000 bytes with their entries of 8", n)
	}
	closeHandle(b, h, false)
	if k.Users[objecttest.Bob] != (objects.Cost{}) || k.Users[objecttest.Alice] != (objects.Cost{}) {
		t.Errorf("%+v and %+v are left", k.Users[objecttest.Bob], k.Users[objecttest.Alice])
	}
}

// A receipt that waits to be read does not keep its message.
func TestAReceiptKeepsNoMessage(t *testing.T) {
	k := objecttest.NewBank(objects.Unbounded)
	b := New(k)
	h := &objects.Handle{Reads: true, Writes: true, ReadOp: objects.Receipt, WriteOp: objects.Send}
	FileOf(h).Receipts = true
	openFor(b, objecttest.Alice, h)
	b.SetPolicy(0, "receivers", "broadcast")
	const subscribers = 200
	var subscribed []*objects.Handle
	for range subscribers {
		subscribed = append(subscribed, openFor(b, objecttest.Bob, &objects.Handle{Reads: true, ReadOp: objects.Receive}))
	}
	sendBy(b, h, "hello")
	for _, s := range subscribed {
		b.Submit(0, receive(s))
	}
	if c := k.Users[objecttest.Alice]; c.Kept < subscribers*outcomeSize-HandleAllowance || c.Bytes != 0 || FileOf(h).last == nil {
		t.Errorf("%+v is booked for a receipt of %d lines", c, subscribers)
	}
	r := &objects.Request{Op: objects.Receipt, Handle: h, Size: 1}
	done := b.Submit(0, r)
	if err := k.Balances(b); err != nil {
		t.Error(err)
	}
	objects.Render(0, b, done, func(any) []byte { return make([]byte, 5000) })
	if c := k.Users[objecttest.Alice]; c.Kept < 5000-HandleAllowance {
		t.Errorf("%+v is booked for the rest of a receipt of 5000 bytes", c)
	}
	if err := k.Balances(b); err != nil {
		t.Error(err)
	}
	closeHandle(b, h, false)
	if k.Users[objecttest.Alice] != (objects.Cost{}) {
		t.Errorf("%+v is left", k.Users[objecttest.Alice])
	}
}
