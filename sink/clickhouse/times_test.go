package clickhouse_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// TestTimesBefore1970 asks the view as often as it takes a server to compile the query.
func TestTimesBefore1970(t *testing.T) {
	at := batch.TimestampOf(batch.Nanosecond)
	extreme := func(name string, m sink.Merge) sink.Aggregate {
		return sink.Aggregate{Name: name, Type: at, States: []sink.State{{Field: batch.Field{Name: name, Type: at}, Merge: m}}}
	}
	b := &bed{t: t, cfg: clickhouse.Config{URL: embeddedtest.ClickHouse(t), Table: "times"}, tab: sink.Table{
		Site: "berlin", Node: "edge-1", Pipeline: "times", Window: 10 * time.Second,
		Aggregates: []sink.Aggregate{extreme("first_at", sink.MergeMin), extreme("last_at", sink.MergeMax)},
	}}
	b.conn = open(t, b.cfg.URL)
	b.sink = b.open(b.cfg)
	b.apply()
	for partition, ns := range []int64{-1, 1_000_000_002} {
		b.exec(fmt.Sprintf("INSERT INTO times_partials (window_start, window_end, first_at, last_at, _rows, _partition) SELECT toDateTime64(1000, 3), toDateTime64(1010, 3), %s, %[1]s, 1, %d",
			fmt.Sprintf("fromUnixTimestamp64Nano(toInt64(%d))", ns), partition))
	}
	for i := range 6 {
		got := b.ask("SELECT concat(toString(first_at), ' ', toString(last_at)) FROM times")
		if want := "1969-12-31 23:59:59.999999999 1970-01-01 00:00:01.000000002"; len(got) != 1 || got[0] != want {
			t.Errorf("query %d gives %q, want %q", i+1, got, want)
		}
	}
}
