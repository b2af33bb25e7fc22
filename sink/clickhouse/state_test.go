package clickhouse_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

func statefulBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, cfg: clickhouse.Config{URL: embeddedtest.ClickHouse(t), Table: "temps"}, tab: temperature()}
	b.tab.Stateful = true
	b.conn = open(t, b.cfg.URL)
	b.sink = b.open(b.cfg)
	b.apply()
	return b
}

func stateOf(segment uint64, offset int64, step, value string) sink.StepState {
	return sink.StepState{StateKey: sink.StateKey{Revision: 7, Segment: segment, Offset: offset}, Step: step, Bytes: []byte(value)}
}

// listing is what States gives, a word for each.
func listing(t *testing.T, b *bed, p batch.Partition, segment uint64, offset int64) string {
	t.Helper()
	states, err := b.sink.States(b.ctx(), p, sink.StateKey{Revision: 7, Segment: segment, Offset: offset})
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, s := range states {
		words = append(words, fmt.Sprintf("%d/%d/%s=%.10s", s.Segment, s.Offset, s.Step, s.Bytes))
	}
	return strings.Join(words, " ")
}

// TestStates stores, reads, releases, and stores again what was released: a zombie's write must not bring it back.
func TestStates(t *testing.T) {
	b := statefulBed(t)
	s := source{partition: 1, rev: 7, topicID: 1}
	with := func(version int64, states ...sink.StepState) *sink.Cut {
		c := b.cut(s, version, row{start: 1_700_000_000, device: "a", rows: 1, count: 1})
		c.States = states
		return c
	}
	other := with(20, stateOf(0, 20, "1 a", "another partition's"))
	other.Coverage.Partition.ID = 2
	b.write(
		with(20, stateOf(0, 20, "1 a", "x"), stateOf(0, 20, "2 b", "\x00\xff binary")),
		other,
	)
	b.write(with(30, stateOf(0, 30, "1 a", ""), stateOf(0, 30, "2 b", strings.Repeat("long ", 100_000))))
	if got, want := listing(t, b, s.key(), 0, 20), "0/20/1 a=x 0/20/2 b=\x00\xff binary 0/30/1 a= 0/30/2 b="; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	gone := []sink.StepState{stateOf(0, 20, "1 a", ""), stateOf(0, 20, "2 b", "")}
	for i := range gone {
		gone[i].Released = true
	}
	b.write(with(40, gone...))
	want := "0/30/1 a= 0/30/2 b=long long "
	if got := listing(t, b, s.key(), 0, 30); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	b.write(with(20, stateOf(0, 20, "1 a", "x"), stateOf(0, 20, "2 b", "y")))
	b.exec("OPTIMIZE TABLE weir_state FINAL")
	if got := listing(t, b, s.key(), 0, 30); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	if got := b.ask("SELECT concat(toString(count()), ' ', toString(sum(length(state)))) FROM weir_state WHERE released = 1"); got[0] != "2 0" {
		t.Errorf("released: %s rows and bytes", got)
	}
}

// TestStateDamaged changes a stored state by hand, and moves one to another offset.
func TestStateDamaged(t *testing.T) {
	for _, change := range []string{
		"SELECT * REPLACE ('other' AS state) FROM weir_state",
		"SELECT * REPLACE (30 AS state_offset) FROM weir_state",
	} {
		b := statefulBed(t)
		s := source{partition: 1, rev: 7, topicID: 1}
		c := b.cut(s, 20)
		c.States = []sink.StepState{stateOf(0, 20, "1 a", "x")}
		b.write(c)
		b.exec("CREATE TABLE copy AS weir_state")
		b.exec("INSERT INTO copy " + change)
		b.exec("TRUNCATE TABLE weir_state")
		b.exec("INSERT INTO weir_state SELECT * FROM copy")
		damaged := 0
		for _, offset := range []int64{20, 30} {
			_, err := b.sink.States(b.ctx(), s.key(), sink.StateKey{Revision: 7, Offset: offset})
			if errors.Is(err, sink.ErrDamaged) {
				damaged++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if damaged != 1 {
			t.Errorf("%s: not noticed", change)
		}
	}
}

// TestManyStates stores more than goes into one insert.
func TestManyStates(t *testing.T) {
	b := statefulBed(t)
	var cuts []*sink.Cut
	for p := range int32(20) {
		c := b.cut(source{partition: p, rev: 7, topicID: 1}, 20)
		c.States = []sink.StepState{stateOf(0, 20, "1 a", "")}
		c.States[0].Bytes = bytes.Repeat([]byte{byte(p)}, 1<<20)
		cuts = append(cuts, c)
	}
	b.write(cuts...)
	if got := b.ask("SELECT concat(toString(count()), ' ', toString(sum(length(state)))) FROM weir_state FINAL"); got[0] != "20 20971520" {
		t.Errorf("%s rows and bytes", got)
	}
}
