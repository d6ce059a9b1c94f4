package tests

import (
	"os"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// metrics reads .ipcfs/metrics with Prometheus' own parser.
func (m *mountpoint) metrics(t testing.TB) map[string]*dto.MetricFamily {
	t.Helper()
	text, err := os.ReadFile(m.path(".ipcfs/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		t.Fatalf("metrics are no Prometheus text: %v\n%s", err, text)
	}
	return families
}

// sample returns the metric of the family that has the labels, given as name, value, name, value …
func sample(f *dto.MetricFamily, labels ...string) *dto.Metric {
	for _, m := range f.GetMetric() {
		found := 0
		for _, l := range m.GetLabel() {
			for i := 0; i+1 < len(labels); i += 2 {
				if l.GetName() == labels[i] && l.GetValue() == labels[i+1] {
					found++
				}
			}
		}
		if found == len(labels)/2 {
			return m
		}
	}
	return nil
}

func TestMetricsArePrometheusText(t *testing.T) {
	t.Parallel()
	m := mount(t)
	odd := `a "quoted" \name`
	jobs := m.mailbox(t, flat, odd)
	jobs.put("1", "22", "333")
	m.semaphore(t, directory, "s", 7)
	m.objectOf(t, "pipes", flat, "p")
	m.objectOf(t, "segments", flat, "frame")
	bash(t, "mkfifo "+m.path("pipes/fifo")).prints("")
	run(t, "cat", jobs.path).prints("1")
	all := m.metrics(t)
	for name, want := range map[string]struct {
		kind   dto.MetricType
		object string
		value  float64
	}{
		"ipcfs_mailbox_sent_total":     {dto.MetricType_COUNTER, "mailboxes/" + odd, 3},
		"ipcfs_mailbox_received_total": {dto.MetricType_COUNTER, "mailboxes/" + odd, 1},
		"ipcfs_mailbox_messages":       {dto.MetricType_GAUGE, "mailboxes/" + odd, 2},
		"ipcfs_mailbox_bytes":          {dto.MetricType_GAUGE, "mailboxes/" + odd, 5},
		"ipcfs_semaphore_value":        {dto.MetricType_GAUGE, "semaphores/s", 7},
		"ipcfs_pipe_written_total":     {dto.MetricType_COUNTER, "pipes/p", 0},
		"ipcfs_segment_attached":       {dto.MetricType_GAUGE, "segments/frame", 0},
	} {
		f := all[name]
		s := sample(f, "object", want.object)
		if s == nil || f.GetType() != want.kind || s.GetCounter().GetValue()+s.GetGauge().GetValue() != want.value || f.GetHelp() == "" {
			t.Errorf("%s of %s = %v; want %v of type %v", name, want.object, f, want.value, want.kind)
		}
	}
	if got := all["ipcfs_mount_objects"].GetMetric()[0].GetGauge().GetValue(); got != 5 {
		t.Errorf("ipcfs_mount_objects = %v, want 5", got)
	}
	if got := all["ipcfs_mount_requests_total"]; got.GetType() != dto.MetricType_COUNTER || got.GetMetric()[0].GetCounter().GetValue() < 10 {
		t.Errorf("ipcfs_mount_requests_total = %v, want a counter of all that was asked", got)
	}
	if all["ipcfs_wait_seconds"] != nil {
		t.Errorf("nobody has waited, but there is %v", all["ipcfs_wait_seconds"])
	}
}

func TestMetricsCountTheWaitsOfThoseWhoWaited(t *testing.T) {
	t.Parallel()
	m := mount(t)
	jobs := m.mailbox(t, directory, "jobs")
	jobs.put("no wait")
	jobs.wantQueue("no wait")
	for range 3 {
		c := jobs.parkReceiver()
		jobs.put("x")
		c.expect(`"x"`)
	}
	c := jobs.parkReceiver()
	c.kill()
	jobs.gone(c)
	all := m.metrics(t)
	h := sample(all["ipcfs_wait_seconds"], "object", "mailboxes/jobs", "operation", "receive").GetHistogram()
	if h.GetSampleCount() != 3 || h.GetSampleSum() <= 0 || len(h.GetBucket()) != 9 {
		t.Fatalf("ipcfs_wait_seconds = %v; want three waits in nine classes", h)
	}
	var below uint64
	for _, b := range h.GetBucket() {
		if b.GetCumulativeCount() < below {
			t.Errorf("the class up to %v has fewer than the one before: %v", b.GetUpperBound(), h)
		}
		below = b.GetCumulativeCount()
	}
	if below != 3 {
		t.Errorf("the last class has %d waits, want all 3", below)
	}
}
