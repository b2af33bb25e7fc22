package aggregate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
)

// Answers are finished by ClickHouse, in the view. Where a node needs one before it is there, this computes the same of the states.

// answered are the functions whose states are bytes, and whose answers are computed here too.
var answered = []string{
	"sum_kahan", "var", "var_pop", "stddev", "stddev_pop", "covar", "covar_pop", "corr", "median", "quantile", "uniq", "uniq_exact",
	"first", "last", "argmin", "argmax", "any", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or",
}

// CheckAnswer tells why the answer cannot be computed on the node, or nil.
func (a *Aggregate) CheckAnswer() error {
	switch {
	case a.Finish == Outside || a.Func == "":
		return errors.New("the answer of an aggregate of your own is computed by its module alone")
	case a.Type.Kind == batch.List:
		return fmt.Errorf("%s is a list, which is finished in ClickHouse alone", a.Func)
	case a.Finish == Function && !slices.Contains(answered, a.Func):
		return fmt.Errorf("%s is finished in ClickHouse alone", a.Func)
	}
	return nil
}

// Answers finishes the states of n groups, in columns as Emit writes them, into a column of Type: what ClickHouse makes of them. The
// column may share memory with the states. It fails on what Emit cannot have written, and where CheckAnswer does.
func (a *Aggregate) Answers(in []batch.Column, n int) (batch.Column, error) {
	if err := a.CheckAnswer(); err != nil {
		return batch.Column{}, err
	}
	switch a.Finish {
	case First:
		if a.Func == "sum" && a.Type.Kind == batch.Decimal {
			return decimalTotals(in[0], n), nil
		}
		return in[0], nil
	case Ratio:
		return a.ratios(in, n), nil
	}
	w := answerWriter{width: a.Type.Width(), nulls: make([]bool, n)}
	if a.Type.Variable() {
		w.offsets = make([]int32, 1, n+1)
	}
	for i := range n {
		src := in[0].Bytes(i)
		if len(src) == 0 && a.Nullable {
			w.null(i)
			continue
		}
		if err := a.answer(src, &w); err != nil {
			return batch.Column{}, fmt.Errorf("%s: %w", a.Func, err)
		}
	}
	return w.column(a.Type, n), nil
}

// ratios divides the first state by the second.
func (a *Aggregate) ratios(in []batch.Column, n int) batch.Column {
	part := floats{kind: a.States[0].Type.Kind}
	whole := floats{kind: a.States[1].Type.Kind}
	totals := in[0]
	var parts []float64
	if t := a.States[0].Type; t.Kind == batch.Decimal {
		totals = decimalTotals(totals, n)
		for _, v := range totals.Decimals()[:n] {
			parts = append(parts, v.Float64(int(t.Scale)))
		}
	} else {
		parts = part.read(&totals, n)
	}
	wholes := whole.read(&in[1], n)
	out, seen := make([]float64, n), make([]bool, n)
	groups := make([]uint32, n)
	for i := range n {
		groups[i] = uint32(i)
		out[i] = parts[i] / wholes[i]
		seen[i] = !a.Nullable || totals.Valid(i) && wholes[i] != 0
	}
	c := batch.Column{Values: batch.Bytes(out)}
	emitNulls(seen, groups, &c)
	return c
}

// answer finishes one state. No bytes are the state of a group that had no value.
func (a *Aggregate) answer(src []byte, w *answerWriter) error {
	switch a.Func {
	case "var", "var_pop", "stddev", "stddev_pop":
		var v variance
		if err := loadSome(&v, src, cells{}); err != nil {
			return err
		}
		w.float(v.result(a.Func))
	case "covar", "covar_pop":
		var v covariance
		if err := loadSome(&v, src, cells{}); err != nil {
			return err
		}
		w.float(v.result(a.Func == "covar"))
	case "corr":
		var v correlation
		if err := loadSome(&v, src, cells{}); err != nil {
			return err
		}
		w.float(v.result())
	case "sum_kahan":
		var v kahan
		if err := loadSome(&v, src, cells{}); err != nil {
			return err
		}
		w.float(v.sum)
	case "median", "quantile":
		var v ddSketch
		if err := loadSome(&v, src, cells{}); err != nil {
			return err
		}
		w.float(v.quantile(a.level))
	case "uniq":
		var v hll
		if err := loadSome(&v, src, cells{}); err != nil {
			return err
		}
		w.word(v.estimate())
	case "uniq_exact":
		// The number of different values comes first, whatever they are.
		r := reader{src: src}
		if n := r.uvarint(); len(src) > 0 {
			w.word(n)
		} else {
			w.word(0)
		}
	case "first", "last", "argmin", "argmax", "any":
		return a.value(src, w)
	case "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or":
		var v bitState
		if a.Func == "bit_and" || a.Func == "bool_and" {
			v.v = math.MaxUint64
		}
		if err := loadSome(&v, src, cellsOf(a.Type)); err != nil {
			return err
		}
		w.word(v.v)
	default:
		return errors.New("its answer is computed in ClickHouse alone")
	}
	return nil
}

// value is the answer of an aggregate that keeps one value.
func (a *Aggregate) value(src []byte, w *answerWriter) error {
	var c cell
	if len(src) > 0 {
		r := reader{src: src}
		c.load(cellsOf(a.Type), &r)
		if a.Func != "any" {
			var by cell
			by.load(cellsOf(a.Of[1].Type), &r)
		}
		if err := r.end(); err != nil {
			return err
		}
	}
	switch {
	case a.Type.Variable():
		w.text(c.text)
	case a.Type.Kind == batch.Decimal:
		w.decimal(c)
	default:
		w.word(binary.LittleEndian.Uint64(c.fixed[:]))
	}
	return nil
}

// loadSome reads a state, if there is one.
func loadSome(s interface {
	load(src []byte, k cells) error
}, src []byte, k cells,
) error {
	if len(src) == 0 {
		return nil
	}
	return s.load(src, k)
}

// result is infinite where ClickHouse's is: for less than two of a sample, and for nothing at all.
func (v *variance) result(function string) float64 {
	n := v.n
	if function == "var" || function == "stddev" {
		n = max(n, 1) - 1
	}
	if n == 0 {
		return math.Inf(1)
	}
	x := v.m2 / float64(n)
	if function == "stddev" || function == "stddev_pop" {
		return math.Sqrt(x)
	}
	return x
}

func (v *covariance) result(sample bool) float64 {
	n := v.n
	if sample {
		n = max(n, 1) - 1
	}
	if n == 0 {
		return math.Inf(1)
	}
	return v.comb / float64(n)
}

func (v *correlation) result() float64 {
	if v.n < 2 {
		return math.Inf(1)
	}
	return v.comb / math.Sqrt(v.m2X*v.m2Y)
}

// quantile goes through the buckets to the value whose rank the level is: those below zero come first, from the farthest on.
func (d *ddSketch) quantile(level float64) float64 {
	below, above := d.side[1].total(), d.side[0].total()
	n := below + d.zeroes + above
	if n == 0 {
		return math.NaN()
	}
	rank := level * (n - 1)
	switch {
	case rank < below:
		reversed := below - rank - 1
		return -ddValue(d.side[1].at(func(sum float64) bool { return sum >= reversed+1 }))
	case rank < below+d.zeroes:
		return 0
	}
	rank -= below + d.zeroes
	return ddValue(d.side[0].at(func(sum float64) bool { return sum > rank }))
}

// total is how many values the buckets have.
func (b *buckets) total() float64 {
	sum := 0.0
	for _, n := range b.counts {
		sum += n
	}
	return sum
}

// at is the first index up to which there are enough values, or else the last.
func (b *buckets) at(enough func(sum float64) bool) int {
	sum := 0.0
	for i, n := range b.counts {
		if sum += n; enough(sum) {
			return b.first + i
		}
	}
	return b.first + len(b.counts) - 1
}

// ddValue is what stands for the values of a bucket.
func ddValue(index int) float64 {
	return math.Exp(float64(index)/ddMultiplier) * (1 + accuracy)
}

// estimate is after Flajolet and others, with linear counting while few registers are in use.
func (h *hll) estimate() uint64 {
	if h.ranks == nil {
		return uint64(len(h.small))
	}
	const m = float64(hllRegisters)
	sum, zeroes := 0.0, 0
	for _, rank := range h.ranks {
		sum += math.Ldexp(1, -int(rank))
		if rank == 0 {
			zeroes++
		}
	}
	n := 0.7213 / (1 + 1.079/m) * m * m / sum
	if n <= 2.5*m && zeroes > 0 {
		n = m * math.Log(m/float64(zeroes))
	}
	return uint64(n + 0.5)
}

// answerWriter collects answers of one type.
type answerWriter struct {
	width   int // of a value that is no text; 0 is a bool
	nulls   []bool
	words   []uint64
	highs   []uint64 // of decimals
	offsets []int32  // of texts
	data    []byte
}

func (w *answerWriter) float(v float64) { w.word(math.Float64bits(v)) }
func (w *answerWriter) word(v uint64)   { w.words = append(w.words, v) }

func (w *answerWriter) decimal(c cell) {
	v := batch.Int128{}
	if c.width > 0 {
		v = decimalCell(c.fixed[:c.width])
	}
	w.words, w.highs = append(w.words, v.Lo), append(w.highs, uint64(v.Hi))
}

func (w *answerWriter) text(v []byte) {
	w.data = append(w.data, v...)
	w.offsets = append(w.offsets, int32(len(w.data)))
}

func (w *answerWriter) null(i int) {
	w.nulls[i] = true
	switch {
	case w.offsets != nil:
		w.text(nil)
	case w.width == 16:
		w.decimal(cell{})
	default:
		w.word(0)
	}
}

func (w *answerWriter) column(t batch.Type, n int) batch.Column {
	var c batch.Column
	switch {
	case t.Variable():
		c.Offsets, c.Values = batch.Bytes(w.offsets), w.data
	case t.Kind == batch.Bool:
		c.Values = make([]byte, batch.BitmapLen(n))
		for i, v := range w.words {
			if v&1 == 1 {
				batch.SetBit(c.Values, i)
			}
		}
	case t.Kind == batch.Decimal:
		values := make([]batch.Int128, n)
		for i, v := range w.words {
			values[i] = batch.Int128{Lo: v, Hi: int64(w.highs[i])}
		}
		c.Values = batch.DecimalBytes(values)
	default:
		values := make([]uint64, n) // aligned for every width
		c.Values = batch.Bytes(values)[:n*w.width]
		for i, v := range w.words {
			var bytes [8]byte
			binary.LittleEndian.PutUint64(bytes[:], v)
			copy(c.Values[i*w.width:(i+1)*w.width], bytes[:])
		}
	}
	seen, groups := make([]bool, n), make([]uint32, n)
	for i := range n {
		seen[i], groups[i] = !w.nulls[i], uint32(i)
	}
	emitNulls(seen, groups, &c)
	return c
}
