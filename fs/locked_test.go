package fs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A helper whose comment says that a mutex is held says so in its name, too.
func TestHelpersUnderALockAreNamedLocked(t *testing.T) {
	held := regexp.MustCompile(`\.mu\s+is\s+held|mutex\s+is\s+held`)
	// What an interface has says it there.
	interfaces := map[string]bool{"attr": true, "child": true, "list": true, "opened": true}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && held.MatchString(f.Doc.Text()) && !strings.HasSuffix(f.Name.Name, "Locked") && !interfaces[f.Name.Name] {
				t.Errorf("%s: %s is called with a mutex held; want its name to end in Locked", set.Position(f.Pos()), f.Name.Name)
			}
		}
	}
}
