package mutants

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Sources are the packages in a directory and below it, without their tests, as they are on disk.
type Sources struct {
	fset     *token.FileSet
	packages []*goPackage // in the order of their directories
	byPath   map[string]*goPackage
	standard types.Importer
}

// A goPackage is one package, parsed and with its types.
type goPackage struct {
	dir   string
	path  string // as it is imported
	name  string
	files []*goFile
	types *types.Package
	info  *types.Info
}

type goFile struct {
	path   string
	text   []byte
	syntax *ast.File
}

// Load reads the packages in dir and below it. prefix is the import path of the one in dir.
func Load(dir, prefix string) (*Sources, error) {
	s := &Sources{fset: token.NewFileSet(), byPath: make(map[string]*goPackage)}
	s.standard = importer.ForCompiler(s.fset, "source", nil)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "testdata":
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		below, err := filepath.Rel(dir, filepath.Dir(name))
		if err != nil {
			return err
		}
		return s.add(name, path.Join(prefix, filepath.ToSlash(below)))
	})
	if err != nil {
		return nil, err
	}
	for _, p := range s.packages {
		if _, err := s.Import(p.path); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Sources) add(name, importPath string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	syntax, err := parser.ParseFile(s.fset, name, text, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	p := s.byPath[importPath]
	if p == nil {
		p = &goPackage{dir: filepath.Dir(name), path: importPath, name: syntax.Name.Name}
		s.byPath[importPath] = p
		s.packages = append(s.packages, p)
	}
	p.files = append(p.files, &goFile{name, text, syntax})
	return nil
}

// Import implements types.Importer: packages of s are checked when they are asked for.
func (s *Sources) Import(importPath string) (*types.Package, error) {
	p := s.byPath[importPath]
	switch {
	case p == nil:
		return s.standard.Import(importPath)
	case p.types != nil:
		return p.types, nil
	}
	p.info = &types.Info{
		Types: make(map[ast.Expr]types.TypeAndValue),
		Uses:  make(map[*ast.Ident]types.Object),
	}
	var files []*ast.File
	for _, f := range p.files {
		files = append(files, f.syntax)
	}
	checked, err := (&types.Config{Importer: s}).Check(importPath, s.fset, files, p.info)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", importPath, err)
	}
	p.types = checked
	return checked, nil
}

// Dirs are the directories of the packages that have tests of their own.
func (s *Sources) Dirs() []string {
	var dirs []string
	for _, p := range s.packages {
		if tests, _ := filepath.Glob(filepath.Join(p.dir, "*_test.go")); len(tests) > 0 {
			dirs = append(dirs, p.dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}
