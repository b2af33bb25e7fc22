package workload

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"
)

// wideColumns is how many columns a wide record has, c00 to c99: a key, the time, then integers, numbers with two
// decimals, and words in turn.
const wideColumns = 100

// wideName is the name of a column, and wideKind what is in it: 0 an integer, 1 a number with decimals, 2 a word.
func wideName(i int) string { return fmt.Sprintf("c%02d", i) }
func wideKind(i int) int    { return i % 3 }

func wideCase() Case {
	return Case{
		Name: "wide", About: "wide records: 100 columns, about 1,240 bytes, all of them read",
		Events: 200_000, Pipeline: pipelineText("wide"),
		Stream: func(s Size) (Generator, error) {
			return newWide(s), nil
		},
		Truth: func(Size) (Oracle, error) { return newWideTruth() },
	}
}

// wideGen makes wide records.
type wideGen struct {
	size    Size
	dice    dice
	done    int64
	offsets []int64
	names   [wideColumns]string
}

func newWide(s Size) *wideGen {
	s.Events, s.Partitions, s.Keys, s.Span = cmp.Or(s.Events, 200_000), cmp.Or(s.Partitions, 8), cmp.Or(s.Keys, 100), cmp.Or(s.Span, 5*time.Minute)
	g := &wideGen{size: s, dice: newDice(s.Seed, 0x51de), offsets: make([]int64, s.Partitions)}
	for i := range g.names {
		g.names[i] = `,"` + wideName(i) + `":`
	}
	return g
}

// Partitions implements [Generator].
func (g *wideGen) Partitions() int32 { return g.size.Partitions }

// Err implements [Generator]; it is nil.
func (g *wideGen) Err() error { return nil }

// Next implements [Generator].
func (g *wideGen) Next(r *Record) bool {
	if g.done >= g.size.Events {
		return false
	}
	key := int64(g.dice.below(uint64(g.size.Keys)))
	r.Time = 1_700_000_000_000 + share(g.size.Span.Milliseconds(), g.done, g.size.Events)
	r.Partition = int32(key % int64(g.size.Partitions))
	r.Offset = g.offsets[r.Partition]
	r.Key = appendPadded(append(r.Key[:0], 'k'), key, 4)
	v := append(append(append(r.Value[:0], `{"c00":"`...), r.Key...), `","c01":`...)
	v = appendPadded(v, r.Time-g.dice.between(0, 1000), 1)
	for i := 2; i < wideColumns; i++ {
		v = append(v, g.names[i]...)
		switch wideKind(i) {
		case 0:
			v = appendPadded(v, g.dice.between(0, 99_999), 1)
		case 1:
			v = appendHundredths(v, g.dice.between(0, 10_000))
		default:
			v = append(append(v, `"w`...), appendPadded(nil, g.dice.between(0, 999), 3)...)
			v = append(v, '"')
		}
	}
	r.Value = append(v, '}')
	g.offsets[r.Partition]++
	g.done++
	return true
}

// newWideTruth sums up what the pipeline does: every fourth of the columns with integers, and the greatest of every fourth
// of those with decimals.
func newWideTruth() (*Truth, error) {
	columns := Columns{Keys: []string{"c00"}, Values: []Value{{"records", true}}}
	var sums, tops []string
	for i := 3; i < wideColumns; i += 12 {
		sums = append(sums, wideName(i))
		columns.Values = append(columns.Values, Value{"sum_" + wideName(i), true})
	}
	for i := 4; i < wideColumns; i += 12 {
		tops = append(tops, wideName(i))
		columns.Values = append(columns.Values, Value{"max_" + wideName(i), true})
	}
	read := func(r *Record) reading {
		var v map[string]any
		if err := json.Unmarshal(r.Value, &v); err != nil {
			return reading{reason: "malformed"}
		}
		number := func(name string) float64 { n, _ := v[name].(float64); return n }
		row := reading{time: int64(number("c01")) * 1000, keys: [2]string{string(r.Key)}}
		for _, names := range [][]string{sums, tops} {
			for _, n := range names {
				row.measures = append(row.measures, number(n))
			}
		}
		return row
	}
	return newTruth(benchRules(10*time.Second), Rules{}, columns, read, func(t total) []float64 {
		out := []float64{float64(t.rows)}
		out = append(out, t.sum[:len(sums)]...)
		return append(out, t.max[len(sums):]...)
	})
}
