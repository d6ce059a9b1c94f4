package live

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"ipcfs/kernelsim/scenario"
)

// tables are two mappings of one table, as two processes have them.
func tables(t *testing.T, source string) (s *scenario.Scenario, a, b *table) {
	t.Helper()
	s, err := scenario.Parse("x", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "shared")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(fresh bool) *table {
		got, err := openTable(s, path, fresh)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(got.close)
		return got
	}
	return s, open(true), open(false)
}

const shared = "shared n = 5, word = \"start\"\nprocess p * 2:\n  enter first\n  leave first\n  enter second\nfinally n == 5\n"

func TestTableBeginsWithTheFirstValues(t *testing.T) {
	s, a, b := tables(t, shared)
	for i, want := range s.Variables() {
		if a.load(i) != want || b.load(i) != want {
			t.Errorf("variable %d is %v and %v; want %v", i, a.load(i), b.load(i), want)
		}
	}
	for i := range s.Instances() {
		if b.state(i) != alive {
			t.Errorf("process %d begins in state %d; want alive", i, b.state(i))
		}
	}
}

// What one process stores all others load, each thing in a place of its own.
func TestTableKeepsEachValueApart(t *testing.T) {
	s, a, b := tables(t, shared)
	values := []scenario.Value{{N: -7}, {IsText: true, Text: strings.Repeat("x", maxText)}}
	for i, v := range values {
		if !a.store(i, v) {
			t.Fatalf("variable %d does not take %d bytes", i, len(v.Text))
		}
	}
	a.enter(0, 2)
	b.enter(1, 1)
	a.enter(1, -1)
	a.setState(0, killed)
	b.setState(1, exited)
	for i, want := range values {
		if b.load(i) != want {
			t.Errorf("variable %d is not what was stored", i)
		}
	}
	if b.inside(0) != 2 || b.inside(1) != 0 || b.state(0) != killed || a.state(1) != exited {
		t.Errorf("sections %d, %d, states %d, %d; want 2, 0, %d, %d", b.inside(0), b.inside(1), b.state(0), a.state(1), killed, exited)
	}
	if len(s.Instances()) != 2 || s.Sections() != 2 {
		t.Errorf("%d processes, %d sections", len(s.Instances()), s.Sections())
	}
}

func TestTextThatIsTooLongIsRefusedAndChangesNothing(t *testing.T) {
	_, a, _ := tables(t, shared)
	if a.store(1, scenario.Value{IsText: true, Text: strings.Repeat("x", maxText+1)}) {
		t.Error("a text longer than there is room for is stored")
	}
	if got := a.load(1).Text; got != "start" {
		t.Errorf("after a refused store the variable is %.20q", got)
	}
	// A shorter text leaves nothing of a longer one.
	a.store(1, scenario.Value{IsText: true, Text: "much longer"})
	a.store(1, scenario.Value{IsText: true, Text: "s"})
	if got := a.load(1).Text; got != "s" {
		t.Errorf("after a shorter text the variable is %q", got)
	}
}

// The lock is held by one open file at a time, also among threads of one process, and goes
// with the file and what is mapped of it.
func TestLockOfTheTableExcludesAndDiesWithItsHolder(t *testing.T) {
	_, a, b := tables(t, shared)
	var wg sync.WaitGroup
	for _, mine := range []*table{a, b} {
		wg.Go(func() {
			for range 500 {
				mine.lock()
				v := mine.load(0)
				v.N++
				mine.store(0, v)
				mine.unlock()
			}
		})
	}
	wg.Wait()
	if got := a.load(0).N; got != 1005 {
		t.Errorf("after 1000 increments of 5 under the lock: %d", got)
	}
	a.lock()
	if err := syscall.Flock(b.fd, syscall.LOCK_EX|syscall.LOCK_NB); err != syscall.EWOULDBLOCK {
		t.Errorf("a second lock: %v; want EWOULDBLOCK", err)
	}
	a.close() // as the end of a process does
	if err := syscall.Flock(b.fd, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Errorf("the lock after its holder's file is closed: %v", err)
	}
	a.memory, a.fd = nil, -1 // for the cleanup
}

func TestTableThatIsNotThereIsAnError(t *testing.T) {
	s, err := scenario.Parse("x", []byte(shared))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openTable(s, filepath.Join(t.TempDir(), "none"), true); !os.IsNotExist(err) {
		t.Errorf("open of no table: %v", err)
	}
}

// A view counts processes by their declaration, and asks the place for the rest.
func TestGlanceCountsWhoHasEndedAndWhoWaits(t *testing.T) {
	s, a, _ := tables(t, "semaphore s value=3\nshared n = 0\nprocess p * 2:\n  wait s\nprocess q:\n  enter here\nfinally value(s) == 1 and blocked(p) == 0 and exited(p) == 0 and killed(q) == 0 and inside(here) == 0\n")
	a.setState(0, exited)
	a.setState(2, killed)
	a.enter(0, 4)
	g := &view{s: s, t: a, pids: []int{11, 12, 13}, place: fakePlace{parked: map[int]bool{12: true, 13: true}, looks: map[string]int64{"value": 3}}}
	for _, c := range []struct {
		look scenario.Query
		want int64
	}{
		{scenario.Query{What: "exited", Index: 0}, 1}, {scenario.Query{What: "exited", Index: 1}, 1},
		{scenario.Query{What: "killed", Index: 0}, 0}, {scenario.Query{What: "killed", Index: 1}, 1},
		{scenario.Query{What: "blocked", Index: 0}, 1}, {scenario.Query{What: "blocked", Index: 1}, 1},
		{scenario.Query{What: "inside"}, 4}, {scenario.Query{What: "value"}, 3},
	} {
		if got := g.Query(c.look); got != c.want {
			t.Errorf("%+v = %d; want %d", c.look, got, c.want)
		}
	}
	if g.err != nil {
		t.Errorf("error %v", g.err)
	}
	g.place = fakePlace{err: syscall.EIO}
	g.Query(scenario.Query{What: "value"})
	g.place = fakePlace{err: syscall.EPERM}
	g.Query(scenario.Query{What: "blocked"})
	if g.err != syscall.EIO {
		t.Errorf("of two looks that fail the error is %v; want the first one", g.err)
	}
}

// A fakePlace shows what it is told to.
type fakePlace struct {
	Place
	parked map[int]bool
	looks  map[string]int64
	err    error
}

func (p fakePlace) Query(what string, _ int) (int64, error) { return p.looks[what], p.err }
func (p fakePlace) Parked([]int) (map[int]bool, error)      { return p.parked, p.err }
func (p fakePlace) Pending() (bool, error)                  { return false, p.err }
func (p fakePlace) Closing() (bool, error)                  { return false, p.err }
