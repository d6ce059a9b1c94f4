package objects

import "testing"

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
