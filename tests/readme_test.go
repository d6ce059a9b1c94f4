package tests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The sessions of the README are typed line by line into one shell on a real mount,
// and must print what it says. In a session, "$ " begins a command, "> " goes on
// with it, anything else is output; … stands for anything.
func TestReadmeSessionsPrintWhatTheySay(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := sessions(string(readme))
	if len(steps) == 0 {
		t.Fatal("no sessions found")
	}
	typeSessions(t, "README", "", steps)
}

// typeSessions types the sessions of the document, after the line before, into a shell that
// has nothing else, in a directory in which make has built the program.
func typeSessions(t *testing.T, document, before string, steps []step) {
	t.Helper()
	m := mount(t)
	clone := t.TempDir()
	if err := os.Mkdir(filepath.Join(clone, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(ipcfsBin, filepath.Join(clone, "bin", "ipcfs")); err != nil {
		t.Fatal(err)
	}
	limits := string(readFile(t, m.path(".ipcfs/limits")))
	var script strings.Builder
	script.WriteString("umask 022\n" + before + "\n")
	for i, s := range steps {
		fmt.Fprintf(&script, "%s\necho '%s%d'\n", strings.ReplaceAll(s.command, "/tmp/ipc", m.dir), marker, i)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-s")
	cmd.Dir = clone
	cmd.Stdin = strings.NewReader(script.String())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	// A session that hangs must not leave its background jobs behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		t.Errorf("bash: %v", err)
	}
	rest := out.String()
	for i, s := range steps {
		got, after, found := strings.Cut(rest, fmt.Sprintf("%s%d\n", marker, i))
		if !found {
			t.Fatalf("%s line %d: %s\ndid not end; it printed:\n%s", document, s.line, s.command, rest)
		}
		rest = after
		if !s.matches(got) {
			t.Errorf("%s line %d: %s\nprinted:\n%swant:\n%s", document, s.line, s.command, got, s.output)
		}
	}
	if now := string(readFile(t, m.path(".ipcfs/limits"))); now != limits {
		t.Errorf("%s leaves the limits\n%swant them as they were:\n%s", document, now, limits)
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const marker = "--readme-step-"

type step struct {
	line            int
	command, output string
}

func (s step) matches(got string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(s.output), "…", ".+")
	return regexp.MustCompile(`\A` + pattern + `\z`).MatchString(got)
}

func sessions(readme string) []step {
	var steps []step
	inside := false
	for i, line := range strings.Split(readme, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{line: i + 1, command: line[2:]})
		case strings.HasPrefix(line, "> "):
			steps[len(steps)-1].command += "\n" + line[2:]
		default:
			steps[len(steps)-1].output += line + "\n"
		}
	}
	return steps
}
