package tests

import (
	"strings"
	"testing"
)

// strand takes each of n messages on lease and lets it go, so that they are due for the dead letters.
func (mb *mailbox) strand(n int) {
	mb.t.Helper()
	for range n {
		does(mb.t, "open "+mb.file("lease")+" rdwr", "ok", "read 100", `"dead"`, "write nack", "4")
	}
}

func TestDeadLettersGoNowhereTheirOwnerMayNotSend(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	alice, member := userOf(2001), userOf(2001, 3001)
	for _, shape := range []string{flat, directory} {
		from := m.ownedBy(t, directory, "from-"+shape, 2001)
		from.set("max_deliveries", "1")
		vault := m.mailbox(t, shape, "vault-"+shape)
		closed, open := map[string][2]string{flat: {"600", "622"}, directory: {"700", "755"}}[shape][0],
			map[string][2]string{flat: {"600", "622"}, directory: {"700", "755"}}[shape][1]
		name := strings.TrimPrefix(vault.name, "mailboxes/")
		set := []string{"open " + from.file("dead_letters") + " wronly", "ok", "write " + name}
		settable := func(want string) {
			t.Helper()
			doesAs(t, alice, append(set, want)...)
		}
		dies := func(text, into string) {
			t.Helper()
			from.put("dead")
			from.strand(1)
			vault.awaitStat("messages " + into)
			from.awaitStat("leased 0")
			if text != "" {
				from.wantQueue(text)
			}
		}

		// Whoever sets them must be allowed to send there, and to get there.
		does(t, "chmod "+vault.path+" "+closed, "ok")
		settable("EACCES")
		if shape == directory {
			does(t, "chmod "+vault.send+" 622", "ok")
			settable("EACCES")
			does(t, "chmod "+vault.send+" 600", "ok", "chmod "+vault.path+" "+open, "ok")
			settable("EACCES")
			does(t, "chmod "+vault.send+" 622", "ok")
		}
		from.wantPolicy("dead_letters", "")
		does(t, "chmod "+vault.path+" "+open, "ok")
		if shape == directory {
			does(t, "chmod "+vault.send+" 622", "ok")
		}
		settable(number(len(name)))
		dies("", "1")

		// It counts when they go, too, and for the owner of the mailbox they come from: here root has set them.
		does(t, "chmod "+vault.path+" "+closed, "ok")
		from.set("dead_letters", name)
		dies("dead", "1")
		// By its group: the supplementary ones of an owner who is not there are not known.
		does(t, "chown "+vault.path+" -1 3001", "ok", "chmod "+vault.path+" 770", "ok")
		if shape == directory {
			does(t, "chmod "+vault.send+" 620", "ok")
		}
		settable("EACCES")
		doesAs(t, member, append(set, number(len(name)))...)
		dies("dead", "1")
		does(t, "chown "+from.path+" -1 3001", "ok")
		dies("", "2")
		// Given away, it delivers for its new owner.
		does(t, "chown "+from.path+" 2002 2002", "ok")
		dies("dead", "2")
		does(t, "chown "+from.path+" 0 0", "ok")
		dies("", "3")
	}
}

func TestNoMessagePassesOnBeyondTheCapacity(t *testing.T) {
	t.Parallel()
	m := mount(t)
	for _, row := range []struct{ overflow, moved, kept, dropped string }{
		{"block", "EAGAIN", "old", "0"}, {"fail", "EAGAIN", "old", "0"}, {"drop-newest", "ok", "old", "2"},
		{"drop-oldest", "ok", "dead", "1"},
	} {
		from := m.mailbox(t, directory, "from-"+row.overflow).with("max_deliveries", "1", "dead_letters", "to-"+row.overflow)
		to := m.mailbox(t, directory, "to-"+row.overflow).with("capacity", "1", "overflow", row.overflow)
		to.put("old")
		from.putAs("urgent", "dead")
		does(t, "rename "+from.file("messages/1")+" "+to.file("messages/1"), row.moved)
		to.wantStat("messages 1")
		if row.moved == "ok" {
			from.putAs("urgent", "dead")
		}
		from.strand(1)
		if strings.HasPrefix(row.overflow, "drop") {
			from.awaitStat("received 2", "messages 0")
		} else {
			from.awaitStat("redelivered 1", "messages 1")
		}
		to.wantStat("messages 1")
		if row.overflow != "drop-oldest" {
			to.wantStat("dropped " + row.dropped)
			to.wantQueue(row.kept)
		} else if got := to.take(); len(got) != 1 || got[0] != row.kept {
			t.Errorf("under drop-oldest the mailbox holds %q, want one urgent message", got)
		}
	}
}

func TestMovingAMessageIntoAMailboxIsASendThere(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	from, to := m.ownedBy(t, directory, "from", 2001), m.ownedBy(t, directory, "to", 2002)
	from.put("one", "two")
	segment := m.path("segments", "s")
	doesAs(t, userOf(2001), "open "+segment+" rdwr|creat|excl 600", "ok", "ftruncate 4096", "ok")
	moves := func(want, segments string) {
		t.Helper()
		doesAs(t, userOf(2001, 3001), "rename "+from.file("messages/1")+" "+to.file("messages/1"), want,
			"rename "+segment+" "+to.file("messages/1"), segments)
	}
	moves("EACCES", "EACCES") // of the directory
	doesAs(t, userOf(2002), "chmod "+to.file("messages")+" 777", "ok")
	moves("EACCES", "EACCES") // of send
	does(t, "chown "+to.file("send")+" -1 3001", "ok")
	doesAs(t, userOf(2002), "chmod "+to.file("send")+" 620", "ok")
	moves("ok", "ok")
	to.wantStat("messages 2")
	doesAs(t, userOf(2001), "rename "+from.file("messages/2")+" "+to.file("messages/1"), "EACCES")
	doesAs(t, userOf(2002), "chmod "+to.path+" 700", "ok")
	doesAs(t, userOf(2001, 3001), "rename "+from.file("messages/2")+" "+to.file("messages/1"), "EACCES")
	does(t, "rename "+from.file("messages/2")+" "+to.file("messages/1"), "ok")
	to.wantStat("messages 3")
}
