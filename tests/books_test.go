package tests

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// accounts is the preamble of scripts that send, receive and count.
const accounts = `
import errno, fcntl, os, sys
def attempt(f, *args):
    try:
        return f(*args)
    except OSError as e:
        return errno.errorcode[e.errno]
def until_refused(f, most):
    for n in range(most):
        r = attempt(f)
        if isinstance(r, str):
            return n, r
    return most, "none"
def stat(key):
    with open(sys.argv[1] + "/.ipcfs/stat") as f:
        return dict(line.split() for line in f)[key]
def pause(word):
    print(word, flush=True)
    sys.stdin.readline()
os.chdir(sys.argv[1])
`

func (m *mountpoint) account(t testing.TB, as *syscall.Credential, text string, args ...string) *client {
	t.Helper()
	return command{argv: append([]string{"/usr/bin/env", python, "-W", "ignore", "-c", accounts + text, m.dir}, args...), as: as}.run(t)
}

// common makes an object of a kind that everybody may use.
func (m *mountpoint) common(t testing.TB, dir, name string, policies ...string) string {
	t.Helper()
	path := m.path(dir, name)
	does(t, "open "+path+" rdwr|creat|nonblock 666", "ok", "chmod "+path+" 666", "ok")
	for i := 0; i < len(policies); i += 2 {
		if err := os.WriteFile(path+".d/"+policies[i], []byte(policies[i+1]), 0); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// A message of which one byte has been read is on its reader's books until the file is
// closed, and no more on its sender's.
func TestWhoKeepsAMessageOpenPaysForIt(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	balance := booksBalance(t, m)
	jobs := m.common(t, "mailboxes", "jobs")
	m.limit(t, "user_bytes 2M")
	before := m.daemonStat(t)
	c := m.account(t, nobody(t), `
files = [os.open("mailboxes/jobs", os.O_RDONLY) for i in range(3)]
print(len(os.read(files[0], 1)))
pause("kept")
print(len(os.read(files[0], 1 << 20)), len(os.read(files[0], 1)))
pause("read")
`)
	does(t, "open "+jobs+" wronly", "ok", "fill 1000000 x", "1000000")
	c.expect("1", "kept")
	if now := m.daemonStat(t); now["messages"] != 0 || now["bytes"] != 0 || now["kept"] < before["kept"]+990_000 {
		t.Errorf("one byte read: %d messages, %d bytes, %d more kept; want 0, 0, a million", now["messages"], now["bytes"], now["kept"]-before["kept"])
	}
	c.resume()
	c.expect("999999 0", "read")
	if now := m.daemonStat(t)["kept"]; now > before["kept"]+100_000 {
		t.Errorf("all read: %d more kept; want none of the message", now-before["kept"])
	}
	c.resume()
	c.output()
	does(t, "unlink "+jobs, "ok")
	balance()
}

// A reader over its quota gets every message; but those count as held until they are read,
// so that neither the daemon's memory nor the sender's quota is for the reader to use up.
func TestReadersBeyondTheirQuotaLoseNothing(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	balance := booksBalance(t, m)
	jobs := m.common(t, "mailboxes", "jobs", "capacity", "3")
	m.limit(t, "bytes 64M\nuser_bytes 4M")
	c := m.account(t, nobody(t), `
files = [os.open("mailboxes/jobs", os.O_RDONLY) for i in range(40)]
pause("open")
got = [os.read(fd, 1) for fd in files[:8]]
pause("took %d" % len(got))
print(sum(len(os.read(fd, 1 << 20)) for fd in files[:8]))
got = [os.read(fd, 1 << 20) for fd in files[8:12]]
print(sum(len(m) for m in got))
pause("done")
`)
	c.expect("open")
	s := m.account(t, nil, `
fd = os.open("mailboxes/jobs", os.O_WRONLY)
for i in range(8):
    os.write(fd, b"x" * 1000000)
os.set_blocking(fd, False)
pause("sent")
# Some of the eight fit the reader's quota, the others are as if it had not received them.
n, e = until_refused(lambda: os.write(fd, b"x" * 1000000), 100)
print(n < 4, e)
pause("full")
os.set_blocking(fd, True)
for i in range(4 - n):
    os.write(fd, b"x" * 1000000)
print("sent on")
`)
	c.resume()
	s.expect("sent")
	c.expect("took 8")
	s.resume()
	s.expect("True EAGAIN", "full")
	if now := m.daemonStat(t); now["bytes"] > 4<<20 || now["bytes"]+now["kept"] > 15<<20 {
		t.Errorf("%d bytes are held, %d kept", now["bytes"], now["kept"])
	}
	s.resume()
	c.resume()
	c.expect("7999992", "4000000", "done")
	s.expect("sent on")
	c.resume()
	c.output()
	s.output()
	does(t, "unlink "+jobs, "ok")
	balance()
}

// A pipe keeps the buffer that a write came in, and books it as long as that.
func TestPipesBookTheBuffersTheyKeep(t *testing.T) {
	t.Parallel()
	m := mount(t)
	balance := booksBalance(t, m)
	p := m.common(t, "pipes", "p", "capacity", "1M", "lifetime", "persistent")
	before := m.daemonStat(t)
	does(t, "open "+p+" wronly", "ok", "fill 65536 x", "65536")
	now := m.daemonStat(t)
	if n := now["bytes"] + now["kept"] - before["kept"]; n < 1<<20 {
		t.Errorf("a buffer of 1 MiB is booked as %d bytes", n)
	}
	run(t, "head", "-c", "65535", p).output()
	if now := m.daemonStat(t); now["bytes"] != 1 || now["kept"]-before["kept"] < 1<<20-1 {
		t.Errorf("with one byte of it left: %d bytes, %d more kept; want 1, the rest of 1 MiB", now["bytes"], now["kept"]-before["kept"])
	}
	run(t, "head", "-c", "1", p).output()
	eventually(t, func() string {
		if now := m.daemonStat(t); now["bytes"] != 0 || now["kept"] != before["kept"] {
			return fmt.Sprintf("empty: %d bytes, %d more kept; want none", now["bytes"], now["kept"]-before["kept"])
		}
		return ""
	})
	does(t, "unlink "+p, "ok")
	balance()
}

// What costs the daemon memory and has no bytes is refused all the same: messages of one
// byte and of none, ends of file, subscriptions to what nobody reads.
func TestSmallThingsFillAQuota(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, c := range []struct{ name, script string }{
		{"messages of one byte", `fd = os.open("mailboxes/m", os.O_WRONLY | os.O_NONBLOCK)
print(*until_refused(lambda: os.write(fd, b"x"), 40000))`},
		{"hangups", `fd = os.open("pipes/p.d/hangup", os.O_WRONLY)
print(*until_refused(lambda: os.write(fd, b"\n"), 70000))`},
		{"subscriptions", `files = [os.open("mailboxes/b", os.O_RDONLY) for i in range(300)]
fd = os.open("mailboxes/b", os.O_WRONLY | os.O_NONBLOCK)
print(*until_refused(lambda: os.write(fd, b"x"), 40000))`},
		{"messages of which a byte was read", `fd = os.open("mailboxes/m", os.O_WRONLY | os.O_NONBLOCK)
def step():
    r = os.open("mailboxes/m", os.O_RDONLY)
    os.write(fd, b"x" * 500000)
    os.read(r, 1)
print(*until_refused(step, 500))`},
		{"peeks", `fd = os.open("mailboxes/m", os.O_WRONLY | os.O_NONBLOCK)
def step():
    os.write(fd, b"x" * 500000)
    r = os.open("mailboxes/m.d/peek", os.O_RDONLY)
    os.read(r, 1)
    os.read(os.open("mailboxes/m", os.O_RDONLY), 1 << 20)
print(*until_refused(step, 500))`},
		{"buffers of pipes", `def step():
    name = "pipes/%d" % len(os.listdir("pipes"))
    os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK))
    for policy, value in (("lifetime", "persistent"), ("capacity", "max")):
        with open("%s.d/%s" % (name, policy), "w") as f:
            f.write(value)
    fd = os.open(name, os.O_RDWR | os.O_NONBLOCK)
    for i in range(4):
        os.write(fd, b"x" * 65536)
    os.close(fd)
print(*until_refused(step, 300))
for p in os.listdir("pipes"):
    if p != "p":
        os.unlink("pipes/" + p)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := mount(t, "allow_other")
			balance := booksBalance(t, m)
			heap := m.daemonStat(t)["heap_bytes"]
			for _, name := range []string{"m", "b"} {
				path := m.common(t, "mailboxes", name, "capacity", "max", "capacity_bytes", "max")
				does(t, "chmod "+path+".d/peek 444", "ok")
			}
			m.common(t, "mailboxes", "b", "receivers", "broadcast")
			p := m.common(t, "pipes", "p", "lifetime", "persistent")
			does(t, "chmod "+p+".d/hangup 222", "ok")
			m.limit(t, "bytes 32M\nuser_bytes 4M")
			cl := m.account(t, nobody(t), c.script+"\npause('full')\n")
			line := cl.next()
			cl.expect("full")
			now := m.daemonStat(t)
			if words := strings.Fields(line); len(words) != 2 || words[1] != "EDQUOT" {
				t.Errorf("%s: %s; want EDQUOT in the end", c.name, line)
			}
			if n := now["bytes"] + now["kept"]; n > 12<<20 {
				t.Errorf("%s: %d bytes are booked; want little more than 4 MiB", c.name, n)
			}
			t.Logf("%s: %s; %d bytes and %d kept, the heap has grown by %d", c.name, line, now["bytes"], now["kept"], now["heap_bytes"]-heap)
			// Everybody else goes on.
			does(t, "open "+m.path("mailboxes", "other")+" rdwr|creat 600", "ok", "write hello", "5", "read 9", `"hello"`, "unlink "+m.path("mailboxes", "other"), "ok")
			cl.resume()
			cl.output()
			for _, path := range []string{"mailboxes/m", "mailboxes/b", "pipes/p"} {
				does(t, "unlink "+m.path(path), "ok")
			}
			balance()
		})
	}
}

// Clients of every sort are killed at any moment. The books are as if they had not been.
func TestBooksBalanceAfterKills(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	balance := booksBalance(t, m)
	m.common(t, "mailboxes", "m", "capacity", "8")
	m.common(t, "mailboxes", "lines", "capacity", "8", "framing", "line")
	m.common(t, "mailboxes", "all", "capacity", "8", "receivers", "broadcast")
	m.common(t, "mailboxes", "l", "capacity", "8", "lease_time", "50ms")
	does(t, "chmod "+m.path("mailboxes", "l.d", "lease")+" 666", "ok", "chmod "+m.path("mailboxes", "m.d", "send")+" 666", "ok",
		"chmod "+m.path("mailboxes", "m.d", "peek")+" 444", "ok", "chmod "+m.path("mailboxes", "m.d", "envelope")+" 444", "ok")
	m.common(t, "pipes", "p", "lifetime", "persistent")
	m.common(t, "pipes", "q")
	m.limit(t, "user_bytes 8M")
	// Each in an endless loop; what is refused is tried again.
	scripts := []string{
		`os.write(os.open("mailboxes/m", os.O_WRONLY), b"m" * 70000)`,
		`fd = os.open("mailboxes/m.d/send", os.O_RDWR); os.write(fd, b"m" * 3000); os.read(fd, 10)`,
		`os.read(os.open("mailboxes/m", os.O_RDONLY), 500)`,
		`os.read(os.open("mailboxes/m.d/envelope", os.O_RDONLY), 100)`,
		`os.read(os.open("mailboxes/m.d/peek", os.O_RDONLY), 100)`,
		`os.write(os.open("mailboxes/lines", os.O_WRONLY), b"one\ntwo\n" + b"x" * 5000 + b"\nbegun")`,
		`os.read(os.open("mailboxes/lines", os.O_RDONLY), 100)`,
		`os.write(os.open("mailboxes/all", os.O_WRONLY), b"a" * 5000)`,
		`os.read(os.open("mailboxes/all", os.O_RDONLY), 3000)`,
		`os.write(os.open("mailboxes/l", os.O_WRONLY), b"l" * 20000)`,
		`fd = os.open("mailboxes/l.d/lease", os.O_RDWR); os.read(fd, 100); os.write(fd, b"ack\n")`,
		`os.write(os.open("pipes/p", os.O_RDWR), b"p" * 100000)`,
		`os.read(os.open("pipes/p", os.O_RDONLY), 30000)`,
		`os.write(os.open("pipes/q", os.O_WRONLY), b"q" * 70000)`,
		`os.read(os.open("pipes/q", os.O_RDONLY), 300)`,
	}
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	choice := rand.New(rand.NewSource(seed))
	rounds := 4
	if v, err := strconv.Atoi(os.Getenv("IPCFS_ROUNDS")); err == nil {
		rounds = v
	}
	for range rounds {
		var clients []*client
		for i, s := range scripts {
			var as *syscall.Credential
			if i%2 == choice.Intn(2) {
				as = nobody(t)
			}
			clients = append(clients, m.account(t, as, `
import signal
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
print("up", flush=True)
i = 0
while True:
    try:
        `+s+`
    except OSError:
        pass
    if (i := i + 1) % 8 == 0:
        os.closerange(3, 100)
`))
		}
		for _, c := range clients {
			c.expect("up")
		}
		choice.Shuffle(len(clients), func(i, j int) { clients[i], clients[j] = clients[j], clients[i] })
		for _, c := range clients {
			// Not to synchronise: any moment will do, the sooner the better.
			for n := choice.Intn(3); n > 0; n-- {
				m.daemonStat(t)
			}
			if err := c.cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		for _, c := range clients {
			<-c.exited
		}
		eventually(t, func() string { return differs(m.daemonStat(t)["parked"], 0) })
	}
	m.atRest(t)
	for _, path := range []string{"mailboxes/m", "mailboxes/lines", "mailboxes/all", "mailboxes/l", "pipes/p", "pipes/q"} {
		does(t, "unlink "+m.path(path), "ok")
	}
	balance()
}

// Who waits is on the books, and may wait at any limit.
func TestWaitersAreOnTheBooks(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	balance := booksBalance(t, m)
	m.common(t, "mailboxes", "m")
	before := m.daemonStat(t)
	c := m.account(t, nobody(t), `
import threading
files = [os.open("mailboxes/m", os.O_RDONLY) for i in range(100)]
pause("open")
for fd in files:
    threading.Thread(target=os.read, args=(fd, 10), daemon=True).start()
pause("waiting")
`)
	c.expect("open")
	opened := m.daemonStat(t)["kept"]
	m.limit(t, "user_bytes 0\nuser_messages 0")
	c.resume()
	c.expect("waiting")
	eventually(t, func() string { return differs(m.daemonStat(t)["parked"], 100) })
	if now := m.daemonStat(t)["kept"]; now < opened+100*1000 {
		t.Errorf("%d bytes are kept for 100 requests that wait; %d before", now-before["kept"], opened-before["kept"])
	}
	c.kill()
	m.limit(t, "user_bytes max\nuser_messages max")
	does(t, "unlink "+m.path("mailboxes", "m"), "ok")
	balance()
}
