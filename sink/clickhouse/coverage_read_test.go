package clickhouse_test

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// turns counts how often a connection is read from after it was written to: the round trips. The first, in which server and client greet
// each other, does not count: a statement that comes before the client has put the connection of the one before back makes one more.
type turns struct {
	net.Conn
	wrote, greeted atomic.Bool
	n              *atomic.Int64
}

func (c *turns) Write(b []byte) (int, error) {
	c.wrote.Store(true)
	return c.Conn.Write(b)
}

func (c *turns) Read(b []byte) (int, error) {
	if c.wrote.Swap(false) && c.greeted.Swap(true) {
		c.n.Add(1)
	}
	return c.Conn.Read(b)
}

// TestCoverageOfMany reads what is stored of many partitions with as many round trips as of one, and gives each its own.
func TestCoverageOfMany(t *testing.T) {
	b := newBed(t)
	var trips atomic.Int64
	cfg := b.cfg
	cfg.Conn = func(c net.Conn) net.Conn { return &turns{Conn: c, n: &trips} }
	b.sink = b.open(cfg)
	var ps []batch.Partition
	for i := range int32(40) {
		s := source{partition: i % 20, topicID: byte(1 + i/20)}
		ps = append(ps, s.key())
		if i%4 == 3 {
			continue // nothing is stored of it
		}
		b.write(b.cut(s, 10+int64(i)))
		s.segment = 1
		b.write(b.cut(s, 100+int64(i), row{1_700_000_000, "a", 4, f(1), 1, f(1)}))
	}
	// Of one a node ended between its rows and their account.
	b.exec(`INSERT INTO temps_partials (window_start, window_end, _rows, device, readings, _site, _pipeline, _rev, _topic, _topic_id, _partition, _segment, _version)
		SELECT window_start, window_end, _rows, device, readings, _site, _pipeline, _rev, _topic, _topic_id, _partition, _segment, 500 FROM temps_partials WHERE _version = 122`)

	ask := func(ps []batch.Partition) int64 {
		before := trips.Load()
		all, err := b.sink.Coverage(b.ctx(), ps)
		if err != nil || len(all) != len(ps) {
			t.Fatalf("%d answers for %d partitions: %v", len(all), len(ps), err)
		}
		for i, got := range all {
			have := ""
			for _, c := range got {
				if c.Partition != ps[i] {
					t.Errorf("partition %v: the answer is about %v", ps[i], c.Partition)
				}
				have += fmt.Sprintf("%d:%d:%d ", c.Segment, c.Version, c.RowsVersion)
			}
			at := int(ps[i].ID) + 20*int(ps[i].TopicID[15]-1)
			want := fmt.Sprintf("1:%d:%d 0:%d:%d ", 100+at, 100+at, 10+at, 10+at)
			switch {
			case at == 22:
				want = "1:122:500 0:32:32 "
			case at%4 == 3:
				want = ""
			}
			if have != want {
				t.Errorf("partition %v: %q, want %q", ps[i], have, want)
			}
		}
		return trips.Load() - before
	}
	if one, many := ask(ps[:1]), ask(ps); many != one {
		t.Errorf("%d round trips for %d partitions, and %d for one", many, len(ps), one)
	}
}
