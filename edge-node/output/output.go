// Package output tells of windows that are final, on site: it finishes their aggregates, keeps those that a condition is true of, takes them
// through steps of its own, and sends what comes out as records to a Kafka topic. It knows nothing of ClickHouse, so that an alarm does not
// wait for it.
//
// Package pipeline makes an Output of each that a pipeline has, and the engine's lanes call it before they ship what is final. It promises
// that a window is sent at least once, and that every record of it is the same but for its version. Windows that a step cannot handle are
// counted and logged; they are no dead letters, which are records, and each record has counted in its window already.
package output

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/kafka"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/aggregate"
	"github.com/weir-stream/weir/operators/expr"
)

// Config is what an output sends, and how.
type Config struct {
	Topic                string
	Site, Node, Pipeline string
	// Rows is the schema of the rows of a cut: window_start, window_end, _rows, then Keys of them, then the states of Aggregates.
	Rows       *batch.Schema
	Keys       int
	Aggregates []Aggregate
	// Full is how many rows fill a window, where windows are of so many rows. The last of Keys is the window's number then: it is no part of
	// a record's key, and behind it is a column that says whether the window is full. 0 is for windows of other kinds.
	Full uint64
	// Where is true of the windows that are sent, an expression over window_start, window_end, the keys and the answers that are sent. Empty is all.
	Where string
	// Steps change the rows that Where leaves, in order; none of them keeps state. The first takes Schema. The output does not close them.
	Steps []operators.Step
	// BatchRows is the most rows of a batch of the steps, 0 for no other bound than the output's own. PlainPool keeps their batches in memory
	// that sandboxes do not see.
	BatchRows int
	PlainPool bool
	// Send sends messages and waits until they are there for sure.
	Send func(ctx context.Context, messages []kafka.Message) error
	Log  *slog.Logger
}

// Aggregate is an answer.
type Aggregate struct {
	*aggregate.Aggregate
	Name string
	Omit bool // its answer is not sent
}

// Schema is what Where is about, and what goes into the steps: window_start, window_end, keys, fullColumn where there is Full, and answers.
func (c *Config) Schema() *batch.Schema {
	s := &batch.Schema{Fields: append([]batch.Field{}, c.Rows.Fields[:2]...)}
	s.Fields = append(s.Fields, c.Rows.Fields[firstKey:firstKey+c.Keys]...)
	if c.Full > 0 {
		s.Fields = append(s.Fields, batch.Field{Name: fullColumn, Type: batch.Type{Kind: batch.Bool}})
	}
	for _, a := range c.Aggregates {
		if !a.Omit {
			s.Fields = append(s.Fields, batch.Field{Name: a.Name, Type: a.Type, Nullable: a.Nullable})
		}
	}
	return s
}

const (
	rowsColumn = 2 // how many rows the window has
	firstKey   = 3
	// fullColumn is whether a window is full, or ended before it was.
	fullColumn = "_full"
)

// keys are how many keys are in the key of a record.
func (c *Config) keys() int {
	if c.Full > 0 {
		return c.Keys - 1
	}
	return c.Keys
}

// Output is safe for concurrent use.
type Output struct {
	cfg    Config
	schema *batch.Schema
	where  *expr.Program // nil: all
	steps  *steps        // nil: none. Set by Open.

	sent, left, rejected, failures atomic.Int64

	mu  sync.Mutex
	err error // guarded by mu: why the last attempt failed; nil once one did not
}

// New makes an output.
func New(cfg Config) (*Output, error) {
	o := &Output{cfg: cfg, schema: cfg.Schema()}
	for _, a := range cfg.Aggregates {
		if a.Omit {
			continue
		}
		if err := a.CheckAnswer(); err != nil {
			return nil, fmt.Errorf("aggregate %s: %w", a.Name, err)
		}
	}
	if cfg.Where != "" {
		var err error
		if o.where, err = expr.CompileFilter(cfg.Where, o.schema); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// Open makes instances of the steps. An output without steps need not be opened.
func (o *Output) Open(ctx context.Context) (err error) {
	if len(o.cfg.Steps) > 0 {
		o.steps, err = openSteps(ctx, &o.cfg)
	}
	return err
}

// Close frees what Open made. The steps themselves are the caller's to close, afterwards. Closing twice is fine.
func (o *Output) Close() error {
	if o.steps == nil {
		return nil
	}
	return o.steps.close()
}

// Rest has the instances of the steps give up their sandboxes, where no window came for so long: the next ones make them anew. It waits for nobody.
func (o *Output) Rest(idle time.Duration) {
	if o.steps != nil {
		o.steps.rest(idle)
	}
}

// Window is where rows are from.
type Window struct {
	Partition batch.Partition
	Revision  string
	Segment   uint64
	Start     int64 // the first offset of the segment
	Version   int64 // the offset up to which the partition was read
}

// atOnce is how many windows are sent at a time.
const atOnce = 1000

// Send sends the windows of which rows are, and waits until that is done for sure: it tries again until ctx ends. Other errors are about
// the rows.
func (o *Output) Send(ctx context.Context, from *Window, rows *batch.Batch) error {
	finished, err := o.finish(rows)
	if err != nil {
		return fmt.Errorf("finish windows for topic %s: %w", o.cfg.Topic, err)
	}
	keep := make([]int32, 0, rows.Rows)
	if o.where != nil {
		eval := o.where.NewEvaluator()
		keep = eval.Filter(finished, keep)
		if f := eval.Failures(); len(f) > 0 { // such a window is sent nowhere: its condition is not true
			o.cfg.Log.Warn("a condition cannot be computed of a window, which is not sent", "topic", o.cfg.Topic, "error", f[0].Text, "windows", len(f))
		}
	} else {
		for i := range rows.Rows {
			keep = append(keep, int32(i))
		}
	}
	o.left.Add(int64(rows.Rows - len(keep)))
	for len(keep) > 0 {
		var messages []kafka.Message
		n := min(len(keep), atOnce)
		if o.steps == nil {
			for _, row := range keep[:n] {
				messages = append(messages, o.message(from, finished, int(row), finished, int(row), 0))
			}
		} else {
			n = min(n, o.steps.rows)
			if messages, err = o.step(ctx, from, finished, keep[:n]); err != nil {
				return err
			}
		}
		for len(messages) > 0 { // a step can make more of them
			some := messages[:min(len(messages), atOnce)]
			if err := o.deliver(ctx, some); err != nil {
				return err
			}
			messages = messages[len(some):]
		}
		keep = keep[n:]
	}
	return nil
}

// step makes messages of what the steps make of rows of finished windows.
func (o *Output) step(ctx context.Context, from *Window, finished *batch.Batch, rows []int32) ([]kafka.Message, error) {
	var messages []kafka.Message
	nth := map[int32]int{} // rows so far by window
	dropped, rejected, err := o.steps.run(ctx, from.Partition, finished, rows, func(b *batch.Batch) {
		for i, window := range b.Origin {
			messages = append(messages, o.message(from, finished, int(window), b, i, nth[window]))
			nth[window]++
		}
	})
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", o.cfg.Topic, err)
	}
	o.left.Add(dropped)
	o.rejected.Add(rejected)
	return messages, nil
}

// The times between two attempts.
const (
	firstWait = 100 * time.Millisecond
	longWait  = 5 * time.Second
)

// deliver sends messages until they are there.
func (o *Output) deliver(ctx context.Context, messages []kafka.Message) error {
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		err := o.cfg.Send(ctx, messages)
		if ctx.Err() != nil && err != nil {
			return errors.Join(ctx.Err(), err)
		}
		o.mu.Lock()
		news := err != nil && (o.err == nil || o.err.Error() != err.Error())
		o.err = err
		o.mu.Unlock()
		if err == nil {
			o.sent.Add(int64(len(messages)))
			return nil
		}
		o.failures.Add(1)
		if news {
			o.cfg.Log.Warn("windows that are final could not be sent; trying again", "topic", o.cfg.Topic, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// finish makes answers of states.
func (o *Output) finish(rows *batch.Batch) (*batch.Batch, error) {
	if !rows.Schema.Equal(o.cfg.Rows) {
		return nil, fmt.Errorf("the rows have the columns %s, and not %s", rows.Schema, o.cfg.Rows)
	}
	b := &batch.Batch{Schema: o.schema, Rows: rows.Rows}
	b.SetWidth(len(o.schema.Fields))
	at := copy(b.Cols, rows.Cols[:2])
	at += copy(b.Cols[at:], rows.Cols[firstKey:firstKey+o.cfg.Keys])
	if o.cfg.Full > 0 {
		full := batch.Column{Values: make([]byte, batch.BitmapLen(rows.Rows))}
		for i, n := range batch.As[uint64](rows.Cols[rowsColumn].Values)[:rows.Rows] {
			if n >= o.cfg.Full {
				batch.SetBit(full.Values, i)
			}
		}
		b.Cols[at] = full
		at++
	}
	states := rows.Cols[firstKey+o.cfg.Keys:]
	for _, a := range o.cfg.Aggregates {
		if !a.Omit {
			var err error
			if b.Cols[at], err = a.Answers(states[:len(a.States)], rows.Rows); err != nil {
				return nil, fmt.Errorf("aggregate %s: %w", a.Name, err)
			}
			at++
		}
		states = states[len(a.States):]
	}
	return b, nil
}

// recordSource is the end of a record's value.
type recordSource struct {
	Site      string `json:"_site"`
	Node      string `json:"_node"`
	Pipeline  string `json:"_pipeline"`
	Revision  string `json:"_revision"`
	Topic     string `json:"_topic"`
	Partition int32  `json:"_partition"`
	Segment   uint64 `json:"_segment"`
	Version   int64  `json:"_version"`
}

// SourceNames are the members of a record's value that say where it is from. No column that is sent may have the name of one.
func SourceNames() []string {
	t := reflect.TypeFor[recordSource]()
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get("json")
	}
	return names
}

// message is the record of the nth row that a window, a row of finished, has become: row of b. It keeps nothing of them.
func (o *Output) message(from *Window, finished *batch.Batch, window int, b *batch.Batch, row, nth int) kafka.Message {
	var m kafka.Message
	m.Key = o.columns([]byte{'{'}, finished, 2, 2+o.cfg.keys(), window)
	m.Key = append(m.Key, '}')
	v := o.columns([]byte{'{'}, b, 0, len(b.Cols), row)
	source, err := json.Marshal(recordSource{
		o.cfg.Site, o.cfg.Node, o.cfg.Pipeline, from.Revision, from.Partition.Topic, from.Partition.ID, from.Segment, from.Version,
	})
	if err != nil {
		panic("output: encode the source of a window: " + err.Error()) // texts and numbers
	}
	source[0] = ','
	m.Value = append(v, source...)
	m.Headers = []kafka.Header{{Key: "weir-id", Value: o.id(from, finished, window, nth)}, {Key: "weir-version", Value: strconv.FormatInt(from.Version, 10)}}
	return m
}

// columns appends columns of a row as members of a JSON object.
func (o *Output) columns(dst []byte, b *batch.Batch, lo, hi, row int) []byte {
	for c := lo; c < hi; c++ {
		if c > lo {
			dst = append(dst, ',')
		}
		dst = append(strconv.AppendQuote(dst, b.Schema.Fields[c].Name), ':')
		dst = batch.AppendCellJSON(dst, b.Schema.Fields[c].Type, &b.Cols[c], row)
	}
	return dst
}

// id is the same for all copies of the record of a window and key of a segment, and for no other: a hash of what they are known by. Where
// steps make several rows of a window, each has its own.
func (o *Output) id(from *Window, b *batch.Batch, row, nth int) string {
	h := fnv.New128a()
	write := func(v []byte) {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(v)))
		_, _ = h.Write(n[:])
		_, _ = h.Write(v)
	}
	for _, text := range []string{o.cfg.Site, o.cfg.Pipeline, from.Revision, from.Partition.Topic} {
		write([]byte(text))
	}
	write(from.Partition.TopicID[:])
	write(strconv.AppendInt(nil, int64(from.Partition.ID), 10))
	write(strconv.AppendUint(nil, from.Segment, 10))
	write(strconv.AppendInt(nil, from.Start, 10))
	for c := range 2 + o.cfg.Keys {
		col, t := &b.Cols[c], b.Schema.Fields[c].Type
		switch {
		case !col.Valid(row):
			write([]byte{0})
		case t.Variable():
			write([]byte{1})
			write(col.Bytes(row)) // as a whole: in JSON long ones are cut
		default:
			write(batch.AppendCellJSON([]byte{1}, t, col, row))
		}
	}
	if nth > 0 {
		write(strconv.AppendInt(nil, int64(nth), 10))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Status is how an output does.
type Status struct {
	Topic string
	// Sent counts records that were sent, one a window where no step makes more of it. Left counts windows that the condition is not true of,
	// or that a step left out, and Rejected those that a step cannot handle; Failures are attempts.
	Sent, Left, Rejected, Failures int64
	Err                            error        // why the last attempt failed, or nil
	Steps                          []StepStatus // of its own
}

// Status is how the output does.
func (o *Output) Status() Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := Status{
		Topic: o.cfg.Topic, Sent: o.sent.Load(), Left: o.left.Load(), Rejected: o.rejected.Load(), Failures: o.failures.Load(), Err: o.err,
	}
	if o.steps != nil {
		st.Steps = o.steps.status()
	}
	return st
}
