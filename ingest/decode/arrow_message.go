package decode

import (
	"bytes"
	"encoding/binary"

	"github.com/weir-stream/weir/ingest/batch"
)

// arrowV5 is the version of the metadata since Arrow 1.0; the one before it is read, too.
const (
	arrowV4 = 3
	arrowV5 = 4
)

// The kinds of messages, as the union MessageHeader numbers them.
// Source: https://github.com/apache/arrow/blob/main/format/Message.fbs.
const (
	arrowSchemaMessage     = 1
	arrowDictionaryMessage = 2
	arrowBatchMessage      = 3
)

// continuation begins every message of a stream.
const continuation = 0xffffffff

// arrowMessage is a message of a record's stream: a dictionary or a batch.
type arrowMessage struct {
	meta []byte // the flatbuffer
	body []byte
	rows int // of a batch; -1 for a dictionary
}

// readMessages cuts a record into its messages, without a look at their bodies, and counts rows.
//
//	0xffffffff | int32 length of metadata | metadata | body
//
// Source: https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format.
func (d *arrowDecoder) readMessages(value []byte) outcome {
	w := &d.w
	d.messages, d.left = d.messages[:0], 0
	malformed := func(format string, args ...any) outcome {
		return w.refuseRecord(batch.ReasonMalformed, "not an Arrow IPC stream: "+format, args...)
	}
	schema := false
	rows := int64(0)
	for p := 0; p < len(value); {
		at, rest := p, value[p:]
		switch {
		case p == 0 && bytes.HasPrefix(rest, []byte("ARROW1")):
			return malformed("this is an Arrow file; send the stream format")
		case len(rest) < 8:
			return malformed("truncated: the record ends at byte %d inside a message", len(value))
		case binary.LittleEndian.Uint32(rest) != continuation:
			return malformed("found %s where a message must begin, at byte %d", snippet(rest[:min(len(rest), 16)]), at)
		}
		size := int64(int32(binary.LittleEndian.Uint32(rest[4:])))
		rest = rest[8:]
		if size == 0 { // the end of the stream
			if len(rest) > 0 {
				return malformed("%d bytes follow its end, at byte %d", len(rest), at+8)
			}
			p = len(value)
			continue
		}
		if size < 0 || size > int64(len(rest)) {
			return malformed("a message of %d bytes at byte %d does not fit the record", size, at)
		}
		meta := rest[:size]
		rest = rest[size:]
		f := &d.flat
		*f = flat{buf: meta}
		m := f.root()
		version, kind, length := m.i16(0, 0), m.u8(1, 0), m.i64(3)
		header := m.table(2)
		switch {
		case f.bad || header.f == nil:
			return malformed("the message at byte %d is not a flatbuffer of Arrow", at)
		case version != arrowV4 && version != arrowV5:
			return malformed("the message at byte %d has metadata version %d; 4 and 5 are read", at, int(version)+1)
		case length < 0 || length > int64(len(rest)):
			return malformed("the body of %d bytes of the message at byte %d does not fit the record", length, at)
		case !schema && kind != arrowSchemaMessage:
			return malformed("it does not begin with a schema")
		}
		body := rest[:length]
		p = len(value) - len(rest) + int(length)
		switch kind {
		case arrowSchemaMessage:
			if schema {
				return malformed("a second schema at byte %d", at)
			}
			schema = true
			if !d.schema.same(meta) {
				if out := d.readSchema(meta, version, header); out != written {
					return out
				}
			}
			if d.schema.refused.Reason != "" {
				w.reject = d.schema.refused
				return rejected
			}
		case arrowDictionaryMessage:
			d.messages = append(d.messages, arrowMessage{meta: meta, body: body, rows: -1})
		case arrowBatchMessage:
			n := header.i64(0)
			if f.bad || n < 0 {
				return malformed("the batch at byte %d has %d rows", at, n)
			}
			if rows += min(n, 1<<40); rows > int64(d.maxRows) {
				return w.refuseRecord(batch.ReasonTooLarge, "the record has more than %d rows, one for 4 bytes of max_record", d.maxRows)
			}
			d.messages = append(d.messages, arrowMessage{meta: meta, body: body, rows: int(n)})
		default:
			return malformed("the message at byte %d is of kind %d, which is none of schema, dictionary and batch", at, kind)
		}
	}
	if !schema {
		return malformed("there is no message in it")
	}
	d.left = int(rows)
	return written
}
