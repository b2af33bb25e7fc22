package engine

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// answers are what the destination has of the partitions of one assignment. The first partition that needs to know has it asked about all
// that will, so the way to the destination and back is gone once, however many there are.
//
// An answer must not be older than the assignment: before it, the partition was somebody else's, who may have stored more. So answers are
// dropped with the assignment that they were asked for. What was stored by others since is what a group prevents: whoever begins a
// segment by an answer commits first, and a commit is refused where the partition is another's by then.
type answers struct {
	e        *Engine
	as       []ingest.Assignment // of one assignment
	revision uint64              // in which the partitions are to go on
	have     map[partKey][]sink.Coverage
}

func (e *Engine) newAnswers(as []ingest.Assignment) *answers {
	return &answers{e: e, as: as, revision: e.current.Load().Revision, have: map[partKey][]sink.Coverage{}}
}

// of is what the destination has of a partition, newest segment first. It asks for as long as it takes: without the answer the partition
// cannot be read at all.
func (s *answers) of(ctx context.Context, p batch.Partition) ([]sink.Coverage, error) {
	if cov, ok := s.have[partKey{p.TopicID, p.ID}]; ok {
		return cov, nil
	}
	ps := s.together(p)
	all, err := s.e.coverage(ctx, ps)
	if err != nil {
		return nil, err
	}
	for i, cov := range all {
		s.have[partKey{ps[i].TopicID, ps[i].ID}] = cov
	}
	return all[0], nil
}

// coverage asks the destination what it has of partitions until it answers, or ctx ends. The first of them cannot be read until then.
func (e *Engine) coverage(ctx context.Context, ps []batch.Partition) ([][]sink.Coverage, error) {
	wait := 200 * time.Millisecond
	for {
		all, err := e.cfg.Coverage(ctx, ps)
		if err == nil {
			return all, nil
		}
		e.Failed(ps[0], fmt.Errorf("ask the destination what it has of the partition: %w", err))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
			wait = min(2*wait, 10*time.Second)
		}
	}
}

// together is a partition, and those of the assignment that are behind it and will most likely be asked about as well.
func (s *answers) together(p batch.Partition) []batch.Partition {
	ps := []batch.Partition{p}
	behind := false
	for i := range s.as {
		a := &s.as[i]
		switch _, known := s.have[partKey{a.Partition.TopicID, a.Partition.ID}]; {
		case a.Partition == p:
			behind = true
		case behind && !known && a.Refused == nil && !settles(a, s.revision):
			ps = append(ps, a.Partition)
		}
	}
	return ps
}

// settles tells whether the commit of a partition says where it goes on. It is a guess at what resumeWith will find.
func settles(a *ingest.Assignment, revision uint64) bool {
	var m commitMetadata
	return a.Committed >= a.LogStart && json.Unmarshal([]byte(a.Metadata), &m) == nil &&
		m.TopicID == hex.EncodeToString(a.Partition.TopicID[:]) && m.Revision == sink.RevisionText(revision)
}

// forget drops the answer about a partition of which more is stored now.
func (s *answers) forget(p batch.Partition) { delete(s.have, partKey{p.TopicID, p.ID}) }
