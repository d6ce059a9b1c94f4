package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A mailbox is one of a test's mount, in either shape.
type mailbox struct {
	t             testing.TB
	m             *mountpoint
	name          string // under the mountpoint: mailboxes/NAME
	path          string // of the flat file or the directory
	send, receive string // the endpoints
	control       string // the directory of the control files
}

const (
	flat      = "flat"
	directory = "directory"
)

// inBothShapes runs a test on a fresh mailbox of either shape.
func inBothShapes(t *testing.T, test func(t *testing.T, mb *mailbox)) {
	for _, shape := range []string{flat, directory} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			test(t, mount(t).mailbox(t, shape, "jobs"))
		})
	}
}

// mailbox makes an empty one.
func (m *mountpoint) mailbox(t testing.TB, shape, name string) *mailbox {
	t.Helper()
	path := m.path("mailboxes", name)
	if shape == directory {
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
	} else {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return m.existing(t, shape, name)
}

// existing names a mailbox that is there.
func (m *mountpoint) existing(t testing.TB, shape, name string) *mailbox {
	path := m.path("mailboxes", name)
	mb := &mailbox{t: t, m: m, name: "mailboxes/" + name, path: path}
	if shape == directory {
		mb.send, mb.receive, mb.control = filepath.Join(path, "send"), filepath.Join(path, "receive"), path
	} else {
		mb.send, mb.receive, mb.control = path, path, path+".d"
	}
	return mb
}

// with sets policies, given as name, value, name, value …, and returns the mailbox.
func (mb *mailbox) with(policies ...string) *mailbox {
	mb.t.Helper()
	for i := 0; i+1 < len(policies); i += 2 {
		mb.set(policies[i], policies[i+1])
	}
	return mb
}

func (mb *mailbox) file(name string) string { return filepath.Join(mb.control, name) }

func (mb *mailbox) set(policy, value string) {
	mb.t.Helper()
	if err := os.WriteFile(mb.file(policy), []byte(value+"\n"), 0); err != nil {
		mb.t.Fatal(err)
	}
}

// policy reads a control file.
func (mb *mailbox) policy(name string) string {
	mb.t.Helper()
	value, err := os.ReadFile(mb.file(name))
	if err != nil {
		mb.t.Fatal(err)
	}
	text, ok := strings.CutSuffix(string(value), "\n")
	if !ok {
		mb.t.Fatalf("%s = %q, want a newline at its end", name, value)
	}
	return text
}

func (mb *mailbox) wantPolicy(name, want string) {
	mb.t.Helper()
	if got := mb.policy(name); got != want {
		mb.t.Fatalf("%s = %q, want %q", name, got, want)
	}
}

func (mb *mailbox) stat() map[string]int {
	mb.t.Helper()
	return parseStat(mb.t, mb.file("stat"))
}

// wantStat compares lines of the stat file, given as "key value".
func (mb *mailbox) wantStat(lines ...string) {
	mb.t.Helper()
	if complaint := mb.statComplaint(lines); complaint != "" {
		mb.t.Fatal(complaint)
	}
}

// awaitStat waits until the stat file has the lines.
func (mb *mailbox) awaitStat(lines ...string) {
	mb.t.Helper()
	eventually(mb.t, func() string { return mb.statComplaint(lines) })
}

func (mb *mailbox) statComplaint(lines []string) string {
	mb.t.Helper()
	stat := mb.stat()
	for _, line := range lines {
		key, value, _ := strings.Cut(line, " ")
		if got, ok := stat[key]; !ok || strconv.Itoa(got) != value {
			return fmt.Sprintf("%s: %s = %d, want %s (stat %v)", mb.name, key, got, value, stat)
		}
	}
	return ""
}

// A waiter is a line of the waiters file: PID UID COMMAND OPERATION SECONDS.
type waiter struct {
	pid, uid  int
	command   string
	operation string
	seconds   string
}

func (mb *mailbox) waiters() []waiter {
	mb.t.Helper()
	text, err := os.ReadFile(mb.file("waiters"))
	if err != nil {
		mb.t.Fatal(err)
	}
	var all []waiter
	for line := range strings.Lines(string(text)) {
		w, err := parseWaiter(strings.TrimSuffix(line, "\n"))
		if err != nil {
			mb.t.Fatal(err)
		}
		all = append(all, w)
	}
	return all
}

func parseWaiter(line string) (waiter, error) {
	f := strings.Split(line, " ")
	if len(f) != 5 {
		return waiter{}, fmt.Errorf("waiters has the line %q, want PID UID COMMAND OPERATION SECONDS", line)
	}
	pid, err1 := strconv.Atoi(f[0])
	uid, err2 := strconv.Atoi(f[1])
	if err1 != nil || err2 != nil {
		return waiter{}, fmt.Errorf("waiters has the line %q, want PID and UID in front", line)
	}
	return waiter{pid, uid, f[2], f[3], f[4]}, nil
}

// awaitWaiters waits until n requests are blocked.
func (mb *mailbox) awaitWaiters(n int) {
	mb.t.Helper()
	eventually(mb.t, func() string {
		if w := mb.waiters(); len(w) != n {
			return fmt.Sprintf("%s has the waiters %+v, want %d", mb.name, w, n)
		}
		return ""
	})
}

// parked waits until the client is blocked on the mailbox, asleep.
func (mb *mailbox) parked(c *client) *client {
	mb.t.Helper()
	eventually(mb.t, func() string {
		if c.hasExited() {
			mb.t.Fatalf("%v ended, want it blocked on %s; stdout %q, stderr %q", c, mb.name, c.stdout, c.stderr)
		}
		all := mb.waiters()
		if !slices.ContainsFunc(all, func(w waiter) bool { return w.pid == c.pid() }) {
			return fmt.Sprintf("%v is not among the waiters %+v of %s, it is %s", c, all, mb.name, c.where())
		}
		return ""
	})
	c.asleep()
	return c
}

// gone waits until the client is no longer listed as blocked.
func (mb *mailbox) gone(c *client) {
	mb.t.Helper()
	eventually(mb.t, func() string {
		all := mb.waiters()
		if slices.ContainsFunc(all, func(w waiter) bool { return w.pid == c.pid() }) {
			return fmt.Sprintf("%v is still among the waiters %+v of %s", c, all, mb.name)
		}
		return ""
	})
}

// parkSender starts a client that blocks in sending text. What its write returns is the next line it prints.
func (mb *mailbox) parkSender(text string) *client {
	mb.t.Helper()
	c := cli(mb.t, "catch usr1", "open "+mb.send+" wronly", "write "+text)
	c.expect("ok", "ok")
	return mb.parked(c)
}

// parkReceiver starts a client that blocks in receiving. What its read returns is the next line it prints.
func (mb *mailbox) parkReceiver() *client {
	mb.t.Helper()
	c := cli(mb.t, "catch usr1", "open "+mb.receive+" rdonly", "read 1048576")
	c.expect("ok", "ok")
	return mb.parked(c)
}

// put sends messages without blocking.
func (mb *mailbox) put(messages ...string) {
	mb.t.Helper()
	fd, err := syscall.Open(mb.send, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		mb.t.Fatalf("open %s: %v", mb.send, err)
	}
	defer syscall.Close(fd)
	for _, text := range messages {
		if n, err := syscall.Write(fd, []byte(text)); n != len(text) || err != nil {
			mb.t.Fatalf("send of %s = %d, %v; want %d", brief([]byte(text)), n, err, len(text))
		}
	}
}

// take receives all there is without blocking, one string for each message.
func (mb *mailbox) take() []string {
	mb.t.Helper()
	fd, err := syscall.Open(mb.receive, syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		mb.t.Fatalf("open %s: %v", mb.receive, err)
	}
	defer syscall.Close(fd)
	var all []string
	b := make([]byte, 1<<20)
	for {
		n, err := syscall.Read(fd, b)
		if err == syscall.EAGAIN {
			return all
		}
		if err != nil || n == 0 {
			mb.t.Fatalf("non-blocking receive = %d, %v; want a message or EAGAIN", n, err)
		}
		all = append(all, string(b[:n]))
	}
}

// wantQueue takes everything and compares it.
func (mb *mailbox) wantQueue(want ...string) {
	mb.t.Helper()
	if got := mb.take(); !slices.Equal(got, want) {
		mb.t.Fatalf("%s held %.100q, want %.100q", mb.name, got, want)
	}
}
