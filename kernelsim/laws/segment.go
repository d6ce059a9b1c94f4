package laws

import (
	"bytes"
	"fmt"

	"ipcfs/kernelsim/kernel"
	"ipcfs/objects"
	_ "ipcfs/objects/segment" // registers the kind
)

func init() { register("segment", func() kindLaws { return &segmentLaws{} }) }

// segmentLaws: what is read is what was written there last.
type segmentLaws struct {
	known  bool
	memory []byte
}

func (l *segmentLaws) finished(m *monitor, a kernel.Act, r *objects.Request, text string, done []*objects.Request) error {
	if a == kernel.Destroy {
		l.memory = nil
	}
	if size := m.node.Object.Held().Bytes; a == kernel.SetPolicy && m.policy == "size" || !l.known {
		l.known = true
		l.memory = append(l.memory, make([]byte, max(0, m.held.Bytes-int64(len(l.memory))))...)
		if a == kernel.SetPolicy {
			l.memory = append(l.memory, make([]byte, max(0, size-int64(len(l.memory))))...)[:size:size]
		}
	}
	if a != kernel.Submit || r.Errno != 0 {
		return nil
	}
	if err := m.happened(r.Op == objects.WriteAt || r.Op == objects.Resize || r.Op == objects.Punch, r.Op == objects.ReadAt); err != nil {
		return err
	}
	grow := func(n int64) {
		if more := n - int64(len(l.memory)); more > 0 {
			l.memory = append(l.memory, make([]byte, more)...)
		}
	}
	switch at := r.Offset; r.Op {
	case objects.ReadAt:
		want := l.memory[min(at, int64(len(l.memory))):]
		want = want[:min(len(text), len(want))]
		if !bytes.Equal(r.Data, want) {
			return fmt.Errorf("the %s at %d got %q; want %q", say(r), at, r.Data, want)
		}
	case objects.WriteAt:
		grow(at + int64(len(text)))
		copy(l.memory[at:], text)
	case objects.Resize:
		grow(at)
		l.memory = l.memory[:at:at]
	case objects.Allocate:
		grow(at + int64(r.Size))
	case objects.Punch:
		if at < int64(len(l.memory)) {
			clear(l.memory[at:min(at+int64(r.Size), int64(len(l.memory)))])
		}
	}
	return nil
}

func (l *segmentLaws) delivered(*objects.Request) {}

func (l *segmentLaws) check(m *monitor) error {
	if got := m.node.Object.Held().Bytes; l.known && got != int64(len(l.memory)) {
		return fmt.Errorf("it is %d bytes long; want %d", got, len(l.memory))
	}
	return nil
}

func (l *segmentLaws) contents() []string { return nil }
