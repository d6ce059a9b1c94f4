package mailbox

import (
	"math"
	"testing"

	"ipcfs/objects"
)

func TestAmountsAreReadAsWritten(t *testing.T) {
	for _, c := range []struct {
		in   string
		want int64
		ok   bool
	}{
		{"0", 0, true},
		{"1", 1, true},
		{"007", 7, true},
		{"9223372036854775807", math.MaxInt64, true},
		{"zero", 0, true},
		{"max", objects.Unbounded, true},
		{"unbounded", objects.Unbounded, true},
		{"", 0, false},
		{"-1", 0, false},
		{"+1", 0, false},
		{" 1", 0, false},
		{"1 ", 0, false},
		{"1.5", 0, false},
		{"0x10", 0, false},
		{"1_000", 0, false},
		{"MAX", 0, false},
		{"9223372036854775808", 0, false},
		{"1K", 0, false},
	} {
		if got, ok := objects.ParseAmount(c.in); ok != c.ok || ok && got != c.want {
			t.Errorf("ParseAmount(%q) = %d, %v; want %d, %v", c.in, got, ok, c.want, c.ok)
		}
	}
}

func TestBytesTakeBinarySuffixes(t *testing.T) {
	for _, c := range []struct {
		in   string
		want int64
		ok   bool
	}{
		{"512", 512, true},
		{"1K", 1 << 10, true},
		{"1k", 1 << 10, true},
		{"64M", 64 << 20, true},
		{"3g", 3 << 30, true},
		{"2T", 2 << 40, true},
		{"8388607T", 8388607 << 40, true},
		{"max", objects.Unbounded, true},
		{"zero", 0, true},
		{"K", 0, false},
		{"k", 0, false},
		{"1KB", 0, false},
		{"1 K", 0, false},
		{"-1K", 0, false},
		{"1.5M", 0, false},
		{"1+", 0, false},
		{"1\x0b", 0, false},
		{"8388608T", 0, false},
		{"9223372036854775808", 0, false},
		{"99999999999999999999K", 0, false},
	} {
		if got, ok := objects.ParseBytes(c.in); ok != c.ok || ok && got != c.want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d, %v", c.in, got, ok, c.want, c.ok)
		}
	}
}

func TestEveryOverflowHasItsWord(t *testing.T) {
	for o := objects.Block; o <= objects.DropNewest; o++ {
		if got, ok := objects.Overflows.Parse(o.String()); !ok || got != o {
			t.Errorf("Overflows.Parse(%q) = %v, %v; want %v", o.String(), got, ok, o)
		}
	}
	for _, bad := range []string{"", "Block", "drop", "drop_oldest", "block "} {
		if got, ok := objects.Overflows.Parse(bad); ok {
			t.Errorf("Overflows.Parse(%q) = %v; want an error", bad, got)
		}
	}
}

func FuzzAmountsSurviveTheirOwnFormat(f *testing.F) {
	for _, s := range []string{"0", "max", "1024", "64M", "8388607T", "-1", "K", "١"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := objects.ParseBytes(s)
		if !ok {
			return
		}
		if n < 0 {
			t.Fatalf("ParseBytes(%q) = %d; want no negative amount", s, n)
		}
		if again, ok := objects.ParseAmount(objects.FormatAmount(n)); !ok || again != n {
			t.Fatalf("ParseAmount(FormatAmount(%d)) = %d, %v", n, again, ok)
		}
	})
}
