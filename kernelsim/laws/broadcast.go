package laws

import (
	"slices"

	"ipcfs/objects"
)

// A share is who gets a letter that was broadcast: every receiver that is open when it is
// sent and that it is for, once. Where there is no buffer, that moment may lie anywhere
// between the submission and the end of the send. A letter that was not broadcast has a nil
// share: one receiver gets it, whoever that is.
type share struct {
	must []*objects.Handle // have yet to get it
	may  []*objects.Handle // those among them
	any  bool              // whether it was broadcast is not known
	got  int               // have it

	early bool // some had it while its sender still waited
}

func (s *share) mayGet(h *objects.Handle) bool {
	return s == nil || s.any || slices.Contains(s.may, h)
}

func (s *share) mustGet(h *objects.Handle) bool {
	return s == nil || slices.Contains(s.must, h)
}

func (s *share) gets(h *objects.Handle) {
	s.leaves(h)
	s.got++
}

func (s *share) leaves(h *objects.Handle) {
	is := func(o *objects.Handle) bool { return o == h }
	s.must, s.may = slices.DeleteFunc(s.must, is), slices.DeleteFunc(s.may, is)
}

// over reports whether nobody is to get it any more, mayBeOver whether that may be so.
func (s *share) over() bool      { return s.mayBeOver() && s != nil && len(s.may) == 0 && !s.any }
func (s *share) mayBeOver() bool { return s != nil && len(s.must) == 0 }

// subscribers are the open files that m would be for if it were broadcast now.
func (l *mailboxLaws) subscribers(m *letter) (handles []*objects.Handle) {
	for _, o := range l.open {
		if o.receives && m.is(o.only) {
			handles = append(handles, o.handle)
		}
	}
	return handles
}

// rendezvous reports whether there is no buffer.
func (x *account) rendezvous() bool {
	return x.m.node.Amount("capacity") == 0 || x.m.node.Amount("capacity_bytes") == 0
}

// keepsShare reports whether the parked send r may still be broadcast though receivers says
// otherwise by now. Room for another send is not for this one.
func (l *mailboxLaws) keepsShare(m *monitor, r *objects.Request) bool {
	return m.node.Object.Policy("receivers") != "broadcast" &&
		slices.ContainsFunc(l.line, func(o *offer) bool { return o.request == r && o.shared })
}

// shareOf is who gets m, which is sent now by o.
func (x *account) shareOf(m *letter, o *offer) *share {
	now := x.policy("receivers") == "broadcast"
	if !now && !o.shared {
		return nil
	}
	s := &share{may: x.subscribers(m), any: !now}
	if now {
		s.must = slices.Clone(s.may)
		if o.shared {
			s.must = slices.DeleteFunc(s.must, func(h *objects.Handle) bool { return !slices.Contains(o.readers, h) })
		}
	}
	return s
}

// owe has h be due m again: its process died before it got m.
func (x *account) owe(h *objects.Handle, m *letter) {
	m.share.got--
	if m.gone && !m.share.over() || !slices.ContainsFunc(x.open, func(o opening) bool { return o.handle == h }) {
		return
	}
	m.gone = false
	m.share.must, m.share.may = append(m.share.must, h), append(m.share.may, h)
	x.doubt(m)
	if !slices.ContainsFunc(x.line, func(o *offer) bool { return o.letter == m }) {
		x.back = append(x.back, m)
	}
}
