package mailbox

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"ipcfs/objects"
	"ipcfs/objects/segment"
)

// inlineData is the longest message, in bytes, that is kept within its Message:
// one allocation instead of two.
const inlineData = 64

// A Message is what one Send put into a mailbox.
type Message struct {
	objects.Links[Message]

	Data   []byte // empty if it is a segment that was sent whole
	Seq    uint64 // 1 for the mailbox's first message
	Sender objects.Caller

	// Deliveries is how many leases of it have ended without an acknowledgement.
	Deliveries uint32

	Sent objects.Time

	// What its endpoint labelled it with.
	Topic    string // "" if it has none
	Priority uint8
	Urgent   bool

	borrowed bool // Data belongs to the driver
	peeked   bool // a handle may read on in a copy of it
	carried  bool // it came from another mailbox
	state    state
	rank     uint8       // in the list that it is in
	booked   uint32      // the bytes that are booked in the ledger, and 1; 0 if it is not
	age      int32       // its place in the list's ages, counted from 1; 0: it has none
	lanes    *lanePlaces // where an index has it; nil: nowhere
	share    *share      // nil unless it was broadcast
	extra    *extra      // what few messages have, nil if this one has nothing of it
	inline   [inlineData]byte
}

// extra is what few messages have.
type extra struct {
	memory *segment.Body   // of a segment that was sent whole
	wish   *wish           // whoever wants a receipt of it
	pins   int             // open files that keep it at its sender's expense
	over   bool            // and nobody else does
	writer *objects.Caller // who wrote it for its sender, nil if that was the sender
}

func (m *Message) memory() *segment.Body {
	if m.extra == nil {
		return nil
	}
	return m.extra.memory
}

// A wish is for receipts. It is all of an open file that its messages keep.
type wish struct{ handle *objects.Handle } // nil: it was closed

func (m *Message) wants() *objects.Handle {
	if m.extra == nil || m.extra.wish == nil {
		return nil
	}
	return m.extra.wish.handle
}

// Writer is who wrote m through a descriptor that its sender had opened, nil if the
// sender's user did.
func (m *Message) Writer() *objects.Caller {
	if m.extra == nil {
		return nil
	}
	return m.extra.writer
}

// writtenBy notes whose request r has written m, or has gone on with it.
func (m *Message) writtenBy(r *objects.Request) {
	if r.Deputy == nil {
		return
	}
	if m.extra == nil {
		m.extra = new(extra)
	}
	m.extra.writer = r.Deputy
}

// forgo ends m's claim to a receipt.
func (m *Message) forgo() {
	switch {
	case m.extra == nil:
	case *m.extra == (extra{wish: m.extra.wish}):
		m.extra = nil
	default:
		m.extra.wish = nil
	}
}

// Keep implements Body: as own.
func (m *Message) Keep() { m.own() }

// own copies borrowed data, so that the message may outlive the call.
func (m *Message) own() {
	if !m.borrowed {
		return
	}
	m.borrowed = false
	if len(m.Data) <= inlineData {
		m.Data = m.inline[:copy(m.inline[:], m.Data)]
		return
	}
	m.Data = append(make([]byte, 0, len(m.Data)), m.Data...)
}

// A messageList is a queue of messages in the order in which they are to be received:
// by rank, the highest first, and within one rank first come, first served. Where all
// have rank 0, as they have unless a label says otherwise, it is a plain list.
type messageList struct {
	objects.List[Message, *Message]
	n      int64
	bytes  int64  // of their Data
	memory int64  // bytes of those that are memory
	ranks  *ranks // nil as long as there has been none but 0

	// numbers finds messages by their Seq. It is nil unless somebody has asked since
	// the list was last empty.
	numbers map[uint64]*Message

	// unnumbered is the first message that numbers may not have yet, nil if it has all.
	unnumbered *Message

	// ages has the messages in the order in which they expire. It is nil unless the
	// mailbox has had a time to live.
	ages *deadlines[*Message]

	// index finds messages by selector. It is nil unless somebody has selected far from
	// the first since the list was last empty.
	index *messageIndex
}

// ranks says where each rank above 0 ends.
type ranks struct {
	used uint64 // a bit for each that has messages
	ends [outOfBand + 1]*Message
}

// above returns the last message that ranks higher than rank, nil if there is none.
func (l *messageList) above(rank uint8) *Message {
	if l.ranks == nil {
		return nil
	}
	if higher := l.ranks.used >> (rank + 1); higher != 0 {
		return l.ranks.ends[int(rank)+1+bits.TrailingZeros64(higher)]
	}
	return nil
}

// push adds m behind those of its rank.
func (l *messageList) push(m *Message, rank uint8) {
	m.rank = rank
	if rank == 0 {
		l.insert(m, l.Last())
		return
	}
	if l.ranks == nil {
		l.ranks = new(ranks)
	}
	if l.ranks.used&(1<<rank) != 0 {
		l.insert(m, l.ranks.ends[rank])
	} else {
		l.insert(m, l.above(rank))
	}
	l.ranks.used |= 1 << rank
	l.ranks.ends[rank] = m
}

// putBack adds m, which was in l before, where its number belongs among those of its
// rank. That is at the head, or close to it.
func (l *messageList) putBack(m *Message, rank uint8) {
	at := l.above(rank)
	next := l.First()
	if at != nil {
		next = at.Next()
	}
	for next != nil && next.rank == rank && next.Seq < m.Seq {
		at, next = next, next.Next()
	}
	if next == nil || next.rank < rank {
		l.push(m, rank)
		return
	}
	m.rank = rank
	l.insert(m, at)
}

// insert adds m after the message at, or as the first if that is nil.
func (l *messageList) insert(m, at *Message) {
	l.List.Insert(m, at)
	l.n++
	l.bytes += int64(len(m.Data))
	l.memory += m.memory().Length()
	if l.numbers != nil {
		l.numbers[m.Seq] = m
	}
	if l.ages != nil {
		l.ages.add(m.Sent, m)
	}
	if l.index != nil {
		l.index.insert(m)
	}
}

func (l *messageList) remove(m *Message) {
	if l.unnumbered == m {
		l.unnumbered = m.Next()
	}
	if m.rank > 0 && l.ranks.ends[m.rank] == m {
		l.ranks.ends[m.rank] = nil
		if m.Prev() != nil && m.Prev().rank == m.rank {
			l.ranks.ends[m.rank] = m.Prev()
		} else {
			l.ranks.used &^= 1 << m.rank
		}
	}
	l.List.Remove(m)
	l.n--
	l.bytes -= int64(len(m.Data))
	l.memory -= m.memory().Length()
	if l.ages != nil && l.ages.len() > 0 {
		l.ages.remove(m)
	}
	if l.numbers != nil {
		delete(l.numbers, m.Seq)
		if l.n == 0 {
			l.numbers = nil
		}
	}
	if l.index != nil {
		l.index.remove(m)
		if l.n == 0 {
			l.index = nil
		}
	}
}

// age makes ages, which is kept up from then on.
func (l *messageList) age() {
	if l.ages != nil {
		return
	}
	l.ages = byAge()
	for m := l.First(); m != nil; m = m.Next() {
		l.ages.add(m.Sent, m)
	}
}

// numbered returns the message of that Seq, nil if it is not in l.
func (l *messageList) numbered(seq uint64) *Message {
	l.number(math.MaxInt64)
	return l.numbers[seq]
}

// number adds up to n messages to numbers, and reports whether it has all.
func (l *messageList) number(n int64) bool {
	if l.numbers == nil && l.First() != nil {
		l.numbers = make(map[uint64]*Message, min(n, l.n))
		l.unnumbered = l.First()
	}
	for ; n > 0 && l.unnumbered != nil; n-- {
		l.numbers[l.unnumbered.Seq] = l.unnumbered
		l.unnumbered = l.unnumbered.Next()
	}
	return l.unnumbered == nil
}

// seqBits is how many bits of a place are a Seq, which no mailbox exhausts.
const seqBits = 56

// place orders the messages of a list: the highest rank comes first.
func (m *Message) place() uint64 { return uint64(outOfBand-m.rank)<<seqBits | m.Seq }

// after returns the first message behind that place, nil if there is none. It is quick if
// the message of that place is there, or all before it have gone.
func (l *messageList) after(place uint64) *Message {
	if place == 0 {
		return l.First()
	}
	if m := l.numbered(place & (1<<seqBits - 1)); m != nil && m.place() == place {
		return m.Next()
	}
	m := l.First()
	if last := l.above(uint8(outOfBand - place>>seqBits)); last != nil {
		m = last.Next()
	}
	for m != nil && m.place() <= place {
		m = m.Next()
	}
	return m
}

// pop takes the first message, nil if there is none.
func (l *messageList) pop() *Message {
	m := l.First()
	if m != nil {
		l.remove(m)
	}
	return m
}

// outOfBand reports whether an urgent message is in l.
func (l *messageList) outOfBand() bool { return l.First() != nil && l.First().Urgent }

// oldest returns the oldest message of the lowest rank, which is what goes first to
// make room. Urgent messages do not.
func (l *messageList) oldest() *Message {
	return l.oldestOf(l.Last())
}

// oldestOf returns the first message of the rank of last, which is the last one of that rank
// and may be nil. It returns nil for urgent messages.
func (l *messageList) oldestOf(last *Message) *Message {
	switch {
	case last == nil || last.Urgent:
		return nil
	case l.above(last.rank) == nil:
		return l.First()
	}
	return l.above(last.rank).Next()
}

// oldestAfter returns what goes after m to make room, nil if nothing does.
func (l *messageList) oldestAfter(m *Message) *Message {
	if m.Next() != nil && m.Next().rank == m.rank {
		return m.Next()
	}
	return l.oldestOf(l.above(m.rank))
}

// reorder gives each message the rank it has under o.
func (l *messageList) reorder(o Order) {
	var all []*Message
	ages := l.ages // in which nothing changes
	l.ages = nil
	for m := l.pop(); m != nil; m = l.pop() {
		all = append(all, m)
	}
	if o == FIFO {
		slices.SortStableFunc(all, func(a, b *Message) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	for _, m := range all {
		l.push(m, o.rank(m))
	}
	l.ages = ages
}
