package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	goFUSE = "github.com/hanwen/go-fuse/"
	xSys   = "golang.org/x/sys/"
	cbor   = "github.com/fxamacker/cbor/v2"
)

// A layer says what its packages may import besides the standard library.
type layer struct {
	packages string
	may      []string
	never    []string // of the standard library directly; of the module by way of others, too
}

// timeless is what no simulation may import: what reads a clock, and the mount.
var timeless = []string{"time", "sync", "sync/atomic", "os", "context", "ipcfs/fs/"}

// determined is what no object may import.
var determined = append([]string{"math/rand", "math/rand/v2"}, timeless...)

// layers is the table of the architecture: a path that ends in a slash stands for all below it. A package without a row
// is an error: give it one.
var layers = []layer{
	{"ipcfs/objects", []string{cbor}, determined},
	{"ipcfs/objects/semaphore", []string{"ipcfs/objects"}, determined},
	{"ipcfs/objects/segment", []string{"ipcfs/objects", "ipcfs/objects/semaphore"}, determined},
	{"ipcfs/objects/mailbox", []string{"ipcfs/objects", "ipcfs/objects/segment"}, determined},
	{"ipcfs/objects/pipe", []string{"ipcfs/objects", "ipcfs/objects/mailbox"}, determined},
	{"ipcfs/objects/filelock", []string{"ipcfs/objects"}, determined},
	{"ipcfs/objects/trace", []string{"ipcfs/objects"}, determined},
	{"ipcfs/objects/objecttest", []string{"ipcfs/objects"}, nil},
	{"ipcfs/kernelsim/kernel", []string{"ipcfs/objects/"}, timeless},
	{"ipcfs/kernelsim/explore", []string{"ipcfs/kernelsim/kernel"}, timeless},
	{"ipcfs/kernelsim/laws", []string{"ipcfs/objects/", "ipcfs/kernelsim/kernel"}, timeless},
	{"ipcfs/kernelsim/mutants", nil, nil},
	{"ipcfs/kernelsim/timeline", []string{"ipcfs/objects/", "ipcfs/kernelsim/kernel"}, timeless},
	{"ipcfs/kernelsim/graph", []string{"ipcfs/kernelsim/kernel", "ipcfs/kernelsim/timeline"}, timeless},
	{"ipcfs/kernelsim/page", []string{"ipcfs/kernelsim/timeline"}, timeless},
	{"ipcfs/kernelsim/cost", []string{"ipcfs/objects/", "ipcfs/kernelsim/kernel"}, timeless},
	{"ipcfs/kernelsim/scenario", []string{"ipcfs/objects/", "ipcfs/kernelsim/kernel", "ipcfs/kernelsim/explore", "ipcfs/kernelsim/laws", "ipcfs/kernelsim/timeline"}, timeless},
	{"ipcfs/kernelsim/generate", nil, timeless},
	{"ipcfs/kernelsim/scenarios", []string{"ipcfs/kernelsim/scenario"}, timeless},
	{"ipcfs/kernelsim/live", []string{"ipcfs/objects/", "ipcfs/kernelsim/kernel", "ipcfs/kernelsim/scenario", "ipcfs/kernelsim/timeline"}, []string{"ipcfs/fs/"}},
	{"ipcfs/kernelsim", []string{"ipcfs/objects/", "ipcfs/kernelsim/"}, timeless},
	{"ipcfs/fs/fusedev", []string{goFUSE, xSys}, nil},
	{"ipcfs/fs", []string{"ipcfs/objects/", "ipcfs/fs/fusedev", goFUSE, xSys}, []string{"ipcfs/kernelsim/"}},
	{"ipcfs/cmd/", []string{""}, nil},
	{"ipcfs/tests/", []string{""}, nil},
}

// A goPackage is what go list -json says of one.
type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

func TestLayersImportOnlyWhatTheyMay(t *testing.T) {
	t.Parallel()
	packages := goList(t)
	standard := make(map[string]bool)
	for _, p := range packages {
		standard[p.ImportPath] = p.Standard
	}
	checked := 0
	for _, p := range packages {
		if p.ImportPath != "ipcfs" && !strings.HasPrefix(p.ImportPath, "ipcfs/") {
			continue
		}
		checked++
		row := slices.IndexFunc(layers, func(l layer) bool { return covers(l.packages, p.ImportPath) })
		if row < 0 {
			t.Errorf("%s has no row in the table of layers", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if !standard[imported] && !coversAny(layers[row].may, imported) {
				t.Errorf("%s imports %s, which its layer may not", p.ImportPath, imported)
			}
			if coversAny(layers[row].never, imported) {
				t.Errorf("%s imports %s, which its layer must never", p.ImportPath, imported)
			}
		}
		for _, dep := range p.Deps {
			if !standard[dep] && coversAny(layers[row].never, dep) {
				t.Errorf("%s depends on %s, which its layer must never", p.ImportPath, dep)
			}
		}
	}
	if checked < 4 {
		t.Errorf("go list knows %d packages of the module, want objects, fs, fusedev and cmd at least", checked)
	}
}

func coversAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, path) })
}

func covers(pattern, path string) bool {
	below := pattern == "" || strings.HasSuffix(pattern, "/")
	return path == strings.TrimSuffix(pattern, "/") || below && strings.HasPrefix(path, pattern)
}

// goList describes the packages of the module and all they depend on.
func goList(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports,Deps", "./...")
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var all []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
