package tests

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// atOnce bounds what must happen without anybody's help, as the death of a client upon SIGKILL.
const atOnce = 10 * time.Second

// A transcript collects what a process prints and gives it out line by line.
type transcript struct {
	mu      sync.Mutex
	text    []byte        // guarded by mu
	given   int           // bytes of text that next has returned; guarded by mu
	changed chan struct{} // closed and replaced with each change of text; guarded by mu
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{})} }

func (tr *transcript) Write(b []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.text = append(tr.text, b...)
	close(tr.changed)
	tr.changed = make(chan struct{})
	return len(b), nil
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return string(tr.text)
}

// next returns the next whole line, without its newline, and a channel that is closed when there may be one.
func (tr *transcript) next() (line string, ok bool, changed <-chan struct{}) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	rest := tr.text[tr.given:]
	i := bytes.IndexByte(rest, '\n')
	if i < 0 {
		return "", false, tr.changed
	}
	tr.given += i + 1
	return string(rest[:i]), true, tr.changed
}

// A client is a process that uses the mount.
type client struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *transcript
	stderr *transcript
	exited chan struct{}
}

// A command says how to run a client.
type command struct {
	argv  []string
	as    *syscall.Credential // nil: the test's own user
	dir   string              // "" is a directory outside any mount
	env   []string
	stdin []byte   // nil: a pipe that stays open
	gate  *os.File // standard input instead of that
}

// run starts a client. It is dead when the test ends.
func run(t testing.TB, argv ...string) *client {
	t.Helper()
	return command{argv: argv}.run(t)
}

// cli starts an ipccli that performs the operations.
func cli(t testing.TB, operations ...string) *client {
	t.Helper()
	return run(t, append([]string{cliBin}, operations...)...)
}

func cliAs(t testing.TB, as *syscall.Credential, operations ...string) *client {
	t.Helper()
	return command{argv: append([]string{cliBin}, operations...), as: as}.run(t)
}

// bash runs a line of shell.
func bash(t testing.TB, line string) *client {
	t.Helper()
	return run(t, "bash", "-c", line)
}

func (c command) run(t testing.TB) *client {
	t.Helper()
	cl := &client{t: t, stdout: newTranscript(), stderr: newTranscript(), exited: make(chan struct{})}
	cl.cmd = exec.Command(c.argv[0], c.argv[1:]...)
	cl.cmd.Dir = c.dir
	if c.dir == "" {
		cl.cmd.Dir = "/"
	}
	cl.cmd.Env = append(os.Environ(), append(c.env, "LC_ALL=C")...)
	cl.cmd.Stdout, cl.cmd.Stderr = cl.stdout, cl.stderr
	cl.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	// Grandchildren of a killed shell may keep its output open. On a busy machine what a client
	// printed last may come in only a while after its end.
	cl.cmd.WaitDelay = 3 * time.Second
	if c.gate != nil {
		cl.cmd.Stdin = c.gate
	} else if c.stdin != nil {
		cl.cmd.Stdin = bytes.NewReader(c.stdin)
	} else {
		in, err := cl.cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		cl.stdin = in
	}
	if err := cl.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cl.cmd.Wait()
		close(cl.exited)
	}()
	t.Cleanup(func() {
		if !cl.hasExited() {
			cl.kill()
		}
	})
	return cl
}

func (c *client) pid() int { return c.cmd.Process.Pid }

func (c *client) String() string {
	return fmt.Sprintf("client %d (%s)", c.pid(), brief([]byte(strings.Join(c.cmd.Args, " "))))
}

func (c *client) hasExited() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// next returns the next line the client prints.
func (c *client) next() string {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		line, ok, changed := c.stdout.next()
		if ok {
			return line
		}
		select {
		case <-changed:
		case <-c.exited:
			if line, ok, _ := c.stdout.next(); ok {
				return line
			}
			c.t.Fatalf("%v ended without another line; stdout %q, stderr %q", c, c.stdout, c.stderr)
		case <-deadline:
			c.t.Fatalf("%v printed no further line within %v, it is %s; stdout %q, stderr %q",
				c, patience, c.where(), c.stdout, c.stderr)
		}
	}
}

// expect reads a line for each of wants.
func (c *client) expect(wants ...string) {
	c.t.Helper()
	for i, want := range wants {
		if got := c.next(); got != want {
			c.t.Fatalf("%v: line %d = %q, want %q", c, i+1, got, want)
		}
	}
}

// resume ends an ipccli's pause.
func (c *client) resume() {
	c.t.Helper()
	if _, err := io.WriteString(c.stdin, "\n"); err != nil {
		c.t.Fatalf("%v: %v", c, err)
	}
}

// wait returns the exit status: -1 after a signal.
func (c *client) wait() int {
	c.t.Helper()
	select {
	case <-c.exited:
	case <-time.After(patience):
		c.t.Fatalf("%v did not end within %v, it is %s; stdout %s, stderr %q",
			c, patience, c.where(), brief([]byte(c.stdout.String())), c.stderr)
	}
	return c.cmd.ProcessState.ExitCode()
}

// output waits for the client's success and returns what it printed.
func (c *client) output() string {
	c.t.Helper()
	if c.stdin != nil {
		c.stdin.Close()
	}
	if status := c.wait(); status != 0 {
		c.t.Fatalf("%v ended with status %d, want 0; stdout %s, stderr %q",
			c, status, brief([]byte(c.stdout.String())), c.stderr)
	}
	return c.stdout.String()
}

// prints waits for the client's success and compares what it printed.
func (c *client) prints(want string) {
	c.t.Helper()
	if got := c.output(); got != want {
		c.t.Fatalf("%v printed %s, want %s", c, brief([]byte(got)), brief([]byte(want)))
	}
}

func (c *client) signal(sig syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.t.Fatalf("%v: %v", c, err)
	}
}

// kill kills with SIGKILL and fails unless the client dies at once.
func (c *client) kill() {
	c.t.Helper()
	c.signal(syscall.SIGKILL)
	select {
	case <-c.exited:
	case <-time.After(atOnce):
		c.t.Errorf("%v survived SIGKILL for %v, it is %s", c, atOnce, c.where())
	}
}

func (c *client) state() string { return procState(c.pid()) }

// procState is the letter of proc_pid_stat(5): R, S, D, T, Z; "" when the process is gone.
func procState(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The command stands in parentheses and may itself contain some.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return fields[0]
}

// where describes where a client hangs.
func (c *client) where() string {
	wchan, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", c.pid()))
	stack, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stack", c.pid()))
	return fmt.Sprintf("in state %q at %s\n%s", c.state(), wchan, stack)
}

// asleep waits until the client sleeps interruptibly: it is blocked, and not in state D.
func (c *client) asleep() {
	c.t.Helper()
	c.in("S")
}

// in waits until the client is in the state.
func (c *client) in(state string) {
	c.t.Helper()
	eventually(c.t, func() string {
		if c.hasExited() {
			c.t.Fatalf("%v ended, want it in state %s; stdout %q, stderr %q", c, state, c.stdout, c.stderr)
		}
		if got := c.state(); got != state {
			return fmt.Sprintf("%v is %s, want %s", c, c.where(), state)
		}
		return ""
	})
}

// does performs operations and expects their results, given in turn: operation, result, operation, result …
func does(t testing.TB, pairs ...string) {
	t.Helper()
	doesAs(t, nil, pairs...)
}

func doesAs(t testing.TB, as *syscall.Credential, pairs ...string) {
	t.Helper()
	if complaint := performs(t, as, pairs...); complaint != "" {
		t.Fatal(complaint)
	}
}

// performs is does for tables: it returns the complaint.
func performs(t testing.TB, as *syscall.Credential, pairs ...string) string {
	t.Helper()
	var operations, wants []string
	for i := 0; i+1 < len(pairs); i += 2 {
		operations, wants = append(operations, pairs[i]), append(wants, pairs[i+1])
	}
	got := strings.Split(strings.TrimSuffix(cliAs(t, as, operations...).output(), "\n"), "\n")
	for i, want := range wants {
		if i >= len(got) || got[i] != want {
			return fmt.Sprintf("%s: %s = %v, want %s", caller(2), brief([]byte(operations[i])), got[min(i, len(got)):], want)
		}
	}
	return ""
}

// escaped writes a path as a word of an ipccli operation.
func escaped(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if c <= ' ' || c >= 0x7f || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// number turns an n into a word.
func number(n int) string { return strconv.Itoa(n) }

// differs is the complaint about a value, "" about the right one.
func differs[T comparable](got, want T) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("%v, want %v", got, want)
}
