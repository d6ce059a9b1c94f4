package pipe

import (
	"ipcfs/objects"
)

// A chunk is a part of the stream in memory of its own, or the mark of a hangup. From its
// beginning to its end it is booked as the memory that it takes: what is left of its data
// as bytes, the rest as kept.
type chunk struct {
	objects.Links[chunk]
	data   []byte         // not read yet
	cost   int64          // the memory that it takes, in bytes
	uid    uint32         // whom it is booked on
	buffer objects.Buffer // that data is in; nil: its own memory
	mark   bool
}

// chunkCost is what a chunk takes beside its data: the size class of a chunk, rounded up.
const chunkCost = 96

// booked is what c is booked as.
func (c *chunk) booked() objects.Cost {
	n := int64(len(c.data))
	return objects.Cost{Bytes: n, Kept: c.cost - n}
}

// A span is how many bytes of a read were booked on whom.
type span struct {
	uid uint32
	n   int
}

// Bytes are kept in the driver's buffer instead of being copied if they are longData at
// least. As all of the buffer is kept, fewer than fullData are so in fewKept buffers only:
// enough for a stream that is read as fast as it is written.
const (
	longData = 64 << 10
	fullData = 256 << 10
	fewKept  = 4
)

// chunkSizes are the least and the largest chunk, in bytes, that small writes share.
const minChunk, maxChunk = 512, 64 << 10

// A chunkList is the stream, the next byte first.
type chunkList struct {
	objects.List[chunk, *chunk]
	n int64 // bytes
}

func (l *chunkList) push(c *chunk) {
	l.List.Push(c)
	l.n += int64(len(c.data))
}

func (l *chunkList) pushFront(c *chunk) {
	l.List.Insert(c, nil)
	l.n += int64(len(c.data))
}

func (l *chunkList) remove(c *chunk) {
	l.List.Remove(c)
	l.n -= int64(len(c.data))
}
