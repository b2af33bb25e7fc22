package engine

import (
	"encoding/json"
	"fmt"
	"time"
)

// localNote is what is saved of a lane beside what a restart needs: for people, and for a partition that nobody assigns any more.
type localNote struct {
	Topic string `json:"topic,omitempty"`
	At    int64  `json:"at,omitempty"` // when it was saved, in milliseconds since 1970
}

func (l *lane) note() localNote { return localNote{l.partition.Topic, time.Now().UnixMilli()} }

// Saved is what was saved of a partition on the node's disk, beside its rows and dead letters.
type Saved struct {
	Topic       string    // empty where an older weir saved it
	At          time.Time // when; zero where an older weir saved it
	Segment     uint64
	Start       int64 // first offset of the segment
	Position    int64 // offset after the last record that is in the rows, or accounted for otherwise
	OpenWindows int   // windows that still take rows
}

// ReadSaved reads what the engine gave the local store for a partition.
func ReadSaved(meta []byte) (Saved, error) {
	var m localMeta
	var at commitMetadata
	err := json.Unmarshal(meta, &m)
	if err == nil {
		err = json.Unmarshal(m.Commit, &at)
	}
	if err != nil {
		return Saved{}, fmt.Errorf("read what was saved of a partition: %w", err)
	}
	s := Saved{Topic: m.Topic, Segment: at.Segment, Start: at.Start, Position: at.Position, OpenWindows: max(len(m.Open), m.Windows)}
	if m.At != 0 {
		s.At = time.UnixMilli(m.At).UTC()
	}
	return s, nil
}
