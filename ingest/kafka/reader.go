package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
)

// Reader reads stretches of partitions by hand: it is in no group, commits nothing, and disturbs nobody who is. It sees the
// records that the Source sees. One goroutine uses it at a time.
type Reader struct {
	source *Source // for its configuration
	client *kgo.Client
	adm    *kadm.Client
}

// NewReader makes a reader of what a source of the same configuration reads. It opens no connection yet.
func NewReader(cfg Config, log *slog.Logger) (*Reader, error) {
	s, err := New(cfg, log)
	if err != nil {
		return nil, err
	}
	opts, err := s.connection()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("set up the Kafka client: %w", err)
	}
	return &Reader{source: s, client: client, adm: kadm.NewClient(client)}, nil
}

// Close ends its connections. Closing twice is fine.
func (r *Reader) Close() { r.client.Close() }

// Partitions lists the partitions of the topics, by topic and number, with what the log has for consumers now and what the group
// has committed. Begin is not set.
func (r *Reader) Partitions(ctx context.Context) ([]ingest.Assignment, error) {
	topics, err := r.adm.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot reach Kafka at %s: %w", strings.Join(r.source.cfg.Brokers, ", "), err)
	}
	if err := r.source.missing(topics); err != nil {
		return nil, err
	}
	var names []string
	for _, t := range topics {
		if t.Err == nil && slices.ContainsFunc(r.source.patterns, func(p *regexp.Regexp) bool { return p.MatchString(t.Topic) }) {
			names = append(names, t.Topic)
		}
	}
	slices.Sort(names)
	starts, err := r.list(ctx, "first", r.adm.ListStartOffsets, names)
	if err != nil {
		return nil, err
	}
	ends, err := r.list(ctx, "last", r.adm.ListCommittedOffsets, names)
	if err != nil {
		return nil, err
	}
	commits, err := r.adm.FetchOffsets(ctx, r.source.cfg.Group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("read the offsets of group %s: %w", r.source.cfg.Group, err)
	}
	var all []ingest.Assignment
	for _, name := range names {
		for _, p := range topics[name].Partitions.Sorted() {
			start, _ := starts.Lookup(name, p.Partition)
			end, _ := ends.Lookup(name, p.Partition)
			a := ingest.Assignment{
				Partition: batch.Partition{Topic: name, TopicID: topics[name].ID, ID: p.Partition},
				LogStart:  start.Offset, LogEnd: end.Offset, Committed: -1, SameUpTo: -1,
			}
			if c, ok := commits.Lookup(name, p.Partition); ok && c.Err == nil {
				a.Committed, a.Metadata = c.At, c.Metadata
			}
			all = append(all, a)
		}
	}
	return all, nil
}

// After is, for each partition of a topic, the offset of the first record with a timestamp at or behind a time, or the log's
// end where there is none.
func (r *Reader) After(ctx context.Context, topic string, at time.Time) (map[int32]int64, error) {
	found, err := r.list(ctx, "later", func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
		return r.adm.ListOffsetsAfterMilli(ctx, at.UnixMilli(), topics...)
	}, []string{topic})
	if err != nil {
		return nil, err
	}
	out := map[int32]int64{}
	found.Each(func(o kadm.ListedOffset) { out[o.Partition] = o.Offset })
	return out, nil
}

func (r *Reader) list(ctx context.Context, which string, ask func(context.Context, ...string) (kadm.ListedOffsets, error), topics []string) (kadm.ListedOffsets, error) {
	offsets, err := ask(ctx, topics...)
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list %s offsets of %s: %w", which, strings.Join(topics, ", "), err)
	}
	return offsets, nil
}

// ErrGone is wrapped in errors about offsets that the log does not have any more.
var ErrGone = errors.New("the log does not have these offsets any more")

// quiet is how long nothing may come before a stretch of the log counts as read. It only matters where compaction removed its last
// records: everywhere else a record, or the mark of a transaction, shows that the end was reached.
const quiet = 15 * time.Second

// Read hands over the records of a partition with offsets in [from, to), in order, and returns when it has come to the end; the
// end must not be beyond that of the log. An error of each ends it. The slice is the callee's; what it points to stays valid
// while it is referenced.
func (r *Reader) Read(ctx context.Context, p batch.Partition, from, to int64, each func([]batch.Record) error) error {
	if from >= to {
		return nil
	}
	start := map[string]map[int32]kgo.Offset{p.Topic: {p.ID: kgo.NewOffset().At(from)}}
	opts, err := r.source.connection()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(opts, kgo.ConsumePartitions(start), kgo.KeepControlRecords())...)
	if err != nil {
		return fmt.Errorf("set up the Kafka client: %w", err)
	}
	defer client.Close()
	for next := from; next < to; {
		polling, cancel := context.WithTimeout(ctx, quiet)
		fetches := client.PollRecords(polling, orDefault(r.source.cfg.MaxPoll, 16384))
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if polling.Err() != nil && fetches.NumRecords() == 0 {
			return r.reached(ctx, p, next, to)
		}
		for _, e := range fetches.Errors() {
			if err := readError(p, next, e.Err); err != nil {
				return err
			}
		}
		var out []batch.Record
		fetches.EachRecord(func(in *kgo.Record) {
			if in.Offset < next {
				return // a batch holds records from before the offset asked for
			}
			next = in.Offset + 1
			if in.Offset < to && !in.Attrs.IsControl() {
				out = append(out, recordOf(in))
			}
		})
		if len(out) > 0 {
			if err := each(out); err != nil {
				return err
			}
		}
	}
	return nil
}

// reached tells whether a stretch that gives nothing more is read, or the broker is away.
func (r *Reader) reached(ctx context.Context, p batch.Partition, next, to int64) error {
	starts, err := r.list(ctx, "first", r.adm.ListStartOffsets, []string{p.Topic})
	if err != nil {
		return err
	}
	ends, err := r.list(ctx, "last", r.adm.ListCommittedOffsets, []string{p.Topic})
	if err != nil {
		return err
	}
	start, _ := starts.Lookup(p.Topic, p.ID)
	end, _ := ends.Lookup(p.Topic, p.ID)
	switch {
	case start.Offset > next:
		return fmt.Errorf("%s: offsets %d to %d: %w", p, next, start.Offset-1, ErrGone)
	case end.Offset < to:
		return fmt.Errorf("%s ends at %d now, and offsets up to %d were to be read: the log was cut back", p, end.Offset, to)
	}
	return nil
}

// readError sorts out why a partition gave no records; nil where the client tries again.
func readError(p batch.Partition, next int64, err error) error {
	var loss *kgo.ErrDataLoss
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil
	case errors.As(err, &loss):
		return fmt.Errorf("%s: the log was cut back from %d to %d while it was read", p, loss.ConsumedTo, loss.ResetTo)
	case errors.Is(err, kerr.OffsetOutOfRange):
		return fmt.Errorf("%s: offset %d: %w", p, next, ErrGone)
	}
	return fmt.Errorf("read %s from offset %d: %w", p, next, err)
}
