package pipeline

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/spool"
	"github.com/weir-stream/weir/sink/uplink"
)

// Uplink is the link of a node to ClickHouse; nil where it has no budget.
type Uplink = uplink.Link

// NewUplink makes the link that all pipelines of a node share.
func NewUplink(node config.Node) *Uplink {
	u := node.Uplink
	return uplink.New(uplink.Config{Rate: u.Rate, Hours: u.Hours, Zone: u.Zone})
}

// Store is what the pipelines of a process keep on the node's own disk.
type Store struct{ s *spool.Store }

// StoreStatus is what it uses and has done.
type StoreStatus = spool.Stats

// OpenStore opens the node's local store, or returns nil where the node has none. With reportCrashes, a panic of this process is
// written into the store as well, where the next one finds it: one that the store brings down again and again sets it aside. That is
// for processes that run pipelines.
func OpenStore(node config.Node, log *slog.Logger, reportCrashes bool) (*Store, error) {
	if node.StateDir == "" {
		return nil, nil
	}
	s, err := spool.Open(spool.Config{Dir: node.StateDir, MaxBytes: node.Limits.Disk, Log: log, ReportCrashes: reportCrashes})
	if err != nil {
		return nil, fmt.Errorf("state_dir %s: %w", node.StateDir, err)
	}
	return &Store{s}, nil
}

// Status is what it uses and has done.
func (s *Store) Status() StoreStatus { return s.s.Stats() }

// slow says which write to the disk is slow, or was a moment ago; empty if none.
func (s *Store) slow() string {
	if s == nil {
		return ""
	}
	return s.s.Stats().SlowNow
}

// Close closes it. No pipeline runs any more. Closing nil is fine.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	return s.s.Close()
}

// local is what the engine keeps of a partition, or nil where the node keeps nothing.
func (s *Store) local(p *Plan) func(batch.Partition, uint64) sink.Local {
	if s == nil {
		return nil
	}
	table := p.Table
	return func(part batch.Partition, revision uint64) sink.Local {
		return s.s.Lane(spool.ID{Pipeline: p.Spec.Name, Revision: revision, TopicID: part.TopicID, Partition: part.ID}, &table)
	}
}

// kept lists the partitions that are kept of a pipeline under a revision.
func (s *Store) kept(p *Plan) func(uint64) ([]batch.Partition, error) {
	if s == nil {
		return nil
	}
	return func(revision uint64) ([]batch.Partition, error) {
		ids, err := s.s.Lanes()
		var parts []batch.Partition
		for _, id := range ids {
			if id.Pipeline == p.Spec.Name && id.Revision == revision {
				parts = append(parts, batch.Partition{TopicID: id.TopicID, ID: id.Partition})
			}
		}
		return parts, err
	}
}

// windowState says for people where open windows are, and what becomes of them when the node starts again.
func (p *Plan) windowState() string {
	if p.Node.StateDir == "" {
		return "open windows; after a restart they are read again from Kafka"
	}
	return "open windows, also in state_dir; after a restart they are read from there"
}

// whenFull is the policy as the engine names it.
var whenFull = map[config.WhenFull]engine.WhenFull{
	config.WhenFullBlock: engine.Block, config.WhenFullDrop: engine.DropOldest, config.WhenFullCoarsen: engine.Coarsen,
}

// needsStore refuses what makes no sense on a node without a local store.
func (p *Plan) needsStore(s *Store) error {
	if s == nil && len(p.Node.Uplink.Hours) > 0 {
		return errors.New("uplink.hours in node.yaml says when to ship, and the node has no place for what waits: set state_dir in node.yaml, WEIR_STATE_DIR or --state-dir")
	}
	policy := p.Spec.Sink.Spool.WhenFull
	if s != nil || policy == config.WhenFullBlock {
		return nil
	}
	return config.Errors{p.Spec.ErrorAt("sink.spool.when_full", "%s is about a local store that is full, and the node has none", policy).
		WithHint("set state_dir in node.yaml, WEIR_STATE_DIR or --state-dir, or leave when_full out")}
}

// has tells whether anything of a pipeline is kept.
func (s *Store) has(pipeline string) (bool, error) {
	if s == nil {
		return false, nil
	}
	ids, err := s.s.Lanes()
	return slices.ContainsFunc(ids, func(id spool.ID) bool { return id.Pipeline == pipeline }), err
}
