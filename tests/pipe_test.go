package tests

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe is one of a test's mount, or a FIFO of the kernel's for comparison. What the kinds have in common it has
// from mailbox.
type pipe struct {
	*mailbox
	read, write string // the endpoints
}

// pipe makes one.
func (m *mountpoint) pipe(t testing.TB, shape, name string) *pipe {
	t.Helper()
	p := &pipe{mailbox: m.objectOf(t, "pipes", shape, name)}
	p.read, p.write = p.path, p.path
	if shape == directory {
		p.read, p.write = p.file("read"), p.file("write")
	}
	return p
}

func inBothPipes(t *testing.T, test func(t *testing.T, p *pipe)) {
	for _, shape := range []string{flat, directory} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			test(t, mount(t).pipe(t, shape, "p"))
		})
	}
}

// besideAFIFO runs a test on a FIFO of another filesystem, on a FIFO of the mount, and on both shapes of a pipe.
func besideAFIFO(t *testing.T, test func(t *testing.T, p *pipe)) {
	fifo := func(t *testing.T, path string) *pipe {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		return &pipe{&mailbox{t: t, path: path}, path, path}
	}
	t.Run("native", func(t *testing.T) {
		t.Parallel()
		test(t, fifo(t, filepath.Join(t.TempDir(), "fifo")))
	})
	t.Run("mkfifo", func(t *testing.T) {
		t.Parallel()
		test(t, fifo(t, mount(t).path("pipes", "fifo")))
	})
	inBothPipes(t, test)
}

// parked waits until the client is blocked on the pipe.
func (p *pipe) parked(c *client) *client {
	p.t.Helper()
	if p.m == nil { // the kernel's own
		c.asleep()
		return c
	}
	return p.mailbox.parked(c)
}

func TestPipeRulesAreThoseOfAFIFO(t *testing.T) {
	t.Parallel()
	// R and W stand for the two ends. Each row opens a pipe that nobody else has open. After a close(2) a row waits
	// for the event that it causes: the RELEASE that tells a daemon of it comes later.
	rows := map[string][]string{
		"O_NONBLOCK open for writing without a reader": {"open W wronly|nonblock", "ENXIO"},
		"O_NONBLOCK open for reading without a writer": {"open R rdonly|nonblock", "ok", "read 10", `""`, "poll in 0", "none"},
		"empty and full": {"open R rdonly|nonblock", "ok", "open W wronly|nonblock", "ok",
			"use 0", "ok", "read 10", "EAGAIN", "poll in 0", "none",
			"use 1", "ok", "poll out 0", "out", "fill 65536 x", "65536", "poll out 0", "none", "write x", "EAGAIN",
			"use 0", "ok", "poll in 0", "in", "read 100000", "65536*x", "read 1", "EAGAIN",
			"use 1", "ok", "poll out 0", "out"},
		"PIPE_BUF": {"open R rdonly|nonblock", "ok", "open W wronly|nonblock", "ok",
			"fill 61440 x", "61440", "fill 4096 y", "4096", "fill 4096 y", "EAGAIN", "fill 1 y", "EAGAIN",
			"use 0", "ok", "read 4096", "4096*x", "use 1", "ok", "poll out 0", "out", "fill 4096 z", "4096", "fill 70000 z", "EAGAIN"},
		"partial non-blocking write": {"open R rdonly|nonblock", "ok", "open W wronly|nonblock", "ok", "fill 100000 x", "65536"},
		"reads join writes": {"open R rdonly|nonblock", "ok", "open W wronly", "ok", "write one", "3", "write two", "3",
			"use 0", "ok", "read 4", `"onet"`, "read 100", `"wo"`},
		"end of file": {"open R rdonly|nonblock", "ok", "open W wronly", "ok", "write last", "4", "close", "ok",
			"use 0", "ok", "poll pri 30000", "hup", "poll in|hup 0", "in|hup", "read 10", `"last"`, "poll in|hup 0", "hup", "read 10", `""`, "read 10", `""`},
		"another writer after end of file": {"open R rdonly|nonblock", "ok", "open W wronly", "ok", "close", "ok",
			"use 0", "ok", "poll in 30000", "hup", "open W wronly", "ok", "use 0", "ok", "poll in|hup 0", "none", "read 10", "EAGAIN",
			"use 2", "ok", "write x", "1", "use 0", "ok", "read 10", `"x"`},
		"a reader's absence": {"catch pipe", "ok", "open R rdonly|nonblock", "ok", "open W wronly", "ok", "use 0", "ok", "close", "ok",
			"use 1", "ok", "poll pri 30000", "err", "poll out|err 0", "out|err", "caught", "none", "write x", "EPIPE", "caught", "PIPE"},
		"bytes without a reader": {"open R rdonly|nonblock", "ok", "open W wronly", "ok", "write kept", "4", "use 0", "ok", "close", "ok",
			"open R rdonly|nonblock", "ok", "read 10", `"kept"`},
		"lseek":        {"open R rdonly|nonblock", "ok", "lseek 0 set", "ESPIPE", "lseek 0 cur", "ESPIPE", "pread 1 0", "ESPIPE"},
		"writing none": {"open R rdonly|nonblock", "ok", "open W wronly", "ok", "write", "0"},
		"O_APPEND and O_TRUNC": {"open R rdonly|nonblock", "ok", "open W wronly|append", "ok", "write a", "1", "open W wronly|trunc", "ok",
			"write b", "1", "use 0", "ok", "read 10", `"ab"`},
		"epoll": {"open R rdonly|nonblock", "ok", "epoll-add in|et", "ok", "open W wronly", "ok", "epoll-wait 0", "none", "write x", "1",
			"epoll-wait 1000", "in", "epoll-wait 0", "none", "write y", "1", "epoll-wait 1000", "in"},
		"wrong direction": {"open R rdonly|nonblock", "ok", "write x", "EBADF", "open W wronly", "ok", "read 1", "EBADF"},
	}
	besideAFIFO(t, func(t *testing.T, p *pipe) {
		for name, row := range rows {
			fresh := *p
			if p.m != nil && len(p.waiters()) > 0 {
				t.Fatal("somebody waits")
			}
			var pairs []string
			for _, word := range row {
				if strings.HasPrefix(word, "open R ") {
					word = "open " + escaped(fresh.read) + word[len("open R"):]
				} else if strings.HasPrefix(word, "open W ") {
					word = "open " + escaped(fresh.write) + word[len("open W"):]
				}
				pairs = append(pairs, word)
			}
			if complaint := performs(t, nil, pairs...); complaint != "" {
				t.Errorf("%s: %s", name, complaint)
			}
			if p.m != nil {
				p.awaitStat("open_readers 0", "open_writers 0") // RELEASE is asynchronous
			}
		}
	})
}

func TestBytesGoWithTheLastEnd(t *testing.T) {
	t.Parallel()
	besideAFIFO(t, func(t *testing.T, p *pipe) {
		does(t, "open "+escaped(p.read)+" rdonly|nonblock", "ok", "open "+escaped(p.write)+" wronly", "ok", "write lost", "4")
		if p.m != nil {
			p.awaitStat("open_readers 0", "open_writers 0")
		}
		does(t, "open "+escaped(p.read)+" rdonly|nonblock", "ok", "read 10", `""`)
	})
}

func TestReadAndWriteOpenWaitForNobody(t *testing.T) {
	t.Parallel()
	p := mount(t).pipe(t, flat, "p")
	does(t, "open "+p.path+" rdwr", "ok", "write x", "1", "poll in|out 0", "in|out", "read 10", `"x"`)
}

func TestOpenWaitsForTheOtherEnd(t *testing.T) {
	t.Parallel()
	besideAFIFO(t, func(t *testing.T, p *pipe) {
		reader := cli(t, "open "+escaped(p.read)+" rdonly", "read 100", "read 100")
		p.parked(reader)
		if p.m != nil {
			if w := p.waiters(); len(w) != 1 || w[0].operation != "open" {
				t.Errorf("waiters = %+v, want one in open", w)
			}
		}
		writer := cli(t, "open "+escaped(p.write)+" wronly", "write hello")
		writer.prints("ok\n5\n")
		reader.prints("ok\n\"hello\"\n\"\"\n")

		writer = cli(t, "catch usr1", "open "+escaped(p.write)+" wronly", "say again", "open "+escaped(p.write)+" wronly")
		writer.expect("ok")
		p.parked(writer).signal(syscall.SIGUSR1)
		writer.expect("EINTR", "again")
		p.parked(writer)
		does(t, "open "+escaped(p.read)+" rdonly", "ok")
		writer.expect("ok")
		killed := cli(t, "open "+escaped(p.write)+" wronly")
		p.parked(killed).kill()
	})
}

func TestLastCloseEndsWhoWaits(t *testing.T) {
	t.Parallel()
	besideAFIFO(t, func(t *testing.T, p *pipe) {
		reader := cli(t, "open "+escaped(p.read)+" rdonly", "read 100")
		writer := cli(t, "open "+escaped(p.write)+" wronly", "pause")
		reader.expect("ok")
		writer.expect("ok")
		p.parked(reader)
		writer.kill()
		reader.expect(`""`)
		reader.output()

		reader = cli(t, "open "+escaped(p.read)+" rdonly", "pause", "read 10")
		writer = cli(t, "catch pipe", "open "+escaped(p.write)+" wronly", "fill 100000 x", "caught", "write y")
		writer.expect("ok", "ok")
		reader.expect("ok")
		p.parked(writer)
		reader.kill()
		// Its bytes went into the pipe, and SIGPIPE tells that more will not.
		writer.expect("65536", "PIPE", "EPIPE")
	})
}

func TestSignalsEndBlockedReadsAndWrites(t *testing.T) {
	t.Parallel()
	besideAFIFO(t, func(t *testing.T, p *pipe) {
		both := cli(t, "open "+escaped(p.read)+" rdonly", "pause")
		writer := cli(t, "catch usr1", "open "+escaped(p.write)+" wronly", "pause", "fill 100000 x", "fill 4096 y")
		writer.expect("ok", "ok")
		both.expect("ok")
		reader := cli(t, "catch usr1", "open "+escaped(p.read)+" rdonly", "read 100", "read 200000")
		reader.expect("ok", "ok")
		p.parked(reader).signal(syscall.SIGUSR1)
		reader.expect("EINTR")
		p.parked(reader).kill()
		writer.resume()
		writer.expect("ok")
		p.parked(writer).signal(syscall.SIGUSR1)
		writer.expect("65536") // write(2): a part is a success
		p.parked(writer).signal(syscall.SIGUSR1)
		writer.expect("EINTR")
		writer.output()
		does(t, "open "+escaped(p.read)+" rdonly|nonblock", "ok", "read 100000", "65536*x")
		both.resume()
	})
}

func TestBrokenPipeKillsTheWriter(t *testing.T) {
	t.Parallel()
	besideAFIFO(t, func(t *testing.T, p *pipe) {
		// 128 + SIGPIPE, sh(1).
		c := command{argv: []string{"bash", "-c", `yes > "$W" & head -n 1000 < "$R" > /dev/null; wait $!; echo $?`},
			env: []string{"R=" + p.read, "W=" + p.write}}.run(t)
		c.prints("141\n")
	})
}

func TestAtomicWritesOfManyWriters(t *testing.T) {
	t.Parallel()
	const writers = 32
	count := 200
	if testing.Short() || raceEnabled {
		count = 40
	}
	besideAFIFO(t, func(t *testing.T, p *pipe) {
		reader := run(t, streamsBin, "sort", p.read, number(writers), number(count))
		var all []*client
		// Between the last of the first writers and the first of the last there is no end of file.
		keeper := cli(t, "open "+escaped(p.write)+" wronly", "pause")
		keeper.expect("ok")
		for i := range writers {
			all = append(all, run(t, streamsBin, "records", p.write, number(i), number(count)))
		}
		reader.prints("ok\n")
		for _, c := range all {
			c.prints("ok\n")
		}
	})
}

func TestLongTransferIsExact(t *testing.T) {
	t.Parallel()
	total := 1 << 30
	if testing.Short() || raceEnabled {
		total = 64 << 20
	}
	for _, row := range []struct{ capacity, out, in string }{
		{"65536", "1048576", "1048576"}, {"65536", "3000000", "777777"}, {"max", "1048576", "100000"}, {"max", "3000000", "3000000"}, {"0", "200000", "1048576"}, {"4096", "60001", "65536"},
	} {
		total := total
		if row.capacity != "65536" {
			total /= 8
		}
		t.Run(fmt.Sprintf("capacity %s, %s to %s", row.capacity, row.out, row.in), func(t *testing.T) {
			p := mount(t).pipe(t, flat, "p")
			before := p.m.footprint(t)
			p.set("capacity", row.capacity)
			reader := run(t, streamsBin, "check", p.read, row.in)
			run(t, streamsBin, "send", p.write, number(total), row.out).prints("ok\n")
			reader.prints(number(total) + "\nok\n")
			p.awaitStat("bytes 0", "written "+number(total), "read "+number(total), "dropped 0")
			p.m.leavesNothingBehind(t, before)
		})
	}
}

// A read(2) that the kernel cuts into several READs returns what the first has got.
func TestReadLongerThanARequestDoesNotWaitForMore(t *testing.T) {
	t.Parallel()
	p := mount(t).pipe(t, flat, "p")
	p.set("capacity", "max")
	does(t, "open "+p.path+" rdwr", "ok", "fill 1048576 x", "1048576", "read 3000000", "1048576*x")
}

func TestProgramsUseAPipe(t *testing.T) {
	t.Parallel()
	inBothPipes(t, func(t *testing.T, p *pipe) {
		for _, row := range []struct{ line, want string }{
			{`echo hello > "$W" & cat "$R"`, "hello\n"},
			{`seq 1000 > "$W" & tail -n 1 "$R"`, "1000\n"},
			{`seq 1000 | tee "$W" > /dev/null & wc -c < "$R"`, "3893\n"},
			{`{ echo one; echo two; } > "$W" & while read -r l; do echo "<$l>"; done < "$R"`, "<one>\n<two>\n"},
			{`seq 100000 > "$W" & dd if="$R" bs=1M iflag=fullblock status=none | md5sum`, "dd3cc92bcbb67bc42d8aa7a40c5a20c6"},
			{`seq 3 > "$W" & python3 -c 'import sys; print([int(l) for l in open(sys.argv[1])])' "$R"`, "[1, 2, 3]\n"},
			{`tar c -C / etc/hostname > "$W" & tar t < "$R"`, "etc/hostname\n"},
			{`printf %s 12345 > "$W" & cp "$R" /dev/stdout`, "12345"},
			{`seq 5 > "$W" & grep -c . "$R"`, "5\n"},
		} {
			c := command{argv: []string{"bash", "-c", row.line + "; wait"}, env: []string{"R=" + p.read, "W=" + p.write}}.run(t)
			got := c.output()
			if strings.Contains(row.line, "md5sum") {
				want := bash(t, "seq 100000 | md5sum").output()
				row.want = want
			}
			if got != row.want || c.stderr.String() != "" {
				t.Errorf("%s printed %q, %q; want %q", row.line, got, c.stderr, row.want)
			}
			p.awaitStat("open_readers 0", "open_writers 0", "bytes 0")
		}
	})
}

func TestCreatingOpensWaitAsAnyOther(t *testing.T) {
	t.Parallel()
	m := mount(t)
	path := m.path("pipes", "new")
	c := bash(t, "echo hi > "+path)
	eventually(t, func() string {
		if _, err := os.Stat(path + ".d"); err != nil {
			return err.Error()
		}
		return ""
	})
	p := &pipe{&mailbox{t: t, m: m, name: "pipes/new", path: path, control: path + ".d"}, path, path}
	p.awaitWaiters(1)
	bash(t, "ls "+m.path("pipes")+"; mkdir "+m.path("pipes", "other")).prints("new\n") // nobody holds the directory
	bash(t, "cat "+path).prints("hi\n")
	c.prints("")
	bash(t, "touch "+m.path("pipes", "touched")+"; ls "+m.path("pipes")).prints("new\nother\ntouched\n")
	// O_EXCL has one try only, so the first write waits instead.
	exclusive := m.path("pipes", "exclusive")
	c = cli(t, "open "+exclusive+" wronly|creat|excl", "fill 100000 x", "open "+exclusive+" wronly|creat|excl")
	c.expect("ok")
	eventually(t, func() string { return differs(c.state(), "S") })
	bash(t, "cat "+exclusive+" | wc -c").prints("100000\n")
	c.expect("100000", "EEXIST")
}

func TestZeroCapacityWritesWaitForTheirReader(t *testing.T) {
	t.Parallel()
	inBothPipes(t, func(t *testing.T, p *pipe) {
		p.set("capacity", "0")
		reader := cli(t, "open "+p.read+" rdonly", "pause", "read 2", "pause", "read 10", "pause")
		writer := cli(t, "open "+p.write+" wronly", "write abc", "write d")
		writer.expect("ok")
		reader.expect("ok")
		p.parked(writer)
		p.wantStat("bytes 0", "writers_waiting 1")
		reader.resume()
		reader.expect("ok", `"ab"`)
		p.parked(writer)
		reader.resume()
		reader.expect("ok", `"c"`)
		writer.expect("3")
		p.parked(writer)
		// Raising the capacity lets it go.
		p.set("capacity", "4K")
		writer.expect("1")
	})
}

func TestLogRingKeepsTheNewestForALateReader(t *testing.T) {
	t.Parallel()
	inBothPipes(t, func(t *testing.T, p *pipe) {
		p.set("lifetime", "persistent")
		p.set("overflow", "drop-oldest")
		p.set("capacity", "1000")
		bash(t, "seq 100000 | tee "+p.write+" > /dev/null; echo the end > "+p.write).prints("")
		p.wantStat("bytes 1000", "open_writers 0")
		late := run(t, "cat", p.read)
		p.parked(late)
		p.set("hangup", "1")
		got := late.output()
		want := bash(t, "{ seq 100000; echo the end; } | tail -c 1000").output()
		if got != want {
			t.Errorf("the ring kept %q, want %q", got, want)
		}
		p.wantStat("bytes 0", "read 1000")
	})
}

func TestPersistentPipeKeepsItsBytes(t *testing.T) {
	t.Parallel()
	inBothPipes(t, func(t *testing.T, p *pipe) {
		p.set("lifetime", "persistent")
		bash(t, "echo one > "+p.write+"; echo two > "+p.write).prints("")
		does(t, "open "+p.read+" rdonly|nonblock", "ok", "poll in|hup 0", "in", "read 3", `"one"`)
		does(t, "open "+p.read+" rdonly|nonblock", "ok", "read 100", `"\ntwo\n"`, "read 1", "EAGAIN", "poll in|hup 0", "none")
		p.set("hangup", "1")
		bash(t, "cat "+p.read).prints("")
		does(t, "open "+p.read+" rdonly|nonblock", "ok", "read 1", "EAGAIN")
		does(t, "open "+p.write+" wronly|nonblock", "ok", "write kept", "4", "poll out|err 0", "out")
		p.set("flush", "1")
		p.wantStat("bytes 0")
		opener := mount(t).pipe(t, flat, "session")
		c := cli(t, "open "+opener.path+" wronly")
		opener.parked(c)
		opener.set("lifetime", "persistent")
		c.expect("ok")
	})
}

func TestOutOfBandOvertakes(t *testing.T) {
	t.Parallel()
	inBothPipes(t, func(t *testing.T, p *pipe) {
		reader := cli(t, "open "+p.read+" rdonly|nonblock", "poll pri 0", "pause", "poll pri -1", "poll in|pri 0", "pause", "poll pri 0", "read 100000")
		reader.expect("ok", "none")
		writer := cli(t, "open "+p.write+" wronly", "fill 65536 x", "pause")
		writer.expect("ok", "65536")
		reader.resume()
		reader.expect("ok")
		reader.asleep()
		bash(t, "echo stop > "+p.file("oob")).prints("")
		reader.expect("pri", "in|pri")
		bash(t, "cat "+p.file("oob")).prints("stop\n")
		reader.resume()
		reader.expect("ok", "none", "65536*x")
		does(t, "open "+p.file("oob")+" wronly", "ok", "fill 4097 x", "EMSGSIZE")
	})
}

func TestPipePoliciesRefuseBadValues(t *testing.T) {
	t.Parallel()
	inBothPipes(t, func(t *testing.T, p *pipe) {
		for policy, want := range map[string]string{"capacity": "65536", "overflow": "block", "lifetime": "session"} {
			for _, value := range []string{"", "-1", "forever"} {
				does(t, "open "+p.file(policy)+" wronly", "ok", "write "+value+"\\n", "EINVAL")
			}
			p.wantPolicy(policy, want)
		}
		does(t, "open "+p.file("read")+" wronly", "EACCES", "open "+p.file("write")+" rdonly", "EACCES")
	})
}

func TestRemovingAPipe(t *testing.T) {
	t.Parallel()
	m := mount(t)
	p := m.pipe(t, directory, "dir")
	opener := cli(t, "open "+p.read+" rdonly", "read 10")
	p.parked(opener)
	does(t, "rmdir "+p.path, "EBUSY")
	writer := cli(t, "open "+p.write+" wronly", "write 12345678901", "pause")
	writer.expect("ok", "11")
	opener.expect("ok", `"1234567890"`)
	opener.output()
	does(t, "rmdir "+p.path, "ENOTEMPTY")
	p.set("flush", "")
	does(t, "rmdir "+p.path, "ok")

	f := m.pipe(t, flat, "flat")
	opener = cli(t, "open "+f.path+" rdonly")
	f.parked(opener)
	does(t, "unlink "+f.path, "ok")
	opener.expect("EIDRM")

	f = m.pipe(t, flat, "flat")
	reader := cli(t, "open "+f.path+" rdonly", "read 10", "read 10")
	writer = cli(t, "open "+f.path+" wronly", "pause", "write x")
	reader.expect("ok")
	writer.expect("ok")
	f.parked(reader)
	does(t, "unlink "+f.path, "ok")
	reader.expect("EIDRM", "EIDRM")
	writer.resume()
	writer.expect("ok", "EIDRM")

	f = m.pipe(t, flat, "flat")
	writer = cli(t, "open "+f.path+" rdwr", "fill 100000 x")
	writer.expect("ok")
	f.parked(writer)
	does(t, "unlink "+f.path, "ok")
	writer.expect("EIDRM")
}

func TestParkedPipeWriterHoldsUpNobody(t *testing.T) {
	t.Parallel()
	inBothPipes(t, func(t *testing.T, p *pipe) {
		reader := cli(t, "open "+p.read+" rdonly", "pause", "read 200000", "read 200000")
		writer := cli(t, "open "+p.write+" wronly", "fill 100000 x")
		writer.expect("ok")
		p.parked(writer)
		bash(t, "stat -c %F "+p.write+" > /dev/null && chmod 600 "+p.write+" && touch "+p.write+" && ls -l "+p.m.path("pipes")+" > /dev/null").prints("")
		does(t, "open "+p.write+" wronly|nonblock", "ok", "write x", "EAGAIN")
		reader.resume()
		reader.expect("ok", "ok")
		if got := reader.next(); got != "100000*x" {
			t.Errorf("read %s, want 100000*x", got)
		}
		writer.expect("100000")
		bash(t, "mv "+p.path+" "+p.path+"2 && mv "+p.path+"2 "+p.path).prints("")
	})
}

func TestKernelNodesInTheTree(t *testing.T) {
	t.Parallel()
	m := mount(t)
	fifo := m.path("pipes", "fifo")
	bash(t, "mkfifo -m 640 "+fifo+" && stat -c '%F %a' "+fifo+" && mv "+fifo+" "+fifo+"2 && chmod 600 "+fifo+"2 && stat -c '%F %a' "+fifo+
		"2 && ls "+m.path("pipes")).prints("fifo 640\nfifo 600\nfifo2\n")
	bash(t, "cat "+m.path(".ipcfs", "objects")).prints(fmt.Sprintf("pipes/fifo2 fifo 0600 %d %d 0 0 0\n", os.Getuid(), os.Getgid()))
	// It has one node for all of them, or they would not meet.
	reader := run(t, "cat", fifo+"2")
	reader.asleep()
	bash(t, "echo native > "+fifo+"2").prints("")
	reader.prints("native\n")
	does(t, "open "+fifo+"2.d rdonly", "ENOENT", "rmdir "+fifo+"2", "ENOTDIR", "mkdir "+fifo+"2", "EEXIST", "unlink "+fifo+"2", "ok")
	bash(t, "mkfifo "+m.path("mailboxes", "fifo")+" 2>&1 | grep -c 'not permitted'").prints("1\n")

	path := m.path("pipes", "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	bash(t, "stat -c %F "+path).prints("socket\n")
	go func() {
		if c, err := l.Accept(); err == nil {
			fmt.Fprintln(c, "from the socket")
			c.Close()
		}
	}()
	run(t, "python3", "-c", "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.makefile().read(), end='')", path).
		prints("from the socket\n")
}
