package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/ingest/batch"
)

// Resender sends records again and finds out what of them is there. It sends in transactions of one transactional ID, so
// that of two that run at a time, or of one that died and its successor, the later one ends the earlier one. One goroutine
// uses it.
type Resender struct {
	producer *kgo.Client
	reader   *kgo.Client
	admin    *kadm.Client
}

// Outgoing is a record to be sent. Send fills in its offset.
type Outgoing struct {
	Topic     string
	Partition int32
	batch.Record
}

// How long a Resender waits: for brokers at all, and for a record that the log should have.
const (
	resendTimeout = 30 * time.Second
	readTimeout   = 10 * time.Second
)

// NewResender makes one for a transactional ID. It connects to nothing yet. Of cfg it uses how to reach the brokers, and
// MaxRecord.
func NewResender(cfg Config, id string, log *slog.Logger) (*Resender, error) {
	opts, err := connection(cfg, log)
	if err != nil {
		return nil, err
	}
	// Not kgo.RecordDeliveryTimeout, which counts from the record's own time: these are old.
	opts = append(opts, kgo.RetryTimeout(resendTimeout))
	opts = slices.Clip(opts)
	r := &Resender{}
	if r.producer, err = kgo.NewClient(append(opts,
		kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(int32(max(1<<20, cfg.MaxRecord+64<<10))),
	)...); err != nil {
		return nil, fmt.Errorf("set up the Kafka client: %w", err)
	}
	if r.reader, err = kgo.NewClient(append(opts,
		kgo.KeepControlRecords(), // an end of the log may be one
	)...); err != nil {
		r.producer.Close()
		return nil, fmt.Errorf("set up the Kafka client: %w", err)
	}
	r.admin = kadm.NewClient(r.reader)
	return r, nil
}

// Close ends the connections. What was not committed is aborted by whoever uses the transactional ID next, or when it
// times out.
func (r *Resender) Close() {
	r.producer.Close()
	r.reader.Close()
}

// Ping finds out whether a broker can be reached.
func (r *Resender) Ping(ctx context.Context) error { return r.reader.Ping(ctx) }

// Topic is the ID of a topic and how many partitions it has; none where there is no such topic.
func (r *Resender) Topic(ctx context.Context, name string) (id [16]byte, partitions int32, err error) {
	topics, err := r.admin.ListTopics(ctx, name)
	if err != nil {
		return id, 0, fmt.Errorf("look at topic %s: %w", name, err)
	}
	t := topics[name]
	if errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
		return id, 0, nil
	}
	if t.Err != nil {
		return id, 0, fmt.Errorf("look at topic %s: %w", name, t.Err)
	}
	return t.ID, int32(len(t.Partitions)), nil
}

// Bounds are the first offset of a partition and the one after the last that is not in an open transaction.
type Bounds struct{ Start, End int64 }

// Bounds lists them for each partition of a topic.
func (r *Resender) Bounds(ctx context.Context, topic string) (map[int32]Bounds, error) {
	starts, err := r.admin.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ask where topic %s begins: %w", topic, err)
	}
	ends, err := r.admin.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ask where topic %s ends: %w", topic, err)
	}
	bounds := map[int32]Bounds{}
	ends.Each(func(o kadm.ListedOffset) {
		start, _ := starts.Lookup(topic, o.Partition)
		bounds[o.Partition] = Bounds{start.Offset, o.Offset}
	})
	return bounds, nil
}

// Fence takes the transactional ID over: what somebody before had begun to send is not there and never will be, and if he
// still lives he can send no more.
func (r *Resender) Fence(ctx context.Context) error {
	if _, _, err := r.producer.ProducerID(ctx); err != nil {
		return fmt.Errorf("take the transactional ID over: %w", err)
	}
	return nil
}

// Send sends records in one transaction and fills in their offsets. After an error it is not known whether they are there,
// until the next Fence.
func (r *Resender) Send(ctx context.Context, out []*Outgoing) error {
	if err := r.producer.BeginTransaction(); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	records := make([]*kgo.Record, len(out))
	for i, o := range out {
		records[i] = &kgo.Record{Topic: o.Topic, Partition: o.Partition, Key: o.Key, Value: o.Value, Timestamp: time.UnixMilli(o.Time)}
		for _, h := range o.Headers {
			records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	sending, stop := context.WithTimeout(ctx, resendTimeout)
	defer stop()
	results := r.producer.ProduceSync(sending, records...)
	// A transaction that is cut off could be neither ended nor known: it has the time it needs.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), resendTimeout)
	defer cancel()
	if err := results.FirstErr(); err != nil {
		return errors.Join(fmt.Errorf("send: %w", err), r.producer.EndTransaction(end, kgo.TryAbort))
	}
	if err := r.producer.EndTransaction(end, kgo.TryCommit); err != nil {
		return fmt.Errorf("commit what was sent: %w", err)
	}
	for i, o := range out {
		o.Offset = records[i].Offset
	}
	return nil
}

// Read gives the records of a partition from an offset on to each, in order, until it returns false or the offset to is
// reached. Both offsets must be within the bounds of the partition. The records are borrowed for the call.
func (r *Resender) Read(ctx context.Context, topic string, partition int32, from, to int64, each func(*batch.Record) bool) error {
	if from >= to {
		return nil
	}
	r.reader.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}})
	defer r.reader.RemoveConsumePartitions(map[string][]int32{topic: {partition}})
	for next := from; next < to; {
		waiting, cancel := context.WithTimeout(ctx, readTimeout)
		fetches := r.reader.PollFetches(waiting)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, e := range fetches.Errors() {
			if errors.Is(e.Err, context.DeadlineExceeded) {
				return fmt.Errorf("read %s/%d: offset %d did not come within %v", topic, partition, next, readTimeout)
			}
			return fmt.Errorf("read %s/%d at offset %d: %w", topic, partition, next, e.Err)
		}
		done := false
		fetches.EachRecord(func(k *kgo.Record) {
			if done || k.Topic != topic || k.Partition != partition || k.Offset < next {
				return
			}
			if next = k.Offset + 1; k.Offset >= to {
				done = true
				return
			}
			if k.Attrs.IsControl() {
				return
			}
			rec := recordOf(k)
			done = !each(&rec)
		})
		if done {
			return nil
		}
	}
	return nil
}

// Place is the partition a record without one of its own belongs to: by its key, as Kafka's clients do, or else.
func Place(topic string, key []byte, otherwise, partitions int32) int32 {
	if key == nil {
		return otherwise % partitions
	}
	p := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
	return int32(p.Partition(&kgo.Record{Topic: topic, Key: key}, int(partitions)))
}
