package mailbox

import (
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

func TestTransferKeepsTheSenderAndIsBookedOnce(t *testing.T) {
	var l objecttest.Book
	from, to := New(&l), New(&l)
	s := send("hello")
	s.Caller = objects.Caller{Pid: 7, Uid: 8, Gid: 9}
	FileOf(s.Handle).Filter = &Selector{By: ByTopic, Topic: "t"}
	from.Submit(5, s)
	to.Submit(6, send("before"))
	left, arrived, errno := Transfer(9, from, to, 1)
	if errno != 0 || !left.Empty() || !arrived.Empty() {
		t.Fatalf("transfer = %v, %v, %v", left, arrived, errno)
	}
	m := to.Message(2)
	if m == nil || string(m.Data) != "hello" || m.Sender != s.Caller || m.Sent != 5 || m.Topic != "t" {
		t.Errorf("message 2 = %+v; want hello of %+v, sent at 5, topic t", m, s.Caller)
	}
	if from.Held().Messages != 0 || to.Held().Messages != 2 || l != (objecttest.Book{Messages: 2, Bytes: 11}) {
		t.Errorf("%+v and %+v held, %+v booked; want 0, 2 and 2 of 11 bytes", from.Held(), to.Held(), l)
	}
	to.Destroy(9)
	if l != (objecttest.Book{}) {
		t.Errorf("%+v is booked after the end; want nothing", l)
	}
}

func TestTransferWakesWhoWaitsOnEitherSide(t *testing.T) {
	from, to := mailbox(t, "capacity", "1"), mailbox(t)
	from.Submit(0, send("1"))
	waiting := send("2")
	from.Submit(0, waiting)
	r := receive(reader(to))
	to.Submit(0, r)
	left, arrived, errno := Transfer(1, from, to, 1)
	if errno != 0 {
		t.Fatal(errno)
	}
	objecttest.WantFinished(t, left, waiting)
	objecttest.WantFinished(t, arrived, r)
	if string(r.Data) != "1" {
		t.Errorf("received %q; want 1", r.Data)
	}
}

func TestTransferThatFailsChangesNothing(t *testing.T) {
	for want, policies := range map[syscall.Errno][]string{
		syscall.EAGAIN:   {"capacity", "0"},
		syscall.EMSGSIZE: {"max_message", "2"},
	} {
		from, to := mailbox(t), mailbox(t, policies...)
		from.Submit(0, send("long"))
		if _, _, errno := Transfer(0, from, to, 1); errno != want || from.Held().Messages != 1 || to.Held().Messages != 0 {
			t.Errorf("transfer = %v, %d left, %d arrived; want %v, 1, 0", errno, from.Held().Messages, to.Held().Messages, want)
		}
		if _, _, errno := Transfer(0, from, to, 2); errno != syscall.ENOENT {
			t.Errorf("transfer of nothing = %v; want ENOENT", errno)
		}
	}
	from, to := mailbox(t), mailbox(t)
	from.Submit(0, send("x"))
	to.Destroy(0)
	if _, _, errno := Transfer(0, from, to, 1); errno != syscall.EIDRM {
		t.Errorf("transfer to what is destroyed = %v; want EIDRM", errno)
	}
}

func TestTransferIntoAFullMailboxFollowsItsOverflow(t *testing.T) {
	for overflow, want := range map[string]string{"fail": "old", "drop-newest": "old", "drop-oldest": "new"} {
		from, to := mailbox(t), mailbox(t, "capacity", "1", "overflow", overflow)
		from.Submit(0, send("new"))
		to.Submit(0, send("old"))
		_, _, errno := Transfer(0, from, to, 1)
		r := receive(reader(to))
		to.Submit(0, r)
		if string(r.Data) != want || (errno == syscall.EAGAIN) != (overflow == "fail") {
			t.Errorf("overflow %s: transfer = %v, received %q; want %s", overflow, errno, r.Data, want)
		}
	}
}

func TestNumberingInStepsFindsWhatComesAndGoesMeanwhile(t *testing.T) {
	b := mailbox(t, "capacity", "max", "order", "priority")
	put := func(priority uint8) uint64 {
		s := send("m")
		FileOf(s.Handle).Filter = &Selector{By: ByPriority, Priority: priority}
		b.Submit(0, s)
		return uint64(b.Held().Messages)
	}
	for range 10 {
		put(0)
	}
	if b.Number(4) || len(b.held.numbers) != 4 {
		t.Fatalf("after a step of 4 messages %d are numbered", len(b.held.numbers))
	}
	put(0) // 11, behind those that are not numbered
	put(3) // 12, before those that are
	for _, gone := range []*Message{b.held.unnumbered, b.held.Last(), b.held.First().Next()} {
		b.held.remove(gone)
	}
	if b.Number(0) || b.Number(1) {
		t.Error("a step of fewer messages than are left numbers all")
	}
	if !b.Number(100) || !b.Number(0) {
		t.Error("a step of more messages than are left does not number all")
	}
	if got, want := len(b.held.numbers), int(b.held.n); got != want {
		t.Errorf("%d messages are numbered, %d held", got, want)
	}
	for seq, want := range map[uint64]bool{1: false, 2: true, 5: false, 6: true, 10: true, 11: false, 12: true, 13: false} {
		if got := b.Message(seq) != nil; got != want {
			t.Errorf("message %d is found: %v; want %v", seq, got, want)
		}
	}
}
