package timeline

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"ipcfs/kernelsim/kernel"
)

// Measures of the drawing, in pixels.
const (
	svgRow    = 18
	svgLetter = 7 // a monospaced one at 12 px, generously
	svgGap    = 24
	svgTop    = 30
)

// SVG draws the timeline: time goes down, each process is a line, thick where it
// waits, dotted where it sleeps, and each object a column.
func (l *Timeline) SVG(w io.Writer, title string) error {
	var rows []Row
	for _, r := range l.Rows {
		if len(r.Events) > 0 && r.Processes != nil {
			rows = append(rows, r)
		}
	}
	var b strings.Builder
	if len(rows) == 0 {
		rows = []Row{{}}
	}
	last := rows[len(rows)-1]
	type line struct {
		cells []string
		row   Row
	}
	header := []string{"time"}
	for _, p := range last.Processes {
		header = append(header, p.Name)
	}
	for _, o := range last.Objects {
		header = append(header, o.Name)
	}
	var lines []line
	widths := make([]int, len(header))
	for _, r := range rows {
		for _, cells := range l.cells(r, last) {
			lines = append(lines, line{cells[1:], r}) // without the step
		}
	}
	// The signs of states are drawn as lines.
	sign := func(text string) bool {
		for _, s := range stateSigns {
			if s == text {
				return true
			}
		}
		return text == ""
	}
	for c, text := range header {
		widths[c] = utf8.RuneCountInString(text)
		for _, ln := range lines {
			if n := utf8.RuneCountInString(ln.cells[c]); !sign(ln.cells[c]) {
				widths[c] = max(widths[c], min(n, maxCell))
			}
		}
	}
	x := make([]int, len(header)+1)
	for c, n := range widths {
		x[c+1] = x[c] + n*svgLetter + svgGap
	}
	height := svgTop + (len(lines)+1)*svgRow
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="monospace" font-size="12">`+"\n", x[len(header)]+svgGap, height)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>line{stroke:#888}.blocked{stroke:#c33;stroke-width:4}.sleeping{stroke-dasharray:2 4}text{dominant-baseline:middle}</style>\n", escapeXML(title))
	b.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	write := func(c, y int, text, attributes string) {
		if n := utf8.RuneCountInString(text); n > maxCell {
			text = string([]rune(text)[:maxCell-1]) + "…"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d"%s>%s</text>`+"\n", x[c]+svgGap, y, attributes, escapeXML(text))
	}
	for c, text := range header {
		write(c, svgTop/2, text, ` font-weight="bold"`)
	}
	for i, ln := range lines {
		y := svgTop + i*svgRow
		for p := range ln.row.Processes {
			switch state := ln.row.Processes[p].State; state {
			case kernel.Exited.String(), "killed":
			default:
				at := x[1+p] + svgGap/2
				fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d" class="%s"/>`+"\n", at, y, at, y+svgRow, state)
			}
		}
		for c, text := range ln.cells {
			if !sign(text) {
				write(c, y+svgRow/2, text, "")
			}
		}
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func escapeXML(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}
