package fusedev

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"os"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A witness writes down all that reaches a handler or a cold file system.
type witness struct {
	fuse.RawFileSystem
	saw strings.Builder
}

func (w *witness) see(what string, in any, rest ...any) {
	fmt.Fprintf(&w.saw, "%s %+v %q\n", what, reflect.ValueOf(in).Elem(), rest)
}

func (w *witness) ServeOpen(c *Conn, in *fuse.OpenIn) {
	w.see("open", in)
	c.ReplyOpen(in.Unique, &fuse.OpenOut{})
}

func (w *witness) ServeRead(c *Conn, in *fuse.ReadIn) {
	w.see("read", in)
	c.ReplyData(in.Unique, nil)
}

func (w *witness) ServeWrite(c *Conn, in *fuse.WriteIn, data []byte) {
	w.see("write", in, data)
	c.ReplyWrite(in.Unique, len(data))
}

func (w *witness) ServePoll(c *Conn, in *PollIn) {
	w.see("poll", in)
	c.ReplyPoll(in.Unique, 0)
}

func (w *witness) ServeGetlk(c *Conn, in *fuse.LkIn) {
	w.see("getlk", in)
	c.ReplyLock(in.Unique, &fuse.LkOut{})
}

func (w *witness) ServeSetlk(c *Conn, in *fuse.LkIn, wait bool) {
	w.see("setlk", in, wait)
	c.Reply(in.Unique, 0)
}

func (w *witness) AwaitCaller(uint32) {}

func (w *witness) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, _ *fuse.EntryOut) fuse.Status {
	w.see("lookup", h, name)
	return fuse.ENOENT
}

func (w *witness) Forget(node, n uint64) { w.see("forget", &node, n) }

func (w *witness) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, _ *fuse.AttrOut) fuse.Status {
	w.see("getattr", in)
	return fuse.OK
}

func (w *witness) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, _ *fuse.AttrOut) fuse.Status {
	w.see("setattr", in)
	return fuse.OK
}

func (w *witness) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, _ *fuse.EntryOut) fuse.Status {
	w.see("mknod", in, name)
	return fuse.OK
}

func (w *witness) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, _ *fuse.EntryOut) fuse.Status {
	w.see("mkdir", in, name)
	return fuse.OK
}

func (w *witness) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	w.see("unlink", h, name)
	return fuse.OK
}

func (w *witness) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	w.see("rmdir", h, name)
	return fuse.OK
}

func (w *witness) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	w.see("rename", in, from, to)
	return fuse.OK
}

func (w *witness) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, _ *fuse.EntryOut) fuse.Status {
	w.see("link", in, name)
	return fuse.OK
}

func (w *witness) Symlink(_ <-chan struct{}, h *fuse.InHeader, to, name string, _ *fuse.EntryOut) fuse.Status {
	w.see("symlink", h, to, name)
	return fuse.OK
}

func (w *witness) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, _ *fuse.CreateOut) fuse.Status {
	w.see("create", in, name)
	return fuse.OK
}

func (w *witness) Access(_ <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	w.see("access", in)
	return fuse.OK
}

func (w *witness) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	w.see("opendir", in)
	return fuse.OK
}

func (w *witness) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	w.see("readdir", in)
	for more := true; more; {
		more = out.AddDirEntry(fuse.DirEntry{Name: "name", Ino: 2})
	}
	return fuse.OK
}

func (w *witness) Release(_ <-chan struct{}, in *fuse.ReleaseIn) { w.see("release", in) }

func (w *witness) ReleaseDir(in *fuse.ReleaseIn) { w.see("releasedir", in) }

func (w *witness) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	w.see("flush", in)
	return fuse.OK
}

func (w *witness) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	w.see("fsync", in)
	return fuse.OK
}

func (w *witness) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	w.see("fallocate", in)
	return fuse.OK
}

func (w *witness) Lseek(_ <-chan struct{}, in *fuse.LseekIn, _ *fuse.LseekOut) fuse.Status {
	w.see("lseek", in)
	return fuse.OK
}

func (w *witness) Ioctl(_ <-chan struct{}, in *fuse.IoctlIn, data []byte, _ *fuse.IoctlOut, out []byte) fuse.Status {
	w.see("ioctl", in, data, len(out))
	return fuse.OK
}

// answered has a Conn handle req, with tail where the rest of the buffer is, and returns
// all that was seen of it and what was answered. A file takes the answers, since there is
// no end to their size.
func answered(t *testing.T, device *os.File, req []byte, tail byte) (saw string, answers []fuse.OutHeader) {
	if err := device.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := device.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	w := &witness{RawFileSystem: fuse.NewDefaultRawFileSystem()}
	c := NewConn(int(device.Fd()), w, w, log.New(&said, "", 0))
	buf := bytes.Repeat([]byte{tail}, len(req)+4096)
	copy(buf, req)
	req = buf[:len(req)]
	fmt.Fprintln(&w.saw, aside(req), slow(req))
	c.handle(req)
	if strings.Contains(said.String(), "panic") {
		t.Fatalf("%x: %s", req, said.String())
	}
	out, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", device.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	w.saw.Write(out)
	for len(out) > 0 {
		if len(out) < headerSize {
			t.Fatalf("%x: %d bytes are no answer", req, len(out))
		}
		hdr := *(*fuse.OutHeader)(unsafe.Pointer(&out[0]))
		if int(hdr.Length) < headerSize || int(hdr.Length) > len(out) {
			t.Fatalf("%x: an answer of %d bytes says %d", req, len(out), hdr.Length)
		}
		answers = append(answers, hdr)
		out = out[hdr.Length:]
	}
	return w.saw.String(), answers
}

// request is one of that opcode, with body behind its header.
func request(opcode uint32, body []byte) []byte {
	h := fuse.InHeader{Opcode: opcode, Unique: 77, NodeId: 1}
	h.Length = uint32(unsafe.Sizeof(h)) + uint32(len(body))
	return append(bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h))), body...)
}

// FuzzRequests sends any bytes as one request, twice, with different bytes behind it. The
// rest of a buffer is of earlier requests, of other processes: neither what is called nor
// what is answered may depend on it. There is one answer, or none to what has none.
func FuzzRequests(f *testing.F) {
	const opForget, opBatchForget, opNotifyReply = 2, 42, 41
	log.SetOutput(io.Discard) // go-fuse complains there of what is too short
	f.Cleanup(func() { log.SetOutput(os.Stderr) })
	for opcode := range uint32(56) {
		f.Add(request(opcode, nil))
		f.Add(request(opcode, make([]byte, 7)))
		f.Add(request(opcode, make([]byte, 256)))
		f.Add(request(opcode, bytes.Repeat([]byte("x"), 200))) // names without an end, sizes without a measure
		f.Add(request(opcode, append(make([]byte, 16), "from\x00to\x00"...)))
		for _, size := range []uint32{1, 16, 100, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
			body := make([]byte, 64)
			binary.LittleEndian.PutUint32(body[0:], size)  // GETXATTR, IOCTL from here on
			binary.LittleEndian.PutUint32(body[16:], size) // READ, WRITE, READDIR
			binary.LittleEndian.PutUint32(body[28:], size) // what IOCTL wants
			f.Add(request(opcode, body))
		}
	}
	for n := range 40 {
		f.Add(make([]byte, n))
	}
	ext := request(1, []byte("name\x00"))
	(*fuse.InHeader)(unsafe.Pointer(&ext[0])).TotalExtlen = 1000
	f.Add(ext)
	f.Fuzz(func(t *testing.T, req []byte) {
		if len(req) < int(unsafe.Sizeof(fuse.InHeader{})) || len(req) > BufferSize {
			return // Conn.read refuses it
		}
		fd, err := unix.MemfdCreate("device", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		device := os.NewFile(uintptr(fd), "device")
		defer device.Close()
		saw, answers := answered(t, device, req, 0x00)
		again, _ := answered(t, device, req, 0xA5)
		if saw != again {
			t.Fatalf("%x: what is behind it decides:\n%s\n%s", req, saw, again)
		}
		header := (*fuse.InHeader)(unsafe.Pointer(&req[0]))
		want := 1
		switch header.Opcode {
		case opForget, opBatchForget, opNotifyReply:
			want = 0
		}
		if len(answers) != want {
			t.Fatalf("%x: %d answers, want %d", req, len(answers), want)
		}
		for _, a := range answers {
			if a.Unique != header.Unique || a.Status > 0 || a.Status <= -4096 {
				t.Fatalf("%x: answered %+v", req, a)
			}
		}
	})
}
