package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// claimant starts an ipccli that performs all operations but the last, and that one when it is resumed.
func claimant(t testing.TB, operations ...string) *client {
	t.Helper()
	last := len(operations) - 1
	c := cli(t, append(append(operations[:last:last], "pause"), operations[last])...)
	for range last {
		c.expect("ok")
	}
	return c
}

// listed waits until a file of .ipcfs has a line that matches the pattern.
func (m *mountpoint) listed(t testing.TB, name, pattern string) {
	t.Helper()
	re := regexp.MustCompile("(?m)^" + pattern + "$")
	eventually(t, func() string {
		text, err := os.ReadFile(m.path(".ipcfs", name))
		if err != nil {
			t.Fatal(err)
		}
		if !re.Match(text) {
			return fmt.Sprintf(".ipcfs/%s is %q, want a line %s", name, text, pattern)
		}
		return ""
	})
}

func TestOwnersListsWhoHoldsWhat(t *testing.T) {
	t.Parallel()
	m := mount(t)
	db := m.semaphore(t, directory, "my db", 1)
	m.objectOf(t, "segments", directory, "frame")
	jobs := m.mailbox(t, flat, "jobs")
	c := cli(t, "open "+escaped(db.file("hold"))+" rdonly", "open "+m.path("segments/frame/lock")+" rdonly",
		"open "+jobs.path+" rdwr", "flock sh", "open "+jobs.file("capacity")+" rdwr", "lockw wr 5 10",
		"open "+m.path(".ipcfs/version")+" rdonly", "flock ex", "pause")
	c.expect("ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok")
	who := fmt.Sprintf("%d %d ipccli", c.pid(), os.Getuid())
	for _, line := range []string{
		`semaphores/my\\040db ` + who + ` hold [0-9.]+`,
		`segments/frame ` + who + ` hold [0-9.]+`,
		`mailboxes/jobs ` + who + ` flock [0-9.]+ shared 0 max [0-9a-f]+`,
		`mailboxes/jobs.d/capacity ` + who + ` fcntl [0-9.]+ exclusive 5 14 [0-9a-f]+`,
		`.ipcfs/version ` + who + ` flock [0-9.]+ exclusive 0 max [0-9a-f]+`,
	} {
		m.listed(t, "owners", line)
	}
	other := cli(t, "open "+jobs.path+" rdwr", "flock ex")
	m.listed(t, "waiters", fmt.Sprintf(`mailboxes/jobs %d %d ipccli flock [0-9.]+ exclusive 0 max [0-9a-f]+`, other.pid(), os.Getuid()))
	table := run(t, ipcfsBin, "waiters", m.dir).output()
	want := fmt.Sprintf(`mailboxes/jobs +%d +ipccli +\S+ +flock +[0-9.]+ +%d \(ipccli\)`, other.pid(), c.pid())
	if !regexp.MustCompile(want).MatchString(table) {
		t.Errorf("ipcfs waiters printed\n%s\nwant %s", table, want)
	}
	c.kill()
	other.expect("ok", "ok")
	other.output()
	eventually(t, func() string {
		text, err := os.ReadFile(m.path(".ipcfs/owners"))
		if err != nil {
			t.Fatal(err)
		}
		return differs(string(text), "")
	})
}

func TestDeadlocksAreNamed(t *testing.T) {
	t.Parallel()
	// What each of two does before the other begins to wait, and what it then waits in.
	type claims struct {
		object  string
		take    []string
		blocked string
	}
	for name, prepare := range map[string]func(t *testing.T, m *mountpoint) [2]claims{
		"semaphores": func(t *testing.T, m *mountpoint) [2]claims {
			a, b := m.semaphore(t, directory, "a", 1), m.semaphore(t, directory, "b", 1)
			takeA, takeB := "open "+a.file("hold")+" rdonly", "open "+b.file("hold")+" rdonly"
			return [2]claims{{"semaphores/a", []string{takeA}, takeB}, {"semaphores/b", []string{takeB}, takeA}}
		},
		"a segment and a file": func(t *testing.T, m *mountpoint) [2]claims {
			s := m.objectOf(t, "segments", directory, "frame")
			hold, open := "open "+s.file("lock")+" rdonly", "open "+m.path(".ipcfs/limits")+" rdonly"
			return [2]claims{{"segments/frame", []string{open, hold, "use 0"}, "flock ex"}, {".ipcfs/limits", []string{open, "flock ex"}, hold}}
		},
		"a record lock and a flock": func(t *testing.T, m *mountpoint) [2]claims {
			m.mailbox(t, flat, "a b")
			open := "open " + escaped(m.path("mailboxes/a b")) + " rdwr"
			return [2]claims{
				{"mailboxes/a b", []string{open, "lockw wr 0 10"}, "flock ex"},
				{"mailboxes/a b", []string{open, "flock sh"}, "lockw rd 9 1"},
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mount(t)
			c := prepare(t, m)
			one, two := claimant(t, append(c[0].take, c[0].blocked)...), claimant(t, append(c[1].take, c[1].blocked)...)
			one.resume()
			one.expect("ok")
			eventually(t, func() string { return differs(m.daemonStat(t)["parked"], 1) })
			if out := run(t, ipcfsBin, "waiters", m.dir).output(); strings.Contains(out, "deadlock") {
				t.Fatalf("ipcfs waiters printed %q before there was a deadlock", out)
			}
			two.resume()
			two.expect("ok")
			eventually(t, func() string { return differs(m.daemonStat(t)["parked"], 2) })

			found := run(t, ipcfsBin, "waiters", m.dir)
			found.fails(1, "ipcfs: waiters: a deadlock\n")
			first := fmt.Sprintf("%d (ipccli) waits for %s, held by %d (ipccli)", one.pid(), c[1].object, two.pid())
			second := fmt.Sprintf("%d (ipccli) waits for %s, held by %d (ipccli)", two.pid(), c[0].object, one.pid())
			if out := found.stdout.String(); !strings.Contains(out, "\ndeadlock: "+first+"; "+second+"\n") && !strings.Contains(out, "\ndeadlock: "+second+"; "+first+"\n") {
				t.Errorf("ipcfs waiters printed\n%s\nwant a deadlock where %s; %s", out, first, second)
			}

			found = run(t, ipcfsBin, "waiters", "--json", m.dir)
			found.fails(1, "a deadlock")
			var all struct {
				Waiters []struct {
					Pid    int
					HeldBy []struct{ Pid int } `json:"held_by"`
				}
				Deadlocks [][]struct {
					Pid     int
					Command string
				}
			}
			if err := json.Unmarshal([]byte(found.stdout.String()), &all); err != nil {
				t.Fatal(err)
			}
			if len(all.Waiters) != 2 || len(all.Waiters[0].HeldBy) != 1 || len(all.Deadlocks) != 1 || len(all.Deadlocks[0]) != 2 || all.Deadlocks[0][0].Command != "ipccli" {
				t.Errorf("ipcfs waiters --json printed %s", found.stdout)
			}
			found = run(t, ipcfsBin, "waiters", "--dot", m.dir)
			found.fails(1, "a deadlock")
			if dot := found.stdout.String(); !strings.HasPrefix(dot, "digraph waiters {\n") || strings.Count(dot, "color=red") != 4 {
				t.Errorf("ipcfs waiters --dot printed\n%s", dot)
			}

			two.kill()
			one.expect("ok")
			run(t, ipcfsBin, "waiters", m.dir).output()
		})
	}
}

func TestWaitersCommandKnowsItsArguments(t *testing.T) {
	t.Parallel()
	m := mount(t)
	run(t, ipcfsBin, "waiters", "--json", m.dir).prints("{\n  \"waiters\": [],\n  \"deadlocks\": []\n}\n")
	run(t, ipcfsBin, "waiters", "--json", "--dot", m.dir).fails(2, "--dot and --json exclude each other")
	run(t, ipcfsBin, "waiters", "/").fails(1, "waiters: /: no ipcfs is mounted there")
}
