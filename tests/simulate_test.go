package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ipcfs/kernelsim"
	"ipcfs/kernelsim/cost"
	"ipcfs/kernelsim/scenario"
	"ipcfs/kernelsim/scenarios"
)

// An outcome is the last line of what "ipcfs simulate --on DIR --json" prints.
type outcome struct {
	Result string
	Ending scenario.Ending
}

// simulateOn runs a scenario with real processes on the mount.
func (m *mountpoint) simulateOn(t testing.TB, source []byte, arg ...string) (o outcome, status int, output string) {
	t.Helper()
	cmd := exec.Command(ipcfsBin, append([]string{"simulate", "--on", m.dir, "--json", "-"}, arg...)...)
	cmd.Stdin = bytes.NewReader(source)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	output = out.String() + stderr.String()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if json.Unmarshal([]byte(lines[len(lines)-1]), &o) != nil || o.Result == "" {
		t.Fatalf("ipcfs simulate --on: %v\n%s", err, output)
	}
	return o, cmd.ProcessState.ExitCode(), output
}

// endings are the ways in which the exploration has the scenario end.
func endings(t testing.TB, s *scenario.Scenario, histories bool, text func(scenario.Ending) string) []string {
	t.Helper()
	all, complete := s.Endings(kernelsim.DefaultStates, histories)
	if !complete {
		t.Fatal("the exploration has not seen everything")
	}
	var texts []string
	for _, e := range all {
		texts = append(texts, text(e))
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// leavesNothing fails if a scenario has left objects.
func (m *mountpoint) leavesNothing(t testing.TB) {
	t.Helper()
	if text, err := os.ReadFile(m.path(".ipcfs", "objects")); err != nil || len(text) > 0 {
		t.Errorf("objects that are left: %q, %v", text, err)
	}
}

func TestShippedScenariosEndOnARealMountAsExplorationAllows(t *testing.T) {
	t.Parallel()
	m := mount(t)
	t.Cleanup(func() { m.leavesNothing(t) })
	t.Run("each", func(t *testing.T) {
		for _, shipped := range scenarios.All() {
			t.Run(shipped.Name, func(t *testing.T) {
				t.Parallel()
				s, err := scenario.Parse(shipped.Name, shipped.Source)
				if err != nil {
					t.Fatal(err)
				}
				if s.OnlySimulated() != nil {
					cmd := exec.Command(ipcfsBin, "simulate", "--on", m.dir, "-")
					cmd.Stdin = bytes.NewReader(shipped.Source)
					if output, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(output), "on a mount: it can be simulated only") {
						t.Errorf("%v: %s\nwant it refused", err, output)
					}
					return
				}
				allowed := endings(t, s, false, scenario.Ending.Short)
				run := func(arg ...string) {
					t.Helper()
					bound := patience
					if s.Endless() {
						bound = 300 * time.Millisecond
					}
					o, status, output := m.simulateOn(t, shipped.Source, append(arg, "--time", bound.String())...)
					switch {
					case o.Result == "unfinished" && s.Endless():
					case !slices.Contains(allowed, o.Ending.Short()):
						t.Errorf("%v: ended with\n%s\nwhich is none of\n%s\n%s", arg, o.Ending.Short(), strings.Join(allowed, "\n"), output)
					}
					if status != 0 {
						t.Errorf("%v: status %d, want 0\n%s", arg, status, output)
					}
				}
				run()
				for seed := range 3 {
					run("--seed", strconv.Itoa(seed))
				}
			})
		}
	})
}

func TestRealRunsReportWhatIsWrong(t *testing.T) {
	t.Parallel()
	m := mount(t)
	for _, c := range []struct {
		name, source string
		status       int
		want         string // in the ending
	}{
		{"deadlock", "mailbox a\nmailbox b\nprocess p:\n  receive a -> x\n  send b x\nprocess q:\n  receive b -> x\n  send a x\n", 1,
			"deadlock; a: 0 messages; b: 0 messages; p receive a … waits; q receive b … waits"},
		{"expected deadlock", "semaphore s\nprocess p:\n  wait s\nexpect deadlock\n", 0, "deadlock; s: 0; p wait s … waits"},
		{"violated at the end", "shared n = 0\nprocess p * 2:\n  atomic n = n + 1\nfinally n == 3\n", 1, "violation: line 4: violated: finally n == 3"},
		{"violated always", "shared n = 0\nprocess p:\n  n = 1\nprocess q daemon:\n  sleep 10s\nalways n == 0\n", 1, "violation: line 6: violated: always n == 0"},
		{"violated by an object", "mailbox a\nprocess p:\n  send a 1\nalways messages(a) == 0\n", 1, "violation: line 4: violated: always messages(a) == 0"},
		{"assert", "process p:\n  assert 1 == 2\n", 1, "violation: line 2: p: assert 1 == 2: it does not hold"},
		{"untried", "mailbox a overflow=fail capacity=0\nprocess p:\n  send a 1\n", 1,
			"violation: line 3: p: send a 1: it fails with EAGAIN, which nobody tries"},
		{"kill", "mailbox a\nprocess p:\n  receive a -> x\nprocess q:\n  while blocked(p) == 0:\n    yield\n  kill p\n  send a 1\nfinally killed(p) == 1\n", 0,
			"done; a: 1 message; p killed; q exited"},
		{"signal", "mailbox a\nprocess p:\n  try receive a -> x\n  assert errno == EINTR\nprocess q:\n  while blocked(p) == 0:\n    yield\n  signal p\n", 0,
			"done; a: 0 messages; p exited; q exited"},
		{"time-out", "semaphore s\nprocess p:\n  try wait s within 5ms\n  assert errno == ETIMEDOUT\n  try hold s within 5ms\n  assert errno == ETIMEDOUT\n", 0,
			"done; s: 0; p exited"},
		{"nonblock", "mailbox a\nprocess p:\n  try receive a -> x nonblock\n  assert errno == EAGAIN\n  sleep 1ms\n", 0, "done; a: 0 messages; p exited"},
		{"destroy", "mailbox a\nprocess p:\n  try receive a -> x\n  assert errno == EIDRM\nprocess q:\n  while blocked(p) == 0:\n    yield\n  destroy a\n", 0,
			"done; a: 0 messages; p exited; q exited"},
		{"set", "mailbox a capacity=1\nprocess p:\n  send a 1\n  send a 2\nprocess q:\n  while blocked(p) == 0:\n    yield\n  set a capacity=2\n", 0,
			"done; a: 2 messages; p exited; q exited"},
		{"lone end of a pipe", "pipe a\nprocess p:\n  read a -> x\nexpect deadlock\n", 0, "deadlock; a: 0 bytes; p read a … waits"},
		{"opened too late", "mailbox a\nprocess p:\n  open a\n  destroy a\n  close a\n  try open a\n  send a 1\n", 1,
			"violation: line 7: p: send a 1: it fails with EBADF, which nobody tries"},
		{"a lease ends a wait", "mailbox a lease_time=60ms\nsemaphore s\nprocess p:\n  send a 1\n  lease a -> x\n  wait s\nprocess q:\n  while waiting(s) == 0:\n    yield\n  receive a -> x\n  post s\n", 0,
			"done; a: 0 messages; s: 0; p exited; q exited"},
		{"a ttl ends a wait", "mailbox a capacity=1 ttl=20ms\nprocess p:\n  send a 1\n  send a 2\nfinally expired(a) == 2\n", 0, "done; a: 0 messages; p exited"},
		{"lone end that writes", "pipe a\nprocess p:\n  write a \"x\"\nexpect deadlock\n", 0, "deadlock; a: 0 bytes; p write a \"x\" … waits"},
		{"lone end that does not wait", "pipe a\nprocess p:\n  try write a \"x\" nonblock\n  assert errno == ENXIO\nprocess q:\n  try write a \"x\" nonblock\n  assert errno == ENXIO\n", 0,
			"done; a: 0 bytes; p exited; q exited"},
		{"lone end that reads at once", "pipe a\nprocess p:\n  read a -> x nonblock\n  assert x == \"\"\n", 0, "done; a: 0 bytes; p exited"},
		{"close of everything", "mailbox a\nprocess p:\n  send a 1\n  close a\n  try peek a -> x\n  assert errno == EBADF\n  try flush a\n  assert errno == EBADF\n  try receive a -> x\n  assert errno == EBADF\n", 0,
			"done; a: 1 message; p exited"},
		{"close of a lone end", "pipe a\nprocess p:\n  close a\n  try read a -> x\n  assert errno == EBADF\n", 0, "done; a: 0 bytes; p exited"},
		{"look at what is destroyed", "mailbox a\nsemaphore s value=3\nprocess p:\n  send a 1\n  destroy a\n  destroy s\n  assert waiting(a) == 0\n  assert messages(a) == 0\n  assert sent(a) == 0\n  assert value(s) == 0\n", 0,
			"done; a: 0 messages; s: 0; p exited"},
		{"use of what is destroyed", "mailbox a\nsemaphore s value=3\nsegment g\nprocess p:\n  destroy a\n  destroy s\n  destroy g\n  try hold s\n  assert errno == ENOENT\n  try hold g\n  assert errno == ENOENT\n" +
			"  try wait s\n  assert errno == EIDRM\n  try send a 1\n  assert errno == EIDRM\n  try peek a -> x\n  assert errno == EIDRM\n  try flush a\n  assert errno == EIDRM\n  try set a capacity=1\n  assert errno == ENOENT\n", 0,
			"done; a: 0 messages; s: 0; p exited"},
		{"open of what is destroyed", "mailbox a\nprocess p:\n  destroy a\n  try open a\n  assert errno == ENOENT\n  try send a 1\n  assert errno == EBADF\n", 0,
			"done; a: 0 messages; p exited"},
		{"peek and flush", "mailbox a\nprocess p:\n  send a \"x\"\n  peek a -> x\n  assert x == \"x\"\n  flush a\n  assert messages(a) == 0\n", 0,
			"done; a: 0 messages; p exited"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, status, output := m.simulateOn(t, []byte(c.source), "--time", patience.String())
			if status != c.status || o.Ending.Short() != c.want {
				t.Errorf("status %d, %s; want %d, %s\n%s", status, o.Ending.Short(), c.status, c.want, output)
			}
			s, err := scenario.Parse(c.name, []byte(c.source))
			if err != nil {
				t.Fatal(err)
			}
			if allowed := endings(t, s, false, scenario.Ending.Short); !slices.Contains(allowed, o.Ending.Short()) {
				t.Errorf("%s is none of\n%s", o.Ending.Short(), strings.Join(allowed, "\n"))
			}
			m.leavesNothing(t)
		})
	}
}

// The run into what a search has found happens with real processes, too, if they take turns.
func TestRealProcessesTakeTheTurnsOfASimulatedRun(t *testing.T) {
	t.Parallel()
	m := mount(t)
	for _, name := range []string{"philosophers", "lost-update", "lost-wakeup", "lost-token", "lost-reply"} {
		shipped, ok := scenarios.Named(name)
		if !ok {
			t.Fatalf("no scenario %s", name)
		}
		out, err := exec.Command(ipcfsBin, "simulate", "--explore", "--json", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		var found scenario.Outcome
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &found); err != nil {
			t.Fatal(err)
		}
		o, status, output := m.simulateOn(t, shipped, "--replay", kernelsim.FormatSchedule(found.Schedule), "--time", patience.String())
		if status != 0 || o.Result != found.Result {
			t.Errorf("%s: status %d, %s; want %s as in the search\n%s", name, status, o.Result, found.Result, output)
		}
	}
	page, err := exec.Command(ipcfsBin, "simulate", "--on", m.dir, "--replay", "0,0,0,0,0,0", "--html", "-", "philosophers").Output()
	if err != nil || !bytes.Contains(page, []byte(`"text":"wait fork1 … waits"}],"process":"hume","line":23,`)) {
		t.Errorf("the page of a real run: %v\n%s", err, page)
	}
	cmd := exec.Command(ipcfsBin, "simulate", "--on", m.dir, "--replay", "9", "philosophers")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "the schedule is of another scenario") {
		t.Errorf("a schedule of nothing: %v, %s", err, out)
	}
	m.leavesNothing(t)
}

func TestProcessesOfARealRunAreWhoTheyAreSaidToBe(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	for _, c := range []struct{ name, source, want string }{
		{"labels", `
mailbox a order=priority
process root:
  send a "from root"
  send a "red" topic "red"
process p uid=1000:
  send a "low" priority 2
  send a "now" urgent
process q uid=1001:
  receive a urgent -> x
  assert x == "now"
  receive a topic "red" -> x
  assert x == "red"
  receive a from 1000 -> x
  assert x == "low"
  try receive a from 1001 -> x nonblock
  assert errno == EAGAIN
  receive a priority 0 -> x
  assert x == "from root"
`, "done; a: 0 messages; root exited; p exited; q exited"},
		{"operations", `
mailbox a
pipe b lifetime=persistent
semaphore s value=1
segment g
process p uid=1000:
  set a capacity=2 
  open a
  send a "1"
  peek a -> x
  lease a -> x
  nack a
  lease a -> x
  extend a 10s
  ack a
  receipt a -> x
  assert x == "received p"
  flush a
  write b "1"
  read b -> x
  hangup b
  read b -> x
  assert x == ""
  wait s
  post s
  hold s
  release s
  hold g
  release g
`, "done; a: 0 messages; b: 0 bytes; s: 1; p exited"},
		{"destruction", "mailbox a\nprocess p uid=1000:\n  send a 1 topic \"t\"\n  destroy a\n  try send a 2 topic \"t\"\n  assert errno == EIDRM\n",
			"done; a: 0 messages; p exited"},
	} {
		o, status, output := m.simulateOn(t, []byte(c.source), "--time", patience.String())
		if status != 0 || o.Ending.Short() != c.want {
			t.Errorf("%s: status %d, %s; want %s\n%s", c.name, status, o.Ending.Short(), c.want, output[:min(len(output), 2000)])
		}
	}
	m.leavesNothing(t)
}

func TestInterruptedRealRunLeavesNothing(t *testing.T) {
	t.Parallel()
	m := mount(t)
	c := command{argv: []string{ipcfsBin, "simulate", "--on", m.dir, "--time", "1h", "-"},
		stdin: []byte("semaphore s value=1\nprocess p * 2:\n  forever:\n    wait s\n    post s\n")}.run(t)
	eventually(t, func() string {
		text, _ := os.ReadFile(m.path(".ipcfs", "waiters"))
		if !strings.Contains(string(text), "wait") {
			return "nobody waits"
		}
		return ""
	})
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-c.exited
	m.leavesNothing(t)
}

func TestOnlyAMountCanBeSimulatedOn(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(ipcfsBin, "simulate", "--on", t.TempDir(), "philosophers")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "no ipcfs is mounted there") {
		t.Errorf("simulate --on a plain directory: %v, %q", err, out)
	}
}

func TestCalibrationShowsPredictionBesideMeasurement(t *testing.T) {
	t.Parallel()
	m := mount(t)
	out, err := exec.Command(ipcfsBin, "simulate", "--costs", "--calibrate", "--on", m.dir).CombinedOutput()
	if err != nil {
		t.Fatalf("calibrate: %v\n%s", err, out)
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	for _, want := range []string{
		"crossing into the kernel", "request to the daemon", "predicted", "measured", "524288",
		"segment with notices kernel queue", "segment mapped anew kernel queue",
		"segment with semaphores ipcfs mailbox", "segment with notices ipcfs mailbox",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	eventually(t, func() string {
		text, err := os.ReadFile(m.path(".ipcfs", "objects"))
		if err != nil || len(text) > 0 {
			return string(text)
		}
		return ""
	})
}

func TestMessageCostsTheDaemonWhatTheAccountSays(t *testing.T) {
	t.Parallel()
	m := mount(t)
	const messages, size = 1000, 4096
	client := run(t, "python3", "-c", `
import os, sys
os.mkdir(sys.argv[1])
send, stream = os.open(sys.argv[1] + "/send", os.O_WRONLY), os.open(sys.argv[1] + "/stream", os.O_RDONLY)
print("open", flush=True)
sys.stdin.readline()
for _ in range(`+number(messages)+`):
    os.write(send, bytes(`+number(size)+`))
    os.read(stream, `+number(size)+`)
print("done", flush=True)
sys.stdin.readline()
`, m.path("mailboxes", "jobs"))
	client.expect("open")
	before := m.io(t)
	client.resume()
	client.expect("done")
	after := m.io(t)
	client.resume()

	mailbox, ok := cost.MechanismNamed("ipcfs mailbox")
	if !ok {
		t.Fatal("no mechanism ipcfs mailbox")
	}
	account := mailbox.Message().Times(messages)
	own := func(key string) int { return after[key] - before[key] }
	// The runtime's own system calls, and the headers of requests, are a few per cent.
	within := func(got, want int) bool { return got >= want && got <= want+want/10 }
	if reads, writes := own("syscr"), own("syscw"); !within(reads+writes, account.Crossings-account.Requests) {
		t.Errorf("%d messages cost the daemon %d reads and %d writes, want %d together", messages, reads, writes, account.Crossings-account.Requests)
	}
	if bytes := own("rchar") + own("wchar"); !within(bytes, account.Passed*size) {
		t.Errorf("%d messages of %d bytes pass %d bytes to and from the daemon, want %d", messages, size, bytes, account.Passed*size)
	}
}

// io is /proc/PID/io of the daemon.
func (m *mountpoint) io(t testing.TB) map[string]int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", m.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if counts[key], err = strconv.Atoi(value); err != nil {
			t.Fatalf("/proc/PID/io: %q", line)
		}
	}
	return counts
}
