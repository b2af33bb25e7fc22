package decode

import (
	"fmt"
	"unicode/utf8"

	"github.com/weir-stream/weir/ingest/batch"
)

// maxSnippet bounds what a reject quotes from a record, in bytes before escaping.
const maxSnippet = 80

// refuse rejects the current record because of a column.
func (w *writer) refuse(reason batch.Reason, c *column, format string, args ...any) outcome {
	return w.refuseRecord(reason, "column %s (%s): %s", snippet([]byte(c.Name)), c.Type, fmt.Sprintf(format, args...))
}

// refuseRecord rejects the current record as a whole.
func (w *writer) refuseRecord(reason batch.Reason, format string, args ...any) outcome {
	w.reject = batch.Reject{Reason: reason, Detail: fmt.Sprintf(format, args...)}
	return rejected
}

func (w *writer) empty(tombstone bool) outcome {
	if tombstone {
		return w.refuseRecord(batch.ReasonEmpty, "the record has no value (a tombstone)")
	}
	return w.refuseRecord(batch.ReasonEmpty, "the record's value has no bytes")
}

func (w *writer) tooLarge(n, limit int) outcome {
	return w.refuseRecord(batch.ReasonTooLarge, "the record's value has %d bytes; the limit is %d", n, limit)
}

// snippet is text of a record made fit for a log line: cut to a bounded length, with control characters and bytes that
// are not UTF-8 escaped.
func snippet(b []byte) string {
	cut := len(b) > maxSnippet
	if cut {
		b = b[:maxSnippet]
		for n := len(b); n > maxSnippet-utf8.UTFMax; n-- { // not in the middle of a character
			if utf8.RuneStart(b[n-1]) {
				if !utf8.FullRune(b[n-1:]) {
					b = b[:n-1]
				}
				break
			}
		}
	}
	out := make([]byte, 0, len(b)+8)
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && size == 1, r < ' ', r == 0x7f:
			out = fmt.Appendf(out, "\\x%02x", b[0])
		case r >= 0x80 && r < 0xa0, r == 0x2028, r == 0x2029:
			out = fmt.Appendf(out, "\\u%04x", r)
		default:
			out = append(out, b[:size]...)
		}
		b = b[size:]
	}
	if cut {
		out = append(out, "..."...)
	}
	return string(out)
}
