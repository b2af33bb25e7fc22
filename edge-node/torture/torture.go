// Package torture keeps what the torture harness measures: every figure beside the limit it is held to.
//
// The tests that attack weir call Record or AtLeast with each figure they promise, and Note with what is worth knowing beside. The
// test fails where a figure does not keep its limit; and where the environment variable WEIR_TORTURE_RESULTS names a file, a line
// is added to it:
//
//	{"name":"wrong totals","value":0,"unit":"of 10000 schedules","bound":"at most","limit":0,"holds":true,
//	 "at":"2026-01-02T03:04:05Z","commit":"1a2b3c4","load":"0.52 0.58 0.59","machine":"2 cores, ..."}
//
// Lines are only ever added, each with one write, so tests of several processes may share a file. Command table prints it, and
// makes the page RESULTS.md of it.
package torture

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Test is what a figure is measured in: a *testing.T.
type Test interface {
	Helper()
	Log(args ...any)
	Errorf(format string, args ...any)
}

// ResultsVariable is the environment variable that names the file of results.
const ResultsVariable = "WEIR_TORTURE_RESULTS"

// Struck begins the names of figures that say how often a kind of fault happened.
const Struck = "fault struck: "

// Result is a line of the file of results.
type Result struct {
	Name   string    `json:"name"`
	Value  float64   `json:"value"`
	Unit   string    `json:"unit"`
	Bound  Bound     `json:"bound"`
	Limit  float64   `json:"limit"`
	Holds  bool      `json:"holds"`
	At     time.Time `json:"at"`
	Commit string    `json:"commit,omitempty"` // what was tested, with a + where the tree had changes; absent where git does not say
	// How it was measured, in a few words.
	Detail string `json:"detail,omitempty"`
	// How busy the machine was, over 1, 5 and 15 minutes, as Linux counts; the test itself counts too.
	Load    string `json:"load,omitempty"`
	Machine string `json:"machine,omitempty"`
}

// Bound is on which side of its limit a figure has to be.
type Bound string

// The bounds. Unbound is that of a figure without a limit.
const (
	AtMost    Bound = "at most"
	AtLeastIs Bound = "at least"
	Unbound   Bound = ""
)

// Record notes a figure that may be at most limit, and fails the test where it is more. detail says in a few words how it was
// measured, where the name does not.
func Record(t Test, name string, value float64, unit string, limit float64, detail ...string) {
	t.Helper()
	record(t, &Result{Name: name, Value: value, Unit: unit, Bound: AtMost, Limit: limit, Holds: value <= limit, Detail: strings.Join(detail, "; ")})
}

// AtLeast notes a figure that has to be at least limit, and fails the test where it is less.
func AtLeast(t Test, name string, value float64, unit string, limit float64, detail ...string) {
	t.Helper()
	record(t, &Result{Name: name, Value: value, Unit: unit, Bound: AtLeastIs, Limit: limit, Holds: value >= limit, Detail: strings.Join(detail, "; ")})
}

// Note notes a figure that has no limit.
func Note(t Test, name string, value float64, unit string, detail ...string) {
	t.Helper()
	record(t, &Result{Name: name, Value: value, Unit: unit, Holds: true, Detail: strings.Join(detail, "; ")})
}

func record(t Test, r *Result) {
	t.Helper()
	r.At, r.Commit = time.Now().UTC().Truncate(time.Second), commit()
	r.Load, r.Machine = load(), machine()
	t.Log(r.String())
	if !r.Holds {
		t.Errorf("%s: %g %s, and has to be %s %g", r.Name, r.Value, r.Unit, r.Bound, r.Limit)
	}
	file := os.Getenv(ResultsVariable)
	if file == "" {
		return
	}
	if err := appendTo(file, r); err != nil {
		t.Errorf("keep the result %q: %v", r.Name, err)
	}
}

// String is the result as people read it.
func (r *Result) String() string {
	s := fmt.Sprintf("%s: %.4g %s", r.Name, r.Value, r.Unit)
	if r.Bound != Unbound {
		s += fmt.Sprintf(" (%s %g)", r.Bound, r.Limit)
	}
	if !r.Holds {
		s += " FAILED"
	}
	return s
}

func appendTo(file string, r *Result) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// commit is what git says is being tested. Test binaries are not stamped with it.
var commit = sync.OnceValue(func() string {
	out, err := exec.Command("git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
})
