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
