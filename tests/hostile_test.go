package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// hostile is the preamble of scripts that try what nobody needs. What hangs is killed.
const hostile = `
import json, random, select, signal
signal.alarm(25)
KINDS = ["mailboxes", "pipes", "semaphores", "segments"]
def made(kind, name, flat):
    path = kind + "/" + name
    if flat:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o644))
        return path + ".d"
    os.mkdir(path, 0o755)
    return path
def opened(path, flags): # also while receivers lets nobody in
    while True:
        fd = attempt(os.open, path, flags)
        if fd != "EBUSY":
            return fd
def told(path):
    with open(path, "rb") as f:
        return f.read()
`

// settingsOf are the control files that have a value, by kind.
var settingsOf = map[string]string{
	"mailboxes":  "capacity capacity_bytes max_message overflow order receivers framing ttl lease_time max_deliveries dead_letters",
	"pipes":      "capacity overflow lifetime",
	"semaphores": "value max",
	"segments":   "size seal",
}

// Whatever is written to whatever file of an object, by its owner or a stranger: there is an errno, or an effect that
// reads as one line, and that line can be written again.
func TestControlFilesTakeAnyBytes(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	balance := booksBalance(t, m)
	settings, err := json.Marshal(settingsOf)
	if err != nil {
		t.Fatal(err)
	}
	theirs := m.account(t, nil, hostile+`
for kind in KINDS:
    made(kind, "root", False)
`)
	theirs.output()
	seen := func() string { return m.as1("cat", m.path(".ipcfs", "objects")).run(t).output() }
	before := seen()
	const attack = `
settings = json.loads(sys.argv[2])
random.seed(1)
WORDS = [b"max", b"unbounded", b"zero", b"0", b"-0", b"+1", b"-1", b"1", b"007", b"4K", b"1.5", b"1e3", b"0x10", b"9223372036854775807",
    b"9223372036854775808", b"18446744073709551616", b"9223372036854775807T", b"8388608T", b"1s", b"0s", b"9223372036854775807d", b"106751d",
    b"106752d", b"1ns", b"block", b"fail", b"drop-oldest", b"drop-newest", b"fifo", b"priority", b"any", b"single", b"pair", b"broadcast",
    b"write", b"line", b"close", b"session", b"persistent", b"shrink", b"none", b"shrink shrink", b"jobs", b"..", b"a/b", b"root",
    b"ack", b"nack", b"extend 9223372036854775807d", b"unused", b"\xe2\x80\xae", b"\xd9\xa1"]
def value():
    r = random.random()
    if r < 0.6:
        v = random.choice(WORDS)
        return random.choice([v, v + b"\n", b" " + v + b"\t\n", v + b"\0", v + b"\n\n", v + b" " + random.choice(WORDS), v * 200])
    return random.randbytes(random.choice([0, 1, 2, 8, 100, 4095, 4096, 4097, 65536, 1 << 20]))
NEVER = ("EIO", "ENOTCONN", "ENOSYS", "EFAULT", "EPROTO", "ETIMEDOUT")
def write(path, v, flags=0):
    fd = attempt(os.open, path, os.O_WRONLY | os.O_NONBLOCK | flags)
    if isinstance(fd, str):
        return fd
    try:
        return attempt(os.write, fd, v)
    finally:
        attempt(os.close, fd)
def check(ok, *what):
    if not ok:
        print("wrong:", *[repr(w)[:200] for w in what])
for kind in KINDS:
    for flat in True, False:
        d = made(kind, "own" + sys.argv[3], flat)
        for turn in range(150):
            name = random.choice(settings[kind].split() if turn % 2 else sorted(os.listdir(d)))
            path, v = d + "/" + name, value()
            if os.path.isdir(path):
                path += "/" + random.choice(["0", "31", "32", "-1", "a", "4294967295"])
            got = write(path, v, random.choice([0, 0, os.O_TRUNC, os.O_APPEND]))
            check(got not in NEVER, path, v, got)
            if not os.path.exists(d):
                check(name == "destroy", path, v, got, "destroyed")
                d = made(kind, "own" + sys.argv[3], flat)
            elif name in settings[kind].split():
                text = told(path)
                line = text.decode()
                check(line.endswith("\n") and line.count("\n") == 1 and len(line) <= 4096 and line[:-1].isprintable(), path, v, got, text)
                again = write(path, text)
                over = name == "value" and b"max" not in told(d + "/max") and int(text) > int(told(d + "/max"))  # max was lowered
                check(again == len(text) or over and again == "EINVAL", path, v, got, text, again)
                check(told(path) == text, path, text, told(path))
            if turn % 10 == 0:
                check(all(len(l.split()) == 2 for l in told(d + "/stat").splitlines()), told(d + "/stat"))
        write(d + "/destroy", b"\n")
    for name in settings[kind].split() + ["flush", "destroy", "hangup"] if sys.argv[3] == "stranger" else []:
        for v in b"", b"\n", b"1", b"max":
            got = write(kind + "/root/" + name, v)
            check(got in ("EACCES", "ENOENT"), kind, name, v, got)
`
	for _, c := range []*client{
		m.account(t, nobody(t), hostile+attack, string(settings), "stranger"),
		m.account(t, nil, hostile+attack, string(settings), "owner"),
	} {
		if out := c.output(); out != "" {
			t.Error(out)
		}
	}
	if now := seen(); now != before {
		t.Errorf("a stranger changed\n%sto\n%s", before, now)
	}
	m.account(t, nil, hostile+`
for kind in KINDS:
    os.rmdir(kind + "/root")
`).prints("")
	balance()
}

// Whatever the limits are set to, they read as lines that can be written again.
func TestLimitsTakeAnyBytes(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	m.account(t, nil, hostile+`
random.seed(2)
path = ".ipcfs/limits"
def write(v):
    fd = os.open(path, os.O_WRONLY)
    try:
        return attempt(os.write, fd, v)
    finally:
        os.close(fd)
before = told(path)
KEYS = [l.split()[0] for l in before.splitlines()] + [b"", b"uid", b"bytes bytes", b"\xff"]
AMOUNTS = [b"0", b"1", b"max", b"-1", b"1K", b"8388608T", b"9223372036854775807", b"9223372036854775808", b"x", b"", b"1 1", b"\0"]
for turn in range(400):
    v = b"".join(random.choice(KEYS) + b" " + random.choice(AMOUNTS) + random.choice([b"\n", b"", b"\n\n"]) for i in range(random.randrange(4)))
    if turn % 4 == 0:
        v = random.randbytes(random.choice([0, 1, 10, 4096, 4097, 1 << 20]))
    then, got, text = told(path), write(v), told(path)
    if isinstance(got, str) and (got not in ("EINVAL", "EMSGSIZE") or then != text):
        print("wrong:", repr(v)[:200], got, then, text)
    if write(text) != len(text) or told(path) != text:
        print("not read back:", repr(v)[:200], text)
    write(before)
print(told(path) == before)
`).prints("True\n")
	does(t, "mkdir "+m.path("mailboxes", "jobs")+" 755", "ok", "rmdir "+m.path("mailboxes", "jobs"), "ok")
}

// Whatever a name is: there is an errno, or a name that is listed as it is, and that can be removed.
func TestNamesAreRefusedOrListed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	balance := booksBalance(t, m)
	topic := m.shared(t, "topics")
	m.account(t, nobody(t), hostile+`
random.seed(3)
def name():
    r = random.random()
    if r < 0.3:
        b = random.randbytes(random.choice([1, 2, 3, 30, 255]))
    elif r < 0.8:
        n = random.choice([1, 2, 3, 40, 63, 64, 85, 127, 128, 254, 255, 256])
        pool = random.choice(["aé文👩", "a \u00a0\u3000", "\u202e\u200b\ufeffx", ".-d", "\\\"'$*?[", "\U0010ffff\ue000\ufdd0", "e\u0301\u0489", "\u200c\u200d"])
        b = "".join(random.choice(pool) for i in range(n)).encode()
    else:
        b = random.choice([b".d", b"..d", b"...", b".ipcfs", b"-rf", b" ", b"send", b"a.d.d", b"x.D", b"~", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"])
    return b.replace(b"/", b"x").replace(b"\0", b"y")
REFUSALS = {"EINVAL", "ENAMETOOLONG", "ENOENT", "EEXIST", "EISDIR", "EACCES", "EPERM", "ENOTDIR", "EBUSY", "ENOTEMPTY"}
def check(ok, *what):
    if not ok:
        print("wrong:", *[repr(w)[:300] for w in what])
def create(path): os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NONBLOCK))
taken = [0, 0]
for turn in range(500):
    d, n = random.choice(KINDS).encode(), name()
    path, remove = d + b"/" + n, os.unlink
    if n in (b".", b".."):
        continue
    how = random.choice(["create", "mkdir", "rename", "link"])
    if how == "create":
        got = attempt(create, path)
    elif how == "mkdir":
        got, remove = attempt(os.mkdir, path), os.rmdir
    else:
        if how == "link":
            d = b"segments"
            path = d + b"/" + n
        create(d + b"/source")
        got = attempt(os.link if how == "link" else os.rename, d + b"/source", path)
        if how == "link" or got is not None:
            os.unlink(d + b"/source")
    taken[got is None] += 1
    listed = os.listdir(d)
    if got is None:
        check(listed.count(n) == 1, how, path, "is not listed", listed)
        check(os.path.lexists(path), how, path, "does not exist")
        check(n.decode() is not None, path)
        check(attempt(remove, path) is None, how, path, "is not removed")
    else:
        check(got in REFUSALS, how, path, got)
        check(n not in listed or path == b"mailboxes/topics", how, path, got, "is listed")
    check(not os.path.lexists(path), how, path, "is there")
print(min(taken) > 50)
taken = [0, 0]
for turn in range(200):
    n = name()
    if n in (b".", b".."):
        continue
    path = b"mailboxes/topics/topic/" + n
    fd = attempt(os.open, path, os.O_RDWR | os.O_NONBLOCK)
    if isinstance(fd, str):
        fd = attempt(os.open, path, os.O_WRONLY | os.O_NONBLOCK)
    taken[not isinstance(fd, str)] += 1
    if isinstance(fd, str):
        check(fd in REFUSALS, path, fd)
        continue
    os.write(fd, b"x")
    os.close(fd)
    listed = os.listdir(b"mailboxes/topics/topic")
    check(listed.count(n) == 1, path, "is not listed", listed)
    fd = os.open("mailboxes/topics/envelope", os.O_RDONLY | os.O_NONBLOCK)
    check(json.loads(os.read(fd, 1 << 16))["topic"].encode() == n, path)
    os.close(fd)
    check(n not in os.listdir(b"mailboxes/topics/topic"), path, "is listed")
print(min(taken) > 20)
`).prints("True\nTrue\n")
	topic.wantStat("messages 0")
	does(t, "rmdir "+topic.path, "ok")
	balance()
}

// talkers are two users that send and two that receive, while a third process changes the policies as fast as it can.
// It returns how many messages were sent, and each one received.
func (m *mountpoint) talkers(t *testing.T, mb *mailbox, policies string) (sent int, received []string) {
	t.Helper()
	const each = 1000
	flapper := m.account(t, nil, hostile+`
os.chdir(sys.argv[2])
policies = eval(sys.argv[3])
files = {name: os.open(name, os.O_WRONLY) for name in policies}
random.seed(4)
print("flapping", flush=True)
while True:
    name = random.choice(list(policies))
    os.pwrite(files[name], random.choice(policies[name]).encode(), 0)
`, mb.control, policies)
	flapper.expect("flapping")
	var senders, receivers []*client
	for i, as := range []*mountpoint{m, m.asUser(t)} {
		receivers = append(receivers, m.account(t, as.as, hostile+`
fd = opened(sys.argv[2], os.O_RDONLY)
print("open", flush=True)
got = []
while True:
    b = os.read(fd, 1 << 20)
    if b == b"end":
        break
    if b:
        got.append(b.split()[0].decode())
        if len(b) != int(b.split()[1]):
            print("torn", len(b), b[:40])
print("\n".join(got))
`, mb.receive))
		receivers[i].expect("open")
	}
	for i, as := range []*mountpoint{m, m.asUser(t)} {
		senders = append(senders, m.account(t, as.as, hostile+`
random.seed(int(sys.argv[3]))
fds = [opened(sys.argv[2] + "/" + name, os.O_WRONLY) for name in ("send", "urgent", "priority/7", "topic/a")]
n = 0
for i in range(int(sys.argv[4])):
    size = random.choice([20, 100, 5000, 100000])
    b = (b"%s-%d %d " % (sys.argv[3].encode(), i, size)).ljust(size, b"x")
    r = attempt(os.write, fds[i % 4], b)
    n += r == size
    if r != size and r != "EAGAIN":
        print("refused", r)
print(n)
`, mb.control, number(i), number(each)))
	}
	for _, c := range senders {
		var n int
		if _, err := fmt.Sscan(c.output(), &n); err != nil {
			t.Fatalf("a sender printed %q", c.stdout)
		}
		sent += n
	}
	flapper.kill()
	mb.with("overflow", "block", "capacity", "max", "capacity_bytes", "max", "framing", "write", "ttl", "max", "receivers", "any")
	mb.awaitStat("messages 0", "receivers_waiting 2")
	for range receivers {
		mb.put("end")
	}
	for _, c := range receivers {
		received = append(received, strings.Fields(c.output())[1:]...)
	}
	return sent, received
}

// flappy is a mailbox that everybody may use.
func (m *mountpoint) flappy(t *testing.T) *mailbox {
	mb := m.shared(t, "jobs")
	for _, file := range []string{"urgent", "priority", "priority/7"} {
		does(t, "chmod "+mb.file(file)+" 777", "ok")
	}
	return mb
}

func TestFlappingPoliciesLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	balance := booksBalance(t, m)
	mb := m.flappy(t)
	sent, received := m.talkers(t, mb, `{"capacity": ["0", "1", "2", "7", "max"], "capacity_bytes": ["100000", "1M", "max"],
		"overflow": ["block"], "order": ["fifo", "priority"], "receivers": ["any", "single", "pair"], "framing": ["write"],
		"ttl": ["max", "1d", "1000s"], "lease_time": ["1ns", "max"], "max_deliveries": ["1", "max"], "max_message": ["100000", "1040384"]}`)
	slices.Sort(received)
	if distinct := len(slices.Compact(slices.Clone(received))); sent != 2000 || len(received) != 2000 || distinct != 2000 {
		t.Errorf("%d messages were sent, %d received, %d distinct; want 2000", sent, len(received), distinct)
	}
	mb.awaitStat("messages 0", "bytes 0", "sent 2002", "received 2002", "dropped 0", "expired 0", "redelivered 0", "leased 0",
		"senders_waiting 0", "receivers_waiting 0")
	m.atRest(t)
	does(t, "rmdir "+mb.path, "ok")
	balance()
}

// Where the policies allow losses, what was sent is received, dropped or expired, and never twice.
func TestFlappingPoliciesAccountForWhatTheyLose(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	balance := booksBalance(t, m)
	mb := m.flappy(t)
	sent, received := m.talkers(t, mb, `{"capacity": ["0", "1", "2", "7", "max"], "capacity_bytes": ["100000", "1M", "max"],
		"overflow": ["block", "fail", "drop-oldest", "drop-newest"], "order": ["fifo", "priority"], "ttl": ["max", "1us", "1ms", "1s"]}`)
	slices.Sort(received)
	if distinct := len(slices.Compact(slices.Clone(received))); distinct != len(received) || distinct > sent {
		t.Errorf("of %d messages sent %d were received, %d distinct", sent, len(received), distinct)
	}
	m.atRest(t)
	now := mb.stat()
	if now["sent"] != sent+2 || now["received"] != len(received)+2 || now["sent"] != now["received"]+now["dropped"]+now["expired"] {
		t.Errorf("%d writes succeeded, %d reads did; stat says %v", sent+2, len(received)+2, now)
	}
	does(t, "rmdir "+mb.path, "ok")
	balance()
}

// Who does not read the trace, whatever the filter, holds nobody up, and the daemon keeps little for it.
func TestUnreadTracesHoldUpNoFlood(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	balance := booksBalance(t, m)
	jobs := m.common(t, "mailboxes", "jobs")
	m.account(t, nobody(t), `
print(attempt(os.open, ".ipcfs/trace", os.O_RDONLY))
`).prints("EACCES\n")
	var stuck []*client
	for i, filter := range [][]string{nil, {"--object", "*"}, {"--object", "mailboxes/[j-k]*", "--op", "send"}, {"--object", `\*`}} {
		c := command{argv: append([]string{"bash", "-c", `kill -STOP $$; exec "$@"`, "-", ipcfsBin, "trace"}, append(filter, m.dir)...)}.run(t)
		if i == 0 {
			c = cli(t, "open "+m.path(".ipcfs/trace")+" rdonly", "pause")
			c.expect("ok")
		}
		stuck = append(stuck, c)
	}
	before := m.daemonStat(t)["kept"]
	m.account(t, nobody(t), hostile+`
out, into = os.open("mailboxes/jobs", os.O_WRONLY), os.open("mailboxes/jobs", os.O_RDONLY | os.O_NONBLOCK)
for i in range(5000):
    os.write(out, b"x")
    os.read(into, 10)
    if i % 50 == 0:
        attempt(os.mkdir, "mailboxes/" + "n" * 250 + str(i))
        attempt(os.rmdir, "mailboxes/" + "n" * 250 + str(i))
print(stat("messages"))
`).prints("0\n")
	if now := m.daemonStat(t)["kept"]; now > before+4<<20 {
		t.Errorf("the daemon keeps %d bytes more for readers that do not read", now-before)
	}
	for _, c := range stuck {
		c.kill()
	}
	does(t, "unlink "+jobs, "ok")
	balance()
}

// Children by fork, vfork and exec go on using what they inherited when their parent is killed; what was the parent's,
// units held and messages on lease, returns.
func TestInheritedDescriptorsOutliveTheirOpener(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	balance := booksBalance(t, m)
	gate, done := m.common(t, "mailboxes", "gate"), m.existing(t, flat, "done")
	m.common(t, "mailboxes", "done")
	c := m.account(t, nobody(t), hostile+`
CHILD = '''
import errno, json, os, sys
def attempt(f, *args):
    try:
        return f(*args)
    except OSError as e:
        return errno.errorcode[e.errno]
how, files = sys.argv[1], json.loads(sys.argv[2])
os.read(files["gate " + how], 10)
def used(name, fd):
    os.set_blocking(fd, False)
    got = [attempt(os.read, fd, 100), attempt(os.write, fd, b"ack" if name == "lease" else b"1"), attempt(os.lseek, fd, 0, 0), attempt(os.fstat, fd)]
    return [g if isinstance(g, (str, int)) else len(g) for g in got]
report = {name: used(name, fd) for name, fd in files.items() if name != "done" and not name.startswith("gate")}
os.write(files["done"], json.dumps([how, report]).encode())
'''
os.mkdir("mailboxes/m")
os.mkdir("pipes/p")
os.mkdir("semaphores/s")
os.mkdir("segments/g")
with open("semaphores/s/value", "w") as f:
    f.write("3")
with open("mailboxes/m/send", "w") as f:
    f.write("leased")
N = os.O_NONBLOCK
files = {"gate " + how: os.open("mailboxes/gate", os.O_RDONLY) for how in ("fork", "exec", "vfork")}  # who shares one takes turns
files["done"] = os.open("mailboxes/done", os.O_WRONLY)
files["lease"] = os.open("mailboxes/m/lease", os.O_RDWR)
os.read(files["lease"], 100)
for place, flags in [("mailboxes/m/" + n, os.O_WRONLY | N) for n in ("send", "urgent", "priority/3", "topic/a", "capacity", "flush")] + [
        ("mailboxes/m/" + n, os.O_RDONLY | N) for n in ("receive", "stream", "peek", "envelope", "stat", "waiters", "topic/a")] + [
        ("pipes/p/read", os.O_RDONLY | N), ("pipes/p/write", os.O_WRONLY | N), ("pipes/p/oob", os.O_RDWR | N),
        ("semaphores/s/wait", os.O_RDWR | N), ("semaphores/s/post", os.O_WRONLY | N), ("semaphores/s/hold", os.O_RDWR | N),
        ("semaphores/s/owners", os.O_RDONLY), ("segments/g/data", os.O_RDWR), ("segments/g/lock", os.O_RDWR | N), ("segments/g/size", os.O_RDWR)]:
    files[place + str(flags & 3)] = os.open(place, flags)
for fd in files.values():
    os.set_inheritable(fd, True)
args = lambda how: [sys.executable, "-c", CHILD, how, json.dumps(files)]
pids = []
for how in "fork", "exec", "vfork":
    if how == "vfork":
        pids.append(os.posix_spawn(sys.executable, args(how), os.environ))
        continue
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if how == "exec":
            os.execv(sys.executable, args(how))
        sys.argv = args(how)[2:]
        exec(CHILD, {})
        os._exit(0)
    pids.append(pid)
print(len(files), flush=True)
sys.stdin.readline()
`)
	c.expect("28")
	eventually(t, func() string {
		return differs(parseStat(t, m.existing(t, flat, "gate").file("stat"))["receivers_waiting"], 3)
	})
	mb := m.existing(t, directory, "m")
	mb.wantStat("leased 1", "messages 0")
	c.kill()
	mb.awaitStat("leased 0", "messages 1")
	for _, owners := range []string{m.path("semaphores/s/owners"), m.path("segments/g/owners")} {
		eventually(t, func() string {
			b, err := os.ReadFile(owners)
			return differs(fmt.Sprintf("%s%v", b, err), "<nil>")
		})
	}
	for i := range 3 {
		does(t, "open "+gate+" wronly", "ok", "write go", "2")
		var report []any
		done.awaitStat("messages 1")
		text := strings.Join(done.take(), "")
		if err := json.Unmarshal([]byte(text), &report); err != nil {
			t.Fatalf("child %d reports %q: %v", i, text, err)
		}
		for _, bad := range []string{`"EIO"`, `"ENOTCONN"`, `"ESTALE"`, `"EIDRM"`} {
			if strings.Contains(text, bad) {
				t.Errorf("the child by %v got %s: %s", report[0], bad, text)
			}
		}
		files := report[1].(map[string]any)
		for name, want := range map[string]any{"mailboxes/m/send1": 1.0, "mailboxes/m/urgent1": 1.0, "pipes/p/write1": 1.0, "segments/g/data2": 1.0,
			"semaphores/s/post1": 1.0, "mailboxes/m/capacity1": 1.0} {
			if got := files[name].([]any)[1]; got != want {
				t.Errorf("the child by %v writes to %s: %v, want %v", report[0], name, got, want)
			}
		}
	}
	m.atRest(t)
	m.account(t, nil, hostile+`
for path in "mailboxes/m", "pipes/p", "semaphores/s", "segments/g":
    with open(path + "/destroy", "w") as f:
        f.write("\n")
os.unlink("mailboxes/gate")
os.unlink("mailboxes/done")
`).prints("")
	balance()
}

// poll, epoll and select tell the same of descriptors below 1024 and above: select(2) itself has no such limit, only
// the FD_SETSIZE of the C library. An epoll tells of those that it was woken for: one message wakes as many as it
// can be served to, and the others when those leave it.
func TestReadinessOfThousandsOfDescriptors(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	balance := booksBalance(t, m)
	a, b := m.common(t, "mailboxes", "a"), m.common(t, "mailboxes", "b")
	c := m.account(t, nobody(t), hostile+`
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
fds = {}
for i in range(1000):
    for name in "a", "b":
        fds[os.open("mailboxes/" + name, os.O_RDONLY | os.O_NONBLOCK)] = name
print(min(fds) < 10, max(fds) > 2000)
BITS, WORDS = 8 * ctypes.sizeof(ctypes.c_ulong), 64
def selected(only):
    sets = (ctypes.c_ulong * WORDS)()
    for fd in only:
        sets[fd // BITS] |= 1 << fd % BITS
    n = libc.syscall(23, max(only) + 1, ctypes.byref(sets), None, None, None)  # SYS_select
    got = {fd for fd in only if sets[fd // BITS] >> fd % BITS & 1}
    return got if n == len(got) else n
def ready(epoll, poll):
    e = {fd for fd, ev in epoll.poll(0, 5000) if ev & select.EPOLLIN}
    p = {fd for fd, ev in poll.poll(0) if ev & select.POLLIN}
    return e, p
epoll, poll = select.epoll(), select.poll()
for fd in fds:
    epoll.register(fd, select.EPOLLIN)
    poll.register(fd, select.POLLIN)
print(ready(epoll, poll))
print("waiting", flush=True)
got = selected(fds) # waits for the message, and may see it on some descriptors only: those it looks at later
want = {fd for fd in fds if fds[fd] == "b"}
e, p = ready(epoll, poll)
print(len(want), 0 < len(got) and got <= want, selected(fds) == want, p == want)
while e != want:
    assert e < want, e - want
    e |= {fd for fd, ev in epoll.poll(-1, 5000) if ev & select.EPOLLIN}
low, high = {fd for fd in fds if fd < 1024}, {fd for fd in fds if fd >= 1024}
print(selected(low) == want & low, selected(high) == want & high, set(select.select(low, [], [], 0)[0]) == want & low)
print(os.read(max(want), 10))
print(*[s == set() for s in ready(epoll, poll)], flush=True)
`)
	c.expect("True True", "(set(), set())", "waiting")
	c.asleep()
	does(t, "open "+b+" wronly", "ok", "write x", "1")
	c.expect("1000 True True True", "True True True", "b'x'", "True True")
	c.output()
	does(t, "unlink "+a, "ok", "unlink "+b, "ok")
	m.atRest(t)
	balance()
}
