package aggregate

import (
	"math"

	"github.com/weir-stream/weir/ingest/batch"
)

// What becomes of a value over time within a window. Rows count in the order of their event times: one that is not newer than
// the newest is left out. A key must be in one partition, as Kafka's own partitioning has it.
//
// The states are columns: what there is to add up, and then the newest value and its time, which a node needs to go on. A rise also
// has the first value: from one window to the next there is a rise, too, where a node merges them.

// newDelta is by how much a counter rose. A value below the one before is a counter that began anew, from zero.
func newDelta(s Spec) *Aggregate { return newOverTime(s, First, rise, totalRise, "seconds") }

// newRate is delta divided by the seconds between the first and the last value.
func newRate(s Spec) *Aggregate { return newOverTime(s, Ratio, rise, totalRise, "seconds") }

// newTimeAvg is the mean of a value that holds until the next.
func newTimeAvg(s Spec) *Aggregate { return newOverTime(s, Ratio, area, totalArea, "seconds") }

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
	states := []State{
		{Name: total, Type: float64Type, Nullable: true, Merge: Sum},
		{Name: seconds, Type: float64Type, Merge: Sum},
		{Name: "last", Type: float64Type, Merge: Max},
		{Name: "last_time", Type: batch.Type{Kind: batch.Int64}, Merge: Max},
	}
	if total == totalRise {
		states = append(states, State{Name: "first", Type: float64Type, Merge: Min})
	}
	return &Aggregate{
		Type: float64Type, Nullable: true, Finish: finish, States: states,
		make: func() Accumulator { return &overTime{values: numbers(s.Args[:1])[0], step: step, per: per} },
	}
}

const totalRise, totalArea = "increase", "area"

type overTime struct {
	values floats
	step   func(before, v, seconds float64) float64
	per    float64 // units of the event time in a second

	total, seconds, last []float64
	first                []float64
	at                   []int64 // event time of last; noTime before there is one
	twice                []bool  // there were two values
}

const noTime = math.MinInt64

func (a *overTime) Grow(n int) {
	before := len(a.at)
	a.total, a.seconds, a.last, a.at, a.twice = grow(a.total, n), grow(a.seconds, n), grow(a.last, n), grow(a.at, n), grow(a.twice, n)
	a.first = grow(a.first, n)
	for g := before; g < len(a.at); g++ {
		a.at[g] = noTime
	}
}

func (a *overTime) Reset(g uint32) {
	a.total[g], a.seconds[g], a.last[g], a.at[g], a.twice[g], a.first[g] = 0, 0, 0, noTime, false, 0
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
		} else {
			a.first[g] = v
		}
		a.last[g], a.at[g] = v, times[i]
	}
}

func (a *overTime) Take(from Accumulator, src, dst uint32) {
	f := from.(*overTime)
	a.total[dst], a.seconds[dst], a.last[dst], a.at[dst], a.twice[dst] = f.total[src], f.seconds[src], f.last[src], f.at[src], f.twice[src]
	a.first[dst] = f.first[src]
}

// Merge goes on from the last value of a group with the first of the next window's. When that was follows from its last.
func (a *overTime) Merge(groups []uint32, in []batch.Column) error {
	total, seconds, last, at := batch.As[float64](in[0].Values), batch.As[float64](in[1].Values), batch.As[float64](in[2].Values), batch.As[int64](in[3].Values)
	first := last // where it is not needed
	if len(in) > 4 {
		first = batch.As[float64](in[4].Values)
	}
	for i, g := range groups {
		if g == Skip || at[i] == noTime {
			continue
		}
		if a.at[g] == noTime {
			a.first[g] = first[i]
		} else {
			between := max(0, float64(at[i]-a.at[g])/a.per-seconds[i])
			a.total[g] += a.step(a.last[g], first[i], between)
			a.seconds[g] += between
			a.twice[g] = true
		}
		if in[0].Valid(i) {
			a.total[g] += total[i]
			a.twice[g] = true
		}
		a.seconds[g] += seconds[i]
		a.last[g], a.at[g] = last[i], at[i]
	}
	return nil
}

func (a *overTime) Emit(groups []uint32, out []batch.Column) {
	out[0], out[1], out[2], out[3] = emitFixed(a.total, groups), emitFixed(a.seconds, groups), emitFixed(a.last, groups), emitFixed(a.at, groups)
	emitNulls(a.twice, groups, &out[0])
	if len(out) > 4 {
		out[4] = emitFixed(a.first, groups)
	}
}

func (a *overTime) Load(groups []uint32, in []batch.Column) error {
	loadFixed(a.total, groups, &in[0])
	loadFixed(a.seconds, groups, &in[1])
	loadFixed(a.last, groups, &in[2])
	loadFixed(a.at, groups, &in[3])
	loadSeen(a.twice, groups, &in[0])
	if len(in) > 4 {
		loadFixed(a.first, groups, &in[4])
	}
	return nil
}
