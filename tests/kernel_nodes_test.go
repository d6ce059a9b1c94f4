package tests

import (
	"fmt"
	"strings"
	"testing"
)

// What the kernel remembers of a name costs it and the daemon memory, which is on nobody's account. It must not outlive
// the object until memory is short.

// forgets fails unless the kernel soon knows no more nodes than before.
func (m *mountpoint) forgets(t testing.TB, before int) {
	t.Helper()
	eventually(t, func() string {
		if now := m.daemonStat(t)["nodes"]; now > before {
			return fmt.Sprintf("the kernel knows %d nodes, want %d as before", now, before)
		}
		return ""
	})
}

// known is how many nodes the kernel knows when it has seen the kinds.
func (m *mountpoint) known(t testing.TB) int {
	t.Helper()
	bash(t, "stat "+m.dir+"/*/. > /dev/null").output()
	return m.daemonStat(t)["nodes"]
}

func TestDestroyedObjectsLeaveNoNodes(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"10,000 destroyed": `
os.mkdir(o)
put(o + "/destroy")`,
		"destroyed in use": `
os.mkdir(o)
put(o + "/capacity", "7")
os.stat(o + "/messages")
os.stat(o + "/topic/word")
f = open(o + "/receive", os.O_RDONLY | os.O_NONBLOCK)
g = open(o + "/topic/word", os.O_WRONLY)
put(o + "/destroy")
os.close(f)
os.close(g)`,
		"10,000 flat ones destroyed": `
put(o)
put(o + ".d/destroy")`,
		"rm while a control file is open": `
put(o)
f = open(o + ".d/stat", os.O_RDONLY)
g = open(o + ".d/topic/word", os.O_WRONLY)
os.unlink(o)
os.close(f)
os.close(g)`,
		"rmdir while an endpoint is open": `
os.mkdir(o)
f = open(o + "/send", os.O_WRONLY)
os.rmdir(o)
os.close(f)`,
		"rename over": `
os.mkdir(o)
os.mkdir(o + "2")
f = open(o + "/send", os.O_WRONLY)
os.rename(o + "2", o)
os.close(f)
put(o + "/destroy")`,
		"asked of after it is gone": `
os.mkdir(o)
os.chdir(o)
put("destroy")
for name in "stat", "none", "topic", "messages/1":
    try:
        os.stat(name)
        print(name, "is there")
    except OSError as e:
        pass
os.chdir("..")`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mount(t)
			before := m.known(t)
			n := 300
			if strings.HasPrefix(name, "10,000") {
				n = 10000
			}
			run(t, python, "-c", `
import os, sys
from os import open
def put(path, value="", flags=os.O_WRONLY | os.O_CREAT):
    f = open(path, flags)
    os.write(f, value.encode() + b"\n")
    os.close(f)
os.chdir(sys.argv[1])
for n in range(int(sys.argv[2])):
    o = "box%d" % n
`+indented(body), m.path("mailboxes"), number(n)).prints("")
			m.forgets(t, before)
		})
	}
}

// indented is text as the body of a loop.
func indented(text string) string {
	var b []byte
	for _, c := range []byte(text) {
		if b = append(b, c); c == '\n' {
			b = append(b, "    "...)
		}
	}
	return string(b)
}

func TestIpcfsRmLeavesNoNodes(t *testing.T) {
	t.Parallel()
	m := mount(t)
	before := m.known(t)
	for _, dir := range []string{"mailboxes", "pipes", "semaphores", "segments"} {
		bash(t, fmt.Sprintf(`cd %s && for i in {1..50}; do mkdir o$i; touch f$i; done; %s rm o* f*`, m.path(dir), ipcfsBin)).prints("")
	}
	m.forgets(t, before)
}

// Names that a process still uses are forgotten when it does not.
func TestNodesOfADestroyedObjectEndWithItsUsers(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		m := mb.m
		before := m.known(t)
		receiver := mb.parkReceiver()
		user := cli(t, "open "+mb.file("stat")+" rdonly", "open "+mb.file("topic/x")+" wronly", "pause")
		user.expect("ok", "ok")
		bash(t, "echo > "+mb.file("destroy")).prints("")
		receiver.expect("EIDRM")
		user.resume()
		user.output()
		m.forgets(t, before)
	})
}
