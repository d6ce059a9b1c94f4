package fs

import (
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Defaults of the mount's limits.
const (
	defaultMaxObjects = 1 << 20
	// bytesPerMessage relates the limits: what a message costs the daemon besides
	// its bytes, rounded up.
	bytesPerMessage = 256
)

// A ledger keeps the limits of a mount. It implements objects.Ledger.
type ledger struct {
	maxBytes, maxMessages, maxObjects int64

	bytes, messages, objects atomic.Int64
}

// newLedger takes the limits of cfg. The default for bytes is half of the machine's
// memory, as tmpfs(5) has it.
func newLedger(cfg Config) *ledger {
	l := &ledger{maxBytes: cfg.MaxBytes, maxMessages: cfg.MaxMessages, maxObjects: cfg.MaxObjects}
	if l.maxBytes == 0 {
		l.maxBytes = 1 << 30
		var si unix.Sysinfo_t
		if unix.Sysinfo(&si) == nil {
			l.maxBytes = int64(si.Totalram) * int64(si.Unit) / 2
		}
	}
	if l.maxMessages == 0 {
		l.maxMessages = l.maxBytes / bytesPerMessage
	}
	if l.maxObjects == 0 {
		l.maxObjects = defaultMaxObjects
	}
	return l
}

// book adds n to used unless that takes it beyond limit.
func book(used *atomic.Int64, n, limit int64) bool {
	if used.Add(n) > limit && n > 0 {
		used.Add(-n)
		return false
	}
	return true
}

// Charge implements objects.Ledger.
func (l *ledger) Charge(_ uint32, messages, bytes int64) syscall.Errno {
	if !book(&l.messages, messages, l.maxMessages) {
		return syscall.ENOSPC
	}
	if !book(&l.bytes, bytes, l.maxBytes) {
		l.messages.Add(-messages)
		return syscall.ENOSPC
	}
	return 0
}

func (l *ledger) addObject() syscall.Errno {
	if !book(&l.objects, 1, l.maxObjects) {
		return syscall.ENOSPC
	}
	return 0
}

func (l *ledger) removeObject() { l.objects.Add(-1) }
