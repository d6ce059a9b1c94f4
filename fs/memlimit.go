package fs

import (
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MachineMemory is how much memory in bytes the daemon may use at most, as far as it can
// know: that of the machine, or less if a cgroup that it is in has less (cgroups(7)).
func MachineMemory() int64 {
	n := int64(2 << 30) // if nobody tells
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) == nil {
		n = times(int64(min(si.Totalram, math.MaxInt64)), int64(si.Unit))
	}
	own, err1 := os.ReadFile("/proc/self/cgroup")
	mounts, err2 := os.ReadFile("/proc/self/mountinfo")
	if err1 != nil || err2 != nil {
		return n
	}
	for _, file := range memoryLimitFiles(string(own), string(mounts)) {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// "max", and 0x7ffffffffffff000 in version 1, are no limit.
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			n = min(n, limit)
		}
	}
	return n
}

// memoryLimitFiles lists the files that may hold a limit of the memory of a process with
// that /proc/PID/cgroup (cgroups(7)) and /proc/PID/mountinfo (proc_pid_mountinfo(5)):
// those of its cgroup and of all above.
func memoryLimitFiles(own, mountinfo string) (files []string) {
	for mount := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(strings.TrimSuffix(mount, "\n"), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if len(fields) < 5 || len(kind) < 3 {
			continue
		}
		root, dir := fields[3], fields[4]
		name := "memory.max"
		switch {
		case kind[0] == "cgroup2":
		case kind[0] == "cgroup" && strings.Contains(","+kind[2]+",", ",memory,"):
			name = "memory.limit_in_bytes"
		default:
			continue
		}
		for line := range strings.Lines(own) {
			// hierarchy-ID:controller-list:cgroup-path; version 2 is 0 and has no list.
			part := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
			if len(part) < 3 || kind[0] == "cgroup2" && part[0] != "0" ||
				kind[0] == "cgroup" && !strings.Contains(","+part[1]+",", ",memory,") {
				continue
			}
			inside := path.Clean("/" + strings.TrimPrefix(part[2], strings.TrimSuffix(root, "/")))
			for ; ; inside = path.Dir(inside) {
				files = append(files, path.Join(dir, inside, name))
				if inside == "/" {
					break
				}
			}
		}
	}
	return files
}
