package flightstest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Missing is a number that the data have not got.
const Missing = math.MinInt32

// Flight is a flight as it was planned and as it went.
type Flight struct {
	// At is when it was to leave, in milliseconds since 1970. Those of one minute are a millisecond apart, in the order of the data, so
	// that no two flights have the same.
	At                             int64
	Carrier, Tail, Origin, Dest    string // Tail is empty where it is not known
	Number, Distance               int32
	DepDelay, ArrDelay, AirMinutes int32 // or Missing
}

// Flights are all 336,776 of them, in order of time.
func Flights(t testing.TB) []Flight {
	t.Helper()
	rows := open(t, "flights.csv")
	const carrier, number, tail, origin, dest, minutes, distance = 9, 10, 11, 12, 13, 14, 15
	out := make([]Flight, 0, 336_776)
	for {
		r := rows.next("year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay", "carrier",
			"flight", "tailnum", "origin", "dest", "air_time", "distance", "hour", "minute", "time_hour")
		if r == nil {
			break
		}
		hour := rows.time(r[18])
		f := Flight{
			At:      hour + 60_000*int64(rows.integer(r[17])),
			Carrier: r[carrier], Tail: r[tail], Origin: r[origin], Dest: r[dest], Number: rows.integer(r[number]),
			Distance: rows.integer(r[distance]), DepDelay: rows.integer(r[5]), ArrDelay: rows.integer(r[8]), AirMinutes: rows.integer(r[minutes]),
		}
		if f.Tail == "NA" {
			f.Tail = ""
		}
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b Flight) int { return cmp.Compare(a.At, b.At) })
	for i := 1; i < len(out); i++ {
		if before := &out[i-1]; out[i].At/60_000 == before.At/60_000 {
			out[i].At = before.At + 1
		}
	}
	return out
}

// Weather is what was measured at an airport in an hour.
type Weather struct {
	At                       int64 // milliseconds since 1970
	Origin                   string
	Temp, Wind, Gust, Precip float64 // NaN where it is missing
}

// WeatherOf2013 are the hours of three airports, in order of time.
func WeatherOf2013(t testing.TB) []Weather {
	t.Helper()
	rows := open(t, "weather.csv")
	var out []Weather
	for {
		r := rows.next("origin", "year", "month", "day", "hour", "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip",
			"pressure", "visib", "time_hour")
		if r == nil {
			break
		}
		out = append(out, Weather{
			At: rows.time(r[14]), Origin: r[0],
			Temp: rows.float(r[5]), Wind: rows.float(r[9]), Gust: rows.float(r[10]), Precip: rows.float(r[11]),
		})
	}
	slices.SortStableFunc(out, func(a, b Weather) int { return cmp.Compare(a.At, b.At) })
	return out
}

// table reads a file of the archive. What is not as it should be ends the test.
type table struct {
	t    testing.TB
	name string
	csv  *csv.Reader
	line int
}

func open(t testing.TB, name string) *table {
	t.Helper()
	data, err := unpack(need(t), name)
	if err != nil {
		t.Fatalf("unpack %s of the flights: %v", name, err)
	}
	r := csv.NewReader(bytes.NewReader(data))
	r.ReuseRecord = true
	return &table{t: t, name: name, csv: r}
}

// unpack gives a data file of the archive, which may be zipped in there.
func unpack(path, name string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if err != nil {
			return nil, err
		}
		base, zipped := strings.CutSuffix(h.Name, ".zip")
		if !strings.HasSuffix(base, "/data/"+name) {
			continue
		}
		data, err := io.ReadAll(tr)
		if err != nil || !zipped {
			return data, err
		}
		inner, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return nil, err
		}
		file, err := inner.Open(name)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(file)
	}
}

// next gives a row, valid until the next call, or nil at the end. The columns must be these.
func (t *table) next(columns ...string) []string {
	t.t.Helper()
	for {
		r, err := t.csv.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && t.line == 0 && !slices.Equal(r, columns) {
			err = fmt.Errorf("the columns are %q", r)
		}
		if err != nil {
			t.t.Fatalf("read %s: %v", t.name, err)
		}
		if t.line++; t.line > 1 {
			return r
		}
	}
}

func (t *table) integer(s string) int32 {
	if s == "NA" {
		return Missing
	}
	v, err := strconv.ParseInt(s, 10, 32)
	t.check(err)
	return int32(v)
}

func (t *table) float(s string) float64 {
	if s == "NA" {
		return math.NaN()
	}
	v, err := strconv.ParseFloat(s, 64)
	t.check(err)
	return v
}

func (t *table) time(s string) int64 {
	v, err := time.Parse(time.RFC3339, s)
	t.check(err)
	return v.UnixMilli()
}

func (t *table) check(err error) {
	if err != nil {
		t.t.Helper()
		t.t.Fatalf("read %s, line %d: %v", t.name, t.line, err)
	}
}
