package window

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// countConfig makes windows of so many rows, by a seed, and the step that numbers them.
func countConfig(t testing.TB, seed uint64) (*Numbering, *Config) {
	t.Helper()
	c := wideLine(testConfig(t), seed)
	c.Count = &Count{Rows: []uint64{1, 2, 7, 1000}[seed%4]}
	c.Size = []time.Duration{500 * time.Millisecond, 6 * time.Second, time.Minute}[seed/4%3]
	if seed/12%2 == 1 {
		c.MaxOutOfOrder, c.AllowedLateness = 0, 0
	}
	if seed/24%2 == 1 {
		c.MaxJump = 10 * time.Second
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	step, of, err := NewNumbering("count", c)
	if err != nil {
		t.Fatal(err)
	}
	if err := of.Validate(); err != nil {
		t.Fatal(err)
	}
	return step, of
}

// countedSoFar are the count windows of rows by the definition, by start, key and number, and the clock behind them.
func countedSoFar(cfg *Config, rows []row) (all map[string]*naiveGroup, clock int64) {
	all, clock = map[string]*naiveGroup{}, operators.Unset
	type last struct {
		name  string
		start int64
	}
	open, begun := map[string]last{}, 0
	for _, r := range rows {
		before := clock - (cfg.MaxOutOfOrder + cfg.AllowedLateness).Milliseconds()
		over := func(start int64) bool { return clock != operators.Unset && start+cfg.Size.Milliseconds() <= before }
		if over(r.ts) {
			continue
		}
		key := naiveKey(0, r)
		in, any := open[key]
		if !any || uint64(all[in.name].n) == cfg.Count.Rows || over(in.start) {
			begun++
			in = last{fmt.Sprintf("%s|%d", naiveKey(r.ts, r), begun), r.ts}
			open[key], all[in.name] = in, &naiveGroup{}
		}
		clock = max(clock, r.ts)
		g := all[in.name]
		if g.n++; r.noTemp {
			continue
		}
		if g.temps == 0 || r.temp < g.lo {
			g.lo = r.temp
		}
		if g.temps == 0 || r.temp > g.hi {
			g.hi = r.temp
		}
		g.temps++
		g.sum += r.temp
	}
	return all, clock
}

// life is a process that counts the rows of a partition.
type life struct {
	op interface {
		operators.Operator
		operators.Stateful
		operators.Clocked
	}
	w *Counted
}

func newLife(t testing.TB, step *Numbering, cfg *Config, state []byte, at, reached operators.Clock) life {
	t.Helper()
	op, err := step.Open(t.Context(), operators.Env{})
	if err != nil {
		t.Fatal(err)
	}
	l := life{op.(*numberer), cfg.Open().(*Counted)}
	if err := l.op.Restore(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	l.op.SetClock(at)
	l.w.Restore(at, reached)
	return l
}

func (l life) add(t testing.TB, step *Numbering, rows []row, first int64) (*batch.Batch, operators.Counts) {
	t.Helper()
	b := makeBatch(step.In(), rows, first)
	if err := l.op.Process(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return b, add(t, l.w, b, first)
}

// countShelf is what a destination has of count windows, and what their rows are hashed to.
type countShelf map[string]struct {
	stored
	hash uint64
}

func (s countShelf) put(b *batch.Batch, version int64) {
	if b == nil {
		return
	}
	hashes := make([]uint64, b.Rows)
	batch.HashRows(hashes, b, nil)
	numbers := batch.As[uint64](b.Cols[5].Values)
	for i := range b.Rows {
		key := fmt.Sprintf("%s|%d", keyText(b, i), numbers[i])
		if old, ok := s[key]; ok && old.version > version {
			continue
		}
		temps := batch.As[uint64](b.Cols[7].Values)[i]
		g := naiveGroup{n: int(batch.As[uint64](b.Cols[6].Values)[i]), temps: int(temps)}
		if temps > 0 {
			g.sum, g.lo, g.hi = batch.As[float64](b.Cols[8].Values)[i], batch.As[float64](b.Cols[9].Values)[i], batch.As[float64](b.Cols[10].Values)[i]
		}
		row := s[key]
		row.stored, row.hash = stored{version, g.String()}, hashes[i]
		if n := batch.As[uint64](b.Cols[2].Values)[i]; int(n) != g.n {
			row.text += fmt.Sprintf(" but _rows=%d", n)
		}
		s[key] = row
	}
}

// TestCountedSurvivesCrashes runs processes over random rows, each of which begins where a commit says, with the numbers that were stored
// there, cuts and batches at random, and dies before a cut is stored or before it is committed. What is stored must be the windows that
// the definition says, and the sums of hashes those of its rows.
func TestCountedSurvivesCrashes(t *testing.T) {
	type point struct {
		offset int64
		clock  operators.Clock
		state  []byte
	}
	replayed, forgotten, full, over, late, future := 0, 0, 0, 0, 0, 0
	for seed := range uint64(96) {
		rng := rand.New(rand.NewPCG(seed, 11))
		step, cfg := countConfig(t, seed)
		rows := stream(rng, 1500)
		if cfg.Time = 0; step.cfg.MaxJump > 0 {
			for range 5 {
				rows[rng.IntN(len(rows))].ts += time.Hour.Milliseconds()
			}
		}
		unset := operators.Clock{Max: operators.Unset}
		shelf, points := countShelf{}, []point{{clock: unset}}
		position, reached, content := int64(0), unset, uint64(0)
		for end := int64(len(rows)); position < end; {
			p := points[0]
			l := newLife(t, step, cfg, p.state, p.clock, reached)
			at, sum, mine := p.offset, content, points
			if at == position {
				l.w.EndReplay()
			}
			for alive := true; alive && at < end; {
				limit := end
				if at < position {
					limit = position
				}
				n := min(1+rng.Int64N(80), limit-at)
				b, counts := l.add(t, step, rows[at:at+n], at)
				if at >= position {
					late += int(counts.Late)
					future += len(b.Rejects) - int(counts.Late)
				} else {
					replayed++
					forgotten += int(counts.Replayed)
				}
				if at += n; at < position {
					continue
				}
				if at == position {
					if l.w.Clock() != reached {
						t.Fatalf("seed %d: the clock came to %+v, and was %+v", seed, l.w.Clock(), reached)
					}
					l.w.EndReplay()
					continue
				}
				if at < end && rng.IntN(3) > 0 {
					continue
				}
				cut := l.w.Cut(at)
				if alive = rng.IntN(5) > 0 || at == end; !alive && rng.IntN(2) == 0 {
					break // nothing of it is stored
				}
				shelf.put(cut.Rows, at)
				sum += cut.FinalHash
				if !alive { // nor is it committed
					break
				}
				if rng.IntN(2) == 0 {
					state, err := l.op.Snapshot(nil)
					if err != nil {
						t.Fatal(err)
					}
					mine = append(mine, point{at, l.w.Clock(), state})
				}
				for len(mine) > 1 && mine[1].offset <= cut.ReplayFrom {
					mine = mine[1:]
				}
				points, position, reached, content = mine, at, l.w.Clock(), sum
				all := uint64(0)
				ahead := false
				for _, r := range shelf {
					all += r.hash
					ahead = ahead || r.version > at
				}
				if !ahead && all != content+cut.OpenHash {
					t.Fatalf("seed %d, at %d: the rows come to %x, and the account to %x", seed, at, all, content+cut.OpenHash)
				}
			}
		}
		if step.cfg.MaxJump > 0 {
			continue // the definition does not know it
		}
		want, clock := countedSoFar(cfg, rows)
		if reached.Max != clock*1000 {
			t.Errorf("seed %d: the clock is at %d, want %d", seed, reached.Max, clock*1000)
		}
		got := map[string]stored{}
		for key, r := range shelf {
			got[key] = r.stored
		}
		compare(t, got, want)
		for _, g := range want {
			if uint64(g.n) == cfg.Count.Rows {
				full++
			} else {
				over++
			}
		}
	}
	t.Logf("%d batches read again, %d rows of windows that began before; %d windows full, %d not; %d rows late, %d too far ahead", replayed, forgotten, full, over, late, future)
	if replayed < 1000 || forgotten < 1000 || full < 1000 || over < 1000 || late < 100 || future < 50 {
		t.Error("too little of it happened")
	}
}

// TestNumbersAreBounded has more keys with open windows than their numbers may take room for, and then keys that time out.
func TestNumbersAreBounded(t *testing.T) {
	step, cfg := countConfig(t, 3+4)
	l := newLife(t, step, cfg, nil, operators.Clock{Max: operators.Unset}, operators.Clock{Max: operators.Unset})
	o := l.op.(*numberer)
	o.max = 1 << 17
	at, next := int64(1_700_000_000_000), int64(0)
	several := func(n int, apart int64) error {
		rows := make([]row, n)
		for i := range rows {
			at += apart
			rows[i] = row{ts: at, device: fmt.Sprintf("key %d", next), kafka: at}
			next++
		}
		b := makeBatch(step.In(), rows, next)
		err := o.Process(t.Context(), b)
		return err
	}
	if err := several(100_000, 10); err != nil { // at most 1,400 at a time are open: 6 s, and 7 s until the watermark comes
		t.Fatal(err)
	}
	if o.open.n > 3000 {
		t.Errorf("%d windows are kept", o.open.n)
	}
	err := several(10_000, 0)
	if err == nil || !strings.Contains(err.Error(), "make the timeout shorter") {
		t.Errorf("the error is %v", err)
	}
}

// TestNumbersAreChecked has state that nobody stored.
func TestNumbersAreChecked(t *testing.T) {
	step, cfg := countConfig(t, 2+8)
	unset := operators.Clock{Max: operators.Unset}
	l := newLife(t, step, cfg, nil, unset, unset)
	if state, err := l.op.Snapshot(nil); len(state) > 0 || err != nil {
		t.Errorf("without a row the state is %x, error %v", state, err)
	}
	l.add(t, step, stream(rand.New(rand.NewPCG(1, 1)), 50), 0)
	state, err := l.op.Snapshot(nil)
	if err != nil {
		t.Fatal(err)
	}
	again := newLife(t, step, cfg, state, l.w.Clock(), unset)
	if same, err := again.op.Snapshot(nil); !bytes.Equal(same, state) || err != nil {
		t.Errorf("the state is\n%x, and was\n%x, error %v", same, state, err)
	}
	for i := range state {
		if i > 0 && l.op.Restore(context.Background(), state[:i]) == nil {
			t.Errorf("the first %d bytes are taken", i)
		}
	}
	if err := l.op.Restore(context.Background(), append(bytes.Clone(state), 0)); err == nil {
		t.Error("a byte more is taken")
	}
	if err := l.op.Restore(context.Background(), []byte{2}); err == nil || !strings.Contains(err.Error(), "another version of weir") {
		t.Errorf("the error is %v", err)
	}
}

// TestCountedRefuses has configurations that no windows can be made of.
func TestCountedRefuses(t *testing.T) {
	for what, change := range map[string]func(c *Config){
		"it must be from 1":    func(c *Config) { c.Count.Rows = 0 },
		"have no gap":          func(c *Config) { c.Offset = time.Second },
		"have no max_keys":     func(c *Config) { c.MaxKeys = 5 },
		"whenever they have":   func(c *Config) { c.EmitFinal = true },
		"the size must be a w": func(c *Config) { c.Size = 0 },
	} {
		c := testConfig(t)
		c.Count = &Count{Rows: 5}
		change(c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: the error is %v", what, err)
		}
	}
	c := testConfig(t)
	c.Count, c.In.Fields[3].Name = &Count{Rows: 5}, NumberColumn
	if _, _, err := NewNumbering("count", c); err == nil || !strings.Contains(err.Error(), "weir's own") {
		t.Errorf("the error is %v", err)
	}
}

// FuzzNumbers reads state that is anything: it is refused, or is what is stored again.
func FuzzNumbers(f *testing.F) {
	step, cfg := countConfig(f, 2+8)
	unset := operators.Clock{Max: operators.Unset}
	l := newLife(f, step, cfg, nil, unset, unset)
	l.add(f, step, stream(rand.New(rand.NewPCG(1, 1)), 20), 0)
	state, err := l.op.Snapshot(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	f.Fuzz(func(t *testing.T, state []byte) {
		op, err := step.Open(t.Context(), operators.Env{})
		if err != nil {
			t.Fatal(err)
		}
		o := op.(*numberer)
		if o.Restore(t.Context(), state) != nil {
			return
		}
		once, err := o.Snapshot(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Restore(t.Context(), once); err != nil {
			t.Fatalf("what was stored is refused: %v", err)
		}
		twice, err := o.Snapshot(nil)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("stored once %x, twice %x, error %v", once, twice, err)
		}
	})
}

// BenchmarkCounted numbers rows and takes them into windows, per row.
func BenchmarkCounted(b *testing.B) {
	c := testConfig(b)
	c.Count, c.Size = &Count{Rows: 100}, time.Hour
	step, cfg, err := NewNumbering("count", c)
	if err != nil {
		b.Fatal(err)
	}
	const n, keys = 8192, 10_000
	rng := rand.New(rand.NewPCG(1, 1))
	batches := make([][]row, 16)
	at := int64(1_700_000_000_000)
	for i := range batches {
		batches[i] = make([]row, n)
		for k := range batches[i] {
			batches[i][k] = row{ts: at, device: "d", line: int64(rng.IntN(keys)), temp: 1, kafka: at}
		}
	}
	unset := operators.Clock{Max: operators.Unset}
	l := newLife(b, step, cfg, nil, unset, unset)
	made := make([]*batch.Batch, len(batches))
	for i, rows := range batches {
		made[i] = makeBatch(step.In(), rows, 0)
	}
	b.ReportAllocs()
	b.ResetTimer()
	next, used := int64(0), int64(0)
	for b.Loop() {
		began := cpuTime(b)
		for _, in := range made {
			in.Schema = step.In()
			in.SetWidth(len(in.Schema.Fields))
			if err := l.op.Process(b.Context(), in); err != nil {
				b.Fatal(err)
			}
			add(b, l.w, in, next)
			next += n
		}
		b.StopTimer()
		used += cpuTime(b) - began
		l.w.Cut(next)
		b.StartTimer()
	}
	b.ReportMetric(float64(used)/float64(b.N)/(16*n), "cpu-ns/row")
}
