package fusedev

import (
	"runtime"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Passthrough: reads, writes and mappings of a file go to a backing file of ours
// without asking us. The kernel knows a backing file by a number that OPEN is
// answered with (Documentation/filesystems/fuse/fuse-passthrough.rst). All open
// files of one inode must have the same one.

// The ioctls of /dev/fuse, linux/fuse.h.
const (
	backingOpen  = 0x4010e501 // FUSE_DEV_IOC_BACKING_OPEN
	backingClose = 0x4004e502 // FUSE_DEV_IOC_BACKING_CLOSE
)

// backingMap is struct fuse_backing_map, linux/fuse.h.
type backingMap struct {
	fd    int32
	flags uint32
	_     uint64
}

// OpenBacking registers the file fd as a backing file and returns its number, which
// is positive. The kernel holds the file until CloseBacking and the last open file
// that uses it; fd itself may be closed at once. EPERM: that takes CAP_SYS_ADMIN in
// the initial user namespace. EOPNOTSUPP or ENOTTY: the kernel has no passthrough.
func (c *Conn) OpenBacking(fd int) (id int32, errno syscall.Errno) {
	m := backingMap{fd: int32(fd)}
	r, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(c.dev), backingOpen, uintptr(unsafe.Pointer(&m)))
	if errno != 0 {
		return 0, errno
	}
	return int32(r), 0
}

// CloseBacking ends the use of the number id in further OPENs.
func (c *Conn) CloseBacking(id int32) syscall.Errno {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(c.dev), backingClose, uintptr(unsafe.Pointer(&id)))
	runtime.KeepAlive(&id)
	return errno
}

// notifyInvalInode is FUSE_NOTIFY_INVAL_INODE, linux/fuse.h.
const notifyInvalInode = 2

// NotifyInval makes the kernel drop its cached pages of node from offset on,
// having written back those that are dirty, and what it knows of its attributes.
// The kernel does that within the write(2) of the notification and may wait there
// for WRITEs of the file to be answered, so no thread of the loop may call it.
func (c *Conn) NotifyInval(node uint64, offset int64) syscall.Errno {
	out := fuse.NotifyInvalInodeOut{Ino: node, Off: offset}
	hdr := fuse.OutHeader{Status: notifyInvalInode}
	return c.writev(&hdr, (*byte)(unsafe.Pointer(&out)), int(unsafe.Sizeof(out)))
}
