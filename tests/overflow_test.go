package tests

import (
	"fmt"
	"strings"
	"testing"
)

// books are what .ipcfs/stat says is held on anybody's account.
func (m *mountpoint) books(t testing.TB) [4]int {
	t.Helper()
	stat := m.daemonStat(t)
	return [...]int{stat["objects"], stat["messages"], stat["bytes"], stat["kept"]}
}

// booksBalance returns a function that fails unless the books return to what they are
// now. RELEASE is asynchronous, so they have a while.
func booksBalance(t testing.TB, m *mountpoint) (check func()) {
	t.Helper()
	m.atRest(t)
	before := m.books(t)
	return func() {
		t.Helper()
		eventually(t, func() string {
			if now := m.books(t); now != before {
				return fmt.Sprintf("the books hold %v objects, messages, bytes and bytes kept; want %v as at the start", now, before)
			}
			return ""
		})
	}
}

// asUser is the mount as another user of it sees it.
func (m *mountpoint) asUser(t testing.TB) *mountpoint {
	t.Helper()
	u := *m
	u.as = nobody(t)
	return &u
}

// The sizes of segments add up beyond what 64 bits hold. The limits hold all the same.
func TestSizesThatOverflowVoidNoLimit(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, mode := range segmentModes[:2] {
		for _, limit := range []string{"bytes 64M\nuser_bytes 16M", "bytes 64M", "user_bytes 16M", "bytes max"} {
			t.Run(mode.name+"/"+limit, func(t *testing.T) {
				t.Parallel()
				m := mode.mount(t)
				balance := booksBalance(t, m)
				mb := m.mailbox(t, flat, "jobs")
				does(t, "chmod "+mb.path+" 666", "ok")
				m.as1("bash", "-c", `for f; do echo max > $f; done`, "", mb.file("capacity"), mb.file("capacity_bytes")).run(t).prints("")
				m.limit(t, limit)
				// No mount has as much, whoever asks. What a user has less of is found out later.
				full := "ENOSPC"
				if strings.Contains(limit, "user") {
					full = "EDQUOT"
				}
				c := m.asUser(t).script(t, `
END = 2**63 - 1
a, b, full = os.open("a", NEW), os.open("b", NEW), "ENOSPC"
print(attempt(os.ftruncate, a, 4096), {attempt(os.ftruncate, b, n) for n in (END, END - 1, END - 4095, END - 4096, END - 8191)} == {full})
print({fallocate(b, mode, offset, n) for mode in (0, 1) for offset, n in ((0, END), (0, END - 4095), (4096, END - 4096), (END - 4096, 1))} == {full})
print({fallocate(b, mode, 1, END) for mode in (0, 1)})
print("booked", flush=True)
sys.stdin.readline()
fd, sent = os.open("../mailboxes/jobs", os.O_WRONLY | os.O_NONBLOCK), 0
try:
    while sent < 200 and sys.argv[2] == "limited":
        sent += os.write(fd, b"x" * 500000) // 500000
    print("unlimited")
except OSError as e:
    print(errno.errorcode[e.errno] == sys.argv[1], sent < 2**26 // 500000 + 1)
os.unlink("a")
os.unlink("b")
`, full, map[bool]string{false: "limited", true: "unlimited"}[limit == "bytes max"])
				c.expect("None True", "True", "{'EFBIG'}", "booked")
				if got := m.daemonStat(t)["bytes"]; got != 4096 {
					t.Errorf("%d bytes are booked; want 4096", got)
				}
				c.resume()
				if limit == "bytes max" {
					c.expect("unlimited")
				} else {
					c.expect("True True") // 100 MB of messages do not follow
				}
				c.output()
				does(t, "unlink "+mb.path, "ok")
				balance()
			})
		}
	}
}
