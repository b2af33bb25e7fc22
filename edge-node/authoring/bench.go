package authoring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/decode"
	"github.com/weir-stream/weir/operators/wasm"
)

// MaxBenchRows is the most rows of a batch that is measured: what a guest is given at once.
const MaxBenchRows = wasm.DefaultMaxRows

// BenchOptions say what is measured.
type BenchOptions struct {
	Columns Columns
	Config  []byte        // of the operator, JSON
	Input   []string      // rows as JSON, repeated until there are enough; made up where there are none
	Rows    int           // of a batch, from 1 to MaxBenchRows
	Time    time.Duration // about how long it takes
	Seed    uint64        // of the rows that are made up
}

// BenchResult is what an operator costs. The ratios hold from machine to machine, about; the rest is this machine's.
type BenchResult struct {
	Rows    int      `json:"rows"`     // of a batch
	RowsOut int      `json:"rows_out"` // after the operator
	Bytes   int      `json:"bytes"`    // of the columns of a batch
	Input   []string `json:"input"`
	Output  []string `json:"output"`

	Native BenchTime  `json:"native"` // Go that moves the same rows and columns and computes nothing
	Pool   *BenchTime `json:"pool"`   // nil where memory cannot be shared: the system has no memfd
	Copy   BenchTime  `json:"copy"`

	FuelPerRow float64 `json:"fuel_per_row"` // about Wasm instructions
	StartP50   float64 `json:"start_p50_us"` // microseconds to start an instance of compiled code with its windows
	StartP99   float64 `json:"start_p99_us"`
}

// BenchTime is the time of one way to run. It is a median.
type BenchTime struct {
	NsPerRow float64 `json:"ns_per_row"`
	MBPerS   float64 `json:"mb_per_s"`             // million bytes of input columns per second
	Ratio    float64 `json:"ratio"`                // of its time to the native one
	Copied   float64 `json:"copied_bytes_per_row"` // by the host, between pool and sandbox
	Samples  int     `json:"samples"`              // times it was measured
}

// Bench measures a module: through shared memory, through copied memory, and native Go that moves the same data, in turn in
// one run, so that what else the machine does hits all of them.
func Bench(ctx context.Context, module []byte, label string, opt BenchOptions) (_ *BenchResult, err error) {
	if opt.Rows < 1 || opt.Rows > MaxBenchRows {
		return nil, fmt.Errorf("%d rows: a batch has from 1 to %d", opt.Rows, MaxBenchRows)
	}
	cache := wasm.NewCache().KeepUnused()
	defer func() { err = errors.Join(err, cache.Close()) }()
	cfg := wasm.Config{Path: label, Module: module, Config: opt.Config, OnError: wasm.Stop, Cache: cache, BatchRows: opt.Rows}
	shared, err := newBenchChain(ctx, cfg, opt)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, shared.close()) }()
	cfg.Transport = wasm.Copy
	copied, err := newBenchChain(ctx, cfg, opt)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, copied.close()) }()

	r := &BenchResult{
		Rows: shared.rows, Bytes: columnBytes(shared.cols),
		Input: columnLines(opt.Columns.Schema()), Output: columnLines(shared.c.step.Out()),
	}
	n, err := shared.learn(ctx)
	if err != nil {
		return nil, err
	}
	r.RowsOut = shared.c.batch.Rows

	guest := func(b *benchChain) func() error { return func() error { return b.run(ctx) } }
	ways := []func() error{func() error { n.run(); return nil }, guest(copied)}
	_, mapped := shared.c.pool.FD()
	if mapped {
		ways = append(ways, guest(shared))
	}
	before := copied.c.usage()
	sharedBefore := shared.c.usage().BytesCopied
	times, calls, err := interleave(ctx, opt.Time*4/5, ways)
	if err != nil {
		return nil, err
	}
	after := copied.c.usage()
	rows := float64(calls[1]) * float64(r.Rows)
	r.FuelPerRow = float64(after.Fuel-before.Fuel) / rows
	result := func(i int) BenchTime {
		return BenchTime{
			NsPerRow: times[i].median / float64(r.Rows), MBPerS: float64(r.Bytes) / times[i].median * 1e3,
			Ratio: times[i].median / times[0].median, Samples: times[i].samples,
		}
	}
	r.Native, r.Copy = result(0), result(1)
	r.Copy.Copied = float64(after.BytesCopied-before.BytesCopied) / rows
	if mapped {
		p := result(2)
		p.Copied = float64(shared.c.usage().BytesCopied-sharedBefore) / (float64(calls[2]) * float64(r.Rows))
		r.Pool = &p
	}
	r.StartP50, r.StartP99, err = shared.starts(ctx, opt.Time/5)
	return r, err
}

// benchChain gives the same decoded columns to an operator again and again.
type benchChain struct {
	c    *chain
	cols []batch.Column
	rows int
}

func newBenchChain(ctx context.Context, cfg wasm.Config, opt BenchOptions) (*benchChain, error) {
	longest := 0
	for _, line := range opt.Input {
		longest = max(longest, len(line))
	}
	slotSize := decode.SlotSize(opt.Columns, opt.Rows, max(longest, 1<<10))
	c, err := openChain(ctx, cfg, opt.Columns.Schema(), opt.Rows, slotSize)
	if err != nil {
		return nil, err
	}
	slot, err := c.pool.Range(0).Acquire() // for as long as the pool lives
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	a := batch.NewArena(slot.Mem())
	b := &benchChain{c: c, rows: opt.Rows}
	if len(opt.Input) == 0 {
		b.cols = generate(opt.Columns, opt.Rows, opt.Seed, &a)
	} else if b.cols, b.rows, err = decodeRows(opt.Columns, opt.Input, opt.Rows, &a); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return b, nil
}

func (b *benchChain) close() error { return b.c.close() }

// reset makes the batch the decoded one.
func (b *benchChain) reset() {
	to := &b.c.batch
	to.Begin(b.c.step.In(), batch.Partition{}, nil)
	to.SetWidth(len(b.cols))
	copy(to.Cols, b.cols)
	to.Rows = b.rows
}

func (b *benchChain) run(ctx context.Context) error {
	b.reset()
	return b.c.op.Process(ctx, &b.c.batch)
}

// learn runs the operator once and makes the native one that does the same.
func (b *benchChain) learn(ctx context.Context) (*native, error) {
	b.reset()
	after := &b.c.batch
	after.Origin = after.Origins(b.rows)
	for i := range after.Origin {
		after.Origin[i] = int32(i)
	}
	before := batch.Batch{Schema: after.Schema, Rows: after.Rows}
	if err := b.c.op.Process(ctx, after); err != nil {
		return nil, fmt.Errorf("the operator fails on the rows it is measured with; give rows that it takes as input: %w", err)
	}
	return newNative(&before, after, b.cols, b.c.pool.Range(1).SlotSize()+b.c.pool.Range(0).SlotSize()), nil
}

// starts measures how long an instance takes to start, in microseconds.
func (b *benchChain) starts(ctx context.Context, budget time.Duration) (p50, p99 float64, err error) {
	var times []time.Duration
	for begin := time.Now(); len(times) < 5 || len(times) < 1000 && time.Since(begin) < budget; {
		start := time.Now()
		op, err := b.c.open(ctx)
		if err != nil {
			return 0, 0, err
		}
		times = append(times, time.Since(start))
		if err := op.Close(); err != nil {
			return 0, 0, err
		}
	}
	slices.Sort(times)
	micros := func(q int) float64 { return float64(times[(len(times)-1)*q/100].Nanoseconds()) / 1e3 }
	return micros(50), micros(99), nil
}

// timing is what was measured of one function.
type timing struct {
	median  float64 // nanoseconds of a call
	samples int
}

// interleave calls the functions in turn for about a budget. A sample is as many calls as take 50 microseconds, so that the
// clock does not matter. calls is how often each was called.
func interleave(ctx context.Context, budget time.Duration, funcs []func() error) (times []timing, calls []int, err error) {
	const least, most = 5, 100_000 // samples
	samples := make([][]float64, len(funcs))
	times, calls = make([]timing, len(funcs)), make([]int, len(funcs))
	repeat := make([]int, len(funcs))
	for begin := time.Now(); len(samples[0]) < least || len(samples[0]) < most && time.Since(begin) < budget; {
		for i, f := range funcs {
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			n := max(1, repeat[i])
			start := time.Now()
			for range n {
				if err := f(); err != nil {
					return nil, nil, err
				}
			}
			took := time.Since(start)
			calls[i] += n
			if repeat[i] == 0 { // the first is to warm up
				repeat[i] = max(1, int(50*time.Microsecond/max(took, 1)))
				continue
			}
			samples[i] = append(samples[i], float64(took.Nanoseconds())/float64(n))
		}
	}
	for i, s := range samples {
		slices.Sort(s)
		times[i] = timing{max(s[len(s)/2], 0.1), len(s)}
	}
	return times, calls, nil
}
