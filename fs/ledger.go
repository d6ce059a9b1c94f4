package fs

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"syscall"

	"ipcfs/objects"
)

// Defaults of the mount's limits. Users have none unless the owner of the mount sets
// them.
const (
	defaultMaxObjects = 1 << 20
	// bytesPerMessage and bytesPerObject are what a message, beside its bytes, and an
	// object cost the daemon, rounded up: see BenchmarkMemory in tests.
	bytesPerMessage = 256
	bytesPerObject  = 1024
)

// amounts are what is held, or may be held. Kept is the memory of the daemon, in bytes,
// for what is neither an object nor a message nor their bytes: open files, texts,
// requests that wait. It has no limit of its own: see besides.
// Known is the same for the names that a user has looked up: when that ends is the kernel's
// to say.
type amounts struct{ Objects, Messages, Bytes, Kept, Known int64 }

// unlimited are the amounts that limit nothing.
var unlimited = amounts{Objects: objects.Unbounded, Messages: objects.Unbounded, Bytes: objects.Unbounded}

// most is what no sum of charges goes beyond, whatever the limits. What is booked without
// being asked for is memory that exists, which is less than that. So no sum overflows, and
// every one stays exact.
const most = 1 << 62

// add is a+b, or the int64 nearest to it.
func add(a, b int64) int64 {
	switch sum := a + b; {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	default:
		return sum
	}
}

// times is n*each for a small each, or the int64 nearest to it.
func times(n, each int64) int64 {
	switch {
	case n > math.MaxInt64/each:
		return math.MaxInt64
	case n < math.MinInt64/each:
		return math.MinInt64
	}
	return n * each
}

func (a amounts) plus(b amounts) amounts {
	return amounts{add(a.Objects, b.Objects), add(a.Messages, b.Messages), add(a.Bytes, b.Bytes), add(a.Kept, b.Kept), add(a.Known, b.Known)}
}

// minus are the amounts that undo a.
func (a amounts) minus() amounts {
	return amounts{-a.Objects, -a.Messages, -a.Bytes, -a.Kept, -a.Known}
}

// kept is what the daemon keeps beside the bytes of messages, pipes and segments.
func (a amounts) kept() int64 {
	return add(a.Kept, add(times(a.Messages, bytesPerMessage), times(a.Objects, bytesPerObject)))
}

// cost is the memory that a takes, in bytes.
func (a amounts) cost() int64 { return add(add(a.Bytes, a.Known), a.kept()) }

// room is what may be taken, with what is kept beside the bytes, where these are limited:
// an eighth more, and 1 MiB so that a small limit is one of bytes.
func room(bytes int64) int64 { return add(bytes, bytes/8+1<<20) }

// exceeds reports whether adding n, where it is positive, went beyond the limit.
func (a amounts) exceeds(limit, n amounts) bool {
	return n.Objects > 0 && a.Objects > limit.Objects ||
		n.Messages > 0 && a.Messages > limit.Messages ||
		n.Bytes > 0 && a.Bytes > limit.Bytes ||
		n.cost() > 0 && a.cost() > room(limit.Bytes)
}

// A ledger keeps the limits of a mount and its users. It implements objects.Ledger.
type ledger struct {
	mu          sync.Mutex // guards what follows
	max         amounts
	maxEach     amounts // of one user
	used        amounts
	usedByUsers map[uint32]amounts // without those who hold nothing
	peak        int64              // the most that used has cost since freed was called

	owner uint32 // of the mount
	freed func() // as Config.Freed
}

// alwaysKept is what of the daemon's memory a user may keep in bytes whatever the limits:
// some dozens of open files, so that who has filled a limit can open what empties it.
const alwaysKept = 64 << 10

// keep books a, which is memory of the daemon's, on uid. Root and the owner of the mount have
// room when everybody else has none any more, to mend that.
func (l *ledger) keep(uid uint32, a amounts) syscall.Errno {
	l.mu.Lock()
	defer l.mu.Unlock()
	user := l.usedByUsers[uid].plus(a)
	mends := uid == 0 || uid == l.owner
	switch {
	case add(user.Kept, user.Known) <= alwaysKept,
		mends && l.used.plus(a).cost() <= add(room(l.max.Bytes), l.max.Bytes/16+1<<20):
		l.adjustLocked(uid, a)
		return 0
	case mends || l.fullLocked(a):
		return syscall.ENOSPC
	}
	return l.chargeUserLocked(uid, a)
}

// freedStep is from how many bytes given back on that the memory may go to the kernel.
const freedStep = 8 << 20

// noteFreedLocked calls freed when much has been given back.
func (l *ledger) noteFreedLocked() {
	switch cost := l.used.cost(); {
	case cost > l.peak:
		l.peak = cost
	case l.peak-cost >= freedStep:
		l.peak = cost
		if l.freed != nil {
			l.freed()
		}
	}
}

// newLedger takes the limits of cfg. The default for bytes is half of the machine's
// memory, as tmpfs(5) has it, or of that of the daemon's cgroup.
func newLedger(cfg Config) *ledger {
	l := &ledger{
		max:         amounts{Objects: cfg.MaxObjects, Messages: cfg.MaxMessages, Bytes: cfg.MaxBytes},
		maxEach:     unlimited,
		usedByUsers: make(map[uint32]amounts),
		owner:       cfg.Uid,
		freed:       cfg.Freed,
	}
	if l.max.Bytes == 0 {
		l.max.Bytes = MachineMemory() / 2
	}
	if l.max.Messages == 0 {
		l.max.Messages = l.max.Bytes / bytesPerMessage
	}
	if l.max.Objects == 0 {
		l.max.Objects = defaultMaxObjects
	}
	return l
}

// charge books n on uid. Limits count only for what grows: a lowered limit drops nothing,
// and giving back always works.
func (l *ledger) charge(uid uint32, n amounts) syscall.Errno {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fullLocked(n) {
		return syscall.ENOSPC
	}
	return l.chargeUserLocked(uid, n)
}

// fullLocked reports whether the mount has no room for n.
// tmpfs(5): ENOSPC, the size or the number of inodes of the file system.
func (l *ledger) fullLocked(n amounts) bool {
	all := l.used.plus(n)
	return all.exceeds(l.max, n) || all.exceeds(amounts{most, most, most, 0, 0}, n) || n.Kept > 0 && all.Kept > most
}

// chargeUserLocked books n on uid if the limit of a user has room for it.
func (l *ledger) chargeUserLocked(uid uint32, n amounts) syscall.Errno {
	user := l.usedByUsers[uid].plus(n)
	// quotactl(2): EDQUOT, the user's limit.
	if user.exceeds(l.maxEach, n) {
		return syscall.EDQUOT
	}
	l.used = l.used.plus(n)
	l.setUserLocked(uid, user)
	l.noteFreedLocked()
	return 0
}

// adjust books n on uid, whatever the limits: what is given back, and what there is
// already and cannot be refused any more.
func (l *ledger) adjust(uid uint32, n amounts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.adjustLocked(uid, n)
}

func (l *ledger) adjustLocked(uid uint32, n amounts) {
	l.used = l.used.plus(n)
	l.setUserLocked(uid, l.usedByUsers[uid].plus(n))
	l.noteFreedLocked()
}

// move gives back out of what from has booked and books in on to, at once.
func (l *ledger) move(from uint32, out amounts, to uint32, in amounts) syscall.Errno {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := in.plus(out.minus())
	if l.fullLocked(n) {
		return syscall.ENOSPC
	}
	if from == to {
		return l.chargeUserLocked(to, n)
	}
	errno := l.chargeUserLocked(to, in)
	if errno == 0 {
		l.adjustLocked(from, out.minus())
	}
	return errno
}

func amountsOf(c objects.Cost) amounts {
	return amounts{Messages: c.Messages, Bytes: c.Bytes, Kept: c.Kept}
}

// Charge implements objects.Ledger.
func (l *ledger) Charge(uid uint32, c objects.Cost) syscall.Errno {
	return l.charge(uid, amountsOf(c))
}

// Adjust implements objects.Ledger.
func (l *ledger) Adjust(uid uint32, c objects.Cost) { l.adjust(uid, amountsOf(c)) }

// Move implements objects.Ledger.
func (l *ledger) Move(from uint32, out objects.Cost, to uint32, in objects.Cost) syscall.Errno {
	return l.move(from, amountsOf(out), to, amountsOf(in))
}

// setUserLocked notes what uid holds.
func (l *ledger) setUserLocked(uid uint32, held amounts) {
	if held == (amounts{}) {
		delete(l.usedByUsers, uid)
	} else {
		l.usedByUsers[uid] = held
	}
}

func (l *ledger) addObject(uid uint32) syscall.Errno { return l.charge(uid, amounts{Objects: 1}) }

func (l *ledger) removeObject(uid uint32) { l.adjust(uid, amounts{Objects: -1}) }

// limits are those of the mount.
func (l *ledger) limits() amounts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.max
}

// total is what all users hold together.
func (l *ledger) total() amounts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used
}

// A limit is one line of .ipcfs/limits.
type limit struct {
	key   string
	value *int64
}

// linesLocked lists the limits. l.mu is held.
func (l *ledger) linesLocked() []limit {
	return []limit{
		{"objects", &l.max.Objects},
		{"messages", &l.max.Messages},
		{"bytes", &l.max.Bytes},
		{"user_objects", &l.maxEach.Objects},
		{"user_messages", &l.maxEach.Messages},
		{"user_bytes", &l.maxEach.Bytes},
	}
}

// show gives "key value" lines.
func (l *ledger) show() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b []byte
	for _, line := range l.linesLocked() {
		b = fmt.Appendf(b, "%s %s\n", line.key, objects.FormatAmount(*line.value))
	}
	return b
}

// set takes lines as show gives them, any number of them. EINVAL: a line is none;
// nothing has changed.
func (l *ledger) set(text string) syscall.Errno {
	l.mu.Lock()
	defer l.mu.Unlock()
	max, maxEach := l.max, l.maxEach
	errno := l.setLinesLocked(text)
	if errno != 0 {
		l.max, l.maxEach = max, maxEach
	}
	return errno
}

func (l *ledger) setLinesLocked(text string) syscall.Errno {
	known := l.linesLocked()
	set := 0
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 2 {
			return syscall.EINVAL
		}
		n, ok := objects.ParseAmount(words[1])
		if strings.HasSuffix(words[0], "bytes") {
			n, ok = objects.ParseBytes(words[1])
		}
		if !ok {
			return syscall.EINVAL
		}
		found := false
		for _, k := range known {
			if k.key == words[0] {
				*k.value, found = n, true
			}
		}
		if !found {
			return syscall.EINVAL
		}
		set++
	}
	if set == 0 {
		return syscall.EINVAL
	}
	return 0
}

func (f *FS) showLimits() []byte { return f.ledger.show() }

// setLimits takes effect on what is asked for from now on.
func setLimits(f *FS, _ *object, _ *identity, value string) syscall.Errno {
	if errno := f.ledger.set(value); errno != 0 {
		return errno
	}
	f.noteLimit()
	return 0
}

// noteLimit tells Config.Limited what all that is kept may cost. A limit that was lowered
// drops nothing.
func (f *FS) noteLimit() {
	if f.cfg.Limited != nil {
		f.cfg.Limited(max(room(f.ledger.limits().Bytes), f.ledger.total().cost()))
	}
}
