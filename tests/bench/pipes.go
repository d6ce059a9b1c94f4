package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

//go:embed testdata/pipe.c
var pipeSource []byte

// Targets of pipes, as ratios of times: a FIFO on the mount has at least 0.95 of the
// speed of any other, a pipe at least 0.8 of what the connection carries both ways.
const (
	fifoSpeedTarget = 1 / 0.95
	pipeSpeedTarget = 1 / 0.8
)

// pipes compares how fast a stream is that one process writes and another reads.
//
// What limits a pipe is the connection: a request and a reply, and a copy into our memory
// and out of it again, for each write and each read. A null file that one process writes
// and another reads at once has just that, so the ratio to it is what the pipe adds: that
// one of the two waits for the other. A null that is only written to shows what half of it
// costs. A FIFO on the mount is the kernel's own and asks us nothing.
func (b *bench) pipes() error {
	source := filepath.Join(b.dir, "pipe.c")
	if err := os.WriteFile(source, pipeSource, 0o644); err != nil {
		return err
	}
	program, err := b.build("pipe", "gcc", "-O2", "-o", "OUTPUT", source)
	if err != nil {
		return err
	}
	ours, err := b.ipcfs(b.program)
	if err != nil {
		return err
	}
	nothing, err := b.peer("null-fusedev")
	if err != nil {
		return err
	}
	var other *server
	if b.other != "" {
		if other, err = b.ipcfs(b.other); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		what       string
		size, ops  int
		fifo, pipe float64 // targets
	}{
		// A FIFO holds 64 KiB (pipe(7)). What is longer goes in turns, whose length is the
		// scheduler's: two FIFOs side by side then differ by more than the target allows.
		{"1 MiB", 1 << 20, b.ops / 10, 0, pipeSpeedTarget},
		{"64 KiB", 64 << 10, b.ops, fifoSpeedTarget, 0},
	} {
		var peers []peer
		at := make(map[string]int)
		add := func(name, write, read string) error {
			client, err := b.start(false, program, write, read, strconv.Itoa(c.size))
			if err != nil {
				return err
			}
			if err := client.ready(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			at[name] = len(peers)
			peers = append(peers, peer{name, client.do})
			return nil
		}
		fifo := func(name, path string) error {
			if err := unix.Mkfifo(path, 0o600); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return add(name, path, path)
		}
		managed := func(name string, s *server) error {
			dir := s.path("pipes", strconv.Itoa(c.size))
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			return add(name, filepath.Join(dir, "write"), filepath.Join(dir, "read"))
		}
		const (
			pipe, ownFifo, elsewhere = "pipe", "FIFO on ipcfs", "FIFO"
			both, one                = "null, both ways", "null, write only"
			otherPipe                = "other ipcfs"
		)
		fifoName := fmt.Sprintf("fifo-%d", c.size)
		null := nothing.path(nullName)
		if err := managed(pipe, ours); err != nil {
			return err
		}
		if err := fifo(ownFifo, ours.path("pipes", fifoName)); err != nil {
			return err
		}
		if err := fifo(elsewhere, filepath.Join(b.dir, fifoName)); err != nil {
			return err
		}
		if err := add(both, null, null); err != nil {
			return err
		}
		if err := add(one, null, "-"); err != nil {
			return err
		}
		if other != nil {
			if err := managed(otherPipe, other); err != nil {
				return err
			}
		}
		all, err := compete(b.rounds, max(c.ops, 1), peers...)
		if err != nil {
			return err
		}
		compare := func(name, peer string, target float64) {
			b.report.compare(fmt.Sprintf("%s, %s at a time", name, c.what), peer, all[at[name]], all[at[peer]], target)
		}
		compare(ownFifo, elsewhere, c.fifo)
		compare(pipe, elsewhere, 0)
		compare(pipe, both, c.pipe)
		compare(pipe, one, 0)
		if other != nil {
			compare(pipe, otherPipe, 0)
		}
	}
	return b.stopAll()
}
