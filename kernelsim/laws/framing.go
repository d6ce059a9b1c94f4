package laws

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// writing is what an open file has begun to send. What is written through it, one byte
// after the other, is cut into messages as the policy framing says: each write, each line,
// or all up to the close. A close sends the rest, unless a signal has ended who wrote it. A
// message that is too long, or cannot be booked, is spoiled: what belongs to it is refused.
type writing struct {
	handle *objects.Handle
	begun  string
	letter letter // what begun will be

	spoiled bool // what is written is of a message that has failed, up to its end
}

// spoiledPart is the first part of text if it belongs to a message that has failed, and whether that
// message ends there.
func (w *writing) spoiledPart(framing, text string) (piece string, ends bool) {
	if !w.spoiled || text == "" {
		return "", false
	}
	return cut(framing, text)
}

// leavesOff reports whether text stops in the middle of a message.
func leavesOff(framing, text string) bool {
	for text != "" {
		piece, ends := cut(framing, text)
		if !ends {
			return true
		}
		text = text[len(piece):]
	}
	return false
}

// spoils reports whether a send that fails with errno ends the message that it was to continue.
func spoils(errno syscall.Errno) bool {
	return errno == syscall.EMSGSIZE || errno == syscall.EDQUOT || errno == syscall.ENOSPC
}

func (l *mailboxLaws) writing(h *objects.Handle) *writing {
	for _, w := range l.writers {
		if w.handle == h {
			return w
		}
	}
	w := &writing{handle: h}
	l.writers = append(l.writers, w)
	return w
}

// An offer is a send that waits, or the message that a closed file has left to be sent.
type offer struct {
	request *objects.Request // nil if the file is closed
	text    string           // of the request
	framing string           // when it was submitted
	done    int              // bytes that were sent, or begun
	letter  *letter          // that comes next, once somebody has asked
	partly  bool             // some have it already

	shared  bool              // it may have been offered to all who were there
	readers []*objects.Handle // who were there from the start
}

// cut returns the first part of text that one message gets, and whether the message ends there.
func cut(framing, text string) (piece string, ends bool) {
	switch framing {
	case "line":
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			return text[:i+1], true
		}
		return text, false
	case "close":
		return text, false
	}
	return text, true
}

// next is the letter that o offers, nil if o waits before the beginning of one.
func (l *mailboxLaws) next(o *offer) *letter {
	if o.letter == nil {
		if piece, ends := cut(o.framing, o.text[o.done:]); ends {
			m := letterOf(o.request, l.writing(o.request.Handle).begun+piece)
			o.letter = &m
		}
	}
	return o.letter
}

// arrives follows the sends: those that wait, oldest first, then the one submitted.
func (x *account) arrives() error {
	for _, m := range x.coming {
		n := *m
		n.seq, n.gone, n.share, n.deliveries = 0, false, nil, 0
		x.enter(&n, &offer{})
		x.fresh = append(x.fresh, &n)
	}
	x.coming = nil
	for _, o := range x.line {
		if o.request != nil {
			if err := x.progress(o); err != nil {
				return err
			}
		}
	}
	if x.act == kernel.Submit && x.r.Op == objects.Send {
		o := &offer{request: x.r, text: x.m.text, framing: x.policy("framing")}
		m := letterOf(x.r, "")
		o.readers = x.subscribers(&m)
		w := x.writing(x.r.Handle)
		piece, ends := w.spoiledPart(o.framing, o.text)
		if ends {
			w.spoiled = false
		}
		if piece != "" && piece == o.text {
			if !spoils(x.r.Errno) {
				return fmt.Errorf("the %s is of a message that has failed, and does not fail: %s", say(x.r), kernel.ErrnoName(x.r.Errno))
			}
			return nil
		}
		o.done = len(piece)
		if err := x.progress(o); err != nil {
			return err
		}
		if x.r.Parked() {
			if o.done == 0 && x.writing(x.r.Handle).begun != "" && x.next(o) == nil {
				return fmt.Errorf("the %s waits in the middle of a message", say(x.r))
			}
			x.line = append(x.line, o)
		} else if err := x.overtakesOrphan(o); err != nil {
			return err
		}
	}
	x.line = slices.DeleteFunc(x.line, func(o *offer) bool { return slices.Contains(x.done, o.request) })
	for _, o := range x.line {
		o.shared = o.shared || x.rendezvous() && x.policy("receivers") == "broadcast"
	}
	return nil
}

// begins implements lineLaws.
func (l *mailboxLaws) begins(m *monitor, r *objects.Request, text string) bool {
	if r.Op != objects.Send {
		return false
	}
	for _, o := range l.line {
		if o.request == r {
			return l.next(o) == nil
		}
	}
	framing := m.node.Object.Policy("framing")
	piece, _ := l.writing(r.Handle).spoiledPart(framing, text)
	_, ends := cut(framing, text[len(piece):])
	return !ends
}

// goesOn implements lineLaws.
func (l *mailboxLaws) goesOn(m *monitor, r *objects.Request) bool {
	return r.Op == objects.Send && l.begins(m, r, m.text) && l.writing(r.Handle).begun != ""
}

// outdated implements lineLaws: a change of framing is for the next write, and one of receivers for
// the next send, while what waits goes on as it has begun.
func (l *mailboxLaws) outdated(m *monitor, w waiting) bool {
	return l.begins(m, w.request, w.text) && m.node.Object.Policy("framing") == "write" || l.keepsShare(m, w.request)
}

// progress follows how much of its text the offer o has sent.
func (x *account) progress(o *offer) error {
	r := o.request
	w := x.writing(r.Handle)
	finished := slices.Contains(x.done, r)
	n := r.N
	switch {
	case finished && r.Errno != 0 && n > 0:
		return fmt.Errorf("the %s failed with %s, and took %d bytes", say(r), kernel.ErrnoName(r.Errno), n)
	case n < o.done || n > len(o.text):
		return fmt.Errorf("the %s took %d bytes of %d, and %d before", say(r), n, len(o.text), o.done)
	case finished && r.Errno == 0 && n < len(o.text) && (o.framing != "line" || !strings.HasSuffix(o.text[:n], "\n")):
		return fmt.Errorf("the %s took %d bytes of %q: it has torn a message", say(r), n, o.text)
	}
	if o.text == "" && finished && r.Errno == 0 && o.framing == "write" && w.begun == "" {
		m := letterOf(r, "")
		x.enter(&m, o)
		x.fresh = append(x.fresh, &m)
		return nil
	}
	if finished && n == 0 && spoils(r.Errno) && (o.framing != "write" || w.begun != "") {
		w.begun, w.spoiled = "", leavesOff(o.framing, o.text)
	}
	for o.done < n {
		piece, ends := cut(o.framing, o.text[o.done:n])
		if w.begun == "" {
			w.letter = letterOf(r, "")
		}
		w.begun += piece
		o.done += len(piece)
		if int64(len(w.begun)) > x.longest() && x.act == kernel.Submit && x.r == r {
			return fmt.Errorf("the %s made a message of %d bytes; at most %d are allowed", say(r), len(w.begun), x.longest())
		}
		if !ends {
			continue
		}
		m := o.letter
		if !o.partly {
			made := w.letter
			made.text = w.begun
			m = &made
			x.enter(m, o)
		}
		x.fresh = append(x.fresh, m)
		o.letter, o.partly, w.begun = nil, false, ""
	}
	return nil
}

// longest is the length in bytes of the longest message that can be sent now.
func (x *account) longest() int64 {
	n, _ := objects.ParseBytes(x.policy("max_message"))
	if all := x.m.node.Amount("capacity_bytes"); all > 0 {
		n = min(n, all)
	}
	return n
}

// enter counts m, which o offered, as sent.
func (x *account) enter(m *letter, o *offer) {
	x.sent++
	if x.act != kernel.Arrive {
		m.at = x.now
	}
	m.above = uint64(stat(x.m.stat, "sent"))
	m.upTo = uint64(stat(x.m.node.Object.Stat(), "sent"))
	m.share = x.shareOf(m, o)
	if o.request != nil {
		x.expectReceipt(o.request.Handle, m)
	}
}

// sends takes the orphan o out of the line.
func (x *account) sends(o *offer) *letter {
	x.line = slices.DeleteFunc(x.line, func(other *offer) bool { return other == o })
	if !o.partly {
		x.enter(o.letter, o)
	}
	x.fresh = append(x.fresh, o.letter)
	return o.letter
}

// orphan is the first offer of a closed file whose letter is wanted, nil if there is none.
func (l *mailboxLaws) orphan(wanted func(*letter) bool) *offer {
	for _, o := range l.line {
		if o.request == nil && wanted(o.letter) {
			return o
		}
	}
	return nil
}

// offered lists what senders offer, first come, first served.
func (x *account) offered() (letters []*letter) {
	for _, o := range x.line {
		if m := x.next(o); m != nil {
			letters = append(letters, m)
		}
	}
	return letters
}

// receivable reports whether somebody may have received m. An offered letter can be received
// while its sender waits on, if it may be broadcast, or if its file is closed; it counts as sent
// then.
func (x *account) receivable(m *letter) bool {
	for _, o := range x.line {
		switch {
		case o.letter != m || o.partly:
		case o.shared:
			x.enter(m, o)
			o.partly, m.share.early = true, true
		case o.request == nil:
			x.sends(o)
			return true
		default:
			return false
		}
	}
	return true
}

// endShared ends the broadcasts of closed files that every subscriber has got.
func (x *account) endShared() {
	waiting := stat(x.m.node.Object.Stat(), "senders_waiting")
	x.line = slices.DeleteFunc(x.line, func(o *offer) bool {
		over := o.request == nil && o.partly && o.letter.share.mayBeOver() && int64(len(x.line)) > waiting
		if over {
			o.letter.gone = true
		}
		return over
	})
}

// closes ends a handle.
func (x *account) closes() error {
	if x.act != kernel.Submit || x.r.Op != objects.Close {
		return nil
	}
	h := x.r.Handle
	x.endLease(h)
	x.forgive(h)
	x.open = slices.DeleteFunc(x.open, func(o opening) bool { return o.handle == h })
	x.receipts = slices.DeleteFunc(x.receipts, func(r *receipt) bool { return r.handle == h })
	x.readers = slices.DeleteFunc(x.readers, func(s *reading) bool { return s.handle == h })
	for _, m := range x.held {
		if m.share != nil {
			m.share.leaves(h)
		}
	}
	for _, o := range x.line {
		o.readers = slices.DeleteFunc(o.readers, func(r *objects.Handle) bool { return r == h })
		if o.partly {
			o.letter.share.leaves(h)
		}
	}
	i := slices.IndexFunc(x.writers, func(w *writing) bool { return w.handle == h })
	if i < 0 {
		return nil
	}
	w := x.writers[i]
	x.writers = slices.Delete(x.writers, i, i+1)
	if w.begun != "" && !x.r.Killed {
		m := w.letter
		m.text, m.orphan = w.begun, true
		o := &offer{letter: &m, readers: x.subscribers(&m)}
		x.line = append(x.line, o)
	}
	return nil
}

// overtakesOrphan checks that the send o, which has ended, did not overtake a message that a closed
// file has left waiting.
func (x *account) overtakesOrphan(o *offer) error {
	if slices.ContainsFunc(x.done, func(d *objects.Request) bool { return mailbox.Filter(d.Handle) != nil && d != x.r }) {
		return nil // who wanted just that
	}
	for _, w := range x.line {
		if w.request == nil && x.r.Errno == 0 && x.sent > 0 && x.policy("overflow") == "block" &&
			mailbox.Filter(x.r.Handle) == nil && w.letter.label == (mailbox.Selector{}) && x.policy("receivers") != "broadcast" {
			return fmt.Errorf("the %s was served before %q of a closed file, which waits", say(x.r), w.letter.text)
		}
	}
	return nil
}

// bookFramed adds to want the messages that senders wait to send, and those that files have begun.
func (l *mailboxLaws) bookFramed(want *kernel.Book) {
	for _, w := range l.writers {
		if w.begun != "" {
			want.Add(1, w.begun)
		}
	}
	for _, o := range l.line {
		switch {
		case o.request == nil:
			want.Add(1, o.letter.text)
		default:
			want.Add(0, o.text[o.done:])
			if _, ends := cut(o.framing, o.text[o.done:]); ends && l.writing(o.request.Handle).begun == "" {
				want.Messages++
			}
		}
	}
}
