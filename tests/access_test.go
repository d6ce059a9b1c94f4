package tests

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestOtherUsersAreKeptOutOfAMount(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t)
	mb := m.mailbox(t, flat, "jobs")
	does(t, "chmod "+mb.path+" 777", "ok")
	// Not even stat, fuse(4): without allow_other only the mount's owner.
	doesAs(t, nobody(t), "stat "+m.dir, "EACCES", "open "+m.path("mailboxes")+" rdonly|directory", "EACCES",
		"open "+mb.path+" wronly", "EACCES", "open "+m.path("mailboxes", "mine")+" wronly|creat", "EACCES")
}

func TestModeBitsDecideUnderAllowOther(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	other := nobody(t)

	mb := m.mailbox(t, flat, "jobs")
	mb.put("secret")
	doesAs(t, other,
		"open "+m.path("mailboxes")+" rdonly|directory", "ok",
		"open "+mb.path+" rdonly|nonblock", "EACCES",
		"open "+mb.path+" wronly|nonblock", "EACCES",
		"chmod "+mb.path+" 666", "EPERM",
		"chown "+mb.path+" "+number(int(other.Uid))+" -1", "EPERM",
		"open "+mb.file("capacity")+" wronly", "EACCES",
		"open "+mb.file("flush")+" wronly", "EACCES",
		// The directory of a kind is sticky, as /tmp is.
		"unlink "+mb.path, "EPERM",
		"rename "+mb.path+" "+mb.path+"2", "EPERM",
	)
	mb.wantQueue("secret")
	does(t, "chmod "+mb.path+" 622", "ok")
	doesAs(t, other, "open "+mb.path+" wronly", "ok", "write hello", "5", "open "+mb.path+" rdonly", "EACCES",
		"open "+mb.path+" rdwr", "EACCES")
	does(t, "chmod "+mb.path+" 604", "ok")
	doesAs(t, other, "open "+mb.path+" wronly", "EACCES", "open "+mb.path+" rdonly", "ok", "read 100", `"hello"`)
}

func TestEndpointsAreSharedByChmod(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	other := nobody(t)
	mb := m.mailbox(t, directory, "orders")
	does(t, "chmod "+mb.path+" 755", "ok")
	doesAs(t, other, "open "+mb.send+" wronly", "EACCES", "open "+mb.receive+" rdonly", "EACCES",
		"open "+mb.file("stat")+" rdonly", "ok", "open "+mb.file("capacity")+" wronly", "EACCES")
	does(t, "chmod "+mb.send+" 222", "ok")
	doesAs(t, other, "open "+mb.send+" wronly", "ok", "write order", "5", "open "+mb.receive+" rdonly", "EACCES")
	mb.wantQueue("order")
	does(t, "chmod "+mb.path+" 700", "ok")
	doesAs(t, other, "open "+mb.send+" wronly", "EACCES")
}

func TestObjectsBelongToTheirCreator(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	other := nobody(t)
	path := m.path("mailboxes", "theirs")
	doesAs(t, other, "umask 77", "ok", "open "+path+" wronly|creat|excl 666", "ok", "write hello", "5",
		"open "+path+" rdonly", "ok", "read 100", `"hello"`, "chmod "+path+" 640", "ok",
		"mkdir "+path+"-dir 755", "ok", "open "+path+"-dir/send wronly", "ok", "open "+path+"-dir/capacity wronly", "ok")
	for _, p := range []string{path, path + "-dir", path + "-dir/send", path + "-dir/capacity", path + ".d/capacity"} {
		if st := attributes(t, p); st.Uid != other.Uid || st.Gid != other.Gid {
			t.Errorf("%s belongs to %d:%d, want %d:%d", p, st.Uid, st.Gid, other.Uid, other.Gid)
		}
	}
	// The waiters file names who waits.
	mb := m.existing(t, flat, "theirs")
	c := cliAs(t, other, "open "+path+" rdonly", "read 100")
	mb.parked(c)
	if w := mb.waiters()[0]; w.uid != int(other.Uid) || w.command != "ipccli" || w.operation != "receive" {
		t.Errorf("waiter = %+v, want ipccli of uid %d in receive", w, other.Uid)
	}
	c.kill()
	doesAs(t, other, "unlink "+path, "ok", "rmdir "+path+"-dir", "ok")
}

// Redirections of a shell open with O_CREAT, which the kernel forbids on another user's file in a sticky directory
// (may_create_in_sticky, where fs.protected_regular is not 0). Sharing a mailbox must work all the same.
func TestASharedMailboxTakesRedirectionsOfOtherUsers(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	other := nobody(t)
	mine, theirs := m.mailbox(t, flat, "mine"), m.existing(t, flat, "theirs")
	doesAs(t, other, "open "+theirs.path+" wronly|creat|excl", "ok", "chmod "+theirs.path+" 666", "ok")
	does(t, "chmod "+mine.path+" 666", "ok")
	for mb, as := range map[*mailbox]*syscall.Credential{mine: other, theirs: nil} {
		command{argv: []string{"bash", "-c", "echo hello > " + mb.path + " && echo again >> " + mb.path}, as: as}.run(t).
			prints("")
		mb.wantQueue("hello\n", "again\n")
	}
}

// As in a sticky directory: unlink(2), rename(2).
func TestNobodyRemovesWhatBelongsToOthers(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	other := nobody(t)
	mine := m.mailbox(t, flat, "mine")
	directory := m.mailbox(t, directory, "directory")
	does(t, "chmod "+mine.path+" 666", "ok", "chmod "+directory.path+" 777", "ok")
	own := m.path("mailboxes", "own")
	doesAs(t, other,
		"unlink "+mine.path, "EPERM", "rmdir "+directory.path, "EPERM",
		"rename "+mine.path+" "+mine.path+"2", "EPERM",
		"open "+own+" wronly|creat", "ok",
		"rename "+own+" "+mine.path, "EPERM",
		"rename "+own+" "+own+"2", "ok",
		"unlink "+own+"2", "ok",
	)
	does(t, "unlink "+mine.path, "ok", "rmdir "+directory.path, "ok")
}

func TestAnUnprivilegedUserMountsAndUses(t *testing.T) {
	t.Parallel()
	needRoot(t)
	user := nobody(t)
	m := mountAs(t, user)
	path := m.path("mailboxes", "jobs")
	doesAs(t, user,
		"open "+path+" wronly|creat", "ok", "write hello", "5",
		"open "+path+" rdonly", "ok", "read 100", `"hello"`,
		"mkdir "+path+"-dir 755", "ok", "open "+path+"-dir/capacity wronly", "ok", "write 0", "1",
		"open "+path+"-dir/send wronly|nonblock", "ok", "write x", "EAGAIN",
		"open "+path+"-dir/receive rdonly|nonblock", "ok", "poll in 0", "none",
		"stat "+path, fmt.Sprintf("600 %d:%d 0", user.Uid, user.Gid),
	)
	// Root is another user here, and kept out as well.
	does(t, "stat "+path, "EACCES")

	reader := command{argv: []string{"cat", path}, as: user}.run(t)
	eventually(t, func() string {
		waiters := command{argv: []string{"cat", path + ".d/waiters"}, as: user}.run(t).output()
		if !strings.HasPrefix(waiters, number(reader.pid())+" ") {
			return "waiters holds " + waiters
		}
		return ""
	})
	reader.asleep()
	command{argv: []string{"bash", "-c", "echo hello > " + path}, as: user}.run(t).prints("")
	reader.prints("hello\n")

	killed := command{argv: []string{"cat", path}, as: user}.run(t)
	killed.asleep()
	killed.kill()
}

func TestUnprivilegedAllowOtherNeedsFuseConf(t *testing.T) {
	t.Parallel()
	needRoot(t)
	user := nobody(t)
	dir := emptyDir(t, user)
	d, err := startDaemon(dir, user, "allow_other")
	if !userAllowOther(t) {
		if err == nil {
			t.Fatalf("allow_other without user_allow_other in fuse.conf mounted; end: %v", d.stop())
		}
		// fusermount3 names the option that is missing.
		if !strings.Contains(err.Error(), "user_allow_other") {
			t.Errorf("error = %v, want it to name user_allow_other", err)
		}
		if mountedAt(dir) {
			t.Error("the mount is there in spite of the error")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir + "/mailboxes"); err != nil {
		t.Errorf("stat by root under allow_other = %v", err)
	}
	if err := d.stop(); err != nil {
		t.Error(err)
	}
}

func userAllowOther(t testing.TB) bool {
	f, err := os.Open("/etc/fuse.conf")
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.TrimSpace(lines.Text()) == "user_allow_other" {
			return true
		}
	}
	return false
}

func TestAReadOnlyMountTakesNoMessages(t *testing.T) {
	t.Parallel()
	m := mount(t, "ro")
	// EROFS, open(2) and mkdir(2).
	does(t, "open "+m.path("mailboxes", "jobs")+" wronly|creat", "EROFS", "mkdir "+m.path("mailboxes", "jobs"), "EROFS",
		"stat "+m.path("mailboxes", "jobs"), "ENOENT")
	if _, err := os.ReadDir(m.path("mailboxes")); err != nil {
		t.Error(err)
	}
}
