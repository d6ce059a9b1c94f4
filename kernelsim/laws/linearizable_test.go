package laws

import (
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/anishathalye/porcupine"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// A history records operations on one object as they look from outside.
type history struct {
	begun map[*objects.Request]porcupine.Operation
	done  []porcupine.Operation
	clock int64
	view  view
}

// A view says which parts of a request a model sees.
type view struct {
	input  func(*objects.Request) any // nil: it does not see the request
	output func(*objects.Request) any

	// after, if set, is called when r has finished, in the same moment.
	after func(h *history, r *objects.Request)

	// pending, if set, is the output of what never returns, nil if it changed nothing.
	pending func(r *objects.Request) any
}

func (h *history) watch(e kernel.Event) {
	h.clock++
	switch r := e.Request; {
	case r == nil || e.Node == nil:
	case e.Start:
		if input := h.view.input(r); input != nil {
			h.begun[r] = porcupine.Operation{Input: input, Call: h.clock}
		}
	case e.Verb != "blocks":
		o, ok := h.begun[r]
		if !ok {
			return
		}
		delete(h.begun, r)
		o.Output, o.Return = h.view.output(r), h.clock
		h.done = append(h.done, o)
		if h.view.after != nil {
			h.view.after(h, r)
		}
	}
}

// instant records a call that cannot wait.
func (h *history) instant(input any, output any) {
	h.clock++
	h.done = append(h.done, porcupine.Operation{Input: input, Output: output, Call: h.clock, Return: h.clock})
}

// end records the calls that never returned.
func (h *history) end() {
	if h.view.pending == nil {
		return
	}
	h.clock++
	for r, o := range h.begun {
		if o.Output = h.view.pending(r); o.Output != nil {
			o.Return = h.clock
			h.done = append(h.done, o)
		}
	}
}

// A closeRecorder tells of each Close before it is carried out: those at the end of a
// process are no calls of it.
type closeRecorder struct {
	objects.Object
	closing func(h *objects.Handle)
}

func (o closeRecorder) Submit(now objects.Time, r *objects.Request) objects.Finished {
	if r.Op == objects.Close {
		o.closing(r.Handle)
	}
	return o.Object.Submit(now, r)
}

// A check compares histories of a kind with its model.
type check struct {
	kind     string
	model    porcupine.Model
	policies func(seed uint64) []string
	labelled bool
	mend     func(*operation) // makes an operation one that the model knows
	view     func(w workload) view
	closing  func(h *history, handle *objects.Handle)
	mutants  []mutant
}

var checks = map[string]check{
	"mailbox":   mailboxCheck("fifo", false),
	"labels":    mailboxCheck("fifo", true),
	"priority":  mailboxCheck("priority", true),
	"pipe":      pipeCheck(),
	"semaphore": semaphoreCheck(),
	"segment":   segmentCheck(),
}

// run makes a random run without laws, so that only the model judges. It returns the
// history.
func (c check) run(seed uint64, wrap func(objects.Object) objects.Object) (*kernel.Trace, []porcupine.Operation) {
	w := newWorkload(objects.KindNamed(c.kind), seed, 3, 5)
	w.labelled, w.answered = c.labelled, false
	w.faults.Kills = 0 // a message that goes back was received by nobody
	w.policies = nil
	if c.policies != nil {
		w.policies = c.policies(seed)
	}
	for _, program := range w.processes {
		for i := range program {
			program[i].policy, program[i].destroy, program[i].fork = [2]string{}, false, false
			c.mend(&program[i])
		}
	}
	record := &history{begun: map[*objects.Request]porcupine.Operation{}, view: c.view(w)}
	trace := &kernel.Trace{}
	k := &kernel.Kernel{
		Wrap: func(_ objects.Kind, o objects.Object) objects.Object {
			if wrap != nil {
				o = wrap(o)
			}
			if c.closing == nil {
				return o
			}
			return closeRecorder{o, func(h *objects.Handle) { c.closing(record, h) }}
		},
		Watch: func(e kernel.Event) {
			trace.Add(e)
			record.watch(e)
		},
	}
	w.setup(k)
	defer k.Shutdown()
	k.Run(kernel.Seeded(seed), 2000)
	record.end()
	return trace, record.done
}

func TestObjectsAreLinearizable(t *testing.T) {
	for name, c := range checks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(*seeds) {
				if trace, done := c.run(seed, nil); !porcupine.CheckOperations(c.model, done) {
					t.Fatalf("seed %d: the history is not linearizable:\n%s", seed, trace)
				}
			}
		})
	}
}

// TestModelsFindTheirMutants shows that a history can fail to be linearizable.
func TestModelsFindTheirMutants(t *testing.T) {
	for name, c := range checks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if len(c.mutants) == 0 {
				t.Error("no mutants")
			}
		mutants:
			for _, m := range c.mutants {
				for seed := range uint64(5000) {
					if _, done := c.run(seed, m.wrap); !porcupine.CheckOperations(c.model, done) {
						t.Logf("%s: seed %d", m.name, seed)
						continue mutants
					}
				}
				t.Errorf("the model does not notice that %s", m.name)
			}
		})
	}
}

// capacities are those that checks take in turn; max is the default.
func capacities(seed uint64) string { return []string{"0", "1", "2", "max"}[seed%4] }

func mailboxCheck(order string, labelled bool) check {
	c := check{
		kind:     "mailbox",
		model:    mailboxModel,
		labelled: labelled,
		policies: func(seed uint64) []string { return []string{"capacity", capacities(seed), "order", order} },
		mend:     func(o *operation) { o.size, o.both = 100, false },
		view: func(workload) view {
			return view{
				input: func(r *objects.Request) any {
					if !slices.Contains([]objects.Op{objects.Send, objects.Receive, objects.Flush}, r.Op) {
						return nil
					}
					in := mailboxInput{op: r.Op, text: string(r.Data), uid: r.Caller.Uid, order: order}
					if only := mailbox.Filter(r.Handle); only != nil && r.Op != objects.Flush {
						in.only, in.selected = *only, true
					}
					return in
				},
				output: func(r *objects.Request) any {
					if r.Errno != 0 || r.Op == objects.Send {
						return mailboxOutput{errno: r.Errno}
					}
					return mailboxOutput{text: string(r.Data)}
				},
			}
		},
		mutants: []mutant{
			{name: "what is given is changed", wrap: func(o objects.Object) objects.Object { return lossyObject{o} }},
			{name: "something is received twice", wrap: func(o objects.Object) objects.Object { return &staleObject{Object: o} }},
		},
	}
	if labelled {
		c.mutants = append(c.mutants, mutant{name: "receivers do not select", wrap: func(o objects.Object) objects.Object { return blindObject{o} }})
	}
	if order == "priority" {
		c.mutants = append(c.mutants, mutant{name: "priorities do not count", wrap: func(o objects.Object) objects.Object { return levelObject{o} }})
	}
	return c
}

type (
	blindObject struct{ objects.Object } // receives what is next, whatever is asked for
	levelObject struct{ objects.Object } // keeps the order fifo
	endedObject struct{ objects.Object } // says end of file for EAGAIN
	quietObject struct{ objects.Object } // takes what nobody can read, instead of EPIPE
	rigidObject struct{ objects.Object } // is never resized
)

func (o blindObject) Submit(now objects.Time, r *objects.Request) objects.Finished {
	if r.Op == objects.Receive {
		defer func(h *objects.Handle, only *mailbox.Selector) { mailbox.FileOf(h).Filter = only }(r.Handle, mailbox.Filter(r.Handle))
		mailbox.FileOf(r.Handle).Filter = nil
	}
	return o.Object.Submit(now, r)
}

func (o levelObject) SetPolicy(now objects.Time, name, value string) (objects.Finished, syscall.Errno) {
	if name == "order" {
		value = "fifo"
	}
	return o.Object.SetPolicy(now, name, value)
}

func (o endedObject) Submit(now objects.Time, r *objects.Request) objects.Finished {
	done := o.Object.Submit(now, r)
	if r.Op == objects.Read && r.Errno == syscall.EAGAIN {
		r.Errno = 0
	}
	return done
}

func (o quietObject) Submit(now objects.Time, r *objects.Request) objects.Finished {
	done := o.Object.Submit(now, r)
	if r.Op == objects.Write && r.Errno == syscall.EPIPE {
		r.Errno, r.N = 0, len(r.Data)
	}
	return done
}

func (o rigidObject) Submit(now objects.Time, r *objects.Request) objects.Finished {
	if r.Op == objects.Resize {
		r.Op = objects.ReadAt
		defer func() { r.Op = objects.Resize }()
	}
	return o.Object.Submit(now, r)
}

func pipeCheck() check {
	ends := func(h *objects.Handle) bool { return h.ReadOp == objects.Read || h.WriteOp == objects.Write }
	capacity := func(seed uint64) string { return []string{"0", "1", "3", "65536"}[seed/3%4] } // the other remainder decides on Connect
	return check{
		kind:     "pipe",
		model:    pipeModel,
		policies: func(seed uint64) []string { return []string{"capacity", capacity(seed)} },
		mend: func(o *operation) {
			if o.op != objects.Write && o.op != objects.Close {
				o.op = objects.Read
			}
		},
		view: func(w workload) view {
			limit, err := strconv.Atoi(w.policies[1])
			if err != nil {
				panic(err)
			}
			early := map[*objects.Handle]bool{}
			writes := map[*objects.Request]pipeInput{}
			return view{
				input: func(r *objects.Request) any {
					h := r.Handle
					in := pipeInput{op: r.Op, reads: h.Reads, writes: h.Writes, nonblock: r.Nonblock, capacity: limit, early: early[h]}
					switch r.Op {
					case objects.Open, objects.Connect:
						early[h] = r.Op == objects.Open
						if !ends(h) {
							return nil
						}
					case objects.Write:
						in.id, in.text = byte(1+len(writes)), string(r.Data)
						writes[r] = in
					case objects.Read:
						in.size = r.Size
					default:
						return nil
					}
					return in
				},
				output: func(r *objects.Request) any {
					out := pipeOutput{n: r.N, errno: r.Errno}
					if r.Op == objects.Read && r.Errno == 0 {
						out.text = string(r.Data)
					}
					return out
				},
				after: func(h *history, r *objects.Request) {
					if in, ok := writes[r]; ok && r.N > 0 {
						in.returned = true
						h.instant(in, pipeOutput{})
					}
				},
				pending: func(r *objects.Request) any {
					switch {
					case r.Op == objects.Open || r.Op == objects.Connect:
						return pipeOutput{} // it counts, though it waits
					case r.Op == objects.Write && r.N > 0:
						return pipeOutput{n: r.N}
					}
					return nil
				},
			}
		},
		closing: func(h *history, handle *objects.Handle) {
			if ends(handle) {
				h.instant(pipeInput{op: objects.Close, reads: handle.Reads, writes: handle.Writes}, pipeOutput{})
			}
		},
		mutants: []mutant{
			{name: "what is given is changed", wrap: func(o objects.Object) objects.Object { return lossyObject{o} }},
			{name: "something is received twice", wrap: func(o objects.Object) objects.Object { return &staleObject{Object: o} }},
			{name: "the capacity does not hold", wrap: func(o objects.Object) objects.Object { return boastfulObject{o} }},
			{name: "end of file comes while there are writers", wrap: func(o objects.Object) objects.Object { return endedObject{o} }},
			{name: "EPIPE does not come", wrap: func(o objects.Object) objects.Object { return quietObject{o} }},
		},
	}
}

func semaphoreCheck() check {
	return check{
		kind:  "semaphore",
		model: semaphoreModel,
		mend: func(o *operation) {
			if o.op != objects.Wait {
				o.op = objects.Post
			}
			o.size = 2
		},
		view: func(workload) view {
			return view{
				input: func(r *objects.Request) any {
					if r.Op != objects.Wait && r.Op != objects.Post {
						return nil
					}
					return unitsInput{r.Op, r.Units}
				},
				output: func(r *objects.Request) any { return r.Errno },
			}
		},
		mutants: []mutant{
			{name: "what is given is changed", wrap: func(o objects.Object) objects.Object { return lossyObject{o} }},
			{name: "what is given counts twice", wrap: func(o objects.Object) objects.Object { return stutterObject{o} }},
		},
	}
}

func segmentCheck() check {
	known := []objects.Op{objects.ReadAt, objects.WriteAt, objects.Resize}
	return check{
		kind:  "segment",
		model: segmentModel,
		mend: func(o *operation) {
			if !slices.Contains(known, o.op) {
				o.op = known[int(o.offset)%len(known)]
			}
		},
		view: func(workload) view {
			return view{
				input: func(r *objects.Request) any {
					switch r.Op {
					case objects.ReadAt:
						return memoryInput{op: r.Op, offset: r.Offset, size: len(r.Data)}
					case objects.WriteAt, objects.Resize:
						return memoryInput{op: r.Op, offset: r.Offset, text: string(r.Data)}
					}
					return nil
				},
				output: func(r *objects.Request) any {
					out := memoryOutput{n: r.N, errno: r.Errno}
					if r.Op == objects.ReadAt {
						out.text = string(r.Data)
					}
					return out
				},
			}
		},
		mutants: []mutant{
			{name: "what is given is changed", wrap: func(o objects.Object) objects.Object { return lossyObject{o} }},
			{name: "something is received twice", wrap: func(o objects.Object) objects.Object { return &staleObject{Object: o} }},
			{name: "the size does not change", wrap: func(o objects.Object) objects.Object { return rigidObject{o} }},
		},
	}
}
