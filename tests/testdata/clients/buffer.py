"""buffer.py PATH SLOTS N produce|consume [EMPTY FULL] is one side of segment.c's bounded buffer."""
import ctypes, mmap, os, struct, sys

path, slots, n, role = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
fd = os.open(path, os.O_RDWR)
m = mmap.mmap(fd, 128 + 8 * slots)
libc = ctypes.CDLL(None, use_errno=True)
base = ctypes.addressof(ctypes.c_char.from_buffer(m))
files = [os.open(f, os.O_RDWR) for f in sys.argv[5:]]


def down(which):
    if files:
        assert os.read(files[which], 32)
    else:
        assert libc.sem_wait(ctypes.c_void_p(base + 64 * which)) == 0


def up(which):
    if files:
        assert os.write(files[which], b"\n") == 1
    else:
        assert libc.sem_post(ctypes.c_void_p(base + 64 * which)) == 0


for i in range(1, n + 1):
    at = 128 + 8 * (i % slots)
    if role == "produce":
        down(0)
        struct.pack_into("=Q", m, at, i)
        up(1)
    else:
        down(1)
        got = struct.unpack_from("=Q", m, at)[0]
        assert got == i, "got %d, want %d" % (got, i)
        up(0)
print(n)
