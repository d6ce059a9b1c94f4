package tests

import (
	"syscall"
	"testing"
)

// A signal interrupts who waits for a message or for room, not who waits for their turn.
func TestWhoWaitsForTheirTurnIsNotInterrupted(t *testing.T) {
	t.Parallel()
	needRoot(t)
	m := mount(t, "allow_other")
	for _, as := range []*syscall.Credential{nil, nobody(t)} {
		flood := command{argv: []string{turnsBin, "flood", m.path("mailboxes"), "8", "64"}, as: as}.run(t)
		defer flood.kill()
		flood.expect("ready")
	}
	for _, size := range []string{"64", "20000"} {
		run(t, turnsBin, "signals", m.path("mailboxes/signals"), "300", size).prints("0 failed\n")
	}
}
