// Package cost counts what messages cost by each mechanism, in crossings, copies and
// switches, and says from measured rates of a machine what that is in time.
package cost

import (
	"fmt"
	"io"
	"text/tabwriter"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
)

// Costs are what operations cost in events, whatever the machine.
type Costs struct {
	Crossings int // system calls: into the kernel and back
	Copies    int // of the message, by the processor
	Switches  int // from one process to another
	Maps      int // of a segment into a process, and off again
	Touches   int // of each page of the message where it is mapped already

	// Of these are known to cost more than others:
	Queued   int // crossings that put something into a queue of the kernel, or take it out
	Requests int // to the daemon: of each, three crossings and two switches
	Passed   int // copies from a process to the daemon or back
	Kept     int // copies into memory that the daemon allocates for them
}

// Plus adds costs.
func (c Costs) Plus(d Costs) Costs {
	return Costs{
		c.Crossings + d.Crossings, c.Copies + d.Copies, c.Switches + d.Switches, c.Maps + d.Maps, c.Touches + d.Touches,
		c.Queued + d.Queued, c.Requests + d.Requests, c.Passed + d.Passed, c.Kept + d.Kept,
	}
}

// Times multiplies costs.
func (c Costs) Times(n int) Costs {
	return Costs{
		c.Crossings * n, c.Copies * n, c.Switches * n, c.Maps * n, c.Touches * n,
		c.Queued * n, c.Requests * n, c.Passed * n, c.Kept * n,
	}
}

// requests is what n requests to the daemon cost: the caller's system call, and two of
// the daemon, which reads the request from /dev/fuse and writes the reply; it is
// switched to, and back.
func requests(n int) Costs { return Costs{Crossings: 3 * n, Switches: 2 * n, Requests: n} }

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
// process, and a message that is kept is copied once more, into the mailbox. A segment
// is opened, sized and mapped once, and then used without the kernel, as long as both
// sides know otherwise whose turn it is. To say so they exchange notices, as over a
// bounded buffer: the sender waits for "empty" and gives "full", the receiver waits for
// "full" and gives "empty". A notice is a short message in a queue of the kernel, or a
// unit of an ipcfs semaphore. Mapping the segment anew for each message is the way to
// hand over memory that was not shared before.
func Mechanisms() []Mechanism {
	// One notice is taken and one is given.
	notices := Costs{Crossings: 2, Queued: 2, Touches: 1}
	units := requests(2).Plus(Costs{Touches: 1})
	mapped := Costs{Crossings: 4, Queued: 2, Maps: 1} // mmap, munmap, the notices
	segment := Costs{Crossings: 3, Maps: 1}
	return []Mechanism{
		{
			Name:    "kernel queue",
			SetUp:   Costs{Crossings: 1},
			Send:    Costs{Crossings: 1, Queued: 1, Copies: 1},
			Receive: Costs{Crossings: 1, Queued: 1, Copies: 1},
			Wait:    Costs{Switches: 2},
		},
		{
			Name:    "ipcfs mailbox",
			SetUp:   requests(1),
			Send:    requests(1).Plus(Costs{Copies: 2, Passed: 1, Kept: 1}),
			Receive: requests(1).Plus(Costs{Copies: 1, Passed: 1}),
			Wait:    Costs{Copies: -1, Kept: -1}, // it is handed over before it is kept
		},
		{
			Name:  "segment",
			SetUp: segment,
		},
		{
			Name:    "segment with notices",
			SetUp:   segment.Plus(Costs{Crossings: 1}),
			Send:    notices,
			Receive: notices,
			Wait:    Costs{Switches: 2},
		},
		{
			Name:    "segment with semaphores",
			SetUp:   segment.Plus(requests(2)),
			Send:    units,
			Receive: units,
		},
		{
			Name:    "segment mapped anew",
			SetUp:   Costs{Crossings: 3},
			Send:    mapped,
			Receive: mapped,
			Wait:    Costs{Switches: 2},
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
func (a *Account) Add(e kernel.Event) {
	r := e.Request
	if r == nil {
		return
	}
	switch {
	case e.Verb == "blocks" && r.Op == objects.Receive:
		a.Total = a.Total.Plus(a.Mechanism.Wait)
	case !e.Start:
	case kernel.Opens(r.Op):
		a.Total = a.Total.Plus(a.Mechanism.SetUp)
	case r.Op == objects.Send:
		a.Total = a.Total.Plus(a.Mechanism.Send)
	case r.Op == objects.Receive:
		a.Total = a.Total.Plus(a.Mechanism.Receive)
	}
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
