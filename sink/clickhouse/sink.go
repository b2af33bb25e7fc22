package clickhouse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/weir-stream/weir/edge-node/failpoint"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// Sink stores the cuts of one pipeline. Its methods may be called at the same time; writes take turns.
type Sink struct {
	cfg    Config
	table  sink.Table
	schema *batch.Schema // of a cut's rows
	layout *layout
	conn   driver.Conn
	user   string // that the server knows
	log    *slog.Logger

	mu      sync.Mutex // one Write at a time; guards what follows
	scratch scratch
	opened  map[segmentKey]bool // segments that have a coverage row for sure

	revisions revisions

	revision atomic.Uint64 // the server's protocol revision; 0 until it is known
}

// segmentKey is a segment's identity within a site and pipeline.
type segmentKey struct {
	partition batch.Partition
	rev, seg  uint64
}

var (
	_ sink.Sink       = (*Sink)(nil)
	_ sink.UsageStore = (*Sink)(nil)
)

// New makes a sink for the answers of a pipeline. It connects to nothing yet.
func New(cfg Config, table sink.Table, log *slog.Logger) (*Sink, error) {
	cfg, opt, err := cfg.options()
	if err != nil {
		return nil, err
	}
	if err := checkTable(&table); err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(opt)
	if err != nil {
		return nil, fmt.Errorf("configure the ClickHouse client: %w", withoutURL(err, cfg.URL))
	}
	return &Sink{
		cfg: cfg, table: table, schema: table.Schema(), layout: newLayout(cfg, &table),
		conn: conn, user: cmp.Or(opt.Auth.Username, defaultUser), log: log, opened: map[segmentKey]bool{}, revisions: revisions{known: map[uint64]*describedRevision{}},
	}, nil
}

// Close ends the connections. Closing twice is fine.
func (s *Sink) Close() error { return s.conn.Close() }

// Write stores cuts; see sink.Sink. It borrows the cuts until it returns. The deadlines of Config hold for every
// statement, also where ctx has none.
func (s *Sink) Write(ctx context.Context, cuts []*sink.Cut) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.scratch.clear()

	w := &write{Sink: s, cuts: cuts, rejected: map[int]sink.RejectedCut{}}
	if err := w.run(ctx); err != nil {
		return s.explain(ctx, err)
	}
	return w.rejects()
}

// write is one call of Write.
type write struct {
	*Sink
	cuts     []*sink.Cut
	rejected map[int]sink.RejectedCut // by index in cuts
	accepted bool                     // whether the server has taken any row
	refusals int                      // inserts the server refused for their content
}

func (w *write) run(ctx context.Context) error {
	for i, c := range w.cuts {
		if row, err := w.checkCut(c); err != nil {
			w.reject(i, c.Rows, row, err)
		}
	}
	if err := w.describe(ctx); err != nil {
		return err
	}
	if err := w.openSegments(ctx); err != nil {
		return err
	}
	if err := w.insertStates(ctx); err != nil {
		return err
	}
	for i, c := range plan(w.cuts, w.skip(), w.cfg.MaxInsertRows, w.cfg.MaxInsertDays) {
		if i > 0 {
			failpoint.Hit(failpoint.InsertBlock)
		}
		if err := w.insertRows(ctx, c); err != nil {
			return err
		}
	}
	failpoint.Hit(failpoint.InsertRows)
	if err := w.insertDeadLetters(ctx); err != nil {
		return err
	}
	failpoint.Hit(failpoint.InsertLetters)
	var coverage []sink.Coverage
	for i, c := range w.cuts {
		if _, rejected := w.rejected[i]; !rejected && !c.Partial {
			coverage = append(coverage, c.Coverage)
		}
	}
	if err := w.insertCoverage(ctx, coverage); err != nil {
		return err
	}
	failpoint.Hit(failpoint.InsertCoverage)
	return nil
}

// checkCut finds what could not be stored as it is, before anything is sent: row is the row at fault, or -1.
func (s *Sink) checkCut(c *sink.Cut) (row int, err error) {
	if c.Coverage.Version < 0 || c.Coverage.Partition.ID < 0 {
		return -1, fmt.Errorf("version %d or the partition is negative", c.Coverage.Version)
	}
	b := c.Rows
	if b == nil || b.Rows == 0 {
		return 0, nil
	}
	if !b.Schema.Equal(s.schema) || len(b.Cols) != len(s.schema.Fields) {
		return -1, fmt.Errorf("the rows have the columns (%s), and the table has (%s)", b.Schema, s.schema)
	}
	for i := range b.Cols {
		if row, err := checkColumn(s.schema.Fields[i], &b.Cols[i], b.Rows); err != nil {
			return row, err
		}
	}
	return 0, nil
}

// maxRowText bounds how much of a refused row an error shows.
const maxRowText = 300

func (w *write) reject(index int, rows *batch.Batch, row int, err error) {
	if _, known := w.rejected[index]; known {
		return
	}
	r := sink.RejectedCut{Index: index, Err: fmt.Errorf("%s: %w", w.cuts[index].Coverage.Partition, err)}
	if rows != nil && row >= 0 && rows.Schema.Equal(w.schema) {
		text := rows.RowJSON(row)
		r.Row = string(text[:min(len(text), maxRowText)])
	}
	w.rejected[index] = r
}

func (w *write) skip() map[int]bool {
	skip := make(map[int]bool, len(w.rejected))
	for i := range w.rejected {
		skip[i] = true
	}
	return skip
}

// rejects is the error that names the rejected cuts, or nil.
func (w *write) rejects() error {
	if len(w.rejected) == 0 {
		return nil
	}
	r := &sink.Rejected{}
	for i := range w.cuts {
		if c, ok := w.rejected[i]; ok {
			r.Cuts = append(r.Cuts, c)
		}
	}
	err := fmt.Errorf("store in %s: %w", qualified(w.cfg.Database, w.layout.partials().name), r)
	if w.refusals > 1 && !w.accepted {
		// Not one row was taken: that is the table's doing and not the rows'.
		return &sink.Error{
			Class: sink.Stop, Err: err,
			Hint: "the server refuses every row: look at the constraints of the table and at the columns' types",
		}
	}
	return &sink.Error{
		Class: sink.Reject, Err: err,
		Hint: "the values cannot be stored: change the pipeline so that they do not arise (filter or map them), or the table",
	}
}

// openSegments writes a coverage row of nothing for every segment that has none yet, before its first rows. So rows
// without coverage do not exist, and a reader of coverage finds every segment even if this process ends in between.
func (w *write) openSegments(ctx context.Context) error {
	var first []sink.Coverage
	for i, c := range w.cuts {
		k := keyOf(c.Coverage)
		if _, rejected := w.rejected[i]; rejected || w.opened[k] || c.Rows == nil || c.Rows.Rows == 0 {
			continue
		}
		began := sink.Began{Watermark: sink.MinWatermark, Final: sink.MinWatermark}
		if c.Coverage.Began != nil {
			began = *c.Coverage.Began
		}
		first = append(first, sink.Coverage{
			Partition: c.Coverage.Partition, Revision: c.Coverage.Revision, Segment: c.Coverage.Segment,
			Start: c.Coverage.Start, Version: c.Coverage.Start, Watermark: began.Watermark, Final: began.Final,
			Gap: c.Coverage.Gap, Lost: c.Coverage.Lost, GapReason: c.Coverage.GapReason, Content: sink.Content{Known: c.Coverage.Content.Known},
			Epoch: c.Coverage.Epoch,
		})
	}
	if err := w.insertCoverage(ctx, first); err != nil {
		return err
	}
	if len(first) > 0 {
		failpoint.Hit(failpoint.InsertOpen)
	}
	return nil
}

func keyOf(c sink.Coverage) segmentKey { return segmentKey{c.Partition, c.Revision, c.Segment} }

// maxRefusals bounds how many inserts are spent on finding refused rows. What is not found by then is rejected by cut.
const maxRefusals = 64

// insertRows stores a chunk. Where the server refuses it for its content, the chunk is halved until the rows at fault
// stand alone: the others are stored, and the cuts of the refused ones are rejected.
func (w *write) insertRows(ctx context.Context, c chunk) error {
	err := w.insertChunk(ctx, c)
	if err == nil {
		w.accepted = true
		return nil
	}
	var e *sink.Error
	if !errors.As(err, &e) || e.Class != sink.Reject {
		return err
	}
	w.refusals++
	if c.rows() == 1 || w.refusals >= maxRefusals {
		for _, p := range c {
			row := -1
			if p.rows.Rows == 1 {
				row = 0
			}
			w.reject(p.index, p.rows, row, e.Err)
		}
		return nil
	}
	a, b := c.split()
	if err := w.insertRows(ctx, a); err != nil {
		return err
	}
	return w.insertRows(ctx, b)
}

func (w *write) insertChunk(ctx context.Context, c chunk) error {
	def := w.layout.partials()
	columns := append(w.schema.Names(), "_site", "_pipeline", "_rev", "_topic", "_topic_id", "_partition", "_segment", "_version", "_node", "_shipped", "_width")
	if w.table.Sessions {
		columns = append(columns, openColumn)
	}
	tok := newToken(qualified(w.cfg.Database, def.name))
	for _, p := range c {
		cov := &p.cut.Coverage
		tok.source(w.table.Site, w.table.Pipeline, cov.Partition, cov.Revision, cov.Segment, cov.Version)
		for i, f := range w.schema.Fields {
			tok.column(f, &p.rows.Cols[i], p.rows.Rows)
		}
	}
	return w.insert(ctx, def, columns, tok, c.rows(), func(b driver.Batch) error {
		for _, p := range c {
			for i, f := range w.schema.Fields {
				if err := w.scratch.appendColumn(b.Column(i), f, &p.rows.Cols[i], p.rows.Rows); err != nil {
					return fmt.Errorf("column %s: %w", f.Name, err)
				}
			}
			cov, n, at := &p.cut.Coverage, p.rows.Rows, len(w.schema.Fields)
			if err := errors.Join(
				w.scratch.repeatText(b.Column(at), w.table.Site, n),
				w.scratch.repeatText(b.Column(at+1), w.table.Pipeline, n),
				repeat(b.Column(at+2), cov.Revision, n),
				w.scratch.repeatText(b.Column(at+3), cov.Partition.Topic, n),
				repeat(b.Column(at+4), uuid.UUID(cov.Partition.TopicID), n),
				repeat(b.Column(at+5), uint32(cov.Partition.ID), n),
				repeat(b.Column(at+6), cov.Segment, n),
				repeat(b.Column(at+7), uint64(cov.Version), n),
				w.scratch.repeatText(b.Column(at+8), w.table.Node, n),
				w.scratch.repeatText(b.Column(at+9), shipped(p), n),
				b.Column(at+10).Append(widths(p)),
			); err != nil {
				return err
			}
			if w.table.Sessions {
				if err := b.Column(at + 11).Append(open(p)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// open tells of the windows of a part whether they are not final yet.
func open(p part) []bool {
	of := make([]bool, p.rows.Rows)
	for i, end := range batch.As[int64](p.rows.Cols[1].Values)[:p.rows.Rows] {
		of[i] = end*1000 > p.cut.Coverage.Final
	}
	return of
}

// shipped is how the rows of a part came.
func shipped(p part) string {
	if p.cut.Backlog {
		return "backlog"
	}
	return "live"
}

// widths are those of the windows that others were merged into, and 0 for others.
func widths(p part) []uint32 {
	w := make([]uint32, p.rows.Rows)
	spans := p.cut.Coverage.Spans
	if len(spans) == 0 {
		return w
	}
	ends := batch.As[int64](p.rows.Cols[1].Values)
	for i, start := range windowStarts(p.rows) {
		if spans.Coarse(start, ends[i]) {
			w[i] = uint32(ends[i] - start)
		}
	}
	return w
}

// insert runs one INSERT of a single block. Errors are *sink.Error.
func (s *Sink) insert(ctx context.Context, def *tableDef, columns []string, tok *token, rows int, fill func(driver.Batch) error) error {
	table := qualified(s.cfg.Database, def.name)
	op := fmt.Sprintf("insert %d rows into %s", rows, table)
	ctx, stop := bound(ctx, s.cfg.InsertTimeout)
	defer stop()
	settings, err := s.insertSettings(tok)
	if err != nil {
		return s.classify(op, err)
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(settings))
	b, err := s.conn.PrepareBatch(ctx, fmt.Sprintf("INSERT INTO %s (%s)", table, idents(columns)))
	if err != nil {
		return s.classify(op, err)
	}
	if err := fill(b); err != nil {
		_ = b.Abort()
		return s.classify(op, err)
	}
	// Here and not before: the process may have been stopped anywhere above.
	if s.cfg.Lease != nil && def.name != usageTable && !s.cfg.Lease.Held() {
		_ = b.Abort()
		return &sink.Error{Class: sink.Retry, Err: fmt.Errorf("%s: %w", op, sink.ErrLease)}
	}
	return s.classify(op, b.Send())
}

// stringSettingsRevision is the protocol revision from which servers take settings that are text.
const stringSettingsRevision = 54429

// insertSettings are the settings of an insert. async_insert is off: an asynchronous insert is acknowledged, squashed
// and deduplicated by rules that differ from version to version.
func (s *Sink) insertSettings(tok *token) (clickhouse.Settings, error) {
	revision := s.revision.Load()
	if revision == 0 {
		v, err := s.conn.ServerVersion()
		if err != nil {
			return nil, err
		}
		revision = v.Revision
		s.revision.Store(revision)
	}
	if revision < stringSettingsRevision {
		return clickhouse.Settings{}, nil
	}
	return clickhouse.Settings{"async_insert": 0, "insert_deduplication_token": tok.String() + s.cfg.InsertTag, "receive_timeout": max(1, int(s.cfg.ReceiveTimeout/time.Second))}, nil
}

// query runs a SELECT and calls row for each row of the answer. Errors are *sink.Error.
func (s *Sink) query(ctx context.Context, op, sql string, row func(driver.Rows) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	rows, err := s.conn.Query(ctx, sql)
	if err != nil {
		return s.classify(op, err)
	}
	defer rows.Close() //nolint:errcheck // Err below has what matters
	for rows.Next() {
		if err := row(rows); err != nil {
			return s.classify(op, err)
		}
	}
	return s.classify(op, rows.Err())
}

// exec runs a statement without an answer. Errors are *sink.Error.
func (s *Sink) exec(ctx context.Context, op, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	return s.classify(op, s.conn.Exec(ctx, sql))
}

// clampMillis is a time as ClickHouse can hold it. It is for times that only inform.
func clampMillis(t time.Time) time.Time {
	if t.Before(minTime) {
		return minTime
	}
	if t.After(maxTime) {
		return maxTime
	}
	return t
}
