package mailbox

import (
	"syscall"

	"ipcfs/objects"
)

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
		s := more(m.wants())
		s.last, s.pending, s.receipt = m.extra, true, nil
		b.book(m.wants())
	}
}

// addToReceipt adds to the receipt of m what has become of it, and by whose doing.
func (b *Mailbox) addToReceipt(now objects.Time, m *Message, fate Fate, by objects.Caller, done *objects.Finished) {
	if h := m.wants(); h != nil && FileOf(h).last == m.extra && FileOf(h).pending {
		FileOf(h).receipt = append(FileOf(h).receipt, Outcome{Fate: fate, By: by, At: now})
		b.book(h)
		b.completeReceipt(m, done)
	}
}

// completeReceipt completes the receipt of m when no subscriber is to receive it any more,
// and answers who waits for it.
func (b *Mailbox) completeReceipt(m *Message, done *objects.Finished) {
	h := m.wants()
	if h == nil || FileOf(h).last != m.extra || !FileOf(h).pending || m.share != nil && m.share.owed > 0 {
		return
	}
	FileOf(h).pending = false
	for r := b.awaiting.First(); r != nil && h.Waiting() > 0; {
		next := r.Next()
		if r.Handle == h {
			b.awaiting.Remove(r)
			b.tell(r)
			done.Add(r)
		}
		r = next
	}
}

// resetReceipt empties the receipt of m, which was not received after all, unless it has
// been read.
func (b *Mailbox) resetReceipt(m *Message) {
	if h := m.wants(); h != nil && FileOf(h).last == m.extra {
		FileOf(h).pending, FileOf(h).receipt = true, nil
		b.book(h)
	}
}

// receiptFor answers the read r, or makes it wait, with the receipt of what was sent last
// through its handle. After that, or if nothing was sent, comes the end of file.
func (b *Mailbox) receiptFor(now objects.Time, r *objects.Request) objects.Finished {
	switch h := r.Handle; {
	case b.waitForText(now, r):
		return objects.Finished{}
	case b.resume(r):
	case !FileOf(h).pending:
		b.tell(r)
	case r.Nonblock: // read(2): EAGAIN
		return r.Fail(syscall.EAGAIN)
	default:
		b.awaiting.Push(now, r)
		return objects.Finished{}
	}
	return objects.One(r)
}

// tell answers r with the receipt that its handle has.
func (b *Mailbox) tell(r *objects.Request) {
	h := r.Handle
	f := FileOf(h)
	if f.receipt == nil {
		r.Data = nil
		return
	}
	unref(h)
	render(r, &rendering{outcomes: f.receipt})
	f.last, f.receipt = nil, nil
	b.book(h)
}
