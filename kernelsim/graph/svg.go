package graph

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"ipcfs/kernelsim/timeline"
)

// Drawn is how many states SVG draws: with more, nobody finds one.
const Drawn = 150

// Measures in pixels.
const (
	letter   = 6.1 // a monospaced one at 10 px
	row      = 13
	padding  = 7
	between  = 26 // boxes of a layer
	layers   = 62 // room for the steps from one to the next
	margin   = 20
	captions = 18
)

// sweeps is how often the layers are put in order after each other: a few do nearly all.
const sweeps = 8

// SVG draws g in layers: what so many steps lead to stands in one.
func (g *Graph) SVG() []byte {
	order := g.arrange()
	width, height := 0.0, 0
	for _, s := range g.States {
		height = max(height, row*(len(s.Lines)+1)+2*padding)
		for _, text := range s.Lines {
			width = max(width, float64(utf8.RuneCountInString(text))*letter)
		}
	}
	width += 2 * padding
	widest := 1
	for _, layer := range order {
		widest = max(widest, len(layer))
	}
	head := margin + captions*(len(g.heading())+1)
	total := max(float64(widest)*(width+between)+2*margin+80, 640)
	x, y := make([]float64, len(g.States)), make([]float64, len(g.States))
	for depth, layer := range order {
		left := (total - float64(len(layer))*(width+between) + between) / 2
		for i, s := range layer {
			x[s], y[s] = left+float64(i)*(width+between), float64(head+depth*(height+layers))
		}
	}
	bottom := head + len(order)*(height+layers) + captions
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" viewBox="0 0 %.0[1]f %[2]d" font-family="monospace" font-size="10">`+"\n", total, bottom)
	fmt.Fprintf(&b, "<title>%s</title>\n", escape(g.Title))
	b.WriteString("<style>.box{fill:#fff;stroke:#777}.step{fill:none;stroke:#999}.path{stroke:" + pathColor + ";stroke-width:3}text{fill:#111}.faint{fill:#555}</style>\n")
	fmt.Fprintf(&b, `<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="#777"/></marker>`+
		`<marker id="path-tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="12" markerHeight="12" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="%s"/></marker></defs>`+"\n", pathColor)
	b.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	for i, text := range g.heading() {
		size := 11
		if i < len(timeline.Wrapped(g.Title, titleLetters)) {
			size = 14
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-size="%d">%s</text>`+"\n", margin, margin+captions*i+10, size, escape(text))
	}
	g.legend(&b, bottom-captions/2)
	// What is pointed out lies on top.
	steps := slices.Clone(g.Steps)
	slices.SortStableFunc(steps, func(a, b Step) int {
		if a.Path == b.Path {
			return 0
		} else if a.Path {
			return 1
		}
		return -1
	})
	for _, e := range steps {
		g.draw(&b, e, x, y, width, float64(height))
	}
	for i, s := range g.States {
		fill := cmp.Or(colors[s.End].fill, "#fff")
		class := "box"
		if s.Path {
			class += " path"
		}
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" rx="5" class="%s" style="fill:%s"/>`+"\n", x[i], y[i], width, height, class, fill)
		name := fmt.Sprint(i)
		if meaning := colors[s.End].meaning; meaning != "" {
			name += ": " + meaning
		}
		for n, text := range append([]string{name}, s.Lines...) {
			attributes := ""
			if n == 0 {
				attributes = ` font-weight="bold"`
			}
			fmt.Fprintf(&b, `<text x="%.1f" y="%.1f"%s>%s</text>`+"\n", x[i]+padding, y[i]+padding+float64(row*(n+1))-3, attributes, escape(text))
		}
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// So many letters of the title and of the caption fit in a line.
const titleLetters, captionLetters = 68, 88

// heading is the title and the caption, in lines that fit.
func (g *Graph) heading() []string {
	return slices.Concat(timeline.Wrapped(g.Title, titleLetters), timeline.Wrapped(g.caption(), captionLetters))
}

func (g *Graph) legend(b *strings.Builder, y int) {
	x := margin
	for _, entry := range []struct{ fill, stroke, text string }{
		{colors["done"].fill, "#777", "an end"}, {colors["deadlock"].fill, "#777", "a deadlock, a violation"}, {"#fff", pathColor, "the run that is pointed out"},
	} {
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="14" height="10" rx="2" style="fill:%s;stroke:%s;stroke-width:2"/><text x="%d" y="%d" class="faint">%s</text>`+"\n",
			x, y-9, entry.fill, entry.stroke, x+20, y, entry.text)
		x += 20 + int(float64(len(entry.text))*letter) + 24
	}
}

// arrange puts the states of each layer in an order in which few steps cross: each stands
// about in the middle of those it has steps with in the layer before.
func (g *Graph) arrange() (order [][]int) {
	place := make([]float64, len(g.States))
	for i, s := range g.States {
		for s.Depth >= len(order) {
			order = append(order, nil)
		}
		place[i] = float64(len(order[s.Depth]))
		order[s.Depth] = append(order[s.Depth], i)
	}
	for sweep := range sweeps {
		down := sweep%2 == 0
		for n := range order {
			depth := n
			if !down {
				depth = len(order) - 1 - n
			}
			sum, count := map[int]float64{}, map[int]float64{}
			for _, e := range g.Steps {
				from, to := e.From, e.To
				if !down {
					from, to = to, from
				}
				if g.States[to].Depth == depth && g.States[from].Depth != depth {
					sum[to] += place[from] / float64(max(1, len(order[g.States[from].Depth])))
					count[to]++
				}
			}
			center := func(i int) float64 {
				if count[i] == 0 {
					return place[i] / float64(len(order[depth]))
				}
				return sum[i] / count[i]
			}
			slices.SortStableFunc(order[depth], func(a, b int) int { return cmp.Compare(center(a), center(b)) })
			for i, s := range order[depth] {
				place[s] = float64(i) + 0.5
			}
		}
	}
	return order
}

// draw draws a step: down to the next layer, and around the boxes to any other.
func (g *Graph) draw(b *strings.Builder, e Step, x, y []float64, width, height float64) {
	class, tip := "step", "tip"
	if e.Path {
		class, tip = "step path", "path-tip"
	}
	fromX, toX := x[e.From]+width/2, x[e.To]+width/2
	var shape string
	labelX, labelY := (fromX+toX)/2, (y[e.From]+height+y[e.To])/2
	switch {
	case g.States[e.To].Depth > g.States[e.From].Depth:
		shape = fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", fromX, y[e.From]+height, fromX, y[e.From]+height+layers/2, toX, y[e.To]-layers/2, toX, y[e.To])
	case g.States[e.To].Depth == g.States[e.From].Depth && e.To != e.From:
		low := y[e.From] + height
		shape = fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", fromX, low, fromX, low+layers*0.6, toX, low+layers*0.6, toX, low)
		labelY = low + layers/2
	default:
		// From the right of one box to the right of the other.
		bend := 24 + math.Abs(y[e.From]-y[e.To])/12
		fromY, toY := y[e.From]+height*0.65, y[e.To]+height*0.35
		shape = fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", x[e.From]+width, fromY, x[e.From]+width+bend, fromY, x[e.To]+width+bend, toY, x[e.To]+width, toY)
		labelX, labelY = max(x[e.From], x[e.To])+width+bend/2, (fromY+toY)/2
	}
	fmt.Fprintf(b, `<path d="%s" class="%s" marker-end="url(#%s)"><title>%s</title></path>`+"\n", shape, class, tip, escape(e.Text))
	if e.Path {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle" font-weight="bold" style="paint-order:stroke;stroke:#fff;stroke-width:4px">%s</text>`+"\n", labelX, labelY+3, escape(short(e.Text)))
	}
}

// escape is text as XML has it, in signs that every font has.
func escape(text string) string { return timeline.EscapeXML(timeline.Plain(text)) }
