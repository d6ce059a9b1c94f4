package main

import (
	"fmt"
	"runtime"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// A machine is what the times of a report hold for.
type machine struct {
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Arch   string `json:"arch"`
	Go     string `json:"go"`
}

func thisMachine() machine {
	m := machine{CPUs: runtime.NumCPU(), Arch: runtime.GOARCH, Go: runtime.Version()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	return m
}

// A report is the outcome of a run.
type report struct {
	Machine     machine      `json:"machine"`
	Comparisons []comparison `json:"comparisons"`
	Sizes       []size       `json:"sizes,omitempty"`
	plan        plan
}

// A comparison is ipcfs against one peer: medians in microseconds.
type comparison struct {
	What   string  `json:"what"`
	Peer   string  `json:"peer"`
	Ours   float64 `json:"ours_us"`
	Theirs float64 `json:"theirs_us"`
	Ratio  float64 `json:"ratio"`
	Low    float64 `json:"ratio_low"`  // the middle half of the rounds
	High   float64 `json:"ratio_high"` // lies between these
	Target float64 `json:"target,omitempty"`
	Met    *bool   `json:"met,omitempty"`
}

// A size is a number of bytes.
type size struct {
	What   string  `json:"what"`
	Bytes  float64 `json:"bytes"`
	Target float64 `json:"target,omitempty"`
	Met    *bool   `json:"met,omitempty"`
}

// met says whether value keeps to target; nil if there is none.
func met(value, target float64) *bool {
	if target == 0 {
		return nil
	}
	ok := value <= target
	return &ok
}

func (r *report) compare(what, peer string, ours, theirs samples, target float64) {
	ratio, low, high := compare(ours, theirs)
	r.add(comparison{What: what, Peer: peer, Ours: ours.median(), Theirs: theirs.median(), Ratio: ratio, Low: low, High: high, Target: target})
}

func (r *report) add(c comparison) {
	c.Met = met(c.Ratio, c.Target)
	r.Comparisons = append(r.Comparisons, c)
}

func (r *report) size(what string, bytes, target float64) {
	r.Sizes = append(r.Sizes, size{what, bytes, target, met(bytes, target)})
}

func (r *report) table() string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "%d CPUs, %s, %s, %s\n", m.CPUs, m.Kernel, m.Arch, m.Go)
	fmt.Fprintf(&b, "%d rounds of %d operations, %d of %d where sustained; peers take turns; medians in µs; in brackets the middle half of the rounds\n\n",
		r.plan.rounds, r.plan.ops, r.plan.stretches(), stretch*r.plan.ops)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(what, ours, peer, theirs, ratio, spread, target, verdict string) {
		fmt.Fprintln(w, strings.TrimRight(strings.Join([]string{what, ours, peer, theirs, ratio, spread, target, verdict}, "\t"), "\t"))
	}
	line("", "ipcfs", "peer", "", "ratio", "", "target", "")
	for _, c := range r.Comparisons {
		target := ""
		if c.Target != 0 {
			target = fmt.Sprintf("≤ %.2f×", c.Target)
		}
		line(c.What, fmt.Sprintf("%.1f", c.Ours), c.Peer, fmt.Sprintf("%.1f", c.Theirs),
			fmt.Sprintf("%.2f×", c.Ratio), fmt.Sprintf("[%.2f–%.2f]", c.Low, c.High), target, verdict(c.Met))
	}
	for _, s := range r.Sizes {
		target := ""
		if s.Target != 0 {
			target = fmt.Sprintf("≤ %.0f B", s.Target)
		}
		line(s.What, fmt.Sprintf("%.0f B", s.Bytes), "", "", "", "", target, verdict(s.Met))
	}
	w.Flush()
	fmt.Fprintf(&b, "\n%s\n", r.verdict())
	return b.String()
}

func verdict(met *bool) string {
	switch {
	case met == nil:
		return ""
	case *met:
		return "met"
	}
	return "MISSED"
}

// verdict is the last line of the table.
func (r *report) verdict() string {
	var targets int
	var missed []string
	count := func(what string, met *bool) {
		if met == nil {
			return
		}
		targets++
		if !*met {
			missed = append(missed, what)
		}
	}
	for _, c := range r.Comparisons {
		count(c.What+" against "+c.Peer, c.Met)
	}
	for _, s := range r.Sizes {
		count(s.What, s.Met)
	}
	switch {
	case targets == 0:
		return "No target applies."
	case len(missed) == 0:
		return fmt.Sprintf("All %d targets met.", targets)
	}
	return fmt.Sprintf("%d of %d targets missed: %s.", len(missed), targets, strings.Join(missed, "; "))
}
