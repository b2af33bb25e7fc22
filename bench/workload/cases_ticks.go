package workload

import "time"

func ticksCase() Case {
	return Case{
		Name: "ticks", About: "market ticks to open, high, low, close and volume per symbol and minute",
		Note:   "columns inside of an object, and twelve keys",
		Events: 1_000_000, Pipeline: pipelineText("ticks"),
		Stream: func(s Size) (Generator, error) {
			return Ticks(TicksConfig{Seed: s.Seed, Events: s.Events, Symbols: min(s.Keys, len(symbols)), NumPartitions: s.Partitions, Span: s.Span})
		},
		Truth: func(Size) (Oracle, error) { return newCandlesTruth() },
	}
}

// newCandlesTruth works out candles: the trades of an example, and which of them were the first and the last.
func newCandlesTruth() (*Truth, error) {
	rules := Rules{Window: time.Minute, MaxOutOfOrder: time.Second, AllowedLateness: 30 * time.Second, MaxRecord: 1 << 20}
	columns := Columns{Keys: []string{"symbol"}, Values: []Value{
		{"trades", true}, {"open", true}, {"high", true}, {"low", true}, {"close", true}, {"volume", true},
	}}
	read := func(r *Record) reading {
		row := readTick(r)
		if row.reason == "" {
			row.measures = append(row.measures, float64(row.time)) // microseconds, exact up to the year 2255
		}
		return row
	}
	t, err := newTruth(rules, Rules{}, columns, read, func(t total) []float64 {
		open, last := t.all[0], t.all[0]
		for _, m := range t.all {
			if m[2] < open[2] {
				open = m
			}
			if m[2] > last[2] {
				last = m
			}
		}
		return []float64{float64(t.rows), open[0], t.max[0], t.min[0], last[0], t.sum[1]}
	})
	if err != nil {
		return nil, err
	}
	t.keep = true
	return t, nil
}
