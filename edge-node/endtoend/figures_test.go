//go:build linux

package endtoend

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/torture"
	"github.com/weir-stream/weir/sink/spool"
)

// The tests of this file measure. They run one after the other, and mean something on a machine that does nothing else: each
// says how busy it was.

// measuring skips a test that only measures, unless that is wanted.
func measuring(t *testing.T) {
	t.Helper()
	if !big() {
		t.Skip("it measures: make torture")
	}
	t.Logf("load before: %s", load(t))
	t.Cleanup(func() { t.Logf("load after: %s", load(t)) })
}

func load(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// rounds is how often something is measured: WEIR_TORTURE_ROUNDS, or so often.
func rounds(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("WEIR_TORTURE_ROUNDS")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("WEIR_TORTURE_ROUNDS is %q", text)
	}
	return n
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// percentile is the smallest value that so many of a hundred are not above.
func percentile(v []float64, p float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[min(len(v)-1, max(0, int(math.Ceil(p/100*float64(len(v))))-1))]
}

// series reads a metric by partition; nothing where the node does not answer.
func (p *process) series(t *testing.T, addr, name string) map[int]float64 {
	t.Helper()
	code, body := get(t, addr+"/metrics")
	if code != 200 {
		return nil
	}
	got := map[int]float64{}
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		line := lines.Text()
		if !strings.HasPrefix(line, name+"{") {
			continue
		}
		_, rest, _ := strings.Cut(line, `partition="`)
		text, _, _ := strings.Cut(rest, `"`)
		part, err := strconv.Atoi(text)
		if err != nil {
			continue
		}
		n, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			continue // the node ended while it answered
		}
		got[part] = n
	}
	return got
}

// io reads a line of /proc/PID/io.
func (p *process) io(t *testing.T, name string) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.cmd.Process.Pid))
	if err != nil {
		t.Fatalf("%v\n%s", err, p.stderr.String())
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(name+": ")); ok {
			n, err := strconv.ParseFloat(string(bytes.TrimSpace(rest)), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("/proc/PID/io has no %s:\n%s", name, text)
	return 0
}

// TestCrashToFirstRecord kills a node that has 100 MiB of open windows in its local store, and measures the time from the start
// of the next process to the first record that it takes through the pipeline, and to the first of every partition. All of them are
// new: with the store nothing is read again. The node has an instance_id, so the time does not have the group's session timeout in
// it, after which the partitions of a member that died are given away.
func TestCrashToFirstRecord(t *testing.T) {
	measuring(t)
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "    instance_id: box-1")
	s.binary = weirBinary(t)
	s.edit("tumbling: 10s", "tumbling: 1h")
	s.edit("flush_every: 200ms", "flush_every: 1s")
	conn := openClickHouse(t, s.clickhouse)
	state := filepath.Join(t.TempDir(), "state")
	args := []string{"--state-dir", state}
	// Every device has its row in the one window, which stays open: about 320 bytes, keys and values.
	const devices = 340_000
	var more []string
	for i := range 15 {
		more = append(more, fmt.Sprintf("    low_%d: min(temp)\n    high_%[1]d: max(temp_f)\n", i))
	}
	s.edit("    readings: count()\n", "    readings: count()\n"+strings.Join(more, ""))
	cfg := workload.SensorsConfig{Seed: 61, Events: 2 * devices, Devices: devices, NumPartitions: 6, Span: 20 * time.Minute}
	s.send(t.Context(), cfg, 0)
	s.waitProduced()
	node := s.start(args...)
	eventually(t, 2*patience, func() (bool, string) {
		n := s.stored(conn)
		return n == cfg.Events, fmt.Sprintf("%d of %d records stored\n%s", n, cfg.Events, node.stderr.String())
	})
	// What arrives from now on is new to the next process.
	cfg.Seed, cfg.Events, cfg.Span = 62, 20_000, 10*time.Second
	s.send(t.Context(), cfg, 500)
	time.Sleep(3 * time.Second)
	var first, every []float64
	var bytes int64
	for round := range rounds(t, 5) {
		node.kill()
		if round == 0 {
			bytes = savedBytes(t, state)
		}
		time.Sleep(time.Second) // so that something is there
		began := time.Now()
		node = s.start(args...)
		addr := node.address(t)
		for some := false; ; time.Sleep(10 * time.Millisecond) {
			read := int32(0)
			for _, n := range node.series(t, addr, "weir_source_records_total") {
				if n > 0 {
					read++
				}
			}
			took := time.Since(began)
			if read > 0 && !some {
				some, first = true, append(first, took.Seconds())
			}
			if read == cfg.NumPartitions {
				every = append(every, took.Seconds())
				break
			}
			if took > patience {
				t.Fatalf("records of %d partitions in %v:\n%s", read, patience, node.stderr.String())
			}
		}
		if n := node.said("going on with what was saved"); n == 0 {
			t.Errorf("it did not go on from the disk:\n%s", node.stderr.String())
		}
		before := s.stored(conn)
		eventually(t, patience, func() (bool, string) { return s.stored(conn) > before, node.stderr.String() })
		// One crash at a time: after several in a row the store is read as a whole, in case it is what ends the process.
		node.signal(t, syscall.SIGTERM)
		if code := node.wait(t, patience); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, node.stderr.String())
		}
		node = s.start(args...)
		before = s.stored(conn)
		eventually(t, patience, func() (bool, string) { return s.stored(conn) > before, node.stderr.String() })
	}
	t.Logf("%d MiB of rows; seconds to the first record %.2f, to the first of every partition %.2f", bytes>>20, first, every)
	if bytes < 100<<20 {
		t.Errorf("the store has %d bytes of rows, and the figure is about 100 MiB", bytes)
	}
	node.kill()
	close(s.enough)
	<-s.produced
	const what = "from the start of the process after SIGKILL, with instance_id, so without the session timeout of the group; the median"
	torture.Record(t, "crash to first record, 100 MiB of state", median(first), "s", 1, what)
	torture.Record(t, "crash to first record of every partition, 100 MiB of state", median(every), "s", 1, what)
}

// savedBytes is how many bytes of rows a store has, keys and values. Nobody may use it.
func savedBytes(t *testing.T, dir string) (n int64) {
	t.Helper()
	store, err := spool.Open(spool.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Scan([]byte("g"), nil, func(key, value []byte) bool { n += int64(len(key) + len(value)); return true }); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestStoreThroughput reads the same records with a local store and without, in turns. It measures between a tenth and nine tenths of
// the records, so without the start, the group, and what is shipped in the end.
func TestStoreThroughput(t *testing.T) {
	measuring(t)
	brokers, prefix := embeddedtest.Kafka(t)
	topic := prefix + "sensors"
	const events = 3_000_000
	gen, err := workload.Sensors(workload.SensorsConfig{Seed: 71, Events: events, NumPartitions: 6, Span: 15 * time.Minute}.DefaultMix())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := workload.Produce(t.Context(), brokers, topic, gen, workload.ProduceOptions{}); err != nil {
		t.Fatal(err)
	}
	binary := weirBinary(t)
	// run gives records a second, and processor seconds for a million records.
	run := func(i int, store bool) (rate, cpu float64) {
		t.Helper()
		s := newStream(t, brokers, topic, embeddedtest.ClickHouse(t), "")
		s.binary = binary
		s.edit("flush_every: 200ms", "flush_every: 500ms")
		s.edit("group: "+topic, fmt.Sprintf("group: %s-%d-%v", topic, i, store))
		var args []string
		if store {
			args = []string{"--state-dir", filepath.Join(s.dir, "state")}
		}
		p := s.start(args...)
		addr := p.address(t)
		reached := func(share float64) (records float64, at time.Time, used time.Duration) {
			t.Helper()
			eventually(t, 2*patience, func() (bool, string) {
				records = 0
				for _, n := range p.series(t, addr, "weir_source_records_total") {
					records += n
				}
				at, used = time.Now(), p.cpu(t)
				return records >= share*events, fmt.Sprintf("%.0f records\n%s", records, p.stderr.String())
			})
			return records, at, used
		}
		from, began, before := reached(0.1)
		to, ended, after := reached(0.9)
		p.signal(t, os.Interrupt)
		if code := p.wait(t, 2*patience); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, p.stderr.String())
		}
		return (to - from) / ended.Sub(began).Seconds(), (after - before).Seconds() / (to - from) * 1e6
	}
	run(-1, false) // to warm up
	var off, on, rates, offCPU, onCPU, costs []float64
	for i := range rounds(t, 7) {
		var a, b, ca, cb float64
		if i%2 == 0 {
			a, ca = run(i, false)
			b, cb = run(i, true)
		} else {
			b, cb = run(i, true)
			a, ca = run(i, false)
		}
		off, on, rates = append(off, a), append(on, b), append(rates, b/a)
		offCPU, onCPU, costs = append(offCPU, ca), append(onCPU, cb), append(costs, cb/ca)
	}
	t.Logf("records a second without a store %.0f, with one %.0f; ratios %.2f", off, on, rates)
	t.Logf("processor seconds for a million records without a store %.2f, with one %.2f; ratios %.2f", offCPU, onCPU, costs)
	torture.AtLeast(t, "throughput with the local store", median(rates), "of without", 0.8, fmt.Sprintf(
		"the median of %d pairs of runs; without a store a median of %.0f records/s and %.2f s of processor time for a million, with one %.0f and %.2f",
		len(rates), median(off), median(offCPU), median(on), median(onCPU)))
	torture.Note(t, "processor time with the local store", median(costs), "of without", "the same runs")
}

// TestStoreWear measures what reaches the disk for what is saved, at a steady rate.
func TestStoreWear(t *testing.T) {
	measuring(t)
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "    instance_id: box-1")
	s.binary = weirBinary(t)
	s.edit("flush_every: 200ms", "flush_every: 1s")
	s.edit("tumbling: 10s", "tumbling: 1m")
	const rate = 5000
	cfg := workload.SensorsConfig{Seed: 81, Events: rate * 100, Devices: 1000, NumPartitions: 4, Span: 100 * time.Second}.DefaultMix()
	s.send(t.Context(), cfg, rate)
	node := s.start("--state-dir", filepath.Join(t.TempDir(), "state"))
	conn := openClickHouse(t, s.clickhouse)
	eventually(t, patience, func() (bool, string) { return s.stored(conn) > rate, node.stderr.String() })
	time.Sleep(10 * time.Second)
	began, written, saved := time.Now(), node.io(t, "write_bytes"), node.sum(t, "weir_store_saved_bytes_total")
	own := node.sum(t, "weir_store_written_bytes_total")
	time.Sleep(75 * time.Second)
	took := time.Since(began)
	written, saved, own = node.io(t, "write_bytes")-written, node.sum(t, "weir_store_saved_bytes_total")-saved, node.sum(t, "weir_store_written_bytes_total")-own
	memory := node.most(t)
	node.kill()
	close(s.enough)
	<-s.produced
	if saved < 1<<20 {
		t.Fatalf("%.0f bytes were saved: nothing to measure", saved)
	}
	perDay := written / took.Seconds() * 86400 / 1e9
	t.Logf("saved %.1f MB, written by the process %.1f MB, of these by the store's account %.1f MB; %.1f GB a day at %d records a second",
		saved/1e6, written/1e6, own/1e6, perDay, rate)
	torture.Record(t, "write amplification of the local store", written/saved, "bytes written for each saved", 3,
		fmt.Sprintf("%.1f GB a day at %d records/s, flush_every 1s", perDay, rate))
	torture.Note(t, "memory of a node with a local store", memory, "MiB resident at most", fmt.Sprintf("%d records/s", rate))
}

// most is how many MiB of memory a process has had at most.
func (p *process) most(t *testing.T) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatalf("%v\n%s", err, p.stderr.String())
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib / 1024
		}
	}
	return 0
}
