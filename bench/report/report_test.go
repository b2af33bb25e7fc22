package report

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

// sample is a run with something of everything.
func sample() *Document {
	limit := 4.0
	allocs := 0.0004
	joules := 12.5
	rounds := func(cpu ...float64) []Round {
		var out []Round
		for _, c := range cpu {
			out = append(out, Round{CPU: c, Wall: c * 1.4, Busy: c * 1.05, PeakRSS: 180 << 20, Joules: &joules})
		}
		return out
	}
	var memory, behind []Point
	for i := range 40 {
		memory = append(memory, Point{float64(i) / 10, 60 + 100*math.Tanh(float64(i)/8)})
		behind = append(behind, Point{float64(i) / 10, float64(i%20) * 20_000})
	}
	var latencies []float64
	for i := range 1000 {
		latencies = append(latencies, 50+2*float64(i))
	}
	shared := rounds(0.9, 0.94, 0.92, 1, 0.88)
	for i := range shared {
		shared[i].Cores = &CoreSeconds{Process: shared[i].CPU, Broker: 0.1, ClickHouse: 0.2, Others: -0.01, Idle: 0.4}
	}
	d := &Document{
		Version: Version, At: time.Date(2026, 11, 22, 0, 30, 0, 0, time.UTC),
		Machine: Machine{
			CPU: "Example CPU <4>", Cores: 2, Memory: 8 << 30, OS: "linux", Arch: "amd64", Kernel: "6.1.0", Weir: "devel 0123456789ab", Go: "go1.26.8",
			ClickHouse: "26.7.2.1", Broker: "embedded", CopyBytesPerS: 9.5e9, LoadBefore: 0.1,
		},
		Options: Options{Rounds: 5, Partitions: 8, Seed: 1, Workloads: []string{"sensors"}, Brief: true},
		Figures: []Figure{
			{Name: "cpu_ratio_to_bare_consumer", Unit: "x", Kind: Ratio, Samples: []float64{2.2, 2.3, 2.25, 2.4, 2.21}, Limit: &limit},
			{Name: "speed_on_2_cores", Unit: "x of one core", Kind: Ratio, More: true, Samples: []float64{1.7, 1.8, 1.75, 1.72, 1.74}},
			{Name: "cpu_s_per_million", Unit: "CPU-s", Kind: Time, Samples: []float64{0.8, 0.82, 0.81, 0.9, 0.79}},
			{Name: "allocs_per_row", Unit: "allocations", Kind: Count, Samples: []float64{0.0004}},
			{Name: "latency_p99_beyond_flush", Unit: "ms", Kind: Time, Samples: []float64{31}, Easier: true, Note: "at 61 % of half load"},
		},
		Throughput: []Throughput{{
			Workload: "sensors", About: "W1", Note: "a note", Events: 2_000_000, RecordSize: 119, Partitions: 8, Rows: 60_000,
			Results: []Result{
				{Contender: "bare", About: "nothing", Ceiling: true, Cores: 1, Rounds: rounds(0.7, 0.72, 0.71, 0.75, 0.7)},
				{Contender: "hand", About: "by hand", Cores: 1, Rounds: rounds(1.1, 1.12, 1.15, 1.1, 1.09)},
				{Contender: "other", About: "an engine", Cores: 1, LeftOut: "left out: not installed"},
				{Contender: "weir", About: "weir", Cores: 1, Rounds: rounds(1.6, 1.64, 1.62, 1.8, 1.58), Memory: memory, AllocsPerEvent: &allocs, UplinkBytes: 4_100_000, Profiles: []string{"sensors.cpu.pprof"}},
				{Contender: "weir", About: "weir", Cores: 2, Rounds: shared},
			},
		}},
		Live: []Live{
			{Name: "latency", About: "half load", Workload: "sensors", Rate: 500_000, Achieved: 499_000, Seconds: 20, Events: 10_000_000, FlushMS: 2000, Latency: Distribute(latencies), Memory: memory, Behind: behind, CPU: 9, PeakRSS: 120 << 20},
			{Name: "outage", About: "away", Workload: "sensors", Rate: 500_000, Achieved: 400_000, Seconds: 20, Events: 10_000_000, FlushMS: 2000, Memory: memory, Behind: behind, OutageS: 7, CatchUpS: 1.5, CPU: 9, PeakRSS: 150 << 20},
		},
		Curves: []Curve{{Name: "partitions", Unit: "partitions", Points: []Point{{1, 0.8}, {4, 0.8}, {16, 0.82}, {64, 0.85}}, Bare: []Point{{1, 0.35}, {4, 0.35}, {16, 0.36}, {64, 0.38}}, Memory: []Point{{1, 120}, {4, 130}, {16, 140}, {64, 150}}}},
		Notes:  []string{"the machine does not tell its energy"},
		TookS:  612, Interrupted: true, Skipped: []string{"soak"}, Failed: []Failure{{"wide", "workload wide: no <disk> is left"}},
	}
	d.Judge()
	return d
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is another; -update writes it, then look at the difference:\n%s", name, got)
	}
}

func TestGoldens(t *testing.T) {
	d := sample()
	for name, write := range map[string]func(*bytes.Buffer) error{
		"table.txt":   func(b *bytes.Buffer) error { return d.WriteTable(b) },
		"report.json": func(b *bytes.Buffer) error { return d.Write(b) },
		"report.html": func(b *bytes.Buffer) error { return d.WriteHTML(b, "profiles") },
		"compare.txt": func(b *bytes.Buffer) error { return Compare(d, changed(), 0.05).WriteTable(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		golden(t, name, b.Bytes())
	}
}

// changed is the sample after something became slower, something faster, something went and something came.
func changed() *Document {
	d := sample()
	d.Machine.Go = "go1.27.0"
	d.Figures = []Figure{
		{Name: "cpu_ratio_to_bare_consumer", Unit: "x", Kind: Ratio, Samples: []float64{2.9, 2.8, 2.85, 2.9, 3}},
		{Name: "speed_on_2_cores", Unit: "x of one core", Kind: Ratio, More: true, Samples: []float64{1.9, 1.95, 1.9, 1.91, 1.92}},
		{Name: "cpu_s_per_million", Unit: "CPU-s", Kind: Time, Samples: []float64{1.8, 1.82, 1.81, 1.9, 1.79}},
		{Name: "start_to_first_record", Unit: "ms", Kind: Time, Samples: []float64{140}},
	}
	return d
}

func TestCompare(t *testing.T) {
	ratio := func(samples ...float64) *Document {
		return &Document{Figures: []Figure{{Name: "f", Kind: Ratio, Samples: samples}}}
	}
	count := func(more bool, samples ...float64) *Document {
		return &Document{Figures: []Figure{{Name: "f", Kind: Count, More: more, Samples: samples}}}
	}
	for _, c := range []struct {
		name string
		a, b *Document
		want Verdict
	}{
		{"equal", ratio(2, 2.1, 2.05), ratio(2.05, 2, 2.1), Same},
		{"slower", ratio(2, 2.1, 2.05), ratio(2.5, 2.6, 2.55), Worse},
		{"faster", ratio(2.5, 2.6, 2.55), ratio(2, 2.1, 2.05), Better},
		{"slower within the threshold", ratio(2, 2.01, 2.02), ratio(2.05, 2.06, 2.07), Same},
		{"slower, and noisy", ratio(2, 2.1, 3), ratio(2.4, 2.6, 2.7), Unclear},
		{"more is better", count(true, 10, 11, 12), count(true, 5, 6, 7), Worse},
		{"from nothing", count(false, 0), count(false, 1), Worse},
		{"to nothing", count(false, 1), count(false, 0), Better},
		{"nothing", count(false, 0), count(false, 0), Same},
		{"measured once", count(false, 10), count(false, 11.5), Unclear},
		{"measured once, and far off", count(false, 10), count(false, 13), Worse},
		{"gone", ratio(1), &Document{}, Gone},
		{"new", &Document{}, ratio(1), New},
	} {
		got := Compare(c.a, c.b, 0.05)
		if len(got.Changes) != 1 || got.Changes[0].Verdict != c.want || got.Regression != (c.want == Worse) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	wrong := ratio(1)
	wrong.Live = []Live{{Name: "latency", Wrong: "2 missing"}}
	if c := Compare(ratio(1), wrong, 0.05); !c.Regression {
		t.Error("a wrong answer is no regression")
	}
}

func TestMedianInterval(t *testing.T) {
	for _, c := range []struct {
		n          int
		low, high  float64
		confidence float64
	}{
		{1, 1, 1, 0}, {3, 1, 3, 0.75}, {5, 1, 5, 0.9375}, {6, 1, 6, 0.96875}, {9, 2, 8, 0.9609375}, {20, 6, 15, 0.9586},
	} {
		samples := make([]float64, c.n)
		for i := range samples {
			samples[i] = float64((i*7)%c.n + 1)
		}
		if c.n%7 == 0 {
			t.Fatal("the samples are not all different")
		}
		got := MedianInterval(samples)
		if got.Low != c.low || got.High != c.high || math.Abs(got.Confidence-c.confidence) > 1e-4 {
			t.Errorf("of %d: %+v, should be %v to %v with %v", c.n, got, c.low, c.high, c.confidence)
		}
	}
}

func TestDistribute(t *testing.T) {
	var samples []float64
	for i := 1000; i > 0; i-- {
		samples = append(samples, float64(i))
	}
	d := Distribute(samples)
	if d.P50 != 500 || d.P90 != 900 || d.P99 != 990 || d.P999 != 999 || d.Max != 1000 || len(d.CDF) != 101 || d.CDF[0] != 1 || d.CDF[100] != 1000 {
		t.Errorf("%+v", d)
	}
	if Distribute(nil) != nil {
		t.Error("there is a distribution of nothing")
	}
}

func TestRead(t *testing.T) {
	var b bytes.Buffer
	if err := sample().Write(&b); err != nil {
		t.Fatal(err)
	}
	d, err := Read(&b)
	if err != nil || d.Figures[0].Value() != 2.25 || d.Live[0].Latency.P50 != 1048 {
		t.Errorf("%+v, %v", d, err)
	}
	for _, text := range []string{``, `{}`, `[]`, `{"version":99}`, `{"version":1,"figures":[{"name":"f","samples":[]}]}`} {
		if _, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

// TestPageIsOnePage holds the report to having everything in it, and to escaping what comes from a machine.
func TestPageIsOnePage(t *testing.T) {
	var b bytes.Buffer
	d := sample()
	d.Throughput[0].Results[1].Contender = `<script>alert("x")</script>`
	if err := d.WriteHTML(&b, ""); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, bad := range []string{"<script", "http://", "https://", "src=", "@import", "NaN", "%!"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q in it", bad)
		}
	}
	if err := (&Document{Version: Version}).WriteHTML(&b, ""); err != nil {
		t.Errorf("the page of an empty run: %v", err)
	}
}

// TestSparsePage draws pages of runs that measured little: what was not measured is not there, and nothing that is drawn is broken.
func TestSparsePage(t *testing.T) {
	one := []Round{{CPU: 1, Wall: 1}}
	for name, d := range map[string]*Document{
		"nothing":     {},
		"no rounds":   {Throughput: []Throughput{{Workload: "sensors", Results: []Result{{Contender: "weir", Cores: 1, Wrong: "a row"}, {Contender: "bare", Cores: 2}}}}},
		"one round":   {Throughput: []Throughput{{Workload: "sensors", Events: 1, Results: []Result{{Contender: "weir", Cores: 1, Rounds: one, Memory: []Point{{0, 0}, {0, 0}}}}}}},
		"no weir":     {Throughput: []Throughput{{Workload: "sensors", Events: 1, Results: []Result{{Contender: "bare", Cores: 1, Rounds: one}}}}},
		"no latency":  {Live: []Live{{Name: "soak", Memory: []Point{{1, 5}}}, {Name: "latency", Latency: Distribute([]float64{7})}}},
		"one point":   {Curves: []Curve{{Name: "keys", Points: []Point{{1, 0.5}}}, {Name: "windows"}}},
		"same points": {Curves: []Curve{{Name: "keys", Points: []Point{{1, 0}, {1, 0}}, Memory: []Point{{1, 3}}}}},
	} {
		var page bytes.Buffer
		if err := d.WriteHTML(&page, ""); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, bad := range []string{"NaN", "Inf", "%!", "<nil>", `width="-`, `height="-`, `points=""`} {
			if strings.Contains(page.String(), bad) {
				t.Errorf("%s: the page has %q in it:\n%s", name, bad, page.String())
			}
		}
		if err := d.WriteTable(&page); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
