package fs

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A store keeps the memory of a mount's segments in files that no path leads to.
//
// Where the daemon may, they are files of a tmpfs of its own that is mounted
// nowhere. Its size is the mount's limit of bytes: writes that go to the files without
// asking the daemon (passthrough) fail with ENOSPC there, as in any tmpfs, though they
// do not know of the bytes of messages. A segment that nobody has open costs no
// descriptor. Otherwise they are memfds, one descriptor each; without the privilege
// for a tmpfs there is no passthrough either, so every write asks the daemon and its
// ledger.
type store struct {
	dir  int // the root of the tmpfs, -1 if there is none
	last atomic.Uint64

	once        sync.Once
	passthrough bool // valid after once
}

func newStore(limit int64) *store {
	s := &store{dir: -1}
	if dir, err := mountPrivately(limit); err == nil {
		s.dir = dir
	}
	return s
}

// tmpfsSize is the option size= of tmpfs(5) for a limit in bytes; 0 is none. What is
// less than a page counts as one, as in the ledger.
func tmpfsSize(limit int64) string {
	if limit == objects.Unbounded {
		return "0"
	}
	return strconv.FormatInt(max(limit, 1), 10)
}

// mountPrivately makes a tmpfs and returns its root.
func mountPrivately(limit int64) (dir int, err error) {
	fd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	for _, option := range [][2]string{
		{"size", tmpfsSize(limit)},
		{"nr_inodes", "0"}, // the ledger counts objects
		{"mode", "0700"},
	} {
		if err := unix.FsconfigSetString(fd, option[0], option[1]); err != nil {
			return -1, fmt.Errorf("%s=%s: %w", option[0], option[1], err)
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		return -1, err
	}
	return unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
}

// limit changes the size of the tmpfs. EINVAL: more than that is in use.
func (s *store) limit(n int64) error {
	if s.dir < 0 {
		return nil
	}
	fd, err := unix.Fspick(s.dir, "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.FsconfigSetString(fd, "size", tmpfsSize(n)); err != nil {
		return err
	}
	return unix.FsconfigReconfigure(fd)
}

// passes reports whether the kernel takes our files for backing files. It finds out
// when it is first asked: the connection must be up.
func (s *store) passes(f *FS) bool {
	s.once.Do(func() {
		if f.cfg.NoPassthrough {
			return
		}
		m := s.memory(f.conn)
		defer m.Free()
		errno := m.open()
		if errno == 0 {
			var id int32
			if id, errno = f.conn.OpenBacking(m.fd); errno == 0 {
				f.conn.CloseBacking(id)
			}
			m.close()
		}
		s.passthrough = errno == 0
		if errno != 0 {
			f.log.Printf("segments go through the page cache: passthrough: %v", errno)
		}
	})
	return s.passthrough
}

func (s *store) close() {
	if s.dir >= 0 {
		unix.Close(s.dir)
	}
}

// A memory is the bytes of one segment: a file that is made when it is first needed.
// It is guarded by the mutex of the segment's object.
type memory struct {
	store *store
	conn  *fusedev.Conn

	name    string // in the store's tmpfs; "" if it is not made yet, or a memfd
	fd      int    // -1: not open
	users   int    // open handles
	backing int32  // the kernel's number for it, 0 if it has none
	passed  bool   // it has had one: the kernel may have mapped the file itself
	freed   bool
}

var _ objects.Storage = (*memory)(nil)

// memory makes an empty memory.
func (s *store) memory(c *fusedev.Conn) *memory { return &memory{store: s, conn: c, fd: -1} }

// errnoOf is the errno for an error of package unix or syscall.
func errnoOf(err error) syscall.Errno {
	switch e, ok := err.(syscall.Errno); {
	case err == nil:
		return 0
	case !ok:
		return syscall.EIO
	case e == syscall.EMFILE: // the daemon's limit, not the client's
		return syscall.ENFILE
	default:
		return e
	}
}

// ready opens the file, making it if there is none.
func (m *memory) ready() syscall.Errno {
	if m.freed {
		return syscall.EIDRM
	}
	if m.fd >= 0 {
		return 0
	}
	var fd int
	var err error
	switch {
	case m.store.dir < 0:
		fd, err = unix.MemfdCreate("ipcfs", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
		if err == unix.EINVAL { // before Linux 6.3
			fd, err = unix.MemfdCreate("ipcfs", unix.MFD_CLOEXEC)
		}
	case m.name == "":
		name := strconv.FormatUint(m.store.last.Add(1), 36)
		fd, err = unix.Openat(m.store.dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		if err == nil {
			m.name = name
		}
	default:
		fd, err = unix.Openat(m.store.dir, m.name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return errnoOf(err)
	}
	m.fd = fd
	return 0
}

// rest closes the file if nobody needs it open.
func (m *memory) rest() {
	if m.users == 0 && m.name != "" && m.fd >= 0 {
		unix.Close(m.fd)
		m.fd = -1
	}
}

// do calls f with the open file.
func (m *memory) do(f func(fd int) error) syscall.Errno {
	if errno := m.ready(); errno != 0 {
		return errno
	}
	defer m.rest()
	for {
		if err := f(m.fd); err != unix.EINTR {
			return errnoOf(err)
		}
	}
}

// open readies the file for a handle.
func (m *memory) open() syscall.Errno {
	errno := m.ready()
	if errno == 0 {
		m.users++
	}
	return errno
}

// close ends a handle that open was called for. With the last one the kernel's number
// goes, too.
func (m *memory) close() {
	if m.users--; m.users > 0 {
		return
	}
	if m.backing != 0 {
		m.conn.CloseBacking(m.backing)
		m.backing = 0
	}
	m.rest()
}

// back returns the kernel's number for the file, which is open.
func (m *memory) back() (int32, syscall.Errno) {
	if m.backing == 0 {
		id, errno := m.conn.OpenBacking(m.fd)
		if errno != 0 {
			return 0, errnoOf(errno)
		}
		m.backing, m.passed = id, true
	}
	return m.backing, 0
}

// stat is fstat(2); ok is false if there is no file yet.
func (m *memory) stat() (st unix.Stat_t, ok bool) {
	switch {
	case m.fd >= 0:
		return st, unix.Fstat(m.fd, &st) == nil
	case m.name != "":
		return st, unix.Fstatat(m.store.dir, m.name, &st, 0) == nil
	}
	return st, false
}

// Size implements objects.Storage.
func (m *memory) Size() int64 {
	st, _ := m.stat()
	return st.Size
}

// ReadAt implements objects.Storage.
func (m *memory) ReadAt(p []byte, offset int64) (n int, errno syscall.Errno) {
	errno = m.do(func(fd int) (err error) {
		n, err = unix.Pread(fd, p, offset)
		return err
	})
	return max(n, 0), errno
}

// WriteAt implements objects.Storage.
func (m *memory) WriteAt(p []byte, offset int64) (n int, errno syscall.Errno) {
	errno = m.do(func(fd int) (err error) {
		n, err = unix.Pwrite(fd, p, offset)
		return err
	})
	return max(n, 0), errno
}

// Truncate implements objects.Storage.
func (m *memory) Truncate(size int64) syscall.Errno {
	return m.do(func(fd int) error { return unix.Ftruncate(fd, size) })
}

// Allocate implements objects.Storage.
func (m *memory) Allocate(offset, n int64, keepSize bool) syscall.Errno {
	mode := uint32(0)
	if keepSize {
		mode = unix.FALLOC_FL_KEEP_SIZE
	}
	return m.do(func(fd int) error { return unix.Fallocate(fd, mode, offset, n) })
}

// Punch implements objects.Storage.
func (m *memory) Punch(offset, n int64) syscall.Errno {
	return m.do(func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, n)
	})
}

// Mapped implements objects.Storage. A mapping that was passed through is of our file
// and keeps none of the mount's open (backing_file_mmap, fs/backing-file.c). The kernel
// grants a lease for writing only to the one who has a file open (fcntl(2), F_SETLEASE).
func (m *memory) Mapped() bool {
	return m.users > 0 || m.passed && m.do(func(fd int) error {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
			return err
		}
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
		return err
	}) != 0
}

// Move implements objects.Storage.
func (m *memory) Move() objects.Storage {
	moved := &memory{store: m.store, conn: m.conn, name: m.name, fd: m.fd, freed: m.freed}
	m.name, m.fd, m.freed = "", -1, true
	return moved
}

// Free implements objects.Storage. Who has it mapped keeps it until the mapping ends.
func (m *memory) Free() {
	m.freed = true
	if m.name != "" {
		// It cannot fail: nobody else can reach the directory.
		_ = unix.Unlinkat(m.store.dir, m.name, 0)
		m.name = ""
	}
	if m.fd >= 0 {
		unix.Close(m.fd)
		m.fd = -1
	}
}

// seek is lseek(2) with SEEK_DATA or SEEK_HOLE.
func (m *memory) seek(offset int64, whence int) (at int64, errno syscall.Errno) {
	errno = m.do(func(fd int) (err error) {
		at, err = unix.Seek(fd, offset, whence)
		return err
	})
	return at, errno
}

// touch sets times as utimensat(2) does, to what is not nil.
func (m *memory) touch(atime, mtime *time.Time) syscall.Errno {
	spec := func(t *time.Time) unix.Timespec {
		if t == nil {
			return unix.Timespec{Nsec: unix.UTIME_OMIT}
		}
		return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
	}
	ts := [2]unix.Timespec{spec(atime), spec(mtime)}
	return m.do(func(fd int) error {
		// futimens(3): utimensat with no path.
		return unix.UtimesNanoAt(fd, "", ts[:], unix.AT_EMPTY_PATH)
	})
}

// attr shows the file's size, blocks and times.
func (m *memory) attr(out *fuse.Attr) {
	st, ok := m.stat()
	if !ok {
		return
	}
	out.Size, out.Blocks = uint64(st.Size), uint64(st.Blocks)
	atime, mtime := time.Unix(st.Atim.Unix()), time.Unix(st.Mtim.Unix())
	out.SetTimes(&atime, &mtime, nil)
	if ctime := time.Unix(st.Ctim.Unix()); ctime.After(out.ChangeTime()) {
		out.SetTimes(nil, nil, &ctime)
	}
}
