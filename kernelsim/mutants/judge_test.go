package mutants

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A judge is a test that may find a mutant.
type judge struct {
	dir     string
	program string
	name    string // of a function
	args    []string
	reached map[int]bool  // the mutants that it comes to
	takes   time.Duration // of processor time, without a mutant
}

// A program is the tests of one package, built with all mutants.
type program struct{ dir, path string }

// build builds the tests of those directories with the instrumented sources.
func build(t *testing.T, files map[string]string, dirs ...string) (built []program) {
	t.Helper()
	temporary := t.TempDir()
	replace := make(map[string]string)
	for name, text := range files {
		replace[name] = filepath.Join(temporary, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(replace[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(temporary, "overlay.json")
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, dir := range dirs {
		p := program{dir, filepath.Join(temporary, fmt.Sprintf("%d.test", i))}
		out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", p.path, dir).CombinedOutput()
		if err != nil {
			t.Fatalf("the tests in %s with all mutants: %v\n%s", dir, err, out)
		}
		built = append(built, p)
	}
	return built
}

// judges are the tests of the packages of s, and the laws, those first that find much at little
// cost. They have to pass where no mutant is chosen; what each comes to is learnt then.
func judges(t *testing.T, s *Sources, files map[string]string) []*judge {
	t.Helper()
	laws, err := filepath.Abs("../laws")
	if err != nil {
		t.Fatal(err)
	}
	built := build(t, files, append([]string{laws}, s.Dirs()...)...)
	lawful, units := built[0], built[1:]
	var first, last []*judge
	for _, kind := range []string{"mailbox", "pipe", "segment", "semaphore"} {
		name := "TestLawsHoldInRandomRuns/" + kind
		first = append(first, &judge{dir: laws, program: lawful.path, name: name, args: []string{"-seeds=100"}})
		last = append(last, &judge{dir: laws, program: lawful.path, name: name, args: []string{"-seeds=1000"}})
	}
	for _, name := range []string{"TestObjectsAreLinearizable", "TestLawsHoldInEveryOpening"} {
		last = append(last, &judge{dir: laws, program: lawful.path, name: name})
	}
	var unit []*judge
	for _, p := range units {
		for _, name := range p.tests(t) {
			unit = append(unit, &judge{dir: p.dir, program: p.path, name: name})
		}
	}
	judging := regexp.MustCompile(*judging)
	for _, l := range []*[]*judge{&first, &unit, &last} {
		*l = slices.DeleteFunc(*l, func(j *judge) bool { return !judging.MatchString(j.name) })
	}
	all := slices.Concat(first, unit, last)
	temporary := t.TempDir()
	parallel(len(all), func(i int) { all[i].learn(t, filepath.Join(temporary, strconv.Itoa(i))) })
	slices.SortStableFunc(unit, func(a, b *judge) int { return cmp.Compare(a.takes, b.takes) })
	return slices.Concat(first, unit, last)
}

// tests lists the tests of p.
func (p program) tests(t *testing.T) (names []string) {
	t.Helper()
	c := exec.Command(p.path, "-test.list=^Test|^Fuzz")
	c.Dir = p.dir
	out, err := c.Output()
	if err != nil {
		t.Fatalf("tests in %s: %v", p.dir, err)
	}
	return strings.Fields(string(out))
}

// learn runs j without a mutant, and notes to which it comes in a file of that name.
func (j *judge) learn(t *testing.T, name string) {
	out, takes, err := run([]*judge{j}, -1, time.Hour, Reached+"="+name)
	if err != nil {
		t.Errorf("%s in %s fails without a mutant: %v\n%s", j.name, j.dir, err, out)
	}
	j.takes = takes
	text, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	j.reached = make(map[int]bool)
	for _, number := range strings.Fields(string(text)) {
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Error(err)
		}
		j.reached[n] = true
	}
}

// maxMemory bounds a run in KiB of address space: a mutant may ask for ever more.
const maxMemory = 8 << 20

// run runs tests of one program with that mutant. limit is of processor time.
func run(js []*judge, mutant int, limit time.Duration, env ...string) (out []byte, took time.Duration, err error) {
	var names []string
	for _, j := range js {
		names = append(names, j.name)
	}
	pattern := "^(" + strings.Join(names, "|") + ")$"
	if function, sub, ok := strings.Cut(names[0], "/"); ok {
		pattern = "^" + function + "$/^" + sub + "$"
	}
	limited := fmt.Sprintf(`ulimit -t %d; ulimit -v %d; exec "$0" "$@"`, 1+int(limit.Seconds()), maxMemory)
	c := exec.Command("sh", append([]string{"-c", limited, js[0].program, "-test.run=" + pattern, "-test.failfast", "-test.timeout=1h"}, js[0].args...)...)
	c.Dir = js[0].dir
	c.Env = append(os.Environ(), append(env, Variable+"="+strconv.Itoa(mutant), "GOMAXPROCS=1")...)
	out, err = c.CombinedOutput()
	if s := c.ProcessState; s != nil {
		took = s.UserTime() + s.SystemTime()
	}
	return out, took, err
}

// A verdict says who has found a mutant.
type verdict struct {
	number  int
	by      string // "": nobody
	why     string // the first of what it said
	reached bool   // somebody has come to it
}

// together is how much processor time the tests may take that are run in one process.
const together = 300 * time.Millisecond

// judgeOf has the judges look at a mutant until one finds it. A run that takes ten times as
// long as without it has no end.
func judgeOf(js []*judge, number int) verdict {
	v := verdict{number: number}
	var some []*judge
	var takes time.Duration
	found := func() bool {
		if len(some) == 0 {
			return false
		}
		out, _, err := run(some, number, 3*time.Second+10*takes)
		if err != nil {
			v.by, v.why = some[0].name, reason(out, err)
		}
		some, takes = nil, 0
		return err != nil
	}
	for _, j := range js {
		if !j.reached[number] {
			continue
		}
		v.reached = true
		if len(some) > 0 && (j.program != some[0].program || j.args != nil || some[0].args != nil || takes+j.takes > together) && found() {
			return v
		}
		some, takes = append(some, j), takes+j.takes
	}
	found()
	return v
}

// reason is the first line that tells something of a run that has failed.
func reason(out []byte, err error) string {
	for line := range bytes.Lines(out) {
		line := strings.TrimSpace(string(line))
		switch {
		case line == "", strings.HasPrefix(line, "---"), strings.HasPrefix(line, "==="):
		default:
			return line[:min(len(line), 200)]
		}
	}
	return err.Error()
}

// parallel calls do with 0 to n-1, as many at a time as there are workers.
func parallel(n int, do func(i int)) {
	work := make(chan int)
	var all sync.WaitGroup
	for range *workers {
		all.Go(func() {
			for i := range work {
				do(i)
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	all.Wait()
}
