package mailbox

import "fmt"

// A state is where a message is. Each has one place, and only the mailbox moves a message
// from one to another: see [Mailbox.enter].
//
//	state    place                              may become
//	fresh    the call that is going on          begun, offered, held, leased, retired
//	begun    the open file that writes it       begun, offered, held, leased, retired
//	offered  the request of a sender who waits  begun, offered, held, leased, retired
//	held     Mailbox.held                       leased, retired
//	leased   the open file that took it         leased, held, dead, retired
//	dead     Mailbox.dead                       leased, held, retired
//	retired  none                               fresh
//
// A message that is begun becomes offered, held, leased or retired by the write, or the
// close, that ends it. One that is offered becomes begun again when its sender stops
// waiting: what it had begun stays with its file. A dead letter that the mailbox for dead
// letters refuses is held again. A message whose lease ends goes to the next receiver, which
// may lease it at once. A retired message is fresh again if the process that was to get it
// has gone: see [Mailbox.Return]. What moves to another mailbox is retired in the first and
// a fresh message in the second.
//
// A broadcast message stays what it is, held or offered, until the last subscriber has it.
//
// The charge is part of the message (Message.booked): begun, offered, held, leased and dead
// messages are on their sender's books. Retiring gives that back, and nothing else does.
type state uint8

const (
	fresh state = iota
	begun
	offered
	held
	leased
	dead
	retired
	states
)

var stateNames = [states]string{"fresh", "begun", "offered", "held", "leased", "dead", "retired"}

// String is the word for messages to the programmer.
func (s state) String() string { return stateNames[s] }

// becomes has a bit for each state that a message of a state may enter.
var becomes = [states]uint8{
	fresh:   1<<begun | 1<<offered | 1<<held | 1<<leased | 1<<retired,
	begun:   1<<begun | 1<<offered | 1<<held | 1<<leased | 1<<retired,
	offered: 1<<begun | 1<<offered | 1<<held | 1<<leased | 1<<retired,
	held:    1<<leased | 1<<retired,
	leased:  1<<leased | 1<<held | 1<<dead | 1<<retired,
	dead:    1<<leased | 1<<held | 1<<retired,
	retired: 1 << fresh,
}

// placed reports whether a message of that state is in a place that counts what it has.
func (s state) placed() bool { return s != fresh && s != retired }

// enter makes to the state of m. It panics if that cannot follow the state that m has.
func (b *Mailbox) enter(m *Message, to state) {
	from := m.state
	if becomes[from]&(1<<to) == 0 {
		panic(fmt.Sprintf("mailbox: message %d is %s and cannot become %s", m.Seq, from, to))
	}
	if from.placed() {
		b.in[from]--
	}
	if to.placed() {
		b.in[to]++
	}
	m.state = to
}
