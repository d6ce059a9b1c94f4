package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A segmentMode is a way in which the memory of segments is used: what the tests see must not depend on it.
type segmentMode struct {
	name        string
	passthrough bool
	mount       func(t testing.TB) *mountpoint
}

var segmentModes = []segmentMode{
	{"passthrough", true, func(t testing.TB) *mountpoint { return mount(t, "allow_other") }},
	{"page cache", false, func(t testing.TB) *mountpoint { return mount(t, "allow_other", "nopassthrough") }},
	{"unprivileged", false, func(t testing.TB) *mountpoint { return mountAs(t, nobody(t)) }},
}

// inEachMode runs the test in every mode. The clients are to run as m.as.
func inEachMode(t *testing.T, test func(t *testing.T, mode segmentMode, m *mountpoint)) {
	t.Helper()
	t.Parallel()
	needRoot(t)
	for _, mode := range segmentModes {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			m := mode.mount(t)
			m.as1("bash", "-c", "ls -A "+m.path("*")+"; cat "+m.path(".ipcfs", "limits")).run(t).output() // the nodes of the directories stay
			before := m.memoryStat(t)
			if (before["passthrough"] == 1) != mode.passthrough {
				t.Fatalf("passthrough is %d, want %v", before["passthrough"], mode.passthrough)
			}
			fds := m.descriptors(t)
			test(t, mode, m)
			// Nothing is left behind, once the test has removed its segments.
			eventually(t, func() string {
				if ls := m.as1("ls", "-A", m.path("segments")).run(t).output(); ls != "" {
					t.Fatalf("the test left segments behind: %q", ls)
				}
				after := m.memoryStat(t)
				for _, key := range []string{"objects", "bytes", "messages", "handles", "parked", "nodes"} {
					if after[key] > before[key] {
						return fmt.Sprintf("%s is %d, want %d as at the start", key, after[key], before[key])
					}
				}
				if now := m.descriptors(t); now != fds {
					return fmt.Sprintf("the daemon has %d descriptors, want %d as at the start", now, fds)
				}
				return ""
			})
		})
	}
}

// memoryStat reads .ipcfs/stat as the user of the mount.
func (m *mountpoint) memoryStat(t testing.TB) map[string]int {
	t.Helper()
	stat := make(map[string]int)
	for line := range strings.Lines(m.as1("cat", m.path(".ipcfs", "stat")).run(t).output()) {
		var key string
		var n int
		if _, err := fmt.Sscan(line, &key, &n); err != nil {
			t.Fatalf(".ipcfs/stat has the line %q", line)
		}
		stat[key] = n
	}
	return stat
}

func (m *mountpoint) descriptors(t testing.TB) int {
	t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// as1 is one command as the user of the mount.
func (m *mountpoint) as1(argv ...string) command { return command{argv: argv, as: m.as} }

// Another user may find the first python3 on the path closed, and the next open: env(1) goes on to it.

// script runs Python with the segments directory as its current one.
func (m *mountpoint) script(t testing.TB, text string, args ...string) *client {
	t.Helper()
	return m.as1(append([]string{"/usr/bin/env", python, "-W", "ignore", "-c", `
import ctypes, errno, mmap, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
os.chdir(sys.argv[1])
del sys.argv[1]
def attempt(f, *args, **named):
    try:
        return f(*args, **named)
    except OSError as e:
        return errno.errorcode[e.errno]
def fallocate(fd, mode, offset, n):
    r = libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(n))
    return errno.errorcode[ctypes.get_errno()] if r < 0 else r
def forked(f, *args):
    pid = os.fork()
    if pid == 0:
        f(*args)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
def put(name, value):
    with open(name, "w") as f:
        f.write(value)
def show(name):
    with open(name) as f:
        return f.read()
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL
` + text, m.path("segments")}, args...)...).run(t)
}

// clientSource is a script that other users can read, too.
func clientSource(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "clients", name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(segmentBin), name)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSegmentsBehaveAsTmpfs(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode segmentMode, m *mountpoint) {
		model := emptyDir(t, m.as)
		if err := unix.Mount("tmpfs", model, "tmpfs", 0, "mode=1777"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { detach(model) })
		source := clientSource(t, "tmpfs.py")
		want := m.as1("/usr/bin/env", python, "-W", "ignore", source, model).run(t).output()
		got := m.as1("/usr/bin/env", python, "-W", "ignore", source, m.path("segments")).run(t).output()
		gotLines := strings.Split(got, "\n")
		for i, line := range strings.Split(want, "\n") {
			if strings.HasPrefix(line, "exact ") && !mode.passthrough {
				continue
			}
			if i >= len(gotLines) || gotLines[i] != line {
				t.Fatalf("segments: %q, tmpfs: %q", gotLines[min(i, len(gotLines)-1)], line)
			}
		}
	})
}

var copyGoClient = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(segmentBin), "goclient")
	b, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(path, b, 0o755)
	}
	return path, err
})

// goClientCopy is the test binary where other users can run it.
func goClientCopy(t testing.TB) string {
	t.Helper()
	path, err := copyGoClient()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// goMapShared adds 1 to each of the first bytes of a file, through a mapping.
func goMapShared(args []string) error {
	f, err := os.OpenFile(args[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	for _, i := range []int{0, 4095, 4096, 8191} {
		b[i]++
	}
	return unix.Munmap(b)
}

func TestMappingsAreSharedBetweenPrograms(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		c := m.script(t, `
fd = os.open("s", NEW, 0o600)
os.ftruncate(fd, 8192)
a = mmap.mmap(fd, 8192)
os.close(fd)
print("mapped", flush=True)
sys.stdin.readline()
print([a[i] for i in (0, 4095, 4096, 8191)])
a[0] = 100
print(open("s", "rb").read(1)[0])
os.unlink("s")
`)
		c.expect("mapped")
		for range 3 {
			command{argv: []string{goClientCopy(t), m.path("segments", "s")}, as: m.as, env: []string{goClientEnv + "=MapShared"}}.run(t).prints("")
		}
		c.resume()
		c.expect("[3, 3, 3, 3]", "100")
		c.output()
	})
}

func TestFutexWakesAcrossProcesses(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		path := m.path("segments", "futex")
		m.as1("truncate", "-s", "4096", path).run(t).prints("")
		m.as1(segmentBin, "futex", path, "2000").run(t).prints("4000\n")
		m.as1("rm", path).run(t).prints("")
	})
}

// The producer and the consumer of the lectures: a C process against a Python one.
func TestBoundedBuffer(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		const slots, items = "4", "3000"
		path := m.path("segments", "buffer")
		empty, full := m.path("semaphores", "empty"), m.path("semaphores", "full")
		m.as1("touch", path, empty, full).run(t).prints("")
		m.as1(segmentBin, "init", path, slots).run(t).prints("")
		m.as1("bash", "-c", "echo "+slots+" > "+empty).run(t).prints("")
		source := clientSource(t, "buffer.py")
		for _, semaphores := range [][]string{nil, {empty, full}} {
			for _, roles := range [][2]string{{"produce", "consume"}, {"consume", "produce"}} {
				c := m.as1(append([]string{segmentBin, "buffer", path, slots, items, roles[0]}, semaphores...)...).run(t)
				p := m.as1(append([]string{"/usr/bin/env", python, source, path, slots, items, roles[1]}, semaphores...)...).run(t)
				c.prints(items + "\n")
				p.prints(items + "\n")
			}
		}
		m.as1("rm", path, empty, full).run(t).prints("")
	})
}

// inDevShm runs the command where dir is mounted over /dev/shm, and nowhere else.
func inDevShm(t testing.TB, dir string, as *syscall.Credential, argv ...string) *client {
	t.Helper()
	change := []string{}
	if as != nil {
		change = []string{"setpriv", "--reuid", number(int(as.Uid)), "--regid", number(int(as.Gid)), "--clear-groups"}
	}
	line := `mount --bind "$0" /dev/shm && exec "$@"`
	return run(t, append([]string{"unshare", "--mount", "--propagation", "private", "bash", "-c", line, dir}, append(change, argv...)...)...)
}

const multiprocessing = `
import multiprocessing, os, sys
from multiprocessing import shared_memory
def work(name, ready, done):
    s = shared_memory.SharedMemory(name)
    s.buf[0:5] = b"hello"
    s.close()
    ready.release()
    done.acquire()
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ready, done = context.Semaphore(0), context.Semaphore(0)
    s = shared_memory.SharedMemory(create=True, size=10000)
    print(os.stat("/dev/shm/" + s.name.lstrip("/")).st_uid == os.getuid())
    p = context.Process(target=work, args=(s.name, ready, done))
    p.start()
    ready.acquire()
    print(bytes(s.buf[0:5]).decode())
    done.release()
    p.join()
    s.close()
    s.unlink()
    print(p.exitcode)
`

func TestUnmodifiedProgramsUseSegmentsAsDevShm(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, mode := range segmentModes[:2] {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			m := mode.mount(t)
			before := m.footprint(t)
			script := filepath.Join(t.TempDir(), "mp.py")
			if err := errors.Join(
				os.WriteFile(script, []byte(multiprocessing), 0o644),
				os.Chmod(filepath.Dir(script), 0o755), os.Chmod(filepath.Dir(filepath.Dir(script)), 0o755),
			); err != nil {
				t.Fatal(err)
			}
			segments := m.path("segments")
			for _, as := range []*syscall.Credential{nil, nobody(t)} {
				inDevShm(t, segments, as, segmentBin, "posix", "greeting").prints("hello from the child\n")
				inDevShm(t, segments, as, "/usr/bin/env", python, script).prints("True\nhello\n0\n")
				for _, what := range []string{"creates", "sems"} {
					t.Logf("%s: %s exclusive %s a second", mode.name, strings.TrimSpace(inDevShm(t, segments, as, segmentBin, what, "2000").output()), what)
				}
			}
			if ls := run(t, "ls", "-A", segments).output(); ls != "" {
				t.Errorf("left behind: %q", ls)
			}
			m.leavesNothingBehind(t, before)
			if stat := m.daemonStat(t); stat["objects"] != 0 || stat["bytes"] != 0 {
				t.Errorf("%d objects, %d bytes are left; want none", stat["objects"], stat["bytes"])
			}
		})
	}
}

func TestSegmentDirectory(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		m.script(t, `
import stat
os.mkdir("s", 0o755)
print(sorted(os.listdir("s")))
print([oct(stat.S_IMODE(os.stat("s/" + f).st_mode)) for f in ("data", "size", "lock", "attached", "seal", "stat")])
put("s/size", "64K\n")
print(os.stat("s/data").st_size, show("s/size"), end="")
fd = os.open("s/data", os.O_RDWR)
m = mmap.mmap(fd, 65536)
m[65535] = 1
os.close(fd)
pid, uid, command, how = show("s/attached").split()
print(int(pid) == os.getpid(), int(uid) == os.getuid(), command == "python3" or command.startswith("python"), how)
stats = dict(line.split() for line in show("s/stat").splitlines())
print(stats["bytes"], stats["booked"], stats["attached"], stats["open_readers"], stats["open_writers"])
print("in use", attempt(os.rmdir, "s"))
print("values", [attempt(put, "s/size", v) for v in ("\n", "x", "-1", "max", "1.5", "9999999999999999999")], show("s/size"), end="")
print("files", attempt(os.unlink, "s/data"), attempt(os.open, "s/new", NEW), attempt(os.open, "s/stat", os.O_WRONLY), attempt(os.link, "s/data", "t"), attempt(os.rename, "s/data", "t"))
m.close()
while show("s/attached"):
    pass # RELEASE is asynchronous
os.rmdir("s")
print(os.listdir("."))
`).prints(`['attached', 'data', 'destroy', 'lock', 'owners', 'seal', 'size', 'stat', 'waiters']
['0o600', '0o644', '0o600', '0o444', '0o644', '0o444']
65536 65536
True True True rw
65536 65536 1 1 1
in use EBUSY
values ['EINVAL', 'EINVAL', 'EINVAL', 'EINVAL', 'EINVAL', 'EINVAL'] 65536
files EPERM EPERM EACCES EPERM EPERM
[]
`)
	})
}

// A size that is written to the control file is that of the mappings, too.
func TestSizeFileTruncates(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		m.script(t, `
fd = os.open("s", NEW)
os.ftruncate(fd, 3 * 4096)
m = mmap.mmap(fd, 3 * 4096)
m[0], m[4096], m[8192] = 1, 2, 3
put("s.d/size", "5000")
print(forked(lambda: m[8192]), os.fstat(fd).st_size, os.pread(fd, 10, 4999), os.pread(fd, 1, 0))
put("s.d/size", "12288")
print(os.fstat(fd).st_size, m[0], m[4096], m[8192], os.lseek(fd, 0, os.SEEK_END))
put("s.d/size", "0")
print(forked(lambda: m[0]), os.pread(fd, 10, 0))
os.unlink("s")
`).prints("SIGBUS 5000 b'\\x00' b'\\x01'\n12288 1 2 0 12288\nSIGBUS b''\n")
	})
}

func TestSealsKeepTheirWord(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		m.script(t, `
fd = os.open("s", NEW)
os.ftruncate(fd, 8192)
print("none", show("s.d/seal"), end="")
print("bad", [attempt(put, "s.d/seal", v) for v in ("\n", "shut", "shrink shut", "max")], show("s.d/seal"), end="")
put("s.d/seal", "shrink")
print("shrink", attempt(os.ftruncate, fd, 8191), attempt(os.truncate, "s", 0), attempt(os.open, "s", os.O_RDWR | os.O_TRUNC), attempt(put, "s.d/size", "1"), attempt(os.ftruncate, fd, 8192), os.fstat(fd).st_size)
print("still grows", attempt(os.ftruncate, fd, 12288), os.pwrite(fd, b"x", 12288), os.fstat(fd).st_size)
print("open for writing", attempt(put, "s.d/seal", "grow"), attempt(put, "s.d/seal", "write"), show("s.d/seal"), end="")
os.close(fd)
while show("s.d/attached"):
    pass # RELEASE is asynchronous
put("s.d/seal", "grow")
print("added", show("s.d/seal"), end="")
fd = os.open("s", os.O_RDWR)
m = mmap.mmap(fd, 12289)
size = os.fstat(fd).st_size
print("grow", attempt(os.ftruncate, fd, size + 1), attempt(os.pwrite, fd, b"xy", size - 1), attempt(os.pwrite, fd, b"x", size), fallocate(fd, 0, 0, size + 1), os.fstat(fd).st_size)
m[0] = 5
print("within", os.pwrite(fd, b"xy", 1), m[0:3], os.pread(fd, 3, 0), fallocate(fd, 3, 4096, 4096))
m.close()
os.close(fd)
while show("s.d/attached"):
    pass
put("s.d/seal", "write")
print("all", show("s.d/seal"), end="")
print("write", attempt(os.open, "s", os.O_RDWR), attempt(os.open, "s", os.O_WRONLY))
fd = os.open("s", os.O_RDONLY)
m = mmap.mmap(fd, 4096, prot=mmap.PROT_READ)
print("read", m[0:3], os.pread(fd, 3, 0), attempt(mmap.mmap, fd, 4096))
print("never off", attempt(put, "s.d/seal", "none"), show("s.d/seal"), end="")
os.unlink("s")
`).prints(`none none
bad ['EINVAL', 'EINVAL', 'EINVAL', 'EINVAL'] none
shrink EPERM EPERM EPERM EPERM None 8192
still grows None 1 12289
open for writing EBUSY EBUSY shrink
added shrink grow
grow EPERM EPERM EPERM EPERM 12289
within 2 b'\x05xy' b'\x05xy' 0
all shrink grow write
write EPERM EPERM
read b'\x05xy' b'\x05xy' EACCES
never off None shrink grow write
`)
	})
}

// A mapping outlives its descriptor, of which the mount then knows nothing.
func TestSealIsBusyWhileASegmentIsMapped(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		m.script(t, `
import ctypes
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
fd = os.open("s", NEW)
os.ftruncate(fd, 4096)
at = libc.mmap(None, 4096, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
os.close(fd)
for i in range(50):
    print(attempt(put, "s.d/seal", "write"), attempt(put, "s.d/seal", "grow"), attempt(put, "s.d/seal", "shrink"))
libc.munmap(at, 4096)
while attempt(put, "s.d/seal", "write") == "EBUSY":
    pass # RELEASE is asynchronous
print(show("s.d/seal"), end="")
os.unlink("s")
`).prints(strings.Repeat("EBUSY EBUSY None\n", 50) + "shrink write\n")
	})
}

func TestSegmentLockIsHeldWhileItIsOpen(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		dir := m.path("segments", "s")
		m.as1("mkdir", dir).run(t).prints("")
		holder := m.as1("bash", "-c", "exec 9<"+dir+"/lock; echo held; read; exec sleep 1000").run(t)
		holder.expect("held")
		waiter := m.as1("bash", "-c", "exec 9<"+dir+"/lock; echo held").run(t)
		eventually(t, func() string {
			got := m.as1("cat", dir+"/waiters").run(t).output()
			if !strings.HasPrefix(got, number(waiter.pid())+" ") || !strings.Contains(got, " hold ") {
				return "waiters is " + got
			}
			return ""
		})
		if got := m.as1("cat", dir+"/owners").run(t).output(); !strings.HasPrefix(got, number(holder.pid())+" ") {
			t.Errorf("owners is %q, want %d", got, holder.pid())
		}
		if got := doesFail(t, m, "rmdir", dir); !strings.Contains(got, "busy") {
			t.Errorf("rmdir of a segment whose lock is held: %q, want busy", got)
		}
		doesAs(t, m.as, "open "+dir+"/lock rdonly|nonblock", "EAGAIN")
		holder.kill()
		waiter.expect("held")
		waiter.output()
		eventually(t, func() string { return differs(m.as1("cat", dir+"/owners").run(t).output(), "") })
		m.as1("rmdir", dir).run(t).prints("")
	})
}

// doesFail runs a command that must fail and returns what it says.
func doesFail(t testing.TB, m *mountpoint, argv ...string) string {
	t.Helper()
	c := m.as1(argv...).run(t)
	if c.wait() == 0 {
		t.Fatalf("%v ended with status 0, want a failure", c)
	}
	return c.stderr.String()
}

func TestSegmentsAreTheirOwners(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	s, user := m.path("segments", "s"), nobody(t)
	does(t, "umask 0", "ok", "open "+s+" rdwr|creat 600", "ok", "write secret", "6")
	doesAs(t, user,
		"open "+s+" rdonly", "EACCES",
		"truncate "+s+" 0", "EACCES",
		"unlink "+s, "EPERM", // sticky, unlink(2)
		"rename "+s+" "+s+"2", "EPERM",
		"chmod "+s+" 666", "EPERM",
		"open "+s+".d/size wronly", "EACCES",
		"open "+s+".d/seal wronly", "EACCES",
		"open "+m.path("segments", "own")+" rdwr|creat|excl 600", "ok",
		"stat "+m.path("segments", "own"), fmt.Sprintf("600 %d:%d 0", user.Uid, user.Gid),
	)
	does(t, "chmod "+s+" 604", "ok")
	doesAs(t, user, "open "+s+" rdonly", "ok", "read 10", `"secret"`, "open "+s+" rdwr", "EACCES", "truncate "+s+" 0", "EACCES")
}

func TestBadUseOfSegments(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		s := m.path("segments", "s")
		doesAs(t, m.as,
			"open "+s+" rdwr|creat|excl 600", "ok",
			"open "+s+" rdwr|creat|excl 600", "EEXIST",
			"link "+s+" "+m.path("mailboxes", "s"), "EPERM",
			"rename "+s+" "+m.path("mailboxes", "s"), "EPERM",
			"link "+s+" "+s+".d", "EEXIST",
			"link "+s+" "+m.path("segments", "x.d"), "EINVAL",
			"link "+s+" "+m.path("segments", strings.Repeat("x", 256)), "ENAMETOOLONG",
			"symlink "+s+" "+m.path("segments", "l"), "EPERM",
			"open "+m.path("segments", "x.d")+" rdwr|creat 600", "EINVAL",
			"rmdir "+s, "ENOTDIR",
			"mkdir "+s+"2", "ok",
			"link "+s+"2 "+m.path("segments", "l"), "EPERM",
			"unlink "+s+"2", "EISDIR",
			"rename "+s+" "+s+"2", "EISDIR",
			"rename "+s+"2 "+s, "ENOTDIR",
			"rmdir "+s+"2", "ok",
			"open "+m.path("mailboxes", "j")+" rdwr|creat 600", "ok",
			"link "+m.path("mailboxes", "j")+" "+m.path("mailboxes", "k"), "EPERM",
			"unlink "+m.path("mailboxes", "j"), "ok",
			"link "+s+" "+m.path("segments", ".dot"), "ok",
			"unlink "+m.path("segments", ".dot"), "ok",
			"unlink "+s, "ok",
		)
	})
}

// Registering once for many open files and giving up with the last must not go wrong when opens and closes race.
func TestSegmentOpensAndClosesRace(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		const clients = 4
		m.as1("truncate", "-s", "8192", m.path("segments", "s")).run(t).prints("")
		var cs []*client
		for i := range clients {
			cs = append(cs, m.script(t, `
i = int(sys.argv[1])
for n in range(300):
    fd = os.open("s", os.O_RDWR)
    m = mmap.mmap(fd, 8192)
    os.close(fd)
    m[i] = n % 256
    with open("s", "rb") as f:
        assert f.read()[i] == n % 256
    m[i] = (n + 1) % 256
    m.close()
    with open("s", "rb") as f:
        assert f.read(16)[i] == (n + 1) % 256
    name = "own-%d" % i
    fd = os.open(name, NEW)
    os.pwrite(fd, b"x" * 5000, 0)
    os.unlink(name)
    assert os.pread(fd, 5000, 0) == b"x" * 5000
    os.close(fd)
`, number(i)))
		}
		for _, c := range cs {
			c.output()
		}
		m.as1("rm", m.path("segments", "s")).run(t).prints("")
	})
}

// Who is killed leaves its memory to those who still have it, and nothing when it was the last.
func TestKilledUsersLeaveNothing(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		c := m.script(t, `
fd = os.open("s", NEW)
os.ftruncate(fd, 1 << 20)
m = mmap.mmap(fd, 1 << 20)
m[0:1<<20] = b"x" * (1 << 20)
os.unlink("s")
print("ready", flush=True)
signal.pause()
`)
		c.expect("ready")
		if stat := m.memoryStat(t); stat["bytes"] != 1<<20 || stat["objects"] != 1 {
			t.Errorf("%d bytes of %d objects while it is mapped; want %d of 1", stat["bytes"], stat["objects"], 1<<20)
		}
		c.kill()
	})
}
