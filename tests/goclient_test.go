package tests

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// goClientEnv, when set, makes the test binary a client: a plain Go program, with nothing known of FUSE.
const goClientEnv = "IPCFS_TEST_GO_CLIENT"

// goClient does the job and returns the exit status.
func goClient(job string, args []string) int {
	jobs := map[string]func([]string) error{
		"ReadFile":      goReadFile,
		"Open":          goOpen,
		"Scanner":       goScanner,
		"WriteFile":     goWriteFile,
		"WriteTwice":    goWriteTwice,
		"Copy":          goCopy,
		"ServeCopy":     goServeCopy,
		"Lease":         goLease,
		"ReadDeadline":  goReadDeadline,
		"WriteDeadline": goWriteDeadline,
		"CloseUnblocks": goCloseUnblocks,
		"MapShared":     goMapShared,
	}
	f, ok := jobs[job]
	if !ok {
		fmt.Fprintf(os.Stderr, "no Go client %q\n", job)
		return 2
	}
	if err := f(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func goReadFile(args []string) error {
	b, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(b)
	return err
}

func goOpen(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(struct{ io.Writer }{os.Stdout}, struct{ io.Reader }{f})
	return err
}

func goScanner(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fmt.Println(lines.Text())
	}
	return lines.Err()
}

func goWriteFile(args []string) error {
	b, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], b, 0o600)
}

// goCopy copies with many small writes and the buffer of io.Copy, and never closes what it writes to.
func goCopy(args []string) error {
	to, err := os.OpenFile(args[0], os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	from, err := os.Open(args[1])
	if err != nil {
		return err
	}
	if _, err := io.CopyN(struct{ io.Writer }{to}, from, 1); err != nil {
		return err
	}
	_, err = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
	return err
}

// goServeCopy sends a file through a TCP connection as io.Copy does, by sendfile(2), and
// prints what arrives.
func goServeCopy(args []string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	to, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	from, err := l.Accept()
	if err != nil {
		return err
	}
	arrived := make(chan error, 1)
	go func() {
		_, err := io.Copy(os.Stdout, from)
		arrived <- err
	}()
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(to, f); err != nil {
		return err
	}
	if err := to.Close(); err != nil {
		return err
	}
	return <-arrived
}

func goWriteTwice(args []string) error {
	b, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	f, err := os.OpenFile(args[0], os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for range 2 {
		if n, err := f.Write(b); n != len(b) || err != nil {
			return fmt.Errorf("write = %d, %v; want %d", n, err, len(b))
		}
	}
	return f.Close()
}

// goReadDeadline lets a read time out, prints "timed out", and then reads for real.
func goReadDeadline(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		return fmt.Errorf("SetReadDeadline: %w", err)
	}
	b := make([]byte, 100)
	if n, err := f.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("read past its deadline = %d, %v; want %v", n, err, os.ErrDeadlineExceeded)
	}
	fmt.Println("timed out")
	if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	n, err := f.Read(b)
	if err != nil {
		return fmt.Errorf("read before its deadline = %w", err)
	}
	fmt.Printf("%s\n", b[:n])
	return nil
}

// goWriteDeadline lets a write to a full mailbox time out, prints "timed out", and then writes for real.
func goWriteDeadline(args []string) error {
	f, err := os.OpenFile(args[0], os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		return fmt.Errorf("SetWriteDeadline: %w", err)
	}
	if n, err := f.WriteString("too late"); !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("write past its deadline = %d, %v; want %v", n, err, os.ErrDeadlineExceeded)
	}
	fmt.Println("timed out")
	if err := f.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := f.WriteString("in time"); err != nil {
		return fmt.Errorf("write before its deadline = %w", err)
	}
	fmt.Println("written")
	return nil
}

// goCloseUnblocks closes a file another goroutine reads from.
func goCloseUnblocks(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	ended := make(chan error)
	go func() {
		fmt.Println("reading")
		_, err := f.Read(make([]byte, 100))
		ended <- err
	}()
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrClosed) {
			return fmt.Errorf("read of a file closed meanwhile = %v, want %v", err, os.ErrClosed)
		}
	case <-time.After(patience):
		return errors.New("read goes on after close")
	}
	fmt.Println("closed")
	return nil
}

func TestGoDeadlinesWork(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := run(t, goCommand("ReadDeadline", mb.receive)...)
		c.expect("timed out")
		mb.put("hello")
		c.expect("hello")
		c.output()

		mb.set("capacity", "1")
		mb.put("in the way")
		c = run(t, goCommand("WriteDeadline", mb.send)...)
		c.expect("timed out")
		run(t, "cat", mb.receive).prints("in the way")
		c.expect("written")
		c.output()
		mb.wantQueue("in time")
	})
}

func TestGoCloseEndsABlockedRead(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := run(t, goCommand("CloseUnblocks", mb.receive)...)
		c.expect("reading")
		c.resume()
		c.expect("closed")
		c.output()
	})
}
