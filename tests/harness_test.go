package tests

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

// The programs TestMain builds.
var ipcfsBin, cliBin, readinessBin, stormBin, crowdBin, segmentBin, incrementsBin, streamsBin, sharedBin, pollersBin, turnsBin string

func TestMain(m *testing.M) {
	if job := os.Getenv(goClientEnv); job != "" {
		os.Exit(goClient(job, os.Args[1:]))
	}
	if err := enterOwnNamespace(); err != nil {
		fmt.Fprintln(os.Stderr, "tests:", err)
		os.Exit(1)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "tests:", err)
		return 1
	}
	if err := preflight(); err != nil {
		return fail(err)
	}
	// Other users run these programs too.
	bin, err := os.MkdirTemp("", "ipcfs-bin-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(bin)
	if err := os.Chmod(bin, 0o755); err != nil {
		return fail(err)
	}
	build := func(name string, arg ...string) error {
		if out, err := exec.Command(name, arg...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(arg, " "), err, out)
		}
		return nil
	}
	// The race detector otherwise sleeps a second at each exit.
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	ipcfsBin = filepath.Join(bin, "ipcfs")
	args := []string{"build", "-o", ipcfsBin}
	if raceEnabled {
		args = append(args, "-race")
	}
	if err := build("go", append(args, "ipcfs/cmd/ipcfs")...); err != nil {
		return fail(err)
	}
	for name, path := range map[string]*string{
		"ipccli": &cliBin, "readiness": &readinessBin, "storm": &stormBin, "crowd": &crowdBin, "segment": &segmentBin,
		"increments": &incrementsBin, "streams": &streamsBin, "shared": &sharedBin, "pollers": &pollersBin, "turns": &turnsBin,
	} {
		*path = filepath.Join(bin, name)
		source := filepath.Join("testdata", "clients", name+".c")
		if err := build("gcc", "-O1", "-Wall", "-pthread", "-o", *path, source); err != nil {
			return fail(err)
		}
	}
	return m.Run()
}

// eventually calls holds until it returns "". What it said last is the failure at the deadline.
func eventually(t testing.TB, holds func() string) {
	t.Helper()
	if complaint := awaited(holds); complaint != "" {
		t.Fatalf("%v passed: %s", patience, complaint)
	}
}

func awaited(holds func() string) string {
	deadline := time.Now().Add(patience)
	for {
		complaint := holds()
		if complaint == "" || time.Now().After(deadline) {
			return complaint
		}
		// Not a wait for the event: it lets go of the processor between two looks.
		time.Sleep(time.Millisecond)
	}
}

// A daemon is an ipcfs process in the foreground.
type daemon struct {
	dir    string
	cmd    *exec.Cmd
	stderr *transcript
	exited chan struct{}
	err    error // of Wait, once exited is closed
}

// startDaemon runs "ipcfs mount -f" with the options and returns when it serves, or with the error it ended with.
func startDaemon(dir string, as *syscall.Credential, opts ...string) (*daemon, error) {
	return startDaemonThrough(nil, dir, as, opts...)
}

// startDaemonThrough has a command run the daemon's, which follows as its last words.
func startDaemonThrough(through []string, dir string, as *syscall.Credential, opts ...string) (*daemon, error) {
	args := append(slices.Clip(through), ipcfsBin, "mount", "-f")
	for _, o := range opts {
		args = append(args, "-o", o)
	}
	d := &daemon{dir: dir, stderr: newTranscript(), exited: make(chan struct{})}
	args = append(args, dir)
	d.cmd = exec.Command(args[0], args[1:]...)
	d.cmd.Dir = "/"
	d.cmd.Stderr = d.stderr
	// A test binary that dies takes the daemon with it, and the kernel then lets go of every client.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.exited)
	}()
	serving := fmt.Sprintf("ipcfs: serving %s (pid %d)", dir, d.cmd.Process.Pid)
	complaint := awaited(func() string {
		select {
		case <-d.exited:
			return ""
		default:
		}
		if strings.Contains(d.stderr.String(), serving+"\n") {
			return ""
		}
		return fmt.Sprintf("the daemon did not print %q, but %q", serving, d.stderr)
	})
	if complaint != "" {
		d.discard()
		return nil, errors.New(complaint)
	}
	if !strings.Contains(d.stderr.String(), serving+"\n") {
		return nil, fmt.Errorf("ipcfs mount: %v\n%s", d.err, d.stderr)
	}
	return d, nil
}

// stop unmounts with SIGTERM and says what was wrong with the end or the life of the daemon.
func (d *daemon) stop() error {
	d.signal(syscall.SIGTERM)
	return d.end()
}

func (d *daemon) signal(sig syscall.Signal) { _ = d.cmd.Process.Signal(sig) }

// end waits for the daemon to exit and says what was wrong with its end or its life.
func (d *daemon) end() error {
	select {
	case <-d.exited:
	case <-time.After(patience):
		d.signal(syscall.SIGQUIT)
		select {
		case <-d.exited:
		case <-time.After(5 * time.Second):
		}
		d.discard()
		return fmt.Errorf("the daemon did not end within %v:\n%s", patience, d.stderr)
	}
	log := d.stderr.String()
	for _, bad := range []string{"DATA RACE", "panic", "fatal error"} {
		if strings.Contains(log, bad) {
			return fmt.Errorf("the daemon logged a %s:\n%s", bad, log)
		}
	}
	if d.err != nil {
		return fmt.Errorf("the daemon ended with %v, want status 0:\n%s", d.err, log)
	}
	if mountedAt(d.dir) {
		d.discard()
		return fmt.Errorf("%s is still mounted after the daemon has ended", d.dir)
	}
	return nil
}

// discard removes daemon and mount by force.
func (d *daemon) discard() {
	d.signal(syscall.SIGKILL)
	<-d.exited
	detach(d.dir)
}

func detach(dir string) {
	for mountedAt(dir) {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err == syscall.EPERM {
			err = exec.Command("fusermount3", "-u", "-z", "--", dir).Run()
			if err != nil {
				return
			}
		} else if err != nil {
			return
		}
	}
}

// mountedAt reads it from the kernel, without touching dir.
func mountedAt(dir string) bool {
	_, ok := mountLine(dir)
	return ok
}

// mountLine returns the filesystem type of the mount at dir.
func mountLine(dir string) (fstype string, ok bool) {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return "", false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 2 && fields[1] == dir {
			fstype, ok = fields[2], true
		}
	}
	return fstype, ok
}

// A mountpoint is a mounted ipcfs of a test.
type mountpoint struct {
	*daemon
	as *syscall.Credential // who mounted it; nil is the test's own user
}

// mount mounts ipcfs with the options until the test ends.
func mount(t testing.TB, opts ...string) *mountpoint {
	t.Helper()
	return mountAs(t, nil, opts...)
}

func mountAs(t testing.TB, as *syscall.Credential, opts ...string) *mountpoint {
	t.Helper()
	dir := emptyDir(t, as)
	d, err := startDaemon(dir, as, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		} else if t.Failed() && d.stderr.String() != "" {
			t.Logf("the daemon's log:\n%s", d.stderr)
		}
	})
	return &mountpoint{d, as}
}

// emptyDir makes a directory to mount on. It is removed at the end, never with what it contains: it may be a mount.
func emptyDir(t testing.TB, owner *syscall.Credential) string {
	t.Helper()
	dir, err := newEmptyDir(owner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func newEmptyDir(owner *syscall.Credential) (string, error) {
	dir, err := os.MkdirTemp("", "ipcfs-")
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	if owner != nil {
		err = os.Chown(dir, int(owner.Uid), int(owner.Gid))
	}
	return dir, err
}

// path is a path under the mountpoint.
func (m *mountpoint) path(elem ...string) string {
	return filepath.Join(append([]string{m.dir}, elem...)...)
}

// ownID is "UID:GID" of the user who runs the tests.
func ownID() string { return fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()) }

// nobody returns the identity of the unprivileged user.
func nobody(t testing.TB) *syscall.Credential {
	t.Helper()
	needRoot(t)
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// daemonStat reads .ipcfs/stat.
func (m *mountpoint) daemonStat(t testing.TB) map[string]int {
	t.Helper()
	return parseStat(t, m.path(".ipcfs", "stat"))
}

// parseStat reads a file of "key value" lines.
func parseStat(t testing.TB, path string) map[string]int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	stat := make(map[string]int)
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.Atoi(value)
		if !ok || err != nil || !strings.HasSuffix(line, "\n") {
			t.Fatalf("%s has the line %q, want \"key value\\n\"", path, line)
		}
		stat[key] = n
	}
	return stat
}

// A footprint is what a daemon holds on behalf of its clients.
type footprint struct{ goroutines, handles, parked, fds int }

func (m *mountpoint) footprint(t testing.TB) footprint {
	t.Helper()
	stat := m.daemonStat(t)
	for _, key := range []string{"goroutines", "handles", "nodes", "parked", "objects", "messages", "bytes", "heap_bytes"} {
		if _, ok := stat[key]; !ok {
			t.Fatalf(".ipcfs/stat has no line for %s", key)
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return footprint{stat["goroutines"], stat["handles"], stat["parked"], len(fds)}
}

// atRest is the footprint without clients: the one handle is that of the file it is read from.
func (m *mountpoint) atRest(t testing.TB) footprint {
	t.Helper()
	var now footprint
	eventually(t, func() string {
		if now = m.footprint(t); now.handles != 1 || now.parked != 0 {
			return fmt.Sprintf("the daemon holds %+v, want one handle and nobody parked", now)
		}
		return ""
	})
	return now
}

// leavesNothingBehind fails unless the daemon returns to the footprint. RELEASE is asynchronous, so it has a while.
func (m *mountpoint) leavesNothingBehind(t testing.TB, before footprint) {
	t.Helper()
	eventually(t, func() string {
		now := m.footprint(t)
		// Threads that served what came before the start may have ended since.
		now.goroutines = max(now.goroutines, before.goroutines)
		if now != before {
			return fmt.Sprintf("the daemon holds %+v, want %+v as at the start", now, before)
		}
		return ""
	})
}

// brief describes a long message in a failure.
func brief(b []byte) string {
	if len(b) <= 200 {
		return strconv.Quote(string(b))
	}
	if bytes.Count(b, b[:1]) == len(b) {
		return fmt.Sprintf("%d*%c", len(b), b[0])
	}
	return fmt.Sprintf("%d bytes, %q…", len(b), b[:40])
}

// caller names the line of the test for failures of tables.
func caller(skip int) string {
	_, file, line, _ := runtime.Caller(skip + 1)
	return fmt.Sprintf("%s:%d", filepath.Base(file), line)
}
