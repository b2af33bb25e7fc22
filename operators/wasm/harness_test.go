package wasm

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// compiled is the code of the modules that tests use again and again.
var compiled = NewCache().KeepUnused()

func TestMain(m *testing.M) {
	code := m.Run()
	if err := compiled.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// chain is a pool and the opened instances of some steps, as a lane has them.
type chain struct {
	pool  *batch.Pool
	ops   []*operator
	steps []*Step
	batch batch.Batch
}

func newStep(t testing.TB, cfg Config, in *batch.Schema) *Step {
	t.Helper()
	if cfg.Cache == nil {
		cfg.Cache = compiled
	}
	s, err := New(context.Background(), cfg, in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// newChain opens the configurations one behind the other. The pool has a range for the decoder and one per step.
func newChain(t testing.TB, in *batch.Schema, slotSize int, cfgs ...Config) *chain {
	t.Helper()
	specs := []batch.RangeSpec{{Slots: 2, SlotSize: slotSize}}
	for range cfgs {
		specs = append(specs, batch.RangeSpec{Slots: 2, SlotSize: slotSize})
	}
	pool, err := batch.NewPool(specs)
	if err != nil {
		t.Fatal(err)
	}
	c := &chain{pool: pool}
	t.Cleanup(func() {
		c.batch.Release()
		for _, o := range c.ops {
			_ = o.Close()
		}
		_ = pool.Close()
	})
	for i, cfg := range cfgs {
		s := newStep(t, cfg, in)
		op, err := s.Open(context.Background(), operators.Env{Pool: pool, Range: pool.Range(i + 1), Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		c.ops, c.steps = append(c.ops, op.(*operator)), append(c.steps, s)
		in = s.Out()
	}
	return c
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// decode fills the batch with rows, as the decoder does: into a slot of range 0.
func (c *chain) decode(t testing.TB, s *batch.Schema, rows [][]any) *batch.Batch {
	t.Helper()
	b := &c.batch
	b.Begin(s, batch.Partition{Topic: "t"}, make([]batch.Record, len(rows)))
	slot, err := c.pool.Range(0).Acquire()
	if err != nil {
		t.Fatal(err)
	}
	b.Hold(slot)
	a := batch.NewArena(slot.Mem())
	for i, f := range s.Fields {
		col := make([]any, len(rows))
		for r := range rows {
			col[r] = rows[r][i]
		}
		b.Cols[i] = column(f, col, &a)
	}
	b.Rows = len(rows)
	b.Origin = b.Origins(len(rows))
	for i := range b.Origin {
		b.Origin[i] = int32(i)
	}
	return b
}

// column builds a column from Go values; nil is null.
func column(f batch.Field, vals []any, a *batch.Arena) batch.Column {
	if f.Type.Kind == batch.List {
		return listColumn(f, vals, a)
	}
	var c batch.Column
	n := len(vals)
	valid := make([]byte, batch.BitmapLen(n))
	var raw, text []byte
	offsets := []int32{0}
	bits := make([]byte, batch.BitmapLen(n))
	for i, v := range vals {
		if v == nil {
			c.Nulls++
			raw = append(raw, make([]byte, f.Type.Width())...)
			offsets = append(offsets, int32(len(text)))
			continue
		}
		batch.SetBit(valid, i)
		switch v := v.(type) {
		case bool:
			if v {
				batch.SetBit(bits, i)
			}
		case string:
			text = append(text, v...)
			offsets = append(offsets, int32(len(text)))
		case float64:
			switch f.Type.Kind {
			case batch.Float64:
				raw = append(raw, batch.Bytes([]float64{v})...)
			case batch.Float32:
				raw = append(raw, batch.Bytes([]float32{float32(v)})...)
			default:
				raw = append(raw, batch.Bytes([]int64{int64(v)})[:f.Type.Width()]...)
			}
		case int:
			raw = append(raw, batch.Bytes([]int64{int64(v)})[:f.Type.Width()]...)
		default:
			panic(fmt.Sprintf("value %T", v))
		}
	}
	put := func(b []byte) []byte {
		to := a.AllocOrHeap(len(b))
		copy(to, b)
		return to
	}
	if c.Nulls > 0 {
		c.Validity = put(valid)
	}
	switch {
	case f.Type.Kind == batch.Bool:
		c.Values = put(bits)
	case f.Type.Variable():
		c.Offsets, c.Values = put(batch.Bytes(offsets)), put(text)
	default:
		c.Values = put(raw)
	}
	return c
}

// listColumn is column for lists, each a []any.
func listColumn(f batch.Field, vals []any, a *batch.Arena) batch.Column {
	flags, offsets, items := make([]any, len(vals)), []int32{0}, []any{}
	for i, v := range vals {
		if v != nil {
			flags[i] = true
			items = append(items, v.([]any)...)
		}
		offsets = append(offsets, int32(len(items)))
	}
	c := column(batch.Field{Type: batch.Type{Kind: batch.Bool}}, flags, a)
	of := column(batch.Field{Type: f.Type.Items()}, items, a)
	c.ItemOffsets, c.Values = of.Offsets, of.Values
	c.Offsets = a.AllocOrHeap(4 * len(offsets))
	copy(c.Offsets, batch.Bytes(offsets))
	return c
}

// render is a batch as text: one JSON object per row, then what became of the others.
func render(b *batch.Batch) string {
	var out strings.Builder
	fmt.Fprintln(&out, b.Schema)
	for i := range b.Rows {
		row := string(b.RowJSON(i))
		if !json.Valid([]byte(row)) {
			panic(row)
		}
		origin := "?"
		if b.Origin != nil {
			origin = fmt.Sprint(b.Origin[i])
		}
		fmt.Fprintf(&out, "%s <- %s\n", row, origin)
	}
	fmt.Fprintf(&out, "filtered %d expanded %d\n", b.Filtered, b.Expanded)
	for _, r := range b.Rejects {
		fmt.Fprintf(&out, "reject %d %s: %s %s\n", r.Record, r.Reason, r.Detail, r.Payload)
	}
	return out.String()
}

// balance checks that no row got lost: what went in is what is there, was dropped, or was rejected.
func balance(t testing.TB, b *batch.Batch) {
	t.Helper()
	in, out := int64(len(b.Records))+b.Expanded, int64(b.Rows)+b.Filtered+int64(len(b.Rejects))
	if in != out {
		t.Fatalf("%d records + %d expanded, but %d rows + %d filtered + %d rejects", len(b.Records), b.Expanded, b.Rows, b.Filtered, len(b.Rejects))
	}
}

func schemaOf(t testing.TB, fields ...string) *batch.Schema {
	t.Helper()
	s := &batch.Schema{}
	for _, f := range fields {
		name, typ, _ := strings.Cut(f, ": ")
		kind, nullable, err := batch.ParseType(typ)
		if err != nil {
			t.Fatal(err)
		}
		s.Fields = append(s.Fields, batch.Field{Name: name, Type: kind, Nullable: nullable})
	}
	return s
}

// example is the committed module of an example operator.
func example(t testing.TB, name string) []byte {
	t.Helper()
	return guestFile(t, filepath.Join("..", "..", "examples", "operators", name, name+".wasm"))
}

func guestFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sensors is n rows of the demo's schema.
func sensors(t testing.TB, n int) (*batch.Schema, [][]any) {
	s := schemaOf(t, "device: string", "site: string", "ts: timestamp[ms]", "temp: float64?", "ok: bool", "count: uint16")
	rows := make([][]any, n)
	for i := range rows {
		kind := [...]string{"pump", "oven", "größe"}[i%3]
		rows[i] = []any{
			fmt.Sprintf("%s-%d", kind, i), fmt.Sprintf("site %d", i%20), 1_700_000_000_000 + i,
			math.Round(float64(i*7919%10000)) / 100, i%2 == 0, i % 60000,
		}
		if i%11 == 3 {
			rows[i][3] = nil
		}
	}
	return s, rows
}
