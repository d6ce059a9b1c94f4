package tests

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// traced runs a program that reads the trace and returns when it does.
func (m *mountpoint) traced(t *testing.T, argv ...string) *client {
	t.Helper()
	before := m.atRest(t)
	c := run(t, argv...)
	eventually(t, func() string {
		if c.hasExited() {
			t.Fatalf("%v ended, saying %q", c, c.stderr)
		}
		return differs(m.daemonStat(t)["handles"], before.handles+1)
	})
	return c
}

func (c *client) expectMatch(patterns ...string) {
	c.t.Helper()
	for _, pattern := range patterns {
		if line := c.next(); !regexp.MustCompile("^" + pattern + "$").MatchString(line) {
			c.t.Fatalf("%v printed %q, want %s", c, line, pattern)
		}
	}
}

// traceLine is the pattern of a line of the trace.
func traceLine(pid int, command, rest string) string {
	return fmt.Sprintf(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z %d %s %d %s`, pid, command, os.Getuid(), rest)
}

const noWait = ` 0\.000000`

func TestTraceShowsOperationsAsTheyHappen(t *testing.T) {
	t.Parallel()
	m := mount(t)
	tr := m.traced(t, "cat", m.path(".ipcfs/trace"))
	dir := m.path("mailboxes")
	c := cli(t, "mkdir "+dir+"/a\\x20b 755", "open "+dir+"/a\\x20b/send wronly|nonblock", "write hello", "close",
		"open "+dir+"/a\\x20b/capacity wronly", "write 1\\n", "write x", "close")
	c.output()
	name := `mailboxes/a\\040b`
	tr.expectMatch(
		traceLine(c.pid(), "ipccli", "create "+name+" 0 ok"+noWait),
		traceLine(c.pid(), "ipccli", "open "+name+" 0 ok"+noWait),
		traceLine(c.pid(), "ipccli", "send "+name+" 5 ok"+noWait),
	)
	// A close is seen by the daemon some time later.
	rest := []string{tr.next(), tr.next(), tr.next()}
	for _, want := range []string{"close " + name + " 0 ok", "set-capacity " + name + " 1 ok", "set-capacity " + name + " 1 EINVAL"} {
		if !regexp.MustCompile(" ipccli .*" + want + noWait).MatchString(strings.Join(rest, "\n")) {
			t.Errorf("the trace has %q, want %s", rest, want)
		}
	}
	tr.kill()
}

func TestTraceShowsHowLongAndHowAWaitEnded(t *testing.T) {
	t.Parallel()
	m := mount(t)
	jobs := m.mailbox(t, flat, "jobs")
	tr := m.traced(t, ipcfsBin, "trace", "--object", "mailboxes/j*", "--op", "receive", m.dir)
	served, ended := jobs.parkReceiver(), jobs.parkReceiver()
	jobs.put("12345678")
	tr.expectMatch(traceLine(served.pid(), "ipccli", `receive mailboxes/jobs 8 ok \d+\.\d{6}`))
	served.expect(`"12345678"`)
	ended.signal(syscall.SIGUSR1)
	tr.expectMatch(traceLine(ended.pid(), "ipccli", `receive mailboxes/jobs 0 EINTR \d+\.\d{6}`))
	third := jobs.parkReceiver()
	run(t, "rm", jobs.path).prints("")
	tr.expectMatch(traceLine(third.pid(), "ipccli", `receive mailboxes/jobs 0 EIDRM \d+\.\d{6}`))
	tr.kill()
}

func TestTraceShowsLocksOfFiles(t *testing.T) {
	t.Parallel()
	m := mount(t)
	jobs := m.mailbox(t, flat, "jobs")
	tr := m.traced(t, ipcfsBin, "trace", "--object", "mailboxes/jobs.d/*", m.dir)
	c := cli(t, "open "+jobs.file("stat")+" rdonly", "flock ex", "flock un", "lockw rd 0 0")
	c.output()
	for _, op := range []string{"flock", "unlock", "fcntl"} {
		tr.expectMatch(traceLine(c.pid(), "ipccli", op+" mailboxes/jobs.d/stat 0 ok"+noWait))
	}
	tr.kill()
}

func TestTraceReadersWaitLikeAllOthers(t *testing.T) {
	t.Parallel()
	m := mount(t)
	before := m.atRest(t)
	c := cli(t, "catch usr1", "open "+m.path(".ipcfs/trace")+" rdonly", "read 1000", "nonblock on", "read 1000", "poll in 0", "pause", "poll in 0")
	c.expect("ok", "ok")
	eventually(t, func() string { return differs(m.daemonStat(t)["parked"], 1) })
	m.listed(t, "waiters", fmt.Sprintf(`.ipcfs/trace %d \d+ ipccli read [0-9.]+`, c.pid()))
	c.signal(syscall.SIGUSR1)
	c.expect("EINTR", "ok", "EAGAIN", "none")
	m.mailbox(t, directory, "jobs")
	c.resume()
	c.expect("ok", "in")
	c.output()
	m.leavesNothingBehind(t, before)
}

func TestTailFollowsTheTrace(t *testing.T) {
	t.Parallel()
	m := mount(t)
	tr := run(t, "tail", "-f", m.path(".ipcfs/trace"))
	jobs := m.mailbox(t, flat, "jobs")
	eventually(t, func() string {
		jobs.put("x")
		jobs.take()
		if !strings.Contains(tr.stdout.String(), " send mailboxes/jobs 1 ok ") {
			return fmt.Sprintf("tail -f printed %q", tr.stdout)
		}
		return ""
	})
	tr.kill()
}

func TestSlowTraceReaderHoldsUpNobodyAndIsToldWhatItLost(t *testing.T) {
	t.Parallel()
	m := mount(t)
	jobs := m.mailbox(t, flat, "jobs")
	slow := cli(t, "open "+m.path(".ipcfs/trace")+" rdonly", "pause", "nonblock")
	slow.expect("ok")
	for range 50 {
		for range 50 {
			jobs.put("x")
		}
		jobs.take()
	}
	slow.kill()

	reader := run(t, "bash", "-c", `exec 9< "$0"; echo open; read -r; cat <&9`, m.path(".ipcfs/trace"))
	reader.expect("open")
	for range 50 {
		for range 50 {
			jobs.put("x")
		}
		jobs.take()
	}
	reader.resume()
	eventually(t, func() string {
		if text := reader.stdout.String(); !regexp.MustCompile(`\nlost [1-9]\d*\n`).MatchString(text) {
			return fmt.Sprintf("after %d bytes no line says how many are lost", len(text))
		}
		return ""
	})
	reader.kill()
}

func TestTraceIsItsOwnersAndEndsWithTheMount(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := emptyDir(t, nil)
	d, err := startDaemon(dir, nil, "allow_other")
	if err != nil {
		t.Fatal(err)
	}
	m := &mountpoint{d, nil}
	other := command{argv: []string{ipcfsBin, "trace", dir}, as: nobody(t)}.run(t)
	other.fails(1, "permission denied")
	does(t, "open "+m.path(".ipcfs/trace")+" wronly", "EACCES")
	run(t, ipcfsBin, "trace", "--object", "[", dir).fails(2, `trace: bad pattern "["`)
	tr := m.traced(t, ipcfsBin, "trace", dir)
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	tr.output()
}

// wellTraced waits for a line of the trace that has what is wanted in it and fails for one that is not as all are.
func (m *mountpoint) wellTraced(t *testing.T, tr *client, wants ...string) {
	t.Helper()
	whole := regexp.MustCompile(`^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \d+ \S+ \d+ [a-z_-]+ \S+ \d+ (ok|E[A-Z0-9]+) \d+\.\d{6}$`)
	for _, want := range wants {
		eventually(t, func() string {
			if !strings.Contains(tr.stdout.String(), " "+want+" ") {
				return fmt.Sprintf("the trace has no %q:\n%s", want, tr.stdout)
			}
			return ""
		})
	}
	tr.kill()
	for line := range strings.Lines(tr.stdout.String()) {
		if line = strings.TrimSuffix(line, "\n"); !whole.MatchString(line) {
			t.Errorf("the trace has the line %q", line)
		}
	}
}
