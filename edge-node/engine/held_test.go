package engine

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestHeld has a lane wait for room for longer than a cut takes: the log says so once, and the status for as long as it lasts.
func TestHeld(t *testing.T) {
	var log bytes.Buffer
	e := &Engine{log: slog.New(slog.NewTextHandler(&log, nil))}
	l := &lane{e: e}
	l.noteHeld()
	l.noteHeld()
	if log.Len() > 0 || l.heldFor() > heldQuietly {
		t.Errorf("told at once: %s", log.String())
	}
	l.heldAt.Store(time.Now().Add(-2 * heldQuietly).UnixNano())
	l.noteHeld()
	l.noteHeld()
	if strings.Count(log.String(), "nothing is read") != 1 || l.heldFor() < heldQuietly {
		t.Errorf("it waits, and the log has\n%s", log.String())
	}
	l.endHeld()
	if l.heldFor() != 0 || !strings.Contains(log.String(), "room for window state again") {
		t.Errorf("it goes on, and the log has\n%s", log.String())
	}
}
