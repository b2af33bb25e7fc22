package expr

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/expr-lang/expr/parser"

	"github.com/weir-stream/weir/ingest/batch"
)

// compareWithNaive compares the columnar evaluation of an expression with the naive one, row by row, and with itself on the batch
// cut into single rows. An expression the checker refuses is fine: fold finds some that always fail.
func compareWithNaive(t *testing.T, src string, b *batch.Batch) (compiled bool) {
	t.Helper()
	p, err := Compile(src, b.Schema)
	if err != nil {
		if !strings.Contains(err.Error(), "this fails on every row") && !strings.Contains(err.Error(), "nil has no type") {
			t.Fatalf("%s: %v", src, err)
		}
		return false
	}
	tree, err := parser.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	e := p.NewEvaluator()
	a := batch.NewArena(batch.Bytes(make([]uint64, 4096)))
	col, err := e.Eval(b, &a)
	if err != nil {
		t.Fatal(err)
	}
	failed := map[int32]bool{}
	last := int32(-1)
	for _, f := range e.Failures() {
		if f.Row <= last {
			t.Fatalf("%s: failures out of order", src)
		}
		last = f.Row
		failed[f.Row] = true
	}
	if n := b.Rows - batch.CountBits(orOnes(col.Validity, b.Rows), b.Rows); n != col.Nulls {
		t.Fatalf("%s: Nulls is %d, the bitmap has %d", src, col.Nulls, n)
	}
	single := p.NewEvaluator()
	for i := range b.Rows {
		got := "fails"
		if !failed[int32(i)] {
			got = cell(p.Type(), &col, i)
		}
		if want := naiveResult(tree.Node, b, i, p.Type()); got != want {
			t.Fatalf("%s\nrow %d of %d: %s\n got %s\nwant %s", src, i, b.Rows, b.RowJSON(i), got, want)
		}
		if got == "null" && !p.Nullable() {
			t.Fatalf("%s: row %d is null, the program says none is", src, i)
		}
		if i%97 != 0 {
			continue
		}
		one := oneRowOf(b, i)
		oc, err := single.Eval(one, &batch.Arena{})
		if err != nil {
			t.Fatal(err)
		}
		alone := "fails"
		if len(single.Failures()) == 0 {
			alone = cell(p.Type(), &oc, 0)
		}
		if alone != got {
			t.Fatalf("%s\nrow %d: %s alone, %s in the batch", src, i, alone, got)
		}
	}
	if p.Type() == boolType {
		var want []int32
		for i := range b.Rows {
			if !failed[int32(i)] && col.Valid(i) && col.Bit(i) {
				want = append(want, int32(i))
			}
		}
		if got := e.Filter(b, nil); !slices.Equal(got, want) {
			t.Fatalf("%s: Filter gives %v, Eval %v", src, got, want)
		}
	}
	return true
}

func orOnes(validity []byte, n int) []byte {
	if validity != nil {
		return validity
	}
	bm := make([]byte, batch.BitmapLen(n))
	batch.FillBits(bm, n)
	return bm
}

func oneRowOf(b *batch.Batch, i int) *batch.Batch {
	one := &batch.Batch{Schema: b.Schema, Rows: b.Rows, Cols: slices.Clone(b.Cols)}
	one.Gather([]int32{int32(i)}, &batch.Arena{})
	return one
}

func TestAgainstNaive(t *testing.T) {
	n := 1500
	if testing.Short() {
		n = 200
	}
	r := rand.New(rand.NewPCG(1, 2))
	compiled := 0
	for range n {
		if randomCase(t, r) {
			compiled++
		}
	}
	if compiled < n/2 {
		t.Errorf("only %d of %d expressions compiled", compiled, n)
	}
}

// FuzzAgainstNaive goes on with other seeds.
func FuzzAgainstNaive(f *testing.F) {
	f.Add(uint64(7))
	f.Fuzz(func(t *testing.T, seed uint64) { randomCase(t, rand.New(rand.NewPCG(seed, 1))) })
}

func randomCase(t *testing.T, r *rand.Rand) (compiled bool) {
	t.Helper()
	b := randomBatch(r)
	src := generator{r}.of("bifst"[r.IntN(5)], 1+r.IntN(5))
	return len(src) <= 2000 && compareWithNaive(t, src, b)
}

// FuzzExpr takes any text: it must give an error with a position inside the text, or a program that runs on any batch.
func FuzzExpr(f *testing.F) {
	for _, s := range []string{
		`s == "ok" && f > -40`, `f * 9 / 5 + 32`, `i in [1, 2, 3]`, `q ? i % j : nil`, `t matches "^a" ?? false`, `trunc(ms, duration("1h"))`,
		`$env["i"]`, `if p {1} else {2.5}`, `s | upper()`, `1 < i < 3`, `b"\x00"`, "((((", `substr(s, -1)`, `u == -1`, `a?.b`, `i in [`, `# 1`, "é\n= 1",
	} {
		f.Add(s, uint64(1))
	}
	f.Fuzz(func(t *testing.T, src string, seed uint64) {
		b := randomBatch(rand.New(rand.NewPCG(seed, 0)))
		p, err := Compile(src, b.Schema)
		if err != nil {
			e, ok := err.(*Error)
			if !ok || e.Offset < 0 || e.Offset > len(src) || e.Msg == "" || len(e.Error()) > 1000 {
				t.Fatalf("%q: bad error %#v", src, err)
			}
			if utf8.ValidString(src) && e.Offset < len(src) && !utf8.RuneStart(src[e.Offset]) {
				t.Fatalf("%q: offset %d is inside a character", src, e.Offset)
			}
			return
		}
		e := p.NewEvaluator()
		var a batch.Arena
		col, err := e.Eval(b, &a)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Rows {
			_ = cell(p.Type(), &col, i)
		}
		for i := range min(b.Rows, 3) {
			one := oneRowOf(b, i)
			oc, err := p.NewEvaluator().Eval(one, &a)
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(e.Failures(), func(f Failure) bool { return f.Row == int32(i) }) {
				continue
			}
			if x, y := cell(p.Type(), &col, i), cell(p.Type(), &oc, 0); x != y {
				t.Fatalf("%q: row %d is %s in the batch, %s alone", src, i, x, y)
			}
		}
	})
}
