"""tmpfs.py DIR does what programs do with files in shared memory and prints what they see of it.

The lines are the same in a tmpfs and in the segments of an ipcfs. Those that begin with "exact" need memory that the
kernel maps directly: through the page cache holes are not known before they are written back.
"""
import ctypes, errno, mmap, os, signal, sys

os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
PAGE = 4096
RDWR, NEW = os.O_RDWR, os.O_RDWR | os.O_CREAT | os.O_EXCL


def attempt(f, *args, **named):
    try:
        return f(*args, **named)
    except OSError as e:
        return errno.errorcode[e.errno]


def fallocate(fd, mode, offset, n):
    r = libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(n))
    return errno.errorcode[ctypes.get_errno()] if r < 0 else r


def child(f, *args):
    """Runs f in a process of its own: its result, or the signal that ended it."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(w, repr(f(*args)).encode())
        os._exit(0)
    os.close(w)
    out = os.read(r, 4096).decode()
    os.close(r)
    status = os.waitpid(pid, 0)[1]
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else out


def shape(fd):
    st = os.fstat(fd)
    return st.st_size, st.st_nlink


def blocks(fd):
    return os.fstat(fd).st_blocks


def holes(fd):
    """The data of a file as lseek(2) tells it."""
    found, at, end = [], 0, os.fstat(fd).st_size
    while at < end:
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as e:
            found.append(errno.errorcode[e.errno])
            break
        at = os.lseek(fd, data, os.SEEK_HOLE)
        found.append((data, at))
    return found


print("new", attempt(os.open, "a", RDWR))
fd = os.open("a", NEW, 0o640)
print("again", attempt(os.open, "a", NEW))
print("empty", shape(fd), oct(os.fstat(fd).st_mode), os.read(fd, 10), blocks(fd))

# Mapped and read, by two processes.
os.ftruncate(fd, 1 << 20)
m = mmap.mmap(fd, 1 << 20)
m[0:5] = b"abcde"
print("pread of a store", os.pread(fd, 5, 0))
print("pwrite", os.pwrite(fd, b"XY", 2), m[0:5])


def stores():
    g = os.open("a", RDWR)
    n = mmap.mmap(g, 1 << 20)
    n[100], n[5000] = 42, 43
    n[(1 << 20) - 1] = 44
    return n[0:5]


print("another process", child(stores), m[100], m[5000], m[(1 << 20) - 1])
print("exact blocks", blocks(fd), holes(fd))
m.flush()
os.fsync(fd)
print("after msync", m[0:5], os.pread(fd, 5, 0))

# Sizes.
print("shrink", attempt(os.ftruncate, fd, PAGE), shape(fd))
print("beyond the end", child(lambda: m[5000]), child(lambda: m[PAGE - 1]), os.pread(fd, 10, 5000))
print("grow", attempt(os.ftruncate, fd, 2 * PAGE), m[5000], m[100])
os.ftruncate(fd, 102)
os.ftruncate(fd, PAGE)
print("cut within a page", m[100], m[102:110])
print("by path", attempt(os.truncate, "a", 3 * PAGE), shape(fd))
print("seen by a mapping", m[2 * PAGE])
print("too big", attempt(os.ftruncate, fd, -1), attempt(os.posix_fallocate, fd, 0, 0))

# read, write, append, lseek.
print("write", os.lseek(fd, 10, os.SEEK_SET), os.write(fd, b"hello"), os.lseek(fd, 0, os.SEEK_CUR))
print("end", os.lseek(fd, -1, os.SEEK_END), os.read(fd, 10), os.read(fd, 10))
g = os.open("a", os.O_WRONLY | os.O_APPEND)
print("append", os.write(g, b"tail"), os.write(g, b"+"), shape(fd), os.pread(fd, 10, 3 * PAGE))
print("wrong direction", attempt(os.read, g, 1), attempt(os.write, os.open("a", os.O_RDONLY), b"x"))
os.close(g)
print("far", os.pwrite(fd, b"z", 100 * PAGE), shape(fd), os.pread(fd, 3, 100 * PAGE - 2))
print("exact sparse", blocks(fd), holes(fd))
big = bytes(range(256)) * (3 << 12)  # 3 MiB, more than one request
print("big", os.pwrite(fd, big, 1), os.pread(fd, len(big), 1) == big, os.pread(fd, len(big) + 10, 1) == big)
print("vectors", os.pwritev(fd, [b"1", b"23", b"456"], 0), os.preadv(fd, [bytearray(2), bytearray(4)], 0), os.pread(fd, 6, 0))
copy = os.open("copy", NEW)
print("copied", os.copy_file_range(fd, copy, 5000, 1, 0), os.pread(copy, 6000, 0) == os.pread(fd, 5000, 1))
print("sent", os.sendfile(copy, fd, 0, 3000), os.pread(copy, 3000, 0) == os.pread(fd, 3000, 0))
os.close(copy)
os.unlink("copy")
os.close(os.open("a", os.O_WRONLY | os.O_TRUNC))
print("O_TRUNC", shape(fd), blocks(fd), child(lambda: m[0]))

# fallocate.
print("fallocate", fallocate(fd, 0, 0, 16 * PAGE), shape(fd), blocks(fd))
m[0:8] = b"12345678"
m[PAGE:PAGE + 4] = b"next"
print("punch", fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, PAGE), blocks(fd), m[0:8], m[PAGE:PAGE + 4], os.pread(fd, 8, 0))
print("punch a part", fallocate(fd, PUNCH_HOLE | KEEP_SIZE, PAGE + 1, 2), os.pread(fd, 4, PAGE), m[PAGE:PAGE + 4])
print("keep size", fallocate(fd, KEEP_SIZE, 0, 64 * PAGE), shape(fd), blocks(fd))
print("other modes", fallocate(fd, ZERO_RANGE, 0, PAGE), fallocate(fd, PUNCH_HOLE, 0, PAGE), fallocate(fd, 0, 0, 0), fallocate(fd, 0, -1, 5))
print("cut reserved", attempt(os.ftruncate, fd, PAGE), blocks(fd))

# Times.
os.utime("a", (1000000000.5, 1100000000.25))
st = os.stat("a")
print("utime", st.st_atime, st.st_mtime)
os.pwrite(fd, b"x", 0)
print("mtime moves", os.stat("a").st_mtime > 1200000000, os.stat("a").st_atime == 1000000000.5)
before = os.stat("a").st_ctime_ns
os.chmod("a", 0o604)
print("chmod", oct(os.stat("a").st_mode), os.stat("a").st_ctime_ns > before, os.stat("a").st_mtime_ns <= os.stat("a").st_ctime_ns)

# Names.
os.link("a", "b")
print("link", shape(fd), os.path.samefile("a", "b"), sorted(os.listdir(".")))
print("link over", attempt(os.link, "a", "b"), attempt(os.link, "missing", "c"))
os.unlink("a")
print("unlink one", shape(fd), os.listdir("."), attempt(os.stat, "a"))
os.pwrite(fd, b"same", 0)
print("by the other", open("b", "rb").read(4))
other = os.open("c", NEW, 0o600)
os.write(other, b"other")
os.rename("b", "c")
print("rename over", shape(fd), shape(other), os.pread(other, 10, 0), os.pwrite(other, b"alive", 0), os.pread(other, 10, 0), os.listdir("."))
os.close(other)
os.link("c", "d")
os.rename("c", "d")
print("rename to itself", sorted(os.listdir(".")), shape(fd))
os.unlink("d")
print("renamed to", attempt(os.rename, "c", ".hidden"), os.listdir("."), open(".hidden", "rb").read(4))
os.unlink(".hidden")
print("gone", shape(fd), os.listdir("."), os.pread(fd, 4, 0))
os.ftruncate(fd, 1 << 20)
m[70000] = 7
print("lives on", m[70000], os.pread(fd, 1, 70000), fallocate(fd, 0, 0, PAGE))
again = os.open("/proc/self/fd/%d" % fd, RDWR)
print("reopened", os.pread(again, 1, 70000), shape(again))
os.close(again)
os.close(fd)
m[70001] = 8
print("only mapped", m[70000], m[70001], child(lambda: m[70001]))
m.close()

# O_TMPFILE.
fd = os.open(".", os.O_TMPFILE | RDWR, 0o600)
os.write(fd, b"no name")
print("tmpfile", shape(fd), os.listdir("."))
os.link("/proc/self/fd/%d" % fd, "t", src_dir_fd=fd, follow_symlinks=True)
print("named", shape(fd), open("t").read())
os.unlink("t")
os.close(fd)
fd = os.open(".", os.O_TMPFILE | os.O_EXCL | RDWR, 0o600)
print("never named", attempt(os.link, "/proc/self/fd/%d" % fd, "t", src_dir_fd=fd, follow_symlinks=True))
os.close(fd)

# A private mapping is nobody else's.
fd = os.open("p", NEW)
os.write(fd, b"mine")
private = mmap.mmap(fd, 4, flags=mmap.MAP_PRIVATE)
private[0:1] = b"M"
print("private", private[:], os.pread(fd, 4, 0))
readonly = mmap.mmap(os.open("p", os.O_RDONLY), 4, prot=mmap.PROT_READ)
os.pwrite(fd, b"m!", 0)
print("read-only", readonly[:])
print("not writable", attempt(mmap.mmap, os.open("p", os.O_RDONLY), 4))
os.unlink("p")
