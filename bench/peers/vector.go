package peers

import (
	"context"
	"embed"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/bench/contender"
)

//go:embed vector/project.yaml
var vectorFiles embed.FS

// Vector does W2 but for its sums, as [Bento] does. It never ends: it is asked to once its group has committed the end of the topic, which
// it does when the rows are in the file.
func Vector() contender.Contender {
	c := stateless("vector", "Vector; filter and projection alone, acknowledged, to a file", "WEIR_VECTOR", clockWindows,
		vectorFiles, []string{"vector/project.yaml"}, func(file string) []string { return []string{"--quiet", "--config-yaml", file} })
	prepare := c.Command
	c.Command = func(ctx context.Context, t contender.Task) (contender.Command, error) {
		cmd, err := prepare(ctx, t)
		cmd.Done = func(ctx context.Context) error { return committed(ctx, t.Brokers, t.Name, t.Topic, t.Size.Events) }
		return cmd, err
	}
	return c
}

// committed waits until a group has committed so many records of a topic. Its partitions begin at offset 0.
func committed(ctx context.Context, brokers []string, group, topic string, records int64) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return fmt.Errorf("set up a client: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var n int64
		// A group that is not there yet is an error like others, and the next answer tells.
		if all, err := adm.FetchOffsets(ctx, group); err == nil {
			for _, o := range all[topic] {
				n += max(o.At, 0)
			}
		}
		if n >= records {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the group %s, which committed %d of %d records: %w", group, n, records, ctx.Err())
		case <-tick.C:
		}
	}
}
