package tests

import (
	"fmt"
	"syscall"
	"testing"
)

// lockable runs a test on the files locks are tried on: each is opened rdwr, and each LOOKUP may give it a new node.
func lockable(t *testing.T, test func(t *testing.T, mb *mailbox, path string)) {
	t.Run("a flat mailbox", func(t *testing.T) {
		t.Parallel()
		mb := mount(t).mailbox(t, flat, "jobs")
		test(t, mb, mb.path)
	})
	t.Run("a control file", func(t *testing.T) {
		t.Parallel()
		mb := mount(t).mailbox(t, directory, "jobs")
		test(t, mb, mb.file("capacity"))
	})
}

// lockers are the two kinds of locks: operations of ipccli.
var lockers = map[string]struct{ lock, try, shared, tryShared, unlock string }{
	"flock": {"flock ex", "flock ex|nb", "flock sh", "flock sh|nb", "flock un"},
	"fcntl": {"lockw wr 0 0", "lock wr 0 0", "lockw rd 0 0", "lock rd 0 0", "lock un 0 0"},
}

func eachLock(t *testing.T, test func(t *testing.T, mb *mailbox, open, kind string)) {
	lockable(t, func(t *testing.T, mb *mailbox, path string) {
		for kind := range lockers {
			t.Run(kind, func(t *testing.T) { test(t, mb, "open "+path+" rdwr", kind) })
		}
	})
}

func TestLocksExcludeProcesses(t *testing.T) {
	t.Parallel()
	eachLock(t, func(t *testing.T, _ *mailbox, open, kind string) {
		l := lockers[kind]
		holder := cli(t, open, l.lock, "pause", l.unlock, "pause", l.shared, "pause")
		holder.expect("ok", "ok")
		does(t, open, "ok", l.try, "EAGAIN", l.tryShared, "EAGAIN")
		holder.resume()
		holder.expect("ok", "ok")
		does(t, open, "ok", l.try, "ok", l.unlock, "ok")
		holder.resume()
		holder.expect("ok", "ok")
		does(t, open, "ok", l.tryShared, "ok", l.try, "EAGAIN")
		holder.kill()
		eventually(t, func() string { return performs(t, nil, open, "ok", l.try, "ok") })
	})
}

func TestBlockedLockWakesOnRelease(t *testing.T) {
	t.Parallel()
	eachLock(t, func(t *testing.T, mb *mailbox, open, kind string) {
		l := lockers[kind]
		for _, release := range []string{"unlock", "close", "death"} {
			end := l.unlock
			if release == "close" {
				end = "close"
			}
			holder := cli(t, open, l.lock, "pause", end, "pause")
			holder.expect("ok", "ok")
			c := cli(t, open, l.lock, "say after")
			c.expect("ok")
			c.asleep()
			// The loop is free meanwhile.
			mb.put("x")
			mb.wantQueue("x")
			if got, ok, _ := c.stdout.next(); ok {
				t.Fatalf("a blocked lock returned %s while it was held", got)
			}
			if release == "death" {
				holder.kill()
			} else {
				holder.resume()
			}
			c.expect("ok", "after")
			c.output()
		}
	})
}

func TestManyBlockedLocksHoldUpNobody(t *testing.T) {
	t.Parallel()
	eachLock(t, func(t *testing.T, mb *mailbox, open, kind string) {
		before := mb.m.atRest(t)
		l := lockers[kind]
		holder := cli(t, open, l.lock, "pause")
		holder.expect("ok", "ok")
		var all []*client
		for range 16 {
			c := cli(t, open, l.lock, l.unlock)
			c.expect("ok")
			c.asleep()
			all = append(all, c)
		}
		mb.put("hello")
		run(t, "cat", mb.receive).prints("hello")
		all[0].kill()
		all[7].kill()
		holder.kill()
		for i, c := range all {
			if i != 0 && i != 7 {
				c.expect("ok", "ok")
				c.output()
			}
		}
		mb.m.leavesNothingBehind(t, before)
	})
}

func TestBlockedLockDiesAndWakesBySignals(t *testing.T) {
	t.Parallel()
	eachLock(t, func(t *testing.T, _ *mailbox, open, kind string) {
		l := lockers[kind]
		holder := cli(t, open, l.lock, "pause")
		holder.expect("ok", "ok")
		killed := cli(t, open, l.lock)
		killed.expect("ok")
		killed.asleep()
		killed.kill()

		signalled := cli(t, "catch usr1", "say ready", open, l.lock, "say after")
		signalled.expect("ok", "ready", "ok")
		// It may not be in the call yet, and the signal then come too early: go on until one counts.
		var got string
		eventually(t, func() string {
			var ok bool
			if got, ok, _ = signalled.stdout.next(); ok {
				return ""
			}
			signalled.signal(syscall.SIGUSR1)
			return "the signal did not end the blocked lock"
		})
		if got != "EINTR" {
			t.Errorf("interrupted lock = %s, want EINTR", got)
		}
		signalled.output()
		holder.kill()
		// Neither of the two got it after all.
		eventually(t, func() string { return performs(t, nil, open, "ok", l.try, "ok") })
	})
}

func TestGetlkNamesTheHolder(t *testing.T) {
	t.Parallel()
	lockable(t, func(t *testing.T, _ *mailbox, path string) {
		open := "open " + path + " rdwr"
		holder := cli(t, open, "lock wr 10 5", "lock rd 100 1", "pause")
		holder.expect("ok", "ok", "ok")
		does(t, open, "ok",
			"getlk wr 0 10", "un",
			"getlk rd 0 11", fmt.Sprintf("wr %d 10 5", holder.pid()),
			"getlk wr 100 0", fmt.Sprintf("rd %d 100 1", holder.pid()),
			"getlk rd 100 0", "un",
		)
	})
}

func TestRangesOfFcntlLocksAreIndependent(t *testing.T) {
	t.Parallel()
	lockable(t, func(t *testing.T, _ *mailbox, path string) {
		open := "open " + path + " rdwr"
		holder := cli(t, open, "lock wr 0 100", "lock un 40 20", "pause", "lock rd 0 10", "pause")
		holder.expect("ok", "ok", "ok")
		does(t, open, "ok", "lock wr 0 1", "EAGAIN", "lock wr 39 1", "EAGAIN", "lock wr 40 20", "ok", "lock wr 60 1", "EAGAIN",
			"lock wr 100 10", "ok", "lock rd 0 5", "EAGAIN")
		holder.resume()
		holder.expect("ok", "ok")
		does(t, open, "ok", "lock rd 0 10", "ok", "lock wr 0 10", "EAGAIN", "lock rd 0 11", "EAGAIN")
	})
}

func TestFcntlLocksOfOneProcessDoNotConflict(t *testing.T) {
	t.Parallel()
	lockable(t, func(t *testing.T, _ *mailbox, path string) {
		open := "open " + path + " rdwr"
		does(t, open, "ok", "lock wr 0 10", "ok", open, "ok", "lock wr 0 10", "ok", "getlk wr 0 10", "un",
			// But flock locks of two descriptors do, flock(2).
			"flock ex|nb", "ok", "use 0", "ok", "flock ex|nb", "EAGAIN")
	})
}

func TestFcntlLockThatWouldCloseACircleFailsWithEDEADLK(t *testing.T) {
	t.Parallel()
	m := mount(t)
	var open [2]string
	for i, name := range []string{"a", "b"} {
		open[i] = "open " + m.mailbox(t, flat, name).path + " rdwr"
	}
	one := cli(t, open[0], "lockw wr 0 1", "pause", open[1], "lockw wr 5 1")
	one.expect("ok", "ok")
	two := cli(t, open[1], "lockw rd 5 1", "pause", open[0], "lockw rd 0 0", "lockw rd 1 0", "lock un 0 0")
	two.expect("ok", "ok")
	one.resume()
	one.expect("ok", "ok")
	eventually(t, func() string { return differs(m.daemonStat(t)["parked"], 1) })
	two.resume()
	two.expect("ok", "ok", "EDEADLK", "ok", "ok")
	two.kill() // and with it goes its lock of the other file
	one.expect("ok")
}

func TestFlockOfTheShell(t *testing.T) {
	t.Parallel()
	lockable(t, func(t *testing.T, _ *mailbox, path string) {
		holder := bash(t, "exec 9< "+path+"; flock 9; echo held; read -r _; flock -u 9; echo released")
		holder.expect("held")
		if status := run(t, "flock", "-n", path, "true").wait(); status != 1 {
			t.Errorf("flock -n of a held lock ended with %d, want 1", status)
		}
		c := run(t, "flock", path, "echo", "mine")
		c.asleep()
		holder.resume()
		c.prints("mine\n")
		holder.expect("released")
	})
}
