package mailbox

import (
	"ipcfs/objects"
)

// Priorities is how many priorities messages have, 0 to 31: what POSIX makes sure of
// (_POSIX_MQ_PRIO_MAX, mq_overview(7)). The higher goes first under order priority.
const Priorities = 32

// A Selector narrows an endpoint of a mailbox: what is sent through it is labelled so,
// and what is received is only what is labelled so.
type Selector struct {
	By       Selection
	Priority uint8  // below Priorities
	Topic    string // a message type, as msgrcv(2) has them, but a word
	Sender   uint32 // uid; for receiving only
}

// A Selection is what a Selector goes by.
type Selection uint8

const (
	ByPriority Selection = iota
	ByTopic
	BySender
	ByUrgency // out of band
)

// label makes m one of those that s selects.
func (s *Selector) label(m *Message) {
	switch s.By {
	case ByPriority:
		m.Priority = s.Priority
	case ByTopic:
		m.Topic = s.Topic
	case ByUrgency:
		m.Urgent = true
	}
}

// admits reports whether s, which may be nil, lets m through.
func (s *Selector) admits(m *Message) bool {
	if s == nil {
		return true
	}
	switch s.By {
	case ByPriority:
		return m.Priority == s.Priority && !m.Urgent
	case ByTopic:
		return m.Topic == s.Topic
	case BySender:
		return m.Sender.Uid == s.Sender
	}
	return m.Urgent
}

// urgent reports whether s selects what is out of band.
func (s *Selector) urgent() bool { return s != nil && s.By == ByUrgency }

// Order is which of the messages held comes next.
type Order uint8

const (
	FIFO         Order = iota // the oldest
	ByPriorities              // the oldest of the highest priority
)

var orderNames = []string{FIFO: "fifo", ByPriorities: "priority"}

// String is the policy's word.
func (o Order) String() string { return orderNames[o] }

// orders are the values of the policy.
var orders = objects.Words[Order](orderNames)

// outOfBand is the rank of urgent messages, above every priority.
const outOfBand = Priorities

// rank is m's place in a queue of order o: whatever ranks higher comes before it.
func (o Order) rank(m *Message) uint8 {
	switch {
	case m.Urgent:
		return outOfBand
	case o == ByPriorities:
		return m.Priority
	}
	return 0
}
