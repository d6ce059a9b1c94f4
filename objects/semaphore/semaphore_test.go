package semaphore

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

// units makes a request that moves n units.
func units(op objects.Op, n int64) *objects.Request {
	return &objects.Request{Op: op, Units: n, Handle: &objects.Handle{}}
}

// semaphoreOf makes a semaphore of that value and max.
func semaphoreOf(t *testing.T, value, max string) *Semaphore {
	t.Helper()
	s := New()
	for _, p := range [][2]string{{"max", max}, {"value", value}} {
		if _, errno := s.SetPolicy(0, p[0], p[1]); errno != 0 {
			t.Fatalf("set %s %s = %v", p[0], p[1], errno)
		}
	}
	return s
}

func wantValue(t *testing.T, s *Semaphore, want string) {
	t.Helper()
	if got := s.Policy("value"); got != want {
		t.Errorf("value = %s; want %s", got, want)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

func TestUnitsAreReadLineByLine(t *testing.T) {
	for text, want := range map[string]int64{
		"": 1, "\n": 1, "3": 3, "3\n": 3, " 3 \n": 3, "\n\n\n": 3, "1\n2\n": 3, "2\n\n": 3, "9223372036854775807": 1<<63 - 1,
	} {
		if n, ok := ParseUnits([]byte(text)); n != want || !ok {
			t.Errorf("ParseUnits(%q) = %d, %v; want %d", text, n, ok, want)
		}
	}
	for _, text := range []string{"0", "-1", "+1", "x", "1 2", "1.5", "1\nx\n", "9223372036854775808", "9223372036854775807\n1", "max"} {
		if n, ok := ParseUnits([]byte(text)); ok {
			t.Errorf("ParseUnits(%q) = %d, true; want false", text, n)
		}
	}
}

func TestWaitThatWantsManyIsNotStarved(t *testing.T) {
	s := semaphoreOf(t, "2", "max")
	many, one := units(objects.Wait, 3), units(objects.Wait, 1)
	objecttest.WantFinished(t, s.Submit(0, many))
	objecttest.WantFinished(t, s.Submit(1, one))
	at := units(objects.Wait, 1)
	at.Nonblock = true
	objecttest.WantFinished(t, s.Submit(2, at), at)
	if at.Errno != syscall.EAGAIN {
		t.Errorf("a wait past those who wait = %v; want EAGAIN", at.Errno)
	}
	p := units(objects.Post, 1)
	objecttest.WantFinished(t, s.Submit(3, p), many, p)
	wantValue(t, s, "0")
	p = units(objects.Post, 1)
	objecttest.WantFinished(t, s.Submit(4, p), one, p)
}

func TestInterruptedWaitLetsThoseBehindPass(t *testing.T) {
	s := semaphoreOf(t, "1", "max")
	many, one := units(objects.Wait, 3), units(objects.Wait, 1)
	s.Submit(0, many)
	s.Submit(0, one)
	objecttest.WantFinished(t, s.Cancel(1, many, syscall.EINTR), many, one)
	if many.Errno != syscall.EINTR || one.Errno != 0 {
		t.Errorf("waits = %v, %v; want EINTR, 0", many.Errno, one.Errno)
	}
	objecttest.WantFinished(t, s.Cancel(2, one, syscall.EINTR))
	wantValue(t, s, "0")
}

func TestReadGetsTheValueLeftAndThenEndOfFile(t *testing.T) {
	s := semaphoreOf(t, "11", "max")
	h := &objects.Handle{Reads: true, ReadOp: objects.Wait, EOF: true}
	for _, want := range []string{"10\n", "", "9\n", ""} {
		r := &objects.Request{Op: objects.Wait, Handle: h, Size: 100}
		objecttest.WantFinished(t, s.Submit(0, r), r)
		if string(r.Data) != want {
			t.Errorf("read = %q; want %q", r.Data, want)
		}
	}
	both := &objects.Handle{Reads: true, Writes: true, ReadOp: objects.Wait, WriteOp: objects.Post, EOF: true}
	for _, want := range []string{"8\n", "7\n"} {
		r := &objects.Request{Op: objects.Wait, Handle: both, Size: 100}
		s.Submit(0, r)
		if string(r.Data) != want {
			t.Errorf("read of a descriptor open for both = %q; want %q", r.Data, want)
		}
	}
	r := &objects.Request{Op: objects.Wait, Handle: &objects.Handle{Reads: true}, Size: 1}
	s.Submit(0, r)
	r2 := &objects.Request{Op: objects.Wait, Handle: r.Handle, Size: 1}
	s.Submit(0, r2)
	if got := string(r.Data) + string(r2.Data); got != "6\n" {
		t.Errorf("two short reads = %q; want one answer in pieces", got)
	}
	wantValue(t, s, "6")
}

func TestUnitsOfAReaderThatDiedAreThereAgain(t *testing.T) {
	s := semaphoreOf(t, "1", "max")
	r := &objects.Request{Op: objects.Wait, Handle: &objects.Handle{Reads: true}, Size: 100}
	s.Submit(0, r)
	waiting := units(objects.Wait, 1)
	s.Submit(1, waiting)
	objecttest.WantFinished(t, s.Return(2, r), waiting)
	objecttest.WantFinished(t, s.Return(3, r))
	wantValue(t, s, "0")
}

func TestHoldEndsOnceWithCloseOrDeath(t *testing.T) {
	s := semaphoreOf(t, "1", "1")
	h := &objects.Handle{Reads: true}
	first, second := &objects.Request{Op: objects.Hold, Handle: h}, &objects.Request{Op: objects.Hold, Handle: &objects.Handle{}}
	objecttest.WantFinished(t, s.Submit(0, first), first)
	objecttest.WantFinished(t, s.Submit(1, second))
	if got := slices.Collect(s.Owners()); len(got) != 1 {
		t.Errorf("%d owners; want 1", len(got))
	}
	// sem_post(3) beyond max: the holder's unit comes back.
	p := units(objects.Post, 1)
	if s.Submit(2, p); p.Errno != syscall.EOVERFLOW {
		t.Errorf("post of a held unit = %v; want EOVERFLOW", p.Errno)
	}
	death := &objects.Request{Op: objects.Release, Handle: h}
	objecttest.WantFinished(t, s.Submit(3, death), death, second)
	objecttest.WantFinished(t, s.Submit(4, death), death)
	end := &objects.Request{Op: objects.Close, Handle: h}
	objecttest.WantFinished(t, s.Submit(5, end), end)
	wantValue(t, s, "0")
	if errno := s.Removable(); errno != syscall.EBUSY {
		t.Errorf("removable while held = %v; want EBUSY", errno)
	}
	s.Submit(6, &objects.Request{Op: objects.Close, Handle: second.Handle})
	wantValue(t, s, "1")
	if errno := s.Removable(); errno != 0 {
		t.Errorf("removable = %v; want 0", errno)
	}
}

func TestLoweringMaxTakesNothingAway(t *testing.T) {
	s := semaphoreOf(t, "5", "max")
	waiting := units(objects.Wait, 9)
	s.Submit(0, waiting)
	done, errno := s.SetPolicy(1, "max", "3")
	objecttest.WantFinished(t, done, waiting)
	if errno != 0 || waiting.Errno != syscall.EINVAL {
		t.Errorf("set max = %v, a wait beyond it = %v; want 0, EINVAL", errno, waiting.Errno)
	}
	wantValue(t, s, "5")
	p := units(objects.Post, 1)
	if s.Submit(2, p); p.Errno != syscall.EOVERFLOW {
		t.Errorf("post above max = %v; want EOVERFLOW", p.Errno)
	}
}

func TestBadSemaphoreValuesChangeNothing(t *testing.T) {
	s := semaphoreOf(t, "1", "2")
	for _, p := range [][2]string{{"value", "3"}, {"value", "-1"}, {"value", "x"}, {"value", ""}, {"max", "0"}, {"max", "x"}, {"colour", "1"}} {
		if done, errno := s.SetPolicy(0, p[0], p[1]); errno != syscall.EINVAL || !done.Empty() {
			t.Errorf("set %v = %v; want EINVAL", p, errno)
		}
	}
	for _, op := range []objects.Op{objects.Wait, objects.Post} {
		r := &objects.Request{Op: op, Handle: &objects.Handle{}, Data: []byte("none")}
		if s.Submit(0, r); r.Errno != syscall.EINVAL {
			t.Errorf("%s of a word = %v; want EINVAL", op, r.Errno)
		}
		if r = units(op, -1); true {
			if s.Submit(0, r); r.Errno != syscall.EINVAL {
				t.Errorf("%s of -1 = %v; want EINVAL", op, r.Errno)
			}
		}
	}
	wantValue(t, s, "1")
}

func TestDestroyedSemaphoreWakesEveryoneWithEIDRM(t *testing.T) {
	s := semaphoreOf(t, "1", "max")
	h := &objects.Handle{}
	s.Submit(0, &objects.Request{Op: objects.Hold, Handle: h})
	w := units(objects.Wait, 1)
	s.Submit(0, w)
	objecttest.WantFinished(t, s.Destroy(1), w)
	late := units(objects.Post, 1)
	s.Submit(2, late)
	end := &objects.Request{Op: objects.Close, Handle: h}
	objecttest.WantFinished(t, s.Submit(3, end), end)
	if w.Errno != syscall.EIDRM || late.Errno != syscall.EIDRM || end.Errno != 0 {
		t.Errorf("wait, post and close = %v, %v, %v; want EIDRM, EIDRM, 0", w.Errno, late.Errno, end.Errno)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

func TestSemaphoreReadiness(t *testing.T) {
	s := semaphoreOf(t, "1", "max")
	both := &objects.Handle{Reads: true, Writes: true, ReadOp: objects.Wait, WriteOp: objects.Wait}
	post := &objects.Handle{Writes: true, WriteOp: objects.Post}
	for _, step := range []struct {
		r          *objects.Request
		both, post objects.Events
	}{{nil, objects.In | objects.Out, objects.Out}, {units(objects.Wait, 1), 0, objects.Out}, {units(objects.Wait, 1), 0, objects.Out}, {units(objects.Post, 1), 0, objects.Out}, {units(objects.Post, 1), objects.In | objects.Out, objects.Out}} {
		if step.r != nil {
			s.Submit(0, step.r)
		}
		if b, p := s.Ready(both), s.Ready(post); b != step.both || p != step.post {
			t.Errorf("value %s: ready %#x, %#x; want %#x, %#x", s.Policy("value"), b, p, step.both, step.post)
		}
	}
}

// The model of a semaphore: a value and a line of those who wait, looked at from the
// front after every change.
type semaphoreModel struct {
	value, max int64
	line       []*semaphoreTurn
	holding    map[int]bool // by handle
	done       []string
}

type semaphoreTurn struct {
	id, handle int
	op         objects.Op
	n          int64
}

func (m *semaphoreModel) finish(id int, errno syscall.Errno) {
	m.done = append(m.done, fmt.Sprintf("#%d %d", id, errno))
}

func (m *semaphoreModel) settle() {
	for len(m.line) > 0 {
		w := m.line[0]
		switch {
		case w.n > m.max && w.n > m.value+int64(len(m.holding)):
			m.finish(w.id, syscall.EINVAL)
		case w.n <= m.value:
			m.value -= w.n
			if w.op == objects.Hold {
				m.holding[w.handle] = true
			}
			m.finish(w.id, 0)
		default:
			return
		}
		m.line = m.line[1:]
	}
}

func (m *semaphoreModel) submit(w *semaphoreTurn, nonblock bool) {
	switch w.op {
	case objects.Wait, objects.Hold:
		before := len(m.done)
		m.line = append(m.line, w)
		m.settle()
		if len(m.done) == before && w.n > m.max && w.n > m.value+int64(len(m.holding)) {
			m.line = m.line[:len(m.line)-1]
			m.finish(w.id, syscall.EINVAL)
		} else if len(m.done) == before && nonblock {
			m.line = m.line[:len(m.line)-1]
			m.finish(w.id, syscall.EAGAIN)
		}
	case objects.Post:
		if m.value+int64(len(m.holding))+w.n > m.max {
			m.finish(w.id, syscall.EOVERFLOW)
			return
		}
		m.value += w.n
		m.settle()
		m.finish(w.id, 0)
	case objects.Release, objects.Close:
		m.finish(w.id, 0)
		if m.holding[w.handle] {
			delete(m.holding, w.handle)
			m.value++
			m.settle()
		}
	}
}

func TestSemaphoreDoesWhatItsModelDoes(t *testing.T) {
	runs := 2000
	if testing.Short() {
		runs = 200
	}
	for seed := range uint64(runs) {
		choose := rand.New(rand.NewPCG(seed, 0)).IntN
		s, m := New(), &semaphoreModel{max: objects.Unbounded, holding: map[int]bool{}}
		handles := make([]*objects.Handle, 6)
		for i := range handles {
			handles[i] = &objects.Handle{}
		}
		opening := map[int]bool{} // handles that hold, or wait to
		parked := map[*objects.Request]*semaphoreTurn{}
		var log []string
		for id := range 60 {
			var done objects.Finished
			if choose(12) == 0 {
				log = append(log, "reload")
				s = objecttest.Reload(t, "semaphore", objects.Unlimited, s, handles).(*Semaphore)
			}
			switch n := int64(choose(4) + 1); choose(10) {
			case 0:
				name, value := "max", n+4
				if choose(2) == 0 {
					name, value = "value", n-1
				}
				log = append(log, fmt.Sprintf("set %s %d", name, value))
				var errno, want syscall.Errno
				done, errno = s.SetPolicy(0, name, strconv.FormatInt(value, 10))
				if name == "max" {
					m.max = value
				} else if value+int64(len(m.holding)) > m.max {
					want = syscall.EINVAL
				} else {
					m.value = value
				}
				m.settle()
				if errno != want {
					t.Fatalf("seed %d: set %s = %v; want %v\n%s", seed, name, errno, want, strings.Join(log, "\n"))
				}
			case 1:
				if len(m.line) == 0 {
					continue
				}
				w := m.line[choose(len(m.line))]
				log = append(log, fmt.Sprintf("cancel #%d", w.id))
				m.line = slices.DeleteFunc(m.line, func(v *semaphoreTurn) bool { return v == w })
				m.finish(w.id, syscall.EINTR)
				m.settle()
				for r, v := range parked {
					if v == w {
						done = s.Cancel(0, r, syscall.EINTR)
						opening[w.handle] = opening[w.handle] && w.op != objects.Hold
						break
					}
				}
			default:
				w := &semaphoreTurn{id: id, handle: choose(len(handles)), op: []objects.Op{objects.Wait, objects.Wait, objects.Post, objects.Post, objects.Hold, objects.Release, objects.Close}[choose(7)], n: n}
				nonblock := choose(4) == 0
				switch w.op {
				case objects.Hold:
					if opening[w.handle] {
						continue
					}
					opening[w.handle] = true
					w.n = 1
				case objects.Release, objects.Close:
					if !m.holding[w.handle] && w.op == objects.Close {
						continue
					}
					if w.op == objects.Close {
						opening[w.handle] = false
					}
				}
				log = append(log, fmt.Sprintf("#%d %s handle %d units %d nonblock %v", id, w.op, w.handle, w.n, nonblock))
				r := &objects.Request{Op: w.op, Handle: handles[w.handle], Units: w.n, Nonblock: nonblock}
				parked[r] = w
				done = s.Submit(0, r)
				m.submit(w, nonblock)
			}
			var got []string
			for r := range done.All() {
				w := parked[r]
				got = append(got, fmt.Sprintf("#%d %d", w.id, r.Errno))
				if w.op == objects.Hold && r.Errno != 0 {
					opening[w.handle] = false
				}
				delete(parked, r)
			}
			want := m.done
			m.done = nil
			if !slices.Equal(got, want) || s.value != m.value || s.waiting.Len() != len(m.line) || len(s.owners) != len(m.holding) {
				t.Fatalf("seed %d: finished %v, value %d, %d wait, %d hold; want %v, %d, %d, %d\n%s", seed,
					got, s.value, s.waiting.Len(), len(s.owners), want, m.value, len(m.line), len(m.holding), strings.Join(log, "\n"))
			}
			if err := s.Check(); err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(log, "\n"))
			}
		}
	}
}
