package kernelsim

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"ipcfs/kernelsim/scenarios"
	"ipcfs/kernelsim/timeline"
)

func TestSVGIsWellFormedAndShowsWhoWaits(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios.All() {
		var out bytes.Buffer
		if err := Simulate(&out, s.Name, s.Source, SimulateOptions{Explore: true, States: 2000, SVG: true}); err != nil && !strings.Contains(err.Error(), "found done") && !strings.Contains(err.Error(), "undecided") {
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

// Every drawing says by itself what it is of, how it ended, which step is which and what its
// lines mean, scales, and needs no letter that a font of letters lacks.
func TestSVGStandsByItself(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios.All() {
		var out bytes.Buffer
		_ = Simulate(&out, s.Name, s.Source, SimulateOptions{SVG: true})
		text := out.String()
		for _, want := range []string{`viewBox="0 0 `, "<title>" + timeline.EscapeXML(s.Title) + "</title>", ">step<", ">1<", ">goes on, or could<", ">waits<", ">sleeps<"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", s.Name, want, text)
			}
		}
		if _, verdict, _ := strings.Cut(text, "<desc>"); !strings.Contains(strings.SplitN(verdict, "</desc>", 2)[0], " after ") {
			t.Errorf("%s: no verdict", s.Name)
		}
		for _, r := range text {
			if r > 0x7e && r != '…' && r != '×' {
				t.Errorf("%s: the sign %q is not in every font", s.Name, r)
			}
		}
	}
}

func TestSVGOfHostileTextIsWellFormed(t *testing.T) {
	t.Parallel()
	source := "# </title><script>alert(1)</script> & \"quotes\"\nmailbox a\nprocess p:\n  send a \"<b>&\\n\"\n  print \"]]>\x01\"\n"
	var out bytes.Buffer
	if err := Simulate(&out, "x", []byte(source), SimulateOptions{SVG: true}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "<script") || strings.Contains(out.String(), "<b>") {
		t.Errorf("markup is let through:\n%s", &out)
	}
	text := out.String()
	for d := xml.NewDecoder(&out); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
}
