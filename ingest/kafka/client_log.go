package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// clientLog passes what franz-go says to slog, at levels that fit: its "info" is detail to anybody else. The client tries brokers
// that are away more than once a second and says so each time, for days if need be: what was said of the same broker within
// sayAgain becomes detail, too.
type clientLog struct {
	log *slog.Logger
	now func() time.Time

	mu   sync.Mutex
	said map[string]time.Time // guarded by mu; message and broker
}

// sayAgain is how long the same warning is not repeated. maxSaid bounds the memory of what was said.
const (
	sayAgain = 5 * time.Minute
	maxSaid  = 256
)

func newClientLog(log *slog.Logger) *clientLog {
	return &clientLog{log: log, now: time.Now, said: map[string]time.Time{}}
}

// Level implements kgo.Logger.
func (l *clientLog) Level() kgo.LogLevel {
	switch {
	case l.log.Enabled(context.Background(), slog.LevelDebug):
		return kgo.LogLevelInfo
	default:
		return kgo.LogLevelWarn
	}
}

// Log implements kgo.Logger.
func (l *clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	at := slog.LevelDebug
	switch level {
	case kgo.LogLevelError:
		at = slog.LevelError
	case kgo.LogLevelWarn:
		at = slog.LevelWarn
	}
	if at > slog.LevelDebug && l.lately(about(msg, keyvals)) {
		at = slog.LevelDebug
	}
	l.log.Log(context.Background(), at, "kafka client: "+msg, keyvals...)
}

// about is what tells one warning from another: the message, and the broker and partition it is of.
func about(msg string, keyvals []any) string {
	for i := 0; i+1 < len(keyvals); i += 2 {
		switch keyvals[i] {
		case "addr", "broker", "topic", "partition":
			msg += fmt.Sprintf(" %v", keyvals[i+1])
		}
	}
	return msg
}

// lately reports whether the same was said a short while ago, and keeps in mind that it is said now if not.
func (l *clientLog) lately(what string) bool {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.said[what]; ok && now.Sub(at) < sayAgain {
		return true
	}
	if len(l.said) >= maxSaid {
		clear(l.said) // so many different ones: rather said twice than kept
	}
	l.said[what] = now
	return false
}
