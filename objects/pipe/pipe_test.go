package pipe

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

func pipeOf(t *testing.T, policies ...string) *Pipe {
	t.Helper()
	p := New(objects.Unlimited)
	for i := 0; i < len(policies); i += 2 {
		if _, errno := p.SetPolicy(0, policies[i], policies[i+1]); errno != 0 {
			t.Fatalf("set %s %s = %v", policies[i], policies[i+1], errno)
		}
	}
	return p
}

func readEnd() *objects.Handle  { return &objects.Handle{Reads: true, ReadOp: objects.Read} }
func writeEnd() *objects.Handle { return &objects.Handle{Writes: true, WriteOp: objects.Write} }

func connect(h *objects.Handle) *objects.Request {
	return &objects.Request{Op: objects.Connect, Handle: h}
}
func closing(h *objects.Handle) *objects.Request {
	return &objects.Request{Op: objects.Close, Handle: h}
}

func write(h *objects.Handle, text string) *objects.Request {
	return &objects.Request{Op: objects.Write, Handle: h, Data: []byte(text)}
}
func read(h *objects.Handle, size int) *objects.Request {
	return &objects.Request{Op: objects.Read, Handle: h, Size: size}
}

func nonblocking(r *objects.Request) *objects.Request {
	r.Nonblock = true
	return r
}

// both opens p at both ends.
func both(p *Pipe) (r, w *objects.Handle) {
	r, w = readEnd(), writeEnd()
	p.Submit(0, &objects.Request{Op: objects.Open, Handle: r})
	p.Submit(0, &objects.Request{Op: objects.Connect, Handle: w})
	return r, w
}

func (p *Pipe) do(t *testing.T, r *objects.Request) *objects.Request {
	t.Helper()
	p.Submit(1, r)
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	return r
}

// wantRead reads what there is and compares it; "" stands for end of file.
func wantRead(t *testing.T, p *Pipe, h *objects.Handle, want string) {
	t.Helper()
	if r := p.do(t, nonblocking(read(h, 1<<20))); string(r.Data) != want || r.Errno != 0 {
		t.Errorf("read = %.40q of %d bytes, %v; want %.40q of %d", r.Data, len(r.Data), r.Errno, want, len(want))
	}
}

func wantErrno(t *testing.T, r *objects.Request, want syscall.Errno) {
	t.Helper()
	if r.Errno != want {
		t.Errorf("%s = %v; want %v", r.Op, r.Errno, want)
	}
}

func TestOpensWaitForEachOther(t *testing.T) {
	p := pipeOf(t)
	r1, r2, w := connect(readEnd()), connect(readEnd()), connect(writeEnd())
	objecttest.WantFinished(t, p.Submit(0, r1))
	objecttest.WantFinished(t, p.Submit(0, r2))
	objecttest.WantFinished(t, p.Submit(0, w), r1, r2, w)
	third := connect(writeEnd())
	objecttest.WantFinished(t, p.Submit(0, third), third)

	p = pipeOf(t)
	wantErrno(t, p.do(t, nonblocking(connect(writeEnd()))), syscall.ENXIO)
	for _, r := range []*objects.Request{nonblocking(connect(readEnd())), connect(&objects.Handle{Reads: true, Writes: true, ReadOp: objects.Read, WriteOp: objects.Write})} {
		p = pipeOf(t)
		objecttest.WantFinished(t, p.Submit(0, r), r)
	}
	p = pipeOf(t)
	w = connect(writeEnd())
	p.Submit(0, w)
	objecttest.WantFinished(t, p.Cancel(1, w, syscall.EINTR), w)
	r := connect(readEnd())
	objecttest.WantFinished(t, p.Submit(2, r))
	done, _ := p.SetPolicy(3, "lifetime", "persistent")
	objecttest.WantFinished(t, done, r)
}

func TestOpenThatCannotWaitLeavesItToTheFirstWrite(t *testing.T) {
	p := pipeOf(t)
	h := writeEnd()
	p.do(t, &objects.Request{Op: objects.Open, Handle: h})
	small := write(h, "x")
	objecttest.WantFinished(t, p.Submit(0, small), small) // there is room
	wantErrno(t, small, 0)
	large := write(h, strings.Repeat("y", DefaultCapacity))
	objecttest.WantFinished(t, p.Submit(0, large))
	r := readEnd()
	p.Submit(1, connect(r))
	end := closing(r)
	objecttest.WantFinished(t, p.Submit(2, end), end, large)
	if large.N != DefaultCapacity-1 || !large.Broken {
		t.Errorf("the write = %d, broken %v; want the part that went", large.N, large.Broken)
	}
	wantErrno(t, p.do(t, write(h, "z")), syscall.EPIPE)
}

func TestEndOfFileComesAfterTheBytes(t *testing.T) {
	p := pipeOf(t)
	r, w := both(p)
	p.do(t, write(w, "abc"))
	p.do(t, closing(w))
	wantRead(t, p, r, "abc")
	wantRead(t, p, r, "")
	if e := p.Ready(r); e != objects.Hup {
		t.Errorf("ready = %#x; want Hup", e)
	}
	p.do(t, connect(writeEnd()))
	waiting := read(r, 10)
	objecttest.WantFinished(t, p.Submit(0, waiting))
}

func TestLastCloseWakesTheOtherEnd(t *testing.T) {
	p := pipeOf(t)
	r, w := both(p)
	reading, end := read(r, 10), closing(w)
	p.Submit(0, reading)
	objecttest.WantFinished(t, p.Submit(1, end), end, reading)
	if reading.Errno != 0 || len(reading.Data) != 0 {
		t.Errorf("read = %q, %v; want end of file", reading.Data, reading.Errno)
	}

	p = pipeOf(t, "capacity", "0")
	r, w = both(p)
	writing, end := write(w, "abc"), closing(r)
	p.Submit(0, writing)
	objecttest.WantFinished(t, p.Submit(1, end), end, writing)
	wantErrno(t, writing, syscall.EPIPE)
	if !writing.Broken {
		t.Error("no SIGPIPE")
	}
}

func TestBytesGoWhenBothEndsHaveClosed(t *testing.T) {
	var b objecttest.Book
	p := New(&b)
	r, w := both(p)
	p.do(t, write(w, "abc"))
	p.do(t, closing(r))
	if p.Held().Bytes != 3 {
		t.Errorf("%d bytes after the reader has closed; want 3", p.Held().Bytes)
	}
	p.do(t, closing(w))
	if p.Held().Bytes != 0 || b.Bytes != 0 {
		t.Errorf("%d bytes, %d booked; want 0", p.Held().Bytes, b.Bytes)
	}
}

func TestSmallWritesAreAllOrNothing(t *testing.T) {
	p := pipeOf(t)
	r, w := both(p)
	p.do(t, write(w, strings.Repeat("x", DefaultCapacity-10)))
	wantErrno(t, p.do(t, nonblocking(write(w, "12345678901"))), syscall.EAGAIN)
	if some := p.do(t, nonblocking(write(w, strings.Repeat("y", PipeBuf+1)))); some.N != 10 {
		t.Errorf("non-blocking write of more than PIPE_BUF = %d; want the 10 that fit", some.N)
	}
	wantErrno(t, p.do(t, nonblocking(write(w, strings.Repeat("y", PipeBuf+1)))), syscall.EAGAIN)
	small := write(w, "12345678901")
	objecttest.WantFinished(t, p.Submit(0, small))
	objecttest.WantFinished(t, p.Cancel(1, small, syscall.EINTR), small)
	wantErrno(t, small, syscall.EINTR)
	wantRead(t, p, r, strings.Repeat("x", DefaultCapacity-10)+strings.Repeat("y", 10))
}

func TestInterruptedLongWriteReturnsWhatWent(t *testing.T) {
	p := pipeOf(t, "capacity", "8")
	r, w := both(p)
	text := strings.Repeat("0123456789", 1000)
	long := write(w, text)
	objecttest.WantFinished(t, p.Submit(0, long))
	part := read(r, 5)
	objecttest.WantFinished(t, p.Submit(1, part), part)
	objecttest.WantFinished(t, p.Cancel(2, long, syscall.EINTR), long)
	if long.N != 13 || long.Errno != 0 {
		t.Errorf("write = %d, %v; want 13, 0", long.N, long.Errno)
	}
	wantRead(t, p, r, text[5:13])
}

func TestWriteReturnsWhenItsLastByteIsHeld(t *testing.T) {
	p := pipeOf(t, "capacity", "4")
	r, w := both(p)
	long := write(w, strings.Repeat("x", 10000))
	p.Submit(0, long)
	first := read(r, 9995)
	objecttest.WantFinished(t, p.Submit(1, first), first)
	if len(first.Data) != 9995 {
		t.Errorf("read %d bytes; want all that were offered", len(first.Data))
	}
	second := read(r, 1)
	objecttest.WantFinished(t, p.Submit(1, second), second, long)
	if long.N != 10000 || p.Held().Bytes != 4 {
		t.Errorf("write = %d, %d held; want 10000, 4", long.N, p.Held().Bytes)
	}
}

func TestZeroCapacityWriteReturnsWhenItHasBeenRead(t *testing.T) {
	p := pipeOf(t, "capacity", "0")
	r, w := both(p)
	wantErrno(t, p.do(t, nonblocking(write(w, "x"))), syscall.EAGAIN)
	first, second := write(w, "abc"), write(w, "de")
	objecttest.WantFinished(t, p.Submit(0, first))
	objecttest.WantFinished(t, p.Submit(0, second))
	part := read(r, 2)
	objecttest.WantFinished(t, p.Submit(1, part), part)
	rest := read(r, 10)
	objecttest.WantFinished(t, p.Submit(1, rest), rest, first, second)
	if got := string(part.Data) + string(rest.Data); got != "abcde" {
		t.Errorf("read %q; want abcde", got)
	}
	waiting, direct := read(r, 10), write(w, "fg")
	p.Submit(2, waiting)
	objecttest.WantFinished(t, p.Submit(3, direct), waiting, direct)
}

func TestLongWriteReachesTheWaitingReaderUncopied(t *testing.T) {
	p := pipeOf(t)
	r, w := both(p)
	waiting, long := read(r, 1<<20), write(w, strings.Repeat("x", 1<<20))
	data := long.Data
	p.Submit(0, waiting)
	objecttest.WantFinished(t, p.Submit(1, long), long, waiting) // it wakes first: the copy is the driver's
	if &waiting.Data[0] != &data[0] || len(waiting.Data) != 1<<20 {
		t.Error("the bytes were copied")
	}
}

func TestRingKeepsTheNewestBytes(t *testing.T) {
	p := pipeOf(t, "lifetime", "persistent", "overflow", "drop-oldest", "capacity", "10")
	w := writeEnd()
	p.do(t, connect(w))
	for _, text := range []string{"0123", "4567", "89ab", "c"} {
		p.do(t, write(w, text))
	}
	r := readEnd()
	p.do(t, connect(r))
	wantRead(t, p, r, "3456789abc")
	p.do(t, write(w, "a very long line"))
	wantRead(t, p, r, " long line")
	if p.dropped != 3+6 {
		t.Errorf("%d dropped; want 9", p.dropped)
	}
}

func TestDropNewestKeepsTheOldestBytes(t *testing.T) {
	p := pipeOf(t, "overflow", "drop-newest", "capacity", "10")
	r, w := both(p)
	for _, text := range []string{"01234567", "89ab"} {
		if n := p.do(t, write(w, text)).N; n != len(text) {
			t.Errorf("write = %d; want %d", n, len(text))
		}
	}
	wantRead(t, p, r, "01234567")
	p.SetPolicy(0, "overflow", "fail")
	wantErrno(t, p.do(t, write(w, "0123456789")), 0)
	wantErrno(t, p.do(t, write(w, "x")), syscall.EAGAIN)
}

func TestPersistentPipeOutlivesItsEnds(t *testing.T) {
	p := pipeOf(t, "lifetime", "persistent")
	w := writeEnd()
	first := connect(w)
	objecttest.WantFinished(t, p.Submit(0, first), first)
	p.do(t, write(w, "abc"))
	p.do(t, closing(w))
	r := readEnd()
	p.do(t, connect(r))
	wantRead(t, p, r, "abc")
	waiting := read(r, 10)
	objecttest.WantFinished(t, p.Submit(0, waiting))
	if e := p.Ready(r); e != 0 {
		t.Errorf("ready = %#x; want nothing", e)
	}
}

func TestHangupIsOneEndOfFileForEachReader(t *testing.T) {
	p := pipeOf(t, "lifetime", "persistent")
	w, r1, r2 := writeEnd(), readEnd(), readEnd()
	hangup := func() *objects.Request { return &objects.Request{Op: objects.Hangup} }
	p.do(t, connect(w))
	p.do(t, write(w, "abc"))
	p.do(t, hangup())
	p.do(t, write(w, "def"))
	p.do(t, connect(r1))
	p.do(t, connect(r2))
	wantRead(t, p, r1, "abc")
	wantRead(t, p, r2, "")
	wantRead(t, p, r1, "")
	wantRead(t, p, r1, "def")
	waiting := read(r1, 10)
	p.Submit(0, waiting)
	h := hangup()
	objecttest.WantFinished(t, p.Submit(1, h), waiting, h)
	wantRead(t, p, r2, "")
	wantErrno(t, p.do(t, nonblocking(read(r2, 1))), syscall.EAGAIN)
	wantErrno(t, p.do(t, nonblocking(read(r1, 1))), syscall.EAGAIN)
}

func TestRestOfALongReadDoesNotWait(t *testing.T) {
	p := pipeOf(t)
	r, _ := both(p)
	rest := read(r, 10)
	rest.More = true
	objecttest.WantFinished(t, p.Submit(0, rest), rest)
	if rest.Errno != 0 || len(rest.Data) != 0 {
		t.Errorf("read = %q, %v; want nothing", rest.Data, rest.Errno)
	}
}

func TestFlushDiscardsAndAdmits(t *testing.T) {
	p := pipeOf(t, "capacity", "4")
	r, w := both(p)
	p.do(t, write(w, "abcd"))
	waiting := write(w, "efg")
	p.Submit(0, waiting)
	p.Submit(0, &objects.Request{Op: objects.Send, Handle: &objects.Handle{WriteOp: objects.Send}, Data: []byte("!")})
	f := &objects.Request{Op: objects.Flush}
	objecttest.WantFinished(t, p.Submit(1, f), f, waiting)
	wantRead(t, p, r, "efg")
	if p.oob.Any() {
		t.Error("oob was not flushed")
	}
}

func TestOutOfBandOvertakesTheStream(t *testing.T) {
	p := pipeOf(t)
	r, w := both(p)
	out, in := &objects.Handle{Writes: true, WriteOp: objects.Send}, &objects.Handle{Reads: true, ReadOp: objects.Receive, EOF: true}
	p.do(t, &objects.Request{Op: objects.Open, Handle: out})
	p.do(t, &objects.Request{Op: objects.Open, Handle: in})
	p.do(t, write(w, strings.Repeat("x", DefaultCapacity)))
	p.do(t, &objects.Request{Op: objects.Send, Handle: out, Data: []byte("stop")})
	if e := p.Ready(r); e != objects.In|objects.Pri {
		t.Errorf("ready = %#x; want In|Pri", e)
	}
	if e := p.Ready(in); e != objects.In {
		t.Errorf("oob is ready for %#x; want In", e)
	}
	got := p.do(t, &objects.Request{Op: objects.Receive, Handle: in, Size: 100})
	if string(got.Data) != "stop" {
		t.Errorf("oob = %q; want stop", got.Data)
	}
	long := p.do(t, &objects.Request{Op: objects.Send, Handle: out, Data: make([]byte, PipeBuf+1)})
	wantErrno(t, long, syscall.EMSGSIZE)
	if p.openReaders != 1 || p.openWriters != 1 {
		t.Errorf("%d readers, %d writers; oob is no end of the stream", p.openReaders, p.openWriters)
	}
	p.do(t, closing(in))
	p.do(t, closing(out))
	p.do(t, closing(w))
	if e := p.Ready(r); e != objects.In|objects.Hup {
		t.Errorf("ready = %#x; want In|Hup", e)
	}
}

func TestPipeReadiness(t *testing.T) {
	p := pipeOf(t, "capacity", "8192")
	r := readEnd()
	p.do(t, nonblocking(connect(r)))
	if e := p.Ready(r); e != 0 { // pipe_poll: no POLLHUP before the first writer
		t.Errorf("reader before any writer: %#x; want nothing", e)
	}
	w := writeEnd()
	p.do(t, connect(w))
	for _, step := range []struct {
		write  int
		events objects.Events
	}{{0, objects.Out}, {4096, objects.Out}, {1, 0}, {4095, 0}} {
		p.do(t, write(w, strings.Repeat("x", step.write)))
		if e := p.Ready(w); e != step.events {
			t.Errorf("writer beside %d bytes: %#x; want %#x", p.Held().Bytes, e, step.events)
		}
	}
	p.do(t, closing(r))
	if e := p.Ready(w); e != objects.Err {
		t.Errorf("writer without reader: %#x; want Err", e)
	}
}

func TestReturnedBytesAreTheNext(t *testing.T) {
	var b objecttest.Book
	p := New(&b)
	r, w := both(p)
	p.do(t, write(w, "abcdef"))
	dead := p.do(t, read(r, 3))
	p.Return(1, dead)
	wantRead(t, p, r, "abcdef")
	gone, next := read(r, 10), read(r, 2)
	p.Submit(0, gone)
	p.Submit(0, next)
	p.Submit(0, write(w, "xyz"))
	objecttest.WantFinished(t, p.Return(1, next))
	objecttest.WantFinished(t, p.Return(1, gone), next)
	wantRead(t, p, r, "z")
	p.Destroy(2)
	if b.Bytes != 0 {
		t.Errorf("%d bytes booked; want 0", b.Bytes)
	}
}

func TestDestroyedPipeWakesEveryoneWithEIDRM(t *testing.T) {
	p := pipeOf(t, "capacity", "1")
	r, w := both(p)
	in := &objects.Request{Op: objects.Receive, Handle: &objects.Handle{Reads: true, ReadOp: objects.Receive}, Size: 10}
	p.do(t, in)
	writing := p.do(t, write(w, "abc"))
	objecttest.WantFinished(t, p.Destroy(1), in, writing)
	wantErrno(t, writing, syscall.EIDRM)
	wantErrno(t, p.do(t, read(r, 1)), syscall.EIDRM)
	wantErrno(t, p.do(t, closing(r)), 0)
	p = pipeOf(t)
	opening := connect(readEnd())
	p.Submit(0, opening)
	objecttest.WantFinished(t, p.Destroy(1), opening)
	wantErrno(t, opening, syscall.EIDRM)
}

func TestFullLedgerRefusesBytes(t *testing.T) {
	p := New(objecttest.Full{Errno: syscall.ENOSPC})
	r, w := both(p)
	wantErrno(t, p.do(t, write(w, "abc")), syscall.ENOSPC)
	waiting := read(r, 10)
	p.Submit(0, waiting)
	direct := p.do(t, write(w, "abc")) // nothing is kept
	wantErrno(t, direct, 0)
}

func TestPipeRemovable(t *testing.T) {
	p := pipeOf(t)
	opening := connect(readEnd())
	p.Submit(0, opening)
	if errno := p.Removable(); errno != syscall.EBUSY {
		t.Errorf("removable beside an opener = %v; want EBUSY", errno)
	}
	w := writeEnd()
	p.do(t, connect(w))
	p.do(t, write(w, "x"))
	if errno := p.Removable(); errno != syscall.ENOTEMPTY {
		t.Errorf("removable with a byte = %v; want ENOTEMPTY", errno)
	}
}

func TestBadPipePolicyChangesNothing(t *testing.T) {
	p := pipeOf(t)
	for _, name := range append(objects.KindNamed("pipe").PolicyNames(), "colour") {
		for _, value := range []string{"", "-1", "many", "sessions"} {
			if done, errno := p.SetPolicy(0, name, value); errno != syscall.EINVAL || !done.Empty() {
				t.Errorf("set %s %q = %v; want EINVAL", name, value, errno)
			}
		}
	}
	if got := p.Policy("capacity") + p.Policy("overflow") + p.Policy("lifetime"); got != "65536blocksession" {
		t.Errorf("policies = %s", got)
	}
}

// The model of a pipe is a string, and the writes that wait, each with the part of it
// that has not gone. It keeps the laws of pipe(7) byte by byte.
type pipeModel struct {
	capacity int
	held     string
	writes   []*pipeTurn
	reads    []*pipeTurn
	done     []*pipeTurn
}

type pipeTurn struct {
	id       int
	op       objects.Op
	rest     string
	whole    int
	gone     int
	size     int
	nonblock bool
	got      string
	errno    syscall.Errno
}

func (m *pipeModel) finish(r *pipeTurn) { m.done = append(m.done, r) }

// room admits one step of the first write; it reports false if nothing moved.
func (m *pipeModel) admit() bool {
	w := m.writes[0]
	room := max(0, m.capacity-len(m.held))
	n := min(room, len(w.rest))
	if w.gone == 0 && w.whole <= PipeBuf && w.whole <= m.capacity && n < w.whole {
		n = 0
	}
	m.held += w.rest[:n]
	w.rest = w.rest[n:]
	w.gone += n
	if w.rest != "" {
		return false
	}
	m.writes = m.writes[1:]
	m.finish(w)
	return true
}

func (m *pipeModel) settle() {
	for len(m.writes) > 0 && m.admit() {
	}
}

// offered is all that could be read now.
func (m *pipeModel) offered() string {
	s := m.held
	for _, w := range m.writes {
		s += w.rest
	}
	return s
}

// took removes the first n bytes that are offered.
func (m *pipeModel) took(n int) {
	k := min(n, len(m.held))
	m.held = m.held[k:]
	for _, w := range m.writes {
		k2 := min(n-k, len(w.rest))
		w.rest = w.rest[k2:]
		w.gone += k2
		k += k2
	}
}

func TestPipeDoesWhatItsModelDoes(t *testing.T) {
	runs := 1000
	if testing.Short() {
		runs = 300
	}
	for seed := range uint64(runs) {
		choose := rand.New(rand.NewPCG(seed, 1)).IntN
		var b objecttest.Book
		p, m := New(&b), &pipeModel{capacity: DefaultCapacity}
		r, w := both(p)
		turns := map[*objects.Request]*pipeTurn{}
		var live []*objects.Request
		var log []string
		next := byte('a')
		fatalf := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("seed %d: %s\n%s", seed, fmt.Sprintf(format, args...), strings.Join(log, "\n"))
		}
		for id := range 60 {
			var done objects.Finished
			if choose(12) == 0 {
				log = append(log, "reload")
				p = objecttest.Reload(t, "pipe", &b, p, []*objects.Handle{r, w}).(*Pipe)
			}
			switch choose(10) {
			case 0:
				m.capacity = []int{0, 1, 5, 4096, 10000, DefaultCapacity}[choose(6)]
				log = append(log, fmt.Sprintf("capacity %d", m.capacity))
				done, _ = p.SetPolicy(0, "capacity", fmt.Sprint(m.capacity))
				m.settle()
			case 1:
				if len(live) == 0 {
					continue
				}
				q := live[choose(len(live))]
				turn := turns[q]
				log = append(log, fmt.Sprintf("cancel #%d", turn.id))
				done = p.Cancel(0, q, syscall.EINTR)
				is := func(x *pipeTurn) bool { return x == turn }
				m.writes, m.reads = slices.DeleteFunc(m.writes, is), slices.DeleteFunc(m.reads, is)
				if turn.gone == 0 {
					turn.errno = syscall.EINTR
				}
				m.finish(turn)
				m.settle()
			case 2:
				log = append(log, "flush")
				f := &objects.Request{Op: objects.Flush}
				done = p.Submit(0, f)
				turns[f] = &pipeTurn{id: id, op: objects.Flush}
				live = append(live, f)
				m.held = ""
				m.finish(turns[f])
				m.settle()
			case 3, 4, 5, 6:
				n := []int{1, 3, 100, 4096, 4097, 9000, 70000}[choose(7)]
				text := bytes.Repeat([]byte{next}, n)
				for i := range text {
					text[i] += byte(i % 7)
				}
				next = 'a' + (next-'a'+1)%19
				q := &objects.Request{Op: objects.Write, Handle: w, Data: text, Nonblock: choose(3) == 0}
				turn := &pipeTurn{id: id, op: objects.Write, rest: string(text), whole: n, nonblock: q.Nonblock}
				turns[q] = turn
				live = append(live, q)
				log = append(log, fmt.Sprintf("#%d write %d nonblock %v", id, n, q.Nonblock))
				done = p.Submit(0, q)
				// The model: waiting readers first, each its own step, then room.
				for len(m.reads) > 0 && turn.rest != "" {
					reading := shift(&m.reads)
					k := min(reading.size, len(turn.rest))
					reading.got, turn.rest = turn.rest[:k], turn.rest[k:]
					turn.gone += k
					m.finish(reading)
				}
				// What is left of it counts as a write of its own for PIPE_BUF.
				before := len(m.done)
				m.writes = append(m.writes, turn)
				if turn.rest == "" || len(m.writes) == 1 {
					m.admit()
				}
				if q.Nonblock && len(m.done) == before {
					m.writes = m.writes[:len(m.writes)-1]
					turn.rest = ""
					if turn.gone == 0 {
						turn.errno = syscall.EAGAIN
					}
					m.finish(turn)
				}
				if last := len(m.done) - 1; last > 0 && m.done[last] == turn && turn.gone >= maxChunk && m.capacity > 0 {
					m.done = slices.Insert(m.done[:last], 0, turn) // it wakes before its readers
				}
			default:
				q := read(r, []int{1, 10, 4096, 5000, 65536, 1 << 20}[choose(6)])
				q.Nonblock = choose(3) == 0
				turn := &pipeTurn{id: id, op: objects.Read, size: q.Size, nonblock: q.Nonblock}
				turns[q] = turn
				live = append(live, q)
				log = append(log, fmt.Sprintf("#%d read %d nonblock %v", id, q.Size, q.Nonblock))
				done = p.Submit(0, q)
				offered := m.offered()
				switch {
				case offered != "":
					// How many it gets is not law, as long as they are the
					// first: a short read is any reader's lot.
					n := len(q.Data)
					if n == 0 || n > q.Size || n > len(offered) || n < min(q.Size, len(m.held), maxChunk) {
						fatalf("#%d read %d bytes of %d held and %d offered", id, n, len(m.held), len(offered))
					}
					turn.got = offered[:n]
					m.took(n)
					if n >= maxChunk && m.capacity > 0 { // writers wake first
						m.settle()
						m.finish(turn)
					} else {
						m.finish(turn)
						m.settle()
					}
				case q.Nonblock:
					turn.errno = syscall.EAGAIN
					m.finish(turn)
				default:
					m.reads = append(m.reads, turn)
				}
			}
			var got, want []string
			say := func(id int, errno syscall.Errno, n int, data string) string {
				return fmt.Sprintf("#%d errno %d wrote %d read %d %.20q", id, errno, n, len(data), data)
			}
			for q := range done.All() {
				data := ""
				if q.Op == objects.Read {
					data = string(q.Data)
				}
				if q.Op == objects.Read && turns[q].got != data {
					fatalf("#%d read other bytes than were written", turns[q].id)
				}
				got = append(got, say(turns[q].id, q.Errno, q.N, data))
				live = slices.DeleteFunc(live, func(x *objects.Request) bool { return x == q })
			}
			for _, turn := range m.done {
				want = append(want, say(turn.id, turn.errno, turn.gone, turn.got))
			}
			m.done = nil
			if !slices.Equal(got, want) || p.held != int64(len(m.held)) {
				fatalf("finished %v, %d held; want %v, %d", got, p.held, want, len(m.held))
			}
			if err := p.Check(); err != nil {
				fatalf("%v", err)
			}
			if b.Bytes != p.bytes.n {
				fatalf("%d bytes booked; want %d", b.Bytes, p.bytes.n)
			}
			// The driver uses its buffers again.
			for q := range turns {
				if !q.Parked() && q.Op == objects.Write {
					clear(q.Data)
				}
			}
		}
	}
}

func TestWriteThatCannotBeBookedIsAnswered(t *testing.T) {
	p := New(objecttest.NewBank(100))
	_, w := both(p)
	r := write(w, strings.Repeat("x", 1000))
	objecttest.WantFinished(t, p.Submit(1, r), r)
	if r.Errno == 0 || r.N != 0 || p.Held().Bytes != 0 {
		t.Errorf("write = %d, %v, %d bytes held; want an error and none", r.N, r.Errno, p.Held().Bytes)
	}
	if err := p.Check(); err != nil {
		t.Error(err)
	}
}

func TestPipeHasChangedWhenItWasWrittenTo(t *testing.T) {
	p := pipeOf(t)
	_, w := both(p)
	p.Submit(7, write(w, "x"))
	if at := p.Held().Changed; at != 7 {
		t.Errorf("changed at %d; want 7", at)
	}
}

// Bob's write would drop the oldest of what Alice has written, but cannot be booked.
func TestWriteThatFailsDropsNoOlderBytes(t *testing.T) {
	bank := objecttest.NewBank(4000)
	p := New(bank)
	p.SetPolicy(0, "capacity", "3000")
	p.SetPolicy(0, "overflow", "drop-oldest")
	rd, w := both(p)
	alices, bobs := strings.Repeat("a", 2000), strings.Repeat("b", 2000)
	by := func(uid uint32, text string) *objects.Request {
		r := write(w, text)
		r.Caller.Uid = uid
		return p.do(t, r)
	}
	by(objecttest.Alice, alices)
	bank.Users[objecttest.Bob] = objects.Cost{Bytes: 3000}
	if r := by(objecttest.Bob, bobs); r.Errno != syscall.EDQUOT || p.Held().Bytes != 2000 || p.dropped != 0 {
		t.Errorf("write = %v, %d bytes held, %d dropped; want EDQUOT, 2000, 0", r.Errno, p.Held().Bytes, p.dropped)
	}
	bank.Users[objecttest.Bob] = objects.Cost{}
	if r := by(objecttest.Bob, bobs); r.Errno != 0 || p.Held().Bytes != 3000 || p.dropped != 1000 {
		t.Errorf("write = %v, %d bytes held, %d dropped; want success, 3000, 1000", r.Errno, p.Held().Bytes, p.dropped)
	}
	wantRead(t, p, rd, alices[1000:]+bobs)
	if err := bank.Balances(p); err != nil {
		t.Error(err)
	}
}

// What is dropped makes room for what is written also on the books.
func TestWriteIsBookedInPlaceOfWhatItDrops(t *testing.T) {
	bank := objecttest.NewBank(2 * (1000 + chunkCost))
	p := New(bank)
	p.SetPolicy(0, "capacity", "1000")
	p.SetPolicy(0, "overflow", "drop-oldest")
	_, w := both(p)
	for i := range 9 {
		r := write(w, strings.Repeat("x", 1000))
		r.Caller.Uid = objecttest.Alice
		if p.do(t, r); r.Errno != 0 {
			t.Fatalf("write %d = %v; want success", i, r.Errno)
		}
		if err := bank.Balances(p); err != nil {
			t.Error(err)
		}
	}
}

func shift[T any](s *[]T) T {
	x := (*s)[0]
	*s = slices.Clone((*s)[1:])
	return x
}
