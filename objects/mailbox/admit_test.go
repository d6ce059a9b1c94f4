package mailbox

import (
	"reflect"
	"strings"
	"testing"

	"ipcfs/objects"
)

// TestAdmitDecides tells for each situation what becomes of "m", 1 byte, sent to a mailbox
// of two messages and four bytes.
func TestAdmitDecides(t *testing.T) {
	urgent := &Selector{By: ByUrgency}
	topic := func(name string) *Selector { return &Selector{By: ByTopic, Topic: name} }
	for _, c := range []struct {
		name     string
		policies string // separated by blanks
		held     string // messages, separated by blanks; one that begins with ! is urgent
		waits    []*Selector
		opens    []*Selector // receivers that do not wait
		only     *Selector   // of m
		arrival  arrival     // m may be longer
		want     decision    // the receiver is told by its index in waits, from 1, in evict of handOver
	}{
		{name: "there is room", held: "a", want: decision{verdict: hold}},
		{name: "there is none", held: "a b", want: decision{verdict: wait}},
		{name: "there is not enough", held: "abc", arrival: arrival{bytes: 2}, want: decision{verdict: wait}},
		{name: "there is just enough", held: "abc", want: decision{verdict: hold}},
		{name: "others are ahead", arrival: arrival{ahead: true}, want: decision{verdict: wait}},
		{name: "a receiver waits", held: "", waits: []*Selector{nil, nil}, want: decision{verdict: handOver, evict: 1}},
		{name: "the second receiver is the first for it", waits: []*Selector{topic("x"), nil}, want: decision{verdict: handOver, evict: 2}},
		{name: "no receiver is for it", policies: "capacity 0", waits: []*Selector{topic("x")}, want: decision{verdict: wait}},
		{name: "a receiver waits and others are ahead", waits: []*Selector{nil}, arrival: arrival{ahead: true}, want: decision{verdict: handOver, evict: 1}},
		{name: "urgent needs no room", held: "a b", only: urgent, want: decision{verdict: hold}},
		{name: "urgent does not wait behind others", held: "a b", only: urgent, arrival: arrival{ahead: true}, want: decision{verdict: hold}},
		{name: "urgent from elsewhere needs room", held: "a b", only: urgent, arrival: arrival{carried: true}, want: decision{verdict: wait}},
		{name: "urgent from elsewhere waits behind others", only: urgent, arrival: arrival{carried: true, ahead: true}, want: decision{verdict: wait}},
		{name: "overflow fail", policies: "overflow fail", held: "a b", want: decision{verdict: refuse}},
		{name: "overflow fail with room", policies: "overflow fail", held: "a", want: decision{verdict: hold}},
		{name: "overflow drop-newest", policies: "overflow drop-newest", held: "a b", want: decision{verdict: discard}},
		{name: "overflow drop-oldest", policies: "overflow drop-oldest", held: "a b", want: decision{verdict: hold, evict: 1}},
		{name: "as many as it takes", policies: "overflow drop-oldest", held: "a bcd", arrival: arrival{bytes: 3}, want: decision{verdict: hold, evict: 2}},
		{name: "urgent ones are not dropped", policies: "overflow drop-oldest", held: "!a !b", want: decision{verdict: discard}},
		{name: "what does not fit when all have gone", policies: "overflow drop-oldest", held: "!a !b c", want: decision{verdict: discard, evict: 1}},
		{name: "drop-oldest without a buffer", policies: "capacity 0 overflow drop-oldest", want: decision{verdict: discard}},
		{name: "a broadcast for nobody", policies: "receivers broadcast", want: decision{verdict: discard}},
		{name: "a broadcast for nobody who may have it", policies: "receivers broadcast", opens: []*Selector{topic("x")}, want: decision{verdict: discard}},
		{name: "a broadcast for nobody behind others", policies: "receivers broadcast", arrival: arrival{ahead: true}, want: decision{verdict: wait}},
		{name: "a broadcast for somebody", policies: "receivers broadcast", opens: []*Selector{nil}, want: decision{verdict: hold}},
		{name: "a broadcast that somebody awaits, with a buffer", policies: "receivers broadcast", waits: []*Selector{nil}, want: decision{verdict: hold}},
		{name: "a broadcast that all await, without a buffer", policies: "capacity 0 receivers broadcast", waits: []*Selector{nil, nil}, opens: []*Selector{topic("x")}, want: decision{verdict: handOver}},
		{name: "a broadcast that one awaits of two, without a buffer", policies: "capacity 0 receivers broadcast", waits: []*Selector{nil}, opens: []*Selector{nil}, want: decision{verdict: wait}},
		{name: "a beginning", policies: "framing line", held: "a", arrival: arrival{begins: true}, want: decision{verdict: hold}},
		{name: "a beginning without room", policies: "framing line", held: "a b", arrival: arrival{begins: true}, want: decision{verdict: wait}},
		{name: "a beginning behind others", policies: "framing line", arrival: arrival{begins: true, ahead: true}, want: decision{verdict: wait}},
		{name: "an urgent beginning", policies: "framing line", held: "a b", only: urgent, arrival: arrival{begins: true, ahead: true}, want: decision{verdict: hold}},
		{name: "a beginning that fails", policies: "framing line overflow fail", held: "a b", arrival: arrival{begins: true}, want: decision{verdict: refuse}},
		{name: "a beginning for which others are dropped", policies: "framing line overflow drop-oldest", held: "a b", arrival: arrival{begins: true}, want: decision{verdict: hold}},
		{name: "a beginning for who waits", policies: "framing line capacity 0", waits: []*Selector{nil}, arrival: arrival{begins: true}, want: decision{verdict: hold}},
		{name: "a beginning for nobody", policies: "framing line capacity 0 receivers broadcast", arrival: arrival{begins: true}, want: decision{verdict: hold}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := mailbox(t)
			for _, text := range strings.Fields(c.held) {
				s := send(strings.TrimPrefix(text, "!"))
				if strings.HasPrefix(text, "!") {
					s.Handle = &objects.Handle{Own: &File{Filter: urgent}}
				}
				b.Submit(0, s)
			}
			policies := append([]string{"capacity", "2", "capacity_bytes", "4"}, strings.Fields(c.policies)...)
			for i := 0; i < len(policies); i += 2 {
				b.SetPolicy(0, policies[i], policies[i+1])
			}
			var parked []*objects.Request
			open := func(only *Selector) *objects.Handle {
				h := &objects.Handle{Reads: true, ReadOp: objects.Receive, Own: &File{Filter: only}}
				b.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
				return h
			}
			for _, only := range c.opens {
				open(only)
			}
			for _, only := range c.waits {
				r := &objects.Request{Op: objects.Receive, Handle: open(only), Size: 9}
				b.Submit(0, r)
				parked = append(parked, r)
			}
			a := c.arrival
			a.m = compose(&objects.Request{Handle: &objects.Handle{Own: &File{Filter: c.only}}}, []byte("m"))
			a.bytes = max(a.bytes, 1)
			want := c.want
			if want.verdict == handOver && want.evict > 0 {
				want = decision{verdict: handOver, receiver: parked[want.evict-1]}
			}
			before := b.Stat()
			if got := b.admit(a); got != want {
				t.Errorf("admit = %+v; want %+v", got, want)
			}
			if err := b.Check(); err != nil || !reflect.DeepEqual(b.Stat(), before) {
				t.Errorf("admit has changed something: %v", err)
			}
		})
	}
}

// A transfer to a mailbox where others wait to send is one that would have to wait, even if
// nobody subscribes to what it sends.
func TestTransferWaitsInLineForNobody(t *testing.T) {
	to := mailbox(t, "receivers", "broadcast", "capacity", "1")
	h := &objects.Handle{Reads: true, ReadOp: objects.Receive, Own: &File{Filter: &Selector{By: ByTopic, Topic: "x"}}}
	to.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
	for range 2 {
		s := send("x")
		s.Handle = &objects.Handle{Own: &File{Filter: FileOf(h).Filter}}
		to.Submit(0, s)
	}
	from := mailbox(t)
	from.Submit(0, send("y"))
	if _, _, errno := Transfer(0, from, to, 1); errno == 0 || from.Message(1) == nil {
		t.Errorf("Transfer past a sender who waits = %v; want EAGAIN, and nothing moved", errno)
	}
}
