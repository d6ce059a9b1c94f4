package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"ipcfs/kernelsim"
)

// Measurements are medians over rounds, in which all candidates take turns.
const (
	calibrationRounds = 9
	roundTime         = 2 * time.Millisecond // of one candidate
	minRepeats        = 3
)

// A candidate is something to be timed.
type candidate struct {
	name string
	do   func() error
	each float64 // divides the result: how many events one do is; 0 stands for 1
}

// medians times the candidates and returns the nanoseconds of each.
func medians(all []candidate) ([]float64, error) {
	runs := make([][]float64, len(all))
	for round := range calibrationRounds + 1 {
		for i, c := range all {
			n := 0
			start := time.Now()
			for n < minRepeats || time.Since(start) < roundTime {
				if err := c.do(); err != nil {
					return nil, fmt.Errorf("measure %s: %w", c.name, err)
				}
				n++
			}
			if round > 0 { // the first warms up
				runs[i] = append(runs[i], float64(time.Since(start))/float64(n)/max(c.each, 1))
			}
		}
	}
	result := make([]float64, len(all))
	for i, r := range runs {
		slices.Sort(r)
		result[i] = r[len(r)/2]
	}
	return result, nil
}

// A bench is what the measurements need.
type bench struct {
	pageSize int
	segment  string // the path of a file in memory
	memory   *os.File
	queue    [2]int // a kernel queue of messages
	ping     [2]int
	pong     [2]int
	from, to []byte
	mailbox  *mailboxBench // nil without a mount
	sink     byte
}

type mailboxBench struct {
	dir           string
	send, receive int
}

// maxMeasured is the largest message measured, in bytes.
const maxMeasured = 1 << 20

func newBench(dir string) (b *bench, err error) {
	b = &bench{pageSize: os.Getpagesize(), from: make([]byte, maxMeasured), to: make([]byte, maxMeasured)}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	fd, err := unix.MemfdCreate("calibrate", unix.MFD_CLOEXEC)
	if err != nil {
		return b, err
	}
	b.memory = os.NewFile(uintptr(fd), "calibrate")
	if _, err = b.memory.Write(b.from); err != nil {
		return b, err
	}
	b.segment = fmt.Sprintf("/proc/self/fd/%d", fd)
	if b.queue, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0); err != nil {
		return b, err
	}
	if unix.SetsockoptInt(b.queue[0], unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4*maxMeasured) != nil {
		_ = unix.SetsockoptInt(b.queue[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 4*maxMeasured)
	}
	for _, p := range []*[2]int{&b.ping, &b.pong} {
		if err = unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return b, err
		}
	}
	go b.echo()
	if dir != "" {
		b.mailbox, err = newMailboxBench(dir)
	}
	return b, err
}

// newMailboxBench makes a mailbox on the mount at dir.
func newMailboxBench(dir string) (*mailboxBench, error) {
	if _, err := os.Stat(filepath.Join(dir, ".ipcfs", "version")); err != nil {
		return nil, fmt.Errorf("%s: no ipcfs is mounted there", dir)
	}
	m := &mailboxBench{dir: filepath.Join(dir, "mailboxes", fmt.Sprintf("calibrate-%d", os.Getpid()))}
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if m.send, err = unix.Open(m.dir+"/send", unix.O_WRONLY|unix.O_CLOEXEC, 0); err != nil {
		return m, err
	}
	m.receive, err = unix.Open(m.dir+"/stream", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return m, err
}

func (b *bench) close() {
	if b.memory != nil {
		b.memory.Close()
	}
	// The end of the echo's pipe is its end.
	for _, fd := range []int{b.queue[0], b.queue[1], b.ping[1], b.pong[0]} {
		if fd > 0 {
			unix.Close(fd)
		}
	}
	if m := b.mailbox; m != nil {
		for _, fd := range []int{m.send, m.receive} {
			if fd > 0 {
				unix.Close(fd)
			}
		}
		_ = os.WriteFile(m.dir+"/flush", []byte("1\n"), 0)
		_ = os.Remove(m.dir)
	}
}

// echo answers each byte of ping with one of pong, on a thread of its own.
func (b *bench) echo() {
	runtime.LockOSThread()
	one := make([]byte, 1)
	for {
		if n, err := unix.Read(b.ping[0], one); n != 1 || err != nil {
			unix.Close(b.ping[0])
			unix.Close(b.pong[1])
			return
		}
		if _, err := unix.Write(b.pong[1], one); err != nil {
			return
		}
	}
}

func (b *bench) roundTrip() error {
	one := b.to[:1]
	if _, err := unix.Write(b.ping[1], one); err != nil {
		return err
	}
	_, err := unix.Read(b.pong[0], one)
	return err
}

// mapping maps n bytes of the segment anew, writes or reads a byte of each page, as a
// process does that makes a message in place or looks at one, and takes the mapping
// off again.
func (b *bench) mapping(fd, n int, writes bool) error {
	protection := unix.PROT_READ
	if writes {
		protection |= unix.PROT_WRITE
	}
	m, err := unix.Mmap(fd, 0, n, protection, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	for at := 0; at < n; at += b.pageSize {
		if writes {
			m[at]++
		} else {
			b.sink += m[at]
		}
	}
	return unix.Munmap(m)
}

// mapped is a message of n bytes by a segment that both sides map for it.
func (b *bench) mapped(n int) error {
	for _, writes := range []bool{true, false} {
		fd, err := unix.Open(b.segment, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := b.mapping(fd, n, writes); err != nil {
			return err
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
	return nil
}

// transfer is a message of n bytes that is written to one descriptor and read from
// another.
func (b *bench) transfer(to, from, n int) error {
	if _, err := unix.Write(to, b.from[:n]); err != nil {
		return err
	}
	got, err := unix.Read(from, b.to)
	if err == nil && got != n {
		err = fmt.Errorf("%d bytes of %d arrived", got, n)
	}
	return err
}

// rates measures what events cost here.
func (b *bench) rates() (kernelsim.Rates, error) {
	fd := int(b.memory.Fd())
	pages := maxMeasured / b.pageSize
	const copied = 256 << 10
	got, err := medians([]candidate{
		{"a crossing", func() error { _, _, _ = unix.Syscall(unix.SYS_GETPPID, 0, 0, 0); return nil }, 1},
		{"a round trip", b.roundTrip, 1},
		{"a copy", func() error { b.sink += b.to[copy(b.to[:copied], b.from)-1]; return nil }, copied},
		{"two mappings of a page", func() error { return errors.Join(b.mapping(fd, b.pageSize, true), b.mapping(fd, b.pageSize, false)) }, 2},
		{"two long mappings", func() error { return errors.Join(b.mapping(fd, maxMeasured, true), b.mapping(fd, maxMeasured, false)) }, 2},
	})
	if err != nil {
		return kernelsim.Rates{}, err
	}
	crossing, trip, copying, mapping, long := got[0], got[1], got[2], got[3], got[4]
	return kernelsim.Rates{
		Crossing: crossing,
		Switch:   max(0, trip-4*crossing) / 2,
		CopyByte: copying,
		Map:      max(0, mapping-2*crossing), // mmap and munmap
		Page:     max(0, long-mapping) / float64(pages-1),
	}, nil
}

// calibrate measures the machine, predicts from that what messages cost, measures
// them, and prints both.
func calibrate(w io.Writer, dir string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	b, err := newBench(dir)
	if err != nil {
		return fmt.Errorf("calibrate: %w", err)
	}
	defer b.close()
	rates, err := b.rates()
	if err != nil {
		return fmt.Errorf("calibrate: %w", err)
	}
	fmt.Fprintf(w, "On this machine, medians of %d runs:\n", calibrationRounds)
	fmt.Fprintf(w, "  crossing into the kernel and back  %8.0f ns\n", rates.Crossing)
	fmt.Fprintf(w, "  switch to another thread           %8.0f ns\n", rates.Switch)
	fmt.Fprintf(w, "  copy of 4096 bytes                 %8.0f ns\n", rates.CopyByte*4096)
	fmt.Fprintf(w, "  mapping and unmapping              %8.0f ns\n", rates.Map)
	fmt.Fprintf(w, "  first touch of a mapped page       %8.0f ns\n\n", rates.Page)

	type way struct {
		name  string
		costs kernelsim.Costs
		do    func(n int) error
		max   int
		took  map[int]float64
	}
	message := func(name string) kernelsim.Costs {
		m, ok := kernelsim.MechanismNamed(name)
		if !ok {
			panic("no mechanism " + name)
		}
		return m.Message()
	}
	ways := []*way{
		{"mapped segment", message("segment mapped for each message"), b.mapped, maxMeasured, map[int]float64{}},
		{"kernel queue", message("kernel queue"), func(n int) error { return b.transfer(b.queue[0], b.queue[1], n) }, b.longest(), map[int]float64{}},
	}
	if m := b.mailbox; m != nil {
		const maxMessage = 1<<20 - 8<<10 // the default of max_message
		ways = append(ways, &way{"ipcfs mailbox", message("ipcfs mailbox"), func(n int) error { return b.transfer(m.send, m.receive, n) }, maxMessage, map[int]float64{}})
	}
	var sizes []int
	for n := 1 << 10; n <= maxMeasured; n *= 2 {
		sizes = append(sizes, n, n/2*3)
	}
	sizes = sizes[:len(sizes)-1]
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	header, under := "one message\t", "bytes\t"
	for _, way := range ways {
		header += way.name + "\t\t"
		under += "predicted µs\tmeasured µs\t"
	}
	fmt.Fprintf(t, "%s\n%s\n", header, under)
	for _, n := range sizes {
		var all []candidate
		var who []*way
		for _, way := range ways {
			if n <= way.max {
				all = append(all, candidate{way.name, func() error { return way.do(n) }, 1})
				who = append(who, way)
			}
		}
		got, err := medians(all)
		if err != nil {
			return fmt.Errorf("calibrate: %w", err)
		}
		for i, way := range who {
			way.took[n] = got[i]
		}
		if n&(n-1) != 0 {
			continue // only for the break-even
		}
		fmt.Fprintf(t, "%d\t", n)
		for _, way := range ways {
			measured := "–"
			if ns, ok := way.took[n]; ok {
				measured = fmt.Sprintf("%.1f", ns/1e3)
			}
			fmt.Fprintf(t, "%.1f\t%s\t", rates.Nanoseconds(way.costs, n)/1e3, measured)
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	mapped := ways[0]
	fmt.Fprintln(w)
	for _, way := range ways[1:] {
		fmt.Fprintf(w, "A mapped segment beats the %s from: predicted %s, measured %s.\n", way.name,
			bytesOrNever(rates.BreakEven(way.costs, mapped.costs)), bytesOrNever(measuredBreakEven(sizes, way.took, mapped.took)))
	}
	fmt.Fprintln(w, `Measured are one send and one receive that wait for nobody, in one process. The kernel
queue is a UNIX socket that keeps message boundaries. Both sides open and map the segment
anew for each message and touch each page; one that stays mapped costs no crossing at all.`)
	return nil
}

// measuredBreakEven is the size from which on b took less than a, up to the largest
// measured.
func measuredBreakEven(sizes []int, a, b map[int]float64) (size int, ok bool) {
	for _, n := range slices.Backward(sizes) {
		took, measured := a[n]
		if !measured {
			continue
		}
		if b[n] >= took {
			return size, ok
		}
		size, ok = n, true
	}
	return size, ok
}

func bytesOrNever(n int, ok bool) string {
	if !ok {
		return "never"
	}
	return fmt.Sprintf("%d bytes", n)
}

// longest is the longest message the queue takes, as far as is measured.
func (b *bench) longest() int {
	for n := maxMeasured; n > 1<<10; n /= 2 {
		if b.transfer(b.queue[0], b.queue[1], n) == nil {
			return n
		}
	}
	return 1 << 10
}
