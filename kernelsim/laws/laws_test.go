package laws

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ipcfs/kernelsim/explore"
	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

var (
	seeds = flag.Int("seeds", 500/slow, "random runs for each kind of object")
	cases = flag.Int("cases", 4/slow, "random programs for each kind of object that are searched exhaustively")
)

// A workload is a random program for objects of a kind. It knows operations, not
// kinds: a new kind is exercised as soon as it is registered.
type workload struct {
	reloads   bool // each object is saved and loaded after each call
	kind      objects.Kind
	policies  []string
	processes [][]operation
	faults    kernel.Faults
	opened    bool // from the start
	seed      uint64
	labelled  bool // some endpoints select
	answered  bool // some take leases or get receipts
}

type operation struct {
	op       objects.Op
	nonblock bool
	text     string
	size     int
	offset   int64
	units    int64
	timeout  objects.Time
	policy   [2]string // set it, if not empty
	destroy  bool
	sleep    bool
	both     bool // open for reading and writing
	fork     bool
	label    int // of labels; none if it is beyond
}

// words are values that policies may have; the rest of them are refused.
var words = []string{
	"0", "1", "1", "2", "3", "10", "max", "block", "block", "fail", "drop-oldest", "drop-newest",
	"session", "persistent", "shrink", "grow", "write", "fifo", "priority", "nonsense", "1ms", "3ms",
	"any", "single", "pair", "broadcast", "broadcast", "line", "line", "close", "close", "x", "y",
}

// reads and writes are the operations that read(2) and write(2) of some endpoint
// submit. The others are submitted through any open file.
var (
	reads  = []objects.Op{objects.Receive, objects.Peek, objects.Read, objects.Wait, objects.ReadAt, objects.Lease, objects.Receipt}
	writes = []objects.Op{objects.Send, objects.Write, objects.Post, objects.WriteAt, objects.Settle}
)

// labels narrow endpoints of mailboxes; the first is for receiving only.
var labels = []mailbox.Selector{
	{By: mailbox.BySender, Sender: 1},
	{By: mailbox.ByPriority, Priority: 3},
	{By: mailbox.ByPriority, Priority: 5},
	{By: mailbox.ByTopic, Topic: "t"},
	{By: mailbox.ByTopic, Topic: "u"},
	{By: mailbox.ByUrgency},
}

func newWorkload(kind objects.Kind, seed uint64, processes, length int) workload {
	rng := rand.New(rand.NewPCG(seed, 7))
	labelling := rand.New(rand.NewPCG(seed, 8))
	often := 1 + labelling.IntN(len(labels)-1) // so that some are alike
	w := workload{kind: kind, seed: seed, labelled: seed%4 != 1, answered: seed%4 != 1}
	var kindWords []string
	accepted := map[string][]string{}
	for _, name := range kind.PolicyNames() {
		for _, word := range words {
			if _, errno := kind.New(objects.Unlimited).SetPolicy(0, name, word); errno == 0 {
				accepted[name] = append(accepted[name], word)
			}
		}
		if rng.IntN(2) == 0 && len(accepted[name]) > 0 {
			w.policies = append(w.policies, name, accepted[name][rng.IntN(len(accepted[name]))])
		}
		kindWords = append(kindWords, name)
	}
	ops := slices.DeleteFunc(slices.Clone(kind.Ops), func(op objects.Op) bool {
		return kernel.Opens(op) && op != objects.Hold || op == objects.Close
	})
	// Half of the programs only give and take, and are killed more: what goes back
	// goes back among others.
	plain := rng.IntN(2) == 0
	if give, take := use(kind, writes), use(kind, reads); plain && give != 0 && take != 0 {
		if slices.Contains(kind.Ops, objects.Read) {
			give, take = objects.Write, objects.Read
		}
		ops = []objects.Op{give, take, take}
		if slices.Contains(kind.Ops, objects.Lease) && seed%4 == 2 {
			ops = []objects.Op{give, objects.Lease, objects.Settle}
		}
	}
	for p := range processes {
		var program []operation
		for i := range length {
			o := operation{
				op:       ops[rng.IntN(len(ops))],
				nonblock: rng.IntN(4) == 0,
				text:     string(rune('!'+p*length+i)) + strings.Repeat("~", rng.IntN(4)), // told apart by its first byte
				size:     []int{1, 2, 100, 100, 100}[rng.IntN(5)],
				offset:   rng.Int64N(6),
				units:    1 + rng.Int64N(2),
				both:     rng.IntN(4) == 0,
				label:    []int{0, often, often, labelling.IntN(len(labels) + 2)}[labelling.IntN(4)],
			}
			k := rng.IntN(40)
			if plain {
				k += 8
			}
			switch {
			case k < 3 && len(kindWords) > 0:
				name := kindWords[rng.IntN(len(kindWords))]
				o.policy = [2]string{name, words[rng.IntN(len(words))]}
				if n := len(accepted[name]); n > 0 && rng.IntN(4) > 0 {
					o.policy[1] = accepted[name][rng.IntN(n)]
				}
			case k == 3 && i == length-1:
				o.destroy = true
			case k == 4:
				o.sleep = true
			case k < 8:
				o.timeout = objects.Time(1+rng.IntN(3)) * kernel.Millisecond
			case k < 10:
				o.fork = true
			case k < 12:
				o.op = objects.Close
			}
			if w.labelled && labelling.IntN(12) == 0 && kind.HasPolicy("order") {
				o.policy = [2]string{"order", []string{"fifo", "priority"}[labelling.IntN(2)]}
			}
			program = append(program, o)
		}
		w.processes = append(w.processes, program)
	}
	w.faults = kernel.Faults{Kills: rng.IntN(3), Signals: rng.IntN(3)}
	if plain {
		w.faults.Kills = rng.IntN(processes)
	}
	return w
}

func (w *workload) setup(k *kernel.Kernel) {
	k.Reloads = w.reloads
	k.Faults = w.faults
	k.Asynchronous = w.seed%2 == 0
	n, err := k.Create("x", w.kind, w.policies...)
	if err != nil {
		panic(err)
	}
	if slices.Contains(w.policies, "dead_letters") {
		if _, err := k.Create("y", w.kind, "capacity", "1"); err != nil {
			panic(err)
		}
	}
	for i, program := range w.processes {
		k.Spawn(string(rune('p'+i)), kernel.Cred{Uid: uint32(i)}, func(p *kernel.Process) { w.run(p, n, program) })
	}
}

func (w *workload) run(p *kernel.Process, n *kernel.Node, program []operation) {
	files := map[string]*kernel.File{}
	var open []string
	for _, o := range program {
		if m, endpoint := w.mode(o); w.opened && !w.skips(o) && m.Op != objects.Hold && files[endpoint] == nil {
			if f := p.OpenNow(n, m); f != nil {
				files[endpoint] = f
				open = append(open, endpoint)
			}
		}
	}
	forked := false
	for _, o := range program {
		switch {
		case w.skips(o):
			continue
		case o.policy[0] != "":
			p.SetPolicy(n, o.policy[0], o.policy[1])
			continue
		case o.destroy:
			p.Destroy(n)
			continue
		case o.sleep:
			p.Sleep(kernel.Millisecond)
			continue
		case o.fork && !forked:
			forked = true
			p.Fork(p.Name+"'", func(p *kernel.Process) { p.Sleep(2 * kernel.Millisecond) })
			continue
		case o.op == objects.Close:
			if len(open) > 0 {
				p.Close(files[open[0]])
				delete(files, open[0])
				open = open[1:]
			}
			continue
		}
		m, endpoint := w.mode(o)
		f := files[endpoint]
		if f == nil {
			var errno error
			f, errno = w.open(p, n, m)
			if errno != nil {
				continue
			}
			files[endpoint] = f
			open = append(open, endpoint)
		}
		if o.op == objects.Hold {
			continue // opening it was all
		}
		r := &objects.Request{Op: o.op, Nonblock: o.nonblock, Size: o.size, Offset: o.offset, Units: o.units}
		switch o.op {
		case objects.Send, objects.Write, objects.WriteAt:
			r.Data = []byte(w.framed(o))
		case objects.Settle:
			r.Data = []byte([]string{"ack", "ack", "nack\n", "extend 2ms", "ask"}[o.offset%5])
		case objects.ReadAt:
			r.Data = make([]byte, o.size)
		case objects.Wait:
			r.Size = 0
		case objects.Post:
			if o.size == 1 {
				r.Units, r.Data = 0, []byte("\n1\n") // in words, 2
			}
		}
		p.SubmitWithin(o.timeout, f, r)
	}
}

// skips reports whether o takes a lease or gets a receipt, and nobody is to.
func (w *workload) skips(o operation) bool {
	return !w.answered && (o.op == objects.Lease || o.op == objects.Settle || o.op == objects.Receipt)
}

// framed is what o sends: none, one or two lines, and maybe the beginning of another,
// which is told apart from the first by its first byte too.
func (w *workload) framed(o operation) string {
	if i := slices.Index(w.policies, "framing"); i < 0 || w.policies[i+1] == "write" {
		return o.text
	}
	second := string([]byte{o.text[0] | 0x80}) + o.text[1:]
	return []string{o.text, o.text + "\n", o.text + "\n" + second, o.text + "\n" + second + "\n"}[o.offset%4]
}

// mode is the endpoint that o goes through.
func (w *workload) mode(o operation) (m kernel.Mode, name string) {
	if slices.Contains(w.kind.Ops, objects.Lease) {
		switch lease := o.op == objects.Lease || o.op == objects.Settle; {
		case lease:
			return kernel.Mode{ReadOp: objects.Lease, WriteOp: objects.Settle, EOF: true}, "lease"
		case o.op == objects.Receipt, o.op == objects.Send && o.both && w.answered:
			return kernel.Mode{ReadOp: objects.Receipt, WriteOp: objects.Send, EOF: true}, "send+receipt"
		}
	}
	m.EOF = o.size == 2
	switch {
	case o.op == objects.Hold:
		return kernel.Mode{Op: objects.Hold, Nonblock: o.nonblock}, "hold"
	case slices.Contains(reads, o.op):
		m.ReadOp = o.op
		name = o.op.String()
		for _, other := range writes {
			if o.both && slices.Contains(w.kind.Ops, other) && (other != objects.Send || o.op == objects.Receive) {
				m.WriteOp = other
				name += "+" + other.String()
				break
			}
		}
	case slices.Contains(writes, o.op):
		m.WriteOp = o.op
		name = o.op.String()
	default:
		m.ReadOp = use(w.kind, reads)
		name = m.ReadOp.String()
	}
	if w.labelled && slices.Contains(w.kind.Ops, objects.Peek) && (o.op == objects.Send || o.op == objects.Receive) {
		if i := o.label; i < len(labels) && (i > 0 || m.WriteOp == 0) {
			m.Only = &labels[i]
			name += fmt.Sprint(i)
		}
	}
	if slices.Contains(w.kind.Ops, objects.Connect) && (m.ReadOp == objects.Read || m.WriteOp == objects.Write) && w.seed%3 != 0 {
		m.Op = objects.Connect
		m.Nonblock = o.nonblock
	}
	return m, name
}

func use(kind objects.Kind, among []objects.Op) objects.Op {
	for _, op := range among {
		if slices.Contains(kind.Ops, op) {
			return op
		}
	}
	return 0
}

func (w *workload) open(p *kernel.Process, n *kernel.Node, m kernel.Mode) (*kernel.File, error) {
	f, errno := p.Open(n, m)
	if errno != 0 {
		return nil, errno
	}
	return f, nil
}

// lawful is setup under the laws.
func lawful(setup explore.Setup) explore.Setup {
	return func(k *kernel.Kernel) {
		k.Laws = Of
		setup(k)
	}
}

// randomRun makes a random run; it returns what the laws found.
func randomRun(w workload, wrap func(objects.Kind, objects.Object) objects.Object, watch func(kernel.Event)) (trace *kernel.Trace, err error) {
	trace = &kernel.Trace{}
	k := &kernel.Kernel{Wrap: wrap, Watch: func(e kernel.Event) {
		trace.Add(e)
		if watch != nil {
			watch(e)
		}
	}}
	lawful(w.setup)(k)
	defer k.Shutdown()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if !k.Run(kernel.Seeded(w.seed), 2000) {
		return trace, fmt.Errorf("no end after %d steps", k.Steps())
	}
	Probe(k)
	return trace, k.Violation()
}

func TestLawsHoldInRandomRuns(t *testing.T) {
	for _, kind := range objects.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			failures := 0
			for seed := range uint64(*seeds) {
				w := newWorkload(kind, seed, 2+int(seed%4), 3+int(seed%11))
				if trace, err := randomRun(w, nil, nil); err != nil {
					t.Errorf("seed %d, policies %q: %v\n%s", seed, w.policies, err, trace)
					if failures++; failures == 3 {
						return
					}
				}
			}
		})
	}
}

// TestLawsHoldInEveryRun goes through every interleaving of 3 processes of 4
// operations, with a kill at every point.
func TestLawsHoldInEveryRun(t *testing.T) {
	for _, kind := range objects.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			var total explore.Exploration
			for seed := range uint64(*cases) {
				w := newWorkload(kind, seed, 3, 4)
				w.opened = true
				w.faults = kernel.Faults{Kills: 1}
				for _, program := range w.processes {
					for i := range program {
						program[i].fork = false
					}
				}
				x := explore.Explore(lawful(w.setup), explore.Goals{}, explore.Bounds{})
				total.States += x.States
				total.Steps += x.Steps
				total.Ends += x.Ends
				if x.Finding != nil {
					trace := &kernel.Trace{}
					k := explore.Replay(lawful(w.setup), trace.Add, x.Finding.Schedule)
					k.Shutdown()
					t.Errorf("program %d: %v\n%s", seed, x.Finding.Err, trace)
				} else if !x.Complete {
					t.Errorf("program %d: %d states and not done", seed, x.States)
				}
			}
			t.Logf("%d programs: %d states, %d steps, %d ends", *cases, total.States, total.Steps, total.Ends)
		})
	}
}

// TestLawsHoldInEveryOpening goes through every interleaving of 2 or 3 processes that
// open one pipe, in each direction and with O_NONBLOCK or without, use it and close it,
// two of them twice, with a kill at every point.
func TestLawsHoldInEveryOpening(t *testing.T) {
	t.Parallel()
	var total explore.Exploration
	n := 0
	for _, modes := range openings() {
		if slow > 1 && len(modes) > 2 {
			continue
		}
		x := explore.Explore(openingSetup(modes, nil), probed, explore.Bounds{})
		total.States += x.States
		total.Ends += x.Ends
		n++
		if x.Finding != nil {
			trace := &kernel.Trace{}
			explore.Replay(openingSetup(modes, nil), trace.Add, x.Finding.Schedule).Shutdown()
			t.Errorf("%+v: %v\n%s", modes, x.Finding.Err, trace)
		} else if !x.Complete {
			t.Errorf("%+v: %d states and not done", modes, x.States)
		}
	}
	t.Logf("%d programs: %d states, %d ends", n, total.States, total.Ends)
}

// probed asks at every end whether somebody waits in vain, or something is left open.
var probed = explore.Goals{End: func(k *kernel.Kernel) error {
	Probe(k)
	return k.Violation()
}}

// openings are the sets of 2 and of 3 ways to open a pipe, whatever their order.
func openings() (all [][]kernel.Mode) {
	read, write := kernel.Mode{Op: objects.Connect, ReadOp: objects.Read}, kernel.Mode{Op: objects.Connect, WriteOp: objects.Write}
	both := kernel.Mode{Op: objects.Connect, ReadOp: objects.Read, WriteOp: objects.Write}
	readNow, writeNow := read, write
	readNow.Nonblock, writeNow.Nonblock = true, true
	ways := []kernel.Mode{read, write, both, readNow, writeNow}
	for i := range ways {
		for j := range ways[i:] {
			all = append(all, []kernel.Mode{ways[i], ways[i+j]})
			for k := range ways[i+j:] {
				all = append(all, []kernel.Mode{ways[i], ways[i+j], ways[i+j+k]})
			}
		}
	}
	return all
}

func openingSetup(modes []kernel.Mode, wrap func(objects.Kind, objects.Object) objects.Object) explore.Setup {
	return func(k *kernel.Kernel) {
		k.Laws, k.Wrap = Of, wrap
		k.Faults = kernel.Faults{Kills: 1}
		n, err := k.Create("x", objects.KindNamed("pipe"), "capacity", "1")
		if err != nil {
			panic(err)
		}
		for i, m := range modes {
			k.Spawn(string(rune('p'+i)), kernel.Cred{}, func(p *kernel.Process) {
				for range 4 - len(modes) {
					f, errno := p.Open(n, m)
					if errno != 0 {
						continue
					}
					r := &objects.Request{Op: objects.Read, Size: 2, Nonblock: m.Nonblock}
					if m.WriteOp != 0 {
						r = &objects.Request{Op: objects.Write, Data: []byte{'a' + byte(i), '~'}, Nonblock: m.Nonblock}
					}
					p.Submit(f, r)
					p.Close(f)
				}
			})
		}
	}
}
