package kernelsim

import (
	"bytes"
	"strings"
	"testing"

	"ipcfs/kernelsim/scenarios"
)

// What the words of the language that the generator does not write do in a random run, a
// search has seen.
func TestRandomRunsOfEachWordAreAmongThoseSearched(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"peterson", "spin-lock", "monitor", "priority-inversion", "priority-inheritance"} {
		source, ok := scenarios.Named(name)
		if !ok {
			t.Fatalf("no scenario %s", name)
		}
		if complete, missed := runsAreSearched(t, source, 100/slow); !complete || missed != "" {
			t.Errorf("%s: searched whole: %t; %s", name, complete, missed)
		}
	}
}

func TestWordsDoWhatTheManualSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, source, want string }{
		{"an element that is not there", "semaphore f * 2\nprocess p:\n  i = 3\n  wait f[i]\n", "line 4: p: wait f[i]: there is no element 3: they are 1 to 2."},
		{"an element that is not there, in a condition", "shared a * 2 = 0\nprocess p:\n  yield\nfinally a[0] == 0\n", "there is no element 0: they are 1 to 2."},
		{"recursion without end", "procedure f(n):\n  f(n + 1)\nprocess p:\n  f(1)\n", "line 2: p: f(n + 1): procedures call procedures more than 100 deep."},
		{"recursion with an end", "shared r = 0\nprocedure fac(n):\n  if n == 0:\n    return 1\n  fac(n - 1) -> x\n  return n * x\nprocess p:\n  fac(5) -> x\n  r = x\nfinally r == 120\n", "nothing violated"},
		{"a return out of loops", "shared r = 0\nprocedure f():\n  repeat i in 1..5:\n    repeat 2:\n      if i == 3:\n        return i\nprocess p:\n  repeat 2:\n    f() -> x\n    r = r + x\nfinally r == 6\n", "nothing violated"},
		{"variables of a procedure", "procedure f(x):\n  y = x\n  x = 7\n  assert me == 1\nprocess p:\n  x = 1\n  y = 2\n  f(5)\n  assert x == 1 and y == 2\n", "nothing violated"},
		{"errno of a procedure", "mailbox a\nprocedure f():\n  try receive a nonblock\nprocess p:\n  f()\n  assert errno == EAGAIN\n", "nothing violated"},
		{"what a procedure has open", "mailbox a\nprocedure put(x):\n  send a x\nprocess p:\n  put(1)\nprocess q:\n  receive a -> x\n  assert x == 1\n", "nothing violated"},
		{"a block in one step", "shared n = 0, sum = 0\nprocess p * 2:\n  atomic:\n    repeat i in 1..3:\n      n = n + 1\n    sum = sum + n\nfinally n == 6 and sum == 9\n", "nothing violated"},
		{"a block that fails", "shared n = 0\nprocess p:\n  atomic:\n    n = 1\n    assert n == 2\n", "line 5: p: assert n == 2: it does not hold."},
		{"a block without end", "process p:\n  atomic:\n    while 1 == 1:\n      x = 1\n", "the loop goes on without an operation"},
		{"cas of an element", "shared a * 2 = 0\nprocess p * 2:\n  cas a[me] 0, me -> x\n  assert x == 1\n  cas a[me] 0, 5 -> x\n  assert x == 0 and a[me] == me\n", "nothing violated"},
		{"cas and nothing kept", "shared a = 0\nprocess p * 3:\n  cas a 0, me\nfinally a > 0\n", "nothing violated"},
		{"a condition that is looked at once", "monitor m:\n  shared n = 0\n  condition c\n  procedure put():\n    n = n + 1\n    signal c\n  procedure take():\n    if n == 0:\n      wait c\n    n = n - 1\nprocess p * 2:\n  put()\nprocess q * 2:\n  take()\nalways n >= 0\n", "line 15: violated: always n >= 0"},
		{"a condition that is looked at again", "monitor m:\n  shared n = 0\n  condition c\n  procedure put():\n    n = n + 1\n    signal c\n  procedure take():\n    while n == 0:\n      wait c\n    n = n - 1\nprocess p * 2:\n  put()\nprocess q * 2:\n  take()\nalways n >= 0\nfinally n == 0\n", "nothing violated"},
		{"a condition that is looked at once, handed over", "monitor m hoare:\n  shared n = 0\n  condition c\n  procedure put():\n    n = n + 1\n    signal c\n  procedure take():\n    if n == 0:\n      wait c\n    n = n - 1\nprocess p * 2:\n  put()\nprocess q * 2:\n  take()\nalways n >= 0\nfinally n == 0\n", "nothing violated"},
		{"one at a time in a monitor", "monitor m:\n  procedure f():\n    enter s\n    g()\n    leave s\n  procedure g():\n    yield\nprocess p * 3:\n  f()\nprocess q:\n  g()\nalways inside(s) <= 1\n", "nothing violated"},
		{"a return out of a monitor", "monitor m:\n  procedure f():\n    repeat 2:\n      return 1\nprocess p * 2:\n  f()\n", "nothing violated"},
		{"a death in a monitor", "monitor m:\n  procedure f():\n    exit\nprocess p * 2:\n  f()\n", "p2 waits for ever in enter m"},
		{"a kill of who waits for a condition", "monitor m:\n  condition c\n  procedure f():\n    wait c\n  procedure g():\n    signal c\nprocess p daemon:\n  f()\nprocess q:\n  while waiting(c) == 0:\n    yield\n  kill p\n  g()\n", "nothing violated"},
		{"a kill of who is in a monitor", "monitor m:\n  procedure f():\n    yield\nprocess p daemon:\n  f()\nprocess q:\n  kill p\n  f()\n", "q waits for ever in enter m"},
		{"nobody tells", "monitor m:\n  condition c\n  procedure f():\n    wait c\nprocess p:\n  f()\n", "p waits for ever in wait c"},
		{"all are told", "monitor m:\n  condition c\n  shared go = 0\n  procedure f():\n    while go == 0:\n      wait c\n  procedure g():\n    go = 1\n    broadcast c\nprocess p * 3:\n  f()\nprocess q:\n  g()\n", "nothing violated"},
		{"one of several is told", "monitor m:\n  condition c\n  shared go = 0\n  procedure f():\n    while go == 0:\n      wait c\n  procedure g():\n    go = 1\n    signal c\nprocess p * 3:\n  f()\nprocess q:\n  g()\n", "waits for ever in wait c"},
		{"the higher goes first", "shared n = 0\nprocess low:\n  assert n == 2\nprocess high priority=1:\n  n = 1\n  n = 2\n", "nothing violated"},
		{"inversion at a monitor", "monitor m:\n  procedure f():\n    yield\nprocess low priority=1:\n  f()\nprocess middle priority=2:\n  sleep 1ms\n  forever:\n    yield\nprocess high priority=3:\n  sleep 1ms\n  f()\n", "high can wait for ever in enter m"},
		{"inheritance at a monitor", "monitor m protocol=inherit:\n  procedure f():\n    yield\nprocess low priority=1:\n  f()\nprocess middle priority=2:\n  sleep 1ms\n  forever:\n    yield\nprocess high priority=3:\n  sleep 1ms\n  f()\n", "nothing violated"},
		{"what comes some time", "shared n = 0\nprocess p:\n  n = 1\n  n = 2\neventually n == 1\n", "nothing violated"},
		{"what does not come before the end", "shared n = 0\nprocess p:\n  choose i in 1..2\n  n = i\neventually n == 1\n", "Violation after 3 steps (no schedule is shorter): line 5: violated: eventually n == 1: the run ends without it."},
		{"what need not come", "semaphore s value=1\nshared n = 0\nprocess p:\n  wait s\n  n = 1\nprocess q * 2 daemon:\n  forever:\n    try wait s nonblock\n    if errno == 0:\n      post s\n    yield\neventually n == 1\n", "nothing violated"},
		{"what others keep from coming", "shared n = 0, ball = 0\nprocess p:\n  forever:\n    ball = 1\n    if ball == 2:\n      n = 1\nprocess q:\n  forever:\n    ball = 2\neventually n == 1\n", "eventually n == 1: from here on the run can go on for ever without it"},
		{"what an unfair scheduler would keep from coming", "shared n = 0\nprocess p:\n  n = 1\nprocess q:\n  forever:\n    yield\neventually n == 1\n", "nothing violated"},
		{"an array of mailboxes", "mailbox box * 2 capacity=1\nprocess p * 2:\n  send box[3 - me] me\n  receive box[me] -> x\n  assert x == 3 - me\nfinally messages(box[1]) + messages(box[2]) == 0\n", "nothing violated"},
		{"close of one of an array", "mailbox box * 2\nprocess p:\n  open box[2]\n  close box[1]\n  send box[2] 1\n", "nothing violated"},
	} {
		var out bytes.Buffer
		_ = Simulate(&out, "x", []byte(c.source), SimulateOptions{Explore: true})
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: want %q in\n%s", c.name, c.want, &out)
		}
	}
}
