package window

import (
	"errors"
	"fmt"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/aggregate"
)

// Widening implements operators.Widening for the windows of a configuration. It is immutable.
type Widening struct {
	cfg                    *Config
	schema                 *batch.Schema
	size, offset, coarsest int64 // milliseconds
}

var _ operators.Widening = (*Widening)(nil)

// MaxWidth is how wide a window can be made: what ClickHouse has of its width is 32 bits of milliseconds.
const MaxWidth = 31 * 24 * time.Hour

// NewWidening merges windows of a configuration until they are so wide. The error is of why they cannot be merged; [Config.Widens]
// names the aggregate.
func NewWidening(cfg *Config, coarsest time.Duration) (*Widening, error) {
	if err := cfg.Widens(); err != nil {
		return nil, err
	}
	if coarsest < 2*cfg.Size || coarsest > MaxWidth {
		return nil, fmt.Errorf("windows of %v cannot be made %v wide: at least twice as wide, and at most %v", cfg.Size, coarsest, MaxWidth)
	}
	return &Widening{
		cfg: cfg, schema: cfg.Schema(), size: cfg.Size.Milliseconds(), offset: cfg.Offset.Milliseconds(), coarsest: coarsest.Milliseconds(),
	}, nil
}

// Widens tells why windows of the configuration cannot be merged into wider ones, or nil.
func (c *Config) Widens() error {
	switch {
	case c.Calendar != nil:
		return errors.New("windows of the calendar cannot be merged: they are not of one length")
	case c.Gap > 0:
		return errors.New("sessions cannot be merged into wider windows")
	case c.overlap() > 1:
		return errors.New("windows that overlap cannot be merged: a row is in several of them")
	case c.MaxKeys > 0:
		return errors.New("windows with max_keys cannot be merged: a key may be kept apart in one of them, and not in the other")
	}
	for _, a := range c.Aggregate {
		if !a.CanMerge() {
			return &UnmergedError{Aggregate: a.Name}
		}
	}
	return nil
}

// UnmergedError says that the states of an aggregate cannot be merged at the node: its code is the user's.
type UnmergedError struct{ Aggregate string }

// Error implements error.
func (e *UnmergedError) Error() string {
	return fmt.Sprintf("aggregate %s is a module's, and nodes do not merge the states of those", e.Aggregate)
}

// Size implements operators.Widening.
func (w *Widening) Size() int64 { return w.size }

// Coarsest implements operators.Widening.
func (w *Widening) Coarsest() int64 { return w.coarsest }

// Start implements operators.Widening.
func (w *Widening) Start(at, width int64) int64 { return floorTo(at-w.offset, width) + w.offset }

// Merge implements operators.Widening. All aggregates come to what they would be of all rows together, but that an order
// among rows of several windows is one of the windows, and not that of the log.
//
// Windows are merged in pairs, then pairs of these, so that sums of floats are rounded alike whatever was merged before.
func (w *Widening) Merge(rows []*batch.Batch, width int64) (*batch.Batch, error) {
	to := 2 * w.size
	for ; ; to *= 2 {
		m := merger{w: w, width: to}
		m.groups.init(w.cfg)
		m.groups.cols = m.groups.columnsFrom(firstKey) // the keys stand elsewhere in the rows of a cut than in what is aggregated
		for _, b := range rows {
			if err := m.add(b, width); err != nil {
				return nil, err
			}
		}
		switch b := m.rows(); {
		case b == nil:
			return nil, nil
		case to == width:
			return b, nil
		case to > width:
			return nil, fmt.Errorf("windows of %v are not made %v wide by doubling them", w.cfg.Size, time.Duration(width)*time.Millisecond)
		default:
			rows = []*batch.Batch{b}
		}
	}
}

// merger is a merge under way: rows come window by window, so that one wide window at a time takes any.
type merger struct {
	w      *Widening
	width  int64
	groups groups
	index  index
	start  int64 // of the wide window that index is of
	begun  bool
	// The groups in the order of the rows that come out, with the window of each.
	ids          []uint32
	starts, ends []int64
	rowOf        []uint32
}

// add takes rows in. No window may be wider than most; those that are wider than the merge makes them stay as they are.
func (m *merger) add(b *batch.Batch, most int64) error {
	if !b.Schema.Equal(m.w.schema) {
		return fmt.Errorf("rows to merge have the columns %s, and the window has %s", b.Schema, m.w.schema)
	}
	gs := &m.groups
	gs.hash(b)
	starts, ends, counts := batch.As[int64](b.Cols[0].Values), batch.As[int64](b.Cols[1].Values), batch.As[uint64](b.Cols[2].Values)
	m.rowOf = grow(m.rowOf, b.Rows)
	for i := range b.Rows {
		start := m.w.Start(starts[i], m.width)
		end := start + m.width
		if wide := ends[i] - starts[i]; wide > m.width && wide <= most && m.w.Start(starts[i], wide) == starts[i] {
			start, end = starts[i], ends[i]
		}
		if ends[i] > end || ends[i] <= starts[i] {
			return fmt.Errorf("a window from %s to %s is not part of one of %v", formatTime(starts[i]*1000), formatTime(ends[i]*1000), time.Duration(most)*time.Millisecond)
		}
		if !m.begun || start != m.start {
			if m.begun && start < m.start {
				return fmt.Errorf("windows to merge are not in order: one of %s comes behind one of %s", formatTime(starts[i]*1000), formatTime(m.start*1000))
			}
			m.begun, m.start = true, start
			clear(m.index.slots)
			m.index.n = 0
		}
		before := m.index.n
		g, _ := gs.find(&m.index, b, i)
		if m.index.n > before {
			m.ids, m.starts, m.ends = append(m.ids, g), append(m.starts, start), append(m.ends, end)
		}
		*gs.rows(g) += counts[i] &^ isDirty
		m.rowOf[i] = g
	}
	col := firstKey + len(m.w.cfg.Keys)
	for i, a := range m.w.cfg.Aggregate {
		if err := gs.acc[i].(aggregate.Mergeable).Merge(m.rowOf, b.Cols[col:col+len(a.States)]); err != nil {
			return fmt.Errorf("merge windows: the state of %s: %w", a.Name, err)
		}
		col += len(a.States)
	}
	return nil
}

// rows are the wide windows, or nil where there was none.
func (m *merger) rows() *batch.Batch {
	n := len(m.ids)
	if n == 0 {
		return nil
	}
	rows := make([]uint64, n)
	for i, g := range m.ids {
		rows[i] = m.groups.count(g)
	}
	return m.groups.emit(m.w.schema, m.w.cfg, m.ids, m.starts, m.ends, rows)
}
