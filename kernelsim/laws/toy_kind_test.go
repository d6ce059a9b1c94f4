package laws

import (
	"fmt"
	"iter"
	"strconv"
	"syscall"
	"testing"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
)

// This file is a fifth kind and its laws: nothing else knows of it, and every test here that goes through
// the kinds tries it too. A tally adds up what is posted, up to its capacity, and shows the sum to each reader.
func init() {
	objects.Register(objects.Kind{
		Name:     "tally",
		New:      func(objects.Ledger) objects.Object { return &tally{capacity: 100} },
		Policies: []objects.PolicyKind{{Name: "capacity"}},
		Ops:      []objects.Op{objects.Open, objects.Post, objects.Wait, objects.Close},
		Counters: []objects.CounterKind{{Name: "sum", Gauge: true, Help: "The sum."}, {Name: "open_files", Gauge: true, Help: "Open files."}},
	})
	register("tally", func() kindLaws { return new(tallyLaws) })
}

type tally struct {
	sum, files, capacity int64
	held                 objects.Held
	destroyed            bool
}

func (x *tally) Submit(now objects.Time, r *objects.Request) objects.Finished {
	r.Errno, r.N = 0, 0
	switch {
	case r.Op == objects.Close:
		x.files--
	case x.destroyed:
		return r.Fail(syscall.EIDRM)
	case r.Op == objects.Open:
		x.files++
	case r.Op == objects.Post:
		n := unitsOf(r, string(r.Data))
		if x.sum+n > x.capacity {
			return r.Fail(syscall.ERANGE)
		}
		x.sum += n
		x.held.Changed = now
		r.N = len(r.Data)
	case r.Op == objects.Wait:
		r.Data = strconv.AppendInt(nil, x.sum, 10)
		x.held.Taken = now
	}
	return r.Fail(0)
}

func (x *tally) Cancel(objects.Time, *objects.Request, syscall.Errno) (done objects.Finished) {
	return done
}
func (x *tally) Return(objects.Time, *objects.Request) (done objects.Finished) { return done }
func (x *tally) Destroy(objects.Time) (done objects.Finished) {
	x.destroyed = true
	return done
}
func (x *tally) Removable() syscall.Errno             { return 0 }
func (x *tally) Ready(*objects.Handle) objects.Events { return objects.In | objects.Out }
func (x *tally) Policy(string) string                 { return objects.FormatAmount(x.capacity) }
func (x *tally) SetPolicy(_ objects.Time, _, value string) (done objects.Finished, errno syscall.Errno) {
	n, ok := objects.ParseAmount(value)
	if !ok {
		return done, syscall.EINVAL
	}
	x.capacity = n
	return done, 0
}
func (x *tally) Held() objects.Held { return x.held }
func (x *tally) Stat() []objects.Counter {
	return []objects.Counter{{Name: "sum", Value: x.sum}, {Name: "open_files", Value: x.files}}
}
func (x *tally) Waiters() iter.Seq[*objects.Request] { return func(func(*objects.Request) bool) {} }
func (x *tally) Check() error                        { return nil }

// tallyLaws: the sum is of what was posted.
type tallyLaws struct{ sum int64 }

func (l *tallyLaws) finished(_ *monitor, a kernel.Act, r *objects.Request, text string, _ []*objects.Request) error {
	if a == kernel.Submit && r.Op == objects.Post && r.Errno == 0 {
		l.sum += unitsOf(r, text)
	}
	if a == kernel.Submit && r.Op == objects.Wait && r.Errno == 0 && string(r.Data) != fmt.Sprint(l.sum) {
		return fmt.Errorf("the %s got %q; want %d", say(r), r.Data, l.sum)
	}
	return nil
}

func (l *tallyLaws) delivered(*objects.Request) {}

func (l *tallyLaws) check(m *monitor) error {
	if got := stat(m.node.Object.Stat(), "sum"); got != l.sum {
		return fmt.Errorf("the sum is %d; want %d", got, l.sum)
	}
	return nil
}

func (l *tallyLaws) contents() []string { return nil }

func TestAFifthKindIsOneFileOfLaws(t *testing.T) {
	miscounting := func(_ objects.Kind, o objects.Object) objects.Object { return lossyObject{o} }
	kind := objects.KindNamed("tally")
	for seed := range uint64(100) {
		w := newWorkload(kind, seed, 2, 4)
		if _, err := randomRun(w, nil, nil); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if _, err := randomRun(w, miscounting, nil); err != nil {
			t.Logf("seed %d: %v", seed, err)
			return
		}
	}
	t.Error("the laws of a tally find no tally that miscounts")
}
