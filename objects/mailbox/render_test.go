package mailbox

import (
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

// envelopes makes an open handle whose messages the driver renders.
func envelopes(b objects.Object, op objects.Op) *objects.Handle {
	h := &objects.Handle{Reads: true, ReadOp: op, Own: &File{Envelopes: true}}
	openFor(b, objecttest.Bob, h)
	return h
}

func readsEnvelope(t *testing.T, b *Mailbox, h *objects.Handle, size int) *objects.Request {
	t.Helper()
	r := &objects.Request{Op: h.ReadOp, Handle: h, Size: size}
	b.Submit(1, r)
	if e, ok := r.Unrendered.(*Envelope); !ok || r.Data != nil {
		t.Fatalf("a read of an envelope has %q, and is to be made of %v", r.Data, e)
	}
	return r
}

// While a text is made, other reads of the file wait for its rest, also those that do not block.
func TestReadsOfAFileWaitForItsText(t *testing.T) {
	k := objecttest.NewBank(objects.Unbounded)
	b := New(k)
	h := envelopes(b, objects.Receive)
	sendFor(b, objecttest.Alice, 10)
	sendFor(b, objecttest.Alice, 20)
	r := readsEnvelope(t, b, h, 3)
	other := &objects.Request{Op: objects.Receive, Handle: h, Size: 100, Nonblock: true}
	if objecttest.WantFinished(t, b.Submit(2, other)); !other.Parked() {
		t.Fatal("a second read did not wait for the text")
	}
	if err := k.Balances(b); err != nil {
		t.Error(err)
	}
	objecttest.WantFinished(t, b.Rendered(3, r, []byte("an envelope")), r, other)
	if string(r.Data) != "an " || string(other.Data) != "envelope" || b.Held().Messages != 1 {
		t.Errorf("read %q and %q, %d messages held; want the text in parts and 1", r.Data, other.Data, b.Held().Messages)
	}
	if err := k.Balances(b); err != nil {
		t.Error(err)
	}
}

// What happens to the file, or to the mailbox, while a text is made leaves nothing behind.
func TestTextOfWhatHasGoneIsDeliveredAndNotKept(t *testing.T) {
	for name, happens := range map[string]func(b *Mailbox, h *objects.Handle){
		"closed":    func(b *Mailbox, h *objects.Handle) { b.Submit(2, &objects.Request{Op: objects.Close, Handle: h}) },
		"destroyed": func(b *Mailbox, h *objects.Handle) { b.Destroy(2) },
		"expired":   func(b *Mailbox, h *objects.Handle) { b.Expire(100) },
	} {
		for _, op := range []objects.Op{objects.Receive, objects.Peek, objects.Lease} {
			k := objecttest.NewBank(objects.Unbounded)
			b := New(k)
			b.SetPolicy(0, "lease_time", "50ns")
			b.SetPolicy(0, "ttl", "50ns")
			h := envelopes(b, op)
			sendFor(b, objecttest.Alice, 10)
			r := readsEnvelope(t, b, h, 3)
			happens(b, h)
			objecttest.WantFinished(t, b.Rendered(101, r, make([]byte, 5000)), r)
			if len(r.Data) != 3 || r.Errno != 0 {
				t.Errorf("%s %s: read %d bytes, %v; want 3", name, op, len(r.Data), r.Errno)
			}
			if err := k.Balances(b); err != nil {
				t.Errorf("%s %s: %v", name, op, err)
			}
			if op == objects.Lease && name == "expired" {
				if next := (&objects.Request{Op: op, Handle: h, Size: 3}); b.Submit(102, next).Empty() || next.Errno == 0 {
					t.Errorf("the rest of a message whose lease had ended was %q, %v", next.Data, next.Errno)
				}
			}
		}
	}
}

// A peek that waited gets the message that a receive of the same file gets in the same moment.
func TestTwoTextsForOneFile(t *testing.T) {
	b := New(objects.Unlimited)
	h := envelopes(b, objects.Receive)
	p, r := &objects.Request{Op: objects.Peek, Handle: h, Size: 2}, &objects.Request{Op: objects.Receive, Handle: h, Size: 2}
	b.Submit(1, p)
	b.Submit(1, r)
	s := sendFor(b, objecttest.Alice, 10)
	if p.Unrendered == nil || r.Unrendered == nil || s.Errno != 0 {
		t.Fatalf("to be made of %v and %v", p.Unrendered, r.Unrendered)
	}
	objecttest.WantFinished(t, b.Rendered(2, r, []byte("received")), r)
	objecttest.WantFinished(t, b.Rendered(2, p, []byte("peeked")), p)
	rest := &objects.Request{Op: objects.Receive, Handle: h, Size: 100}
	b.Submit(3, rest)
	if string(p.Data) != "pe" || string(r.Data) != "re" || string(rest.Data) != "ceived" {
		t.Errorf("read %q, %q and the rest %q", p.Data, r.Data, rest.Data)
	}
}
