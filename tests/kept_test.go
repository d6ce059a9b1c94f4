package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// openUntilRefused is a script: it opens the file again and again, reads some of it, and
// says how often that went and what it was told then.
const openUntilRefused = `
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
def flood(path, flags=os.O_RDONLY, most=4000):
    files = []
    while len(files) < most:
        try:
            fd = os.open(path, flags)
        except OSError as e:
            return files, errno.errorcode[e.errno]
        files.append(fd)
        if flags == os.O_RDONLY:
            os.pread(fd, 4096, 0)
    return files, "all"
`

func TestOpenFilesAreOnTheBooksOfWhoOpenedThem(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, c := range []struct{ limit, errno, other string }{
		{"user_bytes 1M", "EDQUOT", "ok"},
		{"bytes 1M", "ENOSPC", "ok"}, // root has some room more, and everybody a little of their own
	} {
		t.Run(c.limit, func(t *testing.T) {
			t.Parallel()
			m := mount(t, "allow_other")
			mb := m.mailbox(t, flat, "jobs")
			does(t, "chmod "+mb.path+" 666", "ok")
			balance := booksBalance(t, m)
			m.limit(t, c.limit)
			script := m.asUser(t).script(t, openUntilRefused+`
for path, flags in ("../.ipcfs/metrics", os.O_RDONLY), ("../.ipcfs/objects", os.O_RDONLY), ("../mailboxes/jobs", os.O_RDWR | os.O_NONBLOCK), ("../mailboxes/jobs.d/waiters", os.O_RDONLY):
    files, said = flood(path, flags)
    print(said, 10 < len(files) < 2000, flush=True)
    for fd in files:
        os.close(fd)
    while True: # RELEASE is asynchronous
        files, again = flood(path, flags, 10)
        for fd in files:
            os.close(fd)
        if again == "all":
            break
files, said = flood("../.ipcfs/metrics")
print(said, "full", flush=True)
sys.stdin.readline()
`)
			script.expect(strings.Split(strings.Repeat(c.errno+" True\n", 4)+c.errno+" full", "\n")...)
			does(t, "open "+mb.path+" rdwr|nonblock", c.other, "write x", "1", "read 1", `"x"`)
			m.limits(t)
			script.kill()
			balance()
		})
	}
}

// Who has filled the limit with messages can open what empties it.
func TestAFullQuotaCanBeEmptied(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, limit := range []string{"user_bytes 1M", "bytes 1M"} {
		m := mount(t, "allow_other")
		mb := m.mailbox(t, flat, "jobs")
		does(t, "chmod "+mb.path+" 666", "ok")
		m.as1("bash", "-c", `echo max > $0`, mb.file("capacity")).run(t).prints("")
		m.limit(t, limit)
		m.asUser(t).script(t, `
fd = os.open("../mailboxes/jobs", os.O_RDWR | os.O_NONBLOCK)
said = 0
while said not in ("EDQUOT", "ENOSPC"):
    said = attempt(os.write, fd, b"x")
os.close(fd)
r = os.open("../mailboxes/jobs", os.O_RDONLY | os.O_NONBLOCK)
n = 0
while attempt(os.read, r, 1) == b"x":
    n += 1
print(n > 1000)
`).prints("True\n")
	}
}

func TestAHandleOpenedBeforeAQuotaDoesNotEscapeIt(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	balance := booksBalance(t, m)
	script := m.asUser(t).script(t, openUntilRefused+`
files, said = flood("../.ipcfs/objects", most=100)
print(said, len(files), flush=True)
sys.stdin.readline()
print(attempt(os.open, "../.ipcfs/objects", os.O_RDONLY), attempt(os.open, "new", NEW), flush=True)
`)
	script.expect("all 100")
	m.limit(t, "user_bytes 1M")
	script.resume()
	script.expect("EDQUOT EDQUOT")
	script.kill()
	balance()
}

// measuresMemory skips a test of how much memory the daemon takes where the race detector takes several times as much.
func measuresMemory(t testing.TB) {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector takes memory of its own; the run without it does not skip this")
	}
}

// resident is the memory of the daemon in bytes: VmRSS and VmHWM, proc_pid_status(5).
func (m *mountpoint) resident(t testing.TB) (now, peak int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var n int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &n); err == nil {
			now = n << 10
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &n); err == nil {
			peak = n << 10
		}
	}
	return now, peak
}

func TestMemoryComesBackAfterAFlush(t *testing.T) {
	measuresMemory(t)
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs").with("capacity", "max", "capacity_bytes", "max")
	before, _ := m.resident(t)
	for range 200 {
		send(t, mb.file("send"), text(1<<20-8<<10))
	}
	// What was received or expires, too, goes back when nothing else goes on.
	if now, _ := m.resident(t); now < before+190<<20 {
		t.Fatalf("200 MB of messages take %d bytes", now-before)
	}
	mb.set("flush", "")
	eventually(t, func() string {
		if now, _ := m.resident(t); now > before+40<<20 {
			return fmt.Sprintf("%d bytes more than before are resident after the flush", now-before)
		}
		return ""
	})
}

// memoryCgroup makes a cgroup with that much memory, and returns its directory and the
// file that counts who was killed in it.
func memoryCgroup(t testing.TB, bytes int) (dir, kills string) {
	t.Helper()
	needRoot(t)
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skip("no cgroups: " + err.Error())
	}
	name := fmt.Sprintf("ipcfs-test-%d", os.Getpid())
	for line := range strings.Lines(string(own)) {
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(part) < 3 || part[0] != "0" && part[1] != "memory" {
			continue
		}
		root, limit, events := "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control"
		if part[0] == "0" {
			root, limit, events = "/sys/fs/cgroup", "memory.max", "memory.events"
		}
		for _, place := range []string{filepath.Join(root, part[2]), root} {
			dir := filepath.Join(place, name)
			if os.Mkdir(dir, 0o755) != nil {
				continue
			}
			if os.WriteFile(filepath.Join(dir, limit), []byte(number(bytes)), 0o644) == nil {
				t.Cleanup(func() {
					eventually(t, func() string {
						if err := os.Remove(dir); err != nil {
							return err.Error()
						}
						return ""
					})
				})
				return dir, filepath.Join(dir, events)
			}
			_ = os.Remove(dir)
		}
	}
	t.Skip("no cgroup with a limit of memory can be made here")
	return "", ""
}

// A user who does what he may, as much as he can, brings no daemon down, and others go on.
func TestADaemonInASmallCgroupOutlivesWhatItAccepts(t *testing.T) {
	measuresMemory(t)
	const size = 256 << 20
	cgroup, kills := memoryCgroup(t, size)
	dir := emptyDir(t, nil)
	d, err := startDaemonThrough([]string{"sh", "-c", `echo $$ > "$0" && exec "$@"`, filepath.Join(cgroup, "cgroup.procs")}, dir, nil, "allow_other")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
	m := &mountpoint{daemon: d}
	if got := m.limits(t)["bytes"]; got != number(size/2) {
		t.Errorf("the limit of bytes is %s in a cgroup of %d, want half", got, size)
	}
	m.makeObjects(t, 2000)
	mb := m.mailbox(t, directory, "jobs")
	does(t, "chmod "+mb.path+" 777", "ok", "chmod "+mb.file("topic")+" 777", "ok", "chmod "+mb.file("messages")+" 777", "ok", "chmod "+mb.send+" 666", "ok", "chmod "+mb.receive+" 666", "ok")
	m.as1("bash", "-c", `for f; do echo max > $f; done`, "", mb.file("capacity"), mb.file("capacity_bytes")).run(t).prints("")
	hostile := m.asUser(t).script(t, openUntilRefused+`
def send(size):
    fd = attempt(os.open, "../mailboxes/jobs/send", os.O_WRONLY | os.O_NONBLOCK)
    if isinstance(fd, str):
        return fd
    said = size
    while said == size:
        said = attempt(os.write, fd, b"x" * size)
    return said
print("messages", send(1000000), send(1000), send(1), flush=True)
kept = []
for path in "../.ipcfs/metrics", "../.ipcfs/objects", "../.ipcfs/waiters", "../mailboxes/jobs/waiters", "../mailboxes/jobs/messages/1":
    files, said = flood(path)
    kept += files
print("texts", flush=True)
for path in "../mailboxes", "../mailboxes/jobs/messages", "../mailboxes/jobs/topic":
    for i in range(500):
        fd = attempt(os.open, path, os.O_RDONLY | os.O_DIRECTORY)
        if isinstance(fd, int):
            kept.append(fd)
            attempt(os.listdir, fd)
print("directories", flush=True)
looked = {attempt(os.stat, "../mailboxes/jobs/topic/%d" % i) for i in range(100000)} # as many as there is room for
print("topics", {x for x in looked if isinstance(x, str)} <= {"EDQUOT", "ENOSPC"}, flush=True)
print("messages", send(1000000), send(1), flush=True)
print("done", flush=True)
sys.stdin.readline()
`)
	hostile.expect("messages ENOSPC ENOSPC ENOSPC", "texts", "directories", "topics True", "messages ENOSPC ENOSPC", "done")
	// Others go on: root gets in, and what they have said arrives.
	if text := m.text(t, "objects"); strings.Count(text, "\n") != 2001 {
		t.Errorf(".ipcfs/objects has %d lines, want 2001", strings.Count(text, "\n"))
	}
	does(t, "open "+mb.receive+" rdonly|nonblock", "ok", "read 1", `"x"`, "stat "+m.path("mailboxes/m0"), "600 0:0 0")
	hostile.kill()
	mb.set("flush", "")
	does(t, "open "+m.path("mailboxes/m0")+" rdwr|nonblock", "ok", "write hello", "5", "read 9", `"hello"`)
	_, peak := m.resident(t)
	t.Logf("the daemon's memory was %d MiB at most, in %d", peak>>20, size>>20)
	if peak > size/2*13/10+40<<20 {
		t.Errorf("the daemon's memory was %d MiB at most; want no more than 1.3 times the limit of %d", peak>>20, size>>21)
	}
	if text, err := os.ReadFile(kills); err != nil || strings.Contains(string(text), "oom_kill ") && !strings.Contains(string(text), "oom_kill 0") {
		t.Errorf("somebody was killed: %s, %v", text, err)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(m.dir, &st); err != nil {
		t.Error(err)
	}
}

// Looking up is not free, but the kernel is asked to forget what nobody uses: so it goes
// on for ever, and does not cost more than some thousands of names.
func TestLookedUpTopicsAreForgotten(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	mb := m.mailbox(t, directory, "jobs")
	does(t, "chmod "+mb.path+" 777", "ok", "chmod "+mb.file("topic")+" 777", "ok")
	before := m.daemonStat(t)
	m.asUser(t).script(t, `
for i in range(60000):
    try:
        os.stat("../mailboxes/jobs/topic/%d" % i)
    except OSError as e:
        print(i, errno.errorcode[e.errno])
        break
print("looked up")
`).prints("looked up\n")
	eventually(t, func() string {
		now := m.daemonStat(t)
		if grown := now["nodes"] - before["nodes"]; grown > 10000 {
			return fmt.Sprintf("%d nodes are left of 60,000 topics that nobody has open", grown)
		}
		if now["looked_up"] < (now["nodes"]-before["nodes"]-20)*1024 {
			return fmt.Sprintf("%v is on the books, %v before: less than the nodes", now, before)
		}
		return ""
	})
}

// What somebody keeps looked up is on their books.
func TestNodesThatAreKeptAreOnTheBooks(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	mb := m.mailbox(t, directory, "jobs")
	does(t, "chmod "+mb.path+" 777", "ok", "chmod "+mb.file("topic")+" 777", "ok", "stat "+mb.file("topic"), "777 0:0 0")
	m.limit(t, "user_bytes 1M")
	before := m.daemonStat(t)
	script := m.asUser(t).script(t, openUntilRefused+`
files, said = flood("../mailboxes/jobs/topic/%d", os.O_PATH, 1)
files = []
said = 0
while said not in ("EDQUOT", "ENOSPC") and len(files) < 10000:
    said = attempt(os.open, "../mailboxes/jobs/topic/%d" % len(files), os.O_PATH)
    files.append(said)
print(said, 500 < len(files) < 3000, flush=True)
sys.stdin.readline()
`)
	script.expect("EDQUOT True")
	if now := m.daemonStat(t); now["looked_up"]-before["looked_up"] < 500*1024 {
		t.Errorf("%v is on the books, %v before; want a kilobyte for each topic", now, before)
	}
	does(t, "stat "+mb.file("topic/mine"), "666 0:0 0")
	script.kill()
}
