package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/spf13/cobra"

	"ipcfs/objects"
)

func topCommand() *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "top [--every DURATION] [DIR]",
		Short: "Watch the objects of a mount and who is blocked",
		Long: `top shows, again and again, how full the objects of the ipcfs on DIR are and how fast
that changes, and who is blocked. Keys: n sorts by name, f by fill, w by waiters, r by
rate; / asks for a part of the names to show; q ends it.`,
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
			for _, r := range line {
				screen.SetContent(x, y, r, nil, tcell.StyleDefault.Reverse(y == 1))
				x++
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
}

// A watched object is one with what has become of it since the last look.
type watched struct {
	*listed
	rate float64 // messages, bytes or units a second, more or less
}

// look reads the mount.
func (v *topView) look(now time.Time) error {
	all, err := listObjects(v.dir)
	if err != nil {
		return err
	}
	g, err := readWaitGraph(v.dir)
	if err != nil {
		return err
	}
	before := make(map[string]int64)
	for _, o := range v.objects {
		before[o.Path], _, _ = o.level()
	}
	passed := now.Sub(v.seen).Seconds()
	v.objects, v.blocked, v.seen = nil, g.waiters, now
	for _, o := range all {
		w := &watched{listed: o}
		held, _, _ := o.level()
		if old, ok := before[o.Path]; ok && passed > 0 {
			w.rate = float64(held-old) / passed
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
	}
	return true
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
		order = cmp.Compare(max(b.rate, -b.rate), max(a.rate, -a.rate))
	}
	return cmp.Or(order, strings.Compare(a.Path, b.Path))
}

// barWidth is how many columns a full object has.
const barWidth = 20

// lines is the screen: a heading, the objects, and who is blocked in what is left.
func (v *topView) lines(width, height int) []string {
	var shown []*watched
	for _, o := range v.objects {
		if strings.Contains(o.Path, v.filter) {
			shown = append(shown, o)
		}
	}
	slices.SortFunc(shown, v.less)
	head := fmt.Sprintf("ipcfs %s: %d objects, %d blocked   n f w r sort  / filter  q quit", v.dir, len(v.objects), len(v.blocked))
	if v.asking || v.filter != "" {
		head += "   /" + v.filter
	}
	all := []string{head, fmt.Sprintf("%-32s %-*s %16s %12s %8s", "OBJECT", barWidth+2, "", "FILL", "CHANGE/S", "WAITERS")}
	for _, o := range shown {
		full := int(o.fraction()*barWidth + 0.5)
		all = append(all, fmt.Sprintf("%-32s [%s%s] %16s %+12.1f %8d", o.Path, strings.Repeat("#", full), strings.Repeat(" ", barWidth-full),
			o.fill(), o.rate, o.Waiting))
	}
	all = append(all, "")
	for _, c := range v.blocked {
		if strings.Contains(c.Object, v.filter) {
			all = append(all, fmt.Sprintf("%s waits in %s of %s for %.0f s", c.process(), c.Operation, c.Object, c.Seconds))
		}
	}
	all = all[:min(len(all), height)]
	for i, line := range all {
		if runes := []rune(line); len(runes) > width {
			all[i] = string(runes[:width])
		}
	}
	all[min(1, len(all)-1)] = fmt.Sprintf("%-*s", width, all[min(1, len(all)-1)])
	return all
}
