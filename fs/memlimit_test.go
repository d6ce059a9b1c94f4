package fs

import (
	"slices"
	"testing"
)

func TestTheMemoryOfADaemonIsLimitedByEveryCgroupAboveIt(t *testing.T) {
	const mounts = `30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 /box /cg rw shared:1 - cgroup cgroup rw,cpu,memory
34 30 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
`
	for _, c := range []struct {
		own  string
		want []string
	}{
		{"0::/a/b\n", []string{"/sys/fs/cgroup/unified/a/b/memory.max", "/sys/fs/cgroup/unified/a/memory.max", "/sys/fs/cgroup/unified/memory.max"}},
		{"4:memory:/box/x\n3:cpu:/y\n", []string{
			"/sys/fs/cgroup/memory/box/x/memory.limit_in_bytes", "/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
			"/cg/x/memory.limit_in_bytes", "/cg/memory.limit_in_bytes"}},
		{"", nil},
		{"nonsense\n0::\n", []string{"/sys/fs/cgroup/unified/memory.max"}},
	} {
		if got := memoryLimitFiles(c.own, mounts); !slices.Equal(got, c.want) {
			t.Errorf("%q is limited by %q; want %q", c.own, got, c.want)
		}
	}
	if n := MachineMemory(); n < 1<<20 {
		t.Errorf("this machine has %d bytes", n)
	}
}
