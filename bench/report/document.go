// Package report is what a run of the benchmarks found, as one JSON document, and what is made of it: a table, a page with
// plots, and the comparison of two runs. bench/harness fills the document; everything here is a function of it and nothing
// else, so a report can be made again from the file.
package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Version is the version of the document's layout.
const Version = 1

// Document is one run.
type Document struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
	Machine Machine   `json:"machine"`
	Options Options   `json:"options"`
	// Figures are what is compared between runs, with a sample from each round.
	Figures []Figure `json:"figures"`
	// Throughput has a result per workload.
	Throughput []Throughput `json:"throughput,omitempty"`
	// Live has the runs at a given load: latency, memory, outages, soak.
	Live []Live `json:"live,omitempty"`
	// Curves say how the cost of an event grows.
	Curves []Curve `json:"curves,omitempty"`
	// Asked are the numbers that weir is to keep, beside what the run found; see Judge.
	Asked []Target `json:"asked,omitempty"`
	// Notes are what the run could not measure, and why.
	Notes []string `json:"notes,omitempty"`
	// TookS is how long the run took, in seconds. Interrupted tells that it was ended early: what it had measured is here.
	TookS       float64 `json:"took_s"`
	Interrupted bool    `json:"interrupted,omitempty"`
	// Failed is what could not be measured because something broke, and Skipped what an interrupted run did not come to.
	Failed  []Failure `json:"failed,omitempty"`
	Skipped []string  `json:"skipped,omitempty"`
}

// Failure is a workload that could not be measured.
type Failure struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Machine is where a run took place.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Memory     int64  `json:"memory_bytes,omitempty"`
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Kernel     string `json:"kernel,omitempty"`
	Governor   string `json:"governor,omitempty"` // of the CPU's frequency
	Weir       string `json:"weir"`
	Go         string `json:"go"`
	ClickHouse string `json:"clickhouse"`
	Broker     string `json:"broker"`
	// CopyBytesPerS is the memory bandwidth of a copy by one core: bytes written per second.
	CopyBytesPerS float64 `json:"copy_bytes_per_s"`
	// LoadBefore is the load average when the run began: above a few tenths, others were at work.
	LoadBefore float64 `json:"load_before"`
}

// Options are what the run was asked for.
type Options struct {
	Events     int64    `json:"events,omitempty"` // 0: what each workload takes by itself
	Rounds     int      `json:"rounds"`
	Partitions int32    `json:"partitions"`
	Seed       uint64   `json:"seed"`
	Workloads  []string `json:"workloads"`
	// Brief tells that workloads other than W1 and W2 were measured on one core alone, in three rounds at most.
	Brief bool `json:"brief,omitempty"`
}

// Kind is what a figure can be compared with.
type Kind string

// The kinds.
const (
	// Ratio is to something measured in the same round: it can be compared between machines, and is judged.
	Ratio Kind = "ratio"
	// Count does not depend on the speed of the machine, such as allocations, bytes: it is judged.
	Count Kind = "count"
	// Time depends on the machine and on what else it does: it is shown, and not judged.
	Time Kind = "time"
)

// Figure is one number of a run.
type Figure struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
	Kind Kind   `json:"kind"`
	// More says that more is better.
	More bool `json:"more_is_better,omitempty"`
	// Samples has one value per round.
	Samples []float64 `json:"samples"`
	// Limit is what the value must not exceed, or nil.
	Limit *float64 `json:"limit,omitempty"`
	// Note says what a reader must know of how it was measured, or is empty.
	Note string `json:"note,omitempty"`
	// Easier tells that it was measured under easier conditions than its name says, as Note explains: that it keeps a limit
	// then proves nothing.
	Easier bool `json:"easier,omitempty"`
}

// Value is the median of the samples.
func (f *Figure) Value() float64 { return Median(f.Samples) }

// Met tells whether the value keeps the limit.
func (f *Figure) Met() bool { return f.Limit == nil || f.Value() <= *f.Limit }

// Throughput is what the contenders took for a workload.
type Throughput struct {
	Workload   string   `json:"workload"`
	About      string   `json:"about"`
	Note       string   `json:"note,omitempty"`
	Events     int64    `json:"events"`
	RecordSize float64  `json:"record_bytes"` // mean, of the value
	Partitions int32    `json:"partitions"`
	Rows       int      `json:"rows"` // of the answer
	Results    []Result `json:"results"`
}

// Result is what one contender took.
type Result struct {
	Contender string  `json:"contender"`
	About     string  `json:"about"`
	Ceiling   bool    `json:"ceiling,omitempty"` // it does less than the workload
	Cores     int     `json:"cores"`
	Rounds    []Round `json:"rounds,omitempty"`
	// LeftOut says why it was not run; then there are no rounds.
	LeftOut string `json:"left_out,omitempty"`
	// Wrong says how the answer differs from the truth. A result that is wrong is in no figure.
	Wrong string `json:"wrong,omitempty"`
	// UplinkBytes is what went to ClickHouse and came back over the network, in a run of its own; 0 where it was not counted.
	UplinkBytes int64 `json:"uplink_bytes,omitempty"`
	// AllocsPerEvent are the Go allocations of decode, steps and window; nil where they were not counted.
	AllocsPerEvent *float64 `json:"allocs_per_event,omitempty"`
	// Memory is the resident memory over the time of the last round.
	Memory []Point `json:"memory,omitempty"`
	// Profiles are files of profiles and flame graphs, relative to the report.
	Profiles []string `json:"profiles,omitempty"`
}

// Round is one run of a process, from its start to its end.
type Round struct {
	CPU  float64 `json:"cpu_s"` // user and system time
	Wall float64 `json:"wall_s"`
	// Busy is the part of Wall in which the process used the processor, the waits for clocks left out; 0 where it is not known.
	Busy    float64 `json:"busy_s,omitempty"`
	PeakRSS int64   `json:"peak_rss_bytes"`
	// Cores tells who used the cores of the machine in Busy; nil where the machine does not tell.
	Cores *CoreSeconds `json:"cores,omitempty"`
	// Joules is what the processor package took during the run, everything on the machine included; nil where the machine
	// does not tell.
	Joules *float64 `json:"joules,omitempty"`
}

// CPUPerMillion gives the CPU-seconds per million events of each round.
func (r *Result) CPUPerMillion(events int64) []float64 {
	return r.each(func(x Round) float64 { return x.CPU / float64(events) * 1e6 })
}

// PerSecond gives the events per second of each round, while the process was busy: its start is in it, its waits are not.
func (r *Result) PerSecond(events int64) []float64 {
	return r.each(func(x Round) float64 { return float64(events) / cmp.Or(x.Busy, x.Wall) })
}

// PeakMiB gives the peak memory of each round.
func (r *Result) PeakMiB() []float64 {
	return r.each(func(x Round) float64 { return float64(x.PeakRSS) / (1 << 20) })
}

// Joules gives the energy per million events, or nothing.
func (r *Result) Joules(events int64) []float64 {
	var out []float64
	for _, x := range r.Rounds {
		if x.Joules != nil {
			out = append(out, *x.Joules/float64(events)*1e6)
		}
	}
	return out
}

func (r *Result) each(of func(Round) float64) []float64 {
	out := make([]float64, len(r.Rounds))
	for i, x := range r.Rounds {
		out[i] = of(x)
	}
	return out
}

// Find gives the result of a contender on a number of cores, or nil.
func (t *Throughput) Find(contender string, cores int) *Result {
	for i := range t.Results {
		if r := &t.Results[i]; r.Contender == contender && r.Cores == cores {
			return r
		}
	}
	return nil
}

// Live is a run at a given load.
type Live struct {
	Name     string  `json:"name"`
	About    string  `json:"about"`
	Workload string  `json:"workload"`
	Rate     float64 `json:"rate_per_s"`     // as it was meant
	Achieved float64 `json:"achieved_per_s"` // as the records came in
	Seconds  float64 `json:"seconds"`
	Events   int64   `json:"events"`
	FlushMS  float64 `json:"flush_ms"`
	// Latency is from handing a record to the producer until ClickHouse has it in its account, in milliseconds; nil where it
	// was not measured.
	Latency *Distribution `json:"latency_ms,omitempty"`
	Memory  []Point       `json:"memory,omitempty"`
	// Behind is how many records produced were not in ClickHouse, over time.
	Behind []Point `json:"behind,omitempty"`
	// OutageS is how long ClickHouse could not be reached, and CatchUpS how long after that nothing was missing any more.
	OutageS  float64 `json:"outage_s,omitempty"`
	CatchUpS float64 `json:"catch_up_s,omitempty"`
	CPU      float64 `json:"cpu_s"`
	PeakRSS  int64   `json:"peak_rss_bytes"`
	// MallocsPerEvent are all Go allocations of the process per event.
	MallocsPerEvent float64 `json:"mallocs_per_event,omitempty"`
	Wrong           string  `json:"wrong,omitempty"`
}

// Slow tells that the records did not come in as fast as they were meant to.
func (l *Live) Slow() bool { return l.Achieved < 0.95*l.Rate }

// Distribution is a latency distribution.
type Distribution struct {
	Samples int     `json:"samples"`
	P50     float64 `json:"p50"`
	P90     float64 `json:"p90"`
	P99     float64 `json:"p99"`
	P999    float64 `json:"p999"`
	Max     float64 `json:"max"`
	// CDF has the value at 0, 1, 2, … 100 % of the samples.
	CDF []float64 `json:"cdf"`
}

// Point is a value at a time or a size.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Curve is how the CPU-seconds per million events depend on something.
type Curve struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"` // of X
	Note   string  `json:"note,omitempty"`
	Points []Point `json:"points"` // Y: weir; CPU-seconds per million events
	Bare   []Point `json:"bare"`   // Y: a bare consumer
	// Memory is the peak resident memory of weir in MiB.
	Memory []Point `json:"memory,omitempty"`
}

// Met tells whether every figure keeps its limit, every answer was right, and nothing broke.
func (d *Document) Met() bool {
	for i := range d.Figures {
		if !d.Figures[i].Met() {
			return false
		}
	}
	return len(d.Wrong()) == 0 && len(d.Failed) == 0
}

// Wrong lists the answers that differ from the truth.
func (d *Document) Wrong() []string {
	var out []string
	for _, t := range d.Throughput {
		for _, r := range t.Results {
			if r.Wrong != "" {
				out = append(out, fmt.Sprintf("%s, %s: %s", t.Workload, r.Contender, r.Wrong))
			}
		}
	}
	for _, l := range d.Live {
		if l.Wrong != "" {
			out = append(out, fmt.Sprintf("%s: %s", l.Name, l.Wrong))
		}
	}
	return out
}

// maxDocument is the most a document can be, in bytes.
const maxDocument = 64 << 20

// Read reads a document and refuses another layout.
func Read(r io.Reader) (*Document, error) {
	var d Document
	if err := json.NewDecoder(io.LimitReader(r, maxDocument)).Decode(&d); err != nil {
		return nil, fmt.Errorf("read a report: %w; it is what 'weir bench --json FILE' writes", err)
	}
	if d.Version != Version {
		return nil, fmt.Errorf("read a report: it is of version %d, and this weir reads %d", d.Version, Version)
	}
	for _, f := range d.Figures {
		if len(f.Samples) == 0 {
			return nil, fmt.Errorf("read a report: figure %s has no samples", f.Name)
		}
	}
	return &d, nil
}

// Write writes a document.
func (d *Document) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	if err := e.Encode(d); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
