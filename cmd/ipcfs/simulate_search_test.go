package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Of a state space without end.
const endless = "shared n = 0\nprocess p * 3:\n  repeat 1000000:\n    atomic n = n + 1\n"

func TestSearchWhoseTimeIsUpSaysThatItIsNotWhole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.ipc")
	if err := os.WriteFile(file, []byte(endless), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--explore", "--time", "1ms"}, {"--explore", "--states", "50"}, {"--outcomes", "--time", "1ms"}} {
		var out, errs bytes.Buffer
		status := run(append([]string{"simulate", file}, args...), &out, &errs)
		if status != 3 || !strings.Contains(errs.String(), "undecided, the search is not whole") {
			t.Errorf("%v: exit status %d, %q; want 3", args, status, &errs)
		}
		want := "Undecided: nothing wrong was found, but the search is not whole."
		if args[0] == "--outcomes" {
			want = "0 endings; there may be more, not everything was searched."
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("%v: output\n%s\nwant %q", args, &out, want)
		}
	}
}

func TestProgressIsToldOnATerminalAfterASecond(t *testing.T) {
	var out bytes.Buffer
	clock := time.Unix(0, 0)
	l := &lookout{w: &out, terminal: true, now: func() time.Time { return clock }, began: clock, said: clock, limit: 3 * time.Second}
	look := func(at time.Duration) bool {
		clock = time.Unix(0, 0).Add(at)
		for range looksEvery - 1 {
			l.goes(500, 7)
		}
		return l.goes(500, 7)
	}
	if !look(900*time.Millisecond) || out.Len() > 0 {
		t.Errorf("before a second has passed: %q", &out)
	}
	if !look(2*time.Second) || out.String() != "\r\033[K500 states, 7 steps deep, 250 states a second" {
		t.Errorf("after two seconds: %q", &out)
	}
	if look(3 * time.Second) {
		t.Error("the search goes on when its time is up")
	}
	l.end()
	if !strings.HasSuffix(out.String(), "second\r\033[K") {
		t.Errorf("the line is left: %q", &out)
	}
	if l := newLookout(&out); l.terminal {
		t.Error("a buffer is taken for a terminal")
	}
}
