package mailbox

import (
	"syscall"

	"ipcfs/objects"
)

// compose makes the message that r sends, with data that it borrows.
func compose(r *objects.Request, data []byte) *Message {
	m := &Message{Data: data, Sender: r.Principal(), borrowed: true}
	if only := FileOf(r.Handle).Filter; only != nil {
		only.label(m)
	}
	if s := FileOf(r.Handle); s.Receipts {
		if s.wish == nil {
			more(r.Handle).wish = &wish{r.Handle}
		}
		m.extra = &extra{wish: s.wish}
	}
	m.writtenBy(r)
	return m
}

func (b *Mailbox) send(now objects.Time, r *objects.Request) objects.Finished {
	var done objects.Finished
	of(r).framing = b.framing
	switch {
	case b.Framed(r.Handle):
		of(r).rest = r.Data
		if errno := b.skip(r); errno != 0 {
			return r.Fail(errno)
		}
		b.advance(now, r, &done)
		b.admitBeginners(now, &done) // what r has ended makes room beside it
		return done
	case int64(len(r.Data)) > b.longest():
		// mq_send(3): EMSGSIZE, longer than mq_msgsize.
		return r.Fail(syscall.EMSGSIZE)
	default:
		of(r).message = compose(r, r.Data)
	}
	b.advance(now, r, &done)
	return done
}

// advance sends what the sender r has to send, message by message, until that is done
// or r has to wait: r parks then, or stays where it is parked.
func (b *Mailbox) advance(now objects.Time, r *objects.Request, done *objects.Finished) {
	for {
		if of(r).message == nil {
			if errno := b.next(now, r, done); errno != 0 || of(r).message == nil {
				if !r.Parked() || errno != 0 || len(of(r).rest) == 0 {
					b.end(r, errno, done)
				}
				return
			}
		}
		m := of(r).message
		d := b.admit(arrival{m: m, bytes: int64(len(m.Data)), ahead: !r.Parked() && !b.senders.Empty()})
		var errno syscall.Errno
		switch d.verdict {
		case wait:
			if r.Parked() {
				b.enter(m, offered)
				b.senders.offer(r, b.order)
			} else {
				b.park(now, r, done)
			}
			return
		case refuse:
			// mq_send(3): EAGAIN, full and O_NONBLOCK. Overflow fail is that for all.
			errno = syscall.EAGAIN
		default:
			errno = b.put(now, m, d, done)
		}
		switch {
		case errno != 0 && r.Handle == nil:
			b.storeOrphan(now, r, done)
			return
		case errno != 0:
			b.end(r, errno, done)
			return
		}
		b.passed(r)
	}
}

// passed notes that the message of r has been sent.
func (b *Mailbox) passed(r *objects.Request) {
	b.senders.withdraw(r)
	r.N += len(of(r).message.Data) - int(of(r).begun)
	of(r).message, of(r).begun = nil, 0
}

// end finishes the sender r: with errno, unless something was sent before.
func (b *Mailbox) end(r *objects.Request, errno syscall.Errno, done *objects.Finished) {
	if r.Queue() != nil {
		b.unpark(r)
	}
	spoils := b.spoils(r, errno)
	goesOn := spoils && leavesOff(r)
	b.withdraw(r)
	if spoils {
		b.spoil(r.Handle, errno, goesOn)
	}
	if r.N > 0 {
		errno = 0 // write(2): fewer bytes than asked for
	}
	r.Errno = errno
	if r.Handle != nil { // else it was closed, and nobody waits
		done.Add(r)
	}
}

// withdraw takes back what r has not sent yet.
func (b *Mailbox) withdraw(r *objects.Request) {
	if of(r).units > 0 {
		b.ledger.Adjust(r.Caller.Uid, objects.Cost{Bytes: -of(r).units})
	}
	of(r).units, of(r).rest = 0, nil
	m := of(r).message
	if m == nil {
		return
	}
	of(r).message = nil
	if m.share != nil {
		b.revoke(m)
	}
	if of(r).begun > 0 {
		b.unbegin(r, m)
		return
	}
	b.unsend(m)
}

// park makes the sender r wait, or fails it.
func (b *Mailbox) park(now objects.Time, r *objects.Request, done *objects.Finished) {
	// mq_send(3): EAGAIN, full and O_NONBLOCK.
	errno := syscall.EAGAIN
	if !r.Nonblock {
		if errno = of(r).message.charge(b.ledger); errno == 0 {
			errno = b.copyRest(r)
		}
	}
	if errno != 0 {
		b.end(r, errno, done)
		return
	}
	of(r).message.own()
	r.Data = nil
	b.enter(of(r).message, offered)
	b.senders.push(now, r, b.order)
	b.show(of(r).message, done)
	if b.senders.First() == r {
		b.offer(now, r, done)
	}
}

// accept makes m one that was sent.
func (b *Mailbox) accept(now objects.Time, m *Message) {
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
	b.expectReceipt(m)
}
