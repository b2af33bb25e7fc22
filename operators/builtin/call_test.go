package builtin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/expr"
	"github.com/weir-stream/weir/operators/wasm"
)

// functionModule has functions of one int64 by their config; most of them treat 13 badly. See its source.
const functionModule = "../wasm/testdata/function/function.wasm"

// planned is a step with the calls before it, as the planner makes them.
type planned struct {
	steps []operators.Step
	inner []operators.Step
}

// plan makes a filter or a map of one assignment whose expression calls functions, which are named after their modes.
func plan(t testing.TB, in *batch.Schema, kind, src string, cfg wasm.Config) (*planned, error) {
	t.Helper()
	module, err := os.ReadFile(functionModule)
	if err != nil {
		t.Fatal(err)
	}
	p := &planned{}
	scope := expr.NewScope(in, expr.Scalars{
		Names: []string{"twice", "drop", "repeat", "fewer", "trap", "text", "self"},
		Plan: func(name string, args *batch.Schema) (batch.Field, error) {
			cfg := cfg
			cfg.Name, cfg.Module, cfg.Config = "2 "+kind+" "+name, module, fmt.Appendf(nil, `{"mode": %q}`, name)
			cfg.MaxExpansion = 1
			s, err := wasm.New(context.Background(), cfg, args)
			if err != nil {
				return batch.Field{}, err
			}
			t.Cleanup(func() { _ = s.Close() })
			p.inner = append(p.inner, s)
			return s.Out().Fields[0], nil
		},
	})
	var step operators.Step
	if kind == "filter" {
		step, err = NewFilterIn(scope, "2 filter", src)
	} else {
		step, err = NewMapIn(scope, "2 map", []Assign{{Name: "n", Src: src}, {Name: "m", Src: "n"}})
	}
	if err != nil {
		return nil, err
	}
	for i, call := range scope.Calls() {
		s, err := NewCall(p.inner[i].Name(), scope.Schema(i), call, p.inner[i])
		if err != nil {
			return nil, err
		}
		p.steps = append(p.steps, s)
	}
	p.steps = append(p.steps, step)
	return p, nil
}

// open makes a chain of the steps, with its pool.
func (p *planned) open(t testing.TB, rows int) []operators.Operator {
	t.Helper()
	var specs []batch.RangeSpec
	for _, s := range p.steps {
		specs = append(specs, batch.RangeSpec{Slots: 2, SlotSize: max(batch.PageAlign, s.(operators.Sized).RangeSize(rows, 16*rows))})
	}
	pool, err := batch.NewPool(specs)
	if err != nil {
		t.Fatal(err)
	}
	var ops []operators.Operator
	for i, s := range p.steps {
		op, err := s.Open(context.Background(), operators.Env{Pool: pool, Range: pool.Range(i)})
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, op)
	}
	t.Cleanup(func() {
		for _, op := range ops {
			_ = op.Close()
		}
		for i := range specs { // every slot is back
			for range 2 {
				if _, err := pool.Range(i).Acquire(); err != nil {
					t.Errorf("range %d: %v", i, err)
				}
			}
		}
		_ = pool.Close()
	})
	return ops
}

func TestCall(t *testing.T) {
	in := schemaOf(t, "d:string", "n:int64", "k:int32?")
	rows := [][]any{{"a", 1, 7}, {"b", 13, nil}, {"c", -2, 0}, {"d", 13, 1}, {"e", 5, nil}}
	const gone = "reject 1 2 map NAME operator: WHY\nreject 3 2 map NAME operator: WHY\n"
	all := "a 2,c -4,e 10"
	for _, c := range []struct {
		name, kind, src string
		want            string // d and n of the rows
		rejects         string
	}{
		{"plain", "map", "twice(n)", "a 2,b 26,c -4,d 26,e 10", ""},
		{"in an expression", "map", "1 + twice(n) * 2", "a 5,b 53,c -7,d 53,e 21", ""},
		{"nested and shared", "map", "twice(twice(n)) + twice(n)", "a 6,b 78,c -12,d 78,e 30", ""},
		{"computed arguments", "map", "twice(n * 10 + int(k ?? 0))", "a 34,b 260,c -40,d 262,e 100", ""},
		{"as it is", "map", "self(n)", "a 1,b 13,c -2,d 13,e 5", ""},
		{"of a constant", "map", "twice(4)", "a 8,b 8,c 8,d 8,e 8", ""},
		{"text", "map", "len(text(n))", "a 4,b 4,c 5,d 4,e 4", ""},
		{"filter", "filter", "twice(n) > 4 && text(n) == 'plus'", "b 13,d 13,e 5", ""},
		{"filter of none", "filter", "twice(n) > 100", "", ""},
		{"traps on a row", "map", "trap(n)", all, strings.NewReplacer("NAME", "trap", "WHY", "trap: wasm error: unreachable").Replace(gone)},
		{"drops rows", "map", "drop(n)", all, strings.NewReplacer("NAME", "drop", "WHY", "drop gave no value").Replace(gone)},
		{"and for the next as well", "map", "drop(n) + twice(n) - twice(n)", all, strings.NewReplacer("NAME", "drop", "WHY", "drop gave no value").Replace(gone)},
		{"an argument fails", "map", "twice(n % (n - 1))", "b 2,c -4,d 2,e 2", "reject 0 2 map twice expression: division by zero in n % (n - 1)\n"},
		{"behind a branch it is called all the same", "map", "n < 13 ? trap(n) : 0", all, strings.NewReplacer("NAME", "trap", "WHY", "trap: wasm error: unreachable").Replace(gone)},
		{"all rows go", "map", "trap(13)", "", ""},
	} {
		for _, transport := range []wasm.Transport{wasm.Auto, wasm.Copy} {
			t.Run(fmt.Sprint(c.name, transport), func(t *testing.T) {
				p, err := plan(t, in, c.kind, c.src, wasm.Config{Transport: transport})
				if err != nil {
					t.Fatal(err)
				}
				for _, origins := range []bool{true, false} {
					ops := p.open(t, 64)
					for range 3 { // slots and guests are used again
						b := batchOf(t, in, origins, rows...)
						for i, op := range ops {
							if err := op.Process(t.Context(), b); err != nil {
								t.Fatal(err)
							}
							if !b.Schema.Equal(p.steps[i].Out()) || len(b.Cols) != len(b.Schema.Fields) {
								t.Fatalf("after %s the batch has %s", p.steps[i].Name(), b.Schema)
							}
						}
						var got []string
						for i := range b.Rows {
							if c.kind == "map" && batch.As[int64](b.Cols[1].Values)[i] != batch.As[int64](b.Cols[3].Values)[i] {
								t.Fatalf("m is not n: %s", rowsOf(b))
							}
							got = append(got, fmt.Sprintf("%s %d", b.Cols[0].Bytes(i), batch.As[int64](b.Cols[1].Values)[i]))
							if origins && string(rows[b.Origin[i]][0].(string)) != string(b.Cols[0].Bytes(i)) {
								t.Fatalf("row %d is from record %d", i, b.Origin[i])
							}
						}
						if strings.Join(got, ",") != c.want {
							t.Fatalf("rows %v, want %s\n%s", got, c.want, rowsOf(b))
						}
						account := len(b.Rejects) + b.Rows + int(b.Filtered)
						if account != len(rows) {
							t.Fatalf("%d of %d rows are accounted for", account, len(rows))
						}
						if c.rejects != "" && origins {
							var text strings.Builder
							for _, r := range b.Rejects {
								detail, _, _ := strings.Cut(r.Detail, " wasm stack trace")
								fmt.Fprintf(&text, "reject %d %s %s: %s\n", r.Record, r.Step, r.Reason, detail)
							}
							if text.String() != c.rejects {
								t.Fatalf("rejects\n%swant\n%s", text.String(), c.rejects)
							}
						}
						for _, r := range b.Rejects {
							if !origins && !strings.HasPrefix(string(r.Payload), `{"d":`) {
								t.Fatalf("a reject that leads nowhere has the payload %s", r.Payload)
							}
						}
						b.Release()
					}
				}
			})
		}
	}
}

// TestCallMisbehaves has functions that cannot be told row by row from what they give.
func TestCallMisbehaves(t *testing.T) {
	in := schemaOf(t, "n:int64")
	for _, mode := range []string{"repeat", "fewer"} {
		for _, onError := range []wasm.OnError{wasm.Reject, wasm.Stop} {
			p, err := plan(t, in, "map", mode+"(n)", wasm.Config{OnError: onError})
			if err != nil {
				t.Fatal(err)
			}
			b := batchOf(t, in, true, []any{1}, []any{13}, []any{2})
			failed := false
			for _, op := range p.open(t, 64) {
				if err := op.Process(t.Context(), b); err != nil {
					failed = true
					t.Logf("%s, %s: %v", mode, onError, err)
					break
				}
			}
			if !failed && len(b.Rejects)+b.Rows != 3 {
				t.Errorf("%s: %s", mode, rowsOf(b))
			}
			if onError == wasm.Stop && !failed {
				t.Errorf("%s went on: %s", mode, rowsOf(b))
			}
			t.Logf("%s, %s: %s", mode, onError, rowsOf(b))
			b.Release()
		}
	}
}

func TestCallRefused(t *testing.T) {
	in := schemaOf(t, "d:string", "n:int64")
	for src, want := range map[string]string{
		"1 + twice(d)": "4 twice: ", "twice(n, n) + nope(n)": "14 there is no function nope", "twice(m)": `6 unknown column "m"`,
	} {
		_, err := plan(t, in, "map", src, wasm.Config{})
		var e *Error
		if !errors.As(err, &e) || e.Key != "n" || !strings.HasPrefix(fmt.Sprint(e.Offset, " ", e.Err), want) {
			t.Errorf("%s: error %v", src, err)
		}
	}
}

// TestCallSharesMemory: a column that is an argument, and one that is given back, are not copied.
func TestCallSharesMemory(t *testing.T) {
	in := schemaOf(t, "n:int64")
	p, err := plan(t, in, "map", "self(n)", wasm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ops := p.open(t, 64)
	b := batchOf(t, in, true, []any{1}, []any{2})
	before := unsafe.SliceData(b.Cols[0].Values)
	if err := ops[0].Process(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if unsafe.SliceData(b.Cols[0].Values) != before {
		t.Error("the argument moved")
	}
	b.Release()
}
