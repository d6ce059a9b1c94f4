package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMistakesAreNamedWithWhatIsExpected(t *testing.T) {
	t.Parallel()
	m := mount(t)
	for _, c := range []struct {
		status int
		says   string
		args   []string
	}{
		{2, `trace: no operation is called "bogus": one of `, []string{"trace", "--op", "bogus", m.dir}},
		{2, `--pid: "x" is no number`, []string{"trace", "--pid", "x", m.dir}},
		{2, `--every: "often" is no duration`, []string{"top", "--every", "often", m.dir}},
		{2, `help: unknown command "nope"`, []string{"help", "nope"}},
		{1, `simulate: nope: no such file, and no scenario of that name comes with the program: --list names them`, []string{"simulate", "nope"}},
	} {
		cl := run(t, append([]string{ipcfsBin}, c.args...)...)
		cl.fails(c.status, c.says)
		if said := cl.stderr.String(); strings.Contains(said, "strconv") {
			t.Errorf("ipcfs %s speaks of the program's inside: %q", strings.Join(c.args, " "), said)
		}
	}
}

func TestEveryTracedOperationCanBeAskedFor(t *testing.T) {
	t.Parallel()
	m := mount(t)
	for _, op := range []string{"send", "create", "remove", "rename", "destroy", "set-capacity", "flock", "fcntl", "unlock", "resize"} {
		c := run(t, ipcfsBin, "trace", "--op", op, m.dir)
		eventually(t, func() string {
			select {
			case <-c.exited:
				return ""
			default:
			}
			if m.daemonStat(t)["handles"] < 2 { // one is that of stat
				return "nobody has the trace open"
			}
			return ""
		})
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatalf("trace --op %s has ended: %s", op, c.stderr)
		}
		c.wait()
	}
}

func TestTheMountOfTheWorkingDirectoryNeedNotBeNamed(t *testing.T) {
	t.Parallel()
	a, b := mount(t), mount(t)
	a.mailbox(t, flat, "here")
	b.mailbox(t, flat, "there")
	for _, dir := range []string{b.dir, b.path("mailboxes")} {
		out := command{argv: []string{ipcfsBin, "ls"}, dir: dir}.run(t).output()
		if !strings.Contains(out, " there ") || strings.Contains(out, " here ") {
			t.Errorf("ls in %s printed %q, want the objects of that mount", dir, out)
		}
	}
}

func TestAPathInsideNamesItsMount(t *testing.T) {
	t.Parallel()
	m := mount(t)
	m.mailbox(t, flat, "jobs")
	for _, path := range []string{m.path("mailboxes"), m.path("mailboxes/jobs"), m.path(".ipcfs/objects")} {
		if out := run(t, ipcfsBin, "ls", path).output(); !strings.Contains(out, " jobs ") {
			t.Errorf("ls %s printed %q, want what is on the mount", path, out)
		}
	}
}

func TestMountingOverFilesSaysSo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c := run(t, ipcfsBin, "mount", "--log", filepath.Join(t.TempDir(), "log"), dir)
	status := c.wait()
	run(t, ipcfsBin, "umount", dir).wait()
	if said := c.stderr.String(); status != 0 || said != "ipcfs: mount "+dir+": is not empty: what is in it stays hidden until the umount\n" {
		t.Errorf("mount over a file ended with status %d and said %q", status, said)
	}
}

func TestCompletionKnowsMountsScenariosAndOperations(t *testing.T) {
	t.Parallel()
	m := mount(t)
	for _, c := range []struct{ line, want string }{
		{"ls ", m.dir}, {"waiters ", m.dir}, {"trace ", m.dir}, {"top ", m.dir}, {"umount ", m.dir}, {"simulate --on ", m.dir},
		{"simulate phil", "philosophers"}, {"trace --op s", "send"}, {"trace --op set-cap", "set-capacity"},
	} {
		words := strings.Split(c.line, " ")
		out := run(t, append([]string{ipcfsBin, "__complete"}, words...)...).output()
		if !strings.Contains("\n"+out, "\n"+c.want) {
			t.Errorf("completion of %q offers %q, want %s among it", c.line, out, c.want)
		}
	}
}

// mount(8) runs "ipcfs SOURCE DIR -o OPTIONS" for a filesystem of type fuse.ipcfs.
func TestMountMountsByType(t *testing.T) {
	needRoot(t)
	dir := emptyDir(t, nil)
	fstab := filepath.Join(t.TempDir(), "fstab")
	line := "ipcfs-of-test " + dir + " fuse.ipcfs allow_other,noexec,nofail,x-systemd.requires=network.target 0 0\n"
	if err := os.WriteFile(fstab, []byte(line), 0o644); err != nil {
		t.Fatal(err)
	}
	// Where sh(1), which mount.fuse3(8) runs it with, looks for programs.
	script := `set -e
		mount -t tmpfs tmpfs /usr/local/bin
		cp "$IPCFS" /usr/local/bin/ipcfs
		mount --fstab ` + fstab + ` ` + dir + `
		findmnt -n -o FSTYPE,SOURCE,OPTIONS ` + dir + `
		echo hello > ` + dir + `/mailboxes/jobs
		cat ` + dir + `/mailboxes/jobs
		umount ` + dir + `
		mount -t fuse.ipcfs ipcfs ` + dir + ` -o ro
		findmnt -n -o OPTIONS ` + dir + `
		umount ` + dir
	c := command{argv: []string{"unshare", "-m", "--propagation", "private", "bash", "-c", script}, env: []string{"IPCFS=" + ipcfsBin}}.run(t)
	out := strings.Join(strings.Fields(c.output()), " ")
	for _, want := range []string{"fuse.ipcfs ipcfs-of-test rw,nosuid", "noexec", "allow_other", "hello", " ro,"} {
		if !strings.Contains(strings.Replace(out, "rw,noexec", "rw,nosuid,noexec", 1), want) {
			t.Errorf("mount -t fuse.ipcfs: %q; want %q in it", out, want)
		}
	}
}

func TestUserIsToldWhatUmountLacks(t *testing.T) {
	needRoot(t)
	user := nobody(t)
	script := `set -e
		cp -a /etc /tmp/etc-$$; mount --bind /tmp/etc-$$ /etc; rm -f /etc/mtab
		setpriv --reuid nobody --regid nogroup --clear-groups "$IPCFS" umount "$DIR" || echo status $?
		umount /etc; rm -r /tmp/etc-$$`
	m := mountAs(t, user)
	c := command{argv: []string{"unshare", "-m", "--propagation", "private", "bash", "-c", script},
		env: []string{"IPCFS=" + ipcfsBin, "DIR=" + m.dir}}.run(t)
	c.wait()
	if said := c.stderr.String(); !strings.Contains(said, "/etc/mtab is missing") || !strings.Contains(said, "ln -s /proc/self/mounts /etc/mtab") {
		t.Errorf("umount without /etc/mtab said %q (%q)", said, c.stdout)
	}
}
