package expr

import (
	"bytes"
	"math"
	"math/bits"

	"github.com/weir-stream/weir/ingest/batch"
)

// list reads a list column. It is no node: what an expression makes of a list is never a list.
type list struct {
	index int
	t     batch.Type // of the items
}

// load gives the current chunk's offsets, counted in items, and the rows that are not null.
func (l list) load(e *Evaluator, valid *mask) (c *batch.Column, off []int32) {
	c = &e.b.Cols[l.index]
	valid.ones(e.n)
	if c.Validity != nil {
		valid.load(c.Validity, e.start, e.n)
	}
	return c, batch.As[int32](c.Offsets)[e.start : e.start+e.n+1]
}

// loadBeside is load where the rows must not be null in another value either.
func (l list) loadBeside(e *Evaluator, v vec, valid *mask) (c *batch.Column, off []int32) {
	c, off = l.load(e, valid)
	if v.valid != nil {
		for w := range valid {
			valid[w] &= v.valid[w]
		}
	}
	return c, off
}

// item is item k of a list of numbers or times, held as a vec holds it.
func item(t batch.Type, values []byte, k int) uint64 {
	switch t.Kind {
	case batch.Float64, batch.Int64, batch.Uint64, batch.Timestamp:
		return batch.As[uint64](values)[k]
	case batch.Float32:
		return math.Float64bits(float64(batch.As[float32](values)[k]))
	case batch.Int8:
		return uint64(int64(batch.As[int8](values)[k]))
	case batch.Int16:
		return uint64(int64(batch.As[int16](values)[k]))
	case batch.Int32, batch.Date32:
		return uint64(int64(batch.As[int32](values)[k]))
	case batch.Uint8:
		return uint64(values[k])
	case batch.Uint16:
		return uint64(batch.As[uint16](values)[k])
	default: // uint32
		return uint64(batch.As[uint32](values)[k])
	}
}

// listLen is len(xs).
type listLen struct {
	shape
	list list
}

func (x *listLen) eval(e *Evaluator, d int) vec {
	valid := &e.reg(d).valid
	_, off := x.list.load(e, valid)
	out := e.nums(d)
	for i := range out {
		out[i] = uint64(off[i+1] - off[i])
	}
	return vec{num: out, valid: valid}
}

// listAt is xs[i]: null where there is no such item. A negative index counts from the end.
type listAt struct {
	shape
	list list
	at   node // int64
}

func (x *listAt) eval(e *Evaluator, d int) vec {
	at := e.dense(x.at.eval(e, d), d)
	var ok mask // a copy: what at gave may lie in this register
	c, off := x.list.load(e, &ok)
	if at.valid != nil {
		for w := range ok {
			ok[w] &= at.valid[w]
		}
	}
	// The numbers of the items, over the indices.
	index, pos := view[int64](at.num), e.nums(d)
	for i := range pos {
		k, lo, n := index[i], int64(off[i]), int64(off[i+1]-off[i])
		if k < 0 {
			k += n
		}
		if k < 0 || k >= n {
			ok.clear(i)
			k, lo = 0, 0
		}
		pos[i] = uint64(lo + k)
	}
	valid := &e.reg(d).valid
	*valid = ok
	switch reprOf(x.list.t) {
	case reprBits:
		out := &e.reg(d).bits
		*out = mask{}
		for i := range pos {
			if k := pos[i]; ok.get(i) && c.Values[k>>3]>>(k&7)&1 != 0 {
				out.set(i)
			}
		}
		return vec{bits: out, valid: valid}
	case reprText:
		items := c.Items()
		to, data := e.text(d)
		for i := range pos {
			if ok.get(i) {
				data = append(data, items.Bytes(int(pos[i]))...)
			}
			to[i+1] = int32(len(data))
		}
		return e.keep(d, to, data, valid)
	case reprDecimal:
		out, items := e.decs(d), c.Decimals()
		for i := range out {
			out[i] = batch.Int128{}
			if ok.get(i) {
				out[i] = items[pos[i]]
			}
		}
		return vec{dec: out, valid: valid}
	default:
		for i := range pos {
			if ok.get(i) {
				pos[i] = item(x.list.t, c.Values, int(pos[i]))
			}
		}
		return vec{num: pos, valid: valid}
	}
}

// listHas is x in xs. It is null where x or the list is.
type listHas struct {
	shape
	list list
	x    node // held as the items are
}

func (x *listHas) eval(e *Evaluator, d int) vec {
	v := e.dense(x.x.eval(e, d), d)
	var ok, found mask
	c, off := x.list.loadBeside(e, v, &ok)
	items, rep := c.Items(), reprOf(x.list.t)
	for i := range e.n {
		if !ok.get(i) || !e.active.get(i) {
			continue
		}
		for k := int(off[i]); k < int(off[i+1]); k++ {
			var same bool
			switch rep {
			case reprBits:
				same = items.Bit(k) == v.bits.get(i)
			case reprText:
				same = bytes.Equal(items.Bytes(k), v.bytes(i))
			case reprFloat:
				same = math.Float64frombits(item(x.list.t, items.Values, k)) == math.Float64frombits(v.num[i])
			default:
				same = item(x.list.t, items.Values, k) == v.num[i]
			}
			if same {
				found.set(i)
				break
			}
		}
	}
	return e.kept(d, &found, &ok)
}

// kept puts bools where the value of a depth is.
func (e *Evaluator) kept(d int, bits, valid *mask) vec {
	r := e.reg(d)
	r.bits, r.valid = *bits, *valid
	return vec{bits: &r.bits, valid: &r.valid}
}

// listHasDecimal is x in xs of decimals, which may have other digits than x.
type listHasDecimal struct {
	shape
	list list
	x    node // decimal
}

func (x *listHasDecimal) eval(e *Evaluator, d int) vec {
	v := e.dense(x.x.eval(e, d), d)
	var ok, found mask
	c, off := x.list.loadBeside(e, v, &ok)
	items, from := c.Decimals(), int(x.x.info().t.Scale)
	scale := max(from, int(x.list.t.Scale))
	for i, want := range v.dec[:e.n] {
		if !ok.get(i) || !e.active.get(i) {
			continue
		}
		for _, item := range items[off[i]:off[i+1]] {
			if cmpScaled(item, want, scale-int(x.list.t.Scale), scale-from) == 0 {
				found.set(i)
				break
			}
		}
	}
	return e.kept(d, &found, &ok)
}

// listFoldDecimal is listFold of decimals. A sum of more than 38 digits fails the row.
type listFoldDecimal struct {
	shape
	list list
	fold fold
	text string
}

func (x *listFoldDecimal) eval(e *Evaluator, d int) vec {
	valid := &e.reg(d).valid
	c, off := x.list.load(e, valid)
	items := c.Decimals()
	var num []uint64
	var dec []batch.Int128
	if x.fold == foldAvg {
		num = e.nums(d)
	} else {
		dec = e.decs(d)
	}
	for i := range e.n {
		var v batch.Int128
		n := 0
		if valid.get(i) && e.active.get(i) {
			row := items[off[i]:off[i+1]]
			if n = len(row); n == 0 && x.fold != foldSum {
				valid.clear(i)
			}
			if v, n = x.of(row); n < 0 {
				e.failText(i, valid, x.text)
			}
		}
		switch {
		case dec != nil:
			dec[i] = v
		case n > 0:
			num[i] = math.Float64bits(v.Float64(int(x.list.t.Scale)) / float64(n))
		default:
			num[i] = 0
		}
	}
	return vec{num: num, dec: dec, valid: valid}
}

// of is the sum of items, of which an average is made, or the least or greatest one; and how many there are, or -1 where the sum is too large.
func (x *listFoldDecimal) of(items []batch.Int128) (v batch.Int128, n int) {
	for k, item := range items {
		switch {
		case x.fold == foldSum || x.fold == foldAvg: // each has 38 digits at most, and so has the sum before: that shows in no sign
			if v = v.Add(item); !v.Fits(batch.MaxPrecision) {
				return batch.Int128{}, -1
			}
		case k == 0 || item.Less(v) == (x.fold == foldMin) && item != v:
			v = item
		}
	}
	return v, len(items)
}

// listFold is sum, avg, min or max of a list of numbers; the last two also of times.
type listFold struct {
	shape
	list list
	fold fold
	text string // of rows whose sum overflows
}

type fold uint8

const (
	foldSum fold = iota // 0 of no items
	foldAvg             // null of no items, as below
	foldMin
	foldMax
)

func (x *listFold) eval(e *Evaluator, d int) vec {
	valid, out := &e.reg(d).valid, e.nums(d)
	c, off := x.list.load(e, valid)
	for i := range out {
		lo, hi := int(off[i]), int(off[i+1])
		out[i] = 0
		if !valid.get(i) || !e.active.get(i) {
			continue
		}
		if lo == hi {
			if x.fold != foldSum {
				valid.clear(i)
			}
			continue
		}
		ok := true
		switch {
		case x.fold == foldAvg:
			out[i] = math.Float64bits(sumFloats(x.list.t, c.Values, lo, hi) / float64(hi-lo))
		case x.fold != foldSum:
			out[i] = extremeItem(x.list.t, c.Values, lo, hi, x.fold == foldMax)
		case x.list.t.Float():
			out[i] = math.Float64bits(sumFloats(x.list.t, c.Values, lo, hi))
		default:
			out[i], ok = sumWhole(x.list.t, c.Values, lo, hi)
		}
		if !ok {
			e.failText(i, valid, x.text)
		}
	}
	return vec{num: out, valid: valid}
}

// sumFloats adds items up in their order, as floats.
func sumFloats(t batch.Type, values []byte, lo, hi int) float64 {
	sum := 0.0
	for k := lo; k < hi; k++ {
		switch v := item(t, values, k); reprOf(t) {
		case reprFloat:
			sum += math.Float64frombits(v)
		case reprUint:
			sum += float64(v)
		default:
			sum += float64(int64(v))
		}
	}
	return sum
}

// sumWhole adds integers up; not ok where the sum does not fit.
func sumWhole(t batch.Type, values []byte, lo, hi int) (sum uint64, ok bool) {
	for k := lo; k < hi; k++ {
		v := item(t, values, k)
		if t.Kind == batch.Uint64 {
			var carry uint64
			if sum, carry = bits.Add64(sum, v, 0); carry != 0 {
				return 0, false
			}
			continue
		}
		next := int64(sum) + int64(v)
		if (int64(sum)^next)&(int64(v)^next) < 0 {
			return 0, false
		}
		sum = uint64(next)
	}
	return sum, true
}

// extremeItem is the least or greatest item. NaN is passed over unless there is nothing else.
func extremeItem(t batch.Type, values []byte, lo, hi int, greatest bool) uint64 {
	best := item(t, values, lo)
	for k := lo + 1; k < hi; k++ {
		v := item(t, values, k)
		var less, more bool
		switch reprOf(t) {
		case reprFloat:
			a, b := math.Float64frombits(v), math.Float64frombits(best)
			less, more = a < b || b != b, a > b || b != b
		case reprUint:
			less, more = v < best, v > best
		default:
			less, more = int64(v) < int64(best), int64(v) > int64(best)
		}
		if greatest && more || !greatest && less {
			best = v
		}
	}
	return best
}
