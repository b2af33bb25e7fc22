package workload

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// WeatherConfig says how the rows of a weather file become records.
type WeatherConfig struct {
	Station string // the key of every record; default "seattle"
	// NumPartitions is 1 by default. Row i goes to partition i mod NumPartitions, so that a window has rows in all of
	// them.
	NumPartitions int32
}

// WeatherGen generates records from a file; see [Weather].
type WeatherGen struct {
	cfg     WeatherConfig
	csv     *csv.Reader
	row     int64
	offsets []int64
	err     error
}

var weatherHeader = []string{"date", "pressure", "temperature", "wind"}

// Weather makes a generator of the rows of a CSV file such as examples/weather/seattle-weather-hourly-normals.csv:
//
//	2010-01-01T01:00:00,1016.6,4.0,3.8
//	{"date":"2010-01-01T01:00:00Z","pressure":1016.6,"temperature":4.0,"wind":3.8}
//
// Times in the file are local and without a zone. They are labelled as UTC, so that a window of 24 hours is a local day.
// Numbers are taken over as they are written. A row that is not like this ends the stream with an error that names its
// line.
func Weather(r io.Reader, cfg WeatherConfig) (*WeatherGen, error) {
	if cfg.Station == "" {
		cfg.Station = "seattle"
	}
	if cfg.NumPartitions == 0 {
		cfg.NumPartitions = 1
	}
	if cfg.NumPartitions < 0 || cfg.NumPartitions > 100_000 {
		return nil, errors.New("make a weather stream: partitions must be 1 to 100,000")
	}
	c := csv.NewReader(r)
	c.ReuseRecord = true
	c.FieldsPerRecord = len(weatherHeader)
	header, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("read the header of a weather file: %w", err)
	}
	if !slices.Equal(header, weatherHeader) {
		return nil, fmt.Errorf("read the header of a weather file: it is %q, should be %q", header, weatherHeader)
	}
	return &WeatherGen{cfg: cfg, csv: c, offsets: make([]int64, cfg.NumPartitions)}, nil
}

// Partitions implements [Generator].
func (g *WeatherGen) Partitions() int32 { return g.cfg.NumPartitions }

// Err implements [Generator]: what is wrong with the file.
func (g *WeatherGen) Err() error { return g.err }

// Next implements [Generator].
func (g *WeatherGen) Next(r *Record) bool {
	if g.err != nil {
		return false
	}
	fields, err := g.csv.Read()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			g.err = fmt.Errorf("read a weather file: %w", err)
		}
		return false
	}
	date, err := time.Parse("2006-01-02T15:04:05", fields[0])
	if err != nil {
		return g.fail(0, err)
	}
	for i, number := range fields[1:] {
		if _, err := strconv.ParseFloat(number, 64); err != nil {
			return g.fail(i+1, err)
		}
		if !json.Valid([]byte(number)) {
			return g.fail(i+1, fmt.Errorf("%q is no number in JSON", number))
		}
	}
	r.Partition = int32(g.row % int64(g.cfg.NumPartitions))
	r.Offset = g.offsets[r.Partition]
	r.Time = 0 // a broker may delete at once what says it is from 2010
	r.Key = append(r.Key[:0], g.cfg.Station...)
	v := append(r.Value[:0], `{"date":"`...)
	v = date.AppendFormat(v, time.RFC3339)
	v = append(v, '"')
	for i, number := range fields[1:] {
		v = append(v, `,"`...)
		v = append(v, weatherHeader[i+1]...)
		v = append(v, `":`...)
		v = append(v, number...)
	}
	r.Value = append(v, '}')
	g.offsets[r.Partition]++
	g.row++
	return true
}

func (g *WeatherGen) fail(field int, err error) bool {
	line, _ := g.csv.FieldPos(field)
	g.err = fmt.Errorf("read a weather file: line %d, %s: %w", line, weatherHeader[field], err)
	return false
}
