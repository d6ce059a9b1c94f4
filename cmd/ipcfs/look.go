package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ipcfs/fs"
	"ipcfs/fs/fusedev"
)

// This file is what the commands have in common that look into a mount. They read
// .ipcfs, as anybody may.

// atMostOneDirectory wants the argument DIR or nothing.
func atMostOneDirectory(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return oneDirectory(cmd, args)
}

// mountArgument is the mountpoint that args name, by itself or by a path inside. Without
// an argument it is that of the working directory, or the one ipcfs mount there is.
func mountArgument(args []string) (string, error) {
	if len(args) > 0 {
		return mountOf(args[0])
	}
	if m, err := fusedev.Containing("."); err == nil && m.Type == fusedev.FSType {
		return m.Dir, wholeMount(m.Dir)
	}
	mounts, err := fusedev.Mounts()
	if err != nil {
		return "", err
	}
	var dirs, devices []string
	var dead error
	for _, m := range mounts {
		switch err := wholeMount(m.Dir); {
		case slices.Contains(devices, m.Device): // it is mounted twice
		case errors.Is(err, os.ErrNotExist): // a part of one, over /dev/shm say
		case err != nil:
			dead = err
		default:
			dirs, devices = append(dirs, m.Dir), append(devices, m.Device)
		}
	}
	switch {
	case len(dirs) == 1:
		return dirs[0], nil
	case len(dirs) > 1:
		return "", fmt.Errorf("several ipcfs are mounted, say which: %s", strings.Join(dirs, ", "))
	case dead != nil:
		return "", dead
	}
	return "", errors.New("no ipcfs is mounted")
}

// mountOf is the mountpoint of the ipcfs that path is on.
func mountOf(path string) (string, error) {
	m, err := fusedev.Containing(path)
	if errors.Is(err, unix.ENOTDIR) {
		m, err = fusedev.Containing(filepath.Dir(path))
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", path, err)
	case m.Type != fusedev.FSType:
		return "", fmt.Errorf("%s: no ipcfs is mounted there", path)
	}
	return m.Dir, wholeMount(m.Dir)
}

// completeMounts completes the one argument DIR of a command.
func completeMounts(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var dirs []string
	if mounts, err := fusedev.Mounts(); err == nil && len(args) == 0 {
		for _, m := range mounts {
			dirs = append(dirs, m.Dir)
		}
	}
	return dirs, cobra.ShellCompDirectiveNoFileComp
}

// completeOnMounts completes a flag whose value is a mountpoint.
func completeOnMounts(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	return completeMounts(cmd, nil, typed)
}

// wholeMount is nil if dir is the root of a living mount.
func wholeMount(dir string) error {
	_, err := os.Stat(filepath.Join(dir, ".ipcfs"))
	switch {
	case errors.Is(err, unix.ENOTCONN):
		return fmt.Errorf("%s: its daemon has died; mount it again", dir)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s is a part of an ipcfs only: %w", dir, os.ErrNotExist)
	}
	return err
}

// lines reads a file of .ipcfs: its lines, split into fields.
func lines(mount, name string) ([][]string, error) {
	text, err := os.ReadFile(filepath.Join(mount, ".ipcfs", name))
	if err != nil {
		return nil, err
	}
	var all [][]string
	for line := range strings.Lines(string(text)) {
		all = append(all, strings.Split(strings.TrimSuffix(line, "\n"), " "))
	}
	return all, nil
}

// badLine is what to say of a line that this program does not understand.
func badLine(name string, fields []string) error {
	return fmt.Errorf(".ipcfs/%s has the line %q; is the daemon of another version?", name, strings.Join(fields, " "))
}

// unescape undoes the octal escapes by which a line stays split into fields.
func unescape(s string) string {
	const digits = 3
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+digits < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+1+digits], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += digits
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

var users = make(map[uint32]string)

// userName is the name of uid, the number if it has none.
func userName(uid uint32) string {
	name, ok := users[uid]
	if !ok {
		name = strconv.FormatUint(uint64(uid), 10)
		if u, err := user.LookupId(name); err == nil {
			name = u.Username
		}
		users[uid] = name
	}
	return name
}

// numbers parses the fields as unsigned decimal numbers.
func numbers(fields ...string) ([]int64, bool) {
	var all []int64
	for _, s := range fields {
		n, err := strconv.ParseUint(s, 10, 63)
		if err != nil {
			return nil, false
		}
		all = append(all, int64(n))
	}
	return all, true
}

// writeJSON prints v for programs.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeTable prints rows of columns, the first being their names. A mount may be
// anybody's: what a terminal would obey is escaped.
func writeTable(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = fs.Visible(cell)
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}
