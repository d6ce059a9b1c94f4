package tests

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// limitFiles sets how many files the daemon may have open, until the test ends. The result undoes it.
func (m *mountpoint) limitFiles(t testing.TB, n uint64) (undo func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Prlimit(m.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	set := func(l unix.Rlimit) {
		if err := unix.Prlimit(m.cmd.Process.Pid, unix.RLIMIT_NOFILE, &l, nil); err != nil {
			t.Fatal(err)
		}
	}
	set(unix.Rlimit{Cur: n, Max: old.Max})
	return func() { set(old) }
}

func TestFailedCreateLeavesNoObject(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"rdwr|creat|excl", "rdwr|creat"} {
		t.Run(flags, func(t *testing.T) {
			t.Parallel()
			m := mount(t)
			// The memory of a segment is a file of the daemon's, which now cannot open any.
			undo := m.limitFiles(t, 3)
			s := m.path("segments", "s")
			fails := cli(t, "open "+s+" "+flags+" 600").output()
			if fails == "ok\n" {
				t.Fatal("the daemon opened a file beyond its limit")
			}
			undo()
			if there(s) {
				t.Errorf("open said %q, and left the segment behind", fails)
			}
			eventually(t, func() string {
				if got := m.daemonStat(t); got["objects"] != 0 || got["bytes"] != 0 {
					return fmt.Sprintf("the daemon counts %d objects, %d bytes, want none", got["objects"], got["bytes"])
				}
				return ""
			})
			does(t, "open "+s+" rdwr|creat|excl 600", "ok", "write x", "1")
			if err := os.Remove(s); err != nil {
				t.Error(err)
			}
		})
	}
}
