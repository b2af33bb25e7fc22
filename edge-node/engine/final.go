package engine

import (
	"fmt"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// Where windows are shipped when they are final, rows of the others are withheld: the account calls them open, and they are nobody's
// but the log's, or the local disk's. Whoever goes on in the segment builds them again from the commit, as always.
//
// Nobody can do that once the segment has ended, so a lane that ends, or ends its segment, ships everything, and its account has no
// open rows. When the segment goes on after all, the next account has some again, and the rows that were shipped of windows that are
// not final by it do not count until they are: as with spans, the account alone decides which rows count.

// cutWindows cuts, and gives what is to be shipped of it. It will be, or is saved only.
func (l *lane) cutWindows(ships bool) (operators.Cut, *batch.Batch) {
	if k := l.keyed(); k != nil {
		k.Keep(l.keeps(), !ships)
	}
	if l.gen.EmitFinal && l.whole {
		l.window.Touch() // what is open was never shipped, whether it changed or not
	}
	w := cut(l.window, l.position, &l.gen.counts.window)
	l.content.Final += w.FinalHash
	l.content.All = l.content.Final
	if l.gen.EmitFinal && !l.whole {
		l.open = w.OpenRows
		return w, w.Final
	}
	l.content.All += w.OpenHash
	l.open = 0
	return w, w.Rows
}

// withholds tells whether the lane is to ship everything, and has open rows.
func (l *lane) withholds() bool { return l.whole && l.open > 0 && !l.e.cfg.ShipSaved }

// openRows are the rows that are lost when a segment begins behind the newest of these accounts: whoever could has shipped them. The
// account of the segment that begins says how many they are, since that of the one before stays as it is: it may be stored once more at
// any time, by an insert that was late.
func (e *Engine) openRows(p batch.Partition, cov []sink.Coverage, why string) int64 {
	if len(cov) == 0 || cov[0].Counters.Open == 0 {
		return 0
	}
	e.log.Error("rows of windows that were not final are lost: the log no longer has their records", "partition", p.String(),
		"segment", cov[0].Segment, "rows", cov[0].Counters.Open, "reason", why)
	return cov[0].Counters.Open
}

// beyond is up to where rows are stored that count. Behind an account with open rows none do: a window that was final by it takes no
// more rows, and those of the others do not count.
func beyond(c *sink.Coverage) int64 {
	if c.Counters.Open > 0 {
		return c.Version
	}
	return c.RowsVersion
}

// withheld refuses to begin a segment behind one whose open rows nobody would ship any more. revision is that of the segment before,
// and rows how many there are.
func withheld(p batch.Partition, revision uint64, rows int64) error {
	return fmt.Errorf("%s: revision %s ended with %d rows in windows that were not final, and ships windows when they are: run that revision once more, "+
		"and stop it in order, so that it ships them", p, sink.RevisionText(revision), rows)
}
