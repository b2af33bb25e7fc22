package harness

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/bench/workload"
)

// stream is a topic that was filled, with the truth about it.
type stream struct {
	topic   string
	size    workload.Size
	bytes   int64 // of the values
	columns workload.Columns
	rows    []workload.Row
	counts  workload.Counts
	batches batches
}

// rowsOf is how many rows a record of a workload has.
func rowsOf(c workload.Case) int64 { return max(1, c.Rows) }

// fill produces the records of a workload to a topic of their own and works out the truth.
func (b *bench) fill(ctx context.Context, c workload.Case, size workload.Size) (*stream, error) {
	return b.fillBatches(ctx, c, size, 0)
}

// fillBatches is fill with batches of so many bytes, see workload.ProduceOptions.
func (b *bench) fillBatches(ctx context.Context, c workload.Case, size workload.Size, batchBytes int) (*stream, error) {
	size.Seed, size.Events, size.Partitions = b.opts.Seed, cmp.Or(size.Events, max(min(b.opts.Events, 1), b.opts.Events/rowsOf(c)), c.Events), cmp.Or(size.Partitions, b.opts.Partitions)
	gen, err := c.Stream(size)
	if err != nil {
		return nil, err
	}
	truth, err := c.Truth(size)
	if err != nil {
		return nil, err
	}
	s := &stream{topic: b.name(c.Name), size: size}
	b.say("%s: producing %s records to %d partition%s", c.Name, report.Thousands(size.Events), size.Partitions, strings.TrimSpace(plural(int(size.Partitions))))
	shown := time.Now()
	n, err := workload.Produce(ctx, b.brokers, s.topic, gen, workload.ProduceOptions{
		BatchBytes: batchBytes, Client: []kgo.Opt{kgo.WithHooks(&s.batches)},
		Observe: func(r *workload.Record) {
			s.bytes += int64(len(r.Value))
			truth.Add(r)
		},
		Progress: func(sent int64) {
			if time.Since(shown) > showEvery {
				shown = time.Now()
				b.say("%s: %s of %s records are produced", c.Name, report.Thousands(sent), report.Thousands(size.Events))
			}
		},
	})
	if err != nil {
		return nil, err
	}
	if n != size.Events {
		return nil, fmt.Errorf("the stream has %d records instead of %d", n, size.Events)
	}
	s.columns, s.rows, s.counts = truth.Columns(), truth.Windows(), truth.Counts()
	return s, nil
}

// showEvery is how often something long says how far it is.
const showEvery = 15 * time.Second

// dropTopic removes a topic that all have read, so that a run needs the disk of one at a time.
func (b *bench) dropTopic(ctx context.Context, topic string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.brokers...))
	if err != nil {
		return fmt.Errorf("remove topic %s: %w", topic, err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).DeleteTopic(ctx, topic); err != nil {
		return fmt.Errorf("remove topic %s: %w", topic, err)
	}
	return nil
}

// nothing is a generator without records: producing it makes the topic.
type nothing struct{ partitions int32 }

func (nothing) Next(*workload.Record) bool { return false }
func (nothing) Err() error                 { return nil }
func (n nothing) Partitions() int32        { return n.partitions }
