package kernelsim

import (
	"strings"
	"testing"

	"ipcfs/kernelsim/kernel"
	"ipcfs/kernelsim/scenario"
)

// A run that is played beside its source points to the line of each event.
func TestEachEventNamesTheLineOfItsStatement(t *testing.T) {
	const source = `mailbox a capacity=1
shared n = 0
process p:
    send a 1
    repeat 2:
        send a 2
    n = 1
process q:
    while n == 0:
        receive a -> x
        print x
`
	s, err := scenario.Parse("x", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(source, "\n")
	seen := map[int]bool{}
	word := map[string]string{"send": "send", "receive": "receive", "blocks": " a", "wakes": " a", "reads n = 0": "while", "reads n = 1": "while", "n = 1": "n = 1", "prints 1": "print", "prints 2": "print"}
	k := &kernel.Kernel{Watch: func(e kernel.Event) {
		if e.Process == nil || e.Verb == "exits" {
			return
		}
		if want, ok := word[e.Verb]; !ok || e.Line == 0 || !strings.Contains(lines[e.Line-1], want) {
			t.Errorf("%q is of line %d; want one with %q", e, e.Line, want)
		}
		seen[e.Line] = true
	}}
	s.Start(k, false)
	defer k.Shutdown()
	k.Run(kernel.FIFO, 100)
	for _, line := range []int{4, 6, 7, 9, 10, 11} {
		if !seen[line] {
			t.Errorf("no event is of line %d", line)
		}
	}
}
