package tests

import (
	"os"
	"testing"
)

// rename(2): EXDEV makes mv(1) copy and remove: it would read the messages, write them into something else, and end
// with status 0.

func TestRenameAcrossKindsIsEPERM(t *testing.T) {
	t.Parallel()
	m := mount(t)
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, entry := range entries {
		if kind := entry.Name(); kind != ".ipcfs" {
			kinds = append(kinds, kind)
		}
	}
	for _, from := range kinds {
		for _, shape := range []string{flat, directory} {
			o := m.objectOf(t, from, shape, shape)
			for _, to := range kinds {
				if to == from {
					continue
				}
				does(t, "rename "+o.path+" "+m.path(to, shape), "EPERM") // is there in the kinds that came before
			}
			// Out of the mount the kernel says it before it asks.
			does(t, "rename "+o.path+" "+t.TempDir()+"/there", "EXDEV")
		}
	}
}

func TestMvAcrossKindsLosesNothing(t *testing.T) {
	t.Parallel()
	m := mount(t)
	inEach := func(mb *mailbox, what string) {
		mb.put("first", "second")
		for _, to := range []string{m.path("pipes", "p"), m.path("segments", "p"), m.path("semaphores", "p")} {
			if c := run(t, "mv", what, to); c.wait() == 0 {
				t.Errorf("mv %s %s ended with status 0", what, to)
			}
			if there(to) {
				t.Errorf("mv %s %s left something there", what, to)
			}
		}
		mb.wantQueue("first", "second")
	}
	for _, shape := range []string{flat, directory} {
		mb := m.mailbox(t, shape, shape)
		inEach(mb, mb.path)
	}
}

func TestMvOfAMessageToWhereItCannotGoLosesNothing(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	mb.put("first", "second")
	// Into segments/ it may go only if its bytes are memory or can be: see the zero copy tests.
	for _, to := range []string{m.path("pipes", "p"), m.path("mailboxes", "p"), m.path("semaphores", "p"), m.path("p"), mb.file("p"),
		mb.file("topic/p"), m.path(".ipcfs", "p")} {
		if c := run(t, "mv", mb.file("messages/1"), to); c.wait() == 0 {
			t.Errorf("mv of a message to %s ended with status 0", to)
		}
	}
	mb.wantQueue("first", "second")
}
