package objects

import (
	"bytes"
	"math"
	"math/rand"
	"slices"
	"syscall"
	"testing"
)

// A purse is a ledger that has room for so many bytes.
type purse struct{ room int64 }

func (p *purse) Charge(uid uint32, c Cost) syscall.Errno {
	if c.Bytes > 0 && c.Bytes > p.room {
		return syscall.ENOSPC
	}
	p.Adjust(uid, c)
	return 0
}

func (p *purse) Adjust(_ uint32, c Cost) { p.room -= c.Bytes }

func (*purse) Move(uint32, Cost, uint32, Cost) syscall.Errno { return 0 }

// do submits an operation that does not wait.
func do(t *testing.T, g *Segment, r Request) *Request {
	t.Helper()
	done := g.Submit(1, &r)
	if got := done.Next(); got != &r {
		t.Fatalf("%s of a segment was parked", r.Op)
	}
	if err := g.Check(); err != nil {
		t.Fatalf("after %s: %v", r.Op, err)
	}
	return &r
}

func answers(t *testing.T, r *Request, want syscall.Errno) {
	t.Helper()
	if r.Errno != want {
		t.Fatalf("%s at %d of %d bytes = %d (%v); want %d (%v)", r.Op, r.Offset, max(r.Size, len(r.Data)), r.Errno, r.Errno, want, want)
	}
}

func TestSegmentIsBookedInWholePages(t *testing.T) {
	p := &purse{room: 10 * bookUnit}
	g := NewSegment(p, new(Bytes), 0)
	held := func(want int64) {
		t.Helper()
		if got := 10*bookUnit - p.room; got != want*bookUnit {
			t.Fatalf("%d bytes are booked; want %d pages", got, want)
		}
	}
	answers(t, do(t, g, Request{Op: Resize, Offset: 1}), 0)
	held(1)
	answers(t, do(t, g, Request{Op: WriteAt, Offset: bookUnit - 1, Data: []byte("ab")}), 0)
	held(2)
	answers(t, do(t, g, Request{Op: Reserve, Offset: 0, Size: 5 * bookUnit}), 0)
	held(5)
	if size := g.Held().Bytes; size != bookUnit+1 {
		t.Fatalf("size after Reserve = %d; want %d", size, bookUnit+1)
	}
	answers(t, do(t, g, Request{Op: Resize, Offset: 3}), 0)
	held(1)
	answers(t, do(t, g, Request{Op: Allocate, Offset: bookUnit, Size: 2 * bookUnit}), 0)
	held(3)
	answers(t, do(t, g, Request{Op: Resize, Offset: 10*bookUnit + 1}), syscall.ENOSPC)
	answers(t, do(t, g, Request{Op: Reserve, Offset: 10 * bookUnit, Size: 1}), syscall.ENOSPC)
	held(3)
	answers(t, do(t, g, Request{Op: Punch, Offset: 0, Size: bookUnit}), 0)
	held(3)
	g.Destroy(2)
	held(0)
	answers(t, do(t, g, Request{Op: Resize, Offset: 1}), syscall.EIDRM)
	g.Destroy(3)
	held(0)
}

func TestSegmentWriteAtTheLimitTakesWhatFits(t *testing.T) {
	g := NewSegment(&purse{room: 2 * bookUnit}, new(Bytes), 0)
	answers(t, do(t, g, Request{Op: Resize, Offset: bookUnit + 10}), 0)
	r := do(t, g, Request{Op: WriteAt, Offset: 2*bookUnit - 3, Data: make([]byte, 100)})
	if answers(t, r, 0); r.N != 3 {
		t.Errorf("write of 100 bytes with room for 3 = %d; want 3", r.N)
	}
	answers(t, do(t, g, Request{Op: WriteAt, Offset: 2 * bookUnit, Data: make([]byte, 1)}), syscall.ENOSPC)
}

func TestSegmentRefusesOffsetsThatAreNone(t *testing.T) {
	g := NewSegment(Unlimited, new(Bytes), 0)
	do(t, g, Request{Op: Resize, Offset: 10})
	for _, op := range []Op{ReadAt, WriteAt, WriteBack, Resize, Allocate, Reserve, Punch} {
		answers(t, do(t, g, Request{Op: op, Offset: -1, Size: 1, Data: []byte("x")}), syscall.EINVAL)
	}
	for _, op := range []Op{Allocate, Reserve, Punch} {
		answers(t, do(t, g, Request{Op: op, Offset: 0, Size: 0}), syscall.EINVAL)
		answers(t, do(t, g, Request{Op: op, Offset: math.MaxInt64, Size: 1}), syscall.EFBIG)
	}
	answers(t, do(t, g, Request{Op: WriteAt, Offset: math.MaxInt64, Data: []byte("x")}), syscall.EFBIG)
	if size := g.Held().Bytes; size != 10 {
		t.Errorf("size = %d; want 10", size)
	}
}

// What has grown unasked is booked when there is room, and never lost track of.
func TestSegmentThatGrewUnasked(t *testing.T) {
	p, m := &purse{room: 2 * bookUnit}, new(Bytes)
	g := NewSegment(p, m, 0)
	m.Truncate(bookUnit + 1)
	if g.Held(); p.room != 0 {
		t.Errorf("room is %d after growing by two pages; want 0", p.room)
	}
	m.Truncate(5 * bookUnit)
	if size := g.Held().Bytes; size != 5*bookUnit || p.room != 0 {
		t.Errorf("size %d, room %d; want %d, 0", size, p.room, 5*bookUnit)
	}
	answers(t, do(t, g, Request{Op: Resize, Offset: 6 * bookUnit}), syscall.ENOSPC)
	answers(t, do(t, g, Request{Op: Resize, Offset: bookUnit}), 0)
	if p.room != bookUnit {
		t.Errorf("room is %d after shrinking to a page; want %d", p.room, bookUnit)
	}
	g.Destroy(1)
	if p.room != 2*bookUnit {
		t.Errorf("room is %d at the end; want %d", p.room, 2*bookUnit)
	}
}

// What a mapping stored beyond an end that has moved meanwhile is gone, not an error.
func TestWriteBackNeverGrows(t *testing.T) {
	g := NewSegment(Unlimited, new(Bytes), 0)
	do(t, g, Request{Op: Resize, Offset: 5})
	for _, offset := range []int64{3, 5, 100} {
		r := do(t, g, Request{Op: WriteBack, Offset: offset, Data: []byte("abcd")})
		if answers(t, r, 0); r.N != 4 {
			t.Errorf("WriteBack at %d = %d; want 4", offset, r.N)
		}
	}
	r := do(t, g, Request{Op: ReadAt, Data: make([]byte, 10)})
	if string(r.Data) != "\x00\x00\x00ab" {
		t.Errorf("read %q; want the bytes within the size", r.Data)
	}
}

func TestSegmentSeals(t *testing.T) {
	g := NewSegment(Unlimited, new(Bytes), 0)
	do(t, g, Request{Op: WriteAt, Data: []byte("12345678")})
	set := func(value string, want syscall.Errno) {
		t.Helper()
		if _, errno := g.SetPolicy(1, "seal", value); errno != want {
			t.Fatalf("seal %q = %v; want %v", value, errno, want)
		}
	}
	writer := &Handle{Reads: true, Writes: true}
	answers(t, do(t, g, Request{Op: Open, Handle: writer}), 0)
	set("", syscall.EINVAL)
	set("shrink what", syscall.EINVAL)
	set("none", 0)
	set("shrink", 0)
	answers(t, do(t, g, Request{Op: Resize, Offset: 7}), syscall.EPERM)
	answers(t, do(t, g, Request{Op: Resize, Offset: 8}), 0)
	set("grow", syscall.EBUSY)
	set("shrink write", syscall.EBUSY)
	set("shrink", 0)
	do(t, g, Request{Op: Close, Handle: writer})
	set("grow none", 0)
	for _, r := range []Request{
		{Op: Resize, Offset: 9}, {Op: Allocate, Size: 9}, {Op: WriteAt, Offset: 7, Data: []byte("ab")},
	} {
		answers(t, do(t, g, r), syscall.EPERM)
	}
	answers(t, do(t, g, Request{Op: WriteAt, Offset: 7, Data: []byte("a")}), 0)
	answers(t, do(t, g, Request{Op: Reserve, Size: 100}), 0)
	set("write", 0)
	answers(t, do(t, g, Request{Op: WriteAt, Data: []byte("a")}), syscall.EPERM)
	answers(t, do(t, g, Request{Op: Punch, Size: 1}), syscall.EPERM)
	answers(t, do(t, g, Request{Op: Open, Handle: &Handle{Writes: true}}), syscall.EPERM)
	answers(t, do(t, g, Request{Op: Open, Handle: &Handle{Reads: true}}), 0)
	if got := g.Policy("seal"); got != "shrink grow write" {
		t.Errorf("seal = %q; want all three", got)
	}
	if r := do(t, g, Request{Op: ReadAt, Data: make([]byte, 10)}); string(r.Data) != "1234567a" {
		t.Errorf("read %q; want %q", r.Data, "1234567a")
	}
}

func TestSegmentLockIsHeldByOneHandle(t *testing.T) {
	g := NewSegment(Unlimited, new(Bytes), 0)
	user, first, second := &Handle{Reads: true}, &Handle{Reads: true}, &Handle{Reads: true}
	do(t, g, Request{Op: Open, Handle: user})
	do(t, g, Request{Op: Hold, Handle: first})
	waiting := &Request{Op: Hold, Handle: second}
	if done := g.Submit(1, waiting); !done.Empty() {
		t.Fatal("a second hold was granted")
	}
	do(t, g, Request{Op: Close, Handle: user})
	if g.Removable() != syscall.EBUSY {
		t.Error("removable while somebody waits for the lock")
	}
	done := g.Submit(2, &Request{Op: Close, Handle: first})
	if done.Next(); done.Next() != waiting || waiting.Errno != 0 {
		t.Errorf("the lock was not handed over")
	}
	if g.Removable() != syscall.EBUSY {
		t.Error("removable while the lock is held")
	}
	do(t, g, Request{Op: Close, Handle: second})
	if errno := g.Removable(); errno != 0 {
		t.Errorf("Removable = %v; want 0", errno)
	}
	if err := g.Check(); err != nil {
		t.Error(err)
	}
}

func TestSegmentIsNotRemovableWhileAttached(t *testing.T) {
	g := NewSegment(Unlimited, new(Bytes), 0)
	h := &Handle{Reads: true}
	do(t, g, Request{Op: Open, Handle: h, Caller: Caller{Pid: 7}})
	if errno := g.Removable(); errno != syscall.EBUSY {
		t.Errorf("Removable = %v; want EBUSY", errno)
	}
	if a := slices.Collect(g.Attached()); len(a) != 1 || a[0].Caller.Pid != 7 || a[0].Handle != h {
		t.Errorf("Attached = %v; want the one handle", a)
	}
	do(t, g, Request{Op: Close, Handle: h})
	if errno := g.Removable(); errno != 0 {
		t.Errorf("Removable = %v; want 0", errno)
	}
}

// Any sequence of operations does to a segment what it does to a slice.
func FuzzSegment(f *testing.F) {
	for seed := range int64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed int64) {
		random := rand.New(rand.NewSource(seed))
		limit := int64(8 * bookUnit)
		p := &purse{room: limit}
		g := NewSegment(p, new(Bytes), 0)
		var model []byte
		grow := func(n int) {
			if n > len(model) {
				model = append(model, make([]byte, n-len(model))...)
			}
		}
		for step := range 300 {
			offset, size := random.Intn(6*bookUnit), random.Intn(3*bookUnit)+1
			data := bytes.Repeat([]byte{byte(step)}, size)
			r := Request{Offset: int64(offset), Size: size}
			switch r.Op = []Op{ReadAt, WriteAt, WriteBack, Resize, Allocate, Reserve, Punch}[random.Intn(7)]; r.Op {
			case ReadAt:
				r.Data = make([]byte, size)
			case WriteAt, WriteBack:
				r.Data = data
			}
			got := do(t, g, r)
			if got.Errno == syscall.ENOSPC {
				continue
			}
			if got.Errno != 0 {
				t.Fatalf("seed %d, step %d: %s = %v", seed, step, r.Op, got.Errno)
			}
			switch r.Op {
			case ReadAt:
				want := model[min(offset, len(model)):]
				if want = want[:min(size, len(want))]; !bytes.Equal(got.Data, want) {
					t.Fatalf("seed %d, step %d: read %d bytes at %d differ from the model's %d", seed, step, len(got.Data), offset, len(want))
				}
			case WriteAt:
				grow(offset + got.N)
				copy(model[offset:], data[:got.N])
			case WriteBack:
				copy(model[min(offset, len(model)):], data)
			case Resize:
				grow(offset)
				model = model[:offset:offset]
			case Allocate:
				grow(offset + size)
			case Punch:
				clear(model[min(offset, len(model)):min(offset+size, len(model))])
			}
			if n := g.Held().Bytes; n != int64(len(model)) {
				t.Fatalf("seed %d, step %d: size after %s = %d; want %d", seed, step, r.Op, n, len(model))
			}
			if booked := limit - p.room; booked < pages(int64(len(model))) {
				t.Fatalf("seed %d, step %d: %d bytes booked for %d", seed, step, booked, len(model))
			}
		}
		if g.Destroy(1); p.room != limit {
			t.Fatalf("seed %d: %d bytes are left booked", seed, limit-p.room)
		}
	})
}
