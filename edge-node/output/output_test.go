package output_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weir-stream/weir/edge-node/output"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/kafka"
	"github.com/weir-stream/weir/operators/aggregate"
)

func kind(k batch.Kind) batch.Type { return batch.Type{Kind: k} }

// config is of windows by device, with a count and an average.
func config(t *testing.T, where string, send func(context.Context, []kafka.Message) error) output.Config {
	t.Helper()
	ms := batch.TimestampOf(batch.Millisecond)
	count, err := aggregate.New(aggregate.Spec{Func: "count"})
	if err != nil {
		t.Fatal(err)
	}
	avg, err := aggregate.New(aggregate.Spec{Func: "avg", Args: []batch.Field{{Name: "v", Type: kind(batch.Float64), Nullable: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return output.Config{
		Topic: "alarms", Site: "berlin", Node: "edge-1", Pipeline: "p", Keys: 1, Where: where, Send: send, Log: slog.New(slog.DiscardHandler),
		Rows: &batch.Schema{Fields: []batch.Field{
			{Name: "window_start", Type: ms},
			{Name: "window_end", Type: ms},
			{Name: "_rows", Type: kind(batch.Uint64)},
			{Name: "device", Type: kind(batch.String), Nullable: true},
			{Name: "n", Type: kind(batch.Uint64)},
			{Name: "mean__sum", Type: kind(batch.Float64), Nullable: true},
			{Name: "mean__count", Type: kind(batch.Uint64)},
		}},
		Aggregates: []output.Aggregate{{Aggregate: count, Name: "n"}, {Aggregate: avg, Name: "mean"}},
	}
}

// rows are of one window: devices "", null, and others.
func rows(s *batch.Schema, devices string, sums []float64) *batch.Batch {
	n := len(sums)
	b := &batch.Batch{Schema: s, Rows: n}
	b.SetWidth(len(s.Fields))
	starts, ends, counts := make([]int64, n), make([]int64, n), make([]uint64, n)
	offsets, validity, seen := make([]int32, n+1), make([]byte, batch.BitmapLen(n)), make([]byte, batch.BitmapLen(n))
	var text []byte
	nulls := 0
	for i := range n {
		starts[i], ends[i], counts[i] = 1_700_000_000_000, 1_700_000_010_000, 2
		switch devices[i] {
		case '_':
			nulls++
		case ' ':
			batch.SetBit(validity, i)
		default:
			batch.SetBit(validity, i)
			text = append(text, devices[i])
		}
		offsets[i+1] = int32(len(text))
		batch.SetBit(seen, i)
	}
	b.Cols[0].Values, b.Cols[1].Values, b.Cols[2].Values = batch.Bytes(starts), batch.Bytes(ends), batch.Bytes(counts)
	b.Cols[3] = batch.Column{Offsets: batch.Bytes(offsets), Values: text, Validity: validity, Nulls: nulls}
	b.Cols[4].Values = batch.Bytes(counts)
	b.Cols[5] = batch.Column{Values: batch.Bytes(sums), Validity: seen}
	b.Cols[6].Values = batch.Bytes(counts)
	return b
}

var from = output.Window{Partition: batch.Partition{Topic: "in", TopicID: [16]byte{1}, ID: 3}, Revision: "00000000000000ff", Segment: 2, Version: 77}

// TestSend sends what a condition is true of, and tries until it is there.
func TestSend(t *testing.T) {
	var got []kafka.Message
	failures := 2
	send := func(_ context.Context, m []kafka.Message) error {
		if failures > 0 {
			failures--
			return errors.New("away")
		}
		got = append(got, m...)
		return nil
	}
	cfg := config(t, "mean > 2 && n == 2", send)
	o, err := output.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Send(t.Context(), &from, rows(cfg.Rows, "a _b", []float64{10, 8, 6, 4})); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	var lines []string
	for _, m := range got {
		lines = append(lines, string(m.Key)+" "+string(m.Value))
		ids[m.Headers[0].Value] = true
		if m.Headers[0].Key != "weir-id" || len(m.Headers[0].Value) != 32 || m.Headers[1] != (kafka.Header{Key: "weir-version", Value: "77"}) {
			t.Errorf("headers %v", m.Headers)
		}
	}
	const source = `"_site":"berlin","_node":"edge-1","_pipeline":"p","_revision":"00000000000000ff","_topic":"in","_partition":3,"_segment":2,"_version":77}`
	const window = `"window_start":"2023-11-14T22:13:20.000Z","window_end":"2023-11-14T22:13:30.000Z"`
	want := []string{
		`{"device":"a"} {` + window + `,"device":"a","n":2,"mean":5,` + source,
		`{"device":""} {` + window + `,"device":"","n":2,"mean":4,` + source,
		`{"device":null} {` + window + `,"device":null,"n":2,"mean":3,` + source,
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("sent\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if st := o.Status(); st.Sent != 3 || st.Left != 1 || st.Failures != 2 || st.Err != nil || len(ids) != 3 {
		t.Errorf("status %+v, %d identities", st, len(ids))
	}
	// The same once more has the same identities; another partition has others, and so has a segment that nobody stored and that began anew.
	got = nil
	again := from
	again.Version = 99
	other, anew := from, from
	other.Partition.ID, anew.Start = 4, 12
	for _, w := range []output.Window{again, other, anew} {
		if err := o.Send(t.Context(), &w, rows(cfg.Rows, "a _b", []float64{10, 8, 6, 4})); err != nil {
			t.Fatal(err)
		}
	}
	for i, m := range got {
		if ids[m.Headers[0].Value] != (i < 3) {
			t.Errorf("record %d has the identity %s", i, m.Headers[0].Value)
		}
	}
}

// TestSendFull sends windows of 3 rows: their number is in the value and decides the identity, and is not in the key.
func TestSendFull(t *testing.T) {
	var got []kafka.Message
	cfg := config(t, "_full || _window == 8", func(_ context.Context, m []kafka.Message) error {
		got = append(got, m...)
		return nil
	})
	number := batch.Field{Name: "_window", Type: kind(batch.Uint64)}
	cfg.Rows.Fields = slices.Insert(cfg.Rows.Fields, 4, number)
	cfg.Keys, cfg.Full = 2, 3
	o, err := output.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := rows(config(t, "", nil).Rows, "aaa", []float64{6, 6, 6})
	b.Schema, b.Cols = cfg.Rows, slices.Insert(b.Cols, 4, batch.Column{Values: batch.Bytes([]uint64{7, 8, 9})})
	batch.As[uint64](b.Cols[2].Values)[0] = 3
	if err := o.Send(t.Context(), &from, b); err != nil {
		t.Fatal(err)
	}
	ids, lines := map[string]bool{}, ""
	for _, m := range got {
		value, _, _ := strings.Cut(string(m.Value), `,"_site"`)
		_, value, _ = strings.Cut(value, `"window_end":`)
		lines += string(m.Key) + " " + value + "\n"
		ids[m.Headers[0].Value] = true
	}
	const want = `{"device":"a"} "2023-11-14T22:13:30.000Z","device":"a","_window":7,"_full":true,"n":3,"mean":2` + "\n" +
		`{"device":"a"} "2023-11-14T22:13:30.000Z","device":"a","_window":8,"_full":false,"n":2,"mean":3` + "\n"
	if lines != want || len(ids) != 2 {
		t.Errorf("sent\n%swant\n%s%d identities", lines, want, len(ids))
	}
}

// TestSendEnds gives up when its context ends, and says meanwhile what is wrong.
func TestSendEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cfg := config(t, "", nil)
	var o *output.Output
	tried := 0
	cfg.Send = func(context.Context, []kafka.Message) error {
		if tried++; tried == 2 {
			if err := o.Status().Err; err == nil || err.Error() != "away" {
				t.Errorf("status %v", err)
			}
			cancel()
		}
		return errors.New("away")
	}
	var err error
	if o, err = output.New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := o.Send(ctx, &from, rows(cfg.Rows, "a", []float64{1})); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// TestBad are outputs that cannot be made.
func TestBad(t *testing.T) {
	cfg := config(t, "n > 1", nil)
	list, err := aggregate.New(aggregate.Spec{Func: "group_array", Args: []batch.Field{{Name: "v", Type: kind(batch.Float64)}}, Params: []float64{3}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Aggregates[1] = output.Aggregate{Aggregate: list, Name: "all"}
	if _, err := output.New(cfg); err == nil || !strings.Contains(err.Error(), "aggregate all: group_array is a list") {
		t.Errorf("error %v", err)
	}
	cfg.Aggregates[1].Omit = true
	if _, err := output.New(cfg); err != nil {
		t.Error(err)
	}
	cfg.Where = "all == 1"
	if _, err := output.New(cfg); err == nil {
		t.Error("a condition knows what is not sent")
	}
}

// TestNoTopic sends to a topic that is not there, and then is.
func TestNoTopic(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "there"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	for topic, want := range map[string]string{"there": "<nil>", "gone": "there is no topic gone: create it"} {
		p, err := kafka.NewProducer(kafka.Config{Brokers: cluster.ListenAddrs(), Topics: []string{"in"}, Group: "g"}, topic, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Send(t.Context(), []kafka.Message{{Key: []byte("k"), Value: []byte("v"), Headers: []kafka.Header{{Key: "h", Value: "x"}}}}); fmt.Sprint(err) != want {
			t.Errorf("%s: error %v", topic, err)
		}
		p.Close()
	}
}
