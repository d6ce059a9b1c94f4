package fs

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func TestNoLockIsHeldBetweenTheLinesOfAText(t *testing.T) {
	f := New(Config{})
	d := f.kinds[0]
	func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for i := range 3 * batch {
			if _, errno := f.addObjectLocked(d, fmt.Sprint("o", i), true, 0o600, fuse.Owner{Uid: 7}); errno != 0 {
				t.Fatal(errno)
			}
		}
	}()
	if _, last, more := f.someObjects(d, 0, new(identity)); last != batch || !more {
		t.Errorf("the first look at the objects ends at %d, more %v; want %d, true", last, more, batch)
	}
	seen := 0
	for o := range f.allObjects(new(identity)) {
		if !f.mu.TryLock() || !o.mu.TryLock() {
			t.Fatal("a lock is held while an object is listed")
		}
		o.mu.Unlock()
		f.mu.Unlock()
		seen++
	}
	if seen != 3*batch {
		t.Errorf("%d objects are listed, want %d", seen, 3*batch)
	}
	for range f.allObjects(&identity{Caller: objects.Caller{Uid: 8}}) {
		t.Fatal("a stranger sees what is closed to them")
	}
}

// A reader meets everything once whatever the size of its reads, and what it goes back to
// is there still; the text that is kept stays small.
func TestATextIsReadInPieces(t *testing.T) {
	const lines = 5000
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	made := 0
	x := &text{lines: func(yield func([]byte) bool) {
		made++
		for i := range lines {
			if !yield(fmt.Appendf(nil, "line %d\n", i)) {
				return
			}
		}
	}}
	for _, size := range []int{1, 7, 4096, textPiece, 1 << 20} {
		var got []byte
		for {
			b := x.readLocked(uint64(len(got)), size)
			if len(b) == 0 {
				break
			}
			got = append(got, b...)
			if cap(x.made) > textCost-8<<10 {
				t.Fatalf("%d bytes are kept of the text", cap(x.made))
			}
			if back := max(0, len(got)-textPiece); back > 0 && string(x.readLocked(uint64(back), 1)) != string(got[back:back+1]) {
				t.Fatalf("size %d: going back to %d gives something else", size, back)
			}
		}
		if string(got) != want.String() {
			t.Errorf("reads of %d bytes give %d, want %d of them", size, len(got), want.Len())
		}
	}
	if made != 5 {
		t.Errorf("the text was made %d times for 5 readings", made)
	}
	if got := x.readLocked(30000, 10); string(got) != want.String()[30000:30010] {
		t.Errorf("at 30000 there is %q", got)
	}
	if got := x.readLocked(1<<40, 10); len(got) != 0 {
		t.Errorf("behind the end there is %q", got)
	}
	x.end()
	x = nil
	x.end()
}

// What has one position with others is in the same batch, and nothing is missed.
func TestBatchesMissNothing(t *testing.T) {
	var all []position
	for i := range 5 * batch {
		all = append(all, position{uint64(i*7919%(5*batch)) / 3, 1})
	}
	from := func(after position) []position {
		return next(slices.Values(all), func(p position) position { return p }, after)
	}
	got := slices.Collect(iter.Seq[position](each(func(p position) position { return p }, from)))
	if len(got) != len(all) {
		t.Errorf("%d of %d were met", len(got), len(all))
	}
	if !slices.IsSortedFunc(got, position.compare) {
		t.Error("they are not in order")
	}
}
