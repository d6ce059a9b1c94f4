// Package laws holds every call on an object against what must be true of it.
//
// The general laws know no kind: what was submitted is finished or parked and never both,
// nobody waits for what is there, waiting requests are served in order, a cancelled request
// has changed nothing, what is booked in the ledger is what is held. Kinds add their own, a
// file each: a mailbox neither loses nor doubles a message and keeps their order. Beside
// the laws stand the models that linearizability is checked against, which are tests only,
// and deliberate bugs that laws and models must find.
package laws

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// A monitor holds the laws against every call on one object.
type monitor struct {
	node   *kernel.Node
	kind   kindLaws // nil if the kind has none of its own
	parked []waiting
	gone   bool // destroyed

	// What before saw.
	wasParked   bool
	text        string
	held        objects.Held
	stat        []objects.Counter
	policies    []string
	policy      string // that is being set
	policyErrno syscall.Errno
}

// waiting is a parked request and what it wants to send, which the object keeps.
type waiting struct {
	request *objects.Request
	text    string
	written int // the request's N before the call
}

// kindLaws are the laws of one kind of object. Their fields are part of a run's
// state, see Kernel.State.
type kindLaws interface {
	// finished looks at what a call has finished, in wake order. text is what the
	// submitted request sent.
	finished(m *monitor, a kernel.Act, r *objects.Request, text string, done []*objects.Request) error

	// delivered learns that r's process has its result: it cannot go back.
	delivered(r *objects.Request)

	// check holds after every step.
	check(m *monitor) error

	// contents shows what the object holds, oldest first, if that can be known.
	contents() []string
}

// lineLaws are the laws of a kind whose waiting requests of one operation are not all one line.
type lineLaws interface {
	// begins reports whether the send r, of text, waits before the beginning of a message that it
	// does not end, or goes on with one. Those are a line of their own.
	begins(m *monitor, r *objects.Request, text string) bool

	// goesOn reports whether the send r goes on with a message, which never waits.
	goesOn(m *monitor, r *objects.Request) bool

	// outdated reports whether w waits by rules that were changed since, and which poll(2) tells
	// nothing of.
	outdated(m *monitor, w waiting) bool
}

// lawsOf makes the laws of a kind, by its name. The file of each kind registers its own.
var lawsOf = make(map[string]func() kindLaws)

func register(kind string, laws func() kindLaws) { lawsOf[kind] = laws }

// Of makes the monitor that holds the laws against every call on n.
func Of(n *kernel.Node) kernel.Monitor {
	m := &monitor{node: n}
	if laws := lawsOf[n.Kind.Name]; laws != nil {
		m.kind = laws()
	}
	return m
}

// Before implements Monitor.
func (m *monitor) Before(a kernel.Act, r *objects.Request) {
	o := m.node.Object
	m.wasParked = r != nil && r.Parked()
	m.text = ""
	if a == kernel.Submit {
		m.text = string(r.Data)
	}
	m.held, m.stat = o.Held(), o.Stat()
	for i := range m.parked {
		m.parked[i].written = m.parked[i].request.N
	}
	if a == kernel.SetPolicy {
		m.policies = m.readPolicies()
	}
}

func (m *monitor) readPolicies() []string {
	var values []string
	for _, name := range m.node.Kind.PolicyNames() {
		values = append(values, m.node.Object.Policy(name))
	}
	return values
}

func say(r *objects.Request) string {
	if p, ok := r.Tag.(*kernel.Process); ok {
		return fmt.Sprintf("%s of %s[%d]", r.Op, p.Name, p.Pid())
	}
	return r.Op.String()
}

// Sets implements Monitor.
func (m *monitor) Sets(policy string, errno syscall.Errno) { m.policy, m.policyErrno = policy, errno }

// Delivered implements Monitor.
func (m *monitor) Delivered(r *objects.Request) {
	if m.kind != nil {
		m.kind.delivered(r)
	}
}

// State implements Monitor: what a kind's laws know tells states apart.
func (m *monitor) State() any {
	if m.kind == nil {
		return nil
	}
	return m.kind
}

// Contents implements Monitor.
func (m *monitor) Contents() []string {
	if m.kind == nil {
		return nil
	}
	return m.kind.contents()
}

// After implements Monitor.
func (m *monitor) After(a kernel.Act, r *objects.Request, done []*objects.Request) error {
	if err := m.general(a, r, done); err != nil {
		return fmt.Errorf("%s %s: after %s: %w", m.node.Kind.Name, m.node.Name, a, err)
	}
	if m.kind != nil {
		if err := m.kind.finished(m, a, r, m.text, done); err != nil {
			return fmt.Errorf("%s %s: after %s: %w", m.node.Kind.Name, m.node.Name, a, err)
		}
	}
	m.parked = slices.DeleteFunc(m.parked, func(w waiting) bool { return slices.Contains(done, w.request) })
	if a == kernel.Submit && r.Parked() {
		m.parked = append(m.parked, waiting{request: r, text: m.text})
	}
	return nil
}

func (m *monitor) general(a kernel.Act, r *objects.Request, done []*objects.Request) error {
	for i, d := range done {
		isParked := slices.ContainsFunc(m.parked, func(w waiting) bool { return w.request == d })
		switch {
		case slices.Contains(done[:i], d):
			return fmt.Errorf("the %s finished twice", say(d))
		case d.Parked():
			return fmt.Errorf("the %s is finished and parked", say(d))
		case !isParked && (a != kernel.Submit || d != r):
			return fmt.Errorf("the %s finished though it had already", say(d))
		}
	}
	if a == kernel.Submit {
		switch finished := slices.Contains(done, r); {
		case !finished && !r.Parked():
			return fmt.Errorf("the %s is neither finished nor parked", say(r))
		case r.Parked() && r.Nonblock:
			return fmt.Errorf("the %s waits though it must not", say(r))
		case m.gone && r.Op != objects.Close && r.Op != objects.Release && r.Errno != syscall.EIDRM:
			return fmt.Errorf("the %s on a destroyed object: %s; want EIDRM", say(r), kernel.ErrnoName(r.Errno))
		}
	}
	var early *objects.Request
	if a == kernel.Cancel {
		early = r
	}
	if err := m.inOrder(done, early); err != nil {
		return err
	}
	if a == kernel.Submit && slices.Contains(done, r) {
		if err := m.overtakes(r, done); err != nil {
			return err
		}
	}
	if err := m.dated(a); err != nil {
		return err
	}
	switch a {
	case kernel.Cancel:
		if !m.wasParked {
			return m.unchanged(done, "the cancelled %s had finished", say(r))
		}
		if !slices.Contains(done, r) {
			return fmt.Errorf("the %s does not end", say(r))
		}
		if r.Errno == 0 && (r.Op != objects.Write && r.Op != objects.Send || r.N == 0) { // write(2): interrupted after some bytes
			return fmt.Errorf("the %s succeeded", say(r))
		}
		if len(done) == 1 && r.Errno != 0 && !kernel.Opens(r.Op) && !m.othersWait(r) {
			return m.unchanged(nil, "the %s was cancelled", say(r))
		}
	case kernel.Destroy:
		m.gone = true
		for _, d := range done {
			if d.Errno != syscall.EIDRM {
				return fmt.Errorf("the %s ended with %s; want EIDRM", say(d), kernel.ErrnoName(d.Errno))
			}
		}
		if len(done) != len(m.parked) {
			return fmt.Errorf("%d of %d waiting requests ended", len(done), len(m.parked))
		}
		if m.node.Booked() != (kernel.Book{}) {
			return fmt.Errorf("%+v is still booked", m.node.Booked())
		}
	case kernel.SetPolicy:
		if m.policyErrno != 0 {
			if now := m.readPolicies(); !slices.Equal(now, m.policies) {
				return fmt.Errorf("a bad value changed the policies from %q to %q", m.policies, now)
			}
			return m.unchanged(done, "a bad value was refused with %s", kernel.ErrnoName(m.policyErrno))
		}
	}
	return nil
}

// dated checks the times of the last change and of the last receive: they stay, or it is now.
func (m *monitor) dated(a kernel.Act) error {
	held, now := m.node.Object.Held(), m.node.Kernel().Now()
	if a != kernel.Destroy && !m.gone && (held.Changed != m.held.Changed && held.Changed != now || held.Taken != m.held.Taken && held.Taken != now) {
		return fmt.Errorf("changed at %d and received at %d, which were %d and %d, and it is %d", held.Changed, held.Taken, m.held.Changed, m.held.Taken, now)
	}
	return nil
}

// happened checks those times for the laws of a kind, by which something was changed just now, or received.
func (m *monitor) happened(changed, received bool) error {
	held, now := m.node.Object.Held(), m.node.Kernel().Now()
	switch {
	case changed && held.Changed != now:
		return fmt.Errorf("it is %d, and the last change is of %d", now, held.Changed)
	case received && held.Taken != now:
		return fmt.Errorf("it is %d, and the last receive is of %d", now, held.Taken)
	}
	return nil
}

// succeeded reports whether done has a request of one of those operations that did not fail.
func succeeded(done []*objects.Request, ops ...objects.Op) bool {
	return slices.ContainsFunc(done, func(d *objects.Request) bool { return d.Errno == 0 && slices.Contains(ops, d.Op) })
}

// othersWait reports whether requests of r's operation are parked besides r: they may get what
// r has given up.
func (m *monitor) othersWait(r *objects.Request) bool {
	if r.Op == objects.Send && stat(m.stat, "senders_waiting") > 1 {
		return true // also what a closed file has left waits as a sender
	}
	return slices.ContainsFunc(m.parked, func(w waiting) bool { return w.request != r && w.request.Op == r.Op })
}

// inOrder checks that of the waiting requests of one operation the oldest finish
// first. The reads of one handle share the message that it gets. early, if it is not nil, was cancelled:
// it may succeed with the part that it has done.
func (m *monitor) inOrder(done []*objects.Request, early *objects.Request) error {
	for i, w := range m.parked {
		if slices.Contains(done, w.request) || again(w.request) {
			continue
		}
		for _, later := range m.parked[i+1:] {
			l := later.request
			if l == early || line(l.Op) != line(w.request.Op) || m.begins(l, later.text) != m.begins(w.request, w.text) || !together(w.request, l, done) || !served(l) || !slices.Contains(done, l) {
				continue
			}
			shared := slices.ContainsFunc(done, func(d *objects.Request) bool {
				return d != l && d.Errno == 0 && d.Handle == l.Handle
			})
			if !shared {
				return fmt.Errorf("the %s was served before the %s, which waited longer", say(l), say(w.request))
			}
		}
	}
	return nil
}

// again reports whether r waits once more after a part of what it sends has been sent: it
// has had its turn.
func again(r *objects.Request) bool { return r.Op == objects.Send && r.N > 0 }

// line is the operation whose waiting requests op queues up with.
func line(op objects.Op) objects.Op {
	switch op {
	case objects.Hold:
		return objects.Wait
	case objects.Lease:
		return objects.Receive
	}
	return op
}

// together reports whether first and later wait for the same: what has served the later request could
// have served the first. Endpoints that select have lines of their own, beside
// the one for everything.
func together(first, later *objects.Request, done []*objects.Request) bool {
	a, b := first.Handle, later.Handle
	if a == nil || b == nil {
		return true
	}
	if first.Op == objects.Receipt {
		return a == b // of a message of its own
	}
	if first.Op == objects.Send {
		return mailbox.Filter(a) == mailbox.Filter(b) && !slices.ContainsFunc(done, func(d *objects.Request) bool {
			return d.Op == objects.Receive && mailbox.Filter(d.Handle) != nil // who wanted just that
		})
	}
	return mailbox.Filter(a) == nil || mailbox.Filter(b) != nil && *mailbox.Filter(a) == *mailbox.Filter(b)
}

// overtakes checks that r, which finished at once, did not pass a request that goes on waiting. A read
// may be answered from the rest of a message that its file has; other requests have no such excuse.
func (m *monitor) overtakes(r *objects.Request, done []*objects.Request) error {
	waits := r.Op == objects.Send || r.Op == objects.Write || r.Op == objects.Hold || r.Op == objects.Wait && r.Size == 0
	if !waits || r.Errno != 0 {
		return nil
	}
	for _, w := range m.parked {
		if line(w.request.Op) == line(r.Op) && !m.goesOn(r) && m.begins(r, m.text) == m.begins(w.request, w.text) && together(w.request, r, done) && !slices.Contains(done, w.request) && !again(w.request) {
			return fmt.Errorf("the %s was served before the %s, which waits", say(r), say(w.request))
		}
	}
	return nil
}

// served reports whether the finished request r got what it waited for. End of file
// does not count, for all readers get it.
func served(r *objects.Request) bool {
	return r.Errno == 0 && (r.Op != objects.Read || len(r.Data) > 0)
}

// unchanged checks that nothing finished and nothing is held or counted that was
// not before, except how many wait.
func (m *monitor) unchanged(done []*objects.Request, why string, args ...any) error {
	why = fmt.Sprintf(why, args...)
	if len(done) > 0 {
		return fmt.Errorf("%s, and yet the %s finished", why, say(done[0]))
	}
	if held := m.node.Object.Held(); held != m.held {
		return fmt.Errorf("%s, and yet %+v is held, which was %+v", why, held, m.held)
	}
	for i, now := range m.node.Object.Stat() {
		if was := m.stat[i]; now != was && !strings.HasSuffix(now.Name, "waiting") {
			return fmt.Errorf("%s, and yet %s went from %d to %d", why, now.Name, was.Value, now.Value)
		}
	}
	return nil
}

// Check implements Monitor: it holds after every step.
func (m *monitor) Check() error {
	o := m.node.Object
	if err := o.Check(); err != nil {
		return err
	}
	n := 0
	for r := range o.Waiters() {
		if !slices.ContainsFunc(m.parked, func(w waiting) bool { return w.request == r }) {
			return fmt.Errorf("the %s waits though it has finished", say(r))
		}
		n++
	}
	if n != len(m.parked) {
		return fmt.Errorf("%d requests wait; want %d", n, len(m.parked))
	}
	if m.gone {
		if n > 0 {
			return fmt.Errorf("%d requests wait on a destroyed object", n)
		}
		return nil
	}
	for _, w := range m.parked {
		if p, ok := w.request.Tag.(*kernel.Process); ok && p.State() != kernel.Blocked {
			return fmt.Errorf("the %s is parked, but the process is %s", say(w.request), p.State())
		}
		if m.couldGo(w.request) && !m.outdated(w) {
			return fmt.Errorf("the %s waits for what is there: its wake-up was lost", say(w.request))
		}
	}
	if n > 0 && o.Removable() == 0 {
		return errors.New("removable, though somebody waits")
	}
	for _, c := range o.Stat() {
		if c.Value < 0 {
			return fmt.Errorf("%s is %d", c.Name, c.Value)
		}
	}
	if err := m.node.Balance(); err != nil {
		return err
	}
	if m.kind != nil {
		return m.kind.check(m)
	}
	return nil
}

// begins is that of the kind's laws.
func (m *monitor) begins(r *objects.Request, text string) bool {
	l, ok := m.kind.(lineLaws)
	return ok && l.begins(m, r, text)
}

// goesOn is that of the kind's laws.
func (m *monitor) goesOn(r *objects.Request) bool {
	l, ok := m.kind.(lineLaws)
	return ok && l.goesOn(m, r)
}

// outdated is that of the kind's laws.
func (m *monitor) outdated(w waiting) bool {
	l, ok := m.kind.(lineLaws)
	return ok && l.outdated(m, w)
}

// couldGo reports whether poll(2) promises the parked request r that it would not
// wait.
func (m *monitor) couldGo(r *objects.Request) bool {
	if kernel.Opens(r.Op) {
		return false // poll needs an open file
	}
	var e objects.Events
	switch h := r.Handle; r.Op {
	case h.ReadOp:
		e = objects.In
	case h.WriteOp:
		e = objects.Out
	}
	return m.node.Object.Ready(r.Handle)&e != 0
}

// perOpenFile names the counters that count open files, or what they hold.
func perOpenFile(counter string) bool {
	return strings.HasPrefix(counter, "open_") || counter == "leased" || counter == "attached" || counter == "owners"
}

// closed checks that nothing is left open of an object after the last process.
func (m *monitor) closed() error {
	for _, c := range m.node.Object.Stat() {
		if perOpenFile(c.Name) && c.Value != 0 {
			return fmt.Errorf("every process has exited, and %s is %d", c.Name, c.Value)
		}
	}
	return nil
}

// Probe ends a run: whoever still waits is cancelled, the youngest first, and asks
// once more without waiting. If that succeeds, a wake-up was lost.
func Probe(k *kernel.Kernel) {
	all := !slices.ContainsFunc(k.Processes(), func(p *kernel.Process) bool { return p.State() != kernel.Exited })
	for _, n := range k.Nodes() {
		m, _ := n.Monitor().(*monitor)
		if m != nil && all && !m.gone {
			if err := m.closed(); err != nil {
				k.Violate(fmt.Errorf("%s %s: %w", n.Kind.Name, n.Name, err))
			}
		}
		for m != nil && !m.gone && len(m.parked) > 0 && k.Violation() == nil {
			w := m.parked[len(m.parked)-1]
			r := w.request
			k.CancelParked(n, r)
			if kernel.Opens(r.Op) {
				continue // O_NONBLOCK means other things to open
			}
			if r.Errno == 0 {
				continue // it had been carried out in part
			}
			again := *r
			again.Nonblock, again.Tag, again.Errno = true, nil, 0
			if w.text != "" {
				again.Data = []byte(w.text)
			}
			k.SubmitTo(n, &again)
			if again.Errno == 0 {
				k.Violate(fmt.Errorf("%s %s: the %s waited, but asked again it succeeds: its wake-up was lost",
					n.Kind.Name, n.Name, say(r)))
			}
		}
	}
}
