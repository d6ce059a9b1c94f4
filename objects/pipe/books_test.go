package pipe

import (
	"bytes"
	"slices"
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"
	"ipcfs/objects/objecttest"
)

// FuzzBooks does to a mailbox and a pipe what the input says, with users that meet their
// limits. After each step what is booked is what they have.
func FuzzBooks(f *testing.F) {
	f.Add([]byte{0, 1, 0, 1, 2, 40, 2, 2, 40, 3, 1, 0, 4, 1, 0, 5, 0, 0})
	f.Add([]byte{6, 3, 0, 0, 1, 0, 0, 2, 0, 2, 1, 99, 2, 2, 99, 3, 0, 1, 3, 0, 1, 5, 0, 0, 7, 0, 0})
	f.Add([]byte{8, 1, 200, 8, 2, 3, 8, 3, 3, 9, 1, 100, 10, 1, 0, 11, 2, 0, 8, 1, 9, 9, 0, 255, 11, 1, 0})
	f.Add([]byte("000700A00A00A00B00A00A00000900C00709A0072BA0000070C")) // a file that has read all, and waits
	f.Add([]byte("770000A00A00a1090100070$A00A70A00A0070'C7\xeab00"))    // two files that read a broadcast at its sender's expense
	f.Add(bytes.Repeat([]byte{1, 1, 1, 2, 2, 77, 3, 0, 2, 4, 0, 0}, 30))
	f.Fuzz(func(t *testing.T, input []byte) {
		k := objecttest.NewBank(20_000)
		b, p := mailbox.New(k), New(k)
		b.SetPolicy(0, "capacity", "4")
		p.SetPolicy(0, "lifetime", "persistent")
		type attempt struct {
			o objects.Accountable
			r *objects.Request
		}
		var open []*objects.Handle
		openers := make(map[*objects.Handle]uint32)
		var done, parked []attempt
		pr := openFor(p, 3, &objects.Handle{Reads: true, ReadOp: objects.Read})
		pw := openFor(p, 1, &objects.Handle{Writes: true, WriteOp: objects.Write})
		submit := func(o objects.Accountable, r *objects.Request) {
			o.Submit(1, r)
			if r.Parked() {
				parked = append(parked, attempt{o, r})
			} else {
				done = append(done, attempt{o, r})
			}
		}
		for len(input) >= 3 {
			op, uid, n := input[0]%13, uint32(input[1]&3), int(input[2])
			input = input[3:]
			c := objects.Caller{Uid: uid}
			var h *objects.Handle
			if len(open) > 0 {
				h = open[n%len(open)]
			}
			opens := func(h *objects.Handle) {
				r := &objects.Request{Op: objects.Open, Handle: h, Caller: c}
				if b.Submit(1, r); r.Errno == 0 {
					open = append(open, h)
					openers[h] = uid
				}
			}
			switch {
			case op == 0 || h == nil && op < 8:
				opens(&objects.Handle{Reads: true, ReadOp: objects.Receive, EOF: n&1 > 0, Seekable: n&2 > 0})
			case op == 1:
				opens(&objects.Handle{Reads: true, ReadOp: []objects.Op{objects.Peek, objects.Lease}[n&1], Writes: n&1 > 0, WriteOp: []objects.Op{0, objects.Settle}[n&1]})
			case op == 2:
				submit(b, &objects.Request{Op: objects.Send, Handle: &objects.Handle{Writes: true}, Caller: c, Data: make([]byte, n*50), Nonblock: n&1 > 0})
			case op == 3:
				submit(b, &objects.Request{Op: h.ReadOp, Handle: h, Caller: objects.Caller{Uid: openers[h]}, Size: []int{1, 2000, 1 << 20}[uid%3], Nonblock: n&4 == 0})
			case op == 4 && h.ReadOp == objects.Lease:
				submit(b, &objects.Request{Op: objects.Settle, Handle: h, Data: []byte([]string{"ack", "nack"}[uid&1])})
			case op == 5:
				if !slices.ContainsFunc(parked, func(a attempt) bool { return a.r.Handle == h && a.r.Parked() }) {
					closeHandle(b, h, false)
					open = slices.DeleteFunc(open, func(o *objects.Handle) bool { return o == h })
				}
			case op == 6:
				b.SetPolicy(1, "receivers", []string{"any", "broadcast"}[uid&1])
			case op == 7:
				submit(b, &objects.Request{Op: objects.Flush, Caller: c})
			case op == 8:
				submit(p, &objects.Request{Op: objects.Write, Handle: pw, Caller: c, Data: make([]byte, n*30), Nonblock: n&1 > 0})
			case op == 9:
				submit(p, &objects.Request{Op: objects.Read, Handle: pr, Caller: objects.Caller{Uid: 3}, Size: 1 + n*20, Nonblock: true})
			case op == 10:
				submit(p, &objects.Request{Op: []objects.Op{objects.Hangup, objects.Flush}[n&1], Caller: c})
			case op == 11 && len(done) > 0: // its process has died
				last := done[len(done)-1]
				if last.r.Op == objects.Read || slices.Contains(open, last.r.Handle) {
					last.o.Return(1, last.r)
				}
			case op == 12 && len(parked) > 0:
				a := parked[n%len(parked)]
				a.o.Cancel(1, a.r, syscall.EINTR)
			}
			want, pipe := b.Booked(), p.Booked()
			for uid := range uint32(4) {
				sum := want[uid]
				sum = objects.Cost{Messages: sum.Messages + pipe[uid].Messages, Bytes: sum.Bytes + pipe[uid].Bytes, Kept: sum.Kept + pipe[uid].Kept}
				if k.Users[uid] != sum {
					t.Fatalf("after %d: %+v is booked on user %d; want %+v", op, k.Users[uid], uid, sum)
				}
			}
			for _, o := range []objects.Accountable{b, p} {
				if err := o.Check(); err != nil {
					t.Fatalf("after %d: %v", op, err)
				}
			}
		}
		b.Destroy(2)
		p.Destroy(2)
		for _, h := range open {
			closeHandle(b, h, false)
		}
		for uid, c := range k.Users {
			if c != (objects.Cost{}) {
				t.Fatalf("%+v is left on user %d", c, uid)
			}
		}
	})
}

func openFor(b objects.Object, uid uint32, h *objects.Handle) *objects.Handle {
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: h, Caller: objects.Caller{Uid: uid}})
	return h
}

func closeHandle(b objects.Object, h *objects.Handle, killed bool) objects.Finished {
	return b.Submit(0, &objects.Request{Op: objects.Close, Handle: h, Killed: killed})
}
