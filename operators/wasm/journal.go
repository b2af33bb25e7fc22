package wasm

import (
	"context"
	"log/slog"
	"time"
)

// journal is what the guests of an operator may write to the log: so many lines per call, and so many per second over all
// calls. The rest is counted. It outlives the guests, since one that is replaced could begin anew.
type journal struct {
	log      *slog.Logger
	step     string
	perCall  int
	rate     float64 // lines per second
	lines    int     // in this call
	tokens   float64 // lines that may be written now
	filled   time.Time
	dropped  int64 // since end
	unsaid   int64 // since the last complaint
	complain time.Time
	now      func() time.Time
}

// complainEvery is how often the log says that lines are dropped.
const complainEvery = 10 * time.Second

// journal makes one for guests of the step. The logger may be nil.
func (s *Step) journal(log *slog.Logger) *journal {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	j := &journal{log: log, step: s.cfg.Name, perCall: s.cfg.LogLines, rate: float64(s.cfg.LogRate), now: time.Now}
	j.tokens = j.burst()
	return j
}

// burst is how many lines may come at once: a second's, or a call's where that is more.
func (j *journal) burst() float64 { return max(j.rate, float64(j.perCall)) }

// begin is the beginning of a call.
func (j *journal) begin() { j.lines = 0 }

// takes tells whether a line may be written, and counts it.
func (j *journal) takes() bool {
	if j.lines++; j.lines <= j.perCall {
		now := j.now()
		if !j.filled.IsZero() {
			j.tokens = min(j.burst(), j.tokens+now.Sub(j.filled).Seconds()*j.rate)
		}
		j.filled = now
		if j.tokens >= 1 {
			j.tokens--
			return true
		}
	}
	j.dropped++
	return false
}

// end is the end of a call. It returns how many lines were dropped since the last time, and says so now and then.
func (j *journal) end() int64 {
	n := j.dropped
	if n == 0 {
		return 0
	}
	j.dropped = 0
	j.unsaid += n
	if now := j.now(); now.After(j.complain) {
		j.log.Warn("operator logs too much: lines were dropped", "step", j.step, "lines", j.unsaid)
		j.unsaid, j.complain = 0, now.Add(complainEvery)
	}
	return n
}

// write writes a guest's line to the log.
func (j *journal) write(level int32, text string) {
	at := slog.LevelInfo
	switch {
	case level <= 0:
		at = slog.LevelDebug
	case level == 2:
		at = slog.LevelWarn
	case level >= 3:
		at = slog.LevelError
	}
	j.log.Log(context.Background(), at, text, "step", j.step)
}
