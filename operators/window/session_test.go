package window

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// sessionConfig makes the windows sessions, of one kind or another by a seed.
func sessionConfig(t testing.TB, seed uint64) *Config {
	t.Helper()
	c := wideLine(testConfig(t), seed)
	c.Gap = []time.Duration{300 * time.Millisecond, 2 * time.Second, 20 * time.Second}[seed%3]
	c.Size = []time.Duration{20 * time.Second, time.Hour}[seed/3%2]
	if seed/6%2 == 1 {
		c.Offset = 7 * time.Second
	}
	if seed/12%2 == 1 {
		c.MaxOutOfOrder, c.AllowedLateness = 0, 0
	}
	c.EmitFinal = seed/24%2 == 1
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

// island is a session by the definition: rows of a key in one stretch, each less than the gap behind the one before.
type island struct {
	end   int64
	first int // the first of its rows in the log
	naiveGroup
}

// islands are the sessions of the first rows, by start and key, found from sorted times, and the clock behind them. Which rows are late is
// decided one after the other.
func islands(cfg *Config, rows []row) (all map[string]*island, clock int64) {
	gap, size, offset := cfg.Gap.Milliseconds(), cfg.Size.Milliseconds(), cfg.Offset.Milliseconds()
	byKey := map[string][]int{}
	clock = operators.Unset
	for i, r := range rows {
		if clock != operators.Unset && r.ts+gap+cfg.AllowedLateness.Milliseconds() <= clock-cfg.MaxOutOfOrder.Milliseconds() {
			continue
		}
		clock = max(clock, r.ts)
		line := "null"
		if !r.noLine {
			line = fmt.Sprint(r.line)
		}
		key := r.device + "|" + line
		byKey[key] = append(byKey[key], i)
	}
	all = map[string]*island{}
	for key, of := range byKey {
		slices.SortStableFunc(of, func(a, b int) int { return int(rows[a].ts - rows[b].ts) })
		var in *island
		last := int64(0)
		for _, i := range of {
			r := rows[i]
			stretch := floorTo(r.ts-offset, size) + offset
			if in == nil || r.ts-last >= gap || stretch > last {
				in = &island{first: i}
				all[fmt.Sprintf("%d|%s", r.ts, key)] = in
			}
			last, in.first = r.ts, min(in.first, i)
			in.end = min(r.ts+gap, stretch+size)
			in.n++
			if !r.noTemp {
				if in.temps == 0 || r.temp < in.lo {
					in.lo = r.temp
				}
				if in.temps == 0 || r.temp > in.hi {
					in.hi = r.temp
				}
				in.temps++
				in.sum += r.temp
			}
		}
	}
	return all, clock
}

// shelf is a destination: the newest version of each row, and the account.
type shelf struct {
	rows    map[string]*shelved
	version int64 // of the account
	open    int64
	highest int64 // of any row
}

type shelved struct {
	version, end, rows int64
	open               bool // it was not final
	text               string
	hash               uint64
}

// put stores rows as a ReplacingMergeTree does; with a rng, only some of them.
func (s *shelf) put(b *batch.Batch, version, final int64, some *rand.Rand) {
	if b == nil {
		return
	}
	hashes := make([]uint64, b.Rows)
	batch.HashRows(hashes, b, nil)
	for i, f := range b.Schema.Fields {
		if !f.Nullable && b.Cols[i].Nulls > 0 {
			panic("a null in " + f.String())
		}
	}
	texts := map[string]stored{}
	store(texts, b, 0)
	for i := range b.Rows {
		key := keyText(b, i)
		if old := s.rows[key]; some != nil && some.IntN(2) == 0 || old != nil && old.version > version {
			continue
		}
		s.highest = max(s.highest, version)
		s.rows[key] = &shelved{
			version: version, end: batch.As[int64](b.Cols[1].Values)[i], open: batch.As[int64](b.Cols[1].Values)[i] > final,
			rows: int64(batch.As[uint64](b.Cols[2].Values)[i]), text: texts[key].text, hash: hashes[i],
		}
	}
}

// view are the rows that count.
func (s *shelf) view(final bool) map[string]*shelved {
	all := maps.Clone(s.rows)
	maps.DeleteFunc(all, func(_ string, r *shelved) bool {
		return r.rows == 0 || final && r.open && (s.open > 0 || r.version != s.version)
	})
	return all
}

// check compares what counts with the sessions of the rows below the account's version.
func (s *shelf) check(t *testing.T, cfg *Config, rows []row, sums [2]uint64) {
	t.Helper()
	want, clock := islands(cfg, rows[:s.version])
	final := clock - (cfg.MaxOutOfOrder + cfg.AllowedLateness + cfg.Gap).Milliseconds()
	open := int64(0)
	if cfg.EmitFinal {
		for key, w := range want {
			if w.end > final && s.open > 0 {
				open += int64(w.n)
				delete(want, key)
			}
		}
	}
	if open != s.open {
		t.Errorf("%d open rows, want %d", s.open, open)
	}
	var hashes [2]uint64
	got := s.view(cfg.EmitFinal)
	for key, g := range got {
		w := want[key]
		if w == nil {
			t.Fatalf("at %d, final %v: a session %s to %d of %d rows, version %d, which is none", s.version, cfg.EmitFinal, key, g.end, g.rows, g.version)
		}
		if g.end != w.end || g.text != w.naiveGroup.String() {
			t.Fatalf("at %d: session %s to %d %q, want to %d %q", s.version, key, g.end, g.text, w.end, &w.naiveGroup)
		}
		hashes[1] += g.hash
		if g.end <= final {
			hashes[0] += g.hash
		}
	}
	for key := range want {
		if got[key] == nil {
			t.Fatalf("at %d: no session %s", s.version, key)
		}
	}
	if hashes != sums {
		t.Errorf("at %d: the account has the sums %x, and rows come to %x", s.version, sums, hashes)
	}
}

// commit is what a process says when it was acknowledged.
type commit struct {
	position, from int64
	at, reached    operators.Clock
	hash           uint64 // of what is final
}

// TestSessionsSurviveCrashes runs processes over random rows, each of which begins where the last commit says, cuts at random, and dies
// before all of a cut is stored, before its account is, or before it is committed. What is stored must at all times be the sessions
// that a query over the rows would find.
func TestSessionsSurviveCrashes(t *testing.T) {
	retracted, crashes, replayed, checked := 0, 0, 0, 0
	for seed := range uint64(96) { // two of each kind
		rng := rand.New(rand.NewPCG(seed, 7))
		cfg := sessionConfig(t, seed)
		rows := stream(rng, 600)
		most := int64(60)
		if rng.IntN(3) == 0 { // one key, and few records at a time: then each session decides where a replay begins
			most = 4
			for i := range rows {
				rows[i].device, rows[i].noLine = "d", true
			}
		}
		store := &shelf{rows: map[string]*shelved{}}
		last := commit{at: operators.Clock{Max: operators.Unset}, reached: operators.Clock{Max: operators.Unset}}
		for last.position < int64(len(rows)) {
			w := cfg.Open()
			w.Restore(last.at, last.reached)
			at, content := last.from, last.hash
			for alive := true; alive; {
				limit := int64(len(rows))
				if at < last.position {
					limit = last.position
				}
				if at == limit { // the end
					break
				}
				n := min(1+rng.Int64N(most), limit-at)
				add(t, w, makeBatch(cfg.In, rows[at:at+n], at), at)
				if at < last.position {
					replayed++
				}
				at += n
				if at < last.position {
					continue
				}
				if at == last.position && last.reached.Max != operators.Unset && w.Clock() != last.reached {
					t.Fatalf("seed %d: the clock came to %+v at %d, and was %+v", seed, w.Clock(), at, last.reached)
				}
				if at < int64(len(rows)) && rng.IntN(3) > 0 {
					continue
				}
				whole := !cfg.EmitFinal || at == int64(len(rows)) || rng.IntN(8) == 0
				if whole && cfg.EmitFinal {
					w.Touch()
				}
				cut := w.Cut(at)
				out := cut.Rows
				if !whole {
					out = cut.Final
				}
				die := rng.IntN(6)
				if at == int64(len(rows)) {
					die = 5
				}
				alive = die > 2
				if die == 0 { // part of the rows are stored
					store.put(out, at, floorDiv(w.Final(), 1000), rng)
					break
				}
				store.put(out, at, floorDiv(w.Final(), 1000), nil)
				if out != nil {
					for _, n := range batch.As[uint64](out.Cols[2].Values)[:out.Rows] {
						if n == 0 {
							retracted++
						}
					}
				}
				content += cut.FinalHash
				sums := [2]uint64{content, content}
				open := cut.OpenRows
				if whole {
					sums[1] += cut.OpenHash
					open = 0
				}
				if die == 1 {
					break
				}
				if at >= store.version {
					store.version, store.open = at, open
					if store.highest <= at && (most > 4 || rng.IntN(8) == 0 || at == int64(len(rows))) {
						checked++
						store.check(t, cfg, rows, sums)
					}
				}
				if die == 2 {
					break
				}
				last = commit{position: at, from: cut.ReplayFrom, at: cut.Replay, reached: w.Clock(), hash: content}
				alive = alive && (at == int64(len(rows)) || rng.IntN(4) > 0)
			}
			crashes++
		}
	}
	t.Logf("%d processes, %d batches read again, %d rows taken back, %d checks", crashes, replayed, retracted, checked)
	if retracted < 1000 || replayed < 1000 || checked < 300 {
		t.Error("too little of it happened")
	}
}

// TestSessionsDoNotDependOnBatches has the rows of many runs be equal bit by bit, whatever their batches: sums of floats are not, where
// sessions that become one are added up in another order.
func TestSessionsDoNotDependOnBatches(t *testing.T) {
	for seed := range uint64(24) {
		rng := rand.New(rand.NewPCG(seed, 9))
		cfg := sessionConfig(t, seed)
		cfg.EmitFinal, cfg.MaxJump = false, time.Hour
		rows := stream(rng, 1500)
		for i := range rows {
			rows[i].temp = rng.NormFloat64()
			if rng.IntN(50) == 0 {
				rows[i].ts += 2 * time.Hour.Milliseconds()
			}
		}
		var want map[string]*shelved
		var clock operators.Clock
		for most := range []int{1, 7, 64, 500, 1500} {
			w, got := cfg.Open(), &shelf{rows: map[string]*shelved{}}
			for i := 0; i < len(rows); {
				n := min(1+rng.IntN([]int{1, 7, 64, 500, 1500}[most]), len(rows)-i)
				add(t, w, makeBatch(cfg.In, rows[i:i+n], int64(i)), int64(i))
				if i += n; rng.IntN(4) == 0 || i == len(rows) {
					got.put(w.Cut(int64(i)).Rows, int64(i), 0, nil)
				}
			}
			if want == nil {
				want, clock = got.view(false), w.Clock()
				continue
			}
			if w.Clock() != clock {
				t.Errorf("seed %d: the clock is %+v, was %+v", seed, w.Clock(), clock)
			}
			all := got.view(false)
			if len(all) != len(want) {
				t.Errorf("seed %d: %d sessions, were %d", seed, len(all), len(want))
			}
			for key, g := range all {
				if h := want[key]; h == nil || h.hash != g.hash {
					t.Fatalf("seed %d, batches of %d: session %s is %+v, was %+v", seed, most, key, g, h)
				}
			}
		}
	}
}

// TestSessionsOfManyKeys has more keys than the slab keeps when most of them are gone, and looks all of them up again.
func TestSessionsOfManyKeys(t *testing.T) {
	cfg := sessionConfig(t, 1)
	cfg.EmitFinal = false
	w, all := cfg.Open().(*Sessions), &shelf{rows: map[string]*shelved{}}
	var rows []row
	at := int64(1_700_000_000_000)
	most, shrunk := 0, false
	for round := range 12 {
		keys := []int{5000, 20, 4000, 3, 9000, 50, 1, 1, 7000, 10, 1, 1}[round]
		first := int64(len(rows))
		for i := range 2 * keys {
			rows = append(rows, row{ts: at + int64(i%7), device: fmt.Sprintf("key %d", (i*31)%keys), line: 1, temp: 1, kafka: at})
		}
		add(t, w, makeBatch(cfg.In, rows[first:], first), first)
		before := w.groups.total
		all.put(w.Cut(int64(len(rows))).Rows, int64(len(rows)), 0, nil)
		shrunk = shrunk || w.groups.total < before
		most = max(most, w.Windows())
		at += 4000 // the session before is done, and the one before that final
	}
	want, _ := islands(cfg, rows)
	got := all.view(false)
	for key, g := range want {
		if h := got[key]; h == nil || h.text != g.naiveGroup.String() || h.end != g.end {
			t.Fatalf("session %s is %+v, want to %d %v", key, h, g.end, &g.naiveGroup)
		}
	}
	if len(got) != len(want) || !shrunk || most < 9000 {
		t.Errorf("%d sessions, want %d; %d at a time; shrunk %t", len(got), len(want), most, shrunk)
	}
}

// BenchmarkSessions takes rows into sessions, per row: of many keys, which begin or were open before, and of one that has thousands of them
// open at a time.
func BenchmarkSessions(b *testing.B) {
	for _, c := range []struct {
		name       string
		keys, open int
	}{{"1000 keys", 1000, 1}, {"10000 keys", 10_000, 1}, {"100000 keys", 100_000, 1}, {"100000 keys, open before", 100_000, 2}, {"1 key, 1000 sessions", 1, 1000}, {"1 key, 100000 sessions", 1, 100_000}, {"1 key, joined", 1, 0}} {
		b.Run(c.name, func(b *testing.B) {
			cfg := testConfig(b)
			cfg.Gap, cfg.Size, cfg.MaxOutOfOrder = time.Second, 24*time.Hour, 0
			stay := c.keys > 1 && c.open > 1
			switch {
			case stay:
				cfg.Gap = time.Hour
			case c.keys > 1:
				cfg.Gap = time.Minute
			}
			cfg.AllowedLateness = time.Duration(max(1, c.open)) * 2 * time.Second
			rng := rand.New(rand.NewPCG(1, 1))
			const n = 8192
			w, at := cfg.Open(), int64(1_700_000_000_000)
			rows := make([]row, n)
			fill := func() *batch.Batch {
				for i := range rows {
					r := row{device: "d", line: 1, temp: 1}
					switch {
					case c.keys > 1:
						at += int64(i & 1)
						r.ts, r.line = at, int64(rng.IntN(c.keys))
					case c.open == 0: // every third row joins the two before
						at += []int64{0, 1500, 0}[i%3]
						r.ts = at - []int64{0, 0, 750}[i%3]
						if i%3 == 2 {
							at += 5000
						}
					default:
						at += 2000
						r.ts = at - 2000*int64(rng.IntN(c.open))
					}
					rows[i] = r
				}
				return makeBatch(cfg.In, rows, 0)
			}
			batches := make([]*batch.Batch, 16)
			for i := range batches {
				batches[i] = fill()
			}
			next, used := int64(0), int64(0)
			if stay {
				for _, in := range batches {
					add(b, w, in, next)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				began := cpuTime(b)
				for _, in := range batches {
					in.Rejects = in.Rejects[:0]
					add(b, w, in, next)
					next += n
				}
				b.StopTimer()
				used += cpuTime(b) - began
				if !stay {
					w.Cut(next)
					w = cfg.Open()
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(used)/float64(b.N)/(16*n), "cpu-ns/row")
		})
	}
}
