package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// messageSize is the size of reads, writes and messages in bytes; SIZE in the client.
const messageSize = 64

// Targets: ratios of medians, and bytes.
const (
	nullTarget     = 1.0
	pingPongTarget = 0.5
	parkedTarget   = 1.1
	memoryTarget   = 1 << 10
)

const stock = "go-fuse server"

// null compares the bare connections: a read and a write of nothing.
func (b *bench) null() error {
	ours, err := b.peer("null-fusedev")
	if err != nil {
		return err
	}
	theirs, err := b.peer("null-gofuse")
	if err != nil {
		return err
	}
	for _, job := range []string{"read", "write"} {
		var peers []peer
		for _, s := range []*server{ours, theirs} {
			c, err := b.runClient(job, s.path(nullName))
			if err != nil {
				return err
			}
			peers = append(peers, peer{s.cmd.Args[2], c.do})
		}
		// A null operation is short: four make a round trip.
		all, err := compete(b.rounds, 4*b.ops, peers...)
		if err != nil {
			return err
		}
		b.report.compare(fmt.Sprintf("null %s, %d bytes", job, messageSize), stock, all[0], all[1], nullTarget)
	}
	return b.stopAll()
}

// A channel is where a ping-pong sends to and receives from: two paths each way.
type channel struct{ send, receive string }

// mailboxes makes two mailboxes named after name on an ipcfs. They are directories:
// the endpoint stream gives one message per read, without an end of file between.
func mailboxes(s *server, name string) (ping, pong channel, err error) {
	make := func(name string) channel {
		dir := s.path("mailboxes", name)
		err = errors.Join(err, os.Mkdir(dir, 0o700))
		return channel{filepath.Join(dir, "send"), filepath.Join(dir, "stream")}
	}
	return make(name + "-ping"), make(name + "-pong"), err
}

// pair starts the two players and returns the one that measures.
func (b *bench) pair(ping, pong channel) (pinger, echoer *child, err error) {
	// Not ready before the other end of a FIFO is open.
	echoer, err = b.start(false, b.client, "echo", pong.send, ping.receive)
	if err != nil {
		return nil, nil, err
	}
	pinger, err = b.runClient("ping", ping.send, pong.receive)
	if err == nil {
		err = echoer.ready()
	}
	return pinger, echoer, err
}

// pingPong compares round trips: a message one way, then one the other way.
func (b *bench) pingPong() error {
	var names []string
	var peers []peer
	add := func(name string, ping, pong channel) error {
		pinger, _, err := b.pair(ping, pong)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		names, peers = append(names, name), append(peers, peer{name, pinger.do})
		return nil
	}
	addIpcfs := func(name, program string) error {
		s, err := b.ipcfs(program)
		if err != nil {
			return err
		}
		ping, pong, err := mailboxes(s, "bench")
		if err != nil {
			return err
		}
		return add(name, ping, pong)
	}
	if err := addIpcfs("ipcfs", b.program); err != nil {
		return err
	}

	reference, err := b.peer("mailboxes-gofuse")
	if err != nil {
		return err
	}
	both := func(path string) channel { return channel{path, path} }
	box := func(name string) channel { return both(reference.path(name)) }
	for _, c := range []channel{box("ping"), box("pong")} {
		f, err := os.OpenFile(c.send, os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		f.Close()
	}
	if err := add(stock, box("ping"), box("pong")); err != nil {
		return err
	}
	if b.other != "" {
		if err := addIpcfs("other ipcfs", b.other); err != nil {
			return err
		}
	}

	queue := func(name string) string { return fmt.Sprintf("/ipcfs-bench-%d-%s", os.Getpid(), name) }
	if hasQueues() {
		err := add("POSIX mqueue", both("mq:"+queue("ping")), both("mq:"+queue("pong")))
		unlinkQueue(queue("ping"))
		unlinkQueue(queue("pong"))
		if err != nil {
			return err
		}
	}
	fifo := func(name string) channel { return both(filepath.Join(b.dir, name)) }
	for _, c := range []channel{fifo("ping"), fifo("pong")} {
		if err := unix.Mkfifo(c.send, 0o600); err != nil {
			return err
		}
	}
	if err := add("FIFO", fifo("ping"), fifo("pong")); err != nil {
		return err
	}

	// Processes that wake each other start out on one processor. It takes the
	// scheduler a while to spread them, and then a wake-up costs several times as
	// much: the two are measured apart.
	for _, pace := range []struct {
		name        string
		rounds, ops int
	}{
		{"in bursts", b.rounds, b.ops},
		{"sustained", b.stretches(), stretch * b.ops},
	} {
		all, err := compete(pace.rounds, pace.ops, peers...)
		if err != nil {
			return err
		}
		for i := 1; i < len(all); i++ {
			target := 0.0
			if names[i] == stock {
				target = pingPongTarget
			}
			b.report.compare(fmt.Sprintf("ping-pong, %d bytes, %s", messageSize, pace.name), names[i], all[0], all[i], target)
		}
	}
	return b.stopAll()
}

// stretch is how many times as long a round is that is to be sustained.
const stretch = 20

func (p plan) stretches() int { return max(2, p.rounds/10) }

// hasQueues reports whether the kernel has POSIX message queues: mq_unlink(3) of
// nothing is ENOENT then, not ENOSYS.
func hasQueues() bool { return unlinkQueue("/ipcfs-bench-none") == unix.ENOENT }

func unlinkQueue(name string) error {
	p, err := unix.BytePtrFromString(strings.TrimPrefix(name, "/"))
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(p)), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// perClient is how many readers one client process parks: each has a thread and a
// descriptor, and limits of descriptors may be as low as 4096.
const perClient = 2500

// ways are how readers come to open a mailbox: jobs of the client, in words.
var ways = []struct{ job, words string }{
	{"queue", "one after another"},
	{"crowd", "all at once"},
}

// parked measures what waiting readers cost, in memory and in latency of others, and
// what it costs them that all come at once.
func (b *bench) parked() error {
	var opening []samples
	for _, way := range ways {
		took, err := b.parkedIn(way.job, way.words)
		if err != nil {
			return fmt.Errorf("opened %s: %w", way.words, err)
		}
		opening = append(opening, took)
	}
	// The start of their threads is in it.
	b.report.compare(fmt.Sprintf("open by %d readers %s", b.plan.parked, ways[1].words), ways[0].words, opening[1], opening[0], 0)
	return nil
}

// parkedIn measures the readers of one way. It returns the times of their opens.
func (b *bench) parkedIn(job, words string) (opening samples, err error) {
	s, err := b.ipcfs(b.program)
	if err != nil {
		return nil, err
	}
	idle, _, err := mailboxes(s, "idle")
	if err != nil {
		return nil, err
	}
	ping, pong, err := mailboxes(s, "bench")
	if err != nil {
		return nil, err
	}
	park := func() ([]*child, error) {
		began := time.Now()
		readers, err := b.park(s, job, idle.receive)
		opening = append(opening, []uint32{uint32(time.Since(began).Nanoseconds() / int64(b.plan.parked))})
		return readers, err
	}
	parked := fmt.Sprintf("%d parked, opened %s", b.plan.parked, words)

	// Memory first, of a daemon that has done nothing yet: memory that was used
	// before and is free again would hide the cost.
	before, err := s.usage()
	if err != nil {
		return nil, err
	}
	readers, err := park()
	if err != nil {
		return nil, err
	}
	after, err := s.usage()
	if err != nil {
		return nil, err
	}
	per := func(after, before int64) float64 { return float64(after-before) / float64(b.plan.parked) }
	target := 0.0
	if b.plan.parked >= full.parked { // with fewer, what the daemon needs once shows
		target = memoryTarget
	}
	b.report.size("daemon's resident memory per reader, "+parked, per(after.rss, before.rss), target)
	b.report.size("daemon's heap per reader, "+parked, per(after.heap, before.heap), target)
	if err := b.unpark(s, readers); err != nil {
		return nil, err
	}

	pinger, _, err := b.pair(ping, pong)
	if err != nil {
		return nil, err
	}
	measure := func() (samples, error) {
		all, err := compete(2, stretch*b.ops, peer{"ipcfs", pinger.do})
		if err != nil {
			return nil, err
		}
		return all[0], nil
	}
	var with, without samples
	var ratios []float64
	alone, err := measure()
	if err != nil {
		return nil, err
	}
	without = append(without, alone...)
	for range b.cycles {
		readers, err := park()
		if err != nil {
			return nil, err
		}
		crowded, err := measure()
		if err != nil {
			return nil, err
		}
		if err := b.unpark(s, readers); err != nil {
			return nil, err
		}
		again, err := measure()
		if err != nil {
			return nil, err
		}
		ratios = append(ratios, crowded.median()/((alone.median()+again.median())/2))
		with, without = append(with, crowded...), append(without, again...)
		alone = again
	}
	b.report.add(comparison{
		What: fmt.Sprintf("ping-pong beside %s", parked), Peer: "without them",
		Ours: with.median(), Theirs: without.median(),
		Ratio: quantile(ratios, 0.5), Low: quantile(ratios, 0), High: quantile(ratios, 1),
		Target: parkedTarget,
	})
	return opening, b.stopAll()
}

// park parks readers of path that come in the way of job, and waits until the daemon
// has them all.
func (b *bench) park(s *server, job, path string) ([]*child, error) {
	before, err := s.stat()
	if err != nil {
		return nil, err
	}
	var readers []*child
	for left := b.plan.parked; left > 0; left -= perClient {
		c, err := b.start(false, b.client, job, path, strconv.Itoa(min(left, perClient)))
		if err != nil {
			return nil, err
		}
		readers = append(readers, c)
	}
	for _, c := range readers {
		if err := c.ready(); err != nil {
			return nil, err
		}
	}
	return readers, s.eventually(func(now map[string]int64) bool {
		return now["parked"] >= before["parked"]+int64(b.plan.parked)
	})
}

// unpark kills readers and waits until the daemon has forgotten them.
func (b *bench) unpark(s *server, readers []*child) error {
	before, err := s.stat()
	if err != nil {
		return err
	}
	for _, c := range readers {
		if err := c.stop(); err != nil {
			return err
		}
	}
	return s.eventually(func(now map[string]int64) bool {
		return now["handles"] <= before["handles"]-int64(b.plan.parked)
	})
}

// usage is the memory of a daemon in bytes.
type usage struct{ rss, heap int64 }

// usage is that of a daemon that has been quiet for long enough to have given back what it
// does not need: cmd/ipcfs/heap.go.
func (s *server) usage() (usage, error) {
	time.Sleep(2 * time.Second)
	stat, err := s.stat()
	if err != nil {
		return usage{}, err
	}
	name := fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid)
	status, err := keyValues(name)
	if err != nil {
		return usage{}, err
	}
	if status["VmRSS:"] == 0 || stat["heap_bytes"] == 0 {
		return usage{}, fmt.Errorf("%s or .ipcfs/stat does not tell the memory used", name)
	}
	return usage{rss: status["VmRSS:"] << 10, heap: stat["heap_bytes"]}, nil
}

func (s *server) stat() (map[string]int64, error) { return keyValues(s.path(".ipcfs", "stat")) }

// keyValues reads the lines of a file that begin with a key and a number.
func keyValues(name string) (map[string]int64, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	values := make(map[string]int64)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				values[f[0]] = n
			}
		}
	}
	return values, nil
}

// eventually waits until the daemon's stat satisfies holds.
func (s *server) eventually(holds func(map[string]int64) bool) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		stat, err := s.stat()
		if err != nil {
			return err
		}
		if holds(stat) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v the daemon's stat is %v", patience, stat)
		}
	}
}

// send compares what the shell does for echo hello > mailboxes/jobs.
func (b *bench) send() error {
	ours, err := b.ipcfs(b.program)
	if err != nil {
		return err
	}
	reference, err := b.peer("mailboxes-gofuse")
	if err != nil {
		return err
	}
	var peers []peer
	for _, path := range []string{ours.path("mailboxes", "jobs"), reference.path("jobs")} {
		c, err := b.runClient("send", path)
		if err != nil {
			return err
		}
		peers = append(peers, peer{path, c.do})
	}
	all, err := compete(b.rounds, b.ops, peers...)
	if err != nil {
		return err
	}
	b.report.compare("open, write, close", stock, all[0], all[1], 0)
	growth, err := ours.growth(peers[0], max(1, b.ops/5))
	if err != nil {
		return err
	}
	if growth > 0 {
		b.report.size("allocated by the daemon per open, write, close, read", growth, 0)
	}
	return b.stopAll()
}

// growth is how much the daemon's heap grows with an operation of p, 0 if that
// cannot be told. A collection makes the heap shrink, so the most that it grew in
// any of many short turns counts.
func (s *server) growth(p peer, n int) (float64, error) {
	most := 0.0
	for range 15 {
		before, err := s.stat()
		if err != nil {
			return 0, err
		}
		if _, err := p.do(n); err != nil {
			return 0, err
		}
		after, err := s.stat()
		if err != nil {
			return 0, err
		}
		most = max(most, float64(after["heap_bytes"]-before["heap_bytes"])/float64(n))
	}
	return most, nil
}
