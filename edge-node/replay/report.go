package replay

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// Segment is what became of one segment of a partition.
type Segment struct {
	Topic     string `json:"topic"`
	TopicID   string `json:"topic_id"`
	Partition int32  `json:"partition"`
	Revision  string `json:"rev"`
	Segment   uint64 `json:"segment"`
	Start     int64  `json:"start"`   // first offset of the segment
	Version   int64  `json:"version"` // offset up to which the account vouches for it
	From      int64  `json:"from"`    // offsets that were read
	To        int64  `json:"to"`
	Records   int64  `json:"records"`
	Clock     string `json:"clock"` // the event-time clock that it began with, see REPLAY.md

	Rows    Tally  `json:"rows"`
	Letters Tally  `json:"dead_letters"`
	Skipped []Skip `json:"skipped,omitempty"` // what was not compared, and why

	Differences []Difference `json:"differences,omitempty"` // the first of them
	Faults      []string     `json:"faults,omitempty"`      // what is wrong beside rows and dead letters
	Notes       []string     `json:"notes,omitempty"`
	Gone        *Gone        `json:"gone,omitempty"`
	// Refused says why nothing could be done; empty where something was.
	Refused string `json:"refused,omitempty"`

	windows      map[string]map[int64]bool // skipped, by reason
	most         int
	bound, first int64 // of the pass
	content      sink.Content
}

// Gone is what cannot be built again, because the log no longer has offsets from From to before To: the windows that took records
// there, which start from WindowsFrom to before WindowsTo as far as that is known.
type Gone struct {
	From        int64      `json:"from"`
	To          int64      `json:"to"`
	WindowsFrom *time.Time `json:"windows_from,omitempty"`
	WindowsTo   *time.Time `json:"windows_to,omitempty"`
}

// Tally counts rows or dead letters.
type Tally struct {
	Identical int64 `json:"identical"`
	Differing int64 `json:"differing"` // stored, and not what the log gives
	Missing   int64 `json:"missing"`   // the log gives them and they are not stored
	Surplus   int64 `json:"surplus"`   // stored, and the log does not give them
	Sent      int64 `json:"sent"`      // stored by this run
}

// Skip is a kind of rows or dead letters that were not compared.
type Skip struct {
	What    string `json:"what"` // "rows" or "dead letters"
	Why     string `json:"why"`
	Count   int64  `json:"count"`
	Windows int    `json:"windows,omitempty"` // at least, where it is about windows
}

// Difference is a place where the log and the store differ.
type Difference struct {
	Kind    string          `json:"kind"` // "differs", "missing" or "surplus"
	Window  *time.Time      `json:"window_start,omitempty"`
	Key     json.RawMessage `json:"key,omitempty"`    // of a row: its group_by columns
	Offset  *int64          `json:"offset,omitempty"` // of a dead letter
	Step    string          `json:"step,omitempty"`
	Version int64           `json:"version,omitempty"` // of the stored row
	Columns []Values        `json:"columns,omitempty"`
	// Sent says that the run mended it.
	Sent bool `json:"sent,omitempty"`
}

// Values are a column's two values.
type Values struct {
	Column string          `json:"column"`
	Log    json.RawMessage `json:"log,omitempty"`
	Stored json.RawMessage `json:"stored,omitempty"`
}

// Differs tells whether the log and the store differ in anything.
func (s *Segment) Differs() bool {
	return s.Rows.open()+s.Letters.open() > 0 || len(s.Faults) > 0
}

// open is what is wrong and was not mended.
func (t *Tally) open() int64 { return t.Differing + t.Missing + t.Surplus - t.Sent }

func newSegment(c *sink.Coverage, most int) *Segment {
	s := &Segment{
		Topic: c.Partition.Topic, TopicID: fmt.Sprintf("%x", c.Partition.TopicID), Partition: c.Partition.ID,
		Revision: sink.RevisionText(c.Revision), Segment: c.Segment, Start: c.Start, Version: c.Version, most: most,
	}
	return s
}

// maxSkippedWindows bounds how many windows are told apart while they are counted.
const maxSkippedWindows = 1 << 16

// skip counts what is not compared. window is in milliseconds since 1970.
func (s *Segment) skip(what, why string, n int64, windows ...int64) {
	if n == 0 {
		return
	}
	var k *Skip
	for i := range s.Skipped {
		if s.Skipped[i].What == what && s.Skipped[i].Why == why {
			k = &s.Skipped[i]
		}
	}
	if k == nil {
		s.Skipped = append(s.Skipped, Skip{What: what, Why: why})
		k = &s.Skipped[len(s.Skipped)-1]
	}
	k.Count += n
	if s.windows == nil {
		s.windows = map[string]map[int64]bool{}
	}
	seen := s.windows[what+why]
	if seen == nil {
		seen = map[int64]bool{}
		s.windows[what+why] = seen
	}
	for _, w := range windows {
		if len(seen) < maxSkippedWindows {
			seen[w] = true
		}
	}
	k.Windows = len(seen)
}

func (s *Segment) fault(format string, args ...any) {
	s.Faults = append(s.Faults, fmt.Sprintf(format, args...))
}

func (s *Segment) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// room tells whether another difference is listed.
func (s *Segment) room() bool { return len(s.Differences) < s.most }

// differ lists a difference while there is room.
func (s *Segment) differ(d Difference) {
	if s.room() {
		s.Differences = append(s.Differences, d)
	}
}

// cell is a value of a column as JSON.
func cell(b *batch.Batch, col, row int) json.RawMessage {
	return batch.AppendCellJSON(nil, b.Schema.Fields[col].Type, &b.Cols[col], row)
}

// keyJSON is the key of a row as a JSON object.
func keyJSON(b *batch.Batch, keys, row int) json.RawMessage {
	out := []byte{'{'}
	for k := range keys {
		col := firstKey + k
		if k > 0 {
			out = append(out, ',')
		}
		name, _ := json.Marshal(b.Schema.Fields[col].Name) // a string
		out = append(append(out, name...), ':')
		out = append(out, cell(b, col, row)...)
	}
	return append(out, '}')
}

func windowTime(ms int64) *time.Time {
	t := time.UnixMilli(ms).UTC()
	return &t
}
