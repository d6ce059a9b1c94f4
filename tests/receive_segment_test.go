package tests

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// Nobody waits while a long message is copied into the memory of the segment that it becomes.
func TestALongMessageBecomesASegmentAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	const size = 384 << 20
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs").with("framing", "close", "capacity_bytes", "1G", "max_message", "1G")
	run(t, python, "-c", "import sys\nwith open(sys.argv[1], 'wb', 0) as f:\n for i in range("+number(size>>20)+"): f.write(bytes([i % 256]) * (1 << 20))", mb.send).prints("")
	start := time.Now()
	mv := run(t, "mv", mb.file("messages/1"), m.path("segments/long"))
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		mv.prints("")
	}()
	longest := time.Duration(0)
	for done := false; !done; {
		select {
		case <-moved:
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
	t.Logf("the copy took %v, others waited up to %v", all, longest)
	if longest > all/4 {
		t.Errorf("while a message of %d bytes was copied for %v others waited up to %v", size, all, longest)
	}
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
