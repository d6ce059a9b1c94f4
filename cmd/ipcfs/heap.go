package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"ipcfs/fs"
)

// A daemon whose heap is small collects it after every few long messages, which costs more
// than copying them (ipcfs simulate --costs --calibrate). While there is work, garbage may
// therefore grow to busyGarbage before it is collected. When no collection has been needed
// for quietTime, the memory goes back to the kernel, and the heap is kept tight again:
// what is parked lives long and is small.
const (
	busyGarbage = 32 << 20 // bytes
	quietTime   = 500 * time.Millisecond

	// Garbage to what is in use, in per cent (GOGC). The least heap is 4 MiB at 100.
	quietPercent = 30
	maxPercent   = busyGarbage / (4 << 20) * 100
)

// A collector adjusts the garbage collection to the work there is.
type collector struct {
	quiet  *time.Timer
	cycles uint64 // that the runtime has begun by itself
}

func adjustCollections() *collector {
	debug.SetGCPercent(quietPercent)
	c := &collector{quiet: time.AfterFunc(quietTime, release)}
	c.watch()
	return c
}

// freed has the memory go back to the kernel that users have given back: without it that
// would wait for the next collection, and where nothing goes on there is none.
func (c *collector) freed() { c.quiet.Reset(quietTime) }

// ownMemory is what the program itself needs, in bytes, rounded up.
const ownMemory = 32 << 20

// limit has garbage be collected in time where all that users have may cost n bytes: the
// daemon then stays within a sixth more and its own memory, and at any rate within seven
// eighths of the memory there is, of which half is the default for what they may send.
func (c *collector) limit(n int64) {
	most := fs.MachineMemory() / 8 * 7
	if n > most/7*6-ownMemory {
		n = most
	} else {
		n += n/6 + ownMemory
	}
	debug.SetMemoryLimit(n)
}

// watch has c notice the next collection: what becomes garbage here is found by it.
func (c *collector) watch() {
	type mark struct{ _ *mark }
	runtime.AddCleanup(new(mark), (*collector).collected, c)
}

func (c *collector) collected() {
	s := []metrics.Sample{{Name: "/gc/cycles/automatic:gc-cycles"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if cycles := s[0].Value.Uint64(); cycles != c.cycles { // else it was release's
		c.cycles = cycles
		inUse := int(max(s[1].Value.Uint64(), 1))
		debug.SetGCPercent(max(100, min(busyGarbage*100/inUse, maxPercent)))
		c.quiet.Reset(quietTime)
	}
	c.watch()
}

func release() {
	debug.FreeOSMemory()
	debug.SetGCPercent(quietPercent)
}
