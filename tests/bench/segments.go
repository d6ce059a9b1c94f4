package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
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
	return b.stopAll()
}
