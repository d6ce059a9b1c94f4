package kernelsim

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"ipcfs/kernelsim/scenarios"
)

func TestSVGIsWellFormedAndShowsWhoWaits(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios.All() {
		var out bytes.Buffer
		if err := Simulate(&out, s.Name, s.Source, SimulateOptions{Explore: true, States: 2000, SVG: true}); err != nil && !strings.Contains(err.Error(), "found done") {
			t.Fatalf("%s: %v", s.Name, err)
		}
		text := out.String()
		for d := xml.NewDecoder(&out); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v\n%s", s.Name, err, text)
			}
		}
		if s.Name == "philosophers" && (strings.Count(text, ">kant<") != 1 || !strings.Contains(text, `class="blocked"`)) {
			t.Errorf("%s\n%s", s.Name, text)
		}
	}
}
