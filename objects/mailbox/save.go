package mailbox

import (
	"reflect"
	"syscall"

	"ipcfs/objects"
	"ipcfs/objects/segment"
)

// version is that of Snapshot.
const version = 1

// A Snapshot is the state of a mailbox, as a part of that of an object. Messages are found from
// several places, so they have a list of their own, as have the things that messages share.
type Snapshot struct {
	_ struct{} `cbor:",toarray"`

	Capacity, CapacityBytes, MaxMessage int64
	Overflow                            objects.Overflow
	Order                               Order
	Receiving                           Receivers
	Framing                             Framing
	TTL, LeaseTime                      objects.Time
	MaxDeliveries                       int64
	DeadLetters                         string

	Messages []savedMessage
	Extras   []savedExtra
	Shares   []savedShare
	Wishes   []objects.Saved // the open files
	Bodies   []segment.BodySnapshot

	Held, Dead               []objects.Saved // messages
	NextExpiry, NextLeaseEnd objects.Time
	Shared                   int64
	In                       []int64
	Pinned, PinnedBytes      int64
	Unpinned                 bool

	Senders, Beginners, Receivers, Peekers, Awaiting, Unrendered, Finished []savedRequest

	Open      []objects.Saved // files, in the order of their opening
	Files     []savedFile
	Destroyed bool
	Seq       uint64

	Changed, Taken                                objects.Time
	Sent, Received, Dropped, Expired, Redelivered int64
	OpenSenders, OpenReceivers                    int64
}

type savedMessage struct {
	_                       struct{} `cbor:",toarray"`
	Data                    []byte
	Seq                     uint64
	Sender                  objects.Caller
	Deliveries              uint32
	Sent                    objects.Time
	Topic                   string
	Priority                uint8
	Urgent, Peeked, Carried bool
	State                   state
	Booked                  uint32
	Share, Extra            objects.Saved
}

type savedExtra struct {
	_          struct{} `cbor:",toarray"`
	Body, Wish objects.Saved
	Pins       int
	Over       bool
	Writer     *objects.Caller
}

type savedShare struct {
	_          struct{} `cbor:",toarray"`
	Owed, Got  int
	Held, Gone bool
	Offer      objects.Saved // a request
}

type savedRequest struct {
	_        struct{} `cbor:",toarray"`
	Request  objects.Saved
	Orphan   *objects.Caller // whose request it is, if its file was closed: the driver does not know it
	Since    objects.Time    // of an orphan
	Message  objects.Saved
	Shown    objects.Saved
	Consumed bool
	Framing  Framing
	Begun    uint32
	Rest     []byte
	Units    int64
}

type savedFile struct {
	_                     struct{} `cbor:",toarray"`
	Handle                objects.Saved
	Filter                *Selector
	Envelopes, Receipts   bool
	Opener                uint32
	Booked                int64
	Begun                 objects.Saved
	Spoiled               uint32
	Inbox                 []objects.Saved
	InboxAt, Entries      int // where Inbox begins in the memory for it, and how long that is
	Last                  objects.Saved
	Pending               bool
	Receipt               []Outcome
	ReceiptRoom           int
	Wish                  objects.Saved
	Rendering             *savedRendering
	Leased                objects.Saved
	Ends                  objects.Time
	Late, Torn, Abandoned bool
	Pinned, PinnedAs      objects.Saved
	Body                  objects.Saved
	Reading               objects.SavedReading
	Reads                 objects.Saved // a message
}

type savedRendering struct {
	_        struct{} `cbor:",toarray"`
	Request  objects.Saved
	Message  objects.Saved
	Outcomes []Outcome
	Room     int
}

// A saving writes a mailbox down.
type saving struct {
	Snapshot
	state    *objects.State
	messages []*Message
	placed   map[*Message]objects.Saved
	extras   []*extra
	shares   []*share
	wishes   []*wish
	bodies   []*segment.Body
}

// Save implements objects.Saver.
func (b *Mailbox) Save(handles []*objects.Handle, finished []*objects.Request) objects.State {
	s := objects.State{Handles: handles, Requests: finished}
	s.Encode(version, b.Snapshot(&s, handles, finished))
	return s
}

// Snapshot is the state of b, of those open files of it and of those requests that it has
// finished. The lists of state have what it shares with the driver.
func (b *Mailbox) Snapshot(state *objects.State, handles []*objects.Handle, finished []*objects.Request) Snapshot {
	s := &saving{state: state, placed: make(map[*Message]objects.Saved), Snapshot: Snapshot{
		Capacity: b.capacity, CapacityBytes: b.capacityBytes, MaxMessage: b.maxMessage,
		Overflow: b.overflow, Order: b.order, Receiving: b.receiving, Framing: b.framing,
		TTL: b.ttl, LeaseTime: b.leaseTime, MaxDeliveries: b.maxDeliveries, DeadLetters: b.deadLetters,
		NextExpiry: b.nextExpiry, NextLeaseEnd: b.nextLeaseEnd, Shared: b.shared, In: b.in[:],
		Pinned: b.pinned.n, PinnedBytes: b.pinned.bytes, Unpinned: b.unpinned,
		Destroyed: b.destroyed, Seq: b.seq, Changed: b.changed, Taken: b.taken,
		Sent: b.sent, Received: b.received, Dropped: b.dropped, Expired: b.expired, Redelivered: b.redelivered,
		OpenSenders: b.openSenders, OpenReceivers: b.openReceivers,
	}}
	for m := b.held.First(); m != nil; m = m.Next() {
		s.Held = append(s.Held, s.message(m))
	}
	for m := b.dead.First(); m != nil; m = m.Next() {
		s.Dead = append(s.Dead, s.message(m))
	}
	s.Senders, s.Beginners = s.queue(&b.senders.Queue), s.queue(&b.beginners)
	s.Receivers, s.Peekers = s.queue(&b.receivers.Queue), s.queue(&b.peekers.Queue)
	s.Awaiting, s.Unrendered = s.queue(&b.awaiting), s.queue(&b.unrendered)
	for _, r := range finished {
		s.Finished = append(s.Finished, s.request(r))
	}
	for _, h := range b.handles {
		s.Open = append(s.Open, objects.Place(&state.Handles, h))
	}
	for _, h := range handles {
		s.Files = append(s.Files, s.file(h))
	}
	for i := 0; i < len(s.messages); i++ { // which grow no more
		s.Messages = append(s.Messages, s.saved(s.messages[i]))
	}
	for i := 0; i < len(s.extras); i++ {
		x := s.extras[i]
		s.Extras = append(s.Extras, savedExtra{Body: objects.Place(&s.bodies, x.memory), Wish: objects.Place(&s.wishes, x.wish), Pins: x.pins, Over: x.over, Writer: x.writer})
	}
	for _, x := range s.shares {
		s.Shares = append(s.Shares, savedShare{Owed: x.owed, Got: x.got, Held: x.held, Gone: x.gone, Offer: objects.Place(&state.Requests, x.offer)})
	}
	for _, w := range s.wishes {
		s.Wishes = append(s.Wishes, objects.Place(&state.Handles, w.handle))
	}
	for _, p := range s.bodies {
		s.Bodies = append(s.Bodies, p.Snapshot(state))
	}
	return s.Snapshot
}

// message is the reference to m.
func (s *saving) message(m *Message) objects.Saved {
	if m == nil {
		return 0
	}
	p := s.placed[m]
	if p == 0 {
		s.messages = append(s.messages, m)
		p = objects.Saved(len(s.messages))
		s.placed[m] = p
	}
	return p
}

func (s *saving) saved(m *Message) savedMessage {
	return savedMessage{
		Data: m.Data, Seq: m.Seq, Sender: m.Sender, Deliveries: m.Deliveries, Sent: m.Sent,
		Topic: m.Topic, Priority: m.Priority, Urgent: m.Urgent, Peeked: m.peeked, Carried: m.carried,
		State: m.state, Booked: m.booked,
		Share: objects.Place(&s.shares, m.share), Extra: objects.Place(&s.extras, m.extra),
	}
}

func (s *saving) queue(q *objects.Queue) (all []savedRequest) {
	for r := range q.All() {
		all = append(all, s.request(r))
	}
	return all
}

func (s *saving) request(r *objects.Request) savedRequest {
	p := of(r)
	x := savedRequest{
		Message: s.message(p.message), Shown: s.message(p.shown), Consumed: p.consumed, Framing: p.framing, Begun: p.begun,
		Rest: p.rest, Units: p.units,
	}
	if r.Handle == nil {
		x.Orphan, x.Since = &r.Caller, r.Since
	} else {
		x.Request = objects.Place(&s.state.Requests, r)
	}
	return x
}

func (s *saving) file(h *objects.Handle) savedFile {
	f := FileOf(h)
	x := savedFile{
		Handle: objects.Place(&s.state.Handles, h), Filter: f.Filter, Envelopes: f.Envelopes, Receipts: f.Receipts,
		Opener: f.opener, Booked: f.booked, Begun: s.message(f.begun), Spoiled: uint32(f.spoiled),
		InboxAt: cap(f.entries) - cap(f.inbox), Entries: cap(f.entries),
		Last: objects.Place(&s.extras, f.last), Pending: f.pending, Receipt: f.receipt, ReceiptRoom: cap(f.receipt),
		Wish: objects.Place(&s.wishes, f.wish), Leased: s.message(f.leased), Ends: f.ends,
		Late: f.late, Torn: f.torn, Abandoned: f.abandoned,
		Pinned: s.message(f.pinned), PinnedAs: s.message(f.pinnedAs), Body: objects.Place(&s.bodies, f.memory),
		Reads: s.message(reading(h)),
	}
	x.Reading, _ = h.SaveReading()
	for _, m := range f.inbox {
		x.Inbox = append(x.Inbox, s.message(m))
	}
	if r := f.rendering; r != nil {
		x.Rendering = &savedRendering{Request: objects.Place(&s.state.Requests, r.request), Message: s.message(r.message), Outcomes: r.outcomes, Room: cap(r.outcomes)}
	}
	return x
}

// load is Kind.Load.
func load(l objects.Ledger, state objects.State) (objects.Object, error) {
	var x Snapshot
	if err := state.Decode(version, &x); err != nil {
		return nil, err
	}
	return Restore(l, state, x), nil
}

// Restore makes the mailbox of which x is the Snapshot.
func Restore(l objects.Ledger, state objects.State, x Snapshot) *Mailbox {
	b := &Mailbox{
		ledger: l, capacity: x.Capacity, capacityBytes: x.CapacityBytes, maxMessage: x.MaxMessage,
		overflow: x.Overflow, order: x.Order, receiving: x.Receiving, framing: x.Framing,
		ttl: x.TTL, leaseTime: x.LeaseTime, maxDeliveries: x.MaxDeliveries, deadLetters: x.DeadLetters,
		nextExpiry: x.NextExpiry, shared: x.Shared, in: [states]int64(x.In), unpinned: x.Unpinned,
		destroyed: x.Destroyed, seq: x.Seq, changed: x.Changed, taken: x.Taken,
		sent: x.Sent, received: x.Received, dropped: x.Dropped, expired: x.Expired, redelivered: x.Redelivered,
		openSenders: x.OpenSenders, openReceivers: x.OpenReceivers,
	}
	b.pinned.n, b.pinned.bytes = x.Pinned, x.PinnedBytes
	r := &restoring{Snapshot: x, state: state}
	for _, p := range x.Bodies {
		r.bodies = append(r.bodies, segment.RestoreBody(l, state, p))
	}
	for _, h := range x.Wishes {
		r.wishes = append(r.wishes, &wish{objects.At(state.Handles, h)})
	}
	for _, s := range x.Shares {
		r.shares = append(r.shares, &share{owed: s.Owed, got: s.Got, held: s.Held, gone: s.Gone, offer: objects.At(state.Requests, s.Offer)})
	}
	for _, e := range x.Extras {
		r.extras = append(r.extras, &extra{memory: objects.At(r.bodies, e.Body), wish: objects.At(r.wishes, e.Wish), pins: e.Pins, over: e.Over, writer: e.Writer})
	}
	for _, m := range x.Messages {
		r.messages = append(r.messages, &Message{
			Data: m.Data, Seq: m.Seq, Sender: m.Sender, Deliveries: m.Deliveries, Sent: m.Sent,
			Topic: m.Topic, Priority: m.Priority, Urgent: m.Urgent, peeked: m.Peeked, carried: m.Carried,
			state: m.State, booked: m.Booked, share: objects.At(r.shares, m.Share), extra: objects.At(r.extras, m.Extra),
		})
	}
	for _, p := range x.Held {
		m := r.message(p)
		b.held.push(m, b.order.rank(m))
	}
	for _, p := range x.Dead {
		b.dead.push(r.message(p), 0)
	}
	if b.ttl != objects.Unbounded {
		b.held.age()
	}
	for _, s := range x.Finished {
		r.request(s)
	}
	for _, f := range x.Files {
		r.file(f)
	}
	for _, h := range x.Open {
		h := objects.At(state.Handles, h)
		if b.handles = append(b.handles, h); FileOf(h).leased != nil {
			b.timeLease(h)
		}
	}
	b.nextLeaseEnd = x.NextLeaseEnd
	for _, s := range x.Senders {
		q := r.request(s)
		b.senders.push(q.Since, q, b.order)
	}
	for _, s := range x.Receivers {
		q := r.request(s)
		b.receivers.push(q.Since, q)
	}
	for _, s := range x.Peekers {
		q := r.request(s)
		b.peekers.push(q.Since, q)
	}
	r.park(&b.beginners, x.Beginners)
	r.park(&b.awaiting, x.Awaiting)
	r.park(&b.unrendered, x.Unrendered)
	return b
}

// A restoring reads a mailbox back.
type restoring struct {
	Snapshot
	state    objects.State
	messages []*Message
	extras   []*extra
	shares   []*share
	wishes   []*wish
	bodies   []*segment.Body
}

func (r *restoring) message(p objects.Saved) *Message { return objects.At(r.messages, p) }

func (r *restoring) park(q *objects.Queue, all []savedRequest) {
	for _, s := range all {
		q.Park(r.request(s))
	}
}

// request is the request that s was, with what the mailbox keeps with it.
func (r *restoring) request(s savedRequest) *objects.Request {
	q := objects.At(r.state.Requests, s.Request)
	if s.Orphan != nil {
		q = &objects.Request{Op: objects.Send, Caller: *s.Orphan, Since: s.Since}
	}
	*of(q) = request{message: r.message(s.Message), shown: r.message(s.Shown), consumed: s.Consumed, framing: s.Framing, begun: s.Begun, rest: s.Rest, units: s.Units}
	return q
}

func (r *restoring) file(x savedFile) {
	h := objects.At(r.state.Handles, x.Handle)
	f := FileOf(h)
	*f = File{Filter: x.Filter, Envelopes: x.Envelopes, Receipts: x.Receipts, opener: x.Opener, booked: x.Booked, rare: &rare{
		begun: r.message(x.Begun), spoiled: syscall.Errno(x.Spoiled), last: objects.At(r.extras, x.Last), pending: x.Pending,
		receipt: withRoom(x.Receipt, x.ReceiptRoom), wish: objects.At(r.wishes, x.Wish),
		leased: r.message(x.Leased), ends: x.Ends, late: x.Late, torn: x.Torn, abandoned: x.Abandoned,
		pinned: r.message(x.Pinned), pinnedAs: r.message(x.PinnedAs), memory: objects.At(r.bodies, x.Body),
	}}
	if x.Entries > 0 {
		f.entries = make([]*Message, 0, x.Entries)
		f.inbox = f.entries[x.InboxAt:x.InboxAt]
	}
	for _, m := range x.Inbox {
		f.inbox = append(f.inbox, r.message(m))
	}
	if s := x.Rendering; s != nil {
		f.rendering = &rendering{request: objects.At(r.state.Requests, s.Request), message: r.message(s.Message), outcomes: withRoom(s.Outcomes, s.Room)}
		of(f.rendering.request).rendering = f.rendering
	}
	if reflect.ValueOf(*f.rare).IsZero() {
		f.rare = &nothing
	}
	var body objects.Body
	if m := r.message(x.Reads); m != nil {
		body = m
	}
	h.LoadReading(x.Reading, body)
}

// withRoom is l with room for n, which is booked; nil if there is none.
func withRoom[T any](l []T, n int) []T {
	if n == 0 {
		return nil
	}
	return append(make([]T, 0, n), l...)
}
