package aggregate

import (
	"math"

	"github.com/weir-stream/weir/ingest/batch"
)

// What becomes of a value over time within a window. Rows count in the order of their event times: one that is not newer than
// the newest is left out. A key must be in one partition, as Kafka's own partitioning has it.
//
// The states are columns: what there is to add up, and then the newest value and its time, which a node needs to go on.

// newDelta is by how much a counter rose. A value below the one before is a counter that began anew, from zero.
func newDelta(s Spec) *Aggregate { return newOverTime(s, First, rise, "increase", "seconds") }

// newRate is delta divided by the seconds between the first and the last value.
func newRate(s Spec) *Aggregate { return newOverTime(s, Ratio, rise, "increase", "seconds") }

// newTimeAvg is the mean of a value that holds until the next.
func newTimeAvg(s Spec) *Aggregate { return newOverTime(s, Ratio, area, "area", "seconds") }

// rise is what a counter adds between two values.
func rise(before, v, _ float64) float64 {
	if v < before {
		return v
	}
	return v - before
}

// area is what a value adds until the next.
func area(before, _, seconds float64) float64 { return before * seconds }

func newOverTime(s Spec, finish Finish, step func(before, v, seconds float64) float64, total, seconds string) *Aggregate {
	n := numbers(s.Args[:1])
	if n == nil || s.Args[1].Type.Kind != batch.Timestamp {
		return nil
	}
	per := float64(s.Args[1].Type.Unit.PerSecond())
	return &Aggregate{
		Type: float64Type, Nullable: true, Finish: finish,
		States: []State{
			{Name: total, Type: float64Type, Nullable: true, Merge: Sum},
			{Name: seconds, Type: float64Type, Merge: Sum},
			{Name: "last", Type: float64Type, Merge: Max},
			{Name: "last_time", Type: batch.Type{Kind: batch.Int64}, Merge: Max},
		},
		make: func() Accumulator { return &overTime{values: numbers(s.Args[:1])[0], step: step, per: per} },
	}
}

type overTime struct {
	values floats
	step   func(before, v, seconds float64) float64
	per    float64 // units of the event time in a second

	total, seconds, last []float64
	at                   []int64 // event time of last; noTime before there is one
	twice                []bool  // there were two values
}

const noTime = math.MinInt64

func (a *overTime) Grow(n int) {
	before := len(a.at)
	a.total, a.seconds, a.last, a.at, a.twice = grow(a.total, n), grow(a.seconds, n), grow(a.last, n), grow(a.at, n), grow(a.twice, n)
	for g := before; g < len(a.at); g++ {
		a.at[g] = noTime
	}
}

func (a *overTime) Reset(g uint32) {
	a.total[g], a.seconds[g], a.last[g], a.at[g], a.twice[g] = 0, 0, 0, noTime, false
}

func (a *overTime) Add(groups []uint32, args []*batch.Column) {
	times := batch.As[int64](args[1].Values)
	for i, v := range a.values.read(args[0], len(groups)) {
		g := groups[i]
		if g == Skip || !args[0].Valid(i) || v != v || math.IsInf(v, 0) || times[i] <= a.at[g] {
			continue
		}
		if a.at[g] != noTime {
			seconds := float64(times[i]-a.at[g]) / a.per
			a.total[g] += a.step(a.last[g], v, seconds)
			a.seconds[g] += seconds
			a.twice[g] = true
		}
		a.last[g], a.at[g] = v, times[i]
	}
}

func (a *overTime) Take(from Accumulator, src, dst uint32) {
	f := from.(*overTime)
	a.total[dst], a.seconds[dst], a.last[dst], a.at[dst], a.twice[dst] = f.total[src], f.seconds[src], f.last[src], f.at[src], f.twice[src]
}

func (a *overTime) Emit(groups []uint32, out []batch.Column) {
	out[0], out[1], out[2], out[3] = emitFixed(a.total, groups), emitFixed(a.seconds, groups), emitFixed(a.last, groups), emitFixed(a.at, groups)
	emitNulls(a.twice, groups, &out[0])
}

func (a *overTime) Load(groups []uint32, in []batch.Column) error {
	loadFixed(a.total, groups, &in[0])
	loadFixed(a.seconds, groups, &in[1])
	loadFixed(a.last, groups, &in[2])
	loadFixed(a.at, groups, &in[3])
	loadSeen(a.twice, groups, &in[0])
	return nil
}
