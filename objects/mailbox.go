package objects

import (
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
	Register(Kind{
		Name:     "mailbox",
		New:      func(l Ledger) Object { return NewMailbox(l) },
		Policies: mailboxPolicies.names(),
		Ops:      []Op{Open, Send, Receive, Lease, Settle, Receipt, Peek, Flush, Release, Close},
		Counters: mailboxCounters,
		Level:    Level{Unit: "messages", Full: "capacity"},
	})
}

// A Mailbox holds messages between processes that need not know one another:
// indirect communication. Its capacity decides the buffering: 0 is a rendezvous,
// where a send waits for its receiver; a number bounds what is held; Unbounded
// never makes a sender wait.
//
// If a receiver is parked, no message that it may take is held, or offered by a parked
// sender. If a sender is parked, admit has its message wait: see [Mailbox.admit]. A message
// for which a receiver waits is handed over at once, whether there is room or not, and also
// past other senders.
//
// A message may be a segment that was sent whole: see SendSegment. It counts as one message
// of capacity and as no bytes of max_message and capacity_bytes, which bound what is copied.
//
// A message goes through these stages, each of which is a file:
//
//	framing   cut what is written into messages; a begun one stays with its file
//	admit     decide: hand over, hold, wait, refuse, discard
//	store     do as admit says, and hold messages until somebody takes them
//	dispatch  bring receivers and messages together, and let in senders who wait
//	receive   give a message to the receiver who takes it
//	lease     or leave it with the receiver until he acknowledges it
//	retire    refund, count, tell the sender
//
// Where a message is meanwhile is its state: mailbox_state.go. The requests of senders are
// in mailbox_send.go. The other files: mailbox_receivers.go (who may open), _broadcast
// (subscribers), _index (who selects), _expiry, _receipt, _memory (segments), _messages (by
// number), _books, _policy, _check.
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

	held         messageList
	nextExpiry   Time                     // nothing that is held expires before; 0: nothing does
	shared       int64                    // how many of held are broadcast
	in           [states]int64            // how many messages are in each state that has a place
	pinned       struct{ n, bytes int64 } // messages received that count as held: see retain
	unpinned     bool                     // there are fewer now
	leases       *deadlines[*Handle]      // that end; nil before the first lease
	nextLeaseEnd Time                     // none of them ends before; 0: none does
	dead         messageList              // that are to go to the dead letters
	senders      queue
	beginners    queue // senders that wait before the beginning of a message
	receivers    queue
	peekers      queue
	awaiting     queue // for receipts

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
	r.Errno, r.N, r.message, r.shown, r.consumed, r.rest, r.begun, r.units = 0, 0, nil, nil, false, nil, 0, 0
	if b.destroyed && r.Op != Close && r.Op != Release {
		// msgop(2): EIDRM, the queue was removed.
		return failed(r, syscall.EIDRM)
	}
	if at := b.Deadline(); at != 0 && at <= now { // the driver's timer is late
		done := b.Expire(now)
		done.append(b.submit(now, r))
		b.relax(now, &done)
		return done
	}
	done := b.submit(now, r)
	b.relax(now, &done)
	return done
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
	// read(2), write(2): EINVAL, the file is not suitable for it.
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
		if h.mailbox != nil {
			b.endLease(now, h, &done)
			b.unsubscribe(now, h, &done)
			b.endBegun(now, h, r.Killed, &done)
		}
	}
	b.abolish(h)
	if h.mailbox != nil && h.mailbox.wish != nil {
		h.mailbox.wish.handle = nil
	}
	if !b.destroyed {
		b.pump(now, &done)
	}
	h.unref()
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

// flush discards what is held. The messages of parked senders were not sent yet:
// they are admitted now, in order.
func (b *Mailbox) flush(now Time, r *Request) Finished {
	var done Finished
	if b.held.ages != nil {
		b.held.ages = byAge() // all at once, not one by one
	}
	b.held.index = nil
	b.dropAll(now, &b.held, &done)
	b.changed = now
	done.add(r)
	b.pump(now, &done)
	return done
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
		b.store(now, m, &done)
	}
	b.end(r, cause, &done)
	// The sender behind may have a smaller message.
	b.pump(now, &done)
	return done
}

// Return implements Object: the message that r took becomes the next one again,
// even if that takes the mailbox beyond its capacity.
func (b *Mailbox) Return(now Time, r *Request) Finished {
	done := b.takeBack(now, r)
	b.relax(now, &done)
	return done
}

func (b *Mailbox) takeBack(now Time, r *Request) Finished {
	var done Finished
	if !r.consumed || b.destroyed {
		return done
	}
	m, h := r.message, r.Handle
	r.consumed = false
	if int64(len(r.Data)) < r.shown.Size() && (h.msg != r.shown || h.read > len(r.Data)) ||
		m.memory() != nil && h.state().memory != m.memory() {
		return done // somebody who shares the handle has read on
	}
	h.forget(r.shown)
	b.book(h)
	if m.memory() != nil {
		h.mailbox.memory = nil
		defer m.memory().unref()
	}
	switch {
	case r.Op == Lease:
		if h.state().leased != m {
			return done // it went back when the process died
		}
		b.unlease(h)
	case m.share != nil:
		b.received--
		b.returnShare(now, r, m, &done)
		return done
	default:
		b.revive(m)
	}
	b.returned(now, m, &done)
	return done
}

// Destroy implements Object.
func (b *Mailbox) Destroy(now Time) Finished {
	var done Finished
	b.destroyed, b.nextExpiry, b.nextLeaseEnd = true, 0, 0
	b.held.ages, b.held.index = nil, nil // for what is going, all of it
	for _, l := range []*messageList{&b.held, &b.dead} {
		for m := l.pop(); m != nil; m = l.pop() {
			b.unsend(m)
		}
	}
	b.shared, b.leases = 0, nil
	for _, h := range b.handles {
		for _, m := range []*Message{h.state().begun, h.state().leased} {
			if m != nil {
				b.unsend(m)
			}
		}
		b.abolish(h)
		if h.mailbox != nil {
			*h.mailbox = mailboxState{memory: h.mailbox.memory}
		}
	}
	b.receivers.drain(&done, syscall.EIDRM)
	b.peekers.drain(&done, syscall.EIDRM)
	b.awaiting.drain(&done, syscall.EIDRM)
	for _, q := range []*queue{&b.senders, &b.beginners} {
		for s := q.first; s != nil; s = q.first {
			if s.message != nil {
				b.unsend(s.message)
				s.message, s.begun = nil, 0
			}
			s.N = 0
			b.end(s, syscall.EIDRM, &done)
		}
	}
	return done
}

// Removable implements Object.
//
// rmdir(2): EBUSY, in use; ENOTEMPTY.
func (b *Mailbox) Removable() syscall.Errno {
	for range b.Waiters() {
		return syscall.EBUSY
	}
	switch {
	case b.in[leased] > 0:
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
		if h.readable() || !h.state().pending {
			e |= In
		}
	case h.readable(), h.ReadOp == Lease && h.mayLease() != 0, b.nextFor(h) != nil:
		e |= In
	}
	if h.Reads && (h.Filter == nil || h.Filter.urgent()) && h.ReadOp != Receipt && b.held.outOfBand() {
		e |= Pri
	}
	if h.Writes && (h.WriteOp == Settle || b.writable(h)) {
		e |= Out
	}
	return e
}

// Held implements Object.
func (b *Mailbox) Held() Held {
	return Held{Messages: b.held.n, Bytes: b.held.bytes + b.held.memory, Changed: b.changed, Taken: b.taken}
}

// mailboxCounters are what Stat gives.
var mailboxCounters = []CounterKind{
	{"messages", true, "Messages held."},
	{"bytes", true, "Bytes held."},
	{"sent", false, "Messages that were sent."},
	{"received", false, "Messages that were received."},
	{"dropped", false, "Messages that were dropped."},
	{"expired", false, "Messages that expired."},
	{"redelivered", false, "Messages that returned from a lease."},
	{"leased", true, "Messages on lease."},
	{"senders_waiting", true, "Sends that wait."},
	{"receivers_waiting", true, "Receives and peeks that wait."},
	{"open_senders", true, "Files open for sending."},
	{"open_receivers", true, "Files open for receiving."},
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
		{"leased", b.in[leased] + b.dead.n},
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
