package main

import (
	"bytes"
	"syscall"
	"time"

	"ipcfs/fs/fusedev"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// nullName is the one file of a null.
const (
	nullName = "null"
	nullNode = 2
)

// openFlags are the FOPEN flags of every file that is measured, whoever serves it.
const openFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES

// A null is a file system with one file whose reads and writes do nothing. It can be
// served by fusedev and by go-fuse's stock server; the answers are the same.
type null struct {
	fuse.RawFileSystem
	content []byte
}

var (
	_ fusedev.Handler    = (*null)(nil)
	_ fuse.RawFileSystem = (*null)(nil)
)

// newNull makes content of memory that is really there: untouched, all of its pages would
// be the one zero page, and in any cache.
func newNull() *null {
	return &null{RawFileSystem: fuse.NewDefaultRawFileSystem(), content: bytes.Repeat([]byte("x"), fusedev.MaxRead)}
}

func (n *null) data(size uint32) []byte { return n.content[:min(int(size), len(n.content))] }

func (n *null) String() string { return "null" }

func (n *null) Lookup(_ <-chan struct{}, _ *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if name != nullName {
		return fuse.ENOENT
	}
	out.NodeId = nullNode
	fillNull(nullNode, &out.Attr)
	out.SetEntryTimeout(time.Hour)
	out.SetAttrTimeout(time.Hour)
	return fuse.OK
}

func (n *null) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	fillNull(in.NodeId, &out.Attr)
	out.SetTimeout(time.Hour)
	return fuse.OK
}

func fillNull(node uint64, out *fuse.Attr) {
	*out = fuse.Attr{Ino: node, Mode: fuse.S_IFREG | 0o666, Nlink: 1}
	if node == fuse.FUSE_ROOT_ID {
		out.Mode = fuse.S_IFDIR | 0o755
	}
}

func (n *null) Open(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.OpenFlags = openFlags
	return fuse.OK
}

func (n *null) Read(_ <-chan struct{}, in *fuse.ReadIn, _ []byte) (fuse.ReadResult, fuse.Status) {
	return fuse.ReadResultData(n.data(in.Size)), fuse.OK
}

func (n *null) Write(_ <-chan struct{}, _ *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return uint32(len(data)), fuse.OK
}

func (n *null) ServeOpen(c *fusedev.Conn, in *fuse.OpenIn) {
	c.ReplyOpen(in.Unique, &fuse.OpenOut{OpenFlags: openFlags})
}

func (n *null) ServeRead(c *fusedev.Conn, in *fuse.ReadIn) {
	c.ReplyData(in.Unique, n.data(in.Size))
}

func (n *null) ServeWrite(c *fusedev.Conn, in *fuse.WriteIn, data []byte) {
	c.ReplyWrite(in.Unique, len(data))
}

func (n *null) ServePoll(c *fusedev.Conn, in *fusedev.PollIn) { c.ReplyPoll(in.Unique, in.Events) }

func (n *null) ServeGetlk(c *fusedev.Conn, in *fuse.LkIn) { c.Reply(in.Unique, syscall.ENOSYS) }

// AwaitCaller implements fusedev.Handler. No LOOKUP is answered fusedev.Later.
func (n *null) AwaitCaller(uint32) {}

func (n *null) ServeSetlk(c *fusedev.Conn, in *fuse.LkIn, _ bool) { c.Reply(in.Unique, syscall.ENOSYS) }
