package mailbox

import (
	"slices"
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

func TestReceiversDecideWhoMayOpen(t *testing.T) {
	const process, other, third = 1, 2, 3
	receives := func(p uint32) *objects.Handle {
		return &objects.Handle{Reads: true, ReadOp: objects.Receive, Process: p}
	}
	leases := func(p uint32) *objects.Handle {
		return &objects.Handle{Reads: true, Writes: true, ReadOp: objects.Lease, WriteOp: objects.Settle, Process: p}
	}
	sends := func(p uint32) *objects.Handle {
		return &objects.Handle{Writes: true, WriteOp: objects.Send, Process: p}
	}
	peeks := func(p uint32) *objects.Handle { return &objects.Handle{Reads: true, ReadOp: objects.Peek, Process: p} }
	for _, c := range []struct {
		receivers string
		open      []*objects.Handle // the last is the question
		want      syscall.Errno
	}{
		{"any", []*objects.Handle{receives(process), receives(other)}, 0},
		{"single", []*objects.Handle{receives(process), receives(process)}, 0},
		{"single", []*objects.Handle{receives(process), receives(other)}, syscall.EBUSY},
		{"single", []*objects.Handle{receives(process), leases(other)}, syscall.EBUSY},
		{"single", []*objects.Handle{receives(0), receives(0)}, syscall.EBUSY},
		{"single", []*objects.Handle{receives(process), sends(other), peeks(third)}, 0},
		{"pair", []*objects.Handle{receives(process), sends(other), sends(process)}, 0},
		{"pair", []*objects.Handle{receives(process), sends(other), sends(third)}, syscall.EBUSY},
		{"pair", []*objects.Handle{receives(process), sends(other), peeks(third)}, 0},
		{"broadcast", []*objects.Handle{receives(process), receives(other)}, 0},
		{"broadcast", []*objects.Handle{leases(process)}, syscall.EOPNOTSUPP},
	} {
		b := mailbox(t, "receivers", c.receivers)
		var r objects.Request
		for _, h := range c.open {
			r = objects.Request{Op: objects.Open, Handle: h}
			b.Submit(0, &r)
		}
		if r.Errno != c.want {
			t.Errorf("%s: open number %d = %v; want %v", c.receivers, len(c.open), r.Errno, c.want)
		}
	}
	b := mailbox(t)
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: leases(process)})
	if _, errno := b.SetPolicy(0, "receivers", "broadcast"); errno != syscall.EBUSY {
		t.Errorf("broadcast with a file for leases open = %v; want EBUSY", errno)
	}
}

func TestBroadcastReachesEveryoneWhoWasThere(t *testing.T) {
	var booked objecttest.Book
	b := New(&booked)
	b.SetPolicy(0, "receivers", "broadcast")
	first, second := reader(b), reader(b)
	topic := &objects.Handle{Reads: true, Own: &File{Filter: &Selector{By: ByTopic, Topic: "t"}}}
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: topic})
	sendBy(b, writer(b), "1")
	late := reader(b)
	sendBy(b, writer(b), "2")
	for _, c := range []struct {
		h    *objects.Handle
		want []string
	}{{first, []string{"1", "2"}}, {late, []string{"2"}}, {topic, nil}, {second, []string{"1", "2"}}} {
		var got []string
		for {
			r := receive(c.h)
			r.Nonblock = true
			if b.Submit(0, r); r.Errno != 0 {
				break
			}
			got = append(got, string(r.Data))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("received %q; want %q", got, c.want)
		}
	}
	if booked != (objecttest.Book{}) || b.held.n != 0 {
		t.Errorf("booked %+v, %d held at the end; want nothing", booked, b.held.n)
	}
}

func TestBroadcastThatNobodyGotIsDropped(t *testing.T) {
	for _, capacity := range []string{"0", "1"} {
		b := mailbox(t, "capacity", capacity, "receivers", "broadcast")
		h := reader(b)
		s := sendBy(b, writer(b), "x")
		closeHandle(b, h, false)
		if s.Parked() || b.sent != 1 || b.dropped != 1 || b.held.n != 0 {
			t.Errorf("capacity %s: %d sent, %d dropped, %d held; want 1, 1, 0", capacity, b.sent, b.dropped, b.held.n)
		}
	}
}

func TestBroadcastIsNotForWhoeverComesFirst(t *testing.T) {
	b := mailbox(t, "capacity", "0", "receivers", "broadcast")
	first, second := reader(b), reader(b)
	w := writer(b)
	sendBy(b, w, "1")
	sendBy(b, w, "2")
	for _, want := range []string{"1", ""} { // 2 is offered when everyone has 1
		r := receive(first)
		r.Nonblock = true
		b.Submit(0, r)
		if string(r.Data) != want {
			t.Errorf("received %q; want %q", r.Data, want)
		}
	}
	for _, want := range []string{"1", "2"} {
		r := receive(second)
		b.Submit(0, r)
		if string(r.Data) != want {
			t.Errorf("received %q; want %q", r.Data, want)
		}
	}
}

// One subscriber is slow, so that its sender waits and two others behind it, and two
// subscribers wait for the next message. When receivers is any, each of them gets one.
func TestReceiversOfAnEndedBroadcastMeetEverySender(t *testing.T) {
	b := mailbox(t, "receivers", "broadcast", "capacity", "0")
	subscriber := func() *objects.Handle {
		h := &objects.Handle{Reads: true, ReadOp: objects.Receive}
		b.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
		return h
	}
	slow, x, y := subscriber(), subscriber(), subscriber()
	senders := []*objects.Request{send("1"), send("2"), send("3")}
	for _, s := range senders {
		b.Submit(0, s)
	}
	waiting := []*objects.Request{receive(x), receive(y)}
	for i, h := range []*objects.Handle{x, y} {
		b.Submit(0, receive(h))
		b.Submit(0, waiting[i])
	}
	done, errno := b.SetPolicy(0, "receivers", "any")
	if errno != 0 {
		t.Fatal(errno)
	}
	objecttest.WantFinished(t, done, waiting[0], senders[1], waiting[1], senders[2])
	if got := string(waiting[0].Data) + string(waiting[1].Data); got != "23" {
		t.Errorf("received %q; want 23", got)
	}
	last := receive(slow)
	objecttest.WantFinished(t, b.Submit(0, last), last, senders[0])
	if err := b.Check(); err != nil {
		t.Error(err)
	}
}
