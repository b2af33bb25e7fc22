package endtoend

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

const visits = `
pipeline: visits
source:
  kafka: {topics: ["${PREFIX}in"]}
  columns: {device: string, ts: "timestamp[ms]", v: float64}
time: {column: ts, max_out_of_order: 1s}
window:
  %s
  group_by: [device]
  aggregates: {n: count(), total: sum(v)}
outputs:
  - kafka: {topic: "${PREFIX}visits"}
    where: total > 20
    steps:
      - map: {urgent: "total > 60"}
sink: {clickhouse: {}}
`

// visit is a row of a partition, and visited what windows come to.
type visit struct {
	ts     int64
	device string
	v      float64
}

type visited struct {
	device     string
	start, end int64
	n, number  int
	total      float64
	first      int // the first of its rows in the log
}

// TestOutputKinds sends sessions and windows of so many rows when they are final, and kills the node in between. Without the copies that have an
// identity that is known, each partition's records are the windows that are computed here from its rows, in the order that is promised.
func TestOutputKinds(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		name, window string
		// windows are those of a partition that are final, in order, with a text of what is theirs alone.
		windows func([]visit) []visited
		also    func(visited) string
	}{
		{"sessions", "session: {gap: 3s}", sessionsOf, func(visited) string { return "" }},
		{"counts", "count: {rows: 4, timeout: 8s}", countsOf, func(w visited) string {
			return fmt.Sprintf(` _window %d _full %t`, w.number, w.n == 4)
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			s := nodeSpec{YAML: fmt.Sprintf(visits, kind.window), ClickHouse: embeddedtest.ClickHouse(t), Instance: "n1"}
			s.Brokers, s.Prefix = embeddedtest.Kafka(t)
			client, err := kgo.NewClient(kgo.SeedBrokers(s.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			admin := kadm.NewClient(client)
			if _, err := admin.CreateTopic(ctx, 2, 1, nil, s.Prefix+"in"); err != nil {
				t.Fatal(err)
			}
			if _, err := admin.CreateTopic(ctx, 1, 1, nil, s.Prefix+"visits"); err != nil {
				t.Fatal(err)
			}
			var rows [2][]visit
			second, sent := 0, 0
			produceTo := func(until int) { // devices come and go, and their clocks are not quite right
				var records []*kgo.Record
				for ; second < until; second++ {
					for part := range rows {
						for k := range 3 {
							if (second/6+k+part)%3 == 0 {
								continue
							}
							r := visit{1_700_000_000_000 + int64(second*1000-(second+k)%3*300), fmt.Sprintf("d%d", part*3+k), float64((second*7 + part*5 + k*3) % 20)}
							rows[part] = append(rows[part], r)
							value := fmt.Appendf(nil, `{"device":%q,"ts":%d,"v":%v}`, r.device, r.ts, r.v)
							records = append(records, &kgo.Record{Topic: s.Prefix + "in", Partition: int32(part), Value: value})
						}
					}
				}
				sent += len(records)
				if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			node := startNode(t, s)
			produceTo(40)
			waitStored(ctx, t, s, sent)
			produceTo(70)
			node.kill()
			produceTo(110)
			s.StopAtEnd = true
			if _, err := s.run(ctx); err != nil {
				t.Fatal(err)
			}
			var got, want [2][]string
			known, copies := map[string]string{}, 0
			readTopic(ctx, t, s, s.Prefix+"visits", func(r *kgo.Record) {
				part, line := visitOf(t, r)
				id := string(r.Headers[0].Value)
				if before, ok := known[id]; ok {
					if copies++; before != line {
						t.Errorf("one identity of\n%s\n%s", before, line)
					}
					return
				}
				known[id] = line
				got[part] = append(got[part], line)
			})
			for part := range rows {
				for _, w := range kind.windows(rows[part]) {
					if w.total > 20 {
						want[part] = append(want[part], fmt.Sprintf(`{"device":%q} %d to %d, n %d total %v urgent %t`, w.device, w.start, w.end, w.n, w.total, w.total > 60)+kind.also(w))
					}
				}
				if len(want[part]) < 5 {
					t.Errorf("there are only %d windows to compare", len(want[part]))
				}
				if !slices.Equal(got[part], want[part]) {
					t.Errorf("partition %d\nwas told\n%s\nshould be\n%s", part, strings.Join(got[part], "\n"), strings.Join(want[part], "\n"))
				}
			}
			t.Logf("%d windows, told again of %d", len(known), copies)
		})
	}
}

// visitOf is the partition and the line of a record.
func visitOf(t *testing.T, r *kgo.Record) (int, string) {
	t.Helper()
	var v struct {
		Start     time.Time `json:"window_start"`
		End       time.Time `json:"window_end"`
		N         int
		Total     float64
		Urgent    bool
		Window    *int  `json:"_window"`
		Full      *bool `json:"_full"`
		Partition int   `json:"_partition"`
	}
	if err := json.Unmarshal(r.Value, &v); err != nil || v.Partition > 1 {
		t.Fatalf("%s: %v", r.Value, err)
	}
	line := fmt.Sprintf(`%s %d to %d, n %d total %v urgent %t`, r.Key, v.Start.UnixMilli(), v.End.UnixMilli(), v.N, v.Total, v.Urgent)
	if v.Window != nil && v.Full != nil {
		line += fmt.Sprintf(` _window %d _full %t`, *v.Window, *v.Full)
	}
	return v.Partition, line
}

// sessionsOf are the sessions of rows that are less than 3 s apart and are final, by their ends.
func sessionsOf(rows []visit) []visited {
	var all []visited
	order := make([]int, len(rows))
	newest := int64(0)
	for i, r := range rows {
		order[i], newest = i, max(newest, r.ts)
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(rows[a].device, rows[b].device), cmp.Compare(rows[a].ts, rows[b].ts))
	})
	for _, i := range order {
		r := rows[i]
		if n := len(all); n == 0 || all[n-1].device != r.device || r.ts >= all[n-1].end {
			all = append(all, visited{device: r.device, start: r.ts, first: i})
		}
		w := &all[len(all)-1]
		w.end, w.n, w.total, w.first = r.ts+3000, w.n+1, w.total+r.v, min(w.first, i)
	}
	all = slices.DeleteFunc(all, func(w visited) bool { return w.end+3000 > newest-1000 })
	slices.SortFunc(all, func(a, b visited) int { return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.first, b.first)) })
	return all
}

// countsOf are the windows of 4 rows of a device, or of as many as there are when 8 s are over, as the rows end them.
func countsOf(rows []visit) []visited {
	var over []visited
	open, number, newest := map[string]*visited{}, 0, int64(0)
	for _, r := range rows {
		w := open[r.device]
		if w == nil {
			number++
			w = &visited{device: r.device, start: r.ts, end: r.ts + 8000, number: number}
			open[r.device] = w
		}
		if w.n, w.total = w.n+1, w.total+r.v; w.n == 4 {
			over = append(over, *w)
			delete(open, r.device)
		}
		newest = max(newest, r.ts)
		var late []visited
		for device, w := range open {
			if w.end <= newest-1000 {
				late = append(late, *w)
				delete(open, device)
			}
		}
		slices.SortFunc(late, func(a, b visited) int { return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.number, b.number)) })
		over = append(over, late...)
	}
	return over
}
