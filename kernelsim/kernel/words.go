package kernel

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// Words for what an operation on a mailbox goes by. They are the names of its endpoints.
const (
	ByPriority = "priority"
	ByTopic    = "topic"
	ByUrgency  = "urgent"
	BySender   = "from"
)

// A Label is what an endpoint of a mailbox adds to the messages sent through it, and what
// it selects of those received. The zero Label stands for an endpoint that does neither.
type Label struct {
	Word  string // priority, topic, urgent, from
	Value string // "" of urgent
}

// String is the label as a scenario spells it, after a blank; empty if there is none.
func (l Label) String() string {
	switch l.Word {
	case "":
		return ""
	case ByUrgency:
		return " " + l.Word
	case ByTopic:
		return " " + l.Word + " " + strconv.Quote(l.Value)
	}
	return " " + l.Word + " " + l.Value
}

// labelOf is the label of a handle that only narrows, which may be nil.
func LabelOf(only *mailbox.Selector) Label {
	switch {
	case only == nil:
		return Label{}
	case only.By == mailbox.ByTopic:
		return Label{ByTopic, only.Topic}
	case only.By == mailbox.ByUrgency:
		return Label{Word: ByUrgency}
	case only.By == mailbox.BySender:
		return Label{BySender, strconv.FormatUint(uint64(only.Sender), 10)}
	}
	return Label{ByPriority, strconv.Itoa(int(only.Priority))}
}

// only is what narrows a handle to l, nil if nothing does.
func (l Label) Only() *mailbox.Selector {
	n, _ := strconv.ParseUint(l.Value, 10, 32)
	switch l.Word {
	case ByPriority:
		return &mailbox.Selector{By: mailbox.ByPriority, Priority: uint8(n)}
	case ByTopic:
		return &mailbox.Selector{By: mailbox.ByTopic, Topic: l.Value}
	case ByUrgency:
		return &mailbox.Selector{By: mailbox.ByUrgency}
	case BySender:
		return &mailbox.Selector{By: mailbox.BySender, Sender: uint32(n)}
	}
	return nil
}

// settlement splits what is written about a lease into its verb and the rest, with the
// blank before that.
func Settlement(data []byte) (verb, arg string) {
	verb, _, _ = strings.Cut(string(data), " ")
	return verb, string(data[len(verb):])
}

// ReadReceipt makes what a scenario sees of a receipt, as read from a mailbox: a line
// "received PID UID TIME" tells the name of the process, others the first word alone.
func ReadReceipt(data []byte, name func(pid int) string) []byte {
	var told []string
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) > 1 {
			if pid, err := strconv.Atoi(f[1]); err == nil {
				f[0] += " " + name(pid)
			}
			told = append(told, f[0])
		}
	}
	return []byte(strings.Join(told, ", "))
}

// Gives reports whether op gives its process something.
func Gives(op objects.Op) bool {
	switch op {
	case objects.Receive, objects.Peek, objects.Lease, objects.Receipt, objects.Read:
		return true
	}
	return false
}

// amount is the value of a policy that is a number; max is the greatest there is.
func amount(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return math.MaxInt64
	}
	return n
}

// counted is n of what is named, "1 step" or "2 steps".
func Counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
