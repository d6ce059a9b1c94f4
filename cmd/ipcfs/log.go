package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const rootLogDir = "/var/log/ipcfs"

// openLog opens a log to append to, for the eyes of its owner and group. Its
// name becomes absolute, for a daemon runs in /.
func openLog(name string) (*os.File, error) {
	name, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	// O_NOFOLLOW: the last directory may be one of /tmp.
	// O_NONBLOCK: a FIFO without a reader fails at once.
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o640)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("log %s: is a symbolic link", name)
	}
	if errors.Is(err, syscall.ENXIO) {
		return nil, fmt.Errorf("log %s: is neither a regular file nor a device", name)
	}
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && info.Mode()&os.ModeCharDevice == 0 {
		err = fmt.Errorf("%s is neither a regular file nor a device", name)
	}
	if err == nil {
		err = syscall.SetNonblock(int(f.Fd()), false)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("log: %w", err)
	}
	return f, nil
}

// openDefaultLog opens the log of a mount on dir where `mount --help` says.
func openDefaultLog(dir string) (*os.File, error) {
	name := escapePath(dir) + ".log"
	if over := len(name) - 255; over > 0 { // NAME_MAX, limits.h: keep the end, which tells mounts apart
		name = name[over:]
	}
	if os.Geteuid() == 0 {
		if err := os.MkdirAll(rootLogDir, 0o755); err != nil {
			return nil, fmt.Errorf("log: %w", err)
		}
		return openLog(filepath.Join(rootLogDir, name))
	}
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // XDG Base Directory Specification: relative paths are invalid
		if home := os.Getenv("HOME"); filepath.IsAbs(home) {
			state = filepath.Join(home, ".local", "state")
		}
	}
	if filepath.IsAbs(state) {
		own := filepath.Join(state, "ipcfs")
		if os.MkdirAll(own, 0o700) == nil {
			if f, err := openLog(filepath.Join(own, name)); err == nil {
				return f, nil
			}
		}
	}
	// Service users have no home to write to.
	own := filepath.Join(os.TempDir(), fmt.Sprintf("ipcfs-%d", os.Geteuid()))
	if err := os.Mkdir(own, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("log: %w", err)
	}
	info, err := os.Lstat(own)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != os.Geteuid() || info.Mode()&0o022 != 0 {
		return nil, fmt.Errorf("log: %s is not a directory of yours alone: say --log FILE", own)
	}
	return openLog(filepath.Join(own, name))
}

// escapePath writes a path as one file name, the way of systemd-escape --path.
func escapePath(path string) string {
	path = strings.Trim(filepath.Clean(path), "/")
	if path == "" {
		return "-"
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '/':
			b.WriteByte('-')
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == ':', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// newLog starts a log with the line that says whose it is.
func newLog(out *os.File, dir string) *log.Logger {
	l := log.New(out, "", log.LstdFlags|log.Lmsgprefix)
	l.Printf("%s, pid %d, user %d, mounting %s", describeVersion(), os.Getpid(), os.Geteuid(), dir)
	return l
}
