package kernelsim

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"ipcfs/kernelsim/scenario"
	"ipcfs/kernelsim/scenarios"
)

func TestTheManualsExamplesDoWhatTheySay(t *testing.T) {
	manual, err := os.ReadFile("../docs/scenarios.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?ms)^```ipc\n(.*?)^```$").FindAllSubmatch(manual, -1)
	if len(examples) < 5 {
		t.Fatalf("%d examples", len(examples))
	}
	var all bytes.Buffer
	for _, e := range examples {
		source := e[1]
		all.Write(source)
		s, err := scenario.Parse("docs/scenarios.md", source)
		if err != nil {
			t.Errorf("%v\nin\n%s", err, source)
			continue
		}
		t.Run(s.Title, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if err := Simulate(&out, s.Title, source, SimulateOptions{Explore: true, States: 20_000}); err != nil {
				t.Errorf("%v\n%s", err, &out)
			}
		})
	}
	words := scenario.Words()
	words = append(words, strings.Fields(`release open close set destroy try nonblock within atomic if else while forever
		break repeat choose enter leave sleep yield kill signal print assert exit shared process daemon immune uid faults shows
		kills signals always finally mailbox pipe semaphore segment messages bytes value waiting sent received dropped expired redelivered leased inside blocked exited
		killed and or not me errno expect procedure return cas eventually monitor condition broadcast hoare protocol inherit priority`)...)
	for _, w := range words {
		if !regexp.MustCompile(`\b` + w + `\b`).Match(all.Bytes()) {
			t.Errorf("no example has the word %s", w)
		}
	}
}

// Who looks for a subject finds a scenario, and no scenario is found by nobody.
func TestEachScenarioStandsUnderASubject(t *testing.T) {
	manual, err := os.ReadFile("../docs/scenarios.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(manual), "| Subject | Scenarios |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	mapped := map[string]bool{}
	word := regexp.MustCompile("`([a-z][a-z-]+)`")
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) != 4 {
			t.Fatalf("%q is no row of two cells", row)
		}
		for _, name := range word.FindAllStringSubmatch(cells[2], -1) {
			mapped[name[1]] = true
		}
	}
	for _, s := range scenarios.All() {
		if !mapped[s.Name] {
			t.Errorf("%s stands under no subject in docs/scenarios.md", s.Name)
		}
		delete(mapped, s.Name)
	}
	for _, other := range []string{"from"} { // a word of the language
		delete(mapped, other)
	}
	for name := range mapped {
		t.Errorf("docs/scenarios.md names the scenario %s, and there is none", name)
	}
}
