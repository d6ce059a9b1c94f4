package tests

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"ipcfs/kernelsim/live"
	"ipcfs/kernelsim/scenario"
)

// The kernel is the oracle: small scripts run in the simulator, through all their
// interleavings, and for real, on the mount and by the kernel's own mechanism. What
// happens for real, down to each result of each process, is always something that the
// simulation allows.
//
// Where the mechanisms differ by design there is no script: System V semaphores let a
// small request overtake a big one that waits, and a pipe of the kernel frees its memory by
// pages.
type script struct {
	name   string
	native string // the kernel's mechanism, "" if it has none like it
	source string
}

func TestWhatHappensForRealIsWhatTheSimulationAllows(t *testing.T) {
	t.Parallel()
	m := mount(t)
	for _, c := range scripts {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := scenario.Parse("script", []byte(c.source))
			if err != nil {
				t.Fatal(err)
			}
			allowed := endings(t, s, true, scenario.Ending.String)
			if strings.Contains(c.source, "from 0") {
				needRoot(t) // the user of the simulation
			}
			check := func(where string, e scenario.Ending) {
				t.Helper()
				if !slices.Contains(allowed, e.String()) {
					t.Errorf("on %s:\n%s\nwhich is none of these %d:\n%s", where, e, len(allowed), strings.Join(allowed, "\n"))
				}
			}
			seen := map[string]bool{}
			for range oracleRuns {
				o, _, _ := m.simulateOn(t, []byte(c.source), "--time", patience.String())
				check("the mount", o.Ending)
				seen[o.Ending.String()] = true
			}
			for range oracleRuns {
				if c.native != "" {
					e := runNative(t, c.native, s, []byte(c.source), nil)
					check(c.native, e)
					seen[e.String()] = true
				}
			}
			t.Logf("%d of %d endings seen", len(seen), len(allowed))
		})
	}
}

func TestOracleKnowsAWrongEnding(t *testing.T) {
	s, err := scenario.Parse("script", []byte(scripts[0].source))
	if err != nil {
		t.Fatal(err)
	}
	all := endings(t, s, true, scenario.Ending.String)
	if len(all) != 1 {
		t.Fatalf("endings\n%s\nwant one", strings.Join(all, "\n"))
	}
	e := runNative(t, mqueueName, s, []byte(strings.Replace(scripts[0].source, `"3"`, `"4"`, 1)), nil)
	if slices.Contains(all, e.String()) {
		t.Errorf("another message makes no difference:\n%s", e)
	}
}

// runNative runs s by a mechanism of the kernel's.
func runNative(t testing.TB, name string, s *scenario.Scenario, source []byte, turns []scenario.Turn) scenario.Ending {
	t.Helper()
	place, err := newNative(t, name, s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	result, err := live.Run(t.Context(), s, source, place, live.Options{Command: []string{self, oracleProcess}, Time: patience, Turns: turns})
	if err = errors.Join(err, place.Remove()); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if result.Outcome.Result == "unfinished" {
		t.Fatalf("%s: not finished within %v\n%s", name, patience, source)
	}
	return result.Ending
}

// oracleProcess is the argument with which the test binary is a process of a script.
const oracleProcess = "oracle-process"

// In an init function this is the first thread, which /proc/PID shows.
func init() {
	if len(os.Args) == 2 && os.Args[1] == oracleProcess {
		places := map[string]live.Find{}
		for _, name := range []string{fifoName, mqueueName, sysvName} {
			places[name] = func(at json.RawMessage, s *scenario.Scenario) (live.Place, error) {
				n := findNative(name, s)
				return n, json.Unmarshal(at, &n.where)
			}
		}
		live.Process(places)
		os.Exit(0)
	}
}

const (
	fifoName   = "FIFO"
	mqueueName = "mqueue"
	sysvName   = "System V semaphore"
)
