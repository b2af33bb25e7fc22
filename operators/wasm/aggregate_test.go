package wasm

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/aggregate"
)

var floats = batch.Type{Kind: batch.Float64}

func weightedArgs() *batch.Schema {
	return &batch.Schema{Fields: []batch.Field{{Name: "price", Type: floats, Nullable: true}, {Name: "volume", Type: floats}}}
}

func weightedMean(t testing.TB) []byte {
	return guestFile(t, filepath.Join("..", "..", "examples", "operators", "weighted-mean", "weighted-mean.wasm"))
}

func newAggregate(t testing.TB, cfg Config, args *batch.Schema) *Aggregate {
	t.Helper()
	if cfg.Cache == nil {
		cfg.Cache = compiled
	}
	a, err := NewAggregate(context.Background(), cfg, args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// weighted is rows of the weighted mean, and which group each is in.
type weighted struct {
	price, volume []float64
	null          []bool
	group         []int
}

func randomWeighted(rng *rand.Rand, rows, groups int) *weighted {
	w := &weighted{}
	for range rows {
		w.price = append(w.price, rng.NormFloat64())
		w.volume = append(w.volume, float64(rng.IntN(100)))
		w.null = append(w.null, rng.IntN(10) == 0)
		w.group = append(w.group, rng.IntN(groups))
	}
	return w
}

// cols are the rows as columns.
func (w *weighted) cols() []batch.Column {
	price := batch.Column{Values: batch.Bytes(slices.Clone(w.price))}
	price.Validity = make([]byte, batch.BitmapLen(len(w.price)))
	for i, null := range w.null {
		if null {
			price.Nulls++
		} else {
			batch.SetBit(price.Validity, i)
		}
	}
	return []batch.Column{price, {Values: batch.Bytes(slices.Clone(w.volume))}}
}

// fold takes rows from..to into states by group, with a call of the aggregate.
func (w *weighted) fold(t testing.TB, a *Aggregate, from, to int, states [][]byte) error {
	t.Helper()
	f := aggregate.Fold{Cols: w.cols()}
	var which []int
	for g := range states {
		n := len(which)
		for r := from; r < to; r++ {
			if w.group[r] == g {
				f.Rows, f.Groups = append(f.Rows, int32(r)), append(f.Groups, int32(n))
			}
		}
		if len(f.Groups) > 0 && int(f.Groups[len(f.Groups)-1]) == n {
			which = append(which, g)
			f.States = append(f.States, states[g])
		}
	}
	var next aggregate.States
	if err := a.Accumulate(context.Background(), &f, &next); err != nil {
		return err
	}
	for i, g := range which {
		states[g] = slices.Clone(next.At(i))
	}
	return nil
}

// state is the state of a group, computed here.
func (w *weighted) state(g int) []byte {
	sum, weight := 0.0, 0.0
	for i := range w.price {
		if w.group[i] == g && !w.null[i] {
			sum += w.price[i] * w.volume[i]
			weight += w.volume[i]
		}
	}
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, math.Float64bits(sum)), math.Float64bits(weight))
}

// TestAggregate compares the states of a module with those computed here, whole and cut anywhere, in both engines.
func TestAggregate(t *testing.T) {
	for _, interpreter := range []bool{false, true} {
		a := newAggregate(t, Config{Module: weightedMean(t), Interpreter: interpreter}, weightedArgs())
		if got := a.Answer(); got.Type != floats || !got.Nullable {
			t.Fatalf("the answer is %s", got)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 20 {
			groups := 1 + rng.IntN(50)
			w := randomWeighted(rng, 1+rng.IntN(3000), groups)
			states := make([][]byte, groups)
			for at := 0; at < len(w.price); {
				to := min(len(w.price), at+1+rng.IntN(len(w.price)))
				if err := w.fold(t, a, at, to, states); err != nil {
					t.Fatal(err)
				}
				at = to
			}
			finished, err := a.Finish(context.Background(), states)
			if err != nil {
				t.Fatal(err)
			}
			for g, s := range states {
				want := w.state(g)
				if s == nil {
					want = nil
				}
				if string(s) != string(want) {
					t.Fatalf("group %d: state %x, want %x", g, s, want)
				}
				weight := 0.0
				if s != nil {
					weight = math.Float64frombits(binary.LittleEndian.Uint64(s[8:]))
				}
				if valid := finished.Valid(g); valid != (weight != 0) {
					t.Fatalf("group %d: valid is %v, weight %v", g, valid, weight)
				}
			}
		}
		if u := a.Usage(); u.Fuel == 0 || u.Instances == 0 || u.BytesCopied == 0 || u.Traps != 0 {
			t.Errorf("usage %+v", u)
		}
	}
}

// TestAggregateReduce merges lists of states of every length.
func TestAggregateReduce(t *testing.T) {
	a := newAggregate(t, Config{Module: weightedMean(t)}, weightedArgs())
	state := func(sum, weight float64) []byte {
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, math.Float64bits(sum)), math.Float64bits(weight))
	}
	var lists [][][]byte
	for n := range 6 {
		var l [][]byte
		for i := range n {
			l = append(l, state(float64(i+1), 2))
		}
		lists = append(lists, l)
	}
	lists = append(lists, [][]byte{state(1, 1), nil, state(2, 2)})
	got, err := a.Reduce(context.Background(), lists)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]byte{nil, state(1, 2), state(3, 4), state(6, 6), state(10, 8), state(15, 10), state(3, 3)}
	for i := range want {
		if string(got[i]) != string(want[i]) {
			t.Errorf("list %d: %x, want %x", i, got[i], want[i])
		}
	}
}

// TestAggregateRowErrors finds what is said of rows that a module refuses, and that the next call is none the worse.
func TestAggregateRowErrors(t *testing.T) {
	a := newAggregate(t, Config{Module: weightedMean(t)}, weightedArgs())
	bad := &weighted{price: []float64{1, 2}, volume: []float64{1, -1}, null: []bool{false, false}, group: []int{0, 0}}
	good := &weighted{price: []float64{1, 2}, volume: []float64{1, 3}, null: []bool{false, false}, group: []int{0, 0}}
	for range 3 {
		err := bad.fold(t, a, 0, 2, make([][]byte, 1))
		var re *aggregate.RowError
		if !errors.As(err, &re) || re.Full || !strings.Contains(re.Detail, "a weight is negative") {
			t.Fatalf("error %v", err)
		}
		states := make([][]byte, 1)
		if err := good.fold(t, a, 0, 2, states); err != nil || string(states[0]) != string(good.state(0)) {
			t.Fatalf("%x, %v", states[0], err)
		}
	}
	// A state of another version.
	if err := good.fold(t, a, 0, 1, [][]byte{{1, 2, 3}}); err == nil || !strings.Contains(err.Error(), "another size") {
		t.Fatalf("error %v", err)
	}
}

// TestAggregateKind refuses modules of the wrong kind, and arguments that do not fit.
func TestAggregateKind(t *testing.T) {
	ctx := context.Background()
	calibrate := guestFile(t, filepath.Join("..", "..", "examples", "operators", "calibrate", "calibrate.wasm"))
	if _, err := NewAggregate(ctx, Config{Module: calibrate}, weightedArgs()); err == nil || !strings.Contains(err.Error(), "it is an operator of rows") {
		t.Errorf("error %v", err)
	}
	if _, err := New(ctx, Config{Module: weightedMean(t)}, weightedArgs()); err == nil || !strings.Contains(err.Error(), "is an aggregate, and no step") {
		t.Errorf("error %v", err)
	}
	one := &batch.Schema{Fields: weightedArgs().Fields[:1]}
	if _, err := NewAggregate(ctx, Config{Module: weightedMean(t)}, one); err == nil || !strings.Contains(err.Error(), "needs two arguments") {
		t.Errorf("error %v", err)
	}
}
