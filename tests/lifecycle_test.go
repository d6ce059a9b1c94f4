package tests

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// parkedOfAllSorts blocks clients in every way there is.
func parkedOfAllSorts(t *testing.T, m *mountpoint) []*client {
	t.Helper()
	var all []*client
	for _, shape := range []string{flat, directory} {
		mb := m.mailbox(t, shape, shape).with("capacity", "0")
		all = append(all, mb.parkReceiver())
		mb = m.mailbox(t, shape, shape+"-full").with("capacity", "1")
		mb.put("x")
		all = append(all, mb.parkSender("x"), mb.parkSender("y"))
		mb = m.mailbox(t, shape, shape+"-empty")
		peeker := cli(t, "catch usr1", "open "+mb.file("peek")+" rdonly", "read 10")
		peeker.expect("ok", "ok")
		all = append(all, mb.parked(peeker))
	}
	return all
}

func TestSignalUnmountsUnderParkedClients(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			dir := emptyDir(t, nil)
			d, err := startDaemon(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			clients := parkedOfAllSorts(t, &mountpoint{daemon: d})
			poller := cli(t, "open "+filepath.Join(dir, "mailboxes", flat)+" rdonly|nonblock", "poll in -1")
			poller.expect("ok")
			poller.asleep()
			d.signal(sig)
			if err := d.end(); err != nil {
				t.Error(err)
			}
			for _, c := range clients {
				if got := c.next(); !strings.HasPrefix(got, "E") {
					t.Errorf("%v got %s from a request the unmount ended, want an error", c, got)
				}
				c.output()
			}
			poller.kill()
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
				t.Errorf("the mountpoint holds %v, %v after the unmount; want it empty", entries, err)
			}
		})
	}
}

func TestUmountCommandUnmounts(t *testing.T) {
	t.Parallel()
	dir := emptyDir(t, nil)
	d, err := startDaemon(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	run(t, ipcfsBin, "umount", dir).output()
	if mountedAt(dir) {
		t.Error("still mounted after umount has returned")
	}
	if err := d.end(); err != nil {
		t.Error(err)
	}
	if status := run(t, ipcfsBin, "umount", dir).wait(); status == 0 {
		t.Error("umount of what is not mounted ended with status 0")
	}
}

func TestUmountOfABusyMountFailsAndChangesNothing(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, flat, "jobs")
	c := mb.parkReceiver()
	u := run(t, ipcfsBin, "umount", m.dir)
	if status := u.wait(); status == 0 || u.stderr.String() == "" {
		t.Fatalf("umount of a busy mount ended with status %d and said %q, want an error", status, u.stderr)
	}
	mb.parked(c)
	mb.put("hello")
	c.expect(`"hello"`)
}

func TestLazyUmountLetsOpenFilesGoOn(t *testing.T) {
	t.Parallel()
	dir := emptyDir(t, nil)
	d, err := startDaemon(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	mb := (&mountpoint{daemon: d}).mailbox(t, flat, "jobs")
	// The one client has both ends.
	c := cli(t, "open "+mb.path+" rdonly|nonblock", "open "+mb.path+" wronly", "pause", "write hello", "use 0", "read 10")
	c.expect("ok", "ok")
	run(t, ipcfsBin, "umount", "-l", dir).output()
	if mountedAt(dir) {
		t.Error("still in the list of mounts after umount -l")
	}
	c.resume()
	c.expect("ok", "5", "ok", `"hello"`)
	c.output()
	// With its last file the filesystem ends, and with it the daemon.
	if err := d.end(); err != nil {
		t.Error(err)
	}
}

func TestKilledDaemonLeavesENOTCONNAndMountRecovers(t *testing.T) {
	t.Parallel()
	dir := emptyDir(t, nil)
	d, err := startDaemon(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	clients := parkedOfAllSorts(t, &mountpoint{daemon: d})
	d.signal(syscall.SIGKILL)
	<-d.exited
	for _, c := range clients {
		if got := c.next(); got != "ECONNABORTED" {
			t.Errorf("%v got %s when the daemon was killed, want ECONNABORTED", c, got)
		}
		c.output()
	}
	// Not stat: the kernel may answer that from its cache.
	if _, err := os.ReadDir(dir); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("ls of a killed daemon's mountpoint = %v, want ENOTCONN", err)
	}
	d, err = startDaemon(dir, nil)
	if err != nil {
		detach(dir)
		t.Fatal(err)
	}
	mb := (&mountpoint{daemon: d}).mailbox(t, flat, "jobs")
	mb.put("hello")
	mb.wantQueue("hello")
	if err := d.stop(); err != nil {
		t.Error(err)
	}
}

func TestKilledDaemonsMountpointIsUnmountable(t *testing.T) {
	t.Parallel()
	dir := emptyDir(t, nil)
	d, err := startDaemon(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.signal(syscall.SIGKILL)
	<-d.exited
	run(t, ipcfsBin, "umount", dir).output()
	if mountedAt(dir) {
		t.Error("still mounted after umount")
		detach(dir)
	}
}

func TestUnprivilegedMountIsRecoveredToo(t *testing.T) {
	t.Parallel()
	needRoot(t)
	user := nobody(t)
	dir := emptyDir(t, user)
	d, err := startDaemon(dir, user)
	if err != nil {
		t.Fatal(err)
	}
	d.signal(syscall.SIGKILL)
	<-d.exited
	d, err = startDaemon(dir, user)
	if err != nil {
		detach(dir)
		t.Fatal(err)
	}
	if err := d.stop(); err != nil {
		t.Error(err)
	}
}

func TestMountGoesToTheBackground(t *testing.T) {
	t.Parallel()
	dir := emptyDir(t, nil)
	log := filepath.Join(t.TempDir(), "log")
	defer detach(dir)
	run(t, ipcfsBin, "mount", "--log", log, dir).output()
	// It serves when the command has returned.
	mb := (&mountpoint{daemon: &daemon{dir: dir}}).mailbox(t, flat, "jobs")
	mb.put("hello")
	mb.wantQueue("hello")
	pids := processesWith(dir)
	if len(pids) != 1 {
		t.Errorf("processes of the mount: %v, want one daemon", pids)
	}
	mine, err := unix.Getsid(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		// A session of its own: the death of the shell is none of its business.
		if sid, err := unix.Getsid(pid); err != nil || sid == mine {
			t.Errorf("the daemon is in session %d, %v; want one of its own", sid, err)
		}
	}
	eventually(t, func() string {
		// A child that another test is just starting has this process's descriptors until it execs.
		if out, err := exec.Command(ipcfsBin, "umount", dir).CombinedOutput(); err != nil {
			return string(out)
		}
		return ""
	})
	eventually(t, func() string {
		if pids := processesWith(dir); len(pids) != 0 {
			return "the daemon runs on after umount"
		}
		return ""
	})
	text, err := os.ReadFile(log)
	if err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"DATA RACE", "panic", "fatal error"} {
		if strings.Contains(string(text), bad) {
			t.Errorf("the daemon's log:\n%s", text)
		}
	}
}

// processesWith returns the processes that have arg as an argument.
func processesWith(arg string) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var pids []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for a := range strings.SplitSeq(string(text), "\x00") {
			if a == arg {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func TestMountSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range [][]string{
		{"mount", "-f", file + "-ghost"},
		{"mount", file + "-ghost"},
		{"mount", "-f", file},
		{"mount"},
		{"mount", "-o", "no_such_option", "-f", t.TempDir()},
		{"umount", t.TempDir()},
		{"no-such-command"},
	} {
		c := run(t, append([]string{ipcfsBin}, row...)...)
		if status := c.wait(); status == 0 || c.stderr.String() == "" {
			t.Errorf("ipcfs %v ended with status %d and said %q, want an error", row, status, c.stderr)
		}
	}
	if out := run(t, ipcfsBin, "version").output(); !strings.Contains(out, "ipcfs") {
		t.Errorf("ipcfs version printed %q", out)
	}
}

func TestTwoMountsAreSeparate(t *testing.T) {
	t.Parallel()
	a, b := mount(t).mailbox(t, flat, "jobs"), mount(t).mailbox(t, flat, "jobs")
	a.put("for a")
	b.wantQueue()
	a.wantQueue("for a")
}
