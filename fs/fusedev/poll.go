package fusedev

import (
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// notifyPoll is FUSE_NOTIFY_POLL, linux/fuse.h.
const notifyPoll = 1

// ReplyPoll answers a POLL with the events that hold now. A POLL is never answered
// with an error: one ENOSYS would turn poll(2) off for the mount.
func (c *Conn) ReplyPoll(unique uint64, events uint32) syscall.Errno {
	hdr := fuse.OutHeader{Unique: unique}
	out := struct{ Revents, _ uint32 }{Revents: events}
	return c.writev(&hdr, (*byte)(unsafe.Pointer(&out)), int(unsafe.Sizeof(out)))
}

// notifyInvalEntry is FUSE_NOTIFY_INVAL_ENTRY, linux/fuse.h.
const notifyInvalEntry = 3

// NotifyInvalEntry makes the kernel forget the name in the directory that node parent
// is. It takes the directory's lock for that, which it also holds while it waits for
// our answer to a CREATE or UNLINK there: no thread of the loop may call it.
func (c *Conn) NotifyInvalEntry(parent uint64, name string) syscall.Errno {
	out := fuse.NotifyInvalEntryOut{Parent: parent, NameLen: uint32(len(name))}
	hdr := fuse.OutHeader{Status: notifyInvalEntry}
	body := append(unsafe.Slice((*byte)(unsafe.Pointer(&out)), unsafe.Sizeof(out)), name...)
	body = append(body, 0)
	return c.writev(&hdr, unsafe.SliceData(body), len(body))
}

// NotifyPoll tells the kernel that the events of the open file it calls kh may have
// changed; it then polls again. The kernel takes no inode lock for it, so any thread
// may call it at any time.
func (c *Conn) NotifyPoll(kh uint64) syscall.Errno {
	hdr := fuse.OutHeader{Status: notifyPoll}
	return c.writev(&hdr, (*byte)(unsafe.Pointer(&kh)), int(unsafe.Sizeof(kh)))
}
