package fusedev

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseOptions(t *testing.T) {
	for _, c := range []struct {
		words string
		want  Options
	}{
		{"", Options{}},
		{"defaults", Options{}},
		{"default_permissions,relatime,nosuid,nodev,exec,rw,atime", Options{}},
		{"ro", Options{ReadOnly: true}},
		{"ro,rw", Options{}},
		{"rw,ro,defaults", Options{ReadOnly: true}},
		{"allow_other,noexec,noatime,nodiratime", Options{AllowOther: true, NoExec: true, NoAtime: true, NoDirAtime: true}},
		{"suid,dev", Options{AllowSuid: true, AllowDev: true}},
		{"suid,nosuid,dev,nodev", Options{}},
		{"fsname=work queue=1", Options{FSName: "work queue=1"}},
	} {
		got, err := ParseOptions(c.words)
		if err != nil || got != c.want {
			t.Errorf("ParseOptions(%q) = %+v, %v; want %+v, nil", c.words, got, err, c.want)
		}
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	for _, c := range []struct{ words, want string }{
		{"ro,frobnicate", `unknown option "frobnicate"`},
		{"max_read=4096", `unknown option "max_read=4096"`},
		{"RO", `unknown option "RO"`},
		{" ro", `unknown option " ro"`},
		{"ro=1", `option ro takes no value`},
		{"allow_other=", `option allow_other takes no value`},
		{"fsname", `option fsname needs a value: fsname=NAME`},
		{"fsname=", `option fsname: bad name ""`},
		{"fsname=a\nb", `option fsname: bad name "a\nb"`},
		{"ro,,rw", `empty option in "ro,,rw"`},
		{",", `empty option in ","`},
	} {
		got, err := ParseOptions(c.words)
		if err == nil || err.Error() != c.want || got != (Options{}) {
			t.Errorf("ParseOptions(%q) = %+v, %v; want an error %q", c.words, got, err, c.want)
		}
	}
}

func TestEveryListedOptionWordParses(t *testing.T) {
	for _, w := range OptionWords() {
		if strings.HasSuffix(w, "=") {
			w += "x"
		}
		if _, err := ParseOptions(w); err != nil {
			t.Errorf("ParseOptions(%q) = %v; want nil", w, err)
		}
	}
}

func TestOptionsForTheKernel(t *testing.T) {
	if got, want := (Options{}).flags(), uintptr(unix.MS_NOSUID|unix.MS_NODEV); got != want {
		t.Errorf("flags of the zero Options = %#x; want %#x", got, want)
	}
	all := Options{AllowOther: true, ReadOnly: true, NoExec: true, NoAtime: true, NoDirAtime: true, AllowSuid: true, AllowDev: true}
	if got, want := all.flags(), uintptr(unix.MS_RDONLY|unix.MS_NOEXEC|unix.MS_NOATIME|unix.MS_NODIRATIME); got != want {
		t.Errorf("flags of %+v = %#x; want %#x", all, got, want)
	}
	const data = "fd=7,rootmode=40000,user_id=1000,group_id=100,default_permissions,max_read=1048576"
	if got := (Options{}).data(7, 1000, 100); got != data {
		t.Errorf("data = %q; want %q", got, data)
	}
	if got := all.data(7, 1000, 100); got != data+",allow_other" {
		t.Errorf("data with AllowOther = %q; want %q", got, data+",allow_other")
	}
}

func TestOptionsForTheHelper(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, "fsname=ipcfs,subtype=ipcfs,default_permissions,max_read=1048576"},
		{Options{FSName: `a,b\c`, ReadOnly: true, AllowOther: true, NoExec: true},
			`fsname=a\,b\\c,subtype=ipcfs,default_permissions,max_read=1048576,ro,noexec,allow_other`},
	} {
		if got := c.o.words(); got != c.want {
			t.Errorf("words of %+v = %q; want %q", c.o, got, c.want)
		}
	}
}

func TestHelperFailuresAreOneLine(t *testing.T) {
	exit := errors.New("exit status 1")
	for _, c := range []struct{ said, want string }{
		{"", "fusermount3: exit status 1"},
		{"fusermount3: one\nfusermount3: two", "fusermount3: one; fusermount3: two"},
		{"fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf",
			"option allow_other is root's unless /etc/fuse.conf has a line user_allow_other"},
		{"fusermount3: failed to open /dev/fuse: Permission denied",
			"only root may mount here: /dev/fuse is closed to users (its usual mode is 0666)"},
		{"fusermount3: failed to unmount /x: Device or resource busy", "device or resource busy"},
	} {
		if got := helperFault(c.said, exit).Error(); got != c.want {
			t.Errorf("helperFault(%q) = %q; want %q", c.said, got, c.want)
		}
	}
}

func TestParseMountInfo(t *testing.T) {
	const text = `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
37 36 0:51 / /tmp/a\040b\134c\011d rw,nosuid shared:2 master:1 - fuse.ipcfs work\040queue rw,user_id=1000,group_id=100
38 36 0:52 / /bare rw - tmpfs none rw
`
	want := []MountPoint{
		{36, "98:0", "/mnt2", "ext3", "/dev/root", -1},
		{37, "0:51", "/tmp/a b\\c\td", "fuse.ipcfs", "work queue", 1000},
		{38, "0:52", "/bare", "tmpfs", "none", -1},
	}
	got, err := parseMountInfo(text)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parseMountInfo = %+v, %v; want %+v, nil", got, err, want)
	}
	for _, bad := range []string{"x", "36 35 98:0 / /m rw ext3 root rw", "x 35 98:0 / /m rw - ext3 root rw", "36 35 98:0 / /m rw - ext3"} {
		if got, err := parseMountInfo(bad); err == nil {
			t.Errorf("parseMountInfo(%q) = %+v, nil; want an error", bad, got)
		}
	}
}

func TestUnescape(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`plain`, `plain`}, {`a\040b`, `a b`}, {`\134`, `\`}, {`\134040`, `\040`}, {`x\04`, `x\04`}, {`x\`, `x\`}, {`\999`, `\999`}, {`\777`, `\777`},
	} {
		if got := unescape(c.in); got != c.want {
			t.Errorf("unescape(%q) = %q; want %q", c.in, got, c.want)
		}
	}
}

func TestResolve(t *testing.T) {
	tmp, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(tmp, "a dir")
	for _, err := range []error{
		os.Mkdir(dir, 0o755),
		os.WriteFile(filepath.Join(tmp, "file"), nil, 0o644),
		os.Symlink("a dir", filepath.Join(tmp, "link")),
		os.Symlink("nowhere", filepath.Join(tmp, "dangling")),
		os.Symlink("loop", filepath.Join(tmp, "loop")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, in := range []string{dir, tmp + "/./a dir/../link/", tmp + "/link"} {
		if got, err := Resolve(in); err != nil || got != dir {
			t.Errorf("Resolve(%q) = %q, %v; want %q, nil", in, got, err, dir)
		}
	}
	t.Chdir(tmp)
	if got, err := Resolve("link"); err != nil || got != dir {
		t.Errorf("Resolve(link) = %q, %v; want %q, nil", got, err, dir)
	}
	for _, c := range []struct {
		in    string
		errno error
		words string
	}{
		{"", unix.ENOENT, "no such directory"},
		{tmp + "/missing", unix.ENOENT, "no such directory"},
		{tmp + "/dangling", unix.ENOENT, "no such directory"},
		{tmp + "/file", unix.ENOTDIR, "not a directory"},
		{tmp + "/loop", unix.ELOOP, unix.ELOOP.Error()},
	} {
		got, err := Resolve(c.in)
		if !errors.Is(err, c.errno) || err.Error() != c.words {
			t.Errorf("Resolve(%q) = %q, %v; want %q", c.in, got, err, c.words)
		}
	}
	if m, found, err := Find(dir); found || err != nil {
		t.Errorf("Find(%q) = %+v, %v, %v; want no mount", dir, m, found, err)
	}
	if err := Unmount(dir, false); err != ErrNotMounted {
		t.Errorf("Unmount of a plain directory = %v; want %v", err, ErrNotMounted)
	}
	if m, found, err := Find("/proc"); !found || err != nil || m.Type != "proc" {
		t.Errorf("Find(/proc) = %+v, %v, %v; want type proc", m, found, err)
	}
	if err := Unmount("/proc", false); !errors.Is(err, unix.EINVAL) || err.Error() != "not an ipcfs but proc" {
		t.Errorf("Unmount(/proc) = %v; want not an ipcfs but proc", err)
	}
	if recovered, err := Recover("/proc"); recovered || err != nil {
		t.Errorf("Recover(/proc) = %v, %v; want false, nil", recovered, err)
	}
}

// A mount whose descriptor closes before anybody served it is as dead as one
// whose daemon was killed, so this needs no server.
func TestDeadMountIsRecovered(t *testing.T) {
	dir, err := Resolve(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Unmount(dir, true); err != nil && err != ErrNotMounted {
			t.Errorf("Unmount = %v", err)
		}
	})
	for range 2 {
		fd, err := Mount(dir, Options{FSName: "a b"})
		if err != nil {
			t.Fatalf("Mount = %v; want a descriptor", err)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("F_GETFL = %#x, %v; want a blocking descriptor", flags, err)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("F_GETFD = %#x, %v; want close-on-exec", flags, err)
		}
		m, found, err := Find(dir)
		if err != nil || !found || m.Type != FSType || m.Source != "a b" || m.User != os.Geteuid() {
			t.Errorf("Find = %+v, %v, %v; want %s from %q by %d", m, found, err, FSType, "a b", os.Geteuid())
		}
		unix.Close(fd)

		if err := alive(dir); err != unix.ENOTCONN {
			t.Errorf("alive, nobody serving = %v; want %v", err, unix.ENOTCONN)
		}
		if fd, err := Mount(dir, Options{}); !errors.Is(err, unix.ENOTCONN) {
			t.Errorf("Mount on a dead mount = %d, %v; want %v", fd, err, unix.ENOTCONN)
		}
		if recovered, err := Recover(dir); !recovered || err != nil {
			t.Fatalf("Recover = %v, %v; want true, nil", recovered, err)
		}
		if recovered, err := Recover(dir); recovered || err != nil {
			t.Errorf("Recover again = %v, %v; want false, nil", recovered, err)
		}
	}
}
