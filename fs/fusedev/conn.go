package fusedev

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Opcodes that are looked at here, linux/fuse.h.
const (
	opLookup    = 1
	opSetattr   = 4
	opRename    = 12
	opOpen      = 14
	opRead      = 15
	opWrite     = 16
	opGetxattr  = 22
	opListxattr = 23
	opInit      = 26
	opOpendir   = 27
	opReaddir   = 28
	opGetlk     = 31
	opSetlk     = 32
	opSetlkw    = 33
	opInterrupt = 36
	opIoctl     = 39
	opPoll      = 40
	opFallocate = 43
	opRename2   = 45
)

// MaxWrite is the largest WRITE and READ in bytes that is negotiated: 256 pages, the
// default of fs.fuse.max_pages_limit.
const MaxWrite = 1 << 20

// BufferSize holds the largest request: a WRITE of MaxWrite and its headers.
const BufferSize = MaxWrite + 4096

// A Handler answers the requests that may wait. Each method either replies through
// the Conn before it returns, or parks the request and has it replied to later. The
// in structs and data are valid only during the call.
type Handler interface {
	ServeOpen(c *Conn, in *fuse.OpenIn)
	ServeRead(c *Conn, in *fuse.ReadIn)
	ServeWrite(c *Conn, in *fuse.WriteIn, data []byte)
	ServePoll(c *Conn, in *PollIn)
	ServeGetlk(c *Conn, in *fuse.LkIn)
	ServeSetlk(c *Conn, in *fuse.LkIn, wait bool)

	// AwaitCaller returns when the thread caller of a LOOKUP that was answered
	// Later sleeps. It may block.
	AwaitCaller(caller uint32)
}

// Later as the answer to a LOOKUP has the request handled once more when its caller
// sleeps. No errno is as large (MAX_ERRNO, include/linux/err.h).
const Later syscall.Errno = 4096

// PollIn is struct fuse_poll_in with its header, linux/fuse.h.
type PollIn struct {
	fuse.InHeader
	Fh     uint64
	Kh     uint64 // names the open file in NotifyPoll
	Flags  uint32 // PollScheduleNotify
	Events uint32 // what the caller asks for
}

// PollScheduleNotify in PollIn.Flags asks for a NotifyPoll when the state changes.
const PollScheduleNotify = 1 << 0

// A Parked request waits for its reply.
type Parked interface {
	// Interrupt ends the request with EINTR unless it has finished. It is called
	// without any lock of the Conn held.
	Interrupt()
}

// perDevice is how many parked requests one device takes: the kernel finds the
// request of a reply in one of 256 lists of the device (FUSE_PQ_HASH_SIZE,
// fs/fuse/dev.c), which should stay short.
const perDevice = 512

// A Conn is one device of the connection to a mount. A request is answered through
// the device that it was read from; notifications go through any.
type Conn struct {
	*mount
	dev     int
	waiting int // parked requests; guarded by mu
}

// A mount is what the devices of a connection share.
type mount struct {
	h     Handler
	cold  *fuse.ProtocolServer
	log   *log.Logger
	ready chan struct{} // closed when INIT has been answered
	turn  chan struct{} // holds a token while no thread reads

	holder  atomic.Pointer[slot] // of the thread that handles a request and has the turn
	turns   turns
	loops   [maxThreads]slot        // of each thread
	current atomic.Pointer[Conn]    // the device to read from
	devices atomic.Pointer[[]*Conn] // all; stored with mu held

	requests atomic.Int64 // read so far

	mu     sync.Mutex        // guards what follows
	parked map[uint64]Parked // by the unique number of the request
	alone  bool              // no further device can be opened, ever
	crowd  bool              // the log knows that one could not be opened

	threadsMu sync.Mutex // guards what follows
	threads   int        // that serve
	idle      int        // that wait for the turn
	enough    int        // how many may be idle
	err       error      // that ended the first of them
	ended     sync.WaitGroup
}

// A slot is a thread's place among those that serve.
type slot struct {
	taken bool                   // guarded by threadsMu
	buf   atomic.Pointer[Buffer] // what the thread reads requests into
}

// maxThreads is how many threads serve at most: each that waits or works long has one,
// and a buffer of BufferSize.
const maxThreads = 64

// NewConn serves the /dev/fuse descriptor dev, which it owns from now on: h answers
// what may wait, cold the rest.
func NewConn(dev int, h Handler, cold fuse.RawFileSystem, l *log.Logger) *Conn {
	m := &mount{
		h: h,
		cold: fuse.NewProtocolServer(cold, &fuse.MountOptions{
			MaxWrite:           MaxWrite,
			EnableLocks:        true,
			DisableXAttrs:      true,
			DisableReadDirPlus: true,
			// A new mtime must not drop the cached pages that processes have mapped.
			ExplicitDataCacheControl: true,
			Logger:                   l,
			Name:                     "ipcfs",
		}),
		log:    l,
		ready:  make(chan struct{}),
		turn:   make(chan struct{}, 1),
		parked: make(map[uint64]Parked),
	}
	c := &Conn{mount: m, dev: dev}
	m.devices.Store(&[]*Conn{c})
	m.current.Store(c)
	return c
}

// roomy is the device to read from when c has enough parked requests: the first that
// has fewer, a new one if there is none, c itself if none can be opened now. mu is held.
func (c *Conn) roomy() *Conn {
	devices := *c.devices.Load()
	for _, d := range devices {
		if d.waiting < perDevice {
			return d
		}
	}
	if c.alone {
		return c
	}
	fd, err := clone(devices[0].dev)
	if err != nil {
		// A shortage passes: the next request that waits tries again.
		c.alone = err != unix.EMFILE && err != unix.ENFILE && err != unix.ENOMEM
		if !c.crowd {
			c.log.Printf("%s cannot be opened once more, which makes many waiting requests slow: %v", device, err)
		}
		c.crowd = true
		return c
	}
	c.crowd = false
	d := &Conn{mount: c.mount, dev: fd}
	devices = append(slices.Clip(devices), d)
	c.devices.Store(&devices)
	return d
}

// clone opens another device of the connection of dev: FUSE_DEV_IOC_CLONE,
// linux/fuse.h.
func clone(dev int) (int, error) {
	const fuseDevIocClone = 0x8004e500
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.IoctlSetPointerInt(fd, fuseDevIocClone, dev); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Ready is closed when the kernel and we have agreed on the protocol: from then on
// the mount serves.
func (c *Conn) Ready() <-chan struct{} { return c.ready }

// Serve reads and handles requests in threads threads, and more while those are busy,
// until the file system is unmounted, then closes the descriptor.
func (c *Conn) Serve(threads int) error {
	defer func() {
		c.turns.stop()
		for _, d := range *c.devices.Load() {
			unix.Close(d.dev)
		}
	}()
	if err := c.init(make([]byte, BufferSize)); err != nil {
		return fmt.Errorf("INIT: %w", err)
	}
	close(c.ready)
	c.enough = threads
	c.turn <- struct{}{}
	for range threads {
		c.recruit()
	}
	c.ended.Wait()
	return c.err
}

// recruit starts another thread, unless there are enough.
func (c *Conn) recruit() {
	c.threadsMu.Lock()
	defer c.threadsMu.Unlock()
	if c.threads == maxThreads {
		return
	}
	s := &c.loops[0]
	for i := range c.loops {
		if s = &c.loops[i]; !s.taken {
			break
		}
	}
	s.taken = true
	c.threads++
	c.ended.Add(1)
	go c.thread(s)
}

// thread serves until it is not needed.
func (c *Conn) thread(s *slot) {
	err := errors.New("thread ended by a panic")
	defer func() {
		if p := recover(); p != nil {
			c.logPanic("the loop", p)
			c.turn <- struct{}{} // what panics between two requests has the turn
		}
		c.leave(s, err)
	}()
	err = c.loop(s)
}

// leave notes that the thread of s ends.
func (c *Conn) leave(s *slot, err error) {
	defer c.ended.Done()
	if b := s.buf.Swap(nil); b != nil {
		buffers.Put(b)
	}
	c.threadsMu.Lock()
	defer c.threadsMu.Unlock()
	s.taken = false
	c.threads--
	if c.err == nil {
		c.err = err
	}
}

// await takes the turn. It reports false to a thread that is one too many.
func (c *Conn) await() bool {
	if !c.beIdle() {
		return false
	}
	<-c.turn
	c.threadsMu.Lock()
	defer c.threadsMu.Unlock()
	c.idle--
	return true
}

func (c *Conn) beIdle() bool {
	c.threadsMu.Lock()
	defer c.threadsMu.Unlock()
	if c.idle >= c.enough {
		return false
	}
	c.idle++
	return true
}

// Yield gives the turn to another thread if a handler has it. A handler calls it before
// it waits for what others may have for long, or works long itself: everybody's
// requests wait for the thread that has the turn. To call it elsewhere does no harm.
func (c *Conn) Yield() {
	if c.holder.Swap(nil) == nil {
		return
	}
	if c.nobodyIdle() {
		c.recruit()
	}
	c.turn <- struct{}{}
}

func (c *Conn) nobodyIdle() bool {
	c.threadsMu.Lock()
	defer c.threadsMu.Unlock()
	return c.idle == 0
}

// init answers requests until INIT, the first, has been seen.
func (c *Conn) init(buf []byte) error {
	for {
		n, err := c.read(buf)
		if err != nil {
			return err
		}
		if (*fuse.InHeader)(unsafe.Pointer(&buf[0])).Opcode == opInit {
			c.handleCold(buf[:n])
			return nil
		}
	}
}

// loop reads and handles requests when it is its turn. One thread reads at a time:
// the kernel would wake two in turn, each from its sleep, while one finds the next
// request there when it has handled the last. A request that may take long is
// handled after another thread has been given the turn, and so is the rest of one that
// turns out to: see Yield.
func (c *Conn) loop(s *slot) error {
	for c.await() {
		for reading := true; reading; reading = c.holder.CompareAndSwap(s, nil) {
			buf := s.buf.Load()
			if buf == nil { // the last was kept
				buf = buffers.Get().(*Buffer)
				s.buf.Store(buf)
			}
			d := c.current.Load()
			n, err := d.read(buf.data[:])
			switch err {
			case nil:
			case unix.ENODEV, unix.ECONNABORTED: // unmounted, the latter while we read
				c.turn <- struct{}{} // for the others to see it too
				return nil
			default:
				c.turn <- struct{}{}
				return fmt.Errorf("read %s: %w", device, err)
			}
			c.holder.Store(s)
			c.requests.Add(1)
			if aside(buf.data[:n]) {
				req := bytes.Clone(buf.data[:n])
				go d.handle(req)
				continue
			}
			if slow(buf.data[:n]) {
				c.Yield()
			}
			d.handleInTurn(buf.data[:n])
		}
	}
	return nil
}

// SlowHandle in the number of a handle says that its reads and writes may take long.
const SlowHandle = 1 << 63

// longWrite is the size in bytes from which copying a WRITE takes longer than waking
// another thread.
const longWrite = 256 << 10

// SlowNode in the number of a node says that setting its size may take long.
const SlowNode = 1 << 62

// longHole is the length in bytes from which punching a hole takes long.
const longHole = 4 << 20

// aside reports whether the request may take so long that no thread is to be kept from
// reading by it: one that frees memory, and a rename from one directory to another, which
// may send a segment.
func aside(req []byte) bool {
	in := unsafe.Pointer(&req[0])
	opcode := (*fuse.InHeader)(in).Opcode
	if len(req) < shortest(opcode) {
		return false
	}
	switch opcode {
	case opSetattr:
		s := (*fuse.SetAttrIn)(in)
		return s.NodeId&SlowNode != 0 && s.Valid&fuse.FATTR_SIZE != 0
	case opFallocate:
		return (*fuse.FallocateIn)(in).Length > longHole
	case opRename, opRename2:
		r := (*fuse.RenameIn)(in)
		return r.Newdir != r.NodeId
	}
	return false
}

// slow reports whether the request may take long.
func slow(req []byte) bool {
	in := unsafe.Pointer(&req[0])
	opcode := (*fuse.InHeader)(in).Opcode
	if len(req) < shortest(opcode) {
		return false
	}
	switch opcode {
	case opRead:
		return (*fuse.ReadIn)(in).Fh&SlowHandle != 0
	case opWrite:
		w := (*fuse.WriteIn)(in)
		return w.Fh&SlowHandle != 0 || w.Size >= longWrite
	case opOpendir, opReaddir:
		return true
	}
	return false
}

// read returns the next request. The errors that leave the connection alive are
// those of fuse_dev_do_read, fs/fuse/dev.c.
func (c *Conn) read(buf []byte) (int, error) {
	for {
		n, err := unix.Read(c.dev, buf)
		switch {
		case err == unix.EINTR, err == unix.ENOENT, err == unix.EAGAIN:
			continue // ENOENT: the request was interrupted before we got it
		case err != nil:
			return 0, err
		case n < int(unsafe.Sizeof(fuse.InHeader{})):
			return 0, fmt.Errorf("request of %d bytes", n)
		}
		return n, nil
	}
}

// handle answers one request. A panic is a defect: it is logged and costs the one
// request an EIO, not everybody their mount.
func (c *Conn) handle(req []byte) {
	in := unsafe.Pointer(&req[0])
	header := (*fuse.InHeader)(in)
	defer func() {
		if p := recover(); p != nil {
			c.logPanic(fmt.Sprintf("opcode %d", header.Opcode), p)
			c.Reply(header.Unique, syscall.EIO)
		}
	}()
	if len(req) < shortest(header.Opcode) {
		c.Reply(header.Unique, syscall.EINVAL)
		return
	}
	switch header.Opcode {
	case opRead:
		// Directories are read with READDIR, so this is a file.
		c.h.ServeRead(c, (*fuse.ReadIn)(in))
	case opWrite:
		w := (*fuse.WriteIn)(in)
		data := req[unsafe.Sizeof(*w):]
		if uint64(w.Size) > uint64(len(data)) { // what is behind it is of an earlier request
			c.Reply(header.Unique, syscall.EINVAL)
			return
		}
		c.h.ServeWrite(c, w, data[:w.Size])
	case opPoll:
		c.h.ServePoll(c, (*PollIn)(in))
	case opInterrupt:
		c.interrupt(header.Unique, (*fuse.InterruptIn)(in).Unique)
	case opOpen:
		c.h.ServeOpen(c, (*fuse.OpenIn)(in))
	case opGetlk:
		c.h.ServeGetlk(c, (*fuse.LkIn)(in))
	case opSetlk:
		c.h.ServeSetlk(c, (*fuse.LkIn)(in), false)
	case opSetlkw:
		c.h.ServeSetlk(c, (*fuse.LkIn)(in), true)
	default:
		c.handleCold(req)
	}
}

// shortest is how long a request is at least, in bytes. The kernel sends none that is
// shorter, so what is beyond would be of an earlier request.
func shortest(opcode uint32) int {
	switch opcode {
	case opRead, opReaddir:
		return int(unsafe.Sizeof(fuse.ReadIn{}))
	case opWrite:
		return int(unsafe.Sizeof(fuse.WriteIn{}))
	case opPoll:
		return int(unsafe.Sizeof(PollIn{}))
	case opInterrupt:
		return int(unsafe.Sizeof(fuse.InterruptIn{}))
	case opOpen, opOpendir:
		return int(unsafe.Sizeof(fuse.OpenIn{}))
	case opGetlk, opSetlk, opSetlkw:
		return int(unsafe.Sizeof(fuse.LkIn{}))
	case opIoctl:
		return int(unsafe.Sizeof(fuse.IoctlIn{}))
	case opGetxattr, opListxattr:
		return int(unsafe.Sizeof(fuse.GetXAttrIn{}))
	case opSetattr:
		return int(unsafe.Sizeof(fuse.SetAttrIn{}))
	case opFallocate:
		return int(unsafe.Sizeof(fuse.FallocateIn{}))
	case opRename, opRename2:
		return int(unsafe.Offsetof(fuse.RenameIn{}.Newdir) + unsafe.Sizeof(fuse.RenameIn{}.Newdir)) // RENAME has no flags
	}
	return int(unsafe.Sizeof(fuse.InHeader{}))
}

// logPanic logs the panic p with its stack.
func (c *Conn) logPanic(where string, p any) {
	stack := make([]byte, 64<<10)
	c.log.Printf("panic in %s: %v\n%s", where, p, stack[:runtime.Stack(stack, false)])
}

// coldReply is room for the reply to any request but those that name a size.
const coldReply = 512

var coldReplies = sync.Pool{New: func() any { return new([coldReply]byte) }}

func (c *Conn) handleCold(req []byte) {
	in := unsafe.Pointer(&req[0])
	header := (*fuse.InHeader)(in)
	size := coldReply
	switch header.Opcode {
	case opReaddir:
		size += int(min((*fuse.ReadIn)(in).Size, MaxWrite))
	case opIoctl:
		size += int(min((*fuse.IoctlIn)(in).OutSize, MaxWrite))
	case opGetxattr, opListxattr:
		size += int(min((*fuse.GetXAttrIn)(in).Size, MaxWrite))
	}
	var out []byte
	if size == coldReply {
		buf := coldReplies.Get().(*[coldReply]byte)
		defer coldReplies.Put(buf)
		out = buf[:]
	} else {
		out = make([]byte, size)
	}
	n, status := c.cold.HandleRequest([][]byte{req}, [][]byte{out})
	switch {
	case status != fuse.OK: // no reply was produced
		c.Reply(header.Unique, syscall.EIO)
	case header.Opcode == opLookup && (*fuse.OutHeader)(unsafe.Pointer(&out[0])).Status == -int32(Later):
		again, caller := slices.Clone(req), header.Pid
		go func() {
			c.h.AwaitCaller(caller)
			c.handle(again)
		}()
	case n > 0:
		if _, err := unix.Write(c.dev, out[:n]); err != nil && err != unix.ENOENT {
			c.log.Printf("reply to opcode %d: %v", header.Opcode, err)
		}
	}
}

// Park remembers that the request unique waits, so that an INTERRUPT finds it. The
// caller holds the lock under which p may finish.
func (c *Conn) Park(unique uint64, p Parked) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parked[unique] = p
	if c.waiting++; c.waiting >= perDevice && c.current.Load() == c {
		c.current.Store(c.roomy())
	}
}

// Unpark forgets the request unique, which has finished. It reports false if that was
// not parked, or not any more.
func (c *Conn) Unpark(unique uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.parked)
	if delete(c.parked, unique); len(c.parked) == n {
		return false
	}
	c.waiting--
	return true
}

// Requests is how many requests the kernel has sent.
func (c *Conn) Requests() int64 { return c.requests.Load() }

// EachParked calls f for the parked requests, in any order, until it returns false. f
// must not use c.
func (c *Conn) EachParked(f func(Parked) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.parked {
		if !f(p) {
			return
		}
	}
}

// Waiting is the number of parked requests.
func (c *Conn) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.parked)
}

// Parked lists the parked requests, in no order.
func (c *Conn) Parked() []Parked {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.parked))
}

func (c *Conn) interrupt(own, unique uint64) {
	p := c.waitingAs(unique)
	if p == nil && c.turns.interruptLate(unique) {
		return
	}
	if p == nil {
		// The kernel looks for the request where it was read, which we do not know.
		for _, d := range *c.devices.Load() {
			if d.Reply(own, syscall.EAGAIN) != syscall.ENOENT {
				return
			}
		}
		return
	}
	p.Interrupt()
}

// waitingAs returns the parked request unique, nil if it is none.
func (c *Conn) waitingAs(unique uint64) Parked {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parked[unique]
}
