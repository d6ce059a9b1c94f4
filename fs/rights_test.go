package fs

import (
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The kernel of these tests may check it before (fs.protected_hardlinks).
func TestNobodyLinksASegmentThatTheyMayNotWrite(t *testing.T) {
	f := New(Config{})
	d := f.root.child("segments").(*kindDir)
	f.mu.Lock()
	o, errno := f.addObjectLocked(d, "s", true, syscall.S_IFREG|0o620, fuse.Owner{Uid: 1, Gid: 10})
	f.mu.Unlock()
	if errno != 0 {
		t.Fatal(errno)
	}
	var dir, file fuse.EntryOut
	f.mu.Lock()
	f.fillEntryLocked(d, 0, &dir)
	f.fillEntryLocked(o.file, 0, &file)
	f.mu.Unlock()
	for i, c := range []struct {
		mode, uid, gid uint32
		want           fuse.Status
	}{
		{0o620, 2, 20, fuse.EPERM}, {0o620, 2, 10, fuse.EPERM}, {0o660, 2, 20, fuse.EPERM},
		{0o660, 2, 10, fuse.OK}, {0o600, 1, 20, fuse.OK}, {0o600, 0, 0, fuse.OK},
	} {
		f.mu.Lock()
		o.file.chmodLocked(c.mode)
		f.mu.Unlock()
		in := fuse.LinkIn{InHeader: fuse.InHeader{NodeId: dir.NodeId}, Oldnodeid: file.NodeId}
		in.Uid, in.Gid = c.uid, c.gid
		var out fuse.EntryOut
		if got := f.Link(nil, &in, string(rune('a'+i)), &out); got != c.want {
			t.Errorf("link of a segment of 1:10 with mode %o by %d:%d = %v, want %v", c.mode, c.uid, c.gid, got, c.want)
		}
	}
}
