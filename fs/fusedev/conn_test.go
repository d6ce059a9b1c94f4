package fusedev

import (
	"bytes"
	"log"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A kernel is the other end of a Conn: a socket pair that keeps packets apart, as
// /dev/fuse does.
type kernel struct {
	t    *testing.T
	fd   int
	done chan error
	log  *bytes.Buffer // complete once done
}

// connect serves h, which the test plays the kernel for.
func connect(t *testing.T, h Handler) (*kernel, *Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	k := &kernel{t: t, fd: fds[0], done: make(chan error, 1), log: new(bytes.Buffer)}
	c := NewConn(fds[1], h, fuse.NewDefaultRawFileSystem(), log.New(k.log, "", 0))
	go func() { k.done <- c.Serve(1) }()
	in := struct {
		fuse.InitIn
	}{}
	in.Opcode, in.Unique, in.Major, in.Minor = opInit, 1, 7, 45
	k.send(unsafe.Pointer(&in), unsafe.Sizeof(in))
	if out := k.reply(); out.Unique != 1 || out.Status != 0 {
		t.Fatalf("INIT answered %+v", out)
	}
	<-c.Ready()
	return k, c
}

func (k *kernel) send(p unsafe.Pointer, n uintptr) {
	k.t.Helper()
	(*fuse.InHeader)(p).Length = uint32(n)
	if _, err := unix.Write(k.fd, unsafe.Slice((*byte)(p), n)); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kernel) reply() fuse.OutHeader {
	k.t.Helper()
	buf := make([]byte, 1<<16)
	n, err := unix.Read(k.fd, buf)
	if err != nil || n < headerSize {
		k.t.Fatalf("reply of %d bytes, %v", n, err)
	}
	return *(*fuse.OutHeader)(unsafe.Pointer(&buf[0]))
}

// hangUp ends the connection and returns what was logged. A closed socket reads as
// an empty packet, which is an error of the connection.
func (k *kernel) hangUp() string {
	unix.Close(k.fd)
	<-k.done
	return k.log.String()
}

func (k *kernel) read(unique uint64) {
	in := fuse.ReadIn{Size: 4096}
	in.Opcode, in.Unique = opRead, unique
	k.send(unsafe.Pointer(&in), unsafe.Sizeof(in))
}

func (k *kernel) interrupt(own, unique uint64) {
	in := fuse.InterruptIn{Unique: unique}
	in.Opcode, in.InHeader.Unique = opInterrupt, own
	k.send(unsafe.Pointer(&in), unsafe.Sizeof(in))
}

// parker parks every read, and panics on every write.
type parker struct{ Handler }

type parkedRead struct {
	c      *Conn
	unique uint64
}

func (parker) ServeRead(c *Conn, in *fuse.ReadIn) {
	c.Park(in.Unique, parkedRead{c, in.Unique})
}

func (parker) ServeWrite(*Conn, *fuse.WriteIn, []byte) { panic("deliberate") }

func (p parkedRead) Interrupt() {
	p.c.Unpark(p.unique)
	p.c.Reply(p.unique, syscall.EINTR)
}

func TestInterruptEndsTheParkedRequest(t *testing.T) {
	k, c := connect(t, parker{})
	defer k.hangUp()
	k.read(10)
	k.interrupt(11, 10)
	if out := k.reply(); out.Unique != 10 || out.Status != -int32(syscall.EINTR) {
		t.Errorf("interrupted read answered %+v, want EINTR", out)
	}
	if n := c.Waiting(); n != 0 {
		t.Errorf("%d requests parked after the interrupt, want 0", n)
	}
}

func TestInterruptThatOvertakesItsRequestIsToBeSentAgain(t *testing.T) {
	k, _ := connect(t, parker{})
	defer k.hangUp()
	k.interrupt(21, 20)
	if out := k.reply(); out.Unique != 21 || out.Status != -int32(syscall.EAGAIN) {
		t.Errorf("early interrupt answered %+v, want EAGAIN", out)
	}
}

func TestPanicCostsOneRequestAndIsLogged(t *testing.T) {
	k, _ := connect(t, parker{})
	in := fuse.WriteIn{}
	in.Opcode, in.Unique = opWrite, 30
	k.send(unsafe.Pointer(&in), unsafe.Sizeof(in))
	if out := k.reply(); out.Unique != 30 || out.Status != -int32(syscall.EIO) {
		t.Errorf("panicking write answered %+v, want EIO", out)
	}
	k.read(31)
	k.interrupt(32, 31)
	if out := k.reply(); out.Unique != 31 {
		t.Errorf("after the panic got %+v, want an answer to 31", out)
	}
	if log := k.hangUp(); !bytes.Contains([]byte(log), []byte("panic in opcode 16: deliberate")) {
		t.Errorf("log says %q", log)
	}
}

func TestRepliesAllocateNothing(t *testing.T) {
	k, c := connect(t, parker{})
	defer k.hangUp()
	data := make([]byte, 64)
	if n := testing.AllocsPerRun(20, func() {
		c.ReplyData(1, data)
		c.ReplyWrite(1, 64)
		c.Reply(1, syscall.EAGAIN)
		c.NotifyPoll(1)
	}); n != 0 {
		t.Errorf("four replies allocate %v times, want 0", n)
	}
}

// writes counts the bytes that arrive.
type writes struct{ Handler }

func (writes) ServeWrite(c *Conn, in *fuse.WriteIn, data []byte) { c.ReplyWrite(in.Unique, len(data)) }

func TestRequestShorterThanItSaysIsRefused(t *testing.T) {
	k, _ := connect(t, writes{})
	defer k.hangUp()
	for i, c := range []struct {
		opcode uint32
		size   uint32  // what a WRITE says it has
		n      uintptr // what there is, beside the header
		want   syscall.Errno
	}{
		{opWrite, 16, 40 + 16, 0},
		{opWrite, 17, 40 + 16, syscall.EINVAL},
		{opWrite, 1 << 31, 40, syscall.EINVAL},
		{opWrite, 0, 39, syscall.EINVAL},
		{opRead, 0, 8, syscall.EINVAL},
		{opPoll, 0, 0, syscall.EINVAL},
		{opSetlkw, 0, 3, syscall.EINVAL},
		{opOpen, 0, 0, syscall.EINVAL},
		{opInterrupt, 0, 0, syscall.EINVAL},
		{9999, 0, 0, syscall.ENOSYS},
	} {
		in := struct {
			fuse.WriteIn
			data [64]byte
		}{}
		in.Opcode, in.Unique, in.Size = c.opcode, uint64(100+i), c.size
		k.send(unsafe.Pointer(&in), unsafe.Sizeof(fuse.InHeader{})+c.n)
		if out := k.reply(); out.Unique != in.Unique || out.Status != -int32(c.want) {
			t.Errorf("opcode %d of %d bytes that says %d answered %+v, want %v", c.opcode, c.n, c.size, out, c.want)
		}
	}
}

// busy waits in every read, having given the turn away, until it is let go.
type busy struct {
	parker
	letGo chan struct{}
}

func (b busy) ServeRead(c *Conn, in *fuse.ReadIn) {
	c.Yield()
	<-b.letGo
	c.Reply(in.Unique, 0)
}

func TestHandlersThatYieldLeaveTheTurnToOthers(t *testing.T) {
	letGo := make(chan struct{})
	k, c := connect(t, busy{letGo: letGo})
	const waiting = 5
	for unique := uint64(50); unique < 50+waiting; unique++ {
		k.read(unique)
	}
	// All of them wait, and the next request is answered.
	k.interrupt(61, 60)
	if out := k.reply(); out.Unique != 61 || out.Status != -int32(syscall.EAGAIN) {
		t.Errorf("beside %d handlers that wait, got %+v, want an answer to 61", waiting, out)
	}
	close(letGo)
	for range waiting {
		if out := k.reply(); out.Unique < 50 || out.Unique >= 50+waiting {
			t.Errorf("got %+v, want the answer to a read", out)
		}
	}
	// Threads that are not needed end.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c.threadsMu.Lock()
		n := c.threads
		c.threadsMu.Unlock()
		if n <= 2 { // one reads, one is idle
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d threads serve, want 2 at most", n)
		}
	}
	k.hangUp()
}
