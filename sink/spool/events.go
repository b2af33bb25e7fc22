package spool

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// events is what the database and the disk have reported.
type events struct {
	setAside string
	damage   error

	slowWrites, stalls atomic.Int64
	damaged            atomic.Pointer[error]
}

func (e *events) slow(info vfs.DiskSlowInfo) { e.slowWrites.Add(1) }

func (e *events) listener(cfg *Config) *pebble.EventListener {
	l := &pebble.EventListener{
		BackgroundError: func(err error) {
			if !vfs.IsNoSpaceError(err) {
				cfg.Log.Error("the local store cannot tidy up", "error", err)
			}
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			err := fmt.Errorf("%w: %s: %w", ErrDamaged, info.Path, info.Details)
			e.damaged.CompareAndSwap(nil, &err)
		},
		DiskSlow: func(info pebble.DiskSlowInfo) {
			e.slowWrites.Add(1)
			cfg.Log.Warn("the disk of the local store is slow", "operation", info.OpType.String(), "file", info.Path, "for", info.Duration)
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
