package clickhouse

import (
	"fmt"
	"math"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
)

// columnType is the ClickHouse type of a field.
//
// Strings are plain: LowCardinality would help keys of few values and hurt those of many, and which it is cannot be
// known here. Sorted and compressed, repeated strings take next to nothing.
func columnType(f batch.Field) string {
	t := baseType(f.Type)
	if f.Nullable {
		return "Nullable(" + t + ")"
	}
	return t
}

func baseType(t batch.Type) string {
	switch t.Kind {
	case batch.Bool:
		return "Bool"
	case batch.Int8, batch.Int16, batch.Int32, batch.Int64:
		return fmt.Sprintf("Int%d", t.Width()*8)
	case batch.Uint8, batch.Uint16, batch.Uint32, batch.Uint64:
		return fmt.Sprintf("UInt%d", t.Width()*8)
	case batch.Float32:
		return "Float32"
	case batch.Float64:
		return "Float64"
	case batch.String, batch.Binary:
		return "String"
	case batch.Date32:
		return "Date32"
	case batch.Timestamp:
		return fmt.Sprintf("DateTime64(%d, 'UTC')", map[batch.Unit]int{
			batch.Second: 0, batch.Millisecond: 3, batch.Microsecond: 6, batch.Nanosecond: 9,
		}[t.Unit])
	case batch.Decimal:
		return fmt.Sprintf("Decimal(%d, %d)", t.Precision, t.Scale)
	case batch.List: // of an answer
		return "Array(" + baseType(t.Items()) + ")"
	default:
		panic("clickhouse: column of type " + t.String())
	}
}

// The times that both DateTime64 and the client can carry. ClickHouse takes later ones at coarse resolutions, but the
// client converts by way of nanoseconds in 64 bits and would wrap around without a word.
var (
	minTime = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	maxTime = time.Unix(0, math.MaxInt64).UTC().Truncate(time.Second)
	minDay  = int32(minTime.Unix() / 86400)
	maxDay  = int32(time.Date(2299, 12, 31, 0, 0, 0, 0, time.UTC).Unix() / 86400)
)

// timeBounds are the first and the last value of a timestamp unit that can be stored.
func timeBounds(u batch.Unit) (lo, hi int64) {
	if u == batch.Nanosecond {
		return minTime.UnixNano(), maxTime.UnixNano()
	}
	return minTime.Unix() * u.PerSecond(), maxTime.Unix() * u.PerSecond()
}

// inTime is a timestamp value as a time.
func inTime(v int64, u batch.Unit) time.Time {
	switch u {
	case batch.Second:
		return time.Unix(v, 0).UTC()
	case batch.Millisecond:
		return time.UnixMilli(v).UTC()
	case batch.Microsecond:
		return time.UnixMicro(v).UTC()
	default:
		return time.Unix(v/1e9, v%1e9).UTC()
	}
}
