package mutants

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const sample1 = `package p

type T struct{ n, most int }

func (t *T) add(n int) bool {
	if t.n+n > t.most && n != 0 {
		return false
	}
	t.n += n
	return true
}

func word(i int) string {
	switch {
	case i == 1:
		return "one"
	}
	if i > 9 {
		panic("more than a digit")
	}
	return ""
}
`

// namesIn are the names of all mutants of a package of those files.
func namesIn(t *testing.T, files map[string]string) (names []string, changed map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Load(dir, "example.org/p")
	if err != nil {
		t.Fatal(err)
	}
	all, changed, err := s.Instrument(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return names, changed
}

func TestMutantsAreNamedByTheirPlacesInTheTree(t *testing.T) {
	names, changed := namesIn(t, map[string]string{"p.go": sample1})
	want := []string{
		"T.add: constant 1 one more", "T.add: constant 2 turned round", "T.add: constant 3 turned round",
		"T.add: if 1 always", "T.add: if 1 never", "T.add: less 1 other",
		"T.add: operand 1 left out", "T.add: operand 2 left out", "T.add: operand 2 turned round",
		"T.add: plus 1 other", "T.add: statement 3 left out",
		"word: case 1 always", "word: case 1 never", "word: constant 1 one more", "word: constant 2 empty",
	}
	if !slices.Equal(names, want) {
		t.Errorf("mutants are %q;\nwant %q", names, want)
	}
	for name, text := range changed {
		if filepath.Base(name) == "p.go" && !strings.Contains(text, `panic("more than a digit")`) {
			t.Errorf("a panic has changed:\n%s", text)
		}
	}

	function := strings.Index(sample1, "func word")
	moved, _ := namesIn(t, map[string]string{
		"a.go": "package p\n\n// It has moved, with a comment.\n" + strings.ReplaceAll(sample1[function:], "\treturn \"\"", "\n\n\t// Nothing.\n\treturn \"\""),
		"z.go": sample1[:function],
	})
	if !slices.Equal(moved, names) {
		t.Errorf("moved to other files and lines, mutants are %q;\nwant %q", moved, names)
	}
}

func TestABugWithoutItsPlaceIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(sample1), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Load(dir, "example.org/p")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Instrument([]Bug{{Node: "T.add: if 2", With: "true"}})
	if err == nil || !strings.Contains(err.Error(), "T.add: if 1\tt.n+n > t.most && n != 0") {
		t.Errorf("a bug in the second if of a function with one: %v; want the nodes that there are", err)
	}
	all, _, err := s.Instrument([]Bug{{Node: "T.add: if 1", With: "n > 0"}})
	if err != nil || all[0].Name != "T.add: if 1 → n > 0" {
		t.Errorf("a bug in the first: %v, %v", all[0], err)
	}
}
