package kernelsim

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/anishathalye/porcupine"

	"ipcfs/objects"
)

// The sequential model of a mailbox: a queue. A rendezvous is a send and a receive
// right after one another, so a queue of capacity 0 may hold one in between. A peek
// shows what the next receive would get, also where a sender only offers it and may
// still be interrupted: it says nothing about the queue and is left out.
type queueInput struct {
	op   objects.Op
	text string
}

type queueOutput struct {
	text  string
	errno syscall.Errno
}

var queueModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		in, out := input.(queueInput), output.(queueOutput)
		held := strings.Fields(state.(string))
		switch {
		case in.op == objects.Send && out.errno == 0:
			return true, strings.Join(append(held, in.text), " ")
		case in.op == objects.Receive && out.errno == 0:
			return len(held) > 0 && held[0] == out.text, strings.Join(held[min(1, len(held)):], " ")
		case in.op == objects.Flush:
			return true, ""
		case in.op != objects.Send && out.errno == syscall.EAGAIN:
			return len(held) == 0, state
		}
		return true, state // EINTR, ETIMEDOUT, a full mailbox: nothing happened
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprint(input, output) },
}

// The sequential model of a semaphore: a number. Waits of several units are served
// in order, so EAGAIN says nothing about the value.
var unitsModel = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		in, errno := input.(unitsInput), output.(syscall.Errno)
		value := state.(int64)
		switch {
		case errno != 0:
			return true, state
		case in.op == objects.Wait:
			return value >= in.units, value - in.units
		}
		return true, value + in.units
	},
}

type unitsInput struct {
	op    objects.Op
	units int64
}

// A history records operations on one object as they look from outside.
type history struct {
	begun map[*objects.Request]porcupine.Operation
	done  []porcupine.Operation
	clock int64
	input func(*objects.Request) any
	out   func(*objects.Request) any
}

func (h *history) watch(e Event) {
	h.clock++
	switch r := e.Request; {
	case r == nil || e.Node == nil || h.input(r) == nil:
	case e.Start:
		h.begun[r] = porcupine.Operation{ClientId: int(e.Process.Pid()), Input: h.input(r), Call: h.clock}
	case e.Verb != "blocks":
		o := h.begun[r]
		delete(h.begun, r)
		o.Output, o.Return = h.out(r), h.clock
		h.done = append(h.done, o)
	}
}

func checkLinearizable(t *testing.T, kind string, model porcupine.Model, mend func(*operation), h func() *history) {
	for seed := range uint64(*seeds) {
		w := newWorkload(objects.KindNamed(kind), seed, 3, 5)
		w.labelled = false // the model is a plain queue
		w.faults.Kills = 0 // a message that goes back was received by nobody
		w.policies = nil
		if kind == "mailbox" {
			w.policies = []string{"capacity", []string{"0", "1", "2", "max"}[seed%4]}
		}
		for _, program := range w.processes {
			for i := range program {
				program[i].policy, program[i].destroy, program[i].fork = [2]string{}, false, false
				mend(&program[i])
			}
		}
		record := h()
		if trace, err := randomRun(w, nil, record.watch); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, trace)
		}
		if !porcupine.CheckOperations(model, record.done) {
			trace, _ := randomRun(w, nil, nil)
			t.Fatalf("seed %d: the history is not linearizable:\n%s", seed, trace)
		}
	}
}

func TestMailboxIsLinearizable(t *testing.T) {
	checkLinearizable(t, "mailbox", queueModel, func(o *operation) {
		o.size = 100
		o.both = false
	}, func() *history {
		return &history{
			begun: map[*objects.Request]porcupine.Operation{},
			input: func(r *objects.Request) any {
				if !slices.Contains([]objects.Op{objects.Send, objects.Receive, objects.Flush}, r.Op) {
					return nil
				}
				return queueInput{r.Op, string(r.Data)}
			},
			out: func(r *objects.Request) any {
				if r.Errno != 0 || r.Op == objects.Send {
					return queueOutput{errno: r.Errno}
				}
				return queueOutput{text: string(r.Data)}
			},
		}
	})
}

func TestSemaphoreIsLinearizable(t *testing.T) {
	checkLinearizable(t, "semaphore", unitsModel, func(o *operation) {
		if o.op != objects.Wait {
			o.op = objects.Post
		}
		o.size = 2
	}, func() *history {
		return &history{
			begun: map[*objects.Request]porcupine.Operation{},
			input: func(r *objects.Request) any {
				if r.Op != objects.Wait && r.Op != objects.Post {
					return nil
				}
				return unitsInput{r.Op, r.Units}
			},
			out: func(r *objects.Request) any { return r.Errno },
		}
	})
}
