package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ipcfs/kernelsim/scenarios"
)

// The page that simulate --html writes is looked at in a browser without a head.

// browserNames are what a Chromium is called.
var browserNames = []string{"chromium", "google-chrome"}

// browserTime bounds a look at a page. On a machine that is busy a browser takes seconds to start.
const browserTime = 2 * time.Minute

// browse returns the document at the address after its scripts have run for so much virtual time.
func browse(t *testing.T, address string, budget time.Duration) string {
	t.Helper()
	i := slices.IndexFunc(browserNames, func(name string) bool { _, err := exec.LookPath(name); return err == nil })
	if i < 0 {
		t.Skip("no Chromium is there: NOBODY HAS LOOKED AT THE PAGE that simulate --html writes")
	}
	home := t.TempDir()
	cmd := exec.Command(browserNames[i], "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+filepath.Join(home, "profile"),
		fmt.Sprintf("--virtual-time-budget=%d", budget.Milliseconds()), "--dump-dom", address)
	cmd.Env = append(os.Environ(), "HOME="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	// Its helpers keep the pipe open a little longer than it lives.
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(browserTime, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil || out.Len() == 0 {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, &stderr)
	}
	dom, _, _ := strings.Cut(out.String(), `<script type="application/json"`)
	return dom
}

// pageOf is the file of the page of a run.
func pageOf(t *testing.T, scenario string, arg ...string) (file, text string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "run.html")
	cmd := exec.Command(ipcfsBin, append([]string{"simulate", "--html", file, "-"}, arg...)...)
	cmd.Stdin = strings.NewReader(scenario)
	if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("simulate --html: %v\n%s", err, out)
	}
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return file, string(page)
}

// policy is the element that lets nothing run in a page but its own script.
var policy = regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`)

// drive has a script of the test run in a page too, and returns what it logs.
func drive(t *testing.T, file, page, script string) []string {
	t.Helper()
	if !policy.MatchString(page) {
		t.Fatalf("no policy in\n%s", page)
	}
	page = policy.ReplaceAllString(page, "") + "<script>const steps = []; const log = () => steps.push(document.documentElement.dataset.step);\n" +
		"const told = () => document.documentElement.dataset.log = steps.join(' ');\n" + script + "\ntold();</script>"
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	dom := browse(t, "file://"+file, time.Minute)
	found := regexp.MustCompile(`data-log="([^"]*)"`).FindStringSubmatch(dom)
	if found == nil {
		t.Fatalf("the script did not come to its end in\n%s", dom)
	}
	return strings.Fields(found[1])
}

func philosophers(t *testing.T) string {
	t.Helper()
	source, ok := scenarios.Named("philosophers")
	if !ok {
		t.Fatal("no philosophers")
	}
	return string(source)
}

func TestPagePlaysARunForwardsAndBack(t *testing.T) {
	t.Parallel()
	file, page := pageOf(t, philosophers(t))
	got := drive(t, file, page, `
log();
for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowRight", "Home", "ArrowLeft"]) {
	document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true})); log();
}
for (const id of ["forth", "forth", "back", "last", "first"]) { document.getElementById(id).click(); log(); }
const slider = document.getElementById("slider");
slider.value = 4; slider.dispatchEvent(new Event("input")); log();
document.querySelectorAll("#rows li")[3].click(); log();`)
	if want := strings.Fields("0 1 2 1 6 6 0 0 1 2 1 6 0 4 3"); !slices.Equal(got, want) {
		t.Errorf("steps shown: %v; want %v", got, want)
	}
}

func TestPagePlaysByItselfToTheEnd(t *testing.T) {
	t.Parallel()
	file, page := pageOf(t, philosophers(t))
	got := drive(t, file, page, `
document.getElementById("play").click();
new MutationObserver(() => { log(); told(); }).observe(document.documentElement, {attributeFilter: ["data-step"]});`)
	if want := strings.Fields("1 2 3 4 5 6"); !slices.Equal(got, want) {
		t.Errorf("steps played: %v; want %v", got, want)
	}
}

func TestPageShowsTheStepOfItsAddress(t *testing.T) {
	t.Parallel()
	const source = "# A full buffer.\nmailbox box capacity=1\nshared n = 0\nprocess p:\n    n = 7\n    send box \"first\"\n    send box \"two words\"\nprocess q daemon:\n    sleep 1s\n"
	file, _ := pageOf(t, source)
	dom := browse(t, "file://"+file+"#4", time.Second)
	for what, want := range map[string]string{
		"title":           `<h1 id="title">A full buffer</h1>`,
		"verdict":         `p waits for ever in send box.`,
		"step":            `data-step="4"`,
		"waiting process": `data-process="p" data-state="blocked"`,
		"sleeping one":    `data-process="q" data-state="sleeping"`,
		"its object":      `waits for box`,
		"contents":        `<span class="slot">"first"</span>`,
		"waiter":          `waiting: <span class="chip p0">p</span>`,
		"variable":        `data-variable="n"><h3>n</h3><div class="value">7</div>`,
		"line":            `<li data-line="7" class="now">`,
		"where it is":     `send box "two words"</span><span><span class="chip p0">p</span></span>`,
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("%s: no %q in\n%s", what, want, dom)
		}
	}
}

// What a scenario says is shown as text, wherever it stands.
func TestHostileScenarioInjectsNothing(t *testing.T) {
	t.Parallel()
	const evil = `</title></script><!--<script><img src=x onerror=document.documentElement.dataset.owned=1><script>document.documentElement.dataset.owned=1</script>`
	quoted := strings.ReplaceAll(evil, `"`, `\"`)
	file, page := pageOf(t, "# "+evil+" {{data}} {{script}}\nmailbox a\nshared v = \""+quoted+"\"\nprocess p:\n    send a \""+quoted+"\" topic \"<b>&amp;\"\n    print v # "+evil+"\n    assert v == \""+quoted+"!\"\n")
	if strings.Contains(page, "<img") || strings.Count(page, "<script") != 2 {
		t.Errorf("markup gets into the page:\n%s", page)
	}
	dom := browse(t, "file://"+file+"#9", time.Second)
	for _, bad := range []string{"<img", "data-owned", "<b>&amp;amp;"} {
		if strings.Contains(dom, bad) {
			t.Errorf("%q is in\n%s", bad, dom)
		}
	}
	if !strings.Contains(dom, `data-step="`) || !strings.Contains(dom, "&lt;img src=x") {
		t.Errorf("the page does not show the text:\n%s", dom)
	}
}

// The page of every scenario is whole by itself: nothing in it is fetched.
func TestPageStandsByItself(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios.All() {
		_, page := pageOf(t, string(s.Source))
		_, data, _ := strings.Cut(page, `<script type="application/json" id="run">`)
		data, rest, found := strings.Cut(data, "</script>")
		var run struct {
			Title, Verdict string
			Lines          []string
			Rows           []struct{ Step int }
		}
		if err := json.Unmarshal([]byte(data), &run); err != nil || !found {
			t.Fatalf("%s: %v", s.Name, err)
		}
		if run.Title != s.Title || run.Verdict == "" || len(run.Lines) != strings.Count(string(s.Source), "\n") || len(run.Rows) < 3 || run.Rows[0].Step != 0 {
			t.Errorf("%s: title %q, verdict %q, %d lines, %d rows", s.Name, run.Title, run.Verdict, len(run.Lines), len(run.Rows))
		}
		for _, fetch := range []string{"http:", "https:", "src=", "url(", "@import", "<link", "fetch(", "import("} {
			if strings.Contains(strings.Replace(page, data, "", 1), fetch) {
				t.Errorf("%s: the page has %q", s.Name, fetch)
			}
		}
		if !strings.Contains(page, "default-src 'none'; style-src 'sha256-") || len(rest) > 16<<10 {
			t.Errorf("%s: no policy, or a script of %d bytes", s.Name, len(rest))
		}
	}
}

// A page that cannot be written is an error, and "-" is standard output.
func TestPageGoesWhereItIsSentTo(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(ipcfsBin, "simulate", "--html", "-", "philosophers").Output()
	if err != nil || !bytes.HasPrefix(out, []byte("<!doctype html>")) || bytes.Count(out, []byte("<!doctype")) != 1 {
		t.Errorf("--html -: %v, %.80q", err, out)
	}
	out, err = exec.Command(ipcfsBin, "simulate", "--html", filepath.Join(t.TempDir(), "no", "such"), "philosophers").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "simulate: --html: open ") {
		t.Errorf("--html into no directory: %v, %s", err, out)
	}
}

func TestGraphIsDrawnOrRefusedByItsSize(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct {
		scenario, file, begins, says string
		status                       int
	}{
		{"lost-wakeup", "g.svg", "<svg ", "", 0},
		{"lost-wakeup", "g.dot", "digraph states {", "", 0},
		{"readers-writers", "big.svg", "", "no more than 150 are drawn: a file for dot(1) holds more, or --states bounds them", 1},
		{"philosophers", "cut.dot", "digraph states {", "NOT ALL: there are more states than the ", 0},
	} {
		file := filepath.Join(dir, c.file)
		arg := []string{"simulate", "--graph", file, c.scenario}
		if strings.HasPrefix(c.file, "cut") {
			arg = append(arg, "--states", "7")
		}
		cmd := exec.Command(ipcfsBin, arg...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		_ = cmd.Run()
		text, _ := os.ReadFile(file)
		if cmd.ProcessState.ExitCode() != c.status || !strings.HasPrefix(string(text), c.begins) || (text == nil) != (c.begins == "") || !strings.Contains(stderr.String(), c.says) || c.says == "" && stderr.Len() > 0 {
			t.Errorf("%s: status %d, %.60q, %s", c.file, cmd.ProcessState.ExitCode(), text, &stderr)
		}
	}
}

// A search that finds nothing has no run to show: the page plays one as without a flag.
func TestPageOfASearchThatFindsNothingPlaysARun(t *testing.T) {
	t.Parallel()
	source, _ := scenarios.Named("zero-buffer")
	_, page := pageOf(t, string(source), "--explore")
	for _, want := range []string{"Searched everything", "One run of them is played here", `"text":"send buffer … waits"`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
}
