// Package mailbox is messages between processes that need not know one another, with all
// that decides about them: see [Mailbox].
package mailbox

import (
	"iter"
	"slices"
	"syscall"

	"ipcfs/objects"
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
	objects.Register(objects.Kind{
		Name:     "mailbox",
		New:      func(l objects.Ledger) objects.Object { return New(l) },
		Load:     objects.Loading(load),
		Policies: mailboxPolicies.Kinds(),
		Ops:      []objects.Op{objects.Open, objects.Send, objects.Receive, objects.Lease, objects.Settle, objects.Receipt, objects.Peek, objects.Flush, objects.Release, objects.Close},
		Counters: counters.Kinds(),
		Level:    objects.Level{Unit: "messages", Full: "capacity"},
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
// Where a message is meanwhile is its state: state.go. What the mailbox keeps with an open
// file and with a request is in file.go, the requests of senders are in send.go. The other
// files: receivers (who may open), broadcast (subscribers), index (who selects), expiry,
// receipt, memory (segments), messages (by number), books, policy, check.
type Mailbox struct {
	ledger objects.Ledger

	capacity      int64
	capacityBytes int64
	maxMessage    int64
	overflow      objects.Overflow
	order         Order
	receiving     Receivers
	framing       Framing
	ttl           objects.Time // how long a message is held, at most
	leaseTime     objects.Time
	maxDeliveries int64
	deadLetters   string // the name of a mailbox, "" if there is none

	held         messageList
	nextExpiry   objects.Time                // nothing that is held expires before; 0: nothing does
	shared       int64                       // how many of held are broadcast
	in           [states]int64               // how many messages are in each state that has a place
	pinned       struct{ n, bytes int64 }    // messages received that count as held: see retain
	unpinned     bool                        // there are fewer now
	leases       *deadlines[*objects.Handle] // that end; nil before the first lease
	nextLeaseEnd objects.Time                // none of them ends before; 0: none does
	dead         messageList                 // that are to go to the dead letters
	senders      offers
	beginners    objects.Queue // senders that wait before the beginning of a message
	receivers    line
	peekers      line
	awaiting     objects.Queue // for receipts
	unrendered   objects.Queue // for what the driver makes of another read

	handles   []*objects.Handle // open, in the order of their opening
	destroyed bool
	seq       uint64
	changed   objects.Time
	taken     objects.Time

	sent, received             int64
	dropped, expired           int64
	redelivered                int64
	openSenders, openReceivers int64
}

// New makes an empty mailbox with default policies that books what it holds
// in l.
func New(l objects.Ledger) *Mailbox {
	return &Mailbox{
		ledger:        l,
		capacity:      DefaultCapacity,
		capacityBytes: DefaultCapacityBytes,
		maxMessage:    MaxMessage,
		ttl:           objects.Unbounded,
		leaseTime:     objects.Unbounded,
		maxDeliveries: objects.Unbounded,
	}
}

// NewOf makes an empty mailbox of that capacity in messages, which are of maxMessage
// bytes at most.
func NewOf(l objects.Ledger, capacity, maxMessage int64) *Mailbox {
	b := New(l)
	b.capacity, b.maxMessage = capacity, maxMessage
	return b
}

// Submit implements Object.
func (b *Mailbox) Submit(now objects.Time, r *objects.Request) objects.Finished {
	r.Errno, r.N = 0, 0
	of(r).Reset()
	if b.destroyed && r.Op != objects.Close && r.Op != objects.Release {
		// msgop(2): EIDRM, the queue was removed.
		return r.Fail(syscall.EIDRM)
	}
	if at := b.Deadline(); at != 0 && at <= now { // the driver's timer is late
		done := b.Expire(now)
		done.Append(b.submit(now, r))
		b.relax(now, &done)
		return done
	}
	done := b.submit(now, r)
	b.relax(now, &done)
	return done
}

func (b *Mailbox) submit(now objects.Time, r *objects.Request) objects.Finished {
	switch r.Op {
	case objects.Open:
		return b.open(r)
	case objects.Close:
		return b.close(now, r)
	case objects.Release:
		return b.abandon(now, r)
	case objects.Send:
		return b.send(now, r)
	case objects.Receive, objects.Lease:
		return b.receive(now, r)
	case objects.Settle:
		return b.settle(now, r)
	case objects.Receipt:
		return b.receiptFor(now, r)
	case objects.Peek:
		return b.peek(now, r)
	case objects.Flush:
		return b.flush(now, r)
	}
	// read(2), write(2): EINVAL, the file is not suitable for it.
	return r.Fail(syscall.EINVAL)
}

func (b *Mailbox) open(r *objects.Request) objects.Finished {
	if errno := b.mayOpen(r.Handle); errno != 0 {
		return r.Fail(errno)
	}
	FileOf(r.Handle).opener = r.Caller.Uid
	b.handles = append(b.handles, r.Handle)
	b.count(r.Handle, 1)
	return objects.One(r)
}

// close ends a handle: what it has begun is sent, what it has not received is not its
// any more.
func (b *Mailbox) close(now objects.Time, r *objects.Request) objects.Finished {
	var done objects.Finished
	h := r.Handle
	if i := slices.Index(b.handles, h); i >= 0 {
		b.handles = slices.Delete(b.handles, i, i+1)
		b.count(h, -1)
	}
	if !b.destroyed {
		if FileOf(h) != nil {
			b.endLease(now, h, &done)
			b.unsubscribe(now, h, &done)
			b.endBegun(now, h, r.Killed, &done)
		}
	}
	b.abolish(h)
	if FileOf(h) != nil && FileOf(h).wish != nil {
		FileOf(h).wish.handle = nil
	}
	if !b.destroyed {
		b.pump(now, &done)
	}
	unref(h)
	*h = objects.Handle{}
	done.Add(r)
	return done
}

func (b *Mailbox) count(h *objects.Handle, by int64) {
	if h.Reads && h.ReadOp != objects.Receipt {
		b.openReceivers += by
	}
	if h.Writes && h.WriteOp != objects.Settle {
		b.openSenders += by
	}
}

// flush discards what is held. The messages of parked senders were not sent yet:
// they are admitted now, in order.
func (b *Mailbox) flush(now objects.Time, r *objects.Request) objects.Finished {
	var done objects.Finished
	if b.held.ages != nil {
		b.held.ages = byAge() // all at once, not one by one
	}
	b.held.index = nil
	b.dropAll(now, &b.held, &done)
	b.changed = now
	done.Add(r)
	b.pump(now, &done)
	return done
}

// Cancel implements Object. A send of several messages, or to several receivers, of
// which some have been sent, succeeds.
func (b *Mailbox) Cancel(now objects.Time, r *objects.Request, cause syscall.Errno) objects.Finished {
	var done objects.Finished
	switch {
	case r.Queue() == nil:
		return done
	case r.Queue() != &b.senders.Queue && r.Queue() != &b.beginners:
		b.unpark(r)
		return r.Fail(cause)
	case of(r).message != nil && of(r).message.share != nil && of(r).message.Seq != 0:
		m := of(r).message
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
func (b *Mailbox) Return(now objects.Time, r *objects.Request) objects.Finished {
	done := b.takeBack(now, r)
	b.relax(now, &done)
	return done
}

func (b *Mailbox) takeBack(now objects.Time, r *objects.Request) objects.Finished {
	var done objects.Finished
	if !of(r).consumed || b.destroyed {
		return done
	}
	m, h := of(r).message, r.Handle
	of(r).consumed = false
	if int64(len(r.Data)) < of(r).shown.Size() && (reading(h) != of(r).shown || h.Delivered() > len(r.Data)) ||
		m.memory() != nil && FileOf(h).memory != m.memory() {
		return done // somebody who shares the handle has read on
	}
	h.Forget(of(r).shown)
	b.book(h)
	if m.memory() != nil {
		FileOf(h).memory = nil
		defer m.memory().Unref()
	}
	switch {
	case r.Op == objects.Lease:
		if FileOf(h).leased != m {
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
func (b *Mailbox) Destroy(now objects.Time) objects.Finished {
	var done objects.Finished
	b.destroyed, b.nextExpiry, b.nextLeaseEnd = true, 0, 0
	b.senders.reorder()
	b.held.ages, b.held.index = nil, nil // for what is going, all of it
	for _, l := range []*messageList{&b.held, &b.dead} {
		for m := l.pop(); m != nil; m = l.pop() {
			b.unsend(m)
		}
	}
	b.shared, b.leases = 0, nil
	for _, h := range b.handles {
		for _, m := range []*Message{FileOf(h).begun, FileOf(h).leased} {
			if m != nil {
				b.unsend(m)
			}
		}
		b.abolish(h)
		f := FileOf(h)
		*f = File{Filter: f.Filter, Envelopes: f.Envelopes, opener: f.opener, rare: &rare{memory: f.memory}}
	}
	b.receivers.drain(&done, syscall.EIDRM)
	b.peekers.drain(&done, syscall.EIDRM)
	b.awaiting.Drain(&done, syscall.EIDRM)
	b.unrendered.Drain(&done, syscall.EIDRM)
	for _, q := range []*objects.Queue{&b.senders.Queue, &b.beginners} {
		for s := q.First(); s != nil; s = q.First() {
			if of(s).message != nil {
				b.unsend(of(s).message)
				of(s).message, of(s).begun = nil, 0
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
	case b.held.n+b.dead.n+int64(b.senders.Len()) > 0:
		return syscall.ENOTEMPTY
	}
	return 0
}

// Ready implements Object. A write is ready when a message of any permitted length
// would be taken at once.
func (b *Mailbox) Ready(h *objects.Handle) objects.Events {
	if b.destroyed {
		return objects.In | objects.Out | objects.Err | objects.Hup
	}
	var e objects.Events
	switch {
	case !h.Reads:
	case h.ReadOp == objects.Receipt:
		if h.Readable() || !FileOf(h).pending {
			e |= objects.In
		}
	case h.Readable(), h.ReadOp == objects.Lease && mayLease(h) != 0, b.nextFor(h) != nil:
		e |= objects.In
	}
	if h.Reads && (FileOf(h).Filter == nil || FileOf(h).Filter.urgent()) && h.ReadOp != objects.Receipt && b.held.outOfBand() {
		e |= objects.Pri
	}
	if h.Writes && (h.WriteOp == objects.Settle || b.writable(h)) {
		e |= objects.Out
	}
	return e
}

// Held implements Object.
func (b *Mailbox) Held() objects.Held {
	return objects.Held{Messages: b.held.n, Bytes: b.held.bytes + b.held.memory, Changed: b.changed, Taken: b.taken}
}

// counters are what the file stat shows.
var counters = objects.Counters[*Mailbox]{
	{Name: "messages", Gauge: true, Help: "Messages held.", Value: func(b *Mailbox) int64 { return b.held.n }},
	{Name: "bytes", Gauge: true, Help: "Bytes held.", Value: func(b *Mailbox) int64 { return b.held.bytes + b.held.memory }},
	{Name: "sent", Flow: objects.Inward, Help: "Messages that were sent.", Value: func(b *Mailbox) int64 { return b.sent }},
	{Name: "received", Flow: objects.Outward, Help: "Messages that were received.", Value: func(b *Mailbox) int64 { return b.received }},
	{Name: "dropped", Help: "Messages that were dropped.", Value: func(b *Mailbox) int64 { return b.dropped }},
	{Name: "expired", Help: "Messages that expired.", Value: func(b *Mailbox) int64 { return b.expired }},
	{Name: "redelivered", Help: "Messages that returned from a lease.", Value: func(b *Mailbox) int64 { return b.redelivered }},
	{Name: "leased", Gauge: true, Help: "Messages on lease.", Value: func(b *Mailbox) int64 { return b.in[leased] + b.dead.n }},
	{Name: "senders_waiting", Gauge: true, Help: "Sends that wait.", Value: func(b *Mailbox) int64 { return int64(b.senders.Len() + b.beginners.Len()) }},
	{Name: "receivers_waiting", Gauge: true, Help: "Receives and peeks that wait.", Value: func(b *Mailbox) int64 { return int64(b.receivers.Len() + b.peekers.Len()) }},
	{Name: "open_senders", Gauge: true, Help: "Files open for sending.", Value: func(b *Mailbox) int64 { return b.openSenders }},
	{Name: "open_receivers", Gauge: true, Help: "Files open for receiving.", Value: func(b *Mailbox) int64 { return b.openReceivers }},
}

// Stat implements Object.
func (b *Mailbox) Stat() []objects.Counter { return counters.Stat(b) }

// Waiters implements Object.
func (b *Mailbox) Waiters() iter.Seq[*objects.Request] {
	return func(yield func(*objects.Request) bool) {
		for _, q := range []*objects.Queue{&b.senders.Queue, &b.beginners, &b.receivers.Queue, &b.peekers.Queue, &b.awaiting, &b.unrendered} {
			for r := range q.All() {
				if r.Handle != nil && !yield(r) {
					return
				}
			}
		}
	}
}
