package clickhouse_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/embedded/clickhouse"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// states are the aggregate functions whose states the server can send and receive on the native port.
var states = []struct{ typ, expr string }{
	{"count", "countState()"},
	{"count, UInt64", "countState(n)"},
	{"count, Nullable(UInt64)", "countState(toNullable(n))"},
	{"countIf, UInt8", "countIfState(n % 2)"},
	{"sum, UInt64", "sumState(n)"},
	{"sum, Float64", "sumState(toFloat64(n))"},
	{"sum, Int32", "sumState(toInt32(n))"},
	{"sum, Decimal(18, 2)", "sumState(toDecimal64(n, 2))"},
	{"sum, Nullable(UInt64)", "sumState(if(n % 2, NULL, n))"},
	{"sumIf, UInt64, UInt8", "sumIfState(n, toUInt8(n % 2))"},
	{"sumCount, Float64", "sumCountState(toFloat64(n))"},
	{"avg, Float64", "avgState(toFloat64(n))"},
	{"avg, UInt32", "avgState(toUInt32(n))"},
	{"min, Float64", "minState(toFloat64(n))"},
	{"max, String", "maxState(toString(n))"},
	{"max, DateTime64(3)", "maxState(toDateTime64(n, 3))"},
	{"max, Nullable(Int64)", "maxState(if(n > 3, NULL, toInt64(n)))"},
	{"any, LowCardinality(String)", "anyState(toLowCardinality(toString(n)))"},
	{"anyLast, UInt8", "anyLastState(toUInt8(n))"},
	{"argMax, String, UInt64", "argMaxState(toString(n), n)"},
	{"argMin, Float64, DateTime64(3)", "argMinState(toFloat64(n), toDateTime64(n, 3))"},
	{"varSamp, Float64", "varSampState(toFloat64(n))"},
	{"stddevPop, Float64", "stddevPopState(toFloat64(n))"},
	{"uniq, String", "uniqState(toString(n))"},
	{"uniq, UInt64", "uniqState(n)"},
	{"uniqExact, UInt64", "uniqExactState(n)"},
	{"uniqExact, String", "uniqExactState(toString(n))"},
	{"uniqHLL12, String", "uniqHLL12State(toString(n))"},
	{"uniqCombined(12), UInt64", "uniqCombinedState(12)(n)"},
	{"uniqCombined, String", "uniqCombinedState(toString(n))"},
	{"uniqCombined64(14), String", "uniqCombined64State(14)(toString(n))"},
	{"groupBitmap, UInt32", "groupBitmapState(toUInt32(n))"},
	{"quantilesDD(0.01, 0.5, 0.99), Float64", "quantilesDDState(0.01, 0.5, 0.99)(toFloat64(n) - 5)"},
	{"quantilesTDigest(0.5), Float64", "quantilesTDigestState(0.5)(toFloat64(n))"},
	{"quantileBFloat16(0.5), Float64", "quantileBFloat16State(0.5)(toFloat64(n))"},
	{"quantilesExactWeighted(0.5), UInt64, UInt64", "quantilesExactWeightedState(0.5)(n, toUInt64(1))"},
	{"groupArray, UInt64", "groupArrayState(n)"},
	{"groupArray, String", "groupArrayState(toString(n))"},
	{"sumMap, Array(String), Array(UInt64)", "sumMapState([toString(n % 5)], [n])"},
	{"topK(3), String", "topKState(3)(toString(n))"},
}

// TestStates reads states over the native protocol, where nothing but the server's own rules says where each ends, and
// inserts the very same bytes again. A raw client does it: clickhouse-go refuses the type.
func TestStates(t *testing.T) {
	server := embeddedtest.Server(t)
	if server == nil {
		t.Skip("about the embedded server's own rules")
	}
	conn := native(t)
	db := scan[string](t, conn, "SELECT currentDatabase()")
	// mark, after the states, tells whether the walk kept its place. The states' own bytes may come back in another order.
	sumOf := func(final string) string {
		return "SELECT toString(cityHash64(groupArray((g, length(hex(v)), toString(" + final + "), mark)))) FROM (SELECT * FROM s ORDER BY g)"
	}
	for _, s := range states {
		sum := sumOf("finalizeAggregation(v)")
		if strings.HasPrefix(s.typ, "topK") { // equally frequent values have no order
			sum = sumOf("length(finalizeAggregation(v))")
		}
		for _, rows := range []int{1, 3, 40, 100_000} {
			t.Run(fmt.Sprint(s.typ, "/", rows), func(t *testing.T) {
				exec(t, conn, "CREATE OR REPLACE TABLE s (g UInt64, v AggregateFunction("+s.typ+"), mark String) ENGINE = Memory")
				exec(t, conn, fmt.Sprintf("INSERT INTO s SELECT g, %s, 'mark' || toString(g) FROM (SELECT number %% 3 AS g, number AS n FROM numbers(%d)) GROUP BY g", s.expr, rows))
				want := scan[string](t, conn, sum)
				raw, err := clickhouse.DialRaw(server.Native, db)
				if err != nil {
					t.Fatal(err)
				}
				defer raw.Close()
				raw.PutQuery("SELECT g, v, mark FROM s ORDER BY g")
				if err := raw.Flush(); err != nil {
					t.Fatal(err)
				}
				blocks, err := raw.Answer(false)
				if err != nil {
					t.Fatal(err)
				}
				exec(t, conn, "TRUNCATE TABLE s")
				raw.PutQuery("INSERT INTO s (g, v, mark) VALUES")
				if err := raw.Flush(); err != nil {
					t.Fatal(err)
				}
				if _, err := raw.Answer(true); err != nil {
					t.Fatal(err)
				}
				for _, b := range blocks[1:] { // without the header, with the empty block at the end
					raw.PutBlock(b)
				}
				if err := raw.Flush(); err != nil {
					t.Fatal(err)
				}
				if _, err := raw.Answer(false); err != nil {
					t.Fatal(err)
				}
				if got := scan[string](t, conn, sum); got != want {
					t.Errorf("the states changed on the way")
				}
			})
		}
	}
}
