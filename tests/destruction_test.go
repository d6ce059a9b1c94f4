package tests

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

func TestDestructionWakesTheWaitingWithEIDRM(t *testing.T) {
	t.Parallel()
	destroy := map[string]func(m *mountpoint, mb *mailbox) error{
		"rm": func(m *mountpoint, mb *mailbox) error { return os.Remove(mb.path) },
		"rename over": func(m *mountpoint, mb *mailbox) error {
			return os.Rename(m.mailbox(mb.t, flat, "other").path, mb.path)
		},
	}
	for name, by := range destroy {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mount(t)
			mb := m.mailbox(t, flat, "jobs")
			before := m.atRest(t)
			receivers := []*client{mb.parkReceiver(), mb.parkReceiver()}
			peeker := cli(t, "open "+mb.file("peek")+" rdonly", "read 100")
			mb.parked(peeker)
			if err := by(m, mb); err != nil {
				t.Fatal(err)
			}
			peeker.expect("ok", "EIDRM")
			for _, c := range receivers {
				c.expect("EIDRM")
			}

			mb = m.mailbox(t, flat, "jobs2").with("capacity", "1")
			mb.put("lost")
			senders := []*client{mb.parkSender("a"), mb.parkSender("b")}
			if err := by(m, mb); err != nil {
				t.Fatal(err)
			}
			for _, c := range senders {
				c.expect("EIDRM")
			}
			m.leavesNothingBehind(t, before)
		})
	}
}

func TestOpenFilesOfADestroyedMailboxGiveEIDRM(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, flat, "jobs")
	mb.put("lost")
	c := cli(t, "open "+mb.receive+" rdonly", "open "+mb.send+" wronly", "open "+mb.receive+" rdonly|nonblock",
		"pause",
		"use 0", "read 100", "use 1", "write x", "use 2", "read 100")
	c.expect("ok", "ok", "ok")
	if err := os.Remove(mb.path); err != nil {
		t.Fatal(err)
	}
	c.resume()
	c.expect("ok", "ok", "EIDRM", "ok", "EIDRM", "ok", "EIDRM")
	if _, err := os.Stat(mb.control); !os.IsNotExist(err) {
		t.Errorf("stat of the control directory after rm = %v, want ENOENT", err)
	}
}

func TestRmdirSparesMessagesAndWaiters(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs")
	mb.put("precious")
	if err := os.Remove(mb.path); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("rmdir with a message = %v, want ENOTEMPTY", err)
	}
	mb.wantQueue("precious")

	r := mb.parkReceiver()
	if err := os.Remove(mb.path); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("rmdir with a waiter = %v, want EBUSY", err)
	}
	mb.put("hello")
	r.expect(`"hello"`)

	c := cli(t, "open "+mb.send+" wronly", "pause", "write x")
	c.expect("ok")
	if err := os.Remove(mb.path); err != nil {
		t.Errorf("rmdir of an empty mailbox = %v", err)
	}
	c.resume()
	c.expect("ok", "EIDRM")
	if _, err := os.Stat(mb.path); !os.IsNotExist(err) {
		t.Errorf("stat after rmdir = %v, want ENOENT", err)
	}
}

func TestRmOfAFlatMailboxAlwaysWorks(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, flat, "jobs")
	mb.put("a", "b")
	bash(t, "rm "+mb.path).prints("")
	mb = m.mailbox(t, flat, "jobs")
	mb.wantStat("messages 0", "sent 0")
}

func TestRenameOverLeavesTheNewMailbox(t *testing.T) {
	t.Parallel()
	m := mount(t)
	from, to := m.mailbox(t, flat, "from"), m.mailbox(t, flat, "to")
	from.put("kept")
	from.set("capacity", "7")
	to.put("lost")
	if err := os.Rename(from.path, to.path); err != nil {
		t.Fatal(err)
	}
	to.wantPolicy("capacity", "7")
	to.wantQueue("kept")
	if _, err := os.Stat(from.path); !os.IsNotExist(err) {
		t.Errorf("stat of the old name = %v, want ENOENT", err)
	}
}

func TestRenameKeepsOpenFilesAndWaiters(t *testing.T) {
	t.Parallel()
	for _, shape := range []string{flat, directory} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			m := mount(t)
			mb := m.mailbox(t, shape, "jobs")
			sender := cli(t, "open "+mb.send+" wronly", "pause", "write hello", "write again")
			sender.expect("ok")
			receiver := mb.parkReceiver()
			if err := os.Rename(mb.path, m.path("mailboxes", "work")); err != nil {
				t.Fatal(err)
			}
			renamed := m.existing(t, shape, "work")
			renamed.parked(receiver)
			sender.resume()
			sender.expect("ok", "5", "5")
			receiver.expect(`"hello"`)
			renamed.wantQueue("again")
			if _, err := os.Stat(mb.path); !os.IsNotExist(err) {
				t.Errorf("stat of the old name = %v, want ENOENT", err)
			}
			// The old name is free.
			m.mailbox(t, shape, "jobs").wantStat("messages 0", "sent 0")
			bash(t, "mv "+renamed.path+" "+m.path("mailboxes", "third")).prints("")
			m.existing(t, shape, "third").wantStat("sent 2", "received 2")
		})
	}
}

func TestRenameOfAParkedWritersMailbox(t *testing.T) {
	t.Parallel()
	for _, shape := range []string{flat, directory} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			m := mount(t)
			mb := m.mailbox(t, shape, "jobs").with("capacity", "1")
			mb.put("first")
			writer := mb.parkSender("second")
			if err := os.Rename(mb.path, m.path("mailboxes", "work")); err != nil {
				t.Fatal(err)
			}
			renamed := m.existing(t, shape, "work")
			renamed.wantQueue("first", "second")
			writer.expect("6")
		})
	}
}
