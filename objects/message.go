package objects

import "syscall"

// inlineData is the longest message, in bytes, that is kept within its Message:
// one allocation instead of two.
const inlineData = 64

// A Message is what one Send put into a mailbox.
type Message struct {
	Data   []byte
	Seq    uint64 // 1 for the mailbox's first message
	Sender Caller
	Sent   Time

	borrowed   bool // Data belongs to the driver
	charged    bool // booked in the ledger
	prev, next *Message
	inline     [inlineData]byte
}

// own copies borrowed data, so that the message may outlive the call.
func (m *Message) own() {
	if !m.borrowed {
		return
	}
	m.borrowed = false
	if len(m.Data) <= inlineData {
		m.Data = m.inline[:copy(m.inline[:], m.Data)]
		return
	}
	m.Data = append(make([]byte, 0, len(m.Data)), m.Data...)
}

// charge books m before it is kept.
func (m *Message) charge(l Ledger) syscall.Errno {
	if m.charged {
		return 0
	}
	errno := l.Charge(m.Sender.Uid, 1, int64(len(m.Data)))
	m.charged = errno == 0
	return errno
}

func (m *Message) refund(l Ledger) {
	if m.charged {
		l.Charge(m.Sender.Uid, -1, -int64(len(m.Data)))
		m.charged = false
	}
}

// A messageList is a queue of messages, oldest first.
type messageList struct {
	first, last *Message
	n           int64
	bytes       int64
}

func (l *messageList) push(m *Message) {
	m.prev, m.next = l.last, nil
	if l.last == nil {
		l.first = m
	} else {
		l.last.next = m
	}
	l.last = m
	l.n++
	l.bytes += int64(len(m.Data))
}

func (l *messageList) pushFront(m *Message) {
	m.prev, m.next = nil, l.first
	if l.first == nil {
		l.last = m
	} else {
		l.first.prev = m
	}
	l.first = m
	l.n++
	l.bytes += int64(len(m.Data))
}

func (l *messageList) remove(m *Message) {
	if m.prev == nil {
		l.first = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next == nil {
		l.last = m.prev
	} else {
		m.next.prev = m.prev
	}
	m.prev, m.next = nil, nil
	l.n--
	l.bytes -= int64(len(m.Data))
}

// pop takes the oldest message, nil if there is none.
func (l *messageList) pop() *Message {
	m := l.first
	if m != nil {
		l.remove(m)
	}
	return m
}
