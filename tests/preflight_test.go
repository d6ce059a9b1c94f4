package tests

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// preflight is nil where these tests can run. Its error names all that is missing in one
// line: a chroot or a container lacks some of it, and each test would fail in its own way.
func preflight() error {
	var missing []string
	need := func(what string, err error) {
		if err != nil {
			var p *fs.PathError
			if errors.As(err, &p) {
				err = p.Err
			}
			missing = append(missing, fmt.Sprintf("%s (%v)", what, err))
		}
	}
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	need("/dev/fuse, readable and writable: a container must be given it", err)
	device.Close()
	_, err = os.Stat("/proc/self/mountinfo")
	need("proc(5) at /proc", err)
	var st unix.Stat_t
	if err = unix.Stat("/dev/shm", &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = unix.ENOTDIR
	}
	need("/dev/shm", err)
	for _, program := range []string{"bash", "fusermount3", "gcc", "go", "python3", "tmux"} {
		_, err = exec.LookPath(program)
		need(program, errors.Unwrap(err))
	}
	if os.Getuid() == 0 {
		_, err = user.Lookup("nobody")
		need("the user nobody", err)
	} else if path, err := exec.LookPath("fusermount3"); err == nil {
		if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeSetuid == 0 {
			need("fusermount3 with the set-user-ID bit, to mount as a user", unix.EPERM)
		}
	}
	if missing == nil {
		return nil
	}
	return errors.New("these tests need " + strings.Join(missing, "; "))
}

// skippedEnv names a file to which tests add their names that are skipped for want of root.
const skippedEnv = "IPCFS_TESTS_SKIPPED"

// needRoot skips a test that changes users, or mounts by mount(2), where that cannot be
// done. make test says which those were.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if name := os.Getenv(skippedEnv); name != "" {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err == nil {
			_, err = fmt.Fprintln(f, t.Name())
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Skip("needs root")
}
