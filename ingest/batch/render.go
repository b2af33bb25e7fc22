package batch

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// Bounds of a rendered row, in bytes.
const (
	MaxRowJSON  = 64 << 10 // a row; columns that do not fit are left out
	maxCellJSON = 16 << 10 // the value of one column, before it is escaped; longer ones are cut
)

// RowJSON renders row i as one JSON object, columns in schema order. It is what is kept of a row whose record is not
// known. The result is valid JSON of at most [MaxRowJSON] bytes and belongs to the caller.
//
// Timestamps and dates are RFC 3339 strings, binary values base64, NaN and infinities the strings "NaN", "Infinity" and
// "-Infinity". Decimals are numbers with all their digits. A value over 16 KiB is cut and ends in "…", a list in the item "…"; columns past the bound are left out and the member
// "_truncated" says so.
func (b *Batch) RowJSON(i int) []byte { return b.AppendRowJSON(nil, i) }

// AppendRowJSON appends what [Batch.RowJSON] returns to dst.
func (b *Batch) AppendRowJSON(dst []byte, i int) []byte {
	const tail = `,"_truncated":true}`
	start := len(dst)
	dst = append(dst, '{')
	for c := range b.Cols {
		mark := len(dst)
		if c > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, b.Schema.Fields[c].Name)
		dst = append(dst, ':')
		dst = AppendCellJSON(dst, b.Schema.Fields[c].Type, &b.Cols[c], i)
		if len(dst)-start > MaxRowJSON-len(tail) {
			dst = dst[:mark]
			if c == 0 {
				return append(dst, tail[1:]...)
			}
			return append(dst, tail...)
		}
	}
	return append(dst, '}')
}

// AppendCellJSON appends row i of a column of type t as a JSON value, null included, as [Batch.RowJSON] writes it.
func AppendCellJSON(dst []byte, t Type, c *Column, i int) []byte {
	if !c.Valid(i) {
		return append(dst, "null"...)
	}
	switch t.Kind {
	case Bool:
		return strconv.AppendBool(dst, c.Bit(i))
	case Int8:
		return strconv.AppendInt(dst, int64(As[int8](c.Values)[i]), 10)
	case Int16:
		return strconv.AppendInt(dst, int64(As[int16](c.Values)[i]), 10)
	case Int32:
		return strconv.AppendInt(dst, int64(As[int32](c.Values)[i]), 10)
	case Int64:
		return strconv.AppendInt(dst, As[int64](c.Values)[i], 10)
	case Uint8:
		return strconv.AppendUint(dst, uint64(As[uint8](c.Values)[i]), 10)
	case Uint16:
		return strconv.AppendUint(dst, uint64(As[uint16](c.Values)[i]), 10)
	case Uint32:
		return strconv.AppendUint(dst, uint64(As[uint32](c.Values)[i]), 10)
	case Uint64:
		return strconv.AppendUint(dst, As[uint64](c.Values)[i], 10)
	case Float32:
		return appendJSONFloat(dst, float64(As[float32](c.Values)[i]), 32)
	case Float64:
		return appendJSONFloat(dst, As[float64](c.Values)[i], 64)
	case String:
		v, cut := cutCell(c.Bytes(i))
		if cut {
			dst = appendJSONString(dst, v)
			return append(dst[:len(dst)-1], "…\""...)
		}
		return appendJSONString(dst, v)
	case Binary:
		v := c.Bytes(i)
		if len(v) > maxCellJSON {
			v = v[:maxCellJSON]
		}
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, v)
		if len(v) < len(c.Bytes(i)) {
			dst = append(dst, "…"...)
		}
		return append(dst, '"')
	case Date32:
		return appendTime(dst, int64(As[int32](c.Values)[i])*86400, 0, time.DateOnly)
	case Timestamp:
		v, per := As[int64](c.Values)[i], t.Unit.PerSecond()
		sec, frac := v/per, v%per
		if frac < 0 {
			sec, frac = sec-1, frac+per
		}
		return appendTime(dst, sec, frac*(1_000_000_000/per), timeLayouts[t.Unit&3])
	case List:
		return appendListJSON(dst, t, c, i)
	case Decimal:
		return AppendDecimal(dst, c.Decimals()[i], int(t.Scale))
	default:
		return append(dst, "null"...)
	}
}

var timeLayouts = [...]string{
	"2006-01-02T15:04:05Z", "2006-01-02T15:04:05.000Z", "2006-01-02T15:04:05.000000Z", "2006-01-02T15:04:05.000000000Z",
}

func appendTime(dst []byte, sec, nsec int64, layout string) []byte {
	dst = append(dst, '"')
	dst = time.Unix(sec, nsec).UTC().AppendFormat(dst, layout)
	return append(dst, '"')
}

// appendJSONFloat writes the shortest decimal that reads back as the same value, in the notation of ECMAScript.
func appendJSONFloat(dst []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(dst, `"-Infinity"`...)
	}
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(dst, v, 'e', -1, bits)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, bits)
}

// cutCell cuts a long string at a character.
func cutCell(v []byte) (text []byte, cut bool) {
	if len(v) <= maxCellJSON {
		return v, false
	}
	n := maxCellJSON
	for n > maxCellJSON-utf8.UTFMax && !utf8.RuneStart(v[n]) {
		n--
	}
	return v[:n], true
}

// appendJSONString quotes a string by RFC 8259. Bytes that are not UTF-8 become U+FFFD; U+2028 and U+2029 are escaped,
// as JavaScript ends a line there.
func appendJSONString[S string | []byte](dst []byte, s S) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c >= 0x20 && c != 0x7f:
				dst = append(dst, c)
			case c == '\n':
				dst = append(dst, '\\', 'n')
			case c == '\t':
				dst = append(dst, '\\', 't')
			case c == '\r':
				dst = append(dst, '\\', 'r')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			continue
		}
		var buf [utf8.UTFMax]byte
		n := copy(buf[:], s[i:])
		r, size := utf8.DecodeRune(buf[:n])
		i += size
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, `\ufffd`...)
		case r == 0x2028 || r == 0x2029:
			dst = append(dst, '\\', 'u', '2', '0', '2', hex[r&15])
		default:
			dst = append(dst, buf[:size]...)
		}
	}
	return append(dst, '"')
}
