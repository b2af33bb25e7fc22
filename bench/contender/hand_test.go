package contender

import (
	"testing"

	"github.com/weir-stream/weir/bench/workload"
)

// TestHandWritten holds the programs written by hand to the truth, without a broker: a contender that is wrong would be a
// ceiling of nothing.
func TestHandWritten(t *testing.T) {
	for _, c := range workload.Cases() {
		build := handWritten(c.Name)
		if build == nil {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			size := workload.Size{Seed: 5, Events: 50_000, Partitions: 3}
			gen, err := c.Stream(size)
			if err != nil {
				t.Fatal(err)
			}
			truth, err := c.Truth(size)
			if err != nil {
				t.Fatal(err)
			}
			p := build()
			for r := (workload.Record{}); gen.Next(&r); {
				truth.Add(&r)
				if err := p.add(r.Partition, r.Value); err != nil {
					t.Fatal(err)
				}
			}
			if d := workload.Diff(truth.Columns(), truth.Windows(), p.rows(), 5); !d.Exact() || d.Compared == 0 {
				t.Error(d)
			}
			for i, v := range truth.Columns().Values {
				if p.columns().Values[i].Name != v.Name {
					t.Errorf("column %d is %s, should be %s", i, p.columns().Values[i].Name, v.Name)
				}
			}
		})
	}
}

func TestParse(t *testing.T) {
	for _, text := range []string{
		`{"device":"d1","site":"s1","ts":1700000000123,"temp":-21.37,"status":"ok","seq":12}`,
		`{"seq":12,"fw":"2.1","status":"ok","temp":-2137e-2,"ts":1700000000123,"site":"s1","device":"d1","battery":3.71}`,
		` { "device": "d\u0031", "site": "s1", "ts": 1700000000123, "temp": -21.37, "more": {"temp": 3}, "status": "ok", "seq": 12 } `,
	} {
		var r sensorReading
		if err := r.parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if string(r.device) != "d1" || string(r.site) != "s1" || string(r.status) != "ok" || r.ts != 1700000000123 || r.temp != -21.37 || r.seq != 12 {
			t.Errorf("%s: %+v", text, r)
		}
	}
	for _, text := range []string{``, `{`, `{}`, `{"device":}`, `{"device":"d1"}`, `{"device":"d1","site":"s1","ts":"1","temp":1,"status":"ok","seq":1}`, `[]`} {
		var r sensorReading
		if err := r.parse([]byte(text)); err == nil {
			t.Errorf("%s: taken as %+v", text, r)
		}
	}
}

// FuzzParse looks for records that the parser does not survive.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"device":"d1","site":"s1","ts":1700000000123,"temp":-21.37,"status":"ok","seq":12}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r sensorReading
		_ = r.parse(b) // it must not panic
	})
}
