package tests

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestNamesThatDeceiveAreRefused(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	for _, name := range []string{"exe\u202etxt", "\u2067a", "a\u2069", "a\u200fb", "a\u2028b", "\ufeffa", "a\u200bb", "a\x1b[2Jb", "a\nb"} {
		var quoted strings.Builder
		for _, c := range []byte(name) {
			quoted.WriteString(`\x` + strconv.FormatUint(uint64(c)+256, 16)[1:])
		}
		for _, dir := range []string{"mailboxes", "pipes", "semaphores", "segments"} {
			path := m.path(dir) + "/" + quoted.String()
			does(t, "open "+path+" wronly|nonblock|creat", "EINVAL", "mkdir "+path+" 755", "EINVAL",
				"rename "+m.path("mailboxes", "jobs")+" "+m.path("mailboxes")+"/"+quoted.String(), "EINVAL")
		}
		does(t, "open "+mb.file("topic")+"/"+quoted.String()+" wronly", "ENOENT",
			"open "+mb.file("dead_letters")+" wronly", "ok", "write "+quoted.String(), "EINVAL")
	}
	for _, name := range []string{"שלום", "می\u200cخواهم", "👩\u200d💻", "a\u00a0b"} {
		if err := os.Mkdir(m.path("mailboxes", name), 0o755); err != nil {
			t.Error(err)
		}
	}
}

// A process gives itself any name: prctl(2), PR_SET_NAME.
func TestNamesOfCommandsForgeNoLines(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	does(t, "mkdir "+m.path("semaphores", "s")+" 755", "ok")
	if err := os.WriteFile(m.path("semaphores", "s", "post"), []byte("1\n"), 0); err != nil {
		t.Fatal(err)
	}
	does(t, "mkdir "+m.path("segments", "g")+" 755", "ok")
	trace := m.traced(t, ipcfsBin, "trace", m.dir)
	const raw, want = `a\nb \x1b[2J\\\xff`, `a\012b_\033[2J\134\377`
	c := run(t, python, "-c", `
import ctypes, os, sys
def named(name): ctypes.CDLL(None).prctl(15, name, 0, 0, 0)
named(b"`+raw+`")
hold, data = os.open(sys.argv[2], os.O_RDONLY), os.open(sys.argv[3], os.O_RDWR)
try: os.mkdir(os.path.dirname(sys.argv[4]) + "/x\n1 2 3 forged\x1b[2J")
except OSError as e: print(e.strerror, flush=True)
os.read(os.open(sys.argv[1], os.O_RDONLY), 10)
named(b"")
os.read(os.open(sys.argv[1], os.O_RDONLY), 10)
`, mb.receive, m.path("semaphores", "s", "hold"), m.path("segments", "g", "data"), m.path("mailboxes", "jobs"))
	c.expect("Invalid argument")
	mb.awaitWaiters(1)
	for file, line := range map[string]string{
		mb.file("waiters"):                  " " + want + " receive ",
		m.path(".ipcfs", "waiters"):         " " + want + " receive ",
		m.path(".ipcfs", "owners"):          " " + want + " hold ",
		m.path("semaphores", "s", "owners"): " " + want + " ",
		m.path("segments", "g", "attached"): " " + want + " rw\n",
	} {
		text, err := os.ReadFile(file)
		all := strings.SplitAfter(string(text), "\n")
		all = slices.DeleteFunc(all, func(line string) bool { return line == "" || strings.HasPrefix(line, ".ipcfs/trace ") })
		if err != nil || len(all) != 1 || !strings.Contains(all[0], line) {
			t.Errorf("%s = %q, %v; want one line with %q", file, text, err, line)
		}
	}
	out := run(t, ipcfsBin, "waiters", m.dir).output()
	if strings.Contains(out, "\x1b") || !strings.Contains(out, want) {
		t.Errorf("ipcfs waiters prints %q, want %s and no escape", out, want)
	}
	mb.put("x")
	mb.awaitStat("received 1", "receivers_waiting 1")
	if text := shownTo(t, nil, mb.file("waiters")); len(strings.Split(text, " ")) != 5 || !strings.Contains(text, " ? receive ") {
		t.Errorf("waiters shows a process without a name as %q, want ?", text)
	}
	mb.put("x")
	c.wait()
	eventually(t, func() string {
		if text := trace.stdout.String(); !strings.Contains(text, "forged") || strings.Count(text, " receive ") < 2 {
			return "the trace is " + text
		}
		return ""
	})
	for line := range strings.Lines(trace.stdout.String()) {
		if n := len(strings.Split(line, " ")); n != 9 || strings.Contains(line, "\x1b") {
			t.Errorf("the trace has the line %q, want 9 fields", line)
		}
	}
}
