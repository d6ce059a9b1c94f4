package cost

import (
	"math"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*math.Max(math.Abs(a), math.Abs(b)) }

// rates are round numbers, so that what follows from them can be seen.
var rates = Rates{
	Crossing: 100, Switch: 1000, Queue: 500, Long: 200, Request: 10000, Keep: 700,
	CopyByte: 0.1, PassByte: 0.3, KeepByte: 0.5, Map: 3000, Page: 250, Touch: 5,
}

func TestTimeIsEventsTimesRates(t *testing.T) {
	for _, c := range []struct {
		mechanism string
		size      int
		want      float64
	}{
		{"kernel queue", 1000, 2*500 + 2*0.1*1000},
		{"kernel queue", LongMessage, 2*500 + 2*200 + 2*0.1*LongMessage},
		{"ipcfs mailbox", 1000, 2*10000 + 2*0.3*1000 + 700 + 0.5*1000},
		{"segment", 1 << 20, 0},
		{"segment with notices", 1000, 4*500 + 2*5},
		{"segment with notices", 4097, 4*500 + 2*2*5},
		{"segment with semaphores", 4096, 4*10000 + 2*5},
		{"segment mapped anew", 8192, 4*500 + 4*100 + 2*(3000+2*250)},
	} {
		m, ok := MechanismNamed(c.mechanism)
		if !ok {
			t.Fatalf("no mechanism %q", c.mechanism)
		}
		if got := rates.Nanoseconds(m.Message(), c.size); !near(got, c.want) {
			t.Errorf("%s, %d bytes: %v ns, want %v", c.mechanism, c.size, got, c.want)
		}
	}
	// Who waits gives the processor up, and the message is not kept.
	m, _ := MechanismNamed("ipcfs mailbox")
	if got, want := rates.Nanoseconds(m.Message().Plus(m.Wait), 1000), 2*10000+2*0.3*1000; !near(got, want) {
		t.Errorf("a message that was waited for: %v ns, want %v", got, want)
	}
}

func TestFitIsTheLineClosestToWhatWasMeasured(t *testing.T) {
	for _, c := range []struct {
		sizes       []int
		times       []float64
		fixed, each float64
	}{
		{[]int{1, 100, 1000}, []float64{12, 210, 2010}, 10, 2}, // a line
		{[]int{100, 200}, []float64{30, 50}, 10, 0.2},
		{[]int{50}, []float64{70}, 70, 0},           // of one size nothing is known but it
		{[]int{10, 20}, []float64{100, 50}, 60, 0},  // 1/60 is the mean of 1/t, weighed with it
		{[]int{10, 100}, []float64{1, 20}, 0, 0.12}, // through the origin
	} {
		fixed, each := Fit(c.sizes, c.times)
		if !near(fixed, c.fixed) || !near(each, c.each) {
			t.Errorf("fit of %v at %v: %v + %v n, want %v + %v n", c.times, c.sizes, fixed, each, c.fixed, c.each)
		}
	}
	// Errors count in proportion, so the short ones are not lost beside the long one.
	fixed, each := Fit([]int{1, 10, 50000, 100000}, []float64{109, 190, 300000, 1200000})
	if math.Abs(fixed-100) > 20 || each < 6 || each > 12 {
		t.Errorf("fit = %v + %v n, want about 100 + 6 to 12 n", fixed, each)
	}
}

func TestBreakEvenLiesBetweenTheSizesAroundIt(t *testing.T) {
	sizes := []int{100, 200, 400, 800}
	for _, c := range []struct {
		a, b []float64
		size float64
		ok   bool
	}{
		{[]float64{1, 2, 4, 8}, []float64{3, 3, 3, 3}, 300, true},
		{[]float64{1, 2, 3, 8}, []float64{3, 3, 3, 3}, 400, true}, // a draw
		{[]float64{4, 5, 6, 7}, []float64{3, 3, 3, 3}, 100, true}, // always
		{[]float64{1, 2, 3, 4}, []float64{5, 5, 5, 5}, 0, false},  // never
		{[]float64{9, 9, 9, 2}, []float64{3, 3, 3, 3}, 0, false},  // not at the last
		{[]float64{9, 1, 5, 9}, []float64{3, 3, 3, 3}, 300, true}, // for good only the second time
	} {
		size, ok := BreakEven(sizes, c.a, c.b)
		if !near(size, c.size) || ok != c.ok {
			t.Errorf("break-even of %v and %v = %v, %v; want %v, %v", c.a, c.b, size, ok, c.size, c.ok)
		}
	}
	if size, ok := BreakEven(nil, nil, nil); ok {
		t.Errorf("break-even of nothing = %v", size)
	}
}

func TestReusedSegmentBeatsCopyingFromSomeSizeOn(t *testing.T) {
	times := func(name string, sizes []int) (all []float64) {
		m, _ := MechanismNamed(name)
		for _, n := range sizes {
			all = append(all, rates.Nanoseconds(m.Message(), n))
		}
		return all
	}
	// Two notices more, 1000 ns, buy two copies at 0.1 ns a byte: 5000 bytes, and 50 more
	// for each touch of two pages.
	sizes := []int{4100, 8100}
	size, ok := BreakEven(sizes, times("kernel queue", sizes), times("segment with notices", sizes))
	if !ok || !near(size, 5100) {
		t.Errorf("break-even at %v, %v; want 5100", size, ok)
	}
	// A page costs 500 ns to map on both sides, and 819 ns to copy twice.
	sizes = []int{4096, 1 << 20}
	if size, ok := BreakEven(sizes, times("kernel queue", sizes), times("segment mapped anew", sizes)); !ok || size <= 4096 {
		t.Errorf("break-even of mapping anew at %v, %v", size, ok)
	}
}
