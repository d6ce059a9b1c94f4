package fs

import (
	"io"
	"log"
	"sync"
	"syscall"
	"time"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"
	"ipcfs/objects/filelock"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// threads is how many threads read /dev/fuse. A second one keeps the mount serving
// while the first handles a large write or a long directory.
const threads = 2

// Config is what a mount is made with. The zero value works.
type Config struct {
	Log      *log.Logger // nil discards
	Version  string      // shown in .ipcfs/version
	Uid, Gid uint32      // owner of the directories of the tree

	// NoPassthrough sends the memory of segments through the page cache even where
	// the kernel could use it directly.
	NoPassthrough bool

	// Limits of what all objects of the mount may hold; 0 stands for a default
	// that follows the machine's memory.
	MaxBytes, MaxMessages, MaxObjects int64

	// Limited, unless it is nil, is told how many bytes of memory all that users have
	// may cost, whenever that is set. Freed is called when users have given much of it
	// back; it must not wait.
	Limited func(bytes int64)
	Freed   func()
}

// An FS is one mount's tree of objects.
type FS struct {
	fuse.RawFileSystem // answers the rest: extended attributes, EOPNOTSUPP to who asks for them

	cfg    Config
	log    *log.Logger
	start  time.Time
	ledger *ledger
	store  *store
	fds    *descriptors
	conn   *fusedev.Conn
	keep   func([]byte) objects.Buffer // keepData, made once
	ready  chan struct{}
	trace  traceSource

	oblivion oblivion
	ended    func(thread uint32) bool // the function of that name, but in tests
	guard    *guard

	posix struct {
		mu    sync.Mutex // serialises the locks of fcntl(2)
		waits filelock.Waits
	}

	mu      sync.Mutex // guards the tree and everything below
	nodes   map[uint64]*node
	lastID  uint64 // of nodes
	lastIno uint64 // of objects
	root    *staticDir
	kinds   []*kindDir
	down    bool // Shutdown was called: nothing new is made

	known      series[*node] // those that are on the books
	knownCount int
	thinning   bool   // the kernel is being asked to forget some
	thinned    uint64 // lastID when it was last

	handlesMu sync.RWMutex // guards handles, dirs and lastFh
	handles   map[uint64]*handle
	dirs      map[uint64]*openDir // those that keep something
	lastFh    uint64
}

// New makes an FS with a directory for each kind and no objects.
func New(cfg Config) *FS {
	if cfg.Log == nil {
		cfg.Log = log.New(io.Discard, "", 0)
	}
	now := time.Now()
	f := &FS{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		cfg:           cfg,
		log:           cfg.Log,
		start:         now,
		ledger:        newLedger(cfg),
		fds:           newDescriptors(cfg.Log),
		ready:         make(chan struct{}),
		ended:         ended,
		nodes:         make(map[uint64]*node),
		lastID:        fuse.FUSE_ROOT_ID,
		lastIno:       firstObjectIno,
		handles:       make(map[uint64]*handle),
		dirs:          make(map[uint64]*openDir),
	}
	f.noteLimit()
	f.store = newStore(f)
	f.guard = newGuard(f)
	f.makeRoot()
	return f
}

// Serve answers the requests of the /dev/fuse descriptor dev until the file system
// is unmounted. It returns nil on a clean end.
func (f *FS) Serve(dev int) error {
	f.conn = fusedev.NewConn(dev, f, f, f.log)
	f.keep = f.keepData
	f.spawn("the wait for the kernel", func() {
		<-f.conn.Ready()
		close(f.ready)
	})
	if end, err := f.watchWall(); err != nil {
		f.log.Printf("times are shown wrong if the clock is set: %v", err)
	} else {
		defer end()
	}
	err := f.conn.Serve(threads)
	f.Shutdown()
	return err
}

// Ready is closed when the mount serves.
func (f *FS) Ready() <-chan struct{} { return f.ready }

// Shutdown destroys every object: whoever waits gets EIDRM, and nothing new can be
// made. It is called before the mount is detached.
func (f *FS) Shutdown() {
	for _, o := range f.goDown() {
		f.endObject(o)
	}
	f.endObject(&f.trace.object)
}

// goDown has nothing new made, and returns the objects that there are.
func (f *FS) goDown() (all []*object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = true
	for _, d := range f.kinds {
		for _, o := range d.all.after(0) {
			all = append(all, o)
		}
	}
	return all
}

// now is the time as objects count it.
func (f *FS) now() objects.Time { return wall.now() }

// String implements fuse.RawFileSystem.
func (f *FS) String() string { return "ipcfs" }

// status turns an errno into go-fuse's type for it.
func status(errno syscall.Errno) fuse.Status { return fuse.Status(errno) }
