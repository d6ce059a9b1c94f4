package laws

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/anishathalye/porcupine"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"
	"ipcfs/objects/pipe"
)

// The sequential models say what an object does if one call comes after another. They
// are as naive as can be: lists and numbers. Their states are comparable.

func describeCall(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) }

// The model of a mailbox: a list of messages, the next first. A rendezvous is a send and
// a receive right after one another, so a mailbox of capacity 0 may hold one in between. A
// peek shows what the next receive would get, which may be the message of a sender that is still
// interrupted: it says nothing about the list and is left out.
type mailboxInput struct {
	op       objects.Op
	text     string
	uid      uint32
	only     mailbox.Selector
	selected bool
	order    string // the mailbox's
}

type mailboxOutput struct {
	text  string
	errno syscall.Errno
}

// A modelMessage is a message as the model has it.
type modelMessage struct {
	text     string
	uid      uint32
	priority uint8
	topic    string
	urgent   bool
}

func (m modelMessage) String() string {
	return fmt.Sprintf("%s,%d,%d,%s,%t", m.text, m.uid, m.priority, m.topic, m.urgent)
}

// rank is what goes first: urgent messages, then, under order priority, the higher.
func (m modelMessage) rank(order string) int {
	switch {
	case m.urgent:
		return 100
	case order == "priority":
		return int(m.priority)
	}
	return 0
}

// selected reports whether the endpoint of in lets m through.
func (m modelMessage) selected(in mailboxInput) bool {
	switch {
	case !in.selected:
		return true
	case in.only.By == mailbox.ByPriority:
		return m.priority == in.only.Priority && !m.urgent
	case in.only.By == mailbox.ByTopic:
		return m.topic == in.only.Topic
	case in.only.By == mailbox.BySender:
		return m.uid == in.only.Sender
	}
	return m.urgent
}

// newModelMessage is what in sends, with its endpoint's label.
func newModelMessage(in mailboxInput) modelMessage {
	m := modelMessage{text: in.text, uid: in.uid}
	if in.selected {
		switch in.only.By {
		case mailbox.ByPriority:
			m.priority = in.only.Priority
		case mailbox.ByTopic:
			m.topic = in.only.Topic
		case mailbox.ByUrgency:
			m.urgent = true
		}
	}
	return m
}

var mailboxModel = porcupine.Model{
	Init: func() any { return []modelMessage(nil) },
	Step: func(state, input, output any) (bool, any) {
		held, in, out := state.([]modelMessage), input.(mailboxInput), output.(mailboxOutput)
		next := slices.IndexFunc(held, func(m modelMessage) bool { return m.selected(in) })
		switch {
		case in.op == objects.Send && out.errno == 0:
			m := newModelMessage(in)
			at := slices.IndexFunc(held, func(other modelMessage) bool { return other.rank(in.order) < m.rank(in.order) })
			if at < 0 {
				at = len(held)
			}
			return true, slices.Insert(slices.Clone(held), at, m)
		case in.op == objects.Receive && out.errno == 0:
			if next < 0 || held[next].text != out.text {
				return false, held
			}
			return true, slices.Delete(slices.Clone(held), next, next+1)
		case in.op == objects.Flush:
			return true, []modelMessage(nil)
		case in.op == objects.Receive && out.errno == syscall.EAGAIN:
			return next < 0, held
		}
		return true, held // EINTR, ETIMEDOUT, a full mailbox: nothing happened
	},
	Equal:             func(a, b any) bool { return slices.Equal(a.([]modelMessage), b.([]modelMessage)) },
	DescribeOperation: describeCall,
}

// The model of a semaphore: a number. Waits of several units are served in order, so
// EAGAIN says nothing about the value.
var semaphoreModel = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		in, errno := input.(unitsInput), output.(syscall.Errno)
		value := state.(int64)
		switch {
		case errno != 0:
			return true, state
		case in.op == objects.Wait:
			return value >= in.units, value - in.units
		}
		return true, value + in.units
	},
	DescribeOperation: describeCall,
}

type unitsInput struct {
	op    objects.Op
	units int64
}

// The model of a pipe: a string, and how many have its ends open. A write puts all it
// wrote there at once; that the pipe holds no more than its capacity is said where a
// write returns, as until then the rest of it waits outside.
type pipeInput struct {
	op            objects.Op // Write, Read, Open and Close
	returned      bool       // not the write but its return
	id            byte       // tells writes apart
	text          string     // what a write offers
	size          int        // what a read wants at most
	reads, writes bool       // the ends of the handle
	early         bool       // opened without waiting for the other end
	nonblock      bool
	capacity      int
}

type pipeOutput struct {
	text  string // what a read got
	n     int    // bytes that a write wrote
	errno syscall.Errno
}

type pipeState struct {
	stream           string
	by               string // for each byte the write it is of
	returned         string // writes that have
	readers, writers int
}

// kept is how many bytes of the stream are of writes that have returned.
func (s pipeState) kept() (n int) {
	for i := range len(s.by) {
		if strings.IndexByte(s.returned, s.by[i]) >= 0 {
			n++
		}
	}
	return n
}

var pipeModel = porcupine.Model{
	Init: func() any { return pipeState{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(pipeState), input.(pipeInput), output.(pipeOutput)
		switch in.op {
		case objects.Open, objects.Connect:
			return s.open(in, out)
		case objects.Close:
			if in.reads {
				s.readers--
			}
			if in.writes {
				s.writers--
			}
			if s.readers+s.writers == 0 {
				s.stream, s.by, s.returned = "", "", "" // fifo(7): it lives with those who have it open
			}
			return true, s
		case objects.Read:
			return s.read(in, out)
		}
		if in.returned {
			s.returned += string(rune(in.id))
			return s.kept() <= in.capacity, s
		}
		return s.write(in, out)
	},
	DescribeOperation: describeCall,
}

func (s pipeState) open(in pipeInput, out pipeOutput) (bool, any) {
	switch out.errno {
	case 0:
		if in.reads {
			s.readers++
		}
		if in.writes {
			s.writers++
		}
		return true, s
	case syscall.ENXIO: // open(2)
		return in.op == objects.Connect && in.nonblock && in.writes && !in.reads && s.readers == 0, s
	}
	return true, s // EINTR, ETIMEDOUT: nobody came meanwhile
}

func (s pipeState) read(in pipeInput, out pipeOutput) (bool, any) {
	switch {
	case out.errno == syscall.EAGAIN:
		return s.stream == "" && (s.writers > 0 || in.early), s
	case out.errno != 0:
		return true, s
	case out.text == "": // pipe(7): end of file, no writers
		return s.stream == "" && s.writers == 0, s
	}
	n := len(out.text)
	if n > in.size || !strings.HasPrefix(s.stream, out.text) {
		return false, s
	}
	s.stream, s.by = s.stream[n:], s.by[n:]
	return true, s
}

func (s pipeState) write(in pipeInput, out pipeOutput) (bool, any) {
	switch {
	case out.errno == syscall.EPIPE: // pipe(7): no readers
		return s.readers == 0, s
	case out.errno == syscall.EAGAIN:
		// Others may wait for room before it, but not at an empty pipe.
		return s.stream != "" || len(in.text) > in.capacity, s
	case out.errno != 0:
		return true, s
	}
	whole := len(in.text) <= min(in.capacity, pipe.PipeBuf) // pipe(7), PIPE_BUF
	if whole && out.n != len(in.text) || s.readers == 0 && !in.early {
		return false, s
	}
	s.stream += in.text[:out.n]
	s.by += strings.Repeat(string(rune(in.id)), out.n)
	return true, s
}

// The model of a segment: an array of bytes.
type memoryInput struct {
	op     objects.Op
	offset int64
	size   int
	text   string
}

type memoryOutput struct {
	text  string
	n     int
	errno syscall.Errno
}

var segmentModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		memory, in, out := state.(string), input.(memoryInput), output.(memoryOutput)
		at := int(in.offset)
		beyond := func(n int) string { return memory + strings.Repeat("\x00", max(0, n-len(memory))) }
		switch {
		case out.errno != 0:
			return false, memory // without limits and seals nothing fails
		case in.op == objects.ReadAt:
			from := min(at, len(memory))
			return out.text == memory[from:min(from+in.size, len(memory))], memory
		case in.op == objects.Resize:
			return true, beyond(at)[:at]
		}
		end := at + len(in.text)
		longer := beyond(end)
		return out.n == len(in.text), longer[:at] + in.text + longer[end:]
	},
	DescribeOperation: describeCall,
}
