package kernelsim

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"ipcfs/objects"
)

// A verb is a word for an operation on an object.
type verb struct {
	word   string
	op     objects.Op
	takes  argument
	gives  bool     // "-> x" keeps what it receives
	labels []string // what it can go by
}

// An argument is what stands behind the object of an operation.
type argument uint8

const (
	nothing argument = iota
	aValue
	anAmount // or nothing
	aSpan    // of time
)

var verbs = []verb{
	{word: "send", op: objects.Send, takes: aValue, labels: []string{byPriority, byTopic, byUrgency}},
	{word: "receive", op: objects.Receive, gives: true, labels: []string{byPriority, byTopic, byUrgency, bySender}},
	{word: "lease", op: objects.Lease, gives: true},
	{word: "ack", op: objects.Settle},
	{word: "nack", op: objects.Settle},
	{word: "extend", op: objects.Settle, takes: aSpan},
	{word: "receipt", op: objects.Receipt, gives: true},
	{word: "peek", op: objects.Peek, gives: true},
	{word: "flush", op: objects.Flush},
	{word: "write", op: objects.Write, takes: aValue},
	{word: "read", op: objects.Read, takes: anAmount, gives: true},
	{word: "hangup", op: objects.Hangup},
	{word: "wait", op: objects.Wait, takes: anAmount},
	{word: "post", op: objects.Post, takes: anAmount},
	{word: "hold", op: objects.Hold},
}

func verbNamed(word string) (verb, bool) {
	i := slices.IndexFunc(verbs, func(v verb) bool { return v.word == word })
	if i < 0 {
		return verb{}, false
	}
	return verbs[i], true
}

// Words for what an operation on a mailbox goes by. They are the names of its endpoints.
const (
	byPriority = "priority"
	byTopic    = "topic"
	byUrgency  = "urgent"
	bySender   = "from"
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
	case byUrgency:
		return " " + l.Word
	case byTopic:
		return " " + l.Word + " " + strconv.Quote(l.Value)
	}
	return " " + l.Word + " " + l.Value
}

// labelOf is the label of a handle that only narrows, which may be nil.
func labelOf(only *objects.Selector) Label {
	switch {
	case only == nil:
		return Label{}
	case only.By == objects.ByTopic:
		return Label{byTopic, only.Topic}
	case only.By == objects.ByUrgency:
		return Label{Word: byUrgency}
	case only.By == objects.BySender:
		return Label{bySender, strconv.FormatUint(uint64(only.Sender), 10)}
	}
	return Label{byPriority, strconv.Itoa(int(only.Priority))}
}

// only is what narrows a handle to l, nil if nothing does.
func (l Label) only() *objects.Selector {
	n, _ := strconv.ParseUint(l.Value, 10, 32)
	switch l.Word {
	case byPriority:
		return &objects.Selector{By: objects.ByPriority, Priority: uint8(n)}
	case byTopic:
		return &objects.Selector{By: objects.ByTopic, Topic: l.Value}
	case byUrgency:
		return &objects.Selector{By: objects.ByUrgency}
	case bySender:
		return &objects.Selector{By: objects.BySender, Sender: uint32(n)}
	}
	return nil
}

// An Operation is a request of a scenario's process.
type Operation struct {
	Word     string
	Op       objects.Op
	Name     string // of the object
	End      End    // that it goes through
	Data     []byte // to send or write
	Units    int64  // to wait for or post
	Size     int    // at most so many bytes are received
	Nonblock bool
	Within   objects.Time // the time it may take, 0 for ever
}

// String is the operation in short.
func (o Operation) String() string {
	text := o.Word + " " + o.Name
	switch {
	case o.Op == objects.Send || o.Op == objects.Write:
		text += " " + brief(o.Data)
	case o.Op == objects.Settle:
		_, arg := settlement(o.Data)
		text += arg
	case o.Units > 1:
		text += " " + strconv.FormatInt(o.Units, 10)
	}
	return text + o.End.Label.String()
}

// settlement splits what is written about a lease into its verb and the rest, with the
// blank before that.
func settlement(data []byte) (verb, arg string) {
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

// Result is the operation and how it ended, in short.
func (o Operation) Result(data []byte, errno syscall.Errno) string {
	switch {
	case errno != 0:
		return o.String() + " ✗ " + ErrnoName(errno)
	case receives(o.Op):
		return o.String() + " → " + brief(data)
	}
	return o.String()
}

// receives reports whether op gives its process something.
func receives(op objects.Op) bool {
	return slices.ContainsFunc(verbs, func(v verb) bool { return v.op == op && v.gives })
}

// maxBrief is the longest text shown whole.
const maxBrief = 80

func brief(data []byte) string {
	if len(data) <= maxBrief {
		return strconv.Quote(string(data))
	}
	return fmt.Sprintf("%q… (%d bytes)", data[:20], len(data))
}

// operation reads what stands behind the verb v.
func (p *parser) operation(s *statement, v verb) {
	s.object = p.object()
	kind := p.s.objects[s.object].kind
	if !slices.Contains(kind.Ops, v.op) {
		var can []string
		for _, other := range verbs {
			if slices.Contains(kind.Ops, other.op) {
				can = append(can, other.word)
			}
		}
		p.fail(s.column, "a %s cannot %s: it can %s", kind.Name, s.verb, strings.Join(can, ", "))
	}
	switch t := p.peek(); v.takes {
	case aValue:
		s.expr = p.expression()
	case aSpan:
		s.span = p.span()
	case anAmount:
		if t.kind == integer || t.kind == sign && t.text == "(" || t.kind == word && t.text != "within" && t.text != "nonblock" {
			s.expr = p.expression()
		}
	}
	p.label(s, v, kind)
	if v.op == objects.Receipt {
		p.process.receipts = append(p.process.receipts, s.object)
	}
	if p.accept("->") {
		if !v.gives {
			p.fail(p.tokens[p.next-1].column, "%s gives nothing to keep", s.verb)
		}
		p.variable(s)
		if s.shared {
			p.fail(p.tokens[p.next-1].column, "%s into a variable of the process, then assign", s.verb)
		}
	}
	for {
		switch {
		case p.accept("within"):
			s.within = p.span()
		case p.accept("nonblock"):
			s.nonblock = true
		default:
			p.end()
			return
		}
	}
}

// label reads what s goes by, if anything.
func (p *parser) label(s *statement, v verb, kind objects.Kind) {
	for {
		t := p.peek()
		if t.kind != word || !slices.Contains([]string{byPriority, byTopic, byUrgency, bySender}, t.text) {
			return
		}
		switch {
		case kind.Name != "mailbox":
			p.fail(t.column, "only messages of a mailbox can be %s: %s is a %s", labelled[t.text], p.s.objects[s.object].name, kind.Name)
		case len(v.labels) == 0:
			p.fail(t.column, "%s cannot select: it goes by what comes next", s.verb)
		case !slices.Contains(v.labels, t.text):
			p.fail(t.column, "%s cannot go by %s: it can by %s", s.verb, t.text, strings.Join(v.labels, ", "))
		case s.label.Word != "":
			p.fail(t.column, "%s goes by one of %s, and by %s already", s.verb, strings.Join(v.labels, ", "), s.label.Word)
		}
		p.next++
		s.label = Label{t.text, p.labelValue(t.text)}
	}
}

// labelled says what a message with a label is.
var labelled = map[string]string{
	byPriority: "sent with a priority", byTopic: "sent with a topic", byUrgency: "urgent", bySender: "told by their sender",
}

func (p *parser) labelValue(label string) string {
	t := p.peek()
	switch label {
	case byPriority:
		n := p.number(fmt.Sprintf("a priority from 0 to %d", objects.Priorities-1))
		if n >= objects.Priorities {
			p.fail(t.column, "there is no priority %d: they are 0 to %d", n, objects.Priorities-1)
		}
		return strconv.FormatInt(n, 10)
	case bySender:
		n := p.number("the user id of a sender")
		if n > math.MaxUint32 {
			p.fail(t.column, "there is no user id %d", n)
		}
		return strconv.FormatInt(n, 10)
	case byTopic:
		if p.next++; t.kind != quoted {
			p.fail(t.column, `expected a topic such as "red", found %s`, t)
		}
		if !isTopic(t.text) {
			p.fail(t.column, "%s cannot be a topic: want the name of a file, without blanks", t)
		}
		return t.text
	}
	return ""
}

// maxName is NAME_MAX, limits.h.
const maxName = 255

// isTopic reports whether a mount can have an endpoint for that topic.
func isTopic(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool {
		return r == '/' || r == unicode.ReplacementChar || unicode.IsSpace(r) || unicode.IsControl(r)
	})
}
