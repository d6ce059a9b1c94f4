package main

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"ipcfs/fs"
	"ipcfs/objects"
)

func lsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls [--json] [DIR]",
		Short: "List the objects of a mount",
		Long: `ls lists every object of the ipcfs on DIR: what it is, whose, how full, how many
processes wait for it, and the policies that are not what a new object has. DIR may
be left out where one ipcfs is mounted. --json has every policy.`,
		Example: "  ipcfs ls /tmp/ipc",
		Args:    atMostOneDirectory,

		DisableFlagsInUseLine: true,
		ValidArgsFunction:     completeMounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := ls(cmd, args, asJSON); err != nil {
				return fmt.Errorf("ls: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func ls(cmd *cobra.Command, args []string, asJSON bool) error {
	dir, err := mountArgument(args)
	if err != nil {
		return err
	}
	all, err := listObjects(dir)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), all)
	}
	rows := [][]string{{"KIND", "NAME", "OWNER", "MODE", "FILL", "WAITERS", "POLICIES"}}
	for _, o := range all {
		rows = append(rows, []string{o.Kind, o.Name, o.Owner, o.modeString(), o.fill(), strconv.FormatInt(o.Waiting, 10), o.unusual()})
	}
	return writeTable(cmd.OutOrStdout(), rows)
}

// A listed object is a line of .ipcfs/objects.
type listed struct {
	Kind     string   `json:"kind"`
	Name     string   `json:"name"`
	Path     string   `json:"path"`
	Shape    string   `json:"shape"`
	Mode     string   `json:"mode"` // octal
	Uid      uint32   `json:"uid"`
	Gid      uint32   `json:"gid"`
	Owner    string   `json:"owner"`
	Messages int64    `json:"messages"`
	Bytes    int64    `json:"bytes"`
	Waiting  int64    `json:"waiting"`
	Policies policies `json:"policies"`

	perm os.FileMode
}

type policies map[string]string

// listObjects reads .ipcfs/objects of the mount.
func listObjects(mount string) ([]*listed, error) {
	text, err := lines(mount, "objects")
	if err != nil {
		return nil, err
	}
	all := []*listed{}
	for _, fields := range text {
		o, ok := parseObject(fields)
		if !ok {
			return nil, badLine("objects", fields)
		}
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b *listed) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

func parseObject(f []string) (*listed, bool) {
	if len(f) < 8 {
		return nil, false
	}
	mode, err := strconv.ParseUint(f[2], 8, 32)
	n, ok := numbers(f[3:8]...)
	if err != nil || !ok {
		return nil, false
	}
	o := &listed{
		Path: unescape(f[0]), Shape: f[1], Mode: f[2], Uid: uint32(n[0]), Gid: uint32(n[1]), Owner: userName(uint32(n[0])),
		Messages: n[2], Bytes: n[3], Waiting: n[4],
		Policies: make(policies),
		perm:     os.FileMode(mode) & os.ModePerm,
	}
	dir, name := path.Split(o.Path)
	o.Name = name
	switch o.Shape {
	case "flat":
		o.Kind = fs.KindIn(path.Clean(dir))
	case "directory":
		o.Kind = fs.KindIn(path.Clean(dir))
		o.perm |= os.ModeDir
	default: // a FIFO or a socket
		o.Kind = o.Shape
	}
	for _, policy := range f[8:] {
		name, value, ok := strings.Cut(policy, "=")
		if !ok {
			return nil, false
		}
		o.Policies[name] = unescape(value)
	}
	return o, o.Kind != ""
}

// modeString is the mode as ls -l shows it.
func (o *listed) modeString() string {
	switch o.Shape {
	case "fifo":
		return (o.perm | os.ModeNamedPipe).String()
	case "socket":
		return (o.perm | os.ModeSocket).String()
	}
	return o.perm.String()
}

// level is how full the object is, and of how much; full is objects.Unbounded where
// nothing bounds it, what "" if it cannot be full.
func (o *listed) level() (held, full int64, what string) {
	amount := func(policy string) int64 {
		n, ok := objects.ParseAmount(o.Policies[policy])
		if !ok {
			n = objects.Unbounded
		}
		return n
	}
	l := o.levelOfKind()
	full = objects.Unbounded
	if l.Full != "" {
		full = amount(l.Full)
	}
	switch l.Unit {
	case "messages":
		return o.Messages, full, l.Unit
	case "bytes":
		return o.Bytes, full, l.Unit
	case "":
		return 0, 0, ""
	}
	return amount(l.Value), full, l.Unit
}

// levelOfKind is what the level of o is, the zero Level for a FIFO or a socket.
func (o *listed) levelOfKind() (l objects.Level) {
	for _, k := range objects.Kinds() {
		if k.Name == o.Kind {
			return k.Level
		}
	}
	return l
}

// fill is the level in a column.
func (o *listed) fill() string {
	held, full, what := o.level()
	switch {
	case what == "":
		return "-"
	case o.levelOfKind().Full == "":
		return size(held)
	case what == "bytes":
		return size(held) + "/" + size(full)
	}
	s := objects.FormatAmount(held) + "/" + objects.FormatAmount(full)
	if o.Bytes > 0 {
		s += " " + size(o.Bytes)
	}
	return s
}

// size is n bytes in few characters.
func size(n int64) string {
	if n == objects.Unbounded {
		return "max"
	}
	const units = "BKMGTPE"
	unit, v := 0, float64(n)
	for v >= 1024 {
		v /= 1024
		unit++
	}
	if unit == 0 || v == float64(int64(v)) {
		return fmt.Sprintf("%.0f%c", v, units[unit])
	}
	return fmt.Sprintf("%.1f%c", v, units[unit])
}

// unusual lists the policies that a new object of the kind has otherwise, but for the one that the
// level shows.
func (o *listed) unusual() string {
	if len(o.Policies) == 0 {
		return "-"
	}
	kind := objects.KindNamed(o.Kind)
	fresh := kind.New(objects.Unlimited)
	var words []string
	for _, name := range kind.PolicyNames() {
		if value, ok := o.Policies[name]; ok && name != kind.Level.Value && value != fresh.Policy(name) {
			words = append(words, name+"="+strings.ReplaceAll(value, " ", "+"))
		}
	}
	if words == nil {
		return "-"
	}
	return strings.Join(words, " ")
}
