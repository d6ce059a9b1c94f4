package objects

import "syscall"

// A Fate is what became of a message.
type Fate uint8

const (
	Received Fate = iota
	Dropped
	Expired
	Moved // to another mailbox

	// The rest are in no receipt.
	shared    // by all subscribers; each of them was recorded
	withdrawn // before it was sent, or gone with the mailbox
)

var fateNames = [...]string{Received: "received", Dropped: "dropped", Expired: "expired", Moved: "moved"}

// String is the word that a receipt begins with.
func (f Fate) String() string { return fateNames[f] }

// expectReceipt begins the receipt of m, which is sent. It takes the place of the one
// before.
func (b *Mailbox) expectReceipt(m *Message) {
	if m.wants() != nil {
		s := m.wants().ensureState()
		s.last, s.pending, s.receipt = m.extra, true, nil
		b.book(m.wants())
	}
}

// addToReceipt adds to the receipt of m what has become of it, and by whose doing.
func (b *Mailbox) addToReceipt(now Time, m *Message, fate Fate, by Caller, done *Finished) {
	if h := m.wants(); h != nil && h.state().last == m.extra && h.mailbox.pending {
		h.mailbox.receipt = append(h.mailbox.receipt, h.mailbox.receipts(fate, by, now)...)
		b.book(h)
		b.completeReceipt(m, done)
	}
}

// completeReceipt completes the receipt of m when no subscriber is to receive it any more,
// and answers who waits for it.
func (b *Mailbox) completeReceipt(m *Message, done *Finished) {
	h := m.wants()
	if h == nil || h.state().last != m.extra || !h.mailbox.pending || m.share != nil && m.share.owed > 0 {
		return
	}
	h.mailbox.pending = false
	for r := b.awaiting.first; r != nil && h.waiting > 0; {
		next := r.next
		if r.Handle == h {
			b.awaiting.remove(r)
			b.tell(r)
			done.add(r)
		}
		r = next
	}
}

// resetReceipt empties the receipt of m, which was not received after all, unless it has
// been read.
func (b *Mailbox) resetReceipt(m *Message) {
	if h := m.wants(); h != nil && h.state().last == m.extra {
		h.mailbox.pending, h.mailbox.receipt = true, nil
		b.book(h)
	}
}

// receiptFor answers the read r, or makes it wait, with the receipt of what was sent last
// through its handle. After that, or if nothing was sent, comes the end of file.
func (b *Mailbox) receiptFor(now Time, r *Request) Finished {
	switch h := r.Handle; {
	case b.resume(r):
	case !h.state().pending:
		b.tell(r)
	case r.Nonblock: // read(2): EAGAIN
		return failed(r, syscall.EAGAIN)
	default:
		b.awaiting.push(now, r)
		return Finished{}
	}
	return one(r)
}

// tell answers r with the receipt that its handle has.
func (b *Mailbox) tell(r *Request) {
	h := r.Handle
	s := h.state()
	if s.receipt == nil {
		r.Data = nil
		return
	}
	h.startReading(r, &Message{Data: s.receipt})
	s.last, s.receipt = nil, nil
	b.book(h)
}
