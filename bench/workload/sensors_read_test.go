package workload

import (
	"reflect"
	"testing"
)

// TestSensorReader: what is read without encoding/json is what encoding/json reads.
func TestSensorReader(t *testing.T) {
	var s sensorReader
	plain, other := 0, 0
	check := func(value []byte) {
		t.Helper()
		var want sensorRecord
		reason := unmarshal(value, &want)
		if s.plain(value) {
			plain++
		} else {
			other++
		}
		got, gotReason := s.read(value)
		if gotReason != reason || reason == "" && !reflect.DeepEqual(*got, want) {
			t.Fatalf("%s: %+v %q, encoding/json %+v %q", value, *got, gotReason, want, reason)
		}
	}
	cfg := SensorsConfig{Seed: 3, Events: 20_000, HugeSize: 2000}.DefaultMix()
	cfg.BrokenRate = 0.1
	g, err := Sensors(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var r Record
	for g.Next(&r) {
		check(r.Value)
	}
	if plain < 17_000 || other < 1000 {
		t.Errorf("%d records were plain, %d others", plain, other)
	}
	const good = `{"device":"d0042","site":"s02","ts":1700000000123,"temp":21.37,"status":"ok","seq":12345,"fw":"2.14.1","battery":3.71}`
	if check([]byte(good)); !s.plain([]byte(good)) {
		t.Error("a good record is not plain")
	}
	for _, odd := range []string{
		`{"device":"d00\n42","site":"s02","ts":1,"temp":21.37,"status":"ok","seq":1,"fw":"2.14.1","battery":3.71}`,
		`{"device":"d0","ts":3,"device":"d1","site":"s02","ts":1,"temp":21.37,"status":"ok","seq":1,"fw":"2.14.1","battery":3.71}`,
		`{"device":"d0042","site":"s02","ts":01,"temp":21.37,"status":"ok","seq":1,"fw":"2.14.1","battery":3.71}`,
		`{"device":"d0042","site":"s02","ts":+1,"temp":21.37,"status":"ok","seq":1,"fw":"2.14.1","battery":3.71}`,
		`{"device":"d0042","site":"s02","ts":99999999999999999999,"temp":21.37,"status":"ok","seq":1,"fw":"2.14.1","battery":3.71}`,
		`{"device":"d0042","site":"s02","ts":1,"temp":021.37,"status":"ok","seq":1,"fw":"2.14.1","battery":3.71}`,
		`{"device":"d0042","site":"s02","ts":1,"temp":.37,"status":"ok","seq":1,"fw":"2.14.1","battery":3.71}`,
		`{"device":"d0042","site":"s02","ts":1,"temp":21.37,"status":"ok","seq":1,"fw":"2.14.1","battery":3.71,"temp":1.00}`,
		`{"device":"d0042","site":"s02","ts":1,"temp":21.37,"status":"ok","seq":1,"fw":"2.14.1","battery":}`,
		`{"device":"d0042","site":"s02","ts":1,"temp":21.37,"status":"ok","seq":1,"fw":"2.14.1","battery":3.71}}`,
	} {
		check([]byte(odd))
	}
}
