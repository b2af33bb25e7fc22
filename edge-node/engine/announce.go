package engine

import (
	"github.com/weir-stream/weir/ingest/batch"
)

// Finals are windows of a lane that are final.
type Finals struct {
	Partition batch.Partition
	Revision  uint64
	Segment   uint64
	Start     int64        // the first offset of the segment. One of which nothing is stored may begin elsewhere another time
	Version   int64        // the offset up to which the lane has got
	Rows      *batch.Batch // with the schema of a cut's rows
}

// announce tells of the windows that have become final, and waits until somebody has it for sure. It is called behind each batch, so that
// nobody waits for the flush clock or the destination; and before each cut, so that a commit passes no window that was not
// announced. It tells whether the lane may go on.
//
// A replay announces nothing: it builds windows that were not final where the commit is. A window that became final behind the commit, and
// was announced before the process ended, is announced once more.
func (l *lane) announce() bool {
	if l.e.cfg.Announce == nil || l.replayTo > 0 || l.e.cfg.ShipSaved {
		return true
	}
	rows := l.window.Announce()
	if rows == nil {
		return true
	}
	err := l.e.cfg.Announce(l.ctx, &Finals{Partition: l.partition, Revision: l.gen.Revision, Segment: l.segment, Start: l.start, Version: l.position, Rows: rows})
	if err == nil {
		return true
	}
	if l.ctx.Err() == nil {
		l.e.fail(err)
	}
	l.cancel() // what was not announced must not be passed: nothing of this lane is shipped any more
	return false
}
