package kernelsim

import (
	"strings"
	"testing"

	"ipcfs/objects"
)

// requestReply runs a client and a server that exchange a request and a reply.
func requestReply(t *testing.T, watch func(Event)) {
	k := &Kernel{Watch: watch}
	kind := objects.KindNamed("mailbox")
	requests, _ := k.Create("requests", kind)
	replies, _ := k.Create("replies", kind)
	var client, server *Process
	client = k.Spawn("client", Cred{}, func(p *Process) {
		to, _ := p.Open(requests, toSend)
		from, _ := p.Open(replies, toReceive)
		p.testSend(to, "request")
		p.testReceive(from)
	})
	server = k.Spawn("server", Cred{}, func(p *Process) {
		from, _ := p.Open(requests, toReceive)
		to, _ := p.Open(replies, toSend)
		p.testReceive(from)
		p.testSend(to, "reply")
	})
	defer k.Shutdown()
	take(t, k, client, client, server, server, client, server, server, client)
}

func TestRequestAndReplyCostWhatTheLecturesSay(t *testing.T) {
	for _, c := range []struct {
		mechanism         string
		crossings, copies int // without set-up
	}{
		{"kernel queue", 4, 4},
		{"ipcfs mailbox", 12, 6},
		{"segment", 0, 0},
	} {
		m, ok := MechanismNamed(c.mechanism)
		if !ok {
			t.Fatalf("no mechanism %q", c.mechanism)
		}
		a := Account{Mechanism: m}
		requestReply(t, a.Add)
		crossings := a.Total.Crossings - 4*m.SetUp.Crossings // two processes opened two mailboxes
		if crossings != c.crossings || a.Total.Copies != c.copies {
			t.Errorf("%s: %d crossings, %d copies; want %d, %d", c.mechanism, crossings, a.Total.Copies, c.crossings, c.copies)
		}
	}
}

func TestMappingBeatsCopyingFromSomeSizeOn(t *testing.T) {
	r := Rates{Crossing: 100, Switch: 1500, CopyByte: 0.1, Map: 1000, Page: 100}
	copying, _ := MechanismNamed("kernel queue")
	mapping, _ := MechanismNamed("segment mapped for each message")
	size, ok := r.BreakEven(copying.Message(), mapping.Message())
	if !ok || size < 4096 || size > 64<<10 {
		t.Fatalf("break-even at %d, %v", size, ok)
	}
	for _, n := range []int{size, 2 * size, 16 * size} {
		if m, c := r.Nanoseconds(mapping.Message(), n), r.Nanoseconds(copying.Message(), n); m >= c {
			t.Errorf("%d bytes: mapping %.0f ns, copying %.0f ns", n, m, c)
		}
	}
	if m, c := r.Nanoseconds(mapping.Message(), size/2), r.Nanoseconds(copying.Message(), size/2); m < c {
		t.Errorf("%d bytes: mapping %.0f ns, copying %.0f ns", size/2, m, c)
	}
	r.Page = 1e6
	if size, ok := r.BreakEven(copying.Message(), mapping.Message()); ok {
		t.Errorf("break-even at %d where pages are dear; want none", size)
	}
}

func TestCostsAreATable(t *testing.T) {
	var b strings.Builder
	if err := WriteCosts(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "kernel queue") || strings.Count(b.String(), "\n") != len(Mechanisms())+2 {
		t.Errorf("table\n%s", &b)
	}
	t.Logf("\n%s", &b)
}
