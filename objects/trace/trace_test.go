package trace

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

func traceHandle(t *testing.T, tr *Trace) *objects.Handle {
	t.Helper()
	h := &objects.Handle{Reads: true, ReadOp: objects.Read}
	if done := tr.Submit(0, &objects.Request{Op: objects.Open, Handle: h}); done.Empty() {
		t.Fatal("open of a trace waits")
	}
	return h
}

// readTrace reads without waiting.
func readTrace(tr *Trace, h *objects.Handle, size int) (string, syscall.Errno) {
	r := &objects.Request{Op: objects.Read, Handle: h, Size: size, Nonblock: true}
	tr.Submit(0, r)
	return string(r.Data), r.Errno
}

func TestTraceTellsEachReaderWhatCameSinceItsOpen(t *testing.T) {
	var tr Trace
	a := traceHandle(t, &tr)
	tr.Add(1, []byte("one\n"))
	b := traceHandle(t, &tr)
	waits := &objects.Request{Op: objects.Read, Handle: b, Size: 100}
	objecttest.WantFinished(t, tr.Submit(2, waits))
	objecttest.WantFinished(t, tr.Add(3, []byte("two\n")), waits)
	if string(waits.Data) != "two\n" {
		t.Errorf("the read that waited = %q, want two", waits.Data)
	}
	// Whole lines where they fit.
	for _, want := range []string{"one\n", "tw", "o\n"} {
		size := 6
		if len(want) < 4 {
			size = 2
		}
		if got, errno := readTrace(&tr, a, size); got != want || errno != 0 {
			t.Errorf("read = %q, %v; want %q", got, errno, want)
		}
	}
	if _, errno := readTrace(&tr, a, 10); errno != syscall.EAGAIN {
		t.Errorf("read of nothing = %v, want EAGAIN", errno)
	}
	if err := tr.Check(); err != nil {
		t.Error(err)
	}
	objecttest.WantFinished(t, tr.Submit(4, waits))
	objecttest.WantFinished(t, tr.Cancel(5, waits, syscall.EINTR), waits)
	objecttest.WantFinished(t, tr.Submit(6, waits))
	objecttest.WantFinished(t, tr.Destroy(7), waits)
	if waits.Errno != syscall.EIDRM {
		t.Errorf("read of a destroyed trace = %v, want EIDRM", waits.Errno)
	}
}

func TestSlowTraceReaderLearnsHowManyLinesItLost(t *testing.T) {
	var tr Trace
	h := traceHandle(t, &tr)
	const n = 20_000
	for i := range n {
		tr.Add(0, fmt.Appendf(nil, "line %08d of many more\n", i))
	}
	if held := tr.Held().Bytes; held > traceRoom {
		t.Fatalf("%d bytes are held for one reader, want %d at most", held, traceRoom)
	}
	var text bytes.Buffer
	for {
		got, errno := readTrace(&tr, h, 4096)
		if errno != 0 {
			break
		}
		text.WriteString(got)
	}
	lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	last := lines[len(lines)-1]
	if want := fmt.Sprintf("lost %d", n-len(lines)+1); last != want {
		t.Errorf("after %d lines came %q, want %q", len(lines)-1, last, want)
	}
	tr.Add(0, []byte("and on\n"))
	if got, _ := readTrace(&tr, h, 100); got != "and on\n" {
		t.Errorf("then came %q", got)
	}
}
