package fs

import (
	"fmt"
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

// gauges are the words of stat files that go up and down; words that begin with open_
// or end in waiting are, too. The others count what has happened.
var gauges = map[string]bool{
	"messages": true, "bytes": true, "leased": true, "oob": true, "value": true, "owners": true, "lock_owners": true,
	"booked": true, "attached": true,
}

func isGauge(name string) bool {
	return gauges[name] || strings.HasPrefix(name, "open_") || strings.HasSuffix(name, "waiting")
}

// A family is one metric with its samples.
type family struct {
	name, kind, help string
	samples          []byte
}

// metrics are families in the order in which they came.
type metrics []*family

func (m *metrics) family(name, kind, help string) *family {
	for _, f := range *m {
		if f.name == name {
			return f
		}
	}
	f := &family{name: name, kind: kind, help: help}
	*m = append(*m, f)
	return f
}

func (f *family) add(suffix, labels, value string) {
	f.samples = fmt.Appendf(f.samples, "%s%s%s %s\n", f.name, suffix, labels, value)
}

// label writes a label as Prometheus' text format has it.
func label(name, value string) string {
	return name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value) + `"`
}

func seconds(t objects.Time) string { return strconv.FormatFloat(float64(t)/1e9, 'g', -1, 64) }

// showMetrics is .ipcfs/metrics: Prometheus' text format, version 0.0.4.
func (f *FS) showMetrics(who *identity) []byte {
	var m metrics
	m.family("ipcfs_build_info", "gauge", "Always 1; the version is in the label.").add("", "{"+label("version", f.cfg.Version)+"}", "1")
	for line := range strings.Lines(string(f.showMountStat())) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if name == "requests" {
			m.family("ipcfs_mount_requests_total", "counter", "What .ipcfs/stat counts as requests.").add("", "", value)
			continue
		}
		m.family("ipcfs_mount_"+name, "gauge", "What .ipcfs/stat shows as "+name+".").add("", "", value)
	}
	for _, o := range f.allObjects(who) {
		object := label("object", o.path)
		kind := o.kind.p.kind
		for _, c := range look(o.object, objects.Object.Stat) {
			value := strconv.FormatInt(c.Value, 10)
			if name := "ipcfs_" + kind + "_" + c.Name; isGauge(c.Name) {
				m.family(name, "gauge", "What the stat file of a "+kind+" shows as "+c.Name+".").add("", "{"+object+"}", value)
			} else {
				m.family(name+"_total", "counter", "What the stat file of a "+kind+" counts as "+c.Name+".").add("", "{"+object+"}", value)
			}
		}
		for _, t := range o.waits.snapshot() {
			h := m.family("ipcfs_wait_seconds", "histogram", "How long requests waited that did not finish at once.")
			labels := object + "," + label("operation", t.op.String())
			var n int64
			for i, count := range t.classes {
				bound := "+Inf"
				if i < len(waitBounds) {
					bound = seconds(waitBounds[i])
				}
				n += count
				h.add("_bucket", "{"+labels+","+label("le", bound)+"}", strconv.FormatInt(n, 10))
			}
			h.add("_sum", "{"+labels+"}", seconds(t.sum))
			h.add("_count", "{"+labels+"}", strconv.FormatInt(n, 10))
		}
	}
	var b []byte
	for _, fam := range m {
		b = fmt.Appendf(b, "# HELP %s %s\n# TYPE %s %s\n%s", fam.name, fam.help, fam.name, fam.kind, fam.samples)
	}
	return b
}

// countWait counts that k, which was parked, has waited until now. Only what came to
// its end counts: not what was interrupted, or destroyed meanwhile.
func (f *FS) countWait(k *call) {
	if k.object != nil && k.Errno != syscall.EINTR && k.Errno != syscall.EIDRM {
		k.object.waits.count(k.Op, f.now()-k.Since)
	}
}
