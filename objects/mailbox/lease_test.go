package mailbox

import (
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

// leaseHandle makes an open handle for leases.
func leaseHandle(b objects.Object) *objects.Handle {
	h := &objects.Handle{Reads: true, Writes: true, ReadOp: objects.Lease, WriteOp: objects.Settle}
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
	return h
}

func leaseFor(b objects.Object, now objects.Time, h *objects.Handle) *objects.Request {
	r := &objects.Request{Op: objects.Lease, Handle: h, Size: 10, Nonblock: true}
	b.Submit(now, r)
	return r
}

func settle(b objects.Object, now objects.Time, h *objects.Handle, verb string) syscall.Errno {
	r := &objects.Request{Op: objects.Settle, Handle: h, Data: []byte(verb)}
	b.Submit(now, r)
	return r.Errno
}

func TestLeaseEndsOnce(t *testing.T) {
	var booked objecttest.Book
	b := New(&booked)
	b.SetPolicy(0, "lease_time", "10ns")
	h, other := leaseHandle(b), leaseHandle(b)
	sendBy(b, writer(b), "1")
	sendBy(b, writer(b), "2")
	for i, step := range []struct {
		now  objects.Time
		verb string
		want syscall.Errno
	}{
		{0, "ack", syscall.ENOMSG},
		{0, "", 0},
		{1, "", syscall.EBUSY},
		{1, "what", syscall.EINVAL},
		{1, "extend 20ns", 0},
		{20, "nack", 0},
		{20, "nack", syscall.ENOMSG},
		{20, "", 0},
		{30, "ack", syscall.ETIME},
		{30, "ack", syscall.ENOMSG},
		{30, "", 0},
		{39, "ack\n", 0},
		{39, "ack", syscall.ENOMSG},
	} {
		var got syscall.Errno
		if step.verb == "" {
			r := leaseFor(b, step.now, h)
			if got = r.Errno; got == 0 && string(r.Data) != "1" {
				t.Errorf("step %d: leased %q; want 1", i, r.Data)
			}
		} else {
			got = settle(b, step.now, h, step.verb)
		}
		if got != step.want {
			t.Errorf("step %d: %q at %d = %v; want %v", i, step.verb, step.now, got, step.want)
		}
	}
	if b.redelivered != 2 || b.received != 1 {
		t.Errorf("%d redelivered, %d received; want 2, 1", b.redelivered, b.received)
	}
	if r := leaseFor(b, 40, other); string(r.Data) != "2" || b.Removable() != syscall.EBUSY {
		t.Errorf("leased %q, removable: %v; want 2, EBUSY", r.Data, b.Removable())
	}
	settle(b, 40, other, "ack")
	if booked != (objecttest.Book{}) {
		t.Errorf("booked %+v at the end; want nothing", booked)
	}
}

func TestWhatEndsALeaseReturnsItsMessageInOrder(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(b *Mailbox, h *objects.Handle)
	}{
		{"nack", func(b *Mailbox, h *objects.Handle) { settle(b, 1, h, "nack") }},
		{"close", func(b *Mailbox, h *objects.Handle) { closeHandle(b, h, false) }},
		{"death", func(b *Mailbox, h *objects.Handle) { b.Submit(1, &objects.Request{Op: objects.Release, Handle: h}) }},
		{"time", func(b *Mailbox, h *objects.Handle) { b.Expire(10) }},
	} {
		b := mailbox(t, "lease_time", "10ns")
		for _, text := range []string{"1", "2", "3"} {
			sendBy(b, writer(b), text)
		}
		first, second := leaseHandle(b), leaseHandle(b)
		leaseFor(b, 0, first)
		leaseFor(b, 0, second)
		c.end(b, second)
		if c.name != "time" {
			c.end(b, first)
		}
		for m := range b.Messages() {
			if want := uint32(1); m.Seq < 3 && m.Deliveries != want {
				t.Errorf("%s: message %d was delivered %d times; want %d", c.name, m.Seq, m.Deliveries, want)
			}
		}
		wantHeld(t, b, "1", "2", "3")
	}
}

func TestDeadLetterThatIsRefusedComesBack(t *testing.T) {
	to := mailbox(t, "capacity", "1")
	b := mailbox(t, "max_deliveries", "2", "dead_letters", "d")
	h := leaseHandle(b)
	sendBy(b, writer(b), "1")
	sendBy(b, writer(b), "2")
	for range 4 {
		leaseFor(b, 0, h)
		settle(b, 0, h, "nack")
		if name, any := b.DeadLetters(); any {
			if name != "d" {
				t.Errorf("forwards to %q; want d", name)
			}
			Forward(0, b, to)
		}
	}
	wantHeld(t, to, "1")
	wantHeld(t, b, "2")
}

func TestLeaseWithoutATimeNeverEnds(t *testing.T) {
	b := mailbox(t)
	h := &objects.Handle{Reads: true, Writes: true, ReadOp: objects.Lease, WriteOp: objects.Settle}
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
	sendBy(b, writer(b), "x")
	b.Submit(0, &objects.Request{Op: objects.Lease, Handle: h, Size: 10})
	if at := b.Deadline(); at != 0 {
		t.Errorf("the lease ends at %d; want never", at)
	}
}

func TestSecondLeaseThroughOneFileIsBusy(t *testing.T) {
	b := mailbox(t)
	h := &objects.Handle{Reads: true, ReadOp: objects.Lease}
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
	first, second := &objects.Request{Op: objects.Lease, Handle: h, Size: 9}, &objects.Request{Op: objects.Lease, Handle: h, Size: 9}
	b.Submit(0, first)
	b.Submit(0, second)
	s := send("x")
	objecttest.WantFinished(t, b.Submit(1, s), first, second, s)
	if string(first.Data) != "x" || second.Errno != syscall.EBUSY {
		t.Errorf("leases = %q, %v and %v; want x, and EBUSY", first.Data, first.Errno, second.Errno)
	}
}
