package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The program starts itself as a server, so the test binary has to be one as well.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == serveWord {
		if err := serve(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// How fast anything is, is no matter here.
func TestEveryPartMeasures(t *testing.T) {
	r, err := run(plan{rounds: 2, ops: 5, parked: 20, cycles: 1}, config{parts: partNames()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Comparisons {
		if c.Ours <= 0 || c.Theirs <= 0 || c.Ratio <= 0 {
			t.Errorf("%s against %s measured %v and %v µs, ratio %v; want positive numbers", c.What, c.Peer, c.Ours, c.Theirs, c.Ratio)
		}
	}
	for _, asJSON := range []bool{false, true} {
		var b strings.Builder
		if err := r.print(&b, asJSON); err != nil {
			t.Fatal(err)
		}
		wants := []string{"null read", "null write", "ping-pong", "FIFO", "one after another", "all at once", "resident memory", "open, write, close", "1 MiB at a time", "null, both ways", "into messages/ and back"}
		if os.Getuid() == 0 {
			wants = append(wants, "that send 64 bytes")
		}
		for _, want := range wants {
			if !strings.Contains(b.String(), want) {
				t.Errorf("the report (JSON %v) has no line for %q:\n%s", asJSON, want, b.String())
			}
		}
	}
}

func TestQuantileIsOfTheSortedValues(t *testing.T) {
	values := []uint32{40, 10, 30, 50, 20}
	for q, want := range map[float64]float64{0: 10, 0.25: 20, 0.5: 30, 1: 50} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile(%v, %v) = %v; want %v", values, q, got, want)
		}
	}
}
