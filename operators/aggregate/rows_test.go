package aggregate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
)

// columns of the rows that tests aggregate.
var testFields = []batch.Field{
	{Name: "f", Type: batch.Type{Kind: batch.Float64}},
	{Name: "i", Type: batch.Type{Kind: batch.Int32}},
	{Name: "u", Type: batch.Type{Kind: batch.Uint64}},
	{Name: "s", Type: batch.Type{Kind: batch.String}},
	{Name: "b", Type: batch.Type{Kind: batch.Bool}},
	{Name: "n", Type: batch.Type{Kind: batch.Float64}, Nullable: true},
	{Name: "t", Type: batch.TimestampOf(batch.Millisecond)},
	{Name: "w", Type: batch.Type{Kind: batch.Float32}},
}

func field(name string) batch.Field {
	for _, f := range testFields {
		if f.Name == name {
			return f
		}
	}
	panic("no column " + name)
}

// testRows are rows as columns, and as values for SQL.
type testRows struct {
	n        int
	distinct int
	cols     map[string]*batch.Column
	sql      string
}

// makeRows draws n rows of which few values are the same; distinct is of how many texts and integers.
func makeRows(rng *rand.Rand, n, distinct int) *testRows {
	rows := &testRows{n: n, distinct: distinct, cols: map[string]*batch.Column{}}
	var (
		f, nn    []float64
		i32      []int32
		u        []uint64
		w        []float32
		ts       []int64
		offsets  = []int32{0}
		text     []byte
		flags    = make([]byte, batch.BitmapLen(n))
		validity = make([]byte, batch.BitmapLen(n))
		sql      strings.Builder
	)
	nulls := 0
	for row := range n {
		v := math.Exp(rng.NormFloat64()*3) * float64(1-2*rng.IntN(2))
		if rng.IntN(10) == 0 {
			v = 0
		}
		f = append(f, v)
		i32 = append(i32, int32(rng.IntN(distinct))-int32(distinct/2))
		u = append(u, rng.Uint64N(uint64(distinct))*0x9e3779b97f4a7c15)
		w = append(w, float32(rng.IntN(distinct))/4)
		ts = append(ts, 1_700_000_000_000+int64(row)*250)
		s := fmt.Sprintf("key-%d", rng.IntN(distinct))
		text = append(text, s...)
		offsets = append(offsets, int32(len(text)))
		flag := rng.IntN(2) == 0
		if flag {
			batch.SetBit(flags, row)
		}
		null := "NULL"
		if nn = append(nn, v/2); rng.IntN(4) > 0 {
			batch.SetBit(validity, row)
			null = fmt.Sprint(v / 2)
		} else {
			nulls++
		}
		if row > 0 {
			sql.WriteByte(',')
		}
		fmt.Fprintf(&sql, "(%d,%v,%d,%d,'%s',%v,%s,%d,%v)", row, v, i32[row], u[row], s, flag, null, ts[row], w[row])
	}
	rows.cols["f"] = &batch.Column{Values: batch.Bytes(f)}
	rows.cols["i"] = &batch.Column{Values: batch.Bytes(i32)}
	rows.cols["u"] = &batch.Column{Values: batch.Bytes(u)}
	rows.cols["w"] = &batch.Column{Values: batch.Bytes(w)}
	rows.cols["s"] = &batch.Column{Offsets: batch.Bytes(offsets), Values: text}
	rows.cols["b"] = &batch.Column{Values: flags}
	rows.cols["t"] = &batch.Column{Values: batch.Bytes(ts)}
	rows.cols["n"] = &batch.Column{Values: batch.Bytes(nn), Validity: validity, Nulls: nulls}
	rows.sql = sql.String()
	return rows
}

const testTable = "row UInt32, f Float64, i Int32, u UInt64, s String, b Bool, n Nullable(Float64), t DateTime64(3, 'UTC'), w Float32"

// plan plans an aggregate of test columns.
func plan(fn string, params []float64, args ...string) (*Aggregate, error) {
	s := Spec{Func: fn, Params: params}
	for _, name := range args {
		s.Args = append(s.Args, field(name))
	}
	return New(s)
}

// fill takes the rows from lo to hi into group 0.
func (r *testRows) fill(a *Aggregate, lo, hi int) Accumulator {
	acc := a.Accumulator()
	acc.Grow(1)
	r.add(a, acc, lo, hi)
	return acc
}

func (r *testRows) add(a *Aggregate, acc Accumulator, lo, hi int) {
	groups := make([]uint32, r.n)
	for i := range groups {
		if groups[i] = Skip; i >= lo && i < hi {
			groups[i] = 0
		}
	}
	args := make([]*batch.Column, 0, 2)
	for _, f := range a.input {
		args = append(args, r.cols[f.Name])
	}
	acc.Add(groups, args)
}

// emitted is the state of group 0.
func emitted(acc Accumulator) []byte {
	out := make([]batch.Column, 1)
	acc.Emit([]uint32{0}, out)
	return out[0].Bytes(0)
}
