package mailbox

import (
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

func TestSpansReadAsTheyAreWritten(t *testing.T) {
	for s, want := range map[string]string{
		"1ns": "1ns", "1000us": "1ms", "90s": "90s", "120s": "2m", "24h": "1d", "36h": "36h", "max": "max", "106751d": "106751d",
	} {
		if span, ok := objects.ParseSpan(s); !ok || objects.FormatSpan(span) != want {
			t.Errorf("%s = %d, %v, which is written otherwise; want %s", s, span, ok, want)
		}
	}
	for _, s := range []string{"", "0", "0s", "5", "-1s", "+1s", "1.5s", "1 s", "s", "1sm", "1w", "106752d", "99999999999999999999s", "unbounded"} {
		if span, ok := objects.ParseSpan(s); ok {
			t.Errorf("%q = %d; want an error", s, span)
		}
	}
}

func TestMessageExpiresWhenItsTimeHasCome(t *testing.T) {
	b := mailbox(t, "ttl", "10ns", "capacity", "1")
	b.Submit(5, send("x"))
	waiting := send("y")
	b.Submit(7, waiting)
	if b.Deadline() != 15 {
		t.Fatalf("deadline %d; want 15", b.Deadline())
	}
	objecttest.WantFinished(t, b.Expire(14))
	objecttest.WantFinished(t, b.Expire(15), waiting)
	// The driver's timer may be late: what has expired is not delivered.
	r := receive(reader(b))
	r.Nonblock = true
	objecttest.WantFinished(t, b.Submit(25, r), r)
	if string(r.Data) != "" || b.Held().Messages != 0 || b.Deadline() != 0 {
		t.Errorf("received %q, %d held, deadline %d; want nothing, 0, 0", r.Data, b.Held().Messages, b.Deadline())
	}
}

func TestDeadlineCostsWhatExpires(t *testing.T) {
	const held = 100_000
	b := mailbox(t, "ttl", "1s", "capacity", "max")
	for i := range held {
		b.Submit(objects.Time(i), send("x"))
	}
	looks := 0
	place := b.held.ages.place
	b.held.ages.place = func(m *Message) *int32 { looks++; return place(m) }
	const each = 100
	for i := range each {
		at := objects.Time(1e9) + objects.Time(i)
		if b.Deadline() != at {
			t.Fatalf("deadline %d; want %d", b.Deadline(), at)
		}
		b.Expire(at)
	}
	if n := b.Held().Messages; n != held-each {
		t.Errorf("%d messages held after %d expired; want %d", n, each, held-each)
	}
	// A heap of 100,000 is 17 deep.
	if looks > each*2*17 {
		t.Errorf("%d messages expired with a look at %d; want at most %d", each, looks, each*2*17)
	}
	// What is taken, put in order, flushed and sent again expires in time all the same.
	b.SetPolicy(2e9-1, "order", "priority")
	b.Submit(2e9, &objects.Request{Op: objects.Flush})
	b.Submit(3e9, send("y"))
	if err := b.Check(); err != nil || b.Deadline() != 4e9 {
		t.Errorf("deadline %d, %v; want 4s", b.Deadline(), err)
	}
}

func TestLeasesEndByTheirTime(t *testing.T) {
	b := mailbox(t, "lease_time", "10ns")
	var open []*objects.Handle
	for i := range 20 {
		b.Submit(0, send("x"))
		h := &objects.Handle{Reads: true, Writes: true, ReadOp: objects.Lease, WriteOp: objects.Settle}
		b.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
		b.Submit(objects.Time(20-i), &objects.Request{Op: objects.Lease, Handle: h, Size: 10, Nonblock: true})
		open = append(open, h)
	}
	for i := range 20 {
		if want := objects.Time(11 + i); b.Deadline() != want {
			t.Fatalf("deadline %d; want %d", b.Deadline(), want)
		}
		b.Expire(objects.Time(11 + i))
		if err := b.Check(); err != nil || FileOf(open[19-i]).leased != nil || b.Held().Messages != int64(i+1) {
			t.Fatalf("after the end of lease %d: %v, %d back", i, err, b.Held().Messages)
		}
	}
}
