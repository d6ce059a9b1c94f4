package kernelsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestShippedScenariosDoWhatTheyExpect(t *testing.T) {
	list := Shipped()
	if len(list) < 12 {
		t.Fatalf("%d scenarios", len(list))
	}
	for _, s := range list {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if err := Simulate(&out, s.Name, s.Source, SimulateOptions{Explore: true}); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			if s.Title == "" || !strings.Contains(out.String(), "Searched") {
				t.Errorf("title %q, output\n%s", s.Title, &out)
			}
			t.Logf("\n%s", &out)
			for seed := range uint64(20) {
				var first, again bytes.Buffer
				err := Simulate(&first, s.Name, s.Source, SimulateOptions{Seed: &seed, Steps: 300})
				if err != nil {
					t.Fatalf("seed %d: %v\n%s", seed, err, &first)
				}
				_ = Simulate(&again, s.Name, s.Source, SimulateOptions{Seed: &seed, Steps: 300})
				if again.String() != first.String() {
					t.Fatalf("seed %d:\n%s\nand again:\n%s", seed, &first, &again)
				}
			}
		})
	}
}

func TestErrorsNameLineAndColumn(t *testing.T) {
	for _, c := range []struct{ name, source, want string }{
		{"unknown declaration", "mailbux a\n", `x:1:1: unknown declaration "mailbux"`},
		{"unknown policy", "mailbox a size=3\n", "x:1:11: a mailbox has no size"},
		{"bad policy value", "mailbox a overflow=drop-middle\n", `x:1:11: overflow cannot be "drop-middle"`},
		{"unknown object", "process p:\n    send box 1\n", `x:2:10: unknown object "box"`},
		{"wrong operation", "semaphore s\nprocess p:\n  receive s\n", "x:3:3: a semaphore cannot receive"},
		{"unknown variable", "process p:\n  print x\n", `x:2:9: unknown variable "x"`},
		{"no colon", "process p\n  yield\n", `x:1:10: expected daemon, immune, uid=N or a colon, found the end of the line`},
		{"no block", "process p:\nprocess q:\n  yield\n", "x:1:11: expected an indented block"},
		{"odd indentation", "process p:\n    yield\n  yield\n", "x:3:3: the indentation fits no line above"},
		{"open quote", "mailbox a\nprocess p:\n  send a \"x\n", "x:3:10: the text has no closing quote"},
		{"bad unit", "process p:\n  sleep 5min\n", "x:2:10: \"min\" is no unit of time"},
		{"no duration", "process p:\n  sleep 5\n", `x:2:9: expected a duration such as 5ms, found "5"`},
		{"unknown process", "process p:\n  kill q\n", `x:2:8: unknown process "q"`},
		{"break outside", "process p:\n  break\n", "x:2:3: break outside of a loop"},
		{"name taken", "mailbox a\nsemaphore a\n", `x:2:11: the name "a" is taken`},
		{"else alone", "process p:\n  else:\n    yield\n", `x:2:3: unknown statement "else"`},
		{"garbage", "mailbox a $\n", `x:1:11: unexpected "$"`},
		{"no process", "mailbox a\n", "x:1:1: a scenario needs a process"},
		{"local in always", "process p:\n  x = 1\nalways x == 1\n", `x:3:8: unknown variable "x"`},
		{"unclosed", "shared a = 1\nprocess p:\n  a = (1 + 2\n", `x:3:13: expected ")", found the end of the line`},
		{"not UTF-8", "\xff", "x:1:1: the file is not UTF-8"},
		{"bad fault", "faults storms=1\n", `x:1:8: unknown fault "storms"`},
		{"number too big", "shared a = 99999999999999999999\n", "x:1:12: 99999999999999999999 is too big a number"},
	} {
		_, err := Parse("x", []byte(c.source))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: error\n\t%v\nwant\n\t%s", c.name, err, c.want)
		}
		var syntax *SyntaxError
		if err != nil && !errors.As(err, &syntax) {
			t.Errorf("%s: %T is no SyntaxError", c.name, err)
		}
	}
}

func TestEveryWrongLineIsReportedOnce(t *testing.T) {
	_, err := Parse("x", []byte("mailbox a\nprocess p:\n  send b 1\n  repeat 2:\n    print y\n  sned a 2\nalways z\n"))
	got := strings.Split(err.Error(), "\n")
	want := []string{"x:3:8:", "x:5:11:", "x:6:3:", "x:7:8:"}
	if len(got) != len(want) {
		t.Fatalf("errors\n%v\nwant %d", err, len(want))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("error %q; want it to begin %q", got[i], want[i])
		}
	}
}

func FuzzParseNeverPanics(f *testing.F) {
	for _, s := range Shipped() {
		f.Add(s.Source)
	}
	f.Add([]byte("process p:\n\tif 1:\n\t\tyield\n\telse:\n\t\tyield\n"))
	f.Fuzz(func(t *testing.T, source []byte) {
		s, err := Parse("x", source)
		if (s == nil) == (err == nil) {
			t.Fatalf("scenario %v, error %v", s, err)
		}
	})
}

func TestJSONHasARowForEachStepAndTheOutcome(t *testing.T) {
	source, _ := ShippedNamed("philosophers")
	var out bytes.Buffer
	if err := Simulate(&out, "philosophers", source, SimulateOptions{Explore: true, JSON: true}); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(&out)
	var rows []Row
	var outcome Outcome
	for {
		var raw json.RawMessage
		if dec.Decode(&raw) != nil {
			break
		}
		if strings.Contains(string(raw), `"result"`) {
			if err := json.Unmarshal(raw, &outcome); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var r Row
		if err := json.Unmarshal(raw, &r); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	if outcome.Result != "deadlock" || len(rows) != 6 || len(outcome.Schedule) != 6 {
		t.Errorf("%d rows, outcome %+v; want 6, deadlock", len(rows), outcome)
	}
	for _, p := range rows[len(rows)-1].Processes {
		if p.State != "blocked" || !strings.HasPrefix(p.WaitsFor, "fork") {
			t.Errorf("at the end: %+v; want it blocked at a fork", p)
		}
	}
}

func TestUnexpectedFindingIsAnError(t *testing.T) {
	const source = "mailbox a\nprocess p:\n  receive a -> x\n"
	var out bytes.Buffer
	err := Simulate(&out, "x", []byte(source), SimulateOptions{Explore: true})
	if !errors.Is(err, ErrFound) || !strings.Contains(out.String(), "p waits for ever in receive a") {
		t.Errorf("error %v, output\n%s", err, &out)
	}
	if err := Simulate(&out, "x", []byte(source+"expect deadlock\n"), SimulateOptions{Explore: true}); err != nil {
		t.Errorf("expected deadlock: %v", err)
	}
	if err := Simulate(&out, "x", []byte("process p:\n  yield\nexpect deadlock\n"), SimulateOptions{Explore: true}); !errors.Is(err, ErrFound) {
		t.Errorf("no deadlock: %v; want ErrFound", err)
	}
}
