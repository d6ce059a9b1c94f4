package objects

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"syscall"
)

func init() {
	Register(Kind{
		Name:     "semaphore",
		New:      func(Ledger) Object { return NewSemaphore() },
		Policies: semaphorePolicies.names(),
		Ops:      []Op{Open, Wait, Post, Hold, Release, Close},
		Counters: semaphoreCounters,
		Level:    Level{Unit: "units", Value: "value", Full: "max"},
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
	waiting    queue

	destroyed bool
	changed   Time
	taken     Time

	tookUnits, postedUnits, holds, deaths int64
}

// An Owner is an open file that holds a unit of a semaphore.
type Owner struct {
	Caller Caller
	Since  Time
	handle *Handle
}

// Serial is that of the handle by which it is held.
func (o Owner) Serial() uint64 { return o.handle.Serial }

// NewSemaphore makes a semaphore of value 0.
func NewSemaphore() *Semaphore { return &Semaphore{max: Unbounded} }

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

// Submit implements Object.
func (s *Semaphore) Submit(now Time, r *Request) Finished {
	r.Errno, r.N, r.message, r.consumed = 0, 0, nil, false
	if s.destroyed && r.Op != Close && r.Op != Release {
		return failed(r, syscall.EIDRM)
	}
	switch r.Op {
	case Open:
		return one(r)
	case Wait:
		return s.wait(now, r)
	case Post:
		return s.post(now, r)
	case Hold:
		r.units = 1
		return s.acquire(now, r)
	case Release:
		if s.release(now, r.Handle) {
			s.deaths++
		}
	case Close:
		s.release(now, r.Handle)
		*r.Handle = Handle{}
	default:
		return failed(r, syscall.EINVAL)
	}
	done := one(r)
	s.pump(now, &done)
	return done
}

// count finds out what r moves.
func (r *Request) count() bool {
	r.N = len(r.Data)
	if r.units = r.Units; r.units != 0 {
		return r.units > 0
	}
	var ok bool
	r.units, ok = ParseUnits(r.Data)
	return ok
}

func (s *Semaphore) wait(now Time, r *Request) Finished {
	if r.reads() && r.Handle.resume(r) {
		return one(r)
	}
	if !r.count() {
		return failed(r, syscall.EINVAL)
	}
	r.Data = nil // borrowed, and N knows its length
	return s.acquire(now, r)
}

// reads reports whether the Wait r is to be told the value left: it is a read(2).
func (r *Request) reads() bool { return r.Size > 0 }

// acquire takes r.units or parks r.
func (s *Semaphore) acquire(now Time, r *Request) Finished {
	if !s.reachable(r.units) {
		return failed(r, syscall.EINVAL)
	}
	if s.waiting.empty() && r.units <= s.value {
		done := one(r)
		s.grant(now, r)
		return done
	}
	// sem_trywait(3): EAGAIN. Those who wait already are served first.
	if r.Nonblock {
		return failed(r, syscall.EAGAIN)
	}
	s.waiting.push(now, r)
	return Finished{}
}

// total is what there is when every holder has given back its unit.
func (s *Semaphore) total() int64 { return s.value + int64(len(s.owners)) }

// reachable reports whether a wait for n units may ever end.
func (s *Semaphore) reachable(n int64) bool { return n <= max(s.max, s.total()) }

// grant carries out r, which is not parked and for which there are units.
func (s *Semaphore) grant(now Time, r *Request) {
	if r.Op == Wait && r.reads() && r.Handle.resume(r) {
		// Somebody who shares the descriptor left a part of an earlier answer.
		return
	}
	s.value -= r.units
	s.taken = now
	if r.Op == Hold {
		s.holds++
		s.owners = append(s.owners, Owner{r.Caller, now, r.Handle})
		return
	}
	s.tookUnits += r.units
	r.consumed = true
	if r.reads() {
		m := &Message{}
		m.Data = append(strconv.AppendInt(m.inline[:0], s.value, 10), '\n')
		r.message = m
		r.Handle.startReading(r, m)
		if r.Handle.Writes {
			// A descriptor that is there for P and V is read again and again.
			r.Handle.end = false
		}
	}
}

func (s *Semaphore) post(now Time, r *Request) Finished {
	if !r.count() {
		return failed(r, syscall.EINVAL)
	}
	// sem_post(3): EOVERFLOW, the maximum would be exceeded.
	if r.units > s.max-s.total() {
		return failed(r, syscall.EOVERFLOW)
	}
	s.value += r.units
	s.postedUnits += r.units
	s.changed = now
	var done Finished
	s.pump(now, &done)
	done.add(r)
	return done
}

// release gives back what h holds.
func (s *Semaphore) release(now Time, h *Handle) bool {
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
func (s *Semaphore) pump(now Time, done *Finished) {
	for r := s.waiting.first; r != nil; r = s.waiting.first {
		if !s.reachable(r.units) {
			// Units beyond the maximum that it counted on have been taken.
			s.waiting.remove(r)
			r.Errno = syscall.EINVAL
			done.add(r)
			continue
		}
		if r.units > s.value {
			return
		}
		s.waiting.remove(r)
		s.grant(now, r)
		done.add(r)
	}
}

// Cancel implements Object.
func (s *Semaphore) Cancel(now Time, r *Request, cause syscall.Errno) Finished {
	if r.on == nil {
		return Finished{}
	}
	r.on.remove(r)
	done := failed(r, cause)
	// Those behind may want less.
	s.pump(now, &done)
	return done
}

// Return implements Object: the units that r took are there again.
func (s *Semaphore) Return(now Time, r *Request) Finished {
	var done Finished
	if !r.consumed || s.destroyed {
		return done
	}
	r.consumed = false
	r.Handle.forget(r.message)
	s.value += r.units
	s.tookUnits -= r.units
	s.pump(now, &done)
	return done
}

// Destroy implements Object.
func (s *Semaphore) Destroy(Time) Finished {
	var done Finished
	s.destroyed = true
	s.owners = nil
	s.waiting.drain(&done, syscall.EIDRM)
	return done
}

// Removable implements Object.
func (s *Semaphore) Removable() syscall.Errno {
	if s.waiting.n > 0 || len(s.owners) > 0 {
		return syscall.EBUSY
	}
	return 0
}

// Ready implements Object. A wait is ready when it would get one unit, a post always.
func (s *Semaphore) Ready(h *Handle) Events {
	if s.destroyed {
		return In | Out | Err | Hup
	}
	free := s.waiting.empty() && s.value > 0
	var e Events
	if h.Reads && (h.ReadOp != Wait || free || h.readable()) {
		e |= In
	}
	if h.Writes && (h.WriteOp != Wait || free) {
		e |= Out
	}
	return e
}

// semaphorePolicies are the policies of a semaphore. Lowering max takes nothing away: no
// more is posted until the value has sunk below it.
var semaphorePolicies = policies[*Semaphore]{
	{"value",
		func(s *Semaphore) string { return strconv.FormatInt(s.value, 10) },
		func(s *Semaphore, now Time, value string) syscall.Errno {
			n, ok := parseAmount(value)
			// semctl(2), SETVAL: ERANGE there; here as for every control file.
			if ok = ok && n <= s.max-int64(len(s.owners)); ok {
				s.value, s.changed = n, now
			}
			return valid(ok)
		}},
	{"max",
		func(s *Semaphore) string { return formatAmount(s.max) },
		func(s *Semaphore, _ Time, value string) syscall.Errno {
			n, ok := parseAmount(value)
			if ok = ok && n > 0; ok {
				s.max = n
			}
			return valid(ok)
		}},
}

// Policy implements Object.
func (s *Semaphore) Policy(name string) string { return semaphorePolicies.show(s, name) }

// SetPolicy implements Object.
func (s *Semaphore) SetPolicy(now Time, name, value string) (Finished, syscall.Errno) {
	var done Finished
	if errno := semaphorePolicies.set(s, now, name, value); errno != 0 {
		return done, errno
	}
	s.giveUp(&done)
	s.pump(now, &done)
	return done, 0
}

// giveUp fails those who wait for more than there will ever be.
func (s *Semaphore) giveUp(done *Finished) {
	for r := s.waiting.first; r != nil; {
		next := r.next
		if !s.reachable(r.units) {
			s.waiting.remove(r)
			r.Errno = syscall.EINVAL
			done.add(r)
		}
		r = next
	}
}

// Held implements Object: a semaphore holds neither messages nor bytes.
func (s *Semaphore) Held() Held { return Held{Changed: s.changed, Taken: s.taken} }

// semaphoreCounters are what Stat gives.
var semaphoreCounters = []CounterKind{
	{"value", true, "Units that are free."},
	{"posted", false, "Units that were posted."},
	{"taken", false, "Units that were taken."},
	{"holds", false, "Holds that began."},
	{"deaths", false, "Holds that ended with their process."},
	{"owners", true, "Units that are held."},
	{"waiting", true, "Waits and holds that wait."},
}

// Stat implements Object.
func (s *Semaphore) Stat() []Counter {
	return []Counter{
		{"value", s.value},
		{"posted", s.postedUnits},
		{"taken", s.tookUnits},
		{"holds", s.holds},
		{"deaths", s.deaths},
		{"owners", int64(len(s.owners))},
		{"waiting", int64(s.waiting.n)},
	}
}

// Owners yields those who hold a unit, the oldest first.
func (s *Semaphore) Owners() iter.Seq[Owner] { return slices.Values(s.owners) }

// Waiters implements Object.
func (s *Semaphore) Waiters() iter.Seq[*Request] {
	return func(yield func(*Request) bool) { s.waiting.all(yield) }
}

// Check implements Object.
func (s *Semaphore) Check() error {
	for i, o := range s.owners {
		if slices.ContainsFunc(s.owners[:i], func(p Owner) bool { return p.handle == o.handle }) {
			return fmt.Errorf("one handle holds two units")
		}
	}
	switch first := s.waiting.first; {
	case s.value < 0:
		return fmt.Errorf("value %d", s.value)
	case first != nil && first.units <= s.value:
		return fmt.Errorf("the first of %d waits for %d units though there are %d", s.waiting.n, first.units, s.value)
	case first != nil && !s.reachable(first.units):
		return fmt.Errorf("the first of %d waits for %d units, which will never be there", s.waiting.n, first.units)
	case s.destroyed && (first != nil || len(s.owners) > 0):
		return fmt.Errorf("destroyed, but something is left")
	}
	return nil
}
