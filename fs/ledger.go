package fs

import (
	"fmt"
	"strings"
	"sync"
	"syscall"

	"ipcfs/objects"

	"golang.org/x/sys/unix"
)

// Defaults of the mount's limits. Users have none unless the owner of the mount sets
// them.
const (
	defaultMaxObjects = 1 << 20
	// bytesPerMessage relates the limits: what a message costs the daemon besides
	// its bytes, rounded up.
	bytesPerMessage = 256
)

// amounts are what is held, or may be held.
type amounts struct{ Objects, Messages, Bytes int64 }

// unlimited are the amounts that limit nothing.
var unlimited = amounts{objects.Unbounded, objects.Unbounded, objects.Unbounded}

func (a amounts) plus(b amounts) amounts {
	return amounts{a.Objects + b.Objects, a.Messages + b.Messages, a.Bytes + b.Bytes}
}

// exceeds reports whether adding n, where it is positive, went beyond the limit.
func (a amounts) exceeds(limit, n amounts) bool {
	return n.Objects > 0 && a.Objects > limit.Objects ||
		n.Messages > 0 && a.Messages > limit.Messages ||
		n.Bytes > 0 && a.Bytes > limit.Bytes
}

// A ledger keeps the limits of a mount and its users. It implements objects.Ledger.
type ledger struct {
	mu          sync.Mutex // guards what follows
	max         amounts
	maxEach     amounts // of one user
	used        amounts
	usedByUsers map[uint32]amounts // without those who hold nothing
}

// newLedger takes the limits of cfg. The default for bytes is half of the machine's
// memory, as tmpfs(5) has it.
func newLedger(cfg Config) *ledger {
	l := &ledger{
		max:         amounts{cfg.MaxObjects, cfg.MaxMessages, cfg.MaxBytes},
		maxEach:     unlimited,
		usedByUsers: make(map[uint32]amounts),
	}
	if l.max.Bytes == 0 {
		l.max.Bytes = 1 << 30
		var si unix.Sysinfo_t
		if unix.Sysinfo(&si) == nil {
			l.max.Bytes = int64(si.Totalram) * int64(si.Unit) / 2
		}
	}
	if l.max.Messages == 0 {
		l.max.Messages = l.max.Bytes / bytesPerMessage
	}
	if l.max.Objects == 0 {
		l.max.Objects = defaultMaxObjects
	}
	return l
}

// book adds n to what uid holds. Limits count only for what grows: a lowered limit
// drops nothing, and giving back always works.
func (l *ledger) book(uid uint32, n amounts) syscall.Errno {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, user := l.used.plus(n), l.usedByUsers[uid].plus(n)
	switch {
	// tmpfs(5): ENOSPC, the size or the number of inodes of the file system.
	case all.exceeds(l.max, n):
		return syscall.ENOSPC
	// quotactl(2): EDQUOT, the user's limit.
	case user.exceeds(l.maxEach, n):
		return syscall.EDQUOT
	}
	l.used = all
	l.setUser(uid, user)
	return 0
}

// Charge implements objects.Ledger.
func (l *ledger) Charge(uid uint32, messages, bytes int64) syscall.Errno {
	return l.book(uid, amounts{Messages: messages, Bytes: bytes})
}

// Rebook implements objects.Ledger.
func (l *ledger) Rebook(from, to uint32, bytes int64) syscall.Errno {
	if from == to {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := amounts{Bytes: bytes}
	user := l.usedByUsers[to].plus(n)
	if user.exceeds(l.maxEach, n) {
		return syscall.EDQUOT
	}
	l.setUser(to, user)
	l.setUser(from, l.usedByUsers[from].plus(amounts{Bytes: -bytes}))
	return 0
}

// setUser notes what uid holds. l.mu is held.
func (l *ledger) setUser(uid uint32, held amounts) {
	if held == (amounts{}) {
		delete(l.usedByUsers, uid)
	} else {
		l.usedByUsers[uid] = held
	}
}

func (l *ledger) addObject(uid uint32) syscall.Errno { return l.book(uid, amounts{Objects: 1}) }

func (l *ledger) removeObject(uid uint32) { l.book(uid, amounts{Objects: -1}) }

// limits are those of the mount.
func (l *ledger) limits() amounts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.max
}

// limitsUsers reports whether the bytes of a user have a limit.
func (l *ledger) limitsUsers() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.maxEach.Bytes != objects.Unbounded
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

// lines lists the limits. l.mu is held.
func (l *ledger) lines() []limit {
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
	for _, line := range l.lines() {
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
	errno := l.setLines(text)
	if errno != 0 {
		l.max, l.maxEach = max, maxEach
	}
	return errno
}

func (l *ledger) setLines(text string) syscall.Errno {
	known := l.lines()
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
func setLimits(f *FS, _ *object, _ objects.Caller, value string) syscall.Errno {
	if errno := f.ledger.set(value); errno != 0 {
		return errno
	}
	// tmpfs does not become smaller than what is in it.
	n := max(f.ledger.limits().Bytes, f.ledger.total().Bytes)
	if err := f.store.limit(n); err != nil {
		f.log.Printf("limit of the memory of segments: %v", err)
	}
	return 0
}
