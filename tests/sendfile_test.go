package tests

import (
	"slices"
	"strings"
	"testing"
)

// sendfile tries to copy files by sendfile(2), splice(2) and what is built on the former.
const sendfile = `
import os, shutil, sys
def attempt(f, *args):
    try:
        return f(*args)
    except OSError as e:
        return e.strerror
for name in sys.argv[2:]:
    for looked in (False, True):
        fd = os.open(name, os.O_RDONLY)
        if looked:
            os.fstat(fd)
        r, w = os.pipe()
        print(attempt(os.sendfile, w, fd, None, 100), attempt(os.splice, fd, w, 100), len(os.read(fd, 100)) > 0)
    shutil.copyfile(name, sys.argv[1])
    print(open(sys.argv[1]).read() == open(name).read())
`

func TestSendfileFromAControlFileFallsBack(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	names := []string{mb.file("capacity"), mb.file("stat"), m.path(".ipcfs/version"), m.path(".ipcfs/limits")}
	refused := "Invalid argument Invalid argument True\n"
	copied := t.TempDir() + "/copy"
	run(t, append([]string{python, "-c", sendfile, copied}, names...)...).prints(strings.Repeat(refused+refused+"True\n", len(names)))
	for _, name := range names {
		want := run(t, "cat", name).output()
		run(t, goCommand("ServeCopy", name)...).prints(want)
		bash(t, "cat "+name+" > "+copied+"; cat "+copied).prints(want)
		bash(t, "cp "+name+" "+copied+"; cat "+copied).prints(want)
		bash(t, "cp --sparse=always "+name+" "+copied+"; cat "+copied).prints(want)
		for _, filter := range []string{"wc -c", "tail -n 1", "tail -c 2", "head -n 1", "sort", "dd status=none"} {
			bash(t, filter+" < "+name).prints(run(t, "bash", "-c", "cat "+name+" | "+filter).output())
		}
	}
	bash(t, "cd "+m.path("mailboxes/jobs")+"; echo 7 >> capacity; cat capacity; echo 5 > capacity; cat capacity").prints("7\n5\n")
}

// A listing is longer than the size that it shows.
func TestSendfileFromAListingFallsBack(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	list := m.path(".ipcfs/objects")
	bash(t, "cd "+m.path("segments")+"; mkdir many; for i in {100..299}; do : > a-long-name-for-a-segment-$i; done; cat "+
		mb.file("waiters")+" "+m.path("segments/many/attached")).prints("")
	objects := run(t, "cat", list).output()
	if strings.Count(objects, "\n") != 202 || len(objects) < 2*4096 {
		t.Fatalf("the listing has %d lines and %d bytes; want 202, and some pages", strings.Count(objects, "\n"), len(objects))
	}
	copied := t.TempDir() + "/copy"
	refused := "Invalid argument Invalid argument True\n"
	run(t, python, "-c", sendfile, copied, list).prints(refused + refused + "True\n")
	for _, filter := range []string{"cat", "wc", "wc -c", "wc -l", "tail -n 1", "tail -n +90", "tail -c 2", "tail -c 5000", "tail -c +5000", "head -n 1",
		"head -n -3", "head -c 5000", "head -c -5000", "sort", "grep -c segment", "grep 199", "sed -n '$p'", "awk 'END { print NR }'",
		python + " -c 'import sys; print(len(open(sys.argv[1] if sys.argv[1:] else 0).read()))'"} {
		want := strings.Fields(bash(t, "cat "+list+" | "+filter).output()) // wc pads by the size
		for _, how := range []string{filter + " < " + list, filter + " " + list} {
			got := strings.Fields(strings.ReplaceAll(bash(t, how).output(), list, ""))
			if !slices.Equal(got, want) {
				t.Errorf("%s prints %.300q; want %.300q", how, strings.Join(got, " "), strings.Join(want, " "))
			}
		}
	}
	run(t, goCommand("ServeCopy", list)...).prints(objects)
	bash(t, "cp "+list+" "+copied+"; cat "+copied).prints(objects)
	bash(t, "cp --sparse=always "+list+" "+copied+"; cat "+copied).prints(objects)
	run(t, python, "-c", "import sys; print(open(sys.argv[1]).read(), end='')", list).prints(objects)
	for _, name := range []string{".ipcfs/metrics", ".ipcfs/waiters", ".ipcfs/owners"} {
		run(t, "stat", "-c", "%s", m.path(name)).prints("4096\n")
		run(t, python, "-c", sendfile[:strings.Index(sendfile, "    shutil")], copied, m.path(name)).output()
	}
}

func TestGoCopiesAMessageToAConnection(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs")
	message := strings.Repeat("all of it\n", 2000)
	mb.put(message)
	run(t, goCommand("ServeCopy", mb.receive)...).prints(message)
	mb.wantQueue()
}
