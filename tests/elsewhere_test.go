package tests

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The mount as seen through what people put around it: chroot(2), bind mounts, overlayfs, the freezer of cgroups(7).

func TestMountServesInAChroot(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	c := run(t, python, "-c", `
import os, sys
os.chroot(sys.argv[1])
os.chdir("/")
for text in b"one", b"two":
    f = os.open("/mailboxes/jobs/send", os.O_WRONLY)
    os.write(f, text)
    os.close(f)
f = os.open("/mailboxes/jobs/receive", os.O_RDONLY)
print(os.read(f, 10), sorted(os.listdir("/"))[:2], flush=True)
os.read(f, 10) # end of file
print(os.read(f, 10))
print(os.read(f, 10))
print(os.read(f, 10))
`, m.dir)
	c.expect("b'one' ['.ipcfs', 'mailboxes']", "b'two'", "b''")
	mb.parked(c)
	mb.put("three")
	c.expect("b'three'")
	c.output()
}

// What somebody else does there keeps nobody from a file that is bind-mounted with its directory.
func TestMountServesThroughABindMount(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs").with("capacity", "1")
	dir := emptyDir(t, nil)
	if err := unix.Mount(mb.path, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { detach(dir) })
	mb.put("first")
	writer := cli(t, "open "+dir+"/send wronly", "write second")
	mb.parked(writer)
	does(t,
		"chmod "+dir+"/send 600", "ok", "open "+dir+"/send wronly|nonblock", "ok", "write x", "EAGAIN",
		"open "+mb.send+" wronly|nonblock", "ok", "write x", "EAGAIN",
		"open "+dir+"/receive rdonly", "ok", "read 100", `"first"`)
	writer.expect("ok", "6")
	mb.wantQueue("second")
}

// overlayfs keeps the inode that a name led to when it was first used. To keep writers apart, a name here leads to
// another one as soon as somebody else uses it, and overlayfs says ESTALE. The manual says so.
func TestOverlayfsOverAMountIsStaleAndHarmless(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	mb.put("first")
	dir := emptyDir(t, nil)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { detach(dir) })
	for _, name := range []string{"upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	merged := filepath.Join(dir, "merged")
	options := "lowerdir=" + m.dir + ",upperdir=" + dir + "/upper,workdir=" + dir + "/work"
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { detach(merged) })
	peek := filepath.Join(merged, "mailboxes", "jobs", "peek")
	run(t, "cat", peek).prints("first")
	does(t, "open "+peek+" rdonly", "ESTALE")
	// Writing would copy the file to the upper layer.
	send := filepath.Join(merged, "mailboxes", "jobs", "send")
	if got := cli(t, "open "+send+" wronly").output(); got == "ok\n" {
		t.Error("overlayfs opened an endpoint for writing")
	}
	mb.put("second")
	mb.wantQueue("first", "second")
}

// A freezer is a cgroup whose processes can be stopped: cgroup.freeze, Documentation/admin-guide/cgroup-v2.rst.
type freezer struct {
	t   *testing.T
	dir string
}

func newFreezer(t *testing.T) *freezer {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			dir, err := os.MkdirTemp(f[1], "ipcfs-")
			if err != nil {
				t.Skipf("no cgroup can be made here: %v", err)
			}
			fr := &freezer{t, dir}
			t.Cleanup(func() {
				fr.set("cgroup.freeze", "0")
				if s := awaited(func() string {
					if err := os.Remove(dir); err != nil {
						return err.Error()
					}
					return ""
				}); s != "" {
					t.Error(s)
				}
			})
			return fr
		}
	}
	t.Skip("cgroup v2 is not mounted here")
	return nil
}

func (f *freezer) set(file, value string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, file), []byte(value), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// freeze stops the clients, and returns when they are stopped.
func (f *freezer) freeze(clients ...*client) {
	f.t.Helper()
	for _, c := range clients {
		f.set("cgroup.procs", number(c.pid()))
	}
	f.set("cgroup.freeze", "1")
	eventually(f.t, func() string {
		events, err := os.ReadFile(filepath.Join(f.dir, "cgroup.events"))
		if err != nil || !strings.Contains(string(events), "frozen 1\n") {
			return "the clients are not frozen: " + string(events)
		}
		return ""
	})
}

func TestFrozenClientsHoldUpNobodyAndGoOn(t *testing.T) {
	t.Parallel()
	needRoot(t)
	fr := newFreezer(t)
	m := mount(t)
	jobs := m.mailbox(t, flat, "jobs")
	full := m.mailbox(t, flat, "full").with("capacity", "1")
	full.put("first")
	// They try again after EINTR, which stopping and going on may give to who waits.
	reader := run(t, python, "-c", `
import os, sys
print(os.read(os.open(sys.argv[1], os.O_RDONLY), 100))`, jobs.path)
	jobs.parked(reader)
	writer := run(t, python, "-c", `
import os, sys
print(os.write(os.open(sys.argv[1], os.O_WRONLY), b"frozen"))`, full.path)
	full.parked(writer)
	fr.freeze(reader, writer)

	// Everything goes on for the others.
	does(t,
		"open "+full.path+" wronly|nonblock", "ok", "write x", "EAGAIN", "fsync", "ok",
		"chmod "+full.path+" 600", "ok", "chmod "+jobs.path+" 600", "ok",
		"open "+m.path("mailboxes", "new")+" rdwr|creat|excl|nonblock 600", "ok", "unlink "+m.path("mailboxes", "new"), "ok")
	jobs.put("one")
	full.set("max_message", "100")

	fr.set("cgroup.freeze", "0")
	reader.expect("b'one'")
	does(t, "open "+full.path+" rdonly", "ok", "read 100", `"first"`)
	writer.expect("6")
	full.wantQueue("frozen")
	reader.output()
	writer.output()
	jobs.wantStat("messages 0", "sent 1", "received 1")

	// The frozen die when they are killed, at the latest when they go on.
	reader = jobs.parkReceiver()
	fr.freeze(reader)
	reader.signal(syscall.SIGKILL)
	fr.set("cgroup.freeze", "0")
	reader.wait()
	jobs.put("two")
	jobs.wantQueue("two")
}
