package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// passed is Python that has a child of uid 2001 open sys.argv[1] and pass the descriptor, over a socket, to its parent,
// which is root and has it as fd.
const passed = `
import os, socket, sys, time
def opened(path, flags, uid=2001):
    a, b = socket.socketpair()
    if os.fork() == 0:
        a.close()
        os.setgroups([]); os.setgid(uid); os.setuid(uid)
        fd = os.open(path, flags)
        socket.send_fds(b, [b"x"], [fd])
        os.close(fd)
        b.recv(1)  # until the parent has ended: the death of who opened a lease ends it
        os._exit(0)
    b.close()
    return socket.recv_fds(a, 1, 1)[1][0], a
fd, other = opened(sys.argv[1], eval("os." + sys.argv[2]))
def attempt(f, *args):
    try: print(f(*args), flush=True)
    except OSError as e: print(os.strerror(e.errno), flush=True)
`

// shared makes a mailbox of root's that everybody may send to and receive from.
func (m *mountpoint) shared(t testing.TB, name string) *mailbox {
	mb := m.mailbox(t, directory, name)
	for _, file := range []string{"send", "receive", "envelope", "lease", "messages", "topic", "from"} {
		does(t, "chmod "+mb.file(file)+" 777", "ok")
	}
	return mb
}

// An envelopeOf is what the envelope of the next message tells of its origin.
type envelopeOf struct {
	Pid, Uid, Gid int
	Writer        *struct{ Pid, Uid int }
}

func (mb *mailbox) envelope() (e envelopeOf) {
	mb.t.Helper()
	b, err := os.ReadFile(mb.file("envelope"))
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	if err != nil {
		mb.t.Fatalf("envelope = %q, %v", b, err)
	}
	return e
}

func TestWhoOpenedAMailboxAnswersForWhatIsSent(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	mb := m.shared(t, "jobs")
	c := run(t, python, "-c", passed+`
attempt(os.write, fd, b"by root")
attempt(input)
`, mb.send, "O_WRONLY")
	c.expect("7")
	does(t, "stat "+mb.file("messages/1"), "4444 2001:2001 7")
	if got := mb.names("from"); got != "2001" {
		t.Errorf("from lists %q, want 2001", got)
	}
	e := mb.envelope()
	if e.Uid != 2001 || e.Gid != 2001 || e.Writer == nil || e.Writer.Uid != 0 || e.Writer.Pid != c.pid() || e.Pid == c.pid() {
		t.Errorf("the envelope tells %+v (writer %+v), want opener 2001 and writer 0 with pid %d", e, e.Writer, c.pid())
	}

	// Nobody stands beside who writes for himself, and a change of process alone is none.
	alice := userOf(2001)
	command{argv: []string{"bash", "-c", "echo mine > " + mb.send + "; exec 7> " + mb.send + "; echo also | cat >&7"}, as: alice}.run(t).prints("")
	does(t, "stat "+mb.file("messages/2"), "444 2001:2001 5")
	for range 2 {
		if e := mb.envelope(); e.Uid != 2001 || e.Writer != nil {
			t.Errorf("the envelope tells %+v (writer %+v), want 2001 alone", e, e.Writer)
		}
	}
}

// The attack of a user who has a program that runs as root write its complaints.
func TestASetUserIDProgramDoesNotVouchForItsCaller(t *testing.T) {
	t.Parallel()
	needRoot(t)
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(cat)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(ipcfsBin)
	suid := filepath.Join(dir, "set-user-id-cat")
	if err := os.WriteFile(suid, text, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(suid, os.ModeSetuid|0o755); err != nil {
		t.Fatal(err)
	}
	m := mount(t, "allow_other")
	mb := m.shared(t, "jobs")
	command{argv: []string{"bash", "-c", "echo any text | " + suid + " > " + mb.send}, as: userOf(2001)}.run(t).prints("")
	if e := mb.envelope(); e.Uid != 2001 || e.Writer == nil || e.Writer.Uid != 0 {
		t.Errorf("the envelope tells %+v (writer %+v), want opener 2001 and writer 0 (is %s on a nosuid file system?)", e, e.Writer, dir)
	}
}

func TestTheQuotaOfWhoOpenedIsUsed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	mb := m.shared(t, "jobs")
	if err := os.WriteFile(m.path(".ipcfs", "limits"), []byte("user_messages 2\nuser_bytes 300K\n"), 0); err != nil {
		t.Fatal(err)
	}
	run(t, python, "-c", passed+`
for text in b"one", b"two", b"three": attempt(os.write, fd, text)
`, mb.send, "O_WRONLY").prints("3\n3\nDisk quota exceeded\n")
	doesAs(t, userOf(2002), "open "+mb.send+" wronly", "ok", "write mine", "4")
	mb.wantQueue("one", "two", "mine")
	mb.with("framing", "close")
	run(t, python, "-c", passed+`
attempt(os.write, fd, b"x" * 200000)
attempt(os.write, fd, b"x" * 200000)
`, mb.send, "O_WRONLY").prints("200000\nDisk quota exceeded\n")
	// Bytes of a stream, too.
	path := m.path("pipes", "p")
	does(t, "open "+path+" rdwr|creat 666", "ok", "chmod "+path+" 666", "ok")
	does(t, "mkdir "+m.path("pipes", "q")+" 755", "ok", "chmod "+m.path("pipes", "q", "write")+" 222", "ok")
	for name, value := range map[string]string{"capacity": "max", "lifetime": "persistent"} {
		if err := os.WriteFile(m.path("pipes", "q", name), []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() string { // what was begun ends with its file
		if text := shownTo(t, nil, mb.file("stat")); !strings.Contains(text, "open_senders 0\n") {
			return text
		}
		return ""
	})
	mb.take()
	run(t, python, "-c", passed+`
attempt(os.write, fd, b"x" * 200000)
attempt(os.write, fd, b"x" * 200000)
`, m.path("pipes", "q", "write"), "O_WRONLY").prints("200000\nDisk quota exceeded\n")
}

func TestAReceiptNamesWhoOpenedForReceiving(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	mb := m.shared(t, "jobs")
	for _, script := range []string{
		"attempt(os.read, fd, 10)",
		"attempt(os.read, fd, 10); attempt(os.write, fd, b'ack')",
	} {
		file, flags := mb.file("receive"), "O_RDONLY"
		if strings.Contains(script, "ack") {
			file, flags = mb.file("lease"), "O_RDWR"
		}
		sender := cli(t, "open "+mb.send+" rdwr", "write hello", "read 100")
		sender.expect("ok", "5")
		c := run(t, python, "-c", passed+script, file, flags)
		c.wait()
		receipt, _ := strconv.Unquote(sender.next())
		var pid, uid int
		if n, err := fmt.Sscanf(receipt, "received %d %d", &pid, &uid); n != 2 || uid != 2001 || pid == c.pid() {
			t.Errorf("after %s the receipt is %q (%v), want it to name the process of 2001 that opened, not %d", script, receipt, err, c.pid())
		}
	}
}

// What waits is whoever waits: signals go there.
func TestAWaitingDeputyIsInterruptedAndListed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	mb := m.shared(t, "jobs")
	c := run(t, python, "-c", passed+"attempt(os.read, fd, 10)", mb.file("receive"), "O_RDONLY")
	mb.awaitWaiters(1)
	if w := mb.waiters()[0]; w.pid != c.pid() || w.uid != 2001 {
		t.Errorf("waiter = %+v, want pid %d, of the user 2001", w, c.pid())
	}
	c.signal(syscall.SIGKILL)
	mb.awaitWaiters(0)

	p := m.path("pipes", "p")
	does(t, "open "+p+" rdwr|creat 666", "ok", "chmod "+p+" 666", "ok")
	reader := cli(t, "open "+p+" rdonly", "pause")
	c = run(t, python, "-c", "import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)"+passed+"print('open', flush=True); input(); os.write(fd, b'x')", p, "O_WRONLY")
	reader.expect("ok")
	c.expect("open")
	reader.resume()
	reader.expect("ok")
	reader.wait()
	eventually(t, func() string {
		if text := shownTo(t, nil, p+".d/stat"); !strings.Contains(text, "open_readers 0\n") {
			return text
		}
		return ""
	})
	c.resume()
	c.wait()
	if status := c.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGPIPE {
		t.Errorf("the deputy ended with %v, want SIGPIPE", status)
	}
}
