package semaphore

import (
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

func counted(t *testing.T, s *Semaphore, name string, want int64) {
	t.Helper()
	for _, c := range s.Stat() {
		if c.Name == name {
			if c.Value != want {
				t.Errorf("%s = %d; want %d", name, c.Value, want)
			}
			return
		}
	}
	t.Errorf("no counter %s", name)
}

func TestSemaphoreCountsWhatWasPostedTakenAndHeld(t *testing.T) {
	s := semaphoreOf(t, "0", "max")
	s.Submit(1, units(objects.Post, 5))
	s.Submit(2, units(objects.Wait, 3))
	read := &objects.Request{Op: objects.Wait, Handle: &objects.Handle{Reads: true}, Size: 100}
	s.Submit(3, read)
	counted(t, s, "posted", 5)
	counted(t, s, "taken", 4)
	s.Return(4, read) // its process has died
	counted(t, s, "taken", 3)

	held, closed := &objects.Handle{}, &objects.Handle{Serial: 7}
	for _, h := range []*objects.Handle{held, closed} {
		s.Submit(5, &objects.Request{Op: objects.Hold, Handle: h})
	}
	if s.Holders() != 2 {
		t.Errorf("%d holders; want 2", s.Holders())
	}
	counted(t, s, "holds", 2)
	s.Submit(6, &objects.Request{Op: objects.Close, Handle: closed})
	if closed.Serial != 0 {
		t.Error("a closed handle has kept what it was")
	}
	counted(t, s, "deaths", 0)
	s.Submit(7, &objects.Request{Op: objects.Release, Handle: held})
	s.Submit(8, &objects.Request{Op: objects.Release, Handle: held}) // which holds nothing by now
	counted(t, s, "deaths", 1)
	if got := s.Held().Changed; got != 7 {
		t.Errorf("the last change is of %d; want 7, when a unit came back", got)
	}
	s.Submit(9, units(objects.Wait, 5))
	if s.Waiting() != 1 {
		t.Errorf("%d wait; want 1", s.Waiting())
	}
}

func TestWhoCannotBeServedAnyMoreIsToldWhenMaxIsLowered(t *testing.T) {
	s := semaphoreOf(t, "1", "10")
	first, second, third := units(objects.Wait, 2), units(objects.Wait, 9), units(objects.Wait, 3)
	for _, r := range []*objects.Request{first, second, third} {
		objecttest.WantFinished(t, s.Submit(1, r))
	}
	done, errno := s.SetPolicy(2, "max", "3")
	if errno != 0 {
		t.Fatal(errno)
	}
	objecttest.WantFinished(t, done, second)
	if second.Errno != syscall.EINVAL {
		t.Errorf("a wait for 9 units of 3 = %v; want EINVAL", second.Errno)
	}
	done, errno = s.SetPolicy(3, "value", "2")
	objecttest.WantFinished(t, done, first)
	if errno != 0 || first.Errno != 0 {
		t.Errorf("value = %v, the first wait = %v; want 0, 0", errno, first.Errno)
	}
}

func TestBadRequestsOfASemaphoreFailWithEINVAL(t *testing.T) {
	s := semaphoreOf(t, "1", "3")
	for _, r := range []*objects.Request{
		{Op: objects.Wait, Data: []byte("x")}, {Op: objects.Wait, Units: 4}, {Op: objects.Post, Data: []byte("x")}, {Op: objects.Send, Data: []byte("x")},
	} {
		r.Handle = &objects.Handle{}
		objecttest.WantFinished(t, s.Submit(1, r), r)
		if r.Errno != syscall.EINVAL {
			t.Errorf("%s of %q, %d units = %v; want EINVAL", r.Op, r.Data, r.Units, r.Errno)
		}
		// A driver may submit a request again.
		r.Op, r.Units, r.Data = objects.Open, 0, nil
		if s.Submit(2, r); r.Errno != 0 || r.N != 0 {
			t.Errorf("an open with a request that failed = %v, %d bytes; want success, none", r.Errno, r.N)
		}
	}
	wantValue(t, s, "1")
}

// A read that is too short leaves the rest of its answer to the next of that open file, which takes no
// unit for it, whether one is there or not.
func TestTheRestOfAnAnswerCostsNoUnit(t *testing.T) {
	read := func(h *objects.Handle) *objects.Request {
		return &objects.Request{Op: objects.Wait, Handle: h, Size: 1}
	}
	s := semaphoreOf(t, "1", "max")
	h := &objects.Handle{Reads: true, ReadOp: objects.Wait}
	first, rest := read(h), read(h)
	s.Submit(1, first)
	if e := s.Ready(h); e != objects.In {
		t.Errorf("ready for %#x with the rest of an answer; want In", e)
	}
	objecttest.WantFinished(t, s.Submit(2, rest), rest)
	if string(first.Data)+string(rest.Data) != "0\n" {
		t.Errorf("read %q, %q; want 0, newline", first.Data, rest.Data)
	}

	h = &objects.Handle{Reads: true, ReadOp: objects.Wait}
	first, rest = read(h), read(h)
	objecttest.WantFinished(t, s.Submit(3, first))
	objecttest.WantFinished(t, s.Submit(4, rest))
	post := units(objects.Post, 2)
	objecttest.WantFinished(t, s.Submit(5, post), first, rest, post)
	if string(first.Data)+string(rest.Data) != "1\n" {
		t.Errorf("two parked reads got %q, %q; want 1, newline", first.Data, rest.Data)
	}
	wantValue(t, s, "1")
}

// Nobody reads the rest of an answer whose process has died.
func TestAReturnedAnswerLeavesNoRest(t *testing.T) {
	s := semaphoreOf(t, "1", "max")
	h := &objects.Handle{Reads: true}
	first := &objects.Request{Op: objects.Wait, Handle: h, Size: 1}
	s.Submit(1, first)
	s.Return(2, first)
	again := &objects.Request{Op: objects.Wait, Handle: h, Size: 100}
	if s.Submit(3, again); string(again.Data) != "0\n" {
		t.Errorf("a read after one that was returned got %q; want an answer of its own", again.Data)
	}
	written := &objects.Request{Op: objects.Wait, Data: []byte("1"), Handle: &objects.Handle{}}
	s.Submit(4, units(objects.Post, 1))
	if s.Submit(5, written); written.Data != nil || written.N != 1 {
		t.Errorf("a written wait has %q, %d bytes; want its buffer given back, 1", written.Data, written.N)
	}
}

func TestDestroyedSemaphoreIsReadyForEverythingAndTakesNothingBack(t *testing.T) {
	s := semaphoreOf(t, "2", "max")
	read := &objects.Request{Op: objects.Wait, Handle: &objects.Handle{Reads: true}, Size: 100}
	s.Submit(1, read)
	h := &objects.Handle{}
	s.Submit(2, &objects.Request{Op: objects.Hold, Handle: h})
	s.Destroy(3)
	if e := s.Ready(&objects.Handle{Reads: true, ReadOp: objects.Wait}); e != objects.In|objects.Out|objects.Err|objects.Hup {
		t.Errorf("a destroyed semaphore is ready for %#x; want everything", e)
	}
	objecttest.WantFinished(t, s.Return(4, read))
	wantValue(t, s, "0")
	for _, op := range []objects.Op{objects.Release, objects.Close} {
		r := &objects.Request{Op: op, Handle: h}
		if s.Submit(5, r); r.Errno != 0 {
			t.Errorf("%s of a destroyed semaphore = %v; want 0", op, r.Errno)
		}
	}
}

func TestAnEndpointThatOnlyPostsIsReadyForWritingAlone(t *testing.T) {
	s := semaphoreOf(t, "0", "max")
	for _, c := range []struct {
		h    objects.Handle
		want objects.Events
	}{
		{objects.Handle{Writes: true, WriteOp: objects.Post}, objects.Out},
		{objects.Handle{Reads: true, ReadOp: objects.Wait}, 0},
		{objects.Handle{Reads: true, ReadOp: objects.Wait, Writes: true, WriteOp: objects.Wait}, 0},
		{objects.Handle{Reads: true}, objects.In},
		{objects.Handle{}, 0},
	} {
		if got := s.Ready(&c.h); got != c.want {
			t.Errorf("%+v is ready for %#x; want %#x", c.h, got, c.want)
		}
	}
}
