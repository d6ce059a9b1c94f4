package fs

import (
	"sync/atomic"
	"syscall"

	"ipcfs/fs/fusedev"
	"ipcfs/objects"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A file is an entry that is not a directory: an endpoint, a control file, a message, memory,
// or one of .ipcfs. What its sort can do it says by the interfaces that its ops implement.
type file struct {
	inode
	object   *object // nil in .ipcfs
	spec     *fileSpec
	endpoint *endpoint  // its ops if it is one, with what reads and writes of it submit
	folder   *folderDir // that it is a member of, nil if none
	locks    atomic.Pointer[fileLocks]
}

// A fileSpec says what one file of an object means.
type fileSpec struct {
	name string
	mode uint32 // permissions of a new file
	ops  fileOps
}

// file makes a file of o as s has it.
func (s *fileSpec) file(i inode, o *object) *file {
	e := &file{inode: i, object: o, spec: s}
	if x, ok := s.ops.(interface{ submits() *endpoint }); ok {
		e.endpoint = x.submits()
	}
	return e
}

// fileOps is what every sort of file does. There is one file for each: entry_endpoint.go,
// entry_control.go, entry_message.go and entry_memory.go. What only some do has an interface of
// its own, below.
type fileOps interface {
	// openable is 0 if such files can be opened with flags: EACCES for a wrong direction,
	// whoever asks.
	openable(flags uint32) syscall.Errno

	// attr fills in what base does not know: size and times. FS.mu is held.
	attr(e *file, out *fuse.Attr)
}

// A fileReader can be read: it answers READ.
type fileReader interface {
	read(f *FS, c *fusedev.Conn, h *handle, in *fuse.ReadIn)
}

// A fileWriter can be written to: it answers WRITE, whose data is valid until it returns.
type fileWriter interface {
	write(f *FS, c *fusedev.Conn, h *handle, in *fuse.WriteIn, data []byte)
}

// A fileOpener has a handle do more than a handle does: opened makes it ready, and returns the
// FOPEN flags with which the kernel is to treat it. FS.mu is held.
type fileOpener interface {
	opened(f *FS, h *handle, flags uint32) (open uint32)
}

// A fileCoster costs the daemon more than a handle when it is opened, in bytes.
type fileCoster interface {
	openCost() int64
}

// A fileFixer shows what was there when it was opened. ENOENT: nothing was. No lock is held.
type fileFixer interface {
	textToOpen(o *object) ([]byte, syscall.Errno)
}

// A fileGrouper goes by the supplementary groups of who has opened h.
type fileGrouper interface {
	grouped(h *handle) bool
}

// openableAs is fileOps.openable of what can be opened for reading, writing, or both.
func openableAs(reads, writes bool, flags uint32) syscall.Errno {
	mode := flags & syscall.O_ACCMODE
	if mode != syscall.O_WRONLY && !reads || mode != syscall.O_RDONLY && !writes {
		return syscall.EACCES
	}
	return 0
}

// attr implements entry.
func (e *file) attr(out *fuse.Attr) { e.spec.ops.attr(e, out) }

// objectAttrLocked shows the folder's owner where that is e's, and the object's times. It returns
// what that holds. FS.mu is held.
func (e *file) objectAttrLocked(out *fuse.Attr) (held objects.Held) {
	if e.object == nil {
		return held
	}
	if e.borrowed() {
		e.borrow(out)
	}
	held = e.object.held()
	setTimes(out, held)
	return held
}
