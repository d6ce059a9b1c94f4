package fusedev

import (
	"fmt"
	"log"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Opcodes that are looked at here, linux/fuse.h.
const (
	opOpen      = 14
	opRead      = 15
	opWrite     = 16
	opGetxattr  = 22
	opListxattr = 23
	opInit      = 26
	opReaddir   = 28
	opGetlk     = 31
	opSetlk     = 32
	opSetlkw    = 33
	opInterrupt = 36
	opIoctl     = 39
	opPoll      = 40
)

// MaxWrite is the largest WRITE and READ in bytes that is negotiated: 256 pages, the
// default of fs.fuse.max_pages_limit.
const MaxWrite = 1 << 20

// bufferSize holds the largest request: a WRITE of MaxWrite and its headers.
const bufferSize = MaxWrite + 4096

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
}

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

// A Conn is the connection to one mount.
type Conn struct {
	dev   int
	h     Handler
	cold  *fuse.ProtocolServer
	log   *log.Logger
	ready chan struct{} // closed when INIT has been answered

	loops []atomic.Pointer[Buffer] // what each thread reads requests into

	mu     sync.Mutex        // guards parked
	parked map[uint64]Parked // by the unique number of the request
}

// NewConn serves the /dev/fuse descriptor dev, which it owns from now on: h answers
// what may wait, cold the rest.
func NewConn(dev int, h Handler, cold fuse.RawFileSystem, l *log.Logger) *Conn {
	return &Conn{
		dev: dev,
		h:   h,
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
		parked: make(map[uint64]Parked),
	}
}

// Ready is closed when the kernel and we have agreed on the protocol: from then on
// the mount serves.
func (c *Conn) Ready() <-chan struct{} { return c.ready }

// Serve reads and handles requests in threads threads until the file system is
// unmounted, then closes the descriptor.
func (c *Conn) Serve(threads int) error {
	defer unix.Close(c.dev)
	c.loops = make([]atomic.Pointer[Buffer], threads)
	if err := c.init(make([]byte, bufferSize)); err != nil {
		return fmt.Errorf("INIT: %w", err)
	}
	close(c.ready)
	errs := make(chan error, threads)
	for i := range threads - 1 {
		go func() { errs <- c.loop(&c.loops[i+1]) }()
	}
	errs <- c.loop(&c.loops[0])
	var first error
	for range threads {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
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

func (c *Conn) loop(own *atomic.Pointer[Buffer]) error {
	for {
		buf := own.Load()
		if buf == nil { // the last was kept
			buf = buffers.Get().(*Buffer)
			own.Store(buf)
		}
		n, err := c.read(buf.data[:])
		switch err {
		case nil:
			c.handle(buf.data[:n])
		case unix.ENODEV, unix.ECONNABORTED: // unmounted, the latter while we read
			return nil
		default:
			return fmt.Errorf("read /dev/fuse: %w", err)
		}
	}
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
			stack := make([]byte, 64<<10)
			c.log.Printf("panic in opcode %d: %v\n%s", header.Opcode, p, stack[:runtime.Stack(stack, false)])
			c.Reply(header.Unique, syscall.EIO)
		}
	}()
	switch header.Opcode {
	case opRead:
		// Directories are read with READDIR, so this is a file.
		c.h.ServeRead(c, (*fuse.ReadIn)(in))
	case opWrite:
		w := (*fuse.WriteIn)(in)
		c.h.ServeWrite(c, w, req[unsafe.Sizeof(*w):][:w.Size])
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

// coldReply is room for the reply to any request but those that name a size.
const coldReply = 512

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
	out := make([]byte, size)
	n, status := c.cold.HandleRequest([][]byte{req}, [][]byte{out})
	switch {
	case status != fuse.OK: // no reply was produced
		c.Reply(header.Unique, syscall.EIO)
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
	c.parked[unique] = p
	c.mu.Unlock()
}

// Unpark forgets the request unique, which has finished.
func (c *Conn) Unpark(unique uint64) {
	c.mu.Lock()
	delete(c.parked, unique)
	c.mu.Unlock()
}

// Waiting is the number of parked requests.
func (c *Conn) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.parked)
}

func (c *Conn) interrupt(own, unique uint64) {
	c.mu.Lock()
	p := c.parked[unique]
	c.mu.Unlock()
	if p == nil {
		c.Reply(own, syscall.EAGAIN)
		return
	}
	p.Interrupt()
}
