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
		{"segment with notices", 8, 0},
		{"segment with semaphores", 24, 0},
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
