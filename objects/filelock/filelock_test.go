package filelock

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/objecttest"
)

func lockRequest(typ Type, start, end, owner uint64) *objects.Request {
	r := &objects.Request{Op: objects.Lock}
	*Wanted(r) = Lock{Type: typ, Start: start, End: end, Owner: owner}
	return r
}

func TestSharedLocksGoTogetherExclusiveOnesAlone(t *testing.T) {
	var table Table
	a, b := lockRequest(Shared, 0, WholeFile, 1), lockRequest(Shared, 0, WholeFile, 2)
	objecttest.WantFinished(t, table.Submit(0, a), a)
	objecttest.WantFinished(t, table.Submit(0, b), b)
	c := lockRequest(Exclusive, 0, WholeFile, 3)
	objecttest.WantFinished(t, table.Submit(0, c))
	objecttest.WantFinished(t, table.Release(0, 1))
	objecttest.WantFinished(t, table.Release(0, 2), c)
	if table.Unused() {
		t.Error("unused though 3 holds a lock")
	}
	table.Release(0, 3)
	if !table.Unused() {
		t.Error("used though nobody holds a lock")
	}
}

func TestLockThatWouldWaitFailsWithEAGAINIfNonblock(t *testing.T) {
	var table Table
	table.Submit(0, lockRequest(Exclusive, 5, 9, 1))
	r := lockRequest(Shared, 9, 20, 2)
	r.Nonblock = true
	objecttest.WantFinished(t, table.Submit(0, r), r)
	if r.Errno != syscall.EAGAIN {
		t.Errorf("lock = %v; want EAGAIN", r.Errno)
	}
	holder, ok := table.Blocker(*Wanted(r))
	if !ok || holder.Owner != 1 || holder.Start != 5 || holder.End != 9 {
		t.Errorf("Blocker = %+v, %v; want 5 to 9 of 1", holder, ok)
	}
}

func TestUnlockingTheMiddleSplitsALock(t *testing.T) {
	var table Table
	table.Submit(0, lockRequest(Exclusive, 0, 99, 1))
	table.Submit(0, lockRequest(Unlock, 40, 59, 1))
	for _, c := range []struct {
		at   uint64
		held bool
	}{{0, true}, {39, true}, {40, false}, {59, false}, {60, true}, {99, true}, {100, false}} {
		if _, held := table.Blocker(Lock{Type: Shared, Start: c.at, End: c.at, Owner: 2}); held != c.held {
			t.Errorf("byte %d locked: %v; want %v", c.at, held, c.held)
		}
	}
}

func TestCancelledLockIsNotGrantedLater(t *testing.T) {
	var table Table
	table.Submit(0, lockRequest(Exclusive, 0, 0, 1))
	r := lockRequest(Exclusive, 0, 0, 2)
	table.Submit(0, r)
	objecttest.WantFinished(t, table.Cancel(0, r, syscall.EINTR), r)
	objecttest.WantFinished(t, table.Cancel(0, r, syscall.EINTR))
	objecttest.WantFinished(t, table.Release(0, 1))
	if r.Errno != syscall.EINTR || !table.Unused() {
		t.Errorf("lock = %v, unused %v; want EINTR, true", r.Errno, table.Unused())
	}
}

// TestLocksAreByteByByte compares the table with an array of bytes, each with its
// holders: obviously what fcntl(2) says.
func TestLocksAreByteByByte(t *testing.T) {
	const file, owners = 12, 4
	type line struct {
		r    *objects.Request
		want Lock
	}
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var booked lockBook
		table := &Table{Ledger: &booked}
		var held [file][owners]Type
		var waiting []line
		free := func(l Lock) bool {
			for at := l.Start; at <= l.End; at++ {
				for o, typ := range held[at] {
					if uint64(o) != l.Owner && typ != Unlock && (typ == Exclusive || l.Type == Exclusive) {
						return false
					}
				}
			}
			return true
		}
		set := func(l Lock) {
			for at := l.Start; at <= l.End; at++ {
				held[at][l.Owner] = l.Type
			}
		}
		grant := func() (granted []*objects.Request) {
			// Who is granted a shared lock may have had an exclusive one.
			for before := -1; before < len(granted); {
				before = len(granted)
				waiting = slices.DeleteFunc(waiting, func(w line) bool {
					if !free(w.want) {
						return false
					}
					set(w.want)
					granted = append(granted, w.r)
					return true
				})
			}
			return granted
		}
		for step := range 120 {
			var done objects.Finished
			var want []*objects.Request
			if rng.IntN(3) == 0 {
				state := table.Save()
				state.Detach()
				loaded, err := Load(nil, &booked, state)
				if err != nil || !bytes.Equal(loaded.Save().Data, state.Data) {
					t.Fatalf("seed %d step %d: loaded with %v", seed, step, err)
				}
				table = loaded
			}
			switch k := rng.IntN(8); {
			case k == 0:
				owner := rng.Uint64N(owners)
				done = table.Release(0, owner)
				set(Lock{Type: Unlock, End: file - 1, Owner: owner})
				want = grant()
			case k == 1 && len(waiting) > 0:
				i := rng.IntN(len(waiting))
				want = []*objects.Request{waiting[i].r}
				done = table.Cancel(0, waiting[i].r, syscall.EINTR)
				waiting = slices.Delete(waiting, i, i+1)
			default:
				start := rng.Uint64N(file)
				r := lockRequest(Type(rng.IntN(3)), start, start+rng.Uint64N(file-start), rng.Uint64N(owners))
				r.Nonblock = rng.IntN(3) == 0
				done = table.Submit(0, r)
				switch l := *Wanted(r); {
				case l.Type == Unlock || free(l):
					set(l)
					want = append([]*objects.Request{r}, grant()...)
				case r.Nonblock:
					want = []*objects.Request{r}
				default:
					waiting = append(waiting, line{r, l})
				}
			}
			if got := objecttest.FinishedList(done); !slices.Equal(got, want) {
				t.Fatalf("seed %d step %d: finished %d requests; want %d", seed, step, len(got), len(want))
			}
			if n := len(slices.Collect(table.Waiters())); n != len(waiting) {
				t.Fatalf("seed %d step %d: %d wait; want %d", seed, step, n, len(waiting))
			}
			var joined []Lock // what is held, as long as it can be
			for o := range uint64(owners) {
				for at := range uint64(file) {
					switch typ := held[at][o]; {
					case typ == Unlock:
					case at > 0 && held[at-1][o] == typ:
						joined[len(joined)-1].End++
					default:
						joined = append(joined, Lock{Type: typ, Start: at, End: at, Owner: o})
					}
				}
			}
			if got := booked.kept / heldLock; got != int64(len(joined)) {
				t.Fatalf("seed %d step %d: %d locks are booked; want %d", seed, step, got, len(joined))
			}
			l := Lock{Type: Type(1 + rng.IntN(2)), Start: rng.Uint64N(file), End: file, Owner: rng.Uint64N(owners)}
			lowest := uint64(file)
			for _, x := range joined {
				if x.Owner != l.Owner && (x.Type == Exclusive || l.Type == Exclusive) && x.overlaps(l) {
					lowest = min(lowest, x.Start)
				}
			}
			if got, ok := table.Blocker(l); ok != (lowest < file) || ok && got.Start != lowest {
				t.Fatalf("seed %d step %d: %+v is blocked by %+v, %v; want one that starts at %d", seed, step, l, got, ok, lowest)
			}
			for at := range uint64(file) {
				for o := range uint64(owners) {
					l := Lock{Type: Exclusive, Start: at, End: at, Owner: o}
					if _, blocked := table.Blocker(l); blocked == free(l) {
						t.Fatalf("seed %d step %d: byte %d blocked for %d: %v", seed, step, at, o, blocked)
					}
				}
			}
		}
	}
}

func TestLockThatWouldCloseACircleFailsWithEDEADLK(t *testing.T) {
	var waits Waits
	one, other := Table{Waits: &waits}, Table{Waits: &waits}
	one.Submit(0, lockRequest(Shared, 0, 9, 1))
	one.Submit(0, lockRequest(Shared, 0, 9, 2))
	other.Submit(0, lockRequest(Exclusive, 5, 5, 3))
	waiting := lockRequest(Exclusive, 0, 9, 2) // for 1
	objecttest.WantFinished(t, other.Submit(0, lockRequest(Shared, 5, 5, 1)))
	objecttest.WantFinished(t, one.Submit(0, waiting))
	for _, want := range []syscall.Errno{syscall.EDEADLK, syscall.EDEADLK} {
		last := lockRequest(Exclusive, 9, 9, 3) // for 1, which waits for 3, and for 2, which waits for 1
		objecttest.WantFinished(t, one.Submit(0, last), last)
		if last.Errno != want {
			t.Errorf("the last lock of a circle = %v; want %v", last.Errno, want)
		}
	}
	one.Cancel(0, waiting, syscall.EINTR)
	objecttest.WantFinished(t, one.Release(0, 1))
	objecttest.WantFinished(t, one.Submit(0, lockRequest(Exclusive, 9, 9, 3))) // for 2, which waits for nobody
	other.Release(0, 3)
	if len(waits.of) != 1 {
		t.Errorf("%d owners are said to wait; want 1", len(waits.of))
	}
}

// A lockBook counts bytes, and may be full.
type lockBook struct {
	objects.Ledger
	kept int64
	full bool
}

func (b *lockBook) Charge(uid uint32, c objects.Cost) syscall.Errno {
	if b.full {
		return syscall.EDQUOT
	}
	b.kept += c.Kept
	return 0
}

func (b *lockBook) Adjust(_ uint32, c objects.Cost) { b.kept += c.Kept }

func TestLocksBeyondAQuotaFailWithENOLCKAndChangeNothing(t *testing.T) {
	booked := lockBook{full: true}
	table := Table{Ledger: &booked}
	r := lockRequest(Exclusive, 0, 0, 1)
	if table.Submit(0, r); r.Errno != syscall.ENOLCK || !table.Unused() {
		t.Errorf("lock without room = %v, unused: %v; want ENOLCK, true", r.Errno, table.Unused())
	}
	booked.full = false
	table.Submit(0, lockRequest(Exclusive, 0, 99, 1))
	booked.full = true
	r = lockRequest(Unlock, 40, 59, 1) // it makes two of one
	if table.Submit(0, r); r.Errno != syscall.ENOLCK {
		t.Errorf("unlock that splits, without room = %v; want ENOLCK", r.Errno)
	}
	if _, held := table.Blocker(Lock{Type: Shared, Start: 50, End: 50, Owner: 2}); !held {
		t.Error("an unlock that failed has unlocked")
	}
	r = lockRequest(Shared, 0, 99, 1) // it is one as before
	if table.Submit(0, r); r.Errno != 0 {
		t.Errorf("conversion without room = %v; want 0", r.Errno)
	}
	if table.Release(0, 1); booked.kept != 0 || !table.Unused() {
		t.Errorf("%d bytes are booked after the release; want 0", booked.kept)
	}
}

// BenchmarkLocks takes a lock of each second byte, and releases them all.
func BenchmarkLocks(b *testing.B) {
	for _, n := range []int{1000, 20_000, 400_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				var table Table
				table.Submit(0, lockRequest(Exclusive, WholeFile, WholeFile, 2))
				for i := range uint64(n) {
					table.Submit(0, lockRequest(Exclusive, i*2, i*2, 1))
				}
				table.Release(0, 1)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/lock")
		})
	}
}
