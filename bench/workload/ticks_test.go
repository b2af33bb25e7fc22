package workload

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestTicks(t *testing.T) {
	cfg := TicksConfig{Seed: 7, Events: 20_000}
	make := func() *TicksGen {
		g, err := Ticks(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	if a, b := sum(make()), sum(make()); a != b {
		t.Errorf("two runs of one seed give %s and %s", a, b)
	} else if want := "cb2af5b35a3294f3"; a != want {
		t.Errorf("the stream of seed 7 is %s, was %s", a, want)
	}
	g := make()
	truth, err := NewTicksTruth(Rules{})
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]float64{}
	partition := map[string]int32{}
	var r Record
	for g.Next(&r) {
		truth.Add(&r)
		var v struct {
			Symbol string
			TS     int64
			Trade  struct {
				Price  float64
				Volume int64
			}
		}
		if err := json.Unmarshal(r.Value, &v); err != nil {
			t.Fatalf("%s: %v", r.Value, err)
		}
		if before, ok := last[v.Symbol]; ok && (v.Trade.Price > before+0.1201 || v.Trade.Price < before-0.1201 || v.Trade.Price < 1) {
			t.Fatalf("%s jumps from %v", r.Value, before)
		}
		last[v.Symbol] = v.Trade.Price
		if p, ok := partition[v.Symbol]; ok && p != r.Partition || string(r.Key) != v.Symbol {
			t.Fatalf("%s with key %s is in partition %d and %d", r.Value, r.Key, p, r.Partition)
		}
		partition[v.Symbol] = r.Partition
		if behind := r.Time*1000 - v.TS; behind < -1000 || behind > 500_000 {
			t.Fatalf("%s is %d µs behind", r.Value, behind)
		}
		if v.Trade.Volume < 100 || v.Trade.Volume%100 != 0 {
			t.Fatalf("%s: the volume is not whole hundreds", r.Value)
		}
	}
	if len(last) != 12 {
		t.Errorf("%d symbols", len(last))
	}
	if c := truth.Counts(); c.Aggregated != 20_000 {
		t.Errorf("counts %+v", c)
	}
	if n := len(truth.Windows()); n != 30*12 {
		t.Errorf("%d windows instead of %d", n, 30*12)
	}
}

func TestTicksTruth(t *testing.T) {
	truth, err := NewTicksTruth(Rules{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{
		`{"symbol":"A","ts":60000000,"trade":{"price":2.50,"volume":100}}`,
		`{"symbol":"A","ts":119999999,"trade":{"price":1.25,"volume":300}}`,
		`{"symbol":"B","ts":61000000,"trade":{"price":9,"volume":200}}`,
		`{"symbol":"A","ts":120000000,"trade":{"price":7,"volume":100}}`,
		`{"symbol":"A","ts":120000000,"trade":{"price":7}}`,
		`{"symbol":"A","ts":120000000,"trade":7}`,
	} {
		truth.Add(&Record{Value: []byte(v)})
	}
	want := []Row{
		{60_000, []string{"A"}, []float64{2, 2.5, 1.25, 400}},
		{60_000, []string{"B"}, []float64{1, 9, 9, 200}},
		{120_000, []string{"A"}, []float64{1, 7, 7, 100}},
	}
	if got := truth.Windows(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if c := truth.Counts(); c.Rejected["missing"] != 1 || c.Rejected["wrong_type"] != 1 {
		t.Errorf("counts %+v", c)
	}
}

func TestTicksValidate(t *testing.T) {
	for want, cfg := range map[string]TicksConfig{
		"symbols":     {Symbols: 13},
		"events":      {Events: -1},
		"millisecond": {Span: time.Nanosecond},
	} {
		if _, err := Ticks(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, should be about %s", err, want)
		}
	}
}
