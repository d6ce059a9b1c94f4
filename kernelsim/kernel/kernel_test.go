package kernel_test

import (
	"runtime"
	"strings"
	"syscall"
	"testing"

	"ipcfs/kernelsim/explore"
	"ipcfs/kernelsim/kernel"
	"ipcfs/kernelsim/laws"
	"ipcfs/objects"
)

func mailboxNode(t testing.TB, k *kernel.Kernel, policies ...string) *kernel.Node {
	t.Helper()
	n, err := k.Create("jobs", objects.KindNamed("mailbox"), policies...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var (
	toSend    = kernel.Mode{WriteOp: objects.Send}
	toReceive = kernel.Mode{ReadOp: objects.Receive}
)

func send(p *kernel.Process, f *kernel.File, text string) syscall.Errno {
	return p.Submit(f, &objects.Request{Op: objects.Send, Data: []byte(text)})
}

func receive(p *kernel.Process, f *kernel.File) (string, syscall.Errno) {
	r := &objects.Request{Op: objects.Receive, Size: 4096}
	errno := p.Submit(f, r)
	return string(r.Data), errno
}

func pingPong(t testing.TB, k *kernel.Kernel) {
	n := mailboxNode(t, k, "capacity", "1")
	k.Spawn("producer", kernel.Cred{}, func(p *kernel.Process) {
		f, _ := p.Open(n, toSend)
		for _, text := range []string{"a", "b", "c"} {
			send(p, f, text)
		}
	})
	k.Spawn("consumer", kernel.Cred{}, func(p *kernel.Process) {
		f, _ := p.Open(n, toReceive)
		for range 3 {
			receive(p, f)
			p.Sleep(kernel.Millisecond)
		}
	})
}

func traceOf(t testing.TB, c kernel.Chooser, setup explore.Setup) string {
	t.Helper()
	var trace kernel.Trace
	k := &kernel.Kernel{Laws: laws.Of, Watch: trace.Add}
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
		setup := func(k *kernel.Kernel) {
			k.Laws = laws.Of
			k.Asynchronous = true
			k.Faults = kernel.Faults{Kills: 1, Signals: 1}
			pingPong(t, k)
		}
		first := traceOf(t, kernel.Seeded(seed), setup)
		if again := traceOf(t, kernel.Seeded(seed), setup); again != first {
			t.Fatalf("seed %d:\n%s\nand again:\n%s", seed, first, again)
		}
		different[first] = true
	}
	if len(different) < 10 {
		t.Errorf("20 seeds gave %d different traces", len(different))
	}
}

func TestTranscriptOfProducerAndConsumer(t *testing.T) {
	got := traceOf(t, kernel.FIFO, func(k *kernel.Kernel) { pingPong(t, k) })
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
	k := &kernel.Kernel{Laws: laws.Of}
	n := mailboxNode(t, k)
	victim := k.Spawn("victim", kernel.Cred{}, func(p *kernel.Process) {
		f, _ := p.Open(n, toReceive)
		receive(p, f)
		t.Error("the victim got its message")
	})
	sender := k.Spawn("sender", kernel.Cred{}, func(p *kernel.Process) {
		f, _ := p.Open(n, toSend)
		send(p, f, "x")
		p.Kill(victim)
	})
	defer k.Shutdown()
	take(t, k, victim, victim, sender, sender, sender)
	k.Take(k.Options()[0]) // the signal arrives
	if victim.State() != kernel.Exited || n.Object.Held().Messages != 1 {
		t.Errorf("the victim is %s, %d messages held; want exited, 1", victim.State(), n.Object.Held().Messages)
	}
	if k.Violation() != nil {
		t.Error(k.Violation())
	}
}

// take makes the processes take their next steps in the order given.
func take(t *testing.T, k *kernel.Kernel, order ...*kernel.Process) {
	t.Helper()
next:
	for _, p := range order {
		for _, o := range k.Options() {
			if o.Kind == kernel.Run && o.Process == p {
				k.Take(o)
				continue next
			}
		}
		t.Fatalf("%s is %s; want it ready", p.Name, p.State())
	}
}

func TestSignalInterruptsABlockedCall(t *testing.T) {
	k := &kernel.Kernel{Laws: laws.Of}
	n := mailboxNode(t, k)
	var got syscall.Errno
	receiver := k.Spawn("receiver", kernel.Cred{}, func(p *kernel.Process) {
		f, _ := p.Open(n, toReceive)
		_, got = receive(p, f)
	})
	k.Spawn("other", kernel.Cred{}, func(p *kernel.Process) {
		p.Sleep(kernel.Second)
		p.Signal(receiver)
	})
	defer k.Shutdown()
	k.Run(kernel.FIFO, 100)
	if got != syscall.EINTR || k.Now() != kernel.Second {
		t.Errorf("receive = %v at %s; want EINTR at 1s", got, kernel.FormatTime(k.Now()))
	}
}

func TestTimedCallGivesUp(t *testing.T) {
	k := &kernel.Kernel{Laws: laws.Of}
	n := mailboxNode(t, k)
	var got syscall.Errno
	k.Spawn("receiver", kernel.Cred{}, func(p *kernel.Process) {
		f, _ := p.Open(n, toReceive)
		got = p.SubmitWithin(5*kernel.Millisecond, f, &objects.Request{Op: objects.Receive, Size: 10})
	})
	defer k.Shutdown()
	k.Run(kernel.FIFO, 100)
	if got != syscall.ETIMEDOUT || k.Now() != 5*kernel.Millisecond || len(k.Stuck()) != 0 {
		t.Errorf("receive = %v at %s; want ETIMEDOUT at 5ms", got, kernel.FormatTime(k.Now()))
	}
}

func TestForkedChildKeepsTheFileOpen(t *testing.T) {
	k := &kernel.Kernel{Laws: laws.Of}
	n := mailboxNode(t, k)
	openReceivers := func() int64 {
		for _, c := range n.Object.Stat() {
			if c.Name == "open_receivers" {
				return c.Value
			}
		}
		return -1
	}
	k.Spawn("parent", kernel.Cred{}, func(p *kernel.Process) {
		_, _ = p.Open(n, toReceive)
		p.Fork("child", func(p *kernel.Process) { p.Sleep(kernel.Second) })
	})
	defer k.Shutdown()
	for k.Now() == 0 {
		k.Take(k.Options()[0])
	}
	if got := openReceivers(); k.Processes()[0].State() != kernel.Exited || got != 1 {
		t.Errorf("parent %s, %d open receivers; want exited, 1", k.Processes()[0].State(), got)
	}
	k.Run(kernel.FIFO, 100)
	if got := openReceivers(); got != 0 {
		t.Errorf("%d open receivers after the child's end; want 0", got)
	}
}

func TestDeadlockIsFoundByTheShortestSchedule(t *testing.T) {
	setup := func(k *kernel.Kernel) {
		k.Laws = laws.Of
		a, _ := k.Create("a", objects.KindNamed("mailbox"))
		b, _ := k.Create("b", objects.KindNamed("mailbox"))
		for i, boxes := range [][2]*kernel.Node{{a, b}, {b, a}} {
			k.Spawn([]string{"one", "two"}[i], kernel.Cred{}, func(p *kernel.Process) {
				from, _ := p.Open(boxes[0], toReceive)
				to, _ := p.Open(boxes[1], toSend)
				receive(p, from)
				send(p, to, "x")
			})
		}
	}
	x := explore.Explore(setup, explore.Goals{Deadlock: true}, explore.Bounds{})
	if x.Finding == nil || !x.Finding.Deadlock || len(x.Finding.Schedule) != 6 {
		t.Fatalf("exploration %+v; want a deadlock after 6 steps", x)
	}
	k := explore.Replay(setup, nil, x.Finding.Schedule)
	defer k.Shutdown()
	if len(k.Stuck()) != 2 {
		t.Errorf("%d processes stuck after the replay; want 2", len(k.Stuck()))
	}
}

// TestMergingStatesLosesNoOutcome compares the search with one through every single
// run.
func TestMergingStatesLosesNoOutcome(t *testing.T) {
	var outcome *[]string
	setup := func(k *kernel.Kernel) {
		k.Faults.Signals = 1
		n := mailboxNode(t, k, "capacity", "1")
		got := make([]string, 3)
		outcome = &got
		k.Spawn("s", kernel.Cred{}, func(p *kernel.Process) {
			f, _ := p.Open(n, toSend)
			for _, text := range []string{"a", "b"} {
				got[0] += " " + kernel.ErrnoName(send(p, f, text))
			}
		})
		for i := 1; i < 3; i++ {
			k.Spawn("r", kernel.Cred{}, func(p *kernel.Process) {
				f, _ := p.Open(n, toReceive)
				text, errno := receive(p, f)
				got[i] += " " + text + kernel.ErrnoName(errno)
			})
		}
	}
	all := map[string]int{}
	runs := 0
	for d := (&kernel.DepthFirst{}); ; {
		k := &kernel.Kernel{}
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
	x := explore.Explore(func(k *kernel.Kernel) { k.Laws = laws.Of; setup(k) }, explore.Goals{End: func(*kernel.Kernel) error { merged[strings.Join(*outcome, ";")]++; return nil }}, explore.Bounds{})
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
		k := &kernel.Kernel{Laws: laws.Of}
		pingPong(t, k)
		k.Run(kernel.FIFO, 5)
		k.Shutdown()
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines; there were %d", after, before)
	}
}
