package tests

import (
	"fmt"
	"testing"
)

// dyingSenders is a program that sends through framing=close as often as it is told, each time from a process of its own that
// a signal ends. Its second argument is how that process closes the file before, or how it is killed in the middle.
const dyingSenders = `
import array, ctypes, os, signal, socket, sys, threading
path, how, n = sys.argv[1], sys.argv[2], int(sys.argv[3])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def begin(i):
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b"%d," % i)
    return fd

def whole(i):
    fd = begin(i)
    os.write(fd, b"whole")
    return fd

def close(i):
    os.close(whole(i))

def exit_after_dup(i):
    fd = whole(i)
    other = os.dup(fd)
    os.close(fd)
    os.close(other)

def dup2_over(i):
    os.dup2(2, whole(i))

def shell(i):  # each echo closes a copy
    os.execlp("bash", "bash", "-c", 'exec 3> "$1"; echo -n "$2," >&3; echo -n whole >&3; exec 3>&-; kill -9 $$', "bash", path, str(i))

def exec_cloexec(i):
    whole(i)
    os.execlp("bash", "bash", "-c", "kill -9 $$")

def exec_keeps(i):  # other threads die in exec(2), the program closes it
    fd = begin(i)
    os.set_inheritable(fd, True)
    r, w = os.pipe()
    threading.Thread(target=os.read, args=(r, 1), daemon=True).start()
    os.write(fd, b"whole")
    os.execlp("bash", "bash", "-c", "exec %d>&-; kill -9 $$" % fd)

def child_writes(i):  # and both are killed after they have closed it
    fd = begin(i)
    if os.fork() == 0:
        os.write(fd, b"whole")
        os.close(fd)
        die()
    os.wait()
    os.close(fd)

def child_keeps(i):  # a copy that it never writes to, and closes last
    fd = whole(i)
    r, w = os.pipe()
    if os.fork() == 0:
        os.close(w)
        os.read(r, 1)
        die()
    os.close(fd)

def spawn(i):  # vfork(2): the child closes a copy of its own
    fd = whole(i)
    os.set_inheritable(fd, True)
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    os.close(fd)

def thread_closes(i):
    fd = whole(i)
    t = threading.Thread(target=lambda: (os.close(fd), die()))
    t.start()
    t.join()

def thread_writes(i):
    fds = []
    t = threading.Thread(target=lambda: fds.append(whole(i)))
    t.start()
    t.join()
    os.close(fds[0])

def passed_on(i):  # the receiver of the descriptor writes the rest and closes it
    a, b = socket.socketpair()
    if os.fork() == 0:
        _, anc, _, _ = b.recvmsg(1, socket.CMSG_LEN(4))
        fd = array.array("i", anc[0][2])[0]
        os.write(fd, b"whole")
        os.close(fd)
        die()
    fd = begin(i)
    a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
    os.close(fd)
    os.wait()

def shared_table(i):  # clone(2) with CLONE_FILES: the other process closes it for both
    fd = whole(i)
    if ctypes.CDLL(None).syscall(56, 0x400 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os.close(fd)
        os._exit(0)
    os.wait()

def middle(i):
    begin(i)

def middle_of_copies(i):
    fd = begin(i)
    os.close(os.dup(fd))
    os.write(fd, b"half")

def middle_with_child(i):  # who closes its copy later
    fd = begin(i)
    r, w = os.pipe()
    if os.fork() == 0:
        os.close(w)
        os.read(r, 1)
        os._exit(0)

def middle_of_threads(i):
    t = threading.Thread(target=lambda: (begin(i), die()))
    t.start()
    t.join()

def middle_of_shell(i):
    os.execlp("bash", "bash", "-c", 'exec 3> "$1"; echo -n "$2," >&3; (:); kill -9 $$', "bash", path, str(i))

def middle_of_exec(i):  # the program has it open when it is killed
    fd = begin(i)
    os.set_inheritable(fd, True)
    os.execlp("bash", "bash", "-c", "kill -9 $$")

def middle_of_writing(i):  # whichever write it is
    fd = os.open(path, os.O_WRONLY)
    def write():
        while True:
            os.write(fd, b"half")
    threading.Thread(target=write).start()
    while os.stat("/proc/self/task").st_nlink < 4:
        pass

def middle_of_passing(i):
    a, b = socket.socketpair()
    a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [begin(i)]))])

for i in range(n):
    if os.fork() == 0:
        globals()[how](i)
        die()
    os.wait()
`

func TestMessageWhoseCloseSucceededIsSentHoweverItsWriterDies(t *testing.T) {
	t.Parallel()
	for how, n := range map[string]int{
		"close": 1000, "exit_after_dup": 100, "dup2_over": 100, "shell": 50, "exec_cloexec": 50, "exec_keeps": 50, "child_writes": 100, "child_keeps": 100,
		"spawn": 50, "thread_closes": 100, "thread_writes": 100, "passed_on": 100, "shared_table": 100,
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			mb := mount(t).mailbox(t, directory, "jobs").with("framing", "close", "capacity", "max")
			run(t, python, "-c", dyingSenders, mb.send, how, number(n)).prints("")
			mb.awaitStat("open_senders 0")
			mb.wantStat("messages " + number(n))
			sent := make(map[string]bool)
			for _, got := range mb.take() {
				sent[got] = true
			}
			for i := range n {
				if want := fmt.Sprintf("%d,whole", i); !sent[want] {
					t.Fatalf("%q is missing", want)
				}
			}
		})
	}
}

func TestNothingIsSentOfAMessageInTheMiddleOfWhichItsWriterIsKilled(t *testing.T) {
	t.Parallel()
	for how, n := range map[string]int{
		"middle": 300, "middle_of_copies": 100, "middle_with_child": 100, "middle_of_threads": 100, "middle_of_shell": 50, "middle_of_exec": 50,
		"middle_of_writing": 100, "middle_of_passing": 100,
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			mb := mount(t).mailbox(t, directory, "jobs").with("framing", "close", "capacity", "max")
			run(t, python, "-c", dyingSenders, mb.send, how, number(n)).prints("")
			mb.holdsNothing()
		})
	}
}

// Whoever has a copy of the descriptor closes it, or runs another program, whatever the others wait for.
func TestCloseOfACopyDoesNotWaitForTheWriteOfAnother(t *testing.T) {
	t.Parallel()
	for _, framing := range []string{"line", "close"} {
		t.Run(framing, func(t *testing.T) {
			t.Parallel()
			mb := mount(t).mailbox(t, directory, "jobs").with("capacity", "1")
			mb.put("q")
			mb.set("framing", framing)
			c := run(t, python, "-c", `
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
def waits():
    for waiters in iter(lambda: open(sys.argv[2]).read(), None):
        if waiters: return
if os.fork() == 0:
    os.write(fd, b"waits")
    os._exit(0)
waits()
os.close(os.dup(fd))
if os.fork() == 0:
    os.execlp("true", "true")
os.wait()
if os.fork() == 0:
    os._exit(0)
os.wait()
os.close(fd)
print("closed", flush=True)
sys.stdin.read(1)`, mb.send, mb.file("waiters"))
			c.expect("closed")
			mb.wantStat("senders_waiting 1")
			mb.set("capacity", "2") // which lets the writer go on
			mb.awaitQueue("q", "waits")
		})
	}
}

// The kernel was told when the file was opened that nobody needs to know of its closing.
func TestFilesThatWereOpenBeforeFramingWasSetAreFramed(t *testing.T) {
	t.Parallel()
	mb := mount(t).mailbox(t, directory, "jobs")
	const script = `
import os, signal, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
open(sys.argv[2], "w").write("close")
os.write(fd, b"text")
if sys.argv[3] == "closes":
    os.close(fd)
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)`
	run(t, python, "-c", script, mb.send, mb.file("framing"), "dies").wait()
	mb.holdsNothing()
	mb.set("framing", "write")
	run(t, python, "-c", script, mb.send, mb.file("framing"), "closes").prints("")
	mb.awaitQueue("text")
}
