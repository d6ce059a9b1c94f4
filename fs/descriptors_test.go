package fs

import (
	"bytes"
	"log"
	"strings"
	"syscall"
	"testing"
)

func TestOneUserLeavesDescriptorsToTheOthers(t *testing.T) {
	var text bytes.Buffer
	d := newDescriptors(log.New(&text, "", 0))
	d.max = 100
	all := func(uid uint32) (n int) {
		for d.take(uid) == 0 {
			n++
		}
		return n
	}
	// Each finds some, and half of what the others leave at most.
	for i, want := range []int{50, 25, 12, 6} {
		if got := all(uint32(i)); got != want {
			t.Errorf("user %d gets %d descriptors, want %d", i, got, want)
		}
	}
	if n := strings.Count(text.String(), "\n"); n != 1 {
		t.Errorf("the log has %d lines of a shortage, want 1:\n%s", n, text.String())
	}
	d.give(1)
	d.move(0, 1)
	if got, errno := d.byUser[1], d.take(1); got != 25 || errno != syscall.ENFILE {
		t.Errorf("user 1 has %d descriptors and gets another: %v; want 25, ENFILE", got, errno)
	}
	for uid, n := range map[uint32]int{0: 49, 1: 25, 2: 12, 3: 6} {
		for range n {
			d.give(uid)
		}
	}
	if d.used != 0 || len(d.byUser) != 0 {
		t.Errorf("%d descriptors of %v are in use at the end; want none", d.used, d.byUser)
	}
}

func TestTheWatchOfAFramedWriterIsOnTheBooks(t *testing.T) {
	f, _, h := flatMailbox(t)
	h.opener.Uid = 1000
	for files := range uint64(3) {
		h.noteWriter(uint32(syscall.Getpid()), uint32(syscall.Getpid()), files)
		if f.fds.used != 1 || f.fds.byUser[1000] != 1 {
			t.Fatalf("%d descriptors of %v are booked for a writer; want one of its user's", f.fds.used, f.fds.byUser)
		}
	}
	h.writer.forget()
	if f.fds.used != 0 {
		t.Errorf("%d descriptors are booked at the end; want none", f.fds.used)
	}
}
