package live

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"ipcfs/kernelsim/scenario"
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
