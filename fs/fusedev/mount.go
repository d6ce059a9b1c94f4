package fusedev

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// FSType is the type a mount has in /proc/self/mountinfo: fuse, subtype ipcfs.
const FSType = fuseType + "." + subtype

const (
	fuseType = "fuse"
	subtype  = "ipcfs"
	device   = "/dev/fuse"
	helper   = "fusermount3"
	mtab     = "/etc/mtab" // mount(8)
	helperFD = 3           // the first of exec.Cmd.ExtraFiles

	// MaxRead is the longest READ the kernel may send, in bytes: max_read, fuse.rst.
	MaxRead = 1 << 20
)

// ErrMounted is what Mount says of a directory where a live ipcfs is mounted.
var ErrMounted = errors.New("already mounted")

// ErrNotMounted is what Unmount says of a directory that is no mountpoint.
var ErrNotMounted = errors.New("not mounted")

// A fault is an errno in words a person can act upon.
type fault struct {
	words string
	errno unix.Errno
}

func (f fault) Error() string { return f.words }
func (f fault) Unwrap() error { return f.errno }

// Options are what mount -o says. The zero Options mount read-write for the
// calling user alone, without set-user-ID programs and device nodes.
type Options struct {
	AllowOther    bool   // users other than the mounting one may use the mount
	ReadOnly      bool   // ro
	NoExec        bool   // noexec
	NoAtime       bool   // noatime
	NoDirAtime    bool   // nodiratime
	AllowSuid     bool   // suid, for root only
	AllowDev      bool   // dev, for root only
	NoPassthrough bool   // the daemon's to heed: no backing files, even where the kernel has them
	FSName        string // the source shown by mount(8); empty means "ipcfs"
}

// OptionWords lists the words ParseOptions knows, fsname without its value.
func OptionWords() []string {
	return []string{
		"allow_other", "atime", "default_permissions", "defaults", "dev", "diratime", "exec", "fsname=",
		"noatime", "nodev", "nodiratime", "noexec", "nopassthrough", "nosuid", "relatime", "ro", "rw", "suid",
	}
}

// ParseOptions reads a comma-separated list of the words of mount(8) and
// mount.fuse3(8). A later word overrides an earlier one.
func ParseOptions(s string) (Options, error) {
	var o Options
	if s == "" {
		return o, nil
	}
	for word := range strings.SplitSeq(s, ",") {
		name, value, valued := strings.Cut(word, "=")
		if valued != (name == "fsname") {
			if name == "fsname" {
				return Options{}, errors.New("option fsname needs a value: fsname=NAME")
			}
			if known(name) {
				return Options{}, fmt.Errorf("option %s takes no value", name)
			}
			return Options{}, fmt.Errorf("unknown option %q", word)
		}
		switch name {
		case "defaults", "default_permissions", "relatime":
			// What every mount has.
		case "allow_other":
			o.AllowOther = true
		case "nopassthrough":
			o.NoPassthrough = true
		case "ro", "rw":
			o.ReadOnly = name == "ro"
		case "exec", "noexec":
			o.NoExec = name == "noexec"
		case "suid", "nosuid":
			o.AllowSuid = name == "suid"
		case "dev", "nodev":
			o.AllowDev = name == "dev"
		case "atime", "noatime":
			o.NoAtime = name == "noatime"
		case "diratime", "nodiratime":
			o.NoDirAtime = name == "nodiratime"
		case "fsname":
			if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				return Options{}, fmt.Errorf("option fsname: bad name %q", value)
			}
			o.FSName = value
		case "":
			return Options{}, fmt.Errorf("empty option in %q", s)
		default:
			return Options{}, fmt.Errorf("unknown option %q", word)
		}
	}
	return o, nil
}

func known(name string) bool {
	for _, w := range OptionWords() {
		if w == name {
			return true
		}
	}
	return false
}

func (o Options) source() string {
	if o.FSName == "" {
		return subtype
	}
	return o.FSName
}

// flags are the options as mount(2) has them.
func (o Options) flags() uintptr {
	var f uintptr
	for _, b := range []struct {
		on   bool
		flag uintptr
	}{
		{!o.AllowSuid, unix.MS_NOSUID},
		{!o.AllowDev, unix.MS_NODEV},
		{o.ReadOnly, unix.MS_RDONLY},
		{o.NoExec, unix.MS_NOEXEC},
		{o.NoAtime, unix.MS_NOATIME},
		{o.NoDirAtime, unix.MS_NODIRATIME},
	} {
		if b.on {
			f |= b.flag
		}
	}
	return f
}

// data is the last argument of mount(2): fuse.rst, "Mount options".
func (o Options) data(fd, uid, gid int) string {
	d := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,default_permissions,max_read=%d", fd, uid, gid, MaxRead)
	if o.AllowOther {
		d += ",allow_other"
	}
	return d
}

// words are the options as fusermount3(1) has them; it adds nosuid and nodev itself.
func (o Options) words() string {
	name := strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(o.source())
	w := []string{"fsname=" + name, "subtype=" + subtype, "default_permissions", fmt.Sprintf("max_read=%d", MaxRead)}
	for _, b := range []struct {
		on   bool
		word string
	}{
		{o.ReadOnly, "ro"},
		{o.NoExec, "noexec"},
		{o.NoAtime, "noatime"},
		{o.NoDirAtime, "nodiratime"},
		{o.AllowOther, "allow_other"},
	} {
		if b.on {
			w = append(w, b.word)
		}
	}
	return strings.Join(w, ",")
}

// Mount mounts an ipcfs on dir and returns the /dev/fuse descriptor to serve
// it by: blocking, close-on-exec, the caller's to close. Root mounts by
// mount(2), others through fusermount3(1).
func Mount(dir string, o Options) (fd int, err error) {
	dir, err = Resolve(dir)
	if err != nil {
		return -1, err
	}
	m, found, err := Find(dir)
	if err != nil {
		return -1, err
	}
	if found && m.Type == FSType {
		if err := alive(dir); errors.Is(err, unix.ENOTCONN) {
			return -1, fault{"a dead ipcfs is still mounted there", unix.ENOTCONN}
		}
		if m.User != os.Geteuid() {
			return -1, fmt.Errorf("%w, by user %d", ErrMounted, m.User)
		}
		return -1, ErrMounted
	}
	if os.Geteuid() == 0 {
		return mountDirectly(dir, o)
	}
	return mountByHelper(dir, o)
}

func mountDirectly(dir string, o Options) (int, error) {
	// Not os.Open: the loop reads with a plain blocking read(2), away from the runtime's poller.
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, deviceFault(err)
	}
	err = unix.Mount(o.source(), dir, FSType, o.flags(), o.data(fd, os.Geteuid(), os.Getegid()))
	if err == nil {
		return fd, nil
	}
	unix.Close(fd)
	switch err {
	case unix.EPERM:
		return -1, fault{"operation not permitted (mounting needs CAP_SYS_ADMIN; a container must be given it)", unix.EPERM}
	case unix.ENODEV:
		return -1, fault{"the kernel has no FUSE: try modprobe fuse", unix.ENODEV}
	}
	return -1, err
}

func deviceFault(err error) error {
	switch err {
	case unix.ENOENT:
		return fault{"no " + device + ": load the module (modprobe fuse), or give the container that device", unix.ENOENT}
	case unix.ENXIO, unix.ENODEV:
		return fault{device + ": the kernel has no FUSE: try modprobe fuse", unix.ENODEV}
	}
	return fmt.Errorf("%s: %w", device, err)
}

// mountByHelper has the set-user-ID fusermount3 mount and receives the
// descriptor over a socket named in _FUSE_COMMFD, as libfuse does.
func mountByHelper(dir string, o Options) (int, error) {
	if o.AllowSuid || o.AllowDev {
		return -1, fault{"options suid and dev are for root", unix.EPERM}
	}
	if _, err := os.Stat(device); err != nil {
		return -1, deviceFault(errors.Unwrap(err))
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), helper)
	err = runHelper(theirs, "-o", o.words(), "--", dir)
	theirs.Close() // so that a helper that sent nothing is an end of file
	if err != nil {
		return -1, err
	}
	fd, err := receiveFD(pair[0])
	if err != nil {
		// It said it mounted, and what is mounted cannot be served.
		_ = runHelper(nil, "-u", "-z", "--", dir)
		return -1, fmt.Errorf("%s: %w", helper, err)
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// runHelper runs fusermount3; what it says on standard error is the error.
func runHelper(socket *os.File, args ...string) error {
	path, err := exec.LookPath(helper)
	if err != nil {
		return fault{helper + " is missing, without which only root can mount: install the package fuse3", unix.ENOENT}
	}
	cmd := exec.Command(path, args...)
	cmd.Args[0] = helper
	cmd.Dir = "/"
	if socket != nil {
		cmd.ExtraFiles = []*os.File{socket}
		cmd.Env = append(os.Environ(), "_FUSE_COMMFD="+strconv.Itoa(helperFD))
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Run()
	if err == nil {
		return nil
	}
	return helperFault(strings.TrimSpace(stderr.String()), err)
}

// helperFault makes one line of what fusermount3 said before it failed with err.
func helperFault(said string, err error) error {
	said = strings.ReplaceAll(said, "\n", "; ")
	switch {
	case strings.Contains(said, "user_allow_other"):
		return fault{"option allow_other is root's unless /etc/fuse.conf has a line user_allow_other", unix.EPERM}
	case strings.Contains(said, unix.EBUSY.Error()), strings.Contains(said, "Device or resource busy"):
		return unix.EBUSY
	case strings.Contains(said, mtab) && strings.Contains(said, "No such file"):
		return fault{mtab + " is missing, by which " + helper + " knows whose mount it is: root can make it with ln -s /proc/self/mounts " + mtab, unix.ENOENT}
	case said == "":
		return fmt.Errorf("%s: %w", helper, err)
	case strings.Contains(said, device) && strings.Contains(said, "Permission denied"):
		return fault{"only root may mount here: " + device + " is closed to users (its usual mode is 0666)", unix.EACCES}
	case strings.Contains(said, "Operation not permitted"):
		return fault{said + " (is " + helper + " set-user-ID root?)", unix.EPERM}
	}
	return errors.New(said)
}

// receiveFD takes the one descriptor fusermount3 sends with a one-byte message.
func receiveFD(socket int) (int, error) {
	var data [4]byte
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		_, n, _, _, err := unix.Recvmsg(socket, data[:], oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, fmt.Errorf("recvmsg: %w", err)
		}
		messages, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil {
			return -1, err
		}
		for _, m := range messages {
			if fds, err := unix.ParseUnixRights(&m); err == nil && len(fds) == 1 {
				return fds[0], nil
			}
		}
		return -1, errors.New("it sent no descriptor")
	}
}

// Unmount takes the ipcfs off dir. With lazy it detaches it at once, though
// files are open there; the mount itself ends when the last of them closes.
// Without, a mount in use is EBUSY.
func Unmount(dir string, lazy bool) error {
	dir, err := Resolve(dir)
	if err != nil {
		return err
	}
	m, found, err := Find(dir)
	if err != nil {
		return err
	}
	if !found {
		return ErrNotMounted
	}
	if m.Type != FSType {
		return fault{"not an ipcfs but " + m.Type, unix.EINVAL}
	}
	if uid := os.Geteuid(); uid == 0 {
		flags := unix.UMOUNT_NOFOLLOW
		if lazy {
			flags |= unix.MNT_DETACH
		}
		err = unix.Unmount(dir, flags)
	} else if uid != m.User {
		return fault{fmt.Sprintf("mounted by user %d: only that user and root may", m.User), unix.EPERM}
	} else {
		args := []string{"-u", "--", dir}
		if lazy {
			args = []string{"-u", "-z", "--", dir}
		}
		err = runHelper(nil, args...)
	}
	if errors.Is(err, unix.EBUSY) {
		// umount(2): EBUSY.
		return fault{"in use: a program has a file open or its working directory there; -l detaches it all the same", unix.EBUSY}
	}
	return err
}

// Recover detaches what a killed daemon left mounted on dir, where every
// access says ENOTCONN, so that Mount can go on. It touches nothing that is
// alive or not an ipcfs.
func Recover(dir string) (recovered bool, err error) {
	dir, err = Resolve(dir)
	if err != nil {
		return false, err
	}
	for { // dead mounts may lie on one another
		m, found, err := Find(dir)
		if err != nil || !found {
			return recovered, err
		}
		if !errors.Is(alive(dir), unix.ENOTCONN) {
			return recovered, nil
		}
		if m.Type != FSType {
			return recovered, fault{"a dead " + m.Type + " is mounted there, not an ipcfs", unix.ENOTCONN}
		}
		if err := Unmount(dir, true); err != nil {
			return recovered, fmt.Errorf("recover dead mount: %w", err)
		}
		recovered = true
	}
}

// alive asks the filesystem at dir for fresh attributes of its root:
// ENOTCONN says that nobody serves it. A user it does not serve gets EACCES
// whether it is alive or not.
func alive(dir string) error {
	var st unix.Statx_t
	for {
		// FORCE_SYNC: attributes the kernel has cached outlive the daemon.
		err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_STATX_FORCE_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st)
		switch err {
		case unix.EINTR:
			continue
		case unix.ECONNABORTED: // aborted through /sys/fs/fuse/connections
			return unix.ENOTCONN
		}
		return err
	}
}
