package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// refused tells which topics are not read, and why: those that the broker compacts. It takes records out of the middle of
// such a log at any time, so reading it again gives other rows, and totals that were rebuilt from it would be other totals.
//
// A node may lack the right to ask (DESCRIBE_CONFIGS on the topic), or the broker the request. Then nothing is refused.
func (s *Source) refused(ctx context.Context, topics []string) (map[string]error, error) {
	if s.cfg.AllowCompacted {
		return nil, nil
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, topic := range topics {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, topic, []string{"cleanup.policy"}
		req.Resources = append(req.Resources, r)
	}
	// Not with kadm, which gives nothing of any topic where one is denied.
	resp, err := req.RequestWith(ctx, s.client)
	if errors.Is(err, kerr.UnsupportedVersion) {
		s.cannotAsk(topics[0], err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the settings of topics: %w", err)
	}
	refused := map[string]error{}
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			s.cannotAsk(r.ResourceName, err)
			continue
		}
		for _, c := range r.Configs {
			if c.Name == "cleanup.policy" && c.Value != nil && compacts(*c.Value) {
				refused[r.ResourceName] = fmt.Errorf("topic %s is compacted (cleanup.policy=%s): the broker removes records from its middle, and reading it again would give other totals; "+
					"read a topic that is not compacted, or set source.kafka.allow_compacted: true to count what there is when it is read",
					r.ResourceName, *c.Value)
			}
		}
	}
	return refused, nil
}

// compacts reads a cleanup.policy, such as "compact,delete".
func compacts(policy string) bool {
	return slices.ContainsFunc(strings.Split(policy, ","), func(p string) bool { return strings.TrimSpace(p) == "compact" })
}

// cannotAsk warns, once.
func (s *Source) cannotAsk(topic string, err error) {
	s.mu.Lock()
	told := s.blind
	s.blind = true
	s.mu.Unlock()
	if !told {
		s.log.Warn("cannot find out whether topics are compacted; totals of a compacted topic are not exact", "topic", topic, "error", err,
			"hint", "allow DESCRIBE_CONFIGS on the topics, or set source.kafka.allow_compacted: true")
	}
}
