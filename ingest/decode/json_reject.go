package decode

import (
	"bytes"
	"unicode/utf8"

	"github.com/weir-stream/weir/ingest/batch"
)

// malformed rejects the record because at p is not what JSON wants there.
func (j *jsonFormat) malformed(data []byte, p int, want string) int {
	if p >= len(data) {
		j.w.refuseRecord(batch.ReasonMalformed, "truncated: the record ends at byte %d where %s must follow", len(data), want)
	} else {
		j.w.refuseRecord(batch.ReasonMalformed, "not JSON at byte %d: found %s where %s must be", p, snippet(data[p:]), want)
	}
	return failed
}

// badEscape rejects the record because of the escape at p.
func (j *jsonFormat) badEscape(data []byte, p int) int {
	if len(data)-p < len(`\u0000`) && bytes.IndexByte(data[p:], '"') < 0 {
		p = len(data)
	}
	return j.malformed(data, p, "an escape")
}

// badUTF8 rejects the record because of the string whose text begins at p.
func (j *jsonFormat) badUTF8(data []byte, p int) int {
	at := p
	for {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size <= 1 {
			break
		}
		at += size
	}
	j.w.refuseRecord(batch.ReasonMalformed, "not UTF-8 at byte %d: found %s in a string", at, snippet(data[at:]))
	return failed
}

func (j *jsonFormat) tooDeep(p int) int {
	j.w.refuseRecord(batch.ReasonMalformed, "objects and arrays are nested more than %d deep at byte %d", maxDepth, p)
	return failed
}

// notObject rejects a record whose value does not begin with a brace at p.
func (j *jsonFormat) notObject(data []byte, p int) outcome {
	switch {
	case p >= len(data):
		return j.w.refuseRecord(batch.ReasonEmpty, "the record's value is %d bytes of white space", len(data))
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return j.w.refuseRecord(batch.ReasonMalformed, "not JSON at byte 0: a UTF-8 byte order mark, which JSON does not allow")
	}
	end := j.skip(data, p, 0)
	if end < 0 {
		return rejected
	}
	if after := skipSpace(data, end); after < len(data) {
		j.malformed(data, after, "the end of the record")
		return rejected
	}
	return j.w.refuseRecord(batch.ReasonWrongType, "the record is %s, not an object: %s at byte %d",
		jsonKind(data[p]), snippet(data[p:end]), p)
}

// wrongObject rejects a record that has something else where columns need an object.
func (j *jsonFormat) wrongObject(n *node, data []byte, p int) int {
	end := j.skip(data, p, 0)
	if end < 0 {
		return end
	}
	j.w.refuse(batch.ReasonWrongType, j.leafs[n.from].col, "%s is %s, not an object: %s at byte %d",
		snippet([]byte(n.path)), jsonKind(data[p]), snippet(data[p:end]), p)
	return failed
}

// wrongType rejects a value of another JSON type than the column takes.
func (j *jsonFormat) wrongType(l *leaf, data []byte, p int) int {
	end := j.skip(data, p, 0)
	if end < 0 {
		return end
	}
	j.w.refuse(batch.ReasonWrongType, l.col, "needs %s, not %s: %s at byte %d",
		l.op.takes(), jsonKind(data[p]), snippet(data[p:end]), p)
	return failed
}

// wrongText rejects a string that does not read as the column's type.
func (j *jsonFormat) wrongText(l *leaf, data []byte, p, end int, problem string) int {
	j.w.refuse(batch.ReasonWrongType, l.col, "%s: %s at byte %d", problem, snippet(data[p:end]), p)
	return failed
}

// unfit rejects a number that is not whole or does not fit.
func (j *jsonFormat) unfit(l *leaf, data []byte, p, end int, f fit) int {
	if f == outOfRange {
		return j.outOfRange(l, data, p, end)
	}
	j.w.refuse(batch.ReasonWrongType, l.col, "not a whole number: %s at byte %d", snippet(data[p:end]), p)
	return failed
}

// outOfRange rejects a value that the column's type cannot hold.
func (j *jsonFormat) outOfRange(l *leaf, data []byte, p, end int) int {
	j.w.refuse(batch.ReasonOutOfRange, l.col, "out of range: %s at byte %d", snippet(data[p:end]), p)
	return failed
}

// jsonKind names the type of the value that begins with a byte.
func jsonKind(first byte) string {
	switch first {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}

// takes names the JSON values an op reads.
func (o op) takes() string {
	switch o {
	case opBool:
		return "true or false"
	case opString:
		return "a string"
	case opBinary:
		return "a string of base64"
	case opDate:
		return "a string YYYY-MM-DD or a number of days"
	case opTimestamp:
		return "a string by RFC 3339 or a number"
	case opList:
		return "an array"
	case opDecimal:
		return "a number, or a string that is one"
	default:
		return "a number"
	}
}
