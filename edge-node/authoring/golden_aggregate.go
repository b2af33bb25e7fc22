package authoring

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/decode"
	"github.com/weir-stream/weir/ingest/schema"
	"github.com/weir-stream/weir/operators/abi"
	"github.com/weir-stream/weir/operators/aggregate"
	"github.com/weir-stream/weir/operators/wasm"
)

// IsAggregate tells whether a module is an aggregate of a window and no step, by what it exports.
func IsAggregate(module []byte) bool {
	sections, _ := readSections(module)
	return exportsAggregate(sections.exports)
}

func exportsAggregate(exports []Export) bool {
	return slices.ContainsFunc(exports, func(e Export) bool { return e.Name == abi.ExportAccumulate })
}

// foldWay is one way to aggregate rows that must not make a difference.
type foldWay struct {
	name        string
	interpreter bool
	single      bool // one row per call
	parts       int  // partitions that the rows are dealt to, a stretch each; their states are merged in order
}

// The first way is the one whose fuel is shown: the host makes no call of one row twice.
var foldWays = []foldWay{
	{name: "compiler, row by row", single: true, parts: 1},
	{name: "compiler, all rows at once", parts: 1},
	{name: "compiler, merged from two halves", parts: 2},
	{name: "compiler, row by row and merged from two halves", single: true, parts: 2},
	{name: "interpreter, all rows at once", interpreter: true, parts: 1},
	{name: "interpreter, merged from two halves", interpreter: true, parts: 2},
}

// runAggregate gives the input to an aggregate in all ways. Where states were merged, floats may differ in the last
// places: sums are made in another order then.
func (s *Suite) runAggregate(ctx context.Context, g *Golden) (Outcome, error) {
	input, err := newFoldInput(g)
	if err != nil {
		return Outcome{}, err
	}
	var first folded
	for i, w := range foldWays {
		got, err := s.fold(ctx, g, input, w)
		if err != nil {
			return Outcome{}, err
		}
		if i == 0 {
			first = got
			continue
		}
		if w.parts > 1 {
			got.settle(&first)
		}
		if d := diff(first.outcome(input).text(false), got.outcome(input).text(false)); d != "" {
			return Outcome{}, &DisagreeError{
				foldWays[0].name, w.name, d,
				"what an aggregate answers may depend on its rows and the configuration alone",
			}
		}
	}
	return first.outcome(input), nil
}

// foldInput is the decoded input of a golden file of an aggregate.
type foldInput struct {
	keys, args schema.Columns
	keyCols    []batch.Column
	argCols    []batch.Column
	rows       int
	group      []int // of each row
	groups     int
}

func newFoldInput(g *Golden) (*foldInput, error) {
	in := &foldInput{}
	in.keys, in.args = g.keyColumns(), g.Args()
	if len(in.args) == 0 {
		return nil, fmt.Errorf("%s: every column is in group_by: the others are the arguments, and there must be one", g.File)
	}
	if len(g.Input) > 0 {
		size := 0
		for _, line := range g.Input {
			size += len(line)
		}
		arena := batch.NewArena(make([]byte, decode.SlotSize(g.Columns, len(g.Input), size)))
		cols, n, err := decodeRows(g.Columns, g.Input, len(g.Input), &arena)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", g.File, err)
		}
		if n < len(g.Input) {
			return nil, fmt.Errorf("%s: only %d of %d rows fit a batch", g.File, n, len(g.Input))
		}
		in.rows = n
		for i, c := range g.Columns {
			if slices.Contains(g.GroupBy, c.Name) {
				in.keyCols = append(in.keyCols, cols[i])
			} else {
				in.argCols = append(in.argCols, cols[i])
			}
		}
	}
	seen := map[string]int{}
	for i := range in.rows {
		var key []byte
		for k := range in.keys {
			key = append(batch.AppendCellJSON(key, in.keys[k].Type, &in.keyCols[k], i), ',')
		}
		at, ok := seen[string(key)]
		if !ok {
			at = len(seen)
			seen[string(key)] = at
		}
		in.group = append(in.group, at)
	}
	in.groups = len(seen)
	return in, nil
}

// folded is what became of the input in one way.
type folded struct {
	refused string
	answer  batch.Field
	values  batch.Column
	firsts  []int32 // the first row of each group that has an answer
	rejects []string
	fuel    float64
}

// outcome renders it: a row per group, in the order of their first rows that were taken.
func (f *folded) outcome(in *foldInput) Outcome {
	if f.refused != "" {
		return Outcome{Error: f.refused}
	}
	keys := batch.Batch{Schema: in.keys.Schema(), Cols: slices.Clone(in.keyCols), Rows: in.rows}
	var heap batch.Arena
	if in.rows > 0 {
		keys.Gather(f.firsts, &heap)
	}
	all := &batch.Schema{Fields: append(slices.Clone(keys.Schema.Fields), f.answer)}
	b := batch.Batch{Schema: all, Cols: append(slices.Clone(keys.Cols), f.values), Rows: len(f.firsts)}
	out := Outcome{Columns: columnLines(all), Rejects: f.rejects, FuelPerRow: f.fuel}
	for i := range b.Rows {
		out.Output = append(out.Output, string(b.RowJSON(i)))
	}
	return out
}

// settle takes the floats of another way where they are the same but for rounding.
func (f *folded) settle(want *folded) {
	if f.answer != want.answer || !slices.Equal(f.firsts, want.firsts) || f.refused != "" || want.refused != "" {
		return
	}
	near := func(a, b, most float64) bool {
		return math.Abs(a-b) <= most*max(math.Abs(a), math.Abs(b), 1e-300)
	}
	f.values.Values = bytes.Clone(f.values.Values)
	for i := range f.firsts {
		switch f.answer.Type.Kind {
		case batch.Float64:
			a, b := f.values.Values[8*i:], want.values.Values[8*i:]
			if near(math.Float64frombits(binary.LittleEndian.Uint64(a)), math.Float64frombits(binary.LittleEndian.Uint64(b)), 1e-9) {
				copy(a[:8], b[:8])
			}
		case batch.Float32:
			a, b := f.values.Values[4*i:], want.values.Values[4*i:]
			if near(float64(math.Float32frombits(binary.LittleEndian.Uint32(a))), float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), 1e-5) {
				copy(a[:4], b[:4])
			}
		}
	}
}

// fold aggregates the input in one way.
func (s *Suite) fold(ctx context.Context, g *Golden, in *foldInput, w foldWay) (out folded, err error) {
	cfg := wasm.Config{Name: "aggregate", Path: s.label, Module: s.module, Config: g.Config, Interpreter: w.interpreter, Cache: s.cache, Deadline: patience}
	a, err := wasm.NewAggregate(ctx, cfg, in.args.Schema())
	if refused := refusal(err); refused != "" {
		return folded{refused: refused}, nil
	}
	if err != nil {
		return folded{}, fmt.Errorf("%s: %w", g.File, err)
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	out.answer = a.Answer()
	if in.keys.Schema().Index(out.answer.Name) >= 0 {
		return folded{}, fmt.Errorf("%s: the answer is called %s, as a column of group_by: give that another name", g.File, out.answer.Name)
	}
	began := a.Usage().Fuel
	f := &folding{a: a, in: in, bad: make([]string, in.rows)}
	states := make([][]byte, in.groups)
	for part := range w.parts {
		f.states = make([][]byte, in.groups)
		for at, end := part*in.rows/w.parts, (part+1)*in.rows/w.parts; at < end; {
			to := end
			if w.single {
				to = at + 1
			}
			if err := f.take(ctx, at, to); err != nil {
				return f.failed(err)
			}
			at = to
		}
		if part == 0 {
			states = f.states
			continue
		}
		// A state of nothing is merged too, and must change nothing.
		var merged aggregate.States
		if err := a.Merge(ctx, states, f.states, &merged); err != nil {
			return f.failed(fmt.Errorf("merge states: %w", err))
		}
		for i := range states {
			states[i] = merged.At(i)
		}
	}
	if in.rows > 0 {
		out.fuel = float64(a.Usage().Fuel-began) / float64(in.rows)
	}
	var live [][]byte
	has := make([]bool, in.groups)
	for i, group := range in.group {
		if f.bad[i] != "" {
			out.rejects = append(out.rejects, reject{Line: int64(i + 1), Detail: untraced(f.bad[i])}.String())
		} else if !has[group] {
			has[group] = true
			out.firsts, live = append(out.firsts, int32(i)), append(live, states[group])
		}
	}
	if out.values, err = a.Finish(ctx, live); err != nil {
		return f.failed(fmt.Errorf("finish states: %w", err))
	}
	return out, nil
}

// folding takes rows into states, as a window does.
type folding struct {
	a      *wasm.Aggregate
	in     *foldInput
	states [][]byte // by group; nil where it has none yet
	bad    []string // by row: why the aggregate fails on it
}

// failed makes an error an outcome where the module is at fault.
func (f *folding) failed(err error) (folded, error) {
	var bad *aggregate.RowError
	if errors.As(err, &bad) {
		return folded{refused: untraced(err.Error())}, nil
	}
	if refused := refusal(err); refused != "" {
		return folded{refused: refused}, nil
	}
	return folded{}, err
}

// take takes the rows from at to to, in order. Where the aggregate fails, they are halved down to the row at fault.
func (f *folding) take(ctx context.Context, at, to int) error {
	fold := aggregate.Fold{Cols: f.in.argCols}
	var groups []int
	local := map[int]int{}
	for i := at; i < to; i++ {
		g := f.in.group[i]
		if _, ok := local[g]; !ok {
			local[g] = len(groups)
			groups = append(groups, g)
			fold.States = append(fold.States, f.states[g])
		}
		fold.Rows = append(fold.Rows, int32(i))
	}
	slices.SortStableFunc(fold.Rows, func(a, b int32) int { return local[f.in.group[a]] - local[f.in.group[b]] })
	for _, r := range fold.Rows {
		fold.Groups = append(fold.Groups, int32(local[f.in.group[r]]))
	}
	var next aggregate.States
	err := f.a.Accumulate(ctx, &fold, &next)
	var bad *aggregate.RowError
	switch {
	case err == nil:
		for i, g := range groups {
			f.states[g] = next.At(i)
		}
		return nil
	case !errors.As(err, &bad):
		return err
	case to-at == 1:
		f.bad[at] = bad.Detail
		return nil
	}
	mid := at + (to-at)/2
	if err := f.take(ctx, at, mid); err != nil {
		return err
	}
	return f.take(ctx, mid, to)
}

// measureAggregate is Measure of an aggregate: what a row costs that is taken into a state.
func (r *Report) measureAggregate(ctx context.Context, module []byte, cols schema.Columns, config []byte, input []string, from string) (err error) {
	a, err := wasm.NewAggregate(ctx, wasm.Config{Path: r.File, Module: module, Config: config, Deadline: patience}, r.args(cols).Schema())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	var heap batch.Arena
	all, rows := generate(cols, fuelRows, 1, &heap), fuelRows
	if len(input) > 0 {
		longest := 0
		for _, line := range input {
			longest = max(longest, len(line))
		}
		arena := batch.NewArena(make([]byte, decode.SlotSize(cols, fuelRows, max(longest, 1<<10))))
		if all, rows, err = decodeRows(cols, input, fuelRows, &arena); err != nil {
			return err
		}
	}
	fold := aggregate.Fold{Groups: make([]int32, rows), States: make([][]byte, 1)}
	for i, c := range cols {
		if !slices.Contains(r.GroupBy, c.Name) {
			fold.Cols = append(fold.Cols, all[i])
		}
	}
	for i := range rows {
		fold.Rows = append(fold.Rows, int32(i))
	}
	r.Fuel = &Fuel{From: from}
	var next aggregate.States
	var before int64
	for i := range 2 * fuelBatches { // the host makes the first calls twice: they are not counted
		if i == fuelBatches {
			before = a.Usage().Fuel
		}
		if err := a.Accumulate(ctx, &fold, &next); err != nil {
			return r.Fuel.failed(ctx, err)
		}
	}
	r.Fuel.Rows = rows
	r.Fuel.PerRow = float64(a.Usage().Fuel-before) / float64(fuelBatches*rows)
	return nil
}

// args are the columns that an aggregate is given: all that it is not grouped by.
func (r *Report) args(cols schema.Columns) schema.Columns { return without(cols, r.GroupBy) }

// judgeAggregate has the host plan the module as an aggregate. Without columns it is opened with one of a name that it does not
// know, and what it says of that does not count.
func (r *Report) judgeAggregate(ctx context.Context, module []byte, cols schema.Columns, config []byte) error {
	r.Kind = "aggregate"
	args := r.args(cols).Schema()
	if len(cols) == 0 {
		args = &batch.Schema{Fields: []batch.Field{{Name: "_", Type: batch.Type{Kind: batch.Float64}}}}
	}
	a, err := wasm.NewAggregate(ctx, wasm.Config{Path: r.File, Module: module, Config: config}, args)
	if err != nil {
		return r.refuse(err, len(cols) == 0)
	}
	r.ABI = abi.Version
	if len(cols) > 0 {
		r.Input, r.Output = columnLines(args), []string{a.Answer().String()}
	}
	return a.Close()
}

// Args are the columns that an aggregate is given; for a step it is all of them.
func (g *Golden) Args() schema.Columns { return without(g.Columns, g.GroupBy) }

func (g *Golden) keyColumns() schema.Columns {
	return slices.DeleteFunc(slices.Clone(g.Columns), func(c schema.Column) bool { return !slices.Contains(g.GroupBy, c.Name) })
}

func without(cols schema.Columns, names []string) schema.Columns {
	return slices.DeleteFunc(slices.Clone(cols), func(c schema.Column) bool { return slices.Contains(names, c.Name) })
}

// parseGroupBy reads the names of the columns that rows are grouped by, with commas or line ends between.
func parseGroupBy(text string, cols schema.Columns) ([]string, error) {
	var names []string
	for _, name := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		name = strings.TrimSpace(name)
		switch {
		case name == "":
		case !slices.ContainsFunc(cols, func(c schema.Column) bool { return c.Name == name }):
			return nil, fmt.Errorf("there is no column %q in the schema", name)
		case slices.Contains(names, name):
			return nil, fmt.Errorf("column %s is there twice", name)
		default:
			names = append(names, name)
		}
	}
	return names, nil
}
