package laws

import (
	"bytes"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ipcfs/objects"
	"ipcfs/objects/mailbox"
)

// A flaw is a deliberate bug in a mailbox: what submit does instead of the mailbox.
type flaw struct {
	name   string
	submit func(b *flawed, now objects.Time, r *objects.Request) objects.Finished
}

// A flawed mailbox has a flaw, and some memory for it.
type flawed struct {
	objects.Object
	flaw
	text []byte
}

func (b *flawed) Submit(now objects.Time, r *objects.Request) objects.Finished {
	return b.submit(b, now, r)
}

// The rest of a mailbox, which the kernel asks for.
func (b *flawed) Deadline() objects.Time { return b.Object.(objects.Expirer).Deadline() }
func (b *flawed) Expire(now objects.Time) objects.Finished {
	return b.Object.(objects.Expirer).Expire(now)
}

func (b *flawed) Rendered(now objects.Time, r *objects.Request, text []byte) objects.Finished {
	return b.Object.(objects.Renderer).Rendered(now, r, text)
}

// as submits r as if the mailbox had another policy. If the change of policy alone finishes a request, it
// panics, which ends the run without a finding.
func (b *flawed) as(now objects.Time, r *objects.Request, name, value string) objects.Finished {
	was := b.Policy(name)
	before, _ := b.SetPolicy(now, name, value)
	done := b.Object.Submit(now, r)
	after, _ := b.SetPolicy(now, name, was)
	if !before.Empty() || !after.Empty() {
		panic("the other policy finishes something")
	}
	return done
}

var flaws = []flaw{
	{"a lease may be acknowledged twice", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		done := b.Object.Submit(now, r)
		if r.Op == objects.Settle && r.Errno == syscall.ENOMSG {
			r.Errno = 0
		}
		return done
	}},
	{"nack acknowledges", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		if r.Op == objects.Settle && bytes.HasPrefix(r.Data, []byte("nack")) {
			r.Data = []byte("ack")
		}
		return b.Object.Submit(now, r)
	}},
	{"a lease that was extended never ends", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		if r.Op == objects.Settle && bytes.HasPrefix(r.Data, []byte("extend")) && b.Policy("lease_time") != "max" {
			r.Data = []byte("extend max")
		}
		return b.Object.Submit(now, r)
	}},
	{"the lease of a dead process lasts", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		if h := r.Handle; r.Op == objects.Release {
			r.Handle = &objects.Handle{}
			defer func() { r.Handle = h }()
		}
		return b.Object.Submit(now, r)
	}},
	{"a lease takes for good", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		if r.Op != objects.Lease {
			return b.Object.Submit(now, r)
		}
		r.Op = objects.Receive
		defer func() { r.Op = objects.Lease }()
		return b.Object.Submit(now, r)
	}},
	{"what is broadcast goes to one", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		if r.Op == objects.Send && b.Policy("receivers") == "broadcast" {
			return b.as(now, r, "receivers", "any")
		}
		return b.Object.Submit(now, r)
	}},
	{"what was broadcast before goes to who comes late", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		done := b.Object.Submit(now, r)
		if r.Op == objects.Receive && r.Errno == syscall.EAGAIN && len(b.text) > 0 && b.Policy("receivers") == "broadcast" {
			r.Errno, r.Data = 0, b.text[:min(r.Size, len(b.text))]
		}
		if r.Op == objects.Send && r.Errno == 0 {
			b.text = slices.Clone(r.Data)
		}
		return done
	}},
	{"a second process receives", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		if r.Op == objects.Open && b.Policy("receivers") == "single" {
			return b.as(now, r, "receivers", "any")
		}
		return b.Object.Submit(now, r)
	}},
	{"a third process opens a pair", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		if r.Op == objects.Open && b.Policy("receivers") == "pair" {
			return b.as(now, r, "receivers", "any")
		}
		return b.Object.Submit(now, r)
	}},
	{"lines are torn", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		if r.Op == objects.Send && b.Policy("framing") == "line" {
			return b.as(now, r, "framing", "write")
		}
		return b.Object.Submit(now, r)
	}},
	{"each write is a message though the file is not closed", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		if r.Op == objects.Send && b.Policy("framing") == "close" {
			return b.as(now, r, "framing", "write")
		}
		return b.Object.Submit(now, r)
	}},
	{"half a message of a killed process is sent", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		killed := r.Killed
		r.Killed = false
		defer func() { r.Killed = killed }()
		return b.Object.Submit(now, r)
	}},
	{"what a file has begun is lost when it is closed", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		killed := r.Killed
		r.Killed = r.Op == objects.Close
		defer func() { r.Killed = killed }()
		return b.Object.Submit(now, r)
	}},
	{"a receipt names somebody else", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		done := b.Object.Submit(now, r)
		for d := range done.All() {
			if lines, ok := d.Unrendered.([]mailbox.Outcome); ok {
				lines[0].By.Pid += 90
			}
		}
		return done
	}},
	{"a receipt comes before the message is received", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		done := b.Object.Submit(now, r)
		if r.Op == objects.Receipt && r.Errno == syscall.EAGAIN {
			r.Errno = 0
		}
		return done
	}},
	{"priorities do not count", func(b *flawed, now objects.Time, r *objects.Request) objects.Finished {
		if r.Op == objects.Receive && b.Policy("order") == "priority" {
			return b.as(now, r, "order", "fifo")
		}
		return b.Object.Submit(now, r)
	}},
}

func TestLawsOfMailboxesFindEveryFlaw(t *testing.T) {
	for _, f := range flaws {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			wrap := func(_ objects.Kind, o objects.Object) objects.Object { return &flawed{Object: o, flaw: f} }
			for seed := range uint64(20000) {
				w := newWorkload(objects.KindNamed("mailbox"), seed, 2+int(seed%4), 3+int(seed%11))
				if _, err := randomRun(w, wrap, nil); err != nil && !strings.HasPrefix(err.Error(), "panic") {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Error("no law notices")
		})
	}
}
