package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// bareConsumer reads a number of records from the beginning of a topic and does nothing with them: the ceiling for
// anything that reads Kafka with franz-go. Its arguments are brokers, topic, records, partitions.
//
// It fetches with the library's defaults, which is what somebody writes who wants a fast consumer.
func bareConsumer(args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	want, partitions := parseInt(args[2]), parseInt(args[3])
	offsets := map[int32]kgo.Offset{}
	for p := range partitions {
		offsets[int32(p)] = kgo.NewOffset().AtStart()
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(args[0], ",")...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{args[1]: offsets}))
	if err != nil {
		return fmt.Errorf("set up the bare consumer: %w", err)
	}
	defer cl.Close()
	bytes := 0
	for n := int64(0); n < want; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("bare consumer: %w", err)
		}
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			for _, r := range f.Records {
				bytes += len(r.Value)
			}
			n += int64(len(f.Records))
		})
	}
	fmt.Println(bytes)
	return nil
}
