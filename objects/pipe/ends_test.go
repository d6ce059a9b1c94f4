package pipe

import (
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

// Who waits in open(2) to read reads the end of file of a hangup; who waits to write goes on waiting.
func TestHangupWakesTheOpenThatIsToReadIt(t *testing.T) {
	p := pipeOf(t)
	r := connect(readEnd())
	objecttest.WantFinished(t, p.Submit(1, r))
	hangup := &objects.Request{Op: objects.Hangup}
	objecttest.WantFinished(t, p.Submit(2, hangup), r, hangup)
	if got := p.Held().Changed; got != 2 {
		t.Errorf("the last change is of %d; want 2", got)
	}

	p = pipeOf(t)
	w := connect(writeEnd())
	objecttest.WantFinished(t, p.Submit(1, w))
	objecttest.WantFinished(t, p.Submit(2, hangup), hangup)
	if !w.Parked() {
		t.Error("a hangup ended the open of a writer, whom no reader has met")
	}
}

// A hangup that is kept for a reader to come is on the books, and refused where it cannot be.
func TestHangupThatCannotBeBookedIsRefused(t *testing.T) {
	p := New(objecttest.Full{Errno: syscall.EDQUOT})
	r := &objects.Request{Op: objects.Hangup}
	objecttest.WantFinished(t, p.Submit(1, r), r)
	wantErrno(t, r, syscall.EDQUOT)
	if got := p.Held().Changed; got != 0 {
		t.Errorf("the last change is of %d; want none", got)
	}
	p.Submit(2, &objects.Request{Op: objects.Open, Handle: readEnd()})
	p.do(t, &objects.Request{Op: objects.Hangup}) // nothing is kept of one for those who are there
}

// A driver may submit a request again: nothing of its last end is left.
func TestARequestThatIsSubmittedAgainBeginsAnew(t *testing.T) {
	p := pipeOf(t)
	h, peer := writeEnd(), readEnd()
	p.Submit(1, &objects.Request{Op: objects.Open, Handle: peer})
	p.Submit(1, &objects.Request{Op: objects.Open, Handle: h})
	p.Submit(1, closing(peer))
	r := write(h, "abc")
	p.Submit(2, r)
	if r.Errno != syscall.EPIPE || !r.Broken {
		t.Fatalf("a write without readers = %v, broken %v; want EPIPE, true", r.Errno, r.Broken)
	}
	p.Submit(3, &objects.Request{Op: objects.Open, Handle: readEnd()})
	if p.Submit(4, r); r.Errno != 0 || r.Broken || r.N != 3 {
		t.Errorf("the same write with a reader = %v, broken %v, %d bytes; want 0, false, 3", r.Errno, r.Broken, r.N)
	}
	bad := &objects.Request{Op: objects.Post, Handle: h}
	objecttest.WantFinished(t, p.Submit(5, bad), bad)
	wantErrno(t, bad, syscall.EINVAL)
	if p.Submit(6, closing(h)); h.Writes {
		t.Error("a closed handle has kept what it was")
	}
	flush := &objects.Request{Op: objects.Flush}
	if p.Submit(8, flush); p.Held().Changed != 8 {
		t.Errorf("the last change is of %d; want 8, the flush", p.Held().Changed)
	}
}

// The end that somebody has met once is not waited for again: a write by whom it was left gets EPIPE.
func TestAnEndThatWasThereAtOpenIsNotWaitedFor(t *testing.T) {
	p := pipeOf(t)
	r, w := readEnd(), writeEnd()
	p.Submit(1, &objects.Request{Op: objects.Open, Handle: r})
	p.Submit(1, &objects.Request{Op: objects.Open, Handle: w}) // meets r
	p.Submit(2, closing(r))
	wantErrno(t, p.do(t, nonblocking(write(w, "x"))), syscall.EPIPE)

	p = pipeOf(t)
	r, w = readEnd(), writeEnd()
	p.Submit(1, &objects.Request{Op: objects.Open, Handle: w})
	p.Submit(1, &objects.Request{Op: objects.Open, Handle: r}) // meets w
	p.Submit(2, closing(w))
	wantRead(t, p, r, "")

	p = pipeOf(t)
	w = writeEnd()
	p.Submit(1, &objects.Request{Op: objects.Open, Handle: w}) // alone
	waits := write(w, "x")
	p.Submit(2, waits)
	if waits.Errno == syscall.EPIPE {
		t.Error("a write before any reader came = EPIPE; want it to wait for the first")
	}
}

func TestCancelOfWhatHasFinishedDoesNothing(t *testing.T) {
	p := pipeOf(t)
	r, w := both(p)
	done := write(w, "x")
	p.Submit(1, done)
	objecttest.WantFinished(t, p.Cancel(2, done, syscall.EINTR))
	if done.Errno != 0 {
		t.Errorf("a finished write that was cancelled = %v; want 0", done.Errno)
	}
	urgent := &objects.Request{Op: objects.Receive, Handle: &objects.Handle{Reads: true, ReadOp: objects.Receive}, Size: 100}
	p.Submit(3, &objects.Request{Op: objects.Open, Handle: urgent.Handle})
	objecttest.WantFinished(t, p.Submit(3, urgent))
	objecttest.WantFinished(t, p.Cancel(4, urgent, syscall.EINTR), urgent)
	wantErrno(t, urgent, syscall.EINTR)
	wantRead(t, p, r, "x")
}
