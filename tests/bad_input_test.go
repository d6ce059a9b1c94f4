package tests

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A badRow is a bad request: an ipccli operation on whatever open opened, and the errno it gets. In operations S, R, C
// and O stand for send, receive, the control directory and the object, M for the mountpoint. mailboxes/E is an empty
// directory object.
type badRow struct {
	open string // "" opens nothing
	op   string
	want string
}

func TestBadInputGetsItsErrnoAndChangesNothing(t *testing.T) {
	needRoot(t) // to others the kernel says EACCES first
	t.Parallel()
	long := strings.Repeat("n", 256)
	rows := []badRow{
		// EMSGSIZE, mq_send(3): longer than max_message.
		{"S wronly", "fill " + number(maxMessage+1) + " x", "EMSGSIZE"},
		{"S wronly|nonblock", "fill " + number(maxMessage+1) + " x", "EMSGSIZE"},
		{"S wronly", "fill " + number(1<<20) + " x", "EMSGSIZE"},
		{"S wronly", "fill " + number(4<<20) + " x", "EMSGSIZE"},
		// EACCES at open: the wrong direction, for root too.
		{"", "open C/stat wronly", "EACCES"},
		{"", "open C/stat rdwr", "EACCES"},
		{"", "open C/waiters wronly", "EACCES"},
		{"", "open C/flush rdonly", "EACCES"},
		{"", "open C/send rdonly", "EACCES"},
		{"", "open C/lease rdonly", "EACCES"},
		{"", "open C/lease wronly", "EACCES"},
		{"", "open C/receive wronly", "EACCES"},
		{"", "open C/receive rdwr", "EACCES"},
		{"", "open C/stream wronly", "EACCES"},
		{"", "open C/peek wronly", "EACCES"},
		{"", "open M/.ipcfs/stat wronly", "EACCES"},
		{"", "open M/.ipcfs/version wronly", "EACCES"},
		// EBADF, read(2) and write(2): the descriptor is not open for it.
		{"S wronly", "read 10", "EBADF"},
		{"R rdonly", "write x", "EBADF"},
		// A worker's words, without a lease: ENOMSG, msgrcv(2), no message of the requested kind.
		{"C/lease rdwr", "write ack", "ENOMSG"},
		{"C/lease rdwr", `write nack\n`, "ENOMSG"},
		{"C/lease rdwr", "write extend 1s", "ENOMSG"},
		// ESPIPE, lseek(2): a stream has no position.
		{"S wronly", "lseek 0 set", "ESPIPE"},
		{"S wronly", "lseek 5 cur", "ESPIPE"},
		{"C/lease rdwr", "lseek 0 set", "ESPIPE"},
		{"C/send rdwr", "lseek 0 set", "ESPIPE"},
		{"R rdonly|nonblock", "lseek 0 set", "ESPIPE"},
		{"R rdonly|nonblock", "lseek 0 end", "ESPIPE"},
		{"R rdonly|nonblock", "pread 1 0", "ESPIPE"},
		// ENODEV, mmap(2): the filesystem does not support memory mapping. The kernel allows MAP_PRIVATE without asking
		// (fuse_file_mmap, of a FOPEN_DIRECT_IO file).
		{"R rdonly", "mmap shared", "ENODEV"},
		{"C/capacity rdonly", "mmap shared", "ENODEV"},
		{"C/peek rdonly", "mmap shared", "ENODEV"},
		// EPERM: the files of an object come and go with it.
		{"", "unlink C/send", "EPERM"},
		{"", "unlink C/receive", "EPERM"},
		{"", "unlink C/capacity", "EPERM"},
		{"", "unlink C/stat", "EPERM"},
		{"", "open C/new wronly|creat", "EPERM"},
		{"", "open C/new rdwr|creat|excl", "EPERM"},
		{"", "mkdir C/new", "EPERM"},
		{"", "rename C/capacity C/new", "EPERM"},
		{"", "rename C/capacity M/mailboxes/new", "EPERM"},
		{"", "link C/capacity C/new", "EPERM"},
		{"", "symlink target C/new", "EPERM"},
		{"", "mkchar C/new", "EPERM"},
		{"", "open M/new wronly|creat", "EPERM"},
		{"", "mkdir M/new", "EPERM"},
		{"", "open M/.ipcfs/new wronly|creat", "EPERM"},
		{"", "mkdir M/.ipcfs/new", "EPERM"},
		{"", "unlink M/.ipcfs/stat", "EPERM"},
		{"", "rename M/.ipcfs M/other", "EPERM"},
		{"", "rename M/mailboxes M/other", "EPERM"},
		{"", "symlink target M/mailboxes/new", "EPERM"},
		{"", "mkchar M/mailboxes/new", "EPERM"},
		{"", "link O M/mailboxes/new", "EPERM"},
		// Names: reserved, not UTF-8, with control characters, too long.
		{"", "open M/mailboxes/ghost.d wronly|creat", "EINVAL"},
		{"", "mkdir M/mailboxes/ghost.d", "EINVAL"},
		{"", "rename O M/mailboxes/ghost.d", "EINVAL"},
		{"", `open M/mailboxes/a\nb wronly|creat`, "EINVAL"},
		{"", `open M/mailboxes/a\x07b wronly|creat`, "EINVAL"},
		{"", `open M/mailboxes/a\x7fb wronly|creat`, "EINVAL"},
		{"", `open M/mailboxes/\xff\xfe wronly|creat`, "EINVAL"},
		{"", `open M/mailboxes/\xc0\xaf wronly|creat`, "EINVAL"},
		{"", `mkdir M/mailboxes/\xff`, "EINVAL"},
		{"", `rename O M/mailboxes/\xff`, "EINVAL"},
		{"", "open M/mailboxes/" + long + " wronly|creat", "ENAMETOOLONG"},
		{"", "mkdir M/mailboxes/" + long, "ENAMETOOLONG"},
		{"", "rename O M/mailboxes/" + long, "ENAMETOOLONG"},
		// The usual answers of a filesystem.
		{"", "open M/mailboxes/ghost rdonly", "ENOENT"},
		{"", "open M/mailboxes/ghost.d/capacity rdonly", "ENOENT"},
		{"", "open C/ghost rdonly", "ENOENT"},
		{"", "open O wronly|creat|excl", "EEXIST"},
		{"", "mkdir O", "EEXIST"},
		{"", "noreplace M/mailboxes/E O", "EEXIST"},
		{"", "unlink M/mailboxes/ghost", "ENOENT"},
		{"", "rmdir M/mailboxes/ghost", "ENOENT"},
		{"", "unlink M/mailboxes/E", "EISDIR"},
		{"", "open M/mailboxes/E wronly", "EISDIR"},
		{"", "rename M/mailboxes/ghost M/mailboxes/new", "ENOENT"},
	}
	policies := map[string][]string{
		"capacity":       {"-1", "x", "1.5", "0x", "1k2", "99999999999999999999", "max max", "1 2", "1\n2", "\xff"},
		"capacity_bytes": {"-1", "x", "1.5", "99999999999999999999", "max x"},
		"max_message":    {"-1", "x", number(maxMessage + 1), "99999999999999999999"},
		"framing":        {"lines", "CLOSE", "write close", "0"},
		"receivers":      {"one", "SINGLE", "any pair", "0"},
		"lease_time":     {"0", "0s", "-1s", "10", "1.5s", "never"},
		"max_deliveries": {"0", "-1", "x", "1.5", "99999999999999999999"},
		"overflow":       {"sometimes", "drop", "BLOCK", "block fail", "0"},
	}
	for _, policy := range slices.Sorted(maps.Keys(policies)) {
		for _, value := range policies[policy] {
			rows = append(rows, badRow{"C/" + policy + " wronly", "write " + escapedText(value) + `\n`, "EINVAL"})
		}
	}

	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.m.mailbox(t, directory, "E")
		mb.put("one", "two")
		places := func(op string) string {
			words := strings.Split(op, " ")
			for i, w := range words {
				head, tail, slash := strings.Cut(w, "/")
				place, ok := map[string]string{
					"S": mb.send, "R": mb.receive, "C": mb.control, "O": mb.path, "M": mb.m.dir}[head]
				if !ok || i == 0 {
					continue
				}
				if slash {
					place += "/" + tail
				}
				words[i] = place
			}
			return strings.Join(words, " ")
		}
		before := snapshot(t, mb)
		for _, row := range rows {
			pairs := []string{places(row.op), row.want}
			if row.open != "" {
				pairs = append([]string{places("open " + row.open), "ok"}, pairs...)
			}
			if complaint := performs(t, nil, pairs...); complaint != "" {
				t.Error(row.open, complaint)
			}
			if after := snapshot(t, mb); after != before {
				t.Fatalf("%s %.100s changed\n%sto\n%s", row.open, row.op, before, after)
			}
		}
		mb.wantQueue("one", "two")
	})
}

// escapedText writes a text as the end of an ipccli operation.
func escapedText(s string) string {
	return strings.NewReplacer("\\", `\\`, "\n", `\n`, "\xff", `\xff`).Replace(s)
}

// snapshot is everything there is to see, but for the open handles, which are closed asynchronously, and for times
// of access.
func snapshot(t *testing.T, mb *mailbox) string {
	t.Helper()
	var b strings.Builder
	seen := func(path string, info fs.FileInfo) {
		fmt.Fprintf(&b, "%s %v", strings.TrimPrefix(path, mb.m.dir), info.Mode())
		defer b.WriteString("\n")
		name := filepath.Base(path)
		if strings.Contains(path, "/.ipcfs") || name == "waiters" {
			return
		}
		fmt.Fprintf(&b, " %v", info.ModTime())
		switch name {
		case "capacity", "capacity_bytes", "max_message", "overflow":
			text, err := os.ReadFile(path)
			fmt.Fprintf(&b, " %q %v", text, err)
		case "stat":
			stat := mb.stat()
			for _, key := range []string{"messages", "bytes", "sent", "received", "dropped"} {
				fmt.Fprintf(&b, " %s=%d", key, stat[key])
			}
		default:
			fmt.Fprintf(&b, " %d", info.Size())
		}
	}
	for _, root := range []string{mb.m.dir, mb.control} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err == nil {
				seen(path, info)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestLongestNamesWork(t *testing.T) {
	t.Parallel()
	m := mount(t)
	for _, name := range []string{strings.Repeat("n", 255), "ünï→cödé 文字", ".hidden", "with space", "-dash", "x.dd", ".d.x"} {
		for _, shape := range []string{flat, directory} {
			mb := m.mailbox(t, shape, name)
			if shape == directory || len(name) <= 253 { // NAME.d must fit too
				mb.put("hello")
				mb.wantQueue("hello")
				if mb.policy("capacity") != "1024" {
					t.Errorf("%q has no policies", name)
				}
			}
			if err := os.Remove(mb.path); err != nil {
				t.Errorf("remove %q: %v", name, err)
			}
		}
	}
}

func TestWrongDirectionIsNotAQuestionOfMode(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs")
	does(t, "chmod "+mb.file("send")+" 777", "ok", "open "+mb.file("send")+" rdonly", "EACCES",
		"chmod "+mb.file("receive")+" 777", "ok", "open "+mb.file("receive")+" wronly", "EACCES")
}

func TestSizeLimitsAreExact(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		does(t, "open "+mb.send+" wronly", "ok", "fill "+number(maxMessage)+" x", number(maxMessage))
		mb.take()
		mb.set("max_message", "10")
		does(t, "open "+mb.send+" wronly", "ok", "fill 11 x", "EMSGSIZE", "fill 10 x", "10")
		// capacity_bytes bounds a message too: it could never be sent.
		mb.set("capacity_bytes", "8")
		does(t, "open "+mb.send+" wronly", "ok", "fill 9 x", "EMSGSIZE")
		mb.wantStat("messages 1", "bytes 10", "sent 2", "dropped 0")
		mb.take()
		does(t, "open "+mb.send+" wronly", "ok", "fill 8 x", "8", "nonblock on", "ok", "fill 1 x", "EAGAIN")
		mb.wantStat("messages 1", "bytes 8", "sent 3")
	})
}

func TestThereAreNoExtendedAttributes(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		run(t, python, "-c", `
import errno, os, sys
for ask in lambda: os.setxattr(sys.argv[1], "user.a", b"b"), lambda: os.getxattr(sys.argv[1], "user.a"), lambda: os.listxattr(sys.argv[1]):
    try:
        print(ask())
    except OSError as e:
        print(e.errno == errno.EOPNOTSUPP)
`, mb.path).prints("True\nTrue\nTrue\n")
	})
}
