package fs

import (
	"testing"

	"ipcfs/objects"
)

// The tree is locked while the test looks: who numbered then would never end.
func TestMessagesAreNumberedWithoutTheTree(t *testing.T) {
	f, o, h := flatMailbox(t)
	o.impl.SetPolicy(0, "capacity", "max")
	for range 3*batch + 1 {
		o.try(f, h, objects.Send, "m")
	}
	box := o.impl.(*objects.Mailbox)
	if box.Number(0) {
		t.Fatal("the messages are numbered though nobody has asked for one")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	messagesFolder.ready(o)
	if !box.Number(0) {
		t.Error("a folder that is ready has messages without numbers")
	}
}
