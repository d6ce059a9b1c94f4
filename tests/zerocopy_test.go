package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// zeroCopy begins the scripts below: a mailbox jobs, and segments that are sent through it.
const zeroCopy = `
JOBS = "../mailboxes/jobs/"
QUEUE = JOBS + "messages/"
def frame(name, size, last=b"z"):
    fd = os.open(name, NEW, 0o600)
    os.ftruncate(fd, size)
    m = mmap.mmap(fd, size)
    m[0:5], m[size - 1:size] = b"hello", last
    m.close()
    os.close(fd)
def send(name):
    os.rename(name, QUEUE + name)
def take(message, name):
    os.rename(QUEUE + message, name)
def queue():
    return os.listdir(QUEUE)
def stat(key):
    return dict(line.split() for line in show(JOBS + "stat").splitlines())[key]
def booked():
    return int(dict(line.split() for line in show("../.ipcfs/stat").splitlines())["bytes"])
`

// zeroCopyScript runs a script around a mailbox that it makes and removes.
func (m *mountpoint) zeroCopyScript(t testing.TB, text string) *client {
	t.Helper()
	return m.script(t, zeroCopy+"os.mkdir(JOBS)\n"+text+"\nos.rmdir(JOBS)\n")
}

// memoryFile is the inode number of the only file of that size that the daemon has open: the memory of a segment in use.
func (m *mountpoint) memoryFile(t testing.TB, size int64) uint64 {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", m.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() && info.Size() == size {
			return info.Sys().(*syscall.Stat_t).Ino
		}
	}
	t.Fatalf("the daemon has no file of %d bytes open", size)
	return 0
}

// copied is how many bytes the daemon's system calls have moved: proc_pid_io(5).
func (m *mountpoint) copied(t testing.TB) (n int64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", m.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var key string
		var v int64
		if _, err := fmt.Sscan(line, &key, &v); err == nil && (key == "rchar:" || key == "wchar:") {
			n += v
		}
	}
	return n
}

func TestZeroCopyOfAWholeSegment(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		const size = 256<<20 + 5
		c := m.zeroCopyScript(t, fmt.Sprintf(`
frame("frame", %d)
fd = os.open("frame", os.O_RDONLY)
print("open", flush=True)
sys.stdin.readline()
os.close(fd)
send("frame")
print(os.listdir("."), queue(), attempt(os.stat, "frame"), attempt(os.stat, QUEUE + "frame"))
s = os.stat(QUEUE + "1")
print(s.st_size, s.st_uid == os.getuid(), oct(s.st_mode), stat("messages"), stat("bytes"), stat("sent"), booked())
print("sent", flush=True)
sys.stdin.readline()
take("1", "copy")
print(os.listdir("."), queue(), stat("received"), stat("bytes"), oct(os.stat("copy").st_mode), booked())
fd = os.open("copy", os.O_RDONLY)
m = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
print(len(m), m[0:5], m[-1:])
print("received", flush=True)
sys.stdin.readline()
m.close()
os.close(fd)
while show("copy.d/attached"):
    pass
fd = os.open("copy", os.O_RDWR)
m = mmap.mmap(fd, 0)
m[0:5] = b"HELLO"
print(os.pread(fd, 5, 0), m[-1:])
os.unlink("copy")
`, size))
		c.expect("open")
		file, before := m.memoryFile(t, size), m.copied(t)
		c.resume()
		c.expect("[] ['1'] ENOENT ENOENT",
			fmt.Sprintf("%d True 0o100444 1 %d 1 %d", size, size, 256<<20+4096), "sent")
		c.resume()
		c.expect(fmt.Sprintf("['copy'] [] 1 0 0o100600 %d", 256<<20+4096), fmt.Sprintf("%d b'hello' b'z'", size), "received")
		if after := m.memoryFile(t, size); after != file {
			t.Errorf("the memory is file %d after it was received, was %d before it was sent", after, file)
		}
		// What is left are requests and answers, and pages that were touched where they go through the page cache.
		if n := m.copied(t) - before; n > 4<<20 {
			t.Errorf("the daemon moved %d bytes to send and receive a segment of %d", n, size)
		}
		c.resume()
		c.expect("b'HELLO' b'z'")
		c.output()
	})
}

// Who does not know better reads a segment that was sent like any message.
func TestZeroCopyMessagesAreReadLikeOthers(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		const size = 3<<20 + 7
		m.zeroCopyScript(t, fmt.Sprintf(`
import hashlib, json, subprocess
SIZE = %d
def sum(b):
    return hashlib.sha1(b).hexdigest()
block = os.urandom(SIZE)
def fill(name="frame", b=block):
    with open(name, "wb") as f:
        f.write(b)
def cat(path):
    return subprocess.run(["cat", path], stdout=subprocess.PIPE).stdout
def empty():
    while booked(): # a close is seen a moment later
        pass
    return queue()
for endpoint in ("receive", "stream", "from/%%d" %% os.getuid(), "priority/0"):
    fill()
    send("frame")
    if endpoint == "stream":
        fd, got = os.open(JOBS + endpoint, os.O_RDONLY), b""
        while len(got) < SIZE:
            got += os.read(fd, 300000)
        os.close(fd)
    else:
        got = cat(JOBS + endpoint)
    print(endpoint.split("/")[0], sum(got) == sum(block), empty())
fill()
send("frame")
name = queue()[0]
print("looks", sum(cat(JOBS + "peek")) == sum(block), sum(cat(QUEUE + name)) == sum(block), queue() == [name])
fd = os.open(QUEUE + name, os.O_RDONLY)
print("seeks", os.pread(fd, 5, SIZE - 5) == block[-5:], os.pread(fd, 100, SIZE), attempt(mmap.mmap, fd, SIZE, mmap.MAP_SHARED, mmap.PROT_READ))
peek = os.open(JOBS + "peek", os.O_RDONLY)
print(os.read(peek, 10) == block[:10])
# A part is read, then the reader closes: as ever, the rest is gone.
r = os.open(JOBS + "receive", os.O_RDONLY)
print("part", os.read(r, 10) == block[:10], queue(), stat("received"), booked() > SIZE, os.read(r, 10) == block[10:20])
os.close(r)
print(empty(), attempt(os.pread, fd, 5, 0), attempt(os.read, peek, 10))
os.close(fd)
os.close(peek)
for b in (b"text", b"\xff", b"x" * SIZE):
    fill("frame", b)
    send("frame")
    line = json.loads(cat(JOBS + "envelope"))
    print("envelope", line["size"], line.get("body"), line.get("body_base64"), empty())
# Through a flat mailbox, into the hands of who waits.
open("../mailboxes/flat", "x").close()
reader = subprocess.Popen(["cat", "../mailboxes/flat"], stdout=subprocess.PIPE)
while not show("../mailboxes/flat.d/waiters"):
    pass
fill()
os.rename("frame", "../mailboxes/flat.d/messages/frame")
print("waited", sum(reader.communicate()[0]) == sum(block), empty())
os.unlink("../mailboxes/flat")
`, size)).prints(`receive True []
stream True []
from True []
priority True []
looks True True True
seeks True b'' ENODEV
True
part True [] 5 True True
[] EIDRM EIDRM
envelope 4 text None []
envelope 1 None /w== []
envelope 3145735 None None []
waited True []
`)
	})
}

// Whichever way a message goes, its memory goes with it.
func TestZeroCopyMemoryIsFreedWithItsMessage(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		m.zeroCopyScript(t, `
def fate(what):
    while booked():
        pass
    print(what, queue(), stat("dropped"), stat("expired"))
def sent():
    frame("frame", 100000)
    send("frame")
sent(); os.unlink(QUEUE + "1"); fate("rm")
sent(); sent(); put(JOBS + "flush", "\n"); fate("flush")
put(JOBS + "ttl", "1ms"); sent(); fate("expired")
put(JOBS + "ttl", "max")
put(JOBS + "capacity", "1")
sent(); frame("frame", 5); print(attempt(send, "frame"), os.listdir("."))
put(JOBS + "overflow", "fail"); print(attempt(send, "frame"), os.listdir("."))
put(JOBS + "overflow", "drop-newest"); send("frame"); print(os.listdir("."), queue(), booked())
put(JOBS + "overflow", "drop-oldest"); sent(); print(queue(), stat("dropped"), booked())
put(JOBS + "send", "x"); print(queue(), booked())
put(JOBS + "flush", "\n")
put(JOBS + "capacity_bytes", "1"); put(JOBS + "max_message", "1")
sent(); print("unbounded", stat("bytes"), queue()); put(JOBS + "flush", "\n"); fate("flush")
put(JOBS + "capacity", "0"); put(JOBS + "overflow", "block"); frame("frame", 5); print("rendezvous", attempt(send, "frame")); os.unlink("frame")
open("../mailboxes/other", "x").close()
put(JOBS + "capacity", "2"); sent()
moved = "../mailboxes/other.d/messages/"
peek = os.open(JOBS + "peek", os.O_RDONLY)
os.read(peek, 5)
os.rename(QUEUE + queue()[0], moved + "1")
print("moved", queue(), os.listdir(moved), attempt(os.read, peek, 5), booked(), open(moved + "1", "rb").read(5))
os.close(peek)
os.unlink("../mailboxes/other"); fate("rm of the mailbox")
`).prints(`rm [] 1 0
flush [] 3 0
expired [] 3 1
EAGAIN ['frame']
EAGAIN ['frame']
[] ['5'] 102400
['7'] 5 102400
['8'] 1
unbounded 100000 ['9']
flush [] 8 1
rendezvous EAGAIN
moved [] ['1'] EIDRM 102400 b'hello'
rm of the mailbox [] 8 1
`)
	})
}

func TestZeroCopyRefusals(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode segmentMode, m *mountpoint) {
		c := m.zeroCopyScript(t, `
frame("frame", 5000)
fd = os.open("frame", os.O_RDONLY)
print("open", attempt(send, "frame"))
m = mmap.mmap(fd, 5000, prot=mmap.PROT_READ)
os.close(fd)
print("mapped", attempt(send, "frame"))
m.close()
# A mapping keeps no file open: mmap(2). Python's keeps one.
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
for how, protection in (os.O_RDWR, 3), (os.O_RDWR, 1), (os.O_RDONLY, 1):
    fd = os.open("frame", how)
    at = libc.mmap(None, 5000, protection, 1, fd, 0)
    os.close(fd)
    print("mapped only", attempt(send, "frame"))
    libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(5000))
lock = os.open("frame.d/lock", os.O_RDONLY)
print("locked", attempt(send, "frame"))
os.close(lock)
while show("frame.d/owners"):
    pass
os.link("frame", "other")
print("two names", attempt(send, "frame"), attempt(send, "other"))
os.unlink("other")
os.mkdir("dir")
print("directory", attempt(send, "dir"), attempt(os.rename, "dir/data", QUEUE + "x"))
os.rmdir("dir")
print("nothing", attempt(send, "none"), attempt(take, "1", "x"), attempt(os.rename, QUEUE + "x", "x"))
print("elsewhere", attempt(os.rename, "frame", JOBS + "topic/frame"), attempt(os.rename, "frame", JOBS + "frame"), attempt(os.rename, "frame", "../mailboxes/frame"))
print("exchange", libc.renameat2(-100, b"frame", -100, QUEUE.encode() + b"1", 2), errno.errorcode[ctypes.get_errno()])
known = os.open("frame", os.O_PATH)
send("frame")
print("sent", attempt(os.open, "/proc/self/fd/%d" % known, os.O_RDWR), os.fstat(known).st_nlink, os.fstat(known).st_size)
os.close(known)
for n in ("x.d", "x" * 256, "x\n"):
    print("name", attempt(take, "1", n))
print("across", attempt(os.rename, QUEUE + "1", "../pipes/x"), attempt(os.rename, QUEUE + "1", "../mailboxes/x"))
frame("old", 3 * 4096, b"o")
def noreplace(a, b):
    return libc.renameat2(-100, a.encode(), -100, b.encode(), 1) and errno.errorcode[ctypes.get_errno()]
print("taken", noreplace(QUEUE + "1", "old"), os.stat("old").st_size)
os.mkdir("dir")
print("taken", attempt(take, "1", "dir"), queue())
os.rmdir("dir")
fd = os.open("old", os.O_RDONLY)
take("1", "old")
print("replaced", os.stat("old").st_size, os.fstat(fd).st_size, os.fstat(fd).st_nlink, booked())
os.close(fd)
while booked() > 8192:
    pass
send("old")
# A name that a message has is no name of a segment.
os.rename(QUEUE + "2", "2")
frame("3", 10); send("3"); send("2")
print("numbers", sorted(queue()), [os.stat(QUEUE + n).st_size for n in sorted(queue())], os.listdir("."))
put(JOBS + "flush", "\n")
# What was written is copied: it was copied when it was sent.
put(JOBS + "send", "written")
take(queue()[0], "text")
print(show("text"), os.stat("text").st_size, booked(), queue(), stat("received"))
send("text")
print(show(JOBS + "receive"))
put(JOBS + "send", "twice")
n = queue()[0]
fd = os.open(QUEUE + n, os.O_RDONLY)
take(n, "text")
print(os.read(fd, 10))
os.close(fd)
os.unlink("text")
open("none", "x").close()
send("none")
print("empty", os.stat(QUEUE + queue()[0]).st_size, repr(show(JOBS + "receive")))
frame("sealed", 10)
put("sealed.d/seal", "shrink write")
send("sealed")
take(queue()[0], "still")
print("sealed", show("still.d/seal"), attempt(os.open, "still", os.O_RDWR), show("still")[:5])
os.unlink("still")
`)
		c.expect(strings.Split(strings.TrimSuffix(`open EBUSY
mapped EBUSY
mapped only EBUSY
mapped only EBUSY
mapped only EBUSY
locked EBUSY
two names EBUSY EBUSY
directory EISDIR EPERM
nothing ENOENT ENOENT ENOENT
elsewhere EPERM EPERM EPERM
exchange -1 ENOENT
sent ESTALE 0 0
name EINVAL
name ENAMETOOLONG
name EINVAL
across EPERM EPERM
taken EEXIST 12288
taken EISDIR ['1']
replaced 5000 12288 0 20480
numbers ['3', '4'] [10, 5000] []
written 7 4096 [] 3
written
b'twice'
empty 0 ''
sealed shrink write
 EPERM hello
`, "\n"), "\n")...)
		c.output()
	})
}

func TestZeroCopyRespectsOwnersAndQuotas(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	user := nobody(t)
	jobs := m.mailbox(t, directory, "jobs")
	segment, queue, limits := m.path("segments", "s"), jobs.file("messages"), m.path(".ipcfs", "limits")
	limit := func(text string) { bash(t, "printf '"+text+"' > "+limits).prints("") }
	fresh := func(as *syscall.Credential, size int) {
		doesAs(t, as, "open "+segment+" rdwr|creat|excl 644", "ok", fmt.Sprintf("truncate %s %d", segment, size), "ok")
	}
	usage := func(as *syscall.Credential, n int) { // as has n bytes of its quota left, in pages
		t.Helper()
		limit(fmt.Sprintf("user_bytes %d\\n", n))
	}

	// Who may not write to messages/ and to send cannot send, who does not own the segment neither.
	fresh(user, 8192)
	doesAs(t, user, "rename "+segment+" "+queue+"/x", "EACCES")
	does(t, "chmod "+queue+" 777", "ok")
	doesAs(t, user, "rename "+segment+" "+queue+"/x", "EACCES")
	does(t, "chmod "+jobs.file("send")+" 622", "ok")
	doesAs(t, user, "rename "+segment+" "+queue+"/x", "ok", "stat "+queue+"/1", fmt.Sprintf("444 %d:%d 8192", user.Uid, user.Gid))
	fresh(nil, 8192)
	doesAs(t, user, "rename "+segment+" "+queue+"/x", "EPERM")
	does(t, "rename "+segment+".d "+queue+"/x", "EPERM")
	does(t, "rename "+segment+" "+queue+"/x", "ok")

	// Nor does he take what is not his.
	doesAs(t, user, "rename "+queue+"/2 "+segment, "EPERM", "rename "+queue+"/1 "+segment, "ok",
		"stat "+segment, fmt.Sprintf("600 %d:%d 8192", user.Uid, user.Gid))
	does(t, "open "+m.path("segments", "root's")+" rdwr|creat|excl 600", "ok")
	doesAs(t, user, "rename "+segment+" "+queue+"/x", "ok", "rename "+queue+"/3 "+m.path("segments", "root's"), "EPERM",
		"unlink "+m.path("segments", "root's"), "EPERM")
	does(t, "unlink "+queue+"/2", "ok")

	// It is booked on who has it: it fits into the quota of the receiver, or stays.
	usage(user, 4096)
	doesAs(t, user, "rename "+queue+"/3 "+segment, "ok") // his all along
	doesAs(t, user, "rename "+segment+" "+queue+"/x", "ok")
	does(t, "rename "+queue+"/4 "+segment, "EDQUOT", "stat "+queue+"/4", fmt.Sprintf("444 %d:%d 8192", user.Uid, user.Gid),
		"stat "+segment, "ENOENT")
	jobs.wantStat("messages 1")
	usage(user, 8192)
	does(t, "rename "+queue+"/4 "+segment, "ok", "stat "+segment, fmt.Sprintf("600 %d:%d 8192", os.Getuid(), os.Getgid()))
	fresh2 := m.path("segments", "t")
	doesAs(t, user, "open "+fresh2+" rdwr|creat|excl 600", "ok", "truncate "+fresh2+" 8192", "ok", "truncate "+fresh2+" 8193", "EDQUOT")

	// The root sends in its own name, and it is booked so.
	does(t, "rename "+fresh2+" "+queue+"/x", "EDQUOT")
	limit("user_bytes max\\nuser_messages 0\\n")
	does(t, "rename "+fresh2+" "+queue+"/x", "EDQUOT", "rename "+segment+" "+queue+"/x", "EDQUOT", "stat "+fresh2, fmt.Sprintf("600 %d:%d 8192", user.Uid, user.Gid))
	limit("user_messages max\\nuser_objects 2\\n")
	does(t, "rename "+fresh2+" "+queue+"/x", "ok", "stat "+queue+"/5", fmt.Sprintf("444 %d:%d 8192", os.Getuid(), os.Getgid()))
	does(t, "rename "+queue+"/5 "+fresh2, "EDQUOT")
	// At the limit of the mount what is there may still change hands.
	limit("user_objects max\\nbytes 1\\n")
	does(t, "rename "+queue+"/5 "+fresh2, "ok", "rename "+fresh2+" "+queue+"/x", "ok")
	limit("bytes max\\nmessages 1\\n")
	does(t, "rename "+segment+" "+queue+"/y", "ENOSPC")
	limit("messages max\\n")
	does(t, "unlink "+queue+"/6", "ok", "unlink "+segment, "ok", "unlink "+m.path("segments", "root's"), "ok")
	if stat := m.daemonStat(t); stat["bytes"] != 0 || stat["messages"] != 0 || stat["objects"] != 1 {
		t.Errorf("%d bytes, %d messages, %d objects are booked at the end; want 0, 0, 1", stat["bytes"], stat["messages"], stat["objects"])
	}
}

// What a process has sent outlives it, and what it has received is there for others; what it was reading is nobody's.
func TestZeroCopySurvivesItsSenderAndItsReceiver(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		m.as1("mkdir", m.path("mailboxes", "jobs")).run(t).prints("")
		sender := m.script(t, zeroCopy+`
frame("frame", 1 << 20, b"1")
send("frame")
print("sent", flush=True)
signal.pause()
`)
		sender.expect("sent")
		sender.kill()
		receiver := m.script(t, zeroCopy+`
take("1", "mine")
fd = os.open("mine", os.O_RDWR)
m = mmap.mmap(fd, 0)
print(m[0:5], m[-1:])
m[0:5] = b"HELLO"
m.flush()
print("received", flush=True)
signal.pause()
`)
		receiver.expect("b'hello' b'1'", "received")
		receiver.kill()
		m.script(t, zeroCopy+`
while show("mine.d/attached"):
    pass
print(show("mine")[:5], booked())
send("mine")
`).prints("HELLO 1048576\n")
		reader := m.script(t, zeroCopy+`
fd = os.open(JOBS + "receive", os.O_RDONLY)
print(os.read(fd, 5), booked(), flush=True)
signal.pause()
`)
		reader.expect("b'HELLO' 1048576")
		reader.kill()
		// One that waits is killed as well; the message is then the next one's.
		waiting := m.as1("cat", m.path("mailboxes", "jobs", "receive")).run(t)
		eventually(t, func() string {
			if text := m.as1("cat", m.path("mailboxes", "jobs", "waiters")).run(t).output(); !strings.HasPrefix(text, number(waiting.pid())+" ") {
				return "waiters is " + text
			}
			return ""
		})
		waiting.kill()
		m.script(t, zeroCopy+`
while booked() or show(JOBS + "waiters"):
    pass
frame("frame", 10)
send("frame")
print(queue(), open(JOBS + "receive", "rb").read())
while booked():
    pass
os.rmdir(JOBS)
`).prints("['3'] b'hello\\x00\\x00\\x00\\x00z'\n")
	})
}

// Receivers that race for one message: one gets it, the others ENOENT. Senders of one segment likewise.
func TestZeroCopyHandsOverToOne(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ segmentMode, m *mountpoint) {
		const clients = 4
		rounds := 100
		if raceEnabled {
			rounds = 20
		}
		m.as1("mkdir", m.path("mailboxes", "jobs")).run(t).prints("")
		m.as1("truncate", "-s", "8192", m.path("segments", "0")).run(t).prints("")
		var cs []*client
		for i := range clients {
			cs = append(cs, m.script(t, zeroCopy+`
me = "own-" + sys.argv[1]
moved = 0
while moved < `+number(rounds)+`:
    for n in queue():
        if attempt(take, n, me) is None:
            with open(me, "r+b") as f:
                count = int.from_bytes(f.read(8), "little")
                f.seek(0)
                f.write((count + 1).to_bytes(8, "little"))
            while attempt(send, me) == "EBUSY":
                pass # somebody else's look at it
            moved += 1
            if moved % 20 == 0:
                print(moved, flush=True)
`, number(i)))
		}
		m.as1("mv", m.path("segments", "0"), m.path("mailboxes", "jobs", "messages")).run(t).prints("")
		for _, c := range cs {
			for moved := 20; moved <= rounds; moved += 20 {
				c.expect(number(moved))
			}
			c.output()
		}
		m.script(t, zeroCopy+`
take(queue()[0], "end")
print(queue(), os.listdir("."), int.from_bytes(open("end", "rb").read(8), "little"))
os.unlink("end")
os.rmdir(JOBS)
`).prints(fmt.Sprintf("[] ['end'] %d\n", clients*rounds))
	})
}

func TestZeroCopyIsTraced(t *testing.T) {
	t.Parallel()
	m := mount(t)
	tr := m.traced(t, "cat", m.path(".ipcfs", "trace"))
	m.mailbox(t, directory, "jobs")
	m.mailbox(t, flat, "flat")
	run(t, "truncate", "-s", "5000", m.path("segments", "s")).prints("")
	s, x := m.path("segments", "s"), m.path("mailboxes", "jobs", "messages")
	c := cli(t, "rename "+s+" "+x+"/x", "rename "+x+"/1 "+m.path("mailboxes", "flat.d", "messages")+"/1",
		"rename "+m.path("mailboxes", "flat.d", "messages")+"/1 "+m.path("pipes", "x"), "rename "+m.path("mailboxes", "flat.d", "messages")+"/1 "+s,
		"open "+s+" rdonly", "rename "+s+" "+x+"/x")
	c.prints("ok\nok\nEPERM\nok\nok\nEBUSY\n")
	for _, want := range []string{"segments/s 0 ok", "mailboxes/jobs/messages/1 0 ok", "mailboxes/flat.d/messages/1 0 EPERM",
		"mailboxes/flat.d/messages/1 0 ok", "segments/s 0 EBUSY"} {
		line := tr.next()
		for !strings.Contains(line, " rename ") {
			line = tr.next()
		}
		if !regexp.MustCompile("^" + traceLine(c.pid(), "ipccli", "rename "+regexp.QuoteMeta(want)+noWait) + "$").MatchString(line) {
			t.Fatalf("the trace has %q, want rename %s", line, want)
		}
	}
	tr.kill()
}
