package fs

import (
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ipcfs/objects/segment"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A store keeps the memory of a mount's segments in memfds, memfd_create(2), one
// descriptor each.
//
// A memfd can be sealed, and its seal against writing is the only thing in Linux that
// knows of memory which somebody has pinned (io_uring(7), AIO, vmsplice(2)) and can change
// after having unmapped and closed it. A file of a tmpfs cannot be sealed. A memfd has no
// file system whose size bounds it: what may make it grow asks the daemon and its ledger.
type store struct {
	fs *FS

	mu          sync.Mutex // guards what follows
	asked       bool       // whether there is passthrough
	passthrough bool

	toFree   []freeable // memory that is to be freed
	clearing bool       // a goroutine does it
	queued   chan struct{}
}

func newStore(f *FS) *store { return &store{fs: f, queued: make(chan struct{}, 1)} }

// tryPassthrough returns nil if the kernel takes our files for backing files.
func (s *store) tryPassthrough() error {
	fd, err := memfdCreate()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	id, errno := s.fs.conn.OpenBacking(fd)
	if errno != 0 {
		return errno
	}
	s.fs.conn.CloseBacking(id)
	return nil
}

// passes reports whether the kernel takes our files for backing files. It finds out
// when it is first asked: the connection must be up. ENFILE: it could not find out now.
func (s *store) passes(f *FS) (bool, syscall.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked {
		return s.passthrough, 0
	}
	var err error = syscall.EOPNOTSUPP
	if !f.cfg.NoPassthrough {
		err = s.tryPassthrough()
	}
	if scarce(err) {
		f.fds.short(err)
		return false, syscall.ENFILE
	}
	s.asked, s.passthrough = true, err == nil
	if err != nil && !f.cfg.NoPassthrough {
		f.log.Printf("segments go through the page cache: passthrough: %v", err)
	}
	return s.passthrough, 0
}

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

// memfdCreate makes a memfd of size 0, and opens it once more by its name in /proc. The
// first file does not count among those that are open for writing, so that no lease for
// writing is granted for it (memfd.mapped).
func memfdCreate() (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("ipcfs", flags|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate("ipcfs", flags)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	return unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
}

// A memfd is a file of memory that several use: the segment, and who works on its bytes
// without a lock. The last closes it.
type memfd struct {
	fd    int
	fds   *descriptors
	owner atomic.Uint32 // on whom the descriptor is booked
	users atomic.Int32
}

// newMemfd makes a memfd for one user. ENFILE: there is no descriptor for uid.
func (s *store) newMemfd(uid uint32) (*memfd, syscall.Errno) {
	if errno := s.fs.fds.take(uid); errno != 0 {
		return nil, errno
	}
	fd, err := memfdCreate()
	if err != nil {
		s.fs.fds.give(uid)
		if scarce(err) {
			s.fs.fds.short(err)
		}
		return nil, errnoOf(err)
	}
	m := &memfd{fd: fd, fds: s.fs.fds}
	m.owner.Store(uid)
	m.users.Store(1)
	return m, 0
}

func (m *memfd) use() *memfd {
	m.users.Add(1)
	return m
}

func (m *memfd) drop() {
	if m.users.Add(-1) == 0 {
		unix.Close(m.fd)
		m.fds.give(m.owner.Load())
	}
}

// seal adds seals, fcntl(2). EBUSY, for F_SEAL_WRITE: somebody has it mapped for writing,
// or has pinned some of it. It takes 20 ms a GiB, and waits up to 150 ms for pins.
func (m *memfd) seal(seals int) syscall.Errno {
	for {
		_, err := unix.FcntlInt(uintptr(m.fd), unix.F_ADD_SEALS, seals)
		if err != unix.EINTR {
			return errnoOf(err)
		}
	}
}

// mapped reports whether anybody but us has it open or mapped. The kernel grants a lease
// for writing only to the one who has a file open (fcntl(2), F_SETLEASE), and knows of
// mappings there, but not of pins.
func (m *memfd) mapped() bool {
	if _, err := unix.FcntlInt(uintptr(m.fd), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		return true
	}
	_, err := unix.FcntlInt(uintptr(m.fd), unix.F_SETLEASE, unix.F_UNLCK)
	return err != nil
}

func (m *memfd) size() int64 {
	var st unix.Stat_t
	if unix.Fstat(m.fd, &st) != nil {
		return 0
	}
	return st.Size
}

// A freeable is memory that is not in use any more.
type freeable struct {
	file   *memfd
	passed bool
	refund func()
}

// quickly is how many bytes the kernel frees, zeroes or copies in about a millisecond.
// What takes longer is not done where others wait for it.
const quickly = 4 << 20

// free frees file, then calls refund. Where that takes long, or somebody still has it
// mapped, it happens later: memory that exists is on somebody's books.
func (s *store) free(g freeable) {
	if g.file.size() <= quickly && g.free() {
		return
	}
	if s.queueFree(g) {
		s.fs.spawn("freeing of memory", s.freeAll)
	}
	select {
	case s.queued <- struct{}{}:
	default:
	}
}

// free reports whether g could be freed, which it is then.
func (g freeable) free() bool {
	if g.passed && g.file.mapped() {
		return false
	}
	g.file.drop()
	g.refund()
	return true
}

// queueFree adds g to what is to be freed, and reports whether nobody sees to that yet.
func (s *store) queueFree(g freeable) (idle bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.toFree = append(s.toFree, g)
	idle, s.clearing = !s.clearing, true
	return idle
}

// The kernel does not say when a mapping ends: it is asked, first soon and then less often.
const (
	askMappedFirst = 10 * time.Millisecond
	askMappedLast  = time.Second
)

// freeAll frees what is to be freed until there is no more.
func (s *store) freeAll() {
	pause := askMappedFirst
	for {
		waiting := s.takeToFree()
		if waiting == nil {
			return
		}
		for _, g := range waiting {
			if !g.free() {
				s.queueFree(g)
			}
		}
		select {
		case <-s.queued:
			pause = askMappedFirst
		case <-time.After(pause):
			pause = min(2*pause, askMappedLast)
		}
	}
}

// takeToFree returns what is to be freed; nil: nothing, and the one who asked need not
// ask again.
func (s *store) takeToFree() []freeable {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.toFree
	s.toFree = nil
	s.clearing = waiting != nil
	return waiting
}

// A memory is the bytes of one segment: a memfd that is made when it is first needed.
// It is guarded by the mutex of the segment's object.
type memory struct {
	store *store
	owner uint32

	file    *memfd // nil: it is not made yet, or freed
	users   int    // open handles
	backing int32  // the kernel's number for it, 0 if it has none
	passed  bool   // it has had one: the kernel may have mapped the file itself
	frozen  bool   // the file is sealed against writing
	bounded bool   // the file is sealed against growing
	freed   bool

	alone chan struct{} // somebody works on it alone, and closes this then; nil: nobody does
}

var _ segment.Storage = (*memory)(nil)

// memory makes an empty memory whose descriptor will be booked on uid.
func (s *store) memory(uid uint32) *memory { return &memory{store: s, owner: uid} }

// ready makes the file if there is none.
func (m *memory) ready() (errno syscall.Errno) {
	switch {
	case m.freed:
		return syscall.EIDRM
	case m.file == nil:
		m.file, errno = m.store.newMemfd(m.owner)
	}
	return errno
}

// do calls f with the file.
func (m *memory) do(f func(fd int) error) syscall.Errno {
	if errno := m.ready(); errno != 0 {
		return errno
	}
	for {
		if err := f(m.file.fd); err != unix.EINTR {
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
	if m.users--; m.users == 0 && m.backing != 0 {
		m.store.fs.conn.CloseBacking(m.backing)
		m.backing = 0
	}
}

// back returns the kernel's number for the file, which is open.
func (m *memory) back() (int32, syscall.Errno) {
	if m.backing == 0 {
		id, errno := m.store.fs.conn.OpenBacking(m.file.fd)
		if errno != 0 {
			return 0, errnoOf(errno)
		}
		m.backing, m.passed = id, true
	}
	return m.backing, 0
}

// bound seals the file against growing, which the segment is.
func (m *memory) bound() bool {
	m.bounded = m.bounded || m.file.seal(unix.F_SEAL_GROW) == 0
	return m.bounded
}

// stat is fstat(2); ok is false if there is no file yet.
func (m *memory) stat() (st unix.Stat_t, ok bool) {
	return st, m.file != nil && unix.Fstat(m.file.fd, &st) == nil
}

// Size implements segment.Storage.
func (m *memory) Size() int64 {
	st, _ := m.stat()
	return st.Size
}

// ReadAt implements segment.Storage.
func (m *memory) ReadAt(p []byte, offset int64) (n int, errno syscall.Errno) {
	errno = m.do(func(fd int) (err error) {
		n, err = unix.Pread(fd, p, offset)
		return err
	})
	return max(n, 0), errno
}

// WriteAt implements segment.Storage.
func (m *memory) WriteAt(p []byte, offset int64) (n int, errno syscall.Errno) {
	errno = m.do(func(fd int) (err error) {
		n, err = unix.Pwrite(fd, p, offset)
		return err
	})
	return max(n, 0), errno
}

// Truncate implements segment.Storage.
func (m *memory) Truncate(size int64) syscall.Errno {
	return m.do(func(fd int) error { return unix.Ftruncate(fd, size) })
}

// atOnce is how many bytes fallocate(2) takes at once, as a short write would. More are
// taken when they are first stored to: they are booked, and there is no file system that
// could run out of them.
const atOnce = 1 << 20

// Allocate implements segment.Storage.
func (m *memory) Allocate(offset, n int64, keepSize bool) syscall.Errno {
	return m.do(func(fd int) error {
		if n <= atOnce {
			mode := uint32(0)
			if keepSize {
				mode = unix.FALLOC_FL_KEEP_SIZE
			}
			return unix.Fallocate(fd, mode, offset, n)
		}
		if keepSize || offset+n <= m.Size() {
			return nil
		}
		return unix.Ftruncate(fd, offset+n)
	})
}

// Punch implements segment.Storage.
func (m *memory) Punch(offset, n int64) syscall.Errno {
	return m.do(func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, n)
	})
}

// Mapped implements segment.Storage. A mapping that was passed through is of our file
// and keeps none of the mount's open (backing_file_mmap, fs/backing-file.c).
func (m *memory) Mapped() bool {
	return m.users > 0 || m.passed && m.file != nil && m.file.mapped()
}

// Frozen implements segment.Storage. The page cache of a mount that does not pass through
// is not our memory: what is pinned there is left behind.
func (m *memory) Frozen() bool { return !m.passed || m.frozen || m.file == nil }

// Move implements segment.Storage.
func (m *memory) Move(owner uint32) segment.Storage {
	moved := &memory{store: m.store, owner: owner, file: m.file, frozen: m.frozen, bounded: m.bounded, freed: m.freed}
	if m.file != nil && m.owner != owner {
		m.store.fs.fds.move(m.file.owner.Swap(owner), owner)
	}
	m.file, m.frozen, m.bounded, m.freed = nil, false, false, true
	return moved
}

// Free implements segment.Storage.
func (m *memory) Free(refund func()) {
	file := m.file
	m.file, m.frozen, m.bounded, m.freed = nil, false, false, true
	if file == nil {
		refund()
		return
	}
	m.store.free(freeable{file, m.passed, refund})
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
