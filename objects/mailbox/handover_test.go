package mailbox

import (
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

// opened makes an open handle of an endpoint.
func opened(b objects.Object, h *objects.Handle) *objects.Handle {
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
	return h
}

// selecting makes an open handle for receiving what has the topic.
func selecting(b objects.Object, topic string) *objects.Handle {
	h := &objects.Handle{Reads: true, ReadOp: objects.Receive}
	FileOf(h).Filter = &Selector{By: ByTopic, Topic: topic}
	return opened(b, h)
}

func count(t *testing.T, b *Mailbox, name string, want int64) {
	t.Helper()
	for _, c := range b.Stat() {
		if c.Name == name && c.Value != want {
			t.Errorf("%s = %d; want %d", name, c.Value, want)
		}
	}
}

// Without a buffer a broadcast is handed over when all subscribers wait, and waits as long as one
// does not.
func TestABroadcastWithoutABufferIsHandedToAllWhoWait(t *testing.T) {
	for _, policy := range []string{"capacity", "capacity_bytes"} {
		b := mailbox(t, "receivers", "broadcast", policy, "0")
		if !b.Broadcasts() {
			t.Fatal("a mailbox with receivers=broadcast says that it does not")
		}
		other := selecting(b, "another") // no subscriber of what follows
		peeks := &objects.Request{Op: objects.Peek, Handle: opened(b, &objects.Handle{Reads: true, ReadOp: objects.Peek}), Size: 100}
		elsewhere := receive(other)
		for _, r := range []*objects.Request{peeks, elsewhere} {
			objecttest.WantFinished(t, b.Submit(1, r))
		}
		first, second := receive(opened(b, &objects.Handle{Reads: true, ReadOp: objects.Receive})), receive(opened(b, &objects.Handle{Reads: true, ReadOp: objects.Receive}))
		objecttest.WantFinished(t, b.Submit(1, first))
		early := send("early")
		objecttest.WantFinished(t, b.Submit(2, early), peeks, first)
		if early.Parked() == false || string(first.Data) != "early" || string(peeks.Data) != "early" {
			t.Errorf("%s: the first subscriber got %q, who peeks %q, the send waits: %v; want early, early, true", policy, first.Data, peeks.Data, early.Parked())
		}
		objecttest.WantFinished(t, b.Submit(3, second), second, early)

		first, second = receive(first.Handle), receive(second.Handle)
		b.Submit(4, first)
		b.Submit(4, second)
		peeks = &objects.Request{Op: objects.Peek, Handle: opened(b, &objects.Handle{Reads: true, ReadOp: objects.Peek}), Size: 100}
		b.Submit(4, peeks)
		s := send("x")
		objecttest.WantFinished(t, b.Submit(5, s), peeks, first, second, s)
		if string(first.Data)+string(second.Data)+string(peeks.Data) != "xxx" {
			t.Errorf("%s: those who wait got %q, %q, %q; want x each", policy, first.Data, second.Data, peeks.Data)
		}
		if h := b.Held(); h.Messages != 0 || h.Changed != 5 || h.Taken != 5 {
			t.Errorf("%s: %+v is held; want nothing, changed and received at 5", policy, h)
		}
		count(t, b, "sent", 2)
		count(t, b, "dropped", 0)
		if err := b.Check(); err != nil {
			t.Error(err)
		}
		if elsewhere.Parked() == false {
			t.Errorf("%s: who selects another topic got %q", policy, elsewhere.Data)
		}
		for _, r := range []*objects.Request{first, second} {
			b.Submit(6, &objects.Request{Op: objects.Close, Handle: r.Handle})
		}
		b.Submit(7, send("for nobody")) // but who selects another topic, and waits
		count(t, b, "dropped", 1)
		count(t, b, "received", 4) // by each of two
	}
}

// What nobody receives is dropped, but not before those who peek have seen it; where it is dropped
// because there is no room they have not.
func TestABroadcastToNobodyIsSeenByThoseWhoPeek(t *testing.T) {
	for _, c := range []struct {
		policies []string
		sees     bool
	}{
		{[]string{"receivers", "broadcast"}, true},
		{[]string{"receivers", "broadcast", "capacity", "0"}, true},
		{[]string{"capacity", "0", "overflow", "drop-newest"}, false},
	} {
		b := mailbox(t, c.policies...)
		peeks := &objects.Request{Op: objects.Peek, Handle: opened(b, &objects.Handle{Reads: true, ReadOp: objects.Peek}), Size: 100}
		b.Submit(1, peeks)
		s := send("x")
		b.Submit(2, s)
		if s.Parked() || s.Errno != 0 || peeks.Parked() == c.sees {
			t.Errorf("%v: the send waits: %v, errno %v; who peeks waits: %v; want %v", c.policies, s.Parked(), s.Errno, peeks.Parked(), !c.sees)
		}
		count(t, b, "dropped", 1)
	}
}

// A message that its receiver takes on lease is on the books; where it cannot be, nothing has
// happened.
func TestAMessageForALeaseThatCannotBeBookedIsRefused(t *testing.T) {
	k := objecttest.NewBank(1000)
	b := New(k)
	h := opened(b, &objects.Handle{Reads: true, Writes: true, ReadOp: objects.Lease, WriteOp: objects.Settle})
	take := &objects.Request{Op: objects.Lease, Handle: h, Size: 100_000}
	objecttest.WantFinished(t, b.Submit(1, take))
	if s := sendFor(b, objecttest.Alice, 10_000); s.Errno != syscall.EDQUOT || !take.Parked() {
		t.Errorf("a send beyond the quota = %v, who takes leases waits: %v; want EDQUOT, true", s.Errno, take.Parked())
	}
	if s := sendFor(b, objecttest.Alice, 100); s.Errno != 0 || len(take.Data) != 100 {
		t.Errorf("a send within it = %v, %d bytes taken; want 0, 100", s.Errno, len(take.Data))
	}
	if err := k.Balances(b); err != nil || k.Users[objecttest.Alice].Messages != 1 {
		t.Errorf("%+v on the sender, %v; want one message on lease", k.Users[objecttest.Alice], err)
	}
}

// What is dropped for a new message makes room for it in its sender's quota, and stays where that is
// not enough.
func TestWhatIsEvictedIsBookedUntilItsSuccessorIs(t *testing.T) {
	k := objecttest.NewBank(1000)
	b := New(k)
	for _, p := range [][2]string{{"overflow", "drop-oldest"}, {"capacity", "2"}} {
		b.SetPolicy(0, p[0], p[1])
	}
	for range 3 {
		if s := sendFor(b, objecttest.Alice, 400); s.Errno != 0 {
			t.Fatalf("send = %v", s.Errno)
		}
	}
	if got := k.Users[objecttest.Alice]; got.Messages != 2 || got.Bytes != 800 {
		t.Errorf("%+v on the sender; want the newest 2 messages, 800 bytes", got)
	}
	if s := sendFor(b, objecttest.Bob, 2000); s.Errno != syscall.EDQUOT || b.Held().Messages != 2 {
		t.Errorf("a send beyond the quota = %v, %d held; want EDQUOT, 2", s.Errno, b.Held().Messages)
	}
	if s := sendFor(b, objecttest.Alice, 700); s.Errno != syscall.EDQUOT || b.Held().Messages != 2 {
		t.Errorf("a send beyond the quota, though one goes for it = %v, %d held; want EDQUOT, 2", s.Errno, b.Held().Messages)
	}
	if got := k.Users[objecttest.Alice]; got.Messages != 2 || got.Bytes != 800 {
		t.Errorf("%+v on the sender after that; want 2 messages, 800 bytes", got)
	}
	if s := sendFor(b, objecttest.Bob, 300); s.Errno != 0 {
		t.Errorf("another user's send = %v; want 0", s.Errno)
	}
	if err := k.Balances(b); err != nil || k.Users[objecttest.Alice].Bytes != 400 || k.Users[objecttest.Bob].Bytes != 300 {
		t.Errorf("%+v, %+v, %v; want 400 and 300 bytes", k.Users[objecttest.Alice], k.Users[objecttest.Bob], err)
	}
	count(t, b, "dropped", 2)
}

// The receipt of a message that comes back from a dead receiver tells of the next one.
func TestAReturnedMessageHasNoReceipt(t *testing.T) {
	b := mailbox(t)
	h := receiptHandle(b)
	b.Submit(1, &objects.Request{Op: objects.Send, Handle: h, Data: []byte("x")})
	died := receive(reader(b))
	died.Caller.Pid = 5
	b.Submit(2, died)
	b.Return(3, died)
	ask := &objects.Request{Op: objects.Receipt, Handle: h, Size: 100}
	objecttest.WantFinished(t, b.Submit(4, ask))
	lives := receive(reader(b))
	lives.Caller.Pid = 6
	done := b.Submit(5, lives)
	for r := done.Next(); r != nil; r = done.Next() {
		renderReceipt(b, r)
	}
	if string(ask.Data) != "received 6 5\n" {
		t.Errorf("the receipt is %q; want that of the second receiver", ask.Data)
	}
	again := &objects.Request{Op: objects.Receipt, Handle: h, Size: 100, Nonblock: true}
	b.Submit(6, again)
	if again.Errno != 0 || len(again.Data) != 0 {
		t.Errorf("what follows the receipt is %q, %v; want end of file", again.Data, again.Errno)
	}
}

func TestAReceiptThatIsNotThereFailsWithEAGAINWhereNobodyWaits(t *testing.T) {
	b := mailbox(t)
	h, other := receiptHandle(b), receiptHandle(b)
	b.Submit(1, &objects.Request{Op: objects.Send, Handle: h, Data: []byte("x")})
	b.Submit(1, &objects.Request{Op: objects.Send, Handle: other, Data: []byte("y")})
	now := &objects.Request{Op: objects.Receipt, Handle: h, Size: 100, Nonblock: true}
	if b.Submit(2, now); now.Errno != syscall.EAGAIN {
		t.Errorf("a receipt of what is held = %v; want EAGAIN", now.Errno)
	}
	first, theirs := &objects.Request{Op: objects.Receipt, Handle: h, Size: 100}, &objects.Request{Op: objects.Receipt, Handle: other, Size: 100}
	b.Submit(3, theirs)
	b.Submit(3, first)
	r := receive(reader(b))
	objecttest.WantFinished(t, b.Submit(4, r), first, r)
	if !theirs.Parked() {
		t.Error("the receipt of one message ended the wait for another's")
	}
}

// A file that cannot keep the rest of a message does not get its beginning by peek.
func TestAPeekOfWhatCannotBeKeptFailsAndKeepsNothing(t *testing.T) {
	k := objecttest.NewBank(20_000)
	b := New(k)
	h := openFor(b, objecttest.Bob, &objects.Handle{Reads: true, ReadOp: objects.Peek})
	sendFor(b, objecttest.Alice, 10_000)
	k.Adjust(objecttest.Bob, objects.Cost{Kept: 20_000})
	short := &objects.Request{Op: objects.Peek, Handle: h, Size: 10}
	if b.Submit(1, short); short.Errno != syscall.EDQUOT || len(short.Data) != 0 || h.Left() {
		t.Errorf("a short peek = %d bytes, %v, the file keeps a rest: %v; want EDQUOT, nothing", len(short.Data), short.Errno, h.Left())
	}
	k.Adjust(objecttest.Bob, objects.Cost{Kept: -20_000})
	short = &objects.Request{Op: objects.Peek, Handle: h, Size: 10}
	if b.Submit(2, short); short.Errno != 0 || len(short.Data) != 10 || k.Users[objecttest.Bob].Kept == 0 {
		t.Errorf("a short peek = %d bytes, %v, %+v on the reader; want 10, the rest on the books", len(short.Data), short.Errno, k.Users[objecttest.Bob])
	}
	if err := k.Balances(b); err != nil {
		t.Error(err)
	}
	long := &objects.Request{Op: objects.Peek, Handle: opened(b, &objects.Handle{Reads: true, ReadOp: objects.Peek}), Size: 20_000}
	if b.Submit(3, long); long.Errno != 0 || len(long.Data) != 10_000 {
		t.Errorf("a long peek = %d bytes, %v; want all", len(long.Data), long.Errno)
	}
}

// poll(2) tells whether a write would be taken at once.
func TestPollKnowsWhatAFullMailboxTakes(t *testing.T) {
	for _, c := range []struct {
		policies []string
		want     objects.Events
	}{
		{[]string{"overflow", "block"}, 0},
		{[]string{"overflow", "fail"}, 0},
		{[]string{"overflow", "drop-oldest"}, objects.Out},
		{[]string{"overflow", "drop-newest"}, objects.Out},
	} {
		b := mailbox(t, append(c.policies, "capacity", "1", "max_message", "1")...)
		b.Submit(1, send("x"))
		if got := b.Ready(opened(b, &objects.Handle{Writes: true, WriteOp: objects.Send})); got != c.want {
			t.Errorf("%v: full, it is ready for %#x; want %#x", c.policies, got, c.want)
		}
	}
	b := mailbox(t, "framing", "close", "capacity", "2")
	h, other := opened(b, &objects.Handle{Writes: true, WriteOp: objects.Send}), opened(b, &objects.Handle{Writes: true, WriteOp: objects.Send})
	b.Submit(1, &objects.Request{Op: objects.Send, Handle: h, Data: []byte("begun")})
	b.SetPolicy(2, "capacity", "1")
	if got := b.Ready(h); got != objects.Out {
		t.Errorf("a message that goes on is ready for %#x; want Out", got)
	}
	if got := b.Ready(other); got != 0 {
		t.Errorf("another message, without room to begin, is ready for %#x; want nothing", got)
	}
	waits := &objects.Request{Op: objects.Send, Handle: other, Data: []byte("waits")}
	if b.Submit(3, waits); !waits.Parked() {
		t.Error("a second message began in a mailbox of one")
	}
}

// longest is what bounds a message: the policy, what one write(2) carries, and the capacity.
func TestALongMessageIsRefusedByWhatBoundsItFirst(t *testing.T) {
	for _, c := range []struct {
		policies []string
		n        int
		want     syscall.Errno
	}{
		{[]string{"max_message", "3"}, 3, 0},
		{[]string{"max_message", "3"}, 4, syscall.EMSGSIZE},
		{[]string{"capacity_bytes", "3"}, 3, 0},
		{[]string{"capacity_bytes", "3"}, 4, syscall.EMSGSIZE},
		{[]string{"framing", "close", "capacity_bytes", "4M", "max_message", "3M", "framing", "write"}, MaxMessage + 1, syscall.EMSGSIZE},
		{[]string{"framing", "line", "capacity_bytes", "4M", "max_message", "3M"}, MaxMessage + 1, 0},
	} {
		b := mailbox(t, c.policies...)
		data := make([]byte, c.n)
		data[c.n-1] = '\n'
		s := &objects.Request{Op: objects.Send, Handle: opened(b, &objects.Handle{Writes: true, WriteOp: objects.Send}), Data: data}
		if b.Submit(1, s); s.Errno != c.want {
			t.Errorf("%v: a message of %d bytes = %v; want %v", c.policies, c.n, s.Errno, c.want)
		}
	}
}
