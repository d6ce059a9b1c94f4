package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ipcfs/fs/fusedev"
)

func mountCommand() *cobra.Command {
	var (
		options    []string
		foreground bool
		logFile    string
	)
	cmd := &cobra.Command{
		Use:   "mount [-o OPTIONS] [-f] [--log FILE] DIR",
		Short: "Mount an ipcfs on a directory",
		Long: `Mount an ipcfs on the directory DIR, which must exist. The command returns
when the mount serves; a daemon goes on serving it until 'ipcfs umount DIR' or
SIGTERM, which fails every blocked request with EIDRM. All objects live in that
daemon and end with it. A mount left behind by a killed daemon is recovered.

Only the mounting user may use the mount, root no more than others, unless -o allow_other.

Options, separated by commas:
  allow_other       other users may use the mount, as file modes permit
                    (as a user: if /etc/fuse.conf has a line user_allow_other)
  ro, rw            read-only, read-write (default)
  fsname=NAME       the source shown by mount(8) (default ipcfs)
  nopassthrough     segments go through the daemon, as an unprivileged one's do
  exec, noexec      programs may be run from it (default), or not
  suid, nosuid      set-user-ID programs count, or not (default)
  dev, nodev        device nodes count, or not (default)
  atime, noatime, relatime, diratime, nodiratime, defaults, default_permissions
                    as mount(8) has them

The log of a daemon is by default
  for root       ` + rootLogDir + `/NAME.log
  for others     ${XDG_STATE_HOME:-~/.local/state}/ipcfs/NAME.log
  without home   ${TMPDIR:-/tmp}/ipcfs-UID/NAME.log
where NAME is DIR as systemd-escape --path writes it: /tmp/ipc is tmp-ipc.`,
		Example: `  ipcfs mount /tmp/ipc
  ipcfs mount -f -o allow_other,noexec /srv/ipc`,
		Args:                  oneDirectory,
		DisableFlagsInUseLine: true,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := fusedev.ParseOptions(strings.Join(options, ","))
			if err != nil {
				return usageError{cmd.CommandPath(), fmt.Errorf("mount: %w", err)}
			}
			report, daemon := daemonReport()
			dir, err := fusedev.Resolve(args[0])
			if err == nil && !daemon {
				warnOfFiles(cmd.ErrOrStderr(), dir)
			}
			switch {
			case err != nil:
				dir = args[0]
			case daemon:
				err = serveAsDaemon(dir, o, report)
			case foreground:
				err = serveInForeground(dir, o, logFile)
			default:
				err = startDaemon(dir, options, logFile)
			}
			if err == nil {
				return nil
			}
			if daemon {
				report.failed(err)
			}
			return fmt.Errorf("mount %s: %w", dir, err)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringArrayVarP(&options, "options", "o", nil, "mount `OPTIONS`, may be repeated")
	flags.BoolVarP(&foreground, "foreground", "f", false, "stay in the foreground, log to standard error")
	flags.StringVar(&logFile, "log", "", "log to `FILE`")
	if err := cmd.RegisterFlagCompletionFunc("options", completeOptions); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

// warnOfFiles says so if the mount will hide what is in dir, as mount(8) lets it. A
// directory that cannot be read is a dead mount, say, and nothing is known of it.
func warnOfFiles(w io.Writer, dir string) {
	if _, mounted, err := fusedev.Find(dir); mounted || err != nil {
		return
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		fmt.Fprintf(w, "ipcfs: mount %s: is not empty: what is in it stays hidden until the umount\n", dir)
	}
}

// asMountHelper turns the command line by which mount.fuse3(8) mounts a filesystem of
// type fuse.ipcfs, "ipcfs SOURCE DIR [-o OPTIONS]", into that of the command mount.
func asMountHelper(root *cobra.Command, args []string) []string {
	if len(args) < 2 || strings.HasPrefix(args[0], "-") || !filepath.IsAbs(args[1]) {
		return args
	}
	if cmd, _, err := root.Find(args[:1]); err == nil && cmd != root {
		return args
	}
	mount := append([]string{"mount"}, args[2:]...)
	return append(mount, "-o", "fsname="+args[0], "--", args[1])
}

func completeOptions(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	var words []string
	for _, w := range fusedev.OptionWords() {
		words = append(words, before+w)
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// serveInForeground serves dir until it is unmounted or the process is told to
// end, logging to standard error or to logFile.
func serveInForeground(dir string, o fusedev.Options, logFile string) error {
	out, aside := os.Stderr, (*os.File)(nil)
	if logFile != "" {
		f, err := openLog(logFile)
		if err != nil {
			return err
		}
		defer f.Close()
		out, aside = f, f
	}
	return serve(server{
		dir:     dir,
		options: o,
		log:     newLog(out, dir),
		aside:   aside,
		ready: func() error {
			// Whether anybody reads that is not the mount's affair.
			fmt.Fprintf(os.Stderr, "ipcfs: serving %s (pid %d)\n", dir, os.Getpid())
			return nil
		},
	})
}
