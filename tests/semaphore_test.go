package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A semaphore is one of a test's mount, in either shape. What the kinds have in common it has from mailbox.
type semaphore struct {
	*mailbox
	wait, post string // the endpoints
}

// semaphore makes one of the value.
func (m *mountpoint) semaphore(t testing.TB, shape, name string, value int) *semaphore {
	t.Helper()
	s := &semaphore{mailbox: m.objectOf(t, "semaphores", shape, name)}
	s.wait, s.post = s.path, s.path
	if shape == directory {
		s.wait, s.post = s.file("wait"), s.file("post")
	}
	s.set("value", number(value))
	return s
}

// objectOf makes an object of any kind.
func (m *mountpoint) objectOf(t testing.TB, dir, shape, name string) *mailbox {
	t.Helper()
	path := m.path(dir, name)
	control := path
	if shape == directory {
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
	} else {
		if err := syscall.Mknod(path, syscall.S_IFREG|0o600, 0); err != nil {
			t.Fatal(err)
		}
		control += ".d"
	}
	return &mailbox{t: t, m: m, name: dir + "/" + name, path: path, control: control}
}

func withSemaphore(t *testing.T, value int, test func(t *testing.T, s *semaphore)) {
	for _, shape := range []string{flat, directory} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			test(t, mount(t).semaphore(t, shape, "db", value))
		})
	}
}

// owners are the first words of the owners file's lines.
func (s *semaphore) owners() []string {
	s.t.Helper()
	text, err := os.ReadFile(s.file("owners"))
	if err != nil {
		s.t.Fatal(err)
	}
	var pids []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 4 {
			s.t.Fatalf("owners has the line %q, want PID UID COMMAND SECONDS", line)
		}
		pids = append(pids, f[0])
	}
	return pids
}

func TestSemaphoreCountsWaitsAndPosts(t *testing.T) {
	t.Parallel()
	withSemaphore(t, 0, func(t *testing.T, s *semaphore) {
		bash(t, "echo > "+s.post+"; echo 2 > "+s.post+"; printf '\\n\\n' > "+s.post+"; cat "+s.wait+"; read v < "+s.wait+"; echo $v").
			prints("4\n3\n")
		s.wantPolicy("value", "3")
		does(t, "open "+s.wait+" rdonly|nonblock", "ok", "read 100", `"2\n"`, "read 100", `"1\n"`, "read 100", `"0\n"`,
			"poll in 0", "none", "read 100", "EAGAIN",
			"open "+s.post+" wronly", "ok", "write 0", "EINVAL", "write x", "EINVAL", "write -1", "EINVAL", "write \\n", "1", "poll out 0", "out",
			"use 0", "ok", "poll in 0", "in")
		s.set("max", "5")
		does(t, "open "+s.post+" wronly", "ok", "write 5", "EOVERFLOW", "write 4", "1", "write \\n", "EOVERFLOW")
		s.wantStat("value 5", "owners 0", "waiting 0")
	})
}

func TestReadOfASemaphoreOpenForBothIsAlwaysAWait(t *testing.T) {
	t.Parallel()
	s := mount(t).semaphore(t, flat, "s", 3)
	does(t, "open "+s.path+" rdwr", "ok", "read 10", `"2\n"`, "read 10", `"1\n"`, "write \\n", "1", "read 10", `"1\n"`)
	does(t, "open "+s.path+" rdonly", "ok", "read 10", `"0\n"`, "read 10", `""`)
}

func TestBadSemaphoreValuesChangeNothing(t *testing.T) {
	t.Parallel()
	withSemaphore(t, 2, func(t *testing.T, s *semaphore) {
		for policy, values := range map[string][]string{"value": {"-1", "x", ""}, "max": {"0", "-1", "x"}} {
			for _, value := range values {
				does(t, "open "+s.file(policy)+" wronly", "ok", "write "+value+"\\n", "EINVAL")
			}
		}
		s.set("max", "2")
		does(t, "open "+s.file("value")+" wronly", "ok", "write 3", "EINVAL")
		does(t, "open "+s.file("wait")+" wronly", "ok", "write 3", "EINVAL")
		does(t, "open "+s.file("post")+" rdonly", "EACCES", "open "+s.file("owners")+" wronly", "EACCES")
		s.wantPolicy("value", "2")
		s.wantPolicy("max", "2")
	})
}

func TestWaitersAreServedInOrderWhateverTheyWant(t *testing.T) {
	t.Parallel()
	withSemaphore(t, 2, func(t *testing.T, s *semaphore) {
		var all []*client
		for i, n := range []string{"3", "1", "2", "1"} {
			c := cli(t, "catch usr1", "open "+s.file("wait")+" wronly", "write "+n)
			c.expect("ok", "ok")
			s.parked(c)
			s.awaitWaiters(i + 1)
			all = append(all, c)
		}
		if w := s.waiters()[0]; w.operation != "wait" || w.pid != all[0].pid() {
			t.Errorf("the first waiter is %+v, want %d in wait", w, all[0].pid())
		}
		does(t, "open "+s.file("wait")+" wronly|nonblock", "ok", "write 1", "EAGAIN")
		does(t, "open "+s.post+" wronly", "ok", "write 1", "1")
		all[0].expect("1") // three units, though it was the single ones' that were there
		s.awaitWaiters(3)
		does(t, "open "+s.post+" wronly", "ok", "write 1", "1")
		all[1].expect("1")
		all[2].signal(syscall.SIGUSR1) // a signal takes nothing, and those behind move up
		all[2].expect("EINTR")
		all[3].kill()
		s.awaitWaiters(0)
		s.wantPolicy("value", "0")
	})
}

func TestSettingTheValueServesWaiters(t *testing.T) {
	t.Parallel()
	withSemaphore(t, 0, func(t *testing.T, s *semaphore) {
		c := cli(t, "open "+s.wait+" rdonly", "read 100", "read 100")
		c.expect("ok")
		s.parked(c)
		s.set("value", "7")
		c.expect(`"6\n"`, `""`)
	})
}

func TestRemovingASemaphore(t *testing.T) {
	t.Parallel()
	s := mount(t).semaphore(t, directory, "db", 1)
	holder := cli(t, "open "+s.file("hold")+" rdonly", "pause", "close", "pause")
	holder.expect("ok")
	does(t, "rmdir "+s.path, "EBUSY")
	waiter := cli(t, "open "+s.wait+" rdonly", "read 100")
	waiter.expect("ok")
	s.parked(waiter)
	holder.resume()
	holder.expect("ok", "ok")
	waiter.expect(`"0\n"`)
	does(t, "rmdir "+s.path, "ok")

	f := s.m.semaphore(t, flat, "flat", 0)
	waiter = cli(t, "open "+f.path+" rdwr", "read 100", "write 1")
	waiter.expect("ok")
	f.parked(waiter)
	opener := cli(t, "open "+f.file("hold")+" rdonly")
	f.parked(opener)
	does(t, "unlink "+f.path, "ok")
	waiter.expect("EIDRM", "EIDRM")
	opener.expect("EIDRM")
}

func TestHoldLastsFromOpenToClose(t *testing.T) {
	t.Parallel()
	withSemaphore(t, 1, func(t *testing.T, s *semaphore) {
		before := s.m.footprint(t)
		hold := s.file("hold")
		first := cli(t, "open "+hold+" rdonly", "pause", "read 10", "close", "pause")
		first.expect("ok")
		if got := s.owners(); len(got) != 1 || got[0] != number(first.pid()) {
			t.Errorf("owners = %v, want %d", got, first.pid())
		}
		does(t, "open "+hold+" rdonly|nonblock", "EAGAIN")
		second := cli(t, "open "+hold+" wronly", "write 4711", "say held", "pause")
		s.parked(second)
		interrupted := cli(t, "catch usr1", "open "+hold+" rdwr")
		interrupted.expect("ok")
		s.parked(interrupted).signal(syscall.SIGUSR1)
		interrupted.expect("EINTR")
		first.resume()
		first.expect("ok", `""`, "ok")
		second.expect("ok", "4", "held")
		second.kill()
		s.awaitStat("value 1", "owners 0", "waiting 0", "holds 2")
		first.resume()
		first.output()
		s.m.leavesNothingBehind(t, before)
	})
}

// A child that has inherited the descriptor is not the holder.
func TestHoldEndsWithTheHolderWhoeverHasTheDescriptor(t *testing.T) {
	t.Parallel()
	rows := map[string]string{
		"killed":             `exec 9<"$H"; sleep 1000 & echo $!; kill -KILL $$`,
		"opened by a thread": `exec python3 -c "$THREAD"`,
		"exited":             `exec 9<"$H"; sleep 1000 & echo $!`,
		"in a pid namespace": `exec unshare --pid --fork --kill-child bash -c 'python3 -c "$THREAD"; sleep 1000'`,
	}
	thread := `
import os, signal, sys, threading
def hold():
    os.open(os.environ["H"], os.O_RDONLY)
t = threading.Thread(target=hold)
t.start()
t.join()
child = os.fork()
if child == 0:
    print(os.readlink("/proc/self"), flush=True)  # its number out here
    signal.pause()
os.kill(os.getpid(), signal.SIGKILL)
`
	for name, line := range rows {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(line, "unshare") {
				needRoot(t)
			}
			t.Parallel()
			s := mount(t).semaphore(t, directory, "db", 1)
			argv := []string{"bash", "-c", line}
			c := command{argv: argv, env: []string{"H=" + s.file("hold"), "THREAD=" + thread}, stdin: []byte{}}.run(t)
			child, err := strconv.Atoi(c.next())
			if err != nil {
				t.Fatal(err)
			}
			defer syscall.Kill(child, syscall.SIGKILL)
			s.awaitStat("value 1", "owners 0", "holds 1", "deaths 1")
			if process(child).dead() {
				t.Error("the child that has the descriptor is dead, too")
			}
			does(t, "open "+s.file("hold")+" rdonly|nonblock", "ok")
			// Its own end gives back nothing more.
			syscall.Kill(child, syscall.SIGKILL)
			eventually(t, func() string { return differs(s.m.footprint(t).handles, 1) }) // .ipcfs/stat itself
			s.wantStat("value 1")
		})
	}
}

func TestHolderInAnInvisibleNamespaceEndsWithItsDescriptor(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := emptyDir(t, nil)
	// The daemon sees only its own namespace; its clients here have no number there.
	daemon := run(t, "unshare", "--pid", "--fork", "--kill-child", ipcfsBin, "mount", "-f", dir)
	t.Cleanup(func() {
		daemon.kill()
		detach(dir)
	})
	eventually(t, func() string {
		if !strings.Contains(daemon.stderr.String(), "serving") {
			return "the daemon does not serve: " + daemon.stderr.String()
		}
		return ""
	})
	hold := filepath.Join(dir, "semaphores", "db", "hold")
	bash(t, "mkdir "+filepath.Dir(hold)+" && echo 1 > "+filepath.Dir(hold)+"/value").prints("")
	holder := cli(t, "open "+hold+" rdonly", "pause")
	holder.expect("ok")
	does(t, "open "+hold+" rdonly|nonblock", "EAGAIN")
	holder.kill()
	cli(t, "open "+hold+" rdonly").prints("ok\n")
	// The kernel does not let us signal it, either: a broken pipe is an errno only.
	pipe := filepath.Join(dir, "pipes", "p")
	does(t, "catch pipe", "ok", "open "+pipe+" rdwr|creat|excl", "ok", "open "+pipe+" wronly", "ok",
		"use 0", "ok", "close", "ok", "use 1", "ok", "write x", "EPIPE", "caught", "none")
}

func TestIncrementsUnderHoldSurviveKilledHolders(t *testing.T) {
	t.Parallel()
	const processes, killed = 32, 11
	goal := 10000
	if testing.Short() {
		goal = 1000
	}
	seed := uint64(os.Getpid())
	choose := rand.New(rand.NewPCG(seed, 0))
	m := mount(t)
	s := m.semaphore(t, directory, "db", 1)
	before := m.footprint(t)
	dir := t.TempDir()
	file, log := filepath.Join(dir, "number"), filepath.Join(dir, "log")
	for path, text := range map[string]string{file: "0\n", log: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var all []*client
	for range processes {
		all = append(all, run(t, incrementsBin, "count", s.file("hold"), file, log, number(goal)))
	}
	reached := func() int {
		text, err := os.ReadFile(file)
		n, err2 := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || err2 != nil {
			return 0 // it is being written
		}
		return n
	}
	for i := range killed {
		at := goal * i / (killed + 1)
		at += choose.IntN(goal / (killed + 1))
		eventually(t, func() string {
			if n := reached(); n < at {
				return fmt.Sprintf("seed %d: stuck at %d of %d; %v", seed, n, goal, s.stat())
			}
			return ""
		})
		all[i].kill()
	}
	for _, c := range all[killed:] {
		c.prints("ok\n")
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	last, missing := 0, 0
	for line := range strings.Lines(string(text)) {
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil || n <= last {
			t.Fatalf("seed %d: increment to %q after %d: two were inside at once", seed, line, last)
		}
		missing += n - last - 1
		last = n
	}
	// One that was killed between its write and its note is no loss.
	if n := reached(); n != goal || last < goal-1 || missing > killed {
		t.Errorf("seed %d: reached %d, noted %d, %d unnoted; want %d, and at most %d unnoted", seed, n, last, missing, goal, killed)
	}
	s.awaitStat("value 1", "owners 0", "waiting 0")
	m.leavesNothingBehind(t, before)
}

func TestDiningPhilosophers(t *testing.T) {
	t.Parallel()
	const philosophers = 5
	meals := 400
	if testing.Short() {
		meals = 50
	}
	m := mount(t)
	seats := m.semaphore(t, flat, "seats", philosophers-1)
	for i := range philosophers {
		m.semaphore(t, flat, "fork"+number(i), 1)
	}
	table := filepath.Join(t.TempDir(), "table")
	if err := os.WriteFile(table, []byte(strings.Repeat(".", philosophers)), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []*client
	for i := range philosophers {
		all = append(all, run(t, incrementsBin, "dine", seats.path, m.path("semaphores", "fork"), table,
			number(philosophers), number(i), number(meals)))
	}
	for _, c := range all {
		c.prints("ok\n")
	}
	seats.wantStat("value "+number(philosophers-1), "taken "+number(philosophers*meals), "waiting 0")
}

func TestRecordLockEndsWithItsOwnerWhoeverHasTheDescriptor(t *testing.T) {
	t.Parallel()
	s := mount(t).semaphore(t, flat, "file", 1)
	before := s.m.footprint(t)
	c := run(t, "python3", "-c", `
import fcntl, os, signal, sys
f = open(sys.argv[1], "wb", 0)
fcntl.lockf(f, fcntl.LOCK_EX)
child = os.fork()
if child == 0:
    signal.pause()
print(child, flush=True)
signal.pause()
`, s.path)
	child, err := strconv.Atoi(c.next())
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(child, syscall.SIGKILL)
	does(t, "open "+s.path+" wronly", "ok", "lock wr", "EAGAIN")
	waiting := cli(t, "open "+s.path+" wronly", "lockw wr")
	waiting.expect("ok")
	waiting.asleep()
	c.kill()
	waiting.expect("ok")
	if process(child).dead() {
		t.Error("the child that has the descriptor is dead, too")
	}
	syscall.Kill(child, syscall.SIGKILL)
	s.m.leavesNothingBehind(t, before)
}
