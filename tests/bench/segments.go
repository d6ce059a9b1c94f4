package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

//go:embed testdata/segment.c
var segmentSource []byte

// sharedMemory is the tmpfs that segments stand beside.
const sharedMemory = "/dev/shm"

// Targets of a passed through segment, as ratios of times: at least 0.95 of the speed
// of memory and 0.9 of that of reads and writes.
const (
	memorySpeedTarget = 1 / 0.95
	ioSpeedTarget     = 1 / 0.9
)

// segments compares a segment with a file of /dev/shm. What limits it: nothing of ours
// is on the way of a copy or a futex; pread and pwrite pass the FUSE layer of the
// kernel once; a create is five requests of the kernel's to us.
func (b *bench) segments() error {
	source := filepath.Join(b.dir, "segment.c")
	if err := os.WriteFile(source, segmentSource, 0o644); err != nil {
		return err
	}
	program, err := b.build("segment", "gcc", "-O2", "-o", "OUTPUT", source)
	if err != nil {
		return err
	}
	s, err := b.ipcfs(b.program)
	if err != nil {
		return err
	}
	native, err := os.MkdirTemp(sharedMemory, "ipcfs-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(native)
	for _, c := range []struct {
		job, what string
		ops       int
		target    float64
	}{
		{"copy", "mapping: copy 1 MiB in and out", b.ops / 10, memorySpeedTarget},
		{"touch", "mapping: map, store to 256 pages, unmap", b.ops / 10, 0},
		{"futex", "futex ping-pong", b.ops, memorySpeedTarget},
		{"pread", "pread 1 MiB", b.ops / 10, ioSpeedTarget},
		{"pwrite", "pwrite 1 MiB", b.ops / 10, ioSpeedTarget},
		{"create", "exclusive create and close", b.ops, 0},
	} {
		var peers []peer
		for _, p := range []struct{ name, dir string }{{"ipcfs", s.path("segments")}, {sharedMemory, native}} {
			client, err := b.start(false, program, c.job, filepath.Join(p.dir, c.job))
			if err != nil {
				return err
			}
			if err := client.ready(); err != nil {
				return fmt.Errorf("%s: %w", c.job, err)
			}
			peers = append(peers, peer{p.name, client.do})
		}
		all, err := compete(b.rounds, max(c.ops, 1), peers...)
		if err != nil {
			return err
		}
		b.report.compare(c.what, sharedMemory, all[0], all[1], c.target)
	}
	return errors.Join(b.sendSegments(s, program), b.stopAll())
}

// sendSegmentTarget is how much longer it may take to send 1 GiB than nothing, as a ratio.
const sendSegmentTarget = 1.5

// sendSegments renames a segment of 1 GiB into the messages of a mailbox and back, beside
// an empty one: what it takes, and what of that the daemon is at work.
func (b *bench) sendSegments(s *server, program string) error {
	var wall, cpu []peer
	for name, bytes := range map[string]int{"1 GiB": 1 << 30, "empty": 0} {
		mailbox := s.path("mailboxes", name)
		if err := os.Mkdir(mailbox, 0o700); err != nil {
			return err
		}
		client, err := b.start(false, program, "send", s.path("segments", name), filepath.Join(mailbox, "messages"), strconv.Itoa(bytes))
		if err != nil {
			return err
		}
		if err := client.ready(); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		wall = append(wall, peer{name, client.do})
		cpu = append(cpu, peer{name, s.atWork(client.do)})
	}
	for _, c := range []struct {
		what  string
		peers []peer
	}{{"rename 1 GiB into messages/ and back", wall}, {"the same, the daemon's CPU time", cpu}} {
		slices.SortFunc(c.peers, func(a, b peer) int { return strings.Compare(a.name, b.name) }) // 1 GiB first
		all, err := compete(b.rounds, max(b.ops/10, 1), c.peers...)
		if err != nil {
			return err
		}
		b.report.compare(c.what, "empty", all[0], all[1], sendSegmentTarget)
	}
	return nil
}

// atWork measures the CPU time that the server takes while somebody does what do does: the
// same for each of n times.
func (s *server) atWork(do func(n int) ([]uint32, error)) func(n int) ([]uint32, error) {
	return func(n int) ([]uint32, error) {
		before, err := s.cpuTime()
		if err != nil {
			return nil, err
		}
		took, err := do(n)
		if err != nil {
			return nil, err
		}
		after, err := s.cpuTime()
		for i := range took {
			took[i] = uint32((after - before) / uint64(n))
		}
		return took, err
	}
}

// cpuTime is how many nanoseconds the server's threads have run: the first field of
// /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst).
func (s *server) cpuTime() (sum uint64, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.cmd.Process.Pid))
	if err != nil || files == nil {
		return 0, fmt.Errorf("schedstat: %v, %w", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return 0, err
		}
		var ns uint64
		if _, err := fmt.Sscan(string(text), &ns); err != nil {
			return 0, fmt.Errorf("%s: %w", f, err)
		}
		sum += ns
	}
	return sum, nil
}
