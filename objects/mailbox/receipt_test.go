package mailbox

import (
	"fmt"
	"testing"

	"ipcfs/objects"
)

// receiptHandle makes an open handle that sends and gets receipts.
func receiptHandle(b objects.Object) *objects.Handle {
	h := &objects.Handle{Reads: true, Writes: true, ReadOp: objects.Receipt, WriteOp: objects.Send, EOF: true}
	FileOf(h).Receipts = true
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
	return h
}

// receiptLines renders receipts.
func receiptLines(what any) []byte {
	var text []byte
	for _, o := range what.([]Outcome) {
		text = fmt.Appendf(text, "%s %d %d\n", o.Fate, o.By.Pid, o.At)
	}
	return text
}

// renderReceipt does what a driver does with r if it has finished.
func renderReceipt(b *Mailbox, r *objects.Request) {
	if r.Unrendered != nil {
		what := r.Unrendered
		b.Rendered(0, r, receiptLines(what))
	}
}

func TestReceiptSaysWhatBecameOfTheMessage(t *testing.T) {
	const reader = 7
	take := func(b *Mailbox, op objects.Op, h *objects.Handle) {
		b.Submit(1, &objects.Request{Op: op, Handle: h, Size: 10, Caller: objects.Caller{Pid: reader}})
	}
	leaser := func(b *Mailbox) *objects.Handle {
		h := &objects.Handle{Reads: true, Writes: true, ReadOp: objects.Lease, WriteOp: objects.Settle}
		b.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
		take(b, objects.Lease, h)
		return h
	}
	settle := func(b *Mailbox, h *objects.Handle, verb string) {
		b.Submit(2, &objects.Request{Op: objects.Settle, Handle: h, Data: []byte(verb), Caller: objects.Caller{Pid: reader}})
	}
	for _, c := range []struct {
		name, want string
		policies   []string
		happens    func(b *Mailbox)
	}{
		{"received", "received 7 1\n", nil, func(b *Mailbox) { take(b, objects.Receive, &objects.Handle{Reads: true}) }},
		{"acknowledged", "received 7 2\n", nil, func(b *Mailbox) { settle(b, leaser(b), "ack") }},
		{"returned", "", nil, func(b *Mailbox) { settle(b, leaser(b), "nack") }},
		{"removed", "dropped 0 3\n", nil, func(b *Mailbox) { b.Discard(3, 1) }},
		{"flushed", "dropped 0 3\n", nil, func(b *Mailbox) { b.Submit(3, &objects.Request{Op: objects.Flush}) }},
		{"crowded out", "dropped 0 0\n", []string{"capacity", "1", "overflow", "drop-oldest"}, func(b *Mailbox) { b.Submit(0, send("y")) }},
		{"expired", "expired 0 9\n", []string{"ttl", "5ns"}, func(b *Mailbox) { b.Expire(9) }},
		{"moved", "moved 0 4\n", nil, func(b *Mailbox) { Transfer(4, b, New(objects.Unlimited), 1) }},
		{"a dead letter", "moved 0 5\n", []string{"max_deliveries", "1", "dead_letters", "d"}, func(b *Mailbox) {
			settle(b, leaser(b), "nack")
			Forward(5, b, New(objects.Unlimited))
		}},
	} {
		b := mailbox(t, c.policies...)
		h := receiptHandle(b)
		sendBy(b, h, "x")
		r := &objects.Request{Op: objects.Receipt, Handle: h, Size: 100}
		b.Submit(0, r)
		if !r.Parked() {
			t.Errorf("%s: a receipt came before", c.name)
		}
		c.happens(b)
		renderReceipt(b, r)
		if got := string(r.Data); got != c.want || r.Parked() != (c.want == "") {
			t.Errorf("%s: receipt %q, waits: %v; want %q", c.name, got, r.Parked(), c.want)
		}
		if c.want == "" {
			continue
		}
		for range 2 {
			if b.Submit(9, r); len(r.Data) > 0 || r.Parked() {
				t.Errorf("%s: a second receipt %q, waits: %v; want the end of file", c.name, r.Data, r.Parked())
			}
		}
	}
}

func TestReceiptOfABroadcastListsEveryReceiver(t *testing.T) {
	b := mailbox(t, "receivers", "broadcast")
	first, second, third := reader(b), reader(b), reader(b)
	h := receiptHandle(b)
	sendBy(b, h, "x")
	r := &objects.Request{Op: objects.Receipt, Handle: h, Size: 100}
	b.Submit(0, r)
	b.Submit(1, &objects.Request{Op: objects.Receive, Handle: second, Size: 1, Caller: objects.Caller{Pid: 2}})
	b.Submit(2, &objects.Request{Op: objects.Receive, Handle: first, Size: 1, Caller: objects.Caller{Pid: 1}})
	if !r.Parked() {
		t.Fatal("the receipt came before the last had the message")
	}
	closeHandle(b, third, false)
	renderReceipt(b, r)
	if want := "received 2 1\nreceived 1 2\n"; string(r.Data) != want {
		t.Errorf("receipt %q; want %q", r.Data, want)
	}
}
