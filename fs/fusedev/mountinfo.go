package fusedev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A MountPoint is one line of /proc/self/mountinfo, proc_pid_mountinfo(5).
type MountPoint struct {
	ID     int    // unique among the mounts of now
	Device string // major:minor, one for each connection
	Dir    string
	Type   string
	Source string
	User   int // who mounted it, -1 where the filesystem does not say
}

// Same reports whether m and n are one mount, seen at different times.
func (m MountPoint) Same(n MountPoint) bool {
	return m.ID == n.ID && m.Device == n.Device && m.Type == n.Type
}

// Mounts lists all ipcfs mounts of this mount namespace.
func Mounts() ([]MountPoint, error) {
	all, err := readMountInfo()
	if err != nil {
		return nil, err
	}
	var ours []MountPoint
	for _, m := range all {
		if m.Type == FSType {
			ours = append(ours, m)
		}
	}
	return ours, nil
}

// Resolve is the absolute path of the directory dir, free of symlinks. It asks
// nothing of a filesystem mounted there, so dir may be a dead mount or the
// caller's own.
func Resolve(dir string) (string, error) {
	fd, path, err := locate(dir)
	if err != nil {
		return "", err
	}
	unix.Close(fd)
	return path, nil
}

// Find is the topmost mount on the directory dir, of whatever type; found is
// false if dir is no mountpoint. Like Resolve it asks nothing of the
// filesystem.
func Find(dir string) (m MountPoint, found bool, err error) {
	m, path, err := containing(dir)
	if err != nil || m.Dir != path {
		return MountPoint{}, false, err
	}
	return m, true, nil
}

// Containing is the mount that the directory dir is on; the zero MountPoint if that
// is out of reach.
func Containing(dir string) (MountPoint, error) {
	m, _, err := containing(dir)
	return m, err
}

// containing also returns the path of dir, free of symlinks.
func containing(dir string) (m MountPoint, path string, err error) {
	fd, path, err := locate(dir)
	if err != nil {
		return MountPoint{}, "", err
	}
	defer unix.Close(fd)
	// The mount a descriptor is on, proc_pid_fdinfo(5), tells stacked mounts apart.
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return MountPoint{}, "", err
	}
	id := -1
	for line := range strings.Lines(string(info)) {
		if v, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			if id, err = strconv.Atoi(strings.TrimSpace(v)); err != nil {
				return MountPoint{}, "", fmt.Errorf("fdinfo: mnt_id: %w", err)
			}
		}
	}
	all, err := readMountInfo()
	if err != nil {
		return MountPoint{}, "", err
	}
	for _, m := range all {
		if m.ID == id {
			return m, path, nil
		}
	}
	return MountPoint{}, path, nil
}

// locate opens dir with O_PATH, which walks to it without a word to the
// filesystem mounted there. An open descriptor keeps the mount busy.
func locate(dir string) (fd int, path string, err error) {
	if dir == "" {
		return -1, "", fault{"no such directory", unix.ENOENT}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return -1, "", err
	}
	for {
		fd, err = unix.Open(abs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			break
		}
	}
	switch err {
	case nil:
	case unix.ENOENT:
		return -1, "", fault{"no such directory", unix.ENOENT}
	case unix.ENOTDIR:
		return -1, "", fault{"not a directory", unix.ENOTDIR}
	default:
		return -1, "", err
	}
	path, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err == nil && !filepath.IsAbs(path) {
		err = errors.New("not reachable from the root directory")
	}
	if err != nil {
		unix.Close(fd)
		return -1, "", err
	}
	return fd, path, nil
}

func readMountInfo() ([]MountPoint, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMountInfo(string(text))
}

// parseMountInfo reads lines like
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMountInfo(text string) ([]MountPoint, error) {
	var all []MountPoint
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		mount, super, ok := strings.Cut(line, " - ") // between them, any number of optional fields
		m, s := strings.Split(mount, " "), strings.Split(super, " ")
		if !ok || len(m) < 6 || len(s) < 3 {
			return nil, fmt.Errorf("mountinfo: bad line %q", line)
		}
		id, err := strconv.Atoi(m[0])
		if err != nil {
			return nil, fmt.Errorf("mountinfo: bad line %q", line)
		}
		p := MountPoint{ID: id, Device: m[2], Dir: unescape(m[4]), Type: unescape(s[0]), Source: unescape(s[1]), User: -1}
		for word := range strings.SplitSeq(s[2], ",") {
			if v, ok := strings.CutPrefix(word, "user_id="); ok {
				if uid, err := strconv.Atoi(v); err == nil {
					p.User = uid
				}
			}
		}
		all = append(all, p)
	}
	return all, nil
}

// unescape undoes the \ooo by which the kernel writes blanks and backslashes,
// seq_path in fs/seq_file.c.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
