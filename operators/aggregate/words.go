package aggregate

import (
	"math"

	"github.com/go-faster/city"

	"github.com/weir-stream/weir/ingest/batch"
)

// words reads a column as 64 bits a value: a number as it is, a text as its CityHash64 (version 1.0.2). Floats that are equal have the
// same, and so have all NaNs.
type words struct {
	kind   batch.Kind
	text   bool
	wide   bool // decimals that do not fit: the CityHash64 of their 16 bytes
	signed bool // narrow integers keep their sign
	size   int  // bytes of a number
	buf    []uint64
}

func wordsOf(t batch.Type) words {
	return words{kind: t.Kind, text: t.Variable(), wide: wideDecimal(t), size: t.Width()}
}

// read gives n values, valid until the next call. What lies under a null is anything.
func (w *words) read(c *batch.Column, n int) []uint64 {
	if cap(w.buf) < n {
		w.buf = make([]uint64, n, n+n/4)
	}
	out := w.buf[:n]
	switch {
	case w.text:
		offsets := batch.As[int32](c.Offsets)
		for i := range out {
			out[i] = city.CH64(c.Values[offsets[i]:offsets[i+1]])
		}
		return out
	case w.kind == batch.Bool:
		for i := range out {
			out[i] = uint64(c.Values[i>>3] >> (i & 7) & 1)
		}
		return out
	}
	if w.kind == batch.Decimal {
		for i, v := range c.Decimals()[:n] {
			if out[i] = v.Lo; w.wide {
				out[i] = city.CH64(c.Values[16*i : 16*i+16])
			}
		}
		return out
	}
	switch w.size {
	case 1:
		widen(out, c.Values)
	case 2:
		widen(out, batch.As[uint16](c.Values))
	case 4:
		widen(out, batch.As[uint32](c.Values))
	default:
		copy(out, batch.As[uint64](c.Values))
	}
	if w.signed {
		shift := 64 - 8*w.size
		for i, v := range out {
			out[i] = uint64(int64(v<<shift) >> shift)
		}
	}
	switch w.kind {
	case batch.Float32:
		for i, v := range batch.As[float32](c.Values)[:n] {
			if v == 0 {
				out[i] = 0
			} else if v != v {
				out[i] = uint64(math.Float32bits(float32(math.NaN())))
			}
		}
	case batch.Float64:
		for i, v := range batch.As[float64](c.Values)[:n] {
			if v == 0 {
				out[i] = 0
			} else if v != v {
				out[i] = math.Float64bits(math.NaN())
			}
		}
	}
	return out
}

func widen[T uint8 | uint16 | uint32](to []uint64, from []T) {
	for i, v := range from[:len(to)] {
		to[i] = uint64(v)
	}
}

// wordState is a state of one word a row.
type wordState[S any] interface {
	state[S]
	// add takes a word in. It returns by how much the memory it has beside itself grew.
	add(word uint64) int64
}

// ofWord is the accumulator of such states.
type ofWord[S any, P wordState[S]] struct {
	states[S, P]
	words words
}

// wordAggregate plans a count of different values: never null, zero where there was none.
func wordAggregate[S any, P wordState[S]](s Spec, function string, of batch.Type) *Aggregate {
	return ofState(function, []batch.Field{{Type: of}}, batch.Type{Kind: batch.Uint64}, false, func() Accumulator {
		return &ofWord[S, P]{words: wordsOf(s.Args[0].Type)}
	})
}

func (a *ofWord[S, P]) Add(groups []uint32, args []*batch.Column) {
	c, of := args[0], a.of
	for i, word := range a.words.read(c, len(groups)) {
		if g := groups[i]; g != Skip && (c.Validity == nil || c.Valid(i)) {
			a.extra += P(&of[g]).add(word)
		}
	}
}

func (a *ofWord[S, P]) Load(groups []uint32, in []batch.Column) error {
	return loadStates(&a.states, groups, in)
}

func (a *ofWord[S, P]) Take(from Accumulator, src, dst uint32) {
	a.move(&from.(*ofWord[S, P]).states, src, dst)
}

func (a *ofWord[S, P]) Merge(groups []uint32, in []batch.Column) error {
	return mergeStates(&a.states, groups, in, 0)
}
