package endtoend

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// TestMetrics compares what a node tells with what it has done.
func TestMetrics(t *testing.T) {
	t.Parallel()
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "")
	s.produce(t.Context(), 9, 30_000, 0)
	s.waitProduced()
	node := s.start("--site", "north", "--node", "box-7")
	node.waitReady(t, patience)
	conn := openClickHouse(t, s.clickhouse)
	counts := s.truth.Counts()
	eventually(t, patience, func() (bool, string) {
		n := s.stored(conn)
		return n == counts.Records, fmt.Sprintf("%d stored", n)
	})
	addr := node.address(t)
	var families map[string]*dto.MetricFamily
	var text string
	eventually(t, patience, func() (bool, string) { // until the last commit is counted
		_, text = get(t, addr+"/metrics")
		parser := expfmt.NewTextParser(model.LegacyValidation)
		var err error
		if families, err = parser.TextToMetricFamilies(strings.NewReader(text)); err != nil {
			t.Fatalf("/metrics is not Prometheus text: %v\n%s", err, text)
		}
		return total(families["weir_commits_total"]) >= 6 && total(families["weir_sink_pending_cuts"]) == 0, text
	})
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "weir_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}

	values := map[string]float64{
		"weir_build_info": 1, "weir_pipeline_info": 1, "weir_ready": 1,
		"weir_source_records_total": float64(counts.Records), "weir_source_lag_records": 0, "weir_source_replayed_records_total": 0,
		"weir_source_offset": float64(counts.Records), "weir_source_gaps_total": 0, "weir_source_errors_total": 0,
		"weir_partition_owned": 6, "weir_rows_aggregated_total": float64(counts.Aggregated), "weir_rows_late_total": float64(counts.Late),
		"weir_rows_filtered_total": float64(counts.Filtered), "weir_rows_expanded_total": 0,
		"weir_rejected_total":     float64(counts.AllRejected() + counts.Late),
		"weir_dead_letters_total": float64(counts.AllRejected() + counts.Late), "weir_sink_failures_total": 0,
		"weir_commit_failures_total": 0, "weir_operator_bytes_copied_total": 0, "weir_operator_traps_total": 0, "weir_queue_bytes": 0,
		"weir_sink_pending_cuts": 0,
	}
	for name, want := range values {
		if f := families[name]; f == nil {
			t.Errorf("no metric %s", name)
		} else if got := total(f); got != want {
			t.Errorf("%s is %v in all, want %v", name, got, want)
		}
	}
	for _, name := range []string{
		"weir_source_bytes_total", "weir_batches_total", "weir_batch_busy_seconds_total", "weir_windows_open", "weir_groups_open",
		"weir_cuts_total", "weir_watermark_timestamp_seconds", "weir_state_bytes", "weir_sink_cuts_total", "weir_sink_rows_total",
		"weir_sink_bytes_total", "weir_sink_attempts_total", "weir_sink_last_ack_timestamp_seconds", "weir_operator_instances_total", "weir_operator_fuel_total",
		"process_resident_memory_bytes", "go_goroutines",
	} {
		if f := families[name]; f == nil || total(f) <= 0 {
			t.Errorf("%s is %v in all, want more than 0", name, total(f))
		}
	}

	rejected := byLabel(families["weir_rejected_total"], "reason")
	wantRejected := map[string]float64{"late": float64(counts.Late)}
	for reason, n := range counts.Rejected {
		wantRejected[reason] = float64(n)
	}
	for _, reason := range slices.Sorted(maps.Keys(rejected)) {
		if rejected[reason] != wantRejected[reason] {
			t.Errorf("weir_rejected_total{reason=%q} is %v, want %v", reason, rejected[reason], wantRejected[reason])
		}
	}
	if len(rejected) != 10 {
		t.Errorf("weir_rejected_total has %d reasons: every one must be there from the start", len(rejected))
	}

	decoded := float64(counts.Records - counts.AllRejected())
	passed := decoded - float64(counts.Filtered)
	in, out := byLabel(families["weir_step_rows_in_total"], "step"), byLabel(families["weir_step_rows_out_total"], "step")
	wantIn := map[string]float64{
		"decode": float64(counts.Records), "1 filter": decoded, "2 wasm calibrate": passed, "3 map": passed, "window": passed,
	}
	wantOut := map[string]float64{
		"decode": decoded, "1 filter": passed, "2 wasm calibrate": passed, "3 map": passed, "window": total(families["weir_sink_rows_total"]),
	}
	if !maps.Equal(in, wantIn) || !maps.Equal(out, wantOut) {
		t.Errorf("rows into steps %v and out %v, want %v and %v", in, out, wantIn, wantOut)
	}
	refused := byLabel(families["weir_step_rows_rejected_total"], "step")
	if want := map[string]float64{
		"decode": float64(counts.AllRejected()), "1 filter": 0, "2 wasm calibrate": 0, "3 map": 0, "window": float64(counts.Late),
	}; !maps.Equal(refused, want) {
		t.Errorf("rows rejected by step %v, want %v", refused, want)
	}
	bytesIn, bytesOut := byLabel(families["weir_step_bytes_in_total"], "step"), byLabel(families["weir_step_bytes_out_total"], "step")
	if bytesIn["decode"] != total(families["weir_source_bytes_total"]) {
		t.Errorf("decode was given %v bytes, want those of the source", bytesIn["decode"])
	}
	// Every byte a stage gives is given to the next; the map adds a float64 to every row.
	for _, next := range [][2]string{{"decode", "1 filter"}, {"1 filter", "2 wasm calibrate"}, {"2 wasm calibrate", "3 map"}, {"3 map", "window"}} {
		if bytesOut[next[0]] != bytesIn[next[1]] || bytesOut[next[0]] == 0 {
			t.Errorf("%s gave %v bytes, and %s was given %v", next[0], bytesOut[next[0]], next[1], bytesIn[next[1]])
		}
	}
	if got := bytesOut["3 map"] - bytesIn["3 map"]; got != 8*passed {
		t.Errorf("the map added %v bytes, want %v", got, 8*passed)
	}
	busy := total(families["weir_batch_busy_seconds_total"])
	if spent := total(families["weir_step_seconds_total"]); spent <= 0 || spent > 1.5*busy+1 {
		t.Errorf("%v s were spent in steps, and %v s in batches", spent, busy)
	}
	tags := families["weir_pipeline_tag"].GetMetric()
	if len(tags) != 2 {
		t.Errorf("%d tags, want 2", len(tags))
	}

	offsets := byLabel(families["weir_source_offset"], "partition")
	for p, c := range s.truth.PartitionCounts() {
		if got := offsets[fmt.Sprint(p)]; got != float64(c.Records) {
			t.Errorf("weir_source_offset of partition %d is %v, want %d", p, got, c.Records)
		}
	}
	if code, body := get(t, addr+"/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	if code, body := get(t, addr+"/readyz"); code != 200 || body != "ready\n" {
		t.Errorf("/readyz: %d %q", code, body)
	}
	if code, _ := get(t, addr+"/nothing"); code != 404 {
		t.Errorf("/nothing: %d", code)
	}
}

func value(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	default:
		return m.Untyped.GetValue()
	}
}

// total adds up the series of a metric.
func total(f *dto.MetricFamily) float64 {
	sum := 0.0
	for _, m := range f.GetMetric() {
		sum += value(m)
	}
	return sum
}

// byLabel adds up the series of a metric by the value of a label.
func byLabel(f *dto.MetricFamily, label string) map[string]float64 {
	sums := map[string]float64{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label {
				sums[l.GetValue()] += value(m)
			}
		}
	}
	return sums
}
