package endtoend

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/operators/aggregate"
)

// answer is an aggregate, and what ClickHouse says about the raw rows in a batch query of its own.
type answer struct {
	weir string // as in a pipeline's file
	sql  string // over the table raw, of a group
	// right is a condition in SQL over got and want; empty is that they are the same to the last digit.
	right string
	// inOrder says that it goes by the order of event time within a partition: not of streams out of order.
	inOrder bool
}

// within is right for numbers whose last digits depend on the order in which they are added up.
func within(relative float64) string {
	return fmt.Sprintf("abs(got - want) <= %g * greatest(1, abs(want))", relative)
}

// truth is a pipeline of aggregates over real data. Its rows have an event time ts.
type truth struct {
	name    string
	columns string // of the pipeline, as in its file
	raw     string // the same in ClickHouse
	key     string
	days    int // of a window
	answers []answer
	rows    []truthRow
}

type truthRow struct {
	partition int32 // where rows of a key are to stay together
	json      []byte
	values    []any // in the order of raw
}

// encode is a value as JSON.
func encode(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// layout is how rows lie in the topic.
type layout struct {
	name       string
	partitions int32
	spread     bool // any row in any partition
	reach      int  // how many places a row may be from where it belongs
	killed     bool
	window     *windowKind // nil is tumbling
	full       int         // rows of a window, where they are of so many; then the window's rows names a table of where they lie
}

// windowKind is a kind of window, and the same in SQL.
type windowKind struct {
	yaml   string // of the pipeline's window
	starts string // of ts, a list: where the windows begin that it is in
	rows   string // what starts is of, in place of the raw rows; or empty
}

// calendarKind is of a unit of the calendar, where day is what day of the zone a moment is in.
func calendarKind(unit, zone, day string) *windowKind {
	day = strings.ReplaceAll(day, "AT", fmt.Sprintf("toTimeZone(ts, '%s')", zone))
	starts := fmt.Sprintf("[toDateTime64(toStartOfDay(toDateTime(%s, '%s')), 3, 'UTC')]", day, zone)
	return &windowKind{yaml: fmt.Sprintf("calendar: {every: %s, timezone: %s}", unit, zone), starts: starts}
}

// hoppingKind is of windows of so many hours.
func hoppingKind(size, every, offset int, more string) *windowKind {
	return &windowKind{
		yaml: fmt.Sprintf("hopping: {size: %dh, every: %dh}, offset: %dh%s", size, every, offset, more),
		starts: fmt.Sprintf(`arrayMap(i -> fromUnixTimestamp64Milli((intDiv(toUnixTimestamp64Milli(ts) - %[3]d * 3600000, %[2]d * 3600000) - i) * %[2]d * 3600000 + %[3]d * 3600000, 'UTC'),
			arrayFilter(i -> toUnixTimestamp64Milli(ts) < (intDiv(toUnixTimestamp64Milli(ts) - %[3]d * 3600000, %[2]d * 3600000) - i) * %[2]d * 3600000 + %[3]d * 3600000 + %[1]d * 3600000, range(%[4]d)))`,
			size, every, offset, (size+every-1)/every),
	}
}

// windowLayouts has every kind of window but tumbling ones that ship what has changed, which are in the other layouts.
var windowLayouts = []layout{
	{name: "weeks", partitions: 1, reach: 400, window: calendarKind("week", "Australia/Lord_Howe", "toMonday(AT)")},
	{name: "months", partitions: 4, spread: true, window: calendarKind("month", "Europe/Berlin", "toStartOfMonth(AT)")},
	{name: "overlapping", partitions: 5, spread: true, reach: 400, killed: true, window: hoppingKind(170, 72, 11, "")},
	{name: "overlapping and final", partitions: 4, spread: true, reach: 400, killed: true, window: hoppingKind(120, 48, 5, ", emit: final")},
	{name: "sessions", partitions: 3, spread: true, reach: 400, killed: true, window: sessionKind("carrier", 150, 24)},
	{name: "final sessions", partitions: 1, reach: 400, killed: true, window: sessionKind("carrier", 90, 60*24).with(", emit: final")},
	{name: "final days", partitions: 1, window: calendarKind("day", "Asia/Kolkata", "AT").with(", emit: final")},
}

// dayLayouts are of rows of a few weeks: every day is a partition of the table.
var dayLayouts = []layout{{name: "days", partitions: 3, spread: true, reach: 3000, killed: true, window: calendarKind("day", "America/New_York", "AT")}}

func (k *windowKind) with(more string) *windowKind {
	return &windowKind{k.yaml + more, k.starts, k.rows}
}

// sessionKind is of sessions that end so many minutes behind their last row, cut every so many hours. A row begins one where the row of
// its key before, in the same stretch, is as long ago.
func sessionKind(key string, gap, longest int) *windowKind {
	return &windowKind{
		yaml:   fmt.Sprintf("session: {gap: %dm, max_length: %dh}", gap, longest),
		starts: "[began]",
		rows: fmt.Sprintf(`(
			SELECT * EXCEPT (stretch, begins), max(if(begins, toNullable(ts), NULL)) OVER (PARTITION BY %[1]s ORDER BY ts RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS began
			FROM (
				SELECT *, intDiv(toUnixTimestamp64Milli(ts), %[3]d * 3600000) AS stretch,
					ifNull(dateDiff('millisecond', lagInFrame(toNullable(ts)) OVER (PARTITION BY %[1]s, stretch ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW), ts) >= %[2]d * 60000, true) AS begins
				FROM raw
			)
		)`, key, gap, longest),
	}
}

// some is the truth about every n-th row from lo to hi, and about a few aggregates of each sort.
func (tr *truth) some(name string, lo, hi, n int) *truth {
	out := *tr
	out.name = name
	out.rows = nil
	for i := lo; i < min(hi, len(tr.rows)); i += n {
		out.rows = append(out.rows, tr.rows[i])
	}
	few := []string{
		"count()", "count() filter", "sum(dep_delay)", "min(arr_delay)", "min(tail)", "max(ts)", "avg(arr_delay)", "stddev_pop(arr_delay)", "quantile(v", "histogram(",
		"uniq(tail)", "uniq_exact(tail)", "topk(origin", "last(dest)", "argmin(", "bit_xor(", "group_array(id, 10000)",
	}
	out.answers = slices.DeleteFunc(slices.Clone(tr.answers), func(a answer) bool {
		return !slices.ContainsFunc(few, func(f string) bool { return strings.HasPrefix(a.weir, f) })
	})
	return &out
}

// TestTruth streams real data through Kafka, with rows out of order in several partitions, and a node that is killed. What comes out must be what
// ClickHouse answers about all rows at once: the same for what is exact, and within the documented error for what is estimated.
func TestTruth(t *testing.T) {
	t.Parallel()
	flights, weather := flightsTruth(t), weatherTruth(t)
	asked := strings.Builder{}
	for _, tr := range []*truth{flights, weather} {
		for _, a := range tr.answers {
			asked.WriteString(" " + a.weir)
		}
	}
	for _, name := range aggregate.Names() {
		if !strings.Contains(asked.String(), " "+name+"(") {
			t.Errorf("no truth is known about %s", name)
		}
	}
	for _, c := range []struct {
		of *truth
		in []layout
	}{
		{flights, []layout{{name: "in order", partitions: 1}, {name: "out of order", partitions: 5, spread: true, reach: 5000, killed: true}}},
		{weather, []layout{{name: "by key", partitions: 3, killed: true}}},
		{flights.some("windows of every kind", 0, len(flights.rows), 8), windowLayouts},
		{flights.some("rows counted", 3, len(flights.rows), 16), countedLayouts},
		{flights.some("days around a change of clocks", 60_000, 78_000, 1), dayLayouts},
	} {
		t.Run(c.of.name, func(t *testing.T) {
			t.Parallel()
			dsn := embeddedtest.ClickHouse(t)
			c.of.store(t, openClickHouse(t, dsn))
			for _, l := range c.in {
				t.Run(l.name, func(t *testing.T) { c.of.run(t, l, dsn) })
			}
		})
	}
}

// taken are the aggregates that a layout has an answer to.
func (tr *truth) taken(l layout) []answer {
	return slices.DeleteFunc(slices.Clone(tr.answers), func(a answer) bool { return a.inOrder && (l.spread || l.window != nil) })
}

func (tr *truth) pipeline(l layout) string {
	var b strings.Builder
	fmt.Fprintf(&b, "pipeline: %s\nsource:\n  kafka: {topics: [\"${PREFIX}in\"]}\n  columns: {%s}\n", l.table(), tr.columns)
	window := fmt.Sprintf("tumbling: %dd", tr.days)
	if l.window != nil {
		window = l.window.yaml
	}
	fmt.Fprintf(&b, "time: {column: ts, max_out_of_order: 60d}\nwindow: {%s, group_by: [%s], aggregates: {\n", window, tr.key)
	for i, a := range tr.taken(l) {
		text, _ := json.Marshal(a.weir)
		fmt.Fprintf(&b, "    a%d: %s,\n", i, text)
	}
	return b.String() + "  }}\nsink: {clickhouse: {}}\n"
}

func (l layout) table() string { return strings.ReplaceAll(l.name, " ", "-") }

// store puts the rows into a table.
func (tr *truth) store(t *testing.T, conn driver.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := conn.Exec(ctx, "CREATE TABLE raw ("+tr.raw+") ENGINE = MergeTree ORDER BY ("+tr.key+", ts)"); err != nil {
		t.Fatal(err)
	}
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO raw")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range tr.rows {
		if err := batch.Append(r.values...); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
}

func (tr *truth) run(t *testing.T, l layout, dsn string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := nodeSpec{YAML: tr.pipeline(l), ClickHouse: dsn}
	s.Brokers, s.Prefix = embeddedtest.Kafka(t)
	if l.killed {
		s.Instance = "n1"
	}
	producer, err := kgo.NewClient(kgo.SeedBrokers(s.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	keep := "-1" // these times are long ago
	if _, err := kadm.NewClient(producer).CreateTopic(ctx, l.partitions, 1, map[string]*string{"retention.ms": &keep}, s.Prefix+"in"); err != nil {
		t.Fatal(err)
	}
	rest := l.records(tr.rows, s.Prefix+"in")
	if l.full > 0 {
		l.storePlaces(ctx, t, dsn, rest)
	}
	if l.killed {
		half := len(rest) / 2
		send(ctx, t, producer, rest[:half])
		rest = rest[half:]
		node := startNode(t, s)
		conn := openClickHouse(t, dsn)
		eventually(t, patience, func() (bool, string) {
			if !node.running() {
				t.Fatalf("the node ended:\n%s", node.stderr.String())
			}
			var n uint64
			err := conn.QueryRow(ctx, "SELECT toUInt64(sum(records_in)) FROM weir_coverage FINAL WHERE pipeline = $1", l.table()).Scan(&n)
			return n > 0, fmt.Sprintf("%d records stored, %v\n%s", n, err, node.stderr.String())
		})
		node.kill()
	}
	send(ctx, t, producer, rest)
	s.StopAtEnd = true
	if _, err := s.run(ctx); err != nil {
		t.Fatal(err)
	}
	if l.full > 0 {
		tr.compareCounted(ctx, t, s, l)
		return
	}
	tr.compare(ctx, t, s, l)
}

// records are the rows as they lie in the topic.
func (l layout) records(rows []truthRow, topic string) []*kgo.Record {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]*kgo.Record, len(rows))
	for i := range rows {
		out[i] = &kgo.Record{Topic: topic, Partition: rows[i].partition % l.partitions, Value: rows[i].json}
		if l.spread {
			out[i].Partition = rng.Int32N(l.partitions)
		}
	}
	for i := range out {
		if l.reach > 0 {
			j := min(i+rng.IntN(l.reach), len(out)-1)
			out[i], out[j] = out[j], out[i]
		}
	}
	return out
}

func send(ctx context.Context, t *testing.T, producer *kgo.Client, records []*kgo.Record) {
	t.Helper()
	if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// compare asks ClickHouse about the raw rows, and lays its answers beside those of the pipeline.
func (tr *truth) compare(ctx context.Context, t *testing.T, s nodeSpec, l layout) {
	t.Helper()
	plan, err := s.plan(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plan.Close() }()
	answers := tr.taken(l)
	var truths, wrong strings.Builder
	for i, a := range answers {
		fmt.Fprintf(&truths, ", %s AS t%d", a.sql, i)
		fmt.Fprintf(&wrong, ", toInt64(countIf(NOT (%s)))", a.holds(i))
	}
	start := fmt.Sprintf("fromUnixTimestamp64Milli(intDiv(toUnixTimestamp64Milli(ts), %[1]d) * %[1]d, 'UTC')", tr.days*86_400_000)
	rows := "raw"
	if l.window != nil {
		start = "arrayJoin(" + l.window.starts + ")"
		if l.window.rows != "" {
			rows = l.window.rows
		}
	}
	over := "OVER (PARTITION BY ws, " + tr.key + " ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"
	joined := fmt.Sprintf(`(SELECT * FROM (
			SELECT ws, %[1]s, count() AS rows%[2]s FROM (
				SELECT *, lagInFrame(toNullable(v)) %[4]s AS v0, (toUnixTimestamp64Milli(ts) - lagInFrame(toNullable(toUnixTimestamp64Milli(ts))) %[4]s) / 1000 AS dt
				FROM (SELECT *, %[3]s AS ws FROM %[6]s)
			) GROUP BY ws, %[1]s
		) AS truth FULL OUTER JOIN %[5]s AS answers ON truth.ws = answers.window_start AND truth.%[1]s = answers.%[1]s SETTINGS join_use_nulls = 0)`,
		tr.key, truths.String(), start, over, quoteIdent(plan.Spec.Sink.ClickHouse.Table), rows)
	conn := openClickHouse(t, s.ClickHouse)
	dest := make([]any, 3+len(answers))
	for i := range dest {
		dest[i] = new(int64)
	}
	sql := "SELECT toInt64(count()), toInt64(countIf(rows = 0)), toInt64(countIf(toUnixTimestamp(window_start) = 0))" + wrong.String() + " FROM " + joined
	if err := conn.QueryRow(ctx, sql).Scan(dest...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	groups := *dest[0].(*int64)
	if groups < 100 || *dest[1].(*int64) > 0 || *dest[2].(*int64) > 0 {
		t.Errorf("%d groups, of which %d are not in the data and %d are missing", groups, *dest[1].(*int64), *dest[2].(*int64))
	}
	for i, a := range answers {
		if n := *dest[3+i].(*int64); n > 0 {
			var got, want string
			_ = conn.QueryRow(ctx, fmt.Sprintf("SELECT ifNull(toString(a%[1]d), 'null'), ifNull(toString(t%[1]d), 'null') FROM %s WHERE NOT (%s) ORDER BY rows LIMIT 1", i, joined, a.holds(i))).Scan(&got, &want)
			t.Errorf("%s is wrong in %d of %d groups: %.300s, and ClickHouse says %.300s", a.weir, n, groups, got, want)
		}
	}
	wantAudit(ctx, t, plan)
}

// holds is the condition that answer i is right in a group.
func (a *answer) holds(i int) string {
	same := fmt.Sprintf("ifNull(toString(a%[1]d), 'null') = ifNull(toString(t%[1]d), 'null')", i)
	if a.right == "" {
		return same
	}
	right := strings.NewReplacer("got", fmt.Sprintf("a%d", i), "want", fmt.Sprintf("t%d", i)).Replace(a.right)
	return fmt.Sprintf("%s OR ifNull(%s, false)", same, right)
}

func quoteIdent(name string) string { return "`" + name + "`" }
