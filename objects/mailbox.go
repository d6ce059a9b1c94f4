package objects

import (
	"fmt"
	"iter"
	"slices"
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
		Policies: mailboxPolicies.names(),
		Ops:      []Op{Open, Send, Receive, Lease, Settle, Receipt, Peek, Flush, Release, Close},
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
//
// The files named after what they add to this: mailbox_framing.go (what of the bytes
// written is a message), mailbox_receivers.go (who receives it), mailbox_lease.go,
// mailbox_receipt.go, mailbox_messages.go (messages by number), mailbox_memory.go,
// mailbox_policy.go.
type Mailbox struct {
	ledger Ledger

	capacity      int64
	capacityBytes int64
	maxMessage    int64
	overflow      Overflow
	order         Order
	receiving     Receivers
	framing       Framing
	ttl           Time // how long a message is held, at most
	leaseTime     Time
	maxDeliveries int64
	deadLetters   string // the name of a mailbox, "" if there is none

	held      messageList
	due       Time        // nothing that is held expires before; 0: nothing does
	shared    int64       // how many of held are broadcast
	begun     int64       // messages that writers have begun
	leases    []*Handle   // that have one, in the order in which they were taken
	leaseDue  Time        // none of them ends before; 0: none does
	dead      messageList // that are to go to the dead letters
	senders   queue
	beginners queue // senders that wait before the beginning of a message
	receivers queue
	peekers   queue
	awaiting  queue // for receipts

	handles   []*Handle // open, in the order of their opening
	destroyed bool
	seq       uint64
	changed   Time
	taken     Time

	sent, received             int64
	dropped, expired           int64
	redelivered                int64
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
		leaseTime:     Unbounded,
		maxDeliveries: Unbounded,
	}
}

// Submit implements Object.
func (b *Mailbox) Submit(now Time, r *Request) Finished {
	r.Errno, r.N, r.message, r.shown, r.took, r.rest, r.begun, r.units = 0, 0, nil, nil, false, nil, 0, 0
	if b.destroyed && r.Op != Close && r.Op != Release {
		return failed(r, syscall.EIDRM)
	}
	if at := b.Deadline(); at != 0 && at <= now { // the driver's timer is late
		done := b.Expire(now)
		done.append(b.submit(now, r))
		return done
	}
	return b.submit(now, r)
}

func (b *Mailbox) submit(now Time, r *Request) Finished {
	switch r.Op {
	case Open:
		return b.open(r)
	case Close:
		return b.close(now, r)
	case Release:
		return b.abandon(now, r)
	case Send:
		return b.send(now, r)
	case Receive, Lease:
		return b.receive(now, r)
	case Settle:
		return b.settle(now, r)
	case Receipt:
		return b.receiptFor(now, r)
	case Peek:
		return b.peek(now, r)
	case Flush:
		return b.flush(now, r)
	}
	return failed(r, syscall.EINVAL)
}

func (b *Mailbox) open(r *Request) Finished {
	if errno := b.mayOpen(r.Handle); errno != 0 {
		return failed(r, errno)
	}
	r.Handle.opener = r.Caller.Uid
	b.handles = append(b.handles, r.Handle)
	b.count(r.Handle, 1)
	return one(r)
}

// close ends a handle: what it has begun is sent, what it has not received is not its
// any more.
func (b *Mailbox) close(now Time, r *Request) Finished {
	var done Finished
	h := r.Handle
	if i := slices.Index(b.handles, h); i >= 0 {
		b.handles = slices.Delete(b.handles, i, i+1)
		b.count(h, -1)
	}
	if !b.destroyed {
		if h.mail != nil {
			b.endLease(now, h, &done)
			b.leave(now, h, &done)
			b.endBegun(now, h, r.Killed, &done)
		}
		b.pump(now, &done)
	}
	h.letGo()
	*h = Handle{}
	done.add(r)
	return done
}

func (b *Mailbox) count(h *Handle, by int64) {
	if h.Reads && h.ReadOp != Receipt {
		b.openReceivers += by
	}
	if h.Writes && h.WriteOp != Settle {
		b.openSenders += by
	}
}

// longest is the length in bytes of the longest message that can ever be sent.
func (b *Mailbox) longest() int64 {
	n := b.maxMessage
	if b.framing == ByWrite {
		n = min(n, MaxMessage)
	}
	if b.capacityBytes > 0 {
		return min(n, b.capacityBytes)
	}
	return n
}

// fits reports whether a message of n bytes can be held.
func (b *Mailbox) fits(n int64) bool {
	return b.held.n < b.capacity && n <= b.capacityBytes-b.held.bytes
}

// compose makes the message that r sends, with data that it borrows.
func compose(r *Request, data []byte) *Message {
	m := &Message{Data: data, Sender: r.Caller, borrowed: true}
	if only := r.Handle.Only; only != nil {
		only.label(m)
	}
	if r.Handle.Receipts != nil {
		m.wants = r.Handle
	}
	return m
}

func (b *Mailbox) send(now Time, r *Request) Finished {
	var done Finished
	r.framing = b.framing
	switch {
	case b.Framed(r.Handle):
		r.rest = r.Data
	case int64(len(r.Data)) > b.longest():
		// mq_send(3): EMSGSIZE, longer than mq_msgsize.
		return failed(r, syscall.EMSGSIZE)
	default:
		r.message = compose(r, r.Data)
	}
	b.advance(now, r, &done)
	return done
}

// advance sends what the sender r has to send, message by message, until that is done
// or r has to wait: r parks then, or stays where it is parked.
func (b *Mailbox) advance(now Time, r *Request, done *Finished) {
	for {
		if r.message == nil {
			if errno := b.next(now, r, done); errno != 0 || r.message == nil {
				if !r.Parked() || errno != 0 || len(r.rest) == 0 {
					b.end(r, errno, done)
				}
				return
			}
		}
		m := r.message
		if !r.Parked() && !b.senders.empty() && b.overflow == Block && !m.Urgent && !b.awaited(m) {
			// Senders are admitted in order, even past one whose message is too big
			// for the room there is.
			b.park(now, r, done)
			return
		}
		sent, errno := b.put(now, m, done)
		switch {
		case errno != 0 && r.Handle == nil:
			b.keep(now, r, done)
			return
		case errno != 0:
			b.end(r, errno, done)
			return
		case !sent:
			if !r.Parked() {
				b.park(now, r, done)
			}
			return
		}
		b.passed(r)
	}
}

// passed notes that the message of r has been sent.
func (b *Mailbox) passed(r *Request) {
	r.N += len(r.message.Data) - r.begun
	r.message, r.begun = nil, 0
}

// end finishes the sender r: with errno, unless something was sent before.
func (b *Mailbox) end(r *Request, errno syscall.Errno, done *Finished) {
	if r.on != nil {
		r.on.remove(r)
	}
	b.withdraw(r)
	if r.N > 0 {
		errno = 0 // write(2): fewer bytes than asked for
	}
	r.Errno = errno
	if r.Handle != nil { // else it was closed, and nobody waits
		done.add(r)
	}
}

// keep holds the message of s, whose file is closed, though there is no room: it cannot
// wait, and nobody is left who could be told.
func (b *Mailbox) keep(now Time, s *Request, done *Finished) {
	m := s.message
	s.message = nil
	s.on.remove(s)
	if b.receiving == Broadcast && m.share == nil && !b.anyoneFor(m) {
		b.broadcastAtOnce(now, m, done)
		return
	}
	b.hold(now, m, done)
}

// withdraw takes back what r has not sent yet.
func (b *Mailbox) withdraw(r *Request) {
	b.ledger.Charge(r.Caller.Uid, 0, -r.units)
	r.units, r.rest = 0, nil
	m := r.message
	if m == nil {
		return
	}
	r.message = nil
	if m.share != nil {
		b.revoke(m)
	}
	if r.begun > 0 {
		b.unbegin(r, m)
		return
	}
	m.refund(b.ledger)
}

// park makes the sender r wait, or fails it.
func (b *Mailbox) park(now Time, r *Request, done *Finished) {
	errno := syscall.EAGAIN
	if !r.Nonblock {
		if errno = r.message.charge(b.ledger); errno == 0 {
			errno = b.keepRest(r)
		}
	}
	if errno != 0 {
		b.end(r, errno, done)
		return
	}
	r.message.own()
	r.Data = nil
	b.senders.push(now, r)
	b.show(r.message, done)
	if b.senders.first == r {
		b.offer(now, r, done)
	}
}

// put sends m. It reports false if m has to wait. What it fails with, if it does, changes
// nothing.
func (b *Mailbox) put(now Time, m *Message, done *Finished) (sent bool, errno syscall.Errno) {
	n := int64(len(m.Data))
	switch {
	case m.share != nil: // some have it already
	case b.receiving == Broadcast:
		if b.broadcastAtOnce(now, m, done) {
			return true, 0
		}
	default:
		if receiver := b.receiverFor(m); receiver != nil {
			if receiver.Op == Lease {
				if errno := m.charge(b.ledger); errno != 0 {
					return false, errno
				}
			}
			b.receivers.remove(receiver)
			b.accept(now, m)
			b.show(m, done)
			b.deliver(now, receiver, m, done)
			return true, 0
		}
	}
	var oldest messageList // dropped for m
	if partly := m.share != nil && m.Seq != 0; !b.fits(n) && !m.Urgent && (!partly || b.overflow == Block) {
		switch b.overflow {
		case Block:
			return false, 0
		case Fail:
			return false, syscall.EAGAIN
		case DropOldest:
			for old := b.held.oldest(); old != nil && !b.fits(n); old = b.held.oldest() {
				b.held.remove(old)
				old.memory.hold()
				old.refund(b.ledger)
				oldest.push(old, 0)
			}
		}
		if !b.fits(n) { // DropNewest, or nothing older to drop
			b.accept(now, m)
			b.revoke(m)
			b.drop(now, m, done)
			oldest.letGo()
			b.dropAll(now, &oldest, done)
			return true, 0
		}
	}
	if errno := m.charge(b.ledger); errno != 0 {
		// mq_send(3) has no such case; like every send that fails, it changes nothing.
		for old := oldest.pop(); old != nil; old = oldest.pop() {
			b.restore(old)
			old.memory.letGo()
		}
		return false, errno
	}
	oldest.letGo()
	b.dropAll(now, &oldest, done)
	b.hold(now, m, done)
	return true, 0
}

// hold keeps m, which is on the books, until somebody takes it.
func (b *Mailbox) hold(now Time, m *Message, done *Finished) {
	b.accept(now, m)
	m.own()
	b.held.push(m, b.order.rank(m))
	b.watch(m)
	b.show(m, done)
	switch {
	case m.share != nil:
		m.share.held, m.share.offer = true, nil
		b.shared++
	case b.receiving == Broadcast:
		b.shared++
		b.distribute(now, m, &share{held: true}, done)
	}
}

// restore puts m back, which was held a moment ago. A limit that was reached meanwhile
// does not lose it.
func (b *Mailbox) restore(m *Message) {
	m.own()
	m.charge(b.ledger)
	b.held.putBack(m, b.order.rank(m))
	b.watch(m)
}

// returned makes m, which somebody had taken, available again, unless it has expired.
func (b *Mailbox) returned(now Time, m *Message, done *Finished) {
	if at := b.dies(m); at != 0 && at <= now {
		b.lapse(now, m, done)
		return
	}
	if receiver := b.receiverFor(m); receiver != nil {
		b.receivers.remove(receiver)
		b.deliver(now, receiver, m, done)
		return
	}
	b.restore(m)
	b.show(m, done)
}

// receiverFor returns the first parked receiver that may take m, nil if there is none.
func (b *Mailbox) receiverFor(m *Message) *Request {
	r := b.receivers.first
	for r != nil && !r.Handle.Only.admits(m) {
		r = r.next
	}
	return r
}

// awaited reports whether m would be received at once.
func (b *Mailbox) awaited(m *Message) bool {
	if b.receiving == Broadcast {
		return b.awaitedByAll(m)
	}
	return b.receiverFor(m) != nil
}

// accept makes m one that was sent.
func (b *Mailbox) accept(now Time, m *Message) {
	if m.share != nil && m.Seq != 0 {
		return // when the first received it
	}
	b.seq++
	if m.Seq == 0 { // it keeps its time when it comes from another mailbox
		m.Sent = now
	}
	m.Seq = b.seq
	b.sent++
	b.changed = now
	expectReceipt(m)
}

// drop counts m, which was sent and is not held, as dropped.
func (b *Mailbox) drop(now Time, m *Message, done *Finished) {
	m.refund(b.ledger)
	b.dropped++
	b.certify(now, m, Dropped, Caller{}, done)
}

func (b *Mailbox) dropAll(now Time, l *messageList, done *Finished) {
	for m := l.pop(); m != nil; m = l.pop() {
		b.forsake(m)
		b.drop(now, m, done)
	}
}

// release takes m out of what is held.
func (b *Mailbox) release(m *Message) {
	b.held.remove(m)
	b.forsake(m)
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

// deliver finishes the receive r with m, which nobody else has.
func (b *Mailbox) deliver(now Time, r *Request, m *Message, done *Finished) {
	if r.Op == Lease {
		b.lease(now, r, m)
		b.hand(now, r, m, done)
		return
	}
	b.received++
	b.certify(now, m, Received, r.Caller, done)
	b.hand(now, r, m, done)
	m.refund(b.ledger)
}

// hand finishes the receive r with m.
func (b *Mailbox) hand(now Time, r *Request, m *Message, done *Finished) {
	b.taken = now
	r.message, r.took = m, true
	r.Handle.begin(r, m)
	done.add(r)
	if !r.Handle.left() && r.Op != Lease {
		return
	}
	// Others may be parked on the same handle: what is left of its message is
	// theirs before any other message is.
	for p := b.receivers.first; p != nil && (r.Handle.left() || r.Op == Lease); {
		next := p.next
		switch {
		case p.Handle != r.Handle:
		case r.Handle.left():
			b.receivers.remove(p)
			p.Handle.resume(p)
			done.add(p)
		default:
			b.receivers.remove(p)
			p.Errno = syscall.EBUSY
			done.add(p)
		}
		p = next
	}
}

func (b *Mailbox) receive(now Time, r *Request) Finished {
	if r.Handle.resume(r) {
		return one(r)
	}
	if r.Op == Lease {
		if errno := r.Handle.mayLease(); errno != 0 {
			r.Handle.kept().torn = false
			return failed(r, errno)
		}
	}
	var done Finished
	if m := b.heldFor(r.Handle); m != nil {
		if m.share != nil {
			b.give(now, r, m, &done)
		} else {
			b.held.remove(m)
			b.deliver(now, r, m, &done)
		}
		b.pump(now, &done)
		return done
	}
	if b.meet(now, r, &done) {
		b.pump(now, &done)
		return done
	}
	// mq_receive(3): EAGAIN, empty and O_NONBLOCK.
	if r.Nonblock {
		return failed(r, syscall.EAGAIN)
	}
	b.receivers.push(now, r)
	b.begin(now, &done)
	return done
}

// meet finishes the receive r, which is not parked, with the message of a parked sender.
// It reports false if there is none for it.
func (b *Mailbox) meet(now Time, r *Request, done *Finished) bool {
	s := b.senderFor(r.Handle)
	if s == nil {
		return false
	}
	m := s.message
	b.accept(now, m)
	b.deliver(now, r, m, done)
	b.passed(s)
	b.advance(now, s, done)
	return true
}

// heldFor is the held message that the next receive through h would take, nil if there
// is none.
func (b *Mailbox) heldFor(h *Handle) *Message {
	inbox := h.seen().inbox
	var m *Message
	switch {
	case b.shared == 0:
		m = b.held.find(h.Only)
	case b.shared < b.held.n:
		for m = b.held.first; m != nil && (m.share != nil || !h.Only.admits(m)); m = m.next {
		}
	}
	if len(inbox) > 0 && (m == nil || b.order.precedes(inbox[0], m)) {
		return inbox[0]
	}
	return m
}

// senderFor returns the parked sender whose message comes next of those that h may have,
// nil if there is none. What is broadcast is not for whoever comes first.
func (b *Mailbox) senderFor(h *Handle) *Request {
	looks, only := h.ReadOp == Peek, h.Only
	if b.receiving == Broadcast && !looks {
		return nil
	}
	var next *Request
	for s := b.senders.first; s != nil; s = s.next {
		if s.message.share != nil && !looks || !only.admits(s.message) {
			continue
		}
		if only == nil && b.order == FIFO {
			return s
		}
		if next == nil || b.order.rank(s.message) > b.order.rank(next.message) {
			next = s
		}
	}
	return next
}

// nextFor is the message that the next receive, or peek, through h would get, nil if
// there is none.
func (b *Mailbox) nextFor(h *Handle) *Message {
	var m *Message
	if h.ReadOp == Peek {
		m = b.held.find(h.Only)
	} else {
		m = b.heldFor(h)
	}
	if m != nil {
		return m
	}
	if s := b.senderFor(h); s != nil {
		return s.message
	}
	return nil
}

func (b *Mailbox) peek(now Time, r *Request) Finished {
	if r.Handle.resume(r) {
		return one(r)
	}
	if m := b.nextFor(r.Handle); m != nil {
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
	var done Finished
	b.dropAll(now, &b.held, &done)
	b.changed = now
	done.add(r)
	b.pump(now, &done)
	return done
}

// pump admits parked senders, in order, until one has to wait.
func (b *Mailbox) pump(now Time, done *Finished) {
	for s := b.senders.first; s != nil; s = b.senders.first {
		n := int64(len(s.message.Data))
		switch {
		case n > b.longest() && s.message.share == nil:
			// A limit was lowered below what waits; it could wait for ever.
			if s.Handle == nil {
				b.keep(now, s, done)
			} else {
				b.end(s, syscall.EMSGSIZE, done)
			}
		case b.overflow == Block && !b.fits(n) && !b.offer(now, s, done):
			return
		case b.senders.first == s:
			b.advance(now, s, done)
		}
	}
	b.begin(now, done)
}

// Cancel implements Object. A send of several messages, or to several receivers, of
// which some have been sent, succeeds.
func (b *Mailbox) Cancel(now Time, r *Request, cause syscall.Errno) Finished {
	var done Finished
	switch {
	case r.on == nil:
		return done
	case r.on != &b.senders && r.on != &b.beginners:
		r.on.remove(r)
		return failed(r, cause)
	case r.message != nil && r.message.share != nil && r.message.Seq != 0:
		m := r.message
		b.passed(r)
		b.hold(now, m, &done)
	}
	b.end(r, cause, &done)
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
	switch {
	case r.Op == Lease:
		if h.seen().leased != m {
			return done // it went back when the process died
		}
		b.unlease(h)
	case m.share != nil:
		b.received--
		b.owe(now, r, m, &done)
		return done
	default:
		b.received--
		b.uncertify(m)
	}
	b.returned(now, m, &done)
	return done
}

// Destroy implements Object.
func (b *Mailbox) Destroy(now Time) Finished {
	var done Finished
	b.destroyed, b.due, b.leaseDue = true, 0, 0
	for _, l := range []*messageList{&b.held, &b.dead} {
		for m := l.pop(); m != nil; m = l.pop() {
			m.refund(b.ledger)
		}
	}
	b.shared, b.begun, b.leases = 0, 0, nil
	for _, h := range b.handles {
		for _, m := range []*Message{h.seen().begun, h.seen().leased} {
			if m != nil {
				m.refund(b.ledger)
			}
		}
		h.mail = nil
	}
	b.receivers.drain(&done, syscall.EIDRM)
	b.peekers.drain(&done, syscall.EIDRM)
	b.awaiting.drain(&done, syscall.EIDRM)
	for _, q := range []*queue{&b.senders, &b.beginners} {
		for s := q.first; s != nil; s = q.first {
			if s.message != nil {
				s.message.refund(b.ledger)
				s.message, s.begun = nil, 0
			}
			s.N = 0
			b.end(s, syscall.EIDRM, &done)
		}
	}
	return done
}

// Removable implements Object.
func (b *Mailbox) Removable() syscall.Errno {
	for range b.Waiters() {
		return syscall.EBUSY
	}
	switch {
	case len(b.leases) > 0:
		return syscall.EBUSY
	case b.held.n+b.dead.n+int64(b.senders.n) > 0:
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
	switch {
	case !h.Reads:
	case h.ReadOp == Receipt:
		if h.due() || !h.seen().pending {
			e |= In
		}
	case h.due(), h.ReadOp == Lease && h.mayLease() != 0, b.nextFor(h) != nil:
		e |= In
	}
	if h.Reads && (h.Only == nil || h.Only.urgent()) && h.ReadOp != Receipt && b.held.outOfBand() {
		e |= Pri
	}
	if h.Writes && (h.WriteOp == Settle || b.writable(h)) {
		e |= Out
	}
	return e
}

func (b *Mailbox) writable(h *Handle) bool {
	if b.overflow == DropOldest || b.overflow == DropNewest || h.Only.urgent() || b.framing == ByClose && h.seen().begun != nil {
		return true
	}
	m := Message{Sender: Caller{Uid: h.opener}}
	if h.Only != nil {
		h.Only.label(&m)
	}
	switch {
	case b.framing != ByWrite && h.seen().begun == nil:
		return b.takesBeginning(&m, b.longest(), nil)
	case b.awaited(&m):
		return true
	case b.overflow == Block && !b.senders.empty():
		return false
	case b.receiving == Broadcast && !b.anyoneFor(&m):
		return true
	}
	return b.fits(b.longest())
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
		{"redelivered", b.redelivered},
		{"leased", int64(len(b.leases)) + b.dead.n},
		{"senders_waiting", int64(b.senders.n + b.beginners.n)},
		{"receivers_waiting", int64(b.receivers.n + b.peekers.n)},
		{"open_senders", b.openSenders},
		{"open_receivers", b.openReceivers},
	}
}

// Waiters implements Object.
func (b *Mailbox) Waiters() iter.Seq[*Request] {
	return func(yield func(*Request) bool) {
		for s := b.senders.first; s != nil; s = s.next {
			if s.Handle != nil && !yield(s) {
				return
			}
		}
		_ = b.beginners.all(yield) && b.receivers.all(yield) && b.peekers.all(yield) && b.awaiting.all(yield)
	}
}

// Check implements Object.
func (b *Mailbox) Check() error {
	var n, bytes, memory, shared int64
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
		if m.share != nil {
			if shared++; m.share.owed == 0 {
				return fmt.Errorf("message %d is held for nobody", m.Seq)
			}
		}
		n, bytes, last = n+1, bytes+int64(len(m.Data)), m.Seq
		memory += m.memory.length()
	}
	switch {
	case b.held.numbers != nil && int64(len(b.held.numbers)) != n:
		return fmt.Errorf("%d messages are numbered, %d held", len(b.held.numbers), n)
	case n != b.held.n || bytes != b.held.bytes || memory != b.held.memory || shared != b.shared:
		return fmt.Errorf("holds %d messages of %d and %d bytes, %d of them broadcast, counted %d of %d and %d, %d",
			n, bytes, memory, shared, b.held.n, b.held.bytes, b.held.memory, b.shared)
	case b.senders.n > 0 && b.overflow != Block:
		return fmt.Errorf("%d senders wait under overflow %s", b.senders.n, b.overflow)
	case b.senders.n > 0 && b.fits(int64(len(b.senders.first.message.Data))):
		return fmt.Errorf("the first of %d senders waits though its message fits", b.senders.n)
	case b.beginners.n > 0 && b.mayBegin(b.beginners.first):
		return fmt.Errorf("the first of %d senders waits though it may begin", b.beginners.n)
	case b.destroyed && n+int64(b.senders.n+b.beginners.n+b.receivers.n+b.peekers.n+b.awaiting.n) > 0:
		return fmt.Errorf("destroyed, but something is left")
	}
	for _, q := range []*queue{&b.receivers, &b.peekers} {
		for r := q.first; r != nil; r = r.next {
			if m := b.nextFor(r.Handle); m != nil {
				return fmt.Errorf("a %s waits though message %q is there for it", r.Op, m.Data)
			}
		}
	}
	return b.checkHandles()
}

// checkHandles checks what belongs to open files.
func (b *Mailbox) checkHandles() error {
	var begun, leases int64
	owed := make(map[*Message]int)
	for _, h := range b.handles {
		s := h.seen()
		if s.begun != nil {
			begun++
		}
		if s.leased != nil {
			if leases++; s.ends != 0 && (b.leaseDue == 0 || s.ends < b.leaseDue) {
				return fmt.Errorf("a lease ends at %d, unnoticed until %d", s.ends, b.leaseDue)
			}
		}
		for i, m := range s.inbox {
			if owed[m]++; i > 0 && b.order.precedes(m, s.inbox[i-1]) {
				return fmt.Errorf("broadcast message %d is out of order", m.Seq)
			}
		}
	}
	for m := b.held.first; m != nil; m = m.next {
		if m.share != nil && m.share.owed != owed[m] {
			return fmt.Errorf("message %d is owed to %d receivers, counted %d", m.Seq, owed[m], m.share.owed)
		}
		delete(owed, m)
	}
	if s := b.senders.first; s != nil {
		delete(owed, s.message)
	}
	switch {
	case len(owed) > 0:
		return fmt.Errorf("%d broadcast messages are owed that are not held", len(owed))
	case begun != b.begun || leases != int64(len(b.leases)):
		return fmt.Errorf("%d messages are begun and %d leased, counted %d and %d", begun, leases, b.begun, len(b.leases))
	}
	return nil
}
