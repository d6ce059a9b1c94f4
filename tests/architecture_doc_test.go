package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What docs/architecture.md points at is there.
func TestTheArchitecturePageNamesWhatThereIs(t *testing.T) {
	page := string(readFile(t, filepath.Join("..", "docs", "architecture.md")))
	var sources strings.Builder
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		source, err := os.ReadFile(path)
		sources.Write(source)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, quoted := range regexp.MustCompile("`[^`\n]+`").FindAllString(page, -1) {
		name := strings.Trim(quoted, "`")
		switch {
		case regexp.MustCompile(`^[a-z]+(/[a-z_]+)*(\.go|\.md)$|^[a-z]+/[a-z/]+$`).MatchString(name):
			found, err := filepath.Glob(filepath.Join("..", name))
			if inObjects, _ := filepath.Glob(filepath.Join("..", "objects", "mailbox", name)); err != nil || len(found)+len(inObjects) == 0 {
				t.Errorf("the page names the file %s, and there is none", name)
			}
		case regexp.MustCompile(`^[A-Z]\w+\.\w+$`).MatchString(name):
			typ, member, _ := strings.Cut(name, ".")
			if !regexp.MustCompile(`func \(\w+ \*?` + typ + `\) ` + member + `\(|\n\t` + member + `(,.*)? +\w|\n\t` + member + `\(`).MatchString(sources.String()) {
				t.Errorf("the page names %s, and there is none", name)
			}
		case regexp.MustCompile(`^make [a-z]+$`).MatchString(name):
			if !strings.Contains(string(readFile(t, filepath.Join("..", "Makefile"))), "\n"+strings.TrimPrefix(name, "make ")+":") {
				t.Errorf("the page says %s, and the Makefile has no such target", name)
			}
		default:
			continue
		}
		checked++
	}
	if checked < 20 {
		t.Errorf("the page names %d things that can be looked up", checked)
	}
}
