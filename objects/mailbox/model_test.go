package mailbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

// The model is a mailbox made of slices. After every change it is settled by one
// loop that looks at the first sender in line, which makes it obvious and slow.
type mailboxModel struct {
	capacity, capacityBytes, maxMessage int64
	overflow                            objects.Overflow
	order                               Order
	ttl                                 objects.Time
	now                                 objects.Time

	held                        []*modelMessage // oldest first
	seq                         int
	senders, receivers, peekers []*modelRequest
	destroyed                   bool

	sent, received, dropped, expired int64

	done []*modelRequest // since the last step
}

type modelMessage struct {
	text string
	seq  int
	sent objects.Time
	label
	uid uint32
}

// A label is what a message is labelled with, or what an endpoint wants; want is empty
// for one that takes all.
type label struct {
	want     string
	priority int
	topic    string
	uid      uint32
}

func (l label) takes(m *modelMessage) bool {
	switch l.want {
	case "priority":
		return m.want != "urgent" && m.priority == l.priority
	case "topic":
		return m.topic == l.topic
	case "from":
		return m.uid == l.uid
	case "urgent":
		return m.want == "urgent"
	}
	return true
}

type modelRequest struct {
	id       int
	op       objects.Op
	nonblock bool
	handle   *modelHandle
	size     int
	offset   int64
	data     string
	message  *modelMessage // of a send

	errno syscall.Errno
	got   string
	took  bool
	whole *modelMessage // that it took
}

type modelHandle struct {
	reads, writes, eof, seekable bool
	only                         label
	framed                       bool

	text     string // the message being read
	open     bool   // text is addressable
	start    int64  // the offset of text's first byte
	reached  int
	endIsDue bool
}

// message makes one that uid sends through h.
func (h *modelHandle) message(text string, uid uint32) *modelMessage {
	m := &modelMessage{text: text, uid: uid}
	if h.only.want != "from" {
		m.label = h.only
	}
	m.label.uid = 0
	return m
}

func (h *modelHandle) begin(r *modelRequest, text string) {
	if h.framed {
		text = "<" + text + ">"
	}
	n := min(r.size, len(text))
	r.got = text[:n]
	h.open = n < len(text) || h.seekable && r.size <= objects.SeekBack
	h.endIsDue = !h.open && h.eof
	h.text, h.start, h.reached = text, r.offset, n
}

// unfinished answers r from the message that h is in the middle of.
func (h *modelHandle) unfinished(r *modelRequest) bool {
	if !h.open {
		due := h.endIsDue
		h.endIsDue, r.got = false, ""
		return due
	}
	at := h.reached
	if rel := r.offset - h.start; h.seekable && rel >= 0 && rel < int64(len(h.text)) {
		at = int(rel)
	}
	if at == len(h.text) {
		h.open, r.got = false, ""
		return h.eof
	}
	n := min(r.size, len(h.text)-at)
	r.got = h.text[at : at+n]
	h.reached = max(h.reached, at+n)
	return true
}

func (h *modelHandle) left() bool { return h.open && h.reached < len(h.text) }

func (m *mailboxModel) finish(r *modelRequest, errno syscall.Errno) {
	r.errno = errno
	m.done = append(m.done, r)
}

func (m *mailboxModel) longest() int64 {
	if m.capacityBytes == 0 {
		return m.maxMessage
	}
	return min(m.maxMessage, m.capacityBytes)
}

func (m *mailboxModel) bytes() (n int64) {
	for _, h := range m.held {
		n += int64(len(h.text))
	}
	return n
}

// before reports whether a comes before b, which is younger.
func (m *mailboxModel) before(a, b *modelMessage) bool {
	switch {
	case (a.want == "urgent") != (b.want == "urgent"):
		return a.want == "urgent"
	case m.order == FIFO || a.want == "urgent":
		return true
	}
	return a.priority >= b.priority
}

// expire drops what is too old.
func (m *mailboxModel) expire() {
	n := len(m.held)
	m.held = slices.DeleteFunc(m.held, func(x *modelMessage) bool { return m.ttl != objects.Unbounded && x.sent+m.ttl <= m.now })
	if n -= len(m.held); n > 0 {
		m.expired += int64(n)
	}
}

// nextOf returns the index of the message in l that comes next of those that only takes.
func (m *mailboxModel) nextOf(l []*modelMessage, only label) int {
	next := -1
	for i, x := range l {
		if only.takes(x) && (next < 0 || !m.before(l[next], x)) {
			next = i
		}
	}
	return next
}

// oldest returns the index of the message that is dropped first.
func (m *mailboxModel) oldest() int {
	oldest := -1
	for i, x := range m.held {
		if x.want != "urgent" && (oldest < 0 || m.order == ByPriorities && x.priority < m.held[oldest].priority) {
			oldest = i
		}
	}
	return oldest
}

// receiver returns the index of the first receiver that may take x.
func (m *mailboxModel) receiver(x *modelMessage) int {
	return slices.IndexFunc(m.receivers, func(r *modelRequest) bool { return r.handle.only.takes(x) })
}

func (m *mailboxModel) accept(s *modelRequest) {
	m.seq++
	m.sent++
	s.message.seq, s.message.sent = m.seq, m.now
}

func (m *mailboxModel) fits(n int64) bool {
	return int64(len(m.held)) < m.capacity && n <= m.capacityBytes-m.bytes()
}

// show answers the peeks that wait for x, which has come.
func (m *mailboxModel) show(x *modelMessage) {
	m.peekers = slices.DeleteFunc(m.peekers, func(p *modelRequest) bool {
		if !p.handle.only.takes(x) {
			return false
		}
		p.handle.begin(p, x.text)
		m.finish(p, 0)
		return true
	})
}

// hand gives x to r.
func (m *mailboxModel) hand(r *modelRequest, x *modelMessage) {
	m.received++
	r.took, r.whole = true, x
	r.handle.begin(r, x.text)
	m.finish(r, 0)
	m.receivers = slices.DeleteFunc(m.receivers, func(p *modelRequest) bool {
		if p.handle != r.handle || !p.handle.left() {
			return false
		}
		p.handle.unfinished(p)
		m.finish(p, 0)
		return true
	})
}

func take[T any](s *[]T, i int) T {
	x := (*s)[i]
	*s = slices.Delete(slices.Clone(*s), i, i+1)
	return x
}

// settle lets the senders in, in order, as far as the policies allow.
func (m *mailboxModel) settle() {
	for len(m.senders) > 0 {
		s := m.senders[0]
		// Only the youngest sender can be one for whom somebody waits.
		if last := m.senders[len(m.senders)-1]; m.receiver(last.message) >= 0 || last.message.want == "urgent" {
			s = last
		}
		shift := func(l *[]*modelRequest) {
			*l = slices.DeleteFunc(slices.Clone(*l), func(p *modelRequest) bool { return p == s })
		}
		switch {
		case int64(len(s.data)) > m.longest():
			shift(&m.senders)
			m.finish(s, syscall.EMSGSIZE)
		case m.receiver(s.message) >= 0:
			shift(&m.senders)
			m.accept(s)
			m.show(s.message)
			m.hand(take(&m.receivers, m.receiver(s.message)), s.message)
			m.finish(s, 0)
		case m.fits(int64(len(s.data))) || s.message.want == "urgent":
			shift(&m.senders)
			m.accept(s)
			m.held = append(m.held, s.message)
			m.show(s.message)
			m.finish(s, 0)
		case m.overflow == objects.Block && s.nonblock:
			shift(&m.senders)
			m.finish(s, syscall.EAGAIN)
		case m.overflow == objects.Block:
			if last := m.senders[len(m.senders)-1]; last.nonblock {
				m.senders = m.senders[:len(m.senders)-1]
				m.finish(last, syscall.EAGAIN)
			} else {
				m.show(last.message)
			}
			return
		case m.overflow == objects.Fail:
			shift(&m.senders)
			m.finish(s, syscall.EAGAIN)
		case m.overflow == objects.DropOldest && m.oldest() >= 0:
			take(&m.held, m.oldest())
			m.dropped++
		default:
			shift(&m.senders)
			m.accept(s)
			m.dropped++
			m.finish(s, 0)
		}
	}
}

// next finds what a receive that only narrows would take: among what is held, or what
// a sender offers.
func (m *mailboxModel) next(only label) (held, sender int) {
	if held = m.nextOf(m.held, only); held >= 0 {
		return held, -1
	}
	var offers []*modelMessage
	for _, s := range m.senders {
		offers = append(offers, s.message)
	}
	return -1, m.nextOf(offers, only)
}

func (m *mailboxModel) submit(r *modelRequest) {
	if m.destroyed && r.op != objects.Close {
		m.finish(r, syscall.EIDRM)
		return
	}
	switch r.op {
	case objects.Close:
		*r.handle = modelHandle{}
		m.finish(r, 0)
	case objects.Send:
		if int64(len(r.data)) > m.longest() {
			m.finish(r, syscall.EMSGSIZE)
			return
		}
		m.senders = append(m.senders, r)
		m.settle()
	case objects.Receive:
		switch held, sender := m.next(r.handle.only); {
		case r.handle.unfinished(r):
			m.finish(r, 0)
		case held >= 0:
			m.hand(r, take(&m.held, held))
			m.settle()
		case sender >= 0:
			s := take(&m.senders, sender)
			m.accept(s)
			m.hand(r, s.message)
			m.finish(s, 0)
			m.settle()
		case r.nonblock:
			m.finish(r, syscall.EAGAIN)
		default:
			m.receivers = append(m.receivers, r)
		}
	case objects.Peek:
		switch held, sender := m.next(r.handle.only); {
		case r.handle.unfinished(r):
			m.finish(r, 0)
		case held >= 0:
			r.handle.begin(r, m.held[held].text)
			m.finish(r, 0)
		case sender >= 0:
			r.handle.begin(r, m.senders[sender].data)
			m.finish(r, 0)
		case r.nonblock:
			m.finish(r, syscall.EAGAIN)
		default:
			m.peekers = append(m.peekers, r)
		}
	case objects.Flush:
		m.dropped += int64(len(m.held))
		m.held = nil
		m.finish(r, 0)
		m.settle()
	}
}

func (m *mailboxModel) cancel(r *modelRequest, cause syscall.Errno) {
	is := func(p *modelRequest) bool { return p == r }
	for _, line := range []*[]*modelRequest{&m.senders, &m.receivers, &m.peekers} {
		if slices.ContainsFunc(*line, is) {
			*line = slices.DeleteFunc(*line, is)
			m.finish(r, cause)
			m.settle()
			return
		}
	}
}

func (m *mailboxModel) giveBack(r *modelRequest) {
	if !r.took || m.destroyed {
		return
	}
	r.took = false
	r.handle.open, r.handle.endIsDue = false, false
	m.received--
	if m.ttl != objects.Unbounded && r.whole.sent+m.ttl <= m.now {
		m.expired++
		return
	}
	if i := m.receiver(r.whole); i >= 0 {
		m.hand(take(&m.receivers, i), r.whole)
		return
	}
	i := slices.IndexFunc(m.held, func(x *modelMessage) bool { return x.seq > r.whole.seq })
	if i < 0 {
		i = len(m.held)
	}
	m.held = slices.Insert(m.held, i, r.whole)
	m.show(r.whole)
}

func (m *mailboxModel) destroy() {
	m.destroyed = true
	m.held = nil
	for _, line := range []*[]*modelRequest{&m.receivers, &m.peekers, &m.senders} {
		for _, r := range *line {
			m.finish(r, syscall.EIDRM)
		}
		*line = nil
	}
}

func (m *mailboxModel) ready(h *modelHandle) objects.Events {
	if m.destroyed {
		return objects.In | objects.Out | objects.Err | objects.Hup
	}
	var e objects.Events
	held, sender := m.next(h.only)
	if h.reads && slices.ContainsFunc(m.held, func(x *modelMessage) bool { return x.want == "urgent" }) &&
		(h.only.want == "" || h.only.want == "urgent") {
		e |= objects.Pri
	}
	if ok := held >= 0 || sender >= 0; h.reads && (ok || h.endIsDue || h.left() || h.open && h.eof) {
		e |= objects.In
	}
	var writable bool
	switch {
	case m.overflow == objects.DropOldest || m.overflow == objects.DropNewest || m.receiver(h.message("", 0)) >= 0 || h.only.want == "urgent":
		writable = true
	case m.overflow == objects.Block && len(m.senders) > 0:
	default:
		writable = m.fits(m.longest())
	}
	if h.writes && writable {
		e |= objects.Out
	}
	return e
}

// A comparison drives a Mailbox and its model through the same operations.
type comparison struct {
	t     testing.TB
	real  *Mailbox
	model *mailboxModel
	book  objecttest.Book
	now   objects.Time

	handles      []*objects.Handle
	modelHandles []*modelHandle
	requests     map[*objects.Request]*modelRequest
	outstanding  []*objects.Request
	last         []*objects.Request // finished by the last step
	borrowed     []byte             // the data of the last Send
	ids          int
	log          []string
}

func newComparison(t testing.TB) *comparison {
	c := &comparison{t: t, requests: map[*objects.Request]*modelRequest{}}
	c.real = New(&c.book)
	c.model = &mailboxModel{capacity: DefaultCapacity, capacityBytes: DefaultCapacityBytes, maxMessage: MaxMessage, ttl: objects.Unbounded}
	for i := range 6 {
		h := &objects.Handle{Reads: i != 4, Writes: i > 2, EOF: i&1 != 0, Seekable: i&2 != 0}
		c.add(h, label{})
	}
	for _, e := range []struct {
		only Selector
		label
	}{
		{Selector{By: ByPriority, Priority: 5}, label{want: "priority", priority: 5}},
		{Selector{By: ByPriority}, label{want: "priority"}},
		{Selector{By: ByTopic, Topic: "t"}, label{want: "topic", topic: "t"}},
		{Selector{By: BySender, Sender: 1}, label{want: "from", uid: 1}},
		{Selector{By: ByUrgency}, label{want: "urgent"}},
	} {
		c.add(&objects.Handle{Reads: true, Writes: e.want != "from", EOF: true, Own: &File{Filter: &e.only}}, e.label)
	}
	c.add(&objects.Handle{Reads: true, Writes: true, Seekable: true, EOF: true, Own: &File{Envelopes: true}}, label{})
	c.modelHandles[len(c.handles)-1].framed = true
	return c
}

// framed is a rendering of messages.
func framed(what any) []byte { return []byte("<" + string(what.(*Envelope).Data) + ">") }

func (c *comparison) add(h *objects.Handle, only label) {
	c.handles = append(c.handles, h)
	c.modelHandles = append(c.modelHandles, &modelHandle{reads: h.Reads, writes: h.Writes, eof: h.EOF, seekable: h.Seekable, only: only})
	c.real.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
}

func (c *comparison) fatalf(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%s\nafter\n%s", fmt.Sprintf(format, args...), strings.Join(c.log, "\n"))
}

func (c *comparison) logf(format string, args ...any) {
	c.log = append(c.log, fmt.Sprintf(format, args...))
}

func (c *comparison) submit(op objects.Op, h int, nonblock bool, data string, size int, offset int64) {
	c.ids++
	c.answered()
	r := &objects.Request{Op: op, Handle: c.handles[h], Nonblock: nonblock, Size: size, Offset: offset, Caller: objects.Caller{Pid: uint32(c.ids), Uid: uint32(c.ids % 2)}}
	if op == objects.Send {
		r.Data = []byte(data)
		c.borrowed = r.Data
	}
	m := &modelRequest{id: c.ids, op: op, handle: c.modelHandles[h], nonblock: nonblock, data: data, size: size, offset: offset}
	m.message = c.modelHandles[h].message(data, r.Caller.Uid)
	c.requests[r] = m
	c.outstanding = append(c.outstanding, r)
	c.logf("#%d %s handle %d nonblock %v data %q size %d offset %d", c.ids, op, h, nonblock, data, size, offset)
	done := c.real.Submit(c.now, r)
	if !c.model.destroyed {
		c.model.expire()
		c.model.settle()
	}
	c.model.submit(m)
	c.compare(done)
}

// answered scribbles over the buffer that was lent: the driver has answered what
// the last Submit finished, and returned what it could not deliver.
func (c *comparison) answered() {
	for i := range c.borrowed {
		c.borrowed[i] = '!'
	}
	c.borrowed = nil
}

// compare checks that the step finished what the model finished, in that order,
// and left the same state.
func (c *comparison) compare(done objects.Finished) {
	c.t.Helper()
	var want, got []string
	say := func(id int, op objects.Op, errno syscall.Errno, data string) string {
		return fmt.Sprintf("#%d %s errno %d data %q", id, op, int(errno), data)
	}
	for _, m := range c.model.done {
		want = append(want, say(m.id, m.op, m.errno, m.got))
	}
	c.model.done = nil
	c.last = nil
	done = objects.Render(c.now, c.real, done, framed)
	for r := done.Next(); r != nil; r = done.Next() {
		m := c.requests[r]
		if r.Parked() {
			c.fatalf("#%d is finished and parked", m.id)
		}
		var data string
		if r.Op != objects.Send && r.Errno == 0 {
			data = string(r.Data)
		}
		if r.Errno != 0 {
			m.got = ""
		}
		got = append(got, say(m.id, r.Op, r.Errno, data))
		c.last = append(c.last, r)
		i := slices.Index(c.outstanding, r)
		if i < 0 {
			c.fatalf("#%d finished twice", m.id)
		}
		c.outstanding = slices.Delete(c.outstanding, i, i+1)
	}
	if !slices.Equal(got, want) {
		c.fatalf("finished\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	if err := c.real.Check(); err != nil {
		c.fatalf("Check: %v", err)
	}
	var waiting []*objects.Request
	for r := range c.real.Waiters() {
		waiting = append(waiting, r)
	}
	modelWaiting := slices.Concat(c.model.senders, c.model.receivers, c.model.peekers)
	if !slices.EqualFunc(waiting, modelWaiting, func(r *objects.Request, m *modelRequest) bool { return c.requests[r] == m }) {
		c.fatalf("%d wait; want %d", len(waiting), len(modelWaiting))
	}
	for _, r := range c.outstanding {
		if !r.Parked() {
			c.fatalf("#%d is neither finished nor parked", c.requests[r].id)
		}
	}
	held := c.real.Held()
	if held.Messages != int64(len(c.model.held)) || held.Bytes != c.model.bytes() {
		c.fatalf("holds %d messages, %d bytes; want %d, %d", held.Messages, held.Bytes, len(c.model.held), c.model.bytes())
	}
	for _, s := range c.real.Stat() {
		want, ok := map[string]int64{
			"expired": c.model.expired,
			"sent":    c.model.sent, "received": c.model.received, "dropped": c.model.dropped,
			"senders_waiting":   int64(len(c.model.senders)),
			"receivers_waiting": int64(len(c.model.receivers) + len(c.model.peekers)),
		}[s.Name]
		if ok && s.Value != want {
			c.fatalf("stat %s = %d; want %d", s.Name, s.Value, want)
		}
	}
	booked := objecttest.Book{Messages: int64(len(c.model.held)), Bytes: c.model.bytes()}
	for _, s := range c.model.senders {
		booked.Messages++
		booked.Bytes += int64(len(s.data))
	}
	if c.book != booked {
		c.fatalf("booked %+v; want %+v", c.book, booked)
	}
	for i, h := range c.handles {
		if c.real.destroyed || h.Reads || h.Writes {
			if got, want := c.real.Ready(h), c.model.ready(c.modelHandles[i]); got != want {
				c.fatalf("handle %d is ready for %#x; want %#x", i, got, want)
			}
		}
	}
}

func (c *comparison) cancel(i int, cause syscall.Errno) {
	c.answered()
	r := c.outstanding[i]
	c.logf("cancel #%d", c.requests[r].id)
	done := c.real.Cancel(c.now, r, cause)
	c.model.cancel(c.requests[r], cause)
	c.compare(done)
}

func (c *comparison) discard(seq uint64) {
	c.answered()
	c.logf("discard %d", seq)
	done, errno := c.real.Discard(c.now, seq)
	i := slices.IndexFunc(c.model.held, func(x *modelMessage) bool { return uint64(x.seq) == seq })
	if i >= 0 {
		take(&c.model.held, i)
		c.model.dropped++
		c.model.settle()
	}
	if errno != 0 != (i < 0) {
		c.fatalf("discard %d = %v; it is at %d", seq, errno, i)
	}
	c.compare(done)
}

// giveBack returns what the i-th request finished by the last step took.
func (c *comparison) giveBack(i int) {
	r := c.last[i]
	m := c.requests[r]
	for j, other := range c.last {
		if j != i && c.requests[other].handle == m.handle {
			return // the handle has moved on
		}
	}
	c.logf("return #%d", m.id)
	done := c.real.Return(c.now, r)
	c.model.giveBack(m)
	c.compare(done)
}

// reload goes on with what was saved of the mailbox.
func (c *comparison) reload() {
	c.logf("reload")
	c.real = objecttest.Reload(c.t, "mailbox", &c.book, c.real, c.handles, c.last...).(*Mailbox)
}

func (c *comparison) setPolicy(name, value string) {
	c.answered()
	c.logf("set %s %s", name, value)
	done, errno := c.real.SetPolicy(c.now, name, value)
	if errno != 0 {
		c.fatalf("set %s %s = %v; want 0", name, value, errno)
	}
	n := int64(objects.Unbounded)
	if value != "max" {
		_, _ = fmt.Sscan(value, &n)
	}
	switch name {
	case "capacity":
		c.model.capacity = n
	case "capacity_bytes":
		c.model.capacityBytes = n
	case "max_message":
		c.model.maxMessage = min(n, MaxMessage)
	case "overflow":
		c.model.overflow, _ = objects.Overflows.Parse(value)
	case "ttl":
		c.model.ttl, _ = objects.ParseSpan(value)
	case "order":
		o, _ := orders.Parse(value)
		if o == FIFO && c.model.order != o {
			slices.SortStableFunc(c.model.held, func(a, b *modelMessage) int { return a.seq - b.seq })
		}
		c.model.order = o
	}
	c.model.expire()
	c.model.settle()
	c.compare(done)
}

// step takes the next operation from choose, which returns a number below n.
func (c *comparison) step(choose func(n int) int) {
	pick := func(s ...string) string { return s[choose(len(s))] }
	c.now++
	c.model.now = c.now
	if late := choose(2) == 0; !late && c.real.Deadline() != 0 && c.real.Deadline() <= c.now {
		c.answered()
		c.logf("time passes")
		done := c.real.Expire(c.now)
		c.model.expire()
		c.model.settle()
		c.compare(done)
	}
	if choose(16) == 0 {
		c.reload()
	}
	h := choose(6)
	if choose(2) == 0 {
		h = choose(len(c.handles))
	}
	data := string(rune('a'+c.ids%26)) + strings.Repeat(string(rune('a'+c.ids%26)), []int{0, 1, 2, 4, 9, 70}[choose(6)])
	if choose(12) == 0 {
		data = ""
	}
	size := []int{0, 1, 2, 5, 100, objects.SeekBack + 1}[choose(6)]
	offset := int64(choose(8))
	if at := c.modelHandles[h]; at.open && choose(2) == 0 {
		offset = at.start + int64(at.reached)
	}
	switch k := choose(32); {
	case k < 9:
		c.submit(objects.Send, h, choose(3) == 0, data, 0, 0)
	case k < 18:
		c.submit(objects.Receive, h, choose(3) == 0, "", size, offset)
	case k < 20:
		c.submit(objects.Peek, h, choose(3) == 0, "", size, offset)
	case k < 21 && choose(2) == 0:
		c.submit(objects.Flush, h, false, "", 0, 0)
	case k < 21:
		c.discard(uint64(choose(c.model.seq + 2)))
	case k < 24:
		if len(c.outstanding) > 0 {
			c.cancel(choose(len(c.outstanding)), []syscall.Errno{syscall.EINTR, syscall.ETIMEDOUT}[choose(2)])
		}
	case k < 26:
		if len(c.last) > 0 {
			c.giveBack(choose(len(c.last)))
		}
	case k < 27 && choose(4) == 0:
		c.setPolicy("ttl", pick("1ns", "5ns", "20ns", "max", "max"))
	case k < 28 && choose(3) == 0:
		c.setPolicy("order", pick("fifo", "priority"))
	case k < 28:
		c.setPolicy("overflow", pick("block", "block", "fail", "drop-oldest", "drop-newest"))
	case k < 30:
		c.setPolicy("capacity", pick("0", "1", "2", "3", "max"))
	case k < 31:
		c.setPolicy("capacity_bytes", pick("0", "1", "6", "20", "100", "max"))
	default:
		if choose(2) == 0 {
			c.setPolicy("max_message", pick("1", "4", "80", "max"))
		} else if !slices.ContainsFunc(c.outstanding, func(r *objects.Request) bool { return r.Handle == c.handles[h] }) {
			flags, only, envelopes := *c.modelHandles[h], FileOf(c.handles[h]).Filter, FileOf(c.handles[h]).Envelopes
			c.submit(objects.Close, h, false, "", 0, 0)
			c.handles[h].Reads, c.handles[h].Writes, c.handles[h].EOF, c.handles[h].Seekable = flags.reads, flags.writes, flags.eof, flags.seekable
			FileOf(c.handles[h]).Filter, FileOf(c.handles[h]).Envelopes = only, envelopes
			*c.modelHandles[h] = modelHandle{reads: flags.reads, writes: flags.writes, eof: flags.eof, seekable: flags.seekable, only: flags.only, framed: flags.framed}
			c.real.Submit(c.now, &objects.Request{Op: objects.Open, Handle: c.handles[h]})
		}
	}
}

// end destroys the mailbox: nobody may be left waiting, nothing booked.
func (c *comparison) end() {
	c.logf("destroy")
	done := c.real.Destroy(c.now)
	c.model.destroy()
	c.compare(done)
	if len(c.outstanding) > 0 || c.book != (objecttest.Book{}) {
		c.fatalf("destroyed: %d wait, booked %+v; want nothing", len(c.outstanding), c.book)
	}
	c.submit(objects.Send, 3, false, "late", 0, 0)
	c.submit(objects.Receive, 0, false, "", 10, 0)
	c.submit(objects.Close, 0, false, "", 0, 0)
}

func TestMailboxDoesWhatItsModelDoes(t *testing.T) {
	runs := 3000
	if testing.Short() {
		runs = 300
	}
	for seed := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed, 0))
		c := newComparison(t)
		c.logf("seed %d", seed)
		c.setPolicy("capacity", []string{"0", "1", "2", "max"}[seed%4])
		for range 80 {
			c.step(rng.IntN)
		}
		c.end()
	}
}

func FuzzMailboxDoesWhatItsModelDoes(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		in := bytes.NewReader(script)
		c := newComparison(t)
		for in.Len() > 0 && c.ids < 500 {
			c.step(func(n int) int {
				var b byte
				_ = binary.Read(in, binary.LittleEndian, &b)
				return int(b) % n
			})
		}
		c.end()
	})
}
