package expr

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// scalars are functions as a planner gives them: sum takes floats, size text; planned collects what was asked for.
func scalars(planned *[]string) Scalars {
	return Scalars{Names: []string{"sum2", "size"}, Plan: func(name string, args *batch.Schema) (batch.Field, error) {
		*planned = append(*planned, name+"("+args.String()+")")
		for _, f := range args.Fields {
			if name == "size" && f.Type != textType {
				return batch.Field{}, errors.New("it takes text")
			}
		}
		if name == "size" {
			return batch.Field{Name: "whatever", Type: batch.Type{Kind: batch.Int32}}, nil
		}
		return batch.Field{Type: floatType, Nullable: true}, nil
	}}
}

func TestScope(t *testing.T) {
	in := sample().Schema
	for _, c := range []struct {
		name  string
		src   []string // assignments a, b, ... of one step
		calls string   // in order
		err   string   // of the last one
	}{
		{"one", []string{"sum2(temp, ratio) + 1"}, "sum2(temp, ratio)", ""},
		{"computed arguments", []string{"sum2(temp * 2, 1.0)"}, "sum2(temp * 2, 1)", ""},
		{"inner first", []string{"sum2(sum2(temp, 1), size(device))"}, "sum2(temp, 1); size(device); sum2(sum2(temp, 1), size(device))", ""},
		{"shared", []string{"sum2(temp, 1) + sum2(temp,1)", "sum2( temp, 1 )"}, "sum2(temp, 1)", ""},
		{"not shared where a number is of another type", []string{"sum2(temp, 1) + sum2(temp, 1.0)"}, "sum2(temp, 1); sum2(temp, 1)", ""},
		{"nor by what it is in", []string{"sum2(sum2(temp, 1), 0) + sum2(sum2(temp, 1.0), 0)"}, "sum2(temp, 1); sum2(sum2(temp, 1), 0); sum2(temp, 1); sum2(sum2(temp, 1), 0)", ""},
		{"piped", []string{"temp | sum2(1)"}, "sum2(temp, 1)", ""},
		{"in a branch", []string{"on ? sum2(temp, 1) : 0"}, "sum2(temp, 1)", ""},
		{"wrong name", []string{"1 + seze(device)"}, "", "4: there is no function seze: did you mean size?"},
		{"refused", []string{"1 + size(temp)"}, "", "4: size: it takes text"},
		{"no arguments", []string{"size()"}, "", "0: size has no arguments: give it a column"},
		{"not called", []string{"1 + size"}, "", "4: size is a function, not a column: call it: size(…)"},
		{"nil", []string{"size(nil)"}, "", "5: nil has no type here: give it one, for example float(nil)"},
		{"duration", []string{`sum2(duration("1s"), 1)`}, "", `5: sum2 does not take a duration: add it to a timestamp: ts + duration("5s")`},
		{"unknown column inside", []string{"1 + sum2(temp, nope)"}, "", "15: unknown column \"nope\""},
		{"an argument that is assigned here", []string{"1.0", "sum2(a, temp)"}, "", "5: a is assigned in this step, and functions are called before it: call the function in a step after this one"},
		{"assigned in place", []string{"1.0", "2.0", "sum2(b + temp, 1)"}, "", "5: b is assigned in this step"},
		{"assigned, and beside a call", []string{"1.0", "sum2(temp, 1) + a"}, "sum2(temp, 1)", ""},
		{"columns with dots", []string{`sum2(payload.temp, $env["a column"])`}, `sum2(payload.temp, $env["a column"])`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var planned []string
			s := NewScope(in, scalars(&planned))
			seen := &batch.Schema{Fields: append([]batch.Field(nil), in.Fields...)}
			var err error
			for i, src := range c.src {
				var f batch.Field
				name := string(rune('a' + i))
				if f, err = s.Find(src, seen, name); err != nil {
					break
				}
				seen.Fields = append(seen.Fields, f)
			}
			if c.err != "" {
				var e *Error
				if !errors.As(err, &e) || !strings.HasPrefix(fmt.Sprintf("%d: %s", e.Offset, e), c.err) {
					t.Fatalf("error %v at %+v, want %s", err, e, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var texts []string
			for i, call := range s.Calls() {
				texts = append(texts, call.Text)
				for _, p := range call.Args {
					for _, col := range p.Columns() {
						if col >= len(in.Fields)+i {
							t.Errorf("%s reads column %d, which is made after it", call.Text, col)
						}
					}
				}
			}
			if got := strings.Join(texts, "; "); got != c.calls || len(planned) != len(texts) {
				t.Errorf("calls %s, planned %q, want %s", got, planned, c.calls)
			}
			at := s.Schema(len(s.Calls()))
			for i, src := range c.src {
				p, err := s.Compile(src, at)
				if err != nil {
					t.Fatal(err)
				}
				if want := seen.Fields[len(in.Fields)+i]; p.Type() != want.Type || p.Nullable() != want.Nullable {
					t.Errorf("%s is %s, and was %s", src, p.Type(), want)
				}
				at.Fields = append(at.Fields, seen.Fields[len(in.Fields)+i])
			}
			if n := len(planned); n != len(texts) {
				t.Errorf("compiling planned %d calls anew", n-len(texts))
			}
		})
	}
}

func TestTooManyCalls(t *testing.T) {
	var planned []string
	s := NewScope(sample().Schema, scalars(&planned))
	var src []string
	for i := range MaxCalls + 1 {
		src = append(src, fmt.Sprintf("sum2(temp, %d)", i))
	}
	_, err := s.Find(strings.Join(src, " + "), s.In(), "")
	if err == nil || !strings.Contains(err.Error(), "more than 32 calls") || len(planned) != MaxCalls {
		t.Errorf("error %v, %d planned", err, len(planned))
	}
}

func TestScalarNames(t *testing.T) {
	for _, name := range []string{"dewpoint", "f2", "x_y", "median", "split", "now", "first"} {
		if err := CheckScalarName(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"abs", "coalesce", "filter", "map", "count", "all", "let", "if", "in", "not", "and", "contains", "a b", "f(", "", "x.y", "nil", "true", "1x", "_a)("} {
		if CheckScalarName(name) == nil {
			t.Errorf("%q was taken", name)
		}
	}
}
