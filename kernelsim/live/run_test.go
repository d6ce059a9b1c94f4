package live

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ipcfs/kernelsim/scenario"
	"ipcfs/objects"
)

// prepared is a run of the scenario whose processes are the commands.
func prepared(t *testing.T, source string, commands ...*exec.Cmd) *run {
	t.Helper()
	s, err := scenario.Parse("x", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(t.TempDir(), "shared")
	if err := os.WriteFile(shared, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := &run{s: s}
	if r.table, err = openTable(s, shared, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.table.close)
	for i, self := range s.Instances() {
		if err := commands[i].Start(); err != nil {
			t.Fatal(err)
		}
		r.processes = append(r.processes, &child{Instance: self, cmd: commands[i]})
		r.pids = append(r.pids, commands[i].Process.Pid)
	}
	return r
}

func TestProcessThatEndedByItselfIsNotKilled(t *testing.T) {
	r := prepared(t, "process p * 2:\n  yield\n", exec.Command("true"), exec.Command("sleep", "1000"))
	for !exitedAlready(r.pids[0]) {
		runtime.Gosched()
	}
	r.kill(0)
	r.kill(1)
	if c := r.processes[0]; !c.over || c.killed || r.table.state(0) != exited {
		t.Errorf("a process that had ended: over %t, killed %t, state %d; want true, false, %d", c.over, c.killed, r.table.state(0), exited)
	}
	if c := r.processes[1]; !c.over || !c.killed || r.table.state(1) != killed {
		t.Errorf("a process that was killed: over %t, killed %t, state %d; want true, true, %d", c.over, c.killed, r.table.state(1), killed)
	}
	var told []string
	for _, report := range r.reports {
		told = append(told, report.Text)
	}
	if len(told) != 1 || r.reports[0].Process != 1 {
		t.Errorf("reported %q; want that the second is killed, and no more", told)
	}
}

// A closed place is one whose files are all closed.
type closedPlace struct{ Place }

func (closedPlace) Closing() (bool, error) { return false, nil }

func TestWhatFailsAtTheEndIsNotWaitedFor(t *testing.T) {
	r := prepared(t, "shared n = 0\nprocess p:\n  yield\nfinally n == 1\n", exec.Command("true"))
	for !exitedAlready(r.pids[0]) {
		runtime.Gosched()
	}
	r.kill(0)
	r.place = closedPlace{}
	began := time.Now()
	out := &Result{}
	if err := r.conclude(out); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); out.Outcome.Result != "violation" || took >= settling {
		t.Errorf("%s after %v; want a violation, sooner than %v", out.Outcome.Result, took, settling)
	}
	if !strings.Contains(out.Ending.Violated, "finally n == 1") {
		t.Errorf("violated %q", out.Ending.Violated)
	}
}

// orders is what a process of the run would read.
type orders struct{ bytes.Buffer }

func (*orders) Close() error { return nil }

// sitting is a run of the scenario whose processes do nothing but live.
func sitting(t *testing.T, source string) (*run, []*orders) {
	t.Helper()
	s, err := scenario.Parse("x", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	var commands []*exec.Cmd
	for range s.Instances() {
		commands = append(commands, exec.Command("sleep", "1000"))
	}
	r := prepared(t, source, commands...)
	t.Cleanup(r.end)
	var all []*orders
	for _, c := range r.processes {
		o := &orders{}
		c.orders = o
		all = append(all, o)
	}
	r.place = fakePlace{}
	return r, all
}

const two = "mailbox a\nprocess p:\n  receive a -> x\nprocess q:\n  send a 1\n"

// Everybody waits only if each is in an operation that has no time-out, and is seen there.
func TestRunIsStillOnlyIfEverybodyIsSeenWaiting(t *testing.T) {
	r, _ := sitting(t, two)
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	r.pipe = os.NewFile(uintptr(fds[0]), "reports")
	theirs := os.NewFile(uintptr(fds[1]), "reports")
	defer theirs.Close()
	both := fakePlace{parked: map[int]bool{r.pids[0]: true, r.pids[1]: true}}
	for _, c := range []struct {
		name    string
		waits   [2]string
		timed   bool
		place   fakePlace
		reports string
		want    bool
	}{
		{"all wait", [2]string{"receive a", "send a"}, false, both, "", true},
		{"one is between operations", [2]string{"receive a", ""}, false, both, "", false},
		{"one waits for a time", [2]string{"receive a", "send a"}, true, both, "", false},
		{"one is not seen", [2]string{"receive a", "send a"}, false, fakePlace{parked: map[int]bool{r.pids[0]: true}}, "", false},
		{"one reports meanwhile", [2]string{"receive a", "send a"}, false, both, `{"Process":1,"Kind":"ends","Text":"send a 1"}` + "\n", false},
	} {
		for i := range c.waits {
			r.processes[i].waits, r.processes[i].timed = c.waits[i], c.timed
		}
		r.place = c.place
		if _, err := io.WriteString(theirs, c.reports); err != nil {
			t.Fatal(err)
		}
		if got, err := r.still(); got != c.want || err != nil {
			t.Errorf("%s: still: %t, %v; want %t", c.name, got, err, c.want)
		}
	}
	r.place = fakePlace{err: syscall.EIO}
	r.processes[0].waits, r.processes[1].waits, r.processes[1].timed = "x", "x", false
	if _, err := r.still(); err != syscall.EIO {
		t.Errorf("a place that cannot be looked at: %v", err)
	}
}

// Reports come in pieces, and each is taken once.
func TestReportsAreTakenWholeAndInOrder(t *testing.T) {
	r, _ := sitting(t, two)
	text := `{"Process":0,"Kind":"begins","Text":"receive a"}` + "\n" + `{"Process":0,"Kind":"ends","Text":"receive a → \"1\""}` + "\n" +
		`{"Process":1,"Kind":"does","Text":"prints 1"}` + "\n" + `{"Process":1,"Kind":"ready","Target":77}` + "\n"
	taken := 0
	for _, b := range []byte(text) {
		taken += r.take([]byte{b})
	}
	if taken != 4 || len(r.reports) != 3 || r.ended != 1 || r.processes[0].waits != "" || r.processes[1].thread != 77 || !r.processes[1].ready {
		t.Errorf("taken %d, kept %d, ended %d, %+v", taken, len(r.reports), r.ended, r.processes[1])
	}
	if got := strings.Join(append(r.processes[0].history, r.processes[1].history...), ", "); got != `receive a → "1", prints 1` {
		t.Errorf("history %s", got)
	}
	r.take([]byte("no report\n"))
	if r.failed == nil {
		t.Error("what is no report is no failure")
	}
	r.take([]byte(`{"Process":0,"Kind":"violates","Text":"first"}` + "\n" + `{"Process":0,"Kind":"violates","Text":"second"}` + "\n"))
	if r.violated != "first" {
		t.Errorf("violated %q; want the first", r.violated)
	}
}

// A process that asks to kill all of a name kills the others, and goes on when they are dead.
func TestKillSparesWhoAsksAndAnswersAfterwards(t *testing.T) {
	r, told := sitting(t, "process p * 3:\n  kill p\nprocess q:\n  yield\n")
	r.heed(report{Process: 1, Kind: kills, Target: 0})
	var ended []bool
	for _, c := range r.processes {
		ended = append(ended, c.over && c.killed)
	}
	if want := []bool{true, false, true, false}; !slices.Equal(ended, want) || told[1].String() != "done\n" {
		t.Errorf("killed %v, told %q; want %v, done", ended, told[1], want)
	}
	r.heed(report{Process: 3, Kind: signals, Target: 0})
	if told[3].String() != "done\n" {
		t.Errorf("who signals is told %q", told[3])
	}
}

// Faults strike when enough was reported, and spare who is immune.
func TestFaultsComeWhenTheyAreDue(t *testing.T) {
	r, _ := sitting(t, "process p immune:\n  yield\nprocess q:\n  yield\nfaults kills=1\n")
	r.random = rand.New(rand.NewPCG(1, 1))
	r.faults = []fault{{due: 3}}
	for n := 1; n <= 2; n++ {
		r.heed(report{Process: 0, Kind: does})
	}
	if r.processes[1].over {
		t.Error("a fault that is due after three reports comes after two")
	}
	r.heed(report{Process: 0, Kind: does})
	if !r.processes[1].killed || r.processes[0].over {
		t.Errorf("after three: killed %t and %t; want q alone", r.processes[0].killed, r.processes[1].killed)
	}
}

// A turn is given to whose it is, with its choice; others wait.
func TestTurnsAreGivenOneAfterAnother(t *testing.T) {
	r, told := sitting(t, two)
	r.steering.turns = []scenario.Turn{{Process: 1, Asks: 1, Choice: 3}, {Process: 0, Asks: 2}}
	steer := func(quiet bool) {
		t.Helper()
		if err := r.steer(quiet); err != nil {
			t.Fatal(err)
		}
	}
	r.heed(report{Process: 0, Kind: turns, Target: 1})
	steer(false)
	r.heed(report{Process: 1, Kind: turns, Target: 1})
	steer(false)
	if told[0].Len() > 0 || told[1].String() != "3\n" {
		t.Errorf("told %q and %q; want the second alone, 3", told[0], told[1])
	}
	// The second waits in an object: its turn is over. What the first asked before is granted with its own.
	r.heed(report{Process: 1, Kind: begins, Text: "send a"})
	r.place = fakePlace{parked: map[int]bool{r.pids[1]: true}}
	steer(true)
	if told[0].String() != "0\n" {
		t.Errorf("told %q; want the first turn of the first", told[0])
	}
	r.heed(report{Process: 0, Kind: turns, Target: 2})
	steer(false)
	r.heed(report{Process: 0, Kind: turns, Target: 3})
	steer(false)
	if told[0].String() != "0\n0\nfree\n" || len(r.steering.turns) > 0 {
		t.Errorf("told %q with %d turns left; want that it is free", told[0], len(r.steering.turns))
	}
}

// A kill that is asked for comes in its turn, and who asked waits for it.
func TestKillComesInItsTurn(t *testing.T) {
	r, told := sitting(t, "process p:\n  yield\nprocess q:\n  kill p\n")
	r.steering.turns = []scenario.Turn{{Process: 1, Asks: 1}, {Process: 0, Asks: 1}, {Kind: scenario.Kill, Process: 0}, {Process: 1, Asks: 2}}
	r.heed(report{Process: 1, Kind: turns, Target: 1})
	if err := r.steer(false); err != nil {
		t.Fatal(err)
	}
	r.heed(report{Process: 1, Kind: kills, Target: 0})
	if err := r.steer(false); err != nil || r.processes[0].over || told[1].String() != "0\n" {
		t.Errorf("%v; the victim is dead: %t, told %q; want that it may still take its turn", err, r.processes[0].over, told[1])
	}
	r.heed(report{Process: 0, Kind: turns, Target: 1})
	r.heed(report{Process: 0, Kind: turns, Target: 2})
	if err := r.steer(false); err != nil || !r.processes[0].killed || told[1].String() != "0\ndone\n" {
		t.Errorf("%v; killed %t, told %q; want that it is dead, and the killer knows", err, r.processes[0].killed, told[1])
	}
}

// What does not go as it was simulated is left to go on as it likes.
func TestTurnThatNobodyTakesIsGivenUp(t *testing.T) {
	r, told := sitting(t, two)
	r.steering.turns = []scenario.Turn{{Process: 0, Asks: 1}}
	r.heed(report{Process: 1, Kind: turns, Target: 1})
	if err := r.steer(true); err != nil || told[1].Len() > 0 {
		t.Fatalf("%v, told %q", err, told[1])
	}
	r.steering.since = time.Now().Add(-stall)
	if err := r.steer(true); err != nil || told[1].String() != "free\n" {
		t.Errorf("%v, told %q; want that it is free", err, told[1])
	}
}

func TestCallThatIsTooLongIsInterrupted(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signal.Notify(make(chan os.Signal, 1), timeoutSignal)
	defer signal.Reset(timeoutSignal)
	span := syscall.Timespec{Sec: 1000}
	if errno := Interruptible(objects.Time(time.Millisecond), func() error { return syscall.Nanosleep(&span, nil) }); errno != syscall.ETIMEDOUT {
		t.Errorf("a call that lasts: %v; want ETIMEDOUT", errno)
	}
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{{nil, 0}, {syscall.EAGAIN, syscall.EAGAIN}, {io.ErrClosedPipe, syscall.EIO}} {
		for _, d := range []objects.Time{0, objects.Time(time.Hour)} {
			if errno := Interruptible(d, func() error { return c.err }); errno != c.want {
				t.Errorf("a call that ends with %v within %d is %v; want %v", c.err, d, errno, c.want)
			}
		}
	}
}

// A place finds itself again from what At has told, as JSON.
func TestMountIsFoundAgain(t *testing.T) {
	s, err := scenario.Parse("x", []byte("mailbox box\npipe p\nsegment g\nprocess a:\n  send box 1\n  write p 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	m := newMount("/mnt", "run-1", s)
	at, err := json.Marshal(m.At())
	if err != nil {
		t.Fatal(err)
	}
	found, err := FindMount(at, s)
	if err != nil {
		t.Fatal(err)
	}
	again := found.(*mount)
	for i, want := range []string{"/mnt/mailboxes/run-1-box", "/mnt/pipes/run-1-p", "/mnt/segments/run-1-g"} {
		if m.path(i) != want || again.path(i) != want {
			t.Errorf("object %d is %s and %s; want %s", i, m.path(i), again.path(i), want)
		}
	}
	if again.Shared() != m.Shared() || again.Name() != MountName || !again.alone[1] || again.alone[0] {
		t.Errorf("found %+v, was %+v", again, m)
	}
	if _, err := FindMount([]byte(`"elsewhere"`), s); err == nil {
		t.Error("what is no address is found")
	}
	if _, err := NewMount(t.TempDir(), s); err == nil || !strings.Contains(err.Error(), "no ipcfs is mounted there") {
		t.Errorf("a directory that is no mount: %v", err)
	}
}

// The timeline of a real run shows each shared variable, and where processes are, in the order of
// the clock.
func TestTimelineOfARealRunShowsVariablesAndLines(t *testing.T) {
	r, _ := sitting(t, "shared n = 0, word = \"\"\nprocess p:\n  n = 1\n  word = \"x\"\nprocess q:\n  n = 2\n")
	r.began = time.Unix(0, 0)
	r.heed(report{Process: 1, Kind: touches, Time: 3, Text: "n = 2", Line: 6, Stored: &stored{0, "2"}})
	r.heed(report{Process: 0, Kind: touches, Time: 1, Text: "n = 1", Line: 3, Stored: &stored{0, "1"}})
	r.heed(report{Process: 0, Kind: touches, Time: 2, Text: "word = x", Line: 4, Stored: &stored{1, `"x"`}})
	var got []string
	for _, row := range r.timeline(&Result{}).Rows {
		got = append(got, fmt.Sprint(row.Variables[0].Value, " ", row.Variables[1].Value, ", line ", row.Line, " of ", row.Process, "; ", row.Processes[0].Line, " ", row.Processes[1].Line))
	}
	if want := []string{`1 "", line 3 of p; 3 0`, `1 "x", line 4 of p; 4 0`, `2 "x", line 6 of q; 4 6`}; !slices.Equal(got, want) {
		t.Errorf("values %q; want %q", got, want)
	}
}
