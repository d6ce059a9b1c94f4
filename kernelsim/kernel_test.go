package kernelsim

import (
	"runtime"
	"strings"
	"syscall"
	"testing"

	"ipcfs/objects"
)

func mailboxNode(t testing.TB, k *Kernel, policies ...string) *Node {
	t.Helper()
	n, err := k.Create("jobs", objects.KindNamed("mailbox"), policies...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var (
	toSend    = Mode{WriteOp: objects.Send}
	toReceive = Mode{ReadOp: objects.Receive}
)

func (p *Process) testSend(f *File, text string) syscall.Errno {
	return p.Submit(f, &objects.Request{Op: objects.Send, Data: []byte(text)})
}

func (p *Process) testReceive(f *File) (string, syscall.Errno) {
	r := &objects.Request{Op: objects.Receive, Size: 4096}
	errno := p.Submit(f, r)
	return string(r.Data), errno
}

func pingPong(t testing.TB, k *Kernel) {
	n := mailboxNode(t, k, "capacity", "1")
	k.Spawn("producer", Cred{}, func(p *Process) {
		f, _ := p.Open(n, toSend)
		for _, text := range []string{"a", "b", "c"} {
			p.testSend(f, text)
		}
	})
	k.Spawn("consumer", Cred{}, func(p *Process) {
		f, _ := p.Open(n, toReceive)
		for range 3 {
			p.testReceive(f)
			p.Sleep(Millisecond)
		}
	})
}

func traceOf(t testing.TB, c Chooser, setup Setup) string {
	t.Helper()
	var trace Trace
	k := &Kernel{Watch: trace.Add}
	setup(k)
	defer k.Shutdown()
	if !k.Run(c, 10000) {
		t.Fatalf("no end after %d steps:\n%s", k.Steps(), &trace)
	}
	if err := k.Violation(); err != nil {
		t.Fatalf("%v:\n%s", err, &trace)
	}
	return trace.String()
}

func TestSameSeedSameTrace(t *testing.T) {
	different := map[string]bool{}
	for seed := range uint64(20) {
		setup := func(k *Kernel) {
			k.Asynchronous = true
			k.Faults = Faults{Kills: 1, Signals: 1}
			pingPong(t, k)
		}
		first := traceOf(t, Seeded(seed), setup)
		if again := traceOf(t, Seeded(seed), setup); again != first {
			t.Fatalf("seed %d:\n%s\nand again:\n%s", seed, first, again)
		}
		different[first] = true
	}
	if len(different) < 10 {
		t.Errorf("20 seeds gave %d different traces", len(different))
	}
}

func TestTranscriptOfProducerAndConsumer(t *testing.T) {
	got := traceOf(t, FIFO, func(k *Kernel) { pingPong(t, k) })
	want := strings.TrimPrefix(`
   1        0  producer[1]  open jobs = 0
   2        0  consumer[2]  open jobs = 0
   3        0  producer[1]  send jobs "a"
   3        0  producer[1]  send jobs = 0
   4        0  consumer[2]  receive jobs
   4        0  consumer[2]  receive jobs = "a"
`, "\n")
	var lines []string
	for line := range strings.Lines(got) {
		if !strings.HasSuffix(line, "open jobs\n") {
			lines = append(lines, line)
		}
	}
	if got := strings.Join(lines, ""); !strings.HasPrefix(got, want) {
		t.Errorf("trace\n%s\nwant it to begin\n%s", got, want)
	}
}

func TestKilledReceiverLosesNoMessage(t *testing.T) {
	k := &Kernel{}
	n := mailboxNode(t, k)
	victim := k.Spawn("victim", Cred{}, func(p *Process) {
		f, _ := p.Open(n, toReceive)
		p.testReceive(f)
		t.Error("the victim got its message")
	})
	sender := k.Spawn("sender", Cred{}, func(p *Process) {
		f, _ := p.Open(n, toSend)
		p.testSend(f, "x")
		p.Kill(victim)
	})
	defer k.Shutdown()
	take(t, k, victim, victim, sender, sender, sender)
	if victim.State() != Exited || n.Object.Held().Messages != 1 {
		t.Errorf("the victim is %s, %d messages held; want exited, 1", victim.State(), n.Object.Held().Messages)
	}
	if k.Violation() != nil {
		t.Error(k.Violation())
	}
}

// take makes the processes take their next steps in the order given.
func take(t *testing.T, k *Kernel, order ...*Process) {
	t.Helper()
next:
	for _, p := range order {
		for _, o := range k.Options() {
			if o.Kind == Run && o.Process == p {
				k.Take(o)
				continue next
			}
		}
		t.Fatalf("%s is %s; want it ready", p.Name, p.State())
	}
}

func TestSignalInterruptsABlockedCall(t *testing.T) {
	k := &Kernel{}
	n := mailboxNode(t, k)
	var got syscall.Errno
	receiver := k.Spawn("receiver", Cred{}, func(p *Process) {
		f, _ := p.Open(n, toReceive)
		_, got = p.testReceive(f)
	})
	k.Spawn("other", Cred{}, func(p *Process) {
		p.Sleep(Second)
		p.Signal(receiver)
	})
	defer k.Shutdown()
	k.Run(FIFO, 100)
	if got != syscall.EINTR || k.Now() != Second {
		t.Errorf("receive = %v at %s; want EINTR at 1s", got, FormatTime(k.Now()))
	}
}

func TestTimedCallGivesUp(t *testing.T) {
	k := &Kernel{}
	n := mailboxNode(t, k)
	var got syscall.Errno
	k.Spawn("receiver", Cred{}, func(p *Process) {
		f, _ := p.Open(n, toReceive)
		got = p.SubmitWithin(5*Millisecond, f, &objects.Request{Op: objects.Receive, Size: 10})
	})
	defer k.Shutdown()
	k.Run(FIFO, 100)
	if got != syscall.ETIMEDOUT || k.Now() != 5*Millisecond || len(k.Stuck()) != 0 {
		t.Errorf("receive = %v at %s; want ETIMEDOUT at 5ms", got, FormatTime(k.Now()))
	}
}

func TestForkedChildKeepsTheFileOpen(t *testing.T) {
	k := &Kernel{}
	n := mailboxNode(t, k)
	openReceivers := func() int64 {
		for _, c := range n.Object.Stat() {
			if c.Name == "open_receivers" {
				return c.Value
			}
		}
		return -1
	}
	k.Spawn("parent", Cred{}, func(p *Process) {
		_, _ = p.Open(n, toReceive)
		p.Fork("child", func(p *Process) { p.Sleep(Second) })
	})
	defer k.Shutdown()
	for k.Now() == 0 {
		k.Take(k.Options()[0])
	}
	if got := openReceivers(); k.processes[0].State() != Exited || got != 1 {
		t.Errorf("parent %s, %d open receivers; want exited, 1", k.processes[0].State(), got)
	}
	k.Run(FIFO, 100)
	if got := openReceivers(); got != 0 {
		t.Errorf("%d open receivers after the child's end; want 0", got)
	}
}

func TestDeadlockIsFoundByTheShortestSchedule(t *testing.T) {
	setup := func(k *Kernel) {
		a, _ := k.Create("a", objects.KindNamed("mailbox"))
		b, _ := k.Create("b", objects.KindNamed("mailbox"))
		for i, boxes := range [][2]*Node{{a, b}, {b, a}} {
			k.Spawn([]string{"one", "two"}[i], Cred{}, func(p *Process) {
				from, _ := p.Open(boxes[0], toReceive)
				to, _ := p.Open(boxes[1], toSend)
				p.testReceive(from)
				p.testSend(to, "x")
			})
		}
	}
	x := Explore(setup, Goals{Deadlock: true}, Bounds{})
	if x.Finding == nil || !x.Finding.Deadlock || len(x.Finding.Schedule) != 6 {
		t.Fatalf("exploration %+v; want a deadlock after 6 steps", x)
	}
	k := Replay(setup, nil, x.Finding.Schedule)
	defer k.Shutdown()
	if len(k.Stuck()) != 2 {
		t.Errorf("%d processes stuck after the replay; want 2", len(k.Stuck()))
	}
}

// TestMergingStatesLosesNoOutcome compares the search with one through every single
// run.
func TestMergingStatesLosesNoOutcome(t *testing.T) {
	var outcome *[]string
	setup := func(k *Kernel) {
		k.Faults.Signals = 1
		n := mailboxNode(t, k, "capacity", "1")
		got := make([]string, 3)
		outcome = &got
		k.Spawn("s", Cred{}, func(p *Process) {
			f, _ := p.Open(n, toSend)
			for _, text := range []string{"a", "b"} {
				got[0] += " " + ErrnoName(p.testSend(f, text))
			}
		})
		for i := 1; i < 3; i++ {
			k.Spawn("r", Cred{}, func(p *Process) {
				f, _ := p.Open(n, toReceive)
				text, errno := p.testReceive(f)
				got[i] += " " + text + ErrnoName(errno)
			})
		}
	}
	all := map[string]int{}
	runs := 0
	for d := (&DepthFirst{}); ; {
		k := &Kernel{Lawless: true}
		setup(k)
		k.Run(d, 1000)
		all[strings.Join(*outcome, ";")]++
		k.Shutdown()
		runs++
		if !d.Next() {
			break
		}
	}
	merged := map[string]int{}
	x := Explore(setup, Goals{End: func(*Kernel) error { merged[strings.Join(*outcome, ";")]++; return nil }}, Bounds{})
	if !x.Complete {
		t.Fatalf("exploration %+v; want it complete", x)
	}
	for o := range all {
		if merged[o] == 0 {
			t.Errorf("the search misses %q", o)
		}
	}
	for o := range merged {
		if all[o] == 0 {
			t.Errorf("the search invents %q", o)
		}
	}
	t.Logf("%d runs, %d outcomes; %d states", runs, len(all), x.States)
}

func TestShutdownLeavesNoCoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 100 {
		k := &Kernel{}
		pingPong(t, k)
		k.Run(FIFO, 5)
		k.Shutdown()
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines; there were %d", after, before)
	}
}
