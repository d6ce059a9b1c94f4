package fs

import (
	"iter"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"ipcfs/objects"
)

// This file is a fifth kind: nothing else knows of it. A tally adds up what is written to it, and
// shows the sum to each reader; it refuses to grow beyond its policy max.
func init() {
	objects.Register(objects.Kind{
		Name:     "tally",
		New:      func(objects.Ledger) objects.Object { return &tally{max: 100} },
		Policies: []objects.PolicyKind{{Name: "max", Help: "What the sum is at most."}},
		Ops:      []objects.Op{objects.Open, objects.Post, objects.Wait, objects.Close},
		Counters: []objects.CounterKind{{Name: "sum", Gauge: true, Help: "The sum."}, {Name: "additions", Help: "How often something was added."}},
		Level:    objects.Level{Unit: "points", Value: "sum", Full: "max"},
	})
	present(presentation{
		kind: "tally",
		dir:  "tallies",
		flat: fileSpec{ops: &endpoint{reads: objects.Wait, writes: objects.Post, eof: true}},
		files: []fileSpec{
			{"add", 0o200, &endpoint{writes: objects.Post}},
			{"sum", 0o400, &endpoint{reads: objects.Wait, eof: true}},
		},
	})
}

type tally struct{ sum, additions, max int64 }

func (x *tally) Submit(_ objects.Time, r *objects.Request) objects.Finished {
	switch r.Op {
	case objects.Post:
		n, err := strconv.ParseInt(strings.TrimSpace(string(r.Data)), 10, 64)
		if err != nil {
			return r.Fail(syscall.EINVAL)
		}
		if x.sum+n > x.max {
			return r.Fail(syscall.ERANGE)
		}
		x.sum += n
		x.additions++
		r.N = len(r.Data)
	case objects.Wait:
		r.Data = strconv.AppendInt(nil, x.sum, 10)
	}
	return r.Fail(0)
}

func (x *tally) Cancel(objects.Time, *objects.Request, syscall.Errno) (done objects.Finished) {
	return done
}
func (x *tally) Return(objects.Time, *objects.Request) (done objects.Finished) { return done }
func (x *tally) Destroy(objects.Time) (done objects.Finished)                  { return done }
func (x *tally) Removable() syscall.Errno                                      { return 0 }
func (x *tally) Ready(*objects.Handle) objects.Events                          { return objects.In | objects.Out }
func (x *tally) Policy(string) string                                          { return objects.FormatAmount(x.max) }
func (x *tally) SetPolicy(_ objects.Time, _, value string) (done objects.Finished, errno syscall.Errno) {
	n, ok := objects.ParseAmount(value)
	if !ok {
		return done, syscall.EINVAL
	}
	x.max = n
	return done, 0
}
func (x *tally) Held() objects.Held { return objects.Held{} }
func (x *tally) Stat() []objects.Counter {
	return []objects.Counter{{Name: "sum", Value: x.sum}, {Name: "additions", Value: x.additions}}
}
func (x *tally) Waiters() iter.Seq[*objects.Request] { return func(func(*objects.Request) bool) {} }
func (x *tally) Check() error                        { return nil }

func TestAFifthKindIsOneFileHereAndOneInObjects(t *testing.T) {
	w := newWire(t)
	tallies := w.lookup(1, "tallies")
	w.send(request(opMkdir, tallies, 1, words(uint32(0o777), uint32(0)), name("t")))
	shows := func(want string, path ...string) {
		t.Helper()
		node := w.lookup(1, path...)
		got := w.read(node, w.open(node, syscall.O_RDONLY), 64<<10)
		if len(got) < outSize || !strings.Contains(string(got[outSize:]), want) {
			t.Errorf("%v shows %q; want %q in it", path, got, want)
		}
	}
	puts := func(value string, want syscall.Errno, path ...string) {
		t.Helper()
		node := w.lookup(1, path...)
		got := w.write(node, w.open(node, syscall.O_WRONLY), value)
		if errno := -int32(uint32(got[4]) | uint32(got[5])<<8 | uint32(got[6])<<16 | uint32(got[7])<<24); syscall.Errno(errno) != want {
			t.Errorf("%q written to %v: %v; want %v", value, path, syscall.Errno(errno), want)
		}
	}
	puts("40\n", 0, "tallies", "t", "add")
	puts("2\n", 0, "tallies", "t", "add")
	shows("42", "tallies", "t", "sum")
	puts("90\n", syscall.ERANGE, "tallies", "t", "add")
	puts("1K", syscall.EINVAL, "tallies", "t", "max")
	puts("1000", 0, "tallies", "t", "max")
	puts("90\n", 0, "tallies", "t", "add")
	shows("1000\n", "tallies", "t", "max")
	shows("sum 132\nadditions 3\n", "tallies", "t", "stat")
	shows("tallies/t directory 0777 1 0 0 0 0 max=1000\n", ".ipcfs", "objects")
	shows("# HELP ipcfs_tally_sum The sum.\n# TYPE ipcfs_tally_sum gauge\nipcfs_tally_sum{object=\"tallies/t\"} 132\n", ".ipcfs", "metrics")
	shows("# TYPE ipcfs_tally_additions_total counter\nipcfs_tally_additions_total{object=\"tallies/t\"} 3\n", ".ipcfs", "metrics")
	if got := KindIn("tallies"); got != "tally" {
		t.Errorf("the directory tallies is of kind %q", got)
	}
	if words := TracedOperations(); !strings.Contains(strings.Join(words, " "), "set-max") {
		t.Errorf("the trace knows no set-max: %v", words)
	}
	puts("\n", 0, "tallies", "t", "destroy")
	w.end()
}
