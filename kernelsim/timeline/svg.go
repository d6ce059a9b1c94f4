package timeline

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"ipcfs/kernelsim/kernel"
)

// Measures of the drawing, in pixels.
const (
	svgRow    = 18
	svgLetter = 7 // a monospaced one at 12 px, generously
	svgGap    = 24
	svgMargin = 16
	svgCell   = 60 // letters, at most
)

// svgWords stand for signs that not every font has.
var svgWords = strings.NewReplacer("⧖", "waiting:", "✗", "×", "→", "->")

// A sheet is a drawing under way.
type sheet struct{ strings.Builder }

// text writes at x, y what fits into that many letters; the whole is shown where a pointer
// rests on it.
func (s *sheet) text(x, y, letters int, text, attributes string) {
	text = Plain(text)
	hint := ""
	if utf8.RuneCountInString(text) > letters {
		hint = "<title>" + EscapeXML(text) + "</title>"
		text = string([]rune(text)[:letters-1]) + "…"
	}
	fmt.Fprintf(s, `<text x="%d" y="%d"%s>%s%s</text>`+"\n", x, y, attributes, EscapeXML(text), hint)
}

func (s *sheet) line(x, y, to int, class string) {
	fmt.Fprintf(s, `<line x1="%d" y1="%d" x2="%d" y2="%d" class="%s"/>`+"\n", x, y, x, to, class)
}

// SVG draws the timeline: time goes down, each process is a line, thick where it
// waits, dotted where it sleeps, and each variable and each object a column. The verdict says
// how the run ended.
func (l *Timeline) SVG(w io.Writer, title, verdict string) error {
	rows := l.seen()
	if len(rows) == 0 {
		rows = []Row{{}}
	}
	last := rows[len(rows)-1]
	type line struct {
		cells []string
		row   Row
	}
	header := l.header(last)
	var lines []line
	for _, r := range rows {
		for _, cells := range l.cells(r, last) {
			lines = append(lines, line{cells, r})
		}
	}
	widths := make([]int, len(header))
	for c, text := range header {
		widths[c] = utf8.RuneCountInString(text)
		for _, ln := range lines {
			if text := ln.cells[c]; !isSign(text) {
				widths[c] = max(widths[c], min(utf8.RuneCountInString(Plain(text)), svgCell))
			}
		}
	}
	x := make([]int, len(header)+1)
	x[0] = svgMargin
	for c, n := range widths {
		x[c+1] = x[c] + n*svgLetter + svgGap
	}
	width := max(x[len(header)], 90*svgLetter) // so much that the legend has room
	letters := (width - 2*svgMargin) / svgLetter

	var s sheet
	y := svgMargin + svgRow/2
	for i, text := range slices.Concat(Wrapped(title, letters*6/7), Wrapped(verdict, letters)) {
		weight := ""
		if i < len(Wrapped(title, letters*6/7)) {
			weight = ` font-weight="bold" font-size="14"`
		}
		s.text(svgMargin, y, letters+1, text, weight)
		y += svgRow
	}
	y += svgRow / 2
	for c, text := range header {
		s.text(x[c], y, svgCell, text, ` font-weight="bold"`)
	}
	y += svgRow / 2
	fmt.Fprintf(&s, `<line x1="%d" y1="%d" x2="%d" y2="%d" class="ready"/>`+"\n", svgMargin, y, width-svgMargin, y)
	for _, ln := range lines {
		for p := range ln.row.Processes {
			switch state := ln.row.Processes[p].State; state {
			case kernel.Exited.String(), "killed":
			default:
				s.line(x[2+p]-svgGap/2, y, y+svgRow, state)
			}
		}
		for c, text := range ln.cells {
			if !isSign(text) {
				s.text(x[c], y+svgRow/2, svgCell, text, "")
			}
		}
		y += svgRow
	}
	y = svgLegend(&s, y+svgRow)

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" font-family="monospace" font-size="12">`+"\n", width, y+svgMargin)
	fmt.Fprintf(&b, "<title>%s</title>\n<desc>%s</desc>\n", EscapeXML(title), EscapeXML(verdict))
	b.WriteString("<style>line{stroke:#888}.blocked,.killing{stroke:#c33;stroke-width:4}.sleeping{stroke-dasharray:2 4}text{dominant-baseline:middle;fill:#111}</style>\n")
	b.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	b.WriteString(s.String() + "</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// svgLegend says what the lines stand for, and returns where it ends.
func svgLegend(s *sheet, y int) int {
	x := svgMargin + 6
	for _, entry := range []struct{ class, text string }{
		{kernel.Ready.String(), "goes on, or could"}, {kernel.Blocked.String(), "waits"}, {kernel.Sleeping.String(), "sleeps"}, {"", "no line: has ended"},
	} {
		if entry.class != "" {
			s.line(x, y-svgRow/2, y+svgRow/2, entry.class)
			x += 2 * svgLetter
		}
		s.text(x, y, svgCell, entry.text, ` class="legend"`)
		x += (utf8.RuneCountInString(entry.text) + 3) * svgLetter
	}
	s.text(svgMargin, y+svgRow, 200, "[…]: what a buffer holds, what comes next first; waiting: who waits for the object", ` class="legend"`)
	return y + 2*svgRow
}

// isSign reports whether text stands for a state that is drawn as a line.
func isSign(text string) bool {
	for _, s := range stateSigns {
		if s == text {
			return true
		}
	}
	return text == ""
}

// Plain is text in signs that every font has.
func Plain(text string) string { return svgWords.Replace(text) }

// Wrapped is text in lines of so many letters.
func Wrapped(text string, letters int) (lines []string) {
	for paragraph := range strings.Lines(text) {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > letters {
				lines, line = append(lines, line), ""
			}
			if line != "" {
				line += " "
			}
			line += word
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// EscapeXML escapes what has a meaning in XML. What XML cannot have at all is shown as Go
// spells it.
func EscapeXML(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '"':
			b.WriteString("&quot;")
		case r < ' ' && r != '\t' && r != '\n', r == 0xfffe, r == 0xffff: // XML 1.0, 2.2: Char
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
