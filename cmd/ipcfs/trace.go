package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"ipcfs/fs"
)

func traceCommand() *cobra.Command {
	var t traceFilter
	cmd := &cobra.Command{
		Use:   "trace [--object GLOB] [--pid N] [--op WORD] [DIR]",
		Short: "Show operations as they happen",
		Long: `trace shows the operations on the objects of the ipcfs on DIR as they happen, until
it is interrupted. Each line has the time, the process, its command and user number,
the operation, the object, how many bytes, the outcome, and how many seconds the
process has waited. A line "lost N" stands for N that came too fast.`,
		Example: "  ipcfs trace --object 'mailboxes/*' --op send /tmp/ipc",
		Args:    atMostOneDirectory,

		DisableFlagsInUseLine: true,
		ValidArgsFunction:     completeMounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := path.Match(t.object, ""); err != nil {
				return usageError{cmd.CommandPath(), fmt.Errorf("trace: bad pattern %q", t.object)}
			}
			if words := fs.TracedOperations(); t.op != "" && !slices.Contains(words, t.op) {
				return usageError{cmd.CommandPath(), fmt.Errorf("trace: no operation is called %q: one of %s", t.op, strings.Join(words, " "))}
			}
			dir, err := mountArgument(args)
			if err == nil {
				err = t.follow(cmd.OutOrStdout(), filepath.Join(dir, ".ipcfs", "trace"))
			}
			if err != nil {
				return fmt.Errorf("trace: %w", err)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&t.object, "object", "", "only objects whose path matches the pattern, as mailboxes/j*")
	f.Uint32Var(&t.pid, "pid", 0, "only operations of this process")
	f.StringVar(&t.op, "op", "", "only this operation, as send")
	if err := cmd.RegisterFlagCompletionFunc("op", cobra.FixedCompletions(fs.TracedOperations(), cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

// A traceFilter is what lines to show; zero values stand for all.
type traceFilter struct {
	object, op string
	pid        uint32
}

// shows reports whether line is one to show. What it does not understand is.
func (t *traceFilter) shows(line string) bool {
	f := strings.Split(line, " ")
	if len(f) < 9 {
		return true // lost N
	}
	if t.pid != 0 && f[1] != strconv.FormatUint(uint64(t.pid), 10) || t.op != "" && f[4] != t.op {
		return false
	}
	matched, err := path.Match(t.object, unescape(f[5]))
	return t.object == "" || matched || err != nil
}

// follow copies the lines of the trace until it ends, as it does when the mount does.
func (t *traceFilter) follow(w io.Writer, name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	all := bufio.NewReaderSize(in, 64<<10)
	out := bufio.NewWriter(w)
	for {
		line, err := all.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, syscall.EIDRM) || errors.Is(err, syscall.ENOTCONN) {
				return out.Flush()
			}
			return err
		}
		if line = strings.TrimSuffix(line, "\n"); t.shows(line) {
			out.WriteString(fs.Visible(line) + "\n")
		}
		if all.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}
