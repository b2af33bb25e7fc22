package wasm

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// TestProbation: an operator that keeps something from batch to batch, and says nothing of it, is found at the second batch,
// or at a later one where it begins later; and after a restart again.
func TestProbation(t *testing.T) {
	schema, rows := hostileRows(t, 20)
	for _, c := range []struct {
		mode, at int
		want     string
	}{
		{49, 2, "row 0 (offset 0), column id: 2 here, 1 there"},
		{50, 8, "row 0 (offset 0), column id: 1 here, 0 there"},
		{51, 4, ""},
	} {
		for _, w := range ways {
			for range 2 {
				ch := newChain(t, schema, 64<<10, Config{Module: hostile(t), Config: mode(c.mode), Interpreter: w.interpreter, Transport: w.transport})
				for n := 1; ; n++ {
					err := ch.ops[0].Process(context.Background(), ch.decode(t, schema, rows))
					if c.mode == 51 { // it fails every time, so no guest gets far enough: the row alone decides
						if err != nil || len(ch.batch.Rejects) != 1 {
							t.Fatalf("batch %d: %v", n, err)
						}
						if n == 40 {
							break
						}
						continue
					}
					if n == c.at {
						var differ *DifferError
						if !errors.As(err, &differ) || !strings.Contains(err.Error(), "in a fresh instance: "+c.want) || !strings.Contains(err.Error(), "weir_snapshot") {
							t.Fatalf("mode %d, %s, batch %d: %v", c.mode, w.name, n, err)
						}
						break
					}
					if err != nil {
						t.Fatalf("mode %d, %s, batch %d: %v", c.mode, w.name, n, err)
					}
				}
			}
		}
	}
}

// TestProbationIsRare: the batches that are run again are those with a power of two for a number, the first one not.
func TestProbationIsRare(t *testing.T) {
	var c checks
	g := &guest{}
	var again []int
	for n := 1; n <= 1000; n++ {
		if c.onProbation(g) {
			again = append(again, n)
		}
		c.ran(g)
	}
	if len(again) != 9 || again[0] != 2 || again[8] != 512 {
		t.Fatal(again)
	}
	if c.onProbation(&guest{}) || c.onProbation(nil) {
		t.Fatal("a new guest begins anew")
	}
}

// TestExamplesOnProbation: operators that keep nothing pass, in every language, with rejects and without.
func TestExamplesOnProbation(t *testing.T) {
	schema, rows := sensors(t, 300)
	for _, suffix := range []string{"", "-go", "-rust", "-assemblyscript"} {
		for _, name := range []string{"calibrate", "severity"} {
			ch := newChain(t, schema, 1<<20, Config{Module: example(t, name+suffix), Verify: 3})
			for i := range 40 {
				b := ch.decode(t, schema, rows[i%7:])
				for r := range b.Records {
					b.Records[r].Offset = int64(i*1000 + r)
				}
				if err := ch.ops[0].Process(context.Background(), b); err != nil {
					t.Fatalf("%s%s, batch %d: %v", name, suffix, i, err)
				}
			}
			if u := ch.ops[0].Usage(); u.Instances != 1 || u.Verified < 5 || u.Verified > 25 || u.Differed != 0 {
				t.Errorf("%s%s: usage %+v", name, suffix, u)
			}
		}
	}
}

// TestVerify: what the interpreter makes of a batch is held against what the compiler did, bit by bit; a difference fails
// the batch.
func TestVerify(t *testing.T) {
	schema, rows := sensors(t, 30)
	for _, transport := range []Transport{Auto, Copy} {
		cfg := Config{Module: example(t, "calibrate"), Config: []byte(`{"offset": 1}`), Verify: 1, Transport: transport}
		ch := newChain(t, schema, 1<<20, cfg)
		for range 5 {
			b := ch.decode(t, schema, rows)
			if err := ch.ops[0].Process(context.Background(), b); err != nil {
				t.Fatal(err)
			}
			balance(t, b)
		}
		if u := ch.ops[0].Usage(); u.Verified != 5 || u.Differed != 0 || u.Instances != 1 || (u.BytesCopied != 0) != (transport == Copy) {
			t.Fatalf("usage %+v", u)
		}
		// An interpreter that is wrong in the last bit of one row.
		cfg.Config, cfg.Verify = []byte(`{"offset": 1.0000000000000002}`), 0
		wrong := newChain(t, schema, 1<<20, cfg)
		ch = newChain(t, schema, 1<<20, Config{Module: cfg.Module, Config: []byte(`{"offset": 1}`), Verify: 1, Transport: transport})
		ch.steps[0].slow = &Step{cfg: wrong.steps[0].cfg, module: wrong.steps[0].module, in: schema, out: schema, shown: wrong.steps[0].shown, fields: wrong.steps[0].fields, row: -1, width: wrong.steps[0].width, rows: wrong.steps[0].rows}
		err := ch.ops[0].Process(context.Background(), ch.decode(t, schema, [][]any{{"pump", "s", 1, 0.0, true, 1}, {"pump", "s", 1, 1e-20, true, 1}}))
		ch.steps[0].slow = nil
		var differ *DifferError
		if !errors.As(err, &differ) || !strings.Contains(err.Error(), "wasm module: the same rows give another result in the interpreter: row 0 (offset 0), column temp: 1 here, 1.0000000000000002 there; ") {
			t.Fatal(err)
		}
		if u := ch.ops[0].Usage(); u.Verified != 1 || u.Differed != 1 {
			t.Fatalf("usage %+v", u)
		}
	}
}

// TestVerifyRejects: rows that are rejected are rejected in the interpreter too, and the row that is not there says so.
func TestVerifyRejects(t *testing.T) {
	schema, rows := hostileRows(t, 40)
	for _, m := range []int{1, 2, 3, 10, 25, 41} {
		ch := newChain(t, schema, 64<<10, Config{Module: hostile(t), Config: mode(m), Verify: 1})
		for range 2 {
			b := ch.decode(t, schema, rows)
			if err := ch.ops[0].Process(context.Background(), b); err != nil {
				t.Fatal(err)
			}
			balance(t, b)
		}
		if u := ch.ops[0].Usage(); u.Verified != 2 {
			t.Fatalf("usage %+v", u)
		}
	}
}

// TestVerifies: about one batch in so many, the same ones every time.
func TestVerifies(t *testing.T) {
	for _, n := range []int{0, 1, 2, 10, 1000} {
		o := &operator{step: &Step{cfg: Config{Verify: n}}}
		got := 0
		const batches = 100_000
		for i := range batches {
			b := &batch.Batch{Records: []batch.Record{{Offset: int64(i) * 8192}}, Partition: batch.Partition{ID: int32(i % 3)}}
			if o.verifies(b) {
				got++
			}
		}
		want := 0
		if n > 0 {
			want = batches / n
		}
		if d := got - want; d*d > 25*(want+1) {
			t.Errorf("1/%d: %d of %d", n, got, batches)
		}
	}
}

// TestDiffer changes one thing at a time.
func TestDiffer(t *testing.T) {
	schema := schemaOf(t, "i: int64?", "f: float64?", "g: float32?", "s: string?", "b: bool?", "w: uint16?", "l: list<float64>?", "m: list<string>", "n: list<bool>?")
	ch := newChain(t, schema, 64<<10)
	make1 := func(change func(rows [][]any), after func(b *batch.Batch)) *batch.Batch {
		rows := [][]any{{1, 1.5, 2.5, "a", true, 7, []any{1.5, math.NaN()}, []any{"x", "yy"}, []any{true, false, true}}, {nil, nil, nil, nil, nil, nil, nil, []any{}, nil}, {3, math.NaN(), math.NaN(), "c", false, 9, []any{2.5}, []any{"", "z"}, []any{false}}}
		change(rows)
		b := ch.decode(t, schema, rows)
		b.Rejects = []batch.Reject{{Record: 2, Detail: "trap: here"}}
		after(b)
		kept := *b
		kept.Cols = append([]batch.Column(nil), b.Cols...)
		for i := range kept.Cols {
			c := &kept.Cols[i]
			c.Validity, c.Offsets, c.Values, c.ItemOffsets = bytes.Clone(c.Validity), bytes.Clone(c.Offsets), bytes.Clone(c.Values), bytes.Clone(c.ItemOffsets)
		}
		kept.Origin, kept.Rejects = append([]int32(nil), b.Origin...), append([]batch.Reject(nil), b.Rejects...)
		return &kept
	}
	same, none := func([][]any) {}, func(*batch.Batch) {}
	base := make1(same, none)
	for _, c := range []struct {
		want   string
		change func(rows [][]any)
		after  func(b *batch.Batch)
	}{
		{"", same, none},
		{"", same, func(b *batch.Batch) { b.Rejects[0].Detail = "trap: there" }},
		{"", same, func(b *batch.Batch) { batch.As[uint64](b.Cols[1].Values)[2] ^= 1 }},    // another NaN
		{"", same, func(b *batch.Batch) { batch.As[uint64](b.Cols[0].Values)[1] = 12345 }}, // under a null
		{"row 0 (offset 0), column i: 1 here, 2 there", func(r [][]any) { r[0][0] = 2 }, none},
		{"row 1 (offset 0), column i: null here, 0 there", func(r [][]any) { r[1][0] = 0 }, none},
		{"row 0 (offset 0), column f: 1.5 here, 1.5000000000000002 there", func(r [][]any) { r[0][1] = math.Nextafter(1.5, 2) }, none},
		{"row 2 (offset 0), column f: \"NaN\" here, 0 there", func(r [][]any) { r[2][1] = 0.0 }, none},
		{"row 0 (offset 0), column g: 2.5 here, 3 there", func(r [][]any) { r[0][2] = 3.0 }, none},
		{"row 2 (offset 0), column s: \"c\" here, \"cc\" there", func(r [][]any) { r[2][3] = "cc" }, none},
		{"row 2 (offset 0), column b: false here, true there", func(r [][]any) { r[2][4] = true }, none},
		{"row 2 (offset 0), column w: 9 here, 10 there", func(r [][]any) { r[2][5] = 10 }, none},
		{"row 0 (offset 0), column l: [1.5,\"NaN\"] here, [1.5] there", func(r [][]any) { r[0][6] = []any{1.5} }, none},
		{"row 2 (offset 0), column l: [2.5] here, [2] there", func(r [][]any) { r[2][6] = []any{2.0} }, none},
		{"row 2 (offset 0), column m: [\"\",\"z\"] here, [\"z\",\"\"] there", func(r [][]any) { r[2][7] = []any{"z", ""} }, none},
		{"row 0 (offset 0), column n: [true,false,true] here, [true,true,true] there", func(r [][]any) { r[0][8] = []any{true, true, true} }, none},
		{"row 1 is from record 1 here, 2 there", same, func(b *batch.Batch) { b.Origin[1] = 2 }},
		{"3 rows here, 2 there", same, func(b *batch.Batch) { b.Rows-- }},
		{"1 rows dropped and 0 added here, 0 and 0 there", same, func(b *batch.Batch) { b.Filtered = -1 }},
		{"offset 0 rejected (trap) here, offset 0 rejected (error) there", same, func(b *batch.Batch) { b.Rejects[0].Detail = "error: no" }},
		{"offset 0 rejected (trap) here, and not there", same, func(b *batch.Batch) { b.Rejects = b.Rejects[:0] }},
		{"a row {} rejected (x) there, and not here", same, func(b *batch.Batch) {
			b.Rejects = append(b.Rejects, batch.Reject{Record: -1, Detail: "x: y", Payload: []byte("{}")})
		}},
	} {
		got := differ(base, make1(c.change, c.after), counted{})
		if c.want == "1 rows dropped and 0 added here, 0 and 0 there" {
			got = differ(make1(same, func(b *batch.Batch) { b.Filtered = 1 }), base, counted{})
		}
		if got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
