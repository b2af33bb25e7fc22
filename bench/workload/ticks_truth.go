package workload

import "time"

// NewTicksTruth works out what examples/ticks/pipeline.yaml answers: high, low and volume per symbol and minute. Zero
// rules are that file's: 1 min windows, 1 s out of order, 30 s lateness.
func NewTicksTruth(rules Rules) (*Truth, error) {
	defaults := Rules{Window: time.Minute, MaxOutOfOrder: time.Second, AllowedLateness: 30 * time.Second, MaxRecord: 1 << 20}
	columns := Columns{Keys: []string{"symbol"}, Values: []Value{
		{"trades", true}, {"high", true}, {"low", true}, {"volume", true},
	}}
	return newTruth(rules, defaults, columns, readTick, func(t total) []float64 {
		return []float64{float64(t.rows), t.max[0], t.min[0], t.sum[1]}
	})
}

func readTick(r *Record) reading {
	var v struct {
		Symbol *string `json:"symbol"`
		TS     *int64  `json:"ts"`
		Trade  struct {
			Price  *float64 `json:"price"`
			Volume *int64   `json:"volume"`
		} `json:"trade"`
	}
	if reason := unmarshal(r.Value, &v); reason != "" {
		return reading{reason: reason}
	}
	if v.Symbol == nil || v.TS == nil || v.Trade.Price == nil || v.Trade.Volume == nil {
		return reading{reason: "missing"}
	}
	return reading{time: *v.TS, keys: [2]string{*v.Symbol}, measures: []float64{*v.Trade.Price, float64(*v.Trade.Volume)}}
}
