package engine

import (
	"sync"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// told remembers which kinds of dead letters were logged: steps times reasons, at most.
type told struct {
	mu    sync.Mutex
	kinds map[LetterKind]bool // guarded by mu
}

// first tells whether there was none of this kind before.
func (t *told) first(k LetterKind) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kinds[k] {
		return false
	}
	if t.kinds == nil {
		t.kinds = map[LetterKind]bool{}
	}
	t.kinds[k] = true
	return true
}

// tellReject logs a dead letter that is the first of its step and reason in this process. A file that does not fit its topic rejects
// everything, and whoever wrote it looks at the log first. The rest is in the counters and in weir_dead_letters. Late rows are nothing
// to wonder at.
func (l *lane) tellReject(d *sink.DeadLetter) {
	if d.Reason == batch.ReasonLate || l.told[LetterKind{d.Step, d.Reason}] {
		return
	}
	kind := LetterKind{d.Step, d.Reason}
	if l.told == nil {
		l.told = map[LetterKind]bool{}
	}
	l.told[kind] = true
	if l.e.told.first(kind) {
		l.e.log.Warn("a record was rejected; further ones of this step and reason are counted and kept, see 'weir dlq ls'",
			"partition", l.partition.String(), "offset", d.Offset, "step", d.Step, "reason", string(d.Reason), "detail", d.Detail)
	}
}
