package mailbox

import (
	"strconv"
	"strings"
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

// writer makes an open handle for sending.
func writer(b objects.Object) *objects.Handle {
	h := &objects.Handle{Writes: true, WriteOp: objects.Send}
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: h})
	return h
}

// sendBy sends text through h.
func sendBy(b objects.Object, h *objects.Handle, text string) *objects.Request {
	r := &objects.Request{Op: objects.Send, Handle: h, Data: []byte(text)}
	b.Submit(0, r)
	return r
}

func closeHandle(b objects.Object, h *objects.Handle, killed bool) objects.Finished {
	return b.Submit(0, &objects.Request{Op: objects.Close, Handle: h, Killed: killed})
}

func TestPollSaysWhetherAMessageMayBegin(t *testing.T) {
	b := mailbox(t, "capacity", "1", "framing", "close")
	first, second := writer(b), writer(b)
	sendBy(b, first, "1")
	if e := b.Ready(second); e&objects.Out != 0 {
		t.Errorf("beside what has begun: ready for %#x; want nothing", e)
	}
	if e := b.Ready(first); e&objects.Out == 0 {
		t.Errorf("in the middle of a message: ready for %#x; want POLLOUT", e)
	}
}

func TestMessagesBeginInOrder(t *testing.T) {
	b := mailbox(t, "capacity", "0", "framing", "close", "receivers", "broadcast")
	topic := &Selector{By: ByTopic, Topic: "t"}
	reader(b) // which all but topics wait for
	other := &objects.Handle{Reads: true, Own: &File{Filter: topic}}
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: other})
	labelled := &objects.Handle{Writes: true, Own: &File{Filter: topic}}
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: labelled})
	first := sendBy(b, writer(b), "1")
	closeHandle(b, b.handles[0], false) // nobody is left for what has no topic
	if first.Parked() {
		t.Error("a message for nobody waits")
	}
	first = sendBy(b, labelled, "2")
	if !first.Parked() {
		t.Fatal("a message began though nobody waits for it")
	}
	second := sendBy(b, writer(b), "3") // for nobody, but behind the other
	if !second.Parked() {
		t.Error("a message began before one that waits")
	}
	closeHandle(b, other, false)
	if first.Parked() || second.Parked() {
		t.Error("messages for nobody wait")
	}
}

func TestLoweredLimitEndsABeginningThatWaits(t *testing.T) {
	b := mailbox(t, "capacity", "0", "framing", "close")
	r := sendBy(b, writer(b), "123")
	if !r.Parked() {
		t.Fatal("a message began without room")
	}
	if done, _ := b.SetPolicy(1, "max_message", "2"); done.Empty() || r.Errno != syscall.EMSGSIZE {
		t.Errorf("beginning of 3 bytes under a limit of 2 = %v; want EMSGSIZE", r.Errno)
	}
}

func TestMessageOfAClosedFileIsNeverLost(t *testing.T) {
	for _, c := range []struct{ policy, value string }{{"overflow", "fail"}, {"max_message", "2"}} {
		b := mailbox(t, "capacity", "1", "framing", "close")
		h := writer(b)
		sendBy(b, h, "123")
		b.SetPolicy(0, "framing", "write")
		sendBy(b, writer(b), "x")
		closeHandle(b, h, false)
		if got := b.senders.Len(); got != 1 {
			t.Fatalf("%d messages wait after the close; want 1", got)
		}
		b.SetPolicy(1, c.policy, c.value)
		wantHeld(t, b, "x", "123")
	}
}

func TestFramingChangesWithTheNextWrite(t *testing.T) {
	b := mailbox(t, "capacity", "0", "framing", "line")
	h := writer(b)
	sendBy(b, h, "1\n2\n3\n")
	b.SetPolicy(0, "framing", "write")
	wantHeld(t, b, "1\n", "2\n", "3\n")
}

func TestFramingCutsMessages(t *testing.T) {
	for _, c := range []struct {
		framing string
		writes  []string
		killed  bool
		want    []string
	}{
		{"write", []string{"a\nb", "c"}, false, []string{"a\nb", "c"}},
		{"line", []string{"a\nb", "c", "\n\nd"}, false, []string{"a\n", "bc\n", "\n", "d"}},
		{"line", []string{"a\nb"}, true, []string{"a\n"}},
		{"close", []string{"a\nb", "c"}, false, []string{"a\nbc"}},
		{"close", []string{"a"}, true, nil},
		{"close", nil, false, nil},
	} {
		var booked objecttest.Book
		b := New(&booked)
		b.SetPolicy(0, "framing", c.framing)
		h := writer(b)
		for _, text := range c.writes {
			if r := sendBy(b, h, text); r.Errno != 0 || r.N != len(text) {
				t.Errorf("%s: write of %q = %d, %v", c.framing, text, r.N, r.Errno)
			}
		}
		closeHandle(b, h, c.killed)
		wantHeld(t, b, c.want...)
		if booked != (objecttest.Book{}) {
			t.Errorf("%s: booked %+v at the end; want nothing", c.framing, booked)
		}
	}
}

func TestInterruptedLinesCountThoseThatWereSent(t *testing.T) {
	b := mailbox(t, "capacity", "0", "framing", "line")
	r := sendBy(b, writer(b), "1\n2\n3")
	b.Submit(0, receive(reader(b)))
	b.Cancel(1, r, syscall.EINTR)
	if r.Errno != 0 || r.N != 2 {
		t.Errorf("interrupted after a line of 2 bytes: %d, %v; want 2, 0", r.N, r.Errno)
	}
	r = sendBy(b, writer(b), "1\n2\n")
	b.Cancel(1, r, syscall.EINTR)
	if r.Errno != syscall.EINTR || r.N != 0 {
		t.Errorf("interrupted before the first: %d, %v; want EINTR", r.N, r.Errno)
	}
}

func TestMessageThatIsEndedMakesRoomForABeginning(t *testing.T) {
	b := mailbox(t, "capacity", "1", "framing", "line")
	first, receiver := writer(b), receive(reader(b))
	sendBy(b, first, "begun")
	second := sendBy(b, writer(b), "waits")
	b.Submit(0, receiver)
	if !second.Parked() || !receiver.Parked() {
		t.Fatal("beside what has begun there is room for one, or a receiver did not wait")
	}
	sendBy(b, first, " ended\n")
	if receiver.Parked() || second.Parked() {
		t.Errorf("the message is received: %t; the next may begin: %t; want both", !receiver.Parked(), !second.Parked())
	}
}

func TestInterruptedBroadcastOfABegunMessageIsSentAtTheEnd(t *testing.T) {
	b := mailbox(t, "capacity", "0", "framing", "line", "receivers", "broadcast")
	listener, h := reader(b), writer(b)
	waiting := receive(listener)
	b.Submit(0, waiting)
	sendBy(b, h, "begun") // for whoever waits
	b.Cancel(0, waiting, syscall.EINTR)
	offered := sendBy(b, h, " and offered\n")
	if !offered.Parked() {
		t.Fatal("without a receiver that waits the line did not wait")
	}
	b.Cancel(0, offered, syscall.EINTR)
	closeHandle(b, h, false)
	r := receive(listener)
	b.Submit(0, r)
	if string(r.Data) != "begun" {
		t.Errorf("received %q; want what was begun", r.Data)
	}
}

func TestNothingIsSentOfAMessageThatIsTooLong(t *testing.T) {
	for _, c := range []struct {
		framing string
		writes  []string
		want    string // the outcomes
		held    []string
	}{
		{"close", []string{"abc", "def", "g"}, "3 EMSGSIZE EMSGSIZE", nil},
		{"close", []string{"abcdef", "g"}, "EMSGSIZE EMSGSIZE", nil},
		{"close", []string{"abc", "de"}, "3 2", []string{"abcde"}},
		{"line", []string{"abc", "def\n", "g\n"}, "3 EMSGSIZE 2", []string{"g\n"}},
		{"line", []string{"abc", "def", "g", "h\n", "i\n"}, "3 EMSGSIZE EMSGSIZE EMSGSIZE 2", []string{"i\n"}},
		{"line", []string{"abc", "def", "g\nhi\nj", "k\n"}, "3 EMSGSIZE 6 2", []string{"hi\n", "jk\n"}},
		{"line", []string{"a\nbcdefg", "bcdefg", "h\ni\n"}, "2 EMSGSIZE 4", []string{"a\n", "i\n"}},
		{"line", []string{"abcdef\ng", "h\ni\n"}, "EMSGSIZE 4", []string{"i\n"}},
	} {
		var booked objecttest.Book
		b := New(&booked)
		b.SetPolicy(0, "framing", c.framing)
		b.SetPolicy(0, "max_message", "5")
		h := writer(b)
		var got []string
		for _, text := range c.writes {
			r := sendBy(b, h, text)
			if r.Errno == syscall.EMSGSIZE {
				got = append(got, "EMSGSIZE")
			} else {
				got = append(got, strconv.Itoa(r.N))
			}
			if err := b.Check(); err != nil {
				t.Error(err)
			}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: writes of %q = %s; want %s", c.framing, c.writes, text, c.want)
		}
		closeHandle(b, h, false)
		wantHeld(t, b, c.held...)
		if booked != (objecttest.Book{}) {
			t.Errorf("%s, %q: booked %+v at the end; want nothing", c.framing, c.writes, booked)
		}
	}
}

func TestASpoiledMessageMakesRoom(t *testing.T) {
	b := mailbox(t, "capacity", "1", "framing", "close", "max_message", "5")
	h := writer(b)
	sendBy(b, h, "abc")
	waits := sendBy(b, writer(b), "x")
	if !waits.Parked() {
		t.Fatal("a message began without room")
	}
	sendBy(b, h, "def")
	if waits.Parked() {
		t.Error("a message waits for one that was given up")
	}
	if e := b.Ready(h); e&objects.Out == 0 {
		t.Errorf("a file whose writes fail is ready for %#x; want POLLOUT", e)
	}
}

func TestAPeekReadsWhatWasOfferedAndInterrupted(t *testing.T) {
	b := mailbox(t, "capacity", "1", "framing", "line")
	sendBy(b, writer(b), "q\n")
	b.SetPolicy(0, "capacity", "2")
	h := writer(b)
	sendBy(b, h, strings.Repeat("b", 100))
	b.SetPolicy(0, "capacity", "0")
	b.Submit(0, receive(reader(b)))
	offered := sendBy(b, h, "first\n")
	looker := &objects.Handle{Reads: true, ReadOp: objects.Peek}
	b.Submit(0, &objects.Request{Op: objects.Open, Handle: looker})
	look := func(n int) string {
		r := &objects.Request{Op: objects.Peek, Handle: looker, Size: n}
		b.Submit(0, r)
		return string(r.Data)
	}
	got := look(50)
	b.Cancel(0, offered, syscall.EINTR)
	sendBy(b, h, "other\n")
	got += look(100)
	if want := strings.Repeat("b", 100) + "first\n"; got != want {
		t.Errorf("peeked at %q; want %q", got, want)
	}
}
