package tests

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The kernel holds locks for a parked write or read: of its inode, or of the position of its open file. Whoever reaches
// that inode or open file waits for it in state D. These tests hold the daemon to this: nobody else is stopped for more
// than a second, and nobody who is killed stays for longer.

// soon is that second, and what a machine that runs other tests too may add.
const soon = 4 * time.Second

// inTime runs c to its end and complains if that takes longer than soon.
func (c command) inTime(t *testing.T) string {
	t.Helper()
	begun := time.Now()
	cl := c.run(t)
	select {
	case <-cl.exited:
	case <-time.After(patience):
		t.Fatalf("%v does not end, it is %s", cl, cl.where())
	}
	if took := time.Since(begun); took > soon {
		t.Errorf("%v took %v, want at most %v", cl, took, soon)
	}
	return cl.stdout.String() + cl.stderr.String()
}

// stranger is a third user, beside root and nobody.
var stranger = &syscall.Credential{Uid: 12345, Gid: 12345}

// openMailbox is a flat mailbox that everybody may use, with one message and room for one.
func (m *mountpoint) openMailbox(t *testing.T, name string, owner *syscall.Credential) *mailbox {
	t.Helper()
	doesAs(t, owner, "umask 0", "ok", "open "+m.path("mailboxes", name)+" wronly|creat|excl 666", "ok")
	mb := m.existing(t, flat, name)
	mb.set("capacity", "1")
	mb.put("first")
	return mb
}

// A pair is a client in which two processes use one open file.
type pair struct {
	*client
	first, second int // their process IDs
	operations    [2]string
}

// shares starts the pair and waits until the first operation, of direction mode, is parked.
func (mb *mailbox) shares(as *syscall.Credential, path, mode, first, second, name string) *pair {
	mb.t.Helper()
	p := &pair{operations: [2]string{strings.TrimSuffix(first, "!"), second}}
	p.client = command{argv: []string{sharedBin, path, mode, first, second, name}, as: as}.run(mb.t)
	p.first = p.started(first)
	mb.t.Cleanup(func() { _ = syscall.Kill(p.first, syscall.SIGKILL) })
	eventually(mb.t, func() string {
		if !slices.ContainsFunc(mb.waiters(), func(w waiter) bool { return w.pid == p.first }) {
			return fmt.Sprintf("%d is not among the waiters %+v", p.first, mb.waiters())
		}
		return ""
	})
	return p
}

// begin starts the second operation.
func (p *pair) begin() *pair {
	p.t.Helper()
	p.resume()
	p.second = p.started(p.operations[1])
	p.t.Cleanup(func() {
		if !p.hasExited() {
			_ = syscall.Kill(p.second, syscall.SIGKILL)
		}
	})
	return p
}

func (p *pair) started(operation string) int {
	p.t.Helper()
	line := p.next()
	pid, err := strconv.Atoi(strings.TrimPrefix(line, operation+" "))
	if err != nil {
		p.t.Fatalf("%v printed %q, want %q and its process ID", p, line, operation)
	}
	return pid
}

// inD waits until the second operation is in state D. An io_uring's is in a thread of its own.
func (p *pair) inD() *pair {
	p.t.Helper()
	eventually(p.t, func() string {
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.second))
		for _, task := range tasks {
			tid, _ := strconv.Atoi(task.Name())
			if procState(tid) == "D" {
				return ""
			}
		}
		return differs(procState(p.second), "D")
	})
	return p
}

// attacker is nobody, but root where only root may: linkat(2), AT_EMPTY_PATH.
func attacker(t *testing.T, how string) *syscall.Credential {
	if how == "link-empty" {
		return &syscall.Credential{}
	}
	return nobody(t)
}

func TestLinkOfAParkedWritersFileStopsNobody(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, how := range []string{"link", "link-empty", "link-of-parent", "link-ring", "thread-link", "link-path", "rename"} {
		for _, dir := range []string{"mailboxes", "semaphores", "segments"} {
			t.Run(how+" into "+dir, func(t *testing.T) {
				t.Parallel()
				m := mount(t, "allow_other")
				mb := m.openMailbox(t, "jobs", nobody(t))
				innocent := m.openMailbox(t, "innocent", stranger)
				bystander := command{argv: []string{cliBin, "open " + innocent.send + " wronly", "write later"}, as: stranger}.run(t)
				bystander.expect("ok")
				innocent.parked(bystander)
				attack := mb.shares(attacker(t, how), mb.send, "w", "write", how, m.path(dir, "zzz")).begin()
				for range 3 {
					for _, line := range []string{`touch "$D/a"`, `stat "$D/a" >/dev/null`, `! stat "$D/b" 2>/dev/null`, `rm "$D/a"`,
						`mkdir "$D/c"`, `rmdir "$D/c"`, `ls "$D" >/dev/null`} {
						if out := (command{argv: []string{"bash", "-ec", line}, env: []string{"D=" + m.path(dir)}, stdin: []byte{}}).inTime(t); out != "" {
							t.Errorf("%s printed %q", line, out)
						}
					}
				}
				// Only the writer that stood in the way was interrupted, if any was.
				innocent.parked(bystander)
				for _, pid := range []int{attack.first, attack.second} {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
				attack.wait()
				innocent.wantStat("sent 1", "senders_waiting 1")
				if how != "rename" {
					mb.wantQueue("first")
				}
				innocent.take()
				bystander.expect("5")
			})
		}
	}
}

func TestLinkIsRefusedWithoutHarmToTheWriter(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, how := range []string{"link", "link-empty", "link-of-parent", "link-ring", "thread-link"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			m := mount(t, "allow_other")
			mb := m.openMailbox(t, "jobs", nobody(t))
			p := mb.shares(attacker(t, how), mb.send, "w", "write", how, m.path("mailboxes", "zzz")).begin()
			p.expect(how + " EPERM")
			mb.wantStat("senders_waiting 1")
			mb.wantQueue("first", "parked")
			p.expect("write 6")
		})
	}
}

func TestLinksOfSegmentsWorkBesideParkedWriters(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, flat, "jobs")
	writer := fullWithWriter(mb)
	segment := m.path("segments", "s")
	bash(t, "echo data > "+segment).prints("")
	ways := []string{"link", "link-ring", "link-path"}
	if os.Getuid() == 0 {
		ways = append(ways, "link-empty") // linkat(2): AT_EMPTY_PATH asks for CAP_DAC_READ_SEARCH
	}
	for i, how := range ways {
		name := segment + number(i)
		c := run(t, sharedBin, segment, "w", "fsync", how, name)
		c.next()
		c.expect("fsync 0")
		c.resume()
		c.next()
		c.expect(how + " 0")
		bash(t, "cat "+name).prints("data\n")
	}
	mb.parked(writer)
}

// killedBeside has second wait in state D beside the parked first operation, kills it, and returns how first ended.
func (mb *mailbox) killedBeside(as *syscall.Credential, path, mode, first, second string) string {
	mb.t.Helper()
	p := mb.shares(as, path, mode, first, second, "").begin().inD()
	if err := syscall.Kill(p.second, syscall.SIGKILL); err != nil {
		mb.t.Fatal(err)
	}
	begun := time.Now()
	eventually(mb.t, func() string { return differs(process(p.second).dead(), true) })
	if took := time.Since(begun); took > soon {
		mb.t.Errorf("%s ended %v after SIGKILL, want at most %v", second, took, soon)
	}
	mb.t.Logf("%s: %v", second, time.Since(begun))
	for {
		line := p.next()
		if result, ok := strings.CutPrefix(line, p.operations[0]+" "); ok {
			return result
		}
		if strings.HasSuffix(line, " killed") && strings.HasSuffix(first, "!") {
			mb.awaitWaiters(1)
			mb.take()
		}
	}
}

func TestKilledBesideAParkedWriteOfItsOpenFileIsGoneAtOnce(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, second := range []string{"write", "futimens", "fsync", "fallocate", "sendfile", "setxattr"} {
		t.Run(second, func(t *testing.T) {
			t.Parallel()
			m := mount(t, "allow_other")
			mb := m.openMailbox(t, "jobs", nobody(t))
			innocent := m.openMailbox(t, "innocent", stranger)
			bystander := innocent.parkSender("later")
			neighbour := command{argv: []string{cliBin, "open " + mb.send + " wronly", "write beside"}, as: stranger}.run(t)
			neighbour.expect("ok")
			mb.parked(neighbour)
			if got := mb.killedBeside(nobody(t), mb.send, "w", "write", second); got != "EINTR" {
				t.Errorf("the parked write ended with %s, want EINTR", got)
			}
			innocent.parked(bystander)
			mb.parked(neighbour)
			mb.wantStat("sent 1", "senders_waiting 1")
			mb.wantQueue("first", "beside")
		})
	}
}

func TestKilledBesideAParkedReadOfItsOpenFileIsGoneAtOnce(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, second := range []string{"read", "lseek"} {
		t.Run(second, func(t *testing.T) {
			t.Parallel()
			m := mount(t, "allow_other")
			mb := m.openMailbox(t, "jobs", nobody(t))
			mb.take()
			neighbour := mb.parkReceiver()
			if got := mb.killedBeside(nobody(t), mb.receive, "r", "read", second); got != "EINTR" {
				t.Errorf("the parked read ended with %s, want EINTR", got)
			}
			mb.parked(neighbour)
			mb.put("for the neighbour")
			neighbour.expect(`"for the neighbour"`)
			mb.wantStat("sent 2", "received 2", "messages 0")
		})
	}
}

// A writer that repeats what ended with EINTR, as the manual says, sends its message once.
func TestWriterThatRetriesSendsOnceBesideAKilledOne(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	mb := m.openMailbox(t, "jobs", nobody(t))
	p := mb.shares(nobody(t), mb.send, "w", "write!", "futimens", "").begin().inD()
	if err := syscall.Kill(p.second, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string { return differs(process(p.second).dead(), true) })
	p.expect(number(p.second) + " killed")
	mb.awaitWaiters(1)
	mb.wantQueue("first", "parked")
	p.expect("write 6")
	mb.wantStat("sent 2", "received 2", "messages 0")
}

// Nobody is interrupted for a process that waits in state D and was not killed: it has its turn after the writer.
func TestWhoMerelyWaitsInterruptsNobody(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	mb := m.openMailbox(t, "jobs", nobody(t))
	waits := mb.shares(nobody(t), mb.send, "w", "write", "futimens", "").begin().inD()
	other := m.openMailbox(t, "other", nobody(t))
	// Somebody else's death goes by: rounds of the watch have been since.
	for range 2 {
		if got := other.killedBeside(nobody(t), other.send, "w", "write", "fsync"); got != "EINTR" {
			t.Errorf("the write of the pair of which one was killed ended with %s, want EINTR", got)
		}
	}
	mb.wantStat("senders_waiting 1")
	mb.wantQueue("first", "parked")
	// Which of the two processes prints first when both are done is the scheduler's to say.
	if ends := []string{waits.next(), waits.next()}; !slices.Contains(ends, "write 6") || !slices.Contains(ends, "futimens 0") {
		t.Errorf("the two that waited ended with %q, want write 6 and futimens 0", ends)
	}
}

func TestKilledAtABindMountOfAFileIsGoneAtOnce(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, second := range []string{"futimens", "utimensat", "second write"} {
		t.Run(second, func(t *testing.T) {
			t.Parallel()
			m := mount(t, "allow_other")
			mb := m.openMailbox(t, "jobs", nobody(t))
			dir := emptyDir(t, nil)
			bound := dir + "/bound"
			if err := os.WriteFile(bound, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Remove(bound) })
			if err := syscall.Mount(mb.path, bound, "", syscall.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(bound, syscall.MNT_DETACH) })
			neighbour := command{argv: []string{cliBin, "open " + mb.send + " wronly", "write beside"}, as: stranger}.run(t)
			neighbour.expect("ok")
			mb.parked(neighbour)
			if second != "second write" {
				if got := mb.killedBeside(nobody(t), bound, "w", "write", second); got != "EINTR" {
					t.Errorf("the parked write ended with %s, want EINTR", got)
				}
			} else {
				// Open before the first write parks: afterwards open(2) is ESTALE.
				c := command{argv: []string{cliBin, "open " + bound + " wronly", "pause", "write second"}, as: stranger}.run(t)
				c.expect("ok")
				p := mb.shares(nobody(t), bound, "w", "write", "fsync", "")
				c.resume()
				c.in("D")
				begun := time.Now()
				if err := syscall.Kill(c.pid(), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				eventually(t, func() string { return differs(process(c.pid()).dead(), true) })
				if took := time.Since(begun); took > soon {
					t.Errorf("the second writer ended %v after SIGKILL, want at most %v", took, soon)
				}
				p.expect("write EINTR")
			}
			mb.parked(neighbour)
			mb.wantStat("sent 1", "senders_waiting 1")
			mb.wantQueue("first", "beside")
		})
	}
}

// The watch costs nothing while nothing is parked, and stops nobody from unmounting.
func TestStoppedDirectoryDoesNotKeepTheMountFromEnding(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	mb := m.openMailbox(t, "jobs", nobody(t))
	mb.shares(nobody(t), mb.send, "w", "write!", "link", m.path("segments", "zzz")).begin().inD()
	if err := m.stop(); err != nil {
		t.Error(err)
	}
}
