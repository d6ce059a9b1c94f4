package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ipcfs/fs/fusedev"
)

// umountTime bounds the wait for an unmounted directory to be one.
const umountTime = 10 * time.Second

func umountCommand() *cobra.Command {
	var lazy bool
	cmd := &cobra.Command{
		Use:     "umount [-l] DIR",
		Aliases: []string{"unmount"},
		Short:   "Unmount an ipcfs",
		Long: `Unmount the ipcfs on DIR and return when it is gone. All its objects end with
it. A mount in use is left alone, unless -l: then it is detached at once, and
ends when the programs that have files open there have closed them. To end them
too, with EIDRM for whoever is blocked, send SIGTERM to the daemon instead.`,
		Example: "  ipcfs umount /tmp/ipc",
		Args:    oneDirectory,

		DisableFlagsInUseLine: true,
		ValidArgsFunction:     completeMounts,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := umount(args[0], lazy); err != nil {
				return fmt.Errorf("umount %s: %w", args[0], err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&lazy, "lazy", "l", false, "detach now, clean up when it is no longer in use")
	return cmd
}

func umount(dir string, lazy bool) error {
	dir, err := fusedev.Resolve(dir)
	if err != nil {
		return err
	}
	// Before the unmounting, so that no change is missed.
	watch, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer watch.Close()
	mounted, found, err := fusedev.Find(dir)
	if err != nil {
		return err
	}
	if !found {
		return fusedev.ErrNotMounted
	}
	if err := fusedev.Unmount(dir, lazy); err != nil {
		return err
	}
	for deadline := time.Now().Add(umountTime); ; {
		now, found, err := fusedev.Find(dir)
		if err != nil || !found || !now.Same(mounted) {
			return err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("still mounted after %v", umountTime)
		}
		// proc_pid_mounts(5): POLLERR and POLLPRI when the table has changed.
		p := []unix.PollFd{{Fd: int32(watch.Fd()), Events: unix.POLLPRI}}
		if _, err := unix.Poll(p, int(left.Milliseconds())+1); err != nil && err != unix.EINTR {
			return fmt.Errorf("poll mountinfo: %w", err)
		}
	}
}
