package aggregate

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/ingest/batch"
)

// compatible is an aggregate and the same in SQL.
type compatible struct {
	fn     string
	params []float64
	args   []string
	types  string // the arguments of the state
	sql    string // the arguments, as an expression over the table
	within float64
	sorted bool // the state has an order, so that bytes can be compared
}

var compatibles = []compatible{
	{fn: "var", args: []string{"f"}, types: "Float64", sql: "f", within: 1e-9, sorted: true},
	{fn: "var", args: []string{"i"}, types: "Float64", sql: "toFloat64(i)", within: 1e-9, sorted: true},
	{fn: "var_pop", args: []string{"n"}, types: "Float64", sql: "assumeNotNull(n)", within: 1e-9},
	{fn: "stddev", args: []string{"w"}, types: "Float64", sql: "toFloat64(w)", within: 1e-9, sorted: true},
	{fn: "stddev_pop", args: []string{"f"}, types: "Float64", sql: "f", within: 1e-9, sorted: true},
	{fn: "covar", args: []string{"f", "i"}, types: "Float64, Float64", sql: "f, toFloat64(i)", within: 1e-9, sorted: true},
	{fn: "covar_pop", args: []string{"f", "w"}, types: "Float64, Float64", sql: "f, toFloat64(w)", within: 1e-9, sorted: true},
	{fn: "corr", args: []string{"f", "i"}, types: "Float64, Float64", sql: "f, toFloat64(i)", within: 1e-9, sorted: true},
	{fn: "sum_kahan", args: []string{"f"}, types: "Float64", sql: "f", within: 1e-12},
	{fn: "median", args: []string{"f"}, types: "Float64", sql: "f"},
	{fn: "quantile", params: []float64{0.9}, args: []string{"i"}, types: "Float64", sql: "toFloat64(i)"},
	{fn: "quantiles", params: []float64{0, 0.01, 0.5, 0.99, 1}, args: []string{"f"}, types: "Float64", sql: "f"},
	{fn: "quantile_tdigest", params: []float64{0.9}, args: []string{"f"}, types: "Float64", sql: "f", within: 0.1},
	{fn: "quantiles_tdigest", params: []float64{0.25}, args: []string{"f"}, types: "Float64", sql: "f", within: 0.1},
	{
		fn: "histogram", params: []float64{-10, -1, 0, 0.5, 100}, args: []string{"f"}, types: "Array(UInt64)",
		sql: "arrayMap((lo, hi) -> toUInt64(f >= lo AND f < hi), [-inf, -10, -1, 0, 0.5, 100], [-10, -1, 0, 0.5, 100, inf])", sorted: true,
	},
	{
		fn: "histogram", params: []float64{3}, args: []string{"i"}, types: "Array(UInt64)",
		sql: "[toUInt64(i < 3), toUInt64(i >= 3)]", sorted: true,
	},
	{fn: "uniq", args: []string{"s"}, types: "String", sql: "s"},
	{fn: "uniq", args: []string{"u"}, types: "UInt64", sql: "u"},
	{fn: "uniq_combined", args: []string{"s"}, types: "String", sql: "s"},
	{fn: "uniq_combined", args: []string{"u"}, types: "UInt64", sql: "u"},
	{fn: "uniq_exact", args: []string{"s"}, types: "String", sql: "s"},
	{fn: "uniq_exact", args: []string{"u"}, types: "UInt64", sql: "u"},
	{fn: "first", args: []string{"s", "t"}, types: "String, DateTime64(3, 'UTC')", sql: "s, t", sorted: true},
	{fn: "last", args: []string{"f", "t"}, types: "Float64, DateTime64(3, 'UTC')", sql: "f, t", sorted: true},
	{fn: "argmin", args: []string{"t", "f"}, types: "DateTime64(3, 'UTC'), Float64", sql: "t, f", sorted: true},
	{fn: "argmax", args: []string{"b", "t"}, types: "Bool, DateTime64(3, 'UTC')", sql: "b, t", sorted: true},
	{fn: "any", args: []string{"s"}, types: "String", sql: "s"},
	{fn: "any", args: []string{"w"}, types: "Float32", sql: "w"},
	{fn: "bit_and", args: []string{"u"}, types: "UInt64", sql: "u", sorted: true},
	{fn: "bit_or", args: []string{"i"}, types: "Int32", sql: "i", sorted: true},
	{fn: "bit_xor", args: []string{"u"}, types: "UInt64", sql: "u", sorted: true},
	{fn: "bool_and", args: []string{"b"}, types: "UInt8", sql: "toUInt8(b)", sorted: true},
	{fn: "bool_or", args: []string{"b"}, types: "UInt8", sql: "toUInt8(b)", sorted: true},
	{fn: "sum_map", args: []string{"s", "i"}, types: "Map(String, Int64)", sql: "map(s, toInt64(i))"},
	{fn: "sum_map", args: []string{"i", "u"}, types: "Map(Int32, UInt64)", sql: "map(i, u)"},
	{fn: "sum_map", args: []string{"b", "w"}, types: "Map(Bool, Float64)", sql: "map(b, toFloat64(w))"},
	{fn: "group_bitmap", args: []string{"u"}, types: "UInt64", sql: "u"},
	{fn: "group_bitmap", args: []string{"i"}, types: "UInt64", sql: "reinterpretAsUInt64(toInt64(i))"},
	{fn: "group_array", params: []float64{5}, args: []string{"s"}, types: "String", sql: "s", sorted: true},
	{fn: "group_array", params: []float64{10_000}, args: []string{"t"}, types: "DateTime64(3, 'UTC')", sql: "t", sorted: true},
	{fn: "topk", params: []float64{3}, args: []string{"s"}, types: "String", sql: "s"},
	{fn: "topk", params: []float64{2}, args: []string{"i"}, types: "Int32", sql: "i"},
}

// TestClickHouse merges states made here with those that ClickHouse made, and has it finish them: the answer must be the one
// that it gives for all rows.
func TestClickHouse(t *testing.T) {
	conn := connect(t)
	for _, size := range []struct{ rows, distinct int }{{1, 5}, {40, 7}, {3000, 4}, {3000, 9000}} {
		rows := makeRows(rand.New(rand.NewPCG(uint64(size.rows), uint64(size.distinct))), size.rows, size.distinct)
		run(t, conn, "CREATE OR REPLACE TABLE rows ("+testTable+") ENGINE = MergeTree ORDER BY row")
		run(t, conn, "INSERT INTO rows VALUES "+rows.sql)
		for _, c := range compatibles {
			t.Run(fmt.Sprintf("%s(%s) of %d", c.fn, strings.Join(c.args, ","), size.rows), func(t *testing.T) {
				a, err := plan(c.fn, c.params, c.args...)
				if err != nil {
					t.Fatal(err)
				}
				c.compare(t, conn, a, rows)
			})
		}
	}
}

func (c *compatible) compare(t *testing.T, conn driver.Conn, a *Aggregate, rows *testRows) {
	name, params := a.Function, ""
	if open := strings.IndexByte(name, '('); open >= 0 {
		name, params = name[:open], name[open:]
	}
	from := "(SELECT * FROM rows ORDER BY row)"
	if c.args[0] == "n" {
		from = "(SELECT * FROM rows WHERE n IS NOT NULL ORDER BY row)"
	}
	typ := fmt.Sprintf("AggregateFunction(%s%s, %s)", name, params, c.types)
	third := rows.n / 3
	var made []string
	for _, part := range [][2]int{{0, third}, {third, 2 * third}} {
		if state := emitted(rows.fill(a, part[0], part[1])); len(state) > 0 {
			made = append(made, fmt.Sprintf("SELECT CAST(unhex('%X') AS %s) AS st", state, typ))
		}
	}
	made = append(made, fmt.Sprintf("SELECT %sState%s(%s) AS st FROM %s WHERE row >= %d", name, params, c.sql, from, 2*third))
	got := ask(t, conn, fmt.Sprintf("SELECT toString(%sMerge%s(st)) FROM (%s)", name, params, strings.Join(made, " UNION ALL ")))
	want := ask(t, conn, fmt.Sprintf("SELECT toString(%s%s(%s)) FROM %s", name, params, c.sql, from))
	if !near(got, want, c.within) {
		// Of values that are all as frequent, or equal, any may be given.
		if c.fn != "topk" && c.fn != "any" {
			t.Errorf("merged %s, ClickHouse alone %s", got, want)
		}
	}
	c.compareMerged(t, conn, a, rows, typ)
	all := emitted(rows.fill(a, 0, rows.n))
	if len(all) == 0 {
		return
	}
	got = ask(t, conn, fmt.Sprintf("SELECT toString(%sMerge%s(CAST(unhex('%X') AS %s))) AS answer", name, params, all, typ))
	if !near(got, want, c.within) && (c.fn != "topk" || rows.distinct == 4) {
		t.Errorf("finished %s, ClickHouse alone %s", got, want)
	}
	c.compareAnswer(t, conn, a, rows, from, want)
	if !c.sorted {
		return
	}
	bytes := ask(t, conn, fmt.Sprintf("SELECT hex(%sState%s(%s)) FROM %s SETTINGS max_threads = 1", name, params, c.sql, from))
	if mine := strings.ToUpper(hex.EncodeToString(all)); mine != bytes && c.within == 0 {
		t.Errorf("state\n%.200s\nand ClickHouse's\n%.200s", mine, bytes)
	} else if len(mine) != len(bytes) {
		t.Errorf("a state of %d bytes, and ClickHouse's of %d", len(mine)/2, len(bytes)/2)
	}
}

// compareAnswer finishes a state here: the answer must be the one of ClickHouse, as it makes a text of it.
func (c *compatible) compareAnswer(t *testing.T, conn driver.Conn, a *Aggregate, rows *testRows, from, want string) {
	t.Helper()
	if err := a.CheckAnswer(); err != nil {
		if _, aerr := a.Answers(states0(a, rows.fill(a, 0, 1)), 1); aerr == nil {
			t.Errorf("it is answered, and %v", err)
		}
		return
	}
	if !a.Nullable { // a filter may leave a group without a value
		none := ask(t, conn, fmt.Sprintf("SELECT toString(%s(%s)) FROM %s WHERE 0", a.Function, c.sql, from))
		if got := c.answer(t, a, rows.fill(a, 0, 0)); !near(got, none, 0) && a.Type.Kind != batch.Bool { // a 255 there
			t.Errorf("of no rows, answered %s, ClickHouse %s", got, none)
		}
	}
	if got := c.answer(t, a, rows.fill(a, 0, rows.n)); !near(got, want, max(c.within, 1e-12)) && c.fn != "any" {
		t.Errorf("answered %s, ClickHouse %s", got, want)
	}
}

// answer finishes the state of group 0 and writes it as ClickHouse does.
func (c *compatible) answer(t *testing.T, a *Aggregate, acc Accumulator) string {
	t.Helper()
	answer, err := a.Answers(states0(a, acc), 1)
	if err != nil {
		t.Fatal(err)
	}
	got := string(batch.AppendCellJSON(nil, a.Type, &answer, 0))
	switch a.Type.Kind {
	case batch.String:
		got = strings.Trim(got, `"`)
	case batch.Timestamp:
		at, err := time.Parse(time.RFC3339, strings.Trim(got, `"`))
		if err != nil {
			t.Fatal(err)
		}
		got = at.Format("2006-01-02 15:04:05.000")
	case batch.Float64, batch.Float32:
		if text, ok := map[string]string{`"NaN"`: "nan", `"Infinity"`: "inf"}[got]; ok {
			return text
		}
	case batch.Bool:
		if text, ok := map[string]string{"bool_and": "01", "bool_or": "01"}[a.Func]; ok { // of a number there
			return text[strings.Index("false true", got)/6:][:1]
		}
	}
	return got
}

// compareMerged merges two states here, and has ClickHouse merge the same two.
func (c *compatible) compareMerged(t *testing.T, conn driver.Conn, a *Aggregate, rows *testRows, typ string) {
	name, params := a.Function, ""
	if open := strings.IndexByte(name, '('); open >= 0 {
		name, params = name[:open], name[open:]
	}
	finish := func(accs ...Accumulator) string {
		var states []string
		for i, acc := range accs {
			states = append(states, fmt.Sprintf("SELECT %d AS n, CAST(unhex('%X') AS %s) AS st", i, emitted(acc), typ))
		}
		return ask(t, conn, fmt.Sprintf("SELECT toString(%sMerge%s(st)) FROM (SELECT st FROM (%s) ORDER BY n) SETTINGS max_threads = 1",
			name, params, strings.Join(states, " UNION ALL ")))
	}
	first, second := rows.fill(a, 0, rows.n/3), rows.fill(a, rows.n/3, rows.n)
	if len(emitted(first)) == 0 || len(emitted(second)) == 0 {
		return
	}
	merged := rows.fill(a, 0, rows.n/3)
	mergeInto(t, a, merged, second)
	if got, want := finish(merged), finish(first, second); !near(got, want, c.within) && c.fn != "topk" {
		t.Errorf("merged here %s, by ClickHouse %s", got, want)
	} else if got != want {
		t.Logf("merged here %s, by ClickHouse %s", got, want)
	}
}

// near compares answers, which may be numbers.
func near(a, b string, within float64) bool {
	x, errX := strconv.ParseFloat(strings.Trim(a, "[]"), 64)
	y, errY := strconv.ParseFloat(strings.Trim(b, "[]"), 64)
	if strings.HasPrefix(a, "{") { // pairs of a map are in any order
		return slices.Equal(slices.Sorted(strings.SplitSeq(a[1:len(a)-1], ",")), slices.Sorted(strings.SplitSeq(b[1:len(b)-1], ",")))
	}
	if errX != nil || errY != nil || within == 0 {
		return a == b
	}
	return a == b || math.Abs(x-y) <= within*max(1, math.Abs(x), math.Abs(y))
}

func connect(t *testing.T) driver.Conn {
	t.Helper()
	o, err := clickhouse.ParseDSN(embeddedtest.ClickHouse(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := clickhouse.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func run(t *testing.T, conn driver.Conn, sql string) {
	t.Helper()
	if err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
}

func ask(t *testing.T, conn driver.Conn, sql string) string {
	t.Helper()
	var out string
	if err := conn.QueryRow(t.Context(), sql).Scan(&out); err != nil {
		t.Fatalf("%.300s: %.300v", sql, err)
	}
	return out
}
