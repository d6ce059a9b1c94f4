package main

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"

	"ipcfs/fs"
	"ipcfs/objects"
)

func topCommand() *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "top [--every DURATION] [DIR]",
		Short: "Watch the objects of a mount and who is blocked",
		Long: `top shows, again and again, how full the objects of the ipcfs on DIR are, how much comes
in and goes out in a second, and who is blocked: messages of mailboxes, bytes of pipes,
units of semaphores. Keys: n sorts by name, f by fill, w by waiters, r by rate; arrows,
PgUp, PgDn, Home and End scroll, Tab chooses whether the objects or the blocked; / asks
for a part of the names to show; q ends it.`,
		Example: "  ipcfs top /tmp/ipc",
		Args:    atMostOneDirectory,

		DisableFlagsInUseLine: true,
		ValidArgsFunction:     completeMounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			if every <= 0 {
				return usageError{cmd.CommandPath(), fmt.Errorf("top: every %v is too often", every)}
			}
			dir, err := mountArgument(args)
			if err == nil {
				err = top(dir, every)
			}
			if err != nil {
				return fmt.Errorf("top: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&every, "every", time.Second, "how often to look")
	return cmd
}

// top runs until q is pressed or the mount is gone.
func top(dir string, every time.Duration) error {
	v := &topView{dir: dir, sort: 'n'}
	if err := v.look(time.Now()); err != nil {
		return err
	}
	screen, err := tcell.NewScreen()
	if err != nil {
		return err
	}
	if err := screen.Init(); err != nil {
		return err
	}
	defer screen.Fini()
	events, quit := make(chan tcell.Event), make(chan struct{})
	defer close(quit)
	go screen.ChannelEvents(events, quit)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		width, height := screen.Size()
		screen.Clear()
		for y, line := range v.lines(width, height) {
			x := 0
			for g := uniseg.NewGraphemes(fs.Visible(line.text)); g.Next(); x += g.Width() {
				screen.SetContent(x, y, g.Runes()[0], g.Runes()[1:], tcell.StyleDefault.Reverse(line.heading))
			}
		}
		screen.Show()
		select {
		case now := <-tick.C:
			if err := v.look(now); err != nil {
				return err
			}
		case e := <-events:
			switch e := e.(type) {
			case nil:
				return nil
			case *tcell.EventResize:
				screen.Sync()
			case *tcell.EventKey:
				if !v.key(e.Key(), e.Rune()) {
					return nil
				}
			}
		}
	}
}

// A topView is what top shows.
type topView struct {
	dir     string
	sort    rune // the key that chose the order
	filter  string
	asking  bool // the filter is being typed
	seen    time.Time
	objects []*watched
	blocked []*claim

	first   [2]int // the first row shown of each pane
	page    [2]int // how many rows of it were shown last
	focused pane   // which one the keys scroll
}

// A pane is a part of the screen that scrolls by itself.
type pane int

const (
	objectPane pane = iota
	blockedPane
)

// A watched object is one with what went through it since the last look.
type watched struct {
	*listed
	flow
	in, out float64 // messages, bytes or units a second
}

// A flow is how much has ever gone through an object.
type flow struct{ in, out int64 }

// flowMetrics are the metrics of .ipcfs/metrics that make a flow, by name.
func flowMetrics() map[string]objects.Flow {
	flows := make(map[string]objects.Flow)
	for _, k := range objects.Kinds() {
		for _, c := range k.Counters {
			if c.Flow != objects.NoFlow {
				flows[fs.Metric(k.Name, c)] = c.Flow
			}
		}
	}
	return flows
}

// readFlows reads the flows of all objects of the mount, by their paths.
func readFlows(mount string) (map[string]flow, error) {
	text, err := os.ReadFile(filepath.Join(mount, ".ipcfs", "metrics"))
	if err != nil {
		return nil, err
	}
	flows, metrics := make(map[string]flow), flowMetrics()
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, `{object="`)
		direction, ok := metrics[name]
		path, value, cut := strings.Cut(rest, `"} `)
		if !ok || !cut {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil {
			return nil, fmt.Errorf(".ipcfs/metrics has the line %q; is the daemon of another version?", line)
		}
		// The escapes of labels in Prometheus' text format.
		path = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n").Replace(path)
		f := flows[path]
		if direction == objects.Inward {
			f.in += n
		} else {
			f.out += n
		}
		flows[path] = f
	}
	return flows, nil
}

// look reads the mount.
func (v *topView) look(now time.Time) error {
	all, err := listObjects(v.dir)
	if err != nil {
		return err
	}
	flows, err := readFlows(v.dir)
	if err != nil {
		return err
	}
	g, err := readWaitGraph(v.dir)
	if err != nil {
		return err
	}
	before := make(map[string]flow)
	for _, o := range v.objects {
		before[o.Path] = o.flow
	}
	passed := now.Sub(v.seen).Seconds()
	v.objects, v.blocked, v.seen = nil, g.waiters, now
	for _, o := range all {
		w := &watched{listed: o, flow: flows[o.Path]}
		// One of that name may have been destroyed and made anew.
		if old, ok := before[o.Path]; ok && passed > 0 && old.in <= w.flow.in && old.out <= w.flow.out {
			w.in, w.out = float64(w.flow.in-old.in)/passed, float64(w.flow.out-old.out)/passed
		}
		v.objects = append(v.objects, w)
	}
	return nil
}

// key reports whether top goes on after the key.
func (v *topView) key(key tcell.Key, r rune) bool {
	switch {
	case key == tcell.KeyCtrlC:
		return false
	case v.asking:
		switch key {
		case tcell.KeyEnter:
			v.asking = false
		case tcell.KeyEscape:
			v.asking, v.filter = false, ""
		case tcell.KeyBackspace, tcell.KeyBackspace2:
			if runes := []rune(v.filter); len(runes) > 0 {
				v.filter = string(runes[:len(runes)-1])
			}
		case tcell.KeyRune:
			v.filter += string(r)
		}
	case key == tcell.KeyRune && r == '/':
		v.asking, v.filter = true, ""
	case key == tcell.KeyRune && strings.ContainsRune("nfwr", r):
		v.sort = r
	case key == tcell.KeyRune && r == 'q':
		return false
	case key == tcell.KeyTab:
		v.focused = 1 - v.focused
	default:
		v.scroll(key)
	}
	return true
}

// scroll moves the focused pane; lines keeps it within what there is.
func (v *topView) scroll(key tcell.Key) {
	first, page := &v.first[v.focused], v.page[v.focused]
	switch key {
	case tcell.KeyUp:
		*first--
	case tcell.KeyDown:
		*first++
	case tcell.KeyPgUp:
		*first -= page
	case tcell.KeyPgDn:
		*first += page
	case tcell.KeyHome:
		*first = 0
	case tcell.KeyEnd:
		*first = math.MaxInt
	}
}

// fraction is how full o is, from 0 to 1.
func (o *listed) fraction() float64 {
	held, full, what := o.level()
	if what == "" || full == objects.Unbounded || full <= 0 {
		return 0
	}
	return min(float64(held)/float64(full), 1)
}

func (v *topView) less(a, b *watched) int {
	var order int
	switch v.sort {
	case 'f':
		order = cmp.Compare(b.fraction(), a.fraction())
	case 'w':
		order = cmp.Compare(b.Waiting, a.Waiting)
	case 'r':
		order = cmp.Compare(b.in+b.out, a.in+a.out)
	}
	return cmp.Or(order, strings.Compare(a.Path, b.Path))
}

// barWidth is how many columns a full object has, restWidth what a row has beside its name.
const barWidth, restWidth = 20, 78

// elide makes s fit into so many columns. What is left out is in the middle: names often
// differ at their ends.
func elide(s string, columns int) string {
	if uniseg.StringWidth(s) > columns {
		end := s
		for uniseg.StringWidth(end) > columns/3 {
			_, end, _, _ = uniseg.FirstGraphemeClusterInString(end, -1)
		}
		s = cut(s, columns-1-uniseg.StringWidth(end)) + "…" + end
	}
	return pad(s, columns)
}

// cut is the beginning of s that fits into so many columns.
func cut(s string, columns int) string {
	g := uniseg.NewGraphemes(s)
	end := 0
	for g.Next() && columns >= g.Width() {
		columns -= g.Width()
		_, end = g.Positions()
	}
	return s[:end]
}

// pad fills s up to so many columns.
func pad(s string, columns int) string {
	return s + strings.Repeat(" ", max(columns-uniseg.StringWidth(s), 0))
}

// A screenLine is a row of the screen.
type screenLine struct {
	text    string
	heading bool
}

// lines is the screen: a line on the whole, the objects, and who is blocked, who has a
// third of it at most.
func (v *topView) lines(width, height int) []screenLine {
	var shown []*watched
	for _, o := range v.objects {
		if strings.Contains(o.Path, v.filter) {
			shown = append(shown, o)
		}
	}
	slices.SortFunc(shown, v.less)
	var blocked []string
	for _, c := range v.blocked {
		if strings.Contains(c.Object, v.filter) {
			blocked = append(blocked, fmt.Sprintf("%s waits in %s of %s for %.0f s", c.process(), c.Operation, c.Object, c.Seconds))
		}
	}
	head := fmt.Sprintf("ipcfs %s: %d objects, %d blocked   n f w r sort  / filter  Tab arrows scroll  q quit", v.dir, len(v.objects), len(v.blocked))
	if v.asking || v.filter != "" {
		head += "   /" + v.filter
	}
	name := min(max(width-restWidth, 12), 60)
	rows := []string{}
	for _, o := range shown {
		full := int(o.fraction()*barWidth + 0.5)
		rows = append(rows, fmt.Sprintf("%s [%s%s] %16s %10s %10s %8d", elide(o.Path, name), strings.Repeat("#", full), strings.Repeat(" ", barWidth-full),
			o.fill(), o.rate(o.in), o.rate(o.out), o.Waiting))
	}
	columns := fmt.Sprintf(" %-*s %16s %10s %10s %8s", barWidth+2, "", "FILL", "IN/S", "OUT/S", "WAITERS")
	room := max(height-2, 0) // without the two lines above the objects
	bottom := 0
	if len(blocked) > 0 {
		bottom = min(len(blocked), max(room/3, 1))
		room = max(room-bottom-1, 0)
	}
	all := append([]screenLine{{text: head}}, v.pane(objectPane, "OBJECT", name, columns, rows, room)...)
	if bottom > 0 {
		for len(all) < room+2 {
			all = append(all, screenLine{})
		}
		all = append(all, v.pane(blockedPane, "BLOCKED", name, "", blocked, bottom)...)
	}
	all = all[:min(len(all), height)]
	for i := range all {
		all[i].text = cut(all[i].text, width)
		if all[i].heading {
			all[i].text = pad(all[i].text, width)
		}
	}
	return all
}

// pane is the heading of p, whose first column is so wide, and as many of its rows as there
// is room for.
func (v *topView) pane(p pane, title string, width int, columns string, rows []string, room int) []screenLine {
	first := max(min(v.first[p], len(rows)-room), 0)
	last := min(first+room, len(rows))
	v.first[p], v.page[p] = first, room
	if first > 0 || last < len(rows) {
		mark := ""
		if v.focused == p {
			mark = ">"
		}
		title += fmt.Sprintf(" %s %d-%d of %d", mark, first+1, last, len(rows))
	}
	all := []screenLine{{elide(title, width) + columns, true}}
	for _, text := range rows[first:last] {
		all = append(all, screenLine{text: text})
	}
	return all
}

// rate is what goes through o in a second, in a column.
func (o *watched) rate(perSecond float64) string {
	switch l := o.levelOfKind(); {
	case l.Full == "": // nothing goes through it
		return "-"
	case l.Unit == "bytes":
		return size(int64(perSecond + 0.5))
	}
	return fmt.Sprintf("%.1f", perSecond)
}
