package mailbox

import (
	"ipcfs/objects"
)

// retire ends m, which no place has any more. It is the only place where a message is
// refunded, counted as what became of it, and where that is added to its receipt.
func (b *Mailbox) retire(now objects.Time, m *Message, fate Fate, by objects.Caller, done *objects.Finished) {
	b.enter(m, retired)
	m.refund(b.ledger)
	switch fate {
	case shared:
		b.completeReceipt(m, done)
	case withdrawn:
	default:
		b.recordFate(now, m, fate, by, done)
	}
}

// unsend retires m, which was never sent or goes with its mailbox: nobody is told.
func (b *Mailbox) unsend(m *Message) { b.retire(0, m, withdrawn, objects.Caller{}, nil) }

// recordFate counts what became of m, and adds it to the receipt. A broadcast message has a
// fate for each subscriber.
func (b *Mailbox) recordFate(now objects.Time, m *Message, fate Fate, by objects.Caller, done *objects.Finished) {
	switch fate {
	case Received, Moved:
		b.received++
	case Dropped:
		b.dropped++
	case Expired:
		b.expired++
	}
	b.addToReceipt(now, m, fate, by, done)
}

// revive undoes that m was received.
func (b *Mailbox) revive(m *Message) {
	b.enter(m, fresh)
	b.received--
	b.resetReceipt(m)
}

// drop counts m, which was sent and is not held, as dropped.
func (b *Mailbox) drop(now objects.Time, m *Message, done *objects.Finished) {
	b.retire(now, m, Dropped, objects.Caller{}, done)
}
