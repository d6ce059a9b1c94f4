package fusedev

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// A Buffer is what a thread reads requests into. A handler may keep it for the data of
// a WRITE, which saves copying them; the thread goes on with another.
type Buffer struct {
	users atomic.Int32
	data  [BufferSize]byte
}

var buffers = sync.Pool{New: func() any { return new(Buffer) }}

// Keep keeps the buffer that data, of the WRITE that the caller is handling, are in
// until it has been freed once, and once more for each Hold.
func (c *Conn) Keep(data []byte) *Buffer {
	p := uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	for i := range c.loops {
		b := c.loops[i].buf.Load()
		if b == nil {
			continue
		}
		if start := uintptr(unsafe.Pointer(&b.data)); p >= start && p < start+BufferSize {
			b.users.Store(1)
			c.loops[i].buf.Store(nil)
			return b
		}
	}
	panic("fusedev: Keep of data that are not being handled")
}

// Hold keeps b for one user more.
func (b *Buffer) Hold() { b.users.Add(1) }

// Free ends a use of b.
func (b *Buffer) Free() {
	if b.users.Add(-1) == 0 {
		buffers.Put(b)
	}
}
