package fs

import (
	"syscall"
	"testing"
	"unsafe"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"
	"ipcfs/objects/mailbox"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// flatMailbox makes a mailbox and a handle of it without a kernel.
func flatMailbox(t *testing.T) (*FS, *object, *handle) {
	t.Helper()
	f := New(Config{})
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.kinds {
		if d.p.dir != "mailboxes" {
			continue
		}
		o, errno := f.addObjectLocked(d, "box", true, 0o600, fuse.Owner{})
		if errno != 0 {
			t.Fatal(errno)
		}
		h, _ := f.newHandleLocked(o.file, f.nodeForLocked(o.file, 1), 0)
		return f, o, h
	}
	t.Fatal("no mailboxes")
	return nil, nil, nil
}

// connect gives f a connection, of which it returns the kernel's end.
func connect(t *testing.T, f *FS) (kernel int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	f.conn = fusedev.NewConn(fds[1], f, f, f.log)
	return fds[0]
}

func (o *object) try(f *FS, h *handle, op objects.Op, data string) *call {
	k := &call{fs: f, handle: h, object: o, reply: replyData, silent: true}
	k.Op, k.Handle, k.Data, k.Size, k.Nonblock = op, &h.Handle, []byte(data), 100, true
	f.submit(k)
	return k
}

func TestMessageWhoseReaderDiedIsTheNextAgain(t *testing.T) {
	f, o, h := flatMailbox(t)
	o.try(f, h, objects.Send, "first")
	o.try(f, h, objects.Send, "second")
	k := o.try(f, h, objects.Receive, "")
	if string(k.Data) != "first" {
		t.Fatalf("received %q, want first", k.Data)
	}
	f.undo(k) // as finish does when the kernel answers ENOENT
	other := &handle{file: h.file, node: h.node}
	for _, want := range []string{"first", "second"} {
		if got := o.try(f, other, objects.Receive, ""); string(got.Data) != want || got.Errno != 0 {
			t.Errorf("received %q, %v; want %q", got.Data, got.Errno, want)
		}
	}
	if n := f.ledger.total().Messages; n != 0 {
		t.Errorf("%d messages still booked, want 0", n)
	}
}

func TestEveryKindHasAPresentation(t *testing.T) {
	shown := make(map[string]bool)
	for _, p := range presentations() {
		shown[p.kind] = true
		if len(p.files)+2 > inosPerObject {
			t.Errorf("%s has %d files, more than there are inode numbers for one object", p.kind, len(p.files))
		}
	}
	for _, k := range objects.Kinds() {
		if !shown[k.Name] {
			t.Errorf("kind %s is not shown in any directory", k.Name)
		}
	}
}

// What a read finds is made a text of while others use the object, and one that waited is
// answered with it as well.
func TestATextIsMadeWithoutTheLockOfItsObject(t *testing.T) {
	for _, waits := range []bool{false, true} {
		f, o, h := flatMailbox(t)
		kernel := connect(t, f)
		mailbox.FileOf(&h.Handle).Envelopes = true
		o.try(f, h, objects.Open, "")
		send := func(text string) {
			if k := o.try(f, &handle{file: h.file}, objects.Send, text); k.Errno != 0 {
				t.Errorf("send of %s = %v", text, k.Errno)
			}
		}
		shows := *h.file.endpoint
		shows.render = func(what any) []byte {
			if !o.mu.TryLock() {
				t.Error("the mailbox is locked while a text is made")
				return nil
			}
			o.mu.Unlock()
			send("beside")
			return []byte("text of " + string(what.(*mailbox.Envelope).Data))
		}
		h.file.endpoint = &shows
		if !waits {
			send("first")
		}
		k := newCall(f, f.conn, h, 1, replyData)
		k.Op, k.Size = objects.Receive, 100
		if f.submit(k); waits {
			send("first")
		}
		buf := make([]byte, 4096)
		n, err := unix.Read(kernel, buf)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(buf[unsafe.Sizeof(fuse.OutHeader{}):n]); got != "text of first" {
			t.Errorf("read %q of a message, want its text", got)
		}
		if got := o.try(f, &handle{file: h.file}, objects.Receive, ""); string(got.Data) != "beside" {
			t.Errorf("then received %q, want what was sent while the text was made", got.Data)
		}
	}
}

// Who reads a file whose text could not be made has an error and takes nothing, and those behind
// are not kept waiting for that text.
func TestPanicOverATextCostsThatReadAndNoOther(t *testing.T) {
	f, o, h := flatMailbox(t)
	kernel := connect(t, f)
	mailbox.FileOf(&h.Handle).Envelopes = true
	o.try(f, h, objects.Open, "")
	o.try(f, &handle{file: h.file}, objects.Send, "message")
	shows := *h.file.endpoint
	panicked := false
	shows.render = func(what any) []byte {
		if !panicked {
			panicked = true
			panic("deliberate")
		}
		return what.(*mailbox.Envelope).Data
	}
	h.file.endpoint = &shows
	for unique, want := range []struct {
		status int32
		text   string
	}{{-int32(syscall.EIO), ""}, {0, "message"}} {
		k := newCall(f, f.conn, h, uint64(unique+1), replyData)
		k.Op, k.Size, k.Nonblock = objects.Receive, 100, true
		func() {
			defer func() { _ = recover() }()
			f.submit(k)
		}()
		buf := make([]byte, 4096)
		n, _, err := unix.Recvfrom(kernel, buf, unix.MSG_DONTWAIT)
		if err != nil {
			t.Fatalf("read %d was not answered: %v", unique+1, err)
		}
		out := (*fuse.OutHeader)(unsafe.Pointer(&buf[0]))
		if text := string(buf[unsafe.Sizeof(*out):n]); out.Unique != uint64(unique+1) || out.Status != want.status || text != want.text {
			t.Errorf("read %d was answered %d %q for %d, want %d %q", unique+1, out.Status, text, out.Unique, want.status, want.text)
		}
	}
}
