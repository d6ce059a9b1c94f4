package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What docs/security.md promises it promises with a test.
func TestEachClaimOfTheSecurityPageHasItsTest(t *testing.T) {
	page := readFile(t, filepath.Join("..", "docs", "security.md"))
	var sources strings.Builder
	for _, pattern := range []string{"*_test.go", "../objects/*_test.go", "../objects/*/*_test.go", "../fs/*_test.go", "../fs/fusedev/*_test.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(source)
		}
	}
	claims := regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w+`).FindAllString(string(page), -1)
	if len(claims) < 50 {
		t.Errorf("the page names %d tests", len(claims))
	}
	for _, name := range claims {
		if !strings.Contains(sources.String(), "func "+name+"(") {
			t.Errorf("docs/security.md names %s, and there is no such test", name)
		}
	}
}
