package fs

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"ipcfs/objects"
)

// waitBounds are the upper bounds of the classes of a histogram of waiting times.
var waitBounds = [...]objects.Time{10e3, 100e3, 1e6, 10e6, 100e6, 1e9, 10e9, 100e9}

// waitTimes are the histograms of an object's waiting times, by operation. Only
// requests that were parked are counted: others have not waited.
type waitTimes struct {
	mu   sync.Mutex // guards byOp
	byOp []*waitTime
}

type waitTime struct {
	op      objects.Op
	classes [len(waitBounds) + 1]int64
	sum     objects.Time
}

// count adds a wait.
func (w *waitTimes) count(op objects.Op, waited objects.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var t *waitTime
	for _, t = range w.byOp {
		if t.op == op {
			break
		}
	}
	if t == nil || t.op != op {
		t = &waitTime{op: op}
		w.byOp = append(w.byOp, t)
	}
	i := 0
	for i < len(waitBounds) && waited > waitBounds[i] {
		i++
	}
	t.classes[i]++
	t.sum += waited
}

// snapshot returns the histograms as they are.
func (w *waitTimes) snapshot() []waitTime {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []waitTime
	for _, t := range w.byOp {
		all = append(all, *t)
	}
	return all
}

// A family is one metric. Its samples follow its head, which is written with the first.
type family struct {
	name, kind, help string
	begun            bool
}

// sample appends a sample to b.
func (m *family) sample(b []byte, suffix, labels, value string) []byte {
	if !m.begun {
		m.begun = true
		b = fmt.Appendf(b, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
	}
	return fmt.Appendf(b, "%s%s%s %s\n", m.name, suffix, labels, value)
}

// label writes a label as Prometheus' text format has it.
func label(name, value string) string {
	return name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value) + `"`
}

func seconds(t objects.Time) string { return strconv.FormatFloat(float64(t)/1e9, 'g', -1, 64) }

// metricLines is .ipcfs/metrics: Prometheus' text format, version 0.0.4. The samples of a
// family have to come together, so the objects are gone through for each.
func (f *FS) metricLines(_ *object, who *identity) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		_ = f.mountMetrics(yield) && f.counterMetrics(who, yield) && f.waitMetrics(who, yield)
	}
}

// mountMetrics yields what is told of the mount as a whole.
func (f *FS) mountMetrics(yield func([]byte) bool) bool {
	build := family{name: "ipcfs_build_info", kind: "gauge", help: "Always 1; the version is in the label."}
	b := build.sample(nil, "", "{"+label("version", f.cfg.Version)+"}", "1")
	for line := range strings.Lines(string(f.showMountStat())) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		m := family{name: "ipcfs_mount_" + name, kind: "gauge", help: "What .ipcfs/stat shows as " + name + "."}
		if name == "requests" {
			m = family{name: "ipcfs_mount_requests_total", kind: "counter", help: "What .ipcfs/stat counts as requests."}
		}
		b = m.sample(b, "", "", value)
	}
	return yield(b)
}

// Metric is the name by which .ipcfs/metrics has the counter c of a kind.
func Metric(kind string, c objects.CounterKind) string {
	if c.Gauge {
		return "ipcfs_" + kind + "_" + c.Name
	}
	return "ipcfs_" + kind + "_" + c.Name + "_total"
}

// counterMetrics yields what the stat files of the objects tell.
func (f *FS) counterMetrics(who *identity, yield func([]byte) bool) bool {
	for _, d := range f.kinds {
		kind := d.p.kind
		for i, c := range objects.KindNamed(kind).Counters {
			m := &family{name: Metric(kind, c), kind: "counter", help: c.Help}
			if c.Gauge {
				m.kind = "gauge"
			}
			for o := range f.objectsIn(d, who) {
				counters := look(o.object, objects.Object.Stat)
				if i >= len(counters) { // a FIFO or a socket
					continue
				}
				if !yield(m.sample(nil, "", "{"+label("object", o.path)+"}", strconv.FormatInt(counters[i].Value, 10))) {
					return false
				}
			}
		}
	}
	return true
}

// waitMetrics yields the histograms of the times that requests waited.
func (f *FS) waitMetrics(who *identity, yield func([]byte) bool) bool {
	m := &family{name: "ipcfs_wait_seconds", kind: "histogram", help: "How long requests waited that did not finish at once."}
	for o := range f.allObjects(who) {
		for _, t := range o.waits.snapshot() {
			labels := label("object", o.path) + "," + label("operation", t.op.String())
			var b []byte
			var n int64
			for i, count := range t.classes {
				bound := "+Inf"
				if i < len(waitBounds) {
					bound = seconds(waitBounds[i])
				}
				n += count
				b = m.sample(b, "_bucket", "{"+labels+","+label("le", bound)+"}", strconv.FormatInt(n, 10))
			}
			b = m.sample(b, "_sum", "{"+labels+"}", seconds(t.sum))
			if !yield(m.sample(b, "_count", "{"+labels+"}", strconv.FormatInt(n, 10))) {
				return false
			}
		}
	}
	return true
}

// countWait counts that k, which was parked, has waited until now. Only what came to
// its end counts: not what was interrupted, or destroyed meanwhile.
func (f *FS) countWait(k *call) {
	if k.object != nil && k.Errno != syscall.EINTR && k.Errno != syscall.EIDRM {
		k.object.waits.count(k.Op, f.now()-k.Since)
	}
}
