package tests

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// maxMessage is what one write(2) carries whole: max_write less 8 KiB.
const maxMessage = 1<<20 - 8<<10

// messageSizes are those each program must carry: the least, a page, more than the usual read buffers, the most.
var messageSizes = []int{1, 4000, 64 << 10, maxMessage}

// text makes a message of printable lines of which no two parts look alike.
func text(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		b.WriteString("line " + number(i) + " of the message\n")
	}
	return b.String()[:size-1] + "\n"
}

// python is the interpreter on the path.
const python = "python3"

func TestEveryProgramReceivesOneWholeMessage(t *testing.T) {
	t.Parallel()
	programs := map[string][]string{ // R is the endpoint, OUT a file
		"cat":              {"bash", "-c", `exec cat "$R"`},
		"dd, whole":        {"bash", "-c", `exec dd if="$R" bs=2M count=1 status=none`},
		"dd, in parts":     {"bash", "-c", `exec dd if="$R" bs=999 status=none`},
		"dd, full blocks":  {"bash", "-c", `exec dd if="$R" bs=2M count=1 iflag=fullblock status=none`},
		"cp":               {"bash", "-c", `cp "$R" "$OUT" && cat "$OUT"`},
		"redirection":      {"bash", "-c", `exec cat < "$R"`},
		"tee":              {"bash", "-c", `tee "$OUT" < "$R" > /dev/null; cat "$OUT"`},
		"grep":             {"bash", "-c", `exec grep -a '' "$R"`},
		"head -n":          {"bash", "-c", `exec head -n 100000 "$R"`},
		"sed":              {"bash", "-c", `exec sed '' "$R"`},
		"bash $(<)":        {"bash", "-c", `x=$(<"$R"); printf '%s\n' "$x"`},
		"bash mapfile":     {"bash", "-c", `mapfile x < "$R"; printf '%s' "${x[@]}"`},
		"python read":      {python, "-c", `import os, sys; sys.stdout.write(open(os.environ["R"]).read())`},
		"python lines":     {python, "-c", `import os, sys; sys.stdout.writelines(open(os.environ["R"]))`},
		"python os.read":   {python, "-c", `import os, sys; sys.stdout.write(os.read(os.open(os.environ["R"], 0), 1<<20).decode())`},
		"Go os.ReadFile":   goCommand("ReadFile", "$R"),
		"Go os.Open":       goCommand("Open", "$R"),
		"Go bufio.Scanner": goCommand("Scanner", "$R"),
	}
	for name, argv := range programs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				for _, size := range messageSizes {
					message := text(size)
					mb.put(message, "the next\n")
					env := []string{"R=" + mb.receive, "OUT=" + filepath.Join(t.TempDir(), "out")}
					c := command{argv: expanded(argv, env), env: env, stdin: []byte{}}.run(t)
					c.prints(message)
					mb.wantQueue("the next\n")
				}
			})
		})
	}
}

func TestEveryProgramSendsOneWholeMessage(t *testing.T) {
	t.Parallel()
	const whole = 1 << 30
	programs := map[string]struct {
		argv []string
		most int // that the program writes at once
	}{
		"cat":           {[]string{"bash", "-c", `exec cat "$IN" > "$S"`}, 128 << 10},
		"append":        {[]string{"bash", "-c", `exec cat "$IN" >> "$S"`}, 128 << 10},
		"cp":            {[]string{"bash", "-c", `exec cp "$IN" "$S"`}, 128 << 10},
		"tee":           {[]string{"bash", "-c", `exec tee "$S" < "$IN" > /dev/null`}, 4 << 10},
		"tee -a":        {[]string{"bash", "-c", `exec tee -a "$S" < "$IN" > /dev/null`}, 4 << 10},
		"dd":            {[]string{"bash", "-c", `exec dd if="$IN" of="$S" bs=1M status=none`}, whole},
		"dd notrunc":    {[]string{"bash", "-c", `exec dd if="$IN" of="$S" bs=1M conv=notrunc status=none`}, whole},
		"python":        {[]string{python, "-c", `import os; open(os.environ["S"], "wb", 0).write(open(os.environ["IN"], "rb").read())`}, whole},
		"Go WriteFile":  {goCommand("WriteFile", "$S", "$IN"), whole},
		"Go WriteTwice": {goCommand("WriteTwice", "$S", "$IN"), whole},
	}
	for name, program := range programs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBothShapes(t, func(t *testing.T, mb *mailbox) {
				in := filepath.Join(t.TempDir(), "in")
				for _, size := range messageSizes {
					if size > program.most {
						continue
					}
					message := text(size)
					if err := os.WriteFile(in, []byte(message), 0o600); err != nil {
						t.Fatal(err)
					}
					env := []string{"S=" + mb.send, "IN=" + in}
					command{argv: expanded(program.argv, env), env: env, stdin: []byte{}}.run(t).prints("")
					want := []string{message}
					if name == "Go WriteTwice" {
						want = append(want, message)
					}
					mb.wantQueue(want...)
				}
			})
		})
	}
}

// expanded replaces $NAME in the arguments that are just that.
func expanded(argv, env []string) []string {
	var all []string
	for _, arg := range argv {
		for _, e := range env {
			if name, value, _ := strings.Cut(e, "="); arg == "$"+name {
				arg = value
			}
		}
		all = append(all, arg)
	}
	return all
}

func TestAReceivingProgramWaitsForItsMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		for _, argv := range [][]string{
			{"cat", mb.receive},
			{"head", "-n1", mb.receive},
			{"grep", "hello", mb.receive},
			{python, "-c", "import sys; print(open(sys.argv[1]).read(), end='')", mb.receive},
		} {
			c := run(t, argv...)
			mb.awaitWaiters(1)
			if w := mb.waiters()[0]; w.operation != "receive" {
				t.Errorf("%v waits in %q, want receive", c, w.operation)
			}
			mb.put("hello\n")
			c.prints("hello\n")
		}
		mb.wantStat("messages 0", "sent 4", "received 4")
	})
}

func TestHeadTakesOneMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one\nmore\n", "two\n", "three\n")
		run(t, "head", "-n1", mb.receive).prints("one\n")
		run(t, "head", "-n1", mb.receive).prints("two\n")
		run(t, "head", "-c2", mb.receive).prints("th")
		mb.wantStat("messages 0", "received 3")
	})
}

func TestProgramsThatSeekReadOneMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		message := text(64 << 10)
		mb.put("in the way\n")
		for program, want := range map[string]string{
			"wc -c":     number(len(message)) + "\n",
			"wc -l":     number(strings.Count(message, "\n")) + "\n",
			"tail -n 1": message[strings.LastIndexByte(message[:len(message)-1], '\n')+1:],
			"tail -c 9": message[len(message)-9:],
			"tail -n+2": message[strings.IndexByte(message, '\n')+1:],
		} {
			mb.put(message)
			mb.wantStat("messages 2")
			c := bash(t, "cat "+mb.receive+" > /dev/null; exec "+program+" < "+mb.receive)
			if got := c.output(); got != want {
				t.Errorf("%s printed %s, want %s", program, brief([]byte(got)), brief([]byte(want)))
			}
			mb.wantStat("messages 0")
			mb.put("in the way\n")
		}
	})
}

func TestTailFollowsAStream(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		c := run(t, "tail", "-f", mb.file("stream"))
		for _, line := range []string{"one", "two", "three"} {
			mb.put(line + "\n")
			c.expect(line)
		}
		c.kill()
	})
}

func TestPageFaultTakesNoMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("precious")
		// The kernel grants a private mapping; using it must not receive.
		c := run(t, python, "-c", `
import mmap, os, sys
m = mmap.mmap(os.open(sys.argv[1], os.O_RDONLY), 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
print(m[0])`, mb.receive)
		c.wait()
		mb.wantQueue("precious")
	})
}

func TestShortReadKeepsTheRestForItsHandle(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("abcdefgh", "second", "third")
		does(t,
			"open "+mb.receive+" rdonly", "ok",
			"read 3", `"abc"`,
			// Another handle has no part in the rest.
			"open "+mb.receive+" rdonly", "ok",
			"read 3", `"sec"`,
			"use 0", "ok",
			"read 3", `"def"`,
			"read 3", `"gh"`,
			"read 3", `""`,
			"read 100", `"third"`,
			"read 100", `""`,
			"use 1", "ok",
			"read 100", `"ond"`,
			"read 100", `""`,
		)
	})
}

func TestNonBlockingReceiveKnowsNoEndOfFile(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("abcdef", "second")
		does(t,
			"open "+mb.receive+" rdonly|nonblock", "ok",
			"read 4", `"abcd"`,
			"read 100", `"ef"`,
			"read 100", `"second"`,
			"read 100", "EAGAIN",
			"poll in 0", "none",
		)
	})
}

func TestNonBlockingByFcntlStillKnowsEndOfFile(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		// As Go does to each file that can be polled.
		mb.put("one", "two")
		does(t,
			"open "+mb.receive+" rdonly", "ok",
			"nonblock on", "ok",
			"read 100", `"one"`,
			"read 100", `""`,
			"read 100", `"two"`,
			"read 100", `""`,
			"read 100", "EAGAIN",
		)
	})
}

func TestStreamKnowsNoEndOfFile(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("abcdef", "second")
		c := cli(t, "open "+mb.file("stream")+" rdonly", "read 4", "read 100", "read 100", "read 100")
		c.expect("ok", `"abcd"`, `"ef"`, `"second"`)
		mb.parked(c)
		mb.put("third")
		c.expect(`"third"`)
		c.output()
	})
}

func TestPeekTakesNothing(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		peek := mb.file("peek")
		does(t, "open "+peek+" rdonly|nonblock", "ok", "read 100", "EAGAIN")

		c := run(t, "cat", peek)
		mb.parked(c)
		if w := mb.waiters()[0]; w.operation != "peek" {
			t.Errorf("cat of peek waits in %q, want peek", w.operation)
		}
		mb.put("hello", "again")
		c.prints("hello")
		for range 3 {
			run(t, "cat", peek).prints("hello")
		}
		mb.wantStat("messages 2", "received 0")
		mb.wantQueue("hello", "again")
	})
}

func TestPeekersAndAReceiverAreAllServedByOneMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		p1 := cli(t, "open "+mb.file("peek")+" rdonly", "read 100")
		mb.parked(p1)
		r := mb.parkReceiver()
		mb.put("hello")
		p1.expect("ok", `"hello"`)
		r.expect(`"hello"`)
		mb.wantStat("messages 0", "received 1")
	})
}

func TestBashReadTakesMessagesApartLineByLine(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one\ntwo words\nthree\n", "four\n")
		c := command{argv: []string{"bash", "-c", `
			exec 3< "$R"
			read -r a <&3; read -r b <&3; read -r c <&3
			read -r d <&3; status=$?     # the end of the message
			read -r e <&3                # the next one
			printf '%s|' "$a" "$b" "$c" "$d" $status "$e"`}, env: []string{"R=" + mb.receive}, stdin: []byte{}}.run(t)
		c.prints("one|two words|three||1|four|")
		mb.wantStat("messages 0", "received 2")
	})
}

func TestBashReadBlocksForANewMessageOnly(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one\n", "two\n")
		for _, want := range []string{"one", "two"} {
			bash(t, "read -r x < "+mb.receive+"; echo \"$x\"").prints(want + "\n")
		}
		c := bash(t, "read -r x < "+mb.receive+"; echo \"$x\"")
		mb.parked(c)
		mb.put("three\n")
		c.prints("three\n")
	})
}

func TestWhileReadLoopsOverAStream(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one\n", "two\nand a half\n")
		c := bash(t, "while read -r line; do echo \"got $line\"; done < "+mb.file("stream"))
		c.expect("got one", "got two", "got and a half")
		mb.parked(c)
		mb.put("three\n")
		c.expect("got three")
		mb.parked(c).kill()
		mb.wantStat("messages 0", "received 3")
	})
}

func TestPythonLoopsOverAStream(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs")
	c := run(t, python, "-u", "-c", `
import sys
for line in open(sys.argv[1], "rb", 0):
    print("got", line.decode(), end="", flush=True)`, mb.file("stream"))
	for _, line := range []string{"one", "two", "three"} {
		mb.put(line + "\n")
		c.expect("got " + line)
	}
}

func TestWhileReadOverTheReceiverEndsWithItsMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one\ntwo\n", "three\n")
		bash(t, "while read -r line; do echo \"got $line\"; done < "+mb.receive).prints("got one\ngot two\n")
		mb.wantQueue("three\n")
	})
}

// One write is one message, also when many stand on one line of shell. (The shell's own echo and printf write each line
// by itself, and at most some KiB at once.)
func TestEachWriteIsOneMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		bash(t, "exec 3> "+mb.send+"; echo a >&3; echo b >&3; (echo c >&3); exec 3>&-; echo d > "+mb.send).prints("")
		mb.wantQueue("a\n", "b\n", "c\n", "d\n")
		mb.awaitStat("open_senders 0")
	})
}

func TestALineOfEchoIsOneMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		line := strings.Repeat("word ", 800)
		bash(t, "echo '"+line+"' > "+mb.send+"; printf %s '"+line+"' >> "+mb.send).prints("")
		mb.wantQueue(line+"\n", line)
	})
}

func TestEmptyWriteSendsNothing(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		bash(t, ": > "+mb.send+"; printf '' > "+mb.send+"; cat /dev/null > "+mb.send).prints("")
		does(t, "open "+mb.send+" wronly", "ok", "write ", "0")
		mb.wantStat("messages 0", "sent 0")
	})
}

func TestBinaryMessagesArriveUnchanged(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		var all []byte
		for i := range 256 {
			all = append(all, byte(i))
		}
		message := string(bytes.Repeat(all, 300)) + "\x00"
		mb.put(message, "\x00", "\n")
		run(t, "cat", mb.receive).prints(message)
		mb.wantQueue("\x00", "\n")
	})
}

func TestCopyFromMailboxToMailboxMovesOneMessage(t *testing.T) {
	t.Parallel()
	m := mount(t)
	from, to := m.mailbox(t, flat, "from"), m.mailbox(t, flat, "to")
	from.put("one\n", "two\n")
	bash(t, "cp "+from.receive+" "+to.send+"; cat "+from.receive+" > "+to.send).prints("")
	to.wantQueue("one\n", "two\n")
	from.wantQueue()
}

func TestOneHandleSendsAndReceives(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, flat, "jobs")
	does(t,
		"open "+mb.path+" rdwr", "ok",
		"write hello", "5",
		"read 100", `"hello"`,
		"write again", "5",
		"write more", "4",
	)
	mb.wantQueue("again", "more")
}

func TestReaderBlockedOnAReadWriteHandleLetsItWrite(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, flat, "jobs")
	// Another handle: two threads on one descriptor may wait for each other in the kernel.
	c := cli(t, "open "+mb.path+" rdwr", "read 100")
	c.expect("ok")
	mb.parked(c)
	does(t, "open "+mb.path+" rdwr", "ok", "write hello", "5")
	c.expect(`"hello"`)
}

func TestAForkedChildKeepsTheHandleOpen(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one\ntwo\n")
		// The subshell reads the first line and closes its copy; the rest stays with the handle.
		c := bash(t, "exec 3< "+mb.receive+"; (read -r x <&3; echo \"$x\"); read -r y <&3; echo \"$y\"")
		c.prints("one\ntwo\n")
		mb.awaitStat("open_receivers 0")
	})
}

func TestUnalignedAndVectoredWritesStayWhole(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		run(t, python, "-c", `
import os, sys, mmap
fd = os.open(sys.argv[1], os.O_WRONLY)
size = int(sys.argv[2])
page = mmap.mmap(-1, 2 * size + 8192)
for offset in 1, 4095, 2049:
    page[offset:offset + size] = b"u" * size
    assert os.write(fd, memoryview(page)[offset:offset + size]) == size
assert os.writev(fd, [b"vec", b"tor", b"ed"]) == 8`, mb.send, number(maxMessage)).prints("")
		whole := strings.Repeat("u", maxMessage)
		mb.wantQueue(whole, whole, whole, "vectored")
	})
}

func TestReadIntoALargerBufferThanTheMessage(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		does(t, "open "+mb.send+" wronly", "ok", "fill "+number(maxMessage)+" z", number(maxMessage))
		c := cli(t, "open "+mb.receive+" rdonly", "read 8388608", "read 8388608")
		c.expect("ok", number(maxMessage)+"*z", `""`)
	})
}

// lseek positions are those of bash read: within the message in hand.
func TestReceivedMessageIsAddressableUntilConsumed(t *testing.T) {
	t.Parallel()
	inBothShapes(t, func(t *testing.T, mb *mailbox) {
		mb.put("one\ntwo\n", "three\n")
		does(t,
			"open "+mb.receive+" rdonly", "ok",
			"read 100", `"one\ntwo\n"`,
			"lseek -4 cur", "4",
			"read 100", `"two\n"`,
			"read 100", `""`,
			"read 100", `"three\n"`,
		)
	})
}

// goCommand runs the test binary as a client.
func goCommand(job string, args ...string) []string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return append([]string{"env", goClientEnv + "=" + job, exe}, args...)
}
