package tests

import "testing"

// What long messages needed of the daemon's heap is given back when nothing more comes.
func TestAQuietDaemonGivesMemoryBack(t *testing.T) {
	t.Parallel()
	m := mount(t)
	mb := m.mailbox(t, directory, "jobs")
	before := m.daemonStat(t)["heap_bytes"]
	bash(t, "for i in $(seq 60); do dd if=/dev/zero of="+mb.send+" bs=500000 count=1 status=none; cat "+mb.receive+"; done | wc -c").prints("30000000\n")
	eventually(t, func() string {
		if grown := m.daemonStat(t)["heap_bytes"] - before; grown > 2<<20 {
			return "the heap of a daemon that has nothing to do has grown by " + number(grown) + " bytes"
		}
		return ""
	})
}
