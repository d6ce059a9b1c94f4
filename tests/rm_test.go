package tests

import (
	"os"
	"path/filepath"
	"testing"
)

// there tells whether a name is.
func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestRmSparesWhatIsInUseUnlessForced(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("x")
		run(t, ipcfsBin, "rm", mb.path).fails(1, "rm "+mb.path+": directory not empty; -f destroys it nevertheless")
		mb.wantQueue("x")
		c := mb.parkReceiver()
		run(t, ipcfsBin, "rm", mb.path+"/").fails(1, "in use (device or resource busy); -f destroys it nevertheless")
		if !there(mb.path) {
			t.Fatal("it is gone")
		}
		run(t, ipcfsBin, "rm", "-f", mb.path).prints("")
		c.expect("EIDRM")
		if there(mb.path) || there(mb.control) {
			t.Error("it is still there")
		}
		run(t, ipcfsBin, "rm", mb.path).fails(1, "no such file or directory")
		run(t, ipcfsBin, "rm", "-f", mb.path).prints("")
		if got := mb.m.daemonStat(t); got["objects"] != 0 || got["messages"] != 0 {
			t.Errorf(".ipcfs/stat = %v, want nothing left", got)
		}
	})
}

func TestRmDestroysObjectsOfAnyKind(t *testing.T) {
	t.Parallel()
	m := mount(t)
	var paths []string
	for _, dir := range []string{"mailboxes", "pipes", "semaphores", "segments"} {
		for _, shape := range []string{flat, directory} {
			paths = append(paths, m.objectOf(t, dir, shape, shape).path)
		}
	}
	bash(t, "mkfifo "+m.path("pipes/fifo")).prints("")
	paths = append(paths, m.path("pipes/fifo"))
	run(t, append([]string{ipcfsBin, "rm"}, paths...)...).prints("")
	run(t, "cat", m.path(".ipcfs/objects")).prints("")
	for _, path := range paths {
		if there(path) {
			t.Errorf("%s is still there", path)
		}
	}
}

func TestRmOfAHeldSemaphoreEndsItsWaiters(t *testing.T) {
	t.Parallel()
	s := mount(t).semaphore(t, directory, "db", 1)
	holder := cli(t, "open "+s.file("hold")+" rdonly", "pause")
	holder.expect("ok")
	c := cli(t, "open "+s.file("hold")+" rdonly")
	s.awaitWaiters(1)
	run(t, ipcfsBin, "rm", s.path).fails(1, "in use")
	run(t, ipcfsBin, "rm", "-f", s.path).prints("")
	c.expect("EIDRM")
	c.output()
}

func TestRmOfALinkedSegmentTakesAllItsNames(t *testing.T) {
	t.Parallel()
	m := mount(t)
	a, b := m.path("segments/a"), m.path("segments/b")
	bash(t, "truncate -s 1M "+a+"; ln "+a+" "+b).prints("")
	user := cli(t, "open "+b+" rdwr", "pause", "write x")
	user.expect("ok")
	run(t, ipcfsBin, "rm", a).fails(1, "in use")
	run(t, ipcfsBin, "rm", "-f", a).prints("")
	eventually(t, func() string {
		if there(a) || there(b) {
			return "a name is still there"
		}
		return ""
	})
	user.resume() // as after rm(1), it lives for its user
	user.expect("ok", "1")
	user.output()
	eventually(t, func() string { return differs(m.daemonStat(t)["bytes"], 0) })
}

func TestRmTouchesNothingElse(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs")
	elsewhere := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(elsewhere, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{elsewhere, filepath.Dir(elsewhere), mb.send, mb.m.path("mailboxes"), mb.m.path(".ipcfs/version"), mb.m.dir} {
		for _, f := range []string{"", "-f"} {
			run(t, "bash", "-c", ipcfsBin+" rm "+f+" "+path).fails(1, "not an object of an ipcfs")
		}
		if !there(path) {
			t.Fatalf("%s is gone", path)
		}
	}
	run(t, ipcfsBin, "rm").fails(2, "which object?")
	does(t, "open "+mb.file("destroy")+" wronly", "ok", "write unsed", "EINVAL")
	if !there(mb.path) {
		t.Error("a word it does not know destroyed it")
	}
}

func TestRmMayNotTakeOtherPeoplesObjects(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	for _, shape := range []string{flat, directory} {
		mb := m.mailbox(t, shape, shape)
		if err := os.Chmod(mb.path, 0o777); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{"--", "-f"} {
			c := command{argv: []string{ipcfsBin, "rm", f, mb.path}, as: nobody(t)}.run(t)
			if status := c.wait(); status != 1 || !there(mb.path) {
				t.Errorf("rm %s by nobody of a %s mailbox ended with status %d, saying %q; want 1", f, shape, status, c.stderr)
			}
		}
	}
}
