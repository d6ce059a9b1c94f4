package fs

import (
	"log"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// descriptors shares out the daemon's file descriptors: each segment with memory has one,
// and so has each process that is watched for what it holds. A user may have at most half
// of what the other users leave, so that there are always some for the others, who find
// ENFILE nowhere because of one.
type descriptors struct {
	log *log.Logger
	max int // for all users

	mu     sync.Mutex // guards what follows
	used   int
	byUser map[uint32]int // without those who have none
	said   time.Time      // when the log was last told of a shortage
}

// ownDescriptors is how many the daemon keeps for itself of a limit of n: for the device,
// which it opens again for every 512 requests that wait, for the files of /proc that it
// looks into, and for what the Go runtime has.
func ownDescriptors(n uint64) uint64 { return min(128+n/16, n/2) }

func newDescriptors(l *log.Logger) *descriptors {
	n := uint64(1024) // RLIMIT_NOFILE is that where nobody has set it
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		n = min(limit.Cur, 1<<30)
	}
	return &descriptors{log: l, max: int(n - ownDescriptors(n)), byUser: make(map[uint32]int)}
}

// take books a descriptor on uid. open(2): ENFILE, the limit of the system, which is the
// daemon here.
func (d *descriptors) take(uid uint32) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	others := d.used - d.byUser[uid]
	if d.byUser[uid] >= (d.max-others)/2 {
		d.shortLocked("user %d has %d of %d file descriptors, others %d", uid, d.byUser[uid], d.max, others)
		return syscall.ENFILE
	}
	d.used++
	d.byUser[uid]++
	return 0
}

// give gives back what take has booked.
func (d *descriptors) give(uid uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used--
	if d.byUser[uid]--; d.byUser[uid] == 0 {
		delete(d.byUser, uid)
	}
}

// move books on to what is booked on from.
func (d *descriptors) move(from, to uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byUser[to]++
	if d.byUser[from]--; d.byUser[from] == 0 {
		delete(d.byUser, from)
	}
}

// shortageEvery is how often the log is told of a shortage that lasts: each request that
// fails would be a line otherwise.
const shortageEvery = time.Minute

// short tells the log that the kernel has refused a descriptor.
func (d *descriptors) short(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shortLocked("file descriptors: %v", err)
}

func (d *descriptors) shortLocked(format string, args ...any) {
	if now := time.Now(); d.said.IsZero() || now.Sub(d.said) >= shortageEvery {
		d.said = now
		d.log.Printf(format, args...)
	}
}

// scarce reports whether err says that there is no descriptor, or no memory for one, now.
func scarce(err error) bool {
	return err == unix.EMFILE || err == unix.ENFILE || err == unix.ENOMEM
}
