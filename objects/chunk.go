package objects

// A chunk is a part of the stream in memory of its own, or the mark of a hangup.
type chunk struct {
	data       []byte // not read yet
	uid        uint32 // whom it is booked on
	buffer     Buffer // that data is in; nil: its own memory
	mark       bool
	prev, next *chunk
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
	first, last *chunk
	n           int64 // bytes
}

func (l *chunkList) push(c *chunk) {
	c.prev, c.next = l.last, nil
	if l.last == nil {
		l.first = c
	} else {
		l.last.next = c
	}
	l.last = c
	l.n += int64(len(c.data))
}

func (l *chunkList) pushFront(c *chunk) {
	c.prev, c.next = nil, l.first
	if l.first == nil {
		l.last = c
	} else {
		l.first.prev = c
	}
	l.first = c
	l.n += int64(len(c.data))
}

func (l *chunkList) remove(c *chunk) {
	if c.prev == nil {
		l.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	l.n -= int64(len(c.data))
}
