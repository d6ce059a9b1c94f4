package laws

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

func init() { register("mailbox", func() kindLaws { return &mailboxLaws{} }) }

// mailboxLaws: every message that was sent is in exactly one place. It is held, or on
// lease, or it was received, acknowledged, moved, dropped or has expired, and counts as
// that. What is held is held in order, and received in it: by number, which priorities
// and urgency change as they say. Who selects gets what was selected. A mailbox takes
// nothing beyond its capacity, but what is urgent or comes back.
//
// framing.go, lease.go, broadcast.go, receipt.go and opening.go have what is known of those parts.
type mailboxLaws struct {
	held    []*letter // in the order in which they were sent
	readers readings
	taken   []delivery

	line    []*offer // what waits to be sent, first come, first served
	writers []*writing

	leases []*lease
	late   []*objects.Handle // whose last lease has run out
	dead   []*letter         // on their way to the dead letters
	moved  []*letter         // there, in the last act
	coming []*letter         // from another mailbox, in the next act

	open     []opening
	receipts []*receipt
}

// A letter is a message and what it was labelled with.
type letter struct {
	text  string
	label mailbox.Selector // the zero Selector is that of a plain message, of priority 0
	from  uint32           // uid
	at    objects.Time     // when it was sent

	seq         uint64 // its number, 0 as long as nobody has seen it
	above, upTo uint64 // between these
	deliveries  uint32
	gone        bool
	share       *share // nil unless it was broadcast
	orphan      bool   // of a file that was closed: nobody is told how it fares
}

// letterOf is what the send r sends.
func letterOf(r *objects.Request, text string) letter {
	l := letter{text: text, from: r.Caller.Uid}
	if r.Handle != nil && mailbox.Filter(r.Handle) != nil {
		l.label = *mailbox.Filter(r.Handle)
	}
	return l
}

func (l *letter) urgent() bool { return l.label.By == mailbox.ByUrgency }

// priority is 0 for what has none: see mailbox.Selector.
func (l *letter) priority() uint8 { return l.label.Priority }

// is reports whether only, which may be nil, selects l.
func (l *letter) is(only *mailbox.Selector) bool {
	switch {
	case only == nil:
		return true
	case only.By == mailbox.ByPriority:
		return !l.urgent() && l.priority() == only.Priority
	case only.By == mailbox.BySender:
		return l.from == only.Sender
	}
	return l.label == *only
}

// shows reports whether m is l as the mailbox shows it.
func (l *letter) shows(m *mailbox.Message) bool {
	return l.text == string(m.Data) && l.from == m.Sender.Uid &&
		l.urgent() == m.Urgent && l.priority() == m.Priority && l.label.Topic == m.Topic
}

// A delivery is a letter that a process was woken with.
type delivery struct {
	request *objects.Request
	letter  *letter
}

// An account is what one call on a mailbox has done, as the laws work it out.
type account struct {
	*mailboxLaws
	m    *monitor
	act  kernel.Act
	r    *objects.Request
	done []*objects.Request
	now  objects.Time
	stat []objects.Counter // after the call, once somebody has asked

	late    bool      // something had come due that nobody had noticed
	flushed bool      // all that was held
	back    []*letter // were returned
	fresh   []*letter // were sent

	sent, received, dropped, expired, redelivered int64
}

func (l *mailboxLaws) finished(m *monitor, a kernel.Act, r *objects.Request, text string, done []*objects.Request) error {
	if m.gone {
		*l = mailboxLaws{}
		return nil
	}
	x := &account{mailboxLaws: l, m: m, act: a, r: r, done: done, now: m.node.Kernel().Now()}
	x.flushed = a == kernel.Submit && r.Op == objects.Flush
	for _, step := range []func() error{
		x.timePasses, x.opens, x.settles, x.closes, x.returns, x.arrives, x.takes,
		x.holds, x.counts, x.isTold, x.fits,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (x *account) policy(name string) string { return x.m.node.Object.Policy(name) }

// grown is by how much the named counter has grown.
func (x *account) grown(name string) int64 {
	if x.stat == nil {
		x.stat = x.m.node.Object.Stat()
	}
	return stat(x.stat, name) - stat(x.m.stat, name)
}

// dueNow reports whether l has expired.
func (x *account) dueNow(l *letter) bool {
	ttl, _ := objects.ParseSpan(x.policy("ttl"))
	return ttl != objects.Unbounded && l.at+ttl <= x.now
}

// inOrder sorts letters, oldest first, by when they are due.
func (x *account) inOrder(letters []*letter) []*letter {
	letters = slices.Clone(letters)
	slices.SortStableFunc(letters, func(a, b *letter) int { return cmp.Compare(x.rank(b), x.rank(a)) })
	return letters
}

// rank is higher for what is due earlier.
func (x *account) rank(l *letter) int {
	switch {
	case l.urgent():
		return math.MaxInt
	case x.policy("order") == "fifo":
		return 0
	}
	return int(l.priority())
}

// returns takes back what could not be delivered.
func (x *account) returns() error {
	if x.act != kernel.GiveBack {
		return nil
	}
	i := slices.IndexFunc(x.taken, func(t delivery) bool { return t.request == x.r })
	if i < 0 {
		return nil
	}
	m := x.taken[i].letter
	x.taken = slices.Delete(x.taken, i, i+1)
	x.readers.forget(x.r.Handle)
	switch {
	case x.r.Op == objects.Lease:
		if !x.unlease(x.r.Handle, m) {
			return nil
		}
	case m.share != nil:
		x.received--
		x.owe(x.r.Handle, m)
		return nil
	default:
		x.received--
		x.untell(m)
	}
	m.gone = false
	x.back = append(x.back, m)
	return nil
}

// takes checks what receives, leases and peeks were given.
func (x *account) takes() error {
	for _, d := range x.done {
		if d.Errno != 0 || d.Op != objects.Receive && d.Op != objects.Lease && d.Op != objects.Peek {
			continue
		}
		if new, err := x.readers.goesOn(d); err != nil {
			return err
		} else if !new {
			continue
		}
		m, err := x.given(d)
		if err != nil {
			return err
		}
		x.readers.begin(d, m.text)
		if d.Op == objects.Peek {
			continue
		}
		x.taken = append(x.taken, delivery{d, m})
		switch {
		case d.Op == objects.Lease:
			if err := x.lease(d, m); err != nil {
				return err
			}
		case m.share != nil:
			x.received++
			x.tell(m, received(d))
			m.share.gets(d.Handle)
		default:
			m.gone = true
			x.received++
			x.tell(m, received(d))
		}
	}
	return nil
}

// given is the letter that the receive d was given. A receive that finds messages gets the first that
// it selects; one that has waited gets a message that was just sent; a message that a sender offers
// comes last.
func (x *account) given(d *objects.Request) (*letter, error) {
	isPeek := d.Op == objects.Peek
	var places []*letter
	strict := false
	switch found := d == x.r && x.act == kernel.Submit; {
	case found && x.late:
		places = slices.Concat(x.inOrder(slices.Concat(x.held, x.back)), x.fresh, x.offered())
	case found:
		strict = true
		places = slices.Concat(x.inOrder(x.held), x.inOrder(slices.Concat(x.fresh, x.offered())))
	case isPeek:
		places = slices.Concat(x.back, x.fresh, x.held, x.offered())
	default:
		strict = true
		places = slices.Concat(x.back, x.fresh, x.offered())
	}
	for _, m := range places {
		switch {
		case m.gone, !m.is(mailbox.Filter(d.Handle)), !isPeek && !m.share.mayGet(d.Handle),
			x.dueNow(m) && (slices.Contains(x.held, m) || slices.Contains(x.back, m)):
		case begins(d, m.text):
			if isPeek || x.receivable(m) {
				return m, nil
			}
		case strict && m.share.mustGet(d.Handle):
			return nil, fmt.Errorf("the %s got %q; want %q, which comes first", say(d), d.Data, m.text)
		}
	}
	return nil, fmt.Errorf("the %s got %q, which nobody sent, or somebody had already", say(d), d.Data)
}

// holds compares the messages held with those that should be, and finds out which are missing and why.
func (x *account) holds() error {
	for _, m := range slices.Concat(x.back, x.fresh) {
		if !slices.Contains(x.held, m) {
			x.held = append(x.held, m)
		}
	}
	expected := slices.DeleteFunc(x.held, func(m *letter) bool { return m.gone })
	x.held = nil
	var before *letter
	for m := range x.m.node.Mailbox().Messages() {
		i := slices.IndexFunc(expected, func(l *letter) bool { return l.seq == m.Seq })
		if i < 0 {
			i = slices.IndexFunc(expected, func(l *letter) bool {
				return l.seq == 0 && l.shows(m) && l.above < m.Seq && m.Seq <= l.upTo
			})
		}
		if i < 0 {
			o := x.orphan(func(l *letter) bool { return l.shows(m) })
			if o == nil {
				return fmt.Errorf("message %d, %q, is held, which nobody sent, or somebody had already", m.Seq, m.Data)
			}
			expected = append(expected, x.sends(o))
			i = len(expected) - 1
		}
		l := expected[i]
		expected = slices.Delete(expected, i, i+1)
		l.seq = m.Seq
		switch {
		case !l.shows(m) || l.deliveries != m.Deliveries || l.at != m.Sent:
			return fmt.Errorf("message %d, %q, is held as %q, labelled %v, of %d deliveries", m.Seq, l.text, m.Data, l.label, m.Deliveries)
		case l.share.over():
			return fmt.Errorf("message %d, %q, is held for nobody", m.Seq, l.text)
		case before != nil && (x.rank(before) < x.rank(l) || x.rank(before) == x.rank(l) && before.seq > l.seq):
			return fmt.Errorf("message %d, %q, is due after message %d, %q", l.seq, l.text, before.seq, before.text)
		}
		before = l
		x.held = append(x.held, l)
	}
	slices.SortFunc(x.held, func(a, b *letter) int { return cmp.Compare(a.seq, b.seq) })
	mayGo := func(l *letter) bool { return x.flushed || x.lost(l) }
	for o := x.orphan(mayGo); o != nil && x.sent < x.grown("sent"); o = x.orphan(mayGo) {
		expected = append(expected, x.sends(o))
	}
	x.endShared()
	return x.explain(expected)
}

// explain says why letters are not held any more.
func (x *account) explain(missing []*letter) error {
	left := x.grown("dropped") + x.grown("expired")
	for _, m := range missing {
		noticed := x.late && x.dueNow(m) // before anything else
		if !noticed && m.share.mayBeOver() && m.share.got > 0 && (m.share.over() || left < int64(len(missing))) {
			m.gone = true // everyone has it
			continue
		}
		switch {
		case x.dueNow(m):
			x.expired++
			x.tell(m, "expired - -\n")
		case x.flushed, x.lost(m):
			x.dropped++
			x.tell(m, "dropped - -\n")
		default:
			return fmt.Errorf("%q is neither held nor received, and was not dropped", m.text)
		}
		m.gone = true
		if err := x.spared(m); err != nil {
			return err
		}
	}
	return nil
}

// lost reports whether m may be dropped as the policies are.
func (x *account) lost(m *letter) bool {
	if overflow := x.policy("overflow"); overflow == "drop-oldest" || overflow == "drop-newest" {
		return true
	}
	for _, o := range x.line {
		if o.letter == m {
			s := x.shareOf(m, o)
			return s != nil && len(s.must) == 0
		}
	}
	return m.share != nil && m.share.mayBeOver()
}

// spared checks that no message was dropped for room before one that is still held and should have
// gone first.
func (x *account) spared(m *letter) error {
	if x.policy("overflow") != "drop-oldest" || x.flushed || x.dueNow(m) || m.seq == 0 || m.share.mayBeOver() && m.share != nil {
		return nil
	}
	for _, other := range x.held {
		if !other.urgent() && x.rank(other) <= x.rank(m) && other.seq < m.seq && !slices.Contains(x.back, other) {
			return fmt.Errorf("message %d, %q, was dropped before message %d, %q", m.seq, m.text, other.seq, other.text)
		}
	}
	return nil
}

// counts compares the counters with what has happened.
func (x *account) counts() error {
	for _, c := range []struct {
		name string
		want int64
	}{
		{"sent", x.sent}, {"received", x.received}, {"dropped", x.dropped}, {"expired", x.expired}, {"redelivered", x.redelivered},
	} {
		if got := x.grown(c.name); got != c.want {
			return fmt.Errorf("%s has grown by %d; want %d", c.name, got, c.want)
		}
	}
	return x.m.happened(x.sent > 0, x.received > 0 && succeeded(x.done, objects.Receive))
}

// fits checks that what was admitted had room.
func (x *account) fits() error {
	var beyond kernel.Book // what needs none
	plain := false
	for _, m := range x.held {
		switch {
		case slices.Contains(x.back, m), slices.Contains(x.fresh, m) && (m.urgent() || m.share != nil && m.share.early || x.cannotWait(m)):
			beyond.Messages++
			beyond.Bytes += int64(len(m.text))
		case slices.Contains(x.fresh, m):
			plain = true
		}
	}
	if !plain {
		return nil
	}
	held := x.m.node.Object.Held()
	for _, c := range []struct {
		name       string
		is, exempt int64
	}{
		{"capacity", held.Messages, beyond.Messages}, {"capacity_bytes", held.Bytes, beyond.Bytes},
	} {
		if c.is-c.exempt > x.m.node.Amount(c.name) {
			return fmt.Errorf("%d are held, the %s is %s", c.is, c.name, x.policy(c.name))
		}
	}
	return nil
}

// cannotWait reports whether m is held without room because its file is closed: nobody is left who
// could be told.
func (x *account) cannotWait(m *letter) bool {
	return m.orphan && (x.policy("overflow") == "fail" || int64(len(m.text)) > x.longest())
}

func (l *mailboxLaws) delivered(r *objects.Request) {
	l.taken = slices.DeleteFunc(l.taken, func(t delivery) bool { return t.request == r })
}

func (l *mailboxLaws) check(m *monitor) error {
	held := m.node.Object.Held()
	var bytes int64
	for _, h := range l.held {
		bytes += int64(len(h.text))
	}
	if held.Messages != int64(len(l.held)) || held.Bytes != bytes {
		return fmt.Errorf("%+v is held; want %d messages of %d bytes", held, len(l.held), bytes)
	}
	if err := l.checkLeases(m); err != nil {
		return err
	}
	want := kernel.Book{Messages: held.Messages, Bytes: held.Bytes}
	for _, m := range l.dead {
		want.Add(1, m.text)
	}
	for _, s := range l.leases {
		want.Add(1, s.letter.text)
	}
	l.bookFramed(&want)
	if m.node.Booked() != want {
		return fmt.Errorf("%+v is booked; want %+v", m.node.Booked(), want)
	}
	return nil
}

func (l *mailboxLaws) contents() []string {
	var texts []string
	for _, m := range l.held {
		texts = append(texts, m.text)
	}
	return texts
}
