package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-stream/weir/edge-node/failpoint"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// local is what a lane has on the node's own disk: everything that was cut, until it is acknowledged, and the groups of open
// windows. With it a restart goes on where the process stopped, and an outage of the destination takes disk instead of memory.
//
// A lane is either live, when every cut is saved and then submitted from memory; or behind, when a cut could only be saved,
// because the one before was still on its way. Then all that is saved is submitted from the disk, as it was at one moment, and
// until that is done what is cut meanwhile is only saved. The rows of a lane are whole aggregates, so it does not matter that
// some are sent again.
//
// With the windows goes what stateful steps carry on; see memory_local.go.
//
// Kafka stays the changelog: what is on the disk only saves time, and where it does not fit the commit it is not used.
type local struct {
	disk   sink.Local // nil: the node keeps nothing
	off    bool       // the disk was full, and what it has of the lane is not kept up to date
	offAt  time.Time
	saved  saved // the last that was saved
	behind bool  // it was not submitted
	// resting: nothing of what a restart found is submitted before the lane is to ship. New records come first: they wait for it.
	resting bool
	run     *resend // what is being submitted from the disk
	long    bool    // that is a long backlog
	fresh   []*sink.Cut
	told    int64 // rows of the backlog when it was told last
	toldAt  time.Time
	sent    *saved   // what is submitted, from memory or as the last of a run; nil when it was acknowledged
	pass    int64    // windows of the run that start before are on their way as a whole; noPass: none are
	closed  []closed // by start
	gone    int64    // of windows that end at or before, rows may not be there any more, or never were
	queue   queue    // where windows are of one key each: in place of pass and closed
	// Dead letters, numbered as they are saved: below acked they are acknowledged, below dropped they are gone.
	acked, dropped int
	barren         int64    // one more than the position of what is saved, where no windows of it can be merged
	carried        [32]byte // hash of the states that are on the disk
}

// saved is a moment of a lane that is on the disk.
type saved struct {
	coverage sink.Coverage
	commit   ingest.Commit
	open     [][5]int64 // windows, as in localMeta
	letters  int        // the number of the next dead letter
	queued   int        // that of the next row of the queue
	windows  int        // that are open, where open does not have all of them
	clock    operators.Clock
	openHash uint64 // sum of the hashes of the rows that the coverage calls open
}

// closed is a window that takes no more rows, but has rows on the disk until they are acknowledged.
type closed struct {
	start, end int64
	version    int64 // its rows were saved with this one; -1: they are acknowledged
	rows       sink.Sum
}

// localMeta is what is saved of a lane beside its rows and dead letters.
type localMeta struct {
	Format  int             `json:"v"`
	Offset  int64           `json:"offset"` // of the commit that is made when everything is acknowledged
	Commit  json.RawMessage `json:"commit"` // its metadata
	Open    [][5]int64      `json:"open"`   // open windows: start, offset, clock
	Letters int             `json:"letters"`
	// Where windows are of one key each, open has places to build them from, as operators.Keyed says. Windows is how many there are, and Queued how
	// many rows only wait.
	Windows int `json:"windows,omitempty"`
	Queued  int `json:"queued,omitempty"`
	// OpenHash is the sum of the hashes of the rows that were withheld, which are saved like the others.
	OpenHash uint64 `json:"open_hash,omitempty"`
	Gone     *int64 `json:"gone"` // as in local; nil where nobody kept account of it
	// Epoch is one more than a leader epoch that is not lower than that of any record below the position. 0 where that is not known.
	Epoch int32 `json:"epoch,omitempty"`
	// Of the coverage.
	Watermark int64 `json:"watermark"`
	Final     int64 `json:"final"`
	localNote
}

const localFormat = 1

// noPass is local.pass where no windows are on their way.
const noPass = math.MinInt64

// resendRows and resendBytes are what one cut of a run has at most.
const (
	resendRows  = 50_000
	resendBytes = 4 << 20
)

// retryLocal is how long a lane does without a disk that was full.
const retryLocal = 10 * time.Second

// keeps tells whether the lane saves what it cuts.
func (l *lane) keeps() bool { return l.local.disk != nil && !l.local.off }

// settled tells whether everything that is saved was acknowledged.
func (l *lane) settled() bool { return !l.local.behind && l.local.run == nil }

// canResend tells whether something that is saved can be submitted now.
func (l *lane) canResend() bool { return !l.settled() && !l.inFlight.Load() && !l.local.resting }

// reap accounts for an acknowledgement: what it covers may leave the disk with the next change. The cut of a lane that ends may have been
// withdrawn or refused, and that is no acknowledgement, however long the lane takes to notice that it ends: nothing of it is reaped.
func (l *lane) reap() {
	d := &l.local
	if l.inFlight.Load() || l.ctx.Err() != nil { // in this order: the lane has ended when such a cut is no longer on its way
		return
	}
	l.reapPart()
	if d.sent == nil {
		return
	}
	version := d.sent.coverage.Version
	d.acked, d.queue.acked = max(d.acked, d.sent.letters), max(d.queue.acked, d.sent.queued)
	for i := range d.closed {
		if d.closed[i].version <= version {
			d.closed[i].version = -1
		}
	}
	d.sent = nil
}

// save writes a cut to the disk. sink.ErrFull says that nothing was written.
func (l *lane) save(w *operators.Cut, cut *sink.Cut, commit ingest.Commit) error {
	d := &l.local
	ch := d.disk.Change()
	queued := 0
	switch {
	case l.keyed() != nil:
		queued = l.putKeyed(ch, w)
	case w.Rows != nil:
		ch.Put(w.Rows, w.Hashes, w.Before)
	}
	kept, gone := make([]closed, 0, len(d.closed)+len(w.Closed)), d.gone
	for _, c := range d.closed {
		if c.version < 0 {
			ch.DropWindow(c.start, c.rows)
			gone = max(gone, c.end)
		} else {
			kept = append(kept, c)
		}
	}
	for _, c := range w.Closed {
		kept = append(kept, closed{c.Start, c.End, l.position, sink.Sum{Rows: c.Groups, Hash: c.Hash}})
	}
	// A cut closes windows in the order in which they were opened, and runs over what is saved go by their start.
	slices.SortFunc(kept, func(a, b closed) int { return cmp.Compare(a.start, b.start) })
	ch.PutLetters(cut.DeadLetters)
	next := saved{
		coverage: cut.Coverage, commit: commit, letters: d.saved.letters + len(cut.DeadLetters), queued: d.saved.queued + queued, clock: l.window.Clock(),
	}
	if l.keyed() != nil {
		next.windows = l.window.Windows()
	}
	if l.open > 0 {
		next.openHash = w.OpenHash
	}
	carried, err := l.saveMemory(ch)
	if err != nil {
		ch.Discard()
		return err
	}
	for _, o := range w.Open {
		next.open = append(next.open, [5]int64{o.Start, o.Offset, o.Clock.Max, o.Clock.Jump, o.Clock.JumpN})
	}
	if err := l.commitLocal(ch, &next, gone); err != nil {
		return err
	}
	d.closed, d.carried = kept, carried
	if l.stats.full.CompareAndSwap(true, false) {
		l.e.log.Info("the local store has room again", "partition", l.partition.String())
	}
	return nil
}

// commitLocal makes a change durable that leaves the lane at a moment. Dead letters that are acknowledged go with it.
func (l *lane) commitLocal(ch sink.LocalChange, at *saved, gone int64) error {
	d := &l.local
	ch.DropLetters(d.acked - d.dropped)
	ch.DropQueued(d.queue.acked - d.queue.dropped)
	m := localMeta{
		localNote: l.note(), Format: localFormat, Offset: at.commit.Offset, Commit: json.RawMessage(at.commit.Metadata), Open: at.open,
		Letters: at.letters - d.acked, Queued: at.queued - d.queue.acked, Windows: at.windows, OpenHash: at.openHash, Gone: &gone, Epoch: l.epoch, Watermark: at.coverage.Watermark, Final: at.coverage.Final,
	}
	text, err := json.Marshal(&m)
	if err != nil {
		ch.Discard()
		return fmt.Errorf("save %s: %w", l.partition, err)
	}
	failpoint.Hit(failpoint.SaveBefore)
	if err := ch.Commit(text); err != nil {
		return fmt.Errorf("save %s: %w", l.partition, err)
	}
	failpoint.Hit(failpoint.SaveAfter)
	l.stats.saves.Add(1)
	d.saved, d.gone, d.dropped, d.queue.dropped = *at, gone, d.acked, d.queue.acked
	return nil
}

// saveOnly cuts and saves while a cut before is on its way or waits on the disk. It tells whether that could be done.
func (l *lane) saveOnly() bool {
	if err := l.local.disk.Room(); err != nil {
		if err := l.makeRoom(err); err != nil {
			l.e.fail(err)
		}
		return false
	}
	w, cut, commit, err := l.cut(false)
	if err == nil {
		err = l.save(&w, cut, commit)
	}
	if err != nil {
		// The windows have let go of what was cut. It is not lost: the commit is behind it.
		l.e.fail(fmt.Errorf("%w; the next run reads it again", err))
		return false
	}
	l.local.behind = true
	l.keepFresh(cut)
	return true
}

// nextCut is the next part of what is saved: rows first, then dead letters, and in the end a cut of the coverage alone, which
// is the one that is not partial.
func nextCut(view sink.LocalView, coverage sink.Coverage, rows int) (*sink.Cut, error) {
	cut := &sink.Cut{Coverage: coverage, Backlog: true}
	var err error
	if cut.Rows, err = view.Rows(rows); err == nil && cut.Rows == nil {
		cut.DeadLetters, err = view.Letters(resendBytes)
	}
	cut.Partial = cut.Rows != nil || len(cut.DeadLetters) > 0
	return cut, err
}

// forsake goes on without the disk, which is full: what it has of the lane is removed, since it would not be kept up to date.
// Everything it had was acknowledged.
func (l *lane) forsake(why error) {
	d := &l.local
	l.e.log.Warn("the local store is full: going on without; a restart reads open windows again", "partition", l.partition.String(), "error", why)
	if err := d.disk.Clear(); err != nil {
		l.e.fail(err)
	}
	*d = local{disk: d.disk, off: true, offAt: time.Now(), pass: noPass}
}

// recall begins to save again: every open group, since the disk has none of them.
func (l *lane) recall() {
	if d := &l.local; d.off && time.Since(d.offAt) > retryLocal {
		if d.offAt = time.Now(); d.disk.Room() == nil {
			d.off = false
			l.window.Touch()
			d.gone = l.keptFrom()
		}
	}
}

// empty removes what is saved of the segment that ends.
func (l *lane) empty() error {
	l.giveUp()
	disk := l.local.disk
	if disk == nil {
		return nil
	}
	if err := disk.Clear(); err != nil {
		return fmt.Errorf("%s: remove what was saved of the segment before: %w", l.partition, err)
	}
	l.local = local{pass: noPass, gone: l.keptFrom()}
	l.local.disk = l.e.localOf(l.partition, l.gen.Revision) // it may be another revision now
	return l.local.disk.Clear()
}

// remembered is what the disk has of a partition when it is assigned.
type remembered struct {
	disk   sink.Local
	meta   localMeta
	at     commitMetadata
	states []sink.StepState // of stateful steps, by step
	spans  sink.Spans

	window operators.Window // with the open windows; nil where nobody wanted it
	open   []operators.OpenWindow
	closed []closed // windows that have rows there and take no more; their version is that of what is saved
	rows   int
	others bool // some of the records that were saved are not those that the log has now
}

// localOf is the disk of a partition under a revision, or nil.
func (e *Engine) localOf(p batch.Partition, revision uint64) sink.Local {
	if e.cfg.Local == nil {
		return nil
	}
	return e.cfg.Local(p, revision)
}

// savedOf reads what the disk has of a partition under a revision; nil if it has nothing of use. What is damaged is set aside.
// With a generation it comes with the window of a lane.
func (e *Engine) savedOf(ctx context.Context, p batch.Partition, revision uint64, g *generation) (*remembered, sink.Local) {
	disk := e.localOf(p, revision)
	if disk == nil {
		return nil, nil
	}
	r, err := readSaved(ctx, disk, g)
	if err != nil && ctx.Err() != nil {
		return nil, nil
	}
	if err != nil {
		e.log.Error("what was saved of a partition cannot be used: it is set aside, and Kafka is read again", "partition", p.String(), "error", err)
		if err := disk.SetAside(); err != nil {
			e.log.Error("could not set it aside; the node keeps nothing of the partition", "partition", p.String(), "error", err)
			return nil, nil
		}
		return nil, disk
	}
	return r, disk
}

// readSaved reads what a disk has of a partition; nil if it has nothing.
func readSaved(ctx context.Context, disk sink.Local, g *generation) (*remembered, error) {
	r := &remembered{disk: disk}
	var rows func(meta []byte, rows *batch.Batch, hashes []uint64) error
	if g != nil {
		r.window = g.Window()
		rows = func(meta []byte, rows *batch.Batch, hashes []uint64) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if r.rows == 0 {
				if err := r.read(meta); err != nil {
					return err
				}
			}
			return r.take(rows, hashes)
		}
	}
	text, err := disk.Load(rows)
	if err != nil || text == nil {
		return nil, err
	}
	if r.rows == 0 {
		if err := r.read(text); err != nil {
			return nil, err
		}
	}
	if err := r.readStates(); err != nil {
		return nil, err
	}
	return r, nil
}

// read reads what the engine said when it saved.
func (r *remembered) read(text []byte) error {
	err := json.Unmarshal(text, &r.meta)
	if err == nil {
		err = json.Unmarshal(r.meta.Commit, &r.at)
	}
	if err == nil && (r.meta.Format != localFormat || r.at.Format != commitFormat) {
		err = fmt.Errorf("it has format %d, and this weir knows %d", r.meta.Format, localFormat)
	}
	for _, o := range r.meta.Open {
		r.open = append(r.open, operators.OpenWindow{Start: o[0], Offset: o[1], Clock: operators.Clock{Max: o[2], Jump: o[3], JumpN: o[4]}})
	}
	if err == nil {
		r.spans, err = sink.FlatSpans(r.at.Spans)
	}
	return err
}

// take takes rows that are saved into the window, and notes which windows of them are closed.
func (r *remembered) take(rows *batch.Batch, hashes []uint64) error {
	if err := r.window.Load(rows, hashes, r.open); err != nil {
		return err
	}
	r.rows += rows.Rows
	if _, keyed := r.window.(operators.Keyed); keyed {
		return nil
	}
	starts, ends := batch.As[int64](rows.Cols[0].Values), batch.As[int64](rows.Cols[1].Values)
	open := false
	for i, start := range starts {
		if i == 0 || start != starts[i-1] {
			open = slices.ContainsFunc(r.open, func(o operators.OpenWindow) bool { return o.Start == start })
		}
		if open {
			continue
		}
		n := len(r.closed)
		if n == 0 || r.closed[n-1].start != start {
			r.closed = append(r.closed, closed{start: start, end: ends[i], version: r.at.Position})
			n++
		}
		r.closed[n-1].rows.Add(hashes[i])
	}
	return nil
}

// fits tells whether what is saved continues a commit. It must be of the same segment and not behind it: a node that had the
// partition meanwhile knows better, and rot at the end of the disk's log gives an earlier state.
func (r *remembered) fits(m *commitMetadata, a *ingest.Assignment) bool {
	return r.at.Revision == m.Revision && r.at.TopicID == m.TopicID && r.at.Segment == m.Segment && r.at.Start == m.Start &&
		r.at.Position >= m.Position && r.at.Position <= a.LogEnd && !r.doubtful(a)
}

// doubtful tells whether records that were saved are others by now, or may be: the partition had another leader since the commit, and the
// disk has more than is surely the same. Kafka has it all, where it has what the commit needs.
func (r *remembered) doubtful(a *ingest.Assignment) bool {
	return r.others || a.SameUpTo >= 0 && r.at.Position > a.SameUpTo && a.Committed >= a.LogStart
}

// compare asks the log whether it still has the records that were saved, if any were, where the commit does not tell. Without the answer nothing could be
// vouched for: rows of records that are gone would be taken for those of the records that have their offsets now.
func (r *remembered) compare(ctx context.Context, a *ingest.Assignment) error {
	if r == nil || r.meta.Epoch == 0 || a.EpochEnd == nil || a.SameUpTo >= r.at.Position {
		return nil
	}
	end, err := a.EpochEnd(ctx, r.meta.Epoch-1)
	r.others = err == nil && end >= 0 && r.at.Position > end
	return err
}

// resumption is where a lane goes on with what is saved: right behind it.
func (r *remembered) resumption() resumption {
	m := &r.at
	reached := arrayClock(m.Reached)
	return resumption{
		read: m.Position, position: m.Position, segment: m.Segment, start: m.Start, at: reached,
		reached: operators.Clock{Max: operators.Unset}, counters: arrayCounters(m.Counters), content: m.Content.sink(), spans: r.spans, open: m.Open,
		gap: m.Gap, lost: m.Lost, why: m.Why, epoch: r.meta.Epoch, saved: r,
	}
}

// load has the lane go on with what is saved, whose window it was made with.
func (l *lane) load(r *remembered) {
	d := &l.local
	d.closed = r.closed
	d.saved = saved{
		coverage: l.coverage(), letters: r.meta.Letters, queued: r.meta.Queued, windows: r.meta.Windows, open: r.meta.Open, clock: arrayClock(r.at.Reached), openHash: r.meta.OpenHash,
		commit: ingest.Commit{Partition: l.partition, Offset: r.meta.Offset, Epoch: r.meta.Epoch, Metadata: string(r.meta.Commit)},
	}
	if r.meta.Gone != nil {
		d.gone = *r.meta.Gone
	}
	d.behind = true // perhaps not all of it was acknowledged
	d.resting = !l.e.cfg.ShipSaved
	l.countState()
	l.e.log.Info("going on with what was saved", "partition", l.partition.String(), "position", l.position, "rows", r.rows+r.meta.Queued, "dead_letters", r.meta.Letters)
}

// deliver ships what is saved under a revision that is not run any more, and waits until it is acknowledged.
func (e *Engine) deliver(ctx context.Context, a ingest.Assignment, r *remembered, revision uint64) error {
	view, err := r.disk.View()
	if err != nil {
		return err
	}
	defer view.Close()
	m := &r.at
	content := m.Content.sink()
	content.All += r.meta.OpenHash // what was withheld goes along, and the account has nothing open
	coverage := sink.Coverage{
		Partition: a.Partition, Revision: revision, Segment: m.Segment, Start: m.Start, Version: m.Position,
		Watermark: r.meta.Watermark, Final: r.meta.Final, Counters: arrayCounters(m.Counters), Content: content, Spans: r.spans, Gap: m.Gap, Lost: m.Lost, GapReason: m.Why,
		Epoch: r.meta.Epoch,
	}
	for more := true; more; {
		cut, err := nextCut(view, coverage, resendRows)
		if err != nil {
			return err
		}
		more = cut.Partial
		done := make(chan error, 1)
		if err := e.cfg.Delivery.Submit(ctx, cut, func(err error) { done <- err }); err != nil {
			return err
		}
		select {
		case err = <-done:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return r.disk.Clear()
}

// finishSaved ships what is saved under the revision of the commit, which is another one than is run now. That
// has what is withheld as well; where the disk has nothing of it, that is an error.
func (e *Engine) finishSaved(ctx context.Context, a ingest.Assignment, revision uint64, m *commitMetadata, stored *answers) error {
	r, disk := e.savedOf(ctx, a.Partition, revision, nil)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.compare(ctx, &a); err != nil {
		return err
	}
	if m.Open > 0 && (r == nil || !r.fits(m, &a)) {
		return withheld(a.Partition, revision, m.Open)
	}
	if r == nil {
		return nil
	}
	if !r.fits(m, &a) {
		return disk.Clear()
	}
	e.log.Info("shipping what was saved under the revision before", "partition", a.Partition.String(), "revision", sink.RevisionText(revision), "position", r.at.Position)
	stored.forget(a.Partition) // there will be more
	if err := e.deliver(ctx, a, r, revision); err != nil {
		return fmt.Errorf("ship what was saved under revision %s: %w", sink.RevisionText(revision), err)
	}
	e.stats.mu.Lock()
	e.stats.shipped = append(e.stats.shipped, ShippedBefore{a.Partition, revision})
	e.stats.mu.Unlock()
	return nil
}
