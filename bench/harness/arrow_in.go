package harness

import (
	"fmt"
	"strings"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
)

// arrowRows is how many readings a record of arrow-in has.
const arrowRows = 1000

// arrowInCase is W1 of Arrow: the readings of sensors, a thousand of a partition in each record. Making Arrow is what the pipeline
// package does, so the case is here and not in bench/workload.
func arrowInCase() workload.Case {
	sensors := workload.Cases()[0]
	c := workload.Case{
		Name: "arrow-in", About: "Arrow in: W1 of Arrow streams, a thousand readings in a record",
		Note:   "an event is a reading; the bare consumer has a thousandth of the records, since that is what a consumer of Arrow has",
		Events: 2000, Rows: arrowRows, Pipeline: strings.Replace(sensors.Pipeline, "format: json", "format: arrow", 1),
	}
	c.Stream = func(s workload.Size) (workload.Generator, error) {
		spec, err := config.ParseEnv("arrow-in.yaml", []byte(c.Pipeline), config.Env{Lookup: func(string) (string, bool) { return "", false }})
		if err != nil {
			return nil, err
		}
		lines, err := pipeline.NewArrowLines(spec, 1<<10)
		if err != nil {
			return nil, err
		}
		p, err := newPacks(sensors, s)
		if err != nil {
			return nil, err
		}
		return &packed{packs: p, lines: lines}, nil
	}
	c.Truth = func(s workload.Size) (workload.Oracle, error) { return newUnpacked(sensors, s) }
	return c
}

// pack is what becomes one record: readings of one partition, in order.
type pack struct {
	rows []workload.Record
	n    int
}

// packs makes packs of a stream until there are as many as asked for. What does not fill one is left out.
type packs struct {
	gen  workload.Generator
	left int64
	open map[int32]*pack
}

func newPacks(c workload.Case, s workload.Size) (*packs, error) {
	p := &packs{left: s.Events, open: map[int32]*pack{}}
	// With so many readings there are enough packs whatever is left over in each partition.
	s.Events = (s.Events + int64(s.Partitions)) * arrowRows
	var err error
	p.gen, err = c.Stream(s)
	return p, err
}

// next gives a full pack, which is there until its partition's next one is begun, or nil at the end.
func (p *packs) next() *pack {
	if p.left == 0 {
		return nil
	}
	var r workload.Record
	for p.gen.Next(&r) {
		k := p.open[r.Partition]
		if k == nil {
			k = &pack{rows: make([]workload.Record, arrowRows)}
			p.open[r.Partition] = k
		}
		if k.n == arrowRows {
			k.n = 0
		}
		to := &k.rows[k.n]
		to.Partition, to.Time, to.Offset = r.Partition, r.Time, r.Offset
		to.Key, to.Value = append(to.Key[:0], r.Key...), append(to.Value[:0], r.Value...)
		if k.n++; k.n == arrowRows {
			p.left--
			return k
		}
	}
	return nil
}

// packed makes a record of Arrow of each pack.
type packed struct {
	*packs
	lines   *pipeline.ArrowLines
	text    [][]byte
	offsets map[int32]int64
	err     error
}

// Next implements [workload.Generator].
func (p *packed) Next(r *workload.Record) bool {
	k := p.next()
	if k == nil {
		return false
	}
	p.text = p.text[:0]
	for i := range k.rows {
		p.text = append(p.text, k.rows[i].Value)
	}
	value, err := p.lines.Stream(p.text)
	if err != nil {
		p.err = fmt.Errorf("write readings as Arrow: %w", err)
		return false
	}
	if p.offsets == nil {
		p.offsets = map[int32]int64{}
	}
	last := &k.rows[arrowRows-1]
	r.Partition, r.Offset, r.Time = last.Partition, p.offsets[last.Partition], last.Time
	r.Key, r.Value = r.Key[:0], append(r.Value[:0], value...)
	p.offsets[last.Partition]++
	return true
}

// Err implements [workload.Generator].
func (p *packed) Err() error {
	if p.err != nil {
		return p.err
	}
	return p.gen.Err()
}

// Partitions implements [workload.Generator].
func (p *packed) Partitions() int32 { return p.gen.Partitions() }

// unpacked is the truth about packs: it makes them once more, and takes the readings of as many as it was given records.
type unpacked struct {
	workload.Oracle
	packs *packs
	given int64
}

func newUnpacked(c workload.Case, s workload.Size) (*unpacked, error) {
	of, err := c.Truth(s)
	if err != nil {
		return nil, err
	}
	p, err := newPacks(c, s)
	if err != nil {
		return nil, err
	}
	return &unpacked{Oracle: of, packs: p}, nil
}

// Add implements [workload.Oracle].
func (u *unpacked) Add(*workload.Record) {
	u.given++
	k := u.packs.next()
	if k == nil {
		return // more records than there are packs: the counts will differ
	}
	for i := range k.rows {
		u.Oracle.Add(&k.rows[i])
	}
}

// Counts implements [workload.Oracle]. Records are those of Kafka.
func (u *unpacked) Counts() workload.Counts {
	c := u.Oracle.Counts()
	c.Records = u.given
	return c
}
