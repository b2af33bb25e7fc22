package workload

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

// benchSensors is the stream of the sensor workloads: everything is well formed, and a little of it is repeated, late,
// faulty or too cold.
func benchSensors(devices int, span time.Duration) func(Size) (Generator, error) {
	return func(s Size) (Generator, error) {
		cfg := SensorsConfig{
			Seed: s.Seed, Events: s.Events, Devices: cmp.Or(s.Keys, devices), NumPartitions: s.Partitions, Span: cmp.Or(s.Span, span), Padding: s.Bytes,
			DuplicateRate: 0.01, LateRate: 0.005, StatusRate: 0.01, ColdRate: 0.005,
		}
		if s.Clean {
			cfg.DuplicateRate, cfg.LateRate = 0, 0
		}
		return Sensors(cfg)
	}
}

func sensorsCase() Case {
	return Case{
		Name: "sensors", About: "W1: parse, filter, a Wasm operator, five aggregates per device and 10 s",
		Events: 2_000_000, Pipeline: pipelineText("sensors"),
		Stream: benchSensors(1000, 10*time.Minute),
		Truth:  func(Size) (Oracle, error) { return NewSensorsTruth(SensorsTruthConfig{}) },
	}
}

func keysCase() Case {
	return Case{
		Name: "keys", About: "high cardinality: W1 with 100,000 devices",
		Note:   "nearly every record opens a group, so as much is shipped as is read",
		Events: 1_000_000, Pipeline: pipelineText("keys"),
		Stream: benchSensors(100_000, time.Minute),
		Truth:  func(Size) (Oracle, error) { return NewSensorsTruth(SensorsTruthConfig{}) },
	}
}

func chainCase() Case {
	return Case{
		Name: "chain", About: "four Wasm operators one after the other, then the windows of W1",
		Events: 1_000_000, Pipeline: pipelineText("chain"),
		Stream: benchSensors(1000, 10*time.Minute),
		Truth: func(Size) (Oracle, error) {
			return NewSensorsTruth(SensorsTruthConfig{Offsets: []float64{0.25, 0.5, -0.25, -0.1}})
		},
	}
}

// benchRules are the rules of the pipelines of the benchmarks but for their windows.
func benchRules(window time.Duration) Rules {
	return Rules{Window: window, MaxOutOfOrder: 2 * time.Second, AllowedLateness: time.Minute, MaxRecord: 1 << 20}
}

// sensorsRead decodes a reading and gives it to what a workload asks of it.
func sensorsRead(of func(*sensorRecord) reading) func(*Record) reading {
	var reader sensorReader
	return func(r *Record) reading {
		v, reason := reader.read(r.Value)
		if reason != "" {
			return reading{reason: reason}
		}
		if v.Device == nil || v.Site == nil || v.TS == nil || v.Temp == nil || v.Status == nil || v.Seq == nil {
			return reading{reason: "missing"}
		}
		row := of(v)
		row.time = *v.TS * 1000
		return row
	}
}

func projectCase() Case {
	return Case{
		Name: "project", About: "W2: parse, filter, project; what is left is summed up per minute instead of dropped",
		Note:   "three of four records are filtered; the sums are there to be compared with the truth",
		Events: 2_000_000, Pipeline: pipelineText("project"),
		Stream: benchSensors(1000, 10*time.Minute),
		Truth: func(Size) (Oracle, error) {
			columns := Columns{Values: []Value{{"readings", true}, {"seq_sum", true}, {"temp_f_max", true}, {"temp_f_sum", false}}}
			read := sensorsRead(func(v *sensorRecord) reading {
				if !(*v.Temp > 30) {
					return reading{filtered: true}
				}
				// The conversion forbids the compiler to fuse operations.
				return reading{measures: []float64{float64(*v.Seq), float64(float64(*v.Temp*9)/5) + 32}}
			})
			return newTruth(benchRules(time.Minute), Rules{}, columns, read, func(t total) []float64 {
				return []float64{float64(t.rows), t.sum[0], t.max[1], t.sum[1]}
			})
		},
	}
}

func sketchesCase() Case {
	return Case{
		Name: "sketches", About: "uniq and quantiles per site and 10 s",
		Note:   "estimates: the answer may be 8 % off for uniq (five standard errors), 3 % for quantiles",
		Events: 1_000_000, Pipeline: pipelineText("sketches"),
		Stream: benchSensors(1000, 10*time.Minute),
		Truth: func(Size) (Oracle, error) {
			columns := Columns{
				Keys:   []string{"site"},
				Values: []Value{{"readings", true}, {"seqs", false}, {"devices", false}, {"temp_p50", false}, {"temp_p99", false}},
				Within: map[string]float64{"seqs": 0.08, "devices": 0.08, "temp_p50": 0.03, "temp_p99": 0.03},
			}
			devices := map[string]float64{}
			read := sensorsRead(func(v *sensorRecord) reading {
				if *v.Status != "ok" || !(*v.Temp > -40) {
					return reading{filtered: true}
				}
				number, known := devices[*v.Device]
				if !known {
					number = float64(len(devices))
					devices[*v.Device] = number
				}
				return reading{keys: [2]string{*v.Site}, measures: []float64{float64(*v.Seq), number, *v.Temp}}
			})
			t, err := newTruth(benchRules(10*time.Second), Rules{}, columns, read, sketched)
			if err != nil {
				return nil, err
			}
			t.keep = true
			return t, nil
		},
	}
}

// sketched is the exact answer to what the sketches estimate.
func sketched(t total) []float64 {
	seqs, devices := map[float64]bool{}, map[float64]bool{}
	var temps []float64
	for _, m := range t.all {
		seqs[m[0]], devices[m[1]] = true, true
		temps = append(temps, m[2])
	}
	slices.Sort(temps)
	at := func(q float64) float64 { return temps[int(q*float64(len(temps)-1))] }
	return []float64{float64(t.rows), float64(len(seqs)), float64(len(devices)), at(0.5), at(0.99)}
}

func rowsCase() Case {
	return Case{
		Name: "rows", About: "the sink: a row shipped for every record read",
		Events: 500_000, Pipeline: pipelineText("rows"),
		Stream: benchSensors(1000, 10*time.Minute),
		Truth: func(Size) (Oracle, error) {
			columns := Columns{Keys: []string{"device", "seq"}, Values: []Value{{"readings", true}, {"temp_max", true}}}
			read := sensorsRead(func(v *sensorRecord) reading {
				return reading{keys: [2]string{*v.Device, strconv.FormatInt(*v.Seq, 10)}, measures: []float64{*v.Temp}}
			})
			return newTruth(benchRules(10*time.Second), Rules{}, columns, read, func(t total) []float64 {
				return []float64{float64(t.rows), t.max[0]}
			})
		},
	}
}
