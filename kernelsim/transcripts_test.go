package kernelsim

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ipcfs/kernelsim/scenario"
)

var update = flag.Bool("update", false, "write the transcripts anew: read the diff")

// A file of testdata is a scenario, what its default run looks like, and all its endings.
func TestTranscripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no transcripts")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source, _, _ := bytes.Cut(text, []byte("---\n"))
			s, err := scenario.Parse(file, source)
			if err != nil {
				t.Fatal(err)
			}
			out := bytes.NewBuffer(bytes.Clone(source))
			out.WriteString("---\n")
			_ = Simulate(out, file, source, SimulateOptions{})
			all, complete := s.Endings(DefaultStates, false)
			if !complete {
				t.Fatal("not every ending was seen")
			}
			var endings []string
			for _, e := range all {
				endings = append(endings, e.Short()+"\n")
			}
			slices.Sort(endings)
			fmt.Fprintf(out, "---\n%s", strings.Join(slices.Compact(endings), ""))
			if *update {
				if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(out.Bytes(), text) {
				t.Errorf("the transcript is now\n%s\nwas\n%s", out, text)
			}
		})
	}
}
