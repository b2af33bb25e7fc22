package contender

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/bench/workload"
)

func (j *job) hand(ctx context.Context) error {
	p := handWritten(j.Case)()
	err := j.consume(ctx, func(f kgo.FetchTopicPartition) error {
		for _, r := range f.Records {
			if err := p.add(f.Partition, r.Value); err != nil {
				return fmt.Errorf("partition %d, offset %d: %w", f.Partition, r.Offset, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return j.insert(ctx, p.columns(), p.rows())
}

// insert makes the table and stores all rows in one insert.
func (j *job) insert(ctx context.Context, columns workload.Columns, rows []workload.Row) error {
	opts, err := clickhouse.ParseDSN(j.ClickHouse)
	if err != nil {
		return fmt.Errorf("read the URL of ClickHouse: %w", err)
	}
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return fmt.Errorf("reach ClickHouse: %w", err)
	}
	defer func() { _ = conn.Close() }()
	defs := []string{"window_start DateTime64(3, 'UTC')"}
	for _, k := range columns.Keys {
		defs = append(defs, k+" String")
	}
	for _, v := range columns.Values {
		defs = append(defs, v.Name+" Float64")
	}
	table := "`" + j.Table + "`"
	if err := conn.Exec(ctx, "CREATE TABLE "+table+" ("+strings.Join(defs, ", ")+") ENGINE = MergeTree ORDER BY window_start"); err != nil {
		return fmt.Errorf("make the table: %w", err)
	}
	b, err := conn.PrepareBatch(ctx, "INSERT INTO "+table)
	if err != nil {
		return fmt.Errorf("begin the insert: %w", err)
	}
	starts := make([]time.Time, len(rows))
	for i, r := range rows {
		starts[i] = time.UnixMilli(r.Start)
	}
	if err := b.Column(0).Append(starts); err != nil {
		return fmt.Errorf("fill the insert: %w", err)
	}
	for k := range columns.Keys {
		column := make([]string, len(rows))
		for i, r := range rows {
			column[i] = r.Keys[k]
		}
		if err := b.Column(1 + k).Append(column); err != nil {
			return fmt.Errorf("fill the insert: %w", err)
		}
	}
	for v := range columns.Values {
		column := make([]float64, len(rows))
		for i, r := range rows {
			column[i] = r.Values[v]
		}
		if err := b.Column(1 + len(columns.Keys) + v).Append(column); err != nil {
			return fmt.Errorf("fill the insert: %w", err)
		}
	}
	if err := b.Send(); err != nil {
		return fmt.Errorf("store %d rows: %w", len(rows), err)
	}
	return nil
}

// clock is the watermark of a partition, and tells what is late. Milliseconds.
type clock struct {
	watermark int64
	moved     bool
}

const outOfOrder, lateness = 2000, 60_000

// take gives the window of a row, or that it is late.
func (c *clock) take(ts, size int64) (start int64, inTime bool) {
	start = ts - ((ts%size)+size)%size
	if c.moved && start+size+lateness <= c.watermark {
		return 0, false
	}
	if w := ts - outOfOrder; !c.moved || w > c.watermark {
		c.watermark, c.moved = w, true
	}
	return start, true
}

// handSensors is W1.
type handSensors struct {
	clocks map[int32]*clock
	// windows by start, then by site and device with a zero byte between.
	windows map[int64]map[string]*sensorCell
	last    map[string]*sensorCell // of lastStart
	from    int64
	key     []byte
	r       sensorReading
}

type sensorCell struct {
	site, device                   string
	count                          int64
	sum, low, high, highFahrenheit float64
}

func newHandSensors() program {
	return &handSensors{clocks: map[int32]*clock{}, windows: map[int64]map[string]*sensorCell{}}
}

func (h *handSensors) add(partition int32, value []byte) error {
	if err := h.r.parse(value); err != nil {
		return err
	}
	if string(h.r.status) != "ok" || !(h.r.temp > -40) {
		return nil
	}
	c := h.clocks[partition]
	if c == nil {
		c = &clock{}
		h.clocks[partition] = c
	}
	start, inTime := c.take(h.r.ts, 10_000)
	if !inTime {
		return nil
	}
	temp := h.r.temp + 0.4
	fahrenheit := float64(float64(temp*9)/5) + 32
	if h.last == nil || h.from != start {
		if h.windows[start] == nil {
			h.windows[start] = map[string]*sensorCell{}
		}
		h.last, h.from = h.windows[start], start
	}
	h.key = append(append(append(h.key[:0], h.r.site...), 0), h.r.device...)
	cell := h.last[string(h.key)]
	if cell == nil {
		h.last[string(h.key)] = &sensorCell{
			site: string(h.r.site), device: string(h.r.device), count: 1, sum: temp, low: temp, high: temp, highFahrenheit: fahrenheit,
		}
		return nil
	}
	cell.count++
	cell.sum += temp
	cell.low, cell.high, cell.highFahrenheit = min(cell.low, temp), max(cell.high, temp), max(cell.highFahrenheit, fahrenheit)
	return nil
}

func (h *handSensors) columns() workload.Columns {
	return workload.Columns{
		Keys:   []string{"site", "device"},
		Values: []workload.Value{{Name: "readings"}, {Name: "temp_avg"}, {Name: "temp_min"}, {Name: "temp_max"}, {Name: "temp_f_max"}},
	}
}

func (h *handSensors) rows() []workload.Row {
	var rows []workload.Row
	for start, cells := range h.windows {
		for _, c := range cells {
			rows = append(rows, workload.Row{
				Start: start, Keys: []string{c.site, c.device},
				Values: []float64{float64(c.count), c.sum / float64(c.count), c.low, c.high, c.highFahrenheit},
			})
		}
	}
	return rows
}

// handProject is W2.
type handProject struct {
	clocks  map[int32]*clock
	windows map[int64]*projectCell
	r       sensorReading
}

type projectCell struct {
	count, seqs int64
	high, sum   float64
}

func newHandProject() program {
	return &handProject{clocks: map[int32]*clock{}, windows: map[int64]*projectCell{}}
}

func (h *handProject) add(partition int32, value []byte) error {
	if err := h.r.parse(value); err != nil {
		return err
	}
	if !(h.r.temp > 30) {
		return nil
	}
	c := h.clocks[partition]
	if c == nil {
		c = &clock{}
		h.clocks[partition] = c
	}
	start, inTime := c.take(h.r.ts, 60_000)
	if !inTime {
		return nil
	}
	fahrenheit := float64(float64(h.r.temp*9)/5) + 32
	cell := h.windows[start]
	if cell == nil {
		cell = &projectCell{high: fahrenheit}
		h.windows[start] = cell
	}
	cell.count++
	cell.seqs += h.r.seq
	cell.high = max(cell.high, fahrenheit)
	cell.sum += fahrenheit
	return nil
}

func (h *handProject) columns() workload.Columns {
	return workload.Columns{Values: []workload.Value{{Name: "readings"}, {Name: "seq_sum"}, {Name: "temp_f_max"}, {Name: "temp_f_sum"}}}
}

func (h *handProject) rows() []workload.Row {
	var rows []workload.Row
	for start, c := range h.windows {
		rows = append(rows, workload.Row{Start: start, Values: []float64{float64(c.count), float64(c.seqs), c.high, c.sum}})
	}
	return rows
}
