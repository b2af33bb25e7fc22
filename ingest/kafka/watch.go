package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-stream/weir/ingest/batch"
)

// watch tells the handler while the brokers cannot be reached or a topic does not exist. franz-go keeps trying by
// itself and says nothing of either.
func (s *Source) watch(ctx context.Context) {
	const often, seldom = time.Second, 10 * time.Second
	told := ""
	for {
		wait := seldom
		switch err := s.probe(ctx); {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = often
			if err.Error() != told {
				told = err.Error()
				s.handler.Failed(batch.Partition{}, err)
			}
		default:
			if told != "" {
				told = ""
			}
			s.handler.Failed(batch.Partition{}, nil)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// probe finds out what is wrong, if anything.
func (s *Source) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	topics, err := s.adm.ListTopics(ctx)
	if errors.Is(err, io.EOF) {
		// All that some brokers do about a client they do not like.
		return fmt.Errorf("cannot reach Kafka at %s: the broker closes the connection; it may want TLS, or another SASL login: %w",
			strings.Join(s.cfg.Brokers, ", "), err)
	}
	if err != nil {
		return fmt.Errorf("cannot reach Kafka at %s: %w; check that it runs and that source.kafka.brokers is right; waiting for it",
			strings.Join(s.cfg.Brokers, ", "), err)
	}
	s.checkOwned(ctx, topics)
	return s.missing(topics)
}

func (s *Source) missing(topics kadm.TopicDetails) error {
	for i, re := range s.patterns {
		found := false
		for _, t := range topics {
			if t.Err == nil && re.MatchString(t.Topic) {
				found = true
				break
			}
		}
		if found {
			continue
		}
		if e, ok := strings.CutPrefix(s.cfg.Topics[i], RegexPrefix); ok {
			return fmt.Errorf("no topic matches %q on %s; waiting for one", e, strings.Join(s.cfg.Brokers, ", "))
		}
		return fmt.Errorf("topic %q does not exist on %s; create it, or correct source.kafka.topics; waiting for it",
			s.cfg.Topics[i], strings.Join(s.cfg.Brokers, ", "))
	}
	return nil
}
