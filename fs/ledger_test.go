package fs

import (
	"syscall"
	"testing"

	"ipcfs/objects"
)

func TestLedgerRefusesWhatIsBeyondALimit(t *testing.T) {
	l := newLedger(Config{MaxBytes: 100, MaxMessages: 10, MaxObjects: 2})
	for _, c := range []struct {
		set             string
		uid             uint32
		messages, bytes int64
		want            syscall.Errno
	}{
		{"", 1, 1, 60, 0},
		{"", 1, 1, 41, syscall.ENOSPC},
		{"", 1, 9, 40, 0},
		{"", 2, 1, 0, syscall.ENOSPC},
		{"messages max\nuser_messages 10", 2, 1, 0, 0},
		{"", 1, 1, 0, syscall.EDQUOT},
		{"bytes 5", 2, 0, 1, syscall.ENOSPC},
		{"", 2, 1, 0, 0},    // bytes are over the limit, but it adds none
		{"", 1, -5, -40, 0}, // giving back always works
		{"", 1, 5, 0, 0},
		{"bytes max\nuser_bytes 59", 1, 0, 1, syscall.EDQUOT},
		{"", 2, 0, 59, 0},
		{"", 1, -10, -60, 0},
		{"", 2, -2, -59, 0},
	} {
		if c.set != "" {
			if errno := l.set(c.set); errno != 0 {
				t.Fatalf("set(%q) = %v; want 0", c.set, errno)
			}
		}
		before := l.total()
		if errno := l.Charge(c.uid, objects.Cost{Messages: c.messages, Bytes: c.bytes}); errno != c.want {
			t.Fatalf("Charge(%d, %d, %d) with %+v held = %v; want %v", c.uid, c.messages, c.bytes, before, errno, c.want)
		}
		if after := l.total(); c.want != 0 && after != before {
			t.Fatalf("a refused Charge changed %+v to %+v", before, after)
		}
	}
	if l.total() != (amounts{}) || len(l.usedByUsers) != 0 {
		t.Errorf("%+v is held by %v at the end; want nothing", l.total(), l.usedByUsers)
	}
}

func TestLedgerCountsObjects(t *testing.T) {
	l := newLedger(Config{MaxObjects: 2})
	for i, c := range []struct {
		uid  uint32
		want syscall.Errno
	}{{1, 0}, {2, 0}, {1, syscall.ENOSPC}} {
		if errno := l.addObject(c.uid); errno != c.want {
			t.Errorf("object %d of %d = %v; want %v", i, c.uid, errno, c.want)
		}
	}
	l.set("objects max\nuser_objects 1")
	if errno := l.addObject(1); errno != syscall.EDQUOT {
		t.Errorf("addObject = %v; want EDQUOT", errno)
	}
	l.removeObject(1)
	l.removeObject(2)
	if l.total() != (amounts{}) || len(l.usedByUsers) != 0 {
		t.Errorf("%+v is held at the end; want nothing", l.total())
	}
}

func TestBadLimitsChangeNothing(t *testing.T) {
	l := newLedger(Config{MaxBytes: 4096})
	before := string(l.show())
	for _, text := range []string{"", "\n", "bytes", "bytes 1 2", "bytes -1", "bytes x", "objects 1K", "colour 1", "objects 1\nbytes x"} {
		if errno := l.set(text); errno != syscall.EINVAL {
			t.Errorf("set(%q) = %v; want EINVAL", text, errno)
		}
		if after := string(l.show()); after != before {
			t.Errorf("set(%q) changed the limits to\n%s", text, after)
		}
	}
	if errno := l.set("  bytes   1M \n\nobjects max\n"); errno != 0 {
		t.Errorf("set = %v; want 0", errno)
	}
	if errno := l.set(string(l.show())); errno != 0 || l.limits().Bytes != 1<<20 {
		t.Errorf("setting what is shown = %v, bytes %d; want 0, %d", errno, l.limits().Bytes, 1<<20)
	}
}

func TestMovingMeetsTheLimitOfTheReceiverAlone(t *testing.T) {
	l := newLedger(Config{MaxBytes: 100, MaxMessages: 1})
	l.Charge(1, objects.Cost{Messages: 1, Bytes: 100})
	l.set("user_bytes 60\nbytes 1")
	for _, c := range []struct {
		from, to uint32
		bytes    int64
		want     syscall.Errno
	}{{1, 2, 61, syscall.EDQUOT}, {1, 2, 60, 0}, {1, 2, 1, syscall.EDQUOT}, {2, 2, 60, 0}, {2, 1, 20, 0}, {2, 3, 40, 0}} {
		if errno := l.Move(c.from, objects.Cost{Bytes: c.bytes}, c.to, objects.Cost{Bytes: c.bytes}); errno != c.want {
			t.Errorf("Move(%d, %d, %d) = %v; want %v", c.from, c.to, c.bytes, errno, c.want)
		}
		if used := l.total(); used != (amounts{Messages: 1, Bytes: 100}) {
			t.Fatalf("%+v is held; want what there was", used)
		}
	}
	l.Adjust(1, objects.Cost{Messages: -1, Bytes: -60})
	l.Adjust(3, objects.Cost{Bytes: -40})
	if len(l.usedByUsers) != 0 {
		t.Errorf("%v hold something at the end; want nobody", l.usedByUsers)
	}
}
