// Package page makes a run a page of its own: one file, of no network and no other file, that
// plays the run step by step beside its source.
//
// What the scenario says, from its title to the values in its messages, reaches the page as
// JSON in which no tag can begin, and the script shows it as text. A policy in the page lets
// nothing run but the script that is built in.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"reflect"
	"strings"

	"ipcfs/kernelsim/timeline"
)

//go:embed page.html
var skeleton string

//go:embed page.css
var style string

//go:embed page.js
var script string

// A Run is what a page plays.
type Run struct {
	Title   string         `json:"title"`
	File    string         `json:"file"`
	Result  string         `json:"result"` // done, deadlock, … of an Outcome
	Verdict string         `json:"verdict"`
	Lines   []string       `json:"lines"` // of the source
	Rows    []timeline.Row `json:"rows"`
}

// Make makes the page of the run that line has taken down, of the scenario in source.
func Make(r Run, source []byte, line *timeline.Timeline) Run {
	text := strings.TrimRight(strings.ReplaceAll(string(source), "\r\n", "\n"), "\n")
	r.Lines = strings.Split(text, "\n")
	for _, row := range line.Rows {
		if row.Processes == nil {
			continue
		}
		if n := len(r.Rows); n > 0 && len(row.Events) == 0 && same(r.Rows[n-1], row) {
			continue
		}
		r.Rows = append(r.Rows, row)
	}
	return r
}

// same reports whether nothing is to be seen of the step from a to b.
func same(a, b timeline.Row) bool {
	return reflect.DeepEqual(a.Processes, b.Processes) && reflect.DeepEqual(a.Variables, b.Variables) && reflect.DeepEqual(a.Objects, b.Objects)
}

// Write writes the page of r.
func Write(w io.Writer, r Run) error {
	var data bytes.Buffer
	// The encoder spells <, > and & as \u003c and so on: nothing in it ends a script.
	if err := json.NewEncoder(&data).Encode(r); err != nil {
		return err
	}
	title := r.Title
	if title == "" {
		title = r.File
	}
	_, err := strings.NewReplacer(
		"{{title}}", html.EscapeString(title),
		"{{policy}}", "default-src 'none'; style-src "+digest(style)+"; script-src "+digest(script)+"; base-uri 'none'; form-action 'none'",
		"{{style}}", style,
		"{{data}}", strings.TrimSpace(data.String()),
		"{{script}}", script,
	).WriteString(w, skeleton)
	return err
}

// digest is how a Content-Security-Policy names what may be in the page: CSP Level 3, 2.3.1.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
