package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// unowned finds partitions that the group has given to nobody, and has it balance again.
//
// In a classic group the leader compares the partitions of the topics with those it divided before. A static member that restarts
// as the leader divides nothing (KIP-814), so it does not miss those that were added while it was away, and they would not be read
// before something else makes the group balance.
type unowned struct {
	covered map[string]int // partitions of each topic when all of them had an owner
	since   int            // probes in a row that found one without
	askedAt time.Time
}

// unownedProbes is how many probes in a row must find a partition without an owner: a leader that sees it by itself is let be.
const unownedProbes = 2

// unownedAgain is how long a balance that was asked for is not asked for again, where it does not help.
const unownedAgain = 5 * time.Minute

// checkOwned is called with the topics as the brokers have them now.
func (s *Source) checkOwned(ctx context.Context, topics kadm.TopicDetails) {
	u := &s.unowned
	if s.cfg.InstanceID == "" || s.lease.modern.Load() {
		return
	}
	wanted := map[string]int{}
	changed := false
	for _, t := range topics {
		if t.Err != nil || t.IsInternal || !s.reads(t.Topic) {
			continue
		}
		wanted[t.Topic] = len(t.Partitions)
		changed = changed || wanted[t.Topic] != u.covered[t.Topic]
	}
	if !changed {
		return
	}
	groups, err := s.adm.DescribeGroups(ctx, s.cfg.Group)
	group := groups[s.cfg.Group]
	if err != nil || group.Err != nil || group.State != "Stable" {
		u.since = 0
		return
	}
	assigned := group.AssignedPartitions()
	topic, partition := "", int32(0)
	for name, n := range wanted {
		for id := range int32(n) {
			if !assigned.Lookup(name, id) {
				topic, partition = name, id
			}
		}
	}
	if topic == "" {
		u.covered, u.since = wanted, 0
		return
	}
	if u.since++; u.since < unownedProbes || !u.askedAt.IsZero() && time.Since(u.askedAt) < unownedAgain {
		return
	}
	u.since, u.askedAt = 0, time.Now()
	s.log.Warn("the group has given a partition to nobody; having it balance again", "group", s.cfg.Group, "topic", topic, "partition", partition)
	s.client.ForceRebalance()
}

// reads tells whether a topic is one of those the source is to read.
func (s *Source) reads(topic string) bool {
	for _, re := range s.patterns {
		if re.MatchString(topic) {
			return true
		}
	}
	return false
}
