package window

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/aggregate"
)

var (
	stringType = batch.Type{Kind: batch.String}
	floatType  = batch.Type{Kind: batch.Float64}
	intType    = batch.Type{Kind: batch.Int64}
	wideType   = batch.DecimalOf(38, 4)
)

// row is a row of the tests' stream.
type row struct {
	ts     int64 // milliseconds
	device string
	line   int64
	noLine bool
	temp   float64
	noTemp bool
	kafka  int64 // the record's own timestamp, milliseconds
}

func testSchema() *batch.Schema {
	return &batch.Schema{Fields: []batch.Field{
		{Name: "ts", Type: batch.TimestampOf(batch.Millisecond)},
		{Name: "device", Type: stringType},
		{Name: "line", Type: intType, Nullable: true},
		{Name: "temp", Type: floatType, Nullable: true},
	}}
}

func testConfig(t testing.TB) *Config {
	t.Helper()
	s := testSchema()
	agg := func(name, fn string, col int) Aggregate {
		spec, args := aggregate.Spec{Func: fn}, []int(nil)
		if col >= 0 {
			spec.Args, args = s.Fields[col:col+1], []int{col}
		}
		a, err := aggregate.New(spec)
		if err != nil {
			t.Fatal(err)
		}
		return Aggregate{Aggregate: a, Name: name, Args: args}
	}
	c := &Config{
		In: s, Time: 0, Size: 10 * time.Second, Keys: []int{1, 2},
		MaxOutOfOrder: 2 * time.Second, AllowedLateness: 5 * time.Second, LateRows: true,
		Aggregate: []Aggregate{
			agg("n", "count", -1), agg("temps", "count", 3), agg("sum", "sum", 3), agg("lo", "min", 3),
			agg("hi", "max", 3), agg("avg", "avg", 3), agg("last_device", "max", 1),
		},
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

// kindOf makes the window one of those there are, by a seed.
func kindOf(c *Config, seed uint64) *Config {
	switch seed % 5 {
	case 1:
		c.Every = 5 * time.Second
	case 2:
		c.Every, c.Offset = 3*time.Second, 1500*time.Millisecond // some rows are in three windows, some in four
	case 3:
		c.Offset = 9999 * time.Millisecond
	}
	if seed%7 > 3 {
		c.MaxKeys = 4 // of 20
	}
	return wideLine(c, seed)
}

// wideLine makes lines decimals of more than 64 bits, by a seed.
func wideLine(c *Config, seed uint64) *Config {
	if seed%3 == 1 {
		c.In.Fields[2].Type = wideType
	}
	return c
}

// inWide is a line as such a decimal: some have one low half, others one high one.
func inWide(line int64) batch.Int128 { return batch.Int128{Lo: uint64(line & 1), Hi: line>>1 - 1} }

func outWide(v batch.Int128) int64 { return (v.Hi+1)<<1 | int64(v.Lo) }

// makeBatch builds a batch of rows whose records have the offsets from first on.
func makeBatch(s *batch.Schema, rows []row, first int64) *batch.Batch {
	b := &batch.Batch{}
	records := make([]batch.Record, len(rows))
	n := len(rows)
	var ts, line []int64
	var temp []float64
	lineOK, tempOK := make([]byte, batch.BitmapLen(n)), make([]byte, batch.BitmapLen(n))
	off := []int32{0}
	var data []byte
	for i, r := range rows {
		records[i] = batch.Record{Offset: first + int64(i), Time: r.kafka, Value: fmt.Appendf(nil, "row %d", first+int64(i))}
		ts, line, temp = append(ts, r.ts), append(line, r.line), append(temp, r.temp)
		data = append(data, r.device...)
		off = append(off, int32(len(data)))
		if !r.noLine {
			batch.SetBit(lineOK, i)
		}
		if !r.noTemp {
			batch.SetBit(tempOK, i)
		}
	}
	b.Begin(s, batch.Partition{Topic: "t"}, records)
	b.Rows = n
	b.Origin = b.Origins(n)
	for i := range b.Origin {
		b.Origin[i] = int32(i)
	}
	b.Cols[0].Values = batch.Bytes(ts)
	b.Cols[1].Offsets, b.Cols[1].Values = batch.Bytes(off), data
	b.Cols[2].Values, b.Cols[2].Validity = batch.Bytes(line), lineOK
	if s.Fields[2].Type == wideType {
		wide := make([]batch.Int128, n)
		for i := range wide {
			if wide[i] = inWide(line[i]); rows[i].noLine {
				wide[i] = batch.Int128{Lo: uint64(i), Hi: int64(i)} // whatever it is
			}
		}
		b.Cols[2].Values = batch.DecimalBytes(wide)
	}
	b.Cols[3].Values, b.Cols[3].Validity = batch.Bytes(temp), tempOK
	return b
}

// naive is the specification once more, a row at a time over a map.
type naive struct {
	cfg    *Config
	max    int64
	any    bool
	groups map[string]*naiveGroup
	late   int
	taken  int           // rows in windows: one in several counts as often
	over   int           // of these, those of keys beyond the limit
	keys   map[int64]int // of a window
}

type naiveGroup struct {
	n, temps int
	sum      float64
	lo, hi   float64
}

func (g *naiveGroup) String() string {
	if g.temps == 0 {
		return fmt.Sprintf("n=%d temps=0", g.n)
	}
	return fmt.Sprintf("n=%d temps=%d sum=%v lo=%v hi=%v", g.n, g.temps, g.sum, g.lo, g.hi)
}

func naiveKey(start int64, r row) string {
	line := fmt.Sprint(r.line)
	if r.noLine {
		line = "null"
	}
	return fmt.Sprintf("%d|%s|%s", start, r.device, line)
}

func overflowKey(start int64) string { return fmt.Sprintf("%d|overflow", start) }

func (n *naive) add(r row) {
	size, every, offset := n.cfg.Size.Milliseconds(), n.cfg.Every.Milliseconds(), n.cfg.Offset.Milliseconds()
	if every == 0 {
		every = size
	}
	final, known := n.max-n.cfg.MaxOutOfOrder.Milliseconds()-n.cfg.AllowedLateness.Milliseconds(), n.any
	taken := 0
	// Every time a window may begin at that is not after the row, from far enough before it.
	for k := (r.ts-size-offset)/every - 2; k*every+offset <= r.ts; k++ {
		start := k*every + offset
		if r.ts >= start+size || known && start+size <= final {
			continue
		}
		if taken++; !n.any || r.ts > n.max {
			n.max, n.any = r.ts, true
		}
		n.take(start, r)
	}
	if taken == 0 {
		n.late++
	}
	n.taken += taken
}

func (n *naive) take(start int64, r row) {
	key := naiveKey(start, r)
	g := n.groups[key]
	if g == nil && n.cfg.MaxKeys > 0 && n.keys[start] == n.cfg.MaxKeys {
		key = overflowKey(start)
		g = n.groups[key]
	}
	if key == overflowKey(start) {
		n.over++
	}
	if g == nil {
		g = &naiveGroup{}
		n.groups[key] = g
		if n.keys == nil {
			n.keys = map[int64]int{}
		}
		if key != overflowKey(start) {
			n.keys[start]++
		}
	}
	g.n++
	if !r.noTemp {
		if g.temps == 0 || r.temp < g.lo {
			g.lo = r.temp
		}
		if g.temps == 0 || r.temp > g.hi {
			g.hi = r.temp
		}
		g.temps++
		g.sum += r.temp
	}
}

// stream makes rows that mostly move forward, with disorder, late ones and nulls.
func stream(rng *rand.Rand, n int) []row {
	rows := make([]row, n)
	at := int64(1_700_000_000_000)
	if rng.IntN(4) == 0 {
		at = -5_000_000 // before 1970
	}
	for i := range rows {
		at += rng.Int64N(300)
		ts := at - rng.Int64N(2000)
		if rng.IntN(20) == 0 {
			ts -= rng.Int64N(60_000)
		}
		rows[i] = row{
			ts: ts, device: fmt.Sprintf("d%d", rng.IntN(5)), line: rng.Int64N(3), noLine: rng.IntN(5) == 0,
			temp: float64(rng.IntN(1000)) / 8, noTemp: rng.IntN(6) == 0, kafka: at,
		}
	}
	return rows
}

// stored is what a destination would keep: the newest version of each row.
type stored struct {
	version int64
	text    string
}

// store applies a cut the way a ReplacingMergeTree does.
func store(into map[string]stored, b *batch.Batch, version int64) {
	if b == nil {
		return
	}
	limited, over := b.Schema.Fields[5].Name == Overflow, b.Cols[5]
	if limited {
		b = &batch.Batch{Rows: b.Rows, Cols: slices.Delete(slices.Clone(b.Cols), 5, 6)}
	}
	for i := range b.Rows {
		key, overflown := keyText(b, i), limited && over.Bit(i)
		if overflown {
			if len(b.Cols[3].Bytes(i)) > 0 || b.Cols[4].Valid(i) {
				panic("a key beyond the limit has a value: " + key)
			}
			key = overflowKey(batch.As[int64](b.Cols[0].Values)[i])
		}
		if old, ok := into[key]; ok && old.version > version {
			continue
		}
		n, rows := batch.As[uint64](b.Cols[5].Values)[i], batch.As[uint64](b.Cols[2].Values)[i]
		temps := batch.As[uint64](b.Cols[6].Values)[i]
		text := fmt.Sprintf("n=%d temps=%d", n, temps)
		if temps > 0 {
			text += fmt.Sprintf(" sum=%v lo=%v hi=%v", batch.As[float64](b.Cols[7].Values)[i],
				batch.As[float64](b.Cols[8].Values)[i], batch.As[float64](b.Cols[9].Values)[i])
		}
		switch {
		case rows != n:
			text += fmt.Sprintf(" but _rows=%d", rows)
		case b.Cols[7].Valid(i) != (temps > 0), b.Cols[8].Valid(i) != (temps > 0), b.Cols[9].Valid(i) != (temps > 0):
			text += " with wrong nulls"
		case batch.As[uint64](b.Cols[11].Values)[i] != temps:
			text += " with another count in avg"
		case !overflown && string(b.Cols[12].Bytes(i)) != string(b.Cols[3].Bytes(i)):
			text += " with max(device) = " + string(b.Cols[12].Bytes(i))
		}
		into[key] = stored{version: version, text: text}
	}
}

// keyText is the window and key of a row of a cut.
func keyText(b *batch.Batch, i int) string {
	line := "null"
	if b.Cols[4].Valid(i) {
		if len(b.Cols[4].Values) >= 16*b.Rows {
			line = fmt.Sprint(outWide(b.Cols[4].Decimals()[i]))
		} else {
			line = fmt.Sprint(batch.As[int64](b.Cols[4].Values)[i])
		}
	}
	return fmt.Sprintf("%d|%s|%s", batch.As[int64](b.Cols[0].Values)[i], b.Cols[3].Bytes(i), line)
}

func compare(t *testing.T, got map[string]stored, want map[string]*naiveGroup) {
	t.Helper()
	wrong := 0
	for k, g := range want {
		if got[k].text != g.String() {
			t.Errorf("%s: got %q, want %q", k, got[k].text, g)
			wrong++
		}
		if wrong > 5 {
			t.FailNow()
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d groups, want %d", len(got), len(want))
	}
}

// TestAgreesWithNaive streams random rows in random batches with random cuts.
func TestAgreesWithNaive(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		cfg := kindOf(testConfig(t), seed)
		rows := stream(rng, 2000)
		w, truth, central := New(cfg), &naive{cfg: cfg, groups: map[string]*naiveGroup{}}, map[string]stored{}
		late, taken, over := 0, 0, 0
		for i := 0; i < len(rows); {
			n := min(1+rng.IntN(200), len(rows)-i)
			b := makeBatch(cfg.In, rows[i:i+n], int64(i))
			counts := add(t, w, b, int64(i))
			late += int(counts.Late)
			taken += int(counts.Aggregated)
			over += int(counts.Overflowed)
			if int(counts.Late) != len(b.Rejects) || int(counts.Aggregated)+int(counts.Late) != n+int(b.Expanded) {
				t.Fatalf("seed %d: %+v of %d rows, %d rejects", seed, counts, n, len(b.Rejects))
			}
			i += n
			if rng.IntN(3) == 0 {
				store(central, w.Cut(int64(i)).Rows, int64(i))
			}
		}
		for _, r := range rows {
			truth.add(r)
		}
		store(central, w.Cut(int64(len(rows))).Rows, int64(len(rows)))
		compare(t, central, truth.groups)
		if late != truth.late || late == 0 || taken != truth.taken || over != truth.over || (over > 0) != (cfg.MaxKeys > 0) {
			t.Errorf("seed %d: %d late, want %d and some; %d taken, want %d; %d beyond the limit, want %d", seed, late, truth.late, taken, truth.taken, over, truth.over)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// recovery runs the stream with crashes: a cut may or may not reach the destination, its commit may or may not be made,
// and a crash goes back to the last commit. forget leaves out what a commit remembers beside the offset.
func recovery(t *testing.T, seed uint64, forget bool) (map[string]stored, *naive) {
	rng := rand.New(rand.NewPCG(seed, 2))
	cfg := kindOf(testConfig(t), seed)
	rows := stream(rng, 1500)
	if rows[0].kafka > 0 && rng.IntN(2) == 0 {
		cfg.MaxJump = 20 * time.Second // the records' own times bear every row out, so that none is rejected
	}
	central := map[string]stored{}
	type commit struct {
		read, position int64
		at, reached    operators.Clock
	}
	unset := operators.Clock{Max: operators.Unset}
	committed := commit{at: unset, reached: unset}
	for {
		w := New(cfg)
		w.Restore(committed.at, committed.reached)
		if forget {
			w.Restore(unset, unset)
		}
		pos, replayTo := committed.read, committed.position
		for {
			limit := int64(len(rows))
			if pos < replayTo {
				limit = replayTo
			}
			n := min(1+rng.Int64N(120), limit-pos)
			add(t, w, makeBatch(cfg.In, rows[pos:pos+n], pos), pos)
			pos += n
			if pos == replayTo && !forget && committed.reached.Max != operators.Unset && w.Clock() != committed.reached {
				t.Fatalf("seed %d: clock %+v after the replay, was %+v", seed, w.Clock(), committed.reached)
			}
			if pos >= replayTo && (rng.IntN(3) == 0 || pos == int64(len(rows))) {
				cut := w.Cut(pos)
				if rng.IntN(8) == 0 {
					break // crash before the cut is stored
				}
				store(central, cut.Rows, pos)
				if rng.IntN(4) == 0 {
					break // crash before it is committed
				}
				committed = commit{read: cut.ReplayFrom, position: pos, at: cut.Replay, reached: w.Clock()}
			}
			if pos == int64(len(rows)) {
				truth := &naive{cfg: cfg, groups: map[string]*naiveGroup{}}
				for _, r := range rows {
					truth.add(r)
				}
				return central, truth
			}
			if rng.IntN(15) == 0 {
				break
			}
		}
	}
}

// TestRecovery crashes at random and replays from what was committed.
func TestRecovery(t *testing.T) {
	for seed := range uint64(300) {
		central, truth := recovery(t, seed, false)
		compare(t, central, truth.groups)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestRecoveryNeedsTheClock shows that TestRecovery can fail: without the clock in the commit totals go wrong.
func TestRecoveryNeedsTheClock(t *testing.T) {
	wrong := 0
	for seed := range uint64(100) {
		central, truth := recovery(t, seed, true)
		for k, g := range truth.groups {
			if central[k].text != g.String() {
				wrong++
				break
			}
		}
	}
	if wrong < 30 {
		t.Errorf("only %d of 100 runs without the clock went wrong: the test is too kind", wrong)
	}
}

func TestMaxJump(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxJump = time.Minute
	at := int64(1_700_000_000_000)
	add := func(w *Tumbling, offset int64, kafka int64, times ...int64) ([]string, operators.Counts) {
		rows := make([]row, len(times))
		for i, ts := range times {
			rows[i] = row{ts: ts, device: "d", kafka: kafka}
		}
		b := makeBatch(cfg.In, rows, offset)
		n := add(t, w, b, offset)
		var reasons []string
		for _, r := range b.Rejects {
			reasons = append(reasons, string(r.Reason))
		}
		return reasons, n
	}
	hour := int64(3_600_000)
	t.Run("one clock runs ahead", func(t *testing.T) {
		w := New(cfg)
		for i := range int64(200) { // a bad device among good ones is never believed
			reasons, _ := add(w, i*2, at, at+i, at+hour+i)
			if fmt.Sprint(reasons) != "[future]" {
				t.Fatalf("row %d: %v", i, reasons)
			}
		}
		if got := w.Watermark(); got != (at+199-2000)*1000 {
			t.Errorf("watermark %d", got)
		}
	})
	t.Run("the record's own time bears it out", func(t *testing.T) {
		w := New(cfg)
		add(w, 0, at, at)
		if reasons, _ := add(w, 1, at+hour, at+hour); len(reasons) != 0 {
			t.Error(reasons)
		}
	})
	t.Run("the whole stream moves on", func(t *testing.T) {
		w := New(cfg)
		add(w, 0, at, at)
		rejected := 0
		for i := range int64(100) {
			reasons, _ := add(w, 1+i, at, at+hour+i)
			rejected += len(reasons)
		}
		if rejected != corroboration-1 {
			t.Errorf("%d rejected", rejected)
		}
	})
}

// TestShrink floods one window with keys: when it has closed, its memory goes, and the rest is as before.
func TestShrink(t *testing.T) {
	for seed, most := range []int{0, 39_990} {
		t.Run(fmt.Sprint("at most ", most), func(t *testing.T) { testShrink(t, most, uint64(seed)) })
	}
}

func testShrink(t *testing.T, maxKeys int, seed uint64) {
	cfg := wideLine(testConfig(t), seed)
	cfg.MaxKeys = maxKeys
	w, truth, central := New(cfg), &naive{cfg: cfg, groups: map[string]*naiveGroup{}}, map[string]stored{}
	offset := int64(0)
	add := func(rows []row) {
		add(t, w, makeBatch(cfg.In, rows, offset), offset)
		for _, r := range rows {
			truth.add(r)
		}
		offset += int64(len(rows))
		store(central, w.Cut(offset).Rows, offset)
	}
	at := int64(1_700_000_000_000)
	flood := make([]row, 40_000)
	for i := range flood {
		flood[i] = row{ts: at + int64(i%1000), device: fmt.Sprint("flood", i), temp: float64(i)}
	}
	add(flood)
	most := w.MemorySize()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 40 {
		rows := make([]row, 200)
		for j := range rows {
			rows[j] = row{ts: at + int64(i)*2000 + rng.Int64N(2000), device: fmt.Sprint("d", rng.IntN(50)), line: rng.Int64N(2), noLine: j%3 == 0, temp: float64(j), noTemp: j%7 == 0}
		}
		add(rows)
	}
	compare(t, central, truth.groups)
	if now := w.MemorySize(); now > most/10 {
		t.Errorf("%d bytes of state after the flood, %d at its height", now, most)
	}
}

func TestTimesOutOfRange(t *testing.T) {
	cfg := testConfig(t)
	w := New(cfg)
	b := makeBatch(cfg.In, []row{{ts: 1 << 62, device: "a"}, {ts: -1 << 63, device: "a"}, {ts: 0, device: "a"}}, 0)
	n := add(t, w, b, 0)
	if n.Aggregated != 1 || len(b.Rejects) != 2 || b.Rejects[0].Reason != batch.ReasonOutOfRange {
		t.Errorf("%+v %+v", n, b.Rejects)
	}
	if !strings.Contains(b.Rejects[0].Detail, "1900") {
		t.Error(b.Rejects[0].Detail)
	}
}

// TestReset shows that a segment that starts with the old clock adds up to the same totals.
func TestReset(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	cfg := testConfig(t)
	rows := stream(rng, 1000)
	w := New(cfg)
	first, second := map[string]stored{}, map[string]stored{}
	add(t, w, makeBatch(cfg.In, rows[:500], 0), 0)
	store(first, w.Cut(500).Rows, 500)
	clock := w.Clock()
	w.Reset()
	if w.Clock() != clock || w.Groups() != 0 || w.Windows() != 0 {
		t.Fatalf("%+v, %d groups", w.Clock(), w.Groups())
	}
	add(t, w, makeBatch(cfg.In, rows[500:], 500), 500)
	store(second, w.Cut(1000).Rows, 1000)
	truth := &naive{cfg: cfg, groups: map[string]*naiveGroup{}}
	for _, r := range rows {
		truth.add(r)
	}
	for k, g := range truth.groups {
		var a, b int
		fmt.Sscanf(first[k].text, "n=%d", &a)
		fmt.Sscanf(second[k].text, "n=%d", &b)
		if a+b != g.n {
			t.Errorf("%s: %d + %d, want %d", k, a, b, g.n)
		}
	}
}

// TestNoAllocations adds batches to warm windows.
func TestNoAllocations(t *testing.T) {
	for seed := range uint64(2) {
		cfg := wideLine(testConfig(t), seed)
		rng := rand.New(rand.NewPCG(3, 3))
		rows := make([]row, 8192)
		for i := range rows {
			rows[i] = row{ts: 1_700_000_000_000 + rng.Int64N(9000), device: fmt.Sprintf("d%04d", rng.IntN(1000)), temp: 1}
		}
		b := makeBatch(cfg.In, rows, 0)
		w := New(cfg)
		add(t, w, b, 0)
		if n := testing.AllocsPerRun(20, func() { add(t, w, b, 0) }); n > 0 {
			t.Errorf("%v allocations for a batch of %d rows whose lines are %s", n, len(rows), cfg.In.Fields[2].Type)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	cfg := testConfig(b)
	cfg.Keys = []int{1}
	cfg.Aggregate = cfg.Aggregate[:6]
	rng := rand.New(rand.NewPCG(3, 3))
	rows := make([]row, 8192)
	for i := range rows {
		rows[i] = row{ts: 1_700_000_000_000 + rng.Int64N(9000), device: fmt.Sprintf("d%04d", rng.IntN(1000)), temp: 1}
	}
	in := makeBatch(cfg.In, rows, 0)
	w := New(cfg)
	b.ReportAllocs()
	for b.Loop() {
		add(b, w, in, 0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rows)), "ns/row")
}

// add adds a batch to a window of aggregates that cannot fail.
func add(t testing.TB, w operators.Window, b *batch.Batch, offset int64) operators.Counts {
	n, err := w.Add(context.Background(), b, offset)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
