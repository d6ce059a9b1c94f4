package kernelsim

import (
	"bytes"
	"strings"
	"testing"
)

func TestWhatMayGoOnForEverIsFound(t *testing.T) {
	const retry = `
process %s:
  done = 0
  while done == 0:
    wait %s
    try wait %s nonblock
    if errno == 0:
      done = 1
      post %s
    post %s
`
	philosopher := func(name, first, second string) string {
		return strings.NewReplacer("process %s", "process "+name, "wait %s\n", "wait "+first+"\n", "wait %s nonblock", "wait "+second+" nonblock",
			"      post %s", "      post "+second, "    post %s", "    post "+first).Replace(retry)
	}
	for _, c := range []struct{ name, source, want string }{
		{"a flag that nobody sets", "shared flag = 0\nprocess p:\n  while flag == 0:\n    yield\n", "Livelock after 0 steps (from here on, for ever): p can go on for ever and come to no end."},
		{"philosophers that put back", "semaphore l value=1\nsemaphore r value=1\n" + philosopher("p", "l", "r") + philosopher("q", "r", "l"),
			"(from here on, for ever): p, q can go on for ever and come to no end."},
		{"a flag that is set", "shared flag = 0\nprocess p:\n  while flag == 0:\n    yield\nprocess q:\n  yield\n  flag = 1\n", "no livelock"},
		{"a flag that is set in time", "shared flag = 0\nprocess p:\n  while flag == 0:\n    yield\nprocess q:\n  sleep 5ms\n  flag = 1\n", "no livelock"},
		{"a kill on its way", "process p daemon:\n  forever:\n    yield\nprocess q:\n  kill p\nprocess r:\n  while killed(p) == 0:\n    yield\n", "no livelock"},
		{"dead letters on their way", "mailbox d\nmailbox a max_deliveries=1 dead_letters=d\nprocess p:\n  send a 1\n  lease a\n  nack a\n  while messages(d) == 0:\n    yield\n", "no livelock"},
		{"a daemon", "shared n = 0\nprocess p daemon:\n  forever:\n    yield\nprocess q:\n  n = 1\n", "no livelock"},
		{"who is to go on", "process p:\n  forever:\n    yield\n", "no livelock"},
	} {
		var out bytes.Buffer
		_ = Simulate(&out, "x", []byte(c.source), SimulateOptions{Explore: true})
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: want %q in\n%s", c.name, c.want, &out)
		}
	}
}
