// Package generate writes random scenarios: small enough to be searched whole, and made of
// everything the language has. They are what searches, simulated runs, real processes and
// the kernel's own mechanisms are compared by.
package generate

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Options say what scenarios are made of.
type Options struct {
	// Kinds are the kinds of the objects. Empty: all there are.
	Kinds []string

	// Real leaves out what real processes do not come to an end with, or what a moment
	// more or less decides: loops that wait, sleeps and limits of time.
	Real bool

	// Plain leaves out all policies and labels but capacities and priorities, and all that
	// only ipcfs does: queues, pipes and semaphores of the kernel can do what is left.
	Plain bool
}

// A writer writes one scenario.
type writer struct {
	*rand.Rand
	strings.Builder
	o         Options
	objects   []object
	processes []string
	left      int // statements that may still be written for the process
}

type object struct{ kind, name string }

// Scenario is the text of the scenario of that number.
func Scenario(seed uint64, o Options) []byte {
	w := &writer{Rand: rand.New(rand.NewPCG(seed, 1)), o: o}
	w.declare()
	for i, name := range w.processes {
		w.process(name, i > 0 && w.one(4))
	}
	return []byte(w.String())
}

// one is true one time in n.
func (w *writer) one(n int) bool { return w.IntN(n) == 0 }

func (w *writer) any(words ...string) string { return words[w.IntN(len(words))] }

func (w *writer) declare() {
	kinds := w.o.Kinds
	if len(kinds) == 0 {
		kinds = []string{"mailbox", "mailbox", "mailbox", "pipe", "semaphore", "segment"}
	}
	for i := range 1 + w.IntN(2) {
		o := object{w.any(kinds...), string(rune('a' + i))}
		fmt.Fprintf(w, "%s %s%s\n", o.kind, o.name, w.policies(o.kind))
		w.objects = append(w.objects, o)
	}
	w.WriteString("shared n = 0\n")
	w.processes = []string{"p", "q", "r"}[:2+w.IntN(2)]
	if w.one(4) {
		w.WriteString(w.any("faults kills=1\n", "faults signals=1\n"))
	}
}

// policies are those that an object is declared with.
func (w *writer) policies(kind string) (text string) {
	set := func(often int, name string, values ...string) {
		if w.one(often) {
			text += " " + name + "=" + w.any(values...)
		}
	}
	switch kind {
	case "mailbox":
		if w.o.Plain {
			return " order=priority capacity=" + w.any("1", "2")
		}
		set(2, "capacity", "0", "1", "2")
		set(4, "overflow", "fail", "drop-oldest", "drop-newest")
		set(4, "order", "priority")
		set(5, "receivers", "broadcast", "single", "pair")
		set(5, "framing", "line", "close")
		if !w.o.Real {
			set(6, "ttl", "1ms", "2ms")
			set(6, "lease_time", "1ms", "2ms")
		}
		if len(w.objects) > 0 && w.objects[0].kind == "mailbox" && w.one(2) {
			text += " max_deliveries=1 dead_letters=" + w.objects[0].name
		}
	case "semaphore":
		text = " value=" + w.any("0", "1", "2")
		if !w.o.Plain {
			set(3, "max", "2", "3")
		}
	case "pipe":
		if !w.o.Plain {
			set(2, "capacity", "1", "2")
		}
	}
	return text
}

func (w *writer) process(name string, several bool) {
	count, daemon := "", ""
	if several && len(w.processes) == 2 {
		count = " * 2"
	}
	if w.one(6) {
		daemon = " daemon"
	}
	fmt.Fprintf(w, "process %s%s%s:\n", name, count, daemon)
	w.left = 2 + w.IntN(3)
	if count != "" {
		w.left = 2
	}
	for w.left > 0 {
		w.statement(1)
	}
}

func (w *writer) line(depth int, format string, args ...any) {
	w.WriteString(strings.Repeat("  ", depth))
	fmt.Fprintf(w, format, args...)
	w.WriteByte('\n')
	w.left--
}

func (w *writer) statement(depth int) {
	if w.one(3) {
		w.control(depth)
		return
	}
	o := w.objects[w.IntN(len(w.objects))]
	text := w.operation(o)
	if !strings.HasPrefix(text, "release") && !strings.HasPrefix(text, "close") && !strings.HasPrefix(text, "destroy") {
		text = "try " + text
	}
	w.line(depth, "%s", text)
}

// operation is one on o, with what may follow it.
func (w *writer) operation(o object) (text string) {
	waits := true
	switch o.kind {
	case "mailbox":
		if w.o.Plain {
			text = w.plainMailbox(o.name)
			break
		}
		switch w.IntN(12) {
		case 0, 1, 2, 3:
			text = fmt.Sprintf("send %s %s%s", o.name, w.any(`"x"`, `"y"`, "me", `"z\n"`), w.any("", "", "", " urgent", " priority 3", ` topic "t"`))
		case 4, 5, 6:
			text = fmt.Sprintf("receive %s%s -> x", o.name, w.any("", "", "", " urgent", " priority 3", ` topic "t"`))
		case 7:
			text = "peek " + o.name + " -> x"
		case 8:
			text = "lease " + o.name + " -> x"
		case 9:
			text, waits = w.any("ack ", "nack ")+o.name, false
		case 10:
			text = "receipt " + o.name + " -> x"
		default:
			text, waits = w.any("flush ", "flush ", "close ", "destroy ")+o.name, false
		}
	case "pipe":
		switch w.IntN(7) {
		case 0, 1, 2:
			text = fmt.Sprintf("write %s %s", o.name, w.any(`"1"`, `"23"`))
		case 3, 4:
			text = fmt.Sprintf("read %s %s -> x", o.name, w.any("1", "2"))
		case 5:
			text, waits = "close "+o.name, false
		default:
			text = "read " + o.name + " -> x"
			if !w.o.Plain {
				text = w.any("send "+o.name+" \"!\"", "receive "+o.name+" -> x")
			}
		}
	case "semaphore":
		switch w.IntN(6) {
		case 0, 1:
			text = "wait " + o.name
			if !w.o.Plain { // of System V semaphores, small requests overtake big ones
				text += w.any("", "", " 2")
			}
		case 2, 3:
			text, waits = "post "+o.name, false
		case 4:
			text = "hold " + o.name
		default:
			text, waits = "release "+o.name, false
		}
	case "segment":
		text, waits = w.any("hold ", "release ")+o.name, false
		waits = strings.HasPrefix(text, "hold")
	}
	switch {
	case !waits:
	case w.one(4):
		text += " nonblock"
	case !w.o.Real && w.one(6):
		text += " within 1ms"
	}
	return text
}

// plainMailbox is an operation that message queues of POSIX have too.
func (w *writer) plainMailbox(name string) string {
	if w.one(2) {
		return fmt.Sprintf("send %s %s priority %s", name, w.any(`"x"`, `"y"`, "me"), w.any("1", "2"))
	}
	return "receive " + name + " -> x"
}

// control is a statement that is about no object.
func (w *writer) control(depth int) {
	if depth > 2 {
		w.line(depth, "n = n + 1")
		return
	}
	nested := func(format string, args ...any) {
		w.line(depth, format, args...)
		w.left++
		w.statement(depth + 1)
		if w.left > 0 && w.one(3) {
			w.statement(depth + 1)
		}
	}
	other := w.processes[w.IntN(len(w.processes))]
	switch w.IntN(14) {
	case 12:
		w.line(depth, "cas n %s, %s -> x", w.any("0", "1"), w.any("1", "me"))
	case 13:
		w.line(depth, "atomic:")
		w.line(depth+1, "if n == %s:", w.any("0", "1"))
		w.line(depth+2, "n = n + 2")
	case 0, 1:
		w.line(depth, "n = n + 1")
	case 2:
		w.line(depth, "atomic n = n * 2 + me")
	case 3:
		w.line(depth, "choose c in 0..1")
		if w.left > 0 {
			nested("if c == 1:")
		}
	case 4:
		nested("if n == %s:", w.any("0", "1"))
	case 5:
		nested("repeat 2:")
	case 6:
		if w.o.Real {
			w.line(depth, "print n")
			break
		}
		nested("while n < 1:")
		w.line(depth+1, "yield")
	case 7, 8:
		w.line(depth, "%s %s", w.any("kill", "signal"), other)
	case 9:
		looks := []string{"n", "errno", fmt.Sprintf("blocked(%s)", other), fmt.Sprintf("exited(%s)", other)}
		if !w.o.Plain {
			looks = append(looks, fmt.Sprintf("waiting(%s)", w.objects[0].name))
		}
		w.line(depth, "print %s", w.any(looks...))
	case 10:
		if w.o.Real {
			w.line(depth, "exit")
			break
		}
		w.line(depth, "sleep 1ms")
	default:
		w.line(depth, "%s", w.any("enter s", "exit", "yield"))
	}
}
