package mailbox

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"ipcfs/objects"
)

func TestMessageTakesNoMoreThanItsSizeClass(t *testing.T) {
	// runtime/sizeclasses.go: 192 is a size class, 193 bytes take 208.
	if n := unsafe.Sizeof(Message{}); n > 192 {
		t.Errorf("a message takes %d bytes; want 192 at most", n)
	}
}

func randomSelector(rng *rand.Rand) *Selector {
	switch rng.IntN(5) {
	case 0:
		return &Selector{By: ByPriority, Priority: uint8(rng.IntN(3))}
	case 1:
		return &Selector{By: ByTopic, Topic: []string{"", "a", "b", "c"}[rng.IntN(4)]}
	case 2:
		return &Selector{By: BySender, Sender: uint32(rng.IntN(4))}
	case 3:
		return &Selector{By: ByUrgency}
	}
	return nil
}

// TestIndexFindsWhatAWalkFinds sends and receives at random with far more messages, or
// receivers, than a walk passes by.
func TestIndexFindsWhatAWalkFinds(t *testing.T) {
	var lists, queues int
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		b := mailbox(t, "capacity", "max", "order", []string{"fifo", "priority"}[seed%2])
		for step := range 600 {
			label := randomSelector(rng)
			if seed%3 == 0 && rng.IntN(50) > 0 { // of which most wait for long
				label = &Selector{By: ByTopic, Topic: fmt.Sprint(rng.IntN(400))}
			}
			s := send(fmt.Sprint(step))
			FileOf(s.Handle).Filter, s.Caller.Uid = label, uint32(rng.IntN(4))
			switch rng.IntN(8) {
			case 0, 1:
				r := receive(&objects.Handle{Reads: true, ReadOp: objects.Receive, Own: &File{Filter: label}})
				b.Submit(0, r)
			case 2:
				r := receive(&objects.Handle{Reads: true, ReadOp: objects.Peek, Own: &File{Filter: label}})
				r.Op = objects.Peek
				b.Submit(0, r)
			case 3:
				if r := b.receivers.Last(); r != nil && rng.IntN(4) == 0 {
					b.Cancel(0, r, 4)
				}
			case 4:
				if rng.IntN(40) == 0 {
					b.SetPolicy(0, "order", []string{"fifo", "priority"}[rng.IntN(2)])
				}
			default:
				if seed%3 != 0 || rng.IntN(4) == 0 { // else receivers pile up
					b.Submit(0, s)
				}
			}
			only := randomSelector(rng)
			want := b.held.First()
			for want != nil && !only.admits(want) {
				want = want.Next()
			}
			if got := b.held.find(only); got != want {
				t.Fatalf("seed %d step %d: find = %v; want %v", seed, step, got, want)
			}
			m := compose(s, s.Data)
			for _, q := range []*line{&b.receivers, &b.peekers} {
				first := q.First()
				for first != nil && !FileOf(first.Handle).Filter.admits(m) {
					first = first.Next()
				}
				if got := q.firstFor(m); got != first {
					t.Fatalf("seed %d step %d: firstFor = %v; want %v", seed, step, got, first)
				}
			}
			if b.held.index != nil {
				lists++
			}
			if b.receivers.index != nil || b.peekers.index != nil {
				queues++
			}
			if step%20 == 0 {
				if err := b.Check(); err != nil {
					t.Fatalf("seed %d step %d: %v", seed, step, err)
				}
			}
		}
		b.Submit(0, &objects.Request{Op: objects.Flush})
		for _, r := range []*line{&b.receivers, &b.peekers} {
			for r.First() != nil {
				b.Cancel(0, r.First(), 4)
			}
			if r.index != nil {
				t.Errorf("seed %d: an empty queue has an index", seed)
			}
		}
		if b.held.index != nil {
			t.Errorf("seed %d: an empty mailbox has an index", seed)
		}
	}
	if lists < 1000 || queues < 1000 {
		t.Errorf("%d steps have had an index of messages and %d one of waiters; want 1000", lists, queues)
	}
}

// BenchmarkSelectiveReceive takes a message of one topic from behind 60,000 of another.
// TestOffersAreFoundAsAWalkFindsThem has far more senders wait than a walk passes by.
func TestOffersAreFoundAsAWalkFindsThem(t *testing.T) {
	indexed, found := 0, 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 3))
		b := mailbox(t, "capacity", []string{"0", "3"}[seed%2], "order", []string{"fifo", "priority"}[seed/2%2], "framing", []string{"write", "line"}[seed/4%2])
		for step := range 400 {
			label := randomSelector(rng)
			for label != nil && label.By == ByUrgency {
				label = randomSelector(rng)
			}
			switch rng.IntN(12) {
			case 0:
				b.Submit(0, &objects.Request{Op: objects.Receive, Handle: &objects.Handle{Reads: true, ReadOp: objects.Receive, Own: &File{Filter: label}}, Size: 9, Nonblock: true})
			case 1:
				s := b.senders.First()
				for range rng.IntN(40) {
					if s != nil {
						s = s.Next()
					}
				}
				if s != nil {
					b.Cancel(0, s, 4)
				}
			case 2:
				if rng.IntN(20) == 0 {
					b.SetPolicy(0, "order", []string{"fifo", "priority"}[rng.IntN(2)])
				}
				if rng.IntN(90) == 0 {
					b.SetPolicy(0, "overflow", "fail")
					b.SetPolicy(0, "overflow", "block")
				}
			default:
				s := send([]string{"x\n", "x\ny\nz\n", "y\n"}[rng.IntN(3)])
				FileOf(s.Handle).Filter, s.Caller.Uid = label, uint32(rng.IntN(4))
				b.Submit(0, s)
			}
			only := randomSelector(rng)
			var want *objects.Request
			for s := b.senders.First(); s != nil; s = s.Next() {
				if m := of(s).message; only.admits(m) && (want == nil || b.order.rank(m) > b.order.rank(of(want).message)) {
					want = s
				}
			}
			if got := b.senders.first(only, b.order); got != want {
				t.Fatalf("seed %d step %d: for %+v the sender %v; want %v", seed, step, only, got, want)
			}
			if b.senders.index != nil {
				if indexed++; want != nil {
					found++
				}
			}
			if step%20 == 0 {
				if err := b.Check(); err != nil {
					t.Fatalf("seed %d step %d: %v", seed, step, err)
				}
			}
		}
		if b.Destroy(0); b.senders.index != nil {
			t.Errorf("seed %d: an empty queue has an index", seed)
		}
	}
	if indexed < 1000 || found < 500 {
		t.Errorf("an index was made in %d steps and found something in %d of them; the test tests little", indexed, found)
	}
}

func BenchmarkSelectiveReceive(b *testing.B) {
	o, sender, _ := benchmarkMailbox(b, "capacity", "max")
	data := make([]byte, 64)
	for range 60_000 {
		o.Submit(0, &objects.Request{Op: objects.Send, Handle: sender, Data: data})
	}
	topic := &Selector{By: ByTopic, Topic: "x"}
	labelled, selective := &objects.Handle{Writes: true, WriteOp: objects.Send, Own: &File{Filter: topic}}, &objects.Handle{Reads: true, ReadOp: objects.Receive, Own: &File{Filter: topic}}
	o.Submit(0, &objects.Request{Op: objects.Open, Handle: labelled})
	o.Submit(0, &objects.Request{Op: objects.Open, Handle: selective})
	var s, r objects.Request
	for b.Loop() {
		s = objects.Request{Op: objects.Send, Handle: labelled, Data: data}
		o.Submit(0, &s)
		r = objects.Request{Op: objects.Receive, Handle: selective, Size: 4096}
		o.Submit(0, &r)
	}
}

// BenchmarkSendBesideSelectiveReceivers sends what the last of 10,000 receivers selects.
func BenchmarkSendBesideSelectiveReceivers(b *testing.B) {
	o, _, _ := benchmarkMailbox(b)
	for i := range 10_000 {
		h := &objects.Handle{Reads: true, ReadOp: objects.Receive, Own: &File{Filter: &Selector{By: ByTopic, Topic: fmt.Sprint(i)}}}
		o.Submit(0, &objects.Request{Op: objects.Receive, Handle: h, Size: 4096})
	}
	topic := &Selector{By: ByTopic, Topic: "x"}
	labelled, selective := &objects.Handle{Writes: true, WriteOp: objects.Send, Own: &File{Filter: topic}}, &objects.Handle{Reads: true, ReadOp: objects.Receive, Own: &File{Filter: topic}}
	data := make([]byte, 64)
	var s, r objects.Request
	for b.Loop() {
		r = objects.Request{Op: objects.Receive, Handle: selective, Size: 4096}
		o.Submit(0, &r)
		s = objects.Request{Op: objects.Send, Handle: labelled, Data: data}
		o.Submit(0, &s)
	}
}

// BenchmarkReceiveFromOneOfManySenders selects a message of which 10,000 senders offer others.
func BenchmarkReceiveFromOneOfManySenders(b *testing.B) {
	o, _, _ := benchmarkMailbox(b, "capacity", "0")
	for i := range 10_000 {
		h := &objects.Handle{Writes: true, WriteOp: objects.Send, Own: &File{Filter: &Selector{By: ByTopic, Topic: fmt.Sprint(i)}}}
		o.Submit(0, &objects.Request{Op: objects.Send, Handle: h, Data: []byte("x")})
	}
	topic := &Selector{By: ByTopic, Topic: "wanted"}
	labelled := &objects.Handle{Writes: true, WriteOp: objects.Send, Own: &File{Filter: topic}}
	selective := &objects.Handle{Reads: true, ReadOp: objects.Receive, Own: &File{Filter: topic}}
	for b.Loop() {
		o.Submit(0, &objects.Request{Op: objects.Send, Handle: labelled, Data: []byte("x")})
		o.Submit(0, &objects.Request{Op: objects.Receive, Handle: selective, Size: 9})
	}
}
