package mailbox

import (
	"slices"
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

// reader makes an open handle for reading.
func reader(b objects.Object) *objects.Handle {
	h := &objects.Handle{Reads: true}
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
	return h
}

func send(text string) *objects.Request {
	return &objects.Request{Op: objects.Send, Handle: &objects.Handle{Writes: true}, Data: []byte(text)}
}

func receive(h *objects.Handle) *objects.Request {
	return &objects.Request{Op: objects.Receive, Handle: h, Size: 100}
}

func mailbox(t *testing.T, policies ...string) *Mailbox {
	t.Helper()
	b := New(objects.Unlimited)
	for i := 0; i < len(policies); i += 2 {
		if _, errno := b.SetPolicy(0, policies[i], policies[i+1]); errno != 0 {
			t.Fatalf("set %s %s = %v", policies[i], policies[i+1], errno)
		}
	}
	return b
}

func TestReceiverWakesBeforeTheSenderOfItsMessage(t *testing.T) {
	b := mailbox(t, "capacity", "0")
	r, s := receive(reader(b)), send("x")
	objecttest.WantFinished(t, b.Submit(1, s))
	objecttest.WantFinished(t, b.Submit(2, r), r, s)

	r2, s2 := receive(reader(b)), send("y")
	objecttest.WantFinished(t, b.Submit(3, r2))
	objecttest.WantFinished(t, b.Submit(4, s2), r2, s2)
	if string(r.Data)+string(r2.Data) != "xy" {
		t.Errorf("received %q, %q; want x, y", r.Data, r2.Data)
	}
}

func TestRaisingTheCapacityAdmitsWaitingSendersInOrder(t *testing.T) {
	b := mailbox(t, "capacity", "0")
	s := []*objects.Request{send("1"), send("2"), send("3")}
	for _, r := range s {
		b.Submit(0, r)
	}
	done, errno := b.SetPolicy(1, "capacity", "2")
	if errno != 0 {
		t.Fatal(errno)
	}
	objecttest.WantFinished(t, done, s[0], s[1])
}

func TestLoweringTheCapacityDropsNothing(t *testing.T) {
	b := mailbox(t)
	for range 3 {
		b.Submit(0, send("x"))
	}
	for _, p := range [][2]string{{"capacity", "1"}, {"capacity_bytes", "1"}, {"capacity", "0"}, {"overflow", "drop-oldest"}} {
		done, errno := b.SetPolicy(1, p[0], p[1])
		if !done.Empty() || errno != 0 || b.Held().Messages != 3 {
			t.Errorf("set %v: %v, %d held; want 3", p, errno, b.Held().Messages)
		}
	}
}

func TestBadPolicyValueChangesNothing(t *testing.T) {
	b := mailbox(t)
	for _, name := range append(objects.KindNamed("mailbox").PolicyNames(), "colour") {
		for _, value := range []string{"", "-1", "many", "1.5", "block!", "99999999999999999999"} {
			if name == "dead_letters" {
				continue // a name
			}
			before := []string{b.Policy("capacity"), b.Policy("capacity_bytes"), b.Policy("max_message"), b.Policy("overflow")}
			done, errno := b.SetPolicy(0, name, value)
			after := []string{b.Policy("capacity"), b.Policy("capacity_bytes"), b.Policy("max_message"), b.Policy("overflow")}
			if errno != syscall.EINVAL || !done.Empty() || !slices.Equal(before, after) {
				t.Errorf("set %s %q = %v, policies %v; want EINVAL, %v", name, value, errno, after, before)
			}
		}
	}
	if _, errno := b.SetPolicy(0, "max_message", "0"); errno != syscall.EINVAL {
		t.Errorf("set max_message 0 = %v; want EINVAL", errno)
	}
}

func TestMessageLongerThanTheLimitIsNotSent(t *testing.T) {
	b := mailbox(t, "max_message", "4")
	long := send("12345")
	objecttest.WantFinished(t, b.Submit(0, long), long)
	if long.Errno != syscall.EMSGSIZE || b.Held().Messages != 0 {
		t.Errorf("send of 5 bytes = %v, %d held; want EMSGSIZE, 0", long.Errno, b.Held().Messages)
	}
	b = mailbox(t, "capacity_bytes", "4")
	objecttest.WantFinished(t, b.Submit(0, long), long)
	if long.Errno != syscall.EMSGSIZE {
		t.Errorf("send beyond capacity_bytes = %v; want EMSGSIZE", long.Errno)
	}
}

func TestCancelAfterDeliveryIsTooLate(t *testing.T) {
	b := mailbox(t)
	r, s := receive(reader(b)), send("x")
	b.Submit(0, r)
	b.Submit(1, s)
	objecttest.WantFinished(t, b.Cancel(2, r, syscall.EINTR))
	if r.Errno != 0 || string(r.Data) != "x" {
		t.Errorf("receive = %q, %v; want x, 0", r.Data, r.Errno)
	}
}

func TestInterruptedSendSendsNothing(t *testing.T) {
	b := mailbox(t, "capacity", "0")
	s := send("x")
	b.Submit(0, s)
	objecttest.WantFinished(t, b.Cancel(1, s, syscall.EINTR), s)
	r := receive(reader(b))
	r.Nonblock = true
	b.Submit(2, r)
	if s.Errno != syscall.EINTR || r.Errno != syscall.EAGAIN {
		t.Errorf("send = %v, receive = %v; want EINTR, EAGAIN", s.Errno, r.Errno)
	}
}

func TestReturnedMessageIsNextEvenWhenFull(t *testing.T) {
	b := mailbox(t, "capacity", "1")
	b.Submit(0, send("1"))
	waiting := send("2")
	b.Submit(0, waiting)
	r := receive(reader(b))
	objecttest.WantFinished(t, b.Submit(1, r), r, waiting)
	b.Return(2, r)
	if held := b.Held().Messages; held != 2 {
		t.Errorf("%d messages held; want 2", held)
	}
	b.Submit(3, r)
	if string(r.Data) != "1" {
		t.Errorf("receive after return = %q; want 1", r.Data)
	}
}

func TestBigMessageIsNotOvertakenBySmallOnes(t *testing.T) {
	b := mailbox(t, "capacity_bytes", "4")
	b.Submit(0, send("xx"))
	big, small := send("1234"), send("s")
	b.Submit(0, big)
	b.Submit(0, small)
	if !small.Parked() {
		t.Error("a small message overtook a big one that waits")
	}
	objecttest.WantFinished(t, b.Cancel(1, big, syscall.EINTR), big, small)
}

func TestDestructionWakesEveryoneWithEIDRM(t *testing.T) {
	b := mailbox(t, "capacity", "0")
	r, p := receive(reader(b)), &objects.Request{Op: objects.Peek, Handle: reader(b), Size: 1}
	b.Submit(0, r)
	b.Submit(0, p)
	if got := len(objecttest.FinishedList(b.Destroy(1))); got != 2 || r.Errno != syscall.EIDRM || p.Errno != syscall.EIDRM {
		t.Errorf("destroy finished %d: %v, %v; want 2: EIDRM", got, r.Errno, p.Errno)
	}
	late := send("x")
	b.Submit(2, late)
	if late.Errno != syscall.EIDRM {
		t.Errorf("send to a destroyed mailbox = %v; want EIDRM", late.Errno)
	}
	if !b.Return(3, r).Empty() {
		t.Error("return to a destroyed mailbox finished something")
	}
}

func TestRemovableSaysWhatIsInTheWay(t *testing.T) {
	b := mailbox(t)
	if errno := b.Removable(); errno != 0 {
		t.Errorf("empty: %v; want 0", errno)
	}
	r := receive(reader(b))
	b.Submit(0, r)
	if errno := b.Removable(); errno != syscall.EBUSY {
		t.Errorf("waited on: %v; want EBUSY", errno)
	}
	b.Cancel(0, r, syscall.EINTR)
	b.Submit(0, send("x"))
	if errno := b.Removable(); errno != syscall.ENOTEMPTY {
		t.Errorf("filled: %v; want ENOTEMPTY", errno)
	}
}

func TestFullLedgerRefusesWhatWouldBeKept(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		for _, capacity := range []string{"0", "1", "max"} {
			b := New(objecttest.Full{Errno: errno})
			b.SetPolicy(0, "capacity", capacity)
			s := send("x")
			objecttest.WantFinished(t, b.Submit(0, s), s)
			if s.Errno != errno {
				t.Errorf("capacity %s: send = %v; want %v", capacity, s.Errno, errno)
			}
			r := receive(reader(b))
			b.Submit(0, r)
			objecttest.WantFinished(t, b.Submit(0, s), r, s)
			if s.Errno != 0 {
				t.Errorf("capacity %s: send to a waiting receiver = %v; want 0", capacity, s.Errno)
			}
		}
	}
}

func TestDropOldestKeepsTheNewest(t *testing.T) {
	b := mailbox(t, "capacity", "2", "overflow", "drop-oldest")
	for _, text := range []string{"1", "2", "3", "4"} {
		b.Submit(0, send(text))
	}
	wantHeld(t, b, "3", "4")
}

func TestDropNewestKeepsTheOldest(t *testing.T) {
	b := mailbox(t, "capacity", "2", "overflow", "drop-newest")
	for _, text := range []string{"1", "2", "3", "4"} {
		b.Submit(0, send(text))
	}
	wantHeld(t, b, "1", "2")
}

func wantHeld(t *testing.T, b *Mailbox, want ...string) {
	t.Helper()
	var got []string
	for h := reader(b); ; {
		r := receive(h)
		r.Nonblock = true
		b.Submit(0, r)
		if r.Errno != 0 {
			break
		}
		got = append(got, string(r.Data))
	}
	if !slices.Equal(got, want) {
		t.Errorf("held %q; want %q", got, want)
	}
}

func TestLongMessageIsReadInPieces(t *testing.T) {
	b := mailbox(t)
	h := &objects.Handle{Reads: true, EOF: true}
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
	b.Submit(0, send("abcdef"))
	b.Submit(0, send("g"))
	for _, want := range []string{"abcd", "ef", "", "g", ""} {
		r := receive(h)
		r.Size = 4
		objecttest.WantFinished(t, b.Submit(0, r), r)
		if string(r.Data) != want {
			t.Errorf("read = %q; want %q", r.Data, want)
		}
	}
}

func TestSeekableHandleReadsItsMessageAgain(t *testing.T) {
	b := mailbox(t)
	h := &objects.Handle{Reads: true, EOF: true, Seekable: true}
	b.Submit(0, send("one\ntwo\n"))
	for _, c := range []struct {
		offset int64
		want   string
	}{{0, "one\ntwo\n"}, {4, "two\n"}, {4, "two\n"}, {6, "o\n"}, {8, ""}} {
		r := receive(h)
		r.Offset = c.offset
		b.Submit(0, r)
		if string(r.Data) != c.want {
			t.Errorf("read at %d = %q; want %q", c.offset, r.Data, c.want)
		}
	}
}

func TestWhatIsLeftGoesToReadersOfTheSameHandle(t *testing.T) {
	b := mailbox(t)
	h, other := reader(b), reader(b)
	first, elsewhere, second := receive(h), receive(other), receive(h)
	first.Size = 2
	for _, r := range []*objects.Request{first, elsewhere, second} {
		b.Submit(0, r)
	}
	s := send("abcd")
	objecttest.WantFinished(t, b.Submit(1, s), first, second, s)
	if string(first.Data) != "ab" || string(second.Data) != "cd" || !elsewhere.Parked() {
		t.Errorf("reads = %q, %q, the other parked: %v; want ab, cd, true", first.Data, second.Data, elsewhere.Parked())
	}
}

// A book that is full: nothing more is taken, what was there comes back.
type fullBook struct{ full bool }

func (b *fullBook) Charge(_ uint32, c objects.Cost) syscall.Errno {
	if b.full && c.Messages > 0 {
		return syscall.ENOSPC
	}
	return 0
}

func (*fullBook) Adjust(uint32, objects.Cost) {}

func (*fullBook) Move(uint32, objects.Cost, uint32, objects.Cost) syscall.Errno { return 0 }

func TestSendThatFailsDropsNothing(t *testing.T) {
	book := &fullBook{}
	b := New(book)
	b.SetPolicy(0, "capacity", "2")
	b.SetPolicy(0, "overflow", "drop-oldest")
	h := &objects.Handle{Reads: true, Writes: true}
	for _, data := range []string{"one", "two"} {
		b.Submit(0, &objects.Request{Op: objects.Send, Handle: h, Data: []byte(data)})
	}
	book.full = true
	r := &objects.Request{Op: objects.Send, Handle: h, Data: []byte("three")}
	b.Submit(0, r)
	if r.Errno != syscall.ENOSPC || b.held.n != 2 || b.dropped != 0 {
		t.Errorf("send beyond the limit = %v with %d messages held and %d dropped; want ENOSPC, 2, 0", r.Errno, b.held.n, b.dropped)
	}
	for _, want := range []string{"one", "two"} {
		r := &objects.Request{Op: objects.Receive, Handle: h, Size: 10}
		b.Submit(0, r)
		if string(r.Data) != want {
			t.Errorf("received %q, want %q", r.Data, want)
		}
	}
}

func TestReturnDoesNotRepeatWhatAnotherReadOfTheHandleGot(t *testing.T) {
	b := New(objects.Unlimited)
	h := &objects.Handle{Reads: true, Writes: true}
	first := &objects.Request{Op: objects.Receive, Handle: h, Size: 3}
	second := &objects.Request{Op: objects.Receive, Handle: h, Size: 10}
	b.Submit(0, first)
	b.Submit(0, second)
	b.Submit(0, &objects.Request{Op: objects.Send, Handle: h, Data: []byte("abcdef")})
	if string(first.Data) != "abc" || string(second.Data) != "def" {
		t.Fatalf("reads of one handle got %q and %q, want abc and def", first.Data, second.Data)
	}
	b.Return(0, first)
	if b.held.n != 0 {
		t.Error("a message whose end was delivered came back whole")
	}
}

func TestMessageComesBackOnce(t *testing.T) {
	b := mailbox(t)
	b.Submit(0, send("x"))
	r := receive(reader(b))
	b.Submit(0, r)
	b.Return(0, r)
	b.Return(0, r)
	if b.Held().Messages != 1 || b.received != 0 {
		t.Errorf("%d messages are held, %d received; want 1, 0", b.Held().Messages, b.received)
	}
	if err := b.Check(); err != nil {
		t.Error(err)
	}
}
