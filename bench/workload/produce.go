package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ProduceOptions says how records are sent. The zero value sends them as fast as the broker takes them, compressed with
// lz4.
type ProduceOptions struct {
	Rate        float64 // records per second; 0 is no limit
	Compression string  // lz4 (default), none, gzip, snappy or zstd
	// BatchBytes is how large batches are before compression, however many partitions the records are spread over: what is for a
	// partition is sent when there is so much of it, or at the end. No record may be larger. 0: what has come for a partition within a
	// few milliseconds is a batch, so the more partitions there are, the smaller they are. It does not go with Rate.
	BatchBytes int
	// Observe sees every record before it is sent, in order: a truth may take it. It must not keep it.
	Observe func(*Record)
	// Progress is told, about ten times a second and at the end, how many records were handed to the client. It is
	// called from the goroutine that called Produce.
	Progress func(sent int64)
	// Client adds options, such as TLS.
	Client []kgo.Opt
}

// Compressions lists the names that ProduceOptions.Compression takes.
func Compressions() []string { return []string{"lz4", "none", "gzip", "snappy", "zstd"} }

func codec(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "", "lz4":
		return kgo.Lz4Compression(), nil
	case "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.CompressionCodec{}, fmt.Errorf("there is no compression %q: use one of %v", name, Compressions())
}

const (
	// maxHuge is the largest record a generator makes, and maxBatch the largest batch, before compression. The first
	// must fit the second. Brokers take 1 MiB, after compression, unless the topic says otherwise.
	maxHuge         = maxBatch - 64<<10
	maxBatch        = 4 << 20
	maxMessageBytes = "8388608"

	maxBuffered      = 32_768   // records the client holds, about 4 MiB
	maxBufferedBytes = 64 << 20 // and a bound for when many of them are huge

	minBatch    = 2 << 10 // what BatchBytes is at least
	recordExtra = 16      // what a record takes in a batch beside key and value, at most: times, offset and lengths are varints
	batchExtra  = 256     // the header of a batch, and of the request with it
)

// Produce sends all records of gen to the partitions they name and waits until the broker has them. It returns how
// many were acknowledged. The order within a partition is kept.
//
// A topic that does not exist is created with gen.Partitions() partitions, without retention, as event times may be old,
// and for messages up to 8 MiB. One that exists must have enough partitions.
func Produce(ctx context.Context, brokers []string, topic string, gen Generator, opts ProduceOptions) (int64, error) {
	compression, err := codec(opts.Compression)
	if err != nil {
		return 0, fmt.Errorf("produce to %s: %w", topic, err)
	}
	if !(opts.Rate >= 0) {
		return 0, fmt.Errorf("produce to %s: a rate of %v records per second: it must not be negative", topic, opts.Rate)
	}
	batch, linger, buffered := maxBatch, 5*time.Millisecond, maxBuffered
	if opts.BatchBytes != 0 {
		if opts.BatchBytes < minBatch || opts.BatchBytes > maxBatch || opts.Rate != 0 {
			return 0, fmt.Errorf("produce to %s: batches of %d bytes at a rate of %v: %d to %d bytes are possible, and no rate with them",
				topic, opts.BatchBytes, opts.Rate, minBatch, maxBatch)
		}
		// The client is handed whole batches, and must not cut them.
		batch, linger, buffered = opts.BatchBytes, time.Minute, maxBufferedBytes/recordExtra
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(brokers...),
		kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(compression),
		kgo.ProducerBatchMaxBytes(int32(batch)),
		kgo.ProducerLinger(linger),
		kgo.MaxBufferedRecords(buffered),
		kgo.MaxBufferedBytes(maxBufferedBytes),
	}, opts.Client...)...)
	if err != nil {
		return 0, fmt.Errorf("produce to %s: %w", topic, err)
	}
	defer client.Close()
	if err := ensureTopic(ctx, client, topic, gen.Partitions()); err != nil {
		return 0, fmt.Errorf("produce to %s at %v: %w", topic, brokers, err)
	}
	p := &producer{client: client, opts: opts, gathered: make([]gathered, gen.Partitions())}
	err = p.send(ctx, gen)
	if err != nil {
		return p.acked(), fmt.Errorf("produce to %s at %v: %w", topic, brokers, err)
	}
	return p.acked(), nil
}

func ensureTopic(ctx context.Context, client *kgo.Client, topic string, partitions int32) error {
	adm := kadm.NewClient(client)
	keep, size := "-1", maxMessageBytes
	_, err := adm.CreateTopic(ctx, partitions, -1, map[string]*string{"retention.ms": &keep, "max.message.bytes": &size}, topic)
	if err == nil {
		return nil
	}
	if !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create the topic: %w", err)
	}
	topics, err := adm.ListTopics(ctx, topic)
	if err != nil {
		return fmt.Errorf("ask for the topic's partitions: %w", err)
	}
	if have := len(topics[topic].Partitions); have < int(partitions) {
		return fmt.Errorf("the topic has %d partitions, and the records are for %d: delete it, or use another", have, partitions)
	}
	return nil
}

// producer is one call of Produce.
type producer struct {
	client *kgo.Client
	opts   ProduceOptions
	spare  sync.Pool // of *kgo.Record, with their memory
	// gathered are the records that wait for more of their partition, where opts.BatchBytes says so.
	gathered []gathered

	mu    sync.Mutex // guards what the client's goroutines report
	count int64
	err   error
}

func (p *producer) acked() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

func (p *producer) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// done is called by the client for every record.
func (p *producer) done(r *kgo.Record, err error) {
	p.mu.Lock()
	if err == nil {
		p.count++
	} else if p.err == nil {
		p.err = fmt.Errorf("partition %d: %w", r.Partition, err)
	}
	p.mu.Unlock()
	if err == nil {
		p.spare.Put(r)
	}
}

// gathered is the batch that a partition is to get next.
type gathered struct {
	records []*kgo.Record
	bytes   int
}

// hand gives a record to the client: at once, or with all of its batch.
func (p *producer) hand(ctx context.Context, r *kgo.Record) {
	if p.opts.BatchBytes == 0 {
		p.client.Produce(ctx, r, p.done)
		return
	}
	g := &p.gathered[r.Partition]
	size := len(r.Key) + len(r.Value) + recordExtra
	if g.bytes+size > p.opts.BatchBytes-batchExtra {
		p.handAll(ctx, g)
	}
	g.records, g.bytes = append(g.records, r), g.bytes+size
}

func (p *producer) handAll(ctx context.Context, g *gathered) {
	for _, r := range g.records {
		p.client.Produce(ctx, r, p.done)
	}
	g.records, g.bytes = g.records[:0], 0
}

// checkEvery is how many records pass between looks at the clock and at errors.
const checkEvery = 64

func (p *producer) send(ctx context.Context, gen Generator) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now()
	var rec Record
	var sent int64
	shown := start
	for {
		out, _ := p.spare.Get().(*kgo.Record)
		if out == nil {
			out = &kgo.Record{}
		}
		if !gen.Next(&rec) {
			break
		}
		if p.opts.Observe != nil {
			p.opts.Observe(&rec)
		}
		*out = kgo.Record{Key: append(out.Key[:0], rec.Key...), Value: append(out.Value[:0], rec.Value...), Partition: rec.Partition}
		if len(rec.Key) == 0 {
			out.Key = nil // no key, and not an empty one
		}
		if rec.Time != 0 {
			out.Timestamp = time.UnixMilli(rec.Time)
		}
		p.hand(ctx, out)
		sent++
		if sent%checkEvery != 0 && p.opts.Rate == 0 {
			continue
		}
		if err := p.failure(); err != nil {
			return err
		}
		if now := time.Now(); p.opts.Progress != nil && now.Sub(shown) >= 100*time.Millisecond {
			shown = now
			p.opts.Progress(sent)
		}
		if p.opts.Rate > 0 {
			due := start.Add(time.Duration(float64(sent) / p.opts.Rate * float64(time.Second)))
			if err := sleepUntil(ctx, due); err != nil {
				return err
			}
		}
	}
	for i := range p.gathered {
		p.handAll(ctx, &p.gathered[i])
	}
	if err := p.client.Flush(ctx); err != nil {
		return first(p.failure(), fmt.Errorf("wait for the broker: %w", err))
	}
	if p.opts.Progress != nil {
		p.opts.Progress(sent)
	}
	return first(p.failure(), gen.Err())
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// sleepUntil returns early with an error when ctx ends.
func sleepUntil(ctx context.Context, due time.Time) error {
	d := time.Until(due)
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
