package mailbox

import (
	"slices"

	"ipcfs/objects"
)

// An Envelope is a message as a driver renders it: plain values that do not change, whatever
// becomes of the message meanwhile.
type Envelope struct {
	Seq        uint64
	Priority   uint8
	Urgent     bool
	Topic      string
	Sent       objects.Time
	Sender     objects.Caller
	Writer     *objects.Caller // as Message.Writer
	Deliveries uint32
	Size       int64  // bytes
	Data       []byte // nil if it is a segment of more than envelopeData
}

// envelopeData is the longest segment, in bytes, that an envelope has the bytes of. They are
// copied while the mailbox is locked.
const envelopeData = 1 << 20

// envelope is m as a plain value. Its Data are those of m, which do not change any more.
func (m *Message) envelope() *Envelope {
	m.own()
	e := &Envelope{
		Seq: m.Seq, Priority: m.Priority, Urgent: m.Urgent, Topic: m.Topic,
		Sent: m.Sent, Sender: m.Sender, Writer: m.Writer(), Deliveries: m.Deliveries,
		Size: m.Size(), Data: m.Data,
	}
	if m.memory() != nil && e.Size <= envelopeData {
		e.Data, _ = m.Part(0, int(e.Size)) // EIDRM: as of one that is too long
	}
	return e
}

// An Outcome is a line of a receipt: what became of a message, by whose doing, and when.
type Outcome struct {
	Fate Fate
	By   objects.Caller
	At   objects.Time
}

// outcomeSize is the memory of an Outcome in bytes.
const outcomeSize = 24

// A rendering is what the driver makes a text of, for a read that has come to an open file.
type rendering struct {
	request  *objects.Request
	message  *Message  // that it shows; nil: a receipt
	outcomes []Outcome // of a receipt
}

// render finishes r with m, or with those outcomes, for the driver to make a text of.
func render(r *objects.Request, x *rendering) {
	x.request = r
	of(r).rendering, more(r.Handle).rendering = x, x
	if x.message == nil {
		r.Unrendered = x.outcomes
		return
	}
	r.Unrendered = x.message.envelope()
	r.Handle.Begin(r, x.message)
}

// waitForText parks the read r while a text is made of what its handle is reading. It reports
// false if none is. A read that does not block waits as well: it is not the mailbox that it
// waits for.
func (b *Mailbox) waitForText(now objects.Time, r *objects.Request) bool {
	if FileOf(r.Handle).rendering == nil {
		return false
	}
	b.unrendered.Push(now, r)
	return true
}

// Rendered implements objects.Renderer. The rest of the text is for the reads to come. If what
// is shown has been taken from the file meanwhile, there is no rest: it was closed, its lease
// has ended, or another read of it has got a message in the same moment.
func (b *Mailbox) Rendered(now objects.Time, r *objects.Request, text []byte) objects.Finished {
	done := b.rendered(now, r, text)
	b.relax(now, &done)
	return done
}

func (b *Mailbox) rendered(now objects.Time, r *objects.Request, text []byte) objects.Finished {
	h := r.Handle
	f := FileOf(h)
	x := of(r).rendering
	current := x != nil && f.rendering == x && slices.Contains(b.handles, h)
	if x != nil && f.rendering == x {
		f.rendering = nil
	}
	shown := &Message{Data: text}
	of(r).shown = shown
	r.Unrendered = nil
	var done objects.Finished
	switch {
	case !current, x.message != nil && reading(h) != x.message:
		r.Data = text[:min(r.Size, len(text))]
		done.Add(r)
		return done
	case f.pinnedAs != nil && f.pinnedAs == x.message:
		f.pinnedAs = shown
	}
	h.Start(r, shown)
	switch r.Op {
	case objects.Receipt:
		done.Add(r)
	case objects.Peek:
		if errno := b.charge(h); errno != 0 {
			r.Data, r.Errno = nil, errno
			h.Unread()
		}
		done.Add(r)
	default:
		if r.Op == objects.Receive && f.pinned == nil {
			b.retain(h, x.message)
		}
		b.answer(r, &done)
	}
	b.book(h)
	for p := b.unrendered.First(); p != nil && h.Waiting() > 0; {
		next := p.Next()
		if p.Handle == h {
			b.unrendered.Remove(p)
			done.Append(b.submit(now, p))
		}
		p = next
	}
	return done
}
