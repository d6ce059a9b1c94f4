package tests

import "testing"

// Opens that race are answered ESTALE where they would share an inode with a writer.
// The kernel tries once more; no program may ever see it.
func TestNobodyOfACrowdFailsToOpen(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"r", "w", "rw"} {
		t.Run(flags, func(t *testing.T) {
			t.Parallel()
			m := mount(t)
			a, b := m.mailbox(t, flat, "a"), m.mailbox(t, flat, "b")
			n := "100"
			if flags == "r" {
				n = "1000"
			}
			command{argv: []string{crowdBin, flags, n, a.path}}.run(t).prints("0 failed\n")
			command{argv: []string{crowdBin, flags, "64", a.path, b.path}}.run(t).prints("0 failed\n")
		})
	}
}
