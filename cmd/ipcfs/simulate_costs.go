package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"ipcfs/kernelsim/cost"
)

// Measurements are medians over rounds, in which all candidates take turns: whatever
// else the machine does, and how deep its processors sleep, hits them alike.
const (
	calibrationRounds = 15
	roundTime         = time.Millisecond // of one candidate
	minRepeats        = 3
)

// A candidate is something to be timed, with messages of size bytes.
type candidate struct {
	name string
	size int
	do   func(size int) error
}

// times are what was measured, in nanoseconds: by name and by size.
type times map[string]map[int]float64

// medians times the candidates.
func medians(all []candidate) (times, error) {
	runs := make([][]float64, len(all))
	for round := range calibrationRounds + 1 {
		for i, c := range all {
			n := 0
			start := time.Now()
			for n < minRepeats || time.Since(start) < roundTime {
				if err := c.do(c.size); err != nil {
					return nil, fmt.Errorf("measure %s of %d bytes: %w", c.name, c.size, err)
				}
				n++
			}
			if round > 0 { // the first warms up
				runs[i] = append(runs[i], float64(time.Since(start))/float64(n))
			}
		}
	}
	result := times{}
	for i, c := range all {
		slices.Sort(runs[i])
		if result[c.name] == nil {
			result[c.name] = map[int]float64{}
		}
		result[c.name][c.size] = runs[i][len(runs[i])/2]
	}
	return result, nil
}

// fit is the line through what was measured of name at those of the sizes of fitted that
// are at least least.
func (t times) fit(name string, least int) (fixed, each float64) {
	var sizes []int
	var took []float64
	for _, n := range fitted {
		if n < least {
			continue
		}
		if ns, ok := t[name][n]; ok {
			sizes, took = append(sizes, n), append(took, ns)
		}
	}
	return cost.Fit(sizes, took)
}

// fitted are the sizes of the messages that costs by the byte are calibrated with. None
// of them is predicted.
var fitted = []int{1, 40 << 10, 640 << 10}

// sizes are the sizes that are predicted and measured: powers of two, which are printed,
// and between them three halves, only for the break-even.
func sizes() (all []int) {
	for n := 256; n < maxMeasured; n *= 2 {
		all = append(all, n, n/2*3)
	}
	return append(all, maxMeasured)
}

// events are the candidates that rates needs.
func (b *bench) events() []candidate {
	all := []candidate{
		{"crossing", 0, func(int) error { unix.Getppid(); return nil }},
		{"round trip", 0, b.roundTrip},
		{"mappings", b.pageSize, b.mappings},
		{"mappings", maxMeasured, b.mappings},
		{"touches", maxMeasured, b.touches},
	}
	for _, n := range fitted {
		if n <= b.longest {
			all = append(all, candidate{"queued", n, b.queued})
		}
		if m := b.mount; m != nil {
			all = append(all, candidate{"refused", n, m.refuses(b)}, candidate{"renewed", n, m.renews(b)})
		}
	}
	if m := b.mount; m != nil {
		all = append(all, candidate{"request", 0, m.receivesNothing(b)})
	}
	return all
}

// rates are what events cost, from what was measured of them.
func (t times) rates(pageSize int) cost.Rates {
	pages := float64(maxMeasured / pageSize)
	r := cost.Rates{Crossing: t["crossing"][0]}
	r.Switch = max(0, t["round trip"][0]-4*r.Crossing) / 2
	r.Queue = t["queued"][1] / 2
	long, longByte := t.fit("queued", cost.LongMessage)
	r.Long, r.CopyByte = max(0, long/2-r.Queue), longByte/2
	one, all := t["mappings"][pageSize]/2, t["mappings"][maxMeasured]/2
	r.Page = max(0, all-one) / (pages - 1)
	r.Map = max(0, one-2*r.Crossing-r.Page)
	r.Touch = t["touches"][maxMeasured] / 2 / pages
	if _, ok := t["request"]; ok {
		r.Request = t["request"][0]
		var refused, renewed, renewedByte float64
		refused, r.PassByte = t.fit("refused", 0)
		renewed, renewedByte = t.fit("renewed", 0)
		r.Keep, r.KeepByte = max(0, renewed-refused), max(0, renewedByte-r.PassByte)
	}
	return r
}

// A way is a mechanism that is predicted and measured.
type way struct {
	cost.Mechanism
	do  func(n int) error
	max int // the longest message

	predicted, measured map[int]float64 // by size, in nanoseconds
}

// ways are those there are here.
func (b *bench) ways() []*way {
	all := []*way{
		{do: b.queued, max: b.longest, Mechanism: mechanism("kernel queue")},
		{do: b.reused, max: maxMeasured, Mechanism: mechanism("segment with notices")},
		{do: b.anew, max: maxMeasured, Mechanism: mechanism("segment mapped anew")},
	}
	if m := b.mount; m != nil {
		all = append(all,
			&way{do: m.mailbox(b), max: maxMailbox, Mechanism: mechanism("ipcfs mailbox")},
			&way{do: m.semaphores(b), max: maxMeasured, Mechanism: mechanism("segment with semaphores")})
	}
	return all
}

func mechanism(name string) cost.Mechanism {
	m, ok := cost.MechanismNamed(name)
	if !ok {
		panic("no mechanism " + name)
	}
	return m
}

// calibrate measures the machine, predicts from that what messages cost, measures
// them, and prints both.
func calibrate(w io.Writer, dir string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	b, err := newBench(dir)
	if err != nil {
		return fmt.Errorf("calibrate: %w", err)
	}
	defer b.close()
	ways := b.ways()
	all := b.events()
	for _, n := range sizes() {
		for _, way := range ways {
			if n <= way.max {
				all = append(all, candidate{way.Name, n, way.do})
			}
		}
	}
	took, err := medians(all)
	if err != nil {
		return fmt.Errorf("calibrate: %w", err)
	}
	rates := took.rates(b.pageSize)
	for _, way := range ways {
		way.measured, way.predicted = took[way.Name], map[int]float64{}
		for n := range way.measured {
			way.predicted[n] = rates.Nanoseconds(way.Message(), n)
		}
	}
	writeRates(w, rates, b.mount != nil)
	if err := writeTimes(w, ways); err != nil {
		return err
	}
	return writeBreakEvens(w, rates, ways)
}

func writeRates(w io.Writer, r cost.Rates, mount bool) {
	line := func(what string, ns float64) { fmt.Fprintf(w, "  %-48s %8.0f ns\n", what, ns) }
	fmt.Fprintf(w, "On this machine, medians of %d runs:\n", calibrationRounds)
	line("crossing into the kernel and back", r.Crossing)
	line("switch to another thread", r.Switch)
	line("short message into a kernel queue, or out of it", r.Queue)
	line(fmt.Sprintf("the same, from %d bytes on, besides", cost.LongMessage), r.Long)
	line("copy of 4096 bytes there", r.CopyByte*4096)
	line("mapping and unmapping", r.Map)
	line("first touch of a mapped page", r.Page)
	line("further touch", r.Touch)
	if mount {
		line("request to the daemon, and its reply", r.Request)
		line("copy of 4096 bytes to the daemon, or back", r.PassByte*4096)
		line("memory for a message, in the daemon", r.Keep)
		line("copy of 4096 bytes into it", r.KeepByte*4096)
	}
	fmt.Fprintln(w)
}

func writeTimes(w io.Writer, ways []*way) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	header, under := "µs a message\t", "bytes\t"
	for _, way := range ways {
		kind, how, _ := strings.Cut(way.Name, " ")
		header += kind + "\t" + how + "\t"
		under += "predicted\tmeasured\t"
	}
	fmt.Fprintf(t, "%s\n%s\n", header, under)
	for _, n := range sizes() {
		if n&(n-1) != 0 {
			continue
		}
		fmt.Fprintf(t, "%d\t", n)
		for _, way := range ways {
			if n > way.max {
				fmt.Fprint(t, "–\t–\t")
				continue
			}
			fmt.Fprintf(t, "%.1f\t%.1f\t", way.predicted[n]/1e3, way.measured[n]/1e3)
		}
		fmt.Fprintln(t)
	}
	fmt.Fprintln(t)
	return t.Flush()
}

// choices are what a user may choose between: what copies, and what does not.
var choices = [][2]string{
	{"kernel queue", "segment with notices"},
	{"kernel queue", "segment mapped anew"},
	{"ipcfs mailbox", "segment with semaphores"},
	{"ipcfs mailbox", "segment with notices"},
	{"ipcfs mailbox", "segment mapped anew"},
}

// writeBreakEvens writes from which size on not to copy is faster.
func writeBreakEvens(w io.Writer, r cost.Rates, ways []*way) error {
	named := func(name string) *way {
		for _, way := range ways {
			if way.Name == name {
				return way
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "faster\tthan\tpredicted\tmeasured\teach 4096 bytes cost")
	for _, c := range choices {
		a, b := named(c[0]), named(c[1])
		if a == nil || b == nil {
			continue
		}
		more := func(way *way) float64 {
			m := way.Message()
			return (r.Nanoseconds(m, maxMeasured) - r.Nanoseconds(m, maxMeasured/2)) / (maxMeasured / 2 / 4096)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.0f ns against %.0f ns\n", b.Name, a.Name,
			breakEven(a.predicted, b.predicted), breakEven(a.measured, b.measured), more(b), more(a))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprint(w, `
One message is one send and one receive in one process, so nobody waits. The kernel queue
is a UNIX socket that keeps message boundaries. A segment is written and read in place, a
byte of each page; notices are messages of a byte in two such queues, and say "full" and
"empty". Mapped anew is mapped, touched and unmapped by both sides, with notices.
Predictions come from the events above and their numbers (--costs); what costs by the byte
was measured with other sizes.
`)
	if named("ipcfs mailbox") != nil {
		fmt.Fprint(w, `Semaphores are those of ipcfs. What a request to the daemon takes is not the same in each
run: it depends on which processor the scheduler gives the daemon.
`)
	}
	return nil
}

// breakEven says from which size on b is faster than a, where both are known.
func breakEven(a, b map[int]float64) string {
	var both []int
	var tookA, tookB []float64
	for _, n := range sizes() {
		x, known := a[n]
		if y, too := b[n]; known && too {
			both, tookA, tookB = append(both, n), append(tookA, x), append(tookB, y)
		}
	}
	switch size, ok := cost.BreakEven(both, tookA, tookB); {
	case !ok:
		return fmt.Sprintf("not up to %d", both[len(both)-1])
	case size <= float64(both[0]):
		return fmt.Sprintf("already at %d", both[0])
	default:
		return fmt.Sprintf("from %.1f KiB", size/1024)
	}
}
