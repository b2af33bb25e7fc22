package clickhouse_test

import (
	"fmt"
	"math/big"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
)

func ptr[T any](v T) *T { return &v }

var day = time.Date(2026, 3, 9, 0, 0, 0, 0, time.UTC)

// columnTypes lists types with values that must come back as they went in.
var columnTypes = []struct {
	typ    string
	values []any
	// literals are inserted as SQL and compared as the engine's own text, before and after a trip through the wire: a
	// SELECT of the column into the client is only checked not to fail
	literals []string
}{
	{"UInt8", []any{uint8(0), uint8(255)}, nil},
	{"UInt16", []any{uint16(1), uint16(65535)}, nil},
	{"UInt32", []any{uint32(1), uint32(1 << 31)}, nil},
	{"UInt64", []any{uint64(1), uint64(1 << 63)}, nil},
	{"Int8", []any{int8(-128), int8(127)}, nil},
	{"Int16", []any{int16(-1), int16(32767)}, nil},
	{"Int32", []any{int32(-1), int32(1 << 30)}, nil},
	{"Int64", []any{int64(-1), int64(1 << 62)}, nil},
	{"Int128", []any{*big.NewInt(-5), *new(big.Int).Lsh(big.NewInt(1), 100)}, nil},
	{"UInt256", []any{*big.NewInt(5), *new(big.Int).Lsh(big.NewInt(1), 200)}, nil},
	{"Float32", []any{float32(1.5), float32(-2)}, nil},
	{"Float64", []any{1.5, -2e300}, nil},
	{"BFloat16", []any{float32(1.5), float32(-2)}, nil},
	{"Bool", []any{true, false}, nil},
	{"String", []any{"", "x\x00y'\\", strings.Repeat("long ", 50_000)}, nil},
	{"FixedString(4)", []any{"abcd", "wxyz"}, nil},
	{"UUID", []any{uuid.MustParse("417ddc5d-e556-4d27-95dd-a34d84e46a50"), uuid.UUID{}}, nil},
	{"Date", []any{day, day.AddDate(0, 1, 0)}, nil},
	{"Date32", []any{day, day.AddDate(-100, 0, 0)}, nil},
	{"DateTime", []any{day.Add(3723 * time.Second)}, nil},
	{"DateTime('UTC')", []any{day.Add(3723 * time.Second)}, nil},
	{"DateTime64(3, 'UTC')", []any{day.Add(3723456 * time.Millisecond)}, nil},
	{"DateTime64(9, 'UTC')", []any{day.Add(123456789)}, nil},
	{"Enum8('a' = 1, 'b, c' = -2)", []any{"a", "b, c"}, nil},
	{"Enum16('a' = 1000, 'b' = 2)", []any{"a", "b"}, nil},
	{"Decimal(9, 2)", []any{decimal.RequireFromString("-12.34")}, nil},
	{"Decimal(18, 4)", []any{decimal.RequireFromString("12.3456")}, nil},
	{"Decimal(38, 10)", []any{decimal.RequireFromString("123456789012345678.0123456789")}, nil},
	{"Decimal(76, 20)", []any{decimal.RequireFromString("1.00000000000000000001")}, nil},
	{"IPv4", []any{net.ParseIP("10.1.2.3").To4()}, nil},
	{"IPv6", []any{net.ParseIP("2001:db8::1")}, nil},
	{"Nullable(UInt32)", []any{ptr(uint32(7)), (*uint32)(nil)}, nil},
	{"Nullable(String)", []any{(*string)(nil), ptr("x")}, nil},
	{"LowCardinality(String)", []any{"a", "b", "a"}, nil},
	{"LowCardinality(Nullable(String))", []any{ptr("a"), (*string)(nil), ptr("a")}, nil},
	{"Array(UInt32)", []any{[]uint32{1, 2, 3}, []uint32{}, []uint32{4}}, nil},
	{"Array(Array(String))", []any{[][]string{{"a"}, {}, {"b", "c"}}, [][]string{}}, nil},
	{"Array(Nullable(Float64))", []any{[]*float64{ptr(1.0), nil}}, nil},
	{"Array(LowCardinality(String))", []any{[]string{"a", "b", "a"}, []string{}}, nil},
	{"Map(String, UInt64)", []any{map[string]uint64{"a": 1, "b": 2}, map[string]uint64{}}, nil},
	{"Map(LowCardinality(String), Array(String))", []any{map[string][]string{"a": {"x", "y"}}}, nil},
	{"Tuple(UInt8, String)", []any{[]any{uint8(1), "x"}}, nil},
	{"Tuple(a UInt8, b Array(String))", nil, []string{"(1,['x'])"}},
	{"Nested(k String, v UInt64)", nil, []string{"[('a',1),('b',2)]"}},
	{"Point", nil, []string{"(1,2)"}},
	{"Polygon", nil, []string{"[[(0,0),(1,1),(0,1)]]"}},
	{"SimpleAggregateFunction(sum, UInt64)", []any{uint64(5)}, nil},
	{"SimpleAggregateFunction(anyLast, Nullable(String))", []any{ptr("x")}, nil},
	{"SimpleAggregateFunction(groupUniqArrayArray, Array(UInt64))", []any{[]uint64{1}}, nil},
	{"Variant(Array(UInt64), String, UInt64)", nil, []string{"x", "[1,2]::Array(UInt64) => [1,2]", "18::UInt64 => 18", "NULL => "}},
	{"Dynamic", nil, []string{"x", "[1,2]", "18::UInt64 => 18", "NULL => "}},
	{"JSON", nil, []string{`{"a":{"b":1},"c":["x","y"]}`, `{}`}},
	{"Time", nil, []string{"12:34:56"}},
}

func TestTypesRoundTrip(t *testing.T) {
	eachTransport(t, func(t *testing.T, conn driver.Conn) {
		for i, c := range columnTypes {
			if len(c.values) == 0 {
				continue
			}
			t.Run(c.typ, func(t *testing.T) {
				table := fmt.Sprintf("t%d", i)
				exec(t, conn, fmt.Sprintf("CREATE TABLE %s (i UInt32, v %s) ENGINE = MergeTree ORDER BY i", table, c.typ))
				batch, err := conn.PrepareBatch(testContext(t), "INSERT INTO "+table+" (i, v)")
				if err != nil {
					t.Fatal(err)
				}
				for n, v := range c.values {
					if err := batch.Append(uint32(n), v); err != nil {
						t.Fatalf("append %v: %v", v, err)
					}
				}
				if err := batch.Send(); err != nil {
					t.Fatal(err)
				}
				rows, err := conn.Query(testContext(t), "SELECT v FROM "+table+" ORDER BY i")
				if err != nil {
					t.Fatal(err)
				}
				defer rows.Close()
				n := 0
				for ; rows.Next(); n++ {
					got := reflect.New(reflect.TypeOf(c.values[n]))
					if err := rows.Scan(got.Interface()); err != nil {
						t.Fatal(err)
					}
					if !same(got.Elem().Interface(), c.values[n]) {
						t.Errorf("row %d: got %v, want %v", n, got.Elem().Interface(), c.values[n])
					}
				}
				if err := rows.Err(); err != nil || n != len(c.values) {
					t.Errorf("%d rows of %d, %v", n, len(c.values), err)
				}
			})
		}
	})
}

// TestTypesAsLiterals covers types whose Go values the client gives in another form than it takes.
func TestTypesAsLiterals(t *testing.T) {
	conn := native(t)
	for i, c := range columnTypes {
		if len(c.literals) == 0 {
			continue
		}
		t.Run(c.typ, func(t *testing.T) {
			table := fmt.Sprintf("t%d", i)
			whole := chgo.Context(testContext(t), chgo.WithSettings(chgo.Settings{"flatten_nested": 0}))
			if err := conn.Exec(whole, fmt.Sprintf("CREATE TABLE %s (i UInt32, v %s) ENGINE = MergeTree ORDER BY i", table, c.typ)); err != nil {
				t.Fatal(err)
			}
			var wants []string
			for n, l := range c.literals {
				expr, want, ok := strings.Cut(l, " => ")
				if !ok {
					expr, want = literal(l), l
				}
				exec(t, conn, fmt.Sprintf("INSERT INTO %s SELECT %d, CAST(%s AS %s)", table, n, expr, c.typ))
				wants = append(wants, want)
			}
			// toString next to the column itself: a walk that loses its place garbles the column after it.
			rows, err := conn.Query(testContext(t), "SELECT v, toString(v) AS s FROM "+table+" ORDER BY i")
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			for n := 0; rows.Next(); n++ {
				v := reflect.New(rows.ColumnTypes()[0].ScanType())
				var s *string
				if err := rows.Scan(v.Interface(), &s); err != nil {
					t.Fatal(err)
				}
				if want := wants[n]; s == nil && want != "NULL" || s != nil && *s != want {
					t.Errorf("row %d: got %v, want %s", n, deref(s), want)
				}
			}
			if err := rows.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

func literal(s string) string {
	if s == "NULL" || s[0] == '[' || s[0] == '(' {
		return s
	}
	return "'" + s + "'"
}

func deref(s *string) string {
	if s == nil {
		return "NULL"
	}
	return *s
}

func same(a, b any) bool {
	switch x := a.(type) {
	case time.Time:
		return x.Equal(b.(time.Time))
	case decimal.Decimal:
		return x.Equal(b.(decimal.Decimal))
	case big.Int:
		y := b.(big.Int)
		return x.Cmp(&y) == 0
	case net.IP:
		return x.Equal(b.(net.IP))
	}
	return reflect.DeepEqual(a, b)
}
