package mutants

import (
	"bufio"
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	which   = flag.String("mutants", "", "try the mutants whose names or places match this regular expression; . is all, without it a sample is tried")
	judging = flag.String("tests", "", "judge by the tests whose names match this regular expression only")
	workers = flag.Int("workers", runtime.GOMAXPROCS(0), "how many mutants are tried at a time")
	record  = flag.Bool("record", false, "write the mutants that survive, and are not known to be equivalent, to testdata/open, and whose have been tried to testdata/tried")
)

// What is tried where no flag says which: every bug, so many systematic mutants that are to be found, and
// so many of those that are known to survive.
const (
	sampled      = 20
	sampledKnown = 2
)

// A survivor is a mutant that no test finds, as a list of testdata has it: a line of name, what is changed,
// and why, with tabs between them. Those in equivalent behave as the code does. Those in open are
// without a test.
type survivor struct{ name, text, why string }

func survivors(t *testing.T, list string) (all []survivor) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", list))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 3 || fields[2] == "" {
			t.Fatalf("testdata/%s: no name, text and reason: %q", list, lines.Text())
		}
		all = append(all, survivor{fields[0], fields[1], fields[2]})
	}
	return all
}

// known returns by name in which list a mutant is.
func known(t *testing.T) map[string]string {
	t.Helper()
	lists := make(map[string]string)
	for _, list := range []string{"equivalent", "open"} {
		for _, s := range survivors(t, list) {
			if lists[s.name] != "" {
				t.Errorf("%s is listed twice", s.name)
			}
			lists[s.name] = list
		}
	}
	return lists
}

// catalogue is the mutants of package objects. Those of bugs that have code of their own come first.
type catalogue struct {
	sources *Sources
	files   map[string]string
	all     []Mutant
	own     int // so many
}

func (c *catalogue) systematic() []Mutant { return c.all[c.own:] }

// bugs are the numbers of the bugs.
func (c *catalogue) bugs() (numbers []int) {
	own := 0
	for _, b := range bugs {
		i := own
		if b.mutant == "" {
			own++
		} else {
			i = slices.IndexFunc(c.all, func(m Mutant) bool { return m.Name == b.mutant })
		}
		numbers = append(numbers, i)
	}
	return numbers
}

func mutantsOfObjects(t *testing.T) *catalogue {
	t.Helper()
	dir, err := filepath.Abs("../../objects")
	if err != nil {
		t.Fatal(err)
	}
	c := new(catalogue)
	if c.sources, err = Load(dir, "ipcfs/objects"); err != nil {
		t.Fatal(err)
	}
	var own []Bug
	for _, b := range bugs {
		if b.mutant == "" {
			own = append(own, b.bug)
		}
	}
	c.own = len(own)
	if c.all, c.files, err = c.sources.Instrument(own); err != nil {
		t.Fatal(err)
	}
	for k, i := range c.bugs() {
		switch b := bugs[k]; {
		case i < 0:
			t.Fatalf("%s: there is no %s any more", b.name, b.mutant)
		case c.all[i].Text != b.text:
			t.Fatalf("%s: %s changes %q now, and not %q", b.name, c.all[i].Name, c.all[i].Text, b.text)
		}
	}
	return c
}

// TestEquivalentMutantsAreThere keeps the list to the code: what was said of a mutant was said of what is
// changed. Of those in open nothing was said but that no test finds them.
func TestEquivalentMutantsAreThere(t *testing.T) {
	text := make(map[string]string)
	for _, m := range mutantsOfObjects(t).all {
		text[m.Name] = m.Text
	}
	for _, s := range survivors(t, "equivalent") {
		switch now, ok := text[s.name]; {
		case !ok:
			t.Errorf("there is no %s any more", s.name)
		case now != s.text:
			t.Errorf("%s changes %q now, and not %q: is it still so?", s.name, now, s.text)
		}
	}
}

func TestTestsFindMutants(t *testing.T) {
	if raced {
		t.Skip("what it builds has no race detector: it is tried without")
	}
	c := mutantsOfObjects(t)
	lists, tried := known(t), triedFunctions(t)
	changed := make(map[string]bool)
	for _, m := range c.systematic() {
		if function := functionOf(m.Name); tried[function] != m.code() {
			changed[function] = true
			if lists[m.Name] == "open" {
				delete(lists, m.Name)
			}
		}
	}
	var numbers []int
	if *which == "" {
		numbers = c.sample(lists, tried)
	} else {
		chosen, err := regexp.Compile(*which)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range c.all {
			if chosen.MatchString(m.Name + " " + m.Pos) {
				numbers = append(numbers, i)
			}
		}
	}
	begun := time.Now()
	js := judges(t, c.sources, c.files)
	prepared := time.Since(begun)
	var (
		mu    sync.Mutex
		score = make(map[string]int)
		open  []string
	)
	parallel(len(numbers), func(i int) {
		v := judgeOf(js, numbers[i])
		mu.Lock()
		defer mu.Unlock()
		m := c.all[v.number]
		list := lists[m.Name]
		report := t.Errorf
		if *record {
			report = t.Logf
		}
		switch {
		case v.by != "" && list != "":
			report("%s (%s) is in testdata/%s, and %s finds it: %s", m.Name, m.Pos, list, v.by, v.why)
			list = "found"
		case v.by != "":
			t.Logf("%s (%s): %s: %s", m.Name, m.Pos, v.by, v.why)
			list = "found"
		case list == "":
			report("nothing finds %s (%s: %s): it needs a test, or a line in testdata/equivalent", m.Name, m.Pos, m.Text)
			list = "new"
		}
		score[list]++
		if v.by == "" && list != "equivalent" {
			why := "noticed by no test"
			if !v.reached {
				why = "reached by no test"
			}
			open = append(open, m.Name+"\t"+m.Text+"\t"+why)
		}
		if n := score["found"] + score["equivalent"] + score["open"] + score["new"]; n%100 == 0 {
			fmt.Fprintf(os.Stderr, "%d of %d mutants after %v\n", n, len(numbers), time.Since(begun).Round(time.Second))
		}
	})
	if len(changed) > 0 {
		fmt.Printf("%d functions are new, or have changed, since their mutants were tried: make mutants, with -record\n", len(changed))
	}
	fmt.Printf("%d mutants: %d found, %d equivalent, %d survive, of which %d are not listed; in %v, %v of them to build\n",
		len(numbers), score["found"], score["equivalent"], score["open"]+score["new"], score["new"],
		time.Since(begun).Round(time.Second), prepared.Round(time.Second))
	if *record {
		recordTried(t, c, numbers, open)
	}
}

// functionOf is the function that the mutant called name is in.
func functionOf(name string) string {
	function, _, _ := strings.Cut(name, ": ")
	return function
}

// triedFunctions has the functions all of whose mutants have been tried, and listed if they survive, with
// the hash of what they were then. Of one that has changed since, nothing is known.
func triedFunctions(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "tried"))
	if err != nil {
		t.Fatal(err)
	}
	tried := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		function, code, _ := strings.Cut(strings.TrimSpace(line), "\t")
		tried[function] = code
	}
	return tried
}

func (m Mutant) code() string { return strconv.FormatUint(m.Code, 36) }

// recordTried writes testdata/tried and testdata/open anew, when those with the numbers have been
// tried and open is left of them.
func recordTried(t *testing.T, c *catalogue, numbers []int, open []string) {
	t.Helper()
	names := make(map[string]bool)
	for _, i := range numbers {
		names[c.all[i].Name] = true
	}
	known := triedFunctions(t)
	whole := make(map[string]string)
	left := make(map[string]bool) // of the functions, those with mutants that are not tried
	for _, m := range c.systematic() {
		function := functionOf(m.Name)
		whole[function] = m.code()
		left[function] = left[function] || !names[m.Name] && known[function] != m.code()
	}
	maps.DeleteFunc(whole, func(function, _ string) bool { return left[function] })
	for _, s := range survivors(t, "open") {
		if function := functionOf(s.name); !names[s.name] && whole[function] == known[function] && whole[function] != "" {
			open = append(open, s.name+"\t"+s.text+"\t"+s.why)
		}
	}
	var functions []string
	for function, code := range whole {
		functions = append(functions, function+"\t"+code)
	}
	for list, lines := range map[string][]string{"open": open, "tried": functions} {
		slices.Sort(lines)
		if err := os.WriteFile(filepath.Join("testdata", list), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// sample chooses the bugs, and a few of the others in functions that have been tried: the same for
// the same sources, others when something changes in them.
func (c *catalogue) sample(lists, tried map[string]string) (numbers []int) {
	h := fnv.New64a()
	for _, m := range c.all {
		fmt.Fprintln(h, m.Name, m.Text)
	}
	numbers = c.bugs()
	left := map[bool]int{false: sampled, true: sampledKnown}
	for _, i := range rand.New(rand.NewPCG(h.Sum64(), 0)).Perm(len(c.all)) {
		m := c.all[i]
		if listed := lists[m.Name] != ""; left[listed] > 0 && tried[functionOf(m.Name)] == m.code() && !slices.Contains(numbers, i) {
			left[listed]--
			numbers = append(numbers, i)
		}
	}
	return numbers
}
