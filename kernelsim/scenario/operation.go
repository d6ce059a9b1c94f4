package scenario

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
	"ipcfs/objects/mailbox"
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
	{word: "send", op: objects.Send, takes: aValue, labels: []string{kernel.ByPriority, kernel.ByTopic, kernel.ByUrgency}},
	{word: "receive", op: objects.Receive, gives: true, labels: []string{kernel.ByPriority, kernel.ByTopic, kernel.ByUrgency, kernel.BySender}},
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

// Words are the words for operations on objects, and for what they can go by.
func Words() (words []string) {
	for _, v := range verbs {
		words = append(append(words, v.word), v.labels...)
	}
	return words
}

func verbNamed(word string) (verb, bool) {
	i := slices.IndexFunc(verbs, func(v verb) bool { return v.word == word })
	if i < 0 {
		return verb{}, false
	}
	return verbs[i], true
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
		_, arg := kernel.Settlement(o.Data)
		text += arg
	case o.Units > 1:
		text += " " + strconv.FormatInt(o.Units, 10)
	}
	return text + o.End.Label.String()
}

// Result is the operation and how it ended, in short.
func (o Operation) Result(data []byte, errno syscall.Errno) string {
	switch {
	case errno != 0:
		return o.String() + " ✗ " + kernel.ErrnoName(errno)
	case kernel.Gives(o.Op):
		return o.String() + " → " + brief(data)
	}
	return o.String()
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
	p.object(s)
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
		for i := range max(1, s.of) {
			p.process.receipts = append(p.process.receipts, s.object+i)
		}
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
		switch t := p.peek(); {
		case t.kind == word && (t.text == "within" || t.text == "nonblock") && (s.nonblock || s.within > 0):
			p.fail(t.column, "%s cannot be said as well: expected one of within and nonblock, once", t)
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
		if t.kind != word || !slices.Contains([]string{kernel.ByPriority, kernel.ByTopic, kernel.ByUrgency, kernel.BySender}, t.text) {
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
		s.label = kernel.Label{Word: t.text, Value: p.labelValue(t.text)}
	}
}

// labelled says what a message with a label is.
var labelled = map[string]string{
	kernel.ByPriority: "sent with a priority", kernel.ByTopic: "sent with a topic", kernel.ByUrgency: "urgent", kernel.BySender: "told by their sender",
}

func (p *parser) labelValue(label string) string {
	t := p.peek()
	switch label {
	case kernel.ByPriority:
		n := p.number(fmt.Sprintf("a priority from 0 to %d", mailbox.Priorities-1))
		if n >= mailbox.Priorities {
			p.fail(t.column, "there is no priority %d: they are 0 to %d", n, mailbox.Priorities-1)
		}
		return strconv.FormatInt(n, 10)
	case kernel.BySender:
		n := p.number("the user id of a sender")
		if n > math.MaxUint32 {
			p.fail(t.column, "there is no user id %d", n)
		}
		return strconv.FormatInt(n, 10)
	case kernel.ByTopic:
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
