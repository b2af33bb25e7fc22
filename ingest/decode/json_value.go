package decode

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"github.com/weir-stream/weir/ingest/batch"
)

// value reads the value at p into the column of a leaf and returns the index after it, or a failure.
func (j *jsonFormat) value(l *leaf, data []byte, p int) int {
	first := data[p]
	if first == 'n' {
		j.unset(l.index, l.index+1)
		l.nullIn, l.nullAt = j.seq, p
		return j.literal(data, p, "null")
	}
	c, row := l.col, j.w.row
	switch l.op {
	case opString:
		if first != '"' {
			return j.wrongType(l, data, p)
		}
		p = j.text(c, data, p+1)
	case opFloat64:
		if v, end := shortFloat(data, p); end > 0 {
			c.v64[row], p = math.Float64bits(v), end
		} else {
			p = j.float64(l, data, p)
		}
	case opFloat32:
		p = j.float32(l, data, p)
	case opInt:
		p = j.int(l, data, p)
	case opUint:
		p = j.uint(l, data, p)
	case opTimestamp:
		p = j.timestamp(l, data, p)
	case opDate:
		p = j.date(l, data, p)
	case opBinary:
		p = j.binary(l, data, p)
	case opBool:
		switch first {
		case 't':
			batch.SetBit(c.bits, row)
			p = j.literal(data, p, "true")
		case 'f':
			batch.ClearBit(c.bits, row)
			p = j.literal(data, p, "false")
		default:
			return j.wrongType(l, data, p)
		}
	case opList:
		p = j.list(l, data, p)
	case opDecimal:
		p = j.decimalValue(l, data, p)
	}
	if p >= 0 {
		j.set[l.index>>6] |= 1 << (l.index & 63)
	}
	return p
}

// text copies the string whose text begins at p into a text column, eight bytes at a time.
func (j *jsonFormat) text(c *column, data []byte, p int) int {
	dst, start := j.w.open(c)
	begin, o, high := p, start, uint64(0)
	for {
		for p+8 <= len(data) && o+8 <= len(dst) {
			w := binary.LittleEndian.Uint64(data[p:])
			binary.LittleEndian.PutUint64(dst[o:], w) // what is too much is overwritten by what follows
			m := stops(w)
			if m != 0 {
				n := bits.TrailingZeros64(m) >> 3
				high |= w & (1<<(8*n) - 1)
				p, o = p+n, o+n
				break
			}
			high |= w
			p, o = p+8, o+8
		}
		if p >= len(data) {
			return j.malformed(data, len(data), "the end of a string")
		}
		switch ch := data[p]; {
		case ch == '"':
			// Escapes give valid text and cannot complete what is not, so the result is valid if the source was.
			if high&highs != 0 && !utf8.Valid(dst[start:o]) {
				return j.badUTF8(data, begin)
			}
			j.w.close(c, o)
			return p + 1
		case ch == '\\':
			r, next := unescapeOne(data, p)
			if next < 0 {
				return j.badEscape(data, p)
			}
			if utf8.RuneLen(r) > len(dst)-o {
				return overflowed
			}
			p, o = next, o+utf8.EncodeRune(dst[o:], r)
		case ch < ' ':
			return j.malformed(data, p, "the end of a string, or an escape for a control character")
		default:
			if o >= len(dst) {
				return overflowed
			}
			high |= uint64(ch)
			dst[o] = ch
			p, o = p+1, o+1
		}
	}
}

// quoted is the text of the string at p, unescaped, and the index after it. The text is valid until the next call.
func (j *jsonFormat) quoted(data []byte, p int) (text []byte, next int) {
	end, escaped := j.scanString(data, p+1)
	if end < 0 {
		return nil, end
	}
	if escaped {
		return j.unescape(data, p+1), end + 1
	}
	return data[p+1 : end], end + 1
}

// binary reads base64 text.
func (j *jsonFormat) binary(l *leaf, data []byte, p int) int {
	if data[p] != '"' {
		return j.wrongType(l, data, p)
	}
	text, next := j.quoted(data, p)
	if next < 0 {
		return next
	}
	dst, at := j.w.open(l.col)
	if base64.StdEncoding.DecodedLen(len(text)) > len(dst)-at {
		return overflowed
	}
	n, err := base64.StdEncoding.Strict().Decode(dst[at:], text)
	if err != nil || bytes.IndexByte(text, '\n') >= 0 || bytes.IndexByte(text, '\r') >= 0 {
		return j.wrongText(l, data, p, next, "not base64 (RFC 4648 with padding, no line breaks)")
	}
	j.w.close(l.col, at+n)
	return next
}

// timestamp reads RFC 3339 text or a number in the column's epoch unit.
func (j *jsonFormat) timestamp(l *leaf, data []byte, p int) int {
	c, row := l.col, j.w.row
	if data[p] == '"' {
		sec, nanos, next := l.minute.parseShort(data[p+1:])
		if next > 0 {
			next += p + 1
		} else {
			var text []byte
			if text, next = j.quoted(data, p); next < 0 {
				return next
			}
			var problem timeProblem
			if sec, nanos, problem = l.minute.parseTime(text); problem != "" {
				return j.wrongText(l, data, p, next, "not an RFC 3339 timestamp ("+string(problem)+")")
			}
		}
		v, ok := timeIn(sec, nanos, c.Type.Unit)
		if !ok {
			return j.outOfRange(l, data, p, next)
		}
		c.v64[row] = uint64(v)
		return next
	}
	if m, end := shortWhole(data, p); end > 0 && m <= math.MaxInt64 {
		v, ok := scaleTime(int64(m), l.epoch, c.Type.Unit)
		if !ok {
			return j.outOfRange(l, data, p, end)
		}
		c.v64[row] = uint64(v)
		return end
	}
	d, end := j.decimal(l, data, p)
	if end < 0 {
		return end
	}
	v, f := d.floor(scale10(l.epoch, c.Type.Unit))
	if f != fits {
		return j.outOfRange(l, data, p, end)
	}
	c.v64[row] = uint64(v)
	return end
}

// date reads "YYYY-MM-DD" or a number of days since 1970.
func (j *jsonFormat) date(l *leaf, data []byte, p int) int {
	var days int64
	var next int
	if data[p] == '"' {
		text, after := j.quoted(data, p)
		if after < 0 {
			return after
		}
		v, problem := parseDate(text)
		if problem != "" {
			return j.wrongText(l, data, p, after, "not a date ("+string(problem)+")")
		}
		days, next = v, after
	} else {
		var f fit
		d, end := j.decimal(l, data, p)
		if end < 0 {
			return end
		}
		if days, f = d.int64(); f != fits {
			return j.unfit(l, data, p, end, f)
		}
		next = end
	}
	if days != int64(int32(days)) {
		return j.outOfRange(l, data, p, next)
	}
	l.col.v32[j.w.row] = uint32(int32(days))
	return next
}

// int reads a whole number into a signed column.
func (j *jsonFormat) int(l *leaf, data []byte, p int) int {
	var v int64
	m, end := shortWhole(data, p)
	if end > 0 && m <= math.MaxInt64 {
		v = int64(m)
	} else {
		var f fit
		var d decimal
		if d, end = j.decimal(l, data, p); end < 0 {
			return end
		}
		if v, f = d.int64(); f != fits {
			return j.unfit(l, data, p, end, f)
		}
	}
	c, row := l.col, j.w.row
	ok := true
	switch c.Type.Kind {
	case batch.Int64:
		c.v64[row] = uint64(v)
	case batch.Int32:
		c.v32[row], ok = uint32(v), v == int64(int32(v))
	case batch.Int16:
		c.v16[row], ok = uint16(v), v == int64(int16(v))
	default:
		c.v8[row], ok = uint8(v), v == int64(int8(v))
	}
	if !ok {
		return j.outOfRange(l, data, p, end)
	}
	return end
}

// uint reads a whole number into an unsigned column.
func (j *jsonFormat) uint(l *leaf, data []byte, p int) int {
	m, end := shortWhole(data, p)
	if end <= 0 {
		var f fit
		var d decimal
		if d, end = j.decimal(l, data, p); end < 0 {
			return end
		}
		if m, f = d.integer(); f != fits {
			return j.unfit(l, data, p, end, f)
		}
		if d.neg && m != 0 {
			return j.outOfRange(l, data, p, end)
		}
	}
	c, row := l.col, j.w.row
	ok := true
	switch c.Type.Kind {
	case batch.Uint64:
		c.v64[row] = m
	case batch.Uint32:
		c.v32[row], ok = uint32(m), m <= math.MaxUint32
	case batch.Uint16:
		c.v16[row], ok = uint16(m), m <= math.MaxUint16
	default:
		c.v8[row], ok = uint8(m), m <= math.MaxUint8
	}
	if !ok {
		return j.outOfRange(l, data, p, end)
	}
	return end
}

// float64 reads a number that shortFloat has left over.
func (j *jsonFormat) float64(l *leaf, data []byte, p int) int {
	d, end := j.decimal(l, data, p)
	if end < 0 {
		return end
	}
	v, ok := d.float64()
	if !ok {
		var err error
		if v, err = strconv.ParseFloat(unsafe.String(&data[p], end-p), 64); err != nil {
			return j.outOfRange(l, data, p, end)
		}
	}
	l.col.v64[j.w.row] = math.Float64bits(v)
	return end
}

// float32 reads a number and rounds it once, to the nearest float32.
func (j *jsonFormat) float32(l *leaf, data []byte, p int) int {
	d, end := j.decimal(l, data, p)
	if end < 0 {
		return end
	}
	v, ok := d.float32()
	if !ok {
		wide, err := strconv.ParseFloat(unsafe.String(&data[p], end-p), 32)
		if err != nil {
			return j.outOfRange(l, data, p, end)
		}
		v = float32(wide)
	}
	l.col.v32[j.w.row] = math.Float32bits(v)
	return end
}

// decimal reads the number at p for a column that takes numbers.
func (j *jsonFormat) decimal(l *leaf, data []byte, p int) (d decimal, end int) {
	if c := data[p]; c != '-' && c-'0' > 9 {
		return d, j.wrongType(l, data, p)
	}
	d, end, ok := scanDecimal(data, p)
	if !ok {
		return d, j.malformed(data, end, "a number")
	}
	return d, end
}

// nonDigits marks the bytes of eight that are not digits, after digits were turned to 0 to 9 by an exclusive or.
func nonDigits(w uint64) uint64 {
	return ((w&^highs + lows*(0x80-10)) | w) & highs
}

// eightDigits is the number that eight bytes of 0 to 9 make, the lowest byte being the first digit.
func eightDigits(w uint64) uint64 {
	w = w*10 + w>>8
	return ((w&0x000000ff000000ff)*(100+1000000<<32) + (w>>16&0x000000ff000000ff)*(1+10000<<32)) >> 32
}

// shortFloat reads a number of at most seven characters and a sign, without a branch on its length. end is 0 where it
// is not such a number, or not one at all.
func shortFloat(data []byte, p int) (v float64, end int) {
	neg := data[p] == '-'
	if neg {
		p++
	}
	if p+8 > len(data) {
		return 0, 0
	}
	w := binary.LittleEndian.Uint64(data[p:]) ^ lows*'0'
	stop := nonDigits(w)
	i := bits.TrailingZeros64(stop) >> 3 // digits before the point; 8 where there is no stop
	if i == 0 || i == 8 || byte(w) == 0 && i > 1 {
		return 0, 0
	}
	c := byte(w>>(8*i)) ^ '0'
	if c == '.' {
		n := bits.TrailingZeros64(stop&(stop-1)) >> 3 // characters
		if n == 8 || n == i+1 || (byte(w>>(8*n))^'0')|0x20 == 'e' {
			return 0, 0
		}
		whole := uint64(1)<<(8*i) - 1
		digits := w&whole | w>>8&^whole
		v = float64(eightDigits(digits<<(8*(9-n)))) / floatPow10[(n-i-1)&7]
		p += n
	} else {
		if c|0x20 == 'e' {
			return 0, 0
		}
		v = float64(eightDigits(w << (8 * (8 - i))))
		p += i
	}
	if neg {
		v = -v
	}
	return v, p
}

// shortWhole reads a number of at most 19 digits without sign, point and exponent. end is 0 where it is not such a
// number.
func shortWhole(data []byte, p int) (m uint64, end int) {
	if p+8 > len(data) || data[p] == '0' {
		return 0, 0
	}
	w := binary.LittleEndian.Uint64(data[p:]) ^ lows*'0'
	n := bits.TrailingZeros64(nonDigits(w)) >> 3
	if n == 0 {
		return 0, 0
	}
	if n < 8 {
		m, p = eightDigits(w<<(8*(8-n))), p+n
	} else {
		m, p = eightDigits(w), p+8
		for n < 19 && p < len(data) && data[p]-'0' <= 9 {
			m, n, p = m*10+uint64(data[p]-'0'), n+1, p+1
		}
	}
	if p >= len(data) {
		return 0, 0
	}
	if c := data[p]; c-'0' <= 9 || c == '.' || c|0x20 == 'e' {
		return 0, 0
	}
	return m, p
}
