package objects

import "testing"

func TestSpansReadAsTheyAreWritten(t *testing.T) {
	for s, want := range map[string]string{
		"1ns": "1ns", "1000us": "1ms", "90s": "90s", "120s": "2m", "24h": "1d", "36h": "36h", "max": "max", "106751d": "106751d",
	} {
		if span, ok := ParseSpan(s); !ok || FormatSpan(span) != want {
			t.Errorf("%s = %d, %v, which is written otherwise; want %s", s, span, ok, want)
		}
	}
	for _, s := range []string{"", "0", "0s", "5", "-1s", "+1s", "1.5s", "1 s", "s", "1sm", "1w", "106752d", "99999999999999999999s", "unbounded"} {
		if span, ok := ParseSpan(s); ok {
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
	wantFinished(t, b.Expire(14))
	wantFinished(t, b.Expire(15), waiting)
	// The driver's timer may be late: what has expired is not delivered.
	r := receive(reader(b))
	r.Nonblock = true
	wantFinished(t, b.Submit(25, r), r)
	if string(r.Data) != "" || b.Held().Messages != 0 || b.Deadline() != 0 {
		t.Errorf("received %q, %d held, deadline %d; want nothing, 0, 0", r.Data, b.Held().Messages, b.Deadline())
	}
}
