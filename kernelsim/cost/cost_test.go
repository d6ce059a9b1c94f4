package cost

import (
	"slices"
	"strings"
	"testing"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
)

// requestReply runs a client and a server that exchange a request and a reply.
func requestReply(t *testing.T, watch func(kernel.Event)) {
	k := &kernel.Kernel{Watch: watch}
	kind := objects.KindNamed("mailbox")
	requests, _ := k.Create("requests", kind)
	replies, _ := k.Create("replies", kind)
	var client, server *kernel.Process
	client = k.Spawn("client", kernel.Cred{}, func(p *kernel.Process) {
		to, _ := p.Open(requests, kernel.Mode{WriteOp: objects.Send})
		from, _ := p.Open(replies, kernel.Mode{ReadOp: objects.Receive})
		p.Submit(to, &objects.Request{Op: objects.Send, Data: []byte("request")})
		p.Submit(from, &objects.Request{Op: objects.Receive, Size: 4096})
	})
	server = k.Spawn("server", kernel.Cred{}, func(p *kernel.Process) {
		from, _ := p.Open(requests, kernel.Mode{ReadOp: objects.Receive})
		to, _ := p.Open(replies, kernel.Mode{WriteOp: objects.Send})
		p.Submit(from, &objects.Request{Op: objects.Receive, Size: 4096})
		p.Submit(to, &objects.Request{Op: objects.Send, Data: []byte("reply")})
	})
	defer k.Shutdown()
	for _, p := range []*kernel.Process{client, client, server, server, client, server, server, client} {
		options := k.Options()
		i := slices.IndexFunc(options, func(o kernel.Option) bool { return o.Kind == kernel.Run && o.Process == p })
		if i < 0 {
			t.Fatalf("%s is %s; want it ready", p.Name, p.State())
		}
		k.Take(options[i])
	}
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
