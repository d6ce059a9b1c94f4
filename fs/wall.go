package fs

import (
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ipcfs/objects"

	"golang.org/x/sys/unix"
)

// A wallClock relates the time by which objects count to the clock on the wall.
//
// Objects need a time that only goes forward and that also passes while the machine is
// suspended: CLOCK_BOOTTIME, clock_gettime(2). What a person is shown is what the wall
// clock said when it happened, CLOCK_REALTIME, which somebody may set. From when it was
// set on times are shown with the new difference, times from before with the old one.
type wallClock struct {
	epoch int64         // nanoseconds since the Unix epoch at start
	start time.Time     // has a reading of CLOCK_MONOTONIC, which stands still in a suspend
	idle  time.Duration // how far CLOCK_BOOTTIME was ahead of that at start
	slept atomic.Int64  // nanoseconds that the machine was suspended since start

	mu    sync.Mutex  // guards steps
	steps []clockStep // in the order of from; the first is from the beginning
}

// A clockStep says how far the wall clock is ahead of the time of objects from some time on.
type clockStep struct {
	from  objects.Time
	ahead time.Duration
}

// wall is the process's: there is one clock on the wall.
var wall = newWallClock()

func newWallClock() *wallClock {
	now := time.Now()
	return &wallClock{epoch: now.UnixNano(), start: now, idle: suspended(), steps: []clockStep{{from: math.MinInt64}}}
}

// now is the time as objects count it: nanoseconds since the Unix epoch, by the wall clock
// of when the process began.
func (w *wallClock) now() objects.Time {
	return objects.Time(w.epoch + int64(time.Since(w.start)) + w.slept.Load())
}

// at is what the wall clock said at t.
func (w *wallClock) at(t objects.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := len(w.steps) - 1
	for w.steps[i].from > t {
		i--
	}
	return time.Unix(0, int64(t)+int64(w.steps[i].ahead))
}

// maxSteps is how many steps are remembered; a clock that is set more often than that is
// shown as it was set later.
const maxSteps = 1000

// tolerance is the least step that is told from the time between two looks at clocks.
const tolerance = time.Millisecond

// set looks at the clocks again, after one was set or the machine was suspended, and
// reports whether it was. asleep is as suspended gives it, real is time.Now's.
func (w *wallClock) set(real time.Time, asleep time.Duration) (slept bool) {
	slept = asleep-w.idle > time.Duration(w.slept.Load())+tolerance
	if slept {
		w.slept.Store(int64(asleep - w.idle))
	}
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	ahead := time.Duration(real.UnixNano() - int64(now))
	if d := ahead - w.steps[len(w.steps)-1].ahead; d > -tolerance && d < tolerance {
		return slept
	}
	w.steps = append(w.steps, clockStep{now, ahead})
	if len(w.steps) > maxSteps {
		w.steps = slices.Delete(w.steps, 1, 2)
		w.steps[0].ahead = w.steps[1].ahead
	}
	return slept
}

// suspended is for how long the machine was suspended since it was started.
func suspended() time.Duration {
	var boot, mono unix.Timespec
	// clock_gettime(2): neither fails since Linux 2.6.39.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot)
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono)
	return time.Duration(boot.Nano() - mono.Nano())
}

// watchWall follows the wall clock until the returned file is closed. timerfd_create(2):
// a read of a timer with TFD_TIMER_CANCEL_ON_SET is ECANCELED when the clock was set,
// and after a suspend.
func (f *FS) watchWall() (end func(), err error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	timer := os.NewFile(uintptr(fd), "timerfd")
	never := unix.ItimerSpec{Value: unix.Timespec{Sec: math.MaxInt64 / int64(time.Second)}}
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &never, nil); err != nil {
		timer.Close()
		return nil, err
	}
	raw, err := timer.SyscallConn()
	if err != nil {
		timer.Close()
		return nil, err
	}
	f.spawn("the watch of the wall clock", func() {
		var ticks [8]byte
		for raw.Read(func(fd uintptr) bool { _, err := unix.Read(int(fd), ticks[:]); return err != unix.EAGAIN }) == nil {
			if wall.set(time.Now(), suspended()) {
				f.resetClocks()
			}
		}
	})
	return func() { timer.Close() }, nil
}

// resetClocks has the timers of all objects run anew: they have stood still in a suspend.
func (f *FS) resetClocks() {
	for _, o := range f.timed() {
		f.withObject(o, func(objects.Time) (none objects.Finished) {
			o.clock.at = 0
			return none
		})
	}
}

// timed lists the objects that have a clock.
func (f *FS) timed() (all []*object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.kinds {
		for _, o := range d.all.after(0) {
			if o.clock != nil {
				all = append(all, o)
			}
		}
	}
	return all
}
