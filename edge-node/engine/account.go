package engine

import (
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// countBatch adds a batch that went through the window to the counters of its segment.
func countBatch(to *sink.Counters, b *batch.Batch, counts operators.Counts) {
	for i := range b.Rejects {
		if b.Rejects[i].Reason != batch.ReasonLate {
			to.Rejected++
		}
	}
	to.RecordsIn += int64(b.Begun())
	to.Aggregated += counts.Aggregated
	to.Late += counts.Late
	to.Filtered += b.Filtered
	to.Expanded += b.Expanded
}

// letterOverhead is about what a dead letter takes beside its texts.
const letterOverhead = 200

// appendLetter appends a dead letter of reject i of a batch. at says of which partition, revision and segment; keep is how many bytes
// of the payload, and of the key, are kept. Both are copied: the record's memory is a whole fetch. It also tells about how many
// bytes the letter takes.
func appendLetter(to []sink.DeadLetter, at sink.DeadLetter, b *batch.Batch, i, keep int) ([]sink.DeadLetter, int64) {
	r := &b.Rejects[i]
	d := at
	d.Offset, d.Step, d.Reason, d.Detail, d.Row = b.Records[0].Offset, r.Step, r.Reason, r.Detail, r.Record < 0 || r.Payload != nil
	payload := r.Payload
	record := &b.Records[0]
	if r.Record >= 0 {
		record = &b.Records[r.Record]
		d.Offset = record.Offset
		if payload == nil {
			payload = record.Value
		}
	}
	d.Time = time.UnixMilli(record.Time)
	// Rows of one record stay together, in a batch or in several that have no other record, so their order tells them apart on
	// every replay.
	for n := len(to) - 1; n >= 0 && to[n].Offset == d.Offset; n-- {
		if to[n].Step == d.Step {
			d.Index = to[n].Index + 1
			break
		}
	}
	if d.Truncated = len(payload) > keep; d.Truncated {
		payload = payload[:keep]
	}
	d.Payload = append([]byte(nil), payload...)
	if r.Record >= 0 {
		d.Key = append([]byte(nil), record.Key[:min(len(record.Key), keep)]...)
	}
	return append(to, d), int64(len(d.Payload)+len(d.Key)+len(d.Detail)) + letterOverhead
}
