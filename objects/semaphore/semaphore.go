// Package semaphore is counting semaphores, whose units come back from whoever dies.
package semaphore

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"syscall"

	"ipcfs/objects"
)

func init() {
	objects.Register(objects.Kind{
		Name:     "semaphore",
		New:      func(objects.Ledger) objects.Object { return New() },
		Load:     objects.Loading(load),
		Policies: semaphorePolicies.Kinds(),
		Ops:      []objects.Op{objects.Open, objects.Wait, objects.Post, objects.Hold, objects.Release, objects.Close},
		Counters: counters.Kinds(),
		Level:    objects.Level{Unit: "units", Value: "value", Full: "max"},
	})
}

// A Semaphore counts units. A Wait takes some and waits until there are enough, a
// Post gives some, a Hold takes one for as long as its handle lives. Waits and holds
// are served in the order in which they came, whatever they ask for: one that wants
// many is not starved by those behind it that want few.
//
// The units of holders come back, so they count towards max: nobody can post a unit
// that a holder still owes.
type Semaphore struct {
	value, max int64
	owners     []Owner // the oldest first; each holds one unit
	waiting    objects.Queue

	destroyed bool
	changed   objects.Time
	taken     objects.Time

	tookUnits, postedUnits, holds, deaths int64
}

// An Owner is an open file that holds a unit of a semaphore.
type Owner struct {
	Caller objects.Caller
	Since  objects.Time
	handle *objects.Handle
}

// Serial is that of the handle by which it is held.
func (o Owner) Serial() uint64 { return o.handle.Serial }

// New makes a semaphore of value 0.
func New() *Semaphore { return NewOf(0, objects.Unbounded) }

// NewOf makes a semaphore of that value and maximum.
func NewOf(value, max int64) *Semaphore { return &Semaphore{value: value, max: max} }

// ParseUnits reads what is written to a semaphore: an amount on each line, an empty
// line is 1, and the amounts are added up, so that it does not matter how a program's
// buffering cuts its lines into writes. Nothing at all is 1, too.
func ParseUnits(text []byte) (n int64, ok bool) {
	text = bytes.TrimSuffix(text, []byte("\n"))
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		units := int64(1)
		if line = bytes.TrimSpace(line); len(line) > 0 {
			u, err := strconv.ParseUint(string(line), 10, 63)
			if err != nil || u == 0 {
				return 0, false
			}
			units = int64(u)
		}
		if n += units; n < 0 {
			return 0, false
		}
	}
	return n, true
}

// A move is what a semaphore keeps with a Request: Request.Own.
type move struct {
	units    int64
	consumed bool          // a wait that took them
	told     *objects.Text // the value left, which a read(2) gets
}

// Reset implements Part.
func (m *move) Reset() { *m = move{} }

// moves is what the semaphore keeps with r.
func moves(r *objects.Request) *move { return objects.PartOf[move](r) }

// Submit implements Object.
func (s *Semaphore) Submit(now objects.Time, r *objects.Request) objects.Finished {
	r.Errno, r.N = 0, 0
	moves(r).Reset()
	if s.destroyed && r.Op != objects.Close && r.Op != objects.Release {
		return r.Fail(syscall.EIDRM)
	}
	switch r.Op {
	case objects.Open:
		return objects.One(r)
	case objects.Wait:
		return s.wait(now, r)
	case objects.Post:
		return s.post(now, r)
	case objects.Hold:
		moves(r).units = 1
		return s.acquire(now, r)
	case objects.Release:
		if s.release(now, r.Handle) {
			s.deaths++
		}
	case objects.Close:
		s.release(now, r.Handle)
		*r.Handle = objects.Handle{}
	default:
		return r.Fail(syscall.EINVAL)
	}
	done := objects.One(r)
	s.pump(now, &done)
	return done
}

// count finds out what r moves.
func count(r *objects.Request) bool {
	r.N = len(r.Data)
	if moves(r).units = r.Units; moves(r).units != 0 {
		return moves(r).units > 0
	}
	var ok bool
	moves(r).units, ok = ParseUnits(r.Data)
	return ok
}

func (s *Semaphore) wait(now objects.Time, r *objects.Request) objects.Finished {
	if reads(r) && r.Handle.Resume(r) {
		return objects.One(r)
	}
	if !count(r) {
		return r.Fail(syscall.EINVAL)
	}
	r.Data = nil // borrowed, and N knows its length
	return s.acquire(now, r)
}

// reads reports whether the Wait r is to be told the value left: it is a read(2).
func reads(r *objects.Request) bool { return r.Size > 0 }

// acquire takes moves(r).units or parks r.
func (s *Semaphore) acquire(now objects.Time, r *objects.Request) objects.Finished {
	if !s.reachable(moves(r).units) {
		return r.Fail(syscall.EINVAL)
	}
	if s.waiting.Empty() && moves(r).units <= s.value {
		done := objects.One(r)
		s.grant(now, r)
		return done
	}
	// sem_trywait(3): EAGAIN. Those who wait already are served first.
	if r.Nonblock {
		return r.Fail(syscall.EAGAIN)
	}
	s.waiting.Push(now, r)
	return objects.Finished{}
}

// Total is what there is when every holder has given back its unit.
func (s *Semaphore) Total() int64 { return s.value + int64(len(s.owners)) }

// reachable reports whether a wait for n units may ever end.
func (s *Semaphore) reachable(n int64) bool { return n <= max(s.max, s.Total()) }

// grant carries out r, which is not parked and for which there are units.
func (s *Semaphore) grant(now objects.Time, r *objects.Request) {
	if r.Op == objects.Wait && reads(r) && r.Handle.Resume(r) {
		// Somebody who shares the descriptor left a part of an earlier answer.
		return
	}
	s.value -= moves(r).units
	s.taken = now
	if r.Op == objects.Hold {
		s.holds++
		s.owners = append(s.owners, Owner{r.Caller, now, r.Handle})
		return
	}
	s.tookUnits += moves(r).units
	moves(r).consumed = true
	if reads(r) {
		told := &objects.Text{Data: append(strconv.AppendInt(nil, s.value, 10), '\n')}
		moves(r).told = told
		r.Handle.Start(r, told)
		if r.Handle.Writes {
			// A descriptor that is there for P and V is read again and again.
			r.Handle.SetEnd(false)
		}
	}
}

func (s *Semaphore) post(now objects.Time, r *objects.Request) objects.Finished {
	if !count(r) {
		return r.Fail(syscall.EINVAL)
	}
	// sem_post(3): EOVERFLOW, the maximum would be exceeded.
	if moves(r).units > s.max-s.Total() {
		return r.Fail(syscall.EOVERFLOW)
	}
	s.value += moves(r).units
	s.postedUnits += moves(r).units
	s.changed = now
	var done objects.Finished
	s.pump(now, &done)
	done.Add(r)
	return done
}

// release gives back what h holds.
func (s *Semaphore) release(now objects.Time, h *objects.Handle) bool {
	i := slices.IndexFunc(s.owners, func(o Owner) bool { return o.handle == h })
	if i < 0 {
		return false
	}
	s.owners = slices.Delete(s.owners, i, i+1)
	if !s.destroyed {
		s.value++
		s.changed = now
	}
	return true
}

// pump serves those who wait, in order, until one has to wait on.
func (s *Semaphore) pump(now objects.Time, done *objects.Finished) {
	for r := s.waiting.First(); r != nil; r = s.waiting.First() {
		if !s.reachable(moves(r).units) {
			// Units beyond the maximum that it counted on have been taken.
			s.waiting.Remove(r)
			r.Errno = syscall.EINVAL
			done.Add(r)
			continue
		}
		if moves(r).units > s.value {
			return
		}
		s.waiting.Remove(r)
		s.grant(now, r)
		done.Add(r)
	}
}

// Cancel implements Object.
func (s *Semaphore) Cancel(now objects.Time, r *objects.Request, cause syscall.Errno) objects.Finished {
	if !r.Parked() {
		return objects.Finished{}
	}
	s.waiting.Remove(r)
	done := r.Fail(cause)
	// Those behind may want less.
	s.pump(now, &done)
	return done
}

// Return implements Object: the units that r took are there again.
func (s *Semaphore) Return(now objects.Time, r *objects.Request) objects.Finished {
	var done objects.Finished
	if !moves(r).consumed || s.destroyed {
		return done
	}
	moves(r).consumed = false
	r.Handle.Forget(moves(r).told)
	s.value += moves(r).units
	s.tookUnits -= moves(r).units
	s.pump(now, &done)
	return done
}

// Destroy implements Object.
func (s *Semaphore) Destroy(objects.Time) objects.Finished {
	var done objects.Finished
	s.destroyed = true
	s.owners = nil
	s.waiting.Drain(&done, syscall.EIDRM)
	return done
}

// Removable implements Object.
func (s *Semaphore) Removable() syscall.Errno {
	if s.waiting.Len() > 0 || len(s.owners) > 0 {
		return syscall.EBUSY
	}
	return 0
}

// Ready implements Object. A wait is ready when it would get one unit, a post always.
func (s *Semaphore) Ready(h *objects.Handle) objects.Events {
	if s.destroyed {
		return objects.In | objects.Out | objects.Err | objects.Hup
	}
	free := s.waiting.Empty() && s.value > 0
	var e objects.Events
	if h.Reads && (h.ReadOp != objects.Wait || free || h.Readable()) {
		e |= objects.In
	}
	if h.Writes && (h.WriteOp != objects.Wait || free) {
		e |= objects.Out
	}
	return e
}

// unitValues are a semaphore's: there is no word for the most of them.
var unitValues = objects.Values[int64]{
	Forms:  objects.Amounts.Forms,
	Parse:  objects.ParseAmount,
	Format: func(n int64) string { return strconv.FormatInt(n, 10) },
}

// semaphorePolicies are the policies of a semaphore. Lowering max takes nothing away: no
// more is posted until the value has sunk below it.
var semaphorePolicies = objects.Policies[*Semaphore]{
	objects.Row("value", "Units that are there.", unitValues,
		func(s *Semaphore) int64 { return s.value },
		func(s *Semaphore, now objects.Time, n int64) syscall.Errno {
			// semctl(2), SETVAL: ERANGE there; here as for every control file.
			if n > s.max-int64(len(s.owners)) {
				return syscall.EINVAL
			}
			s.value, s.changed = n, now
			return 0
		}),
	objects.Row("max", "What post cannot raise the value and the units held above.", objects.Amounts,
		func(s *Semaphore) int64 { return s.max },
		func(s *Semaphore, _ objects.Time, n int64) syscall.Errno {
			if n == 0 {
				return syscall.EINVAL
			}
			s.max = n
			return 0
		}),
}

// Policy implements Object.
func (s *Semaphore) Policy(name string) string { return semaphorePolicies.Show(s, name) }

// SetPolicy implements Object.
func (s *Semaphore) SetPolicy(now objects.Time, name, value string) (objects.Finished, syscall.Errno) {
	var done objects.Finished
	if errno := semaphorePolicies.Set(s, now, name, value); errno != 0 {
		return done, errno
	}
	s.giveUp(&done)
	s.pump(now, &done)
	return done, 0
}

// giveUp fails those who wait for more than there will ever be.
func (s *Semaphore) giveUp(done *objects.Finished) {
	for r := s.waiting.First(); r != nil; {
		next := r.Next()
		if !s.reachable(moves(r).units) {
			s.waiting.Remove(r)
			r.Errno = syscall.EINVAL
			done.Add(r)
		}
		r = next
	}
}

// Held implements Object: a semaphore holds neither messages nor bytes.
func (s *Semaphore) Held() objects.Held { return objects.Held{Changed: s.changed, Taken: s.taken} }

// counters are what the file stat shows.
var counters = objects.Counters[*Semaphore]{
	{Name: "value", Gauge: true, Help: "Units that are free.", Value: func(s *Semaphore) int64 { return s.value }},
	{Name: "posted", Flow: objects.Inward, Help: "Units that were posted.", Value: func(s *Semaphore) int64 { return s.postedUnits }},
	{Name: "taken", Flow: objects.Outward, Help: "Units that were taken.", Value: func(s *Semaphore) int64 { return s.tookUnits }},
	{Name: "holds", Flow: objects.Outward, Help: "Holds that began.", Value: func(s *Semaphore) int64 { return s.holds }},
	{Name: "deaths", Help: "Holds that ended with their process.", Value: func(s *Semaphore) int64 { return s.deaths }},
	{Name: "owners", Gauge: true, Help: "Units that are held.", Value: func(s *Semaphore) int64 { return int64(len(s.owners)) }},
	{Name: "waiting", Gauge: true, Help: "Waits and holds that wait.", Value: func(s *Semaphore) int64 { return int64(s.waiting.Len()) }},
}

// Stat implements Object.
func (s *Semaphore) Stat() []objects.Counter { return counters.Stat(s) }

// Holders is how many units are held.
func (s *Semaphore) Holders() int { return len(s.owners) }

// Waiting is how many waits and holds wait.
func (s *Semaphore) Waiting() int { return s.waiting.Len() }

// Owners yields those who hold a unit, the oldest first.
func (s *Semaphore) Owners() iter.Seq[Owner] { return slices.Values(s.owners) }

// Waiters implements Object.
func (s *Semaphore) Waiters() iter.Seq[*objects.Request] {
	return s.waiting.All()
}

// Check implements Object.
func (s *Semaphore) Check() error {
	for i, o := range s.owners {
		if slices.ContainsFunc(s.owners[:i], func(p Owner) bool { return p.handle == o.handle }) {
			return fmt.Errorf("one handle holds two units")
		}
	}
	switch first := s.waiting.First(); {
	case s.value < 0:
		return fmt.Errorf("value %d", s.value)
	case first != nil && moves(first).units <= s.value:
		return fmt.Errorf("the first of %d waits for %d units though there are %d", s.waiting.Len(), moves(first).units, s.value)
	case first != nil && !s.reachable(moves(first).units):
		return fmt.Errorf("the first of %d waits for %d units, which will never be there", s.waiting.Len(), moves(first).units)
	case s.destroyed && (first != nil || len(s.owners) > 0):
		return fmt.Errorf("destroyed, but something is left")
	}
	return nil
}
