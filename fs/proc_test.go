package fs

import (
	"runtime"
	"testing"
)

func TestStandingIsReadFromStat(t *testing.T) {
	for _, tt := range []struct {
		line string
		want standing
	}{
		{"", standing{}},
		{"7 (a) b) D 1 7 7 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 3 0 100 0 0 18446744073709551615 0 0 0 0 0 256 0 0", standing{'D', 4194304, 3, true}},
		{"7 (lab) S 1 7 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0 18446744073709551615 0 0 0 0 0 2 0 0", standing{'S', 4194560, 1, false}},
		{"7 (cut) D 1 7", standing{}},
	} {
		if got := standingIn([]byte(tt.line)); got != tt.want {
			t.Errorf("standingIn(%q) = %+v, want %+v", tt.line, got, tt.want)
		}
	}
}

func TestLinkIsToldFromOtherSystemCalls(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the numbers are those of x86-64")
	}
	for _, tt := range []struct {
		what, line string
		calling    calling
		link       bool
		flags      uint64
	}{
		{"linkat", "265 0xffffff9c 0x55d28dd1a073 0xffffff9c 0x7ffe30ad5a0b 0x400 0x7f0c0dd6c6d0 0x7ffe30ad53b8 0x7f0c0dc6ca2a", within, true, 0x400},
		{"link", "86 0x7ffe 0x7fff 0x0 0x0 0x0 0x0 0x7ffe30ad53b8 0x7f0c0dc6ca2a", within, true, 0},
		{"x32 linkat", "1073742089 0xffffff9c 0x1000 0xffffff9c 0x2000 0x1000 0x0 0xffaad3b8 0x8048000", within, true, 0x1000},
		{"ia32 link", "9 0x1000 0x2000 0x0 0x0 0x0 0x0 0xffaad3b8 0x8048000", within, true, 0},
		{"ia32 linkat", "303 0xffffff9c 0x1000 0xffffff9c 0x2000 0x400 0x0 0xffaad3b8 0x8048000", within, true, 0x400},
		{"name_to_handle_at", "303 0xffffff9c 0x7ffe1000 0x7ffe2000 0x7ffe2000 0x0 0x0 0x7ffe30ad53b8 0x7f0c0dc6ca2a", within, false, 0},
		{"mkdir", "83 0x7ffec9ed39fe 0x1c0 0x7ffec9ed18e8 0x7fcb5075d958 0x0 0x7fcb509466d0 0x7ffec9ed16d8 0x7fcb50844f37", within, false, 0},
		{"on its way to sleep", "running\n", running, false, 0},
		{"outside of system calls", "-1 0x7ffec9ed16d8 0x7fcb50844f37\n", unknown, false, 0},
		{"gone", "", unknown, false, 0},
	} {
		s, c := systemCallIn([]byte(tt.line))
		if c != tt.calling {
			t.Errorf("%s: systemCallIn(%q) = %v, want %v", tt.what, tt.line, c, tt.calling)
		}
		if l, yes := thread(0).linking(s); c == within && (yes != tt.link || l.flags != tt.flags) {
			t.Errorf("%s: linking = %+v, %v; want flags %#x, %v", tt.what, l, yes, tt.flags, tt.link)
		}
	}
	s, c := systemCallIn([]byte("426 0x4 0x1 0x1 0x1 0x0 0x0 0x0 0x0"))
	if c != within || !s.worker {
		t.Errorf("a thread of io_uring = %+v, %v; want a worker", s, c)
	}
}
