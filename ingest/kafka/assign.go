package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
)

// offsetsFetched keeps the metadata of commits, which franz-go does not hand to adjust.
func (s *Source) offsetsFetched(ctx context.Context, cl *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	<-s.ready
	names, err := s.topicNames(ctx, resp)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := func(topic string, id int32, offset int64, epoch int32, metadata *string) {
		m := commitMeta{offset: offset, epoch: epoch}
		if metadata != nil {
			m.metadata = *metadata
		}
		s.metadata[tp{topic, id}] = m
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			keep(t.Topic, p.Partition, p.Offset, p.LeaderEpoch, p.Metadata)
		}
	}
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			topic := t.Topic
			if topic == "" {
				topic = names[t.TopicID]
			}
			if topic == "" {
				continue // deleted since
			}
			for _, p := range t.Partitions {
				keep(topic, p.Partition, p.Offset, p.LeaderEpoch, p.Metadata)
			}
		}
	}
	return nil
}

// topicNames asks for the names of topics, where a broker names those of commits by ID alone. It is nil where none does. No lock is
// held meanwhile: the answer may take long, and records are handed on, or commits made, under that of the source.
func (s *Source) topicNames(ctx context.Context, resp *kmsg.OffsetFetchResponse) (map[[16]byte]string, error) {
	byID := false
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			byID = byID || t.Topic == ""
		}
	}
	if !byID {
		return nil, nil
	}
	ids, err := s.topicIDs(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask for the names of topics with commits: %w", err)
	}
	names := map[[16]byte]string{}
	for topic, id := range ids {
		names[id] = topic
	}
	return names, nil
}

// topicIDs asks which topics there are under some names, or under all. The brokers are asked, and not the client, which remembers what
// they said a moment ago: that may be a topic that has been deleted since, where the offsets they give are those of the one
// that was made again under its name.
func (s *Source) topicIDs(ctx context.Context, topics ...string) (map[string]kadm.TopicID, error) {
	req := kmsg.NewPtrMetadataRequest()
	for _, t := range topics {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(t)
		req.Topics = append(req.Topics, topic)
	}
	resp, err := req.RequestWith(ctx, s.client)
	if err != nil {
		return nil, err
	}
	ids := make(map[string]kadm.TopicID, len(resp.Topics))
	for _, t := range resp.Topics {
		if t.Topic != nil {
			ids[*t.Topic] = t.TopicID
		}
	}
	return ids, nil
}

// adjust asks the handler where each newly assigned partition begins.
func (s *Source) adjust(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	<-s.ready
	s.reclaim()
	topics := make([]string, 0, len(offsets))
	for t := range offsets {
		topics = append(topics, t)
	}
	if len(topics) == 0 {
		return offsets, nil
	}
	found, err := s.survey(ctx, topics, offsets)
	if err != nil {
		return nil, err
	}
	s.log.Debug("start", "phase", "log")
	out := map[string]map[int32]kgo.Offset{}
	var as []ingest.Assignment
	var commits []commitMeta // of each of as
	for topic, parts := range offsets {
		out[topic] = map[int32]kgo.Offset{}
		for id := range parts {
			key := tp{topic, id}
			s.mu.Lock()
			m, known := s.metadata[key]
			held, granted := s.owned[key], s.granted[key]
			var next int64
			if held != nil {
				next = held.next
			}
			s.mu.Unlock()
			switch {
			case !granted:
				// The client was asking for the offset when its topic was forgotten, and goes on asking: the partition may be
				// somebody else's by now.
				continue
			case held != nil && held.partition.TopicID == found.ids[topic]:
				// A session that ended early is repeated, without a revocation: the handler has the partition already.
				out[topic][id] = kgo.NewOffset().At(next).WithEpoch(-1)
				continue
			case held != nil:
				s.drop(key)
			}
			if !known {
				m.offset, m.epoch = -1, -1
			}
			same, asked := found.epochEnds[key]
			if !asked {
				same = -1
			}
			start, _ := found.starts.Lookup(topic, id)
			end, _ := found.ends.Lookup(topic, id)
			begin, _ := found.begins.Lookup(topic, id)
			a := ingest.Assignment{
				Partition: batch.Partition{Topic: topic, TopicID: found.ids[topic], ID: id},
				LogStart:  start.Offset, LogEnd: end.Offset, Begin: min(max(begin.Offset, start.Offset), end.Offset),
				Committed: m.offset, SameUpTo: same, Metadata: m.metadata, Epoch: m.epoch + 1, Refused: found.refused[topic],
				EpochEnd: func(ctx context.Context, epoch int32) (int64, error) { return s.epochEnd(ctx, key, epoch) },
			}
			s.Resume(a.Partition) // the client remembers a pause for longer than the handler that asked for it
			as, commits = append(as, a), append(commits, m)
		}
	}
	if len(as) == 0 {
		s.forgetCommits(offsets)
		return out, nil
	}
	var failed error
	for i, start := range s.handler.Assigned(ctx, as) {
		p, m := as[i].Partition, commits[i]
		if start.Err != nil {
			if failed = ctx.Err(); failed == nil {
				s.handler.Failed(p, start.Err)
			}
			continue
		}
		epoch, offset := start.Epoch-1, offsets[p.Topic][p.ID]
		if start.Offset == m.offset { // else the epoch of the commit belongs to another offset
			epoch = max(epoch, m.epoch)
		}
		if start.Offset != m.offset || epoch != m.epoch {
			offset = kgo.NewOffset().At(start.Offset).WithEpoch(epoch)
		}
		pos := &position{partition: p, next: start.Offset, epoch: epoch}
		s.mu.Lock()
		s.owned[tp{p.Topic, p.ID}] = pos
		s.mu.Unlock()
		out[p.Topic][p.ID] = offset
	}
	s.forgetCommits(offsets)
	if failed != nil {
		return nil, failed
	}
	return out, nil
}

// forgetCommits drops what the group said of partitions, when it was handed on.
func (s *Source) forgetCommits(offsets map[string]map[int32]kgo.Offset) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, parts := range offsets {
		for id := range parts {
			delete(s.metadata, tp{topic, id})
		}
	}
}

// drop takes back a partition whose topic is another one now.
func (s *Source) drop(key tp) {
	s.mu.Lock()
	held := s.owned[key]
	delete(s.owned, key)
	s.mu.Unlock()
	if held != nil {
		s.handler.Lost([]batch.Partition{held.partition})
	}
}

// begins is where partitions without a commit start; nil where that is an end of the log.
func (s *Source) begins(ctx context.Context, topics []string) (kadm.ListedOffsets, error) {
	switch s.cfg.Start {
	case "", "earliest", "latest":
		return nil, nil
	}
	at, err := s.adm.ListOffsetsAfterMilli(ctx, s.cfg.StartTime.UnixMilli(), topics...)
	if err == nil {
		err = at.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list offsets at %s: %w", s.cfg.StartTime, err)
	}
	return at, nil
}

// reclaim notices that the group has taken this member for dead and in again under another ID. The client then keeps the
// partitions that it is given again as if nothing had been, but somebody else may have had them meanwhile: they are lost.
// It runs while no other change of the assignment does.
func (s *Source) reclaim() {
	member, _ := s.client.GroupMetadata()
	s.mu.Lock()
	same := s.member == member
	s.mu.Unlock()
	if same || member == "" {
		return
	}
	s.lease.end()
	s.mu.Lock()
	var stale []batch.Partition
	for key, pos := range s.owned {
		stale = append(stale, pos.partition)
		s.again[key.topic] = true
	}
	clear(s.owned)
	s.mu.Unlock()
	if len(stale) > 0 {
		s.log.Warn("the group took this node for dead; its partitions are assigned anew", "group", s.cfg.Group, "partitions", len(stale))
		s.handler.Lost(stale)
	}
	s.mu.Lock()
	s.member = member // from here on the lease can be held again
	s.mu.Unlock()
}

// assigned comes before the offsets of what is added are fetched.
func (s *Source) assigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	<-s.ready
	s.reclaim()
	s.mu.Lock()
	s.grant(added, true)
	s.log.Debug("start", "phase", "group")
	if len(s.again) > 0 && s.interrupt != nil {
		s.interrupt()
	}
	s.mu.Unlock()
}

// grant notes what the group gives and takes. mu is held.
func (s *Source) grant(partitions map[string][]int32, given bool) {
	for topic, ids := range partitions {
		for _, id := range ids {
			if given {
				s.granted[tp{topic, id}] = true
			} else {
				delete(s.granted, tp{topic, id})
			}
		}
	}
}

// startOver has topics assigned anew: of partitions that the member keeps the client would not ask where to begin.
func (s *Source) startOver() {
	s.mu.Lock()
	topics := make([]string, 0, len(s.again))
	for t := range s.again {
		topics = append(topics, t)
	}
	clear(s.again)
	s.mu.Unlock()
	for _, t := range topics {
		s.forgetTopic(t)
	}
}

func (s *Source) revoked(ctx context.Context, _ *kgo.Client, lost map[string][]int32) {
	<-s.ready
	s.mu.Lock()
	s.grant(lost, false)
	s.mu.Unlock()
	s.reclaim() // what is revoked from a member that was taken for dead was lost before
	if ps := s.take(lost, false); len(ps) > 0 {
		s.handler.Revoked(ctx, ps)
		s.take(lost, true)
	}
}

func (s *Source) lost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	<-s.ready
	s.mu.Lock()
	s.grant(lost, false)
	s.mu.Unlock()
	s.lease.end()
	if ps := s.take(lost, true); len(ps) > 0 {
		s.handler.Lost(ps)
	}
}

// take lists the owned ones of some partitions, and forgets them if asked to.
func (s *Source) take(which map[string][]int32, forget bool) []batch.Partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ps []batch.Partition
	for topic, ids := range which {
		for _, id := range ids {
			if pos := s.owned[tp{topic, id}]; pos != nil {
				ps = append(ps, pos.partition)
				if forget {
					delete(s.owned, tp{topic, id})
				}
			}
		}
	}
	return ps
}

// fetchError sorts out why a partition gave no records. pos is nil for a partition that is not owned.
func (s *Source) fetchError(ctx context.Context, pos *position, topic string, id int32, err error) {
	p := batch.Partition{Topic: topic, ID: id}
	if pos != nil {
		p = pos.partition
	}
	var loss *kgo.ErrDataLoss
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed):
		return
	case pos != nil && errors.As(err, &loss):
		// The client found where the log diverged and goes on there: offsets from there on are other records.
		s.handler.Gap(ctx, p, loss.ConsumedTo, loss.ResetTo, ingest.GapTruncated)
		s.moveTo(pos, loss.ResetTo)
		return
	case pos != nil && errors.Is(err, kerr.OffsetOutOfRange):
		err = s.outOfRange(ctx, pos)
		if err == nil {
			return
		}
	case errors.Is(err, kerr.UnknownTopicID):
		err = fmt.Errorf("topic %s was deleted or recreated: %w", topic, err)
		s.forgetTopic(topic)
	}
	if pos != nil {
		pos.failed = true
	}
	s.handler.Failed(p, err)
}

// outOfRange moves a partition whose next offset is not in the log to the first one that is, and reports the gap.
func (s *Source) outOfRange(ctx context.Context, pos *position) error {
	p := pos.partition
	starts, err := s.adm.ListStartOffsets(ctx, p.Topic)
	if err != nil {
		return fmt.Errorf("list first offsets: %w", err)
	}
	ends, err := s.adm.ListEndOffsets(ctx, p.Topic)
	if err != nil {
		return fmt.Errorf("list last offsets: %w", err)
	}
	start, _ := starts.Lookup(p.Topic, p.ID)
	end, _ := ends.Lookup(p.Topic, p.ID)
	if start.Err != nil || end.Err != nil {
		return fmt.Errorf("list offsets of %s: %w", p, errors.Join(start.Err, end.Err))
	}
	from, to, why := pos.next, start.Offset, ingest.GapRetention
	if from > end.Offset {
		to, why = end.Offset, ingest.GapTruncated
	} else if from >= start.Offset {
		to = from // back in range by the time we asked
	}
	if to != from {
		s.handler.Gap(ctx, p, from, to, why)
	}
	s.moveTo(pos, to)
	s.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{p.Topic: {p.ID: {Epoch: -1, Offset: to}}})
	return nil
}

// forgetTopic takes the partitions of a topic back and has the client find it again: one that was made again under the same
// name is another topic to it. A client without a partition of the old one holds on to it, too, and could not read what it is
// given of the new one.
func (s *Source) forgetTopic(topic string) {
	s.mu.Lock()
	var ps []batch.Partition
	for key, pos := range s.owned {
		if key.topic == topic {
			ps = append(ps, pos.partition)
			delete(s.owned, key)
		}
	}
	s.mu.Unlock()
	if len(ps) > 0 {
		s.handler.Lost(ps)
	}
	s.client.PurgeTopicsFromConsuming(topic)
	if !s.usesRegex() {
		s.client.AddConsumeTopics(topic)
	}
}

func commitError(resp *kmsg.OffsetCommitResponse, err error) error {
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("%s/%d: %w", t.Topic, p.Partition, err)
			}
		}
	}
	return nil
}
