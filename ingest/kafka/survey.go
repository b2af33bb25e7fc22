package kafka

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// survey is what the brokers say of topics when partitions of them are assigned.
type survey struct {
	ids       map[string]kadm.TopicID
	starts    kadm.ListedOffsets
	ends      kadm.ListedOffsets // where open transactions begin
	begins    kadm.ListedOffsets // where to begin without a commit
	refused   map[string]error   // topics that are not read, and why
	epochEnds map[tp]int64       // see Source.epochEnds
}

// survey asks for all of it at the same time: none of the questions needs the answer to another, and nothing is read meanwhile. Which
// topics they are about is asked before and after.
func (s *Source) survey(ctx context.Context, topics []string, offsets map[string]map[int32]kgo.Offset) (*survey, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var v survey
	var err error
	if v.ids, err = s.topicIDs(ctx, topics...); err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	var wg sync.WaitGroup
	var once sync.Once
	var failed error
	ask := func(question func() error) {
		wg.Go(func() {
			if err := question(); err != nil {
				// The first failure: those of the others may be because of it.
				once.Do(func() {
					failed = err
					cancel()
				})
			}
		})
	}
	ask(func() (err error) {
		if v.starts, err = s.adm.ListStartOffsets(ctx, topics...); err == nil {
			err = v.starts.Error()
		}
		if err != nil {
			return fmt.Errorf("list first offsets: %w", err)
		}
		// Behind the first ones, so that they are not lower.
		if v.ends, err = s.adm.ListCommittedOffsets(ctx, topics...); err == nil {
			err = v.ends.Error()
		}
		if err != nil {
			return fmt.Errorf("list last offsets: %w", err)
		}
		return nil
	})
	ask(func() (err error) {
		v.refused, err = s.refused(ctx, topics)
		return err
	})
	ask(func() (err error) {
		v.begins, err = s.begins(ctx, topics)
		return err
	})
	ask(func() (err error) {
		v.epochEnds, err = s.epochEnds(ctx, offsets)
		return err
	})
	wg.Wait()
	if failed != nil {
		return nil, failed
	}
	after, err := s.topicIDs(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	for _, t := range topics {
		if after[t] != v.ids[t] {
			return nil, fmt.Errorf("topic %s was made again while its offsets were asked for", t)
		}
	}
	switch s.cfg.Start {
	case "", "earliest":
		v.begins = v.starts
	case "latest":
		v.begins = v.ends
	}
	return &v, nil
}
