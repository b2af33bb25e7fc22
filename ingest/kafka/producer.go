package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Producer sends records to a topic. It is safe for concurrent use.
type Producer struct {
	client *kgo.Client
	topic  string
}

// Message is a record to be sent. Records of one key go to one partition.
type Message struct {
	Key, Value []byte
	Headers    []Header
}

// Header is one of a message.
type Header struct{ Key, Value string }

// sendTimeout is how long a record may take before Send tells that something is wrong.
const sendTimeout = 10 * time.Second

// NewProducer makes one. It connects to nothing yet. Of cfg it uses how to reach the brokers.
func NewProducer(cfg Config, topic string, log *slog.Logger) (*Producer, error) {
	opts, err := connection(cfg, log)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(
		opts, kgo.DefaultProduceTopic(topic), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0),
		kgo.RecordDeliveryTimeout(sendTimeout), kgo.UnknownTopicRetries(1),
	)...)
	if err != nil {
		return nil, fmt.Errorf("set up the Kafka client: %w", err)
	}
	return &Producer{client: client, topic: topic}, nil
}

// Send sends messages and waits until all brokers that must have them do. After an error any of them may be there.
func (p *Producer) Send(ctx context.Context, messages []Message) error {
	records := make([]*kgo.Record, len(messages))
	for i, m := range messages {
		records[i] = &kgo.Record{Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: h.Key, Value: []byte(h.Value)})
		}
	}
	err := p.client.ProduceSync(ctx, records...).FirstErr()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("there is no topic %s: create it", p.topic)
	case errors.Is(err, kgo.ErrRecordTimeout):
		return fmt.Errorf("no broker has taken a record for topic %s for %s", p.topic, sendTimeout)
	}
	return fmt.Errorf("send to topic %s: %w", p.topic, err)
}

// Close ends the connections.
func (p *Producer) Close() { p.client.Close() }
