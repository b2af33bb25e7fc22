package wasm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/aggregate"
)

// conformanceAggregate is the aggregate of a language's guest; operators/sdk/conformance/README.md says what it does.
func conformanceAggregate(t testing.TB, language string) []byte {
	file := filepath.Join(conformance, "guests", language, "conformance_aggregate.wasm")
	if language == "go" {
		file = filepath.Join(conformance, "guests", language, "aggregate", "conformance_aggregate.wasm")
	}
	return guestFile(t, file)
}

// journaled is the state of rows, as the conformance aggregate has it, computed here.
type journaled struct {
	count uint64
	sum   int64
	text  string
}

func (j *journaled) state() []byte {
	b := binary.LittleEndian.AppendUint64(nil, j.count)
	return append(binary.LittleEndian.AppendUint64(b, uint64(j.sum)), j.text...)
}

func (j *journaled) answer() string {
	if j.count == 0 {
		return "null"
	}
	return fmt.Sprintf("%d %d %s", j.count, j.sum, j.text)
}

// TestConformanceAggregate holds the aggregate of every language to states and answers computed here: rows with nulls in
// groups of any size, in calls cut anywhere, merged and finished.
func TestConformanceAggregate(t *testing.T) {
	args := schemaOf(t, "n: int64?", "s: string", "unused: bool?")
	for _, language := range languages {
		for _, interpreter := range []bool{false, true} {
			if interpreter && (language == "go" && testing.Short()) {
				continue
			}
			t.Run(fmt.Sprintf("%s/interpreter=%v", language, interpreter), func(t *testing.T) {
				a := newAggregate(t, Config{Module: conformanceAggregate(t, language), Interpreter: interpreter}, args)
				if got := a.Answer(); got.Type.Kind != batch.String || !got.Nullable {
					t.Fatalf("the answer is %s", got)
				}
				rng := rand.New(rand.NewPCG(5, 5))
				for range 4 {
					conformTo(t, a, args, rng)
				}
				if u := a.Usage(); u.Traps != 0 {
					t.Errorf("%d traps", u.Traps)
				}
				refusesRow(t, a, args)
				ctx := context.Background()
				if _, err := NewAggregate(ctx, Config{Module: conformanceAggregate(t, language), Config: []byte(`{"message": "not größer"}`), Cache: compiled}, args); err == nil || !strings.Contains(err.Error(), "not größer") {
					t.Errorf("it refuses with %v", err)
				}
				if _, err := NewAggregate(ctx, Config{Module: conformanceAggregate(t, language), Cache: compiled}, schemaOf(t, "n: int64")); err == nil || !strings.Contains(err.Error(), "needs a column s") {
					t.Errorf("without a column: %v", err)
				}
			})
		}
	}
}

func conformTo(t *testing.T, a *Aggregate, args *batch.Schema, rng *rand.Rand) {
	t.Helper()
	ctx := context.Background()
	groups, n := 1+rng.IntN(40), 1+rng.IntN(400)
	rows, group := make([][]any, n), make([]int, n)
	for i := range rows {
		rows[i] = []any{rng.IntN(1000) - 500, []string{"", "x", "größer", "a longer text than the others"}[rng.IntN(4)], nil}
		if rows[i][0] == 13 || rng.IntN(5) == 0 {
			rows[i][0] = nil
		}
		group[i] = rng.IntN(groups)
	}
	var heap batch.Arena
	cols := make([]batch.Column, len(args.Fields))
	for c, f := range args.Fields {
		values := make([]any, n)
		for i := range rows {
			values[i] = rows[i][c]
		}
		cols[c] = column(f, values, &heap)
	}
	// Two halves, as of two partitions.
	states, want := [2][][]byte{make([][]byte, groups), make([][]byte, groups)}, make([]journaled, groups)
	for half := range 2 {
		seen := make([]journaled, groups)
		for at, end := half*n/2, (half+1)*n/2; at < end; {
			to := min(end, at+1+rng.IntN(n))
			f := aggregate.Fold{Cols: cols}
			var which []int
			for g := range groups {
				for i := at; i < to; i++ {
					if group[i] != g {
						continue
					}
					if len(which) == 0 || which[len(which)-1] != g {
						which = append(which, g)
						f.States = append(f.States, states[half][g])
					}
					f.Rows, f.Groups = append(f.Rows, int32(i)), append(f.Groups, int32(len(which)-1))
					if v := rows[i][0]; v != nil {
						seen[g].count++
						seen[g].sum += int64(v.(int))
						seen[g].text += rows[i][1].(string)
					}
				}
			}
			var next aggregate.States
			if err := a.Accumulate(ctx, &f, &next); err != nil {
				t.Fatal(err)
			}
			for k, g := range which {
				states[half][g] = slices.Clone(next.At(k))
				if string(states[half][g]) != string(seen[g].state()) {
					t.Fatalf("group %d: state %q, want %q", g, states[half][g], seen[g].state())
				}
			}
			at = to
		}
		for g := range groups {
			want[g].count += seen[g].count
			want[g].sum += seen[g].sum
			want[g].text += seen[g].text
		}
	}
	var merged aggregate.States
	if err := a.Merge(ctx, states[0], states[1], &merged); err != nil {
		t.Fatal(err)
	}
	list := [][]byte{nil}
	for g := range groups {
		if got := merged.At(g); string(got) != string(want[g].state()) {
			t.Fatalf("group %d: merged to %q, want %q", g, got, want[g].state())
		}
		list = append(list, merged.At(g))
	}
	answers, err := a.Finish(ctx, list)
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		got, expect := "null", "null"
		if answers.Valid(i) {
			got = string(answers.Bytes(i))
		}
		if i > 0 {
			expect = want[i-1].answer()
		}
		if got != expect {
			t.Fatalf("answer %d is %q, want %q", i, got, expect)
		}
	}
}

// refusesRow has a row fail, and a state that is not one.
func refusesRow(t *testing.T, a *Aggregate, args *batch.Schema) {
	t.Helper()
	var heap batch.Arena
	cols := []batch.Column{
		column(args.Fields[0], []any{1, 13}, &heap), column(args.Fields[1], []any{"a", "b"}, &heap), column(args.Fields[2], []any{nil, true}, &heap),
	}
	var next aggregate.States
	var re *aggregate.RowError
	err := a.Accumulate(context.Background(), &aggregate.Fold{Cols: cols, Rows: []int32{0, 1}, Groups: []int32{0, 0}, States: [][]byte{nil}}, &next)
	if !errors.As(err, &re) || re.Full || re.Detail != "error: a row has n = 13" {
		t.Errorf("error %v", err)
	}
	err = a.Accumulate(context.Background(), &aggregate.Fold{Cols: cols, Rows: []int32{0}, Groups: []int32{0}, States: [][]byte{{1}}}, &next)
	if !errors.As(err, &re) || re.Detail != "error: a state is too short" {
		t.Errorf("error %v", err)
	}
}
