// Package segment is shared memory.
package segment

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"syscall"

	"ipcfs/objects"
	"ipcfs/objects/semaphore"
)

// bookUnit is what the size of a segment is rounded up to in the ledger: memory
// comes in pages.
const Page = 4096

func init() {
	objects.Register(objects.Kind{
		Name:     "segment",
		New:      func(l objects.Ledger) objects.Object { return New(l, new(Bytes), 0) },
		Load:     objects.Loading(load),
		Policies: segmentPolicies.Kinds(),
		Ops:      []objects.Op{objects.Open, objects.ReadAt, objects.WriteAt, objects.Resize, objects.Allocate, objects.Reserve, objects.Punch, objects.Hold, objects.Release, objects.Close},
		Counters: counters.Kinds(),
		Level:    objects.Level{Unit: "bytes", Value: "size"},
	})
}

// Storage is the bytes of a segment. The driver provides it: a mount has memory that
// processes can map, a simulation a slice. A new one has size 0.
type Storage interface {
	// Size is the number of bytes.
	Size() int64

	// ReadAt copies bytes from offset to p, fewer only at the end.
	ReadAt(p []byte, offset int64) (int, syscall.Errno)

	// WriteAt copies p to offset and grows as needed.
	WriteAt(p []byte, offset int64) (int, syscall.Errno)

	// Truncate cuts off, or grows by zeros.
	Truncate(size int64) syscall.Errno

	// Allocate makes sure that n bytes at offset can be stored to. keepSize does
	// it beyond the end, too, without growing.
	Allocate(offset, n int64, keepSize bool) syscall.Errno

	// Punch turns n bytes at offset into zeros that take no memory.
	Punch(offset, n int64) syscall.Errno

	// Mapped reports whether a process may have it mapped of which the object sees no
	// open file: a mapping outlives that, and where the memory itself is mapped the
	// driver is not told when it ends.
	Mapped() bool

	// Frozen reports whether nobody can change the bytes but through the object: not by
	// a mapping, and not by what the kernel does for a process in memory that was mapped
	// once. The driver has frozen it before, which may take long.
	Frozen() bool

	// Move moves the bytes, none of which is copied, to a storage of their own, on whose
	// books they are now. What is left is as after Free.
	Move(owner uint32) Storage

	// Free lets go of everything, and calls refund once when it has gone: at once, or
	// later, and then from wherever the driver likes. Who has it mapped keeps it.
	Free(refund func())
}

// A Segment is shared memory. Processes map it, or read and write it at offsets; it
// is theirs to coordinate.
//
// It is booked by its size in whole pages, not by the pages in use: who was allowed
// to make it that big can store everywhere without running out of memory. A write that
// does not ask the driver (FUSE passthrough) may make the memory grow
// behind the object's back; what has grown is booked as soon as the object is used.
//
// Seals are those of fcntl(2), F_ADD_SEALS: they cannot be taken off.
//
// The lock that goes with it is a semaphore of one unit, for Hold. Only for that does
// anybody wait.
type Segment struct {
	ledger objects.Ledger
	memory Storage
	owner  uint32 // whom it is booked on

	booked   int64 // bytes
	reserved int64 // the end of what Reserve has allocated
	seals    seal

	destroyed bool
	changed   objects.Time
	taken     objects.Time

	attached         []Attachment // in the order of their opening
	readers, writers int64

	lock *semaphore.Semaphore
}

// An Attachment is an open file of a segment.
type Attachment struct {
	Handle *objects.Handle
	Caller objects.Caller // who opened it
}

// New makes a segment of size 0 whose bytes are in m, which is empty. It is
// booked in l on owner.
func New(l objects.Ledger, m Storage, owner uint32) *Segment {
	return &Segment{ledger: l, memory: m, owner: owner, lock: semaphore.NewOf(1, 1)}
}

// seal is a set of seals.
type seal uint8

const (
	sealShrink seal = 1 << iota // F_SEAL_SHRINK
	sealGrow                    // F_SEAL_GROW
	sealWrite                   // F_SEAL_WRITE
)

var sealNames = [...]string{"shrink", "grow", "write"}

// noSeal is what the policy shows while there is none.
const noSeal = "none"

// String is the set as the policy shows it.
func (s seal) String() string {
	var words []string
	for i, name := range sealNames {
		if s&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	if words == nil {
		return noSeal
	}
	return strings.Join(words, " ")
}

func parseSeal(value string) (s seal, ok bool) {
	for word := range strings.FieldsSeq(value) {
		i := slices.Index(sealNames[:], word)
		switch {
		case i >= 0:
			s |= 1 << i
		case word != noSeal:
			return 0, false
		}
		ok = true
	}
	return s, ok
}

// Submit implements Object.
func (g *Segment) Submit(now objects.Time, r *objects.Request) objects.Finished {
	r.Errno, r.N = 0, 0
	switch {
	case r.Op == objects.Hold, r.Op == objects.Release, r.Op == objects.Close && !g.detach(r.Handle):
		return g.lock.Submit(now, r)
	case r.Op == objects.Close:
		*r.Handle = objects.Handle{}
		return objects.One(r)
	case g.destroyed:
		return r.Fail(syscall.EIDRM)
	}
	g.bookGrowth()
	switch {
	case r.Offset < 0:
		r.Errno = syscall.EINVAL
		return objects.One(r)
	case r.Op == objects.Allocate, r.Op == objects.Reserve, r.Op == objects.Punch:
		// fallocate(2): EINVAL, no length; EFBIG, beyond the largest file.
		if r.Size <= 0 {
			r.Errno = syscall.EINVAL
			return objects.One(r)
		}
		if r.Offset+int64(r.Size) < 0 {
			r.Errno = syscall.EFBIG
			return objects.One(r)
		}
	}
	switch r.Op {
	case objects.Open:
		r.Errno = g.attach(r)
	case objects.ReadAt:
		r.N, r.Errno = g.memory.ReadAt(r.Data, r.Offset)
		r.Data = r.Data[:r.N]
		g.taken = now
	case objects.WriteAt:
		r.N, r.Errno = g.write(r.Data, r.Offset)
		g.changed = now
	case objects.WriteBack:
		// The pages of a mapping that was cut off meanwhile are gone.
		n := min(max(g.memory.Size()-r.Offset, 0), int64(len(r.Data)))
		if n > 0 {
			_, r.Errno = g.memory.WriteAt(r.Data[:n], r.Offset)
		}
		r.N = len(r.Data)
		g.changed = now
	case objects.Resize:
		if r.Errno = g.resize(r.Offset); r.Errno == 0 {
			g.changed = now
		}
	case objects.Allocate, objects.Reserve:
		r.Errno = g.allocate(r.Offset, int64(r.Size), r.Op == objects.Reserve)
	case objects.Punch:
		// fcntl(2): F_SEAL_WRITE makes holes in it EPERM, too.
		if g.seals&sealWrite != 0 {
			r.Errno = syscall.EPERM
			break
		}
		r.Errno = g.memory.Punch(r.Offset, int64(r.Size))
		g.changed = now
	default:
		r.Errno = syscall.EINVAL
	}
	return objects.One(r)
}

func (g *Segment) attach(r *objects.Request) syscall.Errno {
	// fcntl(2): EPERM, sealed against writing. It is said at open, because a mapping
	// made later would not ask.
	if r.Handle.Writes && g.seals&sealWrite != 0 {
		return syscall.EPERM
	}
	g.attached = append(g.attached, Attachment{r.Handle, r.Caller})
	g.count(r.Handle, 1)
	return 0
}

// detach reports whether h was attached.
func (g *Segment) detach(h *objects.Handle) bool {
	i := slices.IndexFunc(g.attached, func(a Attachment) bool { return a.Handle == h })
	if i < 0 {
		return false
	}
	g.attached = slices.Delete(g.attached, i, i+1)
	g.count(h, -1)
	if !g.destroyed {
		g.bookGrowth()
	}
	return true
}

func (g *Segment) count(h *objects.Handle, by int64) {
	if h.Reads {
		g.readers += by
	}
	if h.Writes {
		g.writers += by
	}
}

// pages is the number of bytes that n bytes of memory are booked as.
func pages(n int64) int64 {
	if n > math.MaxInt64-Page {
		return math.MaxInt64
	}
	return (n + Page - 1) / Page * Page
}

// book changes what is booked to n bytes.
func (g *Segment) book(n int64) syscall.Errno {
	if n = pages(n); n == g.booked {
		return 0
	}
	errno := g.ledger.Charge(g.owner, objects.Cost{Bytes: n - g.booked})
	if errno == 0 {
		g.booked = n
	}
	return errno
}

// extent is the end of what the memory may use.
func (g *Segment) extent() int64 { return max(g.memory.Size(), g.reserved) }

// bookGrowth books what has grown unasked. Where the ledger has no room for it the
// segment stays as it is, and finds none to grow further.
func (g *Segment) bookGrowth() {
	if n := g.extent(); pages(n) > g.booked {
		g.book(n)
	}
}

// write is pwrite(2).
func (g *Segment) write(p []byte, offset int64) (int, syscall.Errno) {
	end := offset + int64(len(p))
	switch {
	case g.seals&sealWrite != 0:
		return 0, syscall.EPERM
	case end < 0:
		return 0, syscall.EFBIG
	case end > g.memory.Size():
		if g.seals&sealGrow != 0 {
			return 0, syscall.EPERM
		}
		if errno := g.book(max(end, g.extent())); errno != 0 {
			// As tmpfs: what fits into the last page, and the error next time.
			if g.booked <= offset {
				return 0, errno
			}
			p = p[:g.booked-offset]
		}
	}
	n, errno := g.memory.WriteAt(p, offset)
	g.rebook()
	return n, errno
}

// rebook gives back what was booked for growth that has failed.
func (g *Segment) rebook() {
	if n := g.extent(); pages(n) < g.booked {
		g.book(n)
	}
}

// resize is ftruncate(2).
func (g *Segment) resize(n int64) syscall.Errno {
	size := g.memory.Size()
	switch {
	case n < size && g.seals&sealShrink != 0, n > size && g.seals&sealGrow != 0:
		return syscall.EPERM
	case n > size:
		if errno := g.book(max(n, g.reserved)); errno != 0 {
			return errno
		}
	}
	errno := g.memory.Truncate(n)
	if errno == 0 && n < size {
		g.reserved = 0 // cut off as well
	}
	g.rebook()
	return errno
}

// allocate is fallocate(2) with mode 0, or FALLOC_FL_KEEP_SIZE.
func (g *Segment) allocate(offset, n int64, keepSize bool) syscall.Errno {
	end := offset + n
	if !keepSize && end > g.memory.Size() && g.seals&sealGrow != 0 {
		return syscall.EPERM
	}
	if errno := g.book(max(end, g.extent())); errno != 0 {
		return errno
	}
	errno := g.memory.Allocate(offset, n, keepSize)
	if errno == 0 && keepSize {
		g.reserved = max(g.reserved, end)
	}
	g.rebook()
	return errno
}

// Cancel implements Object.
func (g *Segment) Cancel(now objects.Time, r *objects.Request, cause syscall.Errno) objects.Finished {
	return g.lock.Cancel(now, r, cause)
}

// Return implements Object: what was read is still there.
func (g *Segment) Return(objects.Time, *objects.Request) objects.Finished { return objects.Finished{} }

// Destroy implements Object.
func (g *Segment) Destroy(now objects.Time) objects.Finished {
	if !g.destroyed {
		g.destroyed = true
		booked := g.booked
		g.booked, g.reserved = 0, 0
		g.memory.Free(func() { g.ledger.Adjust(g.owner, objects.Cost{Bytes: -booked}) })
	}
	return g.lock.Destroy(now)
}

// Removable implements Object: EBUSY while somebody has it open or its lock. What is
// in it does not count: it is never emptied by use.
func (g *Segment) Removable() syscall.Errno {
	if len(g.attached) > 0 {
		return syscall.EBUSY
	}
	return g.lock.Removable()
}

// Ready implements Object. As in poll(2) of a regular file, nothing would block.
func (g *Segment) Ready(*objects.Handle) objects.Events { return objects.In | objects.Out }

// segmentPolicies are the policies of a segment. A new size is a Resize, with its errors.
// The words of a new seal are added to those there are. EBUSY: grow and write take effect
// on files opened from then on, so nobody may have it open for writing, or mapped without
// having it open (fcntl(2), F_SEAL_WRITE: EBUSY while there is a writable mapping), and
// write needs frozen memory.
var segmentPolicies = objects.Policies[*Segment]{
	objects.Row("size", "The size in bytes.", objects.Bytes,
		func(g *Segment) int64 { return g.Held().Bytes },
		func(g *Segment, now objects.Time, n int64) syscall.Errno {
			if n == objects.Unbounded {
				return syscall.EINVAL
			}
			r := &objects.Request{Op: objects.Resize, Offset: n}
			g.Submit(now, r)
			return r.Errno
		}),
	objects.Row("seal", "What is forbidden for good.", objects.Values[seal]{Forms: sealNames[:], Parse: parseSeal, Format: seal.String},
		func(g *Segment) seal { return g.seals },
		func(g *Segment, _ objects.Time, s seal) syscall.Errno {
			switch {
			case s&^g.seals&(sealGrow|sealWrite) != 0 && (g.writers > 0 || len(g.attached) == 0 && g.memory.Mapped()),
				s&^g.seals&sealWrite != 0 && !g.memory.Frozen():
				return syscall.EBUSY
			}
			g.seals |= s
			return 0
		}),
}

// Policy implements Object.
func (g *Segment) Policy(name string) string { return segmentPolicies.Show(g, name) }

// SetPolicy implements Object.
func (g *Segment) SetPolicy(now objects.Time, name, value string) (objects.Finished, syscall.Errno) {
	return objects.Finished{}, segmentPolicies.Set(g, now, name, value)
}

// Storage is what it was made with.
func (g *Segment) Storage() Storage { return g.memory }

// Owners yields who holds the lock.
func (g *Segment) Owners() iter.Seq[semaphore.Owner] { return g.lock.Owners() }

// Attached yields the open files in the order of their opening.
func (g *Segment) Attached() iter.Seq[Attachment] { return slices.Values(g.attached) }

// SealedGrow reports whether it must not grow.
func (g *Segment) SealedGrow() bool { return g.seals&sealGrow != 0 }

// SealedShrink reports whether it must not shrink.
func (g *Segment) SealedShrink() bool { return g.seals&sealShrink != 0 }

// SealedWrite reports whether it must not change.
func (g *Segment) SealedWrite() bool { return g.seals&sealWrite != 0 }

// ForWriting reports whether anybody has it open for writing.
func (g *Segment) ForWriting() bool { return g.writers > 0 }

// Twice books the memory once more, while there is a copy of it, and returns what gives
// that back. ENOSPC and EDQUOT: there is no room.
func (g *Segment) Twice() (once func(), errno syscall.Errno) {
	n := g.booked
	if errno := g.ledger.Charge(g.owner, objects.Cost{Bytes: n}); errno != 0 {
		return nil, errno
	}
	return func() { g.ledger.Adjust(g.owner, objects.Cost{Bytes: -n}) }, 0
}

// Owner is on whom it is booked.
func (g *Segment) Owner() uint32 { return g.owner }

// Held implements Object.
func (g *Segment) Held() objects.Held {
	if g.destroyed {
		return objects.Held{}
	}
	g.bookGrowth()
	return objects.Held{Bytes: g.memory.Size(), Changed: g.changed, Taken: g.taken}
}

// counters are what the file stat shows.
var counters = objects.Counters[*Segment]{
	{Name: "bytes", Gauge: true, Help: "The size in bytes.", Value: func(g *Segment) int64 { return g.Held().Bytes }},
	{Name: "booked", Gauge: true, Help: "Bytes on the books.", Value: func(g *Segment) int64 { return g.booked }},
	{Name: "attached", Gauge: true, Help: "Open files.", Value: func(g *Segment) int64 { return int64(len(g.attached)) }},
	{Name: "open_readers", Gauge: true, Help: "Files open for reading.", Value: func(g *Segment) int64 { return g.readers }},
	{Name: "open_writers", Gauge: true, Help: "Files open for writing.", Value: func(g *Segment) int64 { return g.writers }},
	{Name: "lock_owners", Gauge: true, Help: "Holders of the lock.", Value: func(g *Segment) int64 { return int64(g.lock.Holders()) }},
	{Name: "lock_waiting", Gauge: true, Help: "Opens that wait for the lock.", Value: func(g *Segment) int64 { return int64(g.lock.Waiting()) }},
}

// Stat implements Object.
func (g *Segment) Stat() []objects.Counter { return counters.Stat(g) }

// Waiters implements Object.
func (g *Segment) Waiters() iter.Seq[*objects.Request] { return g.lock.Waiters() }

// Booked implements Accountable.
func (g *Segment) Booked() map[uint32]objects.Cost {
	return map[uint32]objects.Cost{g.owner: {Bytes: g.booked}}
}

// Check implements Object.
func (g *Segment) Check() error {
	var readers, writers int64
	for _, a := range g.attached {
		if a.Handle.Reads {
			readers++
		}
		if a.Handle.Writes {
			writers++
		}
	}
	switch {
	case readers != g.readers || writers != g.writers:
		return fmt.Errorf("open for %d readers and %d writers, counted %d and %d", readers, writers, g.readers, g.writers)
	case g.destroyed && g.booked != 0:
		return fmt.Errorf("destroyed, but %d bytes are booked", g.booked)
	case !g.destroyed && g.ledger == objects.Unlimited && g.booked != pages(g.extent()):
		return fmt.Errorf("%d bytes of memory are booked as %d", g.extent(), g.booked)
	case g.lock.Total() != 1 && !g.destroyed:
		return fmt.Errorf("the lock has %d units", g.lock.Total())
	}
	return g.lock.Check()
}

// Bytes is memory that is a slice. The zero value is empty memory.
type Bytes struct{ b []byte }

var _ Storage = (*Bytes)(nil)

// Size implements Storage.
func (m *Bytes) Size() int64 { return int64(len(m.b)) }

// ReadAt implements Storage.
func (m *Bytes) ReadAt(p []byte, offset int64) (int, syscall.Errno) {
	if offset < 0 {
		return 0, syscall.EINVAL
	}
	return copy(p, m.b[min(offset, m.Size()):]), 0
}

// WriteAt implements Storage.
func (m *Bytes) WriteAt(p []byte, offset int64) (int, syscall.Errno) {
	if end := offset + int64(len(p)); end > m.Size() {
		if errno := m.Truncate(end); errno != 0 {
			return 0, errno
		}
	}
	return copy(m.b[offset:], p), 0
}

// maxBytes bounds the slice: it is for simulations.
const maxBytes = 1 << 30

// Truncate implements Storage.
func (m *Bytes) Truncate(size int64) syscall.Errno {
	if size > maxBytes {
		return syscall.ENOMEM
	}
	if size <= m.Size() {
		m.b = m.b[:size:size]
	} else {
		m.b = append(m.b, make([]byte, size-m.Size())...)
	}
	return 0
}

// Allocate implements Storage.
func (m *Bytes) Allocate(offset, n int64, keepSize bool) syscall.Errno {
	if end := offset + n; !keepSize && end > m.Size() {
		return m.Truncate(end)
	}
	return 0
}

// Punch implements Storage.
func (m *Bytes) Punch(offset, n int64) syscall.Errno {
	if offset < m.Size() {
		clear(m.b[offset:min(offset+n, m.Size())])
	}
	return 0
}

// Mapped implements Storage.
func (m *Bytes) Mapped() bool { return false }

// Frozen implements Storage.
func (m *Bytes) Frozen() bool { return true }

// Move implements Storage.
func (m *Bytes) Move(uint32) Storage {
	moved := &Bytes{m.b}
	m.b = nil
	return moved
}

// Free implements Storage.
func (m *Bytes) Free(refund func()) {
	m.b = nil
	refund()
}
