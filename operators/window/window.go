// Package window aggregates rows in event-time windows, one partition at a time. What follows is about all windows but [Sessions] and [Counted], which
// have rules of their own.
//
// The rules, for a row with event time t, window size S, a window beginning every E, and the watermark W of its partition before
// the row:
//
//	windows    [start, start+S) that hold t, each start a multiple of E from the offset on, counted from
//	           1970-01-01T00:00:00Z. Tumbling windows have E = S, so that there is one; hopping ones overlap.
//	           Or the day, week or month of a time zone that holds t; then S is what that one takes
//	late       start+S + allowed lateness <= W: the window is final. A row is late where all its windows are
//	future     t > M + max_jump, where M is the greatest event time so far: see [Config.MaxJump]
//	watermark  after the row, W = M - max_out_of_order
//	final      start+S + allowed lateness <= W: the window takes no more rows
//
// W, and with it every decision, is a function of the rows in offset order alone. It does not depend on how rows were
// cut into batches, when they arrived, or what time it is. A replay therefore gives the same rows.
//
// A row that is taken into n windows counts as aggregated n times, and as n-1 rows that were added (Batch.Expanded).
//
// The engine owns one Tumbling, Sessions or Counted per lane, adds batches, and takes a [Cut] whenever it ships.
package window

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/aggregate"
	"github.com/weir-stream/weir/operators/calendar"
)

// corroboration is how many rows in a row must lie beyond max_jump, near each other, before the stream is believed to
// have moved there.
const corroboration = 64

// The event times that every destination can store: years 1900 to 2299, in microseconds since 1970.
const (
	minTime = -2_208_988_800_000_000
	maxTime = 10_413_791_999_999_999
)

// Config plans a window. It is immutable once used.
type Config struct {
	In       *batch.Schema
	Time     int // column of the event time, a timestamp
	Size     time.Duration
	Every    time.Duration      // how far apart windows begin; 0 is Size
	Offset   time.Duration      // how long after a multiple of Every they begin
	Calendar *calendar.Calendar // windows are its units, and Size, Every and Offset are 0; or nil
	// Gap makes windows the sessions of each key: rows less than Gap apart are in one. A session is in one of the stretches of Size that
	// begin at multiples of it, Offset later. 0 is no sessions.
	Gap time.Duration
	// Count makes windows of so many rows of a key, which end Size behind their first row at the latest; or nil. See [NewNumbering].
	Count     *Count
	Keys      []int // columns to group by, in the order of the output
	Aggregate []Aggregate
	// MaxKeys is how many keys a window of a partition keeps apart: the first in the log. Rows of others count in one group, whose
	// key is zeroes, empty texts and nulls, and whose Overflow is true. 0 is no limit.
	MaxKeys int

	MaxOutOfOrder   time.Duration
	AllowedLateness time.Duration
	// MaxJump guards the watermark against clocks that run ahead; 0 is off. A row beyond M + MaxJump is rejected as
	// "future" unless the timestamp of its Kafka record is within MaxJump of it too, or 64 rows in sequence lie
	// within MaxJump of each other.
	MaxJump time.Duration
	// EmitFinal has cuts give the windows that they close as a whole, beside what changed.
	EmitFinal bool
	// LateRows keeps late rows as rejects; without it they are only counted.
	LateRows bool
}

// Aggregate is one aggregate of a window.
type Aggregate struct {
	*aggregate.Aggregate
	Name string
	Args []int // columns
	// Filtered says that only rows are taken whose Filter, a bool column, is true.
	Filtered bool
	Filter   int

	// Stop makes a row on which the program fails an error, instead of a reject.
	Stop bool
}

// Validate finds what no window can be made of.
func (c *Config) Validate() error {
	switch {
	case c.Calendar != nil && (c.Size != 0 || c.Every != 0 || c.Offset != 0):
		return errors.New("windows of the calendar have no size, every or offset")
	case c.Calendar != nil && (c.Calendar.Zone == nil || c.Calendar.Unit < calendar.Day || c.Calendar.Unit > calendar.Month):
		return errors.New("windows of the calendar need a unit and a zone")
	case c.Calendar == nil && (c.Size < time.Millisecond || c.Size%time.Millisecond != 0):
		return fmt.Errorf("a window of %v: the size must be a whole number of milliseconds, at least 1", c.Size)
	case c.Size > 366*24*time.Hour:
		return fmt.Errorf("a window of %v: at most 366 days", c.Size)
	case c.Every < 0 || c.Every > c.Size || c.Every%time.Millisecond != 0:
		return fmt.Errorf("a window of %v every %v: every must be a whole number of milliseconds, and at most the size", c.Size, c.Every)
	case c.every() != c.Size && c.overlap() > MaxOverlap:
		return fmt.Errorf("a window of %v every %v: a row would be in %d windows, and %d are the limit", c.Size, c.Every, c.overlap(), MaxOverlap)
	case c.Offset < 0 || c.Calendar == nil && c.Offset >= c.every() || c.Offset%time.Millisecond != 0:
		return fmt.Errorf("windows that begin %v after each %v: the offset must be a whole number of milliseconds, and less", c.Offset, c.every())
	case c.Gap < 0 || c.Gap%time.Millisecond != 0 || c.Gap > c.Size && c.Gap > 0:
		return fmt.Errorf("sessions with a gap of %v in stretches of %v: the gap must be a whole number of milliseconds, and at most as long", c.Gap, c.Size)
	case c.Count != nil && c.checkCount() != nil:
		return c.checkCount()
	case c.Gap > 0 && c.every() != c.Size:
		return errors.New("sessions have no every: their stretches follow one another")
	case c.Gap > 0 && c.MaxKeys > 0:
		return errors.New("sessions have no max_keys: each is of one key")
	case c.MaxOutOfOrder < 0 || c.AllowedLateness < 0 || c.MaxJump < 0:
		return errors.New("max_out_of_order, allowed_lateness and max_jump must not be negative")
	case c.MaxOutOfOrder > 10*366*24*time.Hour || c.AllowedLateness > 10*366*24*time.Hour || c.MaxJump > 100*366*24*time.Hour:
		return errors.New("max_out_of_order and allowed_lateness can be 10 years at most, max_jump 100")
	case c.In.Fields[c.Time].Type.Kind != batch.Timestamp:
		return fmt.Errorf("the event time must be a timestamp; column %s", c.In.Fields[c.Time])
	case len(c.Aggregate) == 0:
		return errors.New("a window needs at least one aggregate")
	case c.MaxKeys < 0 || c.MaxKeys > math.MaxInt32:
		return fmt.Errorf("max_keys is %d, and must be from 1 to %d", c.MaxKeys, math.MaxInt32)
	case c.MaxKeys > 0 && len(c.Keys) == 0:
		return errors.New("max_keys needs a key: without group_by a window has one row")
	}
	for _, a := range c.Aggregate {
		if c.Gap > 0 && !a.CanMerge() {
			return fmt.Errorf("aggregate %s: those of modules are not in sessions: a node does not merge their states", a.Name)
		}
		if a.Finish == aggregate.Outside && c.overlap() > 1 {
			return fmt.Errorf("aggregate %s: those of modules are not in windows that overlap yet", a.Name)
		}
		if a.Finish == aggregate.Outside && c.MaxKeys > 0 {
			return fmt.Errorf("aggregate %s: those of modules are not in windows with max_keys yet", a.Name)
		}
		if a.Filtered && c.In.Fields[a.Filter].Type.Kind != batch.Bool {
			return fmt.Errorf("the filter of %s must be a bool; column %s", a.Name, c.In.Fields[a.Filter])
		}
	}
	for _, k := range c.Keys {
		if err := CheckKey(c.In.Fields[k]); err != nil {
			return fmt.Errorf("group_by: %w", err)
		}
	}
	return nil
}

// MaxOverlap is how many windows a row can be in.
const MaxOverlap = 1024

// every is how far apart windows begin.
func (c *Config) every() time.Duration {
	if c.Every == 0 {
		return c.Size
	}
	return c.Every
}

// overlap is how many windows a row is in at most.
func (c *Config) overlap() int {
	if c.Calendar != nil {
		return 1
	}
	return int((c.Size + c.every() - 1) / c.every())
}

// Longest is how long windows are, or what none of them is longer than.
func (c *Config) Longest() time.Duration {
	if c.Calendar != nil {
		return c.Calendar.Unit.Longest()
	}
	return c.Size
}

// Undivided tells why the rows of a window and key must not come from two windows that were filled one after the other, each with a part of
// the records, for somebody else to merge in whatever order; empty where that gives what one window would give.
func (c *Config) Undivided() string {
	switch {
	case c.Gap > 0:
		return "a session would be cut in two"
	case c.Count != nil:
		return "windows of so many rows would begin anew"
	case c.MaxKeys > 0:
		return "which keys are beyond max_keys would not follow from the log alone"
	}
	for _, a := range c.Aggregate {
		if a.InOrder() {
			return fmt.Sprintf("the states of aggregate %s, %s, can be merged in the order of the log alone", a.Name, a.Func)
		}
	}
	return ""
}

// CheckKey tells why a column cannot be a key.
func CheckKey(f batch.Field) error {
	if f.Type.Kind == batch.List {
		return fmt.Errorf("%s is a list, %s, and a key has one value: take one in a map step, such as %s[0], or make a row of each with an operator",
			f.Name, f.Type, f.Name)
	}
	return nil
}

// firstKey is the column of the first key in the rows of a cut.
const firstKey = 3

// Schema is what the rows of a cut look like: window_start, window_end, _rows, the keys, then the states of the
// aggregates, named after the aggregate or "name__state" where it has several.
func (c *Config) Schema() *batch.Schema {
	ms := batch.TimestampOf(batch.Millisecond)
	s := &batch.Schema{Fields: []batch.Field{
		{Name: "window_start", Type: ms},
		{Name: "window_end", Type: ms},
		{Name: "_rows", Type: batch.Type{Kind: batch.Uint64}},
	}}
	s.Fields = append(s.Fields, c.KeyFields()...)
	for _, a := range c.Aggregate {
		for _, st := range a.States {
			s.Fields = append(s.Fields, batch.Field{Name: StateName(a.Name, st), Type: st.Type, Nullable: st.Nullable})
		}
	}
	return s
}

// Overflow is the column of the key that is true of the rows whose keys are beyond MaxKeys.
const Overflow = "_overflow"

// KeyFields are the columns of the key in the rows of a cut.
func (c *Config) KeyFields() []batch.Field {
	fields := make([]batch.Field, 0, len(c.Keys)+1)
	for _, k := range c.Keys {
		fields = append(fields, c.In.Fields[k])
	}
	if c.MaxKeys > 0 {
		fields = append(fields, batch.Field{Name: Overflow, Type: batch.Type{Kind: batch.Bool}})
	}
	return fields
}

// StateName is the column name of a state of the named aggregate.
func StateName(aggregateName string, s aggregate.State) string {
	if s.Name == "" {
		return aggregateName
	}
	return aggregateName + "__" + s.Name
}

// Tumbling is the state of one partition's windows, which overlap where they are hopping. One goroutine uses it.
type Tumbling struct {
	partition
	every int64 // microseconds
	open  []*pane
	cur   *pane
	older []overlapping // windows that begin before the newest that holds a row, the newer ones first
	free  []*pane

	external externals // aggregates of the user's

	overflowed int64 // rows of the batch at hand whose keys are beyond the limit
}

// partition is what windows of every kind have of a partition: its clock, the groups, and what the batch at hand needs.
type partition struct {
	cfg              *Config
	schema           *batch.Schema
	size, offset     int64 // microseconds
	ooo, allow, jump int64

	clock   operators.Clock
	entered operators.Clock // that before the records of the batch at hand, of which the first may have been in the one before, too
	settled int64           // windows final by this watermark were shipped whole before a restart: never touch them again

	groups groups
	times  []int64
	rowOf  []uint32 // group per row, or aggregate.Skip

	passing []uint32        // rowOf of the rows that pass a filter
	args    []*batch.Column // of the aggregate at hand
	part    []batch.Column  // of some rows

	hashes  []uint64 // of the rows of a cut; reused
	before  []uint64 // of the rows in whose place they come; reused
	hashBuf []byte
}

// pane is one open window: which of the groups belong to it.
type pane struct {
	start, end int64 // microseconds
	next       int64 // where the next window begins
	index      index
	members    []uint32 // all groups, in order of arrival
	dirty      []uint32 // those that changed since the last cut
	sum        uint64   // of the hashes of all groups as they were at the last cut
	cut        int      // groups that were in the rows of a cut
	offset     int64    // replaying from here, with clock, rebuilds the window
	clock      operators.Clock
	announced  bool
}

// overlapping is the window that begins n times every before the newest that holds a row.
type overlapping struct {
	cur   *pane
	rowOf []uint32
}

// Open makes the state of a partition that has had no row.
func (c *Config) Open() operators.Window {
	switch {
	case c.Gap > 0:
		return newSessions(c)
	case c.Count != nil:
		return newCounted(c)
	}
	return New(c)
}

// OpenInOrder is Open for whoever wants all windows that begin before a time closed by one cut: those that are final by then whatever they
// were, which end Size behind their start at the latest. Nothing is taken back, and cuts have Open.
func (c *Config) OpenInOrder() operators.Window {
	switch {
	case c.Gap > 0:
		s := newSessions(c)
		s.inOrder = true
		return s
	case c.Count != nil:
		w := newCounted(c)
		w.inOrder = true
		return w
	}
	return New(c)
}

// New makes the state of a partition that has had no row, of windows that are not sessions.
func New(cfg *Config) *Tumbling {
	w := &Tumbling{partition: newPartition(cfg), every: cfg.every().Microseconds()}
	w.external.init(cfg)
	w.older = make([]overlapping, cfg.overlap()-1)
	return w
}

func newPartition(cfg *Config) partition {
	w := partition{
		cfg: cfg, schema: cfg.Schema(),
		size: cfg.Size.Microseconds(), offset: cfg.Offset.Microseconds(), ooo: cfg.MaxOutOfOrder.Microseconds(),
		allow: cfg.AllowedLateness.Microseconds(), jump: cfg.MaxJump.Microseconds(),
		clock: operators.Clock{Max: operators.Unset}, settled: operators.Unset,
	}
	w.groups.init(cfg)
	return w
}

// Restore implements operators.Window.
func (w *partition) Restore(at, reached operators.Clock) {
	w.clock, w.settled = at, w.watermark(reached)
}

// Reset implements operators.Window.
func (w *Tumbling) Reset() {
	clock := w.clock
	*w = *New(w.cfg)
	w.clock = clock
}

// Clock implements operators.Window.
func (w *partition) Clock() operators.Clock { return w.clock }

// Watermark implements operators.Window.
func (w *partition) Watermark() int64 { return w.watermark(w.clock) }

func (w *partition) watermark(c operators.Clock) int64 {
	if c.Max == operators.Unset {
		return operators.Unset
	}
	return c.Max - w.ooo
}

// Final implements operators.Window.
func (w *Tumbling) Final() int64 {
	if w.clock.Max == operators.Unset {
		return operators.Unset
	}
	return w.Watermark() - w.allow
}

// Groups implements operators.Window.
func (w *Tumbling) Groups() int { return w.groups.used() }

// Windows implements operators.Window.
func (w *Tumbling) Windows() int { return len(w.open) }

// MemorySize implements operators.Window.
func (w *Tumbling) MemorySize() int64 {
	n := w.groups.memorySize()
	for _, p := range w.open {
		n += 8 * int64(len(p.index.slots)+cap(p.members))
	}
	return n
}

// Dirty implements operators.Window.
func (w *Tumbling) Dirty() int {
	n := 0
	for _, p := range w.open {
		n += len(p.dirty)
	}
	return n
}

// Add implements operators.Window. Rows that are late, have no time, or jump ahead become rejects of the batch, and so do
// those on which an aggregate of the user's fails.
func (w *Tumbling) Add(ctx context.Context, b *batch.Batch, offset int64) (operators.Counts, error) {
	var n operators.Counts
	if !b.Resumed {
		w.entered = w.clock
	}
	if b.Rows == 0 {
		return n, nil // steps do not run on nothing: the columns may be those of an earlier stage
	}
	w.overflowed = 0
	w.times = grow(w.times, b.Rows)
	w.rowOf = grow(w.rowOf, b.Rows)
	lo, hi := w.readTimes(b)
	w.groups.hash(b)
	for j := range w.older {
		w.older[j].rowOf = grow(w.older[j].rowOf, b.Rows)
	}
	placed := false
	if w.allInWindow(lo, hi) {
		w.clock.Max, w.clock.JumpN = max(w.clock.Max, hi), 0
		clear(w.rowOf)
		if len(w.external.of) == 0 { // a few rows at a time, so that what lies in the slab is touched once
			for from := 0; from < b.Rows; from += lookAhead {
				to := min(from+lookAhead, b.Rows)
				w.takeRows(w.cur, b, from, to)
				w.addPlaced(w.rowOf, b, from, to)
			}
			placed = true
		} else {
			w.takeRows(w.cur, b, 0, b.Rows)
		}
		n.Aggregated = int64(b.Rows)
	} else {
		w.placeRows(b, offset, &n)
	}
	if len(w.external.of) > 0 {
		if err := w.fold(ctx, b, &n); err != nil {
			return n, err
		}
	}
	n.Overflowed = w.overflowed
	if !placed {
		w.addPlaced(w.rowOf, b, 0, b.Rows)
	}
	for j := range w.older {
		w.addPlaced(w.older[j].rowOf, b, 0, b.Rows)
	}
	for _, i := range w.groups.apart {
		w.addRows(i, w.rowOf, b, 0, b.Rows)
		for j := range w.older {
			w.addRows(i, w.older[j].rowOf, b, 0, b.Rows)
		}
	}
	return n, nil
}

// allInWindow tells whether rows with times from lo to hi are all in the window at hand, whatever their order: none is late, or jumps ahead.
func (w *Tumbling) allInWindow(lo, hi int64) bool {
	p := w.cur
	return p != nil && len(w.older) == 0 && lo >= p.start && hi < p.next && p.end+w.allow > max(w.clock.Max, hi)-w.ooo &&
		(w.jump == 0 || hi <= w.clock.Max+w.jump)
}

// placeRows takes the rows of a batch, one by one, into the windows that hold them.
func (w *Tumbling) placeRows(b *batch.Batch, offset int64, n *operators.Counts) {
	before, watermark := w.entered, w.Watermark()
	timeCol := &b.Cols[w.cfg.Time]
	var in *pane // the window of the rows from first on that are in one
	first := 0
	for i, t := range w.times {
		w.rowOf[i] = aggregate.Skip
		for j := range w.older {
			w.older[j].rowOf[i] = aggregate.Skip
		}
		if t == operators.Unset {
			w.rejectTime(b, i, timeCol)
			continue
		}
		p := w.cur
		known := p != nil && t >= p.start && t < p.next // mostly: rows of a window come together
		var start, end int64
		if known {
			end = p.end
		} else {
			start, end = w.newest(t)
		}
		if watermark != operators.Unset && end+w.allow <= watermark {
			n.Late++
			w.late(b, i, t, watermark, "its window is final")
			continue
		}
		if w.jump > 0 && !w.plausible(b, i, t) {
			continue
		}
		was := watermark
		if t > w.clock.Max {
			w.clock.Max = t
			watermark = t - w.ooo
		}
		if !known {
			if w.settled != operators.Unset && end+w.allow <= w.settled {
				n.Replayed++ // and already final: it only moves the clock
				continue
			}
			p = w.pane(start, end, offset, before)
			w.cur = p
		}
		if p != in {
			if in != nil {
				w.takeRows(in, b, first, i)
			}
			in, first = p, i
		}
		w.rowOf[i] = 0
		n.Aggregated++
		if len(w.older) > 0 {
			more := w.takeOlder(p.start, t, was, b, i, offset, before)
			n.Aggregated += more
			b.Expanded += more
		}
	}
	if in != nil {
		w.takeRows(in, b, first, b.Rows)
	}
}

// take takes row i into the groups of a window, and gives its group.
func (w *Tumbling) take(p *pane, b *batch.Batch, i int) uint32 {
	g, changed := w.groups.find(&p.index, b, i)
	if changed {
		p.dirty = append(p.dirty, g)
		if p.index.n > len(p.members) { // it is new
			p.members = append(p.members, g)
		}
	}
	*w.groups.rows(g)++
	if w.groups.over != nil && w.groups.over[g] {
		w.overflowed++
	}
	return g
}

// takeOlder takes row i, of time t, into the windows that hold it and begin before start, but for those that are final by the
// watermark before it. It gives how many these are.
func (w *Tumbling) takeOlder(start, t, watermark int64, b *batch.Batch, i int, offset int64, before operators.Clock) int64 {
	n := int64(0)
	for j := range w.older {
		start -= w.every
		end := start + w.size
		if t >= end || watermark != operators.Unset && end+w.allow <= watermark || w.settled != operators.Unset && end+w.allow <= w.settled {
			break // those before end earlier still
		}
		o := &w.older[j]
		if o.cur == nil || o.cur.start != start {
			o.cur = w.pane(start, end, offset, before)
		}
		o.rowOf[i] = w.take(o.cur, b, i)
		n++
	}
	return n
}

// newest is where the newest window that holds a time begins and ends.
func (w *Tumbling) newest(t int64) (start, end int64) {
	if w.cfg.Calendar != nil {
		for _, p := range w.open { // the calendar takes longer to ask
			if t >= p.start && t < p.end {
				return p.start, p.end
			}
		}
		return w.cfg.Calendar.Bounds(t)
	}
	start = floorTo(t-w.offset, w.every) + w.offset
	return start, start + w.size
}

// plausible applies max_jump, and rejects row i if the log does not bear its time out.
func (w *partition) plausible(b *batch.Batch, i int, t int64) bool {
	kafka, known := recordTime(b, i)
	limit := w.clock.Max
	if limit == operators.Unset {
		if !known {
			return true
		}
		limit = kafka
	}
	if t <= limit+w.jump || known && t <= kafka+w.jump {
		w.clock.JumpN = 0
		return true
	}
	if w.clock.JumpN > 0 && t-w.clock.Jump <= w.jump && w.clock.Jump-t <= w.jump {
		w.clock.JumpN++
	} else {
		w.clock.Jump, w.clock.JumpN = t, 1
	}
	if w.clock.JumpN >= corroboration {
		w.clock.JumpN = 0
		return true
	}
	b.Reject(i, "window", batch.ReasonFuture, fmt.Sprintf("event time %s is more than %v ahead of the stream, which is at %s",
		formatTime(t), w.cfg.MaxJump, formatTime(limit)))
	w.keepRow(b, i)
	return false
}

// late makes a reject of row i; why says what it is too late for.
func (w *partition) late(b *batch.Batch, i int, t, watermark int64, why string) {
	if !w.cfg.LateRows {
		return
	}
	b.Reject(i, "window", batch.ReasonLate, fmt.Sprintf("event time %s: %s, the watermark is %s", formatTime(t), why, formatTime(watermark)))
	w.keepRow(b, i)
}

func (w *partition) rejectTime(b *batch.Batch, i int, c *batch.Column) {
	if !c.Valid(i) {
		b.Reject(i, "window", batch.ReasonMissing, "the event time is null")
	} else {
		b.Reject(i, "window", batch.ReasonOutOfRange, fmt.Sprintf("event time %d %s is outside the years 1900 to 2299",
			batch.As[int64](c.Values)[i], w.cfg.In.Fields[w.cfg.Time].Type.Unit))
	}
	w.keepRow(b, i)
}

// keepRow saves the row itself where its record is not known.
func (w *partition) keepRow(b *batch.Batch, i int) {
	if r := &b.Rejects[len(b.Rejects)-1]; r.Record < 0 {
		r.Payload = b.RowJSON(i)
	}
}

// recordTime is the Kafka timestamp of the record behind row i, in microseconds.
func recordTime(b *batch.Batch, i int) (int64, bool) {
	if b.Origin == nil {
		return 0, false
	}
	ms := b.Records[b.Origin[i]].Time
	return ms * 1000, ms > 0 && ms <= maxTime/1000
}

// pane finds or opens a window.
func (w *Tumbling) pane(start, end, offset int64, clock operators.Clock) *pane {
	if p := w.find(start); p != nil {
		return p
	}
	var p *pane
	if n := len(w.free); n > 0 {
		p, w.free = w.free[n-1], w.free[:n-1]
	} else {
		p = &pane{}
	}
	p.start, p.end, p.next, p.offset, p.clock, p.sum, p.cut = start, end, start+w.every, offset, clock, 0, 0
	p.announced = false
	if w.cfg.Calendar != nil {
		p.next = end
	}
	w.open = append(w.open, p)
	return p
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func floorTo(t, size int64) int64 { return floorDiv(t, size) * size }

func formatTime(us int64) string {
	return time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000Z")
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}
