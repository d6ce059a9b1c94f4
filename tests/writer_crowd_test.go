package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// perOpen is how many requests one open of a crowd may cost, with its close. It is eleven or twelve: LOOKUP, GETATTR and
// OPEN, of which the last is answered ESTALE, LOOKUP of the directory, three of the file, GETATTR, OPEN and RELEASE. On a
// machine that is busy with other things some writers come too late for their turn, and cost the others a few more.
const perOpen = 30

// requests is how many requests the mount has served.
func (m *mountpoint) requests(t testing.TB) int { return m.daemonStat(t)["requests"] }

func TestConcurrentOpensForWritingCostEachTheSame(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"w", "wt", "wa", "wc", "wct", "rw"} {
		t.Run(flags, func(t *testing.T) {
			m := mount(t)
			for _, n := range []int{1000, 3000} {
				if n > 1000 && testing.Short() {
					continue
				}
				mb := m.mailbox(t, flat, "box"+number(n))
				before := m.requests(t)
				run(t, crowdBin, flags, number(n), mb.path).prints("0 failed\n")
				got := float64(m.requests(t)-before) / float64(n)
				t.Logf("%d opens: %.1f requests each", n, got)
				if got > perOpen {
					t.Errorf("%d concurrent opens cost %.1f requests each, want at most %d", n, got, perOpen)
				}
			}
		})
	}
}

func TestCrowdsOfTwoUsersDoNotKeepEachOtherOut(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	mb := m.mailbox(t, flat, "box")
	if err := os.Chmod(mb.path, 0o666); err != nil {
		t.Fatal(err)
	}
	const n = 1000
	before := m.requests(t)
	mine := run(t, crowdBin, "w", number(n), mb.path)
	theirs := command{argv: []string{crowdBin, "w", number(n), mb.path}, as: nobody(t)}.run(t)
	mine.prints("0 failed\n")
	theirs.prints("0 failed\n")
	if got := float64(m.requests(t)-before) / (2 * n); got > perOpen {
		t.Errorf("%d concurrent opens of two users cost %.1f requests each, want at most %d", 2*n, got, perOpen)
	}
}

// Each writer of a crowd has an inode of its own: all that are parked let everybody else pass.
func TestParkedCrowdHoldsUpNobody(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"ws", "wts", "wcts"} {
		t.Run(flags, func(t *testing.T) {
			t.Parallel()
			m := mount(t)
			mb := m.mailbox(t, flat, "box").with("capacity", "1")
			mb.put("first")
			before := m.atRest(t)
			const n = 300
			crowd := run(t, crowdBin, flags, number(n), mb.path)
			mb.awaitStat("senders_waiting " + number(n))
			does(t,
				"chmod "+mb.path+" 600", "ok", "truncate "+mb.path+" 0", "ok",
				"open "+mb.path+" wronly|trunc|nonblock", "ok", "write x", "EAGAIN",
				"open "+mb.path+" wronly|append|nonblock", "ok", "write x", "EAGAIN", "fsync", "ok",
				"rename "+mb.path+" "+mb.path+"2", "ok", "rename "+mb.path+"2 "+mb.path, "ok")
			crowd.kill()
			mb.awaitWaiters(0)
			mb.wantQueue("first")
			m.leavesNothingBehind(t, before)
		})
	}
}

// A crowd that dies while it opens leaves nobody at the gate, and holds up nobody who comes later.
func TestCrowdKilledAsItOpensLeavesNothing(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, flat, "box")
	before := m.atRest(t)
	for round := range 5 {
		asked := m.requests(t)
		crowd := run(t, crowdBin, "w", "400", mb.path) // fewer than make the daemon open another device
		eventually(t, func() string {
			if m.requests(t) < asked+200+400*round {
				return "the crowd has not come"
			}
			return ""
		})
		crowd.kill()
		does(t, "open "+mb.path+" wronly", "ok")
	}
	m.leavesNothingBehind(t, before)
}

func TestNameThatIsTakenFromACrowdIsENOENT(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{"rm": `rm "$1"`, "mv": `mv "$1" "$1.away"`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mount(t)
			mb := m.mailbox(t, flat, "box")
			asked := m.requests(t)
			crowd := run(t, crowdBin, "w", "500", mb.path)
			eventually(t, func() string {
				if m.requests(t) < asked+1000 {
					return "the crowd has not come"
				}
				return ""
			})
			run(t, "bash", "-c", line, "bash", mb.path).prints("")
			crowd.wait()
			for line := range strings.Lines(crowd.stderr.String()) {
				if !strings.HasSuffix(line, " times No such file or directory\n") {
					t.Errorf("open in a crowd failed: %s", line)
				}
			}
		})
	}
}

func TestCrowdThatIsInterruptedOpensNevertheless(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, flat, "box")
	for range 5 {
		run(t, crowdBin, "wi", "500", mb.path).prints("0 failed\n")
	}
}

// To the daemon they all are thread 0.
func TestCrowdInAnInvisibleNamespaceOpens(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := emptyDir(t, nil)
	daemon := run(t, "unshare", "--pid", "--fork", "--kill-child", ipcfsBin, "mount", "-f", "-o", "allow_other", dir)
	t.Cleanup(func() {
		daemon.kill()
		detach(dir)
	})
	eventually(t, func() string {
		if !strings.Contains(daemon.stderr.String(), "serving") {
			return "the daemon does not serve: " + daemon.stderr.String()
		}
		return ""
	})
	box := filepath.Join(dir, "mailboxes", "box")
	does(t, "umask 0", "ok", "open "+box+" rdwr|creat|nonblock 666", "ok")
	var crowds []*client
	for i := range 4 {
		c := command{argv: []string{crowdBin, fmt.Sprint("rw"[i%2:]), "100", box}}
		if i >= 2 {
			c.as = nobody(t)
		}
		crowds = append(crowds, c.run(t))
	}
	for _, c := range crowds {
		c.prints("0 failed\n")
	}
}
