package workload

import (
	"bytes"
	"encoding/csv"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

const weatherFile = "../../examples/weather/seattle-weather-hourly-normals.csv"

func TestWeatherRecords(t *testing.T) {
	g, err := Weather(strings.NewReader("date,pressure,temperature,wind\n2010-01-01T01:00:00,1016.6,4.0,3.8\n2010-01-01T02:00:00,1016,-0.5,3\n"), WeatherConfig{NumPartitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	var got []Record
	for {
		var r Record
		if !g.Next(&r) {
			break
		}
		got = append(got, r)
	}
	want := []Record{
		{Key: []byte("seattle"), Value: []byte(`{"date":"2010-01-01T01:00:00Z","pressure":1016.6,"temperature":4.0,"wind":3.8}`)},
		{Partition: 1, Key: []byte("seattle"), Value: []byte(`{"date":"2010-01-01T02:00:00Z","pressure":1016,"temperature":-0.5,"wind":3}`)},
	}
	if g.Err() != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("error %v, got %+v", g.Err(), got)
	}
}

// The truth is checked against a second way of counting: the days are the first ten letters of a line.
func TestWeatherTruthOverTheFile(t *testing.T) {
	data, err := os.ReadFile(weatherFile)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := NewWeatherTruth(Rules{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := Weather(bytes.NewReader(data), WeatherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var r Record
	for g.Next(&r) {
		truth.Add(&r)
	}
	if g.Err() != nil {
		t.Fatal(g.Err())
	}
	lines, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	type day struct {
		n, sum    float64
		low, high string
	}
	var days []day
	last := ""
	number := func(s string) float64 {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, l := range lines[1:] {
		if l[0][:10] != last {
			last = l[0][:10]
			days = append(days, day{low: l[2], high: l[2]})
		}
		d := &days[len(days)-1]
		d.n++
		d.sum += number(l[2])
		if number(l[2]) < number(d.low) {
			d.low = l[2]
		}
		if number(l[2]) > number(d.high) {
			d.high = l[2]
		}
	}
	rows := truth.Windows()
	if len(rows) != 365 || len(days) != 365 || truth.Counts().Aggregated != 8759 {
		t.Fatalf("%d rows, %d days, %+v", len(rows), len(days), truth.Counts())
	}
	for i, d := range days {
		if v := rows[i].Values; v[0] != d.n || v[1] != d.sum/d.n || v[2] != number(d.low) || v[3] != number(d.high) {
			t.Errorf("day %d: %v, should be %+v", i, v, d)
		}
	}
}

func TestWeatherErrors(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"empty":        {"", "header"},
		"other header": {"date,temp,x,y\n", "header"},
		"short line":   {"date,pressure,temperature,wind\n2010-01-01T01:00:00,1\n", "line 2"},
		"bad date":     {"date,pressure,temperature,wind\nyesterday,1,2,3\n", "line 2, date"},
		"bad number":   {"date,pressure,temperature,wind\n2010-01-01T01:00:00,1,2,3\n2010-01-01T01:00:00,1,warm,3\n", "line 3, temperature"},
		"not for JSON": {"date,pressure,temperature,wind\n2010-01-01T01:00:00,1,Inf,3\n", "line 2, temperature"},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := Weather(strings.NewReader(c.file), WeatherConfig{})
			if err == nil {
				var r Record
				for g.Next(&r) {
				}
				err = g.Err()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, should name %q", err, c.want)
			}
		})
	}
}
