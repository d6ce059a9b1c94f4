package cost

// Rates are what events cost on a machine, in nanoseconds. They are measured there.
type Rates struct {
	Crossing float64
	Switch   float64
	Queue    float64 // a crossing that puts something into a queue of the kernel, or takes it out
	Long     float64 // besides, for a message that is LongMessage
	Request  float64 // to the daemon, without a message, and its reply: crossings and switches included
	Keep     float64 // allocating memory for a message in the daemon

	CopyByte float64 // into a queue of the kernel or out of it
	PassByte float64 // through /dev/fuse
	KeepByte float64 // of a message into memory that the daemon allocates

	Map   float64 // and unmap, without their crossings and without touching a page
	Page  float64 // the first touch of a mapped page
	Touch float64 // each further touch
}

// pageBytes is the size of a page.
const pageBytes = 4096

// LongMessage is the size in bytes from which on a socket does not keep a message in one
// piece but in pages: SKB_MAX_ALLOC, linux/skbuff.h, is a little less.
const LongMessage = 16 << 10

// Nanoseconds is what c costs for messages of size bytes.
func (r Rates) Nanoseconds(c Costs, size int) float64 {
	n := float64(size)
	pages := float64((size + pageBytes - 1) / pageBytes)
	copied := r.CopyByte * n
	if size >= LongMessage {
		copied += r.Long
	}
	return float64(c.Crossings-c.Queued-3*c.Requests)*r.Crossing +
		float64(c.Queued)*r.Queue +
		float64(c.Requests)*r.Request +
		float64(c.Switches-2*c.Requests)*r.Switch +
		float64(c.Copies-c.Passed-c.Kept)*copied +
		float64(c.Passed)*r.PassByte*n +
		float64(c.Kept)*(r.Keep+r.KeepByte*n) +
		float64(c.Maps)*(r.Map+r.Page*pages) +
		float64(c.Touches)*r.Touch*pages
}

// Fit finds the line fixed + each*size that comes closest to what was measured, as least
// squares of the relative errors; neither is negative. All times are positive.
func Fit(sizes []int, times []float64) (fixed, each float64) {
	var w, wx, wxx, wy, wxy float64
	for i, y := range times {
		x := float64(sizes[i])
		weight := 1 / (y * y)
		w += weight
		wx += weight * x
		wxx += weight * x * x
		wy += weight * y
		wxy += weight * x * y
	}
	d := w*wxx - wx*wx
	one := d <= 1e-9*w*wxx // size, up to rounding
	if !one {
		fixed, each = (wxx*wy-wx*wxy)/d, (w*wxy-wx*wy)/d
	}
	switch {
	case one || each < 0:
		return wy / w, 0
	case fixed < 0:
		return 0, wxy / wxx
	}
	return fixed, each
}

// BreakEven is the size from which on b took less than a, interpolated between the
// sizes, which ascend. It is the first of them if b always did; ok is false if b did not
// at the last.
func BreakEven(sizes []int, a, b []float64) (size float64, ok bool) {
	for i := len(sizes) - 1; i >= 0; i-- {
		ahead := a[i] - b[i]
		if ahead > 0 {
			size, ok = float64(sizes[i]), true
			continue
		}
		if ok {
			span := float64(sizes[i+1] - sizes[i])
			size = float64(sizes[i]) + span*-ahead/(a[i+1]-b[i+1]-ahead)
		}
		break
	}
	return size, ok
}
