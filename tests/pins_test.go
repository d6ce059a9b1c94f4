package tests

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var buildPins = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(filepath.Dir(segmentBin), "pins")
	out, err := exec.Command("gcc", "-O1", "-Wall", "-pthread", "-o", bin, filepath.Join("testdata", "clients", "pins.c")).CombinedOutput()
	if err != nil {
		err = errors.Join(err, errors.New(string(out)))
	}
	return bin, err
})

// pins runs the client of that name.
func (m *mountpoint) pins(t testing.TB, args ...string) *client {
	t.Helper()
	bin, err := buildPins()
	if err != nil {
		t.Fatal(err)
	}
	return m.as1(append([]string{bin}, args...)...).run(t)
}

// pinned waits until the client has pinned memory. If the kernel refuses to, it says so and reports false.
func pinned(t testing.TB, c *client) bool {
	t.Helper()
	line := c.next()
	if strings.HasPrefix(line, "pinned") {
		return true
	}
	t.Logf("nothing to test: %s", line)
	return false
}

// Memory of a segment that a process has pinned, unmapped and closed can be changed. Once a segment is sent or sealed it must not.
func TestNobodyChangesWhatIsSentOrSealed(t *testing.T) {
	for _, way := range []string{"uring", "read", "vmsplice"} {
		t.Run(way, func(t *testing.T) {
			inEachMode(t, func(t *testing.T, mode segmentMode, m *mountpoint) {
				box := m.path("mailboxes", "empty")
				for _, what := range []string{"send", "seal"} {
					m.as1("mkdir", box).run(t).prints("")
					m.script(t, zeroCopy+"os.mkdir(JOBS)\nframe('s', 8192)\n").prints("")
					c := m.pins(t, way, m.path("segments", "s"), box)
					if pinned(t, c) {
						cannotChange(t, m, c, what, mode.passthrough)
					}
					c.output()
					m.script(t, zeroCopy+`
for f in os.listdir("."):
    os.unlink(f)
put(JOBS + "flush", "\n")
while booked():
    pass
os.rmdir(JOBS)
os.rmdir("../mailboxes/empty")
`).prints("")
				}
			})
		})
	}
}

// cannotChange sends or seals s, and has c change what it has pinned. Where the mapping was of the memory itself that is refused.
func cannotChange(t *testing.T, m *mountpoint, c *client, what string, refused bool) {
	t.Helper()
	do, at := `send("s")`, "QUEUE + '1'"
	if what == "seal" {
		do, at = `put("s.d/seal", "write")`, "'s'"
	}
	attempt := zeroCopy + `
def do():
    ` + do + `
while show("s.d/attached"):
    pass # RELEASE is asynchronous
print(attempt(do))
`
	show := zeroCopy + `print(open(` + at + `, "rb").read(5))` + "\n"
	if refused {
		m.script(t, attempt).prints("EBUSY\n")
		c.resume()
		c.expect("changed")
		c.resume()
		if c.wait() != 0 {
			t.Fatalf("the client failed: %s", c.stderr.String())
		}
		m.script(t, attempt).prints("None\n")
		return
	}
	m.script(t, attempt).prints("None\n")
	m.script(t, show).prints("b'hello'\n")
	c.resume()
	c.expect("changed")
	m.script(t, show).prints("b'hello'\n")
	c.resume()
}

// What a process has mapped another can change in it: process_vm_writev(2), ptrace(2).
func TestMemoryOfOthersIsNoWayAroundASeal(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		m.script(t, zeroCopy+"os.mkdir(JOBS)\nframe('s', 8192)\n").prints("")
		c := m.pins(t, "hold", m.path("segments", "s"))
		var at string
		if _, err := fmt.Sscanf(c.next(), "pinned %s", &at); err != nil {
			t.Fatal(err)
		}
		busy := zeroCopy + `print(attempt(send, "s"), attempt(put, "s.d/seal", "write"))` + "\n"
		m.script(t, busy).prints("EBUSY EBUSY\n")
		m.pins(t, "poke", number(c.pid()), at).prints("process_vm_writev ok\nptrace ok\n")
		m.script(t, busy).prints("EBUSY EBUSY\n")
		c.resume() // unmaps it
		c.expect("changed")
		m.script(t, zeroCopy+`
while attempt(put, "s.d/seal", "write") == "EBUSY":
    pass # RELEASE is asynchronous
send("s")
`).prints("")
		m.pins(t, "poke", number(c.pid()), at).prints("process_vm_writev EFAULT\nptrace EIO\n")
		m.script(t, zeroCopy+`
print(open(QUEUE + "1", "rb").read(5))
put(JOBS + "flush", "\n")
os.rmdir(JOBS)
`).prints("b'EVIL!'\n")
		c.resume()
		c.output()
	})
}

// What was sent cannot be changed, so who receives it writes to a copy: the first time it is opened for writing.
func TestReceivedSegmentIsCopiedForItsFirstWriter(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode segmentMode, m *mountpoint) {
		const size = 64<<20 + 5
		c := m.zeroCopyScript(t, fmt.Sprintf(`
SIZE = %d
fd = os.open("s", NEW)
os.ftruncate(fd, SIZE)
m = mmap.mmap(fd, SIZE)
m[0:SIZE] = b"x" * SIZE
m.close()
os.close(fd)
send("s")
take("1", "got")
r = os.open("got", os.O_RDONLY)
m = mmap.mmap(r, SIZE, prot=mmap.PROT_READ)
print(m[0:1], m[-1:], booked(), flush=True)
print(attempt(os.open, "got", os.O_RDWR))
m.close()
os.close(r)
while show("got.d/attached"):
    pass
print("quota", flush=True)
sys.stdin.readline()
print(attempt(os.open, "got", os.O_RDWR), open("got", "rb").read(3))
print("room", flush=True)
sys.stdin.readline()
w = os.open("got", os.O_RDWR)
m = mmap.mmap(w, SIZE)
m[0:5] = b"HELLO"
print(os.pread(w, 6, 0), os.pread(w, 10, SIZE - 5), os.fstat(w).st_size)
while booked() > SIZE + 4096:
    pass # the first is freed
m.close()
os.close(w)
while show("got.d/attached"):
    pass
send("got")
take("2", "got")
print(open("got", "rb").read(6))
os.unlink("got")
`, size))
		booked := 64<<20 + 4096
		if !mode.passthrough {
			// Nobody had the memory itself mapped.
			c.expect(fmt.Sprintf("b'x' b'x' %d", booked))
			if fd := c.next(); strings.HasPrefix(fd, "E") {
				t.Errorf("open for writing beside a reader: %s, want it open", fd)
			}
			c.kill()
			m.script(t, zeroCopy+`
while show("got.d/attached"):
    pass
os.unlink("got")
while booked():
    pass
os.rmdir(JOBS)
`).prints("")
			return
		}
		c.expect(fmt.Sprintf("b'x' b'x' %d", booked), "EBUSY", "quota")
		m.limit(t, "bytes 100M")
		c.resume()
		c.expect("ENOSPC b'xxx'", "room")
		m.limit(t, "bytes 1G")
		c.resume()
		c.expect("b'HELLOx' b'xxxxx' "+number(size), "b'HELLOx'")
		c.output()
	})
}
