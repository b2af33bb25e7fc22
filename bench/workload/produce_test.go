package workload

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func broker(t *testing.T, opts ...kfake.Opt) []string {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestProduce(t *testing.T) {
	cfg := SensorsConfig{Seed: 9, Events: 5000, NumPartitions: 3}.DefaultMix()
	cfg.BrokenRate = 0.1 // some of them huge
	for _, compression := range Compressions() {
		t.Run(compression, func(t *testing.T) {
			ctx, brokers := deadline(t), broker(t)
			var observed, told int64
			sent, err := Produce(ctx, brokers, "sensors", sensors(t, cfg), ProduceOptions{
				Compression: compression,
				Observe:     func(*Record) { observed++ },
				Progress:    func(n int64) { told = n },
			})
			if err != nil || sent != 5000 || observed != 5000 || told != 5000 {
				t.Fatalf("sent %d, observed %d, told %d, error %v", sent, observed, told, err)
			}
			want := map[int32][]Record{}
			for g := sensors(t, cfg); ; {
				var r Record
				if !g.Next(&r) {
					break
				}
				want[r.Partition] = append(want[r.Partition], r)
			}
			client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics("sensors"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			for n := 0; n < 5000; {
				fetches := client.PollFetches(ctx)
				if err := fetches.Err(); err != nil {
					t.Fatalf("after %d records: %v", n, err)
				}
				fetches.EachRecord(func(r *kgo.Record) {
					n++
					w := want[r.Partition][r.Offset]
					if w.Offset != r.Offset || r.Timestamp.UnixMilli() != w.Time || !bytes.Equal(r.Key, w.Key) || !bytes.Equal(r.Value, w.Value) {
						t.Fatalf("partition %d offset %d is %.200s, should be %.200s", r.Partition, r.Offset, r.Value, w.Value)
					}
				})
			}
		})
	}
}

// batchSizes are the numbers of records of batches that were produced, and the most bytes of one.
type batchSizes struct {
	mu      sync.Mutex
	records []int
	most    int
}

func (b *batchSizes) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records = append(b.records, m.NumRecords)
	b.most = max(b.most, m.UncompressedBytes)
}

// TestProduceBatches finds batches of one size however many partitions there are.
func TestProduceBatches(t *testing.T) {
	const events, size = 40_000, 16 << 10
	for _, partitions := range []int32{1, 16} {
		var got batchSizes
		sent, err := Produce(deadline(t), broker(t), "t", sensors(t, SensorsConfig{Events: events, NumPartitions: partitions}), ProduceOptions{
			BatchBytes: size, Client: []kgo.Opt{kgo.WithHooks(&got)},
		})
		if err != nil || sent != events {
			t.Fatalf("%d partitions: sent %d, error %v", partitions, sent, err)
		}
		// What a batch begins with may have been sent before all of it was handed over, but most are whole.
		slices.Sort(got.records)
		if median := got.records[len(got.records)/2]; median < 90 || median > 140 || got.most > size {
			t.Errorf("%d partitions: a batch has %d records, the largest %d bytes; should be about 115 records and at most %d bytes", partitions, median, got.most, size)
		}
	}
	for _, opts := range []ProduceOptions{{BatchBytes: -1}, {BatchBytes: 100}, {BatchBytes: 5 << 20}, {BatchBytes: size, Rate: 10}} {
		if _, err := Produce(deadline(t), nil, "t", sensors(t, SensorsConfig{Events: 1}), opts); err == nil || !strings.Contains(err.Error(), "bytes are possible") {
			t.Errorf("%+v: error %v", opts, err)
		}
	}
}

func TestProduceAtARate(t *testing.T) {
	g := sensors(t, SensorsConfig{Events: 100, NumPartitions: 1})
	start := time.Now()
	if _, err := Produce(deadline(t), broker(t), "t", g, ProduceOptions{Rate: 500}); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 190*time.Millisecond {
		t.Errorf("100 records at 500 a second took %v", d)
	}
}

func TestProduceErrors(t *testing.T) {
	small := func() Generator { return sensors(t, SensorsConfig{Events: 10, NumPartitions: 4}) }
	t.Run("too few partitions", func(t *testing.T) {
		_, err := Produce(deadline(t), broker(t, kfake.SeedTopics(2, "t")), "t", small(), ProduceOptions{})
		if err == nil || !strings.Contains(err.Error(), "has 2 partitions") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("the topic is there", func(t *testing.T) {
		if n, err := Produce(deadline(t), broker(t, kfake.SeedTopics(4, "t")), "t", small(), ProduceOptions{}); err != nil || n != 10 {
			t.Errorf("%d sent, error %v", n, err)
		}
	})
	t.Run("compression", func(t *testing.T) {
		_, err := Produce(deadline(t), nil, "t", small(), ProduceOptions{Compression: "rar"})
		if err == nil || !strings.Contains(err.Error(), `no compression "rar"`) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("negative rate", func(t *testing.T) {
		if _, err := Produce(deadline(t), nil, "t", small(), ProduceOptions{Rate: -1}); err == nil {
			t.Error("no error")
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(deadline(t))
		g := sensors(t, SensorsConfig{Events: 1 << 40})
		_, err := Produce(ctx, broker(t), "t", g, ProduceOptions{Observe: func(r *Record) {
			if r.Offset == 1000 {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("no broker", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		if _, err := Produce(ctx, []string{"127.0.0.1:1"}, "t", small(), ProduceOptions{}); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("the generator fails", func(t *testing.T) {
		g, err := Weather(strings.NewReader("date,pressure,temperature,wind\nyesterday,1,2,3\n"), WeatherConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Produce(deadline(t), broker(t), "t", g, ProduceOptions{}); err == nil || !strings.Contains(err.Error(), "yesterday") {
			t.Errorf("error %v", err)
		}
	})
}
