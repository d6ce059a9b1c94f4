package tests

import (
	"fmt"
	"strings"
	"testing"
)

// The cases of LTP's fcntl11 and fcntl21: locks of one process that touch, overlap, split and convert one another, as
// F_GETLK tells another process, which asks from where the last answer ended.
func TestGetlkTellsOfTheConflictThatStartsFirst(t *testing.T) {
	t.Parallel()
	lockable(t, func(t *testing.T, _ *mailbox, path string) {
		for _, row := range []struct{ taken, want string }{
			{"wr 30 5, wr 20 5, wr 10 5", "wr 10 5, wr 20 5, wr 30 5"},
			{"wr 10 5, rd 5 5", "rd 5 5, wr 10 5"},
			{"wr 10 5, rd 15 5", "wr 10 5, rd 15 5"},
			{"wr 10 5, wr 5 5", "wr 5 10"},
			{"wr 10 5, wr 15 5", "wr 10 10"},
			{"rd 10 5, rd 5 5, rd 15 5", "rd 5 15"},
			{"rd 10 5, rd 8 4", "rd 8 7"},
			{"wr 10 5, rd 5 6", "rd 5 6, wr 11 4"},
			{"wr 10 5, rd 14 6", "wr 10 4, rd 14 6"},
			{"wr 10 5, rd 12 1", "wr 10 2, rd 12 1, wr 13 2"},
			{"wr 10 5, un 12 1", "wr 10 2, wr 13 2"},
			{"wr 10 5, rd 5 20", "rd 5 20"},
			{"wr 10 5, wr 20 5, wr 12 10", "wr 10 15"},
			{"wr 10 5, wr 20 5, rd 12 10", "wr 10 2, rd 12 10, wr 22 3"},
			{"wr 10 0, un 20 0", "wr 10 10"},
			{"wr 10 5, un 0 0", ""},
		} {
			open := "open " + path + " rdwr"
			operations := []string{open}
			for _, lock := range strings.Split(row.taken, ", ") {
				operations = append(operations, "lock "+lock)
			}
			holder := cli(t, append(operations, "pause", "close")...)
			for range operations {
				holder.expect("ok")
			}
			asks, want, from := []string{open, "ok"}, strings.Split(row.want, ", "), 0
			for _, lock := range want {
				answer := "un"
				asks = append(asks, fmt.Sprintf("getlk wr %d 0", from))
				var start, length int
				if n, _ := fmt.Sscanf(lock[min(3, len(lock)):], "%d %d", &start, &length); n == 2 {
					answer = fmt.Sprintf("%s %d %d %d", lock[:2], holder.pid(), start, length)
				}
				asks, from = append(asks, answer), start+length
			}
			if row.want != "" {
				asks = append(asks, fmt.Sprintf("getlk wr %d 0", from), "un")
			}
			if complaint := performs(t, nil, asks...); complaint != "" {
				t.Errorf("after %q: %s", row.taken, complaint)
			}
			holder.resume()
			holder.output()
		}
	})
}

func TestALockCostsTheSameHoweverManyThereAre(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, flat, "jobs")
	run(t, python, "-c", `
import fcntl, os, statistics, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
took = []
for i in range(20000):
    at = time.perf_counter()
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 * i)
    took.append(time.perf_counter() - at)
first, last = statistics.median(took[:1000]), statistics.median(took[-1000:])
print("" if last < 4 * first else "a lock took %g s at first, %g s beside 20,000" % (first, last))`, mb.path).prints("\n")
}

func TestLocksAreOnTheBooksOfTheirUser(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	mb := m.mailbox(t, flat, "jobs")
	does(t, "chmod "+mb.path+" 666", "ok")
	m.limit(t, "user_bytes 4096")
	operations := []string{"open " + mb.path + " rdwr"}
	for i := range 5000 {
		operations = append(operations, fmt.Sprintf("lock wr %d 1", 2*i))
	}
	operations = append(operations, "lock un 0 0", "lock wr 0 1")
	for range 2 { // it is given back, too
		c := cliAs(t, nobody(t), operations...)
		granted := 0
		for range operations {
			switch got := c.next(); got {
			case "ok":
				granted++
			case "ENOLCK":
			default:
				t.Fatalf("a lock failed with %s, want ENOLCK", got)
			}
		}
		if granted < 1000 || granted > 4500 {
			t.Errorf("%d locks of 256 bytes were granted, want what 1 MiB and a little has room for", granted)
		}
		c.output()
	}
	does(t, "open "+mb.path+" rdwr", "ok", "lock wr 0 0", "ok") // others have room
}

func TestLocksOnFilesOfFoldersAreSeenByName(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	tr := m.traced(t, "cat", m.path(".ipcfs/trace"))
	mb.put("x")
	for _, name := range []string{"topic/news", "priority/3", "messages/1"} {
		lock, mode := "wr", "rdwr"
		if name == "messages/1" {
			lock, mode = "rd", "rdonly"
		}
		c := cli(t, "open "+mb.file(name)+" "+mode, "lock "+lock+" 0 0", "pause", "close")
		c.expect("ok", "ok")
		if owners := run(t, "cat", m.path(".ipcfs/owners")).output(); !strings.Contains(owners, "mailboxes/jobs/"+name+" ") {
			t.Errorf("owners shows %q, want the lock on %s", owners, name)
		}
		c.resume()
		c.output()
	}
	m.wellTraced(t, tr, "fcntl mailboxes/jobs/topic/news 0 ok")
}

func TestSendfileFromAnEndpointFallsBackAndTakesNothing(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs")
	mb.put("message")
	run(t, python, "-c", `
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
r, w = os.pipe()
for call in (lambda: os.sendfile(w, fd, None, 100), lambda: os.splice(fd, w, 100)):
    try:
        print(call())
    except OSError as e:
        print(e.strerror)`, mb.receive).prints("Invalid argument\nInvalid argument\n")
	mb.wantQueue("message")
}
