package tests

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespaceEnv is set in a test binary that has a mount namespace of its own.
const namespaceEnv = "IPCFS_TEST_NAMESPACE"

// enterOwnNamespace starts the test binary over in a mount namespace of its own, when it is run by root: whatever
// happens, nothing stays mounted on the machine. There /dev/fuse is open to everyone, as it usually is, also on a
// machine without the rules that make it so.
func enterOwnNamespace() error {
	if os.Getuid() != 0 {
		return nil
	}
	if os.Getenv(namespaceEnv) != "" {
		return openFuseToEveryone()
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	// The namespace is the thread's, and exec leaves that thread alone.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("new mount namespace: %w", err)
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	return fmt.Errorf("exec: %w", unix.Exec(exe, os.Args, append(os.Environ(), namespaceEnv+"=1")))
}

func openFuseToEveryone() error {
	const device = "/dev/fuse"
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return fmt.Errorf("these tests need FUSE: %s: %w", device, err)
	}
	if st.Mode&0o666 == 0o666 {
		return nil
	}
	dir, err := os.MkdirTemp("", "ipcfs-dev-")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	// A tmpfs: the temporary directory may be mounted nodev.
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		return fmt.Errorf("tmpfs: %w", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	node := dir + "/fuse"
	if err := unix.Mknod(node, unix.S_IFCHR|0o600, int(st.Rdev)); err != nil {
		return fmt.Errorf("mknod: %w", err)
	}
	if err := unix.Chmod(node, 0o666); err != nil {
		return err
	}
	if err := unix.Mount(node, device, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind mount of %s: %w", device, err)
	}
	return nil
}
