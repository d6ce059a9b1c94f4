package main

import (
	"fmt"
	"os"
	"strconv"
)

// usersTarget bounds what a flood of one user costs another, who takes turns with them.
const usersTarget = 2.0

const (
	floodProcesses = 32
	floodUser      = 65534 // nobody
)

// floods are the sizes in bytes of what floods consist of.
var floods = []int{64, 1000000}

// users measures ping-pongs of one user beside floods of another.
func (b *bench) users() error {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "bench: users is left out: only root becomes another user")
		return nil
	}
	if err := os.Chmod(b.dir, 0o711); err != nil { // others come through
		return err
	}
	s, err := b.ipcfs(b.program, "-o", "allow_other")
	if err != nil {
		return err
	}
	ping, pong, err := mailboxes(s, "bench")
	if err != nil {
		return err
	}
	pinger, _, err := b.pair(ping, pong)
	if err != nil {
		return err
	}
	// A flood makes some round trips many times as long, and leaves the median of them
	// as it is: what counts is the mean of a round.
	mean := func(n int) ([]uint32, error) {
		took, err := pinger.do(n)
		if err != nil {
			return nil, err
		}
		var sum uint64
		for _, t := range took {
			sum += uint64(t)
		}
		return []uint32{uint32(sum / uint64(len(took)))}, nil
	}
	beside := func(path string, size int) func(n int) ([]uint32, error) {
		return func(n int) ([]uint32, error) {
			flood, err := b.runClient("flood", path, strconv.Itoa(floodProcesses), strconv.Itoa(size), strconv.Itoa(floodUser))
			if err != nil {
				return nil, err
			}
			if _, err := mean(n); err != nil { // until it has come to what it goes on with
				return nil, err
			}
			took, err := mean(n)
			if err != nil {
				return nil, err
			}
			return took, flood.stop()
		}
	}
	for _, size := range floods {
		all, err := compete(max(2, b.rounds/4), 8*b.ops, peer{"without", mean},
			peer{"beside", beside(s.path("mailboxes", fmt.Sprintf("flood-%d-", size)), size)}, peer{"outside", beside("-", size)})
		if err != nil {
			return err
		}
		what := fmt.Sprintf("ping-pong beside another user's %d processes that send %d bytes, mean", floodProcesses, size)
		b.report.compare(what, "without them", all[1], all[0], usersTarget)
		b.report.compare(what, "beside as many outside", all[1], all[2], 0)
	}
	return b.stopAll()
}
