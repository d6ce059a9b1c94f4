package fs

import (
	"testing"

	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
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
