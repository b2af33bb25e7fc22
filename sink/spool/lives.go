package spool

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Damage that no check finds may end the process each time it is met. A process that is killed, or loses power, often looks the
// same from outside, and is no reason to give a good store up. So what ended a process is told apart by evidence:
//
//   - crashFile has what Go wrote when the process panicked, see [Config].ReportCrashes. Where the database panicked by itself, the store is
//     read as a whole when it is opened next, and set aside if that finds something, or if it has happened before within the hour.
//   - runningFile counts the processes in a row that ended soon and without a goodbye, whatever the reason. The store is read as a whole
//     when they are four, eight, sixteen and so on, and set aside if that finds something.
const (
	crashFile    = "crash"
	crashedFile  = "crash.before"
	runningFile  = "running"
	shortLife    = 10 * time.Minute
	crashesApart = time.Hour
	firstVerify  = 4
)

// running is what runningFile says.
type running struct {
	Started time.Time `json:"started"`
	Short   int       `json:"short_lives"` // that ended without a goodbye before this one, in a row
}

// begin notes that a process uses the store, and tells why the store should be read as a whole first, and whether
// the database has brought down two processes.
func (s *Store) begin() (verify string, hopeless error) {
	fs, dir := s.cfg.FS, s.cfg.Dir
	now := time.Now()
	path := fs.PathJoin(dir, runningFile)
	var before running
	is := running{Started: now}
	if b, err := readFile(fs, path, 4<<10); err == nil && json.Unmarshal(b, &before) == nil && now.Sub(before.Started) < shortLife {
		is.Short = before.Short + 1
	}
	if n := is.Short; n >= firstVerify && n&(n-1) == 0 {
		verify = fmt.Sprintf("%d processes in a row ended soon, and without closing it", n)
	}
	// It need not survive a loss of power.
	b, err := json.Marshal(is)
	if err == nil {
		if f, err := fs.Create(path, vfs.WriteCategoryUnspecified); err == nil {
			_, _ = f.Write(b)
			_ = f.Close()
		}
	}
	crash := fs.PathJoin(dir, crashFile)
	text, err := readFile(fs, crash, 64<<10)
	if err != nil || !panickedAlone(string(text)) {
		return verify, nil
	}
	what, _, _ := strings.Cut(string(text), "\n")
	last := fs.PathJoin(dir, crashedFile)
	if st, err := fs.Stat(last); err == nil && now.Sub(st.ModTime()) < crashesApart {
		return "", fmt.Errorf("%w: it ended two processes within %s: %s", ErrDamaged, crashesApart, what)
	}
	_ = fs.Rename(crash, last)
	return "it ended the process before: " + what, nil
}

// panickedAlone tells whether a text that Go wrote is of a panic in a goroutine that the database had started.
func panickedAlone(text string) bool {
	if !strings.HasPrefix(text, "panic: ") {
		return false
	}
	_, stack, ok := strings.Cut(text, "\ngoroutine ")
	if !ok {
		return false
	}
	stack, _, _ = strings.Cut(stack, "\n\n")
	return strings.Contains(stack, "cockroachdb/pebble/") && !strings.Contains(stack, "weir-stream/weir/")
}

// reportCrashes has Go write what it says of a panic into the store as well.
func (s *Store) reportCrashes() error {
	f, err := os.Create(s.cfg.FS.PathJoin(s.cfg.Dir, crashFile))
	if err != nil {
		return fmt.Errorf("make the file for crashes: %w", err)
	}
	defer f.Close() // it is duplicated
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		return fmt.Errorf("have crashes written to %s: %w", f.Name(), err)
	}
	s.reports = true
	return nil
}

// stopReporting ends that.
func (s *Store) stopReporting() {
	if s.reports {
		_ = debug.SetCrashOutput(nil, debug.CrashOptions{})
	}
}

// farewell notes that the store was closed.
func (s *Store) farewell() error {
	s.stopReporting()
	return remove(s.cfg.FS, s.cfg.FS.PathJoin(s.cfg.Dir, runningFile))
}
