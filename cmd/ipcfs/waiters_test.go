package main

import (
	"strings"
	"testing"
)

// claims reads lines of .ipcfs/owners or .ipcfs/waiters in short: PID OBJECT OPERATION,
// and for locks TYPE, FIRST, LAST, OWNER.
func claims(t *testing.T, text string) []*claim {
	t.Helper()
	var all []*claim
	for line := range strings.SplitSeq(text, ";") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		c, ok := parseClaim(append([]string{f[1], f[0], "0", "sh", f[2], "1.0"}, f[3:]...))
		if !ok {
			t.Fatalf("bad claim %q", line)
		}
		all = append(all, c)
	}
	return all
}

func TestDeadlocksAreCyclesThatNothingCanEnd(t *testing.T) {
	for _, c := range []struct{ name, owners, waiters, want string }{
		{"nobody waits", "1 a hold", "", ""},
		{"a queue", "1 a hold", "2 a hold; 3 a hold", ""},
		{"two in a circle", "1 a hold; 2 b hold", "1 b hold; 2 a hold",
			"1 (sh) waits for b, held by 2 (sh); 2 (sh) waits for a, held by 1 (sh)"},
		{"and one behind them", "1 a hold; 2 b hold", "3 a hold; 1 b hold; 2 a hold",
			"1 (sh) waits for b, held by 2 (sh); 2 (sh) waits for a, held by 1 (sh)"},
		{"one by itself", "1 a hold", "1 a hold", "1 (sh) waits for a, held by 1 (sh)"},
		{"another unit may come", "1 a hold; 3 a hold; 2 b hold", "1 b hold; 2 a hold", ""},
		{"all units are in circles", "1 a hold; 3 a hold; 2 b hold", "1 b hold; 3 b hold; 2 a hold",
			"1 (sh) waits for b, held by 2 (sh); 2 (sh) waits for a, held by 1 (sh)"},
		{"anybody may post", "1 a hold", "1 a wait", ""},
		{"anybody may send to the other thread", "1 a hold; 2 b hold", "1 b hold; 1 m receive; 2 a hold", ""},
		{"processes that nobody sees", "0 a hold; 0 b hold", "0 b hold; 0 a hold", ""},
		{"locks", "1 f flock exclusive 0 max a1; 2 g fcntl exclusive 0 9 a2", "1 g fcntl shared 9 20 a1; 2 f flock shared 0 max a2",
			"1 (sh) waits for g, held by 2 (sh); 2 (sh) waits for f, held by 1 (sh)"},
		{"other ranges", "1 f flock exclusive 0 max a1; 2 g fcntl exclusive 0 9 a2", "1 g fcntl shared 10 20 a1; 2 f flock shared 0 max a2", ""},
		{"locks that share", "1 f fcntl shared 0 9 a1; 2 g fcntl shared 0 9 a2", "1 g fcntl shared 0 9 a1; 2 f fcntl shared 0 9 a2", ""},
		{"an upgrade", "1 f flock shared 0 max a1; 2 f flock shared 0 max a2", "1 f flock exclusive 0 max a1", ""},
		{"two upgrades", "1 f flock shared 0 max a1; 2 f flock shared 0 max a2", "1 f flock exclusive 0 max a1; 2 f flock exclusive 0 max a2",
			"1 (sh) waits for f, held by 2 (sh); 2 (sh) waits for f, held by 1 (sh)"},
		{"all shared locks have to go", "1 f flock shared 0 max a1; 3 f flock shared 0 max a3; 2 b hold", "1 b hold; 2 f flock exclusive 0 max a2",
			"1 (sh) waits for b, held by 2 (sh); 2 (sh) waits for f, held by 1 (sh)"},
		{"two circles", "1 a hold; 2 b hold; 3 c hold; 4 d hold", "1 b hold; 2 a hold; 3 d hold; 4 c hold",
			"1 (sh) waits for b, held by 2 (sh); 2 (sh) waits for a, held by 1 (sh) | 3 (sh) waits for d, held by 4 (sh); 4 (sh) waits for c, held by 3 (sh)"},
	} {
		g := newWaitGraph(claims(t, c.owners), claims(t, c.waiters))
		var got []string
		for _, cycle := range g.cycles() {
			got = append(got, cycle.String())
			if !g.has(cycle) {
				t.Errorf("%s: the graph does not have its cycle", c.name)
			}
		}
		if s := strings.Join(got, " | "); s != c.want {
			t.Errorf("%s: deadlocks %q, want %q", c.name, s, c.want)
		}
	}
}

func TestBadClaimsAreRefused(t *testing.T) {
	for _, line := range []string{"", "a 1 0 sh hold", "a x 0 sh hold 1.0", "a 1 0 sh hold x", "a 1 0 sh flock 1.0 shared 0 x 1", "a 1 0 sh hold 1.0 more"} {
		if _, ok := parseClaim(strings.Split(line, " ")); ok {
			t.Errorf("line %q was understood", line)
		}
	}
}
