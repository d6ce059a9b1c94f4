package kernelsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"ipcfs/kernelsim/scenario"
	"ipcfs/kernelsim/scenarios"
	"ipcfs/kernelsim/timeline"
)

func TestShippedScenariosDoWhatTheyExpect(t *testing.T) {
	list := scenarios.All()
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
		{"no colon", "process p\n  yield\n", "x:1:10: missing colon: expected one at the end of the line"},
		{"no colon after a condition", "process p:\n  if 1 == 1\n    yield\n", "x:2:12: missing colon: expected one at the end of the line"},
		{"no colon after else", "process p:\n  if 1 == 1:\n    yield\n  else\n    yield\n", "x:4:7: missing colon"},
		{"no colon after repeat", "process p:\n  repeat 3\n    yield\n", "x:2:11: missing colon"},
		{"something for a colon", "process p:\n  forever 3:\n    yield\n", `x:2:11: expected a colon at the end of the line, found "3"`},
		{"no time and a time", "mailbox a\nprocess p:\n  receive a within 5ms nonblock\n", `x:3:24: "nonblock" cannot be said as well: expected one of within and nonblock, once`},
		{"a time and no time", "mailbox a\nprocess p:\n  receive a nonblock within 5ms\n", `x:3:22: "within" cannot be said as well`},
		{"twice", "mailbox a\nprocess p:\n  receive a nonblock nonblock\n", `x:3:22: "nonblock" cannot be said as well`},
		{"exchanged letters", "mailbox a\nprocess p:\n  sned a 1\n", `x:3:3: unknown statement "sned": did you mean send?`},
		{"unknown statement", "process p:\n  fly\n", `x:2:3: unknown statement "fly": expected NAME = VALUE, or one of ack, `},
		{"more than a statement", "process p:\n  yield 3\n", `x:2:9: expected the end of the line, found "3"`},
		{"no block", "process p:\nprocess q:\n  yield\n", "x:1:11: expected an indented block"},
		{"odd indentation", "process p:\n    yield\n  yield\n", "x:3:3: the indentation fits no line above"},
		{"open quote", "mailbox a\nprocess p:\n  send a \"x\n", "x:3:10: the text has no closing quote"},
		{"bad unit", "process p:\n  sleep 5min\n", "x:2:10: \"min\" is no unit of time"},
		{"too long a duration", "process p:\n  sleep 9223372036854775807s\n", "x:2:9: 9223372036854775807s is too long a time"},
		{"odd indentation by tabs", "process p:\n\tyield\n\t\tyield\n", "x:3:3: the indentation fits no line above"},
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
		{"priority too high", "mailbox a\nprocess p:\n  send a 1 priority 32\n", "x:3:21: there is no priority 32: they are 0 to 31"},
		{"negative priority", "mailbox a\nprocess p:\n  send a 1 priority -1\n", `x:3:21: expected a priority from 0 to 31, found "-"`},
		{"no priority", "mailbox a\nprocess p:\n  receive a priority -> x\n", `x:3:22: expected a priority from 0 to 31, found "->"`},
		{"topic without quotes", "mailbox a\nprocess p:\n  send a 1 topic red\n", `x:3:18: expected a topic such as "red", found "red"`},
		{"topic of two words", "mailbox a\nprocess p:\n  send a 1 topic \"a b\"\n", `x:3:18: "a b" cannot be a topic`},
		{"topic with a slash", "mailbox a\nprocess p:\n  receive a topic \"a/b\"\n", `x:3:19: "a/b" cannot be a topic`},
		{"topic on a pipe", "pipe a\nprocess p:\n  write a 1 topic \"red\"\n", "x:3:13: only messages of a mailbox can be sent with a topic: a is a pipe"},
		{"urgent post", "semaphore a\nprocess p:\n  post a 1 urgent\n", "x:3:12: only messages of a mailbox can be urgent: a is a semaphore"},
		{"peek that selects", "mailbox a\nprocess p:\n  peek a urgent -> x\n", "x:3:10: peek cannot select"},
		{"two labels", "mailbox a\nprocess p:\n  send a 1 urgent priority 3\n", "x:3:19: send goes by one of priority, topic, urgent, and by urgent already"},
		{"send from", "mailbox a\nprocess p:\n  send a 1 from 7\n", "x:3:12: send cannot go by from: it can by priority, topic, urgent"},
		{"no such user", "mailbox a\nprocess p:\n  receive a from 4294967296\n", "x:3:18: there is no user id 4294967296"},
		{"send without a value", "mailbox a\nprocess p:\n  send a priority 5\n", `x:3:10: unknown variable "priority"`},
		{"extend without a span", "mailbox a\nprocess p:\n  extend a\n", "x:3:11: expected a duration such as 5ms, found the end of the line"},
		{"ack that keeps", "mailbox a\nprocess p:\n  ack a -> x\n", "x:3:9: ack gives nothing to keep"},
		{"lease of a topic", "mailbox a\nprocess p:\n  lease a topic \"t\"\n", "x:3:11: lease cannot select"},
		{"lease of a pipe", "pipe a\nprocess p:\n  lease a\n", "x:3:3: a pipe cannot lease: it can send, receive, flush, write, read, hangup"},
		{"unknown dead letters", "mailbox a dead_letters=b\n", `x:1:24: unknown mailbox "b": declare it first`},
		{"bad framing", "mailbox a framing=word\n", `x:1:11: framing cannot be "word"`},
		{"nothing to open", "mailbox a\nprocess p:\n  open a\n", "x:3:3: p uses nothing of a that could be open"},
		{"open a pipe", "pipe a\nprocess p:\n  open a\n", "x:3:8: a pipe is open from the start"},
		{"try what cannot fail", "mailbox a\nprocess p:\n  try close a\n", `x:3:7: "close" cannot fail`},
		{"counter of a semaphore", "semaphore a\nfinally expired(a) == 0\nprocess p:\n  yield\n", "x:2:17: a semaphore does not count what is expired"},
		{"bad ttl", "mailbox a ttl=10\n", `x:1:11: ttl cannot be "10"`},
		{"bad order", "mailbox a order=lifo\n", `x:1:11: order cannot be "lifo"`},
		{"a monitor that nobody can enter", "monitor m:\n  shared n = 0\nprocess p:\n  yield\n", "x:1:11: a monitor needs a procedure: nobody could enter it"},
		{"a mailbox in a monitor", "monitor m:\n  mailbox a\n  procedure f():\n    yield\n", "x:2:3: a monitor has no \"mailbox\": expected shared, condition or procedure"},
		{"unknown kind of monitor", "monitor m mesa:\n  procedure f():\n    yield\n", `x:1:11: unexpected "mesa": want hoare, protocol=inherit or a colon`},
		{"a variable of a monitor", "monitor m:\n  shared n = 0\n  procedure f():\n    n = 1\nprocess p:\n  n = 2\n", `x:6:3: "n" belongs to the monitor m: only its procedures reach it`},
		{"a condition outside", "monitor m:\n  condition c\n  procedure f():\n    wait c\nprocess p:\n  signal c\n", `x:6:10: "c" belongs to the monitor m: only its procedures can signal`},
		{"try of a condition", "monitor m:\n  condition c\n  procedure f():\n    try wait c\n", `x:4:9: "wait" of a condition cannot fail: there is nothing to try`},
		{"broadcast of no condition", "process p:\n  broadcast q\n", `x:2:13: expected a condition of a monitor, found "q"`},
		{"broadcast of a monitor that is handed over", "monitor m hoare:\n  condition c\n  procedure f():\n    broadcast c\n", "x:4:5: a monitor that is handed over by a signal has no broadcast"},
		{"a name of a condition", "monitor m:\n  condition m\n  procedure f():\n    yield\n", `x:2:13: the name "m" is taken`},
		{"no priority of a process", "process p priority=high:\n  yield\n", `x:1:20: expected a priority, such as 10, found "high"`},
		{"another protocol", "semaphore s protocol=protect\n", `x:1:22: protocol cannot be "protect": expected inherit`},
		{"protocol of a mailbox", "mailbox a protocol=inherit\n", "x:1:11: a mailbox has no protocol"},
		{"no index", "semaphore f * 2\nprocess p:\n  wait f\n", `x:3:9: there are 2 of "f": expected which, as in f[1], found the end of the line`},
		{"an index of one", "semaphore f\nprocess p:\n  wait f[1]\n", `x:3:9: there is one "f": expected no index`},
		{"an index of a variable of one's own", "process p:\n  x[1] = 2\n", `x:2:4: "x" is no array: expected a shared one, as in "shared x * 5 = 0"`},
		{"an array without an index", "shared a * 2 = 0\nprocess p:\n  a = 2\n", `x:3:5: there are 2 of "a": expected which`},
		{"an open index", "shared a * 2 = 0\nprocess p:\n  a[1 = 2\n", `x:3:7: expected "]", found "="`},
		{"too long an array", "shared a * 101 = 0\n", "x:1:12: there can be 1 to 100 of them"},
		{"cas of a variable of one's own", "process p:\n  x = 1\n  cas x 1, 2\n", `x:3:7: cas is for shared variables: "x" is one of the process`},
		{"cas of one value", "shared a = 0\nprocess p:\n  cas a 1\n", `x:3:10: expected ",", found the end of the line`},
		{"an operation in an atomic block", "semaphore s\nprocess p:\n  atomic:\n    wait s\n", "x:4:5: wait cannot be in an atomic block: expected assignments, "},
		{"a break out of an atomic block", "process p:\n  forever:\n    atomic:\n      break\n", "x:4:7: break outside of a loop"},
		{"unknown procedure", "process p:\n  f(1)\n", `x:2:3: unknown statement "f"`},
		{"wrong number of values", "procedure f(a, b):\n  print a + b\nprocess p:\n  f(1)\n", `x:4:3: "f" is called with 1 values: expected 2`},
		{"return of a process", "process p:\n  return 1\n", "x:2:3: return outside of a procedure"},
		{"a parameter twice", "procedure f(a, a):\n  print a\n", `x:1:16: the name "a" is taken`},
		{"a procedure and an object", "semaphore f\nprocedure f():\n  yield\n", `x:1:11: the name "f" is taken`},
		{"number too big", "shared a = 99999999999999999999\n", "x:1:12: 99999999999999999999 is too big a number"},
	} {
		_, err := scenario.Parse("x", []byte(c.source))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: error\n\t%v\nwant\n\t%s", c.name, err, c.want)
		}
		var syntax *scenario.SyntaxError
		if err != nil && !errors.As(err, &syntax) {
			t.Errorf("%s: %T is no SyntaxError", c.name, err)
		}
	}
}

func TestEveryWrongLineIsReportedOnce(t *testing.T) {
	_, err := scenario.Parse("x", []byte("mailbox a\nprocess p:\n  send b 1\n  repeat 2:\n    print y\n  sned a 2\nalways z\n"))
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

// A block is not held against the scenario whose line is wrong.
func TestOneMistakeIsOneLine(t *testing.T) {
	for _, source := range []string{
		"process p\n  yield\n  yield\n",
		"process p:\n  if 1 = 2:\n    yield\n    yield\n  else:\n    yield\n  yield\n",
		"process p:\n  repeat 3\n    yield\n  yield\n",
		"process $p:\n  yield\n  yield\n",
		"process p * many:\n  yield\n    yield\n",
		"process p:\n  wihle 1 == 1:\n    yield\n      yield\n  yield\n",
		"mailbox a\n  mailbox b\nprocess p:\n  yield\n",
	} {
		_, err := scenario.Parse("x", []byte(source))
		if err == nil || strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%q: errors\n%v\nwant one", source, err)
		}
	}
}

// finds explores a scenario and returns the endings without histories.
func finds(t *testing.T, source string) []string {
	t.Helper()
	s, err := scenario.Parse("x", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	all, complete := s.Endings(DefaultStates, false)
	if !complete {
		t.Fatal("not all states were seen")
	}
	var texts []string
	for _, e := range all {
		texts = append(texts, e.Short())
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// Whoever hashes states as equal that are not loses one of the endings.
func TestExplorationTellsApartWhatDecidesTheFuture(t *testing.T) {
	for _, c := range []struct {
		name, source string
		want         []string
	}{
		// Two messages are held at 5ms, and both or one of them at 10ms.
		{"age of a message", "mailbox a ttl=10ms\nshared m = 9, n = 9\nprocess p:\n  send a 1\n  choose x in 0..1\n  if x == 0:\n    send a 2\n  sleep 5ms\n  if x == 1:\n    send a 2\n" +
			"  x = 0\n  m = messages(a)\n  sleep 5ms\n  n = messages(a)\n",
			[]string{"done; m = 0; n = 0; a: 0 messages; p exited", "done; m = 1; n = 0; a: 0 messages; p exited", "done; m = 1; n = 1; a: 0 messages; p exited",
				"done; m = 2; n = 0; a: 0 messages; p exited", "done; m = 2; n = 1; a: 0 messages; p exited"}},
		{"age of a message before there is a ttl", "mailbox a\nshared n = 9\nprocess p:\n  choose x in 0..1\n  if x == 0:\n    send a 1\n  sleep 5ms\n  if x == 1:\n    send a 1\n  x = 0\n  set a ttl=5ms\n  n = messages(a)\n",
			[]string{"done; n = 0; a: 0 messages; p exited", "done; n = 1; a: 0 messages; p exited"}},
		{"ttl", "mailbox a\nshared n = 9\nprocess p:\n  choose x in 1..2\n  if x == 1:\n    set a ttl=10ms\n  else:\n    set a ttl=20ms\n  x = 0\n  send a 1\n  sleep 10ms\n  yield\n  n = messages(a)\n",
			[]string{"done; n = 0; a: 0 messages; p exited", "done; n = 1; a: 0 messages; p exited"}},
		{"label of a message", "mailbox a\nprocess p:\n  choose x in 1..3\n  if x == 1:\n    send a 1 topic \"red\"\n  else:\n    if x == 2:\n      send a 1 priority 3\n    else:\n      send a 1 urgent\n  x = 0\n" +
			"  try receive a topic \"red\" -> m nonblock\n  red = errno\n  try receive a priority 3 -> m nonblock\n  print errno\n",
			[]string{"done; a: 0 messages; p exited", "done; a: 1 message; p exited"}},
		{"counters that are looked at", "mailbox a capacity=1 overflow=drop-newest\nshared n = 9\nprocess p:\n  choose x in 1..2\n  repeat x:\n    send a x\n  x = 0\n  flush a\n  n = dropped(a)\n",
			[]string{"done; n = 1; a: 0 messages; p exited", "done; n = 2; a: 0 messages; p exited"}},
		{"end of a lease that is not the next", `
mailbox a
semaphore s
semaphore t
shared m = 9, n = 9
process p:
  send a 1
  send a 2
  lease a -> x
  extend a 10ms
  post s
  wait t
  m = leased(a)
  sleep 10ms
  n = messages(a)
  flush a
process q daemon:
  wait s
  lease a -> x
  choose x in 0..1
  if x == 0:
    extend a 10ms
  else:
    extend a 20ms
  x = 0
  post t
  wait s
`, []string{
			"done; m = 0; n = 2; a: 0 messages; s: 0; t: 0; p exited; q wait s … waits",
			"done; m = 1; n = 1; a: 0 messages; s: 0; t: 0; p exited; q wait s … waits",
			"done; m = 1; n = 1; a: 1 message; s: 0; t: 0; p exited; q wait s … waits",
			"done; m = 1; n = 2; a: 0 messages; s: 0; t: 0; p exited; q wait s … waits",
			"done; m = 2; n = 1; a: 0 messages; s: 0; t: 0; p exited; q wait s … waits",
			"done; m = 2; n = 1; a: 1 message; s: 0; t: 0; p exited; q wait s … waits",
			"done; m = 2; n = 2; a: 0 messages; s: 0; t: 0; p exited; q wait s … waits",
		}},
		{"how often a message was delivered", `
mailbox d
mailbox a max_deliveries=2 dead_letters=d
process p:
  send a 1
  choose x in 0..1
  if x == 1:
    lease a
    nack a
  x = 0
  lease a
  nack a
`, []string{"done; d: 0 messages; a: 1 message; p exited", "done; d: 1 message; a: 0 messages; p exited"}},
		{"where a leased message returns to", `
mailbox a order=priority
shared n = ""
process p:
  choose x in 0..1
  if x == 0:
    send a "A" priority 1
  send a "B"
  if x == 1:
    send a "A" priority 1
  x = 0
  lease a -> m
  set a order=fifo
  nack a
  receive a -> m
  n = m
  flush a
`, []string{`done; n = "A"; a: 0 messages; p exited`, `done; n = "B"; a: 0 messages; p exited`}},
		{"what a receipt says", `
mailbox a
shared n = ""
process p:
  send a 1
  choose x in 0..1
  if x == 0:
    receive a -> m
  else:
    flush a
  x = 0
  m = ""
  receipt a -> m
  n = m
`, []string{`done; n = "dropped"; a: 0 messages; p exited`, `done; n = "received p"; a: 0 messages; p exited`}},
		{"what has been begun", `
mailbox a framing=close
shared n = ""
process p:
  choose x in 1..2
  send a x
  x = 0
  close a
process q:
  receive a -> m
  n = m
`, []string{`done; n = "1"; a: 0 messages; p exited; q exited`, `done; n = "2"; a: 0 messages; p exited; q exited`}},
		{"who has opened what", "mailbox a\nprocess p:\n  choose x in 0..1\n  if x == 1:\n    open a\n  x = 0\n  try send a 1\n",
			[]string{"done; a: 0 messages; p exited", "done; a: 1 message; p exited"}},
	} {
		if got := finds(t, c.source); !slices.Equal(got, c.want) {
			t.Errorf("%s: endings\n\t%s\nwant\n\t%s", c.name, strings.Join(got, "\n\t"), strings.Join(c.want, "\n\t"))
		}
	}
}

func TestUnderFIFONobodyStarvesBehindPriorities(t *testing.T) {
	source, _ := scenarios.Named("priority-starvation")
	fair := strings.Replace(strings.Replace(string(source), " order=priority", "", 1), "expect starvation", "", 1)
	var out bytes.Buffer
	if err := Simulate(&out, "x", []byte(fair), SimulateOptions{Explore: true}); err != nil || !strings.Contains(out.String(), "Searched everything") {
		t.Errorf("without order=priority: %v\n%s", err, &out)
	}
}

func TestTimelineShowsLabelsAndExpiry(t *testing.T) {
	const source = "mailbox a ttl=5ms order=priority\nprocess p:\n  send a 1 priority 3\n  send a 2 priority 4\n  send a 3 topic \"red\"\n" +
		"  receive a from 7 -> x within 1ms\nprocess q uid=7:\n  sleep 10ms\n"
	var out bytes.Buffer
	_ = Simulate(&out, "x", []byte(source), SimulateOptions{})
	for _, want := range []string{`send a "1" priority 3`, `send a "3" topic "red"              ╎            ["2" "1" "3"]`, "receive a from 7 … waits", "✗ ETIMEDO…"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	out.Reset()
	_ = Simulate(&out, "x", []byte("mailbox a ttl=5ms\nprocess p:\n  send a 1\n  sleep 10ms\n"), SimulateOptions{JSON: true})
	want := `"events":[{"process":"a","text":"expires in a"}],"processes":[{"name":"p","pid":1,"state":"sleeping","line":4}],"objects":[{"name":"a","kind":"mailbox","messages":0,"bytes":0,"capacity":"1024"}]`
	if !strings.Contains(out.String(), want) {
		t.Errorf("no %s in\n%s", want, &out)
	}
}

func TestTimelineShowsLeasesAndKeepsLinesTogether(t *testing.T) {
	const source = "mailbox a lease_time=5ms framing=line\nmailbox b\nprocess p:\n  send a \"x\\n\"\n  lease a -> x\n  extend a 7ms\n  sleep 10ms\n  try ack a\n"
	var out bytes.Buffer
	if err := Simulate(&out, "x", []byte(source), SimulateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`send a "x\n"`, `["x\n"]`, `lease a → "x\n"`, "[] +1 leased", "extend a 7ms", "ack a ✗ ETIME"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	out.Reset()
	_ = Simulate(&out, "x", []byte(source), SimulateOptions{JSON: true})
	for _, want := range []string{`{"process":"a","text":"lease ends in a"}`, `"bytes":0,"leased":1,"capacity":"1024"}`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, &out)
		}
	}
}

func TestRefusalOfWhatIsOpenFromTheStartIsAViolation(t *testing.T) {
	got := finds(t, "mailbox a receivers=pair\nprocess p * 3:\n  send a me\n")
	want := []string{"violation: line 2: p3 is refused to have a open from the start: it could try to open it"}
	if !slices.Equal(got, want) {
		t.Errorf("endings %q, want %q", got, want)
	}
}

func FuzzParseNeverPanics(f *testing.F) {
	for _, s := range scenarios.All() {
		f.Add(s.Source)
	}
	f.Add([]byte("process p:\n\tif 1:\n\t\tyield\n\telse:\n\t\tyield\n"))
	f.Fuzz(func(t *testing.T, source []byte) {
		s, err := scenario.Parse("x", source)
		if (s == nil) == (err == nil) {
			t.Fatalf("scenario %v, error %v", s, err)
		}
	})
}

func TestJSONHasARowForEachStepAndTheOutcome(t *testing.T) {
	source, _ := scenarios.Named("philosophers")
	var out bytes.Buffer
	if err := Simulate(&out, "philosophers", source, SimulateOptions{Explore: true, JSON: true}); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(&out)
	var rows []timeline.Row
	var outcome scenario.Outcome
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
		var r timeline.Row
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
	if !errors.Is(err, scenario.ErrFound) || !strings.Contains(out.String(), "p waits for ever in receive a") {
		t.Errorf("error %v, output\n%s", err, &out)
	}
	if err := Simulate(&out, "x", []byte(source+"expect deadlock\n"), SimulateOptions{Explore: true}); err != nil {
		t.Errorf("expected deadlock: %v", err)
	}
	if err := Simulate(&out, "x", []byte("process p:\n  yield\nexpect deadlock\n"), SimulateOptions{Explore: true}); !errors.Is(err, scenario.ErrFound) {
		t.Errorf("no deadlock: %v; want ErrFound", err)
	}
}
