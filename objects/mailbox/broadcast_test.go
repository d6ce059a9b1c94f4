package mailbox

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"ipcfs/objects"
)

// TestBroadcastReachesEveryReceiverInOrder sends numbers to receivers that read now and
// then, with every buffering.
func TestBroadcastReachesEveryReceiverInOrder(t *testing.T) {
	type receiver struct {
		handle *objects.Handle
		parked *objects.Request
		offset int64
		last   int
	}
	for seed := range uint64(1000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		b := mailbox(t, "receivers", "broadcast", "capacity", []string{"0", "1", "2", "max"}[seed%4])
		sender := &objects.Handle{Writes: true, WriteOp: objects.Send}
		b.Submit(0, &objects.Request{Op: objects.Open, Handle: sender})
		var receivers [4]receiver
		for i := range receivers {
			receivers[i].handle = &objects.Handle{Reads: true, ReadOp: objects.Receive, Seekable: rng.IntN(2) == 0}
			b.Submit(0, &objects.Request{Op: objects.Open, Handle: receivers[i].handle})
		}
		buf := make([]byte, 8) // reused, as the driver's is
		finish := func(done objects.Finished) {
			for r := range done.All() {
				if c, ok := r.Tag.(*receiver); ok {
					c.last++
					if string(r.Data) != strconv.Itoa(c.last) {
						t.Fatalf("seed %d: a receiver got %q; want %d", seed, r.Data, c.last)
					}
					c.parked = nil
					c.offset += int64(len(r.Data))
				}
			}
			clear(buf)
		}
		sent := 0
		for range 200 {
			if rng.IntN(3) == 0 {
				sent++
				finish(b.Submit(0, &objects.Request{Op: objects.Send, Handle: sender, Data: strconv.AppendInt(buf[:0], int64(sent), 10)}))
			} else if c := &receivers[rng.IntN(len(receivers))]; c.parked == nil {
				c.parked = &objects.Request{Op: objects.Receive, Handle: c.handle, Size: 4096, Offset: c.offset, Tag: c}
				finish(b.Submit(0, c.parked))
			}
			if err := b.Check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
}
