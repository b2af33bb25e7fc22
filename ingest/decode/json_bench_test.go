package decode

import (
	stdjson "encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

var sensorColumns = schema.Columns{
	value("device", "string"), value("site", "string"), value("ts", "timestamp[ms]"), value("temp", "float64"),
	value("seq", "int64"), value("status", "string"),
}

// sensorRecords makes records of about 120 bytes.
func sensorRecords(n int) []batch.Record {
	rng := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)
	records := make([]batch.Record, n)
	for i := range records {
		at = at.Add(time.Duration(rng.IntN(20)) * time.Millisecond)
		status := "ok"
		if rng.IntN(10) == 0 {
			status = "fault"
		}
		records[i].Offset = int64(i)
		records[i].Value = fmt.Appendf(nil, `{"device":"dev-%04d","site":"site-%02d","ts":"%s","temp":%s,"seq":%d,"status":"%s"}`,
			rng.IntN(1000), rng.IntN(20), at.Format("2006-01-02T15:04:05.000Z07:00"),
			strconv.FormatFloat(rng.Float64()*50-10, 'f', 2, 64), 100000+i, status)
	}
	return records
}

func totalBytes(records []batch.Record) (n int64) {
	for i := range records {
		n += int64(len(records[i].Value))
	}
	return n
}

// sensorRow is what encoding/json and the hand-written parser fill.
type sensorRow struct {
	Device, Site string
	TS           time.Time
	Temp         float64
	Seq          int64
	Status       string
}

func BenchmarkJSON(b *testing.B) {
	const rows = 8192
	records := sensorRecords(rows)
	perRecord := func(b *testing.B) {
		b.SetBytes(totalBytes(records) / rows)
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/record")
	}
	b.Run("weir", func(b *testing.B) {
		d, err := New("json", sensorColumns, Options{})
		if err != nil {
			b.Fatal(err)
		}
		mem := batch.Bytes(make([]uint64, SlotSize(sensorColumns, rows, 0)/8))
		var bt batch.Batch
		b.ReportAllocs()
		b.ResetTimer()
		for n := 0; n < b.N; n += rows {
			a := batch.NewArena(mem)
			bt.Begin(d.Schema(), batch.Partition{}, records)
			d.Decode(&bt, &a)
			if bt.Rows != rows {
				b.Fatal(bt.Rows, bt.Rejects)
			}
		}
		perRecord(b)
	})
	b.Run("hand", func(b *testing.B) {
		out := make([]sensorRow, rows)
		b.ResetTimer()
		for n := 0; n < b.N; n += rows {
			for i := range records {
				if !handParse(records[i].Value, &out[i]) {
					b.Fatal(string(records[i].Value))
				}
			}
		}
		perRecord(b)
	})
	b.Run("encoding_json", func(b *testing.B) {
		out := make([]sensorRow, rows)
		b.ResetTimer()
		for n := 0; n < b.N; n += rows {
			for i := range records {
				if err := stdjson.Unmarshal(records[i].Value, &out[i]); err != nil {
					b.Fatal(err)
				}
			}
		}
		perRecord(b)
	})
}

// handParse is what one writes by hand for this one schema: no escapes, no nesting, no checks beyond need, strings
// that share the record's memory.
func handParse(data []byte, out *sensorRow) bool {
	p := 0
	if len(data) == 0 || data[0] != '{' {
		return false
	}
	for p < len(data) && data[p] != '}' {
		p++ // { or ,
		if data[p] != '"' {
			return false
		}
		k := p + 1
		for p = k; data[p] != '"'; p++ {
		}
		key := data[k:p]
		p += 2 // quote, colon
		var v []byte
		if data[p] == '"' {
			s := p + 1
			for p = s; data[p] != '"'; p++ {
			}
			v = data[s:p]
			p++
		} else {
			s := p
			for data[p] != ',' && data[p] != '}' {
				p++
			}
			v = data[s:p]
		}
		var err error
		switch string(key) {
		case "device":
			out.Device = string(v)
		case "site":
			out.Site = string(v)
		case "ts":
			out.TS, err = time.Parse(time.RFC3339, string(v))
		case "temp":
			out.Temp, err = strconv.ParseFloat(string(v), 64)
		case "seq":
			out.Seq, err = strconv.ParseInt(string(v), 10, 64)
		case "status":
			out.Status = string(v)
		}
		if err != nil {
			return false
		}
	}
	return true
}
