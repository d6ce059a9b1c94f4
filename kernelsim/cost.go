package kernelsim

import (
	"fmt"
	"io"
	"text/tabwriter"

	"ipcfs/objects"
)

// Costs are what operations cost in events, whatever the machine.
type Costs struct {
	Crossings int // system calls: into the kernel and back
	Copies    int // of the message, by the processor
	Switches  int // from one process to another
	Maps      int // of a segment into a process, and off again
}

// Plus adds costs.
func (c Costs) Plus(d Costs) Costs {
	return Costs{c.Crossings + d.Crossings, c.Copies + d.Copies, c.Switches + d.Switches, c.Maps + d.Maps}
}

// Times multiplies costs.
func (c Costs) Times(n int) Costs {
	return Costs{c.Crossings * n, c.Copies * n, c.Switches * n, c.Maps * n}
}

// A Mechanism is a way to get a message from one process to another.
type Mechanism struct {
	Name    string
	SetUp   Costs // once for each process
	Send    Costs
	Receive Costs

	// Wait is what a receive costs besides that finds nothing: the process gives up
	// the processor, and gets it back.
	Wait Costs
}

// Mechanisms lists the ways there are.
//
// A queue of the kernel copies a message in and out. In ipcfs the daemon is a third
// process, which makes two system calls for each operation (it reads the request
// from /dev/fuse and writes the reply), and a message that is kept is copied once
// more, into the mailbox. A segment is opened, sized and mapped once, and then used
// without the kernel; mapping it anew for each message is the way to hand over a big
// message without a copy.
func Mechanisms() []Mechanism {
	return []Mechanism{
		{
			Name:    "kernel queue",
			SetUp:   Costs{Crossings: 1},
			Send:    Costs{Crossings: 1, Copies: 1},
			Receive: Costs{Crossings: 1, Copies: 1},
			Wait:    Costs{Switches: 2},
		},
		{
			Name:    "ipcfs mailbox",
			SetUp:   Costs{Crossings: 1 + 2, Switches: 2},
			Send:    Costs{Crossings: 1 + 2, Copies: 2, Switches: 2},
			Receive: Costs{Crossings: 1 + 2, Copies: 1, Switches: 2},
			Wait:    Costs{Copies: -1}, // it is handed over before it is kept
		},
		{
			Name:  "segment",
			SetUp: Costs{Crossings: 3, Maps: 1},
		},
		{
			Name:    "segment mapped for each message",
			Send:    Costs{Crossings: 4, Maps: 1},
			Receive: Costs{Crossings: 4, Maps: 1},
		},
	}
}

// MechanismNamed is the mechanism of that name.
func MechanismNamed(name string) (Mechanism, bool) {
	for _, m := range Mechanisms() {
		if m.Name == name {
			return m, true
		}
	}
	return Mechanism{}, false
}

// Message is what one message costs that is waited for by nobody.
func (m Mechanism) Message() Costs { return m.Send.Plus(m.Receive) }

// An Account adds up what a run would cost by a mechanism. Its Add goes into
// Kernel.Watch.
type Account struct {
	Mechanism Mechanism
	Total     Costs
}

// Add books e.
func (a *Account) Add(e Event) {
	r := e.Request
	if r == nil {
		return
	}
	switch {
	case e.Verb == "blocks" && r.Op == objects.Receive:
		a.Total = a.Total.Plus(a.Mechanism.Wait)
	case !e.Start:
	case opens(r.Op):
		a.Total = a.Total.Plus(a.Mechanism.SetUp)
	case r.Op == objects.Send:
		a.Total = a.Total.Plus(a.Mechanism.Send)
	case r.Op == objects.Receive:
		a.Total = a.Total.Plus(a.Mechanism.Receive)
	}
}

// Rates are what events cost on a machine, in nanoseconds. They are measured there.
type Rates struct {
	Crossing float64
	Switch   float64
	CopyByte float64
	Map      float64 // without touching a page
	Page     float64 // the first touch of a mapped page
}

// pageBytes is the size of a page.
const pageBytes = 4096

// Nanoseconds is what c costs for messages of size bytes.
func (r Rates) Nanoseconds(c Costs, size int) float64 {
	pages := (size + pageBytes - 1) / pageBytes
	return float64(c.Crossings)*r.Crossing +
		float64(c.Switches)*r.Switch +
		float64(c.Copies)*r.CopyByte*float64(size) +
		float64(c.Maps)*(r.Map+r.Page*float64(pages))
}

// maxBreakEven is the largest message that BreakEven considers, in bytes.
const maxBreakEven = 1 << 40

// BreakEven is the size in bytes, a power of two or three halves of one, from which
// on messages that cost b are cheaper than messages that cost a; ok is false if they
// never are.
func (r Rates) BreakEven(a, b Costs) (size int, ok bool) {
	cheaper := func(n int) bool { return r.Nanoseconds(b, n) < r.Nanoseconds(a, n) }
	if !cheaper(maxBreakEven) {
		return 0, false
	}
	for n := maxBreakEven; n > 1; n /= 2 {
		switch {
		case cheaper(n / 2):
		case cheaper(n / 4 * 3):
			return n / 4 * 3, true
		default:
			return n, true
		}
	}
	return 1, true
}

// WriteCosts writes the table of mechanisms: set-up, one message, and request and
// reply.
func WriteCosts(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tset-up\tmessage\t\t\trequest and reply\t\t")
	fmt.Fprintln(t, "mechanism\tcrossings\tcrossings\tcopies\tswitches\tcrossings\tcopies\tswitches")
	for _, m := range Mechanisms() {
		one, both := m.Message(), m.Message().Times(2)
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", m.Name, 2*m.SetUp.Crossings,
			one.Crossings, one.Copies, one.Switches, both.Crossings, both.Copies, both.Switches)
	}
	return t.Flush()
}
