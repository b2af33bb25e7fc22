package authoring

import (
	"fmt"
	"math/rand/v2"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/decode"
)

// generate writes columns of made up rows into the arena, the same for the same seed: numbers from 0 to 100, strings
// "item-0" to "item-999", times a second apart from the beginning of 2024, lists of up to 15 of these. A column that may be null is so in one row of 20.
func generate(cols Columns, rows int, seed uint64, a *batch.Arena) []batch.Column {
	rnd := rand.New(rand.NewPCG(seed, 1)) // reproducible rows, not secrets
	out := make([]batch.Column, len(cols))
	for i := range cols {
		c := &out[i]
		t := cols[i].Type
		switch {
		case t.Kind == batch.Bool:
			c.Values = a.AllocOrHeap(batch.BitmapLen(rows))
			clear(c.Values)
			for r := range rows {
				if rnd.IntN(2) == 1 {
					batch.SetBit(c.Values, r)
				}
			}
		case t.Variable():
			c.Offsets = a.AllocOrHeap(4 * (rows + 1))
			offsets, text := batch.As[int32](c.Offsets), []byte(nil)
			offsets[0] = 0
			for r := range rows {
				text = fmt.Appendf(text, "item-%d", rnd.IntN(1000))
				offsets[r+1] = int32(len(text))
			}
			c.Values = a.AllocOrHeap(len(text))
			copy(c.Values, text)
		case t.Kind == batch.List:
			c.Offsets = a.AllocOrHeap(4 * (rows + 1))
			offsets := batch.As[int32](c.Offsets)
			offsets[0] = 0
			for r := range rows {
				offsets[r+1] = offsets[r] + rnd.Int32N(16)
			}
			items := generate(Columns{{Field: batch.Field{Type: t.Items()}}}, int(offsets[rows]), seed, a)
			c.ItemOffsets, c.Values = items[0].Offsets, items[0].Values
		default:
			c.Values = a.AllocOrHeap(t.Width() * rows)
			fill(c.Values, t, rnd)
		}
		if cols[i].Nullable {
			c.Validity = a.AllocOrHeap(batch.BitmapLen(rows))
			batch.FillBits(c.Validity, rows)
			for r := range rows {
				if rnd.IntN(20) == 0 {
					batch.ClearBit(c.Validity, r)
				}
			}
			if c.Nulls = rows - batch.CountBits(c.Validity, rows); c.Nulls == 0 {
				c.Validity = nil
			}
		}
	}
	return out
}

// fill writes values of a fixed width.
func fill(values []byte, t batch.Type, rnd *rand.Rand) {
	const day2024 = 19723 // days from 1970 to 2024
	switch {
	case t.Kind == batch.Float64:
		for i, v := 0, batch.As[float64](values); i < len(v); i++ {
			v[i] = rnd.Float64() * 100
		}
	case t.Kind == batch.Float32:
		for i, v := 0, batch.As[float32](values); i < len(v); i++ {
			v[i] = rnd.Float32() * 100
		}
	case t.Kind == batch.Timestamp:
		for i, v := 0, batch.As[int64](values); i < len(v); i++ {
			v[i] = (day2024*86400 + int64(i)) * t.Unit.PerSecond()
		}
	case t.Kind == batch.Date32:
		for i, v := 0, batch.As[int32](values); i < len(v); i++ {
			v[i] = int32(day2024 + i%366)
		}
	case t.Width() == 8:
		integers(batch.As[int64](values), rnd)
	case t.Width() == 4:
		integers(batch.As[int32](values), rnd)
	case t.Width() == 2:
		integers(batch.As[int16](values), rnd)
	default:
		integers(batch.As[int8](values), rnd)
	}
}

func integers[T int8 | int16 | int32 | int64](v []T, rnd *rand.Rand) {
	for i := range v {
		v[i] = T(rnd.IntN(101))
	}
}

// decodeRows decodes lines of JSON, again and again until there are enough, as far as they fit the arena.
func decodeRows(cols Columns, lines []string, rows int, a *batch.Arena) (columns []batch.Column, n int, err error) {
	decoder, err := decode.New("json", cols, decode.Options{MaxRecord: maxGolden})
	if err != nil {
		return nil, 0, err
	}
	records := make([]batch.Record, rows)
	for i := range records {
		records[i] = batch.Record{Offset: int64(i), Value: []byte(lines[i%len(lines)])}
	}
	var b batch.Batch
	b.Begin(cols.Schema(), batch.Partition{}, records)
	decoder.Decode(&b, a)
	if len(b.Rejects) > 0 {
		r := b.Rejects[0]
		return nil, 0, fmt.Errorf("input line %d does not fit the schema: %s: %s", int(r.Record)%len(lines)+1, r.Reason, r.Detail)
	}
	return b.Cols, b.Rows, nil
}

// columnBytes is what the buffers of columns have together.
func columnBytes(cols []batch.Column) int {
	n := 0
	for i := range cols {
		n += len(cols[i].Validity) + len(cols[i].Offsets) + len(cols[i].ItemOffsets) + len(cols[i].Values)
	}
	return n
}
