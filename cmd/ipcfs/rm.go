package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ipcfs/fs/fusedev"
)

func rmCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rm [-f] PATH…",
		Short: "Destroy objects",
		Long: `rm destroys the objects, of any kind and of either shape. An object that holds
something, or that somebody waits for or holds, is left alone, unless -f: whoever
waits then gets EIDRM. With -f a PATH that is not there is no mistake.`,
		Example: "  ipcfs rm /tmp/ipc/mailboxes/jobs",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{cmd.CommandPath(), errors.New("rm: which object?")}
			}
			return nil
		},

		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			var errs []error
			for _, path := range args {
				if err := rm(path, force); err != nil {
					errs = append(errs, fmt.Errorf("rm %s: %w", path, err))
				}
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "also what is filled, held or waited for")
	return cmd
}

var errNoObject = errors.New("not an object of an ipcfs")

func rm(path string, force bool) error {
	path = strings.TrimRight(path, "/")
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && force:
		return nil
	case err != nil:
		return reason(err)
	}
	// An object is looked for where it is, not where its directory is linked to from.
	switch mount, err := fusedev.Containing(filepath.Dir(path)); {
	case err != nil:
		return err
	case mount.Type != fusedev.FSType:
		return errNoObject
	}
	control := path + ".d"
	switch {
	case info.IsDir():
		control = path
	case info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0:
		return reason(os.Remove(path))
	}
	word := "unused\n"
	if force {
		word = "\n"
	}
	f, err := os.OpenFile(filepath.Join(control, "destroy"), os.O_WRONLY, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errNoObject // a part of one, or a directory of the mount's
	case errors.Is(err, os.ErrPermission) && !info.IsDir() && force:
		// Whoever may remove the file need not be allowed to use the object.
		return reason(os.Remove(path))
	case err != nil:
		return reason(err)
	}
	defer f.Close()
	_, err = f.WriteString(word)
	switch {
	case errors.Is(err, unix.ENOTEMPTY):
		return fmt.Errorf("%w; -f destroys it nevertheless", unix.ENOTEMPTY)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("in use (%w); -f destroys it nevertheless", unix.EBUSY)
	}
	return reason(err)
}

// reason is what err says beside the operation and the path.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
