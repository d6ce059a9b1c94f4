package tests

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// filesLimit sets the soft limit of the daemon's descriptors, and returns what it was.
func (m *mountpoint) filesLimit(t testing.TB, soft uint64) uint64 {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Prlimit(m.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(m.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: soft, Max: old.Max}, nil); err != nil {
		t.Fatal(err)
	}
	return old.Cur
}

// noMoreFiles leaves the daemon room for n descriptors from now on, until the result is called.
func (m *mountpoint) noMoreFiles(t testing.TB, n int) (enough func()) {
	t.Helper()
	limit := 0
	for ; n >= 0; limit++ {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", m.cmd.Process.Pid, limit)); err != nil {
			n--
		}
	}
	soft := m.filesLimit(t, uint64(limit-1))
	return func() { m.filesLimit(t, soft) }
}

func TestDaemonRaisesItsLimitOfDescriptors(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t)
	var limit, own unix.Rlimit
	if err := unix.Prlimit(m.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	want := own.Max
	if mayRaiseLimits(t) {
		text, err := os.ReadFile("/proc/sys/fs/nr_open")
		if err != nil {
			t.Fatal(err)
		}
		var most uint64
		fmt.Sscan(string(text), &most)
		want = max(want, min(most, 1<<20))
	}
	if limit.Cur < min(want, 1<<20) {
		t.Errorf("the daemon may have %d descriptors, want %d", limit.Cur, want)
	}
}

// mayRaiseLimits reports whether this process has CAP_SYS_RESOURCE: proc_pid_status(5).
func mayRaiseLimits(t testing.TB) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var set uint64
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "CapEff:"); ok {
			fmt.Sscanf(value, "%x", &set)
		}
	}
	return set&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// What the death of its holder could not give back is not given out.
func TestHoldIsGivenBackThoughDescriptorsRanOut(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	s, box := m.path("semaphores", "s"), m.path("mailboxes", "b")
	m.as1("mkdir", s, box).run(t).prints("")
	m.as1("bash", "-c", "echo 200 > "+s+"/value; for i in {1..50}; do echo > "+box+"/send; done").run(t).prints("")
	m.as1("cat", s+"/owners", s+"/value").run(t).prints("200\n")
	enough := m.noMoreFiles(t, 30)
	// The holder's child keeps its descriptors open, so only the pidfd tells of the death.
	c := m.script(t, `
import collections
errors, files = collections.Counter(), []
def hold(path, how):
    try:
        files.append(os.open(path, how))
    except OSError as e:
        errors[errno.errorcode[e.errno]] += 1
for i in range(200):
    hold("../semaphores/s/hold", os.O_RDONLY)
held = len(files)
lock = os.open("../mailboxes/b/send", os.O_RDWR)
import fcntl
print(attempt(fcntl.lockf, lock, fcntl.LOCK_EX))
for i in range(20):
    hold("../mailboxes/b/lease", os.O_RDWR)
print(0 < held < 200, len(files) == held, list(errors), flush=True)
if os.fork() == 0:
    print("child", flush=True)
    signal.pause()
signal.pause()
`)
	c.expect("ENOLCK", "True True ['ENFILE']", "child")
	if err := syscall.Kill(c.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string { return differs(m.as1("cat", s+"/value").run(t).output(), "200\n") })
	if n := strings.Count(m.stderr.String(), "file descriptors"); n != 1 {
		t.Errorf("the log has %d lines of the shortage, want 1:\n%s", n, m.stderr)
	}
	enough()
	m.as1("bash", "-c", "exec 9<"+s+"/hold; cat "+s+"/value").run(t).prints("199\n")
	c.kill()
}

// A shortage passes: the first who opens a segment meets it, and the next has passthrough.
func TestShortageOfDescriptorsPasses(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	s := m.path("segments", "s")
	enough := m.noMoreFiles(t, 0)
	does(t, "open "+s+" rdwr|creat 600", "ENFILE")
	enough()
	does(t, "open "+s+" rdwr|creat 600", "ok", "write x", "1")
	if m.memoryStat(t)["passthrough"] != 1 {
		t.Error("passthrough is off after a shortage of descriptors")
	}
	// Devices: one more for each 512 requests that wait.
	hold := m.path("semaphores", "s", "hold")
	m.as1("mkdir", m.path("semaphores", "s")).run(t).prints("")
	all := 0
	waiting := func(n int) *client {
		all += n
		c := m.as1(crowdBin, "r", number(n), hold).run(t)
		eventually(t, func() string {
			if now := m.memoryStat(t)["parked"]; now < all {
				return fmt.Sprintf("%d requests are parked, want %d", now, all)
			}
			return ""
		})
		return c
	}
	fds := m.descriptors(t)
	enough = m.noMoreFiles(t, 0)
	first := waiting(1100)
	enough()
	second := waiting(1200)
	eventually(t, func() string {
		if now := m.descriptors(t); now <= fds {
			return fmt.Sprintf("the daemon has %d descriptors with 2,300 requests parked, had %d: no further device", now, fds)
		}
		return ""
	})
	first.kill()
	second.kill()
	if n := strings.Count(m.stderr.String(), "cannot be opened once more"); n != 1 {
		t.Errorf("the log has %d lines of devices that could not be opened, want 1:\n%s", n, m.stderr)
	}
}
