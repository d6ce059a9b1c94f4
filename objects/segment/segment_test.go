package segment

import (
	"bytes"
	"math"
	"math/rand"
	"slices"
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

// A purse is a ledger that has room for so many bytes.
type purse struct{ room int64 }

func (p *purse) Charge(uid uint32, c objects.Cost) syscall.Errno {
	if c.Bytes > 0 && c.Bytes > p.room {
		return syscall.ENOSPC
	}
	p.Adjust(uid, c)
	return 0
}

func (p *purse) Adjust(_ uint32, c objects.Cost) { p.room -= c.Bytes }

func (*purse) Move(uint32, objects.Cost, uint32, objects.Cost) syscall.Errno { return 0 }

func TestSegmentIsBookedInWholePages(t *testing.T) {
	p := &purse{room: 10 * Page}
	g := New(p, new(Bytes), 0)
	held := func(want int64) {
		t.Helper()
		if got := 10*Page - p.room; got != want*Page {
			t.Fatalf("%d bytes are booked; want %d pages", got, want)
		}
	}
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Resize, Offset: 1}), 0)
	held(1)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.WriteAt, Offset: Page - 1, Data: []byte("ab")}), 0)
	held(2)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Reserve, Offset: 0, Size: 5 * Page}), 0)
	held(5)
	if size := g.Held().Bytes; size != Page+1 {
		t.Fatalf("size after Reserve = %d; want %d", size, Page+1)
	}
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Resize, Offset: 3}), 0)
	held(1)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Allocate, Offset: Page, Size: 2 * Page}), 0)
	held(3)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Resize, Offset: 10*Page + 1}), syscall.ENOSPC)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Reserve, Offset: 10 * Page, Size: 1}), syscall.ENOSPC)
	held(3)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Punch, Offset: 0, Size: Page}), 0)
	held(3)
	g.Destroy(2)
	held(0)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Resize, Offset: 1}), syscall.EIDRM)
	g.Destroy(3)
	held(0)
}

func TestSegmentWriteAtTheLimitTakesWhatFits(t *testing.T) {
	g := New(&purse{room: 2 * Page}, new(Bytes), 0)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Resize, Offset: Page + 10}), 0)
	r := objecttest.Do(t, g, objects.Request{Op: objects.WriteAt, Offset: 2*Page - 3, Data: make([]byte, 100)})
	if objecttest.Answers(t, r, 0); r.N != 3 {
		t.Errorf("write of 100 bytes with room for 3 = %d; want 3", r.N)
	}
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.WriteAt, Offset: 2 * Page, Data: make([]byte, 1)}), syscall.ENOSPC)
}

func TestSegmentRefusesOffsetsThatAreNone(t *testing.T) {
	g := New(objects.Unlimited, new(Bytes), 0)
	objecttest.Do(t, g, objects.Request{Op: objects.Resize, Offset: 10})
	for _, op := range []objects.Op{objects.ReadAt, objects.WriteAt, objects.WriteBack, objects.Resize, objects.Allocate, objects.Reserve, objects.Punch} {
		objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: op, Offset: -1, Size: 1, Data: []byte("x")}), syscall.EINVAL)
	}
	for _, op := range []objects.Op{objects.Allocate, objects.Reserve, objects.Punch} {
		objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: op, Offset: 0, Size: 0}), syscall.EINVAL)
		objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: op, Offset: math.MaxInt64, Size: 1}), syscall.EFBIG)
	}
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.WriteAt, Offset: math.MaxInt64, Data: []byte("x")}), syscall.EFBIG)
	if size := g.Held().Bytes; size != 10 {
		t.Errorf("size = %d; want 10", size)
	}
}

// What has grown unasked is booked when there is room, and never lost track of.
func TestSegmentThatGrewUnasked(t *testing.T) {
	p, m := &purse{room: 2 * Page}, new(Bytes)
	g := New(p, m, 0)
	m.Truncate(Page + 1)
	if g.Held(); p.room != 0 {
		t.Errorf("room is %d after growing by two pages; want 0", p.room)
	}
	m.Truncate(5 * Page)
	if size := g.Held().Bytes; size != 5*Page || p.room != 0 {
		t.Errorf("size %d, room %d; want %d, 0", size, p.room, 5*Page)
	}
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Resize, Offset: 6 * Page}), syscall.ENOSPC)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Resize, Offset: Page}), 0)
	if p.room != Page {
		t.Errorf("room is %d after shrinking to a page; want %d", p.room, Page)
	}
	g.Destroy(1)
	if p.room != 2*Page {
		t.Errorf("room is %d at the end; want %d", p.room, 2*Page)
	}
}

// What a mapping stored beyond an end that has moved meanwhile is gone, not an error.
func TestWriteBackNeverGrows(t *testing.T) {
	g := New(objects.Unlimited, new(Bytes), 0)
	objecttest.Do(t, g, objects.Request{Op: objects.Resize, Offset: 5})
	for _, offset := range []int64{3, 5, 100} {
		r := objecttest.Do(t, g, objects.Request{Op: objects.WriteBack, Offset: offset, Data: []byte("abcd")})
		if objecttest.Answers(t, r, 0); r.N != 4 {
			t.Errorf("WriteBack at %d = %d; want 4", offset, r.N)
		}
	}
	r := objecttest.Do(t, g, objects.Request{Op: objects.ReadAt, Data: make([]byte, 10)})
	if string(r.Data) != "\x00\x00\x00ab" {
		t.Errorf("read %q; want the bytes within the size", r.Data)
	}
}

func TestSegmentSeals(t *testing.T) {
	g := New(objects.Unlimited, new(Bytes), 0)
	objecttest.Do(t, g, objects.Request{Op: objects.WriteAt, Data: []byte("12345678")})
	set := func(value string, want syscall.Errno) {
		t.Helper()
		if _, errno := g.SetPolicy(1, "seal", value); errno != want {
			t.Fatalf("seal %q = %v; want %v", value, errno, want)
		}
	}
	writer := &objects.Handle{Reads: true, Writes: true}
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Open, Handle: writer}), 0)
	set("", syscall.EINVAL)
	set("shrink what", syscall.EINVAL)
	set("none", 0)
	set("shrink", 0)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Resize, Offset: 7}), syscall.EPERM)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Resize, Offset: 8}), 0)
	set("grow", syscall.EBUSY)
	set("shrink write", syscall.EBUSY)
	set("shrink", 0)
	objecttest.Do(t, g, objects.Request{Op: objects.Close, Handle: writer})
	set("grow none", 0)
	for _, r := range []objects.Request{
		{Op: objects.Resize, Offset: 9}, {Op: objects.Allocate, Size: 9}, {Op: objects.WriteAt, Offset: 7, Data: []byte("ab")},
	} {
		objecttest.Answers(t, objecttest.Do(t, g, r), syscall.EPERM)
	}
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.WriteAt, Offset: 7, Data: []byte("a")}), 0)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Reserve, Size: 100}), 0)
	set("write", 0)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.WriteAt, Data: []byte("a")}), syscall.EPERM)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Punch, Size: 1}), syscall.EPERM)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Open, Handle: &objects.Handle{Writes: true}}), syscall.EPERM)
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Open, Handle: &objects.Handle{Reads: true}}), 0)
	if got := g.Policy("seal"); got != "shrink grow write" {
		t.Errorf("seal = %q; want all three", got)
	}
	if r := objecttest.Do(t, g, objects.Request{Op: objects.ReadAt, Data: make([]byte, 10)}); string(r.Data) != "1234567a" {
		t.Errorf("read %q; want %q", r.Data, "1234567a")
	}
}

func TestSegmentLockIsHeldByOneHandle(t *testing.T) {
	g := New(objects.Unlimited, new(Bytes), 0)
	user, first, second := &objects.Handle{Reads: true}, &objects.Handle{Reads: true}, &objects.Handle{Reads: true}
	objecttest.Do(t, g, objects.Request{Op: objects.Open, Handle: user})
	objecttest.Do(t, g, objects.Request{Op: objects.Hold, Handle: first})
	waiting := &objects.Request{Op: objects.Hold, Handle: second}
	if done := g.Submit(1, waiting); !done.Empty() {
		t.Fatal("a second hold was granted")
	}
	objecttest.Do(t, g, objects.Request{Op: objects.Close, Handle: user})
	if g.Removable() != syscall.EBUSY {
		t.Error("removable while somebody waits for the lock")
	}
	done := g.Submit(2, &objects.Request{Op: objects.Close, Handle: first})
	if done.Next(); done.Next() != waiting || waiting.Errno != 0 {
		t.Errorf("the lock was not handed over")
	}
	if g.Removable() != syscall.EBUSY {
		t.Error("removable while the lock is held")
	}
	objecttest.Do(t, g, objects.Request{Op: objects.Close, Handle: second})
	if errno := g.Removable(); errno != 0 {
		t.Errorf("Removable = %v; want 0", errno)
	}
	if err := g.Check(); err != nil {
		t.Error(err)
	}
}

func TestSegmentIsNotRemovableWhileAttached(t *testing.T) {
	g := New(objects.Unlimited, new(Bytes), 0)
	h := &objects.Handle{Reads: true}
	objecttest.Do(t, g, objects.Request{Op: objects.Open, Handle: h, Caller: objects.Caller{Pid: 7}})
	if errno := g.Removable(); errno != syscall.EBUSY {
		t.Errorf("Removable = %v; want EBUSY", errno)
	}
	if a := slices.Collect(g.Attached()); len(a) != 1 || a[0].Caller.Pid != 7 || a[0].Handle != h {
		t.Errorf("Attached = %v; want the one handle", a)
	}
	objecttest.Do(t, g, objects.Request{Op: objects.Close, Handle: h})
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
		limit := int64(8 * Page)
		p := &purse{room: limit}
		g := New(p, new(Bytes), 0)
		var model []byte
		grow := func(n int) {
			if n > len(model) {
				model = append(model, make([]byte, n-len(model))...)
			}
		}
		for step := range 300 {
			offset, size := random.Intn(6*Page), random.Intn(3*Page)+1
			data := bytes.Repeat([]byte{byte(step)}, size)
			r := objects.Request{Offset: int64(offset), Size: size}
			switch r.Op = []objects.Op{objects.ReadAt, objects.WriteAt, objects.WriteBack, objects.Resize, objects.Allocate, objects.Reserve, objects.Punch}[random.Intn(7)]; r.Op {
			case objects.ReadAt:
				r.Data = make([]byte, size)
			case objects.WriteAt, objects.WriteBack:
				r.Data = data
			}
			got := objecttest.Do(t, g, r)
			if got.Errno == syscall.ENOSPC {
				continue
			}
			if got.Errno != 0 {
				t.Fatalf("seed %d, step %d: %s = %v", seed, step, r.Op, got.Errno)
			}
			switch r.Op {
			case objects.ReadAt:
				want := model[min(offset, len(model)):]
				if want = want[:min(size, len(want))]; !bytes.Equal(got.Data, want) {
					t.Fatalf("seed %d, step %d: read %d bytes at %d differ from the model's %d", seed, step, len(got.Data), offset, len(want))
				}
			case objects.WriteAt:
				grow(offset + got.N)
				copy(model[offset:], data[:got.N])
			case objects.WriteBack:
				copy(model[min(offset, len(model)):], data)
			case objects.Resize:
				grow(offset)
				model = model[:offset:offset]
			case objects.Allocate:
				grow(offset + size)
			case objects.Punch:
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
