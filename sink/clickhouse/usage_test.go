package clickhouse_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-stream/weir/sink"
)

// usage is a row of the usage table with n of everything.
func usage(step string, run, version uint64, hour time.Time, n int64, tags map[string]string) sink.Usage {
	return sink.Usage{
		Revision: 7, Step: step, Digest: "d", Run: run, Started: hour, Hour: hour, Version: version, Tags: tags,
		Used: sink.Used{
			Batches: n, RowsIn: n, RowsOut: n, Rejected: n, BytesIn: n, BytesOut: n, Copied: n, Nanos: n * 1e9, Fuel: n,
			Instances: n, Traps: n, Retries: n, LogDropped: n,
		},
	}
}

// TestUsage stores usage as nodes do, several times and out of order, and asks for the cost of a team.
func TestUsage(t *testing.T) {
	b := newBed(t)
	other := b.tab
	b.tab.Node = "edge-2"
	second := b.open(b.cfg)
	b.tab = other
	hour := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	odd := map[string]string{"team": "plant 'ops' \\ \"größe\"\n\x00", "": "empty", "a.b`c": "", "team'": "x"}
	write := func(s sink.UsageStore, rows ...sink.Usage) {
		t.Helper()
		if err := s.WriteUsage(b.ctx(), rows); err != nil {
			t.Fatal(err)
		}
	}
	first := usage("1 filter", 1, 1, hour, 10, odd)
	write(b.sink, first, usage("window", 1, 1, hour, 1, odd))
	write(b.sink, usage("1 filter", 1, 2, hour, 30, odd), usage("window", 1, 2, hour, 3, odd))
	write(b.sink, first)                                                                     // a retry that comes late
	write(b.sink, usage("1 filter", 1, 3, hour.Add(time.Hour), 100, odd))                    // the next hour
	write(b.sink, usage("1 filter", 2, 1, hour, 1000, odd))                                  // the node was started again
	write(second, usage("1 filter", 1, 1, hour, 10_000, odd))                                // another node
	write(b.sink, usage("1 filter", 3, 1, hour, 5, nil))                                     // no tags
	write(b.sink, usage("1 filter", 4, 1, time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), 0, nil)) // no clock
	write(b.sink, usage("1 filter", 4, 2, time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC), 0, nil))
	write(b.sink)

	ask := func(sql, want string) {
		t.Helper()
		if got := strings.Join(b.ask(sql), "\n"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", sql, got, want)
		}
	}
	ask(`SELECT concatWithSeparator(' ', toString(sum(fuel)), toString(sum(seconds)), toString(sum(log_lines_dropped)))
		FROM weir_usage_hourly WHERE tags['team'] = 'plant \'ops\' \\ "größe"\n\0'`, "11133 11133 11133")
	ask(`SELECT concatWithSeparator(' ', formatDateTime(hour, '%H'), node, step, toString(sum(rows_in))) FROM weir_usage_hourly
		WHERE tags['a.b`+"`"+`c'] = '' AND tags[''] = 'empty' GROUP BY hour, node, step ORDER BY hour, node, step`,
		"10 edge-1 1 filter 1030\n10 edge-1 window 3\n10 edge-2 1 filter 10000\n11 edge-1 1 filter 100")
	// One query for the cost of every team.
	ask(`SELECT concatWithSeparator(' ', toString(length(tags['team'])), toString(sum(fuel)), toString(sum(bytes_in)))
		FROM weir_usage_hourly GROUP BY tags['team'] ORDER BY length(tags['team'])`, "0 5 5\n25 11133 11133")
	// Merging the parts changes no answer.
	b.exec("OPTIMIZE TABLE weir_usage FINAL")
	ask("SELECT concat(toString(sum(fuel)), ' ', toString(sum(time_ns) / 1000000000)) FROM weir_usage", "11138 11138")
	if err := b.sink.Check(b.ctx()); err != nil {
		t.Error(err)
	}
}

// TestUsageBeside stores usage while cuts are stored.
func TestUsageBeside(t *testing.T) {
	b := newBed(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 5 {
			if err := b.sink.WriteUsage(b.ctx(), []sink.Usage{usage("window", 1, uint64(i), time.Now(), int64(i), nil)}); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range int64(5) {
		b.write(b.cut(source{}, 10+i, row{1_700_000_000, "a", uint64(1 + i), f(1), 1, f(1)}))
	}
	wg.Wait()
}

// TestUsageOff makes no table, and nobody misses it.
func TestUsageOff(t *testing.T) {
	b := newBed(t)
	b.exec("DROP VIEW weir_usage_hourly")
	b.exec("DROP TABLE weir_usage SYNC")
	s := schemaError(t, b.sink.Check(b.ctx()))
	if len(s.Problems) != 2 || len(s.DDL) != 2 {
		t.Errorf("problems %q", s.Problems)
	}
	err := b.sink.WriteUsage(b.ctx(), []sink.Usage{usage("window", 1, 1, time.Now(), 1, nil)})
	var e *sink.Error
	if !errors.As(err, &e) || e.Class != sink.Stop {
		t.Errorf("error %v", err)
	}
	b.write(b.cut(source{}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)}))
	b.cfg.NoUsage = true
	off := b.open(b.cfg)
	if err := off.Check(b.ctx()); err != nil {
		t.Error(err)
	}
}
