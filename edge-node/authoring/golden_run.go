package authoring

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/decode"
	"github.com/weir-stream/weir/operators/wasm"
)

// way is one way to run a module that must not make a difference.
type way struct {
	name        string
	interpreter bool
	single      bool // one row per batch
	copied      bool
	twice       bool // all rows once before, through the same instance; where it keeps state, from the beginning again
	moved       bool // the state goes to a new instance before each batch; nothing where there is no state
}

var ways = []way{
	{name: "compiler, one batch"},
	{name: "compiler, one row per batch", single: true},
	{name: "compiler, all rows a second time", twice: true},
	{name: "compiler, one row per instance", single: true, moved: true},
	{name: "compiler, copied memory", copied: true},
	{name: "interpreter, one batch", interpreter: true},
	{name: "interpreter, one row per batch", interpreter: true, single: true},
}

// patience is how long a call may take here, where the machine may be busy compiling: fuel is what ends a call.
const patience = 2 * time.Minute

// Suite runs golden files over one module. It must be closed.
type Suite struct {
	module []byte
	label  string
	cache  *wasm.Cache

	aggregate bool // the module is one
}

// NewSuite prepares a module; label is how messages call it.
func NewSuite(module []byte, label string) *Suite {
	return &Suite{module: module, label: label, cache: wasm.NewCache().KeepUnused(), aggregate: IsAggregate(module)}
}

// Close frees the compiled code.
func (s *Suite) Close() error { return s.cache.Close() }

// DisagreeError says that a module gives another answer when it is run another way. Such a module is wrong whatever is
// expected of it.
type DisagreeError struct {
	First, Other string // the two ways
	Diff         string
	Rule         string // that the module breaks
}

// Error says which ways they are; Diff has the lines.
func (e *DisagreeError) Error() string {
	return fmt.Sprintf("%s (-) and %s (+) give different results: %s", e.First, e.Other, e.Rule)
}

// Run gives the input to the module in all ways. An error is a golden file that does not fit its own schema, a
// *[DisagreeError], or a host that cannot run anything; a module that refuses is an Outcome.
func (s *Suite) Run(ctx context.Context, g *Golden) (Outcome, error) {
	if s.aggregate {
		return s.runAggregate(ctx, g)
	}
	if len(g.GroupBy) > 0 {
		return Outcome{}, fmt.Errorf("%s: -- group_by -- is for aggregates, and the module is a step", g.File)
	}
	var first Outcome
	for i, w := range ways {
		got, err := s.run(ctx, g, w)
		if err != nil {
			return Outcome{}, err
		}
		if i == 0 {
			first = got
			continue
		}
		if d := diff(first.text(false), got.text(false)); d != "" {
			return Outcome{}, &DisagreeError{ways[0].name, w.name, d, "what a row becomes may depend on that row and the configuration alone"}
		}
	}
	return first, nil
}

func (s *Suite) run(ctx context.Context, g *Golden, w way) (_ Outcome, err error) {
	cfg := wasm.Config{Name: "operator", Path: s.label, Module: s.module, Config: g.Config, Interpreter: w.interpreter, Cache: s.cache, Deadline: patience}
	if w.copied {
		cfg.Transport = wasm.Copy
	}
	size := 0
	for _, line := range g.Input {
		size += len(line)
	}
	rows := len(g.Input)
	if w.single {
		rows = 1
	}
	decoder, err := decode.New("json", g.Columns, decode.Options{MaxRecord: maxGolden, MaxRows: max(rows, 1)})
	if err != nil {
		return Outcome{}, fmt.Errorf("%s: %w", g.File, err)
	}
	// Slots are as large one way as another, as they are in a pipeline: what fits decides what is rejected.
	c, err := openChain(ctx, cfg, g.Columns.Schema(), max(len(g.Input), 1), decode.SlotSize(g.Columns, len(g.Input), max(size, 1)))
	if refused := refusal(err); refused != "" {
		return Outcome{Error: refused}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	out := Outcome{Columns: columnLines(c.step.Out())}
	all := make([]batch.Record, len(g.Input))
	for i, line := range g.Input {
		all[i] = batch.Record{Offset: int64(i), Value: []byte(line)}
	}
	var rejects []reject
	began := c.usage().Fuel
	passes := 1
	if w.twice {
		passes = 2
	}
	for pass := range passes {
		out.Output, rejects = nil, nil // what came before was only to see whether it leaves something behind
		if pass > 0 && c.step.Stateful() {
			if err := c.move(ctx, true); err != nil {
				return Outcome{}, err
			}
		}
		for records := all; len(records) > 0; {
			if w.moved && c.step.Stateful() {
				if err := c.move(ctx, false); err != nil {
					return Outcome{}, err
				}
			}
			b := &c.batch
			b.Begin(g.Columns.Schema(), batch.Partition{Topic: "golden"}, records)
			slot, err := c.pool.Range(0).Acquire()
			if err != nil {
				return Outcome{}, err
			}
			b.Hold(slot)
			arena := batch.NewArena(slot.Mem())
			decoder.Decode(b, &arena)
			if len(b.Rejects) > 0 {
				r := b.Rejects[0]
				return Outcome{}, fmt.Errorf("%s: input line %d does not fit the schema: %s: %s", g.File, b.Records[r.Record].Offset+1, r.Reason, r.Detail)
			}
			records = records[len(b.Records):]
			if err := c.op.Process(ctx, b); err != nil {
				var differ *wasm.DifferError
				if errors.As(err, &differ) {
					return Outcome{Error: differ.Error()}, nil
				}
				if refused := refusal(err); refused != "" {
					return Outcome{Error: refused}, nil
				}
				return Outcome{}, err
			}
			for i := range b.Rows {
				out.Output = append(out.Output, string(b.RowJSON(i)))
			}
			for _, r := range b.Rejects {
				rejects = append(rejects, newReject(b, r))
			}
		}
	}
	if !w.twice && len(all) > 0 {
		out.FuelPerRow = float64(c.usage().Fuel-began) / float64(len(all))
	}
	slices.SortStableFunc(rejects, func(a, b reject) int { return cmp.Compare(a.Line, b.Line) })
	for _, r := range rejects {
		out.Rejects = append(out.Rejects, r.String())
	}
	return out, nil
}

// refusal is why a module cannot be used, or had to be given up, without the parts that change with its name or build.
func refusal(err error) string {
	var me *wasm.ModuleError
	if !errors.As(err, &me) {
		return ""
	}
	s := me.Problem
	if me.Err != nil {
		s += ": " + me.Err.Error()
	}
	return strings.TrimSpace(untraced(s))
}

// untraced cuts the trace of a trap, which differs from build to build.
func untraced(s string) string {
	s, _, _ = strings.Cut(s, "wasm stack trace:")
	return strings.TrimSpace(s)
}

// reject is a rejected row as a golden file has it.
type reject struct {
	Line   int64           `json:"line,omitempty"` // of the input, from 1; 0 where the operator did not say
	Row    json.RawMessage `json:"row,omitempty"`  // then the row itself
	Detail string          `json:"detail"`
}

func newReject(b *batch.Batch, r batch.Reject) reject {
	if r.Record < 0 {
		return reject{Row: r.Payload, Detail: untraced(r.Detail)}
	}
	return reject{Line: b.Records[r.Record].Offset + 1, Detail: untraced(r.Detail)}
}

func (r reject) String() string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil { // Row is not JSON: then it is worth more as text
		r.Row, _ = json.Marshal(string(r.Row))
		_ = e.Encode(r)
	}
	return strings.TrimSpace(b.String())
}
