package fs

import (
	"iter"
	"syscall"

	"ipcfs/objects"
	_ "ipcfs/objects/pipe" // registers the kind

	"github.com/hanwen/go-fuse/v2/fuse"
)

func init() {
	present(presentation{
		kind:  "pipe",
		dir:   "pipes",
		nodes: true,
		flat:  fileSpec{ops: &endpoint{opens: objects.Connect, reads: objects.Read, writes: objects.Write, stream: true}},
		files: []fileSpec{
			{"read", 0o400, &endpoint{opens: objects.Connect, reads: objects.Read, stream: true}},
			{"write", 0o200, &endpoint{opens: objects.Connect, writes: objects.Write, stream: true}},
			{"oob", 0o600, &endpoint{reads: objects.Receive, writes: objects.Send, eof: true}},
			command("flush", objects.Flush),
			command("hangup", objects.Hangup),
		},
	})
}

// A kernelNode is a FIFO or a socket: a name and its attributes are ours, the rest the
// kernel does itself and never asks us.
type kernelNode struct{}

// A kernelFile is a FIFO or a socket, which the kernel opens without asking us. It has one
// node.
type kernelFile struct{}

func (kernelFile) openable(uint32) syscall.Errno { return syscall.EACCES }
func (kernelFile) attr(e *file, out *fuse.Attr)  { e.objectAttrLocked(out) }

func (e *file) isKernel() bool {
	_, ok := e.spec.ops.(kernelFile)
	return ok
}

var kernelSpec = fileSpec{ops: kernelFile{}}

// addKernelNodeLocked makes a FIFO or socket of type mode in d. f.mu is held.
func (f *FS) addKernelNodeLocked(d *kindDir, name string, flat bool, mode uint32, owner fuse.Owner) (*object, syscall.Errno) {
	if !d.p.nodes || mode&syscall.S_IFMT != syscall.S_IFIFO && mode&syscall.S_IFMT != syscall.S_IFSOCK {
		// mknod(2): EPERM, the filesystem does not support the type of node.
		return nil, syscall.EPERM
	}
	o, errno := f.addObjectLocked(d, name, flat, mode, owner)
	if errno != 0 {
		return nil, errno
	}
	o.impl = kernelNode{}
	o.file.mode = mode & (syscall.S_IFMT | 0o7777)
	o.file.spec, o.file.endpoint = &kernelSpec, nil
	return o, 0
}

// kernel reports whether o is a FIFO or a socket.
func (o *object) kernel() bool { return o.flat && o.file.isKernel() }

func (kernelNode) Submit(objects.Time, *objects.Request) objects.Finished {
	panic("fs: request for a FIFO or socket")
}
func (kernelNode) Cancel(objects.Time, *objects.Request, syscall.Errno) (done objects.Finished) {
	return done
}
func (kernelNode) Return(objects.Time, *objects.Request) (done objects.Finished) { return done }
func (kernelNode) Destroy(objects.Time) (done objects.Finished)                  { return done }
func (kernelNode) Removable() syscall.Errno                                      { return 0 }
func (kernelNode) Ready(*objects.Handle) objects.Events                          { return 0 }
func (kernelNode) Policy(string) string                                          { return "" }
func (kernelNode) SetPolicy(objects.Time, string, string) (done objects.Finished, errno syscall.Errno) {
	return done, syscall.EPERM
}
func (kernelNode) Held() objects.Held                  { return objects.Held{} }
func (kernelNode) Stat() []objects.Counter             { return nil }
func (kernelNode) Waiters() iter.Seq[*objects.Request] { return func(func(*objects.Request) bool) {} }
func (kernelNode) Check() error                        { return nil }
