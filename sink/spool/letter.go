package spool

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// A dead letter is letterFormat, flags, revision and topic ID as they are, numbers as varints, and texts with their lengths before them, in
// the order of appendLetter. Times are milliseconds since 1970, since that is what Kafka has: any int64, of years that other forms of a
// time cannot say. Before it had this form it was JSON.
const (
	letterFormat = 1
	letterJSON   = '{'

	flagTruncated = 1
	flagRow       = 2
)

func appendLetter(dst []byte, d *sink.DeadLetter) []byte {
	flags := byte(0)
	if d.Truncated {
		flags |= flagTruncated
	}
	if d.Row {
		flags |= flagRow
	}
	dst = append(dst, letterFormat, flags)
	dst = binary.BigEndian.AppendUint64(dst, d.Revision)
	dst = append(dst, d.Partition.TopicID[:]...)
	dst = binary.AppendUvarint(dst, d.Segment)
	for _, n := range []int64{int64(d.Partition.ID), d.Offset, int64(d.Index), d.Time.UnixMilli()} {
		dst = binary.AppendVarint(dst, n)
	}
	for _, s := range []string{d.Partition.Topic, d.Step, string(d.Reason), d.Detail} {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	for _, b := range [][]byte{d.Key, d.Payload} {
		dst = append(binary.AppendUvarint(dst, uint64(len(b))), b...)
	}
	return dst
}

var errLetter = errors.New("a dead letter is cut short, or has more than it says")

// readLetter reads a dead letter. What it returns does not share memory with data, but texts that are those of before: letters
// mostly come in runs of one step and reason.
func readLetter(data []byte, before *sink.DeadLetter) (d sink.DeadLetter, err error) {
	const fixed = 2 + 8 + 16
	switch {
	case len(data) > 0 && data[0] == letterJSON:
		if err := json.Unmarshal(data, &d); err != nil {
			return d, fmt.Errorf("%w: a dead letter: %w", ErrDamaged, err)
		}
		return d, nil
	case len(data) < fixed || data[0] != letterFormat:
		return d, fmt.Errorf("%w: %w", ErrDamaged, errLetter)
	}
	d.Truncated, d.Row = data[1]&flagTruncated != 0, data[1]&flagRow != 0
	d.Revision = binary.BigEndian.Uint64(data[2:])
	copy(d.Partition.TopicID[:], data[10:])
	r := letterReader{rest: data[fixed:]}
	d.Segment = r.uvarint()
	d.Partition.ID = int32(r.varint())
	d.Offset = r.varint()
	d.Index = int32(r.varint())
	d.Time = time.UnixMilli(r.varint())
	d.Partition.Topic = r.text(before.Partition.Topic)
	d.Step = r.text(before.Step)
	d.Reason = batch.Reason(r.text(string(before.Reason)))
	d.Detail = r.text(before.Detail)
	d.Key, d.Payload = r.bytes(), r.bytes()
	if r.short || len(r.rest) > 0 {
		return sink.DeadLetter{}, fmt.Errorf("%w: %w", ErrDamaged, errLetter)
	}
	return d, nil
}

// letterReader takes parts off what is left of a dead letter, until it is too short.
type letterReader struct {
	rest  []byte
	short bool
}

func (r *letterReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.skip(n)
	return v
}

func (r *letterReader) varint() int64 {
	v, n := binary.Varint(r.rest)
	r.skip(n)
	return v
}

// skip goes behind the n bytes of a number. 0 or less says that it does not end, or is too large.
func (r *letterReader) skip(n int) {
	if n <= 0 {
		r.rest, r.short = nil, true
		return
	}
	r.rest = r.rest[n:]
}

// next is the next of the parts that have their length before them. It shares the reader's memory.
func (r *letterReader) next() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.rest, r.short = nil, true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *letterReader) bytes() []byte { return append([]byte(nil), r.next()...) }

func (r *letterReader) text(before string) string {
	b := r.next()
	if string(b) == before {
		return before
	}
	return string(b)
}
