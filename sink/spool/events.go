package spool

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// events is what the database and the disk have reported.
type events struct {
	setAside string
	damage   error

	slowWrites, stalls atomic.Int64
	damaged            atomic.Pointer[error]

	log    *slog.Logger
	slowed atomic.Pointer[slowness] // the last slow write
	told   atomic.Int64             // when one was logged last, in nanoseconds since 1970
}

// slowness is a write that took long, or goes on.
type slowness struct {
	at   time.Time
	what string
}

// How often slow writes are logged, and for how long the disk counts as slow after one. A write that goes on is reported every 2 s.
const (
	tellSlow = 30 * time.Second
	slowFor  = 10 * time.Second
)

// slow is called by the file system below the database, which has no way to tell its event listener.
func (e *events) slow(info vfs.DiskSlowInfo) {
	e.slowWrites.Add(1)
	now := time.Now()
	e.slowed.Store(&slowness{now, fmt.Sprintf("%s of %s takes %s", info.OpType, info.Path, info.Duration.Round(time.Millisecond))})
	if last := e.told.Load(); now.UnixNano()-last > int64(tellSlow) && e.told.CompareAndSwap(last, now.UnixNano()) {
		e.log.Warn("the disk of the local store is slow", "operation", info.OpType.String(), "file", info.Path, "for", info.Duration)
	}
}

// slowNow says which write is slow, or was a moment ago; empty if none.
func (e *events) slowNow() string {
	if s := e.slowed.Load(); s != nil && time.Since(s.at) < slowFor {
		return s.what
	}
	return ""
}

func (e *events) listener(g *guard) *pebble.EventListener {
	l := &pebble.EventListener{
		BackgroundError: g.failed,
		FlushEnd: func(info pebble.FlushInfo) {
			if info.Err == nil {
				g.flushed()
			}
		},
		CompactionEnd: func(info pebble.CompactionInfo) {
			if info.Err == nil {
				g.merged()
			}
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			err := fmt.Errorf("%w: %s: %w", ErrDamaged, info.Path, info.Details)
			if e.damaged.CompareAndSwap(nil, &err) {
				g.giveUp(err)
			}
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) { e.stalls.Add(1) },
	}
	l.EnsureDefaults(nil)
	return l
}

// logger takes what Pebble logs. Its Fatalf means that a write may or may not be on the disk: the process must end.
type logger struct{ cfg *Config }

// Infof drops what Pebble tells of its daily work.
func (l *logger) Infof(string, ...any) {}

// Errorf logs.
func (l *logger) Errorf(format string, args ...any) {
	l.cfg.Log.Error("local store: " + oneLine(fmt.Sprintf(format, args...)))
}

// Fatalf ends the process.
func (l *logger) Fatalf(format string, args ...any) {
	l.cfg.Fatal(fmt.Errorf("local store: %s", oneLine(fmt.Sprintf(format, args...))))
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// isFutureFormat finds a store of a later version of Pebble; it has no error value of its own.
func isFutureFormat(err error) bool {
	return strings.Contains(err.Error(), "written in unknown format major version")
}
