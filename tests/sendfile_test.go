package tests

import (
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

func TestGoCopiesAMessageToAConnection(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs")
	message := strings.Repeat("all of it\n", 2000)
	mb.put(message)
	run(t, goCommand("ServeCopy", mb.receive)...).prints(message)
	mb.wantQueue()
}
