package fusedev

import (
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const headerSize = int(unsafe.Sizeof(fuse.OutHeader{}))

// writev writes hdr and n bytes at p to the device as one reply. It takes pointers
// so that nothing escapes to the heap.
func (c *Conn) writev(hdr *fuse.OutHeader, p *byte, n int) syscall.Errno {
	iov := [2]unix.Iovec{
		{Base: (*byte)(unsafe.Pointer(hdr)), Len: uint64(headerSize)},
		{Base: p, Len: uint64(n)},
	}
	vecs := uintptr(2)
	if n == 0 {
		vecs = 1
	}
	hdr.Length = uint32(headerSize + n)
	if c.turns.lates.Load() > 0 && hdr.Unique != 0 && c.turns.delay(hdr.Unique,
		unsafe.Slice((*byte)(unsafe.Pointer(hdr)), headerSize), unsafe.Slice(p, n)) {
		return 0
	}
	for {
		_, _, errno := syscall.Syscall(syscall.SYS_WRITEV, uintptr(c.dev), uintptr(unsafe.Pointer(&iov)), vecs)
		if errno != syscall.EINTR {
			return errno
		}
	}
}

// Reply answers the request unique without data: with an error, or 0 for success.
// The result is ENOENT if the kernel has given the request up.
func (c *Conn) Reply(unique uint64, errno syscall.Errno) syscall.Errno {
	hdr := fuse.OutHeader{Unique: unique, Status: -int32(errno)}
	return c.writev(&hdr, nil, 0)
}

// ReplyData answers a READ with data.
func (c *Conn) ReplyData(unique uint64, data []byte) syscall.Errno {
	hdr := fuse.OutHeader{Unique: unique}
	return c.writev(&hdr, unsafe.SliceData(data), len(data))
}

// ReplyWrite answers a WRITE that took n bytes.
func (c *Conn) ReplyWrite(unique uint64, n int) syscall.Errno {
	hdr := fuse.OutHeader{Unique: unique}
	out := fuse.WriteOut{Size: uint32(n)}
	return c.writev(&hdr, (*byte)(unsafe.Pointer(&out)), int(unsafe.Sizeof(out)))
}

// ReplyOpen answers an OPEN.
func (c *Conn) ReplyOpen(unique uint64, out *fuse.OpenOut) syscall.Errno {
	hdr := fuse.OutHeader{Unique: unique}
	return c.writev(&hdr, (*byte)(unsafe.Pointer(out)), int(unsafe.Sizeof(*out)))
}

// ReplyLock answers a GETLK.
func (c *Conn) ReplyLock(unique uint64, out *fuse.LkOut) syscall.Errno {
	hdr := fuse.OutHeader{Unique: unique}
	return c.writev(&hdr, (*byte)(unsafe.Pointer(out)), int(unsafe.Sizeof(*out)))
}
