package kernelsim

import (
	"testing"

	"ipcfs/kernelsim/scenario"
)

// What only counts how often something has happened is no part of a state: who goes on for ever
// is soon where they were.
func TestWhatRepeatsItselfHasFewStates(t *testing.T) {
	for name, source := range map[string]string{
		"rendezvous": `
mailbox m capacity=0
process s * 2:
    forever:
        send m "x"
process r:
    forever:
        receive m
`,
		"priorities": `
mailbox m capacity=1 order=priority
process s * 2:
    forever:
        send m "x" priority 3
process r:
    forever:
        receive m
`,
		"receipts": `
mailbox m capacity=1
process s:
    forever:
        send m "x"
        receipt m -> fate
process r:
    forever:
        receive m
`,
		"pipe": `
pipe p capacity=1
process s:
    forever:
        write p "ab"
process r:
    forever:
        read p 1
`,
		"semaphore": `
semaphore s value=1
process w * 2:
    forever:
        wait s
        post s
`,
	} {
		s, err := scenario.Parse(name, []byte(source))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, complete := s.Endings(2000, false); !complete {
			t.Errorf("%s: more than 2000 states", name)
		}
	}
}
