package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// epochEnds asks where the records of the leader epochs up to that of the commit end. An unclean election of a leader cuts a log
// back; while a partition is read the client finds out, and this is for one that nobody was reading.
//
// Whether more than that was handled by then, the engine knows: what is committed to the group is a lower offset, where a replay
// begins, and the log may well have that still.
func (s *Source) epochEnds(ctx context.Context, assigned map[string]map[int32]kgo.Offset) (map[tp]int64, error) {
	var req kadm.OffsetForLeaderEpochRequest
	s.mu.Lock()
	for topic, ids := range assigned {
		for id := range ids {
			if m, ok := s.metadata[tp{topic, id}]; ok && m.offset >= 0 && m.epoch >= 0 {
				req.Add(topic, id, m.epoch)
			}
		}
	}
	s.mu.Unlock()
	return s.askEpochs(ctx, req)
}

// epochEnd is epochEnds of one partition and epoch; -1 where brokers do not know.
func (s *Source) epochEnd(ctx context.Context, at tp, epoch int32) (int64, error) {
	var req kadm.OffsetForLeaderEpochRequest
	req.Add(at.topic, at.id, epoch)
	ends, err := s.askEpochs(ctx, req)
	if err != nil {
		return 0, err
	}
	if end, ok := ends[at]; ok {
		return end, nil
	}
	return -1, nil
}

func (s *Source) askEpochs(ctx context.Context, req kadm.OffsetForLeaderEpochRequest) (map[tp]int64, error) {
	if len(req) == 0 {
		return nil, nil
	}
	found, err := s.adm.OffsetForLeaderEpoch(ctx, req)
	if errors.Is(err, kerr.UnsupportedVersion) {
		return nil, nil // brokers before Kafka 0.11
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the ends of leader epochs: %w", err)
	}
	out := map[tp]int64{}
	for topic, ids := range found {
		for id, end := range ids {
			switch {
			case kerr.IsRetriable(end.Err):
				return nil, fmt.Errorf("ask for the end of a leader epoch of %s/%d: %w", topic, id, end.Err)
			case end.Err == nil && end.EndOffset >= 0:
				out[tp{topic, id}] = end.EndOffset
			}
		}
	}
	return out, nil
}
