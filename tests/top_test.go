package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A terminal is a tmux of a test's own.
type terminal struct {
	t      testing.TB
	socket string
}

// newTerminal runs the program in a terminal of 110 columns and 30 lines.
func newTerminal(t testing.TB, argv ...string) *terminal {
	t.Helper()
	tm := &terminal{t, filepath.Join(t.TempDir(), "tmux")}
	tm.tmux(append([]string{"-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "30", "--"}, argv...)...)
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", tm.socket, "kill-server").Run() })
	return tm
}

func (tm *terminal) tmux(args ...string) string {
	tm.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", tm.socket}, args...)...)
	cmd.Env = append(os.Environ(), "TERM=xterm", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		tm.t.Fatalf("tmux %s: %v\n%s", args, err, out)
	}
	return string(out)
}

func (tm *terminal) press(keys ...string) {
	tm.t.Helper()
	tm.tmux(append([]string{"send-keys"}, keys...)...)
}

// shows waits until the lines on the screen are as want says, "" for all is well.
func (tm *terminal) shows(want func(lines []string) string) {
	tm.t.Helper()
	eventually(tm.t, func() string {
		screen := tm.tmux("capture-pane", "-p")
		if complaint := want(strings.Split(screen, "\n")); complaint != "" {
			return complaint + "; the screen is\n" + screen
		}
		return ""
	})
}

func TestTopShowsObjectsAndWhoIsBlocked(t *testing.T) {
	t.Parallel()
	m := mount(t)
	m.mailbox(t, flat, "alpha")
	full := m.mailbox(t, flat, "beta").with("capacity", "4")
	full.put("1", "2")
	c := m.mailbox(t, flat, "gamma").parkReceiver()

	tm := newTerminal(t, ipcfsBin, "top", "--every", "50ms", m.dir)
	inOrder := func(words ...string) func([]string) string {
		return func(lines []string) string {
			i := 0
			for _, line := range lines {
				if i < len(words) && strings.Contains(line, words[i]) {
					i++
				}
			}
			if i < len(words) {
				return fmt.Sprintf("%q is missing or out of order", words[i])
			}
			return ""
		}
	}
	waits := fmt.Sprintf("%d (ipccli) waits in receive of mailboxes/gamma", c.pid())
	tm.shows(inOrder("3 objects, 1 blocked", "OBJECT", "mailboxes/alpha", "mailboxes/beta", "mailboxes/gamma", waits))
	tm.shows(inOrder("mailboxes/beta                   [##########          ]           2/4 2B"))
	tm.press("f")
	tm.shows(inOrder("mailboxes/beta", "mailboxes/alpha", "mailboxes/gamma"))
	tm.press("w")
	tm.shows(inOrder("mailboxes/gamma", "mailboxes/alpha", "mailboxes/beta"))
	full.put("3", "4")
	tm.shows(inOrder("[####################]           4/4 4B"))
	tm.press("/", "e", "t", "Enter")
	tm.shows(func(lines []string) string {
		if text := strings.Join(lines, "\n"); strings.Contains(text, "mailboxes/alpha") || !strings.Contains(text, "mailboxes/beta") {
			return "the filter does not filter"
		}
		return ""
	})
	tm.press("q")
	eventually(t, func() string {
		if exec.Command("tmux", "-S", tm.socket, "has-session").Run() == nil {
			return "top goes on after q"
		}
		return ""
	})
}

func TestTopShowsWhatComesInAndGoesOut(t *testing.T) {
	t.Parallel()
	m := mount(t)
	m.mailbox(t, flat, "idle")
	busy := m.path("mailboxes/busy")
	traffic := bash(t, "while echo x > "+busy+"; do cat "+busy+" > /dev/null; done")
	defer traffic.cmd.Process.Kill()
	tm := newTerminal(t, ipcfsBin, "top", "--every", "100ms", m.dir)
	tm.press("r")
	tm.shows(func(lines []string) string {
		if !strings.Contains(lines[1], "IN/S") || !strings.Contains(lines[1], "OUT/S") || !strings.Contains(lines[2], "mailboxes/busy") {
			return "the busy mailbox is not the first"
		}
		f := strings.Fields(lines[2])
		if in, out := f[len(f)-3], f[len(f)-2]; in == "0.0" || out == "0.0" {
			return "nothing goes through the busy mailbox"
		}
		return ""
	})
}

func TestTopScrollsAndKeepsTheBlockedInView(t *testing.T) {
	t.Parallel()
	m := mount(t)
	bash(t, fmt.Sprintf("cd %s && touch object-{001..100} %s-end", m.path("mailboxes"), strings.Repeat("long", 60))).prints("")
	c := m.mailbox(t, flat, "gamma").parkReceiver()
	waits := fmt.Sprintf("%d (ipccli) waits in receive of mailboxes/gamma", c.pid())
	tm := newTerminal(t, ipcfsBin, "top", "--every", "50ms", m.dir)
	shows := func(words ...string) {
		t.Helper()
		tm.shows(func(lines []string) string {
			text := strings.Join(lines, "\n")
			for _, word := range append(words, "BLOCKED", waits) {
				if !strings.Contains(text, word) {
					return fmt.Sprintf("%q is not in view", word)
				}
			}
			return ""
		})
	}
	shows("mailboxes/gamma ", "mailboxes/object-001 ", " of 102")
	tm.shows(func(lines []string) string {
		column := strings.Index(lines[1], "WAITERS")
		for _, line := range lines[2:20] {
			if strings.Contains(line, "mailboxes/") && !strings.Contains(line, "waits in") && len([]rune(line)) != column+len("WAITERS") {
				return fmt.Sprintf("%q breaks the columns", line)
			}
		}
		if !strings.Contains(strings.Join(lines, "\n"), "…") {
			return "the long name is not shortened"
		}
		return ""
	})
	tm.press("End")
	shows("mailboxes/object-100 ")
	tm.press("Home", "NPage")
	shows("mailboxes/object-030 ")
	tm.press("Home", "Down", "Down")
	shows(" > 3-")
}

func TestTopNeedsATerminalAndAMount(t *testing.T) {
	t.Parallel()
	m := mount(t)
	run(t, "setsid", ipcfsBin, "top", m.dir).fails(1, "ipcfs: top: ")
	run(t, ipcfsBin, "top", "/").fails(1, "top: /: no ipcfs is mounted there")
	run(t, ipcfsBin, "top", "--every", "0", m.dir).fails(2, "")
}
