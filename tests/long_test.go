package tests

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// longMessage writes a message of some MiB in pieces.
const longMessage = `
import sys
with open(sys.argv[1], 'wb', 0) as f:
    for i in range(int(sys.argv[2])):
        f.write(bytes([i % 256]) * (1 << 20))
`

// holdsUpNobody fails if others wait for half of the time that c takes.
func (m *mountpoint) holdsUpNobody(t *testing.T, c *client) {
	t.Helper()
	start := time.Now()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.prints("")
	}()
	longest := time.Duration(0)
	for done := false; !done; {
		select {
		case <-ended:
			done = true
		default:
		}
		asked := time.Now()
		if _, err := os.Stat(m.path("pipes/none")); !os.IsNotExist(err) {
			t.Fatal(err)
		}
		longest = max(longest, time.Since(asked))
	}
	all := time.Since(start)
	t.Logf("it took %v, others waited up to %v", all, longest)
	if longest > all/2 {
		t.Errorf("of the %v that it took others waited up to %v", all, longest)
	}
}

// Nor while one is rendered: for who reads, or by who ends what another waits for.
func TestALongEnvelopeHoldsUpNobody(t *testing.T) {
	t.Parallel()
	const size = 96 << 20
	for _, waits := range []bool{false, true} {
		m := mount(t)
		mb := m.mailbox(t, directory, "jobs").with("framing", "close", "capacity_bytes", "1G", "max_message", "1G")
		reader := func() *client { return bash(t, "cat "+mb.file("envelope")+" > /dev/null") }
		if waits {
			c := reader()
			mb.awaitWaiters(1)
			m.holdsUpNobody(t, run(t, python, "-c", longMessage, mb.send, number(size>>20)))
			c.prints("")
		} else {
			run(t, python, "-c", longMessage, mb.send, number(size>>20)).prints("")
			m.holdsUpNobody(t, reader())
		}
		mb.wantQueue()
	}
}

// Nobody waits while a long message is copied into the memory of the segment that it becomes.
func TestALongMessageBecomesASegmentAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	const size = 384 << 20
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs").with("framing", "close", "capacity_bytes", "1G", "max_message", "1G")
	run(t, python, "-c", longMessage, mb.send, number(size>>20)).prints("")
	m.holdsUpNobody(t, run(t, "mv", mb.file("messages/1"), m.path("segments/long")))
	got, err := os.ReadFile(m.path("segments/long"))
	if err != nil || len(got) != size {
		t.Fatalf("the segment has %d bytes: %v; want %d", len(got), err, size)
	}
	for i := range size >> 20 {
		if !bytes.Equal(got[i<<20:(i+1)<<20], bytes.Repeat([]byte{byte(i)}, 1<<20)) {
			t.Fatalf("the segment is not the message in MiB %d", i)
		}
	}
	mb.wantQueue()
}
