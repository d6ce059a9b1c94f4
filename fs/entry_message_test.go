package fs

import (
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The tree is locked while the test looks: who numbered then would never end.
func TestMessagesAreNumberedWithoutTheTree(t *testing.T) {
	f, o, h := flatMailbox(t)
	o.impl.SetPolicy(0, "capacity", "max")
	for range 3*batch + 1 {
		o.try(f, h, objects.Send, "m")
	}
	box := o.impl.(*mailbox.Mailbox)
	if box.Number(0) {
		t.Fatal("the messages are numbered though nobody has asked for one")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.message("1000") == nil || !box.Number(0) {
		t.Error("a message was looked for, and others have no numbers")
	}
}

// waitsFor reports whether a goroutine waits for the mutex of an object in a function of that name.
func waitsFor(function string) bool {
	stacks := make([]byte, 1<<20)
	for s := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(s, "fs.(*object).lock") && strings.Contains(s, function) && strings.Contains(s, "sync.Mutex.Lock") {
			return true
		}
	}
	return false
}

// Somebody works long on a mailbox. Who needs it waits, and everybody else goes on.
func TestNobodyWaitsForAnObjectWithTheTreeLocked(t *testing.T) {
	f, o, h := flatMailbox(t)
	o.try(f, h, objects.Send, "m")
	mailboxes, segments := f.root.child("mailboxes").(*kindDir), f.root.child("segments").(*kindDir)
	var top, seg, controls, folder fuse.EntryOut
	var big *object
	func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		big, _ = f.addObjectLocked(mailboxes, "dir", false, 0o700, fuse.Owner{})
		_, _ = f.addObjectLocked(mailboxes, "other", false, 0o700, fuse.Owner{})
		f.fillEntryLocked(mailboxes, 0, &top)
		f.fillEntryLocked(segments, 0, &seg)
		f.fillEntryLocked(o.dir, 0, &controls)
	}()
	if got := f.Lookup(nil, &fuse.InHeader{NodeId: controls.NodeId}, "messages", &folder); got != fuse.OK {
		t.Fatal(got)
	}
	in := func(node uint64) *fuse.InHeader { return &fuse.InHeader{NodeId: node} }
	for name, c := range map[string]struct {
		held *object
		do   func() fuse.Status
		want fuse.Status
	}{
		"Lookup":  {o, func() fuse.Status { return f.Lookup(nil, in(folder.NodeId), "1", new(fuse.EntryOut)) }, fuse.OK},
		"Unlink":  {o, func() fuse.Status { return f.Unlink(nil, in(folder.NodeId), "2") }, fuse.ENOENT},
		"Rmdir":   {big, func() fuse.Status { return f.Rmdir(nil, in(top.NodeId), "dir") }, fuse.OK},
		"destroy": {o, func() fuse.Status { return status(destroy(f, o, &identity{}, unusedOnly)) }, status(syscall.ENOTEMPTY)},
		"Rename": {o, func() fuse.Status {
			return f.Rename(nil, &fuse.RenameIn{InHeader: *in(folder.NodeId), Newdir: seg.NodeId}, "2", "s")
		}, fuse.ENOENT},
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan fuse.Status)
			func() {
				c.held.mu.Lock()
				defer c.held.mu.Unlock()
				go func() { done <- c.do() }()
				for waits, others := false, 0; !waits || others < 10; others++ {
					passed := make(chan struct{})
					go func() {
						defer close(passed)
						f.Lookup(nil, in(top.NodeId), "none", new(fuse.EntryOut))
					}()
					select {
					case <-passed:
					case <-time.After(10 * time.Second):
						t.Fatal("who waits for a mailbox holds up who does not")
					}
					runtime.Gosched() // on one processor two that wake each other let no third run
					waits = waits || waitsFor("."+name+"(")
				}
			}()
			if got := <-done; got != c.want {
				t.Errorf("%v when the mailbox was free again, want %v", got, c.want)
			}
		})
	}
}
