// Package deadletter sends the records of dead letters again.
//
// A replayed record is a new record, with an offset of its own: what it becomes is counted there, and the rejected one stays
// counted as rejected, so every account still adds up. Each letter is noted with where its record went, and is not sent a
// second time.
//
// # What happens when a replay dies
//
// Records are sent a page at a time, in four steps:
//
//  1. the letters are marked as "sending", with the end of the target's partition
//  2. the records are sent in a transaction, with the header weir-dlq-origin
//  3. the transaction is committed
//  4. the letters are marked as "replayed", with partition and offset
//
// All replays of a pipeline have one transactional ID. The next one takes it over, which aborts a transaction that was left
// open and ends a replay that still runs. Then it looks for letters that are "sending" and not "replayed", reads their
// target from the noted offset on, and finds by the header which of them are there: those are marked, the others sent. So a
// consumer that reads committed records, as weir does, sees each once, whenever a replay was killed. One that reads
// uncommitted records may see those of an aborted transaction, and then again.
package deadletter

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/kafka"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// The headers of a record that was sent again: topic/partition/offset of the rejected one, and the ID of its topic.
const (
	OriginHeader  = "weir-dlq-origin"
	TopicIDHeader = "weir-dlq-topic-id"
)

// TransactionalID is that of all replays of a pipeline.
func TransactionalID(pipeline string) string { return "weir-dlq-" + pipeline }

// Bounds of a page, which is one transaction.
const (
	pageRecords = 500
	pageBytes   = 8 << 20
	maxLetters  = 1_000_000
	keptBytes   = 64 << 10 // of key and payload, by the engine
)

// Options say what is sent, and where to.
type Options struct {
	Filter clickhouse.LetterFilter
	Limit  int // records to send at most; 0 is all
	// Topic is where records are sent to; empty is each to the topic and partition it came from.
	Topic string
	// Original takes every record from the log it came from, with its headers, instead of from its letter.
	Original bool
	// Again sends also what was sent before.
	Again bool
	// Late sends also late records to their own topic, where they will be late again.
	Late bool
	// DryRun finds out what would be sent, and changes nothing.
	DryRun bool
}

// Result says what was done, or with DryRun what would be.
type Result struct {
	DryRun   bool      `json:"dry_run"`
	Records  int       `json:"records"` // sent
	Letters  int       `json:"letters"` // of those records
	Found    int       `json:"found"`   // records that a replay before had sent without noting it
	Replayed int       `json:"skipped_replayed"`
	Late     int       `json:"skipped_late"`
	Refused  []Refusal `json:"refused"`
}

// Refusal is a record that cannot be sent.
type Refusal struct {
	Record string `json:"record"`
	Why    string `json:"why"`
}

// Replay sends the records of a pipeline's dead letters.
type Replay struct {
	letters *clickhouse.Letters
	kafka   *kafka.Resender
	opts    Options
	result  Result

	topics map[string]topicState
	// Progress, if set, is called after each page with how many records are sent, of how many.
	Progress func(sent, all int)
}

type topicState struct {
	id         string
	partitions int32
}

// New makes a replay. Letters and resender stay the caller's.
func New(letters *clickhouse.Letters, resender *kafka.Resender, opts Options) *Replay {
	return &Replay{
		letters: letters, kafka: resender, opts: opts, topics: map[string]topicState{},
		result: Result{DryRun: opts.DryRun, Refused: []Refusal{}},
	}
}

// group is a record and its letters: rows of it, or several revisions that rejected it.
type group struct {
	letters []*clickhouse.Letter
	out     *kafka.Outgoing
}

func (g *group) first() *clickhouse.Letter { return g.letters[0] }

// Run sends what is to be sent. The result is true also where there is an error.
func (r *Replay) Run(ctx context.Context) (Result, error) {
	if r.opts.Topic != "" {
		t, err := r.topic(ctx, r.opts.Topic)
		if err != nil {
			return r.result, err
		}
		if t.partitions == 0 {
			return r.result, fmt.Errorf("there is no topic %s: make it first", r.opts.Topic)
		}
	}
	if !r.opts.DryRun {
		if err := r.kafka.Fence(ctx); err != nil {
			return r.result, err
		}
	}
	groups, err := r.list(ctx)
	if err == nil {
		groups, err = r.settle(ctx, groups)
	}
	if r.opts.Limit > 0 && len(groups) > r.opts.Limit {
		groups = groups[:r.opts.Limit]
	}
	for done := 0; err == nil && done < len(groups); {
		page := groups[done:min(len(groups), done+pageRecords)]
		var n int
		n, err = r.page(ctx, page)
		if done += n; err == nil && r.Progress != nil {
			r.Progress(r.result.Records, len(groups))
		}
	}
	return r.result, err
}

func (r *Replay) refuse(d *clickhouse.Letter, format string, args ...any) {
	r.result.Refused = append(r.result.Refused, Refusal{d.Record().String(), fmt.Sprintf(format, args...)})
}

// list finds the records to send.
func (r *Replay) list(ctx context.Context) ([]*group, error) {
	type key struct {
		site, topicID string
		clickhouse.LetterRecord
	}
	index := map[key]*group{}
	var groups []*group
	n := 0
	err := r.letters.Read(ctx, &r.opts.Filter, clickhouse.WithoutContents, 0, func(d *clickhouse.Letter) error {
		if n++; n > maxLetters {
			return fmt.Errorf("more than %d dead letters fit: choose fewer, by --since, --partition or --limit", maxLetters)
		}
		switch {
		case d.Row:
			r.refuse(d, "its letter has a row, and not a record")
			return nil
		case d.Reason == string(batch.ReasonLate) && r.opts.Topic == "" && !r.opts.Late:
			r.result.Late++
			return nil
		}
		k := key{d.Site, d.TopicID, d.Record()}
		g := index[k]
		if g == nil {
			g = &group{}
			index[k] = g
			groups = append(groups, g)
		}
		g.letters = append(g.letters, d)
		return nil
	})
	return groups, err
}

// settle leaves out what was sent before. Where a replay died between sending and noting it, the target is asked.
func (r *Replay) settle(ctx context.Context, groups []*group) ([]*group, error) {
	open := map[string][]*group{} // by target
	var send []*group
	for _, g := range groups {
		sent := slices.ContainsFunc(g.letters, func(d *clickhouse.Letter) bool { return d.Replayed != nil })
		i := slices.IndexFunc(g.letters, func(d *clickhouse.Letter) bool { return d.Sending != nil })
		switch {
		case r.opts.Again, !sent && i < 0:
			send = append(send, g)
		case sent:
			r.result.Replayed++
		default:
			open[g.letters[i].Sending.Topic] = append(open[g.letters[i].Sending.Topic], g)
		}
	}
	for topic, gs := range open {
		rest, err := r.find(ctx, topic, gs)
		if err != nil {
			return nil, err
		}
		send = append(send, rest...)
	}
	return send, nil
}

// find looks in a topic for records that were about to be sent there, notes those that are, and returns the others.
func (r *Replay) find(ctx context.Context, topic string, groups []*group) ([]*group, error) {
	sending := func(g *group) *clickhouse.LetterTarget {
		i := slices.IndexFunc(g.letters, func(d *clickhouse.Letter) bool { return d.Sending != nil })
		return g.letters[i].Sending
	}
	t, err := r.topic(ctx, topic)
	if err != nil {
		return nil, err
	}
	var bounds map[int32]kafka.Bounds
	if t.partitions > 0 {
		if bounds, err = r.kafka.Bounds(ctx, topic); err != nil {
			return nil, err
		}
	}
	from := map[int32]int64{}
	var known []*group
	for _, g := range groups {
		s := sending(g)
		b, there := bounds[s.Partition]
		if !there || b.Start > s.Offset || b.End < s.Offset {
			r.refuse(g.first(), "a replay before may have sent it to %s/%d, which no longer has what was sent then; --again sends it", topic, s.Partition)
			continue
		}
		if first, seen := from[s.Partition]; !seen || s.Offset < first {
			from[s.Partition] = s.Offset
		}
		known = append(known, g)
	}
	found := map[[2]string]clickhouse.LetterTarget{}
	for partition, first := range from {
		err := r.kafka.Read(ctx, topic, partition, first, bounds[partition].End, func(rec *batch.Record) bool {
			var origin [2]string
			for _, h := range rec.Headers {
				switch h.Key {
				case OriginHeader:
					origin[0] = string(h.Value)
				case TopicIDHeader:
					origin[1] = string(h.Value)
				}
			}
			if origin[0] != "" {
				found[origin] = clickhouse.LetterTarget{Topic: topic, Partition: partition, Offset: rec.Offset}
			}
			return true
		})
		if err != nil {
			return nil, fmt.Errorf("look for what a replay before has sent: %w", err)
		}
	}
	var send []*group
	var marks []clickhouse.LetterMark
	for _, g := range known {
		target, is := found[[2]string{g.first().Record().String(), g.first().TopicID}]
		if !is {
			send = append(send, g)
			continue
		}
		r.result.Found++
		for _, d := range g.letters {
			marks = append(marks, clickhouse.LetterMark{Letter: d, Target: target})
		}
	}
	if r.opts.DryRun {
		return send, nil
	}
	return send, r.letters.MarkReplayed(ctx, marks)
}

// topic asks for a topic once.
func (r *Replay) topic(ctx context.Context, name string) (topicState, error) {
	if t, known := r.topics[name]; known {
		return t, nil
	}
	id, n, err := r.kafka.Topic(ctx, name)
	if err != nil {
		return topicState{}, err
	}
	t := topicState{uuidText(id), n}
	r.topics[name] = t
	return t, nil
}

// uuidText is a topic ID as ClickHouse writes it.
func uuidText(id [16]byte) string {
	h := hex.EncodeToString(id[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// page sends the first of the records, as many as fit in one transaction, and tells how many of them are done with.
func (r *Replay) page(ctx context.Context, groups []*group) (int, error) {
	contents, err := r.contents(ctx, groups)
	if err != nil {
		return 0, err
	}
	var send []*group
	done, size := 0, 0
	for _, g := range groups {
		if size >= pageBytes {
			break
		}
		done++
		if g.out, err = r.prepare(ctx, g, contents); err != nil {
			return 0, err
		}
		if g.out != nil {
			send = append(send, g)
			size += len(g.out.Key) + len(g.out.Value)
		}
	}
	if len(send) > 0 && !r.opts.DryRun {
		if err := r.send(ctx, send); err != nil {
			return 0, err
		}
	}
	for _, g := range send {
		r.result.Records++
		r.result.Letters += len(g.letters)
	}
	return done, nil
}

// contents reads the letters with their payloads.
func (r *Replay) contents(ctx context.Context, groups []*group) (map[clickhouse.LetterID]*clickhouse.Letter, error) {
	contents := map[clickhouse.LetterID]*clickhouse.Letter{}
	if r.opts.Original {
		return contents, nil
	}
	f := clickhouse.LetterFilter{}
	for _, g := range groups {
		f.Records = append(f.Records, g.first().Record())
	}
	return contents, r.letters.Read(ctx, &f, clickhouse.WithContents, 0, func(d *clickhouse.Letter) error {
		contents[d.LetterID] = d
		return nil
	})
}

// prepare makes the record to send, or refuses it.
func (r *Replay) prepare(ctx context.Context, g *group, contents map[clickhouse.LetterID]*clickhouse.Letter) (*kafka.Outgoing, error) {
	first := g.first()
	out := &kafka.Outgoing{Topic: r.opts.Topic}
	if out.Topic == "" {
		out.Topic, out.Partition = first.Topic, first.Partition
		t, err := r.topic(ctx, first.Topic)
		if err != nil {
			return nil, err
		}
		if t.partitions <= first.Partition {
			r.refuse(first, "these brokers have no such partition")
			return nil, nil
		}
		if t.id != first.TopicID {
			r.refuse(first, "topic %s is another one here: it was made anew since, or the letter is of another site's brokers; --to-topic sends it to any", first.Topic)
			return nil, nil
		}
	}
	kept := contents[first.LetterID]
	if kept == nil && !r.opts.Original {
		r.refuse(first, "its letter went away meanwhile")
		return nil, nil
	}
	if r.opts.Original || kept.Truncated || len(kept.Key) >= keptBytes {
		rec, why, err := r.original(ctx, first, kept)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			r.refuse(first, "%s", why)
			return nil, nil
		}
		out.Record = *rec
	} else {
		// An empty key or value and none cannot be told apart in a letter.
		out.Record = batch.Record{Time: kept.Time.UnixMilli(), Key: nonEmpty(kept.Key), Value: nonEmpty(kept.Payload)}
	}
	// Records that were sent again before have these headers from then.
	out.Headers = slices.DeleteFunc(out.Headers, func(h batch.Header) bool { return h.Key == OriginHeader || h.Key == TopicIDHeader })
	out.Headers = append(out.Headers,
		batch.Header{Key: OriginHeader, Value: []byte(first.Record().String())}, batch.Header{Key: TopicIDHeader, Value: []byte(first.TopicID)})
	if r.opts.Topic != "" {
		t, err := r.topic(ctx, out.Topic)
		if err != nil {
			return nil, err
		}
		out.Partition = kafka.Place(out.Topic, out.Key, first.Partition, t.partitions)
	}
	return out, nil
}

func nonEmpty(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// original reads a record from the log it came from; nil and why where that no longer has it. kept is the letter with its
// contents, or nil.
func (r *Replay) original(ctx context.Context, d, kept *clickhouse.Letter) (*batch.Record, string, error) {
	what := "the record is wanted from the log"
	if kept != nil {
		what = fmt.Sprintf("its letter has the first %d bytes only", len(kept.Payload))
	}
	t, err := r.topic(ctx, d.Topic)
	if err != nil {
		return nil, "", err
	}
	if t.partitions <= d.Partition || t.id != d.TopicID {
		return nil, what + ", and these brokers do not have the topic it came from", nil
	}
	bounds, err := r.kafka.Bounds(ctx, d.Topic)
	if err != nil {
		return nil, "", err
	}
	if b := bounds[d.Partition]; d.Offset < b.Start || d.Offset >= b.End {
		return nil, fmt.Sprintf("%s, and the log has offsets %d to %d", what, b.Start, b.End-1), nil
	}
	var rec *batch.Record
	err = r.kafka.Read(ctx, d.Topic, d.Partition, d.Offset, d.Offset+1, func(got *batch.Record) bool {
		rec = &batch.Record{
			Offset: got.Offset, Time: got.Time, Key: bytes.Clone(got.Key), Value: bytes.Clone(got.Value), Headers: slices.Clone(got.Headers),
		}
		return false
	})
	switch {
	case err != nil:
		return nil, "", err
	case rec == nil:
		return nil, what + ", and the log no longer has it", nil
	case kept != nil && (!bytes.HasPrefix(rec.Value, kept.Payload) || !bytes.HasPrefix(rec.Key, kept.Key)):
		return nil, what + ", and the log has another record at its offset", nil
	}
	return rec, "", nil
}

// send sends records in one transaction and notes them.
func (r *Replay) send(ctx context.Context, groups []*group) error {
	ends := map[string]map[int32]kafka.Bounds{}
	var out []*kafka.Outgoing
	var before []clickhouse.LetterMark
	for _, g := range groups {
		bounds := ends[g.out.Topic]
		if bounds == nil {
			var err error
			if bounds, err = r.kafka.Bounds(ctx, g.out.Topic); err != nil {
				return err
			}
			ends[g.out.Topic] = bounds
		}
		out = append(out, g.out)
		for _, d := range g.letters {
			before = append(before, clickhouse.LetterMark{Letter: d, Target: clickhouse.LetterTarget{
				Topic: g.out.Topic, Partition: g.out.Partition, Offset: bounds[g.out.Partition].End,
			}})
		}
	}
	if err := r.letters.MarkSending(ctx, before); err != nil {
		return err
	}
	if err := r.kafka.Send(ctx, out); err != nil {
		return err
	}
	var after []clickhouse.LetterMark
	for _, g := range groups {
		for _, d := range g.letters {
			after = append(after, clickhouse.LetterMark{Letter: d, Target: clickhouse.LetterTarget{
				Topic: g.out.Topic, Partition: g.out.Partition, Offset: g.out.Offset,
			}})
		}
	}
	// They are sent: that is noted even if the command was told to end meanwhile.
	if err := r.letters.MarkReplayed(context.WithoutCancel(ctx), after); err != nil {
		return errors.Join(fmt.Errorf("%d records were sent, and that could not be noted; the next replay finds them", len(groups)), err)
	}
	return nil
}
