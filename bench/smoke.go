package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/embedded"
	"github.com/weir-stream/weir/edge-node/embedded/clickhouse"
	"github.com/weir-stream/weir/edge-node/embedded/kafka"
	"github.com/weir-stream/weir/edge-node/embedded/libchdb"
)

// bench is one run of the harness.
type bench struct {
	events   int64
	rounds   int
	progress io.Writer

	dir, weir string
	kafka     *embedded.Kafka
	ch        *embedded.ClickHouse
}

const (
	topic      = "sensors"
	partitions = 8
)

// figure is one number with its limit.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	Unit  string  `json:"unit"`
}

func (f figure) met() bool { return f.Value <= f.Limit }

// result is what a run found.
type result struct {
	Go      string    `json:"go"`
	CPUs    int       `json:"cpus"`
	Events  int64     `json:"events"`
	Bare    []float64 `json:"bare_cpu_s_per_million"`
	Weir    []float64 `json:"weir_cpu_s_per_million"`
	PeakMiB float64   `json:"weir_peak_mib"`
	PerSec  float64   `json:"weir_events_per_s"`
	Figures []figure  `json:"figures"`
	Met     bool      `json:"met"`
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.progress, format+"\n", args...) }

// smoke measures the numbers that a change must not worsen.
func (b *bench) smoke(ctx context.Context) (*result, error) {
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	gen, err := workload.Sensors(workload.SensorsConfig{
		Seed: 1, Events: b.events, NumPartitions: partitions,
		DuplicateRate: 0.01, LateRate: 0.005, StatusRate: 0.01, ColdRate: 0.005,
	})
	if err != nil {
		return nil, err
	}
	b.say("producing %d records of about 120 bytes to %d partitions", b.events, partitions)
	if _, err := workload.Produce(ctx, b.kafka.Brokers, topic, gen, workload.ProduceOptions{}); err != nil {
		return nil, err
	}
	res := &result{Go: runtime.Version(), CPUs: runtime.NumCPU(), Events: b.events, Met: true}
	perMillion := func(m measured) float64 { return m.CPU.Seconds() / float64(b.events) * 1e6 }
	var ratios, peaks, walls []float64
	var copied int64
	for round := range b.rounds {
		bare, err := b.bare(ctx)
		if err != nil {
			return nil, err
		}
		weir, summary, err := b.run(ctx, round)
		if err != nil {
			return nil, err
		}
		res.Bare, res.Weir = append(res.Bare, perMillion(bare)), append(res.Weir, perMillion(weir))
		ratios = append(ratios, perMillion(weir)/perMillion(bare))
		peaks, walls = append(peaks, float64(weir.MaxRSS)/(1<<20)), append(walls, weir.Wall.Seconds())
		copied += summary.BytesCopied
		b.say("round %d: bare consumer %.2f CPU-s/M, weir %.2f CPU-s/M, ratio %.2f; %.1f s and %.1f s, peak %.0f MiB",
			round+1, perMillion(bare), perMillion(weir), ratios[round], bare.Wall.Seconds(), weir.Wall.Seconds(), peaks[round])
	}
	res.PeakMiB, res.PerSec = median(peaks), float64(b.events)/median(walls)
	hot, err := hotPath(ctx, b.pipelineFile())
	if err != nil {
		return nil, err
	}
	b.say("measuring a node at rest")
	rest, err := b.rest(ctx)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(b.weir)
	if err != nil {
		return nil, fmt.Errorf("look at the binary: %w", err)
	}
	res.Figures = []figure{
		{"cpu_ratio_to_bare_consumer", median(ratios), 4, "x"},
		{"allocs_per_row", hot.allocsPerRow, 0.01, "allocations in decode, steps and window"},
		{"bytes_copied_by_transport", float64(copied + hot.bytesCopied), 0, "bytes"},
		{"rss_at_rest", rest, 60, "MiB"},
		{"binary_size", float64(info.Size()) / 1e6, 60, "MB"},
	}
	for _, f := range res.Figures {
		res.Met = res.Met && f.met()
	}
	return res, nil
}

// start builds the binary and starts broker and ClickHouse.
func (b *bench) start(ctx context.Context) error {
	lib, err := libchdb.Ensure(ctx, b.progress)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "weir-bench-"); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	b.weir = filepath.Join(b.dir, "weir")
	b.say("building weir")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.weir, "./edge-node")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build weir (run this from the top of the repository): %w\n%s", err, out)
	}
	if b.kafka, err = embedded.StartKafka(ctx, embedded.Options{}, kafka.Config{}); err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	if b.ch, err = embedded.StartClickHouse(ctx, embedded.Options{}, clickhouse.Config{LibPath: lib}); err != nil {
		return fmt.Errorf("start ClickHouse: %w", err)
	}
	return nil
}

func (b *bench) close() {
	if b.ch != nil {
		_ = b.ch.Stop()
	}
	if b.kafka != nil {
		_ = b.kafka.Stop()
	}
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}

func (b *bench) bare(ctx context.Context) (measured, error) {
	self, err := os.Executable()
	if err != nil {
		return measured{}, fmt.Errorf("find this program: %w", err)
	}
	return runPinned(ctx, nil, self, "bare-consumer", strings.Join(b.kafka.Brokers, ","), topic,
		strconv.FormatInt(b.events, 10), strconv.Itoa(partitions))
}

// summary is the line weir logs when a pipeline has stopped.
type summary struct {
	Msg         string `json:"msg"`
	Records     int64  `json:"records"`
	Aggregated  int64  `json:"aggregated"`
	BytesCopied int64  `json:"bytes_copied"`
}

func (b *bench) pipelineFile() string { return filepath.Join("examples", "sensors", "pipeline.yaml") }

// run lets weir read the topic from the beginning to its end, as another pipeline every round.
func (b *bench) run(ctx context.Context, round int) (measured, summary, error) {
	text, err := os.ReadFile(b.pipelineFile())
	if err != nil {
		return measured{}, summary{}, fmt.Errorf("read the pipeline: %w", err)
	}
	module, err := filepath.Abs(filepath.Join("examples", "operators", "calibrate", "calibrate.wasm"))
	if err != nil {
		return measured{}, summary{}, err
	}
	name := fmt.Sprintf("bench-%d", round)
	yaml := strings.NewReplacer("line-temperature", name, "../operators/calibrate/calibrate.wasm", module).Replace(string(text))
	file := filepath.Join(b.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		return measured{}, summary{}, fmt.Errorf("write the pipeline: %w", err)
	}
	m, err := runPinned(ctx, b.env(), b.weir, "run", "--stop-at-end", "--listen", "127.0.0.1:0", "--log-format", "json", file)
	if err != nil {
		return m, summary{}, err
	}
	lines := bufio.NewScanner(strings.NewReader(m.Stderr))
	for lines.Scan() {
		var s summary
		if json.Unmarshal(lines.Bytes(), &s) == nil && s.Msg == "stopped" {
			if s.Records != b.events {
				return m, s, fmt.Errorf("weir read %d records of %d", s.Records, b.events)
			}
			return m, s, nil
		}
	}
	return m, summary{}, fmt.Errorf("weir did not say what it did:\n%s", tail(m.Stderr))
}

func (b *bench) env() []string {
	return []string{"KAFKA_BROKERS=" + strings.Join(b.kafka.Brokers, ","), "WEIR_CLICKHOUSE=" + b.ch.DSN("default")}
}

// rest starts a node on a topic without records and reads its resident memory, in MiB.
func (b *bench) rest(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	text, err := os.ReadFile(filepath.Join(b.dir, "bench-0.yaml"))
	if err != nil {
		return 0, fmt.Errorf("read the pipeline: %w", err)
	}
	empty, err := workload.Ticks(workload.TicksConfig{Events: 1})
	if err != nil {
		return 0, err
	}
	if _, err := workload.Produce(ctx, b.kafka.Brokers, "rest", empty, workload.ProduceOptions{}); err != nil {
		return 0, err
	}
	file := filepath.Join(b.dir, "rest.yaml")
	yaml := strings.NewReplacer("[sensors]", "[rest]", "bench-0", "rest").Replace(string(text))
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		return 0, fmt.Errorf("write the pipeline: %w", err)
	}
	cmd := exec.CommandContext(ctx, b.weir, "run", "--listen", "127.0.0.1:0", file)
	cmd.Env = append(os.Environ(), b.env()...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start weir: %w", err)
	}
	time.Sleep(8 * time.Second) // long enough to be assigned partitions and to flush
	rss, err := residentMiB(cmd.Process.Pid)
	cancel()
	_ = cmd.Wait()
	return rss, err
}

// residentMiB reads the memory of a process on Linux.
func residentMiB(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of the node at rest: %w", err)
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("the node at rest has ended")
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// print writes a table, and a last line with every figure.
func (r *result) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s, %d CPUs, %d records; CPU-seconds per million: bare consumer %.2f, weir %.2f; weir %.0f records/s on one core, peak %.0f MiB\n\n",
		r.Go, r.CPUs, r.Events, median(r.Bare), median(r.Weir), r.PerSec, r.PeakMiB)
	var last []string
	for _, f := range r.Figures {
		mark := "ok"
		if !f.met() {
			mark = "OVER"
		}
		fmt.Fprintf(w, "  %-30s %10.3g  limit %-6g %-4s %s\n", f.Name, f.Value, f.Limit, mark, f.Unit)
		last = append(last, fmt.Sprintf("%s=%.3g", f.Name, f.Value))
	}
	fmt.Fprintf(w, "\nbench-smoke: %s\n", strings.Join(last, " "))
}
