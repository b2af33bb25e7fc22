package workload

import (
	"cmp"
	"time"
)

// SensorsTruthConfig is what the answer of examples/sensors/pipeline.yaml depends on. The zero value of a field means
// what is in that file.
type SensorsTruthConfig struct {
	Rules  Rules   // 10 s windows, 2 s out of order, 1 min lateness, 1 MiB records
	Offset float64 // what the calibrate operator adds to the temperature; 0 is the file's 0.4
	// Offsets, where there are any, are what several operators add, one after the other, instead of Offset.
	Offsets []float64
}

// NewSensorsTruth works out what the sensors pipeline answers: of the rows with status "ok" and a temperature above -40, the
// temperature plus Offset, per site and device.
func NewSensorsTruth(cfg SensorsTruthConfig) (*Truth, error) {
	if len(cfg.Offsets) == 0 {
		cfg.Offsets = []float64{cmp.Or(cfg.Offset, 0.4)}
	}
	defaults := Rules{Window: 10 * time.Second, MaxOutOfOrder: 2 * time.Second, AllowedLateness: time.Minute, MaxRecord: 1 << 20}
	columns := Columns{Keys: []string{"site", "device"}, Values: []Value{
		{"readings", true}, {"temp_avg", false}, {"temp_min", true}, {"temp_max", true}, {"temp_f_max", true},
	}}
	var reader sensorReader
	read := func(r *Record) reading { return readSensor(&reader, r, cfg.Offsets) }
	return newTruth(cfg.Rules, defaults, columns, read, func(t total) []float64 {
		n := float64(t.rows)
		return []float64{n, t.sum[0] / n, t.min[0], t.max[0], t.max[1]}
	})
}

func readSensor(reader *sensorReader, r *Record, offsets []float64) reading {
	v, reason := reader.read(r.Value)
	if reason != "" {
		return reading{reason: reason}
	}
	if v.Device == nil || v.Site == nil || v.TS == nil || v.Temp == nil || v.Status == nil {
		return reading{reason: "missing"}
	}
	if *v.Status != "ok" || !(*v.Temp > -40) {
		return reading{filtered: true}
	}
	temp := *v.Temp
	for _, offset := range offsets {
		temp += offset
	}
	// The conversions forbid the compiler to fuse operations, which some processors would round differently.
	fahrenheit := float64(float64(temp*9)/5) + 32
	return reading{time: *v.TS * 1000, keys: [2]string{*v.Site, *v.Device}, measures: []float64{temp, fahrenheit}}
}
