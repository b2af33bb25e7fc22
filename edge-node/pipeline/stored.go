package pipeline

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/sink/spool"
)

// StoredLane is what a node's local store has of a partition under a revision of a pipeline.
type StoredLane struct {
	Pipeline  string `json:"pipeline"`
	Revision  string `json:"rev"`
	Topic     string `json:"topic"` // empty where an older weir saved it
	TopicID   string `json:"topic_id"`
	Partition int32  `json:"partition"`
	// State tells whether anybody will use it: one of the words below; empty where it is not known what is configured.
	State       string     `json:"state,omitempty"`
	Segment     uint64     `json:"segment"`
	Position    int64      `json:"position"` // offset after the last record that is in what is saved
	Rows        int64      `json:"rows"`
	Letters     int64      `json:"dead_letters"`
	OpenWindows int        `json:"open_windows"`
	FirstWindow *time.Time `json:"first_window,omitempty"` // start of the first window that rows are of
	LastWindow  *time.Time `json:"last_window,omitempty"`
	Bytes       int64      `json:"bytes"`
	SavedAt     *time.Time `json:"saved_at,omitempty"`
	// Unsent tells whether ClickHouse has not acknowledged all of it; nil where no running node knows.
	Unsent *bool `json:"unsent,omitempty"`

	id spool.ID
}

// The states of a lane.
const (
	LaneCurrent      = "current"        // what the pipeline goes on with
	LaneBefore       = "other revision" // shipped when the partition is assigned, if nobody else has gone on
	LaneUnassigned   = "not assigned"   // the running node does not read the partition: another one does, or the topic is gone
	LaneUnconfigured = "not configured" // no pipeline of that name
	laneFormat       = "%016x"          // of revisions
)

// Orphaned tells whether no configured pipeline goes on with the lane.
func (l *StoredLane) Orphaned() bool {
	return l.State == LaneBefore || l.State == LaneUnconfigured || l.State == LaneUnassigned
}

// String names the lane.
func (l *StoredLane) String() string {
	topic := l.Topic
	if topic == "" {
		topic = l.TopicID
	}
	return fmt.Sprintf("%s revision %s %s/%d", l.Pipeline, l.Revision, topic, l.Partition)
}

// ErrNoStore says that there is no local store where one was looked for.
var ErrNoStore = errors.New("there is no local store")

// ErrStoreInUse says that another process uses the local store: the node that runs.
var ErrStoreInUse = spool.ErrLocked

// LookAtStore opens the store of a node that does not run, to read what it has. It writes nothing.
func LookAtStore(node config.Node, log *slog.Logger) (*Store, error) {
	if node.StateDir == "" {
		return nil, fmt.Errorf("%w: the node has no state_dir (in node.yaml, WEIR_STATE_DIR or --state-dir)", ErrNoStore)
	}
	s, err := spool.OpenReadOnly(spool.Config{Dir: node.StateDir, MaxBytes: node.Limits.Disk, Log: log})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w in %s", ErrNoStore, node.StateDir)
	case err != nil:
		return nil, fmt.Errorf("state_dir %s: %w", node.StateDir, err)
	}
	return &Store{s}, nil
}

// Lanes lists what the store has. revisions are those of the configured pipelines by name, or nil if that is not known.
func (s *Store) Lanes(revisions map[string]uint64) ([]StoredLane, error) {
	contents, err := s.s.Contents()
	if err != nil {
		return nil, err
	}
	lanes := make([]StoredLane, 0, len(contents))
	for i := range contents {
		c := &contents[i]
		saved, err := engine.ReadSaved(c.Meta)
		if err != nil {
			return nil, fmt.Errorf("partition %d of pipeline %s: %w", c.Partition, c.Pipeline, err)
		}
		l := StoredLane{
			Pipeline: c.Pipeline, Revision: fmt.Sprintf(laneFormat, c.Revision), Topic: saved.Topic, TopicID: topicIDText(c.TopicID), Partition: c.Partition,
			Segment: saved.Segment, Position: saved.Position, Rows: c.Rows, Letters: c.Letters, OpenWindows: saved.OpenWindows, Bytes: c.Bytes, id: c.ID,
		}
		if c.Rows > 0 {
			first, last := time.UnixMilli(c.FirstWindow).UTC(), time.UnixMilli(c.LastWindow).UTC()
			l.FirstWindow, l.LastWindow = &first, &last
		}
		if !saved.At.IsZero() {
			l.SavedAt = &saved.At
		}
		if revisions != nil {
			switch revision, known := revisions[c.Pipeline]; {
			case !known:
				l.State = LaneUnconfigured
			case revision != c.Revision:
				l.State = LaneBefore
			default:
				l.State = LaneCurrent
			}
		}
		lanes = append(lanes, l)
	}
	return lanes, nil
}

// LanesOf is Lanes as the running pipelines know it: with what is not acknowledged, and what they do not read.
func (s *Store) LanesOf(running []Status) ([]StoredLane, error) {
	revisions := map[string]uint64{}
	for i := range running {
		revisions[running[i].Pipeline] = running[i].Revision
	}
	lanes, err := s.Lanes(revisions)
	if err != nil {
		return nil, err
	}
	for i := range lanes {
		l := &lanes[i]
		if l.State != LaneCurrent {
			continue
		}
		l.State = LaneUnassigned
		for j := range running {
			if running[j].Pipeline != l.Pipeline {
				continue
			}
			for _, at := range running[j].Engine.Lanes {
				if at.Owned && at.Partition.TopicID == l.id.TopicID && at.Partition.ID == l.Partition {
					unsent := at.Acknowledged < l.Position
					l.State, l.Unsent = LaneCurrent, &unsent
				}
			}
		}
	}
	return lanes, nil
}

// AcknowledgedBy tells whether a pipeline that has run has had all of the lane acknowledged.
func (l *StoredLane) AcknowledgedBy(ran *Status) bool {
	for _, s := range ran.Engine.ShippedBefore {
		if s.Revision == l.id.Revision && s.Partition.TopicID == l.id.TopicID && s.Partition.ID == l.Partition {
			return true
		}
	}
	for _, at := range ran.Engine.Lanes {
		if ran.Revision == l.id.Revision && at.Partition.TopicID == l.id.TopicID && at.Partition.ID == l.Partition {
			return at.Acknowledged >= l.Position
		}
	}
	return false
}

// Drop removes lanes for good. Nobody may use them.
func (s *Store) Drop(lanes []StoredLane) error {
	for i := range lanes {
		if err := s.s.Drop(lanes[i].id); err != nil {
			return fmt.Errorf("remove %s: %w", &lanes[i], err)
		}
	}
	return nil
}

// topicIDText is a topic ID as ClickHouse writes it.
func topicIDText(id [16]byte) string {
	h := hex.EncodeToString(id[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// Drain ships what the running pipeline has processed by now, and waits until it is acknowledged; see engine.Engine.Drain.
func (r *Runner) Drain(ctx context.Context) error { return r.engine.Drain(ctx) }
