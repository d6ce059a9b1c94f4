// Package scenarios are the scenarios that come with the program.
package scenarios

import (
	"embed"
	"strings"

	"ipcfs/kernelsim/scenario"
)

//go:embed *.ipc
var files embed.FS

// A Scenario is one that comes with the program.
type Scenario struct {
	Name   string
	Title  string
	Source []byte
}

// All lists the scenarios that come with the program, by name.
func All() []Scenario {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err)
	}
	var list []Scenario
	for _, e := range entries {
		source, err := files.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		s := Scenario{Name: strings.TrimSuffix(e.Name(), ".ipc"), Source: source}
		if parsed, err := scenario.Parse(e.Name(), source); err == nil {
			s.Title = parsed.Title
		}
		list = append(list, s)
	}
	return list
}

// Named is the source of the scenario that comes with the program of that name.
func Named(name string) (source []byte, ok bool) {
	source, err := files.ReadFile(strings.TrimSuffix(name, ".ipc") + ".ipc")
	return source, err == nil
}
