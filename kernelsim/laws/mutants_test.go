package laws

import (
	"slices"
	"syscall"
	"testing"

	"ipcfs/kernelsim/explore"
	"ipcfs/objects"
)

// A mutant is a deliberate bug put between the kernel and an object.
type mutant struct {
	name  string
	kinds []string // empty: every kind
	wrap  func(o objects.Object) objects.Object
}

// Bugs that need no state of their own are one method that differs.
type (
	sleepyObject   struct{ objects.Object } // the first that another's call wakes is forgotten
	deafObject     struct{ objects.Object } // cancels nothing
	greedyObject   struct{ objects.Object } // takes nothing back
	stutterObject  struct{ objects.Object } // does what gives twice
	lossyObject    struct{ objects.Object } // drops the last byte, or adds a unit
	boastfulObject struct{ objects.Object } // has no limits, whatever it says
	immortalObject struct{ objects.Object } // forgets who waits when destroyed
	eagerObject    struct{ objects.Object } // is ready always
	rashObject     struct{ objects.Object } // fails with EINVAL, but changes something
	hoardObject    struct{ objects.Object } // keeps what a handle held
	hastyObject    struct{ objects.Object } // is opened without the other end
	staleObject    struct {
		objects.Object
		last []byte // what the last receive got, and every fourth one gets again
		n    int
	}
)

func (o sleepyObject) Submit(now objects.Time, r *objects.Request) objects.Finished {
	done := o.Object.Submit(now, r)
	for first := range done.All() {
		if first != r {
			done.Next()
		}
		break
	}
	return done
}

func (o deafObject) Cancel(objects.Time, *objects.Request, syscall.Errno) objects.Finished {
	return objects.Finished{}
}

func (o greedyObject) Return(objects.Time, *objects.Request) objects.Finished {
	return objects.Finished{}
}

var gives = []objects.Op{objects.Send, objects.Post, objects.Write}

func (o stutterObject) Submit(now objects.Time, r *objects.Request) objects.Finished {
	waiting := 0
	for range o.Waiters() {
		waiting++
	}
	if waiting == 0 && slices.Contains(gives, r.Op) {
		again := *r
		again.Nonblock, again.Tag = true, nil
		o.Object.Submit(now, &again)
	}
	return o.Object.Submit(now, r)
}

func (o lossyObject) Submit(now objects.Time, r *objects.Request) objects.Finished {
	if slices.Contains(gives, r.Op) || r.Op == objects.WriteAt {
		if n := len(r.Data); n > 0 {
			r.Data = r.Data[:n-1]
		}
		if units := r.Units; units > 0 {
			r.Units++
			defer func() { r.Units = units }()
		}
	}
	return o.Object.Submit(now, r)
}

func (o boastfulObject) SetPolicy(now objects.Time, name, value string) (objects.Finished, syscall.Errno) {
	done, errno := o.Object.SetPolicy(now, name, value)
	if name == "capacity" && errno == 0 {
		return o.Object.SetPolicy(now, name, "max")
	}
	return done, errno
}

func (o boastfulObject) Policy(name string) string {
	if name == "capacity" {
		return "1"
	}
	return o.Object.Policy(name)
}

func (o immortalObject) Destroy(now objects.Time) objects.Finished {
	o.Object.Destroy(now)
	return objects.Finished{}
}

func (o eagerObject) Ready(*objects.Handle) objects.Events { return objects.In | objects.Out }

func (o rashObject) SetPolicy(now objects.Time, name, value string) (objects.Finished, syscall.Errno) {
	done, errno := o.Object.SetPolicy(now, name, value)
	if errno == syscall.EINVAL {
		for _, other := range []string{"capacity", "value", "size", "seal"} {
			func() {
				defer func() { _ = recover() }()
				for _, v := range []string{"7", "shrink"} {
					o.Object.SetPolicy(now, other, v)
				}
			}()
		}
	}
	return done, errno
}

func (o hoardObject) Submit(now objects.Time, r *objects.Request) objects.Finished {
	if r.Op != objects.Close {
		return o.Object.Submit(now, r)
	}
	r.Op = objects.Open
	defer func() { r.Op = objects.Close }()
	return o.Object.Submit(now, r)
}

func (o hastyObject) Submit(now objects.Time, r *objects.Request) objects.Finished {
	if r.Op == objects.Connect {
		r.Op = objects.Open
		defer func() { r.Op = objects.Connect }()
	}
	return o.Object.Submit(now, r)
}

func (o *staleObject) Submit(now objects.Time, r *objects.Request) objects.Finished {
	done := o.Object.Submit(now, r)
	for d := range done.All() {
		if d.Errno != 0 || len(d.Data) == 0 || !slices.Contains(reads, d.Op) {
			continue
		}
		if o.n++; o.n%4 == 0 {
			d.Data = o.last
		} else {
			o.last = slices.Clone(d.Data)
		}
	}
	return done
}

var mutants = []mutant{
	{"a wake-up is forgotten", []string{"mailbox", "pipe", "semaphore"}, func(o objects.Object) objects.Object { return sleepyObject{o} }},
	{"a cancelled request stays", []string{"mailbox", "pipe", "semaphore"}, func(o objects.Object) objects.Object { return deafObject{o} }},
	{"what a dead process got is lost", []string{"mailbox", "pipe", "semaphore"}, func(o objects.Object) objects.Object { return greedyObject{o} }},
	{"what is given counts twice", []string{"mailbox", "pipe", "semaphore"}, func(o objects.Object) objects.Object { return stutterObject{o} }},
	{"what is given is changed", nil, func(o objects.Object) objects.Object { return lossyObject{o} }},
	{"the capacity does not hold", []string{"mailbox", "pipe"}, func(o objects.Object) objects.Object { return boastfulObject{o} }},
	{"destruction wakes nobody", []string{"mailbox", "pipe", "semaphore"}, func(o objects.Object) objects.Object { return immortalObject{o} }},
	{"it is always ready", []string{"mailbox", "pipe", "semaphore"}, func(o objects.Object) objects.Object { return eagerObject{o} }},
	{"a bad value changes something", nil, func(o objects.Object) objects.Object { return rashObject{o} }},
	{"a handle is never closed", nil, func(o objects.Object) objects.Object { return hoardObject{o} }},
	{"something is received twice", []string{"mailbox", "pipe", "segment"}, func(o objects.Object) objects.Object { return &staleObject{Object: o} }},
}

func TestLawsFindEveryMutant(t *testing.T) {
	for _, kind := range objects.Kinds() {
		caught := 0
		for _, m := range mutants {
			if m.kinds != nil && !slices.Contains(m.kinds, kind.Name) {
				continue
			}
			wrap := func(_ objects.Kind, o objects.Object) objects.Object { return m.wrap(o) }
			found := false
			for seed := uint64(0); seed < 5000 && !found; seed++ {
				w := newWorkload(kind, seed, 2+int(seed%4), 3+int(seed%11))
				_, err := randomRun(w, wrap, nil)
				if found = err != nil; found {
					t.Logf("%s, %s: seed %d: %v", kind.Name, m.name, seed, err)
				}
			}
			if !found {
				t.Errorf("%s: no law notices that %s", kind.Name, m.name)
			}
			caught++
		}
		if caught == 0 {
			t.Errorf("no mutant for kind %s", kind.Name)
		}
	}
}

func TestLawsFindEveryMutantOfOpening(t *testing.T) {
	for _, m := range []mutant{
		{name: "a wake-up is forgotten", wrap: func(o objects.Object) objects.Object { return sleepyObject{o} }},
		{name: "a cancelled request stays", wrap: func(o objects.Object) objects.Object { return deafObject{o} }},
		{name: "a handle is never closed", wrap: func(o objects.Object) objects.Object { return hoardObject{o} }},
		{name: "nobody waits for the other end", wrap: func(o objects.Object) objects.Object { return hastyObject{o} }},
	} {
		wrap := func(_ objects.Kind, o objects.Object) objects.Object { return m.wrap(o) }
		found := false
		for _, modes := range openings() {
			x := explore.Explore(openingSetup(modes, wrap), probed, explore.Bounds{})
			if found = x.Finding != nil; found {
				t.Logf("%s: %v", m.name, x.Finding.Err)
				break
			}
		}
		if !found {
			t.Errorf("no law notices that %s", m.name)
		}
	}
}
