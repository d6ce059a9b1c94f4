package tests

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// filesOf lists every file and directory of a mailbox, some members of its folders among them. A message has an owner
// of its own and is none.
func (mb *mailbox) filesOf() []string {
	mb.t.Helper()
	all := []string{mb.path}
	err := filepath.WalkDir(mb.control, func(path string, _ fs.DirEntry, err error) error {
		if filepath.Base(filepath.Dir(path)) != "messages" && path != mb.path {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		mb.t.Fatal(err)
	}
	return append(all, mb.file("topic/news"), mb.file("from/7"))
}

// ownedBy makes an empty mailbox of the user's.
func (m *mountpoint) ownedBy(t testing.TB, shape, name string, id uint32) *mailbox {
	t.Helper()
	mb := m.existing(t, shape, name)
	make := "mkdir " + mb.path + " 755"
	if shape == flat {
		make = "open " + mb.path + " wronly|creat|excl 644"
	}
	doesAs(t, userOf(id), "umask 0", "ok", make, "ok")
	return mb
}

func TestChownOfAnObjectReachesAllItsFiles(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	for _, shape := range []string{flat, directory} {
		mb := m.ownedBy(t, shape, shape, 2001)
		mb.put("secret")
		mb.putAs("priority/3", "secret")
		owners := func() string {
			t.Helper()
			var l []string
			for _, path := range mb.filesOf() {
				st := attributes(t, path)
				l = append(l, fmt.Sprintf("%d:%d", st.Uid, st.Gid))
			}
			n := len(l)
			if all := strings.Join(l, " "); all != strings.TrimSpace(strings.Repeat(l[0]+" ", n)) {
				t.Fatalf("the files of a %s mailbox belong to %s", shape, all)
			}
			return l[0]
		}
		if got := owners(); got != "2001:2001" {
			t.Fatalf("the files belong to %s, want their maker", got)
		}
		does(t, "chown "+mb.path+" 2002 2003", "ok")
		if got := owners(); got != "2002:2003" {
			t.Errorf("after chown the files of a %s mailbox belong to %s, want 2002:2003", shape, got)
		}
		doesAs(t, userOf(2001), "open "+mb.file("peek")+" rdonly|nonblock", "EACCES",
			"open "+mb.file("receive")+" rdonly|nonblock", "EACCES", "open "+mb.file("destroy")+" wronly", "EACCES",
			"open "+mb.file("capacity")+" wronly", "EACCES", "open "+mb.file("priority/3")+" rdonly|nonblock", "EACCES",
			"open "+mb.file("messages")+" rdonly|directory", "EACCES", "chmod "+mb.file("peek")+" 777", "EPERM")
		doesAs(t, userOf(2002), "open "+mb.file("peek")+" rdonly|nonblock", "ok", "chmod "+mb.file("peek")+" 444", "ok")

		// One endpoint may be given to somebody else afterwards.
		does(t, "chown "+mb.file("send")+" 2004 -1", "ok")
		doesAs(t, userOf(2004), "open "+mb.file("send")+" wronly", "ok", "write theirs", "6")
		does(t, "chown "+mb.path+" 2005 -1", "ok")
		if got := owners(); got != "2005:2003" {
			t.Errorf("after a second chown the files belong to %s, want 2005:2003", got)
		}
		doesAs(t, userOf(2005), "open "+mb.file("destroy")+" wronly", "ok", "write \\n", "1")
	}
}

func TestChmodOfAnObjectReachesAllItsFiles(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	for shape, modes := range map[string][2]string{flat: {"600", "644"}, directory: {"700", "755"}} {
		closed, open := modes[0], modes[1]
		mb := m.ownedBy(t, shape, shape, 2001)
		doesAs(t, userOf(2001), "chmod "+mb.file("send")+" 666", "ok", "chmod "+mb.file("priority")+" 755", "ok",
			"chmod "+mb.file("priority/3")+" 666", "ok")
		// What somebody has found before is looked at again.
		files := []string{"stat", "waiters", "capacity", "send", "priority/3"}
		c := command{argv: []string{python, "-c", `
import os, sys
os.setgroups([]); os.setgid(2002); os.setuid(2002)
paths = [os.open(p, os.O_PATH) for p in sys.argv[1:]]
for line in sys.stdin:
    for p in paths:
        try: os.close(os.open("/proc/self/fd/%d" % p, os.O_RDONLY if line == "read\n" else os.O_WRONLY)); print("ok", end=" ")
        except OSError as e: print(e.strerror, end=" ")
    print(flush=True)
`}}
		for _, file := range files {
			c.argv = append(c.argv, mb.file(file))
		}
		stranger := c.run(t)
		tries := func(how, want string) {
			t.Helper()
			if _, err := stranger.stdin.Write([]byte(how + "\n")); err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(stranger.next(), "Permission denied", "EACCES"); strings.TrimSpace(got) != want {
				t.Errorf("a stranger's %s of %v of a %s mailbox gives %s, want %s", how, files, shape, got, want)
			}
		}
		tries("write", "EACCES EACCES EACCES ok ok")
		doesAs(t, userOf(2001), "chmod "+mb.path+" "+closed, "ok")
		tries("read", "EACCES EACCES EACCES EACCES EACCES")
		tries("write", "EACCES EACCES EACCES EACCES EACCES")
		for _, path := range mb.filesOf() {
			if st := attributes(t, path); st.Mode&0o077 != 0 {
				t.Errorf("%s has mode %o in a mailbox of mode %s", path, st.Mode&0o777, closed)
			}
		}
		doesAs(t, userOf(2001), "chmod "+mb.path+" "+open, "ok")
		tries("write", "EACCES EACCES EACCES ok ok")
		doesAs(t, userOf(2001), "chmod "+mb.file("send")+" 600", "ok")
		tries("write", "EACCES EACCES EACCES EACCES ok")
	}
}

// Open files go on as POSIX has it, but for settings: they would let the former owner destroy what is another's.
func TestControlFilesOpenedBeforeAChownAreClosedToTheFormerOwner(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	for _, shape := range []string{flat, directory} {
		mb := m.ownedBy(t, shape, shape, 2001)
		c := cliAs(t, userOf(2001), "open "+mb.file("capacity")+" rdwr", "open "+mb.file("destroy")+" wronly",
			"open "+mb.file("stat")+" rdonly", "open "+mb.send+" wronly", "pause",
			"use 0", "read 100", "write 7", "use 1", "write \\n", "use 2", "read 100", "use 3", "write hello")
		root := cli(t, "open "+mb.file("capacity")+" rdwr", "pause", "write 9")
		c.expect("ok", "ok", "ok", "ok")
		root.expect("ok")
		does(t, "chown "+mb.path+" 2002 -1", "ok")
		c.resume()
		root.resume()
		c.expect("ok", "ok", "EACCES", "EACCES", "ok", "EACCES", "ok", "EACCES", "ok", "5")
		root.expect("ok", "1")
		mb.wantPolicy("capacity", "9")
		mb.wantQueue("hello")
		if _, err := os.Stat(mb.path); err != nil {
			t.Error(err)
		}
	}
}
