package objects

import (
	"fmt"
	"iter"
	"syscall"
)

// Limits of a mailbox.
const (
	// DefaultCapacity is the capacity of a new mailbox in messages.
	DefaultCapacity = 1024

	// DefaultCapacityBytes is the capacity of a new mailbox in bytes.
	DefaultCapacityBytes = 16 << 20

	// MaxMessage is the longest message in bytes: what one write(2) carries whole
	// through FUSE, which splits writes at 1 MiB, and up to two pages earlier when
	// the caller's buffer is not aligned (fs/fuse/file.c, fuse_direct_io).
	MaxMessage = 1<<20 - 8<<10
)

func init() {
	register(Kind{
		Name:     "mailbox",
		New:      func(l Ledger) Object { return NewMailbox(l) },
		Policies: []string{"capacity", "capacity_bytes", "max_message", "overflow", "order", "ttl"},
		Ops:      []Op{Open, Send, Receive, Peek, Flush, Close},
	})
}

// A Mailbox holds messages between processes that need not know one another:
// indirect communication. Its capacity decides the buffering: 0 is a rendezvous,
// where a send waits for its receiver; a number bounds what is held; Unbounded
// never makes a sender wait.
//
// If a receiver is parked, nothing that it may take is held or offered by a parked
// sender: nothing at all, unless its endpoint selects (Handle.Only). If a sender is
// parked, the message of the first one, the oldest not yet admitted, does not fit. A
// message for which a receiver waits is handed to it at once, whether there is room or
// not, and whoever waits with others.
//
// A message may also be memory, a segment that was sent whole: see SendSegment. It is one
// of capacity, but to maxMessage and capacityBytes, which bound what is copied in, it is
// as an empty one.
type Mailbox struct {
	ledger Ledger

	capacity      int64
	capacityBytes int64
	maxMessage    int64
	overflow      Overflow
	order         Order
	ttl           Time // how long a message is held, at most
	due           Time // nothing that is held expires before; 0: nothing does

	held      messageList
	senders   queue
	receivers queue
	peekers   queue

	destroyed bool
	seq       uint64
	changed   Time
	taken     Time

	sent, received             int64
	dropped, expired           int64
	openSenders, openReceivers int64
}

// NewMailbox makes an empty mailbox with default policies that books what it holds
// in l.
func NewMailbox(l Ledger) *Mailbox {
	return &Mailbox{
		ledger:        l,
		capacity:      DefaultCapacity,
		capacityBytes: DefaultCapacityBytes,
		maxMessage:    MaxMessage,
		ttl:           Unbounded,
	}
}

// Submit implements Object.
func (b *Mailbox) Submit(now Time, r *Request) Finished {
	r.Errno, r.N, r.message, r.shown, r.took = 0, 0, nil, nil, false
	if b.destroyed && r.Op != Close {
		return failed(r, syscall.EIDRM)
	}
	if b.due != 0 && b.due <= now { // the driver's timer is late
		done := b.Expire(now)
		done.append(b.submit(now, r))
		return done
	}
	return b.submit(now, r)
}

func (b *Mailbox) submit(now Time, r *Request) Finished {
	switch r.Op {
	case Open:
		r.Handle.opener = r.Caller.Uid
		b.count(r.Handle, 1)
		return one(r)
	case Close:
		b.count(r.Handle, -1)
		r.Handle.letGo()
		*r.Handle = Handle{}
		return one(r)
	case Send:
		return b.send(now, r)
	case Receive:
		return b.receive(now, r)
	case Peek:
		return b.peek(now, r)
	case Flush:
		return b.flush(now, r)
	}
	return failed(r, syscall.EINVAL)
}

func (b *Mailbox) count(h *Handle, by int64) {
	if h.Reads {
		b.openReceivers += by
	}
	if h.Writes {
		b.openSenders += by
	}
}

// longest is the length in bytes of the longest message that can ever be sent.
func (b *Mailbox) longest() int64 {
	if b.capacityBytes > 0 {
		return min(b.maxMessage, b.capacityBytes)
	}
	return b.maxMessage
}

// fits reports whether a message of n bytes can be held.
func (b *Mailbox) fits(n int64) bool {
	return b.held.n < b.capacity && n <= b.capacityBytes-b.held.bytes
}

func (b *Mailbox) send(now Time, r *Request) Finished {
	// mq_send(3): EMSGSIZE, longer than mq_msgsize.
	if int64(len(r.Data)) > b.longest() {
		return failed(r, syscall.EMSGSIZE)
	}
	m := &Message{Data: r.Data, Sender: r.Caller, borrowed: true}
	if only := r.Handle.Only; only != nil {
		only.label(m)
	}
	r.message = m
	var done Finished
	if !b.senders.empty() && b.overflow == Block && !m.Urgent && b.receiverFor(m) == nil {
		// Senders are admitted in order, even past one whose message is too big
		// for the room there is.
		b.park(now, r, &done)
		return done
	}
	if !b.admit(now, r, &done) {
		b.park(now, r, &done)
	}
	return done
}

// park makes the sender r wait, or fails it.
func (b *Mailbox) park(now Time, r *Request, done *Finished) {
	errno := syscall.EAGAIN
	if !r.Nonblock {
		errno = r.message.charge(b.ledger)
	}
	if errno != 0 {
		r.Errno, r.message = errno, nil
		done.add(r)
		return
	}
	r.message.own()
	r.Data = nil
	b.senders.push(now, r)
	b.show(r.message, done)
}

// admit finishes the sender r, which is not parked, unless it has to wait.
func (b *Mailbox) admit(now Time, r *Request, done *Finished) bool {
	m, n := r.message, int64(len(r.message.Data))
	if receiver := b.receiverFor(m); receiver != nil {
		b.receivers.remove(receiver)
		b.accept(now, r)
		b.show(m, done)
		b.deliver(now, receiver, m, done)
		done.add(r)
		return true
	}
	var oldest messageList // dropped for m
	if !b.fits(n) && !m.Urgent {
		switch b.overflow {
		case Block:
			return false
		case Fail:
			m.refund(b.ledger)
			r.Errno, r.message = syscall.EAGAIN, nil
			done.add(r)
			return true
		case DropOldest:
			for old := b.held.oldest(); old != nil && !b.fits(n); old = b.held.oldest() {
				b.held.remove(old)
				old.memory.hold()
				old.refund(b.ledger)
				oldest.push(old, 0)
			}
		}
		b.dropped += oldest.n
		if !b.fits(n) { // DropNewest, or nothing older to drop
			b.accept(now, r)
			b.drop(m)
			oldest.letGo()
			done.add(r)
			return true
		}
	}
	if errno := m.charge(b.ledger); errno != 0 {
		// mq_send(3) has no such case; like every send that fails, it changes nothing.
		for old := oldest.last; old != nil; old = oldest.last {
			oldest.remove(old)
			b.restore(old)
			old.memory.letGo()
			b.dropped--
		}
		r.Errno, r.message = errno, nil
		done.add(r)
		return true
	}
	oldest.letGo()
	b.accept(now, r)
	m.own()
	b.held.push(m, b.order.rank(m))
	b.watch(m)
	b.show(m, done)
	done.add(r)
	return true
}

// restore makes m, which was held a moment ago, the next message of its rank again. A
// limit that was reached meanwhile does not lose it.
func (b *Mailbox) restore(m *Message) {
	m.own()
	m.charge(b.ledger)
	b.held.pushFront(m, b.order.rank(m))
	b.watch(m)
}

// receiverFor returns the first parked receiver that may take m, nil if there is none.
func (b *Mailbox) receiverFor(m *Message) *Request {
	r := b.receivers.first
	for r != nil && !r.Handle.Only.admits(m) {
		r = r.next
	}
	return r
}

// accept turns the sender's offer into a sent message.
func (b *Mailbox) accept(now Time, r *Request) {
	b.seq++
	if r.message.Seq == 0 { // it keeps its time when it comes from another mailbox
		r.message.Sent = now
	}
	r.message.Seq = b.seq
	r.N = len(r.message.Data)
	b.sent++
	b.changed = now
}

func (b *Mailbox) drop(m *Message) {
	m.refund(b.ledger)
	b.dropped++
}

// show gives every parked peek that waits for m, which has come, its copy.
func (b *Mailbox) show(m *Message, done *Finished) {
	for p := b.peekers.first; p != nil; {
		next := p.next
		if p.Handle.Only.admits(m) {
			b.peekers.remove(p)
			p.Handle.begin(p, m)
			done.add(p)
		}
		p = next
	}
}

// deliver finishes the receive r with m.
func (b *Mailbox) deliver(now Time, r *Request, m *Message, done *Finished) {
	b.received++
	b.taken = now
	r.message, r.took = m, true
	r.Handle.begin(r, m)
	m.refund(b.ledger)
	done.add(r)
	if !r.Handle.left() {
		return
	}
	// Others may be parked on the same handle: what is left of its message is
	// theirs before any other message is.
	for p := b.receivers.first; p != nil && r.Handle.left(); {
		next := p.next
		if p.Handle == r.Handle {
			b.receivers.remove(p)
			p.Handle.resume(p)
			done.add(p)
		}
		p = next
	}
}

func (b *Mailbox) receive(now Time, r *Request) Finished {
	if r.Handle.resume(r) {
		return one(r)
	}
	var done Finished
	if m := b.held.find(r.Handle.Only); m != nil {
		b.held.remove(m)
		b.deliver(now, r, m, &done)
		b.pump(now, &done)
		return done
	}
	if s := b.senderFor(r.Handle.Only); s != nil { // rendezvous
		b.senders.remove(s)
		b.accept(now, s)
		b.deliver(now, r, s.message, &done)
		done.add(s)
		b.pump(now, &done)
		return done
	}
	// mq_receive(3): EAGAIN, empty and O_NONBLOCK.
	if r.Nonblock {
		return failed(r, syscall.EAGAIN)
	}
	b.receivers.push(now, r)
	return done
}

// senderFor returns the parked sender whose message comes next of those that only
// admits, nil if there is none.
func (b *Mailbox) senderFor(only *Selector) *Request {
	if only == nil && b.order == FIFO {
		return b.senders.first
	}
	var next *Request
	for s := b.senders.first; s != nil; s = s.next {
		if only.admits(s.message) && (next == nil || b.order.rank(s.message) > b.order.rank(next.message)) {
			next = s
		}
	}
	return next
}

// next is the message that the next receive would take which only narrows, nil if there
// is none.
func (b *Mailbox) next(only *Selector) *Message {
	if m := b.held.find(only); m != nil {
		return m
	}
	if s := b.senderFor(only); s != nil {
		return s.message
	}
	return nil
}

func (b *Mailbox) peek(now Time, r *Request) Finished {
	if r.Handle.resume(r) {
		return one(r)
	}
	if m := b.next(r.Handle.Only); m != nil {
		r.Handle.begin(r, m)
		return one(r)
	}
	if r.Nonblock {
		return failed(r, syscall.EAGAIN)
	}
	b.peekers.push(now, r)
	return Finished{}
}

// flush discards what is held. The messages of parked senders were not sent yet:
// they are admitted now, in order.
func (b *Mailbox) flush(now Time, r *Request) Finished {
	for m := b.held.pop(); m != nil; m = b.held.pop() {
		b.drop(m)
	}
	b.changed = now
	done := one(r)
	b.pump(now, &done)
	return done
}

// pump admits parked senders, in order, until one has to wait.
func (b *Mailbox) pump(now Time, done *Finished) {
	for s := b.senders.first; s != nil; s = b.senders.first {
		if int64(len(s.message.Data)) > b.longest() {
			// A limit was lowered below what waits; it could wait for ever.
			b.senders.remove(s)
			s.message.refund(b.ledger)
			s.Errno, s.message = syscall.EMSGSIZE, nil
			done.add(s)
			continue
		}
		if b.overflow == Block && !b.fits(int64(len(s.message.Data))) {
			return
		}
		b.senders.remove(s)
		b.admit(now, s, done)
	}
}

// Cancel implements Object.
func (b *Mailbox) Cancel(now Time, r *Request, cause syscall.Errno) Finished {
	if r.on == nil {
		return Finished{}
	}
	r.on.remove(r)
	if r.message != nil {
		r.message.refund(b.ledger)
		r.message = nil
	}
	done := failed(r, cause)
	// The sender behind may have a smaller message.
	b.pump(now, &done)
	return done
}

// Return implements Object: the message that r took becomes the next one again,
// even if that takes the mailbox beyond its capacity.
func (b *Mailbox) Return(now Time, r *Request) Finished {
	var done Finished
	if !r.took || b.destroyed {
		return done
	}
	m, h := r.message, r.Handle
	r.took = false
	if int64(len(r.Data)) < r.shown.Size() && (h.msg != r.shown || h.read > len(r.Data)) ||
		m.memory != nil && h.memory != m.memory {
		return done // somebody who shares the handle has read on
	}
	h.forget(r.shown)
	if m.memory != nil {
		h.memory = nil
		defer m.memory.letGo()
	}
	b.received--
	if receiver := b.receiverFor(m); receiver != nil {
		b.receivers.remove(receiver)
		b.deliver(now, receiver, m, &done)
		return done
	}
	b.restore(m)
	b.show(m, &done)
	return done
}

// Destroy implements Object.
func (b *Mailbox) Destroy(now Time) Finished {
	var done Finished
	b.destroyed, b.due = true, 0
	for m := b.held.pop(); m != nil; m = b.held.pop() {
		m.refund(b.ledger)
	}
	for s := b.senders.first; s != nil; s = s.next {
		s.message.refund(b.ledger)
		s.message = nil
	}
	b.receivers.drain(&done, syscall.EIDRM)
	b.peekers.drain(&done, syscall.EIDRM)
	b.senders.drain(&done, syscall.EIDRM)
	return done
}

// Removable implements Object.
func (b *Mailbox) Removable() syscall.Errno {
	switch {
	case b.senders.n+b.receivers.n+b.peekers.n > 0:
		return syscall.EBUSY
	case b.held.n > 0:
		return syscall.ENOTEMPTY
	}
	return 0
}

// Ready implements Object. A write is ready when a message of any permitted length
// would be taken at once.
func (b *Mailbox) Ready(h *Handle) Events {
	if b.destroyed {
		return In | Out | Err | Hup
	}
	var e Events
	if h.Reads && (h.due() || b.next(h.Only) != nil) {
		e |= In
	}
	if h.Reads && (h.Only == nil || h.Only.urgent()) && b.held.outOfBand() {
		e |= Pri
	}
	if h.Writes && b.writable(h) {
		e |= Out
	}
	return e
}

func (b *Mailbox) writable(h *Handle) bool {
	switch {
	case b.overflow == DropOldest || b.overflow == DropNewest, h.Only.urgent(), b.awaited(h):
		return true
	case b.overflow == Block && !b.senders.empty():
		return false
	}
	return b.fits(b.longest())
}

// awaited reports whether a receiver waits for what whoever opened h would send.
func (b *Mailbox) awaited(h *Handle) bool {
	if b.receivers.empty() {
		return false
	}
	m := Message{Sender: Caller{Uid: h.opener}}
	if h.Only != nil {
		h.Only.label(&m)
	}
	return b.receiverFor(&m) != nil
}

// Policy implements Object.
func (b *Mailbox) Policy(name string) string {
	switch name {
	case "capacity":
		return formatAmount(b.capacity)
	case "capacity_bytes":
		return formatAmount(b.capacityBytes)
	case "max_message":
		return formatAmount(b.maxMessage)
	case "overflow":
		return b.overflow.String()
	case "order":
		return b.order.String()
	case "ttl":
		return FormatSpan(b.ttl)
	}
	panic("objects: mailbox has no policy " + name)
}

// SetPolicy implements Object. Lowering a capacity drops nothing: the mailbox takes
// no more until it has drained below it.
func (b *Mailbox) SetPolicy(now Time, name, value string) (Finished, syscall.Errno) {
	var n int64
	var ok bool
	switch name {
	case "capacity":
		if n, ok = parseAmount(value); ok {
			b.capacity = n
		}
	case "capacity_bytes":
		if n, ok = parseBytes(value); ok {
			b.capacityBytes = n
		}
	case "max_message":
		if n, ok = parseBytes(value); ok && n == Unbounded {
			n = MaxMessage
		}
		if ok = ok && n >= 1 && n <= MaxMessage; ok {
			b.maxMessage = n
		}
	case "overflow":
		var o Overflow
		if o, ok = parseOverflow(value); ok {
			b.overflow = o
		}
	case "order":
		var o Order
		if o, ok = parseOrder(value); ok && o != b.order {
			b.order = o
			b.held.reorder(o)
		}
	case "ttl":
		var span Time
		if span, ok = ParseSpan(value); ok {
			b.ttl = span
			b.expire(now)
		}
	}
	var done Finished
	if !ok {
		return done, syscall.EINVAL
	}
	b.pump(now, &done)
	return done, 0
}

// Held implements Object.
func (b *Mailbox) Held() Held {
	return Held{Messages: b.held.n, Bytes: b.held.bytes + b.held.memory, Changed: b.changed, Taken: b.taken}
}

// Stat implements Object.
func (b *Mailbox) Stat() []Counter {
	return []Counter{
		{"messages", b.held.n},
		{"bytes", b.held.bytes + b.held.memory},
		{"sent", b.sent},
		{"received", b.received},
		{"dropped", b.dropped},
		{"expired", b.expired},
		{"senders_waiting", int64(b.senders.n)},
		{"receivers_waiting", int64(b.receivers.n + b.peekers.n)},
		{"open_senders", b.openSenders},
		{"open_receivers", b.openReceivers},
	}
}

// Waiters implements Object.
func (b *Mailbox) Waiters() iter.Seq[*Request] {
	return func(yield func(*Request) bool) {
		_ = b.senders.all(yield) && b.receivers.all(yield) && b.peekers.all(yield)
	}
}

// Check implements Object.
func (b *Mailbox) Check() error {
	var n, bytes, memory int64
	var last uint64
	for m := b.held.first; m != nil; m = m.next {
		if m.borrowed || !m.charged && b.ledger == Unlimited {
			return fmt.Errorf("message %d is held on borrowed memory or off the books", m.Seq)
		}
		if m.memory != nil && (m.memory.storage == nil || !m.memory.queued) {
			return fmt.Errorf("message %d is held and its memory is not", m.Seq)
		}
		if m.Seq == last {
			return fmt.Errorf("message %d is held twice", m.Seq)
		}
		if m.rank != b.order.rank(m) || m.prev != nil && m.rank > m.prev.rank {
			return fmt.Errorf("message %d of rank %d is out of order", m.Seq, m.rank)
		}
		if at := b.dies(m); b.ttl != Unbounded && at != 0 && (b.due == 0 || at < b.due) {
			return fmt.Errorf("message %d expires at %d, unnoticed until %d", m.Seq, at, b.due)
		}
		n, bytes, last = n+1, bytes+int64(len(m.Data)), m.Seq
		memory += m.memory.length()
	}
	switch {
	case b.held.numbers != nil && int64(len(b.held.numbers)) != n:
		return fmt.Errorf("%d messages are numbered, %d held", len(b.held.numbers), n)
	case n != b.held.n || bytes != b.held.bytes || memory != b.held.memory:
		return fmt.Errorf("holds %d messages of %d and %d bytes, counted %d of %d and %d", n, bytes, memory, b.held.n, b.held.bytes, b.held.memory)
	case b.senders.n > 0 && b.overflow != Block:
		return fmt.Errorf("%d senders wait under overflow %s", b.senders.n, b.overflow)
	case b.senders.n > 0 && b.fits(int64(len(b.senders.first.message.Data))):
		return fmt.Errorf("the first of %d senders waits though its message fits", b.senders.n)
	case b.destroyed && n+int64(b.senders.n+b.receivers.n+b.peekers.n) > 0:
		return fmt.Errorf("destroyed, but something is left")
	}
	for _, q := range []*queue{&b.receivers, &b.peekers} {
		for r := q.first; r != nil; r = r.next {
			if m := b.next(r.Handle.Only); m != nil {
				return fmt.Errorf("a %s waits though message %q is there for it", r.Op, m.Data)
			}
		}
	}
	return nil
}
