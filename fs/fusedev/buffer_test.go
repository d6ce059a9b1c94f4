package fusedev

import "testing"

func TestKeptBufferIsUsedAgainWhenTheLastUserHasFreedIt(t *testing.T) {
	c := &Conn{mount: new(mount)}
	first, second := new(Buffer), new(Buffer)
	c.loops[0].buf.Store(first)
	c.loops[1].buf.Store(second)
	b := c.Keep(second.data[80:90])
	if b != second || c.loops[0].buf.Load() != first || c.loops[1].buf.Load() != nil {
		t.Fatal("Keep took the buffer of another thread")
	}
	b.Hold()
	b.Free()
	if n := b.users.Load(); n != 1 {
		t.Errorf("%d users after Hold and Free, want 1", n)
	}
	b.Free()
	if n := b.users.Load(); n != 0 {
		t.Errorf("%d users at the end, want 0", n)
	}
	defer func() {
		if recover() == nil {
			t.Error("Keep of a stranger's data did not panic")
		}
	}()
	c.Keep(make([]byte, 10))
}
