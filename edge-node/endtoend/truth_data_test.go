package endtoend

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/flightstest"
)

// What the estimates are held to. They are the same as ClickHouse's of all rows at once, and near the truth: a quantile within 1 % of a value
// beside its place, a count of different values within five standard errors of 1.6 %, or 3, and frequent values short by what a counter
// can be wrong.
const (
	rightQuantile = `got = want.1 AND got >= 0.99 * want.2[1 + toUInt64(floor(LEVEL * (length(want.2) - 1)))]
		AND got <= 1.01 * want.2[1 + toUInt64(ceil(LEVEL * (length(want.2) - 1)))]`
	rightCombined = "got = want.1 AND abs(toFloat64(got) - want.2) <= if(want.2 <= 512, 0, 0.04 * want.2)"
	rightUniq     = "got = want.1 AND abs(toFloat64(got) - want.2) <= greatest(3, 0.08 * want.2)"
	rightDigest   = `got >= want[1 + toUInt64(floor(greatest(0, LEVEL - 0.02) * (length(want) - 1)))]
		AND got <= want[1 + toUInt64(ceil(least(1, LEVEL + 0.02) * (length(want) - 1)))]`
	rightTopK = `length(got) = least(10, length(want))
		AND arrayAll(x -> want[x] + arraySum(mapValues(want)) / 30 >= arrayReverseSort(mapValues(want))[length(got)], got)`
	rightTop3 = "arrayMap(x -> want[x], got) = arrayReverseSort(mapValues(want))"
)

// level is a condition about a quantile of this level.
func level(condition, at string) string { return strings.ReplaceAll(condition, "LEVEL", at) }

func flightsTruth(t *testing.T) *truth {
	t.Helper()
	tr := &truth{
		name: "flights", key: "carrier", days: 30,
		columns: `id: int64, ts: "timestamp[ms]", carrier: string, tail: string?, origin: string, dest: string, flight: int32, v: int32, dep_delay: int32?, arr_delay: int32?, air: float64?`,
		raw: `id Int64, ts DateTime64(3, 'UTC'), carrier String, tail Nullable(String), origin String, dest String, flight Int32, v Int32,
			dep_delay Nullable(Int32), arr_delay Nullable(Int32), air Nullable(Float64)`,
		answers: []answer{
			{weir: "count()", sql: "count()"},
			{weir: "count(dep_delay)", sql: "count(dep_delay)"},
			{weir: "count() filter (where dep_delay > 60)", sql: "countIf(dep_delay > 60)"},
			{weir: "sum(v)", sql: "sum(v)"},
			{weir: "sum(dep_delay)", sql: "sum(dep_delay)"},
			{weir: "sum(air * 2) filter (where origin == 'JFK')", sql: "sumIf(air * 2, origin = 'JFK')"},
			{weir: "min(arr_delay)", sql: "min(arr_delay)"},
			{weir: "min(tail)", sql: "min(tail)"},
			{weir: "max(ts)", sql: "max(ts)"},
			{weir: "max(dest)", sql: "max(dest)"},
			{weir: "avg(arr_delay)", sql: "avg(arr_delay)"},
			{weir: "sum_kahan(air)", sql: "sumKahan(air)"},
			{weir: "var(air)", sql: "varSampStable(air)", right: within(1e-9)},
			{weir: "var_pop(v)", sql: "varPop(v)", right: within(1e-9)},
			{weir: "stddev(v)", sql: "stddevSampStable(v)", right: within(1e-9)},
			{weir: "stddev_pop(arr_delay)", sql: "stddevPop(arr_delay)", right: within(1e-9)},
			{weir: "covar(dep_delay, arr_delay)", sql: "covarSampStable(dep_delay, arr_delay)", right: within(1e-9)},
			{weir: "covar_pop(v, air)", sql: "covarPop(v, air)", right: within(1e-9)},
			{weir: "corr(dep_delay, arr_delay)", sql: "corrStable(dep_delay, arr_delay)", right: within(1e-9)},
			{weir: "median(air)", sql: "tuple(quantileDD(0.01, 0.5)(air), arraySort(groupArray(air)))", right: level(rightQuantile, "0.5")},
			{weir: "quantile(v, 0.9)", sql: "tuple(quantileDD(0.01, 0.9)(v), arraySort(groupArray(v)))", right: level(rightQuantile, "0.9")},
			{weir: "quantiles(dep_delay, 0.1, 0.5, 0.99)", sql: "quantilesDD(0.01, 0.1, 0.5, 0.99)(toFloat64(dep_delay))"},
			{weir: "quantile_tdigest(v, 0.9)", sql: "arraySort(groupArray(v))", right: level(rightDigest, "0.9")},
			{weir: "quantiles_tdigest(v, 0.5)", sql: "arraySort(groupArray(v))", right: strings.ReplaceAll(level(rightDigest, "0.5"), "got", "got[1]")},
			{weir: "histogram(v, 100, 500, 1000.5, 2475)", sql: "[countIf(v < 100), countIf(v >= 100 AND v < 500), countIf(v >= 500 AND v < 1000.5), countIf(v >= 1000.5 AND v < 2475), countIf(v >= 2475)]"},
			{weir: "uniq(tail)", sql: "tuple(uniqHLL12(tail), uniqExact(tail))", right: rightUniq},
			{weir: "uniq(flight)", sql: "tuple(uniqHLL12(toUInt64(flight)), uniqExact(flight))", right: rightUniq},
			{weir: "uniq_combined(tail)", sql: "tuple(uniqCombined64(14)(tail), uniqExact(tail))", right: rightCombined},
			{weir: "uniq_combined(flight)", sql: "tuple(uniqCombined64(14)(toUInt64(flight)), uniqExact(flight))", right: rightCombined},
			{weir: "uniq_exact(tail)", sql: "uniqExact(tail)"},
			{weir: "uniq_exact(arr_delay)", sql: "uniqExact(arr_delay)"},
			{weir: "topk(dest, 10)", sql: "sumMap(map(dest, toUInt64(1)))", right: rightTopK},
			{weir: "topk(origin, 3)", sql: "sumMap(map(origin, toUInt64(1)))", right: rightTop3},
			{weir: "first(tail)", sql: "argMinIf(tail, ts, tail IS NOT NULL)"},
			{weir: "last(dest)", sql: "argMax(dest, ts)"},
			{weir: "argmin(tail, arr_delay * 1000000 + id)", sql: "argMinIf(tail, arr_delay * 1000000 + id, tail IS NOT NULL AND arr_delay IS NOT NULL)"},
			{weir: "argmax(dep_delay, ts)", sql: "argMaxIf(dep_delay, ts, dep_delay IS NOT NULL)"},
			{weir: "any(dest)", sql: "groupUniqArray(dest)", right: "has(want, got)"},
			{weir: "bit_and(flight)", sql: "groupBitAnd(flight)"},
			{weir: "bit_or(dep_delay)", sql: "groupBitOr(dep_delay)"},
			{weir: "bit_xor(id)", sql: "groupBitXor(id)"},
			{weir: "bool_and(v > 100)", sql: "CAST(min(v > 100) AS Bool)"},
			{weir: "bool_or(arr_delay > 300)", sql: "CAST(max(arr_delay > 300) AS Nullable(Bool))"},
			{weir: "sum_map(dest, v)", sql: "sumMap(map(dest, toInt64(v)))", right: "mapSort(got) = mapSort(want)"},
			{weir: "group_bitmap(flight)", sql: "uniqExact(flight)"},
			{weir: "group_array(id, 10000)", sql: "groupArray(id)", right: "arraySort(got) = arraySort(want)"},
			{weir: "group_array(id, 5)", sql: "arraySlice(arraySort(groupArray(id)), 1, 5)", inOrder: true},
		},
	}
	tr.answers = append(tr.answers, overTime...)
	null := func(v int32) *int32 {
		if v == flightstest.Missing {
			return nil
		}
		return &v
	}
	type row struct {
		ID       int     `json:"id"`
		At       int64   `json:"ts"`
		Carrier  string  `json:"carrier"`
		Tail     *string `json:"tail"`
		Origin   string  `json:"origin"`
		Dest     string  `json:"dest"`
		Flight   int32   `json:"flight"`
		Distance int32   `json:"v"`
		Dep      *int32  `json:"dep_delay"`
		Arr      *int32  `json:"arr_delay"`
		Air      *int32  `json:"air"`
	}
	for i, f := range flightstest.Flights(t) {
		r := row{i, f.At, f.Carrier, &f.Tail, f.Origin, f.Dest, f.Number, f.Distance, null(f.DepDelay), null(f.ArrDelay), null(f.AirMinutes)}
		if f.Tail == "" {
			r.Tail = nil
		}
		var air *float64
		if r.Air != nil {
			v := float64(*r.Air)
			air = &v
		}
		tr.rows = append(tr.rows, truthRow{json: encode(t, r), values: []any{
			int64(i), time.UnixMilli(f.At).UTC(), f.Carrier, r.Tail, f.Origin, f.Dest, f.Number, f.Distance, r.Dep, r.Arr, air,
		}})
	}
	return tr
}

// overTime are the aggregates that take the rows of a key in order; v0 is the value before, and dt the seconds since.
var overTime = []answer{
	{weir: "delta(v)", sql: "sum(toFloat64(if(v < v0, v, v - v0)))", right: within(1e-9), inOrder: true},
	{weir: "rate(v)", sql: "sum(toFloat64(if(v < v0, v, v - v0))) / sum(dt)", right: within(1e-9), inOrder: true},
	{weir: "time_avg(v)", sql: "sum(v0 * dt) / sum(dt)", right: within(1e-9), inOrder: true},
}

// weatherTruth has numbers with digits, and values that are often missing.
func weatherTruth(t *testing.T) *truth {
	t.Helper()
	tr := &truth{
		name: "weather", key: "origin", days: 10,
		columns: `ts: "timestamp[ms]", origin: string, v: float64, wind: float64?, gust: float64?`,
		raw:     `ts DateTime64(3, 'UTC'), origin String, v Float64, wind Nullable(Float64), gust Nullable(Float64)`,
		answers: append([]answer{
			{weir: "count(gust)", sql: "count(gust)"},
			{weir: "sum(v)", sql: "sum(v)", right: within(1e-12)},
			{weir: "sum_kahan(wind)", sql: "sumKahan(wind)", right: within(1e-13)},
			{weir: "avg(gust)", sql: "avg(gust)", right: within(1e-12)},
			{weir: "min(wind)", sql: "min(wind)"},
			{weir: "max(gust)", sql: "max(gust)"},
			{weir: "stddev(v)", sql: "stddevSampStable(v)", right: within(1e-9)},
			{weir: "var_pop(gust)", sql: "varPopStable(gust)", right: within(1e-9)},
			{weir: "corr(v, wind)", sql: "corrStable(v, wind)", right: within(1e-9)},
			{weir: "median(v)", sql: "tuple(quantileDD(0.01, 0.5)(v), arraySort(groupArray(v)))", right: level(rightQuantile, "0.5")},
			{weir: "uniq(wind)", sql: "tuple(uniqHLL12(reinterpretAsUInt64(wind)), uniqExact(wind))", right: rightUniq},
			{weir: "last(gust)", sql: "argMaxIf(gust, ts, gust IS NOT NULL)"},
			{weir: "argmax(ts, v)", sql: "argMax(ts, v)", inOrder: true},
		}, overTime...),
	}
	partitions, before := map[string]int32{}, map[string]int64{}
	null := func(v float64) *float64 {
		if math.IsNaN(v) {
			return nil
		}
		return &v
	}
	type row struct {
		At     int64    `json:"ts"`
		Origin string   `json:"origin"`
		Temp   float64  `json:"v"`
		Wind   *float64 `json:"wind"`
		Gust   *float64 `json:"gust"`
	}
	for _, w := range flightstest.WeatherOf2013(t) {
		if w.At <= before[w.Origin] || math.IsNaN(w.Temp) { // an hour that is there twice is not what this is about
			continue
		}
		before[w.Origin] = w.At
		if _, known := partitions[w.Origin]; !known {
			partitions[w.Origin] = int32(len(partitions))
		}
		r := row{w.At, w.Origin, w.Temp, null(w.Wind), null(w.Gust)}
		tr.rows = append(tr.rows, truthRow{
			partition: partitions[w.Origin], json: encode(t, r),
			values: []any{time.UnixMilli(w.At).UTC(), w.Origin, w.Temp, r.Wind, r.Gust},
		})
	}
	return tr
}
