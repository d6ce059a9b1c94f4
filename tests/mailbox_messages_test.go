package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestEachQueuedMessageIsAFile(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		start := time.Now().Add(-time.Millisecond)
		large := text(300 << 10)
		mb.put("one", "two", "three")
		mb.put(large)
		if got := mb.names("messages"); got != "1 2 3 4" {
			t.Fatalf("messages lists %q, want 1 2 3 4", got)
		}
		for name, want := range map[string]string{"1": "one", "2": "two", "3": "three", "4": large} {
			path := mb.file("messages/" + name)
			if got, err := os.ReadFile(path); err != nil || string(got) != want {
				t.Errorf("%s holds %s, %v; want %s", name, brief(got), err, brief([]byte(want)))
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			st := info.Sys().(*syscall.Stat_t)
			if info.Size() != int64(len(want)) || info.Mode() != 0o444 || int(st.Uid) != os.Getuid() ||
				info.ModTime().Before(start) || info.ModTime().After(time.Now()) {
				t.Errorf("%s has size %d, mode %v, owner %d, time %v; want %d, 0444, %d, now",
					name, info.Size(), info.Mode(), st.Uid, info.ModTime(), len(want), os.Getuid())
			}
		}
		// Reading takes nothing; a program may seek.
		run(t, "tail", "-c", "2", mb.file("messages/3")).prints("ee")
		run(t, "cp", mb.file("messages/4"), filepath.Join(t.TempDir(), "copy")).prints("")
		mb.wantStat("messages 4", "received 0")
		mb.wantQueue("one", "two", "three", large)
		if got := mb.names("messages"); got != "" {
			t.Errorf("messages lists %q, want nothing", got)
		}
		does(t, "stat "+mb.file("messages/1"), "ENOENT")
	})
}

func TestRemovingAMessageDiscardsItAndAdmitsTheWaiting(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.with("capacity", "2")
		mb.put("one", "two")
		c := mb.parkSender("three")
		does(t, "unlink "+mb.file("messages/1"), "ok", "unlink "+mb.file("messages/1"), "ENOENT")
		c.expect("5")
		mb.wantStat("dropped 1", "sent 3")
		if got := mb.names("messages"); got != "2 3" {
			t.Errorf("messages lists %q, want 2 3", got)
		}
		bash(t, "rm -f "+mb.file("messages")+"/*").prints("")
		mb.wantQueue()
	})
}

func TestMovingAMessageTransfersIt(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		to := mb.m.mailbox(t, directory, "to")
		to.put("first")
		mb.put("one")
		mb.putAs("topic/t", "two")
		mb.put("three")
		before := attributes(t, mb.file("messages/2")).Mtim
		bash(t, "mv "+mb.file("messages/2")+" "+to.file("messages")).prints("")
		if after := attributes(t, to.file("messages/2")).Mtim; after != before {
			t.Errorf("the message was sent at %v, moved it says %v", before, after)
		}
		// A name that is taken replaces nothing.
		does(t, "rename "+mb.file("messages/1")+" "+to.file("messages/1"), "ok")
		mb.wantStat("messages 1", "sent 3", "received 2")
		to.wantFrom("topic/t", "two")
		to.wantQueue("first", "one")
		mb.wantQueue("three")

		// It is handed to who waits.
		c := to.parkReceiver()
		mb.put("now")
		does(t, "rename "+mb.file("messages/4")+" "+to.file("messages/x"), "ok")
		c.expect(`"now"`)
	})
}

func TestAMessageThatCannotBeMovedStays(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb, to := m.mailbox(t, directory, "from"), m.mailbox(t, directory, "to")
	mb.put("hello")
	from, into := mb.file("messages/1"), to.file("messages/1")
	for _, row := range []struct{ policy, value, want string }{
		{"capacity", "0", "EAGAIN"}, {"overflow", "fail", "EAGAIN"}, {"max_message", "2", "EMSGSIZE"},
	} {
		to.set(row.policy, row.value)
		does(t, "rename "+from+" "+into, row.want)
		mb.wantStat("messages 1", "received 0")
	}
	does(t,
		"rename "+from+" "+mb.file("messages/9"), "EPERM",
		"rename "+from+" "+m.path("mailboxes", "new"), "EPERM",
		"rename "+from+" "+m.path("pipes", "new"), "EPERM",
		"rename "+from+" "+mb.file("topic/t"), "EPERM",
		"rename "+mb.file("messages/7")+" "+into, "ENOENT",
		"rename "+mb.file("stat")+" "+into, "EPERM",
		"rename "+m.path("mailboxes", "to")+" "+mb.file("messages/2"), "EPERM",
		"open "+from+" wronly", "EACCES", "open "+from+" rdwr", "EACCES",
		"chmod "+from+" 777", "EPERM", "chown "+from+" 1 1", "EPERM",
		"open "+mb.file("messages/2")+" wronly|creat", "EPERM", "mkdir "+mb.file("messages/2")+" 755", "EPERM",
		"stat "+mb.file("messages/01"), "ENOENT", "stat "+mb.file("messages/x"), "ENOENT",
		"rmdir "+mb.file("messages"), "EPERM", "rmdir "+mb.path, "ENOTEMPTY")
	mb.wantQueue("hello")
}

func TestAnOpenMessageCanBeReadAfterItWasReceived(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs")
	mb.put("hello")
	f, err := os.Open(mb.file("messages/1"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mb.wantQueue("hello")
	for range 2 {
		b := make([]byte, 9)
		if n, err := f.ReadAt(b, 1); n != 4 || string(b[:n]) != "ello" {
			t.Errorf("read = %d, %v, %q; want ello", n, err, b[:n])
		}
	}
}

func TestMessagesBelongToTheirSenders(t *testing.T) {
	t.Parallel()
	needRoot(t)
	mb := mount(t, "allow_other").mailbox(t, directory, "jobs")
	user := nobody(t)
	mb.put("root's")
	does(t, "chmod "+mb.file("send")+" 222", "ok")
	doesAs(t, user, "open "+mb.file("send")+" wronly", "ok", "write theirs", "6", "stat "+mb.file("messages/2"), "EACCES")
	does(t, "stat "+mb.file("messages/2"), fmt.Sprintf("444 %d:%d 6", user.Uid, user.Gid))
	does(t, "chmod "+mb.file("messages")+" 777", "ok")
	doesAs(t, user, "unlink "+mb.file("messages/1"), "EPERM",
		"rename "+mb.file("messages/1")+" "+mb.file("messages/5"), "EPERM",
		"unlink "+mb.file("messages/2"), "ok")
	mb.wantQueue("root's")
}

func TestMessagesMovedBothWaysAtOnceAreNeitherLostNorDoubled(t *testing.T) {
	t.Parallel()
	m := mount(t)
	a, b := m.mailbox(t, directory, "a"), m.mailbox(t, directory, "b")
	const n = 50
	for i := range n {
		a.put("a" + number(i))
		b.put("b" + number(i))
	}
	move := func(from, to *mailbox) *client {
		return bash(t, "for i in $(seq "+number(n)+"); do mv "+from.file("messages")+"/$i "+to.file("messages")+"/ 2>/dev/null; done; true")
	}
	one, other := move(a, b), move(b, a)
	one.prints("")
	other.prints("")
	seen := map[string]int{}
	for _, text := range append(a.take(), b.take()...) {
		seen[text]++
	}
	if len(seen) != 2*n {
		t.Errorf("%d messages are left, want %d: %s", len(seen), 2*n, strings.Join(a.take(), " "))
	}
}
