package endtoend

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/engine"
)

const emitFinal = `
pipeline: emit-final
source:
  kafka: {topics: ["${PREFIX}in"]}
  columns:
    ts: timestamp[ms]
time: {column: ts}
window:
  tumbling: 10s
  emit: final
  aggregates: {n: count()}
sink: {clickhouse: {}}
`

// TestEmitFinal ends a node in order, in the middle of a window, which then is there as far as it got. When the partition is read on,
// the view has only windows that are final again, up to complete_until, and in the end every window counts all of its seconds.
func TestEmitFinal(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := nodeSpec{YAML: emitFinal, ClickHouse: embeddedtest.ClickHouse(t), Instance: "n1"}
	s.Brokers, s.Prefix = embeddedtest.Kafka(t)
	producer, err := kgo.NewClient(kgo.SeedBrokers(s.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if _, err := kadm.NewClient(producer).CreateTopic(ctx, 1, 1, nil, s.Prefix+"in"); err != nil {
		t.Fatal(err)
	}
	const begin = 1_700_000_000
	second := 0
	produceTo := func(until int) { // a row a second
		for ; second < until; second++ {
			value := fmt.Appendf(nil, `{"ts":%d}`, (begin+second)*1000)
			if err := producer.ProduceSync(ctx, &kgo.Record{Topic: s.Prefix + "in", Value: value}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	conn := openClickHouse(t, s.ClickHouse)
	defer func() { _ = conn.Close() }()
	want := func(when string, seconds ...uint64) {
		t.Helper()
		var got []string
		queryRows(ctx, t, conn, "SELECT toString(toUnixTimestamp(window_start)), n FROM emit_final ORDER BY window_start", func(rows driver.Rows) error {
			var start string
			var n uint64
			err := rows.Scan(&start, &n)
			got = append(got, fmt.Sprint(start, " ", n))
			return err
		})
		var should []string
		for i, n := range seconds {
			should = append(should, fmt.Sprint(begin+10*i, " ", n))
		}
		if g, w := strings.Join(got, ", "), strings.Join(should, ", "); g != w {
			t.Errorf("%s: %s, want %s", when, g, w)
		}
		plan, err := s.plan(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = plan.Close() }()
		wantAudit(ctx, t, plan)
	}
	toEnd := func() {
		t.Helper()
		s.StopAtEnd = true
		if _, err := s.run(ctx); err != nil {
			t.Fatal(err)
		}
		s.StopAtEnd = false
	}

	produceTo(26)
	toEnd()
	want("ended in order", 10, 10, 6)

	produceTo(27)
	node := startNode(t, s)
	waitStored(ctx, t, s, second)
	want("read on", 10, 10)
	var until time.Time
	if err := conn.QueryRow(ctx, "SELECT assumeNotNull(complete_until) FROM weir_completeness").Scan(&until); err != nil || until.Unix() != begin+26 {
		t.Errorf("complete until %s, %v", until, err)
	}
	node.kill()
	want("killed", 10, 10)

	produceTo(32)
	toEnd()
	want("ended in order again", 10, 10, 10, 2)

	// There is nothing to read but what open windows are built from: they are there all the same.
	produceTo(34)
	node = startNode(t, s)
	waitStored(ctx, t, s, second)
	eventually(t, patience, func() (bool, string) {
		offsets, err := kadm.NewClient(producer).FetchOffsets(ctx, s.Prefix+"group")
		at, _ := offsets.Lookup(s.Prefix+"in", 0)
		commit, readErr := engine.ReadCommit(at.At, at.Metadata)
		return readErr == nil && commit.Coverage.Version == int64(second), fmt.Sprintf("committed at %d: %s (%v, %v)", at.At, at.Metadata, err, readErr)
	})
	node.kill()
	want("killed at the end", 10, 10, 10)
	toEnd()
	want("ended in order, with nothing new", 10, 10, 10, 4)
}
