package tests

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// limits reads .ipcfs/limits.
func (m *mountpoint) limits(t testing.TB) map[string]string {
	t.Helper()
	limits := make(map[string]string)
	for line := range strings.Lines(m.as1("cat", m.path(".ipcfs", "limits")).run(t).output()) {
		var key, value string
		if _, err := fmt.Sscan(line, &key, &value); err != nil || line != key+" "+value+"\n" {
			t.Fatalf(".ipcfs/limits has the line %q, want \"key value\\n\"", line)
		}
		limits[key] = value
	}
	return limits
}

// limit writes a line to .ipcfs/limits.
func (m *mountpoint) limit(t testing.TB, line string) {
	t.Helper()
	m.as1("bash", "-c", `echo "$0" > "$1"`, line, m.path(".ipcfs", "limits")).run(t).prints("")
}

func TestLimitsAreReadAndWritten(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	path := m.path(".ipcfs", "limits")
	before := m.limits(t)
	for _, key := range []string{"objects", "messages", "bytes"} {
		if v := before[key]; v == "" || v == "max" || v == "0" {
			t.Errorf("%s is %q, want a number that follows the machine", key, v)
		}
		if v := before["user_"+key]; v != "max" {
			t.Errorf("user_%s is %q, want max", key, v)
		}
	}
	m.limit(t, "bytes 64M")
	m.limit(t, "objects max\nuser_messages 7")
	want := map[string]string{
		"objects": "max", "messages": before["messages"], "bytes": number(64 << 20),
		"user_objects": "max", "user_messages": "7", "user_bytes": "max",
	}
	for _, bad := range []string{"", "bytes", "bytes x", "bytes -1", "colour 3", "bytes 1 2", "objects 5M", "objects 5\nbytes x", "bytes=5"} {
		does(t, "open "+path+" wronly", "ok", "write "+strings.NewReplacer("\n", `\n`).Replace(bad)+`\n`, "EINVAL")
	}
	if got := m.limits(t); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("limits are %v, want %v", got, want)
	}
	doesAs(t, nobody(t), "open "+path+" rdonly", "ok", "open "+path+" wronly", "EACCES")
	// df shows them.
	run(t, "stat", "--file-system", "--format", "%b %S", m.dir).prints(fmt.Sprintf("%d 4096\n", 64<<20/4096))
}

func TestMountLimitsAreENOSPCAndUserLimitsEDQUOT(t *testing.T) {
	t.Parallel()
	needRoot(t)
	user := nobody(t)
	for _, c := range []struct {
		line  string
		errno string
		as    *syscall.Credential // who is refused
		other string              // what somebody else gets
	}{
		{"objects 1", "ENOSPC", user, "ENOSPC"},
		{"user_objects 1", "EDQUOT", user, "ok"},
	} {
		t.Run(c.line, func(t *testing.T) {
			m := mount(t, "allow_other")
			doesAs(t, c.as, "open "+m.path("mailboxes", "a")+" rdwr|creat|nonblock 666", "ok")
			m.limit(t, c.line)
			for _, dir := range []string{"mailboxes", "segments", "semaphores", "pipes"} {
				doesAs(t, c.as, "open "+m.path(dir, "b")+" rdwr|creat|nonblock 600", c.errno, "mkdir "+m.path(dir, "b"), c.errno)
			}
			does(t, "mkdir "+m.path("mailboxes", "c"), c.other)
			if c.other == "ok" {
				does(t, "rmdir "+m.path("mailboxes", "c"), "ok")
			}
			doesAs(t, c.as, "unlink "+m.path("mailboxes", "a"), "ok", "open "+m.path("segments", "b")+" rdwr|creat 600", "ok")
			// A name more is no object more.
			doesAs(t, c.as, "link "+m.path("segments", "b")+" "+m.path("segments", "c"), "ok", "unlink "+m.path("segments", "b"), "ok", "unlink "+m.path("segments", "c"), "ok")
			eventually(t, func() string { return differs(m.daemonStat(t)["objects"], 0) })
		})
	}
	for _, c := range []struct{ line, errno, other string }{
		{"messages 2", "ENOSPC", "ENOSPC"},
		{"bytes 10", "ENOSPC", "ENOSPC"},
		{"user_messages 2", "EDQUOT", "5"},
		{"user_bytes 10", "EDQUOT", "5"},
	} {
		t.Run(c.line, func(t *testing.T) {
			m := mount(t, "allow_other")
			mb := m.path("mailboxes", "a")
			does(t, "umask 0", "ok", "open "+mb+" rdwr|creat|nonblock 666", "ok")
			m.limit(t, c.line)
			open := "open " + mb + " rdwr|nonblock"
			doesAs(t, user, open, "ok", "write 12345", "5", "write 12345", "5", "write 1", c.errno)
			does(t, open, "ok", "write 12345", c.other)
			// What was received counts no more.
			doesAs(t, user, open, "ok", "read 100", `"12345"`, "write 1", "1", "write 12345", c.errno)
			// Lowering drops nothing, and raising works at once.
			m.limit(t, strings.Fields(c.line)[0]+" 0")
			doesAs(t, user, open, "ok", "write 1", c.errno, "read 100", `"12345"`)
			m.limit(t, strings.Fields(c.line)[0]+" max")
			doesAs(t, user, open, "ok", "write 1", "1")
			m.as1("rm", mb).run(t).prints("")
			if stat := m.daemonStat(t); stat["messages"] != 0 || stat["bytes"] != 0 {
				t.Errorf("%d messages, %d bytes are left; want none", stat["messages"], stat["bytes"])
			}
		})
	}
}

func TestSegmentsKeepToTheLimitOfMemory(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode segmentMode, m *mountpoint) {
		m.limit(t, "bytes 1M")
		c := m.script(t, `
M = 1 << 20
fd = os.open("s", NEW)
print("truncate", attempt(os.ftruncate, fd, M + 1), attempt(os.ftruncate, fd, M), attempt(put, "s.d/size", "2M"), os.fstat(fd).st_size)
m = mmap.mmap(fd, M)
m[0:M] = b"x" * M
print("stored", m[M - 1], attempt(os.ftruncate, t := os.open("t", NEW), 1))
print("shrunk", attempt(os.ftruncate, fd, M // 2), attempt(os.truncate, "t", M // 2), attempt(os.truncate, "t", M // 2 + 1))
os.unlink("t")
os.close(t)
while "objects 1\n" not in show("../.ipcfs/stat"):
    pass # RELEASE is asynchronous
print("allocate", fallocate(fd, 0, 0, M + 1), fallocate(fd, 0, 0, M), fallocate(fd, 1, M, 1))
os.ftruncate(fd, 0)
print("reserve", fallocate(fd, 1, 0, M), attempt(os.truncate, "s", 10), fallocate(fd, 1, 0, M), attempt(os.ftruncate, fd, 0), attempt(os.ftruncate, fd, M))
os.ftruncate(fd, 0)
print("write", os.pwrite(fd, b"x" * M, 0), attempt(os.pwrite, fd, b"x", M), os.fstat(fd).st_size)
w = os.open("s", os.O_WRONLY | os.O_APPEND)
print("append", attempt(os.write, w, b"x"))
os.ftruncate(fd, 0)
print("all that fits", os.write(w, b"x" * (2 * M)), os.fstat(fd).st_size)
print("lowered", flush=True)
sys.stdin.readline()
print(os.pread(fd, 1, M - 1), m[M - 1], os.pwrite(fd, b"y", M - 1), attempt(os.ftruncate, fd, M + 1))
print("raised", flush=True)
sys.stdin.readline()
print(attempt(os.ftruncate, fd, 2 * M), os.pwrite(fd, b"x" * M, M), os.fstat(fd).st_size, attempt(os.ftruncate, fd, 2 * M + 1))
os.unlink("s")
`)
		c.expect("truncate ENOSPC None ENOSPC 1048576", "stored 120 ENOSPC", "shrunk None None ENOSPC", "allocate ENOSPC 0 ENOSPC",
			"reserve 0 None 0 None None", "write 1048576 ENOSPC 1048576", "append ENOSPC", "all that fits 1048576 1048576", "lowered")
		m.limit(t, "bytes 64K")
		c.resume()
		c.expect("b'x' 120 1 ENOSPC", "raised")
		m.limit(t, "bytes 2M")
		c.resume()
		c.expect("None 1048576 2097152 ENOSPC")
		c.output()
	})
}

func TestSegmentsKeepToTheQuotaOfTheirMaker(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, mode := range segmentModes[:2] {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			m := mode.mount(t)
			m.limit(t, "user_bytes 64K")
			s, other := m.path("segments", "s"), m.path("segments", "other")
			doesAs(t, nobody(t),
				"open "+s+" rdwr|creat 600", "ok", "ftruncate 65537", "EDQUOT", "ftruncate 65536", "ok",
				"lseek 0 end", "65536", "write x", "EDQUOT",
				"open "+other+" wronly|creat 600", "ok", "write x", "EDQUOT",
				"truncate "+s+" 61440", "ok", "write x", "1", "fill 4096 x", "4095", "write x", "EDQUOT",
			)
			does(t, "open "+m.path("segments", "root")+" rdwr|creat 600", "ok", "fill 65536 x", "65536", "write x", "EDQUOT")
			m.limit(t, "user_bytes max")
			doesAs(t, nobody(t), "open "+other+" wronly", "ok", "fill 100000 x", "100000")
		})
	}
}

// What does not ask the daemon is booked all the same: a write to a passed through segment.
func TestWhatGrowsUnaskedIsBooked(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	s := m.path("segments", "s")
	does(t, "open "+s+" rdwr|creat 600", "ok", "fill 100000 x", "100000", "stat "+s, "600 0:0 100000")
	eventually(t, func() string { return differs(m.daemonStat(t)["bytes"], (100000+4095)/4096*4096) })
	does(t, "unlink "+s, "ok")
	eventually(t, func() string { return differs(m.daemonStat(t)["bytes"], 0) })
}
