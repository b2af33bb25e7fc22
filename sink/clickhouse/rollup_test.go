package clickhouse_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/operators/calendar"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// rollups are views of every kind over windows of 10 s.
func rollups() []sink.Rollup {
	device := []string{"device"}
	return []sink.Rollup{
		{Name: "hourly", Keys: device, Every: time.Hour},
		{Name: "shifts", Keys: device, Every: 8 * time.Hour, Offset: 5*time.Hour + 30*time.Minute},
		{Name: "everybody", Every: 10 * time.Second},
		{Name: "daily", Keys: device, Calendar: &sink.Calendar{Unit: "day", Zone: "Europe/Berlin"}},
		{Name: "havana", Calendar: &sink.Calendar{Unit: "day", Zone: "America/Havana"}}, // where midnight comes twice, or not at all
		{Name: "beirut", Calendar: &sink.Calendar{Unit: "month", Zone: "Asia/Beirut"}},
		{Name: "weekly", Keys: device, Calendar: &sink.Calendar{Unit: "week", Zone: "America/St_Johns"}},
		{Name: "monthly", Calendar: &sink.Calendar{Unit: "month", Zone: "Asia/Kathmandu"}},
		{Name: "total", Keys: device},
		{Name: "grand_total"},
	}
}

func newRollupBed(t *testing.T, change func(*bed)) *bed {
	t.Helper()
	b := &bed{t: t, cfg: clickhouse.Config{URL: embeddedtest.ClickHouse(t), Table: "temps"}, tab: temperature()}
	b.tab.Rollups = rollups()
	if change != nil {
		change(b)
	}
	b.conn = open(t, b.cfg.URL)
	b.sink = b.open(b.cfg)
	b.apply()
	return b
}

// rolled is a view in the order of its windows and keys.
func (b *bed) rolled(r *sink.Rollup) []string {
	b.t.Helper()
	key := "''"
	if len(r.Keys) > 0 {
		key = "device"
	}
	return b.ask(fmt.Sprintf(`SELECT concatWithSeparator(' ', toString(toUnixTimestamp64Milli(window_start)), toString(toUnixTimestamp64Milli(window_end)), %s,
		toString(readings), toString(round(assumeNotNull(temp_avg), 6)), toString(assumeNotNull(temp_max))) FROM %s ORDER BY window_start, window_end, %s`, key, r.Name, key))
}

// bounds is the window of a roll-up that has a moment, in milliseconds, as the stages of the node have it.
func bounds(t *testing.T, r *sink.Rollup, ms int64) (start, end int64) {
	t.Helper()
	if c := r.Calendar; c != nil {
		zone, err := calendar.LoadZone(c.Zone)
		if err != nil {
			t.Fatal(err)
		}
		unit := map[string]calendar.Unit{"day": calendar.Day, "week": calendar.Week, "month": calendar.Month}[c.Unit]
		start, end = (&calendar.Calendar{Unit: unit, Zone: zone}).Bounds(ms * 1000)
		return start / 1000, end / 1000
	}
	every, offset := r.Every.Milliseconds(), r.Offset.Milliseconds()
	start = (ms-offset)/every*every + offset
	if start > ms {
		start -= every
	}
	return start, start + every
}

// TestRollups compares every kind of roll-up with what the rows of the table come to: of several partitions and segments, of
// versions that replace one another, over changes of clocks, before 1970 and far ahead.
func TestRollups(t *testing.T) {
	b := newRollupBed(t, nil)
	rng := rand.New(rand.NewPCG(5, 1))
	type key struct {
		start, end int64
		device     string
	}
	type total struct{ n, sum, most int64 }
	truth := make([]map[key]total, len(b.tab.Rollups))
	for i := range truth {
		truth[i] = map[key]total{}
	}
	for _, i := range []int{0, len(b.tab.Rollups) - 1} {
		if got := b.rolled(&b.tab.Rollups[i]); len(got) != 0 {
			t.Errorf("over nothing, %s has %q", b.tab.Rollups[i].Name, got)
		}
	}
	for part := range int32(2) {
		var rows, before []row
		seen := map[row]bool{}
		for _, around := range []string{"1965-11-06", "2022-03-12", "2022-03-26", "2023-10-29", "2023-11-05", "2150-03-31"} {
			day, err := time.Parse(time.DateOnly, around)
			if err != nil {
				t.Fatal(err)
			}
			for range 60 {
				r := row{start: day.Unix()/10*10 + 10*rng.Int64N(2*8640), device: string(rune('a' + rng.IntN(3)))}
				if seen[r] {
					continue
				}
				seen[r] = true
				if rng.IntN(3) == 0 {
					older := r
					older.rows, older.count, older.sum, older.max = 1, 1, f(7777), f(7777)
					before = append(before, older)
				}
				r.rows, r.count = 4, 4
				r.sum, r.max = f(float64(rng.IntN(1000))), f(float64(rng.IntN(1000)))
				rows = append(rows, r)
				for i := range b.tab.Rollups {
					view := &b.tab.Rollups[i]
					k := key{device: r.device}
					if len(view.Keys) == 0 {
						k.device = ""
					}
					if !view.Global() {
						k.start, k.end = bounds(t, view, r.start*1000)
					}
					have, ok := truth[i][k]
					if !ok {
						have.most = -1
					}
					truth[i][k] = total{have.n + 4, have.sum + int64(*r.sum), max(have.most, int64(*r.max))}
				}
			}
		}
		src := source{rev: 1, partition: part, segment: uint64(part)}
		b.write(b.cut(src, 10, before...))
		b.write(b.cut(src, 20, rows...))
	}
	for i := range b.tab.Rollups {
		view := &b.tab.Rollups[i]
		keys := slices.SortedFunc(maps.Keys(truth[i]), func(x, y key) int {
			if x.start != y.start {
				return int(min(1, max(-1, x.start-y.start)))
			}
			return strings.Compare(x.device, y.device)
		})
		var want []string
		for _, k := range keys {
			n := truth[i][k]
			want = append(want, fmt.Sprintf("%d %d %s %d %v %d", k.start, k.end, k.device, n.n, roundSix(float64(n.sum)/float64(n.n)), n.most))
		}
		got := b.rolled(view)
		if view.Global() { // its windows are from the first row to the last
			for j := range got {
				got[j] = "0 0 " + strings.SplitN(got[j], " ", 3)[2]
			}
			slices.Sort(got)
		}
		if len(got) != len(want) {
			t.Errorf("%s has %d rows, want %d", view.Name, len(got), len(want))
			continue
		}
		for j := range got {
			if got[j] != want[j] {
				t.Errorf("%s, row %d:\n%s\nwant\n%s", view.Name, j, got[j], want[j])
				break
			}
		}
	}
}

func roundSix(v float64) string {
	s := strings.TrimRight(fmt.Sprintf("%.6f", v), "0")
	return strings.TrimSuffix(s, ".")
}

// TestRollupsOfSpans has windows that were merged and dropped: what is merged over the border of a roll-up's windows is in a row of its
// own there, and nothing counts twice.
func TestRollupsOfSpans(t *testing.T) {
	b := newRollupBed(t, nil)
	const hour = 1_700_002_800 // a full hour; windows of 10 s are merged into those of 40
	src := source{rev: 1}
	b.write(b.cut(src, 10, row{hour - 30, "a", 1, f(1), 1, f(1)}, row{hour - 20, "a", 1, f(1), 1, f(1)}, row{hour, "a", 1, f(1), 1, f(1)}))
	c := b.cut(src, 20, row{hour - 20, "a", 8, f(8), 8, f(1)}, row{hour + 20, "a", 2, f(2), 2, f(1)})
	wide(c, 0, 40_000)
	c.Coverage.Spans = sink.Spans{{From: (hour - 100) * 1000, To: (hour - 20) * 1000}, {From: (hour - 20) * 1000, To: (hour + 20) * 1000, Width: 40_000}}
	b.write(c)
	for name, want := range map[string][]string{
		"hourly":      {"1699999200000 1700006400000 a 8 1 1", "1700002800000 1700006400000 a 2 1 1"},
		"everybody":   {"1700002780000 1700002820000  8 1 1", "1700002820000 1700002830000  2 1 1"},
		"daily":       {"1699916400000 1700089200000 a 8 1 1", "1700002800000 1700089200000 a 2 1 1"}, // the hour is midnight in Berlin
		"grand_total": {"1700002780000 1700002830000  10 1 1"},
	} {
		i := slices.IndexFunc(b.tab.Rollups, func(r sink.Rollup) bool { return r.Name == name })
		if got := b.rolled(&b.tab.Rollups[i]); !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestRollupsKeptFor has a table that drops rows: windows of which a part may be gone are not there.
func TestRollupsKeptFor(t *testing.T) {
	b := newRollupBed(t, func(b *bed) {
		b.cfg.TTL = 48 * time.Hour
		b.tab.Rollups = b.tab.Rollups[:1]
	})
	edge := time.Now().Add(-48 * time.Hour).Truncate(time.Hour) // the hour that is being dropped
	b.write(b.cut(source{rev: 1}, 10, row{edge.Unix() + 3590, "a", 1, f(1), 1, f(1)}, row{edge.Add(2 * time.Hour).Unix(), "a", 2, f(2), 2, f(1)}))
	if got := b.rolled(&b.tab.Rollups[0]); len(got) != 1 || !strings.HasPrefix(got[0], fmt.Sprint(edge.Add(2*time.Hour).UnixMilli())) {
		t.Errorf("the view has %q", got)
	}
}

// TestRollupReadsDays asks for one day, and looks how many days the server reads.
func TestRollupReadsDays(t *testing.T) {
	b := newRollupBed(t, nil)
	var rows []row
	const t0 = 1_700_000_000
	for day := range int64(20) {
		rows = append(rows, row{t0 + day*86400, "a", 1, f(1), 1, f(1)})
	}
	b.write(b.cut(source{rev: 1}, 10, rows...))
	for _, view := range []string{"hourly", "shifts", "daily"} {
		plan := strings.Join(b.ask("EXPLAIN indexes = 1 SELECT * FROM "+view+" WHERE window_start >= '2023-11-20 00:00:00' AND window_start < '2023-11-21 00:00:00'"), "\n")
		if !strings.Contains(plan, "Parts: 1/20") && !strings.Contains(plan, "Parts: 2/20") {
			t.Errorf("%s reads more than the days that are asked for:\n%s", view, plan)
		}
	}
}

// TestRollupIsAdded adds a roll-up to tables with rows, and changes it.
func TestRollupIsAdded(t *testing.T) {
	b := newBed(t)
	b.write(b.cut(source{rev: 1}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)}))
	for _, every := range []time.Duration{time.Hour, time.Minute} {
		b.tab.Rollups = []sink.Rollup{{Name: "wider", Keys: []string{"device"}, Every: every}}
		b.sink = b.open(b.cfg)
		b.apply()
		start, end := bounds(t, &b.tab.Rollups[0], 1_700_000_000_000)
		if got, want := strings.Join(b.rolled(&b.tab.Rollups[0]), "\n"), fmt.Sprintf("%d %d a 1 1 1", start, end); got != want {
			t.Errorf("the view has %s, want %s", got, want)
		}
	}
}
