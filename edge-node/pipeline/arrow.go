package pipeline

import (
	"bytes"
	"fmt"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/decode"
	"github.com/weir-stream/weir/ingest/schema"
)

// ArrowLines makes records as a pipeline with format arrow reads them, of lines of JSON: each field by the name that the pipeline
// looks for, of the column's type.
type ArrowLines struct {
	cols    schema.Columns
	decoder ingest.Decoder
	longest int // line
}

// NewArrowLines takes the columns of a pipeline that are filled from the record's value. Lines may have longest bytes.
func NewArrowLines(spec *config.Pipeline, longest int) (*ArrowLines, error) {
	if spec.Source.Format != config.FormatArrow {
		return nil, spec.ErrorAt("source.format", "it is %s, and records of Arrow are for a pipeline that reads them: write format: arrow", spec.Source.Format)
	}
	l := &ArrowLines{longest: longest}
	for _, c := range spec.Source.Columns {
		if c.From == schema.FromValue && len(c.Path) == 1 {
			c.Name = c.Path[0]
			l.cols = append(l.cols, c)
		}
	}
	var err error
	if l.decoder, err = decode.New("json", l.cols, decode.Options{MaxRecord: longest}); err != nil {
		return nil, spec.ErrorAt("source.columns", "%v", err)
	}
	return l, nil
}

// Stream makes one stream of lines. A line that does not fit the columns is an error that names it, from 0 on.
func (l *ArrowLines) Stream(lines [][]byte) ([]byte, error) {
	records := make([]batch.Record, len(lines))
	for i, line := range lines {
		records[i].Value = line
	}
	var buf bytes.Buffer
	to := batch.NewStreamWriter(&buf, l.decoder.Schema())
	mem := batch.Bytes(make([]uint64, decode.SlotSize(l.cols, len(lines), l.longest)/8+1))
	var b batch.Batch
	for done := 0; done < len(records); {
		b.Begin(l.decoder.Schema(), batch.Partition{}, records[done:])
		a := batch.NewArena(mem)
		l.decoder.Decode(&b, &a)
		for _, r := range b.Rejects {
			return nil, &LineError{Line: done + int(r.Record), Problem: fmt.Sprintf("%s: %s", r.Reason, r.Detail)}
		}
		if err := to.Write(&b); err != nil {
			return nil, err
		}
		done += len(b.Records)
	}
	if err := to.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// LineError is a line that does not fit the columns.
type LineError struct {
	Line    int // from 0 on
	Problem string
}

// Error says what is wrong, and not where: the caller knows which lines it gave.
func (e *LineError) Error() string { return e.Problem }
