package fs

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// TestEveryLockIsUnlockedByDefer reads the sources: what panics between Lock and Unlock
// would leave a lock locked, and everybody waiting for it.
func TestEveryLockIsUnlockedByDefer(t *testing.T) {
	locks := map[string]string{"Lock": "Unlock", "RLock": "RUnlock", "lock": "mu.Unlock"}
	check := func(set *token.FileSet, list []ast.Stmt) {
		for i, stmt := range list {
			e, ok := stmt.(*ast.ExprStmt)
			if !ok {
				continue
			}
			what, method := methodCall(e.X)
			unlock := locks[method]
			if unlock == "" {
				continue
			}
			deferred := false
			if i+1 < len(list) {
				if d, ok := list[i+1].(*ast.DeferStmt); ok {
					w, m := methodCall(d.Call)
					deferred = w+"."+m == what+"."+unlock
				}
			}
			if !deferred {
				t.Errorf("%s: %s.%s is not followed by defer %s.%s", set.Position(stmt.Pos()), what, method, what, unlock)
			}
		}
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Name.Name == "lockBoth" || n.Name.Name == "lock" { // their callers unlock
					return false
				}
			case *ast.BlockStmt:
				check(set, n.List)
			case *ast.CaseClause:
				check(set, n.Body)
			case *ast.CommClause:
				check(set, n.Body)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// methodCall returns the receiver and the method of a call, as they are written.
func methodCall(e ast.Expr) (receiver, method string) {
	c, ok := e.(*ast.CallExpr)
	if !ok {
		return "", ""
	}
	s, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	var b strings.Builder
	var write func(e ast.Expr)
	write = func(e ast.Expr) {
		switch e := e.(type) {
		case *ast.SelectorExpr:
			write(e.X)
			b.WriteString("." + e.Sel.Name)
		case *ast.Ident:
			b.WriteString(e.Name)
		}
	}
	write(s.X)
	return b.String(), s.Sel.Name
}

// A faulty object panics when it is told to.
type faulty struct {
	objects.Object
	on func(r *objects.Request) bool // panic in the middle of this one
}

func (x *faulty) Submit(now objects.Time, r *objects.Request) objects.Finished {
	if x.on(r) {
		x.Object.Submit(now, r) // half of the change has happened
		panic("deliberate")
	}
	return x.Object.Submit(now, r)
}

// served mounts a file system whose clients are other processes, and returns where.
func served(t *testing.T) (f *FS, dir string, logged func() string) {
	t.Helper()
	dir = t.TempDir()
	dev, err := fusedev.Mount(dir, fusedev.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var text bytes.Buffer
	f = New(Config{Log: log.New(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return text.Write(p)
	}), "", 0)})
	done := make(chan error, 1)
	go func() { done <- f.Serve(dev) }()
	<-f.Ready()
	t.Cleanup(func() {
		f.Shutdown()
		_ = fusedev.Unmount(dir, true)
		<-done
	})
	return f, dir, func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
}

type writerFunc func(p []byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }

// object returns the object of that path.
func (f *FS) find(t *testing.T, path string) *object {
	t.Helper()
	for o := range f.allObjects(new(identity)) {
		if o.path == path {
			return o.object
		}
	}
	t.Fatalf("no object %s", path)
	return nil
}

// shell runs a script and returns what it says.
func shell(t *testing.T, dir, script string) string {
	t.Helper()
	c := exec.Command("timeout", "20", "sh", "-c", script)
	c.Dir = dir
	out, _ := c.CombinedOutput()
	return string(out)
}

// isEIO reports whether a program has said EIO, in its own words.
func isEIO(said string) bool {
	return strings.Contains(said, "Input/output error") || strings.Contains(said, "I/O error")
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within ten seconds: %s", what)
		}
	}
}

func TestPanicBreaksOneObjectAndNothingElse(t *testing.T) {
	f, dir, logged := served(t)
	shell(t, dir, "touch semaphores/bad semaphores/good; echo hello > mailboxes/box")
	bad := f.find(t, "semaphores/bad")
	bad.mu.Lock()
	bad.impl = &faulty{bad.impl, func(r *objects.Request) bool { return r.Op == objects.Post }}
	bad.mu.Unlock()

	// Two wait on it when it breaks, one of them for the unit that the panicking post
	// gives: all hear of it, and nobody waits on.
	var said [2]string
	var readers sync.WaitGroup
	for i := range said {
		readers.Add(1)
		go func() {
			defer readers.Done()
			said[i] = shell(t, dir, "cat semaphores/bad")
		}()
	}
	until(t, "two readers wait", func() bool { return f.conn.Waiting() == 2 })
	if got := shell(t, dir, "echo 1 > semaphores/bad"); !isEIO(got) {
		t.Errorf("the post that panicked said %q, want EIO", got)
	}
	readers.Wait()
	for _, got := range said {
		if !isEIO(got) {
			t.Errorf("a wait on what broke said %q, want EIO", got)
		}
	}
	if n := f.conn.Waiting(); n != 0 {
		t.Errorf("%d requests wait after the panic, want 0", n)
	}
	if got := shell(t, dir, "cat semaphores/bad"); !isEIO(got) {
		t.Errorf("a later wait said %q, want EIO", got)
	}
	if got := shell(t, dir, "echo 5 > semaphores/bad.d/max"); !isEIO(got) {
		t.Errorf("a later setting said %q, want EIO", got)
	}
	if got := shell(t, dir, "cat semaphores/bad.d/stat >/dev/null && ls -l semaphores >/dev/null && rm semaphores/bad && ls semaphores"); got != "good\n" {
		t.Errorf("after rm of what broke: %q, want good", got)
	}
	if got := shell(t, dir, "echo 1 > semaphores/good; head -c 10 semaphores/good; cat mailboxes/box"); got != "0\nhello\n" {
		t.Errorf("others said %q, want 0 and hello", got)
	}
	if !strings.Contains(logged(), "deliberate") || !strings.Contains(logged(), "faulty") {
		t.Errorf("the log has no panic with its stack: %q", logged())
	}
}

func TestPanicOfATimerBreaksOneObject(t *testing.T) {
	f, o, h := flatMailbox(t)
	var text bytes.Buffer
	var logs sync.Mutex
	f.log = log.New(writerFunc(func(p []byte) (int, error) {
		logs.Lock()
		defer logs.Unlock()
		return text.Write(p)
	}), "", 0)
	o.try(f, h, objects.Send, "first")
	box := o.impl
	o.mu.Lock()
	o.impl = &lateFault{box.(objects.Expirer)}
	o.clock.setLocked()
	o.mu.Unlock()
	until(t, "the timer has fired", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.broken
	})
	if k := o.try(f, h, objects.Receive, ""); k.Errno != syscall.EIO {
		t.Errorf("receive after the panic = %v, want EIO", k.Errno)
	}
	until(t, "the panic is logged", func() bool {
		logs.Lock()
		defer logs.Unlock()
		return strings.Contains(text.String(), "panic in what comes due: deliberate")
	})
	if used := f.ledger.total(); used.Messages != 0 || used.Bytes != 0 {
		t.Errorf("%+v still on the books, want nothing but the object", used)
	}
}

// A lateFault panics when it comes due, which is at once.
type lateFault struct{ objects.Expirer }

func (lateFault) Deadline() objects.Time               { return 1 }
func (lateFault) Expire(objects.Time) objects.Finished { panic("deliberate") }

func TestPanicInOneAnswerLeavesTheOthersTheirs(t *testing.T) {
	f, o, h := flatMailbox(t)
	kernel := connect(t, f)
	for unique := uint64(1); unique <= 3; unique++ {
		k := newCall(f, f.conn, h, unique, replyData)
		k.Op, k.Size, k.Tag = objects.Peek, 100, k
		o.impl.Submit(0, &k.Request)
		if unique == 2 {
			k.handle, k.reply = nil, replyOpen // its answer cannot be made
		}
	}
	send := &call{fs: f, handle: h, silent: true}
	send.Op, send.Handle, send.Data, send.Tag = objects.Send, &h.Handle, []byte("x"), send
	all := o.impl.Submit(0, &send.Request)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("an answer without a handle did not panic")
			}
		}()
		f.finish(all)
	}()
	for _, want := range []struct {
		unique uint64
		status int32
	}{{1, 0}, {2, -int32(syscall.EIO)}, {3, 0}} {
		buf := make([]byte, 4096)
		if _, err := unix.Read(kernel, buf); err != nil {
			t.Fatal(err)
		}
		out := (*fuse.OutHeader)(unsafe.Pointer(&buf[0]))
		if out.Unique != want.unique || out.Status != want.status {
			t.Errorf("request %d answered %d, want %d answered %d", out.Unique, out.Status, want.unique, want.status)
		}
	}
}
