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
		Policies: []string{"capacity", "capacity_bytes", "max_message", "overflow"},
		Ops:      []Op{Open, Send, Receive, Peek, Flush, Close},
	})
}

// A Mailbox holds messages between processes that need not know one another:
// indirect communication. Its capacity decides the buffering: 0 is a rendezvous,
// where a send waits for its receiver; a number bounds what is held; Unbounded
// never makes a sender wait.
//
// At any time at most one side waits. If a receiver is parked, nothing is held and
// no sender is parked; if a sender is parked, its message, the oldest not yet
// admitted, does not fit.
type Mailbox struct {
	ledger Ledger

	capacity      int64
	capacityBytes int64
	maxMessage    int64
	overflow      Overflow

	held      messageList
	senders   queue
	receivers queue
	peekers   queue

	destroyed bool
	seq       uint64
	changed   Time
	taken     Time

	sent, received, dropped    int64
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
	}
}

// Submit implements Object.
func (b *Mailbox) Submit(now Time, r *Request) Finished {
	r.Errno, r.N, r.message, r.took = 0, 0, nil, false
	if b.destroyed && r.Op != Close {
		return failed(r, syscall.EIDRM)
	}
	switch r.Op {
	case Open:
		b.count(r.Handle, 1)
		return one(r)
	case Close:
		b.count(r.Handle, -1)
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
	r.message = &Message{Data: r.Data, Sender: r.Caller, borrowed: true}
	var done Finished
	if !b.senders.empty() && b.overflow == Block {
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
	if b.senders.n == 1 && b.held.n == 0 {
		b.show(r.message, done)
	}
}

// admit finishes the sender r, which is not parked, unless it has to wait.
func (b *Mailbox) admit(now Time, r *Request, done *Finished) bool {
	m, n := r.message, int64(len(r.message.Data))
	if receiver := b.receivers.pop(); receiver != nil {
		b.accept(now, r)
		b.show(m, done)
		b.deliver(now, receiver, m, done)
		done.add(r)
		return true
	}
	var oldest messageList // dropped for m
	if !b.fits(n) {
		switch b.overflow {
		case Block:
			return false
		case Fail:
			m.refund(b.ledger)
			r.Errno, r.message = syscall.EAGAIN, nil
			done.add(r)
			return true
		case DropOldest:
			for !b.fits(n) && b.held.n > 0 {
				old := b.held.pop()
				old.refund(b.ledger)
				oldest.push(old)
			}
		}
		b.dropped += oldest.n
		if !b.fits(n) { // DropNewest, or nothing older to drop
			b.accept(now, r)
			b.drop(m)
			done.add(r)
			return true
		}
	}
	if errno := m.charge(b.ledger); errno != 0 {
		// mq_send(3) has no such case; like every send that fails, it changes nothing.
		for old := oldest.last; old != nil; old = oldest.last {
			oldest.remove(old)
			b.restore(old)
			b.dropped--
		}
		r.Errno, r.message = errno, nil
		done.add(r)
		return true
	}
	b.accept(now, r)
	m.own()
	b.held.push(m)
	b.show(m, done)
	done.add(r)
	return true
}

// restore makes m, which was held a moment ago, the next message again. A limit that
// was reached meanwhile does not lose it.
func (b *Mailbox) restore(m *Message) {
	m.own()
	m.charge(b.ledger)
	b.held.pushFront(m)
}

// accept turns the sender's offer into a sent message.
func (b *Mailbox) accept(now Time, r *Request) {
	b.seq++
	r.message.Seq, r.message.Sent = b.seq, now
	r.N = len(r.message.Data)
	b.sent++
	b.changed = now
}

func (b *Mailbox) drop(m *Message) {
	m.refund(b.ledger)
	b.dropped++
}

// show gives every parked peek its copy of m, which is now the next message.
func (b *Mailbox) show(m *Message, done *Finished) {
	for p := b.peekers.pop(); p != nil; p = b.peekers.pop() {
		p.Handle.begin(p, m)
		done.add(p)
	}
}

// deliver finishes the receive r with m.
func (b *Mailbox) deliver(now Time, r *Request, m *Message, done *Finished) {
	m.refund(b.ledger)
	b.received++
	b.taken = now
	r.message, r.took = m, true
	r.Handle.begin(r, m)
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
	if m := b.held.pop(); m != nil {
		b.deliver(now, r, m, &done)
		b.pump(now, &done)
		return done
	}
	if s := b.senders.pop(); s != nil { // rendezvous
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

// next is the message that the next receive would take, nil if there is none.
func (b *Mailbox) next() *Message {
	switch {
	case b.held.first != nil:
		return b.held.first
	case b.senders.first != nil:
		return b.senders.first.message
	}
	return nil
}

func (b *Mailbox) peek(now Time, r *Request) Finished {
	if r.Handle.resume(r) {
		return one(r)
	}
	if m := b.next(); m != nil {
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
		if b.overflow == Block && b.receivers.empty() && !b.fits(int64(len(s.message.Data))) {
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
	if len(r.Data) < len(m.Data) && (h.msg != m || h.read > len(r.Data)) {
		return done // somebody who shares the handle has read on
	}
	h.forget(m)
	b.received--
	if receiver := b.receivers.pop(); receiver != nil {
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
	b.destroyed = true
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
	if h.Reads && (h.due() || b.next() != nil) {
		e |= In
	}
	if h.Writes && b.writable() {
		e |= Out
	}
	return e
}

func (b *Mailbox) writable() bool {
	switch {
	case b.overflow == DropOldest || b.overflow == DropNewest, !b.receivers.empty():
		return true
	case b.overflow == Block && !b.senders.empty():
		return false
	}
	return b.fits(b.longest())
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
	return Held{Messages: b.held.n, Bytes: b.held.bytes, Changed: b.changed, Taken: b.taken}
}

// Stat implements Object.
func (b *Mailbox) Stat() []Counter {
	return []Counter{
		{"messages", b.held.n},
		{"bytes", b.held.bytes},
		{"sent", b.sent},
		{"received", b.received},
		{"dropped", b.dropped},
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
	var n, bytes int64
	var last uint64
	for m := b.held.first; m != nil; m = m.next {
		if m.borrowed || !m.charged && b.ledger == Unlimited {
			return fmt.Errorf("message %d is held on borrowed memory or off the books", m.Seq)
		}
		if m.Seq == last {
			return fmt.Errorf("message %d is held twice", m.Seq)
		}
		n, bytes, last = n+1, bytes+int64(len(m.Data)), m.Seq
	}
	switch {
	case n != b.held.n || bytes != b.held.bytes:
		return fmt.Errorf("holds %d messages of %d bytes, counted %d of %d", n, bytes, b.held.n, b.held.bytes)
	case b.receivers.n+b.peekers.n > 0 && n > 0:
		return fmt.Errorf("%d receives wait beside %d messages", b.receivers.n+b.peekers.n, n)
	case b.receivers.n > 0 && b.senders.n > 0:
		return fmt.Errorf("%d receivers and %d senders wait for each other", b.receivers.n, b.senders.n)
	case b.senders.n > 0 && b.overflow != Block:
		return fmt.Errorf("%d senders wait under overflow %s", b.senders.n, b.overflow)
	case b.senders.n > 0 && b.fits(int64(len(b.senders.first.message.Data))):
		return fmt.Errorf("the first of %d senders waits though its message fits", b.senders.n)
	case b.destroyed && n+int64(b.senders.n+b.receivers.n+b.peekers.n) > 0:
		return fmt.Errorf("destroyed, but something is left")
	}
	return nil
}
