package harness

import (
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// fullBatch is how many bytes a batch has, before compression, where its size must not depend on anything else. With LZ4 that is about
// 16 KiB of W1, which is what the producers of Kafka make by default (batch.size) of a topic that is busy.
const fullBatch = 64 << 10

// batches counts the batches that a producer made, and what is in them.
type batches struct{ number, records atomic.Int64 }

var _ kgo.HookProduceBatchWritten = (*batches)(nil)

// OnProduceBatchWritten implements kgo.HookProduceBatchWritten.
func (b *batches) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	b.number.Add(1)
	b.records.Add(int64(m.NumRecords))
}

// mean is how many records a batch has.
func (b *batches) mean() int64 { return b.records.Load() / max(1, b.number.Load()) }
