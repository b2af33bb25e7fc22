package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// pass reads a stretch of a segment once.
type pass struct {
	cfg   *Config
	of    sink.Coverage
	keys  int
	from  int64 // offsets that are read
	to    int64
	clock *operators.Clock // before from; nil where nobody knows: then it is found from the records
	known sink.Counters    // the account's
	// states are those of stateful steps before from.
	states []sink.StepState

	changed int64 // windows count from here on: offsets below only build them
	until   int64 // windows that begin at or behind this offset do not count
	strict  bool  // errLate where windows that count begin before the stretch
	bound   int64 // windows that start before, in milliseconds, have records before from

	lateLetters bool // late rows have dead letters
	content     sink.Content
	merging     []merging

	out  *Segment
	send func(ctx context.Context, rows *batch.Batch, letters []sink.DeadLetter) error // nil: compare alone

	first    int64 // windows that start before do not count: they were final at changed
	lo, hi   int64 // windows that start before lo were compared; those at hi or behind do not count
	taken    int64 // records
	since    int   // records since the windows were cut
	letters  int64 // dead letters of offsets below were compared
	settled  int64 // from here on the clock is that of the first time
	anchored bool
	// Of dead letters whose records no step could name: those that are stored, and those that were purged and may be some.
	rows, purged map[engine.LetterKind]int64
	began        time.Time
	told         time.Time
	sending      bool
}

// errUnproven says that it cannot be told which windows begin before the range.
var errUnproven = errors.New("it cannot be told which windows begin before it")

// errLate says that a stretch begins too late for the windows that count.
var errLate = errors.New("it begins too late")

const (
	cutRecords    = 1 << 16 // records between two cuts, at least
	anchorRecords = 1024    // records that are looked at together for late rows
	letterBytes   = 4 << 20 // dead letters that wait
	tellEvery     = time.Second
)

// run reads the stretch and compares what it gives.
func (p *pass) run(ctx context.Context) error {
	from := engine.RebuildFrom{Partition: p.of.Partition, Segment: p.of.Segment, Clock: operators.Clock{Max: operators.Unset}, States: p.states}
	p.lo, p.hi, p.bound, p.letters = math.MinInt64, math.MaxInt64, math.MinInt64, max(p.from, p.changed)
	p.first, p.content = math.MinInt64, sink.Content{Known: true}
	p.merging = p.mergings()
	p.rows, p.purged = map[engine.LetterKind]int64{}, map[engine.LetterKind]int64{}
	p.began = time.Now()
	if p.anchored = p.clock != nil; p.anchored {
		from.Clock = *p.clock
	} else {
		p.settled = math.MaxInt64
	}
	if err := p.cfg.Rebuild.Begin(ctx, from); err != nil {
		return fmt.Errorf("%s: %w", p.of.Partition, err)
	}
	err := p.cfg.Log.Read(ctx, p.of.Partition, p.from, p.to, func(records []batch.Record) error { return p.take(ctx, records) })
	if err != nil {
		return err
	}
	if p.changed > p.from && p.lo == math.MinInt64 {
		if err := p.reach(p.to); err != nil { // no record came behind it
			return err
		}
	}
	if !p.anchored && p.taken > 0 {
		return fmt.Errorf("%s: offsets %d to %d: %w: every record may have been late", p.of.Partition, p.from, p.to-1, errUnproven)
	}
	if err := p.settle(ctx, p.to, true); err != nil {
		return err
	}
	p.endMerged()
	p.endLetters()
	p.tell(p.to)
	return nil
}

// take puts records through the stages.
func (p *pass) take(ctx context.Context, records []batch.Record) error {
	for len(records) > 0 {
		if p.changed > p.from && p.lo == math.MinInt64 && records[0].Offset >= p.changed {
			if err := p.reach(p.changed); err != nil {
				return err
			}
		}
		if p.until > 0 && records[0].Offset >= p.until && p.hi == math.MaxInt64 {
			p.hi = lastOpen(p.cut(records[0].Offset)) + 1
		}
		n, late := p.split(records), false
		if !p.anchored {
			var err error
			if n, late, err = p.onTime(ctx, records[:min(n, anchorRecords)]); err != nil {
				return err
			}
		}
		taken, err := p.cfg.Rebuild.Add(ctx, records[:n])
		if err != nil {
			return err
		}
		next := records[taken-1].Offset + 1
		records = records[taken:]
		p.taken += int64(taken)
		p.since += taken
		switch {
		case late:
			p.cfg.Rebuild.ForgetWindows()
		case !p.anchored:
			p.anchor(next)
		}
		if err := p.checkClock(next); err != nil {
			return err
		}
		if err := p.due(ctx, next); err != nil {
			return err
		}
		if time.Since(p.told) >= tellEvery {
			p.tell(next)
		}
	}
	return nil
}

// split is how many of the records come before the next offset at which something is to be done.
func (p *pass) split(records []batch.Record) int {
	n := len(records)
	for _, at := range []int64{p.changed, p.until} {
		if at > records[0].Offset {
			n = min(n, sort.Search(n, func(i int) bool { return records[i].Offset >= at }))
		}
	}
	return n
}

func lastOpen(c operators.Cut) int64 {
	last := int64(math.MinInt64)
	for _, o := range c.Open {
		last = max(last, o.Start)
	}
	return last
}

// reach comes to the offset from which windows count. Those that are final there do not.
func (p *pass) reach(offset int64) error {
	p.cut(offset)
	p.since = 0
	p.lo = max(p.final(), math.MinInt64+1)
	p.first = p.lo
	// What was rejected before does not count either.
	p.cfg.Rebuild.Letters()
	if p.strict && (!p.anchored || p.lo < p.bound) {
		return errLate
	}
	return nil
}

// cut takes out all rows of open windows, and adds up what the rows of the segment are hashed to.
func (p *pass) cut(next int64) operators.Cut {
	c := p.cfg.Rebuild.Cut(next)
	p.content.Final += c.FinalHash
	p.content.All = p.content.Final + c.OpenHash
	return c
}

// final is the start, in milliseconds, of the first window that may still take rows.
func (p *pass) final() int64 {
	us := p.cfg.Rebuild.Window().Final()
	if us == operators.Unset {
		return math.MinInt64
	}
	return batch.FloorDiv(us-p.cfg.Table.Window.Microseconds(), 1000) + 1
}

// onTime is how many of the records were surely not late, or else how many of the first were.
func (p *pass) onTime(ctx context.Context, records []batch.Record) (n int, late bool, err error) {
	if p.known.Late == 0 {
		return len(records), false, nil
	}
	were := map[int64]bool{}
	err = p.cfg.Stored.DeadLetters(ctx, p.of, records[0].Offset, records[len(records)-1].Offset+1, func(d sink.DeadLetter, _ bool) error {
		if d.Reason == batch.ReasonLate {
			were[d.Offset] = true
		}
		return nil
	})
	late = were[records[0].Offset]
	for n < len(records) && were[records[n].Offset] == late {
		n++
	}
	return n, late, err
}

// anchor finds, from the first rows that were surely not late, where the windows begin that are wholly in the range.
//
// A row that was not late at clock M, in windows of which the last ends at E, says that M < E + lateness + disorder. All records
// before it were at or before M, so a window that starts there or later has no record before the range. And once the clock here has
// come so far, it is the clock of the first time. Where windows overlap, the earliest one that is open may be final by the clock that
// is not known; the last one of its rows ends less than another size later.
func (p *pass) anchor(next int64) {
	cut := p.cut(next)
	if len(cut.Open) == 0 {
		return
	}
	earliest := int64(math.MaxInt64)
	for _, o := range cut.Open {
		earliest = min(earliest, o.Start)
	}
	size := p.cfg.Table.Window.Milliseconds()
	slack := p.cfg.MaxOutOfOrder + p.cfg.AllowedLateness
	p.bound = earliest + 2*size + ceilDiv(slack.Microseconds(), 1000)
	p.anchored = true
}

// checkClock notes when the clock is that of the first time, and that nothing came in between that depends on it.
func (p *pass) checkClock(next int64) error {
	if !p.anchored || p.settled != math.MaxInt64 {
		return nil
	}
	r := p.cfg.Rebuild
	if r.Jumped() > 0 || p.cfg.Jumps && r.Unnamed() {
		return fmt.Errorf("%s: offsets %d to %d: %w: rows jump ahead of a clock that is not known", p.of.Partition, p.from, next-1, errUnproven)
	}
	if r.Window().Clock().Max >= p.bound*1000 {
		p.settled = next
	}
	return nil
}

// due compares what is final, when there is enough of it or memory runs out.
func (p *pass) due(ctx context.Context, next int64) error {
	r := p.cfg.Rebuild
	size := r.Window().MemorySize()
	tight := size > p.cfg.MaxState/2 && p.since >= cutRecords/8
	if r.LetterBytes() < letterBytes && !tight && p.since < max(cutRecords, r.Window().Groups()) {
		return nil
	}
	if err := p.settle(ctx, next, false); err != nil {
		return err
	}
	// A node has a batch more than limits.state in its windows where it begins its next segment early, and one batch is not more than that.
	if left := r.Window().MemorySize(); left > 2*p.cfg.MaxState {
		return fmt.Errorf("%s: open windows need %d MiB (%d keys in %d windows), and limits.state is %d MiB: raise it in node.yaml",
			p.of.Partition, left>>20, r.Window().Groups(), r.Window().Windows(), p.cfg.MaxState>>20)
	}
	return nil
}

// settle compares the windows that are final, or all of them in the end, and the dead letters so far.
func (p *pass) settle(ctx context.Context, next int64, last bool) error {
	counts := p.anchored && next >= p.changed // windows that are final before do not count
	if counts && (next > p.letters || last) {
		if err := p.compareLetters(ctx, p.letters, next); err != nil {
			return err
		}
		p.letters = next
	}
	cut := p.cut(next)
	p.since = 0
	final := p.final()
	if !counts {
		if next <= p.changed {
			p.cfg.Rebuild.Letters() // of records that do not count
		}
		return nil
	}
	hi := final
	if last {
		hi = math.MaxInt64
	}
	hi = min(hi, p.hi)
	if hi <= p.lo {
		return nil
	}
	lo := p.lo
	p.lo = hi
	return p.compareRows(ctx, cut.Rows, lo, hi, final)
}

// open tells whether a window, by its end in milliseconds, is not to be stored yet, by the account.
func (p *pass) open(end int64) bool { return p.of.Counters.Open > 0 && end*1000 > p.of.Final }

// expired tells whether the destination drops a window, by its end in milliseconds.
func (p *pass) expired(end int64) bool {
	if p.cfg.Windows == 0 {
		return false
	}
	return p.cfg.Now.Sub(time.UnixMilli(end)) > p.cfg.Windows
}

func (p *pass) tell(offset int64) {
	p.told = time.Now()
	if p.cfg.Progress != nil {
		p.cfg.Progress(Progress{
			Partition: p.of.Partition, Segment: p.of.Segment, Sending: p.sending,
			Offset: offset, From: p.from, To: p.to, Records: p.taken, Began: p.began,
		})
	}
}

func ceilDiv(a, b int64) int64 { return -batch.FloorDiv(-a, b) }

func jsonText(s string) json.RawMessage {
	text, _ := json.Marshal(s) // a string
	return text
}
