package kernel

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// An Event is something that happened in a run.
type Event struct {
	Step    int
	Time    objects.Time
	Process *Process // nil for the kernel
	Verb    string   // an operation's word, or "blocks", "wakes", "is killed", …
	Node    *Node    // nil if no object is concerned
	Request *objects.Request
	Start   bool         // the operation begins; another event says how it ended
	Span    objects.Time // how long it sleeps
	Text    string
	Line    int // in the source of the process's program, 0 if that is unknown
}

func (k *Kernel) event(e Event) {
	if k.Watch == nil {
		return
	}
	e.Step, e.Time = k.steps, k.now
	if e.Process != nil {
		e.Line = e.Process.Line
	}
	k.Watch(e)
}

// String is the event as a line of a trace.
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%4d %8s", e.Step, FormatTime(e.Time))
	if e.Process != nil {
		fmt.Fprintf(&b, "  %s[%d]", e.Process.Name, e.Process.Pid())
	}
	b.WriteString("  " + e.Verb)
	if e.Node != nil {
		b.WriteString(" " + e.Node.Name)
	}
	if e.Request != nil {
		b.WriteString(LabelOf(mailbox.Filter(e.Request.Handle)).String())
	}
	if e.Text != "" {
		b.WriteString(" " + e.Text)
	}
	if e.Span != 0 {
		b.WriteString(" " + FormatTime(e.Span))
	}
	switch r := e.Request; {
	case r == nil:
	case e.Start || e.Verb == "blocks":
		if r.Op == objects.Send {
			b.WriteString(" " + strconv.Quote(string(r.Data)))
		}
	case r.Errno != 0:
		b.WriteString(" = " + ErrnoName(r.Errno))
	case len(r.Data) > 0 && r.Op != objects.Send:
		b.WriteString(" = " + strconv.Quote(string(r.Data)))
	default:
		b.WriteString(" = 0")
	}
	return b.String()
}

// A Trace is the text of a run, one line an event. Its Add goes into Kernel.Watch.
type Trace struct{ strings.Builder }

// Add writes e down.
func (t *Trace) Add(e Event) {
	t.WriteString(e.String())
	t.WriteByte('\n')
}

var errnoNames = [...]struct {
	errno syscall.Errno
	name  string
}{
	{syscall.EPERM, "EPERM"}, {syscall.ENOENT, "ENOENT"}, {syscall.EINTR, "EINTR"}, {syscall.EBADF, "EBADF"},
	{syscall.EAGAIN, "EAGAIN"}, {syscall.EACCES, "EACCES"}, {syscall.EBUSY, "EBUSY"}, {syscall.EINVAL, "EINVAL"},
	{syscall.ENOSPC, "ENOSPC"}, {syscall.ESPIPE, "ESPIPE"}, {syscall.EPIPE, "EPIPE"}, {syscall.ERANGE, "ERANGE"},
	{syscall.EDEADLK, "EDEADLK"}, {syscall.ENOTEMPTY, "ENOTEMPTY"}, {syscall.EIDRM, "EIDRM"}, {syscall.EOVERFLOW, "EOVERFLOW"},
	{syscall.ENOMSG, "ENOMSG"}, {syscall.ETIME, "ETIME"}, {syscall.EOPNOTSUPP, "EOPNOTSUPP"},
	{syscall.EMSGSIZE, "EMSGSIZE"}, {syscall.ETIMEDOUT, "ETIMEDOUT"}, {syscall.EDQUOT, "EDQUOT"}, {syscall.ENXIO, "ENXIO"},
	{syscall.ENODEV, "ENODEV"}, {syscall.EFBIG, "EFBIG"}, {syscall.ENOMSG, "ENOMSG"}, {syscall.ETIME, "ETIME"},
	{syscall.EOPNOTSUPP, "EOPNOTSUPP"},
}

// ErrnoName is errno's name in errno.h, its number if it has no name here, 0 for
// success.
func ErrnoName(errno syscall.Errno) string {
	for _, e := range errnoNames {
		if e.errno == errno {
			return e.name
		}
	}
	return strconv.Itoa(int(errno))
}

// errnoNamed is the errno of that name.
func ErrnoNamed(name string) (syscall.Errno, bool) {
	for _, e := range errnoNames {
		if e.name == name {
			return e.errno, true
		}
	}
	return 0, false
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
