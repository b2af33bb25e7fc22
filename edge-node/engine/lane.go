package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/edge-node/failpoint"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// lane takes the records of one partition through the pipeline, in offset order.
type lane struct {
	e         *Engine
	partition batch.Partition
	cancel    context.CancelFunc
	ctx       context.Context // the lane's life; a lane is started by Assigned, which has no longer-lived context
	done      chan struct{}   // closed when the goroutine has ended
	finished  chan struct{}   // closed when a finish was carried out
	wake      chan struct{}   // capacity 1

	mu          sync.Mutex
	queue       []chunk // guarded by mu
	queuedBytes int64   // guarded by mu
	paused      bool    // guarded by mu
	wants       want    // guarded by mu

	// Of the lane's goroutine alone.
	gen      *generation
	memory   memory // of stateful steps
	window   operators.Window
	segment  uint64
	start    int64
	position int64 // offsets below are in the window or accounted for otherwise
	replayTo int64 // below, records only rebuild windows
	reached  operators.Clock
	counters sink.Counters
	content  sink.Content // as of the last cut
	spans    sink.Spans
	open     int64 // aggregated rows that are in no row shipped: of windows that were not final at the last cut
	whole    bool  // what is shipped has windows that are not final, too
	gap      int64
	lost     int64 // open rows of the segment before, see sink.Coverage
	why      string
	epoch    int32 // one more than a leader epoch that is not lower than that of any record below position; 0: not known
	letters  []sink.DeadLetter
	letterB  int64               // bytes of letters
	told     map[LetterKind]bool // kinds of letters that Engine.told has
	shipped  int64               // position of the last cut
	sentAt   time.Time           // when delivery was given a cut last
	began    *sink.Began         // of the segment; nil where the lane was not there
	opened   bool                // whether the segment's coverage was shipped once
	begins   bool                // the group does not know of the segment yet
	asked    bool                // beyond is known
	askAt    time.Time
	beyond   int64 // how far somebody before had stored the segment
	stateB   int64
	closing  int64 // bytes of stateB that the next cut gives back
	batches  int   // of the segment, as far as it matters whether there were several
	skipTo   int64 // records below were accounted for by somebody before
	endAt    int64 // log end at assignment, for StopAtEnd

	local local

	inFlight atomic.Bool  // a cut is with delivery
	giving   atomic.Bool  // the lane will give back state: a cut is on its way or can be made
	yields   atomic.Int32 // what it can do where no lane will: a yield
	heldAt   atomic.Int64 // since when it waits for room for its windows, in nanoseconds since 1970; 0: it does not
	atEnd    atomic.Bool
	stats    laneStats
}

// chunk is what a lane's queue holds: records, a gap, or the offset up to which there are no more.
type chunk struct {
	records []batch.Record
	bytes   int64
	gap     *gap
	skip    int64
	epoch   int32 // one more than a leader epoch that is not lower than that of any of these records; 0: not known
}

type gap struct {
	from, to int64
	why      ingest.GapReason
}

// want is a set of requests to a lane.
type want uint8

const (
	wantFlush  want = 1 << iota
	wantFinish      // ship everything that was processed, then end
	wantRoom        // begin the next segment, if there is still no room
)

func newLane(e *Engine, gen *generation, a ingest.Assignment, at resumption) *lane {
	// The lane ends when its partition leaves, not when the assignment's context does.
	ctx, cancel := context.WithCancel(context.Background())
	l := &lane{
		e: e, partition: a.Partition, ctx: ctx, cancel: cancel,
		done: make(chan struct{}), finished: make(chan struct{}), wake: make(chan struct{}, 1),
		gen: gen, window: gen.Window(), segment: at.segment, start: at.start, position: at.position, replayTo: at.position,
		begins: at.begins, reached: at.reached, counters: at.counters, content: at.content, spans: at.spans, open: at.open, gap: at.gap, lost: at.lost, why: at.why, epoch: at.epoch, shipped: at.position,
		endAt: a.LogEnd,
	}
	l.local.disk, l.local.pass = at.disk, noPass
	if at.read == at.position {
		l.replayTo = 0
	}
	if at.counters != (sink.Counters{}) || at.read < at.position || at.saved != nil {
		l.opened = true
	}
	if e.cfg.ShipSaved {
		l.shipSavedOnly()
	}
	if at.saved != nil {
		l.window = at.saved.window
	}
	l.window.Restore(at.at, at.reached)
	if l.replayTo == 0 {
		l.allReplayed()
	}
	if l.position > l.start {
		l.batches = 2 // or more
	} else {
		l.began = l.reach()
	}
	l.local.gone = l.keptFrom()
	l.stats.init(l)
	if at.begins {
		l.stats.lost.Add(at.lost)
	}
	if at.saved == nil {
		l.stats.acknowledged.Store(at.position)
	}
	return l
}

// request adds a want and wakes the lane.
func (l *lane) request(w want) {
	l.mu.Lock()
	l.wants |= w
	l.mu.Unlock()
	l.poke()
}

func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// wait waits until a finish was carried out, and tells whether it was.
func (l *lane) wait(ctx context.Context) bool {
	select {
	case <-l.finished:
		return true
	case <-l.done:
		select {
		case <-l.finished:
			return true
		default:
			return false
		}
	case <-ctx.Done():
		return false
	}
}

// recordOverhead is about what a record that waits takes beside its key and value: here and in the client.
const recordOverhead = 256

// push adds to the queue; it pauses the partition when the lane has enough.
func (l *lane) push(c chunk) {
	for i := range c.records {
		c.bytes += recordOverhead + int64(len(c.records[i].Key)+len(c.records[i].Value))
	}
	total := l.e.queued.Add(c.bytes)
	l.mu.Lock()
	l.queue = append(l.queue, c)
	l.queuedBytes += c.bytes
	full := l.queuedBytes > l.e.cfg.MaxQueued/4 || total > l.e.cfg.MaxQueued
	if full {
		l.pause()
	}
	l.mu.Unlock()
	l.poke()
}

// next takes the oldest chunk and the wants.
func (l *lane) next() (c chunk, ok bool, w want) {
	l.mu.Lock()
	w, l.wants = l.wants, 0
	if ok = len(l.queue) > 0; ok {
		c = l.queue[0]
		l.queue[0] = chunk{}
		l.queue = l.queue[1:]
		l.queuedBytes -= c.bytes
	}
	if l.paused && len(l.queue) == 0 {
		l.paused = false
		l.e.cfg.Source.Resume(l.partition)
	}
	l.mu.Unlock()
	if ok {
		l.e.queued.Add(-c.bytes)
	}
	return c, ok, w
}

// pause pauses the partition, if it is not paused. It is called with mu, as Resume is, so that the source hears of the two in the order
// in which they were decided: a partition that the lane takes for resumed and the source for paused would stand still for ever.
func (l *lane) pause() {
	if !l.paused {
		l.paused = true
		l.e.cfg.Source.Pause(l.partition)
		l.stats.pauses.Add(1)
	}
}

// run is the lane's goroutine.
func (l *lane) run() {
	defer close(l.done)
	defer l.discard()
	flush := false
	for {
		if l.ctx.Err() != nil {
			return
		}
		c, ok, w := l.next()
		if w&wantFinish != 0 {
			// What waits in the queue is not processed: the next owner reads it.
			if l.drain() {
				close(l.finished)
			}
			return
		}
		flush = flush || w&wantFlush != 0
		err := l.follow()
		if l.begins && flush && !ok && l.e.assigning() {
			flush = false // the client takes commits amiss until it has all partitions
		}
		if err == nil && l.begins && (ok || flush || l.comeToEnd()) {
			err = l.beginFirst()
		}
		switch {
		case err != nil:
		case ok:
			err = l.take(c)
		case w&wantRoom != 0:
			_, err = l.makeWay()
		}
		switch {
		case errors.Is(err, errFinishing):
			continue
		case err != nil:
			if l.ctx.Err() == nil {
				l.e.fail(err)
			}
			return
		}
		flush = flush || l.comeToEnd()
		switch {
		case flush || l.full():
			if l.ship() {
				flush = false
			}
		case l.canResend():
			l.resend()
		}
		l.mayGive()
		l.checkEnd()
		if !ok {
			select {
			case <-l.wake:
			case <-l.ctx.Done():
			}
		}
	}
}

// discard gives back what the lane still counts for.
func (l *lane) discard() {
	l.mu.Lock()
	bytes := l.queuedBytes
	l.queue, l.queuedBytes = nil, 0
	l.mu.Unlock()
	l.e.queued.Add(-bytes)
	l.e.state.Add(-l.stateB)
	l.e.closing.Add(-l.closing)
	l.stateB, l.closing = 0, 0
	l.yields.Store(int32(yieldEmpty))
	l.disown()
	l.giveUp()
}

// take processes one chunk of the queue.
func (l *lane) take(c chunk) error {
	if l.e.cfg.ShipSaved {
		return nil
	}
	if c.gap != nil {
		return l.takeGap(c.gap)
	}
	if l.epoch = max(l.epoch, c.epoch); c.epoch == 0 {
		l.epoch = 0
	}
	if c.skip > 0 {
		return l.takeSkip(c.skip)
	}
	failpoint.Hit(failpoint.Poll)
	records := c.records
	for len(records) > 0 && records[0].Offset < l.skipTo {
		records = records[1:]
	}
	for len(records) > 0 {
		if err := l.follow(); err != nil {
			return err
		}
		n := min(len(records), l.gen.BatchRows)
		replay := records[0].Offset < l.replayTo
		if replay {
			// A batch is either replayed or new, never both: only the new records are counted.
			for n > 0 && records[n-1].Offset >= l.replayTo {
				n--
			}
			n = l.memory.untilMark(records[:n])
		}
		taken, err := l.process(records[:n], replay)
		if err != nil {
			return err
		}
		l.e.folded.Do(func() { l.e.log.Debug("start", "phase", "record") })
		records = records[taken:]
		if !l.announce() {
			return l.ctx.Err()
		}
		l.hurry()
		switch {
		case l.full() && (l.keeps() || !l.inFlight.Load()):
			l.ship()
		case l.canResend():
			l.resend()
		}
		if err := l.await(l.overfull); err != nil {
			return err
		}
		if err := l.awaitRoom(); err != nil {
			return err
		}
		if err := l.waitForRoom(); err != nil {
			return err
		}
	}
	return nil
}

// process takes a prefix of the records through the chain and into the window.
func (l *lane) process(records []batch.Record, replay bool) (int, error) {
	if !replay && l.replayTo > 0 {
		if err := l.endReplay(); err != nil {
			return 0, err
		}
	}
	if replay {
		l.passMarks(records[0].Offset)
	}
	c, err := l.borrow()
	if err != nil {
		return 0, err
	}
	defer l.giveBack(c)
	began := time.Now()
	b, err := l.processBatch(c, records, replay, false)
	if err != nil {
		return 0, err
	}
	n, bytes := len(b.Records), c.read
	last := b.Records[n-1].Offset + 1
	for b.Unfinished { // nothing is shipped or committed inside a record
		if b, err = l.processBatch(c, records[:1], replay, true); err != nil {
			return 0, err
		}
	}
	if replay {
		l.stats.replayed.Add(int64(n))
		if last >= l.replayTo {
			return n, l.endReplay()
		}
		return n, nil
	}
	l.position = last
	l.batches++
	l.giving.Store(true)
	l.stats.batch(l, n, bytes, time.Since(began))
	return n, nil
}

// processBatch takes what fits into one batch through the chain and into the window.
func (l *lane) processBatch(c *chain, records []batch.Record, replay, resumed bool) (*batch.Batch, error) {
	b, err := c.run(l.ctx, l.partition, records, resumed, l.gen.Steps, &l.gen.counts)
	if err != nil {
		return nil, err
	}
	counts, err := c.aggregate(l.ctx, l.window, &l.gen.counts.window)
	if err != nil {
		return nil, fmt.Errorf("window, %s offsets %d to %d: %w", l.partition, b.Records[0].Offset, b.Records[len(b.Records)-1].Offset, err)
	}
	if !replay {
		l.account(b, counts)
	}
	return b, nil
}

// endReplay checks that the replay has brought the clock to where it was. If not, the log or the operators gave other
// rows than before, and no total built on them could be vouched for.
func (l *lane) endReplay() error {
	replayed := l.replayTo
	l.replayTo = 0
	l.passMarks(replayed)
	l.local.gone = l.keptFrom()
	if got := l.window.Clock(); l.reached.Max != operators.Unset && got != l.reached {
		return fmt.Errorf("%s: reading offsets below %d again gave other rows than the first time (event time %d, was %d): "+
			"the log was changed, or an operator is not a function of its rows; start the pipeline under another name or group to count anew",
			l.partition, replayed, got.Max, l.reached.Max)
	}
	l.allReplayed()
	return nil
}

// allReplayed tells the window that all records from here on are new.
func (l *lane) allReplayed() {
	if w, ok := l.window.(operators.Replaying); ok {
		w.EndReplay()
	}
}

// account adds a batch to the counters and keeps its dead letters.
func (l *lane) account(b *batch.Batch, counts operators.Counts) {
	for i := range b.Rejects {
		l.stats.reject(b.Rejects[i].Reason)
		l.keep(b, i)
	}
	countBatch(&l.counters, b, counts)
	l.stats.aggregated.Add(counts.Aggregated)
	l.stats.late.Add(counts.Late)
	l.stats.overflowed.Add(counts.Overflowed)
	l.stats.filtered.Add(b.Filtered)
	l.stats.expanded.Add(b.Expanded)
	l.countState()
}

// keep makes a dead letter of reject i.
func (l *lane) keep(b *batch.Batch, i int) {
	at := sink.DeadLetter{Partition: l.partition, Revision: l.gen.Revision, Segment: l.segment}
	var size int64
	l.letters, size = appendLetter(l.letters, at, b, i, l.e.cfg.KeepPayload)
	l.letterB += size
	l.tellReject(&l.letters[len(l.letters)-1])
}

// takeSkip goes on behind offsets without records.
func (l *lane) takeSkip(to int64) error {
	if l.replayTo > 0 {
		if to < l.replayTo {
			return nil
		}
		if err := l.endReplay(); err != nil {
			return err
		}
	}
	l.position = max(l.position, to)
	l.stats.position.Store(l.position)
	l.giving.Store(true)
	return nil
}

// takeGap ends the segment, ships it, and opens the next one behind the gap.
func (l *lane) takeGap(g *gap) error {
	l.stats.gaps.Add(1)
	if l.e.cfg.OnGapStop {
		return fmt.Errorf("%s: offsets %d to %d are missing (%s), and on_gap is stop", l.partition, g.from, g.to, g.why)
	}
	if !l.drain() {
		return l.ctx.Err()
	}
	// Somebody before may have read further than this lane, before the records went, and died before the commit.
	stored, err := l.e.coverage(l.ctx, []batch.Partition{l.partition})
	if err != nil {
		return err
	}
	cov := stored[0]
	start, number, accounted := g.to, l.segment+1, max(g.from, l.position)
	if len(cov) > 0 && g.why == ingest.GapRetention {
		start, number = max(start, cov[0].Version, beyond(&cov[0])), max(number, cov[0].Segment+1)
		accounted = max(accounted, cov[0].Version)
	}
	offsets := max(0, start-accounted)
	if !l.opened && (len(cov) == 0 || cov[0].Segment < l.segment) {
		offsets += l.gap // nothing of the segment that ends is stored, by nobody, and nobody would hear of the gap before it
	}
	// A lane that was still building windows again could not ship them: then the account has open rows.
	lost := l.e.openRows(l.partition, cov, string(g.why))
	l.stats.lost.Add(lost)
	l.epoch = 0
	return l.nextSegment(number, start, missing{offsets, lost, string(g.why)})
}

// missing is what was lost before a segment, see sink.Coverage.
type missing struct {
	offsets, rows int64
	why           string
}

// nextSegment forgets the windows, which are stored as far as they got, and starts adding to them anew. Stateful steps
// start anew, too: whoever builds the segment again begins with nothing.
func (l *lane) nextSegment(number uint64, start int64, before missing) error {
	l.abandon()
	if err := l.empty(); err != nil {
		return err
	}
	l.window.Reset()
	l.allReplayed()
	l.countState()
	l.segment = number
	l.start, l.position, l.shipped, l.skipTo, l.replayTo = start, start, start, start, 0
	l.gap, l.lost, l.why = before.offsets, before.rows, before.why
	l.counters, l.content = sink.Counters{}, sink.Content{Known: true}
	l.spans, l.open, l.began = nil, 0, l.reach()
	l.opened, l.begins, l.asked, l.beyond, l.batches = false, false, true, start, 0 // nobody has had this one before
	return l.forget()
}

// comeToEnd tells whether the lane has processed what it was to stop at.
func (l *lane) comeToEnd() bool {
	return l.e.cfg.StopAtEnd && !l.atEnd.Load() && l.position >= l.endAt
}

// checkEnd tells the engine when everything up to where the log ended is stored.
func (l *lane) checkEnd() {
	if !l.comeToEnd() || l.inFlight.Load() || (l.replayTo == 0 && l.position != l.shipped) || len(l.letters) > 0 || !l.settled() {
		return
	}
	if l.replayTo > 0 && l.open > 0 && !l.e.cfg.ShipSaved {
		return // a lane that ends ships what is open, and has to build it again first
	}
	if l.ctx.Err() != nil {
		return // the last cut may have been withdrawn
	}
	l.atEnd.Store(true)
	go l.e.ended() // it may end the run, which waits for this lane
}
