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

func TestTopNeedsATerminalAndAMount(t *testing.T) {
	t.Parallel()
	m := mount(t)
	run(t, "setsid", ipcfsBin, "top", m.dir).fails(1, "ipcfs: top: ")
	run(t, ipcfsBin, "top", "/").fails(1, "top: /: no ipcfs is mounted there")
	run(t, ipcfsBin, "top", "--every", "0", m.dir).fails(2, "")
}
