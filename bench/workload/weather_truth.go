package workload

import "time"

// NewWeatherTruth works out what examples/weather/pipeline.yaml answers per station and day. Zero rules are that file's:
// windows of 24 hours, 1 hour out of order, 6 hours lateness.
func NewWeatherTruth(rules Rules) (*Truth, error) {
	defaults := Rules{Window: 24 * time.Hour, MaxOutOfOrder: time.Hour, AllowedLateness: 6 * time.Hour, MaxRecord: 1 << 20}
	columns := Columns{Keys: []string{"station"}, Values: []Value{
		{"hours", true}, {"temp_avg", false}, {"temp_min", true}, {"temp_max", true}, {"pressure_avg", false}, {"wind_max", true},
	}}
	return newTruth(rules, defaults, columns, readWeather, func(t total) []float64 {
		n := float64(t.rows)
		return []float64{n, t.sum[0] / n, t.min[0], t.max[0], t.sum[1] / n, t.max[2]}
	})
}

func readWeather(r *Record) reading {
	var v struct {
		Date        *time.Time `json:"date"`
		Pressure    *float64   `json:"pressure"`
		Temperature *float64   `json:"temperature"`
		Wind        *float64   `json:"wind"`
	}
	if reason := unmarshal(r.Value, &v); reason != "" {
		return reading{reason: reason}
	}
	if v.Date == nil || v.Pressure == nil || v.Temperature == nil || v.Wind == nil {
		return reading{reason: "missing"}
	}
	return reading{
		time: v.Date.UnixMicro(), keys: [2]string{string(r.Key)},
		measures: []float64{*v.Temperature, *v.Pressure, *v.Wind},
	}
}
