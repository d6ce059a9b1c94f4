package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMistakesExitTwoWithAHint(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"mout", "ipcfs: unknown command \"mout\", did you mean mount or umount?\nTry 'ipcfs --help'.\n"},
		{"frobnicate", "ipcfs: unknown command \"frobnicate\"\nTry 'ipcfs --help'.\n"},
		{"--frob", "ipcfs: unknown flag: --frob\nTry 'ipcfs --help'.\n"},
		{"mount", "ipcfs: mount: which directory?\nTry 'ipcfs mount --help'.\n"},
		{"mount /a /b", "ipcfs: mount: one directory, not 2: /a /b\nTry 'ipcfs mount --help'.\n"},
		{"mount -o ro,frob /", "ipcfs: mount: unknown option \"frob\"\nTry 'ipcfs mount --help'.\n"},
		{"mount --frob /", "ipcfs: unknown flag: --frob\nTry 'ipcfs mount --help'.\n"},
		{"umount", "ipcfs: umount: which directory?\nTry 'ipcfs umount --help'.\n"},
		{"waiters --json --dot /", "ipcfs: waiters: --dot and --json exclude each other\nTry 'ipcfs waiters --help'.\n"},
		{"simulate --seed 1 --explore x.ipc", "ipcfs: simulate: --explore and --seed exclude each other\nTry 'ipcfs simulate --help'.\n"},
		{"version 1", "ipcfs: version: unexpected argument \"1\"\nTry 'ipcfs version --help'.\n"},
	} {
		var stdout, stderr strings.Builder
		status := run(strings.Fields(c.args), &stdout, &stderr)
		if status != 2 || stdout.String() != "" || stderr.String() != c.want {
			t.Errorf("ipcfs %s = %d, %q, %q; want 2, nothing, %q", c.args, status, stdout.String(), stderr.String(), c.want)
		}
	}
}

func TestFailuresAreOneLine(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ verb, dir, want string }{
		{"mount", dir + "/missing", "no such directory"},
		{"mount", file, "not a directory"},
		{"umount", dir + "/missing", "no such directory"},
		{"unmount", dir, "not mounted"},
		{"umount", "/proc", "not an ipcfs but proc"},
	} {
		var stdout, stderr strings.Builder
		status := run([]string{c.verb, c.dir}, &stdout, &stderr)
		want := "ipcfs: " + strings.Replace(c.verb, "unm", "um", 1) + " " + c.dir + ": " + c.want + "\n"
		if status != 1 || stdout.String() != "" || stderr.String() != want {
			t.Errorf("ipcfs %s %s = %d, %q, %q; want 1, nothing, %q", c.verb, c.dir, status, stdout.String(), stderr.String(), want)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, args := range []string{"version", "--version"} {
		var stdout, stderr strings.Builder
		status := run([]string{args}, &stdout, &stderr)
		if status != 0 || stderr.String() != "" || stdout.String() != describeVersion()+"\n" || !strings.HasPrefix(stdout.String(), "ipcfs ") {
			t.Errorf("ipcfs %s = %d, %q, %q; want 0, %q", args, status, stdout.String(), stderr.String(), describeVersion())
		}
	}
}

func TestEscapePath(t *testing.T) {
	// As systemd-escape --path has them.
	for _, c := range []struct{ path, want string }{
		{"/", "-"},
		{"/tmp/ipc", "tmp-ipc"},
		{"/tmp//ipc/", "tmp-ipc"},
		{"/srv/my-ipc", `srv-my\x2dipc`},
		{"/.ipc/.x", `\x2eipc-.x`},
		{"/a b/ü", `a\x20b-\xc3\xbc`},
		{`/a\b`, `a\x5cb`},
	} {
		if got := escapePath(c.path); got != c.want {
			t.Errorf("escapePath(%q) = %q; want %q", c.path, got, c.want)
		}
	}
}

func TestLogIsAppendedToAndNoSymlinkFollowed(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "log")
	for range 2 {
		f, err := openLog(name)
		if err != nil {
			t.Fatal(err)
		}
		newLog(f, "/ipc")
		f.Close()
	}
	text, err := os.ReadFile(name)
	if err != nil || strings.Count(string(text), ", mounting /ipc\n") != 2 {
		t.Errorf("log = %q, %v; want two first lines", text, err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	if f, err := openLog(link); err == nil {
		f.Close()
		t.Errorf("openLog(link) = nil error; want one")
	}
}
