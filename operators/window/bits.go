package window

import "github.com/weir-stream/weir/ingest/batch"

// readBits reads a column of fixed width as 64 bits a value; equal values have equal bits. The two zeros of a float are one key, and so
// are all NaNs, as in SQL. What lies under a null is anything. Of a decimal that is wide it is one half of them.
func readBits(to []uint64, c *batch.Column, t batch.Type, high bool) {
	switch t.Kind {
	case batch.Bool:
		for i := range to {
			to[i] = uint64(c.Values[i>>3] >> (i & 7) & 1)
		}
		return
	case batch.Float32:
		for i, f := range batch.As[float32](c.Values)[:len(to)] {
			switch to[i] = uint64(batch.As[uint32](c.Values)[i]); {
			case f == 0:
				to[i] = 0
			case f != f:
				to[i] = 0x7fc00000
			}
		}
		return
	case batch.Float64:
		for i, f := range batch.As[float64](c.Values)[:len(to)] {
			switch to[i] = batch.As[uint64](c.Values)[i]; {
			case f == 0:
				to[i] = 0
			case f != f:
				to[i] = 0x7ff8000000000000
			}
		}
		return
	}
	if t.Kind == batch.Decimal {
		values := c.Decimals()[:len(to)]
		if high {
			for i := range values {
				to[i] = uint64(values[i].Hi)
			}
			return
		}
		for i := range values {
			to[i] = values[i].Lo
		}
		return
	}
	switch t.Width() {
	case 1:
		widen(to, c.Values)
	case 2:
		widen(to, batch.As[uint16](c.Values))
	case 4:
		widen(to, batch.As[uint32](c.Values))
	default:
		copy(to, batch.As[uint64](c.Values))
	}
}

// wide tells whether values need more than 64 bits.
func wide(t batch.Type) bool { return t.Kind == batch.Decimal && t.Precision > batch.WordPrecision }

func widen[T uint8 | uint16 | uint32](to []uint64, from []T) {
	for i, v := range from[:len(to)] {
		to[i] = uint64(v)
	}
}
