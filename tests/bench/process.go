package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed testdata/client.c
var clientSource []byte

// patience is how long anything may take that is not being measured.
const patience = 60 * time.Second

// A workshop is a directory for programs and mountpoints, and all processes and
// mounts of the run.
type workshop struct {
	dir    string
	client string // the C program

	mu       sync.Mutex // guards what follows
	children []*child
	mounts   []string
	aborted  error
}

func newWorkshop() (*workshop, error) {
	dir, err := os.MkdirTemp("", "ipcfs-bench-")
	if err != nil {
		return nil, err
	}
	w := &workshop{dir: dir}
	source := filepath.Join(dir, "client.c")
	if err = os.WriteFile(source, clientSource, 0o644); err == nil {
		w.client, err = w.build("client", "gcc", "-O2", "-pthread", "-o", "OUTPUT", source, "-lrt")
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// build runs a command that makes the program name, which it calls OUTPUT.
func (w *workshop) build(name string, command ...string) (string, error) {
	path := filepath.Join(w.dir, name)
	for i := range command {
		if command[i] == "OUTPUT" {
			command[i] = path
		}
	}
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// close ends every process, takes off every mount and removes the directory.
func (w *workshop) close() error {
	err := w.stopAll()
	for _, dir := range w.mounts {
		if e := detach(dir); e != nil {
			// What a mount contains is not ours to remove.
			return errors.Join(err, e)
		}
	}
	return errors.Join(err, os.RemoveAll(w.dir))
}

// detach removes the mountpoint dir, and the mount if its server has left one.
func detach(dir string) error {
	for {
		err := os.Remove(dir)
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
}

// abort makes the run fail with why, by ending its clients.
func (w *workshop) abort(why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.aborted = why
	for _, c := range w.children {
		if !c.server {
			_ = c.cmd.Process.Kill()
		}
	}
}

// cause is why the run was aborted, if it was, and err otherwise.
func (w *workshop) cause(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.aborted != nil {
		return w.aborted
	}
	return err
}

// stopAll ends the processes of a part, so that the next has the machine to itself.
func (w *workshop) stopAll() error {
	var errs []error
	w.mu.Lock()
	children := w.children
	w.mu.Unlock()
	for i := len(children) - 1; i >= 0; i-- { // clients before the servers they use
		errs = append(errs, children[i].stop())
	}
	return errors.Join(errs...)
}

// A child is a process of ours.
type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	said   lastWords
	server bool // ends cleanly with SIGTERM; a client is killed

	exited chan struct{} // closed when it has, with err the result of Wait
	err    error
}

// lastWords keeps what a child writes to its standard error, and waits for a word.
type lastWords struct {
	mu    sync.Mutex
	text  bytes.Buffer
	word  string        // waited for, empty: none
	heard chan struct{} // closed when word has been said
}

func (l *lastWords) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if l.word != "" && strings.Contains(l.text.String(), l.word) {
		close(l.heard)
		l.word = ""
	}
	return len(p), nil
}

func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.text.String())
}

// hear returns a channel that is closed when word is said.
func (l *lastWords) hear(word string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.word, l.heard = word, make(chan struct{})
	if strings.Contains(l.text.String(), word) {
		close(l.heard)
		l.word = ""
	}
	return l.heard
}

func (w *workshop) start(server bool, program string, args ...string) (*child, error) {
	c := &child{cmd: exec.Command(program, args...), server: server, exited: make(chan struct{})}
	c.cmd.Dir = "/"
	c.cmd.Stderr = &c.said
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReaderSize(out, 64<<10)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.aborted != nil {
		return nil, w.aborted
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.exited)
	}()
	w.children = append(w.children, c)
	return c, nil
}

// stop ends the child. Only a server that did not end well is an error.
func (c *child) stop() error {
	if !c.server {
		_ = c.cmd.Process.Kill()
		<-c.exited
		return nil
	}
	_ = c.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-c.exited:
	case <-time.After(patience):
		_ = c.cmd.Process.Kill()
		<-c.exited
	}
	if c.err != nil {
		return fmt.Errorf("%s ended: %w\n%s", filepath.Base(c.cmd.Path), c.err, &c.said)
	}
	return nil
}

// within fails with what the child said unless ready is closed in time.
func (c *child) within(ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-c.exited:
		return fmt.Errorf("%v ended: %v: %s", c.cmd.Args, c.err, &c.said)
	case <-time.After(patience):
		return fmt.Errorf("%v not ready after %v: %s", c.cmd.Args, patience, &c.said)
	}
}

// A server is a process that serves a mount.
type server struct {
	*child
	dir string
}

func (s *server) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// mountpoint makes a directory to mount on.
func (w *workshop) mountpoint() (string, error) {
	dir, err := os.MkdirTemp(w.dir, "mnt-")
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mounts = append(w.mounts, dir)
	return dir, nil
}

// ipcfs mounts with an ipcfs program, and more arguments.
func (w *workshop) ipcfs(program string, more ...string) (*server, error) {
	dir, err := w.mountpoint()
	if err != nil {
		return nil, err
	}
	c, err := w.start(true, program, slices.Concat([]string{"mount", "-f"}, more, []string{dir})...)
	if err != nil {
		return nil, err
	}
	serving := fmt.Sprintf("serving %s (pid %d)", dir, c.cmd.Process.Pid)
	return &server{c, dir}, c.within(c.said.hear(serving))
}

// serveWord as the first argument makes this program a server.
const serveWord = "serve"

// served is what this program can serve.
var served = map[string]func(dir string) error{
	"null-fusedev":     func(dir string) error { return serveFusedev(dir, newNull()) },
	"null-gofuse":      func(dir string) error { return serveStock(dir, newNull()) },
	"mailboxes-gofuse": func(dir string) error { return serveStock(dir, newReference()) },
}

// peer mounts with this program as the server of what.
func (w *workshop) peer(what string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := w.mountpoint()
	if err != nil {
		return nil, err
	}
	c, err := w.start(true, self, serveWord, what, dir)
	if err != nil {
		return nil, err
	}
	if err := c.ready(); err != nil {
		return nil, err
	}
	return &server{c, dir}, nil
}

// ready reads the line "ready" from the child.
func (c *child) ready() error {
	said := make(chan struct{})
	var err error
	go func() {
		defer close(said)
		var line string
		if line, err = c.out.ReadString('\n'); line != "ready\n" {
			err = fmt.Errorf("%v: %q, %w: %s", c.cmd.Args, line, err, &c.said)
		}
	}()
	if err := c.within(said); err != nil {
		return err
	}
	return err
}

// runClient starts the C client and waits until it is ready.
func (w *workshop) runClient(args ...string) (*child, error) {
	c, err := w.start(false, w.client, args...)
	if err != nil {
		return nil, err
	}
	return c, c.ready()
}

// do has the client do its job n times.
func (c *child) do(n int) ([]uint32, error) {
	if _, err := io.WriteString(c.in, strconv.Itoa(n)+"\n"); err != nil {
		return nil, fmt.Errorf("%w: %s", err, &c.said)
	}
	raw := make([]byte, 4*n)
	if _, err := io.ReadFull(c.out, raw); err != nil {
		return nil, fmt.Errorf("client: %w: %s", err, &c.said)
	}
	took := make([]uint32, n)
	for i := range took {
		took[i] = binary.NativeEndian.Uint32(raw[4*i:])
	}
	return took, nil
}

// serve is the life of a server process: it mounts what on dir, says so, and
// unmounts on SIGTERM.
func serve(what, dir string) error {
	f := served[what]
	if f == nil {
		return errors.New("unknown")
	}
	return f(dir)
}
