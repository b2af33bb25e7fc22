package clickhouse_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// edges are the lowest and highest value of a type as it is sent, and how ClickHouse shows them.
func edges(t batch.Type) (lo, hi any, loText, hiText string) {
	year1900 := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	last := time.Unix(0, math.MaxInt64).UTC().Truncate(time.Second)
	switch t.Kind {
	case batch.Bool:
		return false, true, "false", "true"
	case batch.Int8:
		return int8(math.MinInt8), int8(math.MaxInt8), "-128", "127"
	case batch.Int16:
		return int16(math.MinInt16), int16(math.MaxInt16), "-32768", "32767"
	case batch.Int32:
		return int32(math.MinInt32), int32(math.MaxInt32), "-2147483648", "2147483647"
	case batch.Int64:
		return int64(math.MinInt64), int64(math.MaxInt64), "-9223372036854775808", "9223372036854775807"
	case batch.Uint8:
		return uint8(0), uint8(math.MaxUint8), "0", "255"
	case batch.Uint16:
		return uint16(0), uint16(math.MaxUint16), "0", "65535"
	case batch.Uint32:
		return uint32(0), uint32(math.MaxUint32), "0", "4294967295"
	case batch.Uint64:
		return uint64(0), uint64(math.MaxUint64), "0", "18446744073709551615"
	case batch.Float32:
		return float32(-1.5), float32(math.Inf(1)), "-1.5", "inf"
	case batch.Float64:
		return -1e300, math.Inf(1), "-1e300", "inf"
	case batch.Decimal:
		most, _ := batch.Int128Of(1).MulPow10(int(t.Precision) - 1)
		most = most.Add(batch.Int128Of(7)) // and not more zeros than are shown
		text := string(batch.AppendDecimal(nil, most, int(t.Scale)))
		return most.Neg(), most, "-" + text, text
	case batch.String:
		return "", "Zoë\x00", "", "Zoë\x00"
	case batch.Binary:
		return "", "\xff\x00", "", "\xff\x00"
	case batch.Date32:
		return int32(-25_567), int32(120_529), "1900-01-01", "2299-12-31"
	}
	per := t.Unit.PerSecond()
	fraction := map[batch.Unit]string{batch.Second: "", batch.Millisecond: ".000", batch.Microsecond: ".000000", batch.Nanosecond: ".000000000"}[t.Unit]
	return year1900.Unix() * per, last.Unix() * per, "1900-01-01 00:00:00" + fraction, "2262-04-11 23:47:16" + fraction
}

// Every type arrives as it was sent: as key, as nullable key, as state, at the ends of its range, and null.
func TestEveryType(t *testing.T) {
	b := newBed(t)
	b.tab, b.cfg.Table = everyType(), "every"
	b.sink = b.open(b.cfg)
	b.apply()
	if err := b.sink.Check(b.ctx()); err != nil {
		t.Fatal(err)
	}

	schema := b.tab.Schema()
	bb := newBuilder(schema)
	for i := range 3 {
		cells := []any{int64(1_700_000_000_000), int64(1_700_000_010_000), uint64(1)}
		for _, field := range schema.Fields[3:] {
			lo, hi, _, _ := edges(field.Type)
			v := []any{lo, hi, lo}[i]
			if i == 2 && field.Nullable {
				v = nil
			}
			if field.Name == "k_int64" {
				v = int64(i) // to order by
			}
			cells = append(cells, v)
		}
		bb.add(cells...)
	}
	c := b.cut(source{}, 3)
	c.Rows = bb.batch()
	c.Coverage.Counters = sink.Counters{RecordsIn: 3, Aggregated: 3}
	c.Coverage.Content = contentOf(c)
	b.write(c)
	b.write(c)

	for _, field := range schema.Fields[3:] {
		if field.Name == "k_int64" || field.Name == "readings" {
			continue
		}
		_, _, lo, hi := edges(field.Type)
		want := []string{lo, hi, lo}
		if field.Nullable {
			want[2] = "null"
		}
		got := b.ask(fmt.Sprintf("SELECT ifNull(toString(`%s`), 'null') FROM every ORDER BY k_int64", field.Name))
		if strings.Join(got, ",") != strings.Join(want, ",") {
			t.Errorf("%s: got %q, want %q", field, got, want)
		}
	}
	// A row is found by its keys as the view shows them.
	for i := range 3 {
		at := clickhouse.RowAddress{At: time.UnixMilli(1_700_000_009_999), Keys: map[string]*string{}}
		for _, k := range b.tab.Keys {
			text := b.ask(fmt.Sprintf("SELECT ifNull(toString(`%s`), 'no value') FROM every ORDER BY k_int64", k.Name))[i]
			if at.Keys[k.Name] = &text; text == "no value" {
				at.Keys[k.Name] = nil
			}
		}
		l, err := b.sink.Lineage(b.ctx(), at)
		if err != nil {
			t.Fatalf("row %d: %v", i, err)
		}
		text, err := json.Marshal(l)
		if err != nil || l.Rows != 1 || len(l.Sources) != 1 || len(l.Answer) != len(b.tab.Aggregates) || !json.Valid(text) {
			t.Errorf("row %d: %v\n%s", i, err, text)
		}
	}
	if r := b.audit(); !r.OK || r.Partitions[0].Segments[0].Content != "ok" {
		t.Errorf("%+v", r.Partitions)
	}
}

func TestTimesOutOfRangeAreRefused(t *testing.T) {
	b := newBed(t)
	b.tab, b.cfg.Table = everyType(), "every"
	b.sink = b.open(b.cfg)
	schema := b.tab.Schema()
	for _, field := range schema.Fields {
		if field.Type.Kind != batch.Timestamp && field.Type.Kind != batch.Date32 {
			continue
		}
		for _, end := range []int{-1, 1} {
			bb := newBuilder(schema)
			var cells []any
			for _, o := range schema.Fields {
				lo, hi, _, _ := edges(o.Type)
				switch {
				case o.Name != field.Name:
					cells = append(cells, lo)
				case o.Type.Kind == batch.Date32 && end < 0:
					cells = append(cells, lo.(int32)-1)
				case o.Type.Kind == batch.Date32:
					cells = append(cells, hi.(int32)+1)
				case end < 0:
					cells = append(cells, lo.(int64)-1)
				default:
					cells = append(cells, hi.(int64)+1)
				}
			}
			bb.add(cells...)
			c := b.cut(source{}, 3)
			c.Rows = bb.batch()
			err := b.sink.Write(b.ctx(), []*sink.Cut{c})
			var e *sink.Error
			if !errors.As(err, &e) || e.Class != sink.Reject || !strings.Contains(err.Error(), "column "+field.Name+": ") {
				t.Errorf("%s beyond its end (%d): %v", field, end, err)
			}
		}
	}
}

// Windows long ago and far ahead are found by time: their partition does not wrap around.
func TestWindowsOutsideTheRangeOfDate(t *testing.T) {
	b := newBed(t)
	years := []int{1900, 1950, 1969, 1970, 2023, 2106, 2149, 2150, 2261}
	var rows []row
	for _, y := range years {
		rows = append(rows, row{time.Date(y, 7, 1, 0, 0, 0, 0, time.UTC).Unix(), fmt.Sprint(y), 1, f(1), 1, f(1)})
	}
	b.write(b.cut(source{}, 10, rows...))
	for _, y := range years {
		sql := fmt.Sprintf(`SELECT device FROM temps WHERE window_start >= toDateTime64('%d-06-30 00:00:00', 3, 'UTC')
			AND window_start < toDateTime64('%d-07-02 00:00:00', 3, 'UTC')`, y, y)
		if got := b.ask(sql); len(got) != 1 || got[0] != fmt.Sprint(y) {
			t.Errorf("in %d: %q", y, got)
		}
		part := fmt.Sprintf("%d0701", y)
		if got := b.ask("SELECT DISTINCT partition FROM system.parts WHERE database = currentDatabase() AND table = 'temps_partials' AND partition = '" + part + "'"); len(got) != 1 {
			t.Errorf("there is no partition %s", part)
		}
	}
}

// A TTL drops what is old and nothing else.
func TestTTL(t *testing.T) {
	b := newBed(t)
	b.cfg.Table, b.cfg.TTL = "short", 24*time.Hour
	b.sink = b.open(b.cfg)
	b.apply()
	var rows []row
	now := time.Now().Unix() / 10 * 10
	for i, at := range []int64{now, now - 40*3600, -1_000_000_000, 4_300_000_000, 7_000_000_000} { // the last two: 2106 and 2191
		rows = append(rows, row{at, fmt.Sprint(i), 1, f(1), 1, f(1)})
	}
	b.write(b.cut(source{}, 10, rows...))
	b.exec("OPTIMIZE TABLE short_partials FINAL")
	b.exec("ALTER TABLE short_partials MATERIALIZE TTL SETTINGS mutations_sync = 2")
	if got := b.ask("SELECT device FROM short ORDER BY device"); strings.Join(got, " ") != "0 3 4" {
		t.Errorf("left are %q, want 0 3 4", got)
	}
	if r := b.audit(); !r.OK || len(r.Partitions[0].Notes) != 1 || r.Partitions[0].Segments[0].Stored != "expired" {
		t.Errorf("%+v", r.Partitions)
	}
}

// Merging over partitions follows the rules of the aggregates: nulls and NaN are passed over unless there is nothing else.
func TestMergeOfNullsAndNaN(t *testing.T) {
	nan := f(math.NaN())
	for i, c := range []struct {
		values []*float64
		want   string
	}{
		{[]*float64{nil, nil}, "null"},
		{[]*float64{nil, f(2), f(1)}, "2"},
		{[]*float64{nan, f(2), nil}, "2"},
		{[]*float64{f(2), nan}, "2"},
		{[]*float64{nan, nan}, "nan"},
		{[]*float64{f(math.Inf(-1)), nan}, "-inf"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			b := newBed(t)
			for p, v := range c.values {
				b.write(b.cut(source{partition: int32(p)}, 1, row{1_700_000_000, "a", 1, nil, 0, v}))
			}
			b.want(fmt.Sprintf("1700000000 a %d null %s", len(c.values), c.want))
		})
	}
}

func TestAnswersOfAnotherTypeThanTheirStates(t *testing.T) {
	b := newBed(t)
	b.tab, b.cfg.Table = narrowSum(), "n"
	b.sink = b.open(b.cfg)
	b.apply()
	for p := range int32(3) {
		c := b.cut(source{partition: p}, 3)
		bb := newBuilder(b.tab.Schema())
		bb.add(int64(1_700_000_000_000), int64(1_700_000_010_000), uint64(1), int16(30_000), int16(-p), int64(-5), uint64(2))
		c.Rows = bb.batch()
		b.write(c)
	}
	got := b.ask("SELECT concatWithSeparator(' ', toString(s), toTypeName(s), toString(least), toTypeName(least), toString(mean), toTypeName(mean)) FROM n")
	want := "90000 Nullable(Int32) -2 Int16 -2.5 Float32"
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Totals of decimals are exact, over partitions too, and null where they have more than 38 digits: ClickHouse's own would wrap around.
func TestTotalsOfDecimals(t *testing.T) {
	total, most := batch.DecimalOf(38, 2), batch.Int128{}
	most, _ = batch.Int128Of(9).MulPow10(37)
	cases := []struct {
		values []any
		want   string
	}{
		{[]any{batch.Int128Of(10), batch.Int128Of(-35)}, "-0.25 -0.25 -0.0625"},
		{[]any{most, batch.Int128Of(-1)}, "899999999999999999999999999999999999.99 899999999999999999999999999999999999.99 2.25e35"},
		{[]any{most, most}, "null null null"},
		{[]any{most.Neg(), most.Neg(), most}, "-900000000000000000000000000000000000 -900000000000000000000000000000000000 -1.5e35"},
		{[]any{batch.Int128{Lo: ^uint64(0), Hi: 1<<63 - 1}, most.Neg(), most.Neg()}, "null null null"},
		{[]any{nil, batch.Int128Of(5)}, "0.05 0.05 0.0125"},
		{[]any{nil, nil}, "null 0 null"},
	}
	b := newBed(t)
	b.tab, b.cfg.Table = temperature(), "d"
	b.tab.Keys = []batch.Field{{Name: "k", Type: kind(batch.Int64)}}
	b.tab.Aggregates = []sink.Aggregate{
		{Name: "s", Type: total, Nullable: true, States: []sink.State{{Field: batch.Field{Name: "s", Type: total, Nullable: true}}}},
		{Name: "mean", Type: kind(batch.Float64), Nullable: true, Finish: sink.FinishRatio, States: []sink.State{
			{Field: batch.Field{Name: "mean__sum", Type: total, Nullable: true}},
			{Field: batch.Field{Name: "mean__count", Type: kind(batch.Uint64)}},
		}},
		{Name: "plain", Type: total, States: []sink.State{{Field: batch.Field{Name: "plain", Type: total}}}},
		{Name: "wide", Type: total, Nullable: true, States: []sink.State{{Field: batch.Field{Name: "wide", Type: total}}}},
	}
	b.sink = b.open(b.cfg)
	b.apply()
	for p := range 3 {
		cut := b.cut(source{partition: int32(p)}, 3)
		bb := newBuilder(b.tab.Schema())
		for k, c := range cases {
			if p >= len(c.values) {
				continue
			}
			v, sure := c.values[p], c.values[p]
			if v == nil {
				sure = batch.Int128{}
			}
			bb.add(int64(1_700_000_000_000), int64(1_700_000_010_000), uint64(1), int64(k), v, v, uint64(2), batch.Int128Of(int64(p)), sure)
		}
		cut.Rows = bb.batch()
		b.write(cut)
	}
	types := b.ask("SELECT concatWithSeparator(' ', toTypeName(s), toTypeName(mean), toTypeName(plain), toTypeName(wide)) FROM d LIMIT 1")
	if want := "Nullable(Decimal(38, 2)) Nullable(Float64) Decimal(38, 2) Nullable(Decimal(38, 2))"; len(types) != 1 || types[0] != want {
		t.Errorf("%q", types)
	}
	got := b.ask("SELECT concatWithSeparator(' ', ifNull(toString(s), 'null'), ifNull(toString(wide), 'null'), ifNull(toString(mean), 'null')) FROM d ORDER BY k")
	if len(got) != len(cases) {
		t.Fatalf("%q", got)
	}
	for k, c := range cases {
		if got[k] != c.want {
			t.Errorf("%v: got %q, want %q", c.values, got[k], c.want)
		}
	}
}
