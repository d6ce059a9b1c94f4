package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"ipcfs/fs"
)

func waitersCommand() *cobra.Command {
	var asJSON, asDot bool
	cmd := &cobra.Command{
		Use:   "waiters [--json | --dot] [DIR]",
		Short: "List who is blocked, by whom, and deadlocks",
		Long: `waiters lists every blocked process of the ipcfs on DIR and, where that can be
known, who holds what it waits for: units of a semaphore through "hold", the locks of
segments, and the locks of flock(2) and fcntl(2) on files of the mount.

Processes that wait for each other in a circle are named; the exit status is then 1.
A process counts as blocked when one of its threads is, unless another one waits for
something that anybody may send. --dot draws processes and objects for graphviz.`,
		Example: "  ipcfs waiters --dot /tmp/ipc | dot -Tsvg > waiters.svg",
		Args:    atMostOneDirectory,

		DisableFlagsInUseLine: true,
		ValidArgsFunction:     completeMounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			write := writeWaiters
			switch {
			case asJSON:
				write = waitersJSON
			case asDot:
				write = waitersDot
			}
			if err := waiters(cmd.OutOrStdout(), args, write); err != nil {
				return fmt.Errorf("waiters: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&asDot, "dot", false, "print a picture, in the language of graphviz")
	cmd.MarkFlagsMutuallyExclusive("json", "dot")
	return cmd
}

func waiters(w io.Writer, args []string, write func(io.Writer, *waitGraph, []cycle) error) error {
	dir, err := mountArgument(args)
	if err != nil {
		return err
	}
	g, err := readWaitGraph(dir)
	if err != nil {
		return err
	}
	cycles := g.cycles()
	if len(cycles) > 0 {
		// Owners and waiters were not read at one time. A deadlock stays.
		again, err := readWaitGraph(dir)
		if err != nil {
			return err
		}
		cycles = slices.DeleteFunc(cycles, func(c cycle) bool { return !again.has(c) })
	}
	if err := write(w, g, cycles); err != nil {
		return err
	}
	switch len(cycles) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("a deadlock")
	}
	return fmt.Errorf("%d deadlocks", len(cycles))
}

// A claim is a line of .ipcfs/waiters or .ipcfs/owners: what a process waits for or
// holds.
type claim struct {
	Object    string      `json:"object"`
	Pid       uint32      `json:"pid"` // 0 if it is in a PID namespace that the daemon does not see
	Uid       uint32      `json:"uid"`
	Command   string      `json:"command"`
	Operation string      `json:"operation"`
	Seconds   float64     `json:"seconds"`
	Lock      *lockDetail `json:"lock,omitempty"` // of flock(2) and fcntl(2)

	HeldBy []*claim `json:"held_by,omitempty"` // what is in the way of the waiter
}

type lockDetail struct {
	Type  string `json:"type"` // exclusive or shared
	Start uint64 `json:"start"`
	End   uint64 `json:"end"`
	owner string
}

func parseClaim(f []string) (*claim, bool) {
	if len(f) != 6 && len(f) != 10 {
		return nil, false
	}
	n, ok := numbers(f[1:3]...)
	seconds, err := strconv.ParseFloat(f[5], 64)
	if !ok || err != nil {
		return nil, false
	}
	c := &claim{Object: unescape(f[0]), Pid: uint32(n[0]), Uid: uint32(n[1]), Command: f[3], Operation: f[4], Seconds: seconds}
	if len(f) == 10 {
		l := &lockDetail{Type: f[6], End: math.MaxUint64, owner: f[9]}
		var err1, err2 error
		l.Start, err1 = strconv.ParseUint(f[7], 10, 64)
		if f[8] != "max" {
			l.End, err2 = strconv.ParseUint(f[8], 10, 64)
		}
		if err1 != nil || err2 != nil {
			return nil, false
		}
		c.Lock = l
	}
	return c, true
}

// process names whose claim it is.
func (c *claim) process() string { return fmt.Sprintf("%d (%s)", c.Pid, c.Command) }

// inTheWayOf reports whether w waits for the end of c.
func (c *claim) inTheWayOf(w *claim) bool {
	if c.Object != w.Object || c.Operation != w.Operation {
		return false
	}
	if c.Lock == nil || w.Lock == nil {
		return c.Operation == "hold"
	}
	return c.Lock.owner != w.Lock.owner && (c.Lock.Type == "exclusive" || w.Lock.Type == "exclusive") &&
		c.Lock.Start <= w.Lock.End && w.Lock.Start <= c.Lock.End
}

// A waitGraph is who waits for whom.
type waitGraph struct {
	waiters, owners []*claim
	stuck           map[uint32]bool // processes that wait for each other, or for such
}

func readWaitGraph(mount string) (*waitGraph, error) {
	var sides [2][]*claim
	for i, name := range []string{"owners", "waiters"} {
		text, err := lines(mount, name)
		if err != nil {
			return nil, err
		}
		for _, fields := range text {
			c, ok := parseClaim(fields)
			if !ok {
				return nil, badLine(name, fields)
			}
			sides[i] = append(sides[i], c)
		}
	}
	return newWaitGraph(sides[0], sides[1]), nil
}

func newWaitGraph(owners, waiters []*claim) *waitGraph {
	g := &waitGraph{waiters: waiters, owners: owners, stuck: make(map[uint32]bool)}
	for _, w := range waiters {
		for _, o := range owners {
			if o.inTheWayOf(w) {
				w.HeldBy = append(w.HeldBy, o)
			}
		}
		if w.Pid != 0 && len(w.HeldBy) > 0 {
			g.stuck[w.Pid] = true
		}
	}
	// Whoever may go on is taken out, until nobody is left who may.
	for again := true; again; {
		again = false
		for _, w := range waiters {
			if g.stuck[w.Pid] && g.mayEnd(w) {
				delete(g.stuck, w.Pid)
				again = true
			}
		}
	}
	return g
}

// mayEnd reports whether the wait w may end by what processes do that are not stuck. A
// unit of a semaphore may come from any of its owners, a lock has to be given up by
// all that hold it.
func (g *waitGraph) mayEnd(w *claim) bool {
	free := func(o *claim) bool { return !g.stuck[o.Pid] }
	if w.Lock == nil {
		return len(w.HeldBy) == 0 || slices.ContainsFunc(w.HeldBy, free)
	}
	return !slices.ContainsFunc(w.HeldBy, func(o *claim) bool { return !free(o) })
}

// A cycle is processes of which each waits for what the next one holds, the last for
// what the first holds.
type cycle []link

type link struct{ wait, held *claim }

// cycles returns the circles among those who are stuck. No process is in two.
func (g *waitGraph) cycles() []cycle {
	var all []cycle
	seen := make(map[uint32]bool)
	for _, w := range g.waiters {
		var way cycle
		for pid := w.Pid; g.stuck[pid]; {
			if i := slices.IndexFunc(way, func(l link) bool { return l.wait.Pid == pid }); i >= 0 {
				all = append(all, way[i:])
				break
			}
			if seen[pid] {
				break
			}
			seen[pid] = true
			l := g.next(pid)
			way = append(way, l)
			pid = l.held.Pid
		}
	}
	return all
}

// next is a wait of the process that is stuck, and who keeps it.
func (g *waitGraph) next(pid uint32) link {
	for _, w := range g.waiters {
		if w.Pid != pid {
			continue
		}
		for _, o := range w.HeldBy {
			if g.stuck[o.Pid] {
				return link{w, o}
			}
		}
	}
	panic(fmt.Sprintf("waiters: %d is stuck behind nobody", pid))
}

// has reports whether the waits of c, which was seen before, still go on.
func (g *waitGraph) has(c cycle) bool {
	for _, l := range c {
		if !slices.ContainsFunc(g.waiters, func(w *claim) bool {
			return w.Pid == l.wait.Pid && w.Object == l.wait.Object && w.Operation == l.wait.Operation && w.Seconds >= l.wait.Seconds &&
				slices.ContainsFunc(w.HeldBy, func(o *claim) bool { return o.Pid == l.held.Pid && o.Seconds >= l.held.Seconds })
		}) {
			return false
		}
	}
	return true
}

// String tells the story of c.
func (c cycle) String() string {
	var b strings.Builder
	for i, l := range c {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s waits for %s, held by %s", l.wait.process(), l.wait.Object, l.held.process())
	}
	return b.String()
}

func writeWaiters(w io.Writer, g *waitGraph, cycles []cycle) error {
	rows := [][]string{{"OBJECT", "PID", "COMMAND", "USER", "OPERATION", "SECONDS", "HELD BY"}}
	for _, c := range g.waiters {
		var by []string
		for _, o := range c.HeldBy {
			if name := o.process(); !slices.Contains(by, name) {
				by = append(by, name)
			}
		}
		if by == nil {
			by = []string{"-"}
		}
		rows = append(rows, []string{c.Object, strconv.Itoa(int(c.Pid)), c.Command, userName(c.Uid), c.Operation,
			strconv.FormatFloat(c.Seconds, 'f', 1, 64), strings.Join(by, ", ")})
	}
	if err := writeTable(w, rows); err != nil {
		return err
	}
	for _, c := range cycles {
		if _, err := fmt.Fprintf(w, "deadlock: %s\n", fs.Visible(c.String())); err != nil {
			return err
		}
	}
	return nil
}

func waitersJSON(w io.Writer, g *waitGraph, cycles []cycle) error {
	type member struct {
		Pid      uint32 `json:"pid"`
		Command  string `json:"command"`
		WaitsFor string `json:"waits_for"`
	}
	out := struct {
		Waiters   []*claim   `json:"waiters"`
		Deadlocks [][]member `json:"deadlocks"`
	}{append([]*claim{}, g.waiters...), [][]member{}}
	for _, c := range cycles {
		var members []member
		for _, l := range c {
			members = append(members, member{l.wait.Pid, l.wait.Command, l.wait.Object})
		}
		out.Deadlocks = append(out.Deadlocks, members)
	}
	return writeJSON(w, out)
}

// waitersDot draws an arrow from a process to what it waits for, and from that to who
// holds it. Those of a deadlock are red.
func waitersDot(w io.Writer, g *waitGraph, cycles []cycle) error {
	quote := func(s string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(fs.Visible(s)) + `"`
	}
	var b strings.Builder
	b.WriteString("digraph waiters {\n")
	declared := make(map[string]bool)
	once := func(format string, args ...any) {
		if line := fmt.Sprintf(format, args...); !declared[line] {
			declared[line] = true
			b.WriteString(line)
		}
	}
	red := func(waits bool, pid uint32, object string) string {
		for _, c := range cycles {
			for _, l := range c {
				if object == l.wait.Object && (waits && pid == l.wait.Pid || !waits && pid == l.held.Pid) {
					return ", color=red"
				}
			}
		}
		return ""
	}
	process := func(c *claim) { once("\tp%d [shape=box, label=%s];\n", c.Pid, quote(c.process())) }
	for _, c := range g.waiters {
		process(c)
		once("\t%s [shape=ellipse];\n", quote(c.Object))
		once("\tp%d -> %s [label=%s%s];\n", c.Pid, quote(c.Object), quote(c.Operation), red(true, c.Pid, c.Object))
		for _, o := range c.HeldBy {
			process(o)
			once("\t%s -> p%d [label=\"held by\"%s];\n", quote(c.Object), o.Pid, red(false, o.Pid, c.Object))
		}
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}
