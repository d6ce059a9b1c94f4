package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// fails waits for the client's failure with the status and compares what it said on standard error.
func (c *client) fails(status int, says string) {
	c.t.Helper()
	if got := c.wait(); got != status || !strings.Contains(c.stderr.String(), says) {
		c.t.Fatalf("%v ended with status %d, saying %q; want %d and %q", c, got, c.stderr, status, says)
	}
}

// lsObject is what "ipcfs ls --json" says of an object.
type lsObject struct {
	Kind, Name, Path, Shape, Mode, Owner string
	Messages, Bytes, Waiting             int
	Policies                             map[string]string
}

// listing is what it says of the one called name.
func (m *mountpoint) listing(t testing.TB, name string) lsObject {
	t.Helper()
	var all []lsObject
	if err := json.Unmarshal([]byte(run(t, ipcfsBin, "ls", "--json", m.dir).output()), &all); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(o lsObject) bool { return o.Name == name })
	if i < 0 {
		t.Fatalf("ls --json does not list %s: %+v", name, all)
	}
	return all[i]
}

func TestLsShowsEveryObject(t *testing.T) {
	t.Parallel()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	m := mount(t)
	jobs := m.mailbox(t, flat, "a b")
	jobs.put("12345")
	orders := m.mailbox(t, directory, "orders").with("capacity", "0", "overflow", "block")
	orders.parkSender("x")
	m.semaphore(t, directory, "db", 2).set("max", "3")
	m.objectOf(t, "pipes", directory, "log").with("lifetime", "persistent")
	bash(t, "truncate -s 5000 "+m.path("segments/frame")+"; mkfifo -m 640 "+m.path("pipes/fifo")).prints("")

	var got []string
	for line := range strings.Lines(run(t, ipcfsBin, "ls", m.dir).output()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"KIND NAME OWNER MODE FILL WAITERS POLICIES",
		"mailbox a b root -rw------- 1/1024 5B 0 -",
		"mailbox orders root drwxr-xr-x 0/0 1 capacity=0",
		"fifo fifo root prw-r----- - 0 -",
		"pipe log root drwxr-xr-x 0B/64K 0 lifetime=persistent",
		"segment frame root -rw-r--r-- 4.9K 0 -",
		"semaphore db root drwxr-xr-x 2/3 0 max=3",
	}
	for i := range want {
		want[i] = strings.Replace(want[i], " root ", " "+me.Username+" ", 1)
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("ls printed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	var all []lsObject
	if err := json.Unmarshal([]byte(run(t, ipcfsBin, "ls", "--json", m.dir).output()), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 6 {
		t.Fatalf("ls --json lists %d objects, want 6", len(all))
	}
	if o := all[0]; o.Path != "mailboxes/a b" || o.Shape != flat || o.Mode != "0600" || o.Bytes != 5 || o.Policies["capacity"] != "1024" {
		t.Errorf("ls --json has %+v", o)
	}
	if o := all[1]; o.Kind != "mailbox" || o.Name != "orders" || o.Waiting != 1 || o.Policies["overflow"] != "block" {
		t.Errorf("ls --json has %+v", o)
	}
}

func TestLsOfAnEmptyMountIsAnEmptyList(t *testing.T) {
	t.Parallel()
	m := mount(t)
	run(t, ipcfsBin, "ls", "--json", m.dir).prints("[]\n")
	if out := run(t, ipcfsBin, "ls", m.dir).output(); strings.Count(out, "\n") != 1 {
		t.Errorf("ls printed %q, want the heading alone", out)
	}
}

// alone runs the line of shell where no ipcfs is mounted but those named.
func alone(t *testing.T, line string, mounts ...*mountpoint) *client {
	t.Helper()
	keep := ""
	for _, m := range mounts {
		keep += " " + m.dir + " "
	}
	return command{
		argv: []string{"unshare", "-m", "--propagation", "private", "bash", "-c", `
			mapfile -t mounts < /proc/mounts
			for line in "${mounts[@]}"; do
				read -r _ dir type _ <<< "$line"
				[ "$type" = fuse.ipcfs ] && [[ "$KEEP" != *" $dir "* ]] && umount -l "$dir" 2> /dev/null
			done
			` + line},
		env: []string{"KEEP=" + keep, "IPCFS=" + ipcfsBin},
	}.run(t)
}

func TestTheOneMountNeedNotBeNamed(t *testing.T) {
	needRoot(t)
	a, b := mount(t), mount(t)
	a.mailbox(t, flat, "here")
	if out := alone(t, `mount --bind "`+a.path("segments")+`" /mnt; "$IPCFS" ls`, a).output(); !strings.Contains(out, " here ") {
		t.Errorf("ls printed %q, want the mailbox of the one mount", out)
	}
	alone(t, `"$IPCFS" ls`, a, b).fails(1, "several ipcfs are mounted, say which: ")
	alone(t, `"$IPCFS" ls`).fails(1, "no ipcfs is mounted")
	alone(t, `mount --bind "`+a.path("segments")+`" /mnt; "$IPCFS" ls /mnt`, a).fails(1, "/mnt is a part of an ipcfs only")
}

func TestLsNamesBadDirectories(t *testing.T) {
	t.Parallel()
	m := mount(t)
	run(t, ipcfsBin, "ls", "/nowhere").fails(1, "ls: /nowhere: no such directory")
	run(t, ipcfsBin, "ls", "/").fails(1, "ls: /: no ipcfs is mounted there")
	run(t, ipcfsBin, "ls", m.dir, m.dir).fails(2, "one directory, not 2")

	dir := emptyDir(t, nil)
	d, err := startDaemon(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer detach(dir)
	d.signal(syscall.SIGKILL)
	<-d.exited
	run(t, ipcfsBin, "ls", dir).fails(1, dir+": its daemon has died")
}

func TestObjectsListsPolicies(t *testing.T) {
	t.Parallel()
	m := mount(t)
	m.semaphore(t, flat, "s", 3)
	text, err := os.ReadFile(m.path(".ipcfs/objects"))
	if want := fmt.Sprintf("semaphores/s flat 0600 %d %d 0 0 0 value=3 max=max\n", os.Getuid(), os.Getgid()); err != nil || string(text) != want {
		t.Errorf(".ipcfs/objects = %q, %v; want %q", text, err, want)
	}
}
