package workload

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sensorsTruth(t testing.TB, cfg SensorsTruthConfig) *Truth {
	t.Helper()
	truth, err := NewSensorsTruth(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return truth
}

// at is a record of device d1 on site s1 in a partition, sec seconds after a whole minute.
func at(partition int32, sec float64, temp string) *Record {
	return &Record{Partition: partition, Value: []byte(fmt.Sprintf(
		`{"device":"d1","site":"s1","ts":%d,"temp":%s,"status":"ok","more":{"a":[1]}}`, minute+int64(sec*1000), temp))}
}

const minute = 1_700_000_040_000

func TestTruthAggregates(t *testing.T) {
	truth := sensorsTruth(t, SensorsTruthConfig{Offset: 0.5})
	for _, r := range []*Record{at(0, 0, "1"), at(0, 9.999, "3"), at(0, 10, "-39.99"), at(0, 5, "8.00"), at(0, 9, "-40"), at(0, 9, "-40.01")} {
		truth.Add(r)
	}
	cold := -39.99 // a variable, for constants are worked out exactly
	cold += 0.5
	want := []Row{
		{minute, []string{"s1", "d1"}, []float64{3, (1.5 + 3.5 + 8.5) / 3, 1.5, 8.5, 8.5*9/5 + 32}},
		{minute + 10_000, []string{"s1", "d1"}, []float64{1, cold, cold, cold, cold*9/5 + 32}},
	}
	if d := Diff(truth.Columns(), want, truth.Windows(), 9); !d.Exact() {
		t.Error(d)
	}
	if c := truth.Counts(); c.Aggregated != 4 || c.Filtered != 2 {
		t.Errorf("counts %+v", c)
	}
}

// Size 10 s, out of order 2 s, lateness 60 s: the window [0,10) takes rows until the watermark is 70, that is until a
// row at 72.
func TestTruthLateness(t *testing.T) {
	for name, c := range map[string]struct {
		rows []*Record
		late int64
	}{
		"just in time":                    {[]*Record{at(0, 0, "1"), at(0, 71.999, "1"), at(0, 9, "1")}, 0},
		"just late":                       {[]*Record{at(0, 0, "1"), at(0, 72, "1"), at(0, 9.999, "1")}, 1},
		"the next window is open":         {[]*Record{at(0, 0, "1"), at(0, 72, "1"), at(0, 10, "1")}, 0},
		"first row is never late":         {[]*Record{at(0, -1000, "1")}, 0},
		"partitions have their own clock": {[]*Record{at(0, 500, "1"), at(1, 0, "1")}, 0},
		"filtered rows move no clock":     {[]*Record{at(0, 0, "1"), at(0, 500, "-50"), at(0, 1, "1")}, 0},
		"a late row moves no clock":       {[]*Record{at(0, 100, "1"), at(0, 0, "1"), at(0, 100, "1")}, 1},
		"an old row moves no clock back":  {[]*Record{at(0, 72, "1"), at(0, 60, "1"), at(0, 9, "1")}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			truth := sensorsTruth(t, SensorsTruthConfig{})
			for _, r := range c.rows {
				truth.Add(r)
			}
			if got := truth.Counts().Late; got != c.late {
				t.Errorf("%d rows are late, should be %d", got, c.late)
			}
		})
	}
}

func TestTruthMergesPartitions(t *testing.T) {
	truth := sensorsTruth(t, SensorsTruthConfig{Offset: 1})
	truth.Add(at(1, 1, "3"))
	truth.Add(at(0, 2, "1"))
	truth.Add(at(1, 3, "5"))
	want := []Row{{minute, []string{"s1", "d1"}, []float64{3, 4, 2, 6, 6*9/5. + 32}}}
	if got := truth.Windows(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	per := truth.PartitionCounts()
	if per[0].Aggregated != 1 || per[1].Aggregated != 2 {
		t.Errorf("per partition %+v", per)
	}
}

func TestTruthBeforeTheEpoch(t *testing.T) {
	truth := sensorsTruth(t, SensorsTruthConfig{})
	truth.Add(&Record{Value: []byte(`{"device":"d","site":"s","ts":-1,"temp":1,"status":"ok"}`)})
	if got := truth.Windows(); len(got) != 1 || got[0].Start != -10_000 {
		t.Errorf("windows %v", got)
	}
}

func TestTruthReasons(t *testing.T) {
	for value, want := range map[string]string{
		"":                      "empty",
		"{":                     "malformed",
		"hello":                 "malformed",
		`{"device":"d"}`:        "missing",
		`{"device":5}`:          "wrong_type",
		strings.Repeat(" ", 99): "malformed",
		`{"device":"d","site":"s","ts":1.5,"temp":1,"status":"ok"}`:   "wrong_type",
		`{"device":"d","site":"s","ts":1,"temp":null,"status":"ok"}`:  "missing",
		`{"device":"d","site":"s","ts":1,"temp":"1","status":"ok"}`:   "wrong_type",
		`{"device":"d","site":"s","ts":1,"temp":true,"status":"bad"}`: "wrong_type",
		strings.Repeat("x", 1<<20+1):                                  "too_large",
	} {
		truth := sensorsTruth(t, SensorsTruthConfig{})
		truth.Add(&Record{Value: []byte(value)})
		if got := truth.Counts().Rejected; got[want] != 1 {
			t.Errorf("%.40q is %v, should be %s", value, got, want)
		}
	}
}

func TestTruthOwnsItsResults(t *testing.T) {
	truth := sensorsTruth(t, SensorsTruthConfig{})
	truth.Add(at(0, 0, "1"))
	rows, counts := truth.Windows(), truth.PartitionCounts()
	rows[0].Keys[0], rows[0].Values[0] = "spoilt", 99
	counts[0].Rejected["spoilt"] = 1
	if got := truth.Windows(); got[0].Keys[0] != "s1" || got[0].Values[0] != 1 || truth.Counts().AllRejected() != 0 {
		t.Error("what a caller does to a result changes the truth")
	}
}

func TestTruthRules(t *testing.T) {
	if _, err := NewSensorsTruth(SensorsTruthConfig{Rules: Rules{MaxOutOfOrder: time.Second}}); err == nil {
		t.Error("rules without a window are taken")
	}
}

func TestDiff(t *testing.T) {
	cols := Columns{Keys: []string{"k"}, Values: []Value{{"n", true}, {"avg", false}}}
	row := func(start int64, key string, values ...float64) Row { return Row{start, []string{key}, values} }
	truth := []Row{row(0, "a", 1, 0.1), row(0, "b", 2, 0.2), row(1000, "a", 3, 0.3)}
	for name, c := range map[string]struct {
		got  []Row
		want string
	}{
		"same, other order":  {[]Row{truth[2], truth[0], truth[1]}, "exact: 3 rows"},
		"average in the end": {[]Row{truth[0], truth[1], row(1000, "a", 3, 0.1+0.2)}, "exact: 3 rows"},
		"average off":        {[]Row{truth[0], truth[1], row(1000, "a", 3, 0.3000001)}, "not exact: of 3 rows, 0 missing and 1 different; 0 extra\n  1970-01-01T00:00:01.000Z k=a: avg is 0.3000001, should be 0.3"},
		"count off":          {[]Row{truth[0], row(0, "b", 2.0000000000000004, 0.2), truth[2]}, "not exact: of 3 rows, 0 missing and 1 different; 0 extra\n  1970-01-01T00:00:00.000Z k=b: n is 2.0000000000000004, should be 2"},
		"one missing":        {truth[:2], "not exact: of 3 rows, 1 missing and 0 different; 0 extra\n  1970-01-01T00:00:01.000Z k=a: missing, should be n=3 avg=0.3"},
		"one twice":          {append([]Row{truth[0]}, truth...), "not exact: of 3 rows, 0 missing and 0 different; 1 extra\n  1970-01-01T00:00:00.000Z k=a: should not be there: n=1 avg=0.1"},
		"all missing":        {nil, "not exact: of 3 rows, 3 missing and 0 different; 0 extra\n  1970-01-01T00:00:00.000Z k=a: missing, should be n=1 avg=0.1"},
		"too few values":     {[]Row{row(0, "a", 1), truth[1], truth[2]}, "not exact: of 3 rows, 0 missing and 1 different; 0 extra\n  1970-01-01T00:00:00.000Z k=a: 1 values instead of 2"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Diff(cols, truth, c.got, 1).String(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func BenchmarkTruth(b *testing.B) {
	g, err := Sensors(SensorsConfig{Seed: 1, Events: int64(b.N)}.DefaultMix())
	if err != nil {
		b.Fatal(err)
	}
	truth := sensorsTruth(b, SensorsTruthConfig{})
	var r Record
	for g.Next(&r) {
		truth.Add(&r)
	}
}
