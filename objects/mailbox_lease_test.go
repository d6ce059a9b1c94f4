package objects

import "testing"

func TestLeaseWithoutATimeNeverEnds(t *testing.T) {
	b := mailbox(t)
	h := &Handle{Reads: true, Writes: true, ReadOp: Lease, WriteOp: Settle}
	b.Submit(0, &Request{Op: Open, Handle: h})
	sendBy(b, writer(b), "x")
	b.Submit(0, &Request{Op: Lease, Handle: h, Size: 10})
	if at := b.Deadline(); at != 0 {
		t.Errorf("the lease ends at %d; want never", at)
	}
}
