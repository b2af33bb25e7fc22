package wasm

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
)

// maxPayload bounds the row kept with a dead letter, in bytes.
const maxPayload = 64 << 10

// rowJSON is row i as a JSON object, for a dead letter whose record is not known. Columns that would make it too long are
// left out. Binary is base64; times are RFC 3339; numbers that JSON does not have are strings.
func rowJSON(b *batch.Batch, i int) []byte {
	out := []byte{'{'}
	for f := range b.Schema.Fields {
		field := &b.Schema.Fields[f]
		start := len(out)
		if start > 1 {
			out = append(out, ',')
		}
		name, _ := json.Marshal(field.Name)
		out = append(append(out, name...), ':')
		if out = appendValue(out, field.Type, &b.Cols[f], i); len(out) >= maxPayload {
			out = out[:start]
		}
	}
	return append(out, '}')
}

func appendValue(out []byte, t batch.Type, c *batch.Column, i int) []byte {
	if !c.Valid(i) {
		return append(out, "null"...)
	}
	switch t.Kind {
	case batch.Bool:
		return strconv.AppendBool(out, c.Bit(i))
	case batch.Int8:
		return strconv.AppendInt(out, int64(batch.As[int8](c.Values)[i]), 10)
	case batch.Int16:
		return strconv.AppendInt(out, int64(batch.As[int16](c.Values)[i]), 10)
	case batch.Int32:
		return strconv.AppendInt(out, int64(batch.As[int32](c.Values)[i]), 10)
	case batch.Int64:
		return strconv.AppendInt(out, batch.As[int64](c.Values)[i], 10)
	case batch.Uint8:
		return strconv.AppendUint(out, uint64(c.Values[i]), 10)
	case batch.Uint16:
		return strconv.AppendUint(out, uint64(batch.As[uint16](c.Values)[i]), 10)
	case batch.Uint32:
		return strconv.AppendUint(out, uint64(batch.As[uint32](c.Values)[i]), 10)
	case batch.Uint64:
		return strconv.AppendUint(out, batch.As[uint64](c.Values)[i], 10)
	case batch.Float32:
		return appendFloat(out, float64(batch.As[float32](c.Values)[i]), 32)
	case batch.Float64:
		return appendFloat(out, batch.As[float64](c.Values)[i], 64)
	case batch.String:
		s, _ := json.Marshal(string(c.Bytes(i)))
		return append(out, s...)
	case batch.Binary:
		return append(base64.StdEncoding.AppendEncode(append(out, '"'), c.Bytes(i)), '"')
	case batch.Date32:
		return time.Unix(int64(batch.As[int32](c.Values)[i])*86400, 0).UTC().AppendFormat(out, `"2006-01-02"`)
	case batch.Timestamp:
		return appendTime(out, batch.As[int64](c.Values)[i], t.Unit)
	default:
		return append(out, "null"...)
	}
}

func appendFloat(out []byte, v float64, bits int) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(strconv.AppendFloat(append(out, '"'), v, 'g', -1, bits), '"')
	}
	return strconv.AppendFloat(out, v, 'g', -1, bits)
}

func appendTime(out []byte, v int64, u batch.Unit) []byte {
	per := u.PerSecond()
	sec, rest := v/per, v%per
	if rest < 0 {
		sec, rest = sec-1, rest+per
	}
	return time.Unix(sec, rest*(1_000_000_000/per)).UTC().AppendFormat(out, `"`+time.RFC3339Nano+`"`)
}
