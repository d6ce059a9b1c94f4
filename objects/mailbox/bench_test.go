package mailbox

import (
	"testing"

	"ipcfs/objects"
)

// benchmarkMailbox is an empty mailbox, open to send and to receive.
func benchmarkMailbox(b *testing.B, policies ...string) (o *Mailbox, sender, receiver *objects.Handle) {
	b.Helper()
	o = New(objects.Unlimited)
	for i := 0; i < len(policies); i += 2 {
		if _, errno := o.SetPolicy(0, policies[i], policies[i+1]); errno != 0 {
			b.Fatalf("%s %s: %v", policies[i], policies[i+1], errno)
		}
	}
	sender, receiver = &objects.Handle{Writes: true, WriteOp: objects.Send}, &objects.Handle{Reads: true, ReadOp: objects.Receive}
	o.Submit(0, &objects.Request{Op: objects.Open, Handle: sender})
	o.Submit(0, &objects.Request{Op: objects.Open, Handle: receiver})
	b.ReportAllocs()
	return o, sender, receiver
}

// BenchmarkSendThenReceive is a message of 64 bytes that is held.
func BenchmarkSendThenReceive(b *testing.B) {
	o, sender, receiver := benchmarkMailbox(b)
	data := make([]byte, 64)
	var s, r objects.Request
	for b.Loop() {
		s = objects.Request{Own: s.Own, Op: objects.Send, Handle: sender, Data: data}
		o.Submit(0, &s)
		r = objects.Request{Own: r.Own, Op: objects.Receive, Handle: receiver, Size: 4096}
		o.Submit(0, &r)
	}
}

// BenchmarkReceiveThenSend is a message of 64 bytes that is handed to who waits.
func BenchmarkReceiveThenSend(b *testing.B) {
	o, sender, receiver := benchmarkMailbox(b)
	data := make([]byte, 64)
	var s, r objects.Request
	for b.Loop() {
		r = objects.Request{Own: r.Own, Op: objects.Receive, Handle: receiver, Size: 4096}
		o.Submit(0, &r)
		s = objects.Request{Own: s.Own, Op: objects.Send, Handle: sender, Data: data}
		o.Submit(0, &s)
	}
}

// BenchmarkRendezvous is a message of 64 bytes whose sender waits.
func BenchmarkRendezvous(b *testing.B) {
	o, sender, receiver := benchmarkMailbox(b, "capacity", "0")
	data := make([]byte, 64)
	var s, r objects.Request
	for b.Loop() {
		s = objects.Request{Own: s.Own, Op: objects.Send, Handle: sender, Data: data}
		o.Submit(0, &s)
		r = objects.Request{Own: r.Own, Op: objects.Receive, Handle: receiver, Size: 4096}
		o.Submit(0, &r)
	}
}

// BenchmarkDropOldest is a message of 64 bytes for which another is dropped.
func BenchmarkDropOldest(b *testing.B) {
	o, sender, _ := benchmarkMailbox(b, "capacity", "8", "overflow", "drop-oldest")
	data := make([]byte, 64)
	var s objects.Request
	for b.Loop() {
		s = objects.Request{Own: s.Own, Op: objects.Send, Handle: sender, Data: data}
		o.Submit(0, &s)
	}
}

// BenchmarkBroadcast is a message of 64 bytes that is held for ten.
func BenchmarkBroadcast(b *testing.B) {
	o, sender, receiver := benchmarkMailbox(b, "receivers", "broadcast")
	handles := []*objects.Handle{receiver}
	for range 9 {
		h := &objects.Handle{Reads: true, ReadOp: objects.Receive}
		o.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
		handles = append(handles, h)
	}
	data := make([]byte, 64)
	var s, r objects.Request
	for b.Loop() {
		s = objects.Request{Own: s.Own, Op: objects.Send, Handle: sender, Data: data}
		o.Submit(0, &s)
		for _, h := range handles {
			r = objects.Request{Own: r.Own, Op: objects.Receive, Handle: h, Size: 4096}
			o.Submit(0, &r)
		}
	}
}

// BenchmarkLeaseAmongWaiters is a lease that one of 10,000 workers gets who wait.
func BenchmarkLeaseAmongWaiters(b *testing.B) {
	o, sender, _ := benchmarkMailbox(b)
	for range 10_000 {
		h := &objects.Handle{Reads: true, Writes: true, ReadOp: objects.Lease, WriteOp: objects.Settle}
		o.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
		o.Submit(0, &objects.Request{Op: objects.Lease, Handle: h, Size: 4096})
	}
	data := make([]byte, 64)
	var s objects.Request
	for b.Loop() {
		s = objects.Request{Own: s.Own, Op: objects.Send, Handle: sender, Data: data}
		done := o.Submit(0, &s)
		h := done.Next().Handle
		o.Submit(0, &objects.Request{Op: objects.Settle, Handle: h, Data: []byte("ack")})
		o.Submit(0, &objects.Request{Op: objects.Lease, Handle: h, Size: 4096})
	}
}
