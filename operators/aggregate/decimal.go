package aggregate

import (
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
)

// Decimals are added up exactly, in 128 bits, of which a total has 38 digits: its type is ClickHouse's, decimal(38, S). There a total of
// more digits wraps around, without a word; here it is null.

// overflown is what a total is that has more digits. No decimal has this value. It is shipped like others, so that whoever merges totals
// knows; see the view in sink/clickhouse.
var overflown = batch.Int128{Lo: ^uint64(0), Hi: 1<<63 - 1}

// safePrecision is up to how many digits no total overflows, of whatever 2^63 rows.
const safePrecision = 19

// totalOf is the type of a total of decimals, and whether it may be null though no value is.
func totalOf(t batch.Type) (total batch.Type, mayOverflow bool) {
	return batch.DecimalOf(batch.MaxPrecision, int(t.Scale)), t.Precision > safePrecision
}

// addDecimal adds to a total.
func addDecimal(total, v batch.Int128) batch.Int128 {
	if total == overflown || v == overflown {
		return overflown
	}
	// Both have at most 38 digits, so their sum is below 2^128 / 2, unless its sign shows that it is not.
	sum := total.Add(v)
	if (total.Hi^sum.Hi)&(v.Hi^sum.Hi) < 0 || !sum.Fits(batch.MaxPrecision) {
		return overflown
	}
	return sum
}

// decimalSum is sum, and with counts avg, of decimals.
type decimalSum struct {
	of       []decimalMean
	nullable bool
	counts   bool // a second state, of how many values there were
}

type decimalMean struct {
	total batch.Int128
	n     uint64
}

func newDecimalSum(arg batch.Field) *Aggregate {
	total, mayOverflow := totalOf(arg.Type)
	return &Aggregate{
		Type: total, Nullable: arg.Nullable || mayOverflow,
		States: []State{{Type: total, Nullable: arg.Nullable, Merge: Sum}},
		make:   func() Accumulator { return &decimalSum{nullable: arg.Nullable} },
	}
}

func newDecimalAvg(arg batch.Field) *Aggregate {
	total, mayOverflow := totalOf(arg.Type)
	return &Aggregate{
		Type: batch.Type{Kind: batch.Float64}, Nullable: arg.Nullable || mayOverflow,
		States: []State{
			{Name: "sum", Type: total, Nullable: arg.Nullable, Merge: Sum},
			{Name: "count", Type: batch.Type{Kind: batch.Uint64}, Merge: Sum},
		},
		Finish: Ratio,
		make:   func() Accumulator { return &decimalSum{nullable: arg.Nullable, counts: true} },
	}
}

func (a *decimalSum) Grow(n int)     { a.of = grow(a.of, n) }
func (a *decimalSum) Reset(g uint32) { a.of[g] = decimalMean{} }

// MemorySize implements Sized.
func (a *decimalSum) MemorySize() int64 { return 8 * int64(cap(a.of)) }

func (a *decimalSum) Add(groups []uint32, args []*batch.Column) {
	c, of := args[0], a.of
	for i, v := range c.Decimals()[:len(groups)] {
		g := groups[i]
		if g == Skip || c.Validity != nil && !c.Valid(i) {
			continue
		}
		m := &of[g]
		m.n++
		// Totals and values of 64 bits are most, and need no look at their digits.
		if lo := int64(m.total.Lo); m.total.Hi == lo>>63 && v.Hi == int64(v.Lo)>>63 {
			m.total = m.total.Add(v)
			continue
		}
		m.total = addDecimal(m.total, v)
	}
}

func (a *decimalSum) Take(from Accumulator, src, dst uint32) {
	a.of[dst] = from.(*decimalSum).of[src]
}

func (a *decimalSum) Emit(groups []uint32, out []batch.Column) {
	totals, counts, seen := make([]batch.Int128, len(groups)), make([]uint64, len(groups)), make([]bool, len(groups))
	rows := make([]uint32, len(groups))
	for i, g := range groups {
		m := &a.of[g]
		totals[i], counts[i], seen[i], rows[i] = m.total, m.n, m.n > 0, uint32(i)
	}
	out[0] = batch.Column{Values: batch.DecimalBytes(totals)}
	if a.nullable {
		emitNulls(seen, rows, &out[0])
	}
	if a.counts {
		out[1] = batch.Column{Values: batch.Bytes(counts)}
	}
}

func (a *decimalSum) Load(groups []uint32, in []batch.Column) error {
	clear := func(g uint32) { a.of[g] = decimalMean{} }
	for _, g := range groups {
		if g != Skip {
			clear(g)
		}
	}
	return a.Merge(groups, in)
}

func (a *decimalSum) Merge(groups []uint32, in []batch.Column) error {
	totals := in[0].Decimals()
	for i, g := range groups {
		if g == Skip || !in[0].Valid(i) {
			continue
		}
		m := &a.of[g]
		m.total = addDecimal(m.total, totals[i])
		if a.counts {
			m.n += batch.As[uint64](in[1].Values)[i]
		} else {
			m.n++
		}
	}
	return nil
}

// decimalTotals is the answers of sum: totals, but null where they overflowed.
func decimalTotals(c batch.Column, n int) batch.Column {
	totals := c.Decimals()[:n]
	if !slices.Contains(totals, overflown) {
		return c
	}
	seen, rows := make([]bool, n), make([]uint32, n)
	for i, v := range totals {
		seen[i], rows[i] = c.Valid(i) && v != overflown, uint32(i)
	}
	out := batch.Column{Values: c.Values}
	emitNulls(seen, rows, &out)
	return out
}

// extremeDecimal keeps the least or the greatest of decimals. A group that has seen no value is null.
type extremeDecimal struct {
	best  []batch.Int128
	seen  []bool
	least bool
}

func (a *extremeDecimal) Grow(n int)     { a.best, a.seen = grow(a.best, n), grow(a.seen, n) }
func (a *extremeDecimal) Reset(g uint32) { a.best[g], a.seen[g] = batch.Int128{}, false }

func (a *extremeDecimal) Add(groups []uint32, args []*batch.Column) {
	c := args[0]
	for i, v := range c.Decimals()[:len(groups)] {
		g := groups[i]
		if g == Skip || c.Validity != nil && !c.Valid(i) {
			continue
		}
		if best := a.best[g]; !a.seen[g] || a.least && v.Less(best) || !a.least && best.Less(v) {
			a.best[g], a.seen[g] = v, true
		}
	}
}

func (a *extremeDecimal) Take(from Accumulator, src, dst uint32) {
	f := from.(*extremeDecimal)
	a.best[dst], a.seen[dst] = f.best[src], f.seen[src]
}

// Merge adds: a state is a value.
func (a *extremeDecimal) Merge(groups []uint32, in []batch.Column) error {
	a.Add(groups, []*batch.Column{&in[0]})
	return nil
}

func (a *extremeDecimal) Emit(groups []uint32, out []batch.Column) {
	best := make([]batch.Int128, len(groups))
	for i, g := range groups {
		best[i] = a.best[g]
	}
	out[0] = batch.Column{Values: batch.DecimalBytes(best)}
	emitNulls(a.seen, groups, &out[0])
}

func (a *extremeDecimal) Load(groups []uint32, in []batch.Column) error {
	for _, g := range groups {
		if g != Skip {
			a.Reset(g)
		}
	}
	return a.Merge(groups, in)
}

// storedWidth is the bytes that ClickHouse has for a decimal.
func storedWidth(t batch.Type) int {
	switch {
	case t.Precision <= 9:
		return 4
	case t.Precision <= batch.WordPrecision:
		return 8
	}
	return 16
}

// decimalCell is the decimal of which these are the bytes, as many as ClickHouse has for it.
func decimalCell(v []byte) batch.Int128 {
	fill := byte(0)
	if v[len(v)-1]&0x80 != 0 {
		fill = 0xff
	}
	words := [2]uint64{}
	for i := range 16 {
		b := fill
		if i < len(v) {
			b = v[i]
		}
		words[i/8] |= uint64(b) << (8 * (i % 8))
	}
	return batch.Int128{Lo: words[0], Hi: int64(words[1])}
}

// wideDecimal tells whether values do not fit a word: functions of words take these by a hash of their bytes.
func wideDecimal(t batch.Type) bool {
	return t.Kind == batch.Decimal && t.Precision > batch.WordPrecision
}
