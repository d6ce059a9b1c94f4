package mailbox

import (
	"bytes"
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
	"ipcfs/objects/segment"
)

// counted is a Storage that counts what becomes of its bytes, wherever they move.
type counted struct {
	segment.Bytes
	mapped, pinned, moved bool
	freed, read           *int // times, and bytes
}

func (c *counted) Mapped() bool { return c.mapped }

func (c *counted) Frozen() bool { return !c.pinned }

func (c *counted) Move(owner uint32) segment.Storage {
	c.moved = true
	return &counted{Bytes: *c.Bytes.Move(owner).(*segment.Bytes), freed: c.freed, read: c.read}
}

func (c *counted) ReadAt(p []byte, offset int64) (int, syscall.Errno) {
	*c.read += len(p)
	return c.Bytes.ReadAt(p, offset)
}

func (c *counted) Free(refund func()) {
	if !c.moved {
		*c.freed++
	}
	c.Bytes.Free(refund)
}

// A household is a ledger of several users.
type household struct {
	messages int64
	bytes    map[uint32]int64
	limit    map[uint32]int64 // 0: none
}

func newHousehold() *household {
	return &household{bytes: map[uint32]int64{}, limit: map[uint32]int64{}}
}

func (l *household) Charge(uid uint32, c objects.Cost) syscall.Errno {
	if most := l.limit[uid]; most > 0 && c.Bytes > 0 && l.bytes[uid]+c.Bytes > most {
		return syscall.EDQUOT
	}
	l.Adjust(uid, c)
	return 0
}

func (l *household) Adjust(uid uint32, c objects.Cost) {
	l.messages += c.Messages
	l.bytes[uid] += c.Bytes
}

func (l *household) Move(from uint32, out objects.Cost, to uint32, in objects.Cost) syscall.Errno {
	l.Adjust(from, out.Minus())
	errno := l.Charge(to, in)
	if errno != 0 {
		l.Adjust(from, out)
	}
	return errno
}

// A parcelTest is a mailbox, and segments to send to it.
type parcelTest struct {
	*testing.T
	ledger      *household
	b           *Mailbox
	freed, read int
}

// The users of a parcelTest.
const (
	owner    = 7 // of the segments
	sender   = 8
	receiver = 9
)

func newParcelTest(t *testing.T, policies ...string) *parcelTest {
	p := &parcelTest{T: t, ledger: newHousehold()}
	p.b = New(p.ledger)
	for i := 0; i < len(policies); i += 2 {
		if _, errno := p.b.SetPolicy(0, policies[i], policies[i+1]); errno != 0 {
			t.Fatalf("%s = %s: %v", policies[i], policies[i+1], errno)
		}
	}
	return p
}

func (p *parcelTest) segment(text string) *segment.Segment {
	p.Helper()
	g := segment.New(p.ledger, &counted{freed: &p.freed, read: &p.read}, owner)
	objecttest.Answers(p.T, objecttest.Do(p.T, g, objects.Request{Op: objects.WriteAt, Data: []byte(text)}), 0)
	return g
}

func (p *parcelTest) send(text string) objects.Finished {
	p.Helper()
	done, errno := SendSegment(1, p.segment(text), p.b, objects.Caller{Uid: sender})
	if errno != 0 {
		p.Fatalf("SendSegment = %v; want 0", errno)
	}
	p.check()
	return done
}

func (p *parcelTest) check() {
	p.Helper()
	if err := p.b.Check(); err != nil {
		p.Fatal(err)
	}
}

// freedAre fails unless n memories have been freed, and only the books of the rest are left.
func (p *parcelTest) freedAre(n int, booked int64) {
	p.Helper()
	p.check()
	if p.freed != n || p.ledger.bytes[sender] != booked || p.ledger.bytes[owner] != 0 {
		p.Fatalf("%d freed, %d and %d bytes booked on sender and owner; want %d, %d, 0", p.freed, p.ledger.bytes[sender], p.ledger.bytes[owner], n, booked)
	}
}

func (p *parcelTest) get(h *objects.Handle, op objects.Op, size int, offset int64) *objects.Request {
	p.Helper()
	r := &objects.Request{Op: op, Handle: h, Size: size, Offset: offset, Nonblock: true}
	objects.Render(2, p.b, p.b.Submit(2, r), func(what any) []byte { return bytes.ToUpper(what.(*Envelope).Data) })
	p.check()
	return r
}

func (p *parcelTest) gets(h *objects.Handle, op objects.Op, size int, offset int64, want string) {
	p.Helper()
	if r := p.get(h, op, size, offset); r.Errno != 0 || string(r.Data) != want {
		p.Fatalf("%s of %d = %q, %v; want %q", op, size, r.Data, r.Errno, want)
	}
}

func TestSentSegmentIsOneMessageOfItsSender(t *testing.T) {
	p := newParcelTest(t, "max_message", "1", "capacity_bytes", "2")
	g := p.segment("hello")
	if _, errno := SendSegment(5, g, p.b, objects.Caller{Pid: 3, Uid: sender, Gid: 4}); errno != 0 {
		t.Fatal(errno)
	}
	m := p.b.Message(1)
	if m.Size() != 5 || m.Sender != (objects.Caller{Pid: 3, Uid: sender, Gid: 4}) || m.Sent != 5 || p.b.Held() != (objects.Held{Messages: 1, Bytes: 5, Changed: 5, Taken: 0}) {
		t.Errorf("message of %d bytes, %+v, sent at %d, %+v held", m.Size(), m.Sender, m.Sent, p.b.Held())
	}
	if r := objecttest.Do(t, g, objects.Request{Op: objects.ReadAt, Data: make([]byte, 5)}); r.Errno != syscall.EIDRM {
		t.Errorf("read of the segment = %v; want EIDRM", r.Errno)
	}
	p.freedAre(0, segment.Page)
	if p.ledger.messages != 1 {
		t.Errorf("%d messages are booked; want 1", p.ledger.messages)
	}
	// What is written meets its limits beside it.
	for text, want := range map[string]syscall.Errno{"x": 0, "xy": syscall.EMSGSIZE} {
		s := send(text)
		if p.b.Submit(5, s); s.Errno != want {
			t.Errorf("send of %q = %v; want %v", text, s.Errno, want)
		}
	}
}

func TestSegmentInUseIsNotSent(t *testing.T) {
	p := newParcelTest(t, "capacity", "1")
	refused := func(g *segment.Segment, c objects.Caller, want syscall.Errno) {
		t.Helper()
		before := *p.ledger
		if _, errno := SendSegment(1, g, p.b, c); errno != want || p.freed != 0 {
			t.Fatalf("SendSegment = %v, %d freed; want %v, 0", errno, p.freed, want)
		}
		if err := g.Check(); err != nil || p.ledger.messages != before.messages || p.ledger.bytes[owner] != segment.Page {
			t.Fatalf("%v, %d messages, %d bytes on the owner; want %d, %d", err, p.ledger.messages, p.ledger.bytes[owner], before.messages, segment.Page)
		}
		p.check()
	}
	g, h := p.segment("hello"), &objects.Handle{Reads: true}
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Open, Handle: h}), 0)
	refused(g, objects.Caller{}, syscall.EBUSY)
	objecttest.Do(t, g, objects.Request{Op: objects.Close, Handle: h})
	objecttest.Do(t, g, objects.Request{Op: objects.Hold, Handle: h})
	refused(g, objects.Caller{}, syscall.EBUSY)
	objecttest.Do(t, g, objects.Request{Op: objects.Close, Handle: h})
	memory := g.Storage().(*counted)
	memory.mapped = true
	refused(g, objects.Caller{}, syscall.EBUSY)
	memory.mapped, memory.pinned = false, true
	refused(g, objects.Caller{}, syscall.EBUSY)
	memory.pinned = false
	p.ledger.limit[sender] = segment.Page - 1
	refused(g, objects.Caller{Uid: sender}, syscall.EDQUOT)
	p.b.Submit(1, send("x"))
	refused(g, objects.Caller{}, syscall.EAGAIN)
	p.b.SetPolicy(1, "overflow", "fail")
	refused(g, objects.Caller{}, syscall.EAGAIN)
	p.b.Destroy(1)
	refused(g, objects.Caller{}, syscall.EIDRM)
}

func TestMemoryOfAMessageIsFreedOnceWhicheverWayItGoes(t *testing.T) {
	for name, leave := range map[string]func(p *parcelTest){
		"discarded": func(p *parcelTest) { p.b.Discard(3, 1) },
		"flushed":   func(p *parcelTest) { p.b.Submit(3, &objects.Request{Op: objects.Flush}) },
		"expired":   func(p *parcelTest) { p.b.SetPolicy(1, "ttl", "1ns"); p.b.Expire(9) },
		"destroyed": func(p *parcelTest) { p.b.Destroy(3); p.b.Destroy(3) },
		"dropped":   func(p *parcelTest) { p.b.SetPolicy(3, "overflow", "drop-oldest"); p.b.Submit(3, send("x")) },
		"dropped for what is dropped as well": func(p *parcelTest) {
			p.b.SetPolicy(3, "overflow", "drop-oldest")
			p.b.SetPolicy(3, "capacity", "0")
			p.b.Submit(3, send("x"))
		},
		"read and left": func(p *parcelTest) {
			h := reader(p.b)
			p.gets(h, objects.Receive, 9, 0, "hello")
			p.get(h, objects.Receive, 9, 0)
		},
		"read in parts": func(p *parcelTest) {
			h := reader(p.b)
			p.gets(h, objects.Receive, 2, 0, "he")
			p.freedAre(0, segment.Page)
			p.gets(h, objects.Receive, 9, 0, "llo")
			p.get(h, objects.Receive, 9, 0)
		},
		"closed": func(p *parcelTest) {
			h := reader(p.b)
			p.gets(h, objects.Receive, 2, 0, "he")
			p.b.Submit(3, &objects.Request{Op: objects.Close, Handle: h})
		},
		"closed after the end": func(p *parcelTest) {
			h := reader(p.b)
			p.gets(h, objects.Receive, 2, 0, "he")
			p.b.Destroy(3)
			p.freedAre(0, segment.Page) // still the reader's
			p.b.Submit(3, &objects.Request{Op: objects.Close, Handle: h})
		},
		"rendered": func(p *parcelTest) {
			h := reader(p.b)
			FileOf(h).Envelopes = true
			p.gets(h, objects.Receive, 9, 0, "HELLO")
			p.get(h, objects.Receive, 9, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParcelTest(t, "capacity", "1")
			p.send("hello")
			p.freedAre(0, segment.Page)
			leave(p)
			p.freedAre(1, 0)
		})
	}
	t.Run("refused entry", func(t *testing.T) {
		p := newParcelTest(t, "capacity", "0", "overflow", "drop-newest")
		p.send("hello")
		p.freedAre(1, 0)
		if p.ledger.messages != 0 || p.b.dropped != 1 {
			t.Errorf("%d messages booked, %d dropped; want 0, 1", p.ledger.messages, p.b.dropped)
		}
	})
}

func TestMemoryIsReadAsItIsAskedFor(t *testing.T) {
	p := newParcelTest(t)
	p.send("hello")
	h := &objects.Handle{Reads: true, EOF: true, Seekable: true}
	p.b.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
	p.gets(h, objects.Receive, 2, 100, "he")
	if p.read != 2 {
		t.Errorf("%d bytes were read; want 2", p.read)
	}
	p.gets(h, objects.Receive, 9, 101, "ello") // it has sought back
	p.gets(h, objects.Receive, 9, 105, "")
	p.freedAre(1, 0)
	if r := p.get(h, objects.Receive, 9, 0); r.Errno != syscall.EAGAIN {
		t.Errorf("read after the end of file = %v; want EAGAIN", r.Errno)
	}
}

func TestWaitingReceiverGetsMemoryAtOnce(t *testing.T) {
	p := newParcelTest(t, "capacity", "0")
	h := reader(p.b)
	peek, first, second := &objects.Request{Op: objects.Peek, Handle: reader(p.b), Size: 3}, receive(h), receive(h)
	first.Size = 2
	for _, r := range []*objects.Request{peek, first, second} {
		p.b.Submit(0, r)
	}
	done := p.send("hello")
	objecttest.WantFinished(t, done, peek, first, second)
	if string(peek.Data) != "hel" || string(first.Data) != "he" || string(second.Data) != "llo" {
		t.Errorf("peek = %q, reads = %q, %q; want hel, he, llo", peek.Data, first.Data, second.Data)
	}
	p.freedAre(0, segment.Page)
	p.b.Submit(0, &objects.Request{Op: objects.Close, Handle: h})
	p.freedAre(1, 0)
	if r := p.get(peek.Handle, objects.Peek, 9, 0); r.Errno != syscall.EIDRM {
		t.Errorf("the rest of a copy = %v; want EIDRM", r.Errno)
	}
	if r := p.get(peek.Handle, objects.Peek, 9, 0); r.Errno != syscall.EAGAIN {
		t.Errorf("the next peek = %v; want EAGAIN", r.Errno)
	}
}

func TestReturnedMemoryIsTheNextMessageAgain(t *testing.T) {
	for name, size := range map[string]int{"in part": 2, "whole": 9} {
		t.Run(name, func(t *testing.T) {
			p := newParcelTest(t)
			p.send("hello")
			h := reader(p.b)
			p.b.Return(3, p.get(h, objects.Receive, size, 0))
			p.freedAre(0, segment.Page)
			p.b.Submit(3, &objects.Request{Op: objects.Close, Handle: h})
			p.freedAre(0, segment.Page)
			// And to one who waits.
			r := p.get(reader(p.b), objects.Receive, size, 0)
			waiting := receive(reader(p.b))
			p.b.Submit(3, waiting)
			objecttest.WantFinished(t, p.b.Return(3, r), waiting)
			if string(waiting.Data) != "hello" {
				t.Errorf("received %q; want hello", waiting.Data)
			}
			p.get(waiting.Handle, objects.Receive, 9, 0)
			p.freedAre(1, 0)
			p.b.Return(3, waiting) // somebody has read on
			p.freedAre(1, 0)
			if p.ledger.messages != 0 || p.b.held.n != 0 {
				t.Errorf("%d messages booked, %d held; want none", p.ledger.messages, p.b.held.n)
			}
		})
	}
}

func TestSendThatFailsFreesNoMemory(t *testing.T) {
	book := &fullBook{}
	p := newParcelTest(t, "capacity", "1", "overflow", "drop-oldest")
	p.b.ledger = book
	p.send("hello")
	book.full = true
	s := send("x")
	if p.b.Submit(3, s); s.Errno != syscall.ENOSPC || p.freed != 0 {
		t.Fatalf("send = %v, %d freed; want ENOSPC, 0", s.Errno, p.freed)
	}
	h := reader(p.b)
	p.gets(h, objects.Receive, 9, 0, "hello")
	p.get(h, objects.Receive, 9, 0)
	p.freedAre(1, 0)
}

func TestReceivedSegmentIsBookedOnItsReceiver(t *testing.T) {
	p := newParcelTest(t, "capacity", "1")
	g := p.segment("hello")
	objecttest.Answers(t, objecttest.Do(t, g, objects.Request{Op: objects.Reserve, Offset: segment.Page, Size: segment.Page}), 0)
	g.SetPolicy(0, "seal", "shrink")
	if _, errno := SendSegment(1, g, p.b, objects.Caller{Uid: sender}); errno != 0 {
		t.Fatal(errno)
	}
	waiting := send("next")
	p.b.Submit(1, waiting)
	peek := reader(p.b)
	p.gets(peek, objects.Peek, 2, 0, "he")
	to := segment.New(p.ledger, new(segment.Bytes), receiver)
	p.ledger.limit[receiver] = 2*segment.Page - 1
	if _, errno := ReceiveSegment(3, p.b, 1, to); errno != syscall.EDQUOT || p.b.Message(1) == nil {
		t.Fatalf("ReceiveSegment beyond the quota = %v; want EDQUOT", errno)
	}
	p.ledger.limit[receiver]++
	done, errno := ReceiveSegment(3, p.b, 1, to)
	if errno != 0 {
		t.Fatal(errno)
	}
	objecttest.WantFinished(t, done, waiting)
	p.freedAre(0, 0)
	if err := to.Check(); err != nil || p.ledger.bytes[receiver] != 2*segment.Page || to.Policy("seal") != "shrink" || p.b.received != 1 {
		t.Errorf("%v, %d bytes on the receiver, seals %s, %d received; want %d, shrink, 1", err, p.ledger.bytes[receiver], to.Policy("seal"), p.b.received, 2*segment.Page)
	}
	if r := objecttest.Do(t, to, objects.Request{Op: objects.ReadAt, Data: make([]byte, 9)}); string(r.Data) != "hello" {
		t.Errorf("it holds %q; want hello", r.Data)
	}
	if r := p.get(peek, objects.Peek, 9, 0); r.Errno != syscall.EIDRM {
		t.Errorf("the rest of a copy = %v; want EIDRM", r.Errno)
	}
	if _, errno := ReceiveSegment(3, p.b, 1, segment.New(p.ledger, new(segment.Bytes), receiver)); errno != syscall.ENOENT {
		t.Errorf("once more = %v; want ENOENT", errno)
	}
	to.Destroy(4)
	if p.freed != 1 || p.ledger.bytes[receiver] != 0 {
		t.Errorf("%d freed, %d bytes on the receiver in the end; want 1, 0", p.freed, p.ledger.bytes[receiver])
	}
}

func TestWrittenMessageIsReceivedAsACopy(t *testing.T) {
	p := newParcelTest(t)
	p.b.Submit(1, send("hello"))
	p.ledger.limit[receiver] = 1
	if _, errno := ReceiveSegment(2, p.b, 1, segment.New(p.ledger, new(segment.Bytes), receiver)); errno != syscall.EDQUOT || p.b.held.n != 1 {
		t.Fatalf("ReceiveSegment beyond the quota = %v; want EDQUOT", errno)
	}
	p.ledger.limit[receiver] = 0
	g := segment.New(p.ledger, new(segment.Bytes), receiver)
	if _, errno := ReceiveSegment(2, p.b, 1, g); errno != 0 {
		t.Fatal(errno)
	}
	if r := objecttest.Do(t, g, objects.Request{Op: objects.ReadAt, Data: make([]byte, 9)}); string(r.Data) != "hello" || p.ledger.bytes[receiver] != segment.Page || p.ledger.messages != 0 {
		t.Errorf("it holds %q, booked as %d; %d messages are booked", r.Data, p.ledger.bytes[receiver], p.ledger.messages)
	}
}

func TestTransferredMemoryLeavesItsFirstMailboxForGood(t *testing.T) {
	p := newParcelTest(t)
	p.send("hello")
	peek := reader(p.b)
	p.gets(peek, objects.Peek, 2, 0, "he")
	to := New(p.ledger)
	if _, _, errno := Transfer(3, p.b, to, 1); errno != 0 {
		t.Fatal(errno)
	}
	p.freedAre(0, segment.Page)
	if r := p.get(peek, objects.Peek, 9, 0); r.Errno != syscall.EIDRM {
		t.Errorf("the rest of a copy = %v; want EIDRM", r.Errno)
	}
	r := receive(reader(to))
	to.Submit(4, r)
	if err := to.Check(); err != nil || string(r.Data) != "hello" {
		t.Errorf("received %q, %v; want hello", r.Data, err)
	}
	to.Submit(4, &objects.Request{Op: objects.Close, Handle: r.Handle})
	p.freedAre(1, 0)
	if p.ledger.messages != 0 {
		t.Errorf("%d messages are booked; want 0", p.ledger.messages)
	}
}
