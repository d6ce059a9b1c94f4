package tests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func attributes(t testing.TB, path string) *syscall.Stat_t {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	return &st
}

func moment(ts syscall.Timespec) time.Time { return time.Unix(ts.Unix()) }

func TestSizeIsTheBytesHeld(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, flat, "jobs")
	for _, row := range []struct {
		do   func()
		size int64
	}{
		{func() {}, 0},
		{func() { mb.put("hello") }, 5},
		{func() { mb.put("again") }, 10},
		{func() { run(t, "cat", mb.receive).output() }, 5},
		{func() { mb.set("flush", "1") }, 0},
	} {
		row.do()
		if got := attributes(t, mb.path).Size; got != row.size {
			t.Errorf("size = %d, want %d", got, row.size)
		}
	}
	mb.put("12345")
	line := run(t, "ls", "-l", mb.path).output()
	if f := strings.Fields(line); len(f) < 5 || f[4] != "5" || f[0] != "-rw-------" {
		t.Errorf("ls -l printed %q, want mode -rw------- and size 5", line)
	}
}

func TestTimesAreThoseOfMessages(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		created := attributes(t, mb.path)
		before := time.Now()
		mb.put("hello")
		sent := attributes(t, mb.path)
		if mtime := moment(sent.Mtim); mtime.Before(before.Add(-time.Second)) || !mtime.After(moment(created.Mtim)) {
			t.Errorf("mtime after a send at %v = %v, want it later than that of creation, %v", before, mtime, moment(created.Mtim))
		}
		if sent.Atim != created.Atim {
			t.Errorf("atime after a send = %v, want that of creation, %v", moment(sent.Atim), moment(created.Atim))
		}
		mb.wantQueue("hello")
		received := attributes(t, mb.path)
		if atime := moment(received.Atim); !atime.After(moment(sent.Atim)) || atime.Before(before.Add(-time.Second)) {
			t.Errorf("atime after a receive = %v, want it later than before, %v", atime, moment(sent.Atim))
		}
		if received.Mtim != sent.Mtim {
			t.Errorf("mtime after a receive = %v, want that of the send, %v", moment(received.Mtim), moment(sent.Mtim))
		}
		// Nobody dates a message back.
		run(t, "touch", "-d", "@1000000000", mb.path).prints("")
		if got := attributes(t, mb.path); got.Mtim != sent.Mtim || got.Atim != received.Atim {
			t.Errorf("mtime, atime after touch = %v, %v; want them unchanged", moment(got.Mtim), moment(got.Atim))
		}
	})
}

func TestModeAndUmaskOfTheCreatorAreHonoured(t *testing.T) {
	t.Parallel()
	m := mount(t)
	for _, row := range []struct{ umask, mode, want string }{
		{"022", "666", "644"}, {"027", "666", "640"}, {"000", "604", "604"}, {"077", "777", "700"}, {"0", "600", "600"},
	} {
		name := m.path("mailboxes", row.umask+"-"+row.mode)
		does(t, "umask "+row.umask, "ok", "open "+name+" wronly|creat|excl "+row.mode, "ok",
			"stat "+name, row.want+" "+ownID()+" 0",
			"mkdir "+name+"-dir "+row.mode, "ok")
		if got := run(t, "stat", "-c", "%a", name+"-dir").output(); got != row.want+"\n" {
			t.Errorf("mode of mkdir %s under umask %s = %s, want %s", row.mode, row.umask, got, row.want)
		}
	}
	bash(t, "umask 027; echo x > "+m.path("mailboxes/sh")+"; stat -c %a "+m.path("mailboxes/sh")).prints("640\n")
}

func TestDirectoryShapeStartsOwnerOnly(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs")
	want := map[string]os.FileMode{"send": 0o600, "receive": 0o400, "stream": 0o400, "peek": 0o400, "capacity": 0o644,
		"capacity_bytes": 0o644, "max_message": 0o644, "overflow": 0o644, "lease": 0o600,
		"framing": 0o644, "receivers": 0o644, "lease_time": 0o644, "max_deliveries": 0o644, "dead_letters": 0o644, "flush": 0o200, "stat": 0o444, "waiters": 0o444}
	entries, err := os.ReadDir(mb.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if mode, ok := want[e.Name()]; ok && (info.Mode() != mode) {
			t.Errorf("mode of %s = %v, want %v", e.Name(), info.Mode(), mode)
		}
		delete(want, e.Name())
	}
	if len(want) > 0 {
		t.Errorf("the directory does not list %v", want)
	}
}

func TestFlatShapeListsOneFile(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, flat, "jobs")
	m.mailbox(t, directory, "orders")
	m.mailbox(t, flat, ".hidden")
	list := func(path string) []string {
		var names []string
		entries, err := os.ReadDir(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	if got, want := list(m.path("mailboxes")), []string{".hidden", "jobs", "orders"}; !slices.Equal(got, want) {
		t.Errorf("mailboxes lists %q, want %q", got, want)
	}
	control := list(mb.control)
	for _, name := range []string{"send", "receive", "stream", "peek", "capacity", "stat", "waiters", "flush"} {
		if !slices.Contains(control, name) {
			t.Errorf("jobs.d lists %q, want %s among them", control, name)
		}
	}
	root := list(m.dir)
	for _, name := range []string{".ipcfs", "mailboxes"} {
		if !slices.Contains(root, name) {
			t.Errorf("the root lists %q, want %s among them", root, name)
		}
	}
	for _, name := range []string{"version", "objects", "waiters", "stat"} {
		if text, err := os.ReadFile(m.path(".ipcfs", name)); err != nil || len(text) == 0 && name != "waiters" {
			t.Errorf(".ipcfs/%s = %q, %v; want text", name, text, err)
		}
	}
	objects, err := os.ReadFile(m.path(".ipcfs/objects"))
	for _, name := range []string{"mailboxes/jobs", "mailboxes/orders", "mailboxes/.hidden"} {
		if !strings.Contains(string(objects), name) {
			t.Errorf(".ipcfs/objects = %q, %v; want a line for %s", objects, err, name)
		}
	}
}

func TestTheControlDirectoryOfAFlatMailboxIsTheSameMailbox(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, flat, "jobs")
	bash(t, "echo one > "+mb.file("send")+"; cat "+mb.path+"; echo two > "+mb.path+"; cat "+mb.file("receive")).
		prints("one\ntwo\n")
}

func TestChmodAndChownWorkOnObjectsAndEndpoints(t *testing.T) {
	t.Parallel()
	needRoot(t)
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		if err := os.Chmod(mb.path, 0o751); err != nil {
			t.Error(err)
		}
		if err := os.Chown(mb.path, 12, 34); err != nil {
			t.Error(err)
		}
		st := attributes(t, mb.path)
		if st.Mode&0o7777 != 0o751 || st.Uid != 12 || st.Gid != 34 {
			t.Errorf("object after chmod 751 and chown 12:34 = %o %d:%d", st.Mode&0o7777, st.Uid, st.Gid)
		}
		if err := os.Chmod(mb.file("capacity"), 0o664); err != nil {
			t.Error(err)
		}
		if got := attributes(t, mb.file("capacity")).Mode & 0o7777; got != 0o664 {
			t.Errorf("mode of capacity after chmod 664 = %o", got)
		}
	})
	mb := mount(t).mailbox(t, directory, "jobs")
	does(t, "chmod "+mb.send+" 222", "ok", "chown "+mb.send+" 5 6", "ok", "chown "+mb.receive+" 7 8", "ok")
	for path, want := range map[string][3]uint32{mb.send: {0o222, 5, 6}, mb.receive: {0o400, 7, 8}, mb.file("peek"): {0o400, 0, 0}} {
		st := attributes(t, path)
		if got := [3]uint32{st.Mode & 0o7777, st.Uid, st.Gid}; got != want {
			t.Errorf("mode, uid, gid of %s = %o, want %o", filepath.Base(path), got, want)
		}
	}
}

func TestInodeNumbersAreStable(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		for _, path := range []string{mb.path, mb.send, mb.receive, mb.file("capacity"), mb.m.path("mailboxes")} {
			ino := attributes(t, path).Ino
			c := cli(t, "open "+mb.send+" wronly", "pause")
			c.expect("ok")
			for range 3 {
				if got := attributes(t, path).Ino; got != ino {
					t.Errorf("st_ino of %s = %d, want %d as before", path, got, ino)
				}
			}
			c.kill()
		}
		if attributes(t, mb.file("capacity")).Ino == attributes(t, mb.file("overflow")).Ino {
			t.Error("two control files have one st_ino")
		}
	})
}

func TestStatfsAnswers(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, flat, "jobs")
	for _, path := range []string{m.dir, mb.path, m.path(".ipcfs", "stat")} {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(path, &fs); err != nil {
			t.Errorf("statfs %s: %v", path, err)
		}
		const fuseSuperMagic = 0x65735546 // linux/magic.h
		if fs.Type != fuseSuperMagic || fs.Namelen != 255 || fs.Bsize <= 0 {
			t.Errorf("statfs %s = %+v, want FUSE, names of 255 and a block size", path, fs)
		}
	}
	run(t, "df", m.dir).output()
	if fstype, ok := mountLine(m.dir); !ok || fstype != "fuse.ipcfs" {
		t.Errorf("the mount's type is %q, %v; want fuse.ipcfs", fstype, ok)
	}
}
