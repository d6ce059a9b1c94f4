package main

import (
	"strings"
	"testing"

	"ipcfs/kernelsim/cost"
)

func TestCalibrationWithoutAMountComparesTheKernelsOwn(t *testing.T) {
	var out strings.Builder
	if err := calibrate(&out, ""); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{"crossing into the kernel", "segment with notices kernel queue", "segment mapped anew kernel queue", "1048576"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(text, "ipcfs mailbox") {
		t.Errorf("an ipcfs mailbox without a mount\n%s", &out)
	}
}

func TestRatesAreWhatIsLeftOfTheMeasurements(t *testing.T) {
	const page = 4096
	pages := float64(maxMeasured / page)
	line := func(fixed, each float64) map[int]float64 {
		m := map[int]float64{}
		for _, n := range fitted {
			m[n] = fixed + each*float64(n)
		}
		return m
	}
	queued := line(2000, 0.25)
	queued[1] = 1500
	got := times{
		"crossing":   {0: 100},
		"round trip": {0: 4400},
		"queued":     queued,
		"request":    {0: 9000},
		"refused":    line(9100, 0.5),
		"renewed":    line(9700, 1.25),
		"mappings":   {page: 2 * (200 + 3000 + 50), maxMeasured: 2 * (200 + 3000 + 50*pages)},
		"touches":    {maxMeasured: 2 * 4 * pages},
	}.rates(page)
	want := cost.Rates{
		Crossing: 100, Switch: 2000, Queue: 750, Long: 250, Request: 9000, Keep: 600,
		CopyByte: 0.125, PassByte: 0.5, KeepByte: 0.75, Map: 3000, Page: 50, Touch: 4,
	}
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"Crossing", got.Crossing, want.Crossing}, {"Switch", got.Switch, want.Switch}, {"Queue", got.Queue, want.Queue},
		{"Long", got.Long, want.Long}, {"Request", got.Request, want.Request}, {"Keep", got.Keep, want.Keep},
		{"CopyByte", got.CopyByte, want.CopyByte}, {"PassByte", got.PassByte, want.PassByte}, {"KeepByte", got.KeepByte, want.KeepByte},
		{"Map", got.Map, want.Map}, {"Page", got.Page, want.Page}, {"Touch", got.Touch, want.Touch},
	} {
		if c.got < c.want*0.999 || c.got > c.want*1.001 {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestBreakEvenIsSaidInBytes(t *testing.T) {
	flat, rising, dear := map[int]float64{}, map[int]float64{}, map[int]float64{}
	for _, n := range sizes() {
		flat[n], rising[n], dear[n] = 20<<10, float64(n), 2e9
	}
	for _, c := range []struct {
		a, b map[int]float64
		want string
	}{
		{rising, flat, "from 20.0 KiB"},
		{dear, flat, "already at 256"},
		{rising, dear, "not up to 1048576"},
	} {
		if got := breakEven(c.a, c.b); got != c.want {
			t.Errorf("break-even %q, want %q", got, c.want)
		}
	}
}
