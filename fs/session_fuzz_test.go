package fs

import (
	"bytes"
	"encoding/binary"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"ipcfs/fs/fusedev"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Opcodes, linux/fuse.h.
const (
	opLookup       = 1
	opForget       = 2
	opSetattr      = 4
	opMkdir        = 9
	opUnlink       = 10
	opRmdir        = 11
	opOpen         = 14
	opRead         = 15
	opWrite        = 16
	opRelease      = 18
	opFlush        = 25
	opInit         = 26
	opOpendir      = 27
	opReaddir      = 28
	opReleasedir   = 29
	opSetlk        = 32
	opSetlkw       = 33
	opCreate       = 35
	opInterrupt    = 36
	opDestroy      = 38
	opPoll         = 40
	opNotifyReply  = 41
	opBatchForget  = 42
	opFallocate    = 43
	opRename2      = 45
	headerSize     = int(unsafe.Sizeof(fuse.InHeader{}))
	longestRequest = 64 << 10 // of a session; a socket takes no more in one piece
)

// namesOpenFile are the opcodes of requests that name an open file first.
var namesOpenFile = [...]uint32{opRead, opWrite, opRelease, 20, opFlush, opReaddir, opReleasedir, 30, 31, opSetlk, opSetlkw, 39, opPoll, opFallocate, 46, 47}

// A wire is a file system whose /dev/fuse is a socket: the test is the kernel.
type wire struct {
	testing.TB
	f      *FS
	fd     int // the kernel's end
	served chan error
	heard  chan struct{}   // closed when nothing more is answered
	sent   []byte          // all requests, one behind the other
	unique uint64          // of the last
	owners map[uint64]bool // of locks of fcntl(2)
	closed map[uint64]bool // open files whose RELEASE was sent

	mu       sync.Mutex // guards what follows
	answered map[uint64][]byte
	logged   bytes.Buffer
}

// Write implements io.Writer for the log.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logged.Write(p)
}

func newWire(t testing.TB) *wire {
	t.Helper()
	log.SetOutput(io.Discard) // go-fuse complains there of what is too short
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{TB: t, fd: fds[0], served: make(chan error, 1), heard: make(chan struct{}), owners: make(map[uint64]bool), closed: make(map[uint64]bool), answered: make(map[uint64][]byte)}
	w.f = New(Config{Log: log.New(w, "", 0), MaxBytes: 16 << 20, MaxObjects: 100, NoPassthrough: true})
	go w.hear()
	go func() { w.served <- w.f.Serve(fds[1]) }()
	init := make([]byte, unsafe.Sizeof(fuse.InitIn{}))
	in := (*fuse.InitIn)(unsafe.Pointer(&init[0]))
	in.Opcode, in.Length, in.Major, in.Minor, in.Unique = opInit, uint32(len(init)), 7, 40, 1<<40
	w.put(init)
	<-w.f.Ready()
	return w
}

// hear notes what is answered, until the other end is closed.
func (w *wire) hear() {
	defer close(w.heard)
	buf := make([]byte, fusedev.BufferSize)
	for {
		n, err := unix.Read(w.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if n < int(unsafe.Sizeof(fuse.OutHeader{})) {
			return
		}
		func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.answered[(*fuse.OutHeader)(unsafe.Pointer(&buf[0])).Unique] = bytes.Clone(buf[:n])
		}()
	}
}

func (w *wire) put(req []byte) {
	if _, err := unix.Write(w.fd, req); err != nil {
		w.Fatalf("request of %d bytes: %v", len(req), err)
	}
}

// answer is what was answered to the request unique, nil if nothing was.
func (w *wire) answer(unique uint64) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answered[unique]
}

// waits reports whether the request unique is parked.
func (w *wire) waits(unique uint64) bool {
	for _, p := range w.f.conn.Parked() {
		switch p := p.(type) {
		case *call:
			if p.unique == unique {
				return true
			}
		case *opening:
			if p.unique == unique {
				return true
			}
		}
	}
	return false
}

// send sends req as the next request, and returns when it is answered or waits. What is its
// own of every request is the kernel's: nobody can be a process of this machine.
func (w *wire) send(req []byte) (answer []byte) {
	w.Helper()
	req = bytes.Clone(req)
	h := (*fuse.InHeader)(unsafe.Pointer(&req[0]))
	h.Length, h.TotalExtlen = uint32(len(req)), 0
	h.Uid %= 3
	if h.Pid != 0 {
		h.Pid = 1<<30 + h.Pid%4 // beyond PID_MAX_LIMIT
	}
	if slices.Contains(namesOpenFile[:], h.Opcode) && len(req) >= headerSize+8 && w.opens(binary.NativeEndian.Uint64(req[headerSize:])) {
		return nil // the kernel does not know that number yet
	}
	switch h.Opcode {
	case opInit, opDestroy:
		return nil
	case opRelease, opReleasedir:
		if len(req) < headerSize+8 || w.used(binary.NativeEndian.Uint64(req[headerSize:])) {
			return nil // the kernel keeps a file open that a system call uses
		}
		fh := binary.NativeEndian.Uint64(req[headerSize:])
		if w.f.handleFor(fh) != nil && len(req) >= int(unsafe.Sizeof(fuse.ReleaseIn{})) {
			if w.closed[fh] {
				return nil
			}
			w.closed[fh] = h.Opcode == opRelease
		}
		w.flush(fh)
	case opSetlk, opSetlkw:
		if len(req) >= headerSize+16 {
			w.owners[binary.NativeEndian.Uint64(req[headerSize+8:])] = true
		}
	}
	w.unique += 2
	h.Unique = w.unique
	w.sent = append(w.sent, req...)
	w.put(req)
	switch h.Opcode {
	case opForget, opBatchForget, opNotifyReply, opInterrupt:
		return nil
	}
	for end := time.Now().Add(20 * time.Second); !w.waits(h.Unique); runtime.Gosched() {
		if answer = w.answer(h.Unique); answer != nil {
			return answer
		}
		if time.Now().After(end) {
			w.Fatalf("opcode %d is neither answered nor waits\n%x", h.Opcode, w.sent)
		}
	}
	return nil
}

// flush ends the locks of fcntl(2) that processes have on the open file fh: the kernel releases
// none before.
func (w *wire) flush(fh uint64) {
	for owner := range w.owners {
		w.f.Flush(nil, &fuse.FlushIn{Fh: fh, LockOwner: owner})
	}
}

// used reports whether a request waits that names the open file fh.
func (w *wire) used(fh uint64) bool { return w.parked(fh, func(*call) bool { return true }) }

// opens reports whether fh is to be the number of a file whose opening waits.
func (w *wire) opens(fh uint64) bool {
	return w.parked(fh, func(k *call) bool { return k.reply == replyOpen })
}

func (w *wire) parked(fh uint64, as func(k *call) bool) bool {
	for _, p := range w.f.conn.Parked() {
		if k, ok := p.(*call); ok && k.handle != nil && k.handle.fh == fh && as(k) {
			return true
		}
	}
	return false
}

// replay sends all requests of a session. What is too short for one, or too long, is none.
func (w *wire) replay(session []byte) {
	for len(session) >= headerSize {
		n := int(binary.NativeEndian.Uint32(session))
		if n < headerSize || n > len(session) {
			n = len(session)
		}
		if n <= longestRequest {
			w.send(session[:n])
		}
		session = session[n:]
	}
}

// end interrupts what waits, has the kernel forget everything and removes all objects.
// Nothing may be left then.
func (w *wire) end() {
	w.Helper()
	f := w.f
	until(w.TB, "no request waits", func() bool {
		for _, p := range f.conn.Parked() {
			p.Interrupt()
		}
		return f.conn.Waiting() == 0
	})
	unix.Shutdown(w.fd, unix.SHUT_WR)
	select {
	case <-w.served:
	case <-time.After(20 * time.Second):
		w.Fatal("the threads do not end")
	}
	<-w.heard
	unix.Close(w.fd)
	left := func() (nodes, handles, dirs int, used amounts, users int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.handlesMu.Lock()
		defer f.handlesMu.Unlock()
		f.ledger.mu.Lock()
		defer f.ledger.mu.Unlock()
		return len(f.nodes), len(f.handles), len(f.dirs), f.ledger.used, len(f.ledger.usedByUsers)
	}
	clean := func() bool {
		nodes, handles, dirs, used, users := left()
		return nodes == 1 && handles == 0 && dirs == 0 && used == amounts{} && users == 0 && f.fds.inUse() == 0
	}
	// What was under way when the last request was answered may come to something yet.
	for end := time.Now().Add(3 * time.Second); !clean() && time.Now().Before(end); time.Sleep(time.Millisecond) {
		w.letGo()
	}
	if !clean() {
		nodes, handles, dirs, used, users := left()
		w.Errorf("at the end there are %d nodes, %d open files, %d open directories, %+v of %d users, %d descriptors; want the root's node\n%x",
			nodes, handles, dirs, used, users, f.fds.inUse(), w.sent)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if said := w.logged.String(); strings.Contains(said, "panic") {
		w.Errorf("%s\n%x", said, w.sent)
	}
}

// letGo closes all files, removes all objects, and forgets all nodes.
func (w *wire) letGo() {
	f := w.f
	var handles, dirs, nodes []uint64
	func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.handlesMu.Lock()
		defer f.handlesMu.Unlock()
		handles = slices.Collect(maps.Keys(f.handles))
		dirs = slices.Collect(maps.Keys(f.dirs))
		nodes = slices.Collect(maps.Keys(f.nodes))
	}()
	for _, fh := range handles {
		if w.closed[fh] {
			continue // it is under way
		}
		w.closed[fh] = true
		w.flush(fh)
		f.Release(nil, &fuse.ReleaseIn{Fh: fh})
	}
	for _, fh := range dirs {
		f.ReleaseDir(&fuse.ReleaseIn{Fh: fh})
	}
	for o := range f.allObjects(new(identity)) {
		unused, _ := f.remove(o.object, false)
		f.destroy(unused)
	}
	for _, id := range nodes {
		f.Forget(id, 1<<62)
	}
}

func (d *descriptors) inUse() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// request is one of uid for a node, with body behind its header.
func request(opcode uint32, node uint64, uid uint32, body ...[]byte) []byte {
	b := bytes.Join(body, nil)
	h := fuse.InHeader{Length: uint32(headerSize + len(b)), Opcode: opcode, NodeId: node}
	h.Uid, h.Pid = uid, 1
	return append(bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&h)), headerSize)), b...)
}

// words are numbers as the fields of a request, 4 or 8 bytes each by their type.
func words(fields ...any) (b []byte) {
	for _, x := range fields {
		b, _ = binary.Append(b, binary.NativeEndian, x)
	}
	return b
}

func name(s ...string) []byte { return []byte(strings.Join(s, "\x00") + "\x00") }

const outSize = int(unsafe.Sizeof(fuse.OutHeader{}))

func (w *wire) lookup(parent uint64, path ...string) uint64 {
	w.Helper()
	for _, element := range path {
		answer := w.send(request(opLookup, parent, 1, name(element)))
		if len(answer) <= outSize {
			w.Fatalf("lookup of %s: %x", element, answer)
		}
		parent = (*fuse.EntryOut)(unsafe.Pointer(&answer[outSize])).NodeId
	}
	return parent
}

func (w *wire) open(node uint64, flags uint32) uint64 {
	w.Helper()
	answer := w.send(request(opOpen, node, 1, words(flags, uint32(0))))
	if len(answer) <= outSize {
		w.Fatalf("open of node %d with flags %#x: %x", node, flags, answer)
	}
	return (*fuse.OpenOut)(unsafe.Pointer(&answer[outSize])).Fh
}

func (w *wire) write(node, fh uint64, text string) []byte {
	return w.send(request(opWrite, node, 1, words(fh, uint64(0), uint32(len(text)), uint32(0), uint64(7), uint32(0), uint32(0)), []byte(text)))
}

func (w *wire) read(node, fh uint64, size uint32) []byte {
	return w.send(request(opRead, node, 1, words(fh, uint64(0), size, uint32(fuse.READ_LOCKOWNER), uint64(7), uint32(0), uint32(0))))
}

func (w *wire) poll(node, fh uint64) {
	w.send(request(opPoll, node, 1, words(fh, fh, uint32(1), uint32(5))))
}

func (w *wire) release(opcode uint32, node, fh uint64) {
	w.send(request(opcode, node, 1, words(fh, uint32(0), uint32(0), uint64(0))))
}

// sessions records a short session for each kind of object, and one for directories.
func sessions(t testing.TB) (all [][]byte) {
	t.Helper()
	for _, session := range []func(w *wire){
		func(w *wire) { // a reader waits, is interrupted, and another is served
			boxes := w.lookup(1, "mailboxes")
			w.send(request(opMkdir, boxes, 1, words(uint32(0o777), uint32(0)), name("box")))
			box := w.lookup(boxes, "box")
			send, receive := w.lookup(box, "send"), w.lookup(box, "receive")
			from, to := w.open(receive, syscall.O_RDONLY), w.open(send, syscall.O_WRONLY)
			w.poll(receive, from)
			w.read(receive, from, 100)
			w.send(request(opInterrupt, 0, 1, words(w.unique)))
			w.read(receive, from, 100)
			w.write(send, to, "first")
			w.write(send, to, "second")
			w.poll(receive, from)
			w.send(request(opRename2, w.lookup(box, "messages"), 1, words(w.lookup(1, "segments"), uint32(0), uint32(0)), name("2", "memory")))
			w.send(request(opFlush, send, 1, words(to, uint64(0), uint64(7))))
			w.release(opRelease, send, to)
			w.release(opRelease, receive, from)
			w.send(request(opForget, receive, 1, words(uint64(1))))
			w.send(request(opRmdir, boxes, 1, name("box")))
		},
		func(w *wire) { // framing, policies, topics and a removal under who waits
			boxes := w.lookup(1, "mailboxes")
			w.send(request(opCreate, boxes, 1, words(uint32(syscall.O_RDWR|syscall.O_CREAT), uint32(0o666), uint32(0), uint32(0)), name("flat")))
			flat, controls := w.lookup(boxes, "flat"), w.lookup(boxes, "flat.d")
			for _, policy := range [][2]string{{"framing", "close"}, {"receivers", "broadcast"}, {"ttl", "1ms"}, {"capacity", "0"}} {
				node := w.lookup(controls, policy[0])
				fh := w.open(node, syscall.O_WRONLY)
				w.write(node, fh, policy[1])
				w.release(opRelease, node, fh)
			}
			node := w.lookup(flat)
			out := w.open(node, syscall.O_WRONLY)
			w.write(node, out, "begun")
			w.write(node, out, " and gone on with")
			topic := w.lookup(controls, "topic", "news")
			in := w.open(topic, syscall.O_RDWR)
			w.read(topic, in, 10)
			w.release(opRelease, node, out)
			stat := w.lookup(controls, "stat")
			fh := w.open(stat, syscall.O_RDONLY)
			w.read(stat, fh, 4096)
			w.send(request(opUnlink, boxes, 1, name("flat")))
		},
		func(w *wire) { // a pipe, its other end and a hangup
			pipes := w.lookup(1, "pipes")
			w.send(request(opMkdir, pipes, 1, words(uint32(0o777), uint32(0)), name("p")))
			p := w.lookup(pipes, "p")
			read, write := w.lookup(p, "read"), w.lookup(p, "write")
			w.send(request(opOpen, read, 1, words(uint32(0), uint32(0)))) // which waits
			to := w.open(write, syscall.O_WRONLY)
			from := w.open(read, syscall.O_RDONLY)
			w.write(write, to, strings.Repeat("x", 5000))
			w.read(read, from, 100)
			w.poll(write, to)
			hangup := w.lookup(p, "hangup")
			fh := w.open(hangup, syscall.O_WRONLY)
			w.write(hangup, fh, "\n")
			w.release(opRelease, write, to)
			w.read(read, from, 1<<20)
		},
		func(w *wire) { // a semaphore that is held, locks of a file, and somebody who waits for each
			semaphores := w.lookup(1, "semaphores")
			w.send(request(opMkdir, semaphores, 1, words(uint32(0o777), uint32(0)), name("s")))
			s := w.lookup(semaphores, "s")
			post := w.lookup(s, "post")
			w.write(post, w.open(post, syscall.O_WRONLY), "1\n")
			hold := w.lookup(s, "hold")
			fh := w.open(hold, syscall.O_RDWR)
			w.send(request(opOpen, hold, 1, words(uint32(syscall.O_RDWR), uint32(0))))
			wait := w.lookup(s, "wait")
			in := w.open(wait, syscall.O_RDONLY)
			w.read(wait, in, 10)
			for owner := range uint64(2) {
				w.send(request(opSetlkw, wait, 1, words(in, owner, uint64(0), uint64(100), uint32(syscall.F_WRLCK), uint32(1), uint32(0), uint32(0))))
			}
			w.release(opRelease, hold, fh)
		},
		func(w *wire) { // memory that grows, has a hole, is sent and listed
			segments := w.lookup(1, "segments")
			w.send(request(opCreate, segments, 1, words(uint32(syscall.O_RDWR|syscall.O_CREAT), uint32(0o666), uint32(0), uint32(0)), name("m")))
			m := w.lookup(segments, "m")
			fh := w.open(m, syscall.O_RDWR)
			w.write(m, fh, "stored")
			w.send(request(opSetattr, m, 1, words(uint32(fuse.FATTR_SIZE), uint32(0), fh, uint64(8<<20), uint64(0)), make([]byte, 48)))
			w.send(request(opFallocate, m, 1, words(fh, uint64(0), uint64(6<<20), uint32(3), uint32(0))))
			w.read(m, fh, 100)
			w.release(opRelease, m, fh)
			boxes := w.lookup(1, "mailboxes")
			w.send(request(opMkdir, boxes, 1, words(uint32(0o777), uint32(0)), name("box")))
			w.send(request(opRename2, segments, 1, words(w.lookup(boxes, "box", "messages"), uint32(0), uint32(0)), name("m", "x")))
		},
		func(w *wire) { // directories and listings
			boxes := w.lookup(1, "mailboxes")
			w.send(request(opMkdir, boxes, 1, words(uint32(0o777), uint32(0)), name("box")))
			topics := w.lookup(boxes, "box", "topic")
			for _, d := range []uint64{1, boxes, topics} {
				answer := w.send(request(opOpendir, d, 1, words(uint32(0), uint32(0))))
				fh := (*fuse.OpenOut)(unsafe.Pointer(&answer[outSize])).Fh
				w.send(request(opReaddir, d, 1, words(fh, uint64(0), uint32(4096), uint32(0), uint64(0), uint32(0), uint32(0))))
				w.release(opReleasedir, d, fh)
			}
			list := w.lookup(1, ".ipcfs", "objects")
			fh := w.open(list, syscall.O_RDONLY)
			w.read(list, fh, 4096)
			trace := w.lookup(1, ".ipcfs", "trace")
			w.read(trace, w.open(trace, syscall.O_RDONLY), 4096)
			w.send(request(opMkdir, boxes, 1, words(uint32(0o777), uint32(0)), name("traced")))
		},
	} {
		w := newWire(t)
		session(w)
		w.end()
		all = append(all, w.sent)
	}
	return all
}

// mutated is a session that is not what it was: bytes, fields and whole requests of it, or of
// another, are others, doubled, gone or in another order.
func mutated(all [][]byte, r *rand.Rand) []byte {
	var requests [][]byte
	for range 1 + r.IntN(2) {
		session := all[r.IntN(len(all))]
		for len(session) >= headerSize {
			n := binary.NativeEndian.Uint32(session)
			requests = append(requests, bytes.Clone(session[:n]))
			session = session[n:]
		}
	}
	numbers := []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 4096, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1 << 62, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	for range 1 + r.IntN(8) {
		i := r.IntN(len(requests))
		req := requests[i]
		switch r.IntN(7) {
		case 0:
			req[r.IntN(len(req))] = byte(r.Uint32())
		case 1:
			binary.NativeEndian.PutUint64(req[8*(2+r.IntN(len(req)/8-2)):], numbers[r.IntN(len(numbers))]) // the node or what follows
		case 2:
			binary.NativeEndian.PutUint32(req[4*(1+r.IntN(len(req)/4-1)):], uint32(numbers[r.IntN(len(numbers))]))
		case 3:
			requests = append(requests[:i], requests[i+1:]...)
		case 4:
			j := r.IntN(len(requests))
			requests = append(requests, requests[j])
			requests[i], requests[j] = requests[j], requests[i]
		case 5:
			requests[i] = req[:headerSize+r.IntN(len(req)-headerSize+1)]
		case 6:
			other := requests[r.IntN(len(requests))]
			binary.NativeEndian.PutUint32(req[4:], binary.NativeEndian.Uint32(other[4:])) // its opcode
		}
		if len(requests) == 0 {
			break
		}
	}
	for _, req := range requests {
		binary.NativeEndian.PutUint32(req, uint32(len(req)))
	}
	return bytes.Join(requests, nil)
}

// mutations is how many sessions each run of the tests makes up: they take some seconds.
const mutations = 200

// Whatever a kernel sends, no request is lost, nothing panics, and when all is released
// nothing is on the books.
func TestASessionThatIsNoneLeavesNothing(t *testing.T) {
	all := sessions(t)
	for seed := range uint64(mutations) {
		w := newWire(t)
		w.replay(mutated(all, rand.New(rand.NewPCG(seed, 0))))
		w.end()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// FuzzSession replays what it is given as a session: see TestASessionThatIsNoneLeavesNothing. To
// run it for longer: go test ./fs -run '^$' -fuzz FuzzSession -fuzzminimizetime 1x (what is
// covered differs from run to run, as threads do, and to minimise that has no end).
func FuzzSession(f *testing.F) {
	for _, session := range sessions(f) {
		f.Add(session)
	}
	f.Fuzz(func(t *testing.T, session []byte) {
		w := newWire(t)
		w.replay(session)
		w.end()
	})
}
